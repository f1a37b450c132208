package queue

import (
	"bytes"

	"tideover"
)

// Find returns ids from first to last, both included, that the journal has: all of them, or limit, in no order. What was adopted from
// the hub and is not committed yet may be left out.
func (q *Queue) Find(first, last tideover.ID, limit int) (found []tideover.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id := range q.index {
		if len(found) < limit && bytes.Compare(first[:], id[:]) <= 0 && bytes.Compare(id[:], last[:]) <= 0 {
			found = append(found, id)
		}
	}
	return found
}

// Live calls visit for each transaction that is open, or has an end that its till has not acknowledged, in no order. visit must neither
// block nor call the queue.
func (q *Queue) Live(visit func(tideover.Transaction)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.live {
		visit(r.Transaction)
	}
}
