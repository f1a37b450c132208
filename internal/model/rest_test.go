package model

import (
	"tideover"
	"tideover/wire"
)

// restRounds is enough for everything to come to its end once nothing goes wrong any more.
const restRounds = 24

// rest stops all faults and lets everybody run to the end. Frames that are still on their way arrive, or are lost. The error is the
// first promise that is broken then.
func (w *world) rest(arrive bool) error {
	n := w.clone()
	n.calm = true
	n.left = [faults]uint8{}
	n.tell("from here on nothing goes wrong any more; what is on its way arrives: %t", arrive)
	if n.till != 0 && n.routers[0].alive {
		n.stop(0)
	}
	if arrive {
		n.deliverAll()
	}
	n.net = nil
	for h := range n.scenario.hubs {
		n.hangUp(n.till, uint8(h))
	}
	for round := range restRounds {
		n.round()
		if round%2 == 1 {
			n.do(step{verb: vTick})
		}
		if n.oracle.err != nil {
			return n.oracle.err
		}
	}
	for tx := range n.presses {
		n.rested(uint8(tx))
	}
	return n.oracle.err
}

// round lets everybody do what there is to do.
func (w *world) round() {
	e := w.till
	r := &w.routers[e]
	if r.past.Superseded {
		w.stop(e)
		w.startProcess(e)
	}
	for h := range w.scenario.hubs {
		if !r.links[h].up {
			w.do(step{verb: vDial, e: e, h: uint8(h)})
		}
	}
	w.deliverAll()
	for h := range w.scenario.hubs {
		for range 8 {
			w.do(step{verb: vListen, e: e, h: uint8(h)})
		}
		for _, s := range w.retellSteps(nil, e, uint8(h)) {
			w.do(s)
		}
		w.deliverAll()
		for _, s := range w.retellSteps(nil, e, uint8(h)) {
			w.do(s)
		}
	}
	for tx := range w.presses {
		w.finish(uint8(tx))
	}
	w.do(step{verb: vCommit, e: e})
	w.deliverAll()
}

func (w *world) deliverAll() {
	for range 4 {
		for _, s := range w.netSteps(nil) {
			if s.verb == vDeliver || s.verb == vMature || s.verb == vStray && s.k == 0 {
				w.do(s)
			}
		}
	}
}

// finish does what there is to do about one transaction.
func (w *world) finish(tx uint8) {
	e := w.till
	if w.known(e, tx) == nil && w.oracle.pressed[tx] && w.oracle.told[tx] == 0 {
		w.do(step{verb: vPress, tx: tx}) // a till repeats its press until it has an answer
	}
	for _, s := range w.carrySteps(nil, e, tx) {
		w.do(s)
	}
	w.deliverAll()
	for h := range w.scenario.hubs {
		for range 4 {
			for _, s := range w.hubSteps(nil, uint8(h)) {
				if s.tx == tx && (s.verb == vWork || s.verb == vRecord || s.verb == vTell || s.verb == vTakeOver || s.verb == vArrive && s.k == 0) {
					w.do(s)
				}
			}
		}
	}
	w.deliverAll()
	if rec := w.known(e, tx); rec != nil && rec.Final() && !rec.Acknowledged {
		w.do(step{verb: vAcknowledge, tx: tx})
	}
}

// rested looks at what has become of a transaction.
func (w *world) rested(tx uint8) {
	o := &w.oracle
	row, rec, p := w.row(0, tx), w.known(w.till, tx), &w.platform[tx]
	reversal := w.presses[tx].kind == tideover.KindReversal
	promised := o.cancel[tx] != 0 && !reversal && !o.settled[tx] && !w.refunded(tx) && !o.unheard(w, tx)
	if promised && p.stays() > 0 && row.State != tideover.RowManual {
		o.fail("cancel means cancel", "transaction %d stays executed after its cancel was answered", tx)
	}
	if w.waitsForPerson(tx) || o.unheard(w, tx) {
		return
	}
	switch {
	case row.State != tideover.RowNone && !row.Ended():
		o.fail("everything comes to an end", "the ledger has transaction %d as %s (%s)", tx, row.State, row.Why)
	case row.Owed():
		o.fail("the confirmation arrives", "position %d of transaction %d is still owed", row.HubSeq, tx)
	case rec == nil:
	case !rec.Final():
		o.fail("everything comes to an end", "transaction %d is %s at the router", tx, rec.State)
	case row.Ended() && row.Outcome.Result != rec.State && row.HubSeq != 0 && !(uncharged(row.Outcome.Result) && uncharged(rec.State)):
		o.fail("both sides come to one end", "transaction %d is %s at the router, and %s at the hub", tx, rec.State, row.Outcome.Result)
	case rec.Untold && row.State == tideover.RowNone:
		o.fail("the hub hears of each end that a router has given", "transaction %d is %s", tx, rec.State)
	case !reversal && !o.settled[tx] && (rec.State == tideover.StateApproved) != (p.stays() == 1):
		o.fail("the till's end is the platform's", "transaction %d is %s, and executed %d times", tx, rec.State, p.stays())
	case reversal && uncharged(rec.State) && w.row(0, uint8(w.presses[tx].original)).State == tideover.RowReversed && !w.wantedBut(tx):
		o.fail("a reversal that was cancelled undoes nothing", "transaction %d is %s, and its original was undone", tx, rec.State)
	case reversal && rec.State == tideover.StateApproved && w.platform[w.presses[tx].original].stays() > 0:
		o.fail("a reversal that is approved has undone its original", "transaction %d has not", tx)
	}
}

// wantedBut says whether there is a reason for the original of a reversal to be undone but for the reversal.
func (w *world) wantedBut(tx uint8) bool {
	o := &w.oracle
	original := w.presses[tx].original
	for i, p := range w.presses {
		if i != int(tx) && p.kind == tideover.KindReversal && p.original == original && o.pressed[i] {
			return true
		}
	}
	p := &w.platform[original]
	// Without a cancel it was undone by machine: too late, or over another amount.
	return o.asked[original] || !w.row(0, uint8(original)).CancelAsked || p.lied || o.copied || o.lost[0] || o.lost[1]
}

// waitsForPerson says whether a transaction is held, or manual for a reason, or cannot end before another one is settled that is: what it
// is about, or another one about the same.
func (w *world) waitsForPerson(tx uint8) bool {
	p, rec := w.presses[tx], w.known(w.till, tx)
	manual := rec != nil && rec.State == tideover.StateManual
	switch original := w.original(w.till, tx); {
	case w.oracle.person[tx] && (manual || w.row(0, tx).State == tideover.RowManual):
		return true
	case p.kind == tideover.KindReversal && w.row(0, tx).State == tideover.RowManual && w.row(0, uint8(p.original)).State == tideover.RowNone:
		store := w.storeView(0).Store
		return store.LostBefore != 0 || store.PrunedBefore != 0 // what it is about may have been lost
	case manual && w.routers[w.till].past.Restored:
		return true // nobody can know whether the router that was lost had sent it
	case rec != nil && rec.State == tideover.StateHeld:
		return true
	case w.oracle.copied && p.kind == tideover.KindReversal && w.row(0, tx).State == tideover.RowManual:
		return true // the ledger may have lost its original
	case original != nil && (original.State == tideover.StateHeld || original.State == tideover.StateManual) && rec != nil && !rec.Final():
		return true
	}
	for i, q := range w.presses {
		same := p.kind.Undoes() && (i == p.original || q.kind.Undoes() && q.original == p.original) || q.kind.Undoes() && q.original == int(tx)
		if same && i != int(tx) && w.oracle.person[i] && w.row(0, uint8(i)).State == tideover.RowManual {
			return true
		}
	}
	return false
}

// uncharged says whether an end is one of those of what was not executed.
func uncharged(s tideover.State) bool {
	return s == tideover.StateDeclined || s == tideover.StateExpired || s == tideover.StateCancelled
}

// retell tells a hub again how a transaction ended, or that a refund is open.
func (w *world) retell(e, h, tx uint8) {
	r, rec := &w.routers[e], w.known(e, tx)
	f := frame{from: r.inc, e: e, h: h, tx: tx, up: true}
	if rec.Final() {
		m := wire.Replay{Submit: w.submitOf(e, tx, false), HubSeq: rec.HubSeq, Outcome: *rec.Outcome, Corrected: rec.Corrected}
		f.kind, f.body = wire.TypeReplay, boxed(m)
	} else {
		w.move(e, tx, tideover.CauseSent)
		f.kind, f.body = wire.TypeSubmit, boxed(w.submitOf(e, tx, true))
		r.retold[tx] = retelling(rec) // the hub's first word is waited for, but not for long
	}
	w.speak(f)
}

// replayed tells a hub that it has heard all that it had lost; the router may send from then on.
func (w *world) replayed(e, h uint8) {
	r := &w.routers[e]
	w.send(frame{kind: wire.TypeReplayed, from: r.inc, e: e, h: h, tx: txMax, up: true, body: boxed(wire.Replayed{})})
	paid := r.welcome.v
	paid.Replay = false
	r.welcome = boxed(paid)
	r.past.Caught = true
}
