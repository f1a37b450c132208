package queue

import (
	"fmt"
	"time"
	"unique"

	"tideover"
)

// record is a transaction in memory: what its events add up to, and what is known of it in this process only.
type record struct {
	tideover.Transaction
	instrumentHash [32]byte
	expiresIn      time.Duration
	ledgerExpires  tideover.Millis
	boot           [16]byte
	bootAt         time.Duration
	adopted        bool

	first  uint64 // journal sequence of its first event: the order of acceptance
	body   uint64 // journal sequence of the event that holds its request
	last   uint64 // journal sequence of its newest event
	hubSeq uint64 // outbox position of its newest end
	untold bool   // it has an end of the edge's own that the hub does not know yet

	// In this process only.
	unwritten int               // events of it that no commit holds yet
	fresh     *tideover.Request // its request, while the event that holds it is unwritten
	reopened  bool              // found without an end when this process started
	left      bool              // a byte of it may have left in this process, or the hub has spoken of it
	slot      slot
}

// neverSent says that no byte of it can have left, neither from this process nor from an earlier one or from another router.
func (r *record) neverSent() bool { return !r.left && !r.reopened && !r.adopted }

// closed says that nothing more is expected of it: its events are on disk, and memory need not hold it.
func (r *record) closed() bool {
	return r.Final() && r.Acknowledged && !r.untold && r.unwritten == 0 && r.slot.place == placeNone
}

// same stores one copy of a text that many transactions share.
func same(s string) string { return unique.Make(s).Value() }

// apply makes an event part of the record. It is the only place that turns events into state, when they happen and when they are
// read again. fresh says that the event is of this process. An event that the table of transitions refuses is an error; the record
// is unchanged then.
func (r *record) apply(seq uint64, e *event, fresh bool) error {
	state := r.State
	if e.Cause != tideover.CauseNone {
		next, err := tideover.Next(e.From, e.Cause)
		if err != nil {
			return fmt.Errorf("event %d of %s: %w", seq, e.ID, err)
		}
		if r.last == 0 && e.From != tideover.StateNone {
			return fmt.Errorf("event %d of %s: it is not the first one, and there is none before it", seq, e.ID)
		}
		state = next
	}
	switch e.Type {
	case eventAccepted:
		if e.Accepted == nil || r.last != 0 {
			return fmt.Errorf("event %d of %s: accepted twice, or without a request", seq, e.ID)
		}
		r.first = seq
		r.fill(seq, e)
	case eventAdopted:
		if e.Accepted == nil || r.last == 0 {
			return fmt.Errorf("event %d of %s: adopted without a request, or before it was accepted", seq, e.ID)
		}
		r.fill(seq, e)
	case eventEnded, eventEndedHere, eventSettled, eventDropped:
		if e.Outcome == nil {
			return fmt.Errorf("event %d of %s: an end without an outcome", seq, e.ID)
		}
		r.end(seq, e, fresh)
	case eventDelivered:
		r.Delivered = true
	case eventAcknowledged:
		r.Acknowledged = true
	case eventBuried:
		r.untold = false
	case eventUndo:
		r.unend()
	case eventHeld, eventReleased:
	case eventNone, eventTerminal, eventHeard, eventLedgerTime, eventMark, eventTypesEnd:
		return fmt.Errorf("event %d of %s: %q is not a transaction's", seq, e.ID, e.Type)
	}
	r.State, r.Seq, r.UpdatedAt, r.last = state, seq, e.At, seq
	return nil
}

// fill takes the request over.
func (r *record) fill(seq uint64, e *event) {
	a, q := e.Accepted, e.Accepted.Request
	r.ID, r.Terminal, r.TerminalUID, r.Key = e.ID, same(a.Terminal), same(a.TerminalUID), a.Key
	r.Kind, r.Amount, r.Currency, r.Method = q.Kind, q.Amount, same(q.Currency), same(q.Method)
	r.Order, r.Original, r.Operator = q.Order, q.Original, same(q.Operator)
	r.CreatedAt, r.ExpiresAt = a.CreatedAt, 0
	if q.Kind == tideover.KindSale {
		r.ExpiresAt = a.CreatedAt.Add(q.ExpiresIn)
	}
	r.Hash, r.instrumentHash, r.expiresIn, r.ledgerExpires = a.Hash, a.InstrumentHash, q.ExpiresIn, a.LedgerExpires
	r.boot, r.bootAt, r.adopted, r.body = a.Boot, a.BootAt, a.Adopted, seq
}

// end takes an end over. One that says what was said already changes nothing that a till has acknowledged; From tells, since what
// was in between may have been in memory only.
func (r *record) end(seq uint64, e *event, fresh bool) {
	if again := e.From == e.Outcome.Result && r.EndSeq != 0 && !e.Corrected; !again {
		r.EndSeq, r.Delivered, r.Acknowledged = seq, false, false
		r.Corrected = e.Corrected
	}
	outcome := *e.Outcome
	r.Outcome, r.WaitingFor = &outcome, ""
	if e.HubSeq != 0 {
		r.hubSeq = e.HubSeq
	}
	if e.Type == eventEndedHere {
		r.untold = true
	}
	if fresh {
		r.Attempts, r.Uplink = e.Attempts, e.Uplink
	}
}

// unend takes back an end that is being undone.
func (r *record) unend() {
	r.EndSeq, r.Outcome, r.Delivered, r.Acknowledged, r.Corrected = 0, nil, false, false, false
}

// counts says whether the record is part of the shop's exposure: accepted and without an end.
func (r *record) counts() bool { return r.State != tideover.StateNone && !r.Final() }
