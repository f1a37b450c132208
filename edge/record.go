package edge

import (
	"fmt"
	"time"
	"unique"

	"tideover"
)

// Record is what one router knows of one transaction: what its events add up to, and what is known of it in this process only.
type Record struct {
	tideover.Transaction
	InstrumentHash [32]byte
	ExpiresIn      time.Duration
	LedgerExpires  tideover.Millis // ledger time; 0 where it was not known at acceptance
	Boot           [16]byte        // the boot that BootAt belongs to
	BootAt         time.Duration   // when it was accepted, by the boot-time clock
	Adopted        bool            // its record came from the hub

	First  uint64 // journal sequence of its first event: the order of acceptance
	HubSeq uint64 // outbox position of its newest end
	Untold bool   // it has an end of the router's own that the hub does not know yet

	Undo     bool           // a cancel is on disk, and no end has answered it
	Settle   tideover.State // what a person wants a manual one to be settled as: on disk, and no end has answered it
	SettleBy By             // that person
	Released bool           // a technician has looked at it and let it go

	Reopened bool // found without an end when this process started: an earlier one may have sent it
	Left     bool // a byte of it may have left in this process, or the hub has spoken of it
	// Unreadable: the key of its payload was destroyed. It is asked about, and never sent. Only whoever opens its request finds that.
	Unreadable bool
}

// NeverSent says that no byte of it can have left, neither from this process nor from an earlier one or from another router that this
// journal knows of.
func (r *Record) NeverSent() bool { return !r.Left && !r.Reopened && !r.Adopted }

// Closed says that nothing more is expected of it.
func (r *Record) Closed() bool { return r.Final() && r.Acknowledged && !r.Untold }

// Counts says whether it is part of the shop's exposure: accepted and without an end. A bar was never accepted.
func (r *Record) Counts() bool { return r.State != tideover.StateNone && !r.Final() && !r.Barred() }

// Barred says that its key was cancelled before any request of it was seen.
func (r *Record) Barred() bool { return r.Kind == tideover.KindNone }

// same stores one copy of a text that many transactions share.
func same(s string) string { return unique.Make(s).Value() }

// Apply makes an event part of the record. It is the only place that turns events into state, when they happen and when they are
// read again. fresh says that the event is of this process. An event that the table of transitions refuses is an error; the record
// is unchanged then.
func (r *Record) Apply(seq uint64, e *Event, fresh bool) error {
	state, first := r.State, r.First == 0
	if e.Cause != tideover.CauseNone {
		next, err := tideover.Next(e.From, e.Cause)
		if err != nil {
			return fmt.Errorf("event %d of %s: %w", seq, e.ID, err)
		}
		if first && e.From != tideover.StateNone {
			return fmt.Errorf("event %d of %s: it is not the first one, and there is none before it", seq, e.ID)
		}
		state = next
	}
	if begins := e.Type == EventAccepted || e.Type == EventBarred; begins != first {
		return fmt.Errorf("event %d of %s: %q is not where a transaction begins, or begins twice", seq, e.ID, e.Type)
	}
	if err := r.apply(seq, e, fresh); err != nil {
		return fmt.Errorf("event %d of %s: %w", seq, e.ID, err)
	}
	r.State, r.Seq, r.UpdatedAt = state, seq, e.At
	return nil
}

// apply takes over what an event says beside the state.
func (r *Record) apply(seq uint64, e *Event, fresh bool) error {
	switch e.Type {
	case EventAccepted, EventAdopted, EventBarred:
		if e.Accepted == nil {
			return fmt.Errorf("%q without a request", e.Type)
		}
		r.fill(e)
		if e.Type != EventAdopted {
			r.First = seq
		}
		if e.Type == EventBarred {
			r.Undo, r.Left = true, true // another router may have sent it
			if e.Outcome != nil {
				r.end(seq, e, fresh)
			}
		}
	case EventEnded, EventEndedHere:
		if e.Outcome == nil {
			return fmt.Errorf("%q without an outcome", e.Type)
		}
		r.end(seq, e, fresh)
		r.Left = r.Left || e.Type == EventEnded // what the hub speaks of has been there
	case EventDelivered:
		r.Delivered = true
	case EventAcknowledged:
		r.Acknowledged = true
	case EventBuried:
		r.Untold = false
	case EventUndo:
		r.unend()
		r.Undo = true
	case EventHeld, EventRetry:
	case EventReleased:
		r.Released = true
	case EventSettle:
		if e.Outcome == nil {
			return fmt.Errorf("%q without an outcome", e.Type)
		}
		r.Settle, r.SettleBy = e.Outcome.Result, By{Who: e.By, Reason: e.Reason}
	case EventDropped:
		if e.Outcome != nil {
			r.end(seq, e, fresh)
		} else {
			r.Acknowledged = true
		}
	case EventNone, EventTerminal, EventHeard, EventLedgerTime, EventMark, EventGap, EventRules, EventSettlement, EventPruned, EventKey, EventTypesEnd:
		return fmt.Errorf("%q is not a transaction's", e.Type)
	}
	return nil
}

// fill takes the request over.
func (r *Record) fill(e *Event) {
	a, q := e.Accepted, e.Accepted.Request
	r.ID, r.Terminal, r.TerminalUID, r.Key = e.ID, same(a.Terminal), same(a.TerminalUID), a.Key
	r.Kind, r.Amount, r.Currency, r.Method = q.Kind, q.Amount, same(q.Currency), same(q.Method)
	r.Order, r.Original, r.Operator = q.Order, q.Original, same(q.Operator)
	r.CreatedAt, r.ExpiresAt = a.CreatedAt, 0
	if q.Kind == tideover.KindSale {
		r.ExpiresAt = a.CreatedAt.Add(q.ExpiresIn)
	}
	r.Hash, r.InstrumentHash, r.ExpiresIn, r.LedgerExpires = a.Hash, a.InstrumentHash, q.ExpiresIn, a.LedgerExpires
	r.Boot, r.BootAt, r.Adopted = a.Boot, a.BootAt, a.Adopted
}

// end takes an end over. One that says what was said already changes nothing that a till has acknowledged; From tells, since what
// was in between may have been in memory only.
func (r *Record) end(seq uint64, e *Event, fresh bool) {
	if again := e.From == e.Outcome.Result && r.EndSeq != 0 && !e.Corrected; !again {
		r.EndSeq, r.Delivered, r.Acknowledged = seq, false, false
		r.Corrected = e.Corrected
	}
	outcome := *e.Outcome
	r.Outcome, r.WaitingFor, r.Undo = &outcome, "", false
	r.Settle, r.SettleBy = tideover.StateNone, By{}
	if e.HubSeq != 0 {
		r.HubSeq = e.HubSeq
	}
	if e.Type != EventEnded {
		r.Untold = true
	}
	if fresh {
		r.Attempts, r.Uplink = e.Attempts, e.Uplink
	}
}

// unend takes back an end that is being undone.
func (r *Record) unend() {
	r.EndSeq, r.Outcome, r.Delivered, r.Acknowledged, r.Corrected = 0, nil, false, false, false
}

// Reopen tells a record that a new process has found it without an end; seq is drawn by that process.
func (r *Record) Reopen(seq uint64) error {
	next, err := tideover.Next(r.State, tideover.CauseReopened)
	if err != nil {
		return fmt.Errorf("reopen %s: %w", r.ID, err)
	}
	r.State, r.Reopened, r.Seq = next, true, seq
	return nil
}

// Note says more about a change that is in memory only.
type Note struct {
	Uplink     string // CauseSent: the link that it leaves by
	WaitingFor string // ToldPending
}

// Look says whether a change that is in memory only would change the record: CauseSent, CauseDoubt, ToldPending, ToldReversing or
// ToldManual. An error says that the change must not happen: after that of CauseSent nothing may leave.
func (r *Record) Look(cause tideover.Cause, n Note) (changes bool, err error) {
	switch cause {
	case tideover.CauseSent:
		if r.Undo {
			return false, fmt.Errorf("%s: %w", r.ID, ErrCancelAsked)
		}
	case tideover.CauseDoubt, tideover.ToldPending, tideover.ToldReversing, tideover.ToldManual:
	default:
		return false, fmt.Errorf("%q is not a change of memory alone", cause)
	}
	next, err := tideover.Next(r.State, cause)
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.ID, err)
	}
	news := cause != tideover.CauseDoubt && !r.Left // what the hub speaks of has been there
	return cause == tideover.CauseSent || news || next != r.State || waits(next, n) != r.WaitingFor, nil
}

// Move makes a change that [Record.Look] has allowed.
func (r *Record) Move(cause tideover.Cause, n Note, seq uint64, at tideover.Millis) {
	next, err := tideover.Next(r.State, cause)
	if err != nil {
		panic(fmt.Sprintf("edge: %s: %v", r.ID, err))
	}
	if cause == tideover.CauseSent {
		r.Attempts++
		r.Uplink = n.Uplink
	}
	r.Left = r.Left || cause != tideover.CauseDoubt
	r.State, r.WaitingFor, r.Seq, r.UpdatedAt = next, waits(next, n), seq, at
}

func waits(s tideover.State, n Note) string {
	if s == tideover.StatePending {
		return n.WaitingFor
	}
	return ""
}
