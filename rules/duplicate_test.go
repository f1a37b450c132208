package rules

import (
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"tideover"
)

var code1, code2 = [32]byte{1}, [32]byte{2} // instruments

func TestDuplicates(t *testing.T) {
	rules := Rules{Duplicates: Duplicates{Window: 2 * time.Minute, Action: ActionRefuse}}
	blind := Rules{Duplicates: Duplicates{Window: 2 * time.Minute, BlindWindow: 10 * time.Second, Action: ActionRefuse}}
	off := Rules{Duplicates: Duplicates{Action: ActionRefuse}}
	type seenAs struct {
		state      tideover.State
		acked      bool
		age        time.Duration
		instrument [32]byte
		order      string
		change     func(*entry)
	}
	const ok, ack = tideover.StateApproved, true
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		rules      Rules
		instrument [32]byte // of the press
		order      string
		seen       seenAs
		suspected  bool
	}{
		"the same code, just now":                 {rules, code1, "", seenAs{ok, ack, time.Second, code1, "", nil}, true},
		"at the end of the window":                {rules, code1, "", seenAs{ok, ack, 2 * time.Minute, code1, "", nil}, true},
		"after the window":                        {rules, code1, "", seenAs{ok, ack, 2*time.Minute + 1, code1, "", nil}, false},
		"executed and not acknowledged, old":      {rules, code1, "", seenAs{ok, false, year, code1, "", nil}, true},
		"open, old":                               {rules, code1, "", seenAs{tideover.StateInDoubt, false, year, code1, "", nil}, true},
		"manual, old":                             {rules, code1, "", seenAs{tideover.StateManual, false, year, code1, "", nil}, true},
		"held, old":                               {rules, code1, "", seenAs{tideover.StateHeld, false, year, code1, "", nil}, true},
		"open, by a clock that went back":         {rules, code1, "", seenAs{tideover.StateSent, false, -year, code1, "", nil}, true},
		"acknowledged, by such a clock":           {rules, code1, "", seenAs{ok, ack, -year, code1, "", nil}, false},
		"declined":                                {rules, code1, "A-1", seenAs{tideover.StateDeclined, false, time.Second, code1, "A-1", nil}, false},
		"expired":                                 {rules, code1, "A-1", seenAs{tideover.StateExpired, false, time.Second, code1, "A-1", nil}, false},
		"cancelled":                               {rules, code1, "A-1", seenAs{tideover.StateCancelled, false, time.Second, code1, "A-1", nil}, false},
		"reversed":                                {rules, code1, "A-1", seenAs{tideover.StateReversed, false, time.Second, code1, "A-1", nil}, false},
		"being undone":                            {rules, code1, "A-1", seenAs{tideover.StateReversing, false, time.Second, code1, "A-1", nil}, false},
		"another code":                            {rules, code1, "", seenAs{ok, ack, time.Second, code2, "", nil}, false},
		"another amount":                          {rules, code1, "A-1", seenAs{ok, false, time.Second, code1, "A-1", func(e *entry) { e.Amount++ }}, false},
		"another currency":                        {rules, code1, "A-1", seenAs{ok, false, time.Second, code1, "A-1", func(e *entry) { e.Currency = "USD" }}, false},
		"another kind":                            {rules, code1, "A-1", seenAs{ok, false, time.Second, code1, "A-1", func(e *entry) { e.Kind = tideover.KindAdvice }}, false},
		"another till":                            {rules, code1, "", seenAs{ok, ack, time.Second, code1, "", func(e *entry) { e.TerminalUID = "till-9" }}, true},
		"the same order, no code":                 {rules, [32]byte{}, "A-1", seenAs{ok, ack, time.Second, [32]byte{}, "A-1", nil}, true},
		"the same order, one without a code":      {rules, code1, "A-1", seenAs{ok, ack, time.Second, [32]byte{}, "A-1", nil}, true},
		"the same order, the press without":       {rules, [32]byte{}, "A-1", seenAs{ok, ack, time.Second, code1, "A-1", nil}, true},
		"one order paid in two parts":             {rules, code1, "A-1", seenAs{ok, ack, time.Second, code2, "A-1", nil}, false},
		"another order, the same code":            {rules, code1, "A-1", seenAs{ok, ack, time.Second, code1, "A-2", nil}, true},
		"another order, no code":                  {rules, [32]byte{}, "A-1", seenAs{ok, ack, time.Second, [32]byte{}, "A-2", nil}, false},
		"two equal coffees":                       {rules, [32]byte{}, "", seenAs{ok, ack, 0, [32]byte{}, "", nil}, false},
		"two equal coffees, the first open":       {rules, [32]byte{}, "", seenAs{tideover.StateSent, false, 0, [32]byte{}, "", nil}, false},
		"blind, just now":                         {blind, [32]byte{}, "", seenAs{ok, ack, 10 * time.Second, [32]byte{}, "", nil}, true},
		"blind, later":                            {blind, [32]byte{}, "", seenAs{ok, false, 11 * time.Second, [32]byte{}, "", nil}, false},
		"blind, at another till":                  {blind, [32]byte{}, "", seenAs{ok, ack, 0, [32]byte{}, "", func(e *entry) { e.TerminalUID = "till-9" }}, false},
		"blind, but the earlier one has an order": {blind, [32]byte{}, "", seenAs{ok, ack, 0, [32]byte{}, "A-1", nil}, false},
		"switched off":                            {off, code1, "A-1", seenAs{tideover.StateSent, false, 0, code1, "A-1", nil}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := sold(c.seen.state)
			e.Acknowledged, e.instrument, e.Order, e.at = c.seen.acked, c.seen.instrument, c.seen.order, -c.seen.age
			if c.seen.change != nil {
				c.seen.change(&e)
			}
			book := ledger{all: []entry{e}}
			press := Press{
				Request:     tideover.Request{Kind: tideover.KindSale, Amount: 1000, Currency: "CNY", Order: c.order},
				TerminalUID: "till-1", Instrument: c.instrument,
			}
			if press.TerminalUID == "" || book.all[0].ID.IsZero() {
				t.Fatal("the case is not what it says")
			}
			of, err := c.rules.Judge(press, book)
			if !c.suspected {
				if err != nil || !of.IsZero() {
					t.Fatalf("suspected: %s, %v", of, err)
				}
				return
			}
			refusal, ok := errors.AsType[*tideover.Refusal](err)
			if !ok || refusal.Code != tideover.CodeSuspectedDuplicate || refusal.DuplicateOf != saleID {
				t.Fatalf("got %v", err)
			}
			bothLanguages(t, refusal.Detail)
			if elsewhere := e.TerminalUID != press.TerminalUID; elsewhere != strings.Contains(refusal.Detail.En, "another till") {
				t.Errorf("where the first was pressed: %s", refusal.Detail.En)
			}

			press.Override = true
			if _, err := c.rules.Judge(press, book); err == nil {
				t.Error("an override that nobody answers for is taken")
			} else if again, ok := errors.AsType[*tideover.Refusal](err); !ok || again.Detail == refusal.Detail {
				t.Errorf("it is not told what is missing: %v", err)
			} else {
				bothLanguages(t, again.Detail)
			}
			press.Operator = "lin"
			if of, err := c.rules.Judge(press, book); err != nil || of != saleID {
				t.Errorf("an operator answers for it: %s, %v", of, err)
			}
			press.Override, press.Operator = false, ""
			allow := c.rules
			allow.Duplicates.Action = ActionAllow
			if of, err := allow.Judge(press, book); err != nil || of != saleID {
				t.Errorf("the shop lets it pass: %s, %v", of, err)
			}
		})
	}
}

// Refunds are of their sale first: two equal ones of two sales are two. A reversal undoes once, however often it is pressed.
func TestDuplicates_OfWhatUndoes(t *testing.T) {
	rules := Rules{Duplicates: DefaultDuplicates()}
	second := sold(tideover.StateApproved)
	second.ID = otherID
	refunded := undoing(1, tideover.KindRefund, 300, tideover.StateApproved)
	refunded.Order = "A-1"
	book := ledger{all: []entry{sold(tideover.StateApproved), second, refunded}}
	press := Press{Request: tideover.Request{Kind: tideover.KindRefund, Amount: 300, Currency: "CNY", Order: "A-1", Original: saleID}}
	if _, err := rules.Judge(press, book); err == nil {
		t.Error("the same refund pressed twice is taken")
	}
	press.Original = otherID
	if _, err := rules.Judge(press, book); err != nil {
		t.Errorf("another sale's refund: %v", err)
	}
	reversed := undoing(2, tideover.KindReversal, 0, tideover.StateSent)
	reversed.Order = "A-1"
	book.all = []entry{sold(tideover.StateApproved), reversed}
	if _, err := rules.Judge(Press{Request: tideover.Request{Kind: tideover.KindReversal, Order: "A-1", Original: saleID}}, book); err != nil {
		t.Errorf("a reversal pressed twice: %v", err)
	}
}

// The press that a refusal names is the latest of those that look like it, wherever it comes among them: that is the one to ask for.
func TestDuplicates_NameTheLatest(t *testing.T) {
	for _, order := range [][]tideover.Millis{{1, 2, 3}, {3, 2, 1}, {2, 3, 1}} {
		all := func(yield func(Seen) bool) {
			for _, at := range order {
				if !yield(Seen{Transaction: tideover.Transaction{ID: tideover.ID{byte(at)}, Kind: tideover.KindSale, Amount: 5, CreatedAt: at, State: tideover.StateSent}, Instrument: code1}) {
					return
				}
			}
		}
		_, err := DefaultDuplicates().judge(Press{Request: tideover.Request{Kind: tideover.KindSale, Amount: 5}, Instrument: code1}, list{all: all})
		if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.DuplicateOf != (tideover.ID{3}) {
			t.Errorf("%v: %v", order, err)
		}
	}
}

// list is a shop where these presses look like the next one.
type list struct {
	ledger
	all iter.Seq[Seen]
}

func (l list) Alike(Press) iter.Seq[Seen] { return l.all }

// crowd is a shop where many presses look like the next one; it counts how many of them a judgement looks at.
type crowd struct {
	ledger
	of     int
	seen   Seen
	looked *int
}

func (c crowd) Alike(Press) iter.Seq[Seen] {
	return func(yield func(Seen) bool) {
		for i := range c.of {
			*c.looked++
			c.seen.ID = tideover.ID{byte(i), byte(i >> 8), 1}
			if !yield(c.seen) {
				return
			}
		}
	}
}

// A judgement runs under the queue's lock: it does not look at each of a hundred thousand presses for the latest one, and at none where the shop
// has said that none counts.
func TestDuplicates_DoNotLookAtEachOfMany(t *testing.T) {
	blind := Press{Request: tideover.Request{Kind: tideover.KindSale, Amount: 500, Currency: "CNY"}, TerminalUID: "till-1"}
	coded := blind
	coded.Instrument = code1
	usual := DefaultDuplicates()
	watchful := usual
	watchful.BlindWindow = time.Minute
	for name, c := range map[string]struct {
		duplicates Duplicates
		press      Press
		most       int
		suspected  bool
	}{
		"equal coffees":                       {usual, blind, 0, false},
		"equal coffees, and they are watched": {watchful, blind, looksMax, true},
		"one code":                            {usual, coded, looksMax, true},
		"one code, and none is watched":       {Duplicates{BlindWindow: time.Minute}, coded, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			looked := 0
			seen := Seen{Transaction: tideover.Transaction{
				Kind: c.press.Kind, Amount: c.press.Amount, Currency: c.press.Currency, TerminalUID: c.press.TerminalUID, State: tideover.StateSent,
			}, Instrument: c.press.Instrument}
			_, err := c.duplicates.judge(c.press, crowd{of: 100_000, seen: seen, looked: &looked})
			if looked > c.most || (err != nil) != c.suspected {
				t.Errorf("looked at %d, want %d at most; %v", looked, c.most, err)
			}
		})
	}
}
