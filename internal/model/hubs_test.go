package model

import (
	"tideover"
	"tideover/hub/ledger"
)

// What several hubs on one ledger do to each other's claims, and what the platform's own calls may do.

// gone says whether the process that owns a claim has ended.
func (w *world) gone(r *ledger.Row) bool {
	for h := range w.scenario.hubs {
		if name16(w.hubs[h].owner) == r.Owner {
			return false
		}
	}
	return true
}

// mayTakeOver says whether a hub may take back another one's claim. An owner that is gone, or that the network hides, is silent.
func (w *world) mayTakeOver(h, tx uint8) bool {
	row := w.row(w.hubs[h].ledger, tx)
	if w.scenario.hubs < 2 || row.State != tideover.RowClaimed || number(row.Owner) == w.hubs[h].owner || row.Owner == [16]byte{} {
		return false
	}
	p := w.policy()
	p.Idempotent = p.Idempotent || w.broken == earlyTakeOver
	return row.MayTakeOver(ledger.TakeOverAfter, w.since(0) > row.Lease, p)
}

func (w *world) takeOver(h, tx uint8) {
	l := w.hubs[h].ledger
	owner := w.row(l, tx).Owner
	w.step(l, tx, func(v *ledger.View) ledger.Decision {
		v.TakeOver(owner)
		return ledger.Decision{Why: "taken over"}
	})
}

// giveBack has a hub that stops give back what it has claimed and not called.
func (w *world) giveBack(h uint8) {
	me := &w.hubs[h]
	for i := range w.presses {
		tx := uint8(i)
		row := w.row(me.ledger, tx)
		if me.acts[tx].kind == ledger.ActNone && row.State == tideover.RowClaimed && number(row.Owner) == me.owner {
			w.step(me.ledger, tx, func(v *ledger.View) ledger.Decision { return v.GiveBack(row.Owner, row.Fence) })
		}
	}
}

// hint is a call that says that the platform has news of an id. Anybody may make it; the hub only asks, which it may do at any time.
func (w *world) hint(h, tx uint8) {
	row := w.row(w.hubs[h].ledger, tx)
	if w.broken != hintBelieved || row.State != tideover.RowInDoubt {
		return
	}
	w.step(w.hubs[h].ledger, tx, func(v *ledger.View) ledger.Decision {
		r := w.submits[tx].Request
		return v.Record(row.Fence, ledger.Answer{Said: ledger.SaidApproved, Amount: r.Amount, Currency: r.Currency}, true, w.policy(), w.lease(h))
	})
}

// prunable says whether the ledger may forget a row: it has ended, and its router has that on disk.
func (w *world) prunable(tx uint8) bool {
	row := w.row(0, tx)
	return row.Ended() && row.Acked
}

// prune forgets a row. What was accepted before now, and is not known, may have been executed from then on.
func (w *world) prune(tx uint8) {
	b := &w.ledgers[0]
	v := w.storeView(0)
	v.Store.PrunedBefore = v.Now + 1
	if w.broken == pruneForgotten {
		v.Store.PrunedBefore = 0
	}
	b.store, b.rows[tx] = boxed(v.Store), nil
	w.oracle.person[tx] = true
	for e := range w.routers { // that takes a month: no connection lasts
		for h := range w.scenario.hubs {
			w.hangUp(uint8(e), uint8(h))
		}
	}
}
