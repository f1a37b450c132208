package queue

import (
	"tideover"
	"tideover/edge"
)

// Receipt returns a transaction, and the newest of what the hub has told for a receipt of it; nil where it told nothing. current says that
// it is of the transaction's present end. It is read from the journal, since a shop's memory has better use than signatures that few ask
// for, but for an end that waits for its commit. Whether that end corrects another is then as the hub told it last: it may have told the same end
// twice, the second time after it had forgotten the first, and a till goes by the first. Errors: ErrUnknown, ErrStopped, or ErrDamaged.
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
	t, current = r.Transaction, r.Final()
	take := func(e *edge.Event) {
		if e.Ends() && proof == nil {
			proof = e.Receipt
			if current = current && proof != nil; current { // else an end after it has none
				t.Corrected = e.Corrected
			}
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
	return t, proof, current, nil
}
