package control

import (
	"encoding/json"
	"strconv"
	"time"

	"tideover"
)

// HandOverMax is how long an approval may stay without its till's acknowledgement before a technician is told.
const HandOverMax = 2 * time.Minute

// Transaction is one as a technician sees it.
type Transaction struct {
	tideover.Transaction
	// NotHandedOver: paid, not handed over. It is approved, and for [HandOverMax] no till has said that it showed that.
	NotHandedOver bool
}

// See shows a transaction as it is at now, the edge's wall clock. A clock that was set since then, either way, hides nothing.
func See(t tideover.Transaction, now tideover.Millis) Transaction {
	since := time.Duration(now-t.UpdatedAt) * time.Millisecond // of the end, or of its being told to the till
	return Transaction{t, t.State == tideover.StateApproved && !t.Acknowledged && since.Abs() > HandOverMax}
}

// handOver is the part of a Transaction's JSON that the terminal's API does not have.
type handOver struct {
	NotHandedOver bool `json:"not_handed_over"`
}

// MarshalJSON writes the Transaction of the terminal's API with `not_handed_over`.
func (t Transaction) MarshalJSON() ([]byte, error) {
	b, err := t.Transaction.MarshalJSON()
	if err != nil {
		return nil, err
	}
	b = append(b[:len(b)-1], `,"not_handed_over":`...)
	return append(strconv.AppendBool(b, t.NotHandedOver), '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Transaction) UnmarshalJSON(b []byte) error {
	var more handOver
	if err := json.Unmarshal(b, &more); err != nil {
		return err
	}
	t.NotHandedOver = more.NotHandedOver
	return t.Transaction.UnmarshalJSON(b)
}

// ByHub is in [Event.By] of what the hub said.
const ByHub = "hub"

// Event is one line of a transaction's history in the journal.
type Event struct {
	Seq    uint64          `json:"seq"`
	At     tideover.Millis `json:"at"`
	Event  string          `json:"event"`  // accepted, told approved, delivered, acknowledged, ...
	State  tideover.State  `json:"state"`  // that it left the transaction in
	By     string          `json:"by"`     // a person's or the hub's, where it is not the daemon's own
	Detail string          `json:"detail"` // what a person settled it as, and the reason that was given
}

// Detail is one transaction with its history.
type Detail struct {
	Transaction Transaction `json:"transaction"`
	Rules       *Rules      `json:"rules"`   // that it was judged by; null where the journal does not say
	History     []Event     `json:"history"` // what is on disk, oldest first
}

// Filter chooses transactions; the zero value of each field chooses all.
type Filter struct {
	State         tideover.State
	Terminal      string // its name
	NotHandedOver bool   // see [Transaction]
	After         string // where the last page ended; "" is the beginning
	Limit         int    // 1 to [ListMax]; 0 is [ListDefault]
}

// The size of a page of transactions.
const (
	ListDefault = 50
	ListMax     = 1000
)

// Page is a part of a list, the newest first.
type Page struct {
	Transactions []Transaction `json:"transactions"`
	Next         string        `json:"next"` // "" where nothing follows
}
