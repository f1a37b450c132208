package control

import "tideover"

// Salvaged is what was found in a damaged journal: `tideover salvage`.
type Salvaged struct {
	Path         string          `json:"path"`
	Bytes        int64           `json:"bytes"`
	Unreadable   int             `json:"unreadable_pages"` // that the disk does not give
	Sound        bool            `json:"sound"`            // nothing is missing of it
	Headless     bool            `json:"headless"`         // whose journal it is was not found in it
	Entries      SalvagedEntries `json:"entries"`
	Through      string          `json:"through"` // SEQ:HASH, the last entry that the chain leads to from the journal's beginning; "" where there is none
	FirstAt      tideover.Millis `json:"first_at"`
	LastAt       tideover.Millis `json:"last_at"`
	Gaps         []SalvagedGap   `json:"gaps"`
	Transactions int             `json:"transactions"` // of which anything was found
	Standing     []Salvage       `json:"standing"`     // those that need somebody's eye, oldest first
	SealedOpened int             `json:"sealed_opened"`
	KeyWasAtHand bool            `json:"key_was_at_hand"`
	Made         *SalvagedFile   `json:"made"` // null where no new file was asked for
}

// SalvagedEntries counts entries by what vouches for them.
type SalvagedEntries struct {
	Chain     int `json:"chain"`     // their hash follows from the journal's beginning
	Neighbour int `json:"neighbour"` // their hash follows from that of the entry before; what leads there is gone
	Alone     int `json:"alone"`     // what stood before them is gone
	Unproven  int `json:"unproven"`  // of those alone: nothing vouches for them, and they are not in the new file
	Off       int `json:"off"`       // of commits that never ended, or damaged copies of others
}

// SalvagedGap is where entries are missing.
type SalvagedGap struct {
	After  uint64          `json:"after"`  // an entry that is there; 0: the beginning
	Before uint64          `json:"before"` // the next one that is; 0: none is
	From   tideover.Millis `json:"from"`   // when these two were written; 0 where that is not known
	To     tideover.Millis `json:"to"`
}

// Salvage is a transaction that needs somebody's eye.
type Salvage struct {
	Transaction tideover.Transaction `json:"transaction"` // as far as it is known
	Standing    string               `json:"standing"`    // open, not_handed_over, payload_lost, unknown
	Vouched     string               `json:"vouched"`     // what vouches for its acceptance: chain, neighbour, request, nothing
	Kept        bool                 `json:"kept"`        // it can be put back
	Later       []string             `json:"later"`       // what is on record of it beyond what could be put together; "?": nothing vouches for that
	What        tideover.Text        `json:"what"`
	Next        tideover.Text        `json:"next"`
}

// SalvagedFile is the new file.
type SalvagedFile struct {
	Path         string `json:"path"`
	Bytes        int64  `json:"bytes"`
	Entries      int    `json:"entries"`
	AsWritten    int    `json:"as_written"` // of these, from the beginning: by the chain that was there
	Transactions int    `json:"transactions"`
	Open         int    `json:"open"`
}
