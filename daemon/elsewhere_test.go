package daemon

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/rules"
	"tideover/terminal"
	"tideover/wire"
)

// coded is a sale by a scanned code.
func coded(amount int64, code string) tideover.Request {
	r := saleOf(amount)
	r.Instrument = code
	return r
}

// TestDesk_APressThatAnotherRouterMayHaveTaken: on a router that replaced another, a press that looks like a second one is perhaps the first
// one's repetition, which was executed. It is refused only once the hub's ledger does not have it.
func TestDesk_APressThatAnotherRouterMayHaveTaken(t *testing.T) {
	h := newHouse(t)
	const code = "284512345678901234"
	if _, err := h.Accept(t.Context(), till1, "here", terminal.OverrideNone, coded(1299, code)); err != nil {
		t.Fatal(err)
	}
	press := func(key string) (tideover.Transaction, error) {
		return h.Accept(t.Context(), till2, key, terminal.OverrideNone, coded(1299, code))
	}
	// The hub is unheard: neither can be said.
	_, err := press("unheard")
	wantCode(t, err, tideover.CodeOfflineLimit)
	if r, _ := errors.AsType[*tideover.Refusal](err); r == nil || r.RetryAfter <= 0 || r.DuplicateOf.IsZero() {
		t.Errorf("it does not say of what, or when to try again: %+v", r)
	}
	if _, err := h.queue.Get(tideover.MakeID(h.store, till2.UID, "unheard")); err == nil {
		t.Error("a refusal has stored something")
	}

	done, open, silent := tideover.MakeID(h.store, till2.UID, "done"), tideover.MakeID(h.store, till2.UID, "open"), tideover.MakeID(h.store, till2.UID, "silent")
	hub := &fakeHub{welcome: wire.Welcome{Gap: true}, answer: func(msg any) []any {
		end := wire.Confirmation{ID: done, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved}}
		switch m := msg.(type) {
		case wire.Ask:
			switch m.ID {
			case done:
				return []any{end}
			case open:
				return []any{wire.Progress{State: tideover.StatePending}}
			case silent:
				return nil
			}
			return []any{wire.Progress{}}
		case wire.Submit:
			if m.ID == done {
				return []any{end}
			}
		}
		return nil
	}}
	h.connect(t, hub)
	for _, key := range []string{"done", "open"} {
		x, err := press(key)
		if err != nil || x.Replayed {
			t.Fatalf("%s: %+v, %v", key, x, err)
		}
	}
	soon(t, func() bool { return h.state(t, done) == tideover.StateApproved })
	_, err = press("new")
	wantCode(t, err, tideover.CodeSuspectedDuplicate)
	start := time.Now()
	_, err = press("silent")
	wantCode(t, err, tideover.CodeOfflineLimit)
	if time.Since(start) < elsewhereMax {
		t.Error("the hub was given no time to answer")
	}
	// What the request alone decides needs no hub, and what an operator answers for neither.
	tooLow := coded(0, code)
	_, err = h.Accept(t.Context(), till2, "malformed", terminal.OverrideNone, tooLow)
	wantCode(t, err, tideover.CodeInvalidRequest)
	mine := coded(1299, code)
	mine.Operator = "lin"
	if _, err := h.Accept(t.Context(), till2, "mine", terminal.OverrideDuplicate, mine); err != nil {
		t.Error(err)
	}
}

// TestDesk_ASaleThatMayNotWaitAndAnotherRouterMayHaveTaken keeps out that a till which repeats a sale to a new router, while the line is down, is
// told that nothing was charged and that the customer pays in cash: the router before it may have sent the sale.
func TestDesk_ASaleThatMayNotWaitAndAnotherRouterMayHaveTaken(t *testing.T) {
	h := newHouse(t)
	h.rule(t, rules.Rules{Methods: stern(), Limits: rules.DefaultLimits(), Duplicates: rules.DefaultDuplicates()})
	h.heard = func() bool { return false }
	refused := func(key string, sure bool) {
		t.Helper()
		_, err := h.Accept(t.Context(), till1, key, terminal.OverrideNone, saleOf(1299))
		wantCode(t, err, tideover.CodeOfflineLimit)
		r, _ := errors.AsType[*tideover.Refusal](err)
		if r == nil || r.RetryAfter <= 0 || strings.Contains(r.Detail.En, "whether this press was taken before") == sure ||
			strings.Contains(r.Detail.Zh, "此前是否已受理") == sure {
			t.Errorf("%s: it is sure that nothing was taken, or is not: %v", key, err)
		}
	}
	refused("unheard", false)
	done := tideover.MakeID(h.store, till1.UID, "done")
	h.connect(t, &fakeHub{welcome: wire.Welcome{Gap: true}, answer: func(msg any) []any {
		if ask, ok := msg.(wire.Ask); ok && ask.ID != done {
			return []any{wire.Progress{}}
		}
		return []any{wire.Confirmation{ID: done, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved}}}
	}})
	if x, err := h.Accept(t.Context(), till1, "done", terminal.OverrideNone, saleOf(1299)); err != nil || x.ID != done {
		t.Errorf("it was taken before: %+v, %v", x, err)
	}
	soon(t, func() bool { return h.state(t, done) == tideover.StateApproved })
	refused("new", true)
}

// TestDesk_AReplacedRouterDoesNotKnowWhatTheOtherSells keeps out that a till which is still connected to a router that was replaced is told that
// its shop has never sold what the new router has, or that a refund of it was not taken.
func TestDesk_AReplacedRouterDoesNotKnowWhatTheOtherSells(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	reversal := tideover.Request{Kind: tideover.KindReversal, Original: tideover.ID{9}, ExpiresIn: tideover.ExpiresInDefault}
	_, err := h.Accept(t.Context(), till1, "before", terminal.OverrideNone, reversal)
	wantCode(t, err, tideover.CodeOriginalUnknown)
	h.session.supersede()
	if _, err := h.Accept(t.Context(), till1, "after", terminal.OverrideNone, reversal); err != nil {
		t.Errorf("a reversal of what the other router has sold: %v", err)
	}
	if p := h.past(); p.Complete() || p.MayEnd() {
		t.Errorf("its journal is complete: %+v", p)
	}
}

// TestSeen_AgeGoesByLedgerTime keeps out that a router whose clock is a year ahead closes every refund's window, and that one in 1970 opens it: the
// ledger's time counts as soon as it is known.
func TestSeen_AgeGoesByLedgerTime(t *testing.T) {
	h := newHouse(t)
	now := tideover.MillisOf(time.Now())
	sold := tideover.Transaction{CreatedAt: now.Add(-2 * time.Hour), Outcome: &tideover.Outcome{Result: tideover.StateApproved, At: now.Add(-time.Hour)}}
	const year = 365 * 24 * time.Hour
	ahead := seen{desk: h.desk, draft: &edge.Draft{CreatedAt: now.Add(year)}}
	if age := ahead.Since(sold); age != year+2*time.Hour {
		t.Errorf("no hub was heard: %v", age)
	}
	h.welcome(t, wire.Welcome{})
	if age := ahead.Since(sold); age < time.Hour || age > 2*time.Hour {
		t.Errorf("by ledger time: %v", age)
	}
	sold.Outcome = nil
	if age := ahead.Since(sold); age != year+2*time.Hour {
		t.Errorf("of what has no end: %v", age)
	}
}

// TestDesk_ACompleteJournalAsksNobody: the refusal comes at once, also while no line reaches the hub.
func TestDesk_ACompleteJournalAsksNobody(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	first, err := h.Accept(t.Context(), till1, "first", terminal.OverrideNone, coded(1299, "284512345678901234"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Accept(t.Context(), till2, "second", terminal.OverrideNone, coded(1299, "284512345678901234"))
	wantCode(t, err, tideover.CodeSuspectedDuplicate)
	if r, _ := errors.AsType[*tideover.Refusal](err); r == nil || r.DuplicateOf != first.ID {
		t.Errorf("of which: %+v", r)
	}
}

// TestDesk_AnOverrideIsOnRecord, and so is what a shop lets pass: never silently.
func TestDesk_AnOverrideIsOnRecord(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	request := coded(1299, "284512345678901234")
	request.Operator = "lin"
	first, err := h.Accept(t.Context(), till1, "first", terminal.OverrideNone, request)
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.Accept(t.Context(), till1, "second", terminal.OverrideDuplicate, request)
	if err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.open(t)
	tech, _ := h.technician(t)
	for id, want := range map[tideover.ID]string{
		first.ID: "", second.ID: "looks like a second press of " + first.ID.String() + "; its operator answers for it",
	} {
		d, err := tech.Show(t.Context(), id.String())
		if err != nil || len(d.History) == 0 || d.History[0].Detail != want {
			t.Errorf("%s: %+v, %v; want %q", id, d.History, err, want)
		}
	}
}
