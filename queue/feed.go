package queue

import (
	"fmt"
	"slices"
	"sort"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

// Feed follows the transactions of one terminal: first what was not acknowledged and what has changed meanwhile, then each change. It
// holds no events but the ids of what has changed since it was told last, so that a slow reader finds each transaction once, as it is
// by then. [Feed.Next] and [Feed.Close] are called by one goroutine.
type Feed struct {
	queue    *Queue
	terminal string // its uid
	due      chan struct{}

	dirty map[tideover.ID]uint64 // under Queue.mu: what has changed since it was told, with its newest Seq
	round []change               // what is being told, in order
}

// change is a transaction that is to be told, and what a reader is through with after it.
type change struct {
	id      tideover.ID
	through uint64
}

// Change is a transaction as it is when it is told.
type Change struct {
	tideover.Transaction
	// Through is where the reader is then: of the terminal's transactions it was told every state up to that Seq, or a newer one.
	Through uint64
}

// replayMax is how many entries of the journal are looked through for what has changed since a reader was last there: about a
// thousand transactions of the whole shop. A multiple of scanStep.
const replayMax = 4 * scanStep

// Follow begins to follow the transactions of a terminal, given by its uid. What is told first is every end that was not
// acknowledged, the oldest before the newer; then, by Seq, everything of which the Seq is above after, the Through of an earlier
// feed, also of an earlier process. An after of 0, one that no feed of this journal can have said, one from before it was restored, and
// one from before the last [replayMax] entries, is no place in it: then what is told is every end that was not acknowledged, and
// everything without an end. The caller closes the feed. Errors: ErrStopped, or ErrDamaged.
func (q *Queue) Follow(terminal string, after uint64) (*Feed, error) {
	f := &Feed{queue: q, terminal: terminal, due: make(chan struct{}, 1), dirty: make(map[tideover.ID]uint64)}
	// From here on changes come into dirty: what follows may see them too, and misses none.
	q.mu.Lock()
	q.feeds[terminal] = append(q.feeds[terminal], f)
	through := q.shownThrough()
	if after > q.seq || after <= q.gapAt {
		after = 0
	}
	q.mu.Unlock()
	changed := make(map[tideover.ID]uint64)
	if after != 0 {
		known, err := q.changedSince(after, terminal, changed)
		if err != nil {
			f.Close()
			return nil, err
		}
		if !known {
			after = 0
			clear(changed)
		}
	}
	ends, err := q.unfinished(terminal, after, changed)
	if err != nil {
		f.Close()
		return nil, err
	}
	f.begin(append(inOrder(ends, after), inOrder(changed, through)...), through)
	f.poke()
	return f, nil
}

// unfinished returns the terminal's ends that were not acknowledged, with their EndSeq, and adds to changed what has no end and has
// changed after a sequence.
func (q *Queue) unfinished(terminal string, after uint64, changed map[tideover.ID]uint64) (ends map[tideover.ID]uint64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped != nil {
		return nil, q.stopped
	}
	ends = make(map[tideover.ID]uint64)
	for id, r := range q.live {
		switch {
		case r.TerminalUID != terminal:
		case r.Final() && !r.Acknowledged:
			ends[id] = r.EndSeq
			delete(changed, id)
		case r.Seq > after && !r.Final():
			changed[id] = r.Seq
		}
	}
	return ends, nil
}

// changedSince finds what has entries in the journal after a sequence, with the newest of each. known is false where there are too many
// to look through.
func (q *Queue) changedSince(after uint64, terminal string, changed map[tideover.ID]uint64) (known bool, err error) {
	mine := make(map[tideover.ID]bool)
	for range replayMax / scanStep {
		after, err = q.changedStep(after, func(tx *bbolt.Tx, seq uint64, e *edge.Event) error {
			own, ok := mine[e.ID]
			if !ok {
				uid, err := terminalOf(tx, seq, e)
				if err != nil {
					return err
				}
				own = uid == terminal
				mine[e.ID] = own
			}
			if own {
				changed[e.ID] = seq
			}
			return nil
		})
		if err != nil || after == 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// changedStep reads up to scanStep entries after a sequence, and hands on those of transactions. It returns the last one that it has read; 0
// at the journal's end.
func (q *Queue) changedStep(after uint64, each func(*bbolt.Tx, uint64, *edge.Event) error) (last uint64, err error) {
	err = q.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketJournal).Cursor()
		n := 0
		for key, value := c.Seek(seqKey(after + 1)); key != nil; key, value = c.Next() {
			if n == scanStep {
				return nil
			}
			n++
			last = seqOf(key)
			e, err := decodeValue(last, value)
			if err != nil {
				return err
			}
			if e.ID.IsZero() {
				continue
			}
			if err := each(tx, last, &e); err != nil {
				return err
			}
		}
		last = 0
		return nil
	})
	return last, err
}

// terminalOf goes back from a transaction's entry to the one that says whose it is.
func terminalOf(tx *bbolt.Tx, seq uint64, e *edge.Event) (uid string, err error) {
	id, at := e.ID, *e
	for at.Accepted == nil {
		if at.Prev == 0 || at.Prev >= seq || at.ID != id {
			return "", fmt.Errorf("entry %d does not lead back to where %s begins: %w", seq, id, ErrDamaged)
		}
		seq = at.Prev
		if at, err = decodeValue(seq, tx.Bucket(bucketJournal).Get(seqKey(seq))); err != nil {
			return "", err
		}
	}
	return at.Accepted.TerminalUID, nil
}

func decodeValue(seq uint64, value []byte) (e edge.Event, err error) {
	raw, _, _, err := splitValue(value)
	if err == nil {
		e, err = decodeEvent(raw)
	}
	if err != nil {
		err = fmt.Errorf("entry %d: %w: %w", seq, err, ErrDamaged)
	}
	return e, err
}

// inOrder makes a round of ids by their sequences. A reader is through with each then, but not beyond a limit.
func inOrder(seqs map[tideover.ID]uint64, limit uint64) []change {
	round := make([]change, 0, len(seqs))
	for id, seq := range seqs {
		round = append(round, change{id, seq})
	}
	sort.Slice(round, func(i, j int) bool { return round[i].through < round[j].through })
	for i := range round {
		round[i].through = min(round[i].through, limit)
	}
	return round
}

// Due returns a channel that holds one token while [Feed.Next] may have something to tell.
func (f *Feed) Due() <-chan struct{} { return f.due }

// Next returns what is to be told next; false where that is nothing at present. Errors: ErrStopped, or ErrDamaged.
func (f *Feed) Next() (c Change, ok bool, err error) {
	for {
		if len(f.round) == 0 {
			if more, err := f.gather(); !more {
				return Change{}, false, err
			}
		}
		next := f.round[0]
		f.round = f.round[1:]
		c, ok, err := f.read(next)
		if ok || err != nil {
			return c, ok, err
		}
	}
}

// gather makes a round of what has changed; false where nothing has.
func (f *Feed) gather() (bool, error) {
	dirty, through, err := f.take()
	if err != nil || len(dirty) == 0 {
		return false, err
	}
	f.begin(inOrder(dirty, through), through)
	return true, nil
}

// take empties dirty, and says up to where what was in it goes.
func (f *Feed) take() (dirty map[tideover.ID]uint64, through uint64, err error) {
	q := f.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped != nil || len(f.dirty) == 0 {
		return nil, 0, q.stopped
	}
	dirty, f.dirty = f.dirty, make(map[tideover.ID]uint64)
	return dirty, q.shownThrough(), nil
}

// begin begins a round: who was told all of it is through with everything that it was made of.
func (f *Feed) begin(round []change, through uint64) {
	if f.round = round; len(round) > 0 {
		round[len(round)-1].through = through
	}
}

// read takes a transaction as it is now: what it was before need not be told any more.
func (f *Feed) read(next change) (c Change, ok bool, err error) {
	f.queue.mu.Lock()
	defer f.queue.mu.Unlock()
	r, err := f.queue.find(next.id)
	if err != nil || r == nil {
		return Change{}, false, err
	}
	delete(f.dirty, next.id)
	return Change{r.Transaction, next.through}, true, nil
}

// Close ends the feed.
func (f *Feed) Close() {
	q := f.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	others := slices.DeleteFunc(q.feeds[f.terminal], func(other *Feed) bool { return other == f })
	if len(others) == 0 {
		delete(q.feeds, f.terminal)
	} else {
		q.feeds[f.terminal] = others
	}
}

// tell lets the feeds of its terminal know that a record has changed. Callers hold mu.
func (q *Queue) tell(r *record) {
	for _, f := range q.feeds[r.TerminalUID] {
		f.dirty[r.ID] = r.Seq
		f.poke()
	}
}

func (f *Feed) poke() {
	select {
	case f.due <- struct{}{}:
	default:
	}
}

// shownThrough returns up to which sequence memory shows everything that has drawn one. What is in the commit under way has drawn its own
// when that began, and shows after it, while what changes in memory meanwhile is above. Callers hold mu.
func (q *Queue) shownThrough() uint64 {
	if len(q.flying) > 0 {
		return q.shown // the last one drawn before
	}
	return q.seq
}
