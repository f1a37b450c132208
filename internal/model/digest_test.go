package model

import "tideover/wire"

// digest is the canonical encoding of a world, hashed: equal for worlds that nobody in them can tell apart.
func (w *world) digest(e *encoder) uint64 {
	e.reset(uint64(w.ledgerNow()))
	e.byte(w.left[:]...)
	e.byte(w.till, w.tick, w.jump)
	for l := range w.ledgers {
		w.ledgers[l].encode(e)
	}
	e.byte(bit(w.saved != nil))
	if w.saved != nil {
		w.saved.encode(e)
	}
	for h := range w.scenario.hubs {
		w.hubs[h].encode(e)
	}
	for tx := range w.presses {
		w.platform[tx].encode(e)
	}
	for i := range w.routers {
		w.routers[i].encode(w, e)
	}
	e.byte(bit(w.savedDisk != nil))
	if w.savedDisk != nil {
		w.savedDisk.encode(e)
		w.held(e, w.savedDisk)
	}
	w.oracle.encode(w, e)
	e.close(false)
	for i := range w.net {
		f := &w.net[i]
		e.byte(byte(f.kind), f.e, f.h, f.tx, bit(f.up))
		e.norm(process, f.from)
		f.body.encode(e)
		w.heldBy(e, f)
		e.close(true)
	}
	return e.sum()
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (b *books) encode(e *encoder) {
	put(e, b.history)
	put(e, b.store)
	for _, r := range b.rows {
		put(e, r)
	}
}

func (h *hub) encode(e *encoder) {
	e.norm(owner, h.owner)
	for _, inc := range h.heard {
		e.norm(process, inc)
	}
	for i := range h.acts {
		a := &h.acts[i]
		e.byte(byte(a.kind), bit(a.arrived), byte(a.answer), bit(a.wrong))
		e.norm(fence, a.fence)
		e.norm(deadline, uint64(start.Add(a.lease)))
	}
}

func (p *paid) encode(e *encoder) {
	e.byte(p.strays, p.calls, p.executions, p.reversals, bit(p.decided), bit(p.approved), bit(p.wrong), bit(p.pending), bit(p.barred),
		bit(p.reversed), bit(p.lied))
}

func (r *router) encode(w *world, e *encoder) {
	e.byte(bit(r.on), bit(r.alive), r.booted, byte(r.ahead), bit(r.known))
	if !r.on {
		return
	}
	e.norm(process, r.inc)
	e.norm(boot, r.boot)
	e.norm(journal, r.journal)
	r.disk.encode(e)
	w.held(e, &r.disk)
	if !r.alive {
		return
	}
	for i, b := range r.mem {
		put(e, b)
		e.norm(hubSeq, r.retold[i])
		e.byte(byte(r.calls[i]))
	}
	e.byte(byte(len(r.tail)), byte(len(r.missing)))
	for _, b := range r.tail {
		put(e, b)
	}
	for _, p := range r.missing {
		e.norm(hubSeq, p.position)
		e.byte(p.tx)
	}
	p := r.past
	e.byte(bit(r.home), bit(p.Caught), bit(p.Superseded), bit(p.Restored), bit(p.Gap), bit(p.Orphans), bit(r.noted), bit(r.fly != nil))
	if r.fly != nil {
		e.byte(r.fly.tx)
		put(e, r.fly.ev)
		put(e, r.fly.rec)
	}
	e.norm(jSeq, p.LostBefore)
	e.norm(epoch, number(r.epoch))
	e.norm(jSeq, r.since)
	put(e, r.welcome)
	for i := range r.links {
		l := &r.links[i]
		e.byte(bit(l.up), bit(l.shaken), byte(len(l.said)))
		for _, c := range l.said {
			c.encode(e)
		}
	}
}

func (d *disk) encode(e *encoder) {
	for _, b := range d.rec {
		put(e, b)
	}
	e.norm(hubSeq, d.have)
	e.norm(hubSeq, d.highest)
	e.byte(byte(len(d.ahead)), bit(d.gap), bit(d.early))
	for _, p := range d.ahead {
		e.norm(hubSeq, p)
	}
	e.norm(epoch, number(d.epoch))
	e.norm(jSeq, d.since)
	e.norm(jSeq, d.seq)
	if d.heads != nil {
		e.norm(head, d.heads.name)
	}
}

// held says which of the heads that ledgers know are in a journal's chain.
func (w *world) held(e *encoder, d *disk) {
	for _, b := range []*books{&w.ledgers[0], &w.ledgers[1], w.saved} {
		if b != nil {
			s := &b.store.v
			e.byte(bit(d.holds(s.AnchorSeq, number([16]byte(s.AnchorHead[:16])))))
		}
	}
}

// heldBy says in which chains the head is that a frame tells.
func (w *world) heldBy(e *encoder, f *frame) {
	var a wire.Anchor
	switch b := f.body.(type) {
	case *box[have]:
		a = b.v.Anchor
	case *box[wire.Submit]:
		a = b.v.Anchor
	default:
		return
	}
	for _, d := range []*disk{&w.routers[0].disk, &w.routers[1].disk, w.savedDisk} {
		if d != nil {
			e.byte(bit(d.holds(a.Seq, number([16]byte(a.Head[:16])))))
		}
	}
}

func (o *oracle) encode(w *world, e *encoder) {
	e.byte(bit(o.copied))
	for i := range o.newest {
		e.norm(process, o.newest[i])
	}
	for i := range o.banned {
		e.byte(bit(o.banned[i]), bit(o.lost[i]))
	}
	for tx := range w.presses {
		e.byte(bit(o.pressed[tx]), o.accepted[tx], bit(o.word[tx]), byte(o.told[tx]), byte(o.told[tx]>>8))
		e.byte(o.cancel[tx], bit(o.asked[tx]), bit(o.settled[tx]), bit(o.person[tx]), bit(o.gone[tx]), bit(o.caught[tx]))
		e.norm(deadline, uint64(o.expiry[tx]))
	}
}
