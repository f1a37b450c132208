package queue

import (
	"tideover"
	"tideover/edge"
)

// Receipt returns a transaction, and the newest of what the hub has told for a receipt of it; nil where it told nothing. current says that
// it is of the transaction's present end. It is read from the journal, since a shop's memory has better use than signatures that few ask
// for, but for an end that waits for its commit. Errors: ErrUnknown, ErrStopped, or ErrDamaged.
func (q *Queue) Receipt(id tideover.ID) (t tideover.Transaction, proof *tideover.Proof, current bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, err := q.find(id)
	switch {
	case err != nil:
		return t, nil, false, err
	case r == nil:
		return t, nil, false, ErrUnknown
	}
	current = r.Final()
	take := func(e *edge.Event) {
		if e.Ends() && proof == nil {
			proof = e.Receipt
			current = current && proof != nil // an end after it has none
		}
	}
	if r.ending != nil {
		take(r.ending)
	}
	for seq := q.index[id]; seq != 0 && proof == nil; {
		e, _, err := q.read(seq)
		if err != nil {
			return t, nil, false, err
		}
		take(&e)
		seq = e.Prev
	}
	return r.Transaction, proof, current, nil
}
