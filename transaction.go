package tideover

import (
	"encoding/json"
	"time"
)

// Outcome is the final word on a transaction.
type Outcome struct {
	Result    State  `json:"result" cbor:"1,keyasint"` // approved, declined, expired, cancelled or reversed
	Code      string `json:"code" cbor:"2,keyasint,omitempty"`
	Message   string `json:"message" cbor:"3,keyasint,omitempty"`
	Reference string `json:"reference" cbor:"4,keyasint,omitempty"` // the platform's own number
	At        Millis `json:"at" cbor:"5,keyasint,omitempty"`        // when it was recorded, ledger time
}

// Millis is an instant as milliseconds since 1970, UTC: the form that times take on disk and on the wire. 0 is unknown.
type Millis int64

// MillisOf returns t as [Millis]; the zero time is 0.
func MillisOf(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time returns the instant in UTC; 0 is the zero time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Add returns the instant d later.
func (m Millis) Add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// MarshalJSON writes RFC 3339 with milliseconds, or null where the instant is unknown.
func (m Millis) MarshalJSON() ([]byte, error) {
	return m.appendJSON(nil), nil
}

// UnmarshalJSON reads what MarshalJSON writes, and any RFC 3339.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var t *time.Time
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	*m = 0
	if t != nil {
		*m = MillisOf(*t)
	}
	return nil
}

// Terminal is a till that is allowed in.
type Terminal struct {
	UID       string   `json:"uid" cbor:"1,keyasint"` // random, made at pairing; with open access the name
	Name      string   `json:"name" cbor:"2,keyasint"`
	TokenHash [32]byte `json:"-" cbor:"3,keyasint"` // SHA-256 of its bearer token
	Revoked   bool     `json:"revoked" cbor:"4,keyasint,omitempty"`
	PairedAt  Millis   `json:"paired_at" cbor:"5,keyasint,omitempty"`
}

// Transaction is a request and what has become of it: the record that the terminal's API, the technician's commands and the
// journal speak of. It never holds the payload or the instrument.
type Transaction struct {
	ID           ID
	Terminal     string   // the terminal's name
	TerminalUID  string   // not shown
	Key          string   // the idempotency key
	Hash         [32]byte // the request hash; not shown
	Kind         Kind
	Amount       int64 // minor units
	Currency     string
	Method       string
	Order        string
	Original     ID
	Operator     string
	State        State
	Outcome      *Outcome
	Attempts     int    // sends since the edge's last start
	Uplink       string // the link of the last send since the edge's last start
	Delivered    bool   // an answer with this end was written to the till
	Acknowledged bool   // the till has printed or shown this end
	Seq          uint64 // grows with each change
	EndSeq       uint64 // the Seq at which the present end came; 0 while there is none; not shown
	WaitingFor   string // "customer" while a PIN is being entered
	Corrected    bool   // this end replaces another that was told
	CreatedAt    Millis // the edge's wall clock
	UpdatedAt    Millis
	ExpiresAt    Millis // sales only: CreatedAt plus the time that the till gave
	Replayed     bool   // this answer repeats one transaction for a key that was known
}

// Final says whether the transaction has its definite end.
func (t Transaction) Final() bool { return t.State.Final() }

// transactionJSON is the shape of the terminal's API.
type transactionJSON struct {
	ID           ID       `json:"id"`
	Terminal     string   `json:"terminal"`
	Key          string   `json:"key"`
	Kind         *Kind    `json:"kind"`
	Amount       int64    `json:"amount"`
	Currency     *string  `json:"currency"`
	Method       *string  `json:"method"`
	Order        *string  `json:"order"`
	Original     *ID      `json:"original"`
	Operator     *string  `json:"operator"`
	State        State    `json:"state"`
	Final        bool     `json:"final"`
	Outcome      *Outcome `json:"outcome"`
	Attempts     int      `json:"attempts"`
	Uplink       *string  `json:"uplink"`
	Delivered    bool     `json:"delivered"`
	Acknowledged bool     `json:"acknowledged"`
	Seq          uint64   `json:"seq"`
	WaitingFor   *string  `json:"waiting_for"`
	Corrected    bool     `json:"corrected"`
	CreatedAt    Millis   `json:"created_at"`
	UpdatedAt    Millis   `json:"updated_at"`
	ExpiresAt    Millis   `json:"expires_at"`
	Replayed     bool     `json:"replayed"`
}

// orNull returns nil for the zero value, so that JSON says null.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// UnmarshalJSON reads what MarshalJSON writes; the technician's commands use it.
func (t *Transaction) UnmarshalJSON(b []byte) error {
	var j transactionJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*t = Transaction{
		ID: j.ID, Terminal: j.Terminal, Key: j.Key, Kind: orZero(j.Kind), Amount: j.Amount, Currency: orZero(j.Currency),
		Method: orZero(j.Method), Order: orZero(j.Order), Original: orZero(j.Original), Operator: orZero(j.Operator),
		State: j.State, Outcome: j.Outcome, Attempts: j.Attempts, Uplink: orZero(j.Uplink), Delivered: j.Delivered,
		Acknowledged: j.Acknowledged, Seq: j.Seq, WaitingFor: orZero(j.WaitingFor), Corrected: j.Corrected,
		CreatedAt: j.CreatedAt, UpdatedAt: j.UpdatedAt, ExpiresAt: j.ExpiresAt, Replayed: j.Replayed,
	}
	return nil
}
