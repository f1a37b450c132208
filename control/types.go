package control

import "tideover"

// Finding is something that a technician should know, and what to do about it.
type Finding struct {
	Code string        `json:"code"` // stable, for scripts: hub_unreachable, manual, ...
	What tideover.Text `json:"what"`
	Next tideover.Text `json:"next"`
	Note bool          `json:"note"` // worth knowing, and nothing is wrong
}

// Verdict sums a status up.
type Verdict struct {
	Well     bool      `json:"well"`
	Findings []Finding `json:"findings"` // why it is not well, the gravest first; where it is well, notes at most
}

// Status is the whole of `tideover status`.
type Status struct {
	Verdict   Verdict         `json:"verdict"`
	Version   string          `json:"version"`
	Store     string          `json:"store"`
	PID       int             `json:"pid"`
	StartedAt tideover.Millis `json:"started_at"`
	Now       tideover.Millis `json:"now"` // the edge's wall clock; ages are told against it

	Hub         Hub         `json:"hub"`
	Queue       Queue       `json:"queue"`
	Uplinks     []Uplink    `json:"uplinks"`
	Terminals   Terminals   `json:"terminals"`
	Endpoint    Endpoint    `json:"endpoint"`
	Storage     Storage     `json:"storage"`
	Certificate Certificate `json:"certificate"`
	Rules       Rules       `json:"rules"` // in force
	Keys        Keys        `json:"keys"`

	// Alarms are findings that only the daemon itself can know: another router has taken over, this journal was restored.
	Alarms []Finding `json:"alarms"`
}

// Hub is how the hub is reached.
type Hub struct {
	Connected bool            `json:"connected"` // heard just now
	Address   string          `json:"address"`
	Uplink    string          `json:"uplink"`  // the link in use; "" while there is none
	Since     tideover.Millis `json:"since"`   // of the present condition
	Error     string          `json:"error"`   // the last failure, "" where there is none; English
	Refused   bool            `json:"refused"` // a hub answers, and this edge may not or must not use it
	CaughtUp  bool            `json:"caught_up"`
	// LedgerTime is the hub's time as the edge carries it on; 0 until a hub was heard since the start.
	LedgerTime tideover.Millis `json:"ledger_time"`
}

// Queue is what the journal holds.
type Queue struct {
	Pending        int              `json:"pending"`         // accepted and not final
	OldestAt       tideover.Millis  `json:"oldest_at"`       // acceptance of the oldest of these; 0 where there is none
	ByState        map[string]int   `json:"by_state"`        // of all that is not both final and acknowledged
	OpenAmounts    map[string]int64 `json:"open_amounts"`    // minor units of what is pending, by currency
	Unacknowledged int              `json:"unacknowledged"`  // final, and the till has not said that it showed it
	NotHandedOver  int              `json:"not_handed_over"` // of these, what [Transaction] calls so
	// Oldest is the first accepted of those in each state without an end.
	Oldest map[string]Oldest `json:"oldest"`
}

// Oldest names a transaction, and when it was accepted.
type Oldest struct {
	ID tideover.ID     `json:"id"`
	At tideover.Millis `json:"at"`
}

// Uplink is one way out of the shop.
type Uplink struct {
	Name      string          `json:"name"`
	Interface string          `json:"interface"`
	Connected bool            `json:"connected"`
	Address   string          `json:"address"` // the hub's, as dialled last
	RTTMillis float64         `json:"rtt_ms"`  // smoothed; 0 where it is not known
	Since     tideover.Millis `json:"since"`
	Error     string          `json:"error"`
}

// Terminals counts the tills.
type Terminals struct {
	Paired  int `json:"paired"`
	Revoked int `json:"revoked"`
}

// Endpoint is where tills are served.
type Endpoint struct {
	Listen    string `json:"listen"`
	Access    string `json:"access"`
	TLS       string `json:"tls"`
	Accepting bool   `json:"accepting"`
}

// Storage is the journal's file.
type Storage struct {
	Path        string `json:"path"`
	FileBytes   int64  `json:"file_bytes"`
	InsideBytes int64  `json:"inside_bytes"` // of the file: was in use, and is free again; a compaction gives it back
	FreeBytes   int64  `json:"free_bytes"`   // of the file system
	Commits     uint64 `json:"commits"`      // since the start
	Syncs       uint64 `json:"syncs"`
	Seq         uint64 `json:"seq"`          // of the last committed event
	Head        string `json:"head"`         // the chain's hash there, hexadecimal
	HaveThrough uint64 `json:"have_through"` // the hub's outbox is on disk up to this position
}

// Keys are those of the journal's payloads, in short.
type Keys struct {
	Seals string `json:"seals"` // the name of the one that seals
	Older int    `json:"older"` // older ones that still open something
}

// Certificate is the edge's own.
type Certificate struct {
	Serial   string          `json:"serial"`
	NotAfter tideover.Millis `json:"not_after"`
}

// Terminal is a till, and what it has under way.
type Terminal struct {
	tideover.Terminal
	Open int `json:"open"` // accepted and not final
}

// TerminalList is every till that was ever let in.
type TerminalList struct {
	Terminals []Terminal `json:"terminals"`
}

// PairRequest asks for a pairing code. Without a name the till names itself.
type PairRequest struct {
	Name    string `json:"name"`
	Replace bool   `json:"replace"` // the name is in use, and goes over to the box that pairs
}

// Pairing is a code that lets one till in.
type Pairing struct {
	Code      string          `json:"code"`
	Name      string          `json:"name"`
	ExpiresAt tideover.Millis `json:"expires_at"`
	Endpoint  string          `json:"endpoint"` // where the till is pointed at
}
