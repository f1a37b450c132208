package tideover

import (
	"crypto/hmac"
	"crypto/sha256"
	"strconv"
)

// Settlement is what a till says at closing time: what it has taken between two instants, as sums, item by item, or both.
type Settlement struct {
	// From and To are by the edge's wall clock, To excluded; 0 where the till left it out.
	From, To Millis
	Totals   []SettlementTotal
	Items    []SettlementItem
}

// SettlementTotal is what a till has counted of one kind in one currency: what was approved, and not undone since.
type SettlementTotal struct {
	Kind     Kind   `cbor:"1,keyasint"`
	Currency string `cbor:"2,keyasint"`
	Count    int64  `cbor:"3,keyasint,omitempty"`
	Amount   int64  `cbor:"4,keyasint,omitempty"` // minor units
}

// SettlementItem is one transaction as its till has it.
type SettlementItem struct {
	ID       ID     `cbor:"1,keyasint"`
	Key      string `cbor:"2,keyasint,omitempty"` // where the till named it by its key
	Kind     Kind   `cbor:"3,keyasint"`
	Amount   int64  `cbor:"4,keyasint,omitempty"` // minor units
	Currency string `cbor:"5,keyasint,omitempty"`
	State    State  `cbor:"6,keyasint"`
}

// SettlementID names what a till reported under a key. No transaction has it: a transaction's key holds no space.
func SettlementID(store, terminalUID, key string) ID {
	return MakeID(store, terminalUID, "settlement "+key)
}

// Hash is the keyed hash of a report as parsed values, as that of [Request.Hash]. Items count in the till's own order.
func (s *Settlement) Hash(secret []byte) [32]byte {
	h := hmac.New(sha256.New, secret)
	writePart(h, "tideover/1 settlement")
	writePart(h, strconv.FormatInt(int64(s.From), 10))
	writePart(h, strconv.FormatInt(int64(s.To), 10))
	writePart(h, strconv.Itoa(len(s.Totals)))
	for _, t := range s.Totals {
		for _, part := range []string{t.Kind.String(), t.Currency, strconv.FormatInt(t.Count, 10), strconv.FormatInt(t.Amount, 10)} {
			writePart(h, part)
		}
	}
	writePart(h, strconv.Itoa(len(s.Items)))
	for i := range s.Items {
		it := &s.Items[i]
		id := ""
		if !it.ID.IsZero() {
			id = it.ID.String()
		}
		for _, part := range []string{id, it.Key, it.Kind.String(), strconv.FormatInt(it.Amount, 10), it.Currency, it.State.String()} {
			writePart(h, part)
		}
	}
	return [32]byte(h.Sum(nil))
}

// Verdict is what a comparison of several books comes to. A greater one is graver.
type Verdict uint8

// The verdicts.
const (
	VerdictNone     Verdict = iota
	VerdictMatch            // every side that was heard says the same
	VerdictOpen             // it has no end yet: neither right nor wrong
	VerdictOneSided         // a side lacks it
	VerdictMismatch         // amount, currency, kind or end differ, or it was executed twice
)

var verdictNames = [...]string{
	VerdictNone: "", VerdictMatch: "match", VerdictOpen: "open", VerdictOneSided: "one_sided", VerdictMismatch: "mismatch",
}

// String returns the verdict's name in the API.
func (v Verdict) String() string { return nameOf(verdictNames[:], uint8(v)) }

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; an unknown name is an error.
func (v *Verdict) UnmarshalText(b []byte) error {
	i, err := indexOf("verdict", verdictNames[:], string(b))
	*v = Verdict(i)
	return err
}

// Sum is a number of transactions, and what they come to in one currency.
type Sum struct {
	Count  int64 `json:"count"`
	Amount int64 `json:"amount"` // minor units
}

// Balance holds the sums of one till, kind and currency side by side; nil is a side that was not heard.
type Balance struct {
	Terminal string  `json:"terminal"` // its name; "" for what the platform alone has
	Kind     Kind    `json:"kind"`
	Currency string  `json:"currency"`
	Till     *Sum    `json:"till"`
	Journal  *Sum    `json:"journal"`
	Hub      *Sum    `json:"hub"`
	Platform *Sum    `json:"platform"`
	Result   Verdict `json:"result"`
}

// Said is what one side has of one transaction.
type Said struct {
	Kind      *Kind  `json:"kind"` // null where the side does not know it
	Amount    int64  `json:"amount"`
	Currency  string `json:"currency"`
	State     State  `json:"state"`
	Reference string `json:"reference"` // the platform's own number
	At        Millis `json:"at"`        // acceptance by the edge's wall clock; at the platform the execution by its own
}

// Compared is one transaction with what each side has of it; nil is a side that lacks it, or was not heard.
type Compared struct {
	ID       ID      `json:"id"`
	Key      string  `json:"key"` // "" where neither till nor journal know it
	Terminal string  `json:"terminal"`
	Result   Verdict `json:"result"`
	Reason   string  `json:"reason"` // for scripts; "" where it matches
	Till     *Said   `json:"till"`
	Journal  *Said   `json:"journal"`
	Hub      *Said   `json:"hub"`
	Platform []Said  `json:"platform"` // one for each execution
	What     Text    `json:"what"`     // is wrong
	Next     Text    `json:"next"`     // what a person does
}

// Settled answers a till's report: what it says against the journal and, where the hub was heard, against the ledger.
type Settled struct {
	ID          ID
	Terminal    string
	From, To    Millis
	Result      Verdict // the gravest of all
	Totals      []Balance
	Items       []Compared // what does not match
	HubCompared bool
	Replayed    bool
}

// Reconciliation is a shop's day with all its sides.
type Reconciliation struct {
	ID       ID      `json:"id"` // the same for as long as no side says anything else
	Store    string  `json:"store"`
	Date     string  `json:"date"` // of the edge's time zone
	From     Millis  `json:"from"`
	To       Millis  `json:"to"`
	Result   Verdict `json:"result"` // the gravest of all
	Compared int     `json:"compared"`
	// Hub: the ledger was read. Statement: so was the platform's statement. Where not, HubWhy says why.
	Hub       bool   `json:"hub"`
	Statement bool   `json:"statement"`
	HubWhy    string `json:"hub_why"`
	// Reports are the tills' that touch the day, each compared over its own time.
	Reports []Reported `json:"reports"`
	// Rest are the sums of what is in no report, and Unreported the tills that have it.
	Rest       []Balance    `json:"rest"`
	Unreported []Unreported `json:"unreported"`
	Findings   []Compared   `json:"findings"` // the gravest first
}

// Well says that every side was heard that can be, and that all of them agree.
func (r *Reconciliation) Well() bool {
	return r.Result == VerdictMatch && r.Hub && len(r.Unreported) == 0
}

// Reported is one till's report in a reconciliation.
type Reported struct {
	ID       ID      `json:"id"`
	Terminal string  `json:"terminal"`
	From     Millis  `json:"from"`
	To       Millis  `json:"to"`
	At       Millis  `json:"at"` // when it came
	Result   Verdict `json:"result"`
	// Superseded: a later report of the same till covers its whole time, so that it is not compared.
	Superseded bool      `json:"superseded"`
	Totals     []Balance `json:"totals"`
}

// Unreported is a till of which transactions are in no report.
type Unreported struct {
	Terminal string `json:"terminal"`
	Count    int    `json:"count"`    // approved, or without an end
	Since    Millis `json:"since"`    // the first of them
	Reported bool   `json:"reported"` // it has reported something of the day
}
