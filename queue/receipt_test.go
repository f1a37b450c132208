package queue

import (
	"testing"

	"tideover"
	"tideover/edge"
)

// proven is an end with something for a receipt.
func proven(e Told, mark byte) Told {
	e.Receipt = &tideover.Proof{Key: tideover.KeyID{mark}, Signature: [64]byte{63: mark}, CreatedAt: tideover.Millis(mark)}
	return e
}

// receipt compares what the journal has for a receipt. A mark of 0 is none.
func (s *shop) receipt(when string, id tideover.ID, mark byte, current bool) {
	s.t.Helper()
	tx, proof, now, err := s.q.Receipt(id)
	if err != nil {
		s.t.Fatalf("%s: %v", when, err)
	}
	if tx.ID != id || now != current || (proof != nil) != (mark != 0) || proof != nil && *proof != *proven(Told{}, mark).Receipt {
		s.t.Errorf("%s: %s, %+v, current %v; want %d, %v", when, tx.State, proof, now, mark, current)
	}
}

func TestReceipt_StaysWithItsEnd(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	if _, _, _, err := s.q.Receipt(d.ID); err != ErrUnknown {
		t.Fatalf("got %v", err)
	}
	s.accept(d)
	s.receipt("open", d.ID, 0, false)
	s.end(proven(approved(d.ID, 1), 1))
	s.receipt("told, and not on disk", d.ID, 1, true)
	s.flush()
	s.receipt("on disk", d.ID, 1, true)
	s.q.Delivered(d.ID, s.get(d.ID).Seq)
	s.crash()
	s.receipt("after a crash", d.ID, 1, true)
	if _, err := s.q.Acknowledge(t.Context(), d.ID, s.get(d.ID).Seq); err != nil {
		t.Fatal(err)
	}
	s.receipt("closed, and out of memory", d.ID, 1, true)

	corrected := proven(told(d.ID, 2, tideover.StateReversed), 2)
	corrected.Corrected = true
	s.end(corrected)
	s.receipt("corrected", d.ID, 2, true)
	s.crash()
	s.receipt("the correction was not on disk", d.ID, 1, true)
	s.end(corrected)
	s.reopen()
	s.receipt("corrected, on disk", d.ID, 2, true)
}

func TestReceipt_IsOfThePresentEndAlone(t *testing.T) {
	s := newShop(t)
	undone, own, bare := draft("till", "undone"), draft("till", "own"), draft("till", "bare")
	for _, d := range []edge.Draft{undone, own, bare} {
		s.accept(d)
	}
	s.end(proven(approved(undone.ID, 1), 1))
	if tx, err := s.q.Cancel(t.Context(), undone.ID, complete, edge.By{}, 0); err != nil || tx.State != tideover.StateReversing {
		t.Fatalf("%+v, %v", tx, err)
	}
	s.receipt("being undone", undone.ID, 1, false)
	s.end(told(undone.ID, 2, tideover.StateReversed)) // a hub that signs none
	s.receipt("undone, unsigned", undone.ID, 1, false)

	if err := s.q.EndHere(t.Context(), own.ID, tideover.CauseExpired, tideover.Outcome{}); err != nil {
		t.Fatal(err)
	}
	s.receipt("the router's own end", own.ID, 0, false)
	s.end(proven(told(own.ID, 3, tideover.StateExpired), 3))
	s.receipt("the hub has heard of it", own.ID, 3, true)

	s.end(approved(bare.ID, 4))
	s.receipt("a hub that signs none", bare.ID, 0, false)
	s.reopen()
	s.receipt("undone, on disk", undone.ID, 1, false)
	s.receipt("own, on disk", own.ID, 3, true)
	s.receipt("bare, on disk", bare.ID, 0, false)
}

// An end of what the journal does not have brings its receipt along.
func TestReceipt_OfAnAdoptedEnd(t *testing.T) {
	s := newShop(t)
	d := draft("till", "lost")
	e := proven(approved(d.ID, 1), 1)
	e.Adopt = &d
	s.end(e)
	s.receipt("adopted", d.ID, 1, true)
	s.reopen()
	s.receipt("adopted, on disk", d.ID, 1, true)
}

// The fault: a hub that was put back to an older copy told an end again, and no longer as a correction. The till goes by what it was told, and the
// signature by what was told last.
func TestReceipt_OfACorrectionThatIsToldAgainAsNone(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	s.end(proven(approved(d.ID, 1), 1))
	corrected := proven(told(d.ID, 2, tideover.StateReversed), 2)
	corrected.Corrected = true
	s.end(corrected)
	s.end(proven(told(d.ID, 3, tideover.StateReversed), 3))
	for _, when := range []string{"told", "on disk"} {
		s.receipt(when, d.ID, 3, true)
		if tx, _, _, err := s.q.Receipt(d.ID); err != nil || tx.Corrected || !s.get(d.ID).Corrected {
			t.Errorf("%s: corrected %v, %v", when, tx.Corrected, err)
		}
		s.reopen()
	}
}
