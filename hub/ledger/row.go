package ledger

import (
	"fmt"
	"time"

	"tideover"
	"tideover/wire"
)

// Row is what the hub knows of one transaction. Rows are kept longer than any edge can repeat an id; payload and instrument are kept
// apart, sealed, and only until the edge has the end on its disk.
type Row struct {
	Store string            `cbor:"1,keyasint"`
	ID    tideover.ID       `cbor:"2,keyasint"`
	State tideover.RowState `cbor:"3,keyasint"`
	Why   string            `cbor:"4,keyasint,omitempty"` // the reason of the last move, for people

	// Request is what the edge submitted, without payload and instrument. Its kind is none where the id was barred before any
	// request of it was seen; then its hash is zero and means nothing.
	Request   wire.Submit     `cbor:"5,keyasint"`
	ExpiresAt tideover.Millis `cbor:"6,keyasint,omitempty"` // ledger time, the earliest value seen; sales only

	CancelAsked bool `cbor:"7,keyasint,omitempty"`
	// EndAs is the end that the row gets where it is certified that it was never executed: expired or cancelled.
	EndAs tideover.State `cbor:"8,keyasint,omitempty"`
	// Tombstone: the edge has told that end by itself, and certifies that it never sent the id. No other end may follow but reversed.
	Tombstone bool `cbor:"25,keyasint,omitempty"`
	Corrected bool `cbor:"9,keyasint,omitempty"` // its end replaces another one, or corrects the platform

	Fence    uint64        `cbor:"10,keyasint,omitempty"` // grows with each claim; an answer counts for its own claim alone
	Owner    [16]byte      `cbor:"11,keyasint,omitzero"`  // the process that claimed it
	Lease    time.Duration `cbor:"12,keyasint,omitempty"` // boot-time clock of the owner: no call begins after it
	Called   bool          `cbor:"13,keyasint,omitempty"` // a call of an earlier claim may have left
	Answered bool          `cbor:"14,keyasint,omitempty"` // the platform has said something of it: it is never called again
	Approved bool          `cbor:"15,keyasint,omitempty"` // an approval was recorded, and may have been told

	PendingSince tideover.Millis `cbor:"16,keyasint,omitempty"`
	WaitingFor   string          `cbor:"17,keyasint,omitempty"`

	Outcome tideover.Outcome `cbor:"18,keyasint"` // meaningful in an end
	Account Account          `cbor:"19,keyasint,omitzero"`
	// Accounted is what this refund holds or has taken of its original's account, in minor units.
	Accounted int64 `cbor:"20,keyasint,omitempty"`

	HubSeq uint64 `cbor:"21,keyasint,omitempty"` // the outbox position of its present end; 0: never told
	Acked  bool   `cbor:"22,keyasint,omitempty"` // the edge has that end on its disk

	CreatedAt tideover.Millis `cbor:"23,keyasint"` // ledger time
	UpdatedAt tideover.Millis `cbor:"24,keyasint"`
}

// Account is what has been approved under a row and undone of it. Refunding and Refunded together are never above Approved.
type Account struct {
	Approved  int64 `cbor:"1,keyasint,omitempty"` // minor units
	Refunding int64 `cbor:"2,keyasint,omitempty"` // held by refunds that have no end yet
	Refunded  int64 `cbor:"3,keyasint,omitempty"` // taken by approved refunds
	Reversed  bool  `cbor:"4,keyasint,omitempty"`
}

// Left is what may still be refunded.
func (a Account) Left() int64 {
	if a.Reversed {
		return 0
	}
	return a.Approved - a.Refunding - a.Refunded
}

// Known says whether the hub has seen a request of the id, and not only a bar.
func (r *Row) Known() bool { return r.Request.Request.Kind != tideover.KindNone }

// Kind is the transaction's kind; none where no request was seen.
func (r *Row) Kind() tideover.Kind { return r.Request.Request.Kind }

// Ended says whether the row has a definite end.
func (r *Row) Ended() bool {
	return r.State == tideover.RowDone || r.State == tideover.RowRefused || r.State == tideover.RowReversed
}

// Owed says whether the row's end has a place in the outbox: it was decided, and the edge does not have it on its disk. A row that is
// being undone owes nothing until its new end.
func (r *Row) Owed() bool { return r.Ended() && r.HubSeq != 0 && !r.Acked }

// Confirmation is the row's end as the edge hears it. Adopt is left to whoever replays the outbox.
func (r *Row) Confirmation() wire.Confirmation {
	if !r.Ended() || r.HubSeq == 0 {
		panic(fmt.Sprintf("ledger: %s is %s and has no end to tell", r.ID, r.State))
	}
	return wire.Confirmation{ID: r.ID, HubSeq: r.HubSeq, Outcome: r.Outcome, Corrected: r.Corrected, Asked: r.CancelAsked}
}

// Progress is what an edge hears of a row that has no end.
func (r *Row) Progress() wire.Progress {
	switch r.State {
	case tideover.RowClaimed:
		return wire.Progress{State: tideover.StatePending}
	case tideover.RowInDoubt:
		if r.PendingSince != 0 || r.Kind() == tideover.KindReversal {
			return wire.Progress{State: tideover.StatePending, WaitingFor: r.WaitingFor}
		}
		return wire.Progress{State: tideover.StateInDoubt}
	case tideover.RowReversing:
		return wire.Progress{State: tideover.StateReversing}
	case tideover.RowManual:
		return wire.Progress{State: tideover.StateManual}
	default: // none; ends are confirmed
		return wire.Progress{State: tideover.StateNone}
	}
}

// Open is what an edge hears of a row that has no end, where it may lack it: the request without its payload.
func (r *Row) Open() wire.Open {
	p := r.Progress()
	o := wire.Open{Submit: r.Request, State: p.State, WaitingFor: p.WaitingFor}
	o.Submit.Request.Payload, o.Submit.ExpiresAt = nil, r.ExpiresAt
	return o
}

// Action is what a row needs to be done about it.
type Action uint8

// The actions.
const (
	ActNone    Action = iota // it has an end, or needs a person
	ActCall                  // call the platform, once
	ActAsk                   // ask the platform
	ActReverse               // have the platform undo or bar it
	ActUndo                  // a reversal: undo its original under the original's row
)

// Next says what a row needs. A claim that is another owner's is never called.
func (r *Row) Next(owner [16]byte) Action {
	switch {
	case !r.State.Open():
		return ActNone
	case r.Kind() == tideover.KindReversal:
		return ActUndo
	case r.State == tideover.RowReversing:
		return ActReverse
	case r.State == tideover.RowClaimed && (r.Owner == owner || r.Owner == [16]byte{}):
		return ActCall // one that was given back is claimed anew first
	default:
		return ActAsk
	}
}

// move is the only place that writes a row's state.
func (r *Row) move(to tideover.RowState, why string) {
	if !tideover.RowMay(r.State, to) {
		panic(fmt.Sprintf("ledger: row %s may not go from %q to %q (%s)", r.ID, r.State, to, why))
	}
	r.State, r.Why = to, why
}
