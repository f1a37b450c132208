package queue

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"tideover"
	"tideover/edge"
)

func TestEndHere_OnlyWhileNothingCanHaveLeft(t *testing.T) {
	s := newShop(t)
	end := func(id tideover.ID) error {
		return s.q.EndHere(t.Context(), id, tideover.CauseExpired, tideover.Outcome{Message: "too late"})
	}
	fresh, sent, old := draft("till", "fresh"), draft("till", "sent"), draft("till", "old")
	s.accept(old)
	s.reopen()
	s.accept(fresh)
	s.accept(sent)
	if err := s.q.Move(sent.ID, tideover.CauseSent, edge.Note{}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []edge.Draft{sent, old} {
		if err := end(d.ID); !errors.Is(err, edge.ErrMaySent) {
			t.Fatalf("%s: got %v", d.Key, err)
		}
	}
	if err := end(tideover.ID{1}); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	if err := end(fresh.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.q.Move(fresh.ID, tideover.CauseSent, edge.Note{}); err == nil {
		t.Fatal("what has expired may leave")
	}
	s.crash()
	if tx := s.get(fresh.ID); tx.State != tideover.StateExpired || tx.Outcome.Message != "too late" {
		t.Fatalf("got %+v", tx)
	}
	stones := s.q.Tombstones()
	if len(stones) != 1 || stones[0].ID != fresh.ID || stones[0].Request.Instrument == "" || stones[0].State != tideover.StateExpired {
		t.Fatalf("tombstones: %+v", stones)
	}
	if _, err := s.q.Acknowledge(t.Context(), fresh.ID, s.get(fresh.ID).Seq); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if len(s.q.Tombstones()) != 1 {
		t.Fatal("an acknowledged tombstone is forgotten before the hub knows it")
	}
	s.q.TombstoneTold(fresh.ID)
	s.q.TombstoneTold(fresh.ID)
	if len(s.q.Tombstones()) != 0 {
		t.Fatal("told, and still there")
	}
	s.reopen()
	if len(s.q.Tombstones()) != 0 || !s.get(fresh.ID).Acknowledged {
		t.Fatal("told, and back after a restart")
	}
}

// TestEndHere_OrSent lets both try at once: exactly one may win.
func TestEndHere_OrSent(t *testing.T) {
	s := newShop(t)
	for i := range 200 {
		d := draft("till", fmt.Sprint(i))
		s.accept(d)
		var sent, ended error
		var wg sync.WaitGroup
		wg.Go(func() { sent = s.q.Move(d.ID, tideover.CauseSent, edge.Note{}) })
		wg.Go(func() { ended = s.q.EndHere(t.Context(), d.ID, tideover.CauseCancelled, tideover.Outcome{}) })
		wg.Wait()
		if (sent == nil) == (ended == nil) {
			t.Fatalf("sent: %v, ended: %v", sent, ended)
		}
	}
}

func TestAcknowledge_NotBeforeTheEnd(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	tx := s.accept(d)
	_, err := s.q.Acknowledge(t.Context(), d.ID, tx.Seq)
	refused(t, err, tideover.CodeOutcomeChanged)
	if _, err := s.q.Acknowledge(t.Context(), tideover.ID{1}, 1); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
}

func TestTerminals_AreKept(t *testing.T) {
	s := newShop(t)
	a := tideover.Terminal{UID: "a", Name: "till-1", TokenHash: [32]byte{1}, PairedAt: 5}
	b := tideover.Terminal{UID: "b", Name: "till-2"}
	if err := s.q.SetTerminals(t.Context(), []tideover.Terminal{b, a}); err != nil {
		t.Fatal(err)
	}
	a.Revoked = true
	if err := s.q.PutTerminal(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	s.q.NoteLedgerTime(1_000_000)
	s.q.NoteLedgerTime(1_000_500)
	if s.q.LedgerTime() != 1_000_500 {
		t.Fatal("ledger time")
	}
	s.reopen()
	if got := s.q.Terminals(); len(got) != 2 || got[0] != a || got[1] != b || s.q.LedgerTime() != 1_000_000 {
		t.Fatalf("got %+v, %d", got, s.q.LedgerTime())
	}
	head, _ := s.q.Head()
	if err := s.q.PutTerminal(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if now, _ := s.q.Head(); now != head {
		t.Fatal("what is known was written again")
	}
}
