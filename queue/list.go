package queue

import (
	"fmt"
	"slices"
	"strconv"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

// Filter says which transactions to list; its zero value lists all.
type Filter struct {
	Terminal       string         // the terminal's uid
	State          tideover.State // StateNone: any
	Order          string         // the shop's order number
	Unacknowledged bool           // final, and not acknowledged
	After          string         // where the last page ended, as [Queue.List] said; "" is the beginning
	Limit          int            // of the page; 0 or too many is [ListMax]
}

// ListMax is the longest page.
const ListMax = 1000

const (
	// scanStep is how many entries are read in one look at the journal: a longer one would hold up a commit that lets the file grow.
	scanStep = 2048
	// scanMax is how many are read for one page; a page may be short of its limit for that, and says where to go on.
	scanMax = 1 << 17
)

func (f *Filter) matches(r *record) bool {
	return (f.Terminal == "" || f.Terminal == r.TerminalUID) && (f.State == tideover.StateNone || f.State == r.State) &&
		(f.Order == "" || f.Order == r.Order) && (!f.Unacknowledged || r.Final() && !r.Acknowledged)
}

// List returns a page of transactions, the newest accepted first, and where the next page begins; "" where there is none. What was
// adopted from the hub and is not committed yet may be left out. Errors: ErrStopped; any other says that After is not a page's end.
func (q *Queue) List(f Filter) (page []tideover.Transaction, next string, err error) {
	before := ^uint64(0)
	if f.After != "" {
		if before, err = strconv.ParseUint(f.After, 10, 64); err != nil {
			return nil, "", tideover.Refuse(tideover.CodeInvalidRequest, "%q is not the end of a page", "%q 不是分页位置", f.After)
		}
	}
	if f.Limit <= 0 || f.Limit > ListMax {
		f.Limit = ListMax
	}
	var last uint64
	if f.Unacknowledged || (f.State != tideover.StateNone && !f.State.Final()) {
		page, last, err = q.listLive(f, before)
	} else {
		page, last, err = q.listJournal(f, before)
	}
	if last != 0 {
		next = strconv.FormatUint(last, 10)
	}
	return page, next, err
}

// listLive lists what is in memory anyhow. last is where the next page begins, 0 if there is none.
func (q *Queue) listLive(f Filter, before uint64) (page []tideover.Transaction, last uint64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped != nil {
		return nil, 0, q.stopped
	}
	var found []*record
	for _, r := range q.live {
		if r.First < before && f.matches(r) {
			found = append(found, r)
		}
	}
	sortByFirst(found)
	slices.Reverse(found)
	if len(found) > f.Limit {
		found = found[:f.Limit]
		last = found[f.Limit-1].First
	}
	for _, r := range found {
		page = append(page, r.Transaction)
	}
	return page, last, nil
}

// listJournal goes back through the journal's first events.
func (q *Queue) listJournal(f Filter, before uint64) (page []tideover.Transaction, last uint64, err error) {
	for scanned := 0; scanned < scanMax; scanned += scanStep {
		ids, firsts, end, err := q.acceptedBefore(before)
		if err != nil {
			return nil, 0, err
		}
		q.mu.Lock()
		for i, id := range ids {
			r, err := q.find(id)
			if err != nil {
				q.mu.Unlock()
				return nil, 0, err
			}
			if r == nil || !f.matches(r) {
				continue
			}
			if len(page) == f.Limit {
				q.mu.Unlock()
				return page, last, nil
			}
			page, last = append(page, r.Transaction), firsts[i]
		}
		q.mu.Unlock()
		if end == 0 {
			return page, 0, nil
		}
		before = end
	}
	return page, before, nil
}

// acceptedBefore reads up to scanStep entries before a sequence, newest first, and returns those that begin a transaction. end is the
// oldest entry read; 0 at the journal's beginning.
func (q *Queue) acceptedBefore(before uint64) (ids []tideover.ID, firsts []uint64, end uint64, err error) {
	err = q.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketJournal).Cursor()
		key, value := c.Seek(seqKey(before))
		if key == nil {
			key, value = c.Last()
		}
		if key != nil && seqOf(key) >= before {
			key, value = c.Prev()
		}
		for n := 0; key != nil; n++ {
			if n == scanStep {
				return nil
			}
			end = seqOf(key)
			raw, _, _, err := splitValue(value)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", end, err, ErrDamaged)
			}
			e, err := decodeEvent(raw)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", end, err, ErrDamaged)
			}
			if e.Type == edge.EventAccepted || e.Type == edge.EventBarred {
				ids, firsts = append(ids, e.ID), append(firsts, end)
			}
			key, value = c.Prev()
		}
		end = 0
		return nil
	})
	return ids, firsts, end, err
}
