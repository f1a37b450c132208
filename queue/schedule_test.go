package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
)

func TestNext_OldestFirstAndRests(t *testing.T) {
	s := newShop(t)
	a, b := draft("till", "a"), draft("till", "b")
	s.accept(a)
	s.accept(b)
	next := func() tideover.ID {
		t.Helper()
		p, err := s.q.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return p.ID
	}
	none := func() {
		t.Helper()
		if r, _, _ := s.q.handOut(); r != nil {
			t.Fatalf("%s was handed out", r.Key)
		}
	}
	if next() != a.ID || next() != b.ID {
		t.Fatal("not the oldest first")
	}
	none()
	s.q.Back(a.ID, time.Hour)
	none() // a rests, and does not hold up b
	s.q.Back(b.ID, 0)
	if next() != b.ID {
		t.Fatal("what was given back without a rest is not ready")
	}
	s.q.Wake()
	if next() != a.ID {
		t.Fatal("a rest outlived the link's return")
	}
	s.q.Wake()
	s.q.Back(a.ID, time.Hour)
	if next() != a.ID {
		t.Fatal("a link that returned while it was out does not count")
	}
	s.end(approved(a.ID, 1))
	s.q.Back(a.ID, 0)
	s.q.Back(b.ID, 30*time.Millisecond)
	if next() != b.ID {
		t.Fatal("a rest does not end")
	}
	none()
}

func TestNext_Lanes(t *testing.T) {
	s := newShop(t)
	sale := draft("till", "sale")
	s.accept(sale)
	refund := draft("till", "refund", undoing(tideover.KindRefund, sale.ID))
	reversal := draft("till", "reversal", undoing(tideover.KindReversal, sale.ID))
	stranger := draft("till", "stranger", undoing(tideover.KindRefund, tideover.ID{1}))
	self := draft("till", "self", undoing(tideover.KindRefund, tideover.MakeID(testStore, "till", "self")))
	other := draft("till", "other")
	for _, d := range []edge.Draft{refund, reversal, stranger, self, other} {
		s.accept(d)
	}
	ready := func(want ...string) {
		t.Helper()
		var got []string
		for {
			r, _, _ := s.q.handOut()
			if r == nil {
				break
			}
			got = append(got, r.Key)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	// What is unknown here is not waited for, nor is oneself. A reversal asks for its sale's cancel first, and waits for that end.
	ready("sale", "reversal", "stranger", "self", "other")
	if err := s.q.Move(sale.ID, tideover.CauseSent, edge.Note{}); err != nil {
		t.Fatal(err)
	}
	s.q.Back(reversal.ID, 0)
	ready("reversal")
	if _, err := s.q.Cancel(t.Context(), sale.ID, unheard, edge.By{}, 0); err != nil {
		t.Fatal(err)
	}
	s.q.Back(reversal.ID, 0)
	s.q.Back(sale.ID, time.Hour)
	ready("sale") // it was recalled while it was out
	s.end(told(sale.ID, 1, tideover.StateReversed))
	ready("refund", "reversal")
	s.q.Back(refund.ID, 0)
	ready("refund")
	s.reopen()
	ready("refund", "reversal", "stranger", "self", "other")
}

func TestNext_ARefundWaitsAfterARestart(t *testing.T) {
	s := newShop(t)
	sale := draft("till", "sale")
	s.accept(sale)
	s.accept(draft("till", "refund", undoing(tideover.KindRefund, sale.ID)))
	s.reopen()
	p, err := s.q.Next(t.Context())
	if err != nil || p.Key != "sale" || !p.Reopened || p.NeverSent() || p.State != tideover.StateInDoubt {
		t.Fatalf("got %+v, %v", p, err)
	}
	if r, _, _ := s.q.handOut(); r != nil {
		t.Fatalf("%s passed its sale", r.Key)
	}
}

func TestNext_EndsWithItsContextAndWithTheQueue(t *testing.T) {
	s := newShop(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := s.q.Next(ctx); ended <- err }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	d := draft("till", "k")
	tx := s.accept(d)
	if _, err := s.q.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed := s.q.Changed(tx.ID, tx.Seq)
	q := s.q
	go func() { _, err := q.Next(context.Background()); ended <- err }()
	s.close()
	if err := <-ended; !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	<-changed
	if _, err := q.Get(d.ID); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	if _, err := q.Accept(t.Context(), draft("till", "l"), yes); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
}
