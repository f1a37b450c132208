package hub

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"tideover"
	"tideover/hub/ledger"
)

// Only the hub can tell a router that was replaced from one whose ledger was put back: the first must take nothing more, the second stores on
// until it is enrolled anew.
func TestStores_AdmitsTheOneCertificate(t *testing.T) {
	s, err := openState(filepath.Join(t.TempDir(), "hub"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	defer s.serve(t.Context())()
	st := &stores{state: s}
	if err := s.ledger.AddStore(t.Context(), ledger.Store{Name: "shop", Secret: [32]byte{3}}); err != nil {
		t.Fatal(err)
	}
	counts, other := [32]byte{1}, [32]byte{2}
	const at = tideover.Millis(1_790_000_000_500)
	hold := func(change func(*ledger.Store)) {
		if err := s.ledger.ChangeStore(t.Context(), "shop", func(r *ledger.Store, _ tideover.Millis) error { change(r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	hold(func(r *ledger.Store) { r.Certificate = ledger.Certificate{Fingerprint: counts, IssuedAt: at} })
	for name, c := range map[string]struct {
		cert   [32]byte
		issued tideover.Millis
		want   error
	}{
		"the one that counts":                 {counts, at - 500, nil}, // a certificate tells it to the second
		"of a router that was replaced":       {other, at - 1000, errReplaced},
		"of the second in which it was":       {other, at - 500, errReplaced},
		"of after the copy that was put back": {other, at + 500, ledger.ErrRevoked},
		"of long after that copy":             {other, at + 86_400_000, ledger.ErrRevoked},
	} {
		if err := st.admits("shop", c.cert, c.issued); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	hold((*ledger.Store).Revoke)
	if err := st.admits("shop", other, at-1000); !errors.Is(err, ledger.ErrRevoked) {
		t.Errorf("of a store that was revoked: %v", err)
	}
	if err := st.admits("nowhere", other, at-1000); !errors.Is(err, ledger.ErrStoreUnknown) || errors.Is(err, errReplaced) {
		t.Errorf("of a store that is unknown: %v", err)
	}
}
