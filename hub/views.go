package hub

import (
	"time"

	"tideover"
)

// TokenLife is how long a one-time enrolment token may be used, unless the operator says otherwise.
const (
	TokenLife    = 72 * time.Hour
	tokenLifeMin = time.Second
	tokenLifeMax = 30 * 24 * time.Hour
)

// StoreState is where a store stands with the hub.
type StoreState string

// The states of a store.
const (
	StoreAwaiting StoreState = "awaiting enrolment" // a token is out, no machine is enrolled
	StoreLapsed   StoreState = "token expired"      // the token was never used
	StoreEnrolled StoreState = "enrolled"
	StoreRevoked  StoreState = "revoked"
)

// NewToken answers `store add` and `store rotate`.
type NewToken struct {
	Store     string          `json:"store"`
	Token     string          `json:"token"` // secret, used once
	ExpiresAt tideover.Millis `json:"expires_at"`
	Addresses []string        `json:"addresses"` // what the token tells the edge
}

// Store is a store as commands show it.
type Store struct {
	Store          string              `json:"store"`
	State          StoreState          `json:"state"`
	CreatedAt      tideover.Millis     `json:"created_at"`
	EnrolledAt     tideover.Millis     `json:"enrolled_at"`
	TokenExpiresAt tideover.Millis     `json:"token_expires_at"` // null where none is out
	Certificate    string              `json:"certificate"`      // SHA-256, hex; "" where none is valid
	NotAfter       tideover.Millis     `json:"not_after"`
	Connections    int                 `json:"connections"`
	HeardAt        tideover.Millis     `json:"heard_at"` // while connected
	Incarnation    string              `json:"incarnation"`
	AnchorSeq      uint64              `json:"anchor_seq"`
	AnchorHead     string              `json:"anchor_head"` // the chain's hash there, hex; "" where none was heard
	HubSeq         uint64              `json:"hub_seq"`     // ends given out
	Outbox         int                 `json:"outbox"`      // of them not acknowledged
	LostAt         tideover.Millis     `json:"lost_at"`     // when it was found out last that the ledger has lost a part of the store's past; null: never
	Forgetful      bool                `json:"forgetful"`
	Terminals      []tideover.Terminal `json:"terminals"`
}

// StoreList answers `store list`, ordered by name.
type StoreList struct {
	Stores []Store `json:"stores"`
}

// TransactionView is a ledger row as commands show it. It holds neither payload nor instrument.
type TransactionView struct {
	ID           tideover.ID       `json:"id"`
	Store        string            `json:"store"`
	Terminal     string            `json:"terminal"`
	Key          string            `json:"key"`
	Kind         string            `json:"kind"`
	Amount       int64             `json:"amount"`
	Currency     string            `json:"currency"`
	Order        string            `json:"order"`
	Original     *tideover.ID      `json:"original"`
	State        string            `json:"state"` // of the ledger row
	Why          string            `json:"why"`   // the reason of its last move
	CancelAsked  bool              `json:"cancel_asked"`
	Outcome      *tideover.Outcome `json:"outcome"`
	HubSeq       uint64            `json:"hub_seq"`
	Acknowledged bool              `json:"acknowledged"` // the edge has the outcome on its disk
	Corrected    bool              `json:"corrected"`
	CreatedAt    tideover.Millis   `json:"created_at"` // ledger time
	UpdatedAt    tideover.Millis   `json:"updated_at"`
	ExpiresAt    tideover.Millis   `json:"expires_at"`
}

// TransactionList answers `transaction show`: an id belongs to one store, but nothing keeps another from having it barred too.
type TransactionList struct {
	Transactions []TransactionView `json:"transactions"`
}

// Status answers `status`.
type Status struct {
	Well       bool            `json:"well"`
	Verdict    tideover.Text   `json:"verdict"`
	Version    string          `json:"version"`
	PID        int             `json:"pid"`
	StartedAt  tideover.Millis `json:"started_at"`
	Draining   bool            `json:"draining"`
	Listen     string          `json:"listen"` // bound UDP address
	Metrics    string          `json:"metrics"`
	Addresses  []string        `json:"addresses"` // what tokens tell edges
	Ledger     string          `json:"ledger"`
	LedgerTime tideover.Millis `json:"ledger_time"`
	CA         string          `json:"ca"` // SHA-256 of its certificate, hex
	CANotAfter tideover.Millis `json:"ca_not_after"`
	Platform   PlatformStatus  `json:"platform"`

	Stores       int   `json:"stores"`
	Enrolled     int   `json:"enrolled"`
	Connected    int   `json:"connected"` // stores
	Connections  int64 `json:"connections"`
	InFlight     int64 `json:"in_flight"`    // streams that wait for an answer
	Transactions int64 `json:"transactions"` // ledger rows
	Open         int64 `json:"open"`         // of them those that the machine is at work on
	Manual       int64 `json:"manual"`       // of them those that need a person
	Outbox       int64 `json:"outbox"`       // ends that edges have not acknowledged

	RestoredAt tideover.Millis `json:"restored_at"` // when the ledger was last found to be an older copy in its own place; null: never
	Forgetful  []string        `json:"forgetful"`   // stores whose edges have not told yet what the ledger has lost of them
}

// PlatformStatus is the platform as it is configured.
type PlatformStatus struct {
	Adapter   string `json:"adapter"`
	URL       string `json:"url"`
	Guarantee string `json:"guarantee"`
	Notify    string `json:"notify"` // bound TCP address at which it calls back; "" where it does not
}
