package ledger_test

import (
	"errors"
	"testing"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

func TestStore_Token(t *testing.T) {
	var s ledger.Store
	hash, key, cert := [32]byte{1}, [32]byte{2}, ledger.Certificate{Fingerprint: [32]byte{3}}
	redeem := func(h, k [32]byte, c ledger.Certificate, now tideover.Millis) error {
		_, err := s.Redeem(h, k, c, now)
		return err
	}
	if err := redeem(hash, key, cert, 5); !errors.Is(err, ledger.ErrTokenUnknown) {
		t.Error("no token:", err)
	}
	if err := redeem([32]byte{}, key, cert, 5); !errors.Is(err, ledger.ErrTokenUnknown) {
		t.Error("the zero token:", err)
	}
	s.Issue(hash, 10)
	if err := redeem(hash, key, cert, 10); !errors.Is(err, ledger.ErrTokenExpired) {
		t.Error("too late:", err)
	}
	if err := redeem(hash, key, cert, 9); err != nil || s.Admits(cert.Fingerprint) != nil {
		t.Error("in time:", err)
	}
	again, err := s.Redeem(hash, key, ledger.Certificate{Fingerprint: [32]byte{4}}, 9)
	if err != nil || again.Fingerprint != cert.Fingerprint {
		t.Error("the same key again:", again, err)
	}
	if err := redeem(hash, [32]byte{7}, cert, 9); !errors.Is(err, ledger.ErrTokenUsed) {
		t.Error("another key:", err)
	}
	s.Issue([32]byte{6}, 20)
	if s.Admits(cert.Fingerprint) != nil {
		t.Error("a fresh token alone ended the certificate")
	}
	if err := redeem([32]byte{6}, [32]byte{7}, ledger.Certificate{Fingerprint: [32]byte{8}}, 11); err != nil || s.Admits(cert.Fingerprint) == nil {
		t.Error("enrolled again:", err)
	}
	s.Revoke()
	if !errors.Is(s.Admits([32]byte{8}), ledger.ErrRevoked) || !errors.Is(s.Admits([32]byte{}), ledger.ErrRevoked) {
		t.Error("revoked, and still admitted")
	}
}

func TestView_HelloSupersedes(t *testing.T) {
	v := newView()
	first, second := wire.Hello{Incarnation: [16]byte{1}}, wire.Hello{Incarnation: [16]byte{2}}
	for i, h := range []wire.Hello{first, first, second, second} {
		if _, err := v.Hello(h); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := v.Hello(first); !errors.Is(err, ledger.ErrSuperseded) {
		t.Error("the first one came back:", err)
	}
	for i := range 200 {
		if _, err := v.Hello(wire.Hello{Incarnation: [16]byte{3, byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.Store.Past); n > 64 {
		t.Error("remembers", n)
	}
	v.Anchor([16]byte{1}, wire.Anchor{Seq: 9})
	if v.Store.AnchorSeq != 0 {
		t.Error("an earlier incarnation anchored")
	}
}

// TestView_AHelloAnchorsNothing: the answer to a hello may be lost, and the next hello must still show that a restored journal is not
// the one that was anchored.
func TestView_AHelloAnchorsNothing(t *testing.T) {
	v := newView()
	first := wire.Hello{Incarnation: [16]byte{1}, Seq: 20, Head: [32]byte{20}}
	if _, err := v.Hello(first); err != nil {
		t.Fatal(err)
	}
	v.Anchor(first.Incarnation, wire.Anchor{Seq: first.Seq, Head: first.Head})
	for range 2 {
		w, err := v.Hello(wire.Hello{Incarnation: [16]byte{2}, Seq: 1 << 20, Head: [32]byte{30}})
		if err != nil || w.AnchorSeq != first.Seq || w.AnchorHead != first.Head {
			t.Fatalf("got %+v, %v", w, err)
		}
	}
}

// What is executed is anchored with its claim: a copy of the edge's disk from before the acceptance is known as one, even where nothing
// else of it has reached the hub. A copy of the request brings its newer head along; a superseded process none.
func TestView_AClaimAnchors(t *testing.T) {
	v := newView(ledger.Row{ID: sale.ID})
	s := sale
	s.Anchor = wire.Anchor{Seq: 7, Head: [32]byte{7}}
	v.Claim(s, current, lease)
	if v.Store.AnchorSeq != 7 || v.Store.AnchorHead != [32]byte{7} || v.Rows[0].Request.Anchor != (wire.Anchor{}) {
		t.Errorf("anchored at %d; the row keeps %+v", v.Store.AnchorSeq, v.Rows[0].Request.Anchor)
	}
	s.Anchor.Seq = 9
	if v.Claim(s, current, lease); v.Store.AnchorSeq != 9 {
		t.Errorf("a copy anchors %d", v.Store.AnchorSeq)
	}
	s.Anchor.Seq = 11
	if v.Claim(s, [16]byte{0xee}, lease); v.Store.AnchorSeq != 9 {
		t.Errorf("a superseded process anchors %d", v.Store.AnchorSeq)
	}
}
