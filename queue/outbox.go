package queue

import (
	"fmt"
	"sort"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

// aheadMax bounds how many outbox positions are remembered beyond a gap. What is beyond it is forgotten: the hub says it again at the
// next hello, which closes the gap.
const aheadMax = 1 << 16

// outbox knows which positions of the hub's outbox are on this edge's disk. Its zero value has none.
type outbox struct {
	have    uint64                 // every position up to it is
	ahead   map[uint64]struct{}    // positions beyond a gap that are, too
	highest uint64                 // that was ever taken
	missing map[uint64]tideover.ID // positions that were told and could not be taken: no catching up goes past them
}

// add tells that a position is on disk.
func (o *outbox) add(position uint64) {
	o.highest = max(o.highest, position)
	if position <= o.have || len(o.ahead) >= aheadMax && position != o.have+1 {
		return
	}
	if o.ahead == nil {
		o.ahead = make(map[uint64]struct{})
	}
	o.ahead[position] = struct{}{}
	o.close()
}

// through tells that every position up to one was told, and is on disk.
func (o *outbox) through(position uint64) {
	if position <= o.have {
		return
	}
	o.have, o.highest = position, max(o.highest, position)
	for p := range o.ahead {
		if p <= position {
			delete(o.ahead, p)
		}
	}
	o.close()
}

func (o *outbox) close() {
	for {
		if _, ok := o.ahead[o.have+1]; !ok {
			return
		}
		delete(o.ahead, o.have+1)
		o.have++
	}
}

// miss tells that a position could not be taken.
func (o *outbox) miss(p Position) {
	if p.HubSeq == 0 {
		return
	}
	if o.missing == nil {
		o.missing = make(map[uint64]tideover.ID)
	}
	if len(o.missing) < aheadMax {
		o.missing[p.HubSeq] = p.ID
	}
}

// took tells that a position was taken; catching up is written after it. One of the same transaction before it, that could not be taken, is not
// told again.
func (o *outbox) took(p Position) {
	o.highest = max(o.highest, p.HubSeq)
	for missed, id := range o.missing {
		if id == p.ID && missed <= p.HubSeq {
			delete(o.missing, missed)
		}
	}
}

// limit returns how far a catching up through position may count.
func (o *outbox) limit(position uint64) uint64 {
	for p := range o.missing {
		if p <= position {
			position = p - 1
		}
	}
	return position
}

// EndsAfter returns the transactions whose newest end on disk has an outbox position above the given one, in the order of these
// positions: what a ledger that was put back to an older copy has to be told again. Errors: ErrStopped, or ErrDamaged.
func (q *Queue) EndsAfter(position uint64) ([]tideover.ID, error) {
	newest := make(map[tideover.ID]uint64)
	for after := uint64(0); ; {
		entries, err := q.endsIn(after, position, newest)
		if err != nil {
			return nil, err
		}
		if entries == 0 {
			break
		}
		after = entries
	}
	ids := make([]tideover.ID, 0, len(newest))
	for id := range newest {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return newest[ids[i]] < newest[ids[j]] })
	return ids, nil
}

// endsIn reads up to scanStep entries after a sequence, and returns the last one read; 0 at the journal's end.
func (q *Queue) endsIn(after, position uint64, newest map[tideover.ID]uint64) (last uint64, err error) {
	err = q.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketJournal).Cursor()
		n := 0
		for key, value := c.Seek(seqKey(after + 1)); key != nil && n < scanStep; key, value = c.Next() {
			n, last = n+1, seqOf(key)
			raw, _, _, err := splitValue(value)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", last, err, ErrDamaged)
			}
			e, err := decodeEvent(raw)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", last, err, ErrDamaged)
			}
			if e.Type == edge.EventEnded && e.HubSeq > position {
				newest[e.ID] = max(newest[e.ID], e.HubSeq)
			}
		}
		return nil
	})
	return last, err
}
