package rules

import (
	"iter"
	"time"

	"tideover"
)

// ledger is a view of a shop's past, as plain as it can be: a list, and loops over it.
type ledger struct {
	all        []entry
	now        time.Duration
	incomplete bool
}

// entry is one transaction of the list.
type entry struct {
	tideover.Transaction
	instrument [32]byte
	at         time.Duration
}

func (l ledger) Open() (count int, amount map[string]int64) {
	amount = map[string]int64{}
	for _, e := range l.all {
		if !e.Final() {
			count++
			amount[e.Currency] += e.Amount
		}
	}
	return count, amount
}

func (l ledger) Get(id tideover.ID) (tideover.Transaction, bool) {
	for _, e := range l.all {
		if e.ID == id {
			return e.Transaction, true
		}
	}
	return tideover.Transaction{}, false
}

func (l ledger) Complete() bool { return !l.incomplete }

func (l ledger) Heard() bool { return true }

func (l ledger) Undone(original tideover.ID) (u Undone) {
	for _, e := range l.all {
		approved := e.State == tideover.StateApproved
		switch {
		case e.Original != original || e.Final() && !approved:
		case e.Kind == tideover.KindReversal:
			u.Reversal = true
		case approved:
			u.Refunded += e.Amount
		default:
			u.Refunding += e.Amount
		}
	}
	return u
}

func (l ledger) Since(original tideover.Transaction) time.Duration {
	for _, e := range l.all {
		if e.ID == original.ID {
			return l.now - e.at
		}
	}
	return 0
}

// Alike says too much: the rules have to look for themselves.
func (l ledger) Alike(Press) iter.Seq[Seen] {
	return func(yield func(Seen) bool) {
		for _, e := range l.all {
			if !yield(Seen{e.Transaction, e.instrument, l.now - e.at}) {
				return
			}
		}
	}
}
