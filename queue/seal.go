package queue

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"tideover"
)

// sealer keeps payloads and instruments unreadable at rest.
type sealer struct {
	aead  cipher.AEAD
	check [32]byte // tells a wrong key from the right one without telling the key
}

func newSealer(key [32]byte) (s sealer, err error) {
	derive := func(info string) []byte {
		if err != nil {
			return nil
		}
		var b []byte
		b, err = hkdf.Key(sha256.New, key[:], nil, info, 32)
		return b
	}
	seal, check := derive("tideover/1 queue seal"), derive("tideover/1 queue check")
	if err != nil {
		return s, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return s, err
	}
	s.aead, err = cipher.NewGCM(block)
	s.check = [32]byte(check)
	return s, err
}

// owns says whether a file was written with this key, for this store. Errors: ErrWrongKey, ErrOtherStore.
func (s sealer) owns(h head, store string) error {
	switch {
	case h.Check != s.check:
		return ErrWrongKey
	case h.Store != store:
		return fmt.Errorf("%w: %q, not %q", ErrOtherStore, h.Store, store)
	}
	return nil
}

// secrets is what is sealed.
type secrets struct {
	Payload    []byte `cbor:"1,keyasint,omitempty"`
	Instrument string `cbor:"2,keyasint,omitempty"`
}

// seal returns nonce and ciphertext of what r must not show at rest; nil where it has nothing of the kind. Nonces are random: 2^32
// of them under one key are safe (NIST SP 800-38D, 8.3), and no shop has as many payments.
func (s sealer) seal(id tideover.ID, r tideover.Request) []byte {
	if len(r.Payload) == 0 && r.Instrument == "" {
		return nil
	}
	plain, err := encMode.Marshal(secrets{r.Payload, r.Instrument})
	if err != nil {
		panic(fmt.Sprintf("queue: a payload cannot be encoded: %v", err))
	}
	return s.hide(id, plain)
}

// hide returns nonce and ciphertext.
func (s sealer) hide(id tideover.ID, plain []byte) []byte {
	sealed := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	rand.Read(sealed)
	return s.aead.Seal(sealed, sealed, plain, id[:])
}

// open puts what was sealed back into r.
func (s sealer) open(id tideover.ID, sealed []byte, r *tideover.Request) error {
	if len(sealed) == 0 {
		return nil
	}
	plain, err := s.show(id, sealed)
	if err != nil {
		return err
	}
	var p secrets
	if err := decMode.Unmarshal(plain, &p); err != nil {
		return err
	}
	r.Payload, r.Instrument = p.Payload, p.Instrument
	return nil
}

// show returns what was hidden.
func (s sealer) show(id tideover.ID, sealed []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, errShortValue
	}
	return s.aead.Open(nil, sealed[:n], sealed[n:], id[:])
}

// digest is what the chain holds of a sealed part.
func digest(sealed []byte) (sum [32]byte) {
	if len(sealed) == 0 {
		return sum
	}
	return sha256.Sum256(sealed)
}
