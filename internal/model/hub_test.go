package model

import (
	"fmt"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// hub is one process of a hub. Two of them share a ledger.
type hub struct {
	owner  uint64
	ledger uint8
	heard  [4]uint64 // incarnations whose hello this process has answered, the newest last
	acts   [txMax]act
}

// act is what a hub is doing about a row, between the step that permitted it and the one that records it.
type act struct {
	kind    ledger.Action
	fence   uint64
	lease   time.Duration // of the claim that a call is made under
	arrived bool          // a call that the platform has taken
	answer  ledger.Said
	wrong   bool // the answer names another amount
}

func (w *world) row(l, tx uint8) *ledger.Row {
	if b := w.ledgers[l].rows[tx]; b != nil {
		return &b.v
	}
	return &ledger.Row{ID: w.ids[tx]}
}

func (w *world) lease(h uint8) ledger.Lease {
	return ledger.Lease{Owner: name16(w.hubs[h].owner), Until: w.since(0) + leaseLen}
}

// storeView is what a step on no row may see.
func (w *world) storeView(l uint8) *ledger.View {
	v := &ledger.View{Now: w.ledgerNow(), History: w.ledgers[l].history.v, Store: w.ledgers[l].store.v}
	unshare(&v.Store)
	return v
}

// view is what a step on a row may see.
func (w *world) view(l, tx uint8) *ledger.View {
	v := w.storeView(l)
	v.Rows = append(v.Rows, *w.row(l, tx))
	for _, id := range ledger.Others(w.submits[tx].Request) {
		v.Rows = append(v.Rows, *w.row(l, uint8(w.index[id])))
	}
	return v
}

// step runs a step as an engine does: what differs is committed before anybody hears of it.
func (w *world) step(l, tx uint8, do func(*ledger.View) ledger.Decision) ledger.Decision {
	v := w.view(l, tx)
	d := do(v)
	w.commitRows(l, v)
	w.tell("  ledger: %s (%s)", d.Why, v.Rows[0].State)
	return d
}

func (w *world) commitRows(l uint8, v *ledger.View) {
	b := &w.ledgers[l]
	for i := range v.Rows {
		r := &v.Rows[i]
		if r.State == tideover.RowNone {
			continue
		}
		tx := uint8(w.index[r.ID])
		w.oracle.moved(tx, w.row(l, tx), r, b.store.v.HubSeq, v.Store.HubSeq)
		b.rows[tx] = boxed(*r)
	}
	b.store = boxed(v.Store)
}

// claim is the arrival of a copy.
func (w *world) claim(v *ledger.View, s wire.Submit, inc [16]byte, lease ledger.Lease) ledger.Decision {
	d := v.Claim(s, inc, lease)
	if w.broken == latestExpiry && s.ExpiresAt != 0 {
		v.Rows[0].ExpiresAt = s.ExpiresAt
	}
	return d
}

func (w *world) cancelRow(v *ledger.View, m wire.Cancel) ledger.Decision {
	none := v.Rows[0].State == tideover.RowNone
	d := v.Cancel(m)
	if none && w.broken == noRow {
		w.tell("  broken: the cancel leaves no row")
		w.unkept(v, m.ID, tideover.StateCancelled, wire.TypeCancel)
	}
	return d
}

func (w *world) expireRow(v *ledger.View, m wire.Expire) ledger.Decision {
	none := v.Rows[0].State == tideover.RowNone
	d := v.Expire(m)
	if none && w.broken == noTombstone {
		w.tell("  broken: the tombstone leaves no row")
		w.unkept(v, m.Submit.ID, m.Outcome, wire.TypeExpire)
	}
	return d
}

// unkept has a broken hub tell an end of which it keeps nothing.
func (w *world) unkept(v *ledger.View, id tideover.ID, end tideover.State, to wire.Type) {
	v.Store.HubSeq++
	v.Rows[0] = ledger.Row{ID: id}
	c := wire.Confirmation{ID: id, HubSeq: v.Store.HubSeq, Outcome: tideover.Outcome{Result: end}}
	w.oracle.unkept = boxed(answer{c, to})
}

// hello greets a router's process, and hands the outbox to it.
func (w *world) hello(f *frame) {
	h := &w.hubs[f.h]
	r := &w.routers[f.e]
	hello := value[wire.Hello](f.body)
	there := r.alive && r.inc == f.from && r.links[f.h].up
	if w.oracle.banned[f.e] {
		if there {
			w.hangUp(f.e, f.h)
		}
		return
	}
	b := &w.ledgers[h.ledger]
	v := w.storeView(h.ledger)
	after, behind := v.Behind(hello)
	if w.broken == orphansLost {
		hello.Features = 0
	}
	welcome, err := v.Hello(hello)
	if err != nil {
		w.tell("  hub %d: %v", f.h, err)
		w.reply(f, wire.TypeRefused, boxed(wire.Refused{Reason: wire.ReasonSuperseded}))
		return
	}
	if w.broken == notReplayed {
		v.Replayed(hello.Incarnation)
		welcome.Replay = false
	}
	b.store = boxed(v.Store)
	w.retellPlaces(h.ledger)
	if behind && w.broken != ackedForgotten {
		w.unacknowledge(h.ledger, after)
	}
	w.oracle.newest[h.ledger] = f.from
	copy(h.heard[:], h.heard[1:])
	h.heard[len(h.heard)-1] = f.from
	if !there {
		return
	}
	said := []content{boxed(welcome)}
	asked := hello.Features&wire.FeatureOpen != 0
	if asked && w.broken != openUntold {
		said = append(said, w.open(h.ledger)...)
	}
	for tx := range w.presses {
		if row := w.row(h.ledger, uint8(tx)); row.Owed() && row.HubSeq > hello.HaveThrough {
			said = append(said, boxed(w.confirmation(row)))
		}
	}
	r.links[f.h].said = append(said, boxed(wire.CaughtUp{Through: welcome.GivenOut, Open: asked && !w.storeView(h.ledger).Orphaned()}))
}

// unacknowledge has a router that was put back to an older copy hear again what it had acknowledged.
func (w *world) unacknowledge(l uint8, after uint64) {
	v := w.storeView(l)
	for tx := range w.presses {
		if b := w.ledgers[l].rows[tx]; b != nil {
			v.Rows = append(v.Rows, b.v)
		}
	}
	v.Unacknowledge(after)
	w.commitRows(l, v)
}

// retellPlaces gives ends whose outbox positions were given out twice fresh ones, before anybody hears the welcome.
func (w *world) retellPlaces(l uint8) {
	if w.ledgers[l].store.v.Reused == 0 {
		return
	}
	v := w.storeView(l)
	for tx := range w.presses {
		if b := w.ledgers[l].rows[tx]; b != nil {
			v.Rows = append(v.Rows, b.v)
		}
	}
	v.Retell()
	w.commitRows(l, v)
	v = w.storeView(l)
	v.Retell()
	w.ledgers[l].store = boxed(v.Store)
}

// greeted says whether a hub's process has answered the hello of the process that sent a frame.
func (h *hub) greeted(inc uint64) bool {
	for _, i := range h.heard {
		if i == inc {
			return true
		}
	}
	return false
}

// acknowledged takes a router's word on what is on its disk.
func (w *world) acknowledged(f *frame, m have) {
	l := w.hubs[f.h].ledger
	b := &w.ledgers[l]
	v := w.storeView(l)
	v.Anchor(name16(f.from), m.Anchor)
	b.store = boxed(v.Store)
	if m.Ack.HubSeq == 0 {
		return
	}
	w.oracle.acked(w, f, m.Ack)
	w.step(l, f.tx, func(v *ledger.View) ledger.Decision {
		n := v.Acknowledge(name16(f.from), []wire.Position{m.Ack})
		return ledger.Decision{Why: fmt.Sprintf("%d acknowledged", n)}
	})
}

// work begins what a row needs. silent: the platform's answer will not come, though it may have acted.
func (w *world) work(h, tx uint8, silent bool) {
	me := &w.hubs[h]
	row := w.row(me.ledger, tx)
	a := act{kind: row.Next(name16(me.owner)), fence: row.Fence, lease: row.Lease}
	switch a.kind {
	case ledger.ActNone:
		return
	case ledger.ActUndo:
		w.step(me.ledger, tx, func(v *ledger.View) ledger.Decision { return w.undo(v) })
		return
	case ledger.ActCall:
		lease := w.lease(h)
		ok, why := row.MayCall(lease, row.Fence, w.ledgerNow(), w.since(0), callNeed)
		if w.broken == uncheckedCall {
			ok = true
		}
		if !ok {
			w.tell("  not called: %s", why)
			w.step(me.ledger, tx, func(v *ledger.View) ledger.Decision { return v.Uncalled(row.Fence, lease) })
			return
		}
		w.call(tx)
	case ledger.ActAsk:
		a.answer, a.wrong = w.ask(tx, silent)
	case ledger.ActReverse:
		w.oracle.touched(w, h, tx)
		a.answer, a.wrong = w.reverse(tx, silent)
	}
	me.acts[tx] = a
	if a.kind != ledger.ActCall && !w.fine {
		w.record(h, tx)
	}
}

// undo carries a reversal on.
func (w *world) undo(v *ledger.View) ledger.Decision {
	if w.broken == twoAccounts {
		for i := range v.Rows {
			v.Rows[i].Account.Refunding, v.Rows[i].Account.Refunded = 0, 0
		}
	}
	return v.Undo()
}

// said is what the platform said, as the ledger takes it.
func (w *world) said(tx uint8, a act) ledger.Answer {
	r := w.submits[tx].Request
	answer := ledger.Answer{Said: a.answer, Amount: r.Amount, Currency: r.Currency}
	if a.wrong {
		answer.Amount++
	}
	if a.answer == ledger.SaidMissing && w.broken == missingProves {
		answer.Said = ledger.SaidNotExecuted
	}
	return answer
}

// record commits what the platform said.
func (w *world) record(h, tx uint8) {
	me := &w.hubs[h]
	a := me.acts[tx]
	me.acts[tx] = act{}
	w.tell("  the platform says: %s", a.answer)
	answer, lease := w.said(tx, a), w.lease(h)
	d := w.step(me.ledger, tx, func(v *ledger.View) ledger.Decision {
		if w.broken == cancelForgotten {
			v.Rows[0].EndAs = tideover.StateNone
		}
		switch {
		case a.kind == ledger.ActReverse:
			return v.RecordReverse(answer, w.policy())
		case w.broken == lateApproval && a.answer == ledger.SaidApproved && v.Rows[0].Ended():
			return believe(v)
		default:
			return v.Record(a.fence, answer, a.kind == ledger.ActAsk, w.policy(), lease)
		}
	})
	w.oracle.answered(w, tx, a, d)
}

// believe takes an approval after another end for the end.
func believe(v *ledger.View) ledger.Decision {
	r := &v.Rows[0]
	v.Store.HubSeq++
	r.State, r.Approved, r.HubSeq, r.Acked = tideover.RowDone, true, v.Store.HubSeq, false
	r.Outcome = tideover.Outcome{Result: tideover.StateApproved}
	r.Account.Approved = r.Request.Request.Amount
	return ledger.Decision{Why: "broken: believed"}
}

// restart ends a hub's process and starts another one.
func (w *world) restart(h uint8) {
	me := &w.hubs[h]
	for tx := range me.acts {
		w.abandon(uint8(tx), me.acts[tx])
	}
	*me = hub{owner: w.draw(), ledger: me.ledger}
	for e := range w.routers {
		w.hangUp(uint8(e), h)
	}
	w.lose(func(f *frame) bool { return f.h == h })
	if w.scenario.hubs > 1 {
		return // its claims are taken over, one by one
	}
	b := &w.ledgers[me.ledger]
	if b.open(w.draw()); w.broken == heardAtOpen {
		s := b.store.v
		s.HeardIn = b.history.v.Epoch()
		b.store = boxed(s)
	}
	for tx := range w.presses {
		if w.row(me.ledger, uint8(tx)).State != tideover.RowNone {
			w.step(me.ledger, uint8(tx), func(v *ledger.View) ledger.Decision {
				v.Lapse(name16(me.owner))
				return ledger.Decision{Why: "the ledger is opened"}
			})
		}
	}
}

// tellEnd has a hub say an end that the router has not acknowledged.
func (w *world) tellEnd(h, e, tx uint8) {
	row := w.row(w.hubs[h].ledger, tx)
	w.send(frame{kind: wire.TypeConfirmation, from: w.routers[e].inc, e: e, h: h, tx: tx, body: boxed(answer{w.confirmation(row), 0})})
}
