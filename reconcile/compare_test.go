package reconcile

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tideover"
)

const day = tideover.Millis(1_790_000_000_000)

func id(key string) tideover.ID { return tideover.MakeID("shop", "till", key) }

// entry is a sale of 12.99 as one side has it.
func entry(state tideover.State, change ...func(*Entry)) *Entry {
	e := &Entry{
		ID: id("a"), UID: "till", Terminal: "till-1", Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", State: state, At: day,
	}
	for _, c := range change {
		c(e)
	}
	return e
}

func book(given bool, all ...*Entry) Book {
	b := Book{Given: given}
	for _, e := range all {
		if e != nil {
			b.Entries = append(b.Entries, *e)
		}
	}
	return b
}

func TestCompare_JudgesATransaction(t *testing.T) {
	const (
		approved, declined, pending, reversed, manual = tideover.StateApproved, tideover.StateDeclined, tideover.StatePending,
			tideover.StateReversed, tideover.StateManual
	)
	amount := func(e *Entry) { e.Amount++ }
	yen := func(e *Entry) { e.Currency = "JPY" }
	refund := func(e *Entry) { e.Kind = tideover.KindRefund }
	reversal := func(e *Entry) { e.Kind = tideover.KindReversal }
	bare := func(e *Entry) { e.Kind, e.Amount, e.Currency = tideover.KindReversal, 0, "" }
	bar := func(e *Entry) { e.Kind, e.Amount, e.Currency = tideover.KindNone, 0, "" }
	outside := func(e *Entry) { e.Outside = true }
	moving := func(e *Entry) { e.Moving = true }
	yes, no := entry(approved), entry(declined)
	type books struct {
		till, journal, hub *Entry
		platform           []*Entry
		silent             string // sides that were not heard: t, h, p
	}
	one := []*Entry{yes}
	for name, tc := range map[string]struct {
		b      books
		want   tideover.Verdict
		reason string
	}{
		"all agree":                                  {books{yes, yes, yes, one, ""}, tideover.VerdictMatch, ""},
		"nobody was charged":                         {books{nil, no, no, nil, ""}, tideover.VerdictMatch, ""},
		"the till calls it cancelled":                {books{entry(tideover.StateCancelled), entry(reversed), entry(reversed), []*Entry{entry(reversed)}, ""}, tideover.VerdictMatch, ""},
		"the till still waits for what was declined": {books{entry(pending), no, no, nil, ""}, tideover.VerdictMatch, ""},
		"a press that was never taken":               {books{no, nil, nil, nil, ""}, tideover.VerdictMatch, ""},
		"a bar":                                      {books{nil, entry(tideover.StateCancelled, bar), entry(tideover.StateCancelled, bar), nil, ""}, tideover.VerdictMatch, ""},
		"the hub was not heard":                      {books{yes, yes, nil, nil, "hp"}, tideover.VerdictMatch, ""},
		"no statement":                               {books{yes, yes, yes, nil, "p"}, tideover.VerdictMatch, ""},
		"the till gave no items":                     {books{nil, yes, yes, one, "t"}, tideover.VerdictMatch, ""},
		"a reversal is not in the statement":         {books{nil, entry(approved, reversal), entry(approved, bare), nil, "t"}, tideover.VerdictMatch, ""},
		"one execution was given back":               {books{yes, yes, yes, []*Entry{yes, entry(reversed)}, ""}, tideover.VerdictMatch, ""},

		"amount":                        {books{entry(approved, amount), yes, yes, one, ""}, tideover.VerdictMismatch, ReasonDiffers},
		"currency":                      {books{yes, yes, entry(approved, yen), one, ""}, tideover.VerdictMismatch, ReasonDiffers},
		"kind":                          {books{entry(approved, refund), yes, yes, one, ""}, tideover.VerdictMismatch, ReasonDiffers},
		"the platform's amount":         {books{yes, yes, yes, []*Entry{entry(approved, amount)}, ""}, tideover.VerdictMismatch, ReasonDiffers},
		"amount of what never happened": {books{nil, no, entry(declined, amount), nil, ""}, tideover.VerdictMatch, ""},
		"twice":                         {books{yes, yes, yes, []*Entry{yes, yes}, ""}, tideover.VerdictMismatch, ReasonTwice},
		"twice, and the till lacks it":  {books{nil, yes, yes, []*Entry{yes, yes}, ""}, tideover.VerdictMismatch, ReasonTwice},
		"the till counts a decline":     {books{yes, no, no, nil, ""}, tideover.VerdictMismatch, ReasonEnd},
		"the till missed an approval":   {books{entry(pending), yes, yes, one, ""}, tideover.VerdictMismatch, ReasonEnd},
		"executed though declined":      {books{nil, no, no, one, ""}, tideover.VerdictMismatch, ReasonEnd},
		"executed and given back":       {books{yes, yes, yes, []*Entry{entry(reversed)}, ""}, tideover.VerdictMismatch, ReasonEnd},
		"journal against hub":           {books{nil, no, yes, nil, "tp"}, tideover.VerdictMismatch, ReasonEnd},
		"another period":                {books{yes, entry(approved, outside), nil, nil, ""}, tideover.VerdictMismatch, ReasonPeriod},
		"another period, and undone":    {books{yes, entry(reversed, outside), nil, nil, ""}, tideover.VerdictMismatch, ReasonEnd},
		"another period, and no money":  {books{no, entry(declined, outside), nil, nil, ""}, tideover.VerdictMatch, ""},

		"the till lacks it":              {books{nil, yes, yes, one, ""}, tideover.VerdictOneSided, ReasonTillLacks},
		"the till alone":                 {books{yes, nil, nil, nil, ""}, tideover.VerdictOneSided, ReasonJournalLacks},
		"the till alone, still waiting":  {books{entry(pending), nil, nil, nil, ""}, tideover.VerdictOneSided, ReasonJournalLacks},
		"the journal lacks it":           {books{nil, nil, yes, one, "t"}, tideover.VerdictOneSided, ReasonJournalLacks},
		"the journal lacks what is open": {books{nil, nil, entry(pending), nil, "t"}, tideover.VerdictOneSided, ReasonJournalLacks},
		"the platform alone":             {books{nil, nil, nil, one, ""}, tideover.VerdictOneSided, ReasonJournalLacks},
		"the ledger lacks it":            {books{yes, yes, nil, one, ""}, tideover.VerdictOneSided, ReasonHubLacks},
		"the platform lacks it":          {books{yes, yes, yes, nil, ""}, tideover.VerdictOneSided, ReasonPlatformLacks},

		"under way":                         {books{nil, entry(pending), entry(pending), nil, ""}, tideover.VerdictOpen, ReasonOpen},
		"under way, and the till is sure":   {books{yes, entry(pending), entry(pending), nil, ""}, tideover.VerdictOpen, ReasonOpen},
		"queued":                            {books{nil, entry(tideover.StateQueued), nil, nil, ""}, tideover.VerdictOpen, ReasonOpen},
		"its confirmation is on its way":    {books{nil, entry(pending), yes, one, ""}, tideover.VerdictOpen, ReasonOpen},
		"being corrected":                   {books{yes, yes, entry(tideover.StateReversing), one, ""}, tideover.VerdictOpen, ReasonOpen},
		"a person has to":                   {books{nil, entry(manual), entry(manual), nil, ""}, tideover.VerdictOpen, ReasonManual},
		"the statement is of before":        {books{nil, yes, entry(approved, moving), nil, "t"}, tideover.VerdictOpen, ReasonOpen},
		"the statement is of before, again": {books{nil, entry(reversed), entry(reversed, moving), one, "t"}, tideover.VerdictOpen, ReasonOpen},
	} {
		b := Books{
			Till: book(!strings.Contains(tc.b.silent, "t"), tc.b.till), Journal: book(true, tc.b.journal),
			Hub: book(!strings.Contains(tc.b.silent, "h"), tc.b.hub), Platform: book(!strings.Contains(tc.b.silent, "p"), tc.b.platform...),
		}
		r := Compare(b)
		if len(r.Lines) != 1 || r.Lines[0].Result != tc.want || r.Lines[0].Reason != tc.reason {
			t.Errorf("%s: have %+v, want %s %q", name, r.Lines, tc.want, tc.reason)
			continue
		}
		l := r.Lines[0]
		if spoken := l.What.En != "" && l.What.Zh != "" && l.Next.En != "" && l.Next.Zh != ""; spoken != (tc.want != tideover.VerdictMatch) {
			t.Errorf("%s: %q %q", name, l.What, l.Next)
		}
		// Of a transaction of another period hub and platform were not asked: "hub: nothing" would send a person after what is not lost.
		if j := tc.b.journal; j != nil && j.Outside && strings.Contains(l.What.En+l.What.Zh, "hub") {
			t.Errorf("%s: says what the hub has of another period: %q", name, l.What)
		}
	}
}

func TestCompare_TakesATillsReversalForTheEndOfItsSale(t *testing.T) {
	sale := entry(tideover.StateReversed)
	undo := entry(tideover.StateApproved, func(e *Entry) {
		e.ID, e.Kind, e.Amount, e.Currency, e.Original = id("b"), tideover.KindReversal, 0, "", sale.ID
	})
	lists := *sale
	lists.State = tideover.StateApproved // and the reversal beside it
	r := Compare(Books{Till: book(true, &lists, undo), Journal: book(true, sale, undo), Hub: book(true, sale, undo)})
	if r.Verdict != tideover.VerdictMatch || len(r.Balances) != 0 {
		t.Errorf("have %+v", r)
	}
}

// A ledger that was put back may know of an approval, and nothing else of it.
func TestCompare_CountsWhatTheLedgerKnowsNoMoreOf(t *testing.T) {
	known := entry(tideover.StateApproved, func(e *Entry) { e.Kind, e.Amount, e.Currency = tideover.KindNone, 0, "" })
	r := Compare(Books{Journal: book(true, entry(tideover.StateApproved)), Hub: book(true, known)})
	if r.Verdict != tideover.VerdictMatch || len(r.Balances) != 1 || *r.Balances[0].Hub != (tideover.Sum{Count: 1, Amount: 1299}) {
		t.Errorf("have %+v", r)
	}
}

func TestWeigh(t *testing.T) {
	sum := func(count, amount int64) tideover.Sum { return tideover.Sum{Count: count, Amount: amount} }
	none := sum(0, 0)
	for name, tc := range map[string]struct {
		sides []tideover.Sum
		open  tideover.Sum
		want  tideover.Verdict
	}{
		"agree":                              {[]tideover.Sum{sum(2, 20), sum(2, 20), sum(2, 20)}, none, tideover.VerdictMatch},
		"agree, and one is open":             {[]tideover.Sum{sum(2, 20), sum(2, 20)}, sum(1, 5), tideover.VerdictMatch},
		"one more":                           {[]tideover.Sum{sum(2, 20), sum(3, 25)}, none, tideover.VerdictMismatch},
		"one more, which is open":            {[]tideover.Sum{sum(2, 20), sum(3, 25)}, sum(1, 5), tideover.VerdictOpen},
		"one more than is open":              {[]tideover.Sum{sum(2, 20), sum(3, 25)}, sum(1, 4), tideover.VerdictMismatch},
		"as many, of another amount":         {[]tideover.Sum{sum(2, 20), sum(2, 21)}, none, tideover.VerdictMismatch},
		"a side has none":                    {[]tideover.Sum{sum(2, 20), none, sum(2, 20)}, none, tideover.VerdictOneSided},
		"a side has none, and others differ": {[]tideover.Sum{sum(2, 20), none, sum(2, 21)}, none, tideover.VerdictMismatch},
		"too little open in one currency":    {[]tideover.Sum{sum(0, 0), sum(1, 25)}, sum(1, 24), tideover.VerdictOneSided},
	} {
		if have := weigh(tc.sides, tc.open); have != tc.want {
			t.Errorf("%s: %s, want %s", name, have, tc.want)
		}
	}
}

// TestCompare_AgainstAMapAndLoops compares random books with sums and verdicts that are worked out the slow way: for each id, in turn, over
// every side.
func TestCompare_AgainstAMapAndLoops(t *testing.T) {
	states := []tideover.State{tideover.StateApproved, tideover.StateApproved, tideover.StateDeclined, tideover.StateReversed, tideover.StatePending}
	kinds := []tideover.Kind{tideover.KindSale, tideover.KindRefund, tideover.KindAdvice}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(side string, twice bool) Book {
			b := Book{Given: side == "journal" || rapid.Bool().Draw(t, side)}
			for i := range 6 {
				for n := rapid.IntRange(0, map[bool]int{false: 1, true: 2}[twice]).Draw(t, side); n > 0; n-- {
					e := Entry{
						ID: id(fmt.Sprint(i)), UID: fmt.Sprintf("u%d", i%2), Terminal: fmt.Sprintf("till-%d", i%2),
						Kind: kinds[i%3], Amount: 100, Currency: []string{"CNY", "JPY", "USD"}[i/2],
						State: rapid.SampledFrom(states).Draw(t, "state"), At: day,
					}
					if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
						e.Amount++
					}
					b.Entries = append(b.Entries, e)
				}
			}
			return b
		}
		b := Books{Till: draw("till", false), Journal: draw("journal", false), Hub: draw("hub", false), Platform: draw("platform", true)}
		have := Compare(b)
		worst := tideover.VerdictMatch
		seen := 0
		for i := range 6 {
			want, any := slow(b, id(fmt.Sprint(i)))
			if !any {
				continue
			}
			seen++
			for _, l := range have.Lines {
				if l.ID == id(fmt.Sprint(i)) && l.Result != want {
					t.Fatalf("%d: have %s (%s), want %s: %+v", i, l.Result, l.Reason, want, l)
				}
			}
			worst = max(worst, want)
		}
		if len(have.Lines) != seen || have.Verdict < worst {
			t.Fatalf("%d lines of %d, %s below %s", len(have.Lines), seen, have.Verdict, worst)
		}
		for _, s := range have.Balances {
			for side, sum := range map[*Book]*tideover.Sum{&b.Till: s.Till, &b.Journal: s.Journal, &b.Hub: s.Hub, &b.Platform: s.Platform} {
				var want tideover.Sum
				for _, e := range side.Entries {
					owner := e.Terminal
					if side == &b.Platform {
						owner = ""
						for _, o := range []Book{b.Till, b.Hub, b.Journal} {
							for _, x := range o.Entries {
								if o.Given && x.ID == e.ID {
									owner = x.Terminal
								}
							}
						}
						if owner == "" {
							owner = e.Terminal
						}
					}
					if e.State == tideover.StateApproved && owner == s.Terminal && e.Kind == s.Kind && e.Currency == s.Currency {
						want.Count++
						want.Amount += e.Amount
					}
				}
				if side.Given != (sum != nil) || sum != nil && *sum != want {
					t.Fatalf("%+v: have %+v, want %+v", s, sum, want)
				}
			}
		}
	})
}

// slow is the verdict on one id, by the rules of the package's doc one after the other.
func slow(b Books, id tideover.ID) (tideover.Verdict, bool) {
	pick := func(b Book) (all []Entry) {
		for _, e := range b.Entries {
			if b.Given && e.ID == id {
				all = append(all, e)
			}
		}
		return all
	}
	till, journal, hub, platform := pick(b.Till), pick(b.Journal), pick(b.Hub), pick(b.Platform)
	has := func(all []Entry, s ...tideover.State) (n int) {
		for _, e := range all {
			for _, s := range s {
				if e.State == s {
					n++
				}
			}
		}
		return n
	}
	const A, D, R, P = tideover.StateApproved, tideover.StateDeclined, tideover.StateReversed, tideover.StatePending
	if len(till)+len(journal)+len(hub)+len(platform) == 0 {
		return 0, false
	}
	if has(platform, A) > 1 {
		return tideover.VerdictMismatch, true
	}
	amounts := map[int64]bool{}
	for _, side := range [][]Entry{till, journal, hub, platform} {
		for _, e := range side {
			amounts[e.Amount] = true
		}
	}
	paid := has(till, A)+has(journal, A)+has(hub, A)+has(platform, A) > 0
	platformOpen := has(platform, A) == 0 && has(platform, P) > 0
	open := has(journal, P)+has(hub, P) > 0 || platformOpen
	unpaid := has(till, D, R, P)+has(journal, D, R)+has(hub, D, R) > 0 || len(platform) > 0 && has(platform, A, P) == 0
	switch {
	case (paid || open) && len(amounts) > 1, paid && unpaid && !open:
		return tideover.VerdictMismatch, true
	case len(journal) == 0 && (paid || open || has(till, P) > 0):
		return tideover.VerdictOneSided, true
	case b.Hub.Given && len(hub) == 0 && has(journal, A)+has(platform, A) > 0:
		return tideover.VerdictOneSided, true
	case has(journal, P)+has(hub, P) == 0 && b.Platform.Given && len(platform) == 0 && has(journal, A)+has(hub, A) > 0:
		return tideover.VerdictOneSided, true
	case has(journal, P)+has(hub, P) == 0 && b.Till.Given && len(till) == 0 && paid:
		return tideover.VerdictOneSided, true
	case open || paid && unpaid || b.Platform.Given && len(platform) == 0 && has(journal, A)+has(hub, A) > 0:
		return tideover.VerdictOpen, true
	}
	return tideover.VerdictMatch, true
}
