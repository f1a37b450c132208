package model

import (
	"tideover"
	"tideover/edge"
	"tideover/wire"
)

// flight is a sale whose acceptance is on its way to the disk: whoever carries it knows it, and nobody else does before it is there.
type flight struct {
	tx  uint8
	ev  *box[event]
	rec *box[edge.Record]
}

// early says whether sales may leave before their acceptance is on a router's disk.
func (w *world) early(e uint8) bool {
	r := &w.routers[e]
	return w.overlap && r.past.Complete() && r.disk.early && r.noted
}

// mayPressEarly says whether a press may be a flight.
func (w *world) mayPressEarly(tx uint8) bool {
	r := &w.routers[w.till]
	return r.alive && r.fly == nil && w.known(w.till, tx) == nil && w.presses[tx].kind == tideover.KindSale && w.early(w.till)
}

// pressEarly has a till send its request, of which the acceptance is not on disk yet.
func (w *world) pressEarly(tx uint8) bool {
	if !w.mayPressEarly(tx) {
		return false
	}
	e := w.till
	w.commit(e) // what waits rides along
	r := &w.routers[e]
	r.seq++
	ev := edge.Accept(w.draft(tx, false))
	ev.ID = w.ids[tx]
	var rec edge.Record
	if err := rec.Apply(r.seq, &ev, true); err != nil {
		w.oracle.fail("an event that was decided on can be applied", "%v", err)
		return true
	}
	r.fly = &flight{tx, boxed(event{ev, r.seq, tx}), boxed(rec)}
	w.oracle.accepted[tx], w.oracle.pressed[tx] = w.tick, true
	return true
}

// flies says whether a transaction's acceptance is on its way to the disk.
func (w *world) flies(e, tx uint8) bool {
	f := w.routers[e].fly
	return f != nil && f.tx == tx
}

// calm waits for the commit that a transaction is in.
func (w *world) await(e, tx uint8) {
	if w.flies(e, tx) {
		w.touchdown(e)
	}
}

// touchdown brings a flight to the disk: it is answered, and everybody may see it.
func (w *world) touchdown(e uint8) {
	r := &w.routers[e]
	f := r.fly
	if f == nil {
		return
	}
	r.fly = nil
	w.land(e, &f.ev.v)
	w.landed(e, f.ev.v.seq)
	r.mem[f.tx] = f.rec
}

// nextEarly is what a router's forwarder decides about a flight.
func (w *world) nextEarly(e uint8) edge.Step {
	return edge.Decide(&w.routers[e].fly.rec.v, nil, w.moment(e))
}

// carryEarly sends a flight.
func (w *world) carryEarly(e, h uint8) bool {
	r := &w.routers[e]
	f := *r.fly
	s := w.nextEarly(e)
	if s.Act != edge.ActSend || !r.links[h].shaken {
		return false
	}
	if _, err := f.rec.v.Look(tideover.CauseSent, edge.Note{}); err != nil {
		return false
	}
	rec := f.rec.v
	r.seq++
	rec.Move(tideover.CauseSent, edge.Note{}, r.seq, 0)
	f.rec = boxed(rec)
	r.fly = &f
	submit := w.submitFrom(e, f.tx, &rec, s.Again)
	submit.Anchor = w.anchor(e)
	w.tell("  router %d: it leaves before it is on disk", e)
	return w.speak(frame{kind: wire.TypeSubmit, from: r.inc, e: e, h: h, tx: f.tx, up: true, body: boxed(submit)})
}

// found takes what the ledger has without an end, as daemon does.
func (w *world) found(e uint8, o *wire.Open) {
	tx := uint8(w.index[o.Submit.ID])
	w.await(e, tx)
	rec := w.known(e, tx)
	w.tell("  the hub has transaction %d as %s", tx, o.State)
	switch {
	case rec == nil, rec.Hash != o.Submit.Hash && !rec.Barred() && o.Submit.Request.Kind != tideover.KindNone:
		w.adopt(e, tx, &o.Submit)
	case w.broken == openNotMarked:
		return
	}
	cause, ok := tideover.Told(o.State)
	if !ok {
		cause = tideover.CauseDoubt
	}
	w.move(e, tx, cause)
}

// open is what a hub tells of what has no end.
func (w *world) open(l uint8) (said []content) {
	for tx := range w.presses {
		row := w.row(l, uint8(tx))
		if unended := row.State.Open() || row.State == tideover.RowManual; unended && row.Request.Key != "" {
			said = append(said, boxed(row.Open()))
		}
	}
	return said
}
