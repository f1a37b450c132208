package model

import (
	"cmp"
	"slices"

	"tideover"
	"tideover/edge"
	"tideover/wire"
)

// dial opens a connection and says hello.
func (w *world) dial(e, h uint8) {
	r := &w.routers[e]
	r.links[h] = link{up: true}
	hello := wire.Hello{
		Incarnation: name16(r.inc), Seq: r.disk.heads.seq, Head: headOf(r.disk.heads), HaveThrough: r.disk.have,
		Journal: name16(r.journal), Highest: r.disk.highest, Epoch: r.disk.epoch,
	}
	if r.past.Orphans {
		hello.Features = wire.FeatureOpen
	}
	for _, b := range r.tail {
		hello.Highest = max(hello.Highest, b.v.HubSeq) // taken, whether it is on disk or not
	}
	if r.past.Restored && w.reopened(e) {
		hello.Seq, hello.Head = 0, [32]byte{}
	}
	if w.broken == haveInMemory {
		for _, b := range r.tail {
			hello.HaveThrough = max(hello.HaveThrough, b.v.HubSeq)
		}
	}
	w.oracle.greeting(w, e, hello.HaveThrough)
	w.send(frame{kind: wire.TypeHello, from: r.inc, e: e, h: h, up: true, body: boxed(hello)})
}

// listen has a router hear what the hub says on the control stream: all that waits, or one frame of it.
func (w *world) listen(e, h uint8) {
	for {
		r := &w.routers[e]
		l := &r.links[h]
		if !l.up || len(l.said) == 0 {
			return
		}
		c := l.said[0]
		l.said = slices.Clip(l.said[1:])
		switch b := c.(type) {
		case *box[wire.Welcome]:
			w.welcomed(e, h, b)
		case *box[wire.Open]:
			w.found(e, &b.v)
		case *box[wire.Confirmation]:
			w.confirmed(e, &b.v)
		case *box[wire.CaughtUp]:
			w.caughtUp(e, b.v)
		}
		if w.fine {
			return
		}
	}
}

// welcomed judges a welcome, as daemon does.
func (w *world) welcomed(e, h uint8, b *box[wire.Welcome]) {
	r, m := &w.routers[e], &b.v
	r.links[h].shaken = true
	r.known, r.ahead = true, int8((m.LedgerTime-start)/tideover.Millis(tickLen.Milliseconds()))-int8(w.tick)
	if m.Epoch != r.epoch {
		r.epoch, r.since = m.Epoch, r.seq+1
		w.lazily(e, txMax, edge.Event{Type: edge.EventHeard, HubSeq: r.disk.have, Epoch: m.Epoch, Early: r.noted})
	}
	since := r.since
	if w.broken == epochForgotten {
		since = 0
	}
	before := r.past
	r.past = r.past.Welcomed(edge.Welcome{
		OffChain: m.AnchorSeq != 0 && !r.disk.holds(m.AnchorSeq, number([16]byte(m.AnchorHead[:16]))),
		Gap:      m.Gap || r.disk.gap, LostBefore: max(m.LostBefore, since), Replay: m.Replay,
	})
	if r.past.Restored && !before.Restored {
		w.tell("  router %d was restored from an older copy", e)
		r.seq = max(r.seq, m.AnchorSeq+seqStep)
		w.lazily(e, txMax, edge.Event{Type: edge.EventGap})
		w.commit(e)
	}
	r.welcome, r.home, r.retold = b, false, [txMax]uint64{}
	w.sayAnchor(e, h)
}

// sayAnchor tells a hub the committed head.
func (w *world) sayAnchor(e, h uint8) {
	r := &w.routers[e]
	if a := w.anchor(e); a.Seq != 0 {
		w.send(frame{kind: wire.TypeAck, from: r.inc, e: e, h: h, tx: txMax, up: true, body: boxed(have{Anchor: a})})
	}
}

// caughtUp puts the outbox of the hello on disk; from then on the router may send.
func (w *world) caughtUp(e uint8, c wire.CaughtUp) {
	r := &w.routers[e]
	through := c.Through
	for _, p := range r.missing {
		if p.position <= through && w.broken != haveInMemory {
			through = p.position - 1
		}
	}
	whole := c.Open || !r.past.Orphans
	on := r.noted || whole && w.overlap
	if through > r.disk.have || on != r.noted {
		r.noted = on
		w.lazily(e, txMax, edge.Event{Type: edge.EventHeard, HubSeq: max(through, r.disk.have), Epoch: r.epoch, Early: on})
	}
	w.commit(e)
	r.past.Orphans = r.past.Orphans && !whole
	r.home = true
	if !r.welcome.v.Replay {
		r.past.Caught = true
	}
}

// heard has a router take a frame that is not on the control stream.
func (w *world) heard(f *frame) {
	r := &w.routers[f.e]
	w.await(f.e, f.tx)
	switch f.kind {
	case wire.TypeConfirmation:
		c := value[answer](f.body)
		if w.confirmed(f.e, &c.Confirmation) {
			w.answered(f.e, f.tx, c.To)
		}
	case wire.TypeProgress:
		w.progressed(f.e, f.tx, value[progress](f.body))
	case wire.TypeRefused:
		switch refused := value[wire.Refused](f.body); refused.Reason {
		case wire.ReasonKeyReused:
			w.reused(f.e, f.tx, &refused)
		case wire.ReasonSuperseded:
			r.past.Superseded = true
		case wire.ReasonMalformed:
			w.move(f.e, f.tx, tideover.ToldManual)
		default:
		}
	default:
	}
}

// progressed takes the hub's word that is not an end.
func (w *world) progressed(e, tx uint8, p progress) {
	if rec := w.known(e, tx); p.To == wire.TypeSubmit && rec != nil && w.heldFirst(e, rec) {
		w.routers[e].retold[tx] = retelling(rec)
	}
	switch p.To {
	case wire.TypeReplay:
		w.answered(e, tx, p.To)
		return
	case wire.TypeExpire: // nobody listens
	case wire.TypeAsk:
		if p.State == tideover.StateNone {
			p.State = tideover.StateManual // see daemon
		}
		fallthrough
	default:
		if cause, ok := tideover.Told(p.State); ok {
			w.move(e, tx, cause)
		}
	}
	if p.State == tideover.StateManual {
		w.answered(e, tx, p.To)
	}
}

// answered ends a call that only its end was waited for.
func (w *world) answered(e, tx uint8, to wire.Type) {
	rec := w.known(e, tx)
	switch {
	case rec == nil:
	case to == wire.TypeReplay:
		w.routers[e].retold[tx] = retelling(rec)
	case to == wire.TypeExpire, to == wire.TypeCancel && rec.Barred(), to == wire.TypeSubmit && rec.Kind == tideover.KindReversal:
		w.buried(e, tx)
	default:
	}
}

// confirmed takes an end home, as queue does; false where it could not be taken.
func (w *world) confirmed(e uint8, c *wire.Confirmation) bool {
	r := &w.routers[e]
	tx := uint8(w.index[c.ID])
	w.await(e, tx)
	rec := w.known(e, tx)
	if c.Adopt != nil && (rec == nil || rec.Hash != c.Adopt.Hash && !rec.Barred() && c.Adopt.Request.Kind != tideover.KindNone) {
		w.adopt(e, tx, c.Adopt)
		rec = w.known(e, tx)
	}
	if rec == nil {
		r.miss(c.HubSeq, tx)
		return false
	}
	asked := c.Asked || w.broken == approvalBelieved
	ev, take, err := rec.Told(edge.Told{HubSeq: c.HubSeq, Outcome: c.Outcome, Corrected: c.Corrected, Asked: asked})
	switch {
	case err != nil:
		w.tell("  not taken: %v", err)
		r.miss(c.HubSeq, tx)
		return false
	case take == edge.TakeAgain:
		if !r.waits(c.HubSeq) {
			w.acknowledge(e, tx, c.HubSeq)
		}
	case take == edge.TakeNew:
		r.missing = slices.DeleteFunc(slices.Clone(r.missing), func(p missed) bool { return p.tx == tx && p.position <= c.HubSeq })
		w.lazily(e, tx, ev)
		if w.broken == earlyAck {
			w.acknowledge(e, tx, c.HubSeq)
		}
	case take == edge.TakeNot:
		w.tell("  an approval from before the cancel: not believed")
	}
	return true
}

// miss notes an end that could not be taken.
func (r *router) miss(position uint64, tx uint8) {
	m := missed{position, tx}
	if !slices.Contains(r.missing, m) {
		r.missing = append(slices.Clone(r.missing), m)
		slices.SortFunc(r.missing, func(a, b missed) int { return cmp.Compare(a.position, b.position) })
	}
}

// waits says whether the end at an outbox position is not on disk yet.
func (r *router) waits(position uint64) bool {
	for _, b := range r.tail {
		if b.v.Type == edge.EventEnded && b.v.HubSeq == position {
			return true
		}
	}
	return false
}

// adopt enters the hub's record of what this journal does not have.
func (w *world) adopt(e, tx uint8, s *wire.Submit) {
	d := &edge.Draft{
		ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, Request: s.Request, Hash: s.Hash,
		CreatedAt: s.CreatedAt, LedgerExpires: s.ExpiresAt,
	}
	w.lazily(e, tx, edge.Adopt(d, w.known(e, tx) != nil))
	w.move(e, tx, tideover.CauseDoubt)
}

// reused takes the hub's record of a key over that the router holds with another request.
func (w *world) reused(e, tx uint8, m *wire.Refused) {
	switch rec := w.known(e, tx); {
	case m.End != nil:
		end := *m.End
		end.Adopt = m.Adopt
		w.confirmed(e, &end)
	case m.Adopt != nil && (rec == nil || rec.Hash != m.Adopt.Hash):
		w.adopt(e, tx, m.Adopt)
	}
}

// next is what a router's forwarder decides about a transaction.
func (w *world) next(e, tx uint8) (edge.Step, bool) {
	r := w.known(e, tx)
	if r == nil || r.Final() || r.State == tideover.StateHeld || r.Behind(w.original(e, tx)) {
		return edge.Step{}, false
	}
	return edge.Decide(r, w.original(e, tx), w.moment(e)), true
}

// carry takes the next step of one transaction. h is the hub that it is sent to. It returns false where there is nothing to do.
func (w *world) carry(e, tx, h uint8) bool {
	if w.flies(e, tx) {
		return w.carryEarly(e, h)
	}
	s, ok := w.next(e, tx)
	if !ok {
		return false
	}
	w.tell("  router %d: %s", e, s.Reason)
	r, rec := &w.routers[e], w.known(e, tx)
	f := frame{from: r.inc, e: e, h: h, tx: tx, up: true}
	switch s.Act {
	case edge.ActHold:
		return false
	case edge.ActDoubt:
		return w.move(e, tx, tideover.CauseDoubt)
	case edge.ActExpire:
		return w.endHere(e, tx, tideover.CauseExpired)
	case edge.ActMoot:
		return w.endHere(e, tx, tideover.CauseMoot)
	case edge.ActManual: // keys are destroyed in no shop of the model
		return w.move(e, tx, tideover.ToldManual)
	case edge.ActFirst:
		return w.cancelAt(e, uint8(w.presses[tx].original), edge.By{Who: "reversal"})
	case edge.ActAsk:
		f.kind, f.body = wire.TypeAsk, boxed(wire.Ask{ID: w.ids[tx]})
	case edge.ActCancel:
		f.kind, f.body = wire.TypeCancel, boxed(w.cancelOf(tx, s.Again))
	case edge.ActSettle:
		f.kind, f.body = wire.TypeSettle, boxed(wire.Settle{Submit: w.submitOf(e, tx, s.Again), As: rec.Settle})
	case edge.ActSend:
		if !r.links[h].shaken || !w.move(e, tx, tideover.CauseSent) {
			return false
		}
		submit := w.submitOf(e, tx, s.Again)
		if submit.Anchor = w.anchor(e); w.broken == anchorForgotten {
			submit.Anchor = wire.Anchor{}
		}
		f.kind, f.body = wire.TypeSubmit, boxed(submit)
	}
	return w.speak(f)
}

// speak sends a frame that is answered on its own stream; false where there is no connection.
func (w *world) speak(f frame) bool {
	r := &w.routers[f.e]
	if !r.links[f.h].shaken {
		return false
	}
	r.calls[f.tx] = f.kind
	w.send(f)
	return true
}

// kindOf is the frame that a step of the forwarder sends; 0 where it sends none.
func kindOf(a edge.Act) wire.Type {
	switch a {
	case edge.ActAsk:
		return wire.TypeAsk
	case edge.ActCancel:
		return wire.TypeCancel
	case edge.ActSettle:
		return wire.TypeSettle
	case edge.ActSend:
		return wire.TypeSubmit
	default:
		return 0
	}
}

// endHere gives the router's own end; false where it cannot.
func (w *world) endHere(e, tx uint8, cause tideover.Cause) bool {
	rec := w.known(e, tx)
	now, _ := w.clock(e)
	ev, err := rec.EndHere(cause, tideover.Outcome{At: now})
	if err != nil {
		w.tell("  not ended here: %v", err)
		return false
	}
	w.own(e, tx, *ev)
	return true
}

// submitOf is a transaction as the hub gets it.
func (w *world) submitOf(e, tx uint8, again bool) wire.Submit {
	return w.submitFrom(e, tx, w.known(e, tx), again)
}

func (w *world) submitFrom(e, tx uint8, rec *edge.Record, again bool) wire.Submit {
	s := w.submits[tx]
	s.CreatedAt, s.Hash, s.Again = rec.CreatedAt, rec.Hash, again
	s.ExpiresAt, _ = rec.Expires(w.moment(e))
	if rec.Barred() {
		s.Request, s.Hash = tideover.Request{}, [32]byte{}
	}
	return s
}

func (w *world) cancelOf(tx uint8, again bool) wire.Cancel {
	s := &w.submits[tx]
	return wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, Again: again}
}

// bury tells a hub of an end that the router has given by itself.
func (w *world) bury(e, tx, h uint8) {
	r, rec := &w.routers[e], w.known(e, tx)
	f := frame{from: r.inc, e: e, h: h, tx: tx, up: true}
	switch submit := w.submitOf(e, tx, false); {
	case rec.State != tideover.StateExpired && rec.State != tideover.StateCancelled && rec.Kind != tideover.KindReversal:
		w.buried(e, tx)
		return
	case rec.Barred():
		f.kind, f.body = wire.TypeCancel, boxed(w.cancelOf(tx, false))
	case rec.Kind == tideover.KindReversal && rec.State == tideover.StateApproved:
		f.kind, f.body = wire.TypeSubmit, boxed(submit)
	default:
		f.kind, f.body = wire.TypeExpire, boxed(wire.Expire{Submit: submit, Outcome: rec.State})
	}
	w.speak(f)
}

// buried notes that the hub knows of it. It is written lazily.
func (w *world) buried(e, tx uint8) {
	if rec := w.known(e, tx); rec != nil && rec.Untold {
		w.lazily(e, tx, edge.Event{Type: edge.EventBuried})
	}
}
