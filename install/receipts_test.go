package install

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tideover/wire"
)

// receiptKey is the nth of some keys.
func receiptKey(n int) ed25519.PublicKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = byte(n)
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

func keep(t *testing.T, dir string, n int) {
	t.Helper()
	check(t, KeepReceiptKey(dir, receiptKey(n)))
}

// has compares the keys that a directory knows.
func has(t *testing.T, dir string, want ...int) {
	t.Helper()
	keys, err := ReceiptKeys(dir)
	if err != nil || len(keys) != len(want) {
		t.Fatalf("%d keys, %v; want %v", len(keys), err, want)
	}
	for i, n := range want {
		if !keys[i].Equal(receiptKey(n)) {
			t.Errorf("number %d is not key %d", i, n)
		}
	}
}

func TestKeepReceiptKey_KeepsThoseFromBefore(t *testing.T) {
	dir := t.TempDir()
	has(t, dir)
	keep(t, dir, 1)
	keep(t, dir, 2)
	keep(t, dir, 1)
	has(t, dir, 1, 2)
	for n := 3; n <= ReceiptKeysMax+1; n++ {
		keep(t, dir, n)
	}
	if keys, err := ReceiptKeys(dir); err != nil || len(keys) != ReceiptKeysMax || !keys[0].Equal(receiptKey(2)) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// A damaged file is told of and left for a person: it may hold keys that are nowhere else.
func TestReceiptKeys_DamagedIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, 1)
	path := filepath.Join(dir, fileReceiptKeys)
	whole, err := os.ReadFile(path)
	check(t, err)
	for _, text := range []string{"", "x", string(whole[:len(whole)/2]), string(whole) + "x", strings.ReplaceAll(string(whole), "PUBLIC", "PRIVATE")} {
		check(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := ReceiptKeys(dir)
		wants(t, err, ErrDamaged)
		wants(t, KeepReceiptKey(dir, receiptKey(2)), ErrDamaged)
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%q became %q, %v", text, now, err)
		}
	}
}

func TestParseReceiptKeys_Forms(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, 1)
	keep(t, dir, 2)
	file, err := os.ReadFile(filepath.Join(dir, fileReceiptKeys))
	check(t, err)
	for name, row := range map[string]struct {
		text string
		want int
	}{
		"PEM, two":   {string(file), 2},
		"hex":        {hex.EncodeToString(receiptKey(1)) + "\n", 1},
		"HEX":        {strings.ToUpper(hex.EncodeToString(receiptKey(1))), 1},
		"hex, short": {hex.EncodeToString(receiptKey(1)[:31]), 0},
		"empty":      {" \n", 0},
		"not PKIX":   {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), 0},
		"a receipt":  {`{"store":"s"}`, 0},
	} {
		keys, err := ParseReceiptKeys([]byte(row.text))
		if len(keys) != row.want || (err == nil) != (row.want != 0) || err != nil && !errors.Is(err, ErrNoReceiptKey) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
}

// Enrolment brings the hub's key, and keeps those of receipts from before; a hub that signs none takes none away.
func TestEnroll_KeepsReceiptKeys(t *testing.T) {
	h := newHub(t, "shop-0001")
	dir := filepath.Join(t.TempDir(), "state")
	for _, step := range []struct {
		tells int // 0: none
		want  []int
	}{{0, nil}, {1, []int{1}}, {2, []int{1, 2}}, {0, []int{1, 2}}, {2, []int{1, 2}}} {
		h.rotate()
		h.lie(func(e *wire.Enrolled) {
			e.ReceiptKey = [32]byte{}
			if step.tells != 0 {
				copy(e.ReceiptKey[:], receiptKey(step.tells))
			}
		})
		_, err := enroll(t, dir, h.token.String())
		check(t, err)
		has(t, dir, step.want...)
	}
}
