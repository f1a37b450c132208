package tideover

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"unicode/utf8"
)

// Receipt is what a hub has signed of a transaction's end. Whoever has the hub's public key can check it without asking anybody: every field
// is under the signature, each with its length and in its place. It holds neither payload nor instrument.
type Receipt struct {
	Store     string
	ID        ID
	Terminal  string // its name when it pressed
	Kind      Kind
	Amount    int64 // minor units
	Currency  string
	Method    string
	Order     string
	Original  ID
	Operator  string
	State     State // the end
	Code      string
	Message   string
	Reference string // the platform's own number
	At        Millis // when the end was recorded, ledger time
	CreatedAt Millis // the edge's wall clock, as the ledger heard it first
	Corrected bool   // this end replaces another that was told

	Key       KeyID // of the public key that the signature is checked with
	Signature [ed25519.SignatureSize]byte
}

// KeyID names a receipt key: the first 8 bytes of SHA-256 of the public key.
type KeyID [8]byte

// KeyIDOf returns the name of a public key.
func KeyIDOf(key ed25519.PublicKey) KeyID {
	sum := sha256.Sum256(key)
	return KeyID(sum[:8])
}

// String returns the id as 16 hexadecimal digits.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// Proof is what a hub adds to an end so that a receipt can be made of the edge's own record. What two acceptances of the same press may
// differ in is told as the ledger has it: a replaced router has accepted it at another time, perhaps from a till that has another name now.
type Proof struct {
	Key       KeyID                       `cbor:"1,keyasint"`
	Signature [ed25519.SignatureSize]byte `cbor:"2,keyasint"`
	Terminal  string                      `cbor:"3,keyasint,omitempty"` // "": as in the record
	CreatedAt Millis                      `cbor:"4,keyasint,omitempty"` // 0: as in the record
}

// IsZero says that there is none.
func (p Proof) IsZero() bool { return p == Proof{} }

// Why a receipt is not believed.
var (
	ErrNotReceipt     = errors.New("not a receipt")
	ErrReceiptKey     = errors.New("it was signed with another key")
	ErrReceiptChanged = errors.New("the signature does not match: it was changed after it was signed")
)

// ReceiptOf returns what a receipt of a transaction in a store says, unsigned.
func ReceiptOf(store string, t Transaction) Receipt {
	r := Receipt{
		Store: store, ID: t.ID, Terminal: t.Terminal, Kind: t.Kind, Amount: t.Amount, Currency: t.Currency, Method: t.Method, Order: t.Order,
		Original: t.Original, Operator: t.Operator, State: t.State, CreatedAt: t.CreatedAt, Corrected: t.Corrected,
	}
	if o := t.Outcome; o != nil {
		r.Code, r.Message, r.Reference, r.At = o.Code, o.Message, o.Reference, o.At
	}
	return r
}

// With returns the receipt with what a proof says.
func (r Receipt) With(p Proof) Receipt {
	r.Key, r.Signature = p.Key, p.Signature
	if p.Terminal != "" {
		r.Terminal = p.Terminal
	}
	if p.CreatedAt != 0 {
		r.CreatedAt = p.CreatedAt
	}
	return r
}

// parts are the fields under the signature, in order, as the bytes say them.
func (r *Receipt) parts() []string {
	original := ""
	if !r.Original.IsZero() {
		original = r.Original.String()
	}
	return []string{
		"tideover/1 receipt", r.Store, r.ID.String(), r.Terminal, r.Kind.String(), strconv.FormatInt(r.Amount, 10), r.Currency, r.Method, r.Order,
		original, r.Operator, r.State.String(), r.Code, r.Message, r.Reference, strconv.FormatInt(int64(r.At), 10),
		strconv.FormatInt(int64(r.CreatedAt), 10), strconv.FormatBool(r.Corrected),
	}
}

// signed returns the bytes that are signed.
func (r *Receipt) signed() []byte {
	var b bytes.Buffer
	for _, part := range r.parts() {
		writePart(&b, part)
	}
	return b.Bytes()
}

// Sign signs the receipt, and returns what has to be told for it.
func (r *Receipt) Sign(key ed25519.PrivateKey) Proof {
	r.Key = KeyIDOf(key.Public().(ed25519.PublicKey))
	r.Signature = [ed25519.SignatureSize]byte(ed25519.Sign(key, r.signed()))
	return Proof{Key: r.Key, Signature: r.Signature, Terminal: r.Terminal, CreatedAt: r.CreatedAt}
}

// Verify checks the signature. Errors: ErrReceiptKey, ErrReceiptChanged.
func (r *Receipt) Verify(key ed25519.PublicKey) error {
	switch {
	case len(key) != ed25519.PublicKeySize || r.Key != KeyIDOf(key):
		return ErrReceiptKey
	case !ed25519.Verify(key, r.signed(), r.Signature[:]):
		return ErrReceiptChanged
	}
	return nil
}

// Difference is a field in which a receipt and the record are not alike.
type Difference struct {
	Field   string `json:"field"` // its name in the API
	Receipt string `json:"receipt"`
	Record  string `json:"record"` // both as text; "" where there is none
}

// CompareReceipts returns the fields in which a receipt differs from what a record says. Keys and signatures are not compared.
func CompareReceipts(receipt, record Receipt) (all []Difference) {
	a, b := receipt.fields(), record.fields()
	for _, name := range comparedFields {
		if a[name] != b[name] {
			all = append(all, Difference{name, said(a[name]), said(b[name])})
		}
	}
	return all
}

// said is a scalar's text.
func said(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// comparedFields are those of the API but for key and signature, in its order.
var comparedFields = [...]string{
	"store", "id", "terminal", "kind", "amount", "currency", "method", "order", "original", "operator", "state", "code", "message", "reference",
	"at", "created_at", "corrected",
}

// fields returns what the API writes.
func (r Receipt) fields() map[string]any {
	b, err := json.Marshal(r)
	if err != nil {
		return nil // no state and no kind is without a text
	}
	all, _ := scalars(b)
	return all
}

// ReceiptMax is the largest receipt that is read, in bytes.
const ReceiptMax = 32 << 10

// receiptJSON is the shape of the terminal's API; what was not given is null.
type receiptJSON struct {
	Store     string  `json:"store"`
	ID        ID      `json:"id"`
	Terminal  string  `json:"terminal"`
	Kind      Kind    `json:"kind"`
	Amount    int64   `json:"amount"`
	Currency  *string `json:"currency"`
	Method    *string `json:"method"`
	Order     *string `json:"order"`
	Original  *ID     `json:"original"`
	Operator  *string `json:"operator"`
	State     State   `json:"state"`
	Code      string  `json:"code"`
	Message   string  `json:"message"`
	Reference string  `json:"reference"`
	At        Millis  `json:"at"`
	CreatedAt Millis  `json:"created_at"`
	Corrected bool    `json:"corrected"`
	KeyID     string  `json:"key_id"`    // 16 hexadecimal digits
	Signature string  `json:"signature"` // base64, its URL alphabet, without padding
}

var base64url = base64.RawURLEncoding

// MarshalJSON writes the receipt of the terminal's API.
func (r Receipt) MarshalJSON() ([]byte, error) {
	return json.Marshal(receiptJSON{
		Store: r.Store, ID: r.ID, Terminal: r.Terminal, Kind: r.Kind, Amount: r.Amount, Currency: orNull(r.Currency), Method: orNull(r.Method),
		Order: orNull(r.Order), Original: orNull(r.Original), Operator: orNull(r.Operator), State: r.State, Code: r.Code, Message: r.Message,
		Reference: r.Reference, At: r.At, CreatedAt: r.CreatedAt, Corrected: r.Corrected, KeyID: r.Key.String(),
		Signature: base64url.EncodeToString(r.Signature[:]),
	})
}

// UnmarshalJSON reads what MarshalJSON writes, with its fields in any order. A receipt is held against what people take it for, so nothing
// is overlooked in one: every field is there once, under its exact name and of its own type, and no other one.
func (r *Receipt) UnmarshalJSON(b []byte) error {
	said, err := scalars(b)
	if err != nil {
		return notReceipt(err)
	}
	var j receiptJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return notReceipt(err)
	}
	read := Receipt{
		Store: j.Store, ID: j.ID, Terminal: j.Terminal, Kind: j.Kind, Amount: j.Amount, Currency: orZero(j.Currency), Method: orZero(j.Method),
		Order: orZero(j.Order), Original: orZero(j.Original), Operator: orZero(j.Operator), State: j.State, Code: j.Code, Message: j.Message,
		Reference: j.Reference, At: j.At, CreatedAt: j.CreatedAt, Corrected: j.Corrected,
	}
	if err := read.take(j.KeyID, j.Signature); err != nil {
		return err
	}
	again, err := json.Marshal(read)
	if err != nil {
		return notReceipt(err)
	}
	understood, err := scalars(again)
	if err != nil {
		return notReceipt(err)
	}
	if name := differs(said, understood); name != "" {
		return notReceipt(fmt.Errorf("the field %q is unknown, missing, or not written as a receipt has it", name))
	}
	*r = read
	return nil
}

func notReceipt(err error) error { return fmt.Errorf("%w: %w", ErrNotReceipt, err) }

// take reads the key's name and the signature, and says what no receipt can be.
func (r *Receipt) take(key, signature string) error {
	if n, err := hex.Decode(r.Key[:], []byte(key[:min(len(key), 2*len(r.Key))])); err != nil || n != len(r.Key) || r.Key.String() != key {
		return notReceipt(errors.New("the key's id is not 16 hexadecimal digits"))
	}
	b, err := base64url.DecodeString(signature)
	if err != nil || len(b) != len(r.Signature) || base64url.EncodeToString(b) != signature {
		return notReceipt(fmt.Errorf("the signature is not %d bytes in base64", len(r.Signature)))
	}
	r.Signature = [ed25519.SignatureSize]byte(b)
	switch {
	case !r.State.Final():
		return notReceipt(fmt.Errorf("%q is no end", r.State))
	case r.Kind == KindNone || r.ID.IsZero():
		return notReceipt(errors.New("it does not say of which transaction it is"))
	}
	return nil
}

// scalars reads an object of texts, numbers, truths and nulls. A name that stands twice, and anything deeper, is an error.
func scalars(b []byte) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is not an object")
	}
	all := make(map[string]any)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		value, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := name.(string)
		if _, deep := value.(json.Delim); deep || !ok {
			return nil, fmt.Errorf("the field %q has more than one value", clipped(key))
		}
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("the field %q stands twice", clipped(key))
		}
		all[key] = value
	}
	return all, nil
}

// differs returns the first name, in the order of names, whose value is not the same in both; "" where there is none.
func differs(a, b map[string]any) string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		x, in := a[name]
		y, also := b[name]
		if !in || !also || x != y {
			return clipped(name)
		}
	}
	return ""
}

// clipped shortens what a stranger wrote, for a message.
func clipped(s string) string {
	if runes := []rune(s); len(runes) > 40 {
		return string(runes[:40]) + "…"
	}
	return s
}
