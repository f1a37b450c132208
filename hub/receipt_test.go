package hub

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// openedKey opens a state directory as a start does, and returns the id of its receipt key.
func openedKey(t *testing.T, dir string) tideover.KeyID {
	t.Helper()
	s, err := openState(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	return tideover.KeyIDOf(publicOf(s.keys.receipt))
}

func TestReceiptKey_IsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	first := openedKey(t, dir)
	if again := openedKey(t, dir); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	path := filepath.Join(dir, fileReceiptKey)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if id, err := readIdentity(dir); err != nil || id.ReceiptKey != first.String() {
		t.Errorf("%+v, %v", id, err)
	}
}

// A hub of a version before receipts gets its key when a newer one starts; a crash between key and hub.json changes nothing.
func TestReceiptKey_OlderHub(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	openedKey(t, dir)
	for _, gone := range []bool{true, false} {
		if gone {
			if err := os.Remove(filepath.Join(dir, fileReceiptKey)); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := os.ReadFile(filepath.Join(dir, fileReceiptKey))
		if err := writeIdentity(dir, identity{Version: 1, Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
		name := openedKey(t, dir)
		after, _ := os.ReadFile(filepath.Join(dir, fileReceiptKey))
		if !gone && !bytes.Equal(before, after) {
			t.Error("a key that was there was made anew")
		}
		if id, err := readIdentity(dir); err != nil || id.ReceiptKey != name.String() {
			t.Errorf("%+v, %v", id, err)
		}
	}
}

func TestReceiptKey_MissingDamagedOrExposedIsAnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	openedKey(t, dir)
	path := filepath.Join(dir, fileReceiptKey)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(dir, fileCAKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"missing":   func() error { return os.Remove(path) },
		"damaged":   func() error { return os.WriteFile(path, whole[:len(whole)/2], 0o600) },
		"other key": func() error { return os.WriteFile(path, foreign, 0o600) },
		"exposed":   func() error { return errors.Join(os.WriteFile(path, whole, 0o600), os.Chmod(path, 0o644)) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(path)
		s, err := openState(dir, slog.New(slog.DiscardHandler))
		if s != nil {
			t.Fatalf("%s: it opened", name)
		}
		mustHint(t, err)
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s: it was made anew", name)
		}
	}
}

// A key that took the place of another is used, and said.
func TestReceiptKey_ReplacedByHand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	first := openedKey(t, dir)
	if err := writeReceiptKey(dir); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	s, err := openState(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	second := tideover.KeyIDOf(publicOf(s.keys.receipt))
	s.close()
	if second == first || !strings.Contains(log.String(), second.String()) || !strings.Contains(log.String(), first.String()) {
		t.Errorf("%s, %s: %s", first, second, &log)
	}
	if id, err := readIdentity(dir); err != nil || id.ReceiptKey != second.String() {
		t.Errorf("%+v, %v", id, err)
	}
}

// The key that an edge hears at enrolment, in its welcome and from the hub's own command is one, over restarts too; and every end that is said on
// a stream or out of the outbox is signed with it.
func TestServer_SignsWhatItSays(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	key := ed25519.PublicKey(l.welcome.ReceiptKey[:])
	told, err := newClient(h.config.Admin).ReceiptKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(told.PEM))
	printed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil || !key.Equal(printed.(ed25519.PublicKey)) || e.enrolled.ReceiptKey != l.welcome.ReceiptKey || told.KeyID != tideover.KeyIDOf(key).String() {
		t.Errorf("welcome %x, enrolment %x, command %+v, %v", key, e.enrolled.ReceiptKey, told, err)
	}
	l.replay()
	s := e.sale("a", 1299)
	check := func(where string, c wire.Confirmation) {
		t.Helper()
		r := s.Receipt("shop-0001", c.Outcome, c.Corrected).With(c.Receipt)
		if err := r.Verify(key); err != nil {
			t.Errorf("%s: %v in %+v", where, err, c)
		}
	}
	check("on its stream", mustEnd(t, l.submit(s), tideover.StateApproved))
	l.conn.CloseWithError(0, "")
	h.config.Listen = h.ready.Listen // where the edge finds it
	if err := h.shut(); err != nil {
		t.Fatal(err)
	}
	h.start()
	l = e.connect()
	if said, _ := l.replay(); len(said) != 1 {
		t.Errorf("the outbox: %+v", said)
	} else {
		check("out of the outbox", said[0])
	}
}
