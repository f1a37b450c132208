package queue

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
)

// bare is a key of which nothing is known but that it is to be cancelled.
func bare(key string) edge.Draft {
	return edge.Draft{ID: tideover.MakeID(testStore, "till", key), TerminalUID: "till", Terminal: "till", Key: key, CreatedAt: 1}
}

// TestCancel_IsOnDiskBeforeItIsAnswered: whatever has not been told by then is gone after a power cut, the cancel is not.
func TestCancel_IsOnDiskBeforeItIsAnswered(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	if err := s.q.Move(d.ID, tideover.CauseSent, edge.Note{Uplink: "eth1"}); err != nil {
		t.Fatal(err)
	}
	s.end(approved(d.ID, 1)) // told to the till, perhaps, and not on disk
	tx, err := s.q.Cancel(t.Context(), d.ID, complete, edge.By{Who: "uid 0", Reason: "walked away"}, 5)
	if err != nil || tx.State != tideover.StateReversing || tx.Outcome != nil {
		t.Fatalf("got %+v, %v", tx, err)
	}
	for range 2 {
		s.crash()
		if tx := s.get(d.ID); tx.State != tideover.StateReversing {
			t.Fatalf("after a crash: %+v", tx)
		}
	}
	p, err := s.q.Next(t.Context())
	if err != nil || !p.Undo {
		t.Fatalf("got %+v, %v", p, err)
	}
	steps, err := s.q.History(d.ID)
	if err != nil || len(steps) != 3 || steps[2].What != "cancel asked" || steps[2].By != "uid 0" || steps[2].Reason != "walked away" {
		t.Errorf("history %+v, %v", steps, err)
	}
	again := told(d.ID, 2, tideover.StateReversed)
	again.Asked = true
	s.end(again)
	s.crash()
	s.end(again) // the hub repeats what was not acknowledged
	s.flush()
	if tx := s.get(d.ID); tx.State != tideover.StateReversed {
		t.Errorf("got %+v", tx)
	}
}

// TestCancel_CallsBackWhatIsHandedOut: whoever carries the sale at that moment hears of it, and gives it back at once.
func TestCancel_CallsBackWhatIsHandedOut(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	p, err := s.q.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Recalled:
		t.Fatal("called back by nobody")
	default:
	}
	if _, err := s.q.Cancel(t.Context(), d.ID, unheard, edge.By{}, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Recalled:
	case <-time.After(10 * time.Second):
		t.Fatal("not called back")
	}
	s.q.Back(d.ID, time.Hour)
	if p, err = s.q.Next(t.Context()); err != nil || !p.Undo {
		t.Fatalf("got %+v, %v: it rests, and its cancel with it", p, err)
	}
}

// TestCancel_OfARefundBehindItsSale: the hub hears of it, however long the sale has no end.
func TestCancel_OfARefundBehindItsSale(t *testing.T) {
	s := newShop(t)
	sale := draft("till", "sale")
	refund := draft("till", "refund", undoing(tideover.KindRefund, sale.ID))
	s.accept(sale)
	s.accept(refund)
	s.reopen() // either may have left
	p, err := s.q.Next(t.Context())
	if err != nil || p.ID != sale.ID {
		t.Fatalf("got %+v, %v", p, err)
	}
	if r, _, _ := s.q.handOut(); r != nil {
		t.Fatal("the refund passes its sale")
	}
	if _, err := s.q.Cancel(t.Context(), refund.ID, complete, edge.By{}, 0); err != nil {
		t.Fatal(err)
	}
	if r, _, _ := s.q.handOut(); r == nil || r.ID != refund.ID || !r.Undo {
		t.Fatal("its cancel waits for the sale")
	}
	s.q.Back(refund.ID, 0)
	if r, _, _ := s.q.handOut(); r == nil || r.ID != refund.ID {
		t.Fatal("its cancel waits for the sale once it was given back")
	}
}

// TestCancel_OfAReversalThatHasBegun: its original is cancelled on its behalf, or was; to say then that the reversal never took place would
// be wrong.
func TestCancel_OfAReversalThatHasBegun(t *testing.T) {
	s := newShop(t)
	sale := draft("till", "sale")
	reversal := draft("till", "reversal", undoing(tideover.KindReversal, sale.ID))
	s.accept(sale)
	if err := s.q.Move(sale.ID, tideover.CauseSent, edge.Note{}); err != nil {
		t.Fatal(err)
	}
	s.accept(reversal)
	cancel := func(id tideover.ID) error {
		_, err := s.q.Cancel(t.Context(), id, complete, edge.By{}, 0)
		return err
	}
	if err := cancel(sale.ID); err != nil { // as the forwarder does first
		t.Fatal(err)
	}
	refused(t, cancel(reversal.ID), tideover.CodeCannotCancel)
	_, err := s.q.Drop(t.Context(), reversal.ID, complete, edge.By{}, 0)
	refused(t, err, tideover.CodeNotPossible)
	reversed := told(sale.ID, 1, tideover.StateReversed)
	reversed.Asked = true
	s.end(reversed)
	refused(t, cancel(reversal.ID), tideover.CodeCannotCancel)

	other := draft("till", "other")
	s.accept(other)
	s.end(approved(other.ID, 2))
	back := draft("till", "back", undoing(tideover.KindReversal, other.ID))
	s.accept(back)
	if err := cancel(back.ID); err != nil || s.get(back.ID).State != tideover.StateCancelled {
		t.Errorf("nothing of it has begun: %v", err)
	}
}

// TestCancel_OfAReversalAndOfItsOriginal at once, in any order and in one commit: either the reversal is cancelled, or its original on its behalf.
func TestCancel_OfAReversalAndOfItsOriginal(t *testing.T) {
	s := newShop(t)
	for i := range 60 {
		sale := draft("till", "sale"+strconv.Itoa(i))
		reversal := draft("till", "reversal"+strconv.Itoa(i), undoing(tideover.KindReversal, sale.ID))
		s.accept(sale)
		s.accept(reversal)
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := s.q.CancelFor(t.Context(), sale.ID, reversal.ID, complete, edge.By{}, 0); err != nil {
				t.Errorf("the original: %v", err)
			}
		})
		both.Go(func() { _, _ = s.q.Cancel(t.Context(), reversal.ID, complete, edge.By{}, 0) })
		both.Wait()
		if a, b := s.get(sale.ID).State, s.get(reversal.ID).State; (a == tideover.StateCancelled) == (b == tideover.StateCancelled) {
			t.Fatalf("the sale is %s, its reversal %s", a, b)
		}
	}
}

// TestCancel_GivenUp: a till that goes away while its cancel is being written reads nothing of the answer.
func TestCancel_GivenUp(t *testing.T) {
	s := newShop(t)
	for i := range 300 {
		d := draft("till", "k"+strconv.Itoa(i))
		s.accept(d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%30)*10*time.Microsecond)
		if tx, err := s.q.Cancel(ctx, d.ID, unheard, edge.By{}, 0); err != nil && tx != (tideover.Transaction{}) {
			t.Errorf("answered %+v with %v", tx, err)
		}
		cancel()
	}
}

// TestBar_MeetsItsPress: cancel and press of one key at once, in any order and in one commit, are one transaction, and it is cancelled.
func TestBar_MeetsItsPress(t *testing.T) {
	s := newShop(t)
	for i := range 60 {
		d := draft("till", "k"+string(rune('0'+i)))
		var both sync.WaitGroup
		both.Go(func() {
			if tx, err := s.q.Accept(t.Context(), d, yes); err != nil {
				t.Errorf("the press: %+v, %v", tx, err)
			}
		})
		both.Go(func() {
			if tx, err := s.q.Bar(t.Context(), bare(d.Key), complete, edge.By{}, 0); err != nil || tx.State != tideover.StateCancelled {
				t.Errorf("the cancel: %+v, %v", tx, err)
			}
		})
		both.Wait()
		if tx := s.get(d.ID); tx.State != tideover.StateCancelled {
			t.Fatalf("%s is %s", d.Key, tx.State)
		}
	}
	s.crash()
	tx, err := s.q.Accept(t.Context(), draft("till", "k1"), yes)
	if err != nil || !tx.Replayed || tx.State != tideover.StateCancelled {
		t.Errorf("after a crash the key is free: %+v, %v", tx, err)
	}
	page, _, err := s.q.List(Filter{})
	if err != nil || len(page) != 60 {
		t.Errorf("%d are listed, %v", len(page), err)
	}
}

// TestBar_IsAdopted: a router that has lost its record of a barred key learns it from the hub.
func TestBar_IsAdopted(t *testing.T) {
	s := newShop(t)
	d := bare("k")
	e := told(d.ID, 1, tideover.StateCancelled)
	e.Adopt, e.Asked = &d, true
	s.end(e)
	s.flush()
	s.flush() // whoever waited for the commit is answered before the hub is told of it
	if have := s.told; len(have) == 0 {
		t.Error("it is not acknowledged")
	}
	s.crash()
	if tx := s.get(d.ID); tx.State != tideover.StateCancelled || tx.Key != "k" || tx.Kind != tideover.KindNone {
		t.Errorf("got %+v", tx)
	}
}

func TestEndsAfter_AreToldAgainInTheirOrder(t *testing.T) {
	s := newShop(t)
	var ids []tideover.ID
	for i := range 5 {
		d := draft("till", "k"+string(rune('0'+i)))
		s.accept(d)
		ids = append(ids, d.ID)
	}
	for i, id := range []tideover.ID{ids[3], ids[0], ids[1], ids[2]} {
		s.end(approved(id, uint64(i+1)))
	}
	s.end(told(ids[0], 9, tideover.StateReversed))
	s.flush()
	for range 2 {
		for after, want := range map[uint64][]tideover.ID{
			0: {ids[3], ids[1], ids[2], ids[0]}, 3: {ids[2], ids[0]}, 8: {ids[0]}, 9: {},
		} {
			got, err := s.q.EndsAfter(after)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("after %d: %v, %v; want %v", after, got, err, want)
			}
		}
		if s.q.Highest() != 9 {
			t.Errorf("highest %d", s.q.Highest())
		}
		s.crash()
	}
	p, err := s.q.Parcel(ids[0])
	if err != nil || p.State != tideover.StateReversed || p.HubSeq != 9 || p.Request.Amount != 1299 {
		t.Errorf("got %+v, %v", p, err)
	}
}

// TestQueue_RemembersWhatTheHubIs: the epoch of the ledger that was heard last, and that this journal has a gap.
func TestQueue_RemembersWhatTheHubIs(t *testing.T) {
	s := newShop(t)
	journal := s.q.Journal()
	if s.q.Gap() || s.q.Epoch() != [16]byte{} || journal == [16]byte{} {
		t.Fatalf("a new journal: gap %v, epoch %x, journal %x", s.q.Gap(), s.q.Epoch(), journal)
	}
	first := s.q.HearEpoch(testEpoch)
	if err := s.q.NoteGap(t.Context(), 1<<40); err != nil {
		t.Fatal(err)
	}
	s.flush()
	s.crash()
	if seq, _ := s.q.Head(); seq <= 1<<40 {
		t.Errorf("the head is %d, and the lost one was further", seq)
	}
	s.accept(draft("till", "k"))
	if !s.q.Gap() || s.q.Epoch() != testEpoch || s.q.Journal() != journal {
		t.Errorf("gap %v, epoch %x, journal %x", s.q.Gap(), s.q.Epoch(), s.q.Journal())
	}
	if again := s.q.HearEpoch(testEpoch); again != first || first == 0 {
		t.Errorf("the same epoch is heard first at %d, and was at %d", again, first)
	}
	k := s.get(tideover.MakeID(testStore, "till", "k")).ID
	since := s.q.HearEpoch([16]byte{8})
	if p, err := s.q.Parcel(k); err != nil || p.First >= since || p.First <= first {
		t.Errorf("accepted at %d, between the epochs heard at %d and %d: %v", p.First, first, since, err)
	}
	s.flush()
	s.crash()
	if s.q.Epoch() != [16]byte{8} || s.q.HearEpoch([16]byte{8}) != since {
		t.Errorf("epoch %x", s.q.Epoch())
	}
}

func TestQueue_TechniciansAct(t *testing.T) {
	s := newShop(t)
	by := edge.By{Who: "uid 0", Reason: "asked"}
	d := draft("till", "k")
	s.accept(d)
	act := func(want tideover.State, do func(context.Context) (tideover.Transaction, error)) {
		t.Helper()
		if tx, err := do(t.Context()); err != nil || tx.State != want {
			t.Fatalf("got %s, %v; want %s", tx.State, err, want)
		}
	}
	act(tideover.StateHeld, func(ctx context.Context) (tideover.Transaction, error) { return s.q.Hold(ctx, d.ID, by) })
	if r, _, _ := s.q.handOut(); r != nil {
		t.Error("what is held is handed out")
	}
	s.crash()
	if got := s.get(d.ID).State; got != tideover.StateHeld {
		t.Errorf("after a crash it is %s", got)
	}
	act(tideover.StateInDoubt, func(ctx context.Context) (tideover.Transaction, error) { return s.q.Release(ctx, d.ID, by) })
	p, err := s.q.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.q.Move(d.ID, tideover.ToldManual, edge.Note{}); err != nil {
		t.Fatal(err)
	}
	act(tideover.StateManual, func(ctx context.Context) (tideover.Transaction, error) {
		return s.q.Settle(ctx, d.ID, tideover.StateApproved, by)
	})
	<-p.Recalled
	s.q.Back(d.ID, time.Hour)
	s.crash()
	if p, err = s.q.Next(t.Context()); err != nil || p.Settle != tideover.StateApproved || p.SettleBy != by || !p.Released {
		t.Fatalf("got %+v, %v", p, err)
	}
	s.q.Back(d.ID, time.Hour)
	act(tideover.StateInDoubt, func(ctx context.Context) (tideover.Transaction, error) { return s.q.Retry(ctx, d.ID, by) })
	if r, _, _ := s.q.handOut(); r == nil {
		t.Error("it still rests")
	}
	s.end(approved(d.ID, 1))
	act(tideover.StateApproved, func(ctx context.Context) (tideover.Transaction, error) { return s.q.Drop(ctx, d.ID, complete, by, 0) })
	s.crash()
	if tx := s.get(d.ID); !tx.Acknowledged {
		t.Errorf("after a crash it is shown again: %+v", tx)
	}
}
