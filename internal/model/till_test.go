package model

import (
	"slices"

	"tideover"
	"tideover/edge"
)

// press has a till send its request: the first time, or once more; other says that it has another body by now.
func (w *world) press(tx uint8, other bool) {
	e := w.till
	if w.known(e, tx) != nil {
		return // answered with the one transaction, or refused
	}
	w.own(e, tx, edge.Accept(w.draft(tx, other)))
	w.oracle.accepted[tx] = w.tick
	w.oracle.pressed[tx] = true
}

// draft is what the till's router makes of a request.
func (w *world) draft(tx uint8, other bool) *edge.Draft {
	e := w.till
	s := w.submits[tx]
	if other {
		s.Hash[1] = 1
	}
	now, known := w.clock(e)
	d := &edge.Draft{
		ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, Request: s.Request, Hash: s.Hash,
		CreatedAt: w.wallClock(), Boot: name16(w.routers[e].boot), BootAt: w.bootNow(e),
	}
	if known && s.Request.Kind == tideover.KindSale {
		d.LedgerExpires = now.Add(s.Request.ExpiresIn)
	}
	return d
}

// cancel has a till cancel: by its id where the router has it, and otherwise by its key.
func (w *world) cancel(tx uint8) {
	e := w.till
	if w.known(e, tx) != nil {
		if w.cancelAt(e, tx, edge.By{}) {
			w.oracle.promised(w, e, tx)
		}
		return
	}
	s := &w.submits[tx]
	now, _ := w.clock(e)
	d := &edge.Draft{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, CreatedAt: w.wallClock()}
	w.own(e, tx, edge.Bar(d, w.past(e), edge.By{}, now))
	w.oracle.promised(w, e, tx)
}

// cancelAt cancels what a router has; false where it refuses.
func (w *world) cancelAt(e, tx uint8, by edge.By) bool {
	rec := w.known(e, tx)
	if rec.Begun(w.original(e, tx)) && w.broken != begunCancelled {
		w.tell("  refused: %v", edge.CannotCancel())
		return false
	}
	now, _ := w.clock(e)
	ev, err := rec.Cancel(w.past(e), by, now)
	if err != nil {
		w.tell("  refused: %v", err)
		return false
	}
	if ev != nil {
		w.own(e, tx, *ev)
	}
	return true
}

// shows has a till say that it has shown the end that it heard last.
func (w *world) shows(tx uint8) {
	rec := w.known(w.till, tx)
	ev, err := rec.Acknowledge(rec.Seq)
	if err != nil {
		w.oracle.fail("an end that was told can be acknowledged", "%v", err)
		return
	}
	if ev != nil {
		w.own(w.till, tx, *ev)
	}
}

// person is what a technician does.
type person uint8

const (
	pHold person = iota
	pRelease
	pDrop
	pSettle
	persons
)

func (p person) String() string { return [...]string{"holds", "releases", "drops", "settles"}[p] }

// act has a technician do something at the router where the tills are; false where it is refused.
func (w *world) act(p person, tx uint8) bool {
	e := w.till
	rec := w.known(e, tx)
	now, _ := w.clock(e)
	var ev *edge.Event
	var err error
	switch p {
	case pHold:
		ev, err = rec.Hold(edge.By{Who: "somebody"})
	case pRelease:
		ev, err = rec.Release(edge.By{Who: "somebody"})
	case pDrop:
		if rec.Begun(w.original(e, tx)) {
			return false
		}
		ev, err = rec.Drop(w.past(e), edge.By{Who: "somebody"}, now)
	case pSettle:
		ev, err = rec.SettleAs(w.truth(tx), edge.By{Who: "somebody", Reason: "asked the platform"})
	case persons:
	}
	if err != nil {
		w.tell("  refused: %v", err)
		return false
	}
	if ev != nil {
		w.own(e, tx, *ev)
	}
	return true
}

// truth is what a person finds out by asking the platform on the telephone. Somebody there bars what is not executed.
func (w *world) truth(tx uint8) tideover.State {
	p := &w.platform[tx]
	switch {
	case p.stays() > 0:
		return tideover.StateApproved
	case p.executions > 0:
		return tideover.StateReversed
	default:
		p.barred, p.pending = true, false
		return tideover.StateDeclined
	}
}

// replace enrols another router in place of the first one, whose certificate is void from then on. Its disk and its process may stay.
func (w *world) replace() {
	w.oracle.forget(w, 0, nil)
	w.savedDisk = nil // putting it back would be another router's doing
	for h := range w.scenario.hubs {
		w.hangUp(0, uint8(h)) // what it has sent may still arrive
	}
	w.install(1)
	w.till = 1
	w.oracle.banned[0] = true
	for l := range w.ledgers {
		s := w.ledgers[l].store.v
		unshare(&s)
		s.AnchorSeq, s.AnchorHead = 0, [32]byte{} // see ledger.Store.Redeem
		w.ledgers[l].store = boxed(s)
	}
}

// copyDisk keeps a copy of a router's disk.
func (w *world) copyDisk(e uint8) {
	d := w.routers[e].disk
	d.ahead = slices.Clip(d.ahead)
	w.savedDisk = &d
}

// putBack replaces a router's disk by the copy, and starts a process on it.
func (w *world) putBack(e uint8) {
	w.stop(e)
	w.oracle.forget(w, e, w.savedDisk)
	w.routers[e].disk = *w.savedDisk
	w.savedDisk = nil
	w.startProcess(e)
}

// copyBooks keeps a copy of the ledger.
func (w *world) copyBooks() {
	b := w.ledgers[0]
	w.saved = &b
}

// putBooksBack puts the copy in the ledger's place. Every hub ends for it.
func (w *world) putBooksBack() {
	w.ledgers[0] = *w.saved
	w.saved = nil
	for h := range w.scenario.hubs {
		w.restart(uint8(h))
	}
	w.oracle.copied = true
	b := &w.ledgers[0]
	if w.scenario.hubs > 1 {
		b.open(w.draw())
	}
	if w.marked {
		h := b.history.v
		h.Restored = h.Epoch()
		b.history = boxed(h)
	}
	for tx := range w.presses {
		w.oracle.expiry[tx] = w.row(0, uint8(tx)).ExpiresAt
	}
	w.oracle.bothLost(w)
}
