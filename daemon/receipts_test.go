package daemon

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"

	"tideover"
	"tideover/edge"
	"tideover/install"
	"tideover/queue"
	"tideover/terminal"
	"tideover/wire"
)

// signer is a hub's key of receipts.
func signer(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func publicKey(key ed25519.PrivateKey) [32]byte { return [32]byte(key.Public().(ed25519.PublicKey)) }

// submitted is a transaction as its hub has it.
func submitted(t tideover.Transaction) wire.Submit {
	return wire.Submit{
		ID: t.ID, TerminalUID: t.TerminalUID, Terminal: t.Terminal, Key: t.Key, Hash: t.Hash, CreatedAt: t.CreatedAt,
		Request: tideover.Request{
			Kind: t.Kind, Amount: t.Amount, Currency: t.Currency, Method: t.Method, Order: t.Order, Original: t.Original, Operator: t.Operator,
		},
	}
}

// signed is an end as a hub tells it.
func signed(s wire.Submit, hubSeq uint64, result tideover.State, by ed25519.PrivateKey) wire.Confirmation {
	c := wire.Confirmation{ID: s.ID, HubSeq: hubSeq, Outcome: tideover.Outcome{Result: result, Code: "00", Reference: "P-1", At: 17}}
	r := s.Receipt("shop-0001", c.Outcome, c.Corrected)
	c.Receipt = r.Sign(by)
	return c
}

func (h *house) confirm(t *testing.T, c wire.Confirmation) {
	t.Helper()
	if err := h.session.Confirm(c); err != nil {
		t.Fatal(err)
	}
}

// receipt returns a signed receipt of a till's own, which a key verifies.
func (h *house) receipt(t *testing.T, by terminal.Caller, id tideover.ID, key ed25519.PrivateKey) tideover.Receipt {
	t.Helper()
	r, ok, err := h.Receipt(t.Context(), by, id)
	if err != nil || !ok {
		t.Fatalf("%+v, signed %v, %v", r, ok, err)
	}
	if err := r.Verify(key.Public().(ed25519.PublicKey)); err != nil {
		t.Errorf("%+v: %v", r, err)
	}
	return r
}

// none wants no signed receipt.
func (h *house) none(t *testing.T, why string, id tideover.ID) {
	t.Helper()
	if r, ok, err := h.Receipt(t.Context(), till1, id); err != nil || ok {
		t.Errorf("%s: %+v, signed %v, %v", why, r, ok, err)
	}
}

func TestReceipts_OfTheHubsEndOverRestarts(t *testing.T) {
	h, key := newHouse(t), signer(1)
	h.welcome(t, wire.Welcome{ReceiptKey: publicKey(key)})
	sold := h.sell(t, till1, "A-1", 1299)
	h.none(t, "open", sold.ID)
	h.confirm(t, signed(submitted(sold), 1, tideover.StateApproved, key))
	first := h.receipt(t, till1, sold.ID, key)
	if first.State != tideover.StateApproved || first.Amount != 1299 || first.Terminal != "till-1" || first.Reference != "P-1" {
		t.Errorf("%+v", first)
	}
	_, _, err := h.Receipt(t.Context(), till2, sold.ID)
	wantCode(t, err, tideover.CodeUnknownTransaction)

	h.stop()
	h.open(t) // the power went off, and no hub is heard
	if again := h.receipt(t, till1, sold.ID, key); again != first {
		t.Errorf("%+v, was %+v", again, first)
	}

	// A correction brings a new one. The one from before still verifies, and the record has moved on.
	c := signed(submitted(sold), 2, tideover.StateReversed, key)
	c.Corrected = true
	r := submitted(sold)
	receipt := r.Receipt("shop-0001", c.Outcome, true)
	c.Receipt = receipt.Sign(key)
	h.confirm(t, c)
	second := h.receipt(t, till1, sold.ID, key)
	if second.State != tideover.StateReversed || !second.Corrected {
		t.Errorf("%+v", second)
	}
	for i, want := range []string{"state", "corrected"} {
		if d := tideover.CompareReceipts(first, second); len(d) != 2 || d[i].Field != want {
			t.Errorf("%+v", d)
		}
	}
}

// A signature that does not hold is no receipt; the end counts all the same.
func TestReceipts_WhatDoesNotHoldIsNotKept(t *testing.T) {
	h, key := newHouse(t), signer(1)
	h.welcome(t, wire.Welcome{ReceiptKey: publicKey(key)})
	for name, spoil := range map[string]func(*wire.Confirmation){
		"none":    func(c *wire.Confirmation) { c.Receipt = tideover.Proof{} },
		"flipped": func(c *wire.Confirmation) { c.Receipt.Signature[5] ^= 1 },
		"other key": func(c *wire.Confirmation) {
			*c = signed(submitted(h.find(t, c.ID)), c.HubSeq, c.Outcome.Result, signer(2))
		},
		"false name":  func(c *wire.Confirmation) { c.Receipt.Terminal = "till-9" },
		"false time":  func(c *wire.Confirmation) { c.Receipt.CreatedAt++ },
		"other end":   func(c *wire.Confirmation) { c.Outcome.Result = tideover.StateDeclined },
		"other words": func(c *wire.Confirmation) { c.Outcome.Message = "paid" },
	} {
		sold := h.sell(t, till1, name[:4]+"-"+name[len(name)-3:], 1299)
		c := signed(submitted(sold), uint64(len(h.sold(t))), tideover.StateApproved, key)
		spoil(&c)
		h.confirm(t, c)
		if now := h.find(t, sold.ID); now.State != c.Outcome.Result {
			t.Errorf("%s: the end does not count: %+v", name, now)
		}
		h.none(t, name, sold.ID)
	}
}

func (h *house) find(t *testing.T, id tideover.ID) tideover.Transaction {
	t.Helper()
	found, err := h.queue.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (h *house) sold(t *testing.T) []tideover.Transaction {
	t.Helper()
	all, _, err := h.queue.List(queue.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A router that was replaced has the receipt of an end that comes home to it, with the request or to a press that it has accepted anew.
func TestReceipts_AtAReplacedRouter(t *testing.T) {
	h, key := newHouse(t), signer(1)
	h.welcome(t, wire.Welcome{ReceiptKey: publicKey(key)})
	repeated := h.sell(t, till1, "A-1", 1299)
	ledgers := submitted(repeated)
	ledgers.CreatedAt, ledgers.Terminal = repeated.CreatedAt-5000, "till-one"
	h.confirm(t, signed(ledgers, 1, tideover.StateApproved, key))
	if r := h.receipt(t, till1, repeated.ID, key); r.CreatedAt != ledgers.CreatedAt || r.Terminal != "till-one" {
		t.Errorf("%+v", r)
	}

	lost := submitted(tideover.Transaction{
		ID: tideover.MakeID("shop-0001", till1.UID, "A-2"), TerminalUID: till1.UID, Terminal: "till-1", Key: "A-2", Kind: tideover.KindSale, Amount: 5,
		Currency: "CNY", CreatedAt: 1000, Hash: [32]byte{1},
	})
	c := signed(lost, 2, tideover.StateDeclined, key)
	c.Adopt = &lost
	h.confirm(t, c)
	h.receipt(t, till1, lost.ID, key)

	// The hub has another request under a key, and says its end with its refusal.
	mine := h.sell(t, till1, "A-3", 700)
	other := submitted(mine)
	other.Request.Amount, other.Hash = 800, [32]byte{2}
	end := signed(other, 3, tideover.StateApproved, key)
	h.session.refused(queue.Parcel{Record: edge.Record{Transaction: mine}}, wire.Refused{Reason: wire.ReasonKeyReused, Adopt: &other, End: &end})
	if r := h.receipt(t, till1, mine.ID, key); r.Amount != 800 {
		t.Errorf("%+v", r)
	}
	h.stop()
	h.open(t)
	for _, id := range []tideover.ID{repeated.ID, lost.ID, mine.ID} {
		h.receipt(t, till1, id, key)
	}
}

// A hub that signs with another key than before: both are known, also after a restart, and receipts from before stay good.
func TestReceipts_RotatedKey(t *testing.T) {
	h, first, second := newHouse(t), signer(1), signer(2)
	h.welcome(t, wire.Welcome{ReceiptKey: publicKey(first)})
	before := h.sell(t, till1, "A-1", 1299)
	h.confirm(t, signed(submitted(before), 1, tideover.StateApproved, first))
	h.welcome(t, wire.Welcome{ReceiptKey: publicKey(second)})
	after := h.sell(t, till1, "A-2", 1299)
	h.confirm(t, signed(submitted(after), 2, tideover.StateApproved, second))
	h.welcome(t, wire.Welcome{}) // a hub that signs none
	h.stop()
	h.open(t)
	h.receipt(t, till1, before.ID, first)
	h.receipt(t, till1, after.ID, second)
	dir := filepath.Dir(h.path)
	if keys, err := install.ReceiptKeys(dir); err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	// Without the file the journal is believed, which took the signature when it held.
	if err := os.Remove(filepath.Join(dir, "receipt.pub")); err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.open(t)
	h.receipt(t, till1, before.ID, first)
}
