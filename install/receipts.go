package install

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// fileReceiptKeys holds the public keys that receipts are checked with, PEM, the newest last. A hub that signs with another key than before
// adds one: receipts from before stay good.
const fileReceiptKeys = "receipt.pub"

// ReceiptKeysMax is how many of them are kept; the oldest goes for one too many.
const ReceiptKeysMax = 16

// ErrNoReceiptKey says that a text holds no key of receipts.
var ErrNoReceiptKey = errors.New("not an ed25519 public key")

// ParseReceiptKeys reads public keys: PEM, as `tideover-hub receipt key` prints one, any number of them; or one as 64 hexadecimal digits.
// Errors are [ErrNoReceiptKey].
func ParseReceiptKeys(b []byte) ([]ed25519.PublicKey, error) {
	b = bytes.TrimSpace(b)
	if len(b) == hex.EncodedLen(ed25519.PublicKeySize) {
		key := make(ed25519.PublicKey, ed25519.PublicKeySize)
		if _, err := hex.Decode(key, b); err == nil {
			return []ed25519.PublicKey{key}, nil
		}
	}
	var keys []ed25519.PublicKey
	for len(b) > 0 {
		block, rest := pem.Decode(b)
		if block == nil || block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("%w: neither PEM nor %d hexadecimal digits", ErrNoReceiptKey, hex.EncodedLen(ed25519.PublicKeySize))
		}
		any, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoReceiptKey, err)
		}
		key, ok := any.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("%w: a %T", ErrNoReceiptKey, any)
		}
		keys, b = append(keys, key), bytes.TrimSpace(rest)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrNoReceiptKey)
	}
	return keys, nil
}

// ReceiptKeys returns the keys that a state directory knows; none where no hub ever told one. Errors are [Error] where a person can act.
func ReceiptKeys(dir string) ([]ed25519.PublicKey, error) {
	d := stateDir(dir)
	b, err := os.ReadFile(d.path(fileReceiptKeys))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, unreadable(d.path(fileReceiptKeys), err)
	case err != nil:
		return nil, err
	}
	keys, err := ParseReceiptKeys(b)
	if err != nil {
		return nil, &Error{
			What: text("%s is damaged", "%s 已损坏", d.path(fileReceiptKeys)), Err: errors.Join(ErrDamaged, err),
			Hint: text("put the keys back from a backup, or remove the file: the hub tells its present key again at the next start",
				"请从备份恢复该文件，或将其删除：下次启动时 hub 会再次告知当前密钥"),
		}
	}
	return keys, nil
}

// KeepReceiptKey adds a key to those that a state directory knows; one that is known changes nothing. It is synced when KeepReceiptKey
// returns. A file that is damaged is left as it is.
func KeepReceiptKey(dir string, key ed25519.PublicKey) error {
	known, err := ReceiptKeys(dir)
	if err != nil {
		return err
	}
	d := stateDir(dir)
	b, fresh, err := withReceiptKey(known, key)
	if err != nil || !fresh {
		return err
	}
	if err := d.write(fileReceiptKeys, b); err != nil {
		return err
	}
	return d.sync()
}

// withReceiptKey returns the file with one key more; fresh is false where it was there.
func withReceiptKey(known []ed25519.PublicKey, key ed25519.PublicKey) (b []byte, fresh bool, err error) {
	keys := known
	fresh = true
	for _, k := range known {
		fresh = fresh && !k.Equal(key)
	}
	if fresh {
		keys = append(keys[:len(keys):len(keys)], key)
	}
	for _, k := range keys[max(0, len(keys)-ReceiptKeysMax):] {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			return nil, false, err
		}

		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return b, fresh, nil
}
