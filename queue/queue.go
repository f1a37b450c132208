package queue

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

// Queue is an open journal. Its methods are safe for concurrent use.
type Queue struct {
	options Options
	log     *slog.Logger
	ring    atomic.Pointer[ring] // changed under mu
	db      base
	file    *os.File // bbolt's own; the committer grows it

	submitted chan struct{} // holds one token while the committer should look
	crowd     crowd         // the committer's
	over      chan struct{} // closed when nothing will be committed any more

	mu        sync.Mutex // guards what follows; never held during a commit
	landed    *sync.Cond // signalled when flying has lost members
	live      map[tideover.ID]*record
	index     map[tideover.ID]uint64 // newest committed event of every transaction
	untold    map[tideover.ID]struct{}
	flying    map[tideover.ID]struct{} // in the commit that is under way, with a change that memory does not show before it is done
	launched  map[tideover.ID]*record  // of flying: accepted, and handed out before that is on disk; see [Queue.Early]
	early     early
	watch     map[tideover.ID]chan struct{}
	feeds     map[string][]*Feed           // by the terminal's uid
	terminals map[string]tideover.Terminal // by uid
	work      lineup
	wakes     uint64 // counts calls of Wake
	outbox    outbox
	caughtUp  uint64 // what the newest event that tells of catching up says; it may still wait
	counted   counts
	album     album
	parts     parts

	seq      uint64 // last one drawn
	started  uint64 // what is above was drawn by this process
	shown    uint64 // see shownThrough
	headSeq  uint64 // newest committed entry
	headHash [hashSize]byte

	requests  []*request
	wanted    int        // the committer waits for so many
	lazy      []entry    // events that wait for a commit to ride on, oldest first
	lazySince time.Time  // since when the oldest that wants a commit waits; zero if none does
	lazyRetry time.Time  // no room for them before this time
	again     []Position // told again by the hub, and durable

	ledgerTime, ledgerNoted tideover.Millis
	journal                 [16]byte // names the file, and every copy of it
	epoch, epochNoted       [16]byte // see HearEpoch: on disk, and what may still wait
	epochSince              uint64
	reports                 reports
	strides                 strides
	erasures                erasures
	sweeper                 sweeper
	holds                   int    // looks that nothing may vanish under, see still
	committing              bool   // a batch was made, and has not landed
	rules                   Rules  // the newest on disk; its Seq is 0 where there are none
	gap                     bool   // see NoteGap
	gapAt                   uint64 // the sequence at which it was noted

	stopped  error // ErrStopped after a failed commit or Close
	draining bool  // no more requests are taken
	ended    bool  // Run has ended: over is closed
	refold   []tideover.ID

	compacting sync.Mutex // one compaction at a time
	compacted  time.Time  // when the newest one began
	exchanging *exchange  // what the committer is to put in the file's place
	sold       time.Time  // when the newest accept was committed

	size, used     int64 // of the file, and of it below bbolt's high water
	large          largeness
	holey          bool      // the file may have parts without a place on the disk: nothing fits before they have one
	freed, freeing int64     // bytes of free pages below that: for the next commit, and for a later one
	fullUntil      time.Time // the disk has no space for what is wanted: not tried again before
	settled        time.Time // see settle
	ordinary       int64     // what the smallest accept needed, in bytes
	commits, syncs uint64
}

// counts are the numbers that rules and health ask for often.
type counts struct {
	open   int
	amount map[string]int64
}

func newQueue(o Options, r *ring) *Queue {
	o.Key = Keys{} // the ring has them
	q := &Queue{
		options: o, log: o.Log, submitted: make(chan struct{}, 1), over: make(chan struct{}),
		live: make(map[tideover.ID]*record), index: make(map[tideover.ID]uint64), untold: make(map[tideover.ID]struct{}),
		flying: make(map[tideover.ID]struct{}), launched: make(map[tideover.ID]*record), watch: make(map[tideover.ID]chan struct{}), feeds: make(map[string][]*Feed),
		terminals: make(map[string]tideover.Terminal), work: newLineup(), counted: counts{amount: make(map[string]int64)},
		album: newAlbum(), parts: newParts(), erasures: erasures{keep: o.Retention.Payload},
		sweeper: sweeper{keep: o.Retention.Final, least: pruneLeast, pause: sweepPause, rest: pruneRest, terminals: make(map[string]uint64)},
	}
	q.ring.Store(r)
	q.landed = sync.NewCond(&q.mu)
	return q
}

// draw returns the next sequence. Callers hold mu.
func (q *Queue) draw() uint64 {
	q.seq++
	return q.seq
}

// account adds a record to the exposure, or takes it out. Every change of state or of amount is between a -1 and a +1.
func (q *Queue) account(r *record, sign int) {
	if !r.Counts() {
		return
	}
	q.counted.open += sign
	if q.counted.amount[r.Currency] += int64(sign) * r.Amount; q.counted.amount[r.Currency] == 0 {
		delete(q.counted.amount, r.Currency)
	}
}

// change runs a step that changes a record in memory, and tells whoever waits for it. Callers hold mu.
func (q *Queue) change(r *record, step func()) {
	q.account(r, -1)
	q.parts.drop(r.ID)
	step()
	q.account(r, 1)
	q.parts.set(r)
	if uncharged(&r.Record) {
		q.album.remove(r)
	}
	if r.Untold {
		q.untold[r.ID] = struct{}{}
	} else {
		delete(q.untold, r.ID)
	}
	q.changed(r)
}

// apply makes an event part of a record. The table refusing one here is a fault of this program, and must not reach the disk.
// Callers hold mu.
func (q *Queue) apply(r *record, seq uint64, e *edge.Event) {
	had := r.sealed
	q.change(r, func() {
		if err := r.apply(seq, e, true); err != nil {
			panic(fmt.Sprintf("queue: %v", err))
		}
	})
	if had != 0 && passes(e.Type) {
		q.erasures.pass(had, r.ID, seq, e.At, time.Now())
	}
}

// later makes an event part of a record at once, and of the journal with a later commit. Callers hold mu.
func (q *Queue) later(r *record, e edge.Event, sealed []byte) {
	e.ID, e.Prev, e.At, e.Digest = r.ID, r.last, tideover.MillisOf(time.Now()), digest(sealed)
	seq := q.draw()
	q.live[r.ID] = r
	r.unwritten++
	if e.Ends() {
		r.ending = &e
	}
	q.apply(r, seq, &e)
	q.enqueue(entry{seq: seq, event: &e, sealed: sealed, lazy: true}, true)
}

// release lets go of a record of which nothing more is expected. Callers hold mu.
func (q *Queue) release(r *record) {
	if r.closed() && q.live[r.ID] == r {
		delete(q.live, r.ID)
		q.album.close(r, time.Now())
	}
}

// calm waits until no commit under way changes the transaction, and says whether the queue still works. Callers hold mu.
func (q *Queue) calm(id tideover.ID) error {
	for {
		if q.stopped != nil {
			return q.stopped
		}
		if _, ok := q.flying[id]; !ok {
			return nil
		}
		q.landed.Wait()
	}
}

// find returns a transaction's record from memory or from disk; nil if there is none. One that is from disk is not kept. Callers
// hold mu.
func (q *Queue) find(id tideover.ID) (*record, error) {
	if q.stopped != nil {
		return nil, q.stopped
	}
	if r := q.live[id]; r != nil {
		return r, nil
	}
	if r := q.album.recent[id]; r != nil {
		return r, nil
	}
	if q.index[id] == 0 {
		return nil, nil
	}
	return q.fold(id)
}

// fold reads a transaction from disk, walking back from its newest event. Callers hold mu, or are opening.
func (q *Queue) fold(id tideover.ID) (*record, error) {
	type step struct {
		seq uint64
		edge.Event
	}
	var steps []step
	for seq := q.index[id]; seq != 0; {
		e, _, err := q.read(seq)
		if err != nil {
			return nil, err
		}
		if e.ID != id || e.Prev >= seq {
			return nil, fmt.Errorf("entry %d is not an event of %s: %w", seq, id, ErrDamaged)
		}
		steps = append(steps, step{seq, e})
		seq = e.Prev
	}
	r := &record{}
	for i := range slices.Backward(steps) {
		if err := r.apply(steps[i].seq, &steps[i].Event, steps[i].seq > q.started); err != nil {
			return nil, fmt.Errorf("%w: %w", err, ErrDamaged)
		}
	}
	// An earlier process may have told a later sequence, of a change that was in its memory only.
	r.Seq = max(r.Seq, q.started)
	return r, nil
}

// read returns a committed entry with its sealed part, which is empty where it has none or where that was erased.
func (q *Queue) read(seq uint64) (e edge.Event, sealed []byte, err error) {
	err = q.db.View(func(tx *bbolt.Tx) error {
		raw, _, _, err := splitValue(tx.Bucket(bucketJournal).Get(seqKey(seq)))
		if err != nil {
			return err
		}
		sealed = slices.Clone(tx.Bucket(bucketSealed).Get(seqKey(seq)))
		e, err = decodeEvent(raw)
		return err
	})
	if err != nil && !errors.Is(err, ErrStopped) {
		err = fmt.Errorf("entry %d: %w: %w", seq, err, ErrDamaged)
	}
	return e, sealed, err
}

// Get returns a transaction. Errors: ErrUnknown, ErrStopped.
func (q *Queue) Get(id tideover.ID) (tideover.Transaction, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, err := q.find(id)
	switch {
	case err != nil:
		return tideover.Transaction{}, err
	case r == nil:
		return tideover.Transaction{}, ErrUnknown
	}
	return r.Transaction, nil
}

// Landed is [Queue.Get] once the commit that is under way has landed, if it has something of the transaction: of a sale that left early nobody
// else knows before that.
func (q *Queue) Landed(id tideover.ID) (tideover.Transaction, error) {
	q.mu.Lock()
	err := q.calm(id)
	q.mu.Unlock()
	if err != nil {
		return tideover.Transaction{}, err
	}
	return q.Get(id)
}

// done is a channel for what has already happened.
var done = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Changed returns a channel that is closed once the transaction's Seq is above seq, or once the queue has stopped. For an unknown id
// it is nil.
func (q *Queue) Changed(id tideover.ID, seq uint64) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, err := q.find(id)
	switch {
	case err != nil || q.ended:
		return done
	case r == nil:
		return nil
	case r.Seq > seq:
		return done
	}
	w := q.watch[id]
	if w == nil {
		w = make(chan struct{})
		q.watch[id] = w
	}
	return w
}

// Head returns the newest committed entry's sequence and the chain's hash there. Of an empty journal the sequence is 0.
func (q *Queue) Head() (seq uint64, hash [32]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.headSeq, q.headHash
}

// Holds says whether the journal has an entry with that sequence and, there, that hash of the chain: whether it goes on from that head. Of what
// was pruned it says yes: the hub had anchored it before, and only one that was put back to an older copy comes with such a head.
// Errors: ErrStopped, or ErrDamaged.
func (q *Queue) Holds(seq uint64, hash [32]byte) (holds bool, err error) {
	err = q.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketJournal).Get(seqKey(seq))
		if v == nil {
			return nil
		}
		_, link, _, err := splitValue(v)
		if err != nil {
			return fmt.Errorf("entry %d: %w: %w", seq, err, ErrDamaged)
		}
		holds = link == hash
		return nil
	})
	if err == nil && !holds {
		q.mu.Lock()
		defer q.mu.Unlock()
		r, pruned := within(q.sweeper.runs, seq)
		holds = pruned && (r.last != seq || r.hash == hash)
	}
	return holds, err
}

// sortByFirst orders records by their acceptance.
func sortByFirst(records []*record) {
	slices.SortFunc(records, func(a, b *record) int { return cmp.Compare(a.First, b.First) })
}

// Step is one entry of a transaction's history.
type Step struct {
	Seq    uint64
	At     tideover.Millis // the edge's wall clock
	What   string          // "accepted", or "adopted" where its record came from the hub; "ended", "acknowledged" ...; "key destroyed" where its payload was lost by that while it was open
	By     string          // who asked for it, where it was a person
	Reason string          // that person's
	Cause  tideover.Cause  // CauseNone where the state stayed
	State  tideover.State  // after it
	Settle tideover.State  // what a person settled it as
	Rules  uint64          // "accepted": the version of the rules that it was judged by, see [Queue.RulesAt]; 0 where none is on record
	Judged edge.Judged     // what the rules found at its acceptance
	Hash   [32]byte        // the chain's, there
}

// History returns what the journal has of a transaction, oldest first; what is not committed yet is not part of it. Errors:
// ErrUnknown, ErrStopped.
func (q *Queue) History(id tideover.ID) ([]Step, error) {
	q.mu.Lock()
	seq, err := q.index[id], q.stopped
	q.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if seq == 0 {
		return nil, ErrUnknown
	}
	var steps []Step
	var events []edge.Event
	err = q.db.View(func(tx *bbolt.Tx) error {
		for seq != 0 {
			value := tx.Bucket(bucketJournal).Get(seqKey(seq))
			if value == nil && len(steps) == 0 {
				return ErrUnknown // it was pruned a moment ago
			}
			raw, hash, _, err := splitValue(value)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", seq, err, ErrDamaged)
			}
			e, err := decodeEvent(raw)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", seq, err, ErrDamaged)
			}
			step := Step{Seq: seq, At: e.At, What: e.What(), By: e.By, Reason: e.Reason, Cause: e.Cause, Hash: hash}
			if e.Type == edge.EventSettle && e.Outcome != nil {
				step.Settle = e.Outcome.Result
			}
			if e.Accepted != nil {
				step.Rules = e.Accepted.Rules
				step.Judged = e.Accepted.Judged()
			}
			steps = append(steps, step)
			events = append(events, e)
			seq = e.Prev
		}
		return nil
	})
	slices.Reverse(steps)
	slices.Reverse(events)
	var r record
	for i := range events {
		if err == nil {
			err = r.apply(steps[i].Seq, &events[i], false)
			steps[i].State = r.State
		}
	}
	return q.withKeyEnd(steps, events), err
}

//go:noinline
func seqOf(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
