package queue

import (
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

const (
	// strideLen is how many first events one stride has: few enough that a short period reads little, and enough that strides weigh nothing.
	strideLen = 256
	// foldStep is how many transactions are read from disk while others wait for the queue's lock.
	foldStep = 16
)

// stride is a stretch of the journal with the earliest and the latest time at which transactions in it were accepted. The journal is in
// the order of acceptance and the wall clock may be set: a stretch in which it was spans more time, and is looked at for more periods; none
// is missed.
type stride struct {
	first, last uint64 // sequences
	least, most tideover.Millis
	n           int
}

type strides []stride

func (s *strides) add(seq uint64, at tideover.Millis) {
	if n := len(*s); n == 0 || (*s)[n-1].n == strideLen {
		*s = append(*s, stride{first: seq, least: at, most: at})
	}
	l := &(*s)[len(*s)-1]
	l.last, l.least, l.most, l.n = seq, min(l.least, at), max(l.most, at), l.n+1
}

// touching returns the stretches in which something may have been accepted in [from, to).
func (s strides) touching(from, to tideover.Millis) (look []stride) {
	for _, l := range s {
		if l.least < to && from <= l.most {
			look = append(look, l)
		}
	}
	return look
}

// Between calls each for every transaction that was accepted in [from, to) by the router's wall clock, in the order of the journal, as it
// is when it comes there; and for keys that were barred then. What was adopted from the hub and is not committed yet may be left out. It
// returns each's first error. Other errors: ErrStopped, ErrDamaged, ctx's.
func (q *Queue) Between(ctx context.Context, from, to tideover.Millis, each func(tideover.Transaction) error) error {
	q.mu.Lock()
	look := q.strides.touching(from, to)
	q.mu.Unlock()
	seen := make(map[tideover.ID]struct{})
	for _, s := range look {
		ids, err := q.begunIn(s)
		if err != nil {
			return err
		}
		for len(ids) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(len(ids), foldStep)
			found, err := q.foldAll(ids[:n], func(r *record) bool {
				_, twice := seen[r.ID]
				seen[r.ID] = struct{}{}
				return !twice && from <= r.CreatedAt && r.CreatedAt < to
			})
			if err != nil {
				return err
			}
			for i := range found {
				if err := each(found[i]); err != nil {
					return err
				}
			}
			ids = ids[n:]
		}
	}
	return nil
}

// foldAll returns those of some transactions that are wanted.
func (q *Queue) foldAll(ids []tideover.ID, wanted func(*record) bool) (found []tideover.Transaction, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		r, err := q.find(id)
		if err != nil {
			return nil, err
		}
		if r != nil && wanted(r) {
			found = append(found, r.Transaction)
		}
	}
	return found, nil
}

// begunIn returns the transactions that begin, or were adopted, in a stride.
func (q *Queue) begunIn(s stride) (ids []tideover.ID, err error) {
	for next, more := s.first, true; more; {
		err = q.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketJournal).Cursor()
			key, value := c.Seek(seqKey(next))
			for n := 0; ; n++ {
				if key == nil || seqOf(key) > s.last {
					more = false
					return nil
				}
				if next = seqOf(key); n == scanStep {
					return nil
				}
				raw, _, _, err := splitValue(value)
				if err == nil && begins(raw) {
					var e edge.Event
					if e, err = decodeEvent(raw); err == nil {
						ids = append(ids, e.ID)
					}
				}
				if err != nil {
					return fmt.Errorf("entry %d: %w: %w", next, err, ErrDamaged)
				}
				key, value = c.Next()
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// begins says whether an event holds a request. Events are deterministic CBOR (RFC 8949, 4.2.1): after the head of the map stands its least
// key, 1, with the type as one byte. Most entries need not be decoded for that.
func begins(raw []byte) bool {
	if len(raw) < 3 || raw[1] != 1 {
		return true // decoding says what is wrong with it
	}
	switch edge.EventType(raw[2]) {
	case edge.EventAccepted, edge.EventAdopted, edge.EventBarred:
		return true
	default:
		return false
	}
}
