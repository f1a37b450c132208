package queue

import (
	"errors"
	"fmt"
	"slices"

	"tideover"
)

// Position is one end in the hub's outbox.
type Position struct {
	ID     tideover.ID
	HubSeq uint64
}

// Told is an end that the hub told.
type Told struct {
	Position
	Outcome   tideover.Outcome
	Corrected bool   // it replaces another end that was told
	Adopt     *Draft // what an edge without a record of the id needs; may be nil
}

// End takes the hub's end. Memory has it when End returns; the disk has it with the next commit, after which [Options.Durable] is
// called with its position. The same position told again changes nothing, and Durable is called again if it is on disk. An id that the
// journal does not have enters it from Adopt, and is ErrUnknown without. An end that cannot follow the transaction's state is a
// [*tideover.TransitionError]. Neither of these two is counted in HaveThrough.
func (q *Queue) End(told Told) error {
	cause, ok := tideover.Told(told.Outcome.Result)
	if !ok || !told.Outcome.Result.Final() {
		return fmt.Errorf("the hub told %q as an end", told.Outcome.Result)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.settle(told.ID); err != nil {
		return err
	}
	r, err := q.find(told.ID)
	if err != nil {
		q.outbox.miss(told.HubSeq)
		return err
	}
	if r == nil && told.Adopt == nil {
		q.outbox.miss(told.HubSeq)
		return ErrUnknown
	}
	if told.Adopt != nil && (r == nil || r.Hash != told.Adopt.Hash) {
		r = q.adopt(r, told.Adopt)
	}
	// An end that a later word of the hub has taken back in memory is told at its old position again: then it is news.
	if told.HubSeq != 0 && (told.HubSeq < r.hubSeq || told.HubSeq == r.hubSeq && r.EndSeq != 0) {
		q.toldAgain(told.Position)
		return nil
	}
	if told.HubSeq == 0 && r.State == told.Outcome.Result && r.EndSeq != 0 && !told.Corrected {
		return nil
	}
	if _, err := tideover.Next(r.State, cause); err != nil {
		q.outbox.miss(told.HubSeq)
		return fmt.Errorf("%s: %w", told.ID, err)
	}
	q.outbox.took(told.HubSeq)
	outcome := told.Outcome
	q.later(r, event{
		Type: eventEnded, From: r.State, Cause: cause, Outcome: &outcome, HubSeq: told.HubSeq, Corrected: told.Corrected,
		Attempts: r.Attempts, Uplink: r.Uplink,
	}, nil)
	return nil
}

// toldAgain lets Durable be called again for a position, unless it still waits for its commit. Callers hold mu.
func (q *Queue) toldAgain(p Position) {
	for i := range q.lazy {
		if e := q.lazy[i].event; e.Type == eventEnded && e.HubSeq == p.HubSeq {
			return
		}
	}
	q.again = append(q.again, p) // told after the commit that may be under way
	q.poke()
}

// Adopt enters the hub's record of a transaction whose end is not known yet: one that this edge has lost, or that it holds with
// another request under the same id. It rides the next commit.
func (q *Queue) Adopt(d Draft) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.settle(d.ID); err != nil {
		return err
	}
	r, err := q.find(d.ID)
	if err != nil || (r != nil && r.Hash == d.Hash) {
		return err
	}
	q.adopt(r, &d)
	return nil
}

// adopt enters the hub's request for a record, which may be nil. What it was before is not known: it is in doubt. Callers hold mu.
func (q *Queue) adopt(r *record, d *Draft) *record {
	sealed := q.seal.seal(d.ID, d.Request)
	if r == nil {
		r = &record{}
		r.ID = d.ID
		r.fresh = &d.Request
		q.later(r, d.event(eventAccepted, true), sealed)
	} else {
		r.fresh = &d.Request
		q.later(r, d.event(eventAdopted, true), sealed)
	}
	if next, err := tideover.Next(r.State, tideover.CauseDoubt); err == nil {
		q.change(r, func() { r.State, r.Seq = next, q.draw() })
	}
	return r
}

// CaughtUp tells that the hub has said everything in its outbox up to a position. [Queue.HaveThrough] becomes that position once what
// was told is durable; no further than before the first position that could not be taken.
func (q *Queue) CaughtUp(through uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	through = q.outbox.limit(through)
	if q.stopped != nil || through <= q.outbox.have || through <= q.caughtUp {
		return
	}
	q.caughtUp = through
	q.enqueue(entry{seq: q.draw(), event: &event{Type: eventHeard, At: now(), HubSeq: through}, lazy: true}, true)
}

// HaveThrough returns up to which position the hub's outbox is on this edge's disk.
func (q *Queue) HaveThrough() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.outbox.have
}

// Note says more about a change that is in memory only.
type Note struct {
	Uplink     string // CauseSent: the link that it leaves by
	WaitingFor string // ToldPending
}

// memoryOnly are the causes of changes that are not written.
var memoryOnly = []tideover.Cause{
	tideover.CauseSent, tideover.CauseDoubt, tideover.ToldPending, tideover.ToldReversing, tideover.ToldManual,
}

// Move takes a change that is in memory only: CauseSent, CauseDoubt, ToldPending, ToldReversing or ToldManual. CauseSent is said before
// the first byte leaves; it fails if the transaction has come to an end, or is held, in the meantime: then nothing may leave. Errors:
// ErrUnknown, ErrStopped, a [*tideover.TransitionError].
func (q *Queue) Move(id tideover.ID, cause tideover.Cause, n Note) error {
	if !slices.Contains(memoryOnly, cause) {
		return fmt.Errorf("%q is not a change of memory alone", cause)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.settle(id); err != nil {
		return err
	}
	r, err := q.find(id)
	if err == nil && r == nil {
		err = ErrUnknown
	}
	if err != nil {
		return err
	}
	next, err := tideover.Next(r.State, cause)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	sent := cause == tideover.CauseSent
	waits := ""
	if next == tideover.StatePending {
		waits = n.WaitingFor
	}
	if !sent && next == r.State && waits == r.WaitingFor {
		return nil
	}
	if q.seq-max(q.headSeq, q.started) >= seqStep-1 {
		return errTooMany
	}
	q.live[id] = r
	q.change(r, func() {
		if sent {
			r.Attempts++
			r.Uplink = n.Uplink
		}
		r.left = r.left || cause != tideover.CauseDoubt // what the hub speaks of has been there
		if r.Final() && !next.Final() {
			r.unend()
		}
		r.State, r.WaitingFor, r.Seq, r.UpdatedAt = next, waits, q.draw(), now()
	})
	return nil
}

// errTooMany keeps a sequence from being told that the next process would give anew. The committer forces a commit long before.
var errTooMany = errors.New("too many changes without a commit")

// NoteLedgerTime keeps the last ledger time known; the journal has it with a later commit, about once a minute.
func (q *Queue) NoteLedgerTime(t tideover.Millis) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped != nil {
		return
	}
	q.ledgerTime = t
	if since := t - q.ledgerNoted; since > -ledgerStep && since < ledgerStep {
		return
	}
	q.ledgerNoted = t
	q.enqueue(entry{seq: q.draw(), event: &event{Type: eventLedgerTime, At: now(), Ledger: t}, lazy: true}, false)
}

// ledgerStep is how far ledger time runs on before the journal is told, in milliseconds.
const ledgerStep tideover.Millis = 60_000

// LedgerTime returns the last ledger time known; 0 where none ever was.
func (q *Queue) LedgerTime() tideover.Millis {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ledgerTime
}
