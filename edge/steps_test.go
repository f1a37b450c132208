package edge

import (
	"errors"
	"testing"
	"time"

	"tideover"
)

var (
	complete = Past{Caught: true}
	gapped   = Past{Caught: true, Gap: true}
	unheard  = Past{}
)

// life is a record that events were applied to, each with the next sequence.
type life struct {
	*testing.T
	Record
	seq uint64
}

func newLife(t *testing.T, kind tideover.Kind) *life {
	l := &life{T: t}
	d := Draft{ID: tideover.ID{1}, TerminalUID: "till", Terminal: "till", Key: "k", Hash: [32]byte{1}, CreatedAt: 1}
	d.Request = tideover.Request{Kind: kind, Amount: 1299, Currency: "CNY"}
	if kind == tideover.KindSale {
		d.LedgerExpires = after(45*time.Second, nil).LedgerNow
	}
	e := Accept(&d)
	l.apply(&e, nil)
	return l
}

// apply makes an event happen, if there is one, and fails on an error.
func (l *life) apply(e *Event, err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
	if e == nil {
		return
	}
	l.seq += 10
	if err := l.Apply(l.seq, e, true); err != nil {
		l.Fatal(err)
	}
}

func (l *life) move(cause tideover.Cause) {
	l.Helper()
	if _, err := l.Look(cause, Note{}); err != nil {
		l.Fatal(err)
	}
	l.seq++
	l.Move(cause, Note{}, l.seq, 1)
}

// told takes an end at an outbox position.
func (l *life) told(s tideover.State, hubSeq uint64, asked bool) Take {
	l.Helper()
	e, take, err := l.Told(Told{HubSeq: hubSeq, Outcome: tideover.Outcome{Result: s}, Asked: asked})
	if err != nil {
		l.Fatal(err)
	}
	if take == TakeNew {
		l.apply(&e, nil)
	}
	return take
}

func (l *life) is(s tideover.State) {
	l.Helper()
	if l.State != s {
		l.Fatalf("it is %s, want %s", l.State, s)
	}
}

func code(err error) tideover.Code {
	if r, ok := errors.AsType[*tideover.Refusal](err); ok {
		return r.Code
	}
	return ""
}

// TestRecord_Cancel is each instant at which a cancel can meet a transaction.
func TestRecord_Cancel(t *testing.T) {
	approved := func(l *life) { l.move(tideover.CauseSent); l.told(tideover.StateApproved, 1, false) }
	for name, c := range map[string]struct {
		before func(*life)
		past   Past
		kind   tideover.Kind
		want   tideover.State
		code   tideover.Code
	}{
		"never sent":                          {nil, complete, tideover.KindSale, tideover.StateCancelled, ""},
		"never sent, the hub unheard":         {nil, unheard, tideover.KindSale, tideover.StateReversing, ""},
		"never sent, in a journal with a gap": {nil, gapped, tideover.KindSale, tideover.StateReversing, ""},
		"never sent, orphans may be out":      {nil, Past{Caught: true, Orphans: true}, tideover.KindSale, tideover.StateReversing, ""},
		"never sent, superseded":              {nil, Past{Caught: true, Superseded: true}, tideover.KindSale, tideover.StateReversing, ""},
		"in flight":                           {func(l *life) { l.move(tideover.CauseSent) }, complete, tideover.KindSale, tideover.StateReversing, ""},
		"platform pending":                    {func(l *life) { l.move(tideover.ToldPending) }, complete, tideover.KindSale, tideover.StateReversing, ""},
		"in doubt after a restart":            {func(l *life) { _ = l.Reopen(99) }, complete, tideover.KindSale, tideover.StateReversing, ""},
		"link lost":                           {func(l *life) { l.move(tideover.CauseSent); l.move(tideover.CauseDoubt) }, complete, tideover.KindSale, tideover.StateReversing, ""},
		"held":                                {func(l *life) { l.apply(l.Hold(By{Who: "lin"})) }, complete, tideover.KindSale, tideover.StateReversing, ""},
		"approved, and not shown yet":         {approved, complete, tideover.KindSale, tideover.StateReversing, ""},
		"approved and acknowledged":           {func(l *life) { approved(l); l.apply(l.Acknowledge(l.Seq)) }, complete, tideover.KindSale, tideover.StateApproved, tideover.CodeAlreadyAcknowledged},
		"declined":                            {func(l *life) { l.told(tideover.StateDeclined, 1, false) }, complete, tideover.KindSale, tideover.StateDeclined, ""},
		"expired":                             {func(l *life) { l.told(tideover.StateExpired, 1, false) }, complete, tideover.KindSale, tideover.StateExpired, ""},
		"reversed, and acknowledged":          {func(l *life) { l.told(tideover.StateReversed, 1, false); l.apply(l.Acknowledge(l.Seq)) }, complete, tideover.KindSale, tideover.StateReversed, ""},
		"manual":                              {func(l *life) { l.move(tideover.ToldManual) }, complete, tideover.KindSale, tideover.StateReversing, ""},
		"twice":                               {func(l *life) { l.move(tideover.CauseSent); l.apply(l.Cancel(complete, By{}, 5)) }, complete, tideover.KindSale, tideover.StateReversing, ""},
		"a refund in flight":                  {func(l *life) { l.move(tideover.CauseSent) }, complete, tideover.KindRefund, tideover.StateReversing, ""},
		"a reversal, never sent":              {nil, complete, tideover.KindReversal, tideover.StateCancelled, ""},
		"a reversal that may have left":       {func(l *life) { l.move(tideover.CauseSent) }, complete, tideover.KindReversal, tideover.StateSent, tideover.CodeCannotCancel},
		"a reversal that is moot":             {func(l *life) { l.apply(l.EndHere(tideover.CauseMoot, tideover.Outcome{})) }, complete, tideover.KindReversal, tideover.StateApproved, tideover.CodeCannotCancel},
		"a reversal, the hub unheard":         {nil, unheard, tideover.KindReversal, tideover.StateQueued, tideover.CodeCannotCancel},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, c.kind)
			if c.before != nil {
				c.before(l)
			}
			e, err := l.Cancel(c.past, By{}, 5)
			if code(err) != c.code {
				t.Fatalf("got %v, want %q", err, c.code)
			}
			l.apply(e, nil)
			l.is(c.want)
			if c.want != tideover.StateReversing {
				return
			}
			if !l.Undo || l.Outcome != nil || l.EndSeq != 0 || l.Acknowledged {
				t.Errorf("the end that was is still there: %+v", l.Record)
			}
			if _, err := l.Look(tideover.CauseSent, Note{}); !errors.Is(err, ErrCancelAsked) {
				t.Errorf("it may leave after its cancel: %v", err)
			}
			if s := Decide(&l.Record, nil, after(0, nil)); s.Act != ActCancel {
				t.Errorf("next: %+v", s)
			}
			if s := Decide(&l.Record, nil, after(0, cut)); s.Act != ActHold && s.Act != ActDoubt {
				t.Errorf("next without a link: %+v", s)
			}
		})
	}
}

// A late approval never wins over a cancel unseen: one that the ledger decided before it knew of the cancel does not show. Where the
// ledger keeps an approval although it knows (parts of it are refunded), it does.
func TestRecord_AnApprovalThatMeetsACancel(t *testing.T) {
	l := newLife(t, tideover.KindSale)
	l.move(tideover.CauseSent)
	l.apply(l.Cancel(complete, By{}, 5))
	if take := l.told(tideover.StateApproved, 1, false); take != TakeNot {
		t.Fatalf("take %d", take)
	}
	l.is(tideover.StateReversing)
	if take := l.told(tideover.StateReversed, 2, true); take != TakeNew {
		t.Fatalf("take %d", take)
	}
	l.is(tideover.StateReversed)
	if l.Undo {
		t.Error("it is still to be cancelled")
	}
	if take := l.told(tideover.StateApproved, 1, false); take != TakeAgain {
		t.Errorf("an older end is news: %d", take)
	}

	l = newLife(t, tideover.KindSale)
	l.move(tideover.CauseSent)
	l.told(tideover.StateApproved, 1, false)
	shown := l.Seq
	l.apply(l.Cancel(complete, By{}, 5))
	if take := l.told(tideover.StateApproved, 1, false); take != TakeNot {
		t.Errorf("the end from before the cancel is back: %d", take)
	}
	if take := l.told(tideover.StateApproved, 4, true); take != TakeNew {
		t.Errorf("take %d", take)
	}
	l.is(tideover.StateApproved)
	if _, err := l.Acknowledge(shown); code(err) != tideover.CodeOutcomeChanged {
		t.Errorf("the till has not seen that it stays: %v", err)
	}
}

// Two ends of which each says that no money moved need not agree: a router that was replaced told the hub one, the hub had told the other.
// The till keeps the one that it has heard, and the hub hears that its own has arrived.
func TestRecord_EndsThatMeanTheSame(t *testing.T) {
	never := []tideover.State{tideover.StateDeclined, tideover.StateExpired, tideover.StateCancelled}
	for _, first := range never {
		for _, second := range never {
			l := newLife(t, tideover.KindSale)
			l.told(first, 1, false)
			l.apply(l.Acknowledge(l.Seq))
			if take := l.told(second, 2, true); first != second && take != TakeAgain {
				t.Errorf("%s after %s: take %d", second, first, take)
			}
			if l.is(first); !l.Acknowledged {
				t.Errorf("%s after %s: to be acknowledged anew", second, first)
			}
		}
	}
}

func TestBar(t *testing.T) {
	d := Draft{ID: tideover.ID{1}, TerminalUID: "till", Terminal: "till", Key: "k"}
	for name, c := range map[string]struct {
		past   Past
		want   tideover.State
		untold bool
	}{
		"a complete journal":      {complete, tideover.StateCancelled, true},
		"the hub is unheard":      {unheard, tideover.StateReversing, false},
		"a journal with a gap":    {gapped, tideover.StateReversing, false},
		"orphans may be out":      {Past{Caught: true, Orphans: true}, tideover.StateReversing, false},
		"another has taken over":  {Past{Caught: true, Superseded: true}, tideover.StateReversing, false},
		"restored, and so gapped": {Past{Caught: true}.Welcomed(Welcome{OffChain: true}), tideover.StateReversing, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := Bar(&d, c.past, By{}, 5)
			l := &life{T: t}
			l.apply(&e, nil)
			l.is(c.want)
			if !l.Barred() || l.Untold != c.untold || l.Undo == c.untold {
				t.Errorf("got %+v", l.Record)
			}
			if !c.untold {
				l.told(tideover.StateCancelled, 3, true)
				l.is(tideover.StateCancelled)
			}
		})
	}
}

// A person's word on what the machine cannot resolve goes to the ledger, which decides once; the end comes home like every other.
func TestRecord_Settle(t *testing.T) {
	l := newLife(t, tideover.KindSale)
	if _, err := l.SettleAs(tideover.StateApproved, By{}); code(err) != tideover.CodeNotPossible {
		t.Errorf("what is queued is settled: %v", err)
	}
	l.move(tideover.CauseSent)
	l.move(tideover.ToldManual)
	if _, err := l.SettleAs(tideover.StateExpired, By{}); code(err) != tideover.CodeNotPossible {
		t.Errorf("settled as expired: %v", err)
	}
	l.apply(l.SettleAs(tideover.StateReversed, By{Who: "uid 0", Reason: "statement"}))
	l.is(tideover.StateManual)
	if s := Decide(&l.Record, nil, after(0, nil)); s.Act != ActSettle || l.SettleBy.Reason != "statement" {
		t.Errorf("next: %+v, by %+v", s, l.SettleBy)
	}
	if _, err := l.SettleAs(tideover.StateApproved, By{}); code(err) != tideover.CodeNotPossible {
		t.Errorf("settled twice: %v", err)
	}
	if err := l.Reopen(500); err != nil {
		t.Fatal(err)
	}
	if s := Decide(&l.Record, nil, after(0, func(m *Moment) { m.Restored = true })); s.Act != ActSettle {
		t.Errorf("after a restart: %+v", s)
	}
	l.told(tideover.StateReversed, 1, false)
	l.is(tideover.StateReversed)
	if l.Settle != tideover.StateNone {
		t.Error("it is settled again")
	}
}

// A cancel that comes after a person's word wins over it: the ledger takes the word, which does not know of the cancel, and then the
// cancel. To say the word again and again would be answered with the same approval for ever.
func TestRecord_ACancelAfterItWasSettled(t *testing.T) {
	l := newLife(t, tideover.KindSale)
	l.move(tideover.CauseSent)
	l.move(tideover.ToldManual)
	l.apply(l.SettleAs(tideover.StateApproved, By{Who: "uid 0"}))
	l.apply(l.Cancel(complete, By{}, 5))
	l.is(tideover.StateReversing)
	if s := Decide(&l.Record, nil, after(0, nil)); s.Act != ActSettle {
		t.Fatalf("next: %+v", s)
	}
	if take := l.told(tideover.StateApproved, 1, false); take != TakeNot {
		t.Fatalf("take %d", take)
	}
	if s := Decide(&l.Record, nil, after(0, nil)); s.Act != ActCancel {
		t.Errorf("the cancel is never sent: %+v", s)
	}
	l.told(tideover.StateReversed, 2, true)
	l.is(tideover.StateReversed)
}

func TestRecord_Drop(t *testing.T) {
	by := By{Who: "uid 0", Reason: "closed"}
	l := newLife(t, tideover.KindSale)
	if _, err := l.Drop(gapped, by, 5); code(err) != tideover.CodeNotPossible {
		t.Errorf("another router may have sent it: %v", err)
	}
	l.apply(l.Drop(complete, by, 5))
	l.is(tideover.StateCancelled)
	if !l.Untold {
		t.Error("the hub is not told")
	}
	l = newLife(t, tideover.KindSale)
	l.move(tideover.CauseSent)
	if _, err := l.Drop(complete, by, 5); code(err) != tideover.CodeNotPossible {
		t.Errorf("what may have left is dropped: %v", err)
	}
	l.told(tideover.StateApproved, 1, false)
	l.apply(l.Drop(complete, by, 5))
	l.is(tideover.StateApproved)
	if !l.Acknowledged || !l.Closed() {
		t.Errorf("it is still shown: %+v", l.Record)
	}
	l.told(tideover.StateReversed, 2, false)
	if l.Acknowledged {
		t.Error("a correction is cleared with what it corrects")
	}
}

func TestRecord_HoldAndRelease(t *testing.T) {
	l := newLife(t, tideover.KindRefund)
	l.apply(l.Hold(By{Who: "uid 0"}))
	l.is(tideover.StateHeld)
	if e, err := l.Hold(By{}); e != nil || err != nil {
		t.Errorf("held twice: %v, %v", e, err)
	}
	if err := l.Reopen(99); err != nil {
		t.Fatal(err)
	}
	l.is(tideover.StateHeld)
	l.apply(l.Release(By{Who: "uid 0"}))
	l.is(tideover.StateInDoubt)
	restored := func(m *Moment) { m.Restored, m.Gap = true, true }
	if s := Decide(&l.Record, nil, after(0, restored)); s.Act != ActSend {
		t.Errorf("a technician has looked at it, and it is not sent: %+v", s)
	}
	l.move(tideover.CauseSent)
	l.move(tideover.ToldPending)
	if _, err := l.Hold(By{}); code(err) != tideover.CodeNotPossible {
		t.Errorf("what the platform is at work on is held: %v", err)
	}
}

// A reversal of what has no end asks for its cancel; of what never left, both end here.
func TestDecide_AReversalAndItsOriginal(t *testing.T) {
	sold, back := newLife(t, tideover.KindSale), newLife(t, tideover.KindReversal)
	sold.First, back.First, back.Original = 10, 20, sold.ID
	next := func(change func(*Moment)) Act { return Decide(&back.Record, &sold.Record, after(0, change)).Act }
	if got := next(cut); got != ActFirst {
		t.Errorf("its original is queued: %d", got)
	}
	sold.apply(sold.Cancel(complete, By{}, 5))
	sold.is(tideover.StateCancelled)
	if got := next(cut); got != ActMoot {
		t.Errorf("its original has never left: %d", got)
	}
	if got := next(func(m *Moment) { m.Gap = true }); got != ActSend {
		t.Errorf("another router may have sent the reversal: %d", got)
	}
	back.apply(back.EndHere(tideover.CauseMoot, tideover.Outcome{Code: "00"}))
	back.is(tideover.StateApproved)

	sold, back = newLife(t, tideover.KindSale), newLife(t, tideover.KindReversal)
	sold.First, back.First = 10, 20
	sold.move(tideover.CauseSent)
	if got := next(nil); got != ActFirst || back.Behind(&sold.Record) {
		t.Errorf("its original is in flight: %d", got)
	}
	sold.apply(sold.Cancel(complete, By{}, 5))
	if !back.Behind(&sold.Record) {
		t.Error("the reversal passes its original's cancel")
	}
	sold.told(tideover.StateReversed, 1, true)
	if got := next(nil); got != ActSend || back.Behind(&sold.Record) {
		t.Errorf("its original is undone: %d", got)
	}
}

// What a restored journal holds open may have ended since, in the one that was lost: a reversal of it undoes nothing before the hub was asked,
// or a person has looked at it.
func TestDecide_AReversalInARestoredJournal(t *testing.T) {
	sold, back := newLife(t, tideover.KindSale), newLife(t, tideover.KindReversal)
	sold.First, back.First, back.Original = 10, 20, sold.ID
	if err := errors.Join(sold.Reopen(98), back.Reopen(99)); err != nil {
		t.Fatal(err)
	}
	restored := after(0, func(m *Moment) { m.Restored, m.Gap = true, true })
	if s := Decide(&back.Record, &sold.Record, restored); s.Act != ActAsk {
		t.Errorf("its original is cancelled: %+v", s)
	}
	back.move(tideover.ToldManual)
	back.apply(back.Release(By{Who: "uid 0"}))
	if s := Decide(&back.Record, &sold.Record, restored); s.Act != ActFirst {
		t.Errorf("after a person has let it go: %+v", s)
	}
}

// The cancel of a refund waits for nothing: it asks the hub to undo it, whatever becomes of its sale.
func TestRecord_ACancelledRefundIsNotBehindItsSale(t *testing.T) {
	sold, refund := newLife(t, tideover.KindSale), newLife(t, tideover.KindRefund)
	sold.First, refund.First, refund.Original = 10, 20, sold.ID
	refund.move(tideover.CauseSent)
	if !refund.Behind(&sold.Record) {
		t.Error("a refund passes its sale")
	}
	refund.apply(refund.Cancel(complete, By{}, 5))
	if refund.Behind(&sold.Record) {
		t.Error("its cancel waits for its sale")
	}
}

// What may have been sent to a ledger that has lost it since is said again as such.
func TestDecide_AgainAfterTheLedgerHasLostSomething(t *testing.T) {
	lost := func(m *Moment) { m.LostBefore = 15 }
	l := newLife(t, tideover.KindSale) // at 10
	if s := Decide(&l.Record, nil, after(0, lost)); s.Act != ActSend || s.Again {
		t.Errorf("nothing of it has left: %+v", s)
	}
	l.move(tideover.CauseSent)
	if s := Decide(&l.Record, nil, after(0, lost)); s.Act != ActSend || !s.Again {
		t.Errorf("it was sent: %+v", s)
	}
	l.First = 16
	if s := Decide(&l.Record, nil, after(0, lost)); s.Again {
		t.Errorf("it was accepted after the loss: %+v", s)
	}
	for seq, again := range map[uint64]bool{0: true, 100: false} { // a ledger that knows of its loss asks the platform anyway
		bar := Bar(&Draft{ID: tideover.ID{1}}, gapped, By{}, 1)
		b := &life{T: t, seq: seq}
		b.apply(&bar, nil)
		if s := Decide(&b.Record, nil, after(0, lost)); s.Act != ActCancel || s.Again != again {
			t.Errorf("a key barred at %d: %+v", b.First, s)
		}
	}
}

// Nothing but the beginning begins a record, and nothing but a transaction's event is part of one; a refused event changes nothing.
func TestRecord_ApplyRefuses(t *testing.T) {
	outcome := &tideover.Outcome{Result: tideover.StateApproved}
	for name, e := range map[string]Event{
		"an end without a beginning":   {Type: EventEnded, From: tideover.StateSent, Cause: tideover.ToldApproved, Outcome: outcome},
		"a beginning in another state": {Type: EventAccepted, From: tideover.StateQueued, Cause: tideover.CauseSent, Accepted: &Accepted{}},
		"no request":                   {Type: EventAccepted, Cause: tideover.CauseAccepted},
		"a bar without a key":          {Type: EventBarred, Cause: tideover.CauseUndo},
		"delivered":                    {Type: EventDelivered},
	} {
		var r Record
		if err := r.Apply(1, &e, true); err == nil || r != (Record{}) {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
	l := newLife(t, tideover.KindSale)
	before := l.Record
	for name, e := range map[string]Event{
		"accepted twice":            {Type: EventAccepted, Cause: tideover.CauseAccepted, Accepted: &Accepted{}},
		"barred afterwards":         {Type: EventBarred, Cause: tideover.CauseUndo, Accepted: &Accepted{}},
		"an end without an outcome": {Type: EventEnded, From: tideover.StateQueued, Cause: tideover.ToldApproved},
		"settled as nothing":        {Type: EventSettle},
		"a move that is in no row":  {Type: EventEnded, From: tideover.StateDeclined, Cause: tideover.ToldApproved, Outcome: outcome},
		"the journal's own event":   {Type: EventMark},
		"no type":                   {},
	} {
		if err := l.Apply(50, &e, true); err == nil || l.Record != before {
			t.Errorf("%s: %v, %+v", name, err, l.Record)
		}
	}
}

// What two acceptances of one press may differ in stays with the end where it differs, by the record that is there then. The fault: it was
// compared before, with the hub's record of an id that a till pressed at that very moment.
func TestRecord_KeepsOfAProofWhatItDoesNotSay(t *testing.T) {
	for name, row := range map[string]struct{ told, kept tideover.Proof }{
		"the same":      {tideover.Proof{Key: tideover.KeyID{1}, Terminal: "till", CreatedAt: 1}, tideover.Proof{Key: tideover.KeyID{1}}},
		"another time":  {tideover.Proof{Terminal: "till", CreatedAt: 2}, tideover.Proof{CreatedAt: 2}},
		"another name":  {tideover.Proof{Terminal: "till-9", CreatedAt: 1}, tideover.Proof{Terminal: "till-9"}},
		"both another":  {tideover.Proof{Terminal: "till-9", CreatedAt: 2}, tideover.Proof{Terminal: "till-9", CreatedAt: 2}},
		"nothing of it": {tideover.Proof{Signature: [64]byte{1}}, tideover.Proof{Signature: [64]byte{1}}},
	} {
		l := newLife(t, tideover.KindSale)
		e, take, err := l.Told(Told{HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved}, Receipt: &row.told})
		if err != nil || take != TakeNew || e.Receipt == nil || *e.Receipt != row.kept {
			t.Errorf("%s: %+v, %v, %v", name, e.Receipt, take, err)
		}
	}
	l := newLife(t, tideover.KindSale)
	if e, _, err := l.Told(Told{HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved}}); err != nil || e.Receipt != nil {
		t.Errorf("without one: %+v, %v", e.Receipt, err)
	}
}
