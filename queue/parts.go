package queue

import "tideover"

// part is what one refund or reversal takes of its original, while it may.
type part struct {
	id       tideover.ID
	amount   int64
	reversal bool
	approved bool
}

// parts knows what is given back of each transaction: of everything in the journal, whatever memory has let go of. The queue's mutex guards
// it.
type parts struct {
	of map[tideover.ID][]part      // by the original
	in map[tideover.ID]tideover.ID // the original in whose parts a refund or reversal is
}

func newParts() parts {
	return parts{of: make(map[tideover.ID][]part), in: make(map[tideover.ID]tideover.ID)}
}

// set takes over what a record takes now: something while it is open or approved, nothing after any other end.
func (p *parts) set(r *record) {
	if !r.Kind.Undoes() {
		return
	}
	p.drop(r.ID)
	if r.Counts() || r.State == tideover.StateApproved {
		p.in[r.ID] = r.Original
		p.of[r.Original] = append(p.of[r.Original], part{
			id: r.ID, amount: r.Amount, reversal: r.Kind == tideover.KindReversal, approved: r.State == tideover.StateApproved,
		})
	}
}

// drop forgets what a transaction takes.
func (p *parts) drop(id tideover.ID) {
	original, known := p.in[id]
	if !known {
		return
	}
	delete(p.in, id)
	all := p.of[original]
	for i := range all {
		if all[i].id == id {
			all[i] = all[len(all)-1]
			all = all[:len(all)-1]
			break
		}
	}
	if p.of[original] = all; len(all) == 0 {
		delete(p.of, original)
	}
}

// Undone is what refunds and reversals take of a transaction, in minor units.
type Undone struct {
	Refunded  int64 // approved
	Refunding int64 // accepted, and without an end
	Reversal  bool  // one is approved, or has no end yet
}

func (p *parts) undone(original tideover.ID) (u Undone) {
	for _, part := range p.of[original] {
		switch {
		case part.reversal:
			u.Reversal = true
		case part.approved:
			u.Refunded += part.amount
		default:
			u.Refunding += part.amount
		}
	}
	return u
}
