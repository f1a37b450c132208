package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"go.etcd.io/bbolt"

	"tideover/edge"
)

// A run is a stretch of the journal of which every entry was pruned, between two that are still there. What is left of it is a record in a
// bucket of its own: by the sequence of its last entry, its first one, how many there were, and the chain's hash at its end, from which the
// chain goes on. Each time something is pruned the journal itself says what all runs are then: nobody puts a run in place of entries, or
// makes one longer, without the chain showing it.

// run is a stretch that was pruned.
type run struct {
	first, last uint64
	count       uint64
	hash        [hashSize]byte // the chain's, at last
}

const runSize = 8 + 8 + hashSize

func (r *run) value() []byte {
	v := make([]byte, 0, runSize)
	v = binary.BigEndian.AppendUint64(v, r.first)
	v = binary.BigEndian.AppendUint64(v, r.count)
	return append(v, r.hash[:]...)
}

// Why the runs are not what they should be.
var (
	errRun      = errors.New("what it says of a pruned stretch is not one")
	errRunPlace = errors.New("a pruned stretch is not between the entries that it says")
	errAttest   = errors.New("the journal does not say that this was pruned")
)

func parseRun(key, value []byte) (r run, err error) {
	if len(key) != len(seqKey(0)) || len(value) != runSize {
		return r, errRun
	}
	r = run{first: binary.BigEndian.Uint64(value), last: seqOf(key), count: binary.BigEndian.Uint64(value[8:]), hash: [hashSize]byte(value[16:])}
	if r.first > r.last || r.first == 0 || r.count == 0 || r.count > r.last-r.first+1 {
		return r, errRun
	}
	return r, nil
}

// runsOf reads what was pruned of a file.
func (w *walker) runsOf(b bucket) (runs []run, err error) {
	err = w.entries(b, func(key, value []byte) error {
		r, err := parseRun(key, value)
		if err != nil {
			return &damage{b.page, err.Error()}
		}
		runs = append(runs, r)
		return nil
	})
	return runs, err
}

// storedRuns reads what was pruned, as it is on disk. Errors: ErrDamaged, ErrStopped.
func (q *Queue) storedRuns() (runs []run, err error) {
	err = q.db.Walk(func(w *walker) error {
		l, _, err := identify(w, schemaNow)
		if err == nil {
			runs, err = w.runsOf(l.pruned)
		}
		return err
	})
	if d, ok := errors.AsType[*damage](err); ok {
		err = fmt.Errorf("%w: %w", ErrDamaged, d)
	}
	return runs, err
}

// digestOf sums up runs, as the journal attests them.
func digestOf(runs []run) [hashSize]byte {
	h := sha256.New()
	for i := range runs {
		h.Write(seqKey(runs[i].last))
		h.Write(runs[i].value())
	}
	return [hashSize]byte(h.Sum(nil))
}

// along goes along the runs while somebody goes along the entries, both in order.
type along struct {
	runs     []run
	passed   int
	last     uint64 // the entry before
	attested bool
	said     [hashSize]byte // what the newest entry that says so attests
}

// before takes the chain over the run that may stand before the next entry.
func (a *along) before(seq uint64, hash *[hashSize]byte) error {
	if a.passed < len(a.runs) && a.runs[a.passed].first <= seq {
		r := &a.runs[a.passed]
		if a.last >= r.first || r.last >= seq {
			return errRunPlace
		}
		*hash = r.hash
		if a.passed++; a.passed < len(a.runs) && a.runs[a.passed].first <= seq {
			return errRunPlace // two that touch are one
		}
	}
	a.last = seq
	return nil
}

// note takes what an entry says of what was pruned.
func (a *along) note(e *edge.Event) {
	if e.Type == edge.EventPruned && e.Pruned != nil {
		a.attested, a.said = true, e.Pruned.Runs
	}
}

// end says whether the runs are all passed, and are what the journal says.
func (a *along) end() error {
	switch {
	case a.passed < len(a.runs):
		return errRunPlace
	case a.attested != (len(a.runs) > 0), a.attested && a.said != digestOf(a.runs):
		return errAttest
	}
	return nil
}

// within returns the run that a sequence lies in.
func within(runs []run, seq uint64) (r run, ok bool) {
	i := sort.Search(len(runs), func(i int) bool { return runs[i].last >= seq })
	if i == len(runs) || runs[i].first > seq {
		return run{}, false
	}
	return runs[i], true
}

// cut deletes entries with their sealed parts, and returns the runs as they are then. seqs are in order.
func cut(tx *bbolt.Tx, runs []run, seqs []uint64) ([]run, error) {
	journal, parts, pruned := tx.Bucket(bucketJournal), tx.Bucket(bucketSealed), tx.Bucket(bucketPruned)
	var changed []run
	c := journal.Cursor()
	for i := 0; i < len(seqs); {
		var before, after uint64
		c.Seek(seqKey(seqs[i]))
		if key, _ := c.Prev(); key != nil {
			before = seqOf(key)
		}
		r := run{first: seqs[i]}
		for key, value := c.Seek(seqKey(seqs[i])); ; key, value = c.Next() {
			if key == nil || i == len(seqs) || seqOf(key) != seqs[i] {
				if key != nil {
					after = seqOf(key)
				}
				break
			}
			_, link, _, err := splitValue(value)
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w: %w", seqs[i], err, ErrDamaged)
			}
			r.last, r.hash = seqs[i], link
			r.count++
			i++
		}
		if r.count == 0 {
			return nil, fmt.Errorf("entry %d is to be pruned, and is not there: %w", seqs[i], ErrDamaged)
		}
		lo := sort.Search(len(runs), func(i int) bool { return runs[i].first > before })
		hi := lo
		for ; hi < len(runs) && (after == 0 || runs[hi].first < after); hi++ {
			old := runs[hi]
			r.first, r.count = min(r.first, old.first), r.count+old.count
			if old.last > r.last {
				r.last, r.hash = old.last, old.hash
			}
			if err := pruned.Delete(seqKey(old.last)); err != nil {
				return nil, err
			}
		}
		runs = append(append(append(make([]run, 0, len(runs)+1), runs[:lo]...), r), runs[hi:]...)
		changed = append(changed, r)
	}
	for _, seq := range seqs {
		if err := errors.Join(journal.Delete(seqKey(seq)), parts.Delete(seqKey(seq))); err != nil {
			return nil, err
		}
	}
	for i := range changed {
		if err := pruned.Put(seqKey(changed[i].last), changed[i].value()); err != nil {
			return nil, err
		}
	}
	return runs, nil
}
