package queue

import (
	"errors"
	"fmt"
	"testing"

	"tideover"
	"tideover/edge"
)

func TestEnd_RepeatsAndCorrections(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	s.end(approved(d.ID, 1))
	s.end(approved(d.ID, 1)) // not on disk: nothing to say
	first := s.get(d.ID)
	acked, err := s.q.Acknowledge(t.Context(), d.ID, first.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if have := <-s.told; len(have) != 1 {
		t.Fatalf("durable: %v", have)
	}
	s.end(approved(d.ID, 1)) // the hub has not heard that it is on disk
	if have := <-s.told; len(have) != 1 || have[0] != (Position{d.ID, 1}) {
		t.Fatalf("durable: %v", have)
	}
	if s.get(d.ID).Seq != acked.Seq {
		t.Fatal("the same end told twice changed something")
	}
	// A correction takes the acknowledgement back.
	corrected := told(d.ID, 2, tideover.StateReversed)
	corrected.Corrected = true
	s.end(corrected)
	tx := s.get(d.ID)
	if tx.State != tideover.StateReversed || !tx.Corrected || tx.Acknowledged || tx.Delivered {
		t.Fatalf("corrected: %+v", tx)
	}
	_, err = s.q.Acknowledge(t.Context(), d.ID, first.Seq)
	refused(t, err, tideover.CodeOutcomeChanged)
	_, err = s.q.Acknowledge(t.Context(), d.ID, tx.Seq+1000)
	refused(t, err, tideover.CodeInvalidRequest)
	s.end(approved(d.ID, 1)) // a late copy of what was corrected
	if s.get(d.ID).State != tideover.StateReversed {
		t.Fatal("a late copy undid a correction")
	}
	if err := s.q.End(approved(d.ID, 3)); err == nil {
		t.Fatal("what is reversed was approved")
	}
	if _, err := s.q.Acknowledge(t.Context(), d.ID, tx.Seq); err != nil {
		t.Fatal(err)
	}
	if _, err := s.q.Acknowledge(t.Context(), d.ID, tx.EndSeq); err != nil { // again
		t.Fatal(err)
	}
	s.reopen()
	if got := s.get(d.ID); got.State != tideover.StateReversed || !got.Corrected || !got.Acknowledged {
		t.Fatalf("reopened: %+v", got)
	}
}

func TestEnd_AdoptsWhatWasLost(t *testing.T) {
	s := newShop(t)
	d := draft("till", "lost")
	if err := s.q.End(approved(d.ID, 1)); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	s.q.CaughtUp(9)
	s.flush()
	if s.q.HaveThrough() != 0 {
		t.Fatal("caught up past an end that could not be taken")
	}
	e := approved(d.ID, 1)
	e.Adopt = &d
	s.end(e)
	s.q.CaughtUp(9)
	if s.q.HaveThrough() != 0 {
		t.Fatal("caught up before it was on disk")
	}
	s.flush()
	if s.q.HaveThrough() != 9 {
		t.Fatalf("have through %d", s.q.HaveThrough())
	}
	s.crash()
	tx := s.get(d.ID)
	if tx.State != tideover.StateApproved || tx.Key != "lost" || tx.Amount != 1299 || s.q.HaveThrough() != 9 {
		t.Fatalf("got %+v", tx)
	}
	if again := s.accept(d); !again.Replayed {
		t.Fatal("the till's repeat was taken for new")
	}
	other := draft("till", "lost", func(d *edge.Draft) { d.Request.Amount = 7 })
	_, err := s.q.Accept(t.Context(), other, yes)
	refused(t, err, tideover.CodeKeyReused)
}

func TestAdopt_ReplacesAnotherRequest(t *testing.T) {
	s := newShop(t)
	mine := draft("till", "k")
	hubs := draft("till", "k", func(d *edge.Draft) { d.Request.Amount, d.Request.Instrument = 700, "999" })
	s.accept(mine)
	if err := s.q.Adopt(hubs); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		p, err := s.q.Next(t.Context())
		if err == nil {
			err = s.q.Unpack(&p)
		}
		if err != nil || p.Amount != 700 || p.Request.Instrument != "999" || p.NeverSent() || p.State != tideover.StateInDoubt || !p.Adopted {
			t.Fatalf("got %+v, %v", p, err)
		}
		if _, amount := (View{s.q, &batch{}, nil}).Open(); amount["CNY"] != 700 {
			t.Fatalf("exposure %v", amount)
		}
		_, err = s.q.Accept(t.Context(), mine, yes)
		refused(t, err, tideover.CodeKeyReused)
	}
	look()
	if err := s.q.Adopt(hubs); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	look()
	if err := s.q.Adopt(draft("till", "other")); err != nil {
		t.Fatal(err)
	}
	s.flush()
	if s.get(draft("till", "other").ID).State != tideover.StateInDoubt {
		t.Fatal("an adopted one is not in doubt")
	}
}

// The cancel of a press reached the hub, and the press itself never did: the hub has a bar without a request, and says so at a hello.
func TestAdopt_ABarTakesNoRequestAway(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	s.reopen()
	if _, err := s.q.Cancel(t.Context(), d.ID, func() edge.Past { return edge.Past{} }, edge.By{}, 0); err != nil {
		t.Fatal(err)
	}
	s.end(Told{
		Position: Position{ID: d.ID, HubSeq: 1}, Outcome: tideover.Outcome{Result: tideover.StateCancelled},
		Adopt: &edge.Draft{ID: d.ID, TerminalUID: d.TerminalUID, Terminal: d.Terminal, Key: d.Key},
	})
	for range 2 {
		tx := s.get(d.ID)
		if tx.State != tideover.StateCancelled || tx.Kind != tideover.KindSale || tx.Amount != 1299 || tx.Hash != d.Hash {
			t.Fatalf("got %+v", tx)
		}
		s.flush()
		s.reopen()
	}
	other := draft("till", "k", func(d *edge.Draft) { d.Request.Amount = 7 })
	_, err := s.q.Accept(t.Context(), other, yes)
	refused(t, err, tideover.CodeKeyReused)
}

func TestHaveThrough_WaitsForGaps(t *testing.T) {
	s := newShop(t)
	var drafts []edge.Draft
	for i := range 5 {
		drafts = append(drafts, draft("till", fmt.Sprint(i)))
		s.accept(drafts[i])
	}
	tell := func(i int, position, want uint64) {
		t.Helper()
		s.end(approved(drafts[i].ID, position))
		s.flush()
		if got := s.q.HaveThrough(); got != want {
			t.Fatalf("have through %d, want %d", got, want)
		}
	}
	tell(0, 1, 1)
	tell(1, 3, 1)
	s.crash()
	if s.q.HaveThrough() != 1 {
		t.Fatal("forgotten")
	}
	tell(2, 2, 3)
	tell(3, 6, 3)
	s.q.CaughtUp(5)
	s.flush()
	if s.q.HaveThrough() != 6 {
		t.Fatalf("have through %d", s.q.HaveThrough())
	}
	s.reopen()
	if s.q.HaveThrough() != 6 {
		t.Fatalf("have through %d after a restart", s.q.HaveThrough())
	}
}

// TestMove_TakesNoEndBack: the end is pushed on one stream, what was said before it comes on another, and later.
func TestMove_TakesNoEndBack(t *testing.T) {
	s := newShop(t)
	for i, end := range []tideover.State{
		tideover.StateApproved, tideover.StateDeclined, tideover.StateExpired, tideover.StateCancelled, tideover.StateReversed,
	} {
		tx := s.accept(draft("till", end.String()))
		s.end(told(tx.ID, uint64(i+1), end))
		before := s.get(tx.ID)
		for _, late := range []tideover.Cause{tideover.ToldPending, tideover.ToldReversing, tideover.ToldManual, tideover.CauseDoubt, tideover.CauseSent} {
			if err := s.q.Move(tx.ID, late, edge.Note{}); err == nil || s.get(tx.ID).Seq != before.Seq {
				t.Errorf("%s takes %q back: %v", late, end, err)
			}
		}
	}
}

// TestCaughtUp_StopsBeforeWhatCouldNotBeRead: an end whose transaction cannot be read is not on disk, whatever follows it.
func TestCaughtUp_StopsBeforeWhatCouldNotBeRead(t *testing.T) {
	s := newShop(t)
	tx := s.accept(draft("till", "k1"))
	unreadable := tideover.MakeID(testStore, "till", "k2")
	s.q.mu.Lock()
	s.q.index[unreadable] = s.q.index[tx.ID] // another's entry
	s.q.mu.Unlock()
	if err := s.q.End(approved(unreadable, 1)); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	s.q.CaughtUp(3)
	s.flush()
	if have := s.q.HaveThrough(); have != 0 {
		t.Errorf("have through %d, and end 1 is nowhere", have)
	}
}

// TestCaughtUp_PassesWhatWasReplaced: an end that could not be taken is not told again once a newer one of the same transaction was.
func TestCaughtUp_PassesWhatWasReplaced(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	if err := s.q.EndHere(t.Context(), d.ID, tideover.CauseExpired, tideover.Outcome{}); err != nil {
		t.Fatal(err)
	}
	if err := s.q.End(approved(d.ID, 5)); err == nil {
		t.Fatal("an approval after the edge's own end is taken")
	}
	s.q.CaughtUp(9)
	s.flush()
	if have := s.q.HaveThrough(); have != 4 {
		t.Errorf("have through %d", have)
	}
	reversed := told(d.ID, 6, tideover.StateReversed)
	reversed.Corrected = true
	s.end(reversed)
	s.q.CaughtUp(9)
	s.flush()
	if have := s.q.HaveThrough(); have != 9 {
		t.Errorf("have through %d: stuck", have)
	}
}

// TestCaughtUp_WaitsOnce: a link that flaps while nothing can be written lets nothing pile up.
func TestCaughtUp_WaitsOnce(t *testing.T) {
	s := newShop(t)
	for range 10 {
		s.q.CaughtUp(5)
	}
	if n := s.q.Stats().Lazy; n != 1 {
		t.Errorf("%d events wait", n)
	}
	s.flush()
	if have := s.q.HaveThrough(); have != 5 {
		t.Errorf("have through %d", have)
	}
}
