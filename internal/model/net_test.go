package model

import (
	"fmt"
	"slices"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// frame is one on its way. The network keeps it until it is delivered, for as long as that takes: a frame that is late is one that
// others overtake, and a frame that is lost is one that is never delivered. What goes to the hub outlives the process that sent it;
// what goes to a router is lost with the connection.
type frame struct {
	kind wire.Type
	from uint64 // incarnation of the router's process at one end
	e, h uint8
	tx   uint8
	up   bool // to the hub
	body content
}

// content is what a frame carries: a box.
type content interface {
	encode(e *encoder)
	same(content) bool
}

func (b *box[T]) encode(e *encoder) { put(e, b) }

func (b *box[T]) same(o content) bool {
	other, ok := o.(*box[T])
	return ok && b.digest == other.digest && slices.Equal(b.norms, other.norms)
}

func value[T any](c content) T { return c.(*box[T]).v }

// progress is what the hub says before an end, and what it was asked.
type progress struct {
	wire.Progress
	To wire.Type
}

// answer is an end on the stream of the frame that it answers; one that is pushed answers none.
type answer struct {
	wire.Confirmation
	To wire.Type
}

// have is what a router says of its disk: its head, and an end that is on it.
type have struct {
	Anchor wire.Anchor
	Ack    wire.Position // zero: none
}

// send puts a frame on its way. One that is there already is not sent twice.
func (w *world) send(f frame) {
	for i := range w.net {
		o := &w.net[i]
		if o.kind == f.kind && o.from == f.from && o.e == f.e && o.h == f.h && o.tx == f.tx && o.up == f.up && o.body.same(f.body) {
			return
		}
	}
	if len(w.net) >= frameMax {
		w.tell("the network is full: a frame of type %d is lost", f.kind)
		return
	}
	w.net = append(w.net, f)
	if f.kind == wire.TypeAck && !w.late || f.kind == wire.TypeHello && !w.late {
		w.deliver(len(w.net)-1, false)
	}
}

// lose takes frames away.
func (w *world) lose(lost func(*frame) bool) {
	kept := w.net[:0]
	for i := range w.net {
		if !lost(&w.net[i]) {
			kept = append(kept, w.net[i])
		}
	}
	w.net = kept
}

// reply sends a hub's answer back, if the process that asked is still there to hear it.
func (w *world) reply(f *frame, kind wire.Type, body content) {
	r := &w.routers[f.e]
	if r.alive && r.inc == f.from && r.links[f.h].up {
		w.send(frame{kind: kind, from: f.from, e: f.e, h: f.h, tx: f.tx, body: body})
	}
}

// deliver hands a frame to whom it is for. It stays on its way where it cannot be taken yet.
func (w *world) deliver(i int, again bool) {
	f := w.net[i]
	if !again {
		w.net = slices.Delete(w.net, i, i+1)
	}
	if f.up {
		if !w.received(&f) && !again {
			w.net = append(w.net, f)
		}
		return
	}
	if f.kind != wire.TypeConfirmation || value[answer](f.body).To != 0 {
		w.routers[f.e].calls[f.tx] = 0
	}
	w.heard(&f)
}

// received has a hub take a frame; false where it must come again later.
func (w *world) received(f *frame) bool {
	h := &w.hubs[f.h]
	inc, now := name16(f.from), w.lease(f.h)
	if w.broken == anyIncarnation && w.ledgers[h.ledger].store.v.Incarnation != [16]byte{} {
		inc = w.ledgers[h.ledger].store.v.Incarnation
	}
	var d ledger.Decision
	switch f.kind {
	case wire.TypeHello:
		w.hello(f)
		return true
	case wire.TypeAck:
		w.acknowledged(f, value[have](f.body))
		return true
	case wire.TypeSubmit:
		s := value[wire.Submit](f.body)
		if s.Request.Kind == tideover.KindNone { // see desk
			w.reply(f, wire.TypeRefused, boxed(wire.Refused{Reason: wire.ReasonMalformed}))
			return true
		}
		d = w.step(h.ledger, f.tx, func(v *ledger.View) ledger.Decision { return w.claim(v, s, inc, now) })
		w.oracle.claimed(w, f, s, d)
	case wire.TypeAsk:
		d = w.step(h.ledger, f.tx, func(v *ledger.View) ledger.Decision { return v.Ask() })
	case wire.TypeCancel:
		m := value[wire.Cancel](f.body)
		d = w.step(h.ledger, f.tx, func(v *ledger.View) ledger.Decision { return w.cancelRow(v, m) })
	case wire.TypeExpire:
		m := value[wire.Expire](f.body)
		d = w.step(h.ledger, f.tx, func(v *ledger.View) ledger.Decision { return w.expireRow(v, m) })
	case wire.TypeSettle:
		m := value[wire.Settle](f.body)
		d = w.step(h.ledger, f.tx, func(v *ledger.View) ledger.Decision { return v.Settle(m) })
	case wire.TypeReplay:
		m := value[wire.Replay](f.body)
		d = w.step(h.ledger, f.tx, func(v *ledger.View) ledger.Decision { return v.Replay(m) })
	case wire.TypeReplayed:
		v := w.storeView(h.ledger)
		v.Replayed(inc)
		w.ledgers[h.ledger].store = boxed(v.Store)
		return true
	default:
		panic(fmt.Sprintf("model: no hub takes a frame of type %d", f.kind))
	}
	return w.answer(f, d)
}

// answer says what a step decided; false where the frame must wait for another row.
func (w *world) answer(f *frame, d ledger.Decision) bool {
	row := w.row(w.hubs[f.h].ledger, f.tx)
	switch {
	case w.oracle.unkept != nil:
		w.reply(f, wire.TypeConfirmation, w.oracle.unkept)
		w.oracle.unkept = nil
	case d.Verdict == ledger.Refuse:
		w.reply(f, wire.TypeRefused, boxed(d.Refused))
	case d.Verdict == ledger.Wait:
		return false
	case row.Ended():
		w.reply(f, wire.TypeConfirmation, boxed(answer{row.Confirmation(), f.matters()}))
	case !d.Fresh:
		p := progress{row.Progress(), f.kind}
		needed := f.kind == wire.TypeReplay || f.kind == wire.TypeSubmit && w.presses[f.tx].kind.Undoes()
		if w.fine || needed || p.State == tideover.StateManual || p.State == tideover.StateNone {
			w.reply(f, wire.TypeProgress, boxed(p))
		}
	}
	return true
}

// matters returns a frame's type where the router makes more of its answer than of an end that is pushed.
func (f *frame) matters() wire.Type {
	switch f.kind {
	case wire.TypeExpire, wire.TypeReplay, wire.TypeCancel:
		return f.kind
	case wire.TypeSubmit:
		if value[wire.Submit](f.body).Request.Kind == tideover.KindReversal {
			return f.kind
		}
	default:
	}
	return 0
}

// confirmation is a row's end as the hub says it of its own accord. What an edge without a record needs goes with it.
func (w *world) confirmation(row *ledger.Row) wire.Confirmation {
	c := row.Confirmation()
	adopt := row.Request
	adopt.Request.Payload = nil
	adopt.ExpiresAt = row.ExpiresAt
	c.Adopt = &adopt
	return c
}
