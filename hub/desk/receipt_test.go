package desk_test

import (
	"crypto/ed25519"
	"testing"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// receiptKey signs in these tests.
var receiptKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func signing(c *desk.Config) {
	c.Sign = func(r *tideover.Receipt) tideover.Proof { return r.Sign(receiptKey) }
}

// proven checks the receipt that an edge with its own record of the press makes of an end.
func proven(t *testing.T, c wire.Confirmation, s wire.Submit) tideover.Proof {
	t.Helper()
	if c.Receipt.IsZero() {
		t.Fatalf("no receipt with %+v", c)
	}
	r := s.Receipt(store, c.Outcome, c.Corrected).With(c.Receipt)
	if err := r.Verify(receiptKey.Public().(ed25519.PublicKey)); err != nil || r.State != c.Outcome.Result || r.Amount != s.Request.Amount {
		t.Errorf("%+v: %v", r, err)
	}
	return c.Receipt
}

// Whichever way an end is told, it has its receipt, and each time the same.
func TestDesk_EveryEndHasItsReceipt(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, signing)
	s := sale("a")
	first := proven(t, h.submit(s).confirmation(), s)

	// A replaced router accepts the same press at another time, from a till that has another name by then.
	later := s
	later.CreatedAt, later.Terminal = s.CreatedAt+5000, "till-9"
	for name, c := range map[string]wire.Confirmation{"again": h.submit(later).confirmation(), "asked": h.ask(s).confirmation()} {
		if p := proven(t, c, later); p != first || p.Terminal != "till-1" || p.CreatedAt != s.CreatedAt {
			t.Errorf("%s: %+v, was %+v", name, p, first)
		}
	}
	page, err := h.desk.Outbox(t.Context(), store, 0, 10)
	if err != nil || len(page) != 1 || page[0].Adopt == nil || proven(t, page[0], *page[0].Adopt) != first {
		t.Errorf("outbox: %+v, %v", page, err)
	}

	other := s
	other.Request.Amount = 1
	other.Hash = [32]byte{1}
	refused := h.submit(other).refused()
	if refused.End == nil || refused.Adopt == nil || proven(t, *refused.End, *refused.Adopt) != first {
		t.Errorf("key reused: %+v", refused)
	}

	reversed := h.cancel(s).confirmation()
	if p := proven(t, reversed, s); reversed.Outcome.Result != tideover.StateReversed || p == first {
		t.Errorf("reversed: %+v", reversed)
	}

	h.restart()
	h.hello(current)
	if p := proven(t, h.ask(s).confirmation(), s); p != reversed.Receipt {
		t.Errorf("after a restart: %+v", p)
	}
}

// A tombstone is answered with an end: the edge's own end gets its receipt by it. Of a bar without a request there is nothing to say.
func TestDesk_TombstoneHasItsReceipt(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, signing)
	s, l := sale("a"), newHeard(t)
	h.desk.Expire(t.Context(), store, current, wire.Expire{Submit: s, Outcome: tideover.StateExpired}, l.tell)
	if c := l.confirmation(); c.Outcome.Result != tideover.StateExpired {
		t.Errorf("%+v", c)
	} else {
		proven(t, c, s)
	}
	if c := h.cancel(sale("barred")).confirmation(); !c.Receipt.IsZero() {
		t.Errorf("%+v", c)
	}
}

// A hub that signs none tells its ends as before.
func TestDesk_WithoutAKeyThereIsNoReceipt(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, nil)
	if c := h.submit(sale("a")).confirmation(); !c.Receipt.IsZero() {
		t.Errorf("%+v", c)
	}
}
