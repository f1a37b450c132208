package tideover

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"
)

// Kind is what a transaction does with money.
type Kind uint8

// The kinds. A sale has a customer waiting: it is answered online or ends in time. A refund or reversal is kept until it is done. An
// advice tells of something that has already happened (cash, a card approved offline).
const (
	KindNone Kind = iota
	KindSale
	KindRefund
	KindReversal
	KindAdvice
)

var kindNames = [...]string{KindNone: "", KindSale: "sale", KindRefund: "refund", KindReversal: "reversal", KindAdvice: "advice"}

// String returns the kind's name in the terminal's API.
func (k Kind) String() string { return nameOf(kindNames[:], uint8(k)) }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; an unknown name is an error.
func (k *Kind) UnmarshalText(b []byte) error {
	i, err := indexOf("kind", kindNames[:], string(b))
	*k = Kind(i)
	return err
}

// Undoes says whether the kind names an original transaction that it undoes, wholly or in part.
func (k Kind) Undoes() bool { return k == KindRefund || k == KindReversal }

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown-" + strconv.Itoa(int(i))
}

func indexOf(what string, names []string, s string) (uint8, error) {
	for i, n := range names {
		if n == s && i > 0 {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q", what, s)
}

// How long a sale may still be executed after it was accepted.
const (
	ExpiresInDefault = 45 * time.Second
	ExpiresInMax     = 600 * time.Second
)

// Request is what a till asks for, as parsed values. The keys are those of the wire and of the ledger; the terminal's API
// has its own names.
type Request struct {
	Kind       Kind   `cbor:"1,keyasint"`
	Amount     int64  `cbor:"2,keyasint,omitempty"` // minor units; 0 where a reversal left it out
	Currency   string `cbor:"3,keyasint,omitempty"` // ISO 4217
	Method     string `cbor:"4,keyasint,omitempty"`
	Order      string `cbor:"5,keyasint,omitempty"`
	Original   ID     `cbor:"6,keyasint,omitzero"`  // refund and reversal: what they undo
	Instrument string `cbor:"7,keyasint,omitempty"` // in clear only on its way; sealed at rest
	Operator   string `cbor:"8,keyasint,omitempty"`
	// ExpiresIn bounds the start of a sale's execution after its acceptance, in whole seconds.
	ExpiresIn time.Duration `cbor:"9,keyasint,omitempty"`
	// Payload is any JSON value, opaque to the edge; nil where the till sent none. Sealed at rest.
	Payload []byte `cbor:"10,keyasint,omitempty"`
}

// Hash is the keyed hash of a till's body as parsed values: two bodies that differ only in white space, order of fields or in a
// default spelled out have the same one. secret is the store's, given at enrolment.
func (r Request) Hash(secret []byte) [32]byte {
	h := hmac.New(sha256.New, secret)
	original := ""
	if !r.Original.IsZero() {
		original = r.Original.String()
	}
	for _, part := range []string{
		"tideover/1 request", r.Kind.String(), strconv.FormatInt(r.Amount, 10), r.Currency, r.Method, r.Order, original,
		r.Instrument, r.Operator, strconv.FormatInt(int64(r.ExpiresIn/time.Second), 10), string(canonical(r.Payload)),
	} {
		writePart(h, part)
	}
	return [32]byte(h.Sum(nil))
}

// InstrumentHash knows an instrument again without keeping it. The zero hash stands for no instrument.
func InstrumentHash(secret []byte, instrument string) (sum [32]byte) {
	if instrument == "" {
		return sum
	}
	h := hmac.New(sha256.New, secret)
	writePart(h, "tideover/1 instrument")
	writePart(h, instrument)
	return [32]byte(h.Sum(nil))
}
