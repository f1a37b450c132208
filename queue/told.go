package queue

import (
	"context"
	"errors"

	"tideover"
	"tideover/edge"
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
	Corrected bool        // it replaces another end that was told
	Asked     bool        // the ledger knew of a cancel when it decided
	Adopt     *edge.Draft // what a journal without a record of the id needs; may be nil
	// Receipt is what it told for a receipt of that end, and was found good; nil where there is none. It stays with the end.
	Receipt *tideover.Proof
}

// End takes the hub's end. Memory has it when End returns; the disk has it with the next commit, after which [Options.Durable] is
// called with its position. The same position told again changes nothing, and Durable is called again if it is on disk. An approval that
// was decided before the ledger knew of the cancel that is on this disk changes nothing either. An id that the journal does not have
// enters it from Adopt, and is ErrUnknown without. An end that cannot follow the transaction's state is a
// [*tideover.TransitionError]. Neither of these two is counted in HaveThrough.
func (q *Queue) End(told Told) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.calm(told.ID); err != nil {
		return err
	}
	r, err := q.find(told.ID)
	if err == nil && r == nil && told.Adopt == nil {
		err = ErrUnknown
	}
	if err != nil {
		q.outbox.miss(told.Position)
		return err
	}
	if told.Adopt != nil && replaces(r, told.Adopt) {
		r = q.adopt(r, told.Adopt)
	}
	e, take, err := r.Told(edge.Told{
		HubSeq: told.HubSeq, Outcome: told.Outcome, Corrected: told.Corrected, Asked: told.Asked, Receipt: told.Receipt,
	})
	switch {
	case err != nil:
		q.outbox.miss(told.Position)
		return err
	case take == edge.TakeAgain:
		q.toldAgain(told.Position)
	case take == edge.TakeNew:
		q.outbox.took(told.Position)
		q.later(r, e, nil)
	}
	return nil
}

// toldAgain lets Durable be called again for a position, unless it still waits for its commit. Callers hold mu.
func (q *Queue) toldAgain(p Position) {
	for i := range q.lazy {
		if e := q.lazy[i].event; e.Type == edge.EventEnded && e.HubSeq == p.HubSeq {
			return
		}
	}
	q.again = append(q.again, p) // told after the commit that may be under way
	q.poke()
}

// Adopt enters the hub's record of a transaction whose end is not known yet: one that this edge has lost, or that it holds with
// another request under the same id. It rides the next commit.
func (q *Queue) Adopt(d edge.Draft) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.calm(d.ID); err != nil {
		return err
	}
	r, err := q.find(d.ID)
	if err != nil || !replaces(r, &d) {
		return err
	}
	q.adopt(r, &d)
	return nil
}

// replaces says whether the hub's record of an id is to stand instead of the journal's: it holds another request. A bar holds none: a cancel
// that overtook its press at the hub takes nothing away from what the till pressed.
func replaces(r *record, d *edge.Draft) bool {
	return r == nil || r.Hash != d.Hash && !r.Barred() && d.Request.Kind != tideover.KindNone
}

// adopt enters the hub's request for a record, which may be nil. What it was before is not known: it is in doubt. Callers hold mu.
func (q *Queue) adopt(r *record, d *edge.Draft) *record {
	known := r != nil
	if !known {
		r = &record{}
		r.ID = d.ID
	}
	r.fresh = &d.Request
	q.album.remove(r)
	q.later(r, edge.Adopt(d, known), q.ring.Load().seal(d.ID, d.Request))
	q.album.add(r)
	q.album.age(r)
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
	q.hear(through)
}

// hear lets the journal know up to where, and in which epoch of the ledger, the hub was heard. Callers hold mu.
func (q *Queue) hear(through uint64) (seq uint64) {
	q.caughtUp = through
	seq = q.draw()
	heard := &edge.Event{Type: edge.EventHeard, At: now(), HubSeq: through, Epoch: q.epochNoted, Early: q.early.noted}
	q.enqueue(entry{seq: seq, event: heard, lazy: true}, true)
	return seq
}

// HearEpoch tells in which epoch of its life the ledger is, and returns the sequence at which this journal heard of that first: what it
// accepted before may have been sent in another one. It rides the next commit. By the epoch a ledger that is put back to an older copy is
// known, and where that copy is of the same epoch, what was sent before it is.
func (q *Queue) HearEpoch(epoch [16]byte) (since uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped == nil && epoch != q.epochNoted {
		q.epochNoted = epoch
		q.epochSince = q.hear(max(q.outbox.have, q.caughtUp))
	}
	return q.epochSince
}

// Epoch returns the newest epoch of the ledger that is on this edge's disk; zero where none is.
func (q *Queue) Epoch() [16]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.epoch
}

// NoteGap notes that this journal was restored from an older copy: part of the store's past is missing in it, for good. It is synced when
// NoteGap returns. The lost journal had a head at beyond, or a little further; from here on sequences are drawn above all that it may have
// told, so that this journal's own head is the newer one. Errors: storage_full, ErrStopped, ctx's.
func (q *Queue) NoteGap(ctx context.Context, beyond uint64) error {
	return q.submit(&request{ctx: ctx, class: classOwn, size: entryOverhead, prepare: func(b *batch) error {
		if q.gap && q.seq >= beyond {
			return nil
		}
		seq := max(q.seq, beyond+seqStep) + 1
		if !b.add(entry{seq: seq, event: &edge.Event{Type: edge.EventGap, At: now()}}, 0) {
			return storageFull()
		}
		q.seq = seq
		return nil
	}})
}

// Gap says whether [Queue.NoteGap] was ever called on this journal.
func (q *Queue) Gap() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.gap
}

// Journal names this journal: it is random, and every copy of the file has it too.
func (q *Queue) Journal() [16]byte { return q.journal }

// Highest returns the highest outbox position that was ever taken, on disk or not.
func (q *Queue) Highest() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.outbox.highest
}

// HaveThrough returns up to which position the hub's outbox is on this edge's disk.
func (q *Queue) HaveThrough() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.outbox.have
}

// Move takes a change that is in memory only: CauseSent, CauseDoubt, ToldPending, ToldReversing or ToldManual. CauseSent is said before
// the first byte leaves; it fails if the transaction has come to an end, is held, or is to be cancelled, in the meantime: then nothing
// may leave. Errors:
// ErrUnknown, ErrStopped, a [*tideover.TransitionError].
func (q *Queue) Move(id tideover.ID, cause tideover.Cause, n edge.Note) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	early := q.launched[id]
	if cause != tideover.CauseSent {
		early = nil // the hub's word waits until there is a record that it is about
	}
	if early == nil {
		if err := q.calm(id); err != nil {
			return err
		}
	}
	r, err := early, q.stopped
	if r == nil {
		r, err = q.find(id)
	}
	if err == nil && r == nil {
		err = ErrUnknown
	}
	if err != nil {
		return err
	}
	if changes, err := r.Look(cause, n); err != nil || !changes {
		return err
	}
	if q.seq-max(q.headSeq, q.started) >= seqStep-1 {
		return errTooMany
	}
	if early != nil {
		r.Move(cause, n, q.draw(), now()) // nobody sees it before its commit
		return nil
	}
	q.live[id] = r
	q.change(r, func() { r.Move(cause, n, q.draw(), now()) })
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
	q.enqueue(entry{seq: q.draw(), event: &edge.Event{Type: edge.EventLedgerTime, At: now(), Ledger: t}, lazy: true}, false)
}

// ledgerStep is how far ledger time runs on before the journal is told, in milliseconds.
const ledgerStep tideover.Millis = 60_000

// LedgerTime returns the last ledger time known; 0 where none ever was.
func (q *Queue) LedgerTime() tideover.Millis {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ledgerTime
}
