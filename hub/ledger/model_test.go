package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// world runs the very steps of the ledger on nothing: rows in a map, a platform that is a few fields, edges that hear ends, and a
// schedule that rapid draws. It keeps the oracle.
type world struct {
	*rapid.T
	idempotent bool
	now        tideover.Millis
	history    ledger.History
	store      ledger.Store
	rows       map[tideover.ID]ledger.Row
	submits    map[tideover.ID]wire.Submit
	order      []tideover.ID
	owner      byte
	acts       map[tideover.ID]*act // at most one under way for each row, as in the desk
	platform   map[tideover.ID]*paid
	travelling []tideover.ID // calls that have left and not arrived
	edge       map[tideover.ID]*edgeView
	cancelled  map[tideover.ID]bool // the ledger has taken a cancel that must win
	calm       bool                 // no more faults
	line
}

// act is something under way between a step that permitted it and the one that records it.
type act struct {
	kind   ledger.Action
	fence  uint64
	answer ledger.Answer
}

// paid is what the platform knows of an id.
type paid struct {
	calls, executions, reversals       int
	decided, approved, barred, pending bool
	answered, reversed                 bool
	wrong                              bool
}

// edgeView is what the edge makes of what it hears.
type edgeView struct {
	state     tideover.State
	heard     uint64
	submitted bool
	undo      bool     // its cancel is on the edge's disk
	taken     uint64   // the highest outbox position of the id that the edge has taken
	sentIn    [16]byte // the ledger's epoch in which it was sent first
}

func (w *world) policy() ledger.Policy {
	return ledger.Policy{Idempotent: w.idempotent, PendingMax: ledger.PendingMax}
}

func (w *world) lease() ledger.Lease {
	return ledger.Lease{Owner: [16]byte{w.owner}, Until: time.Hour}
}

// step runs a step as an engine does, and checks what every commit must keep.
func (w *world) step(id tideover.ID, do func(*ledger.View) ledger.Decision) ledger.Decision {
	ids := append([]tideover.ID{id}, ledger.Others(w.submits[id].Request)...)
	v := &ledger.View{Now: w.now, History: w.history, Store: w.store}
	for _, i := range ids {
		r, ok := w.rows[i]
		if !ok {
			r.ID = i
		}
		v.Rows = append(v.Rows, r)
	}
	dec := do(v)
	drawn := uint64(0)
	for _, r := range v.Rows {
		was := w.rows[r.ID]
		if r.State == tideover.RowNone {
			continue
		}
		if !tideover.RowMay(was.State, r.State) && was.State != tideover.RowNone {
			// Several moves of one step are each in the table; from end to end there must be a way.
			if !w.reachable(was.State, r.State) {
				w.Fatalf("%s went from %q to %q", r.ID, was.State, r.State)
			}
		}
		if r.HubSeq != was.HubSeq {
			drawn++
			if r.HubSeq <= was.HubSeq && !w.telling || r.HubSeq > v.Store.HubSeq {
				w.Fatalf("%s: outbox position %d after %d", r.ID, r.HubSeq, was.HubSeq)
			}
		}
		a := r.Account
		if a.Refunding < 0 || a.Refunded < 0 || !w.amnesic(&v.Store) && (a.Refunding+a.Refunded > a.Approved || a.Reversed && a.Refunded+a.Refunding > 0) {
			w.Fatalf("%s: account %+v", r.ID, a)
		}
		w.rows[r.ID] = r
	}
	if v.Store.HubSeq-w.store.HubSeq != drawn && !w.telling {
		w.Fatalf("%d outbox positions for %d ends", v.Store.HubSeq-w.store.HubSeq, drawn)
	}
	w.store = v.Store
	return dec
}

func (w *world) reachable(from, to tideover.RowState) bool {
	for _, t := range tideover.RowTransitions() {
		if t.From == from && tideover.RowMay(t.To, to) {
			return true
		}
	}
	return false
}

// hear has the edge hear the present end of an id, if there is one: its own table must allow it.
func (w *world) hear(id tideover.ID) {
	r, e := w.rows[id], w.edge[id]
	if !w.greeted || !r.Ended() || r.HubSeq == 0 || r.HubSeq == e.heard || e.state == tideover.StateNone {
		return
	}
	if r.HubSeq < e.taken || r.HubSeq == e.taken && e.state.Final() {
		return // it has that end, or a newer one
	}
	if e.undo && r.Outcome.Result == tideover.StateApproved && !r.Confirmation().Asked {
		return // not believed: it was decided before the hub knew of the cancel
	}
	if e.state.Final() && !e.submitted && !r.Tombstone {
		return // the edge has told an end, and the ledger does not know yet: it takes no other, and the hub keeps it
	}
	told, ok := tideover.Told(r.Outcome.Result)
	if !ok {
		w.Fatalf("%s ends as %v", id, r.Outcome.Result)
	}
	next, err := tideover.Next(e.state, told)
	if err != nil && w.store.Replay {
		return // not taken: the edge tells its own end again yet
	}
	if err != nil {
		w.Fatalf("%s: %v (row %+v)", id, err, r)
	}
	e.state, e.heard, e.taken, e.undo = next, r.HubSeq, r.HubSeq, false
	w.given(id, r)
}

// submit sends a copy of an id, perhaps one that was made before the edge's last start.
func (w *world) submit(id tideover.ID) {
	s, e := w.submits[id], w.edge[id]
	if !w.greeted || e.undo || e.state == tideover.StateNone || e.state.Final() && (!e.submitted || w.store.Replay) {
		return // not accepted, or ended by the edge itself: never sent
	}
	s.Again = w.lost(e)
	e.send(w.history.Epoch())
	if !e.state.Final() {
		e.heard = 0
	}
	inc := w.store.Incarnation
	if !w.calm && rapid.IntRange(0, 9).Draw(w.T, "old incarnation") == 0 {
		inc = [16]byte{0xee}
	}
	known := w.rows[id].State != tideover.RowNone
	d := w.step(id, func(v *ledger.View) ledger.Decision { return v.Claim(s, inc, w.lease()) })
	if inc != w.store.Incarnation && !known && d.Verdict != ledger.Refuse {
		w.Fatalf("an earlier incarnation claimed %s", id)
	}
}

func (w *world) cancel(id tideover.ID) {
	e := w.edge[id]
	if next, err := tideover.Next(e.state, tideover.CauseUndo); err != nil || !w.greeted {
		return
	} else if w.submits[id].Request.Kind == tideover.KindReversal {
		return
	} else {
		e.state = next
	}
	e.undo, e.heard = true, 0
	w.recancel(id)
}

func (w *world) recancel(id tideover.ID) {
	e := w.edge[id]
	if e.state != tideover.StateReversing || !w.greeted {
		return
	}
	s, before := w.submits[id], w.rows[id]
	m := cancelOf(s)
	m.Again = w.lost(e)
	e.send(w.history.Epoch()) // something of it has left
	d := w.step(id, func(v *ledger.View) ledger.Decision { return v.Cancel(m) })
	if d.Verdict == ledger.Carry && s.Request.Kind != tideover.KindReversal && before.Account.Refunded == 0 {
		w.cancelled[id] = true
	}
}

// wipe takes an edge's record of an id away. Its till presses again; what the outbox holds is adopted, the rest, and what was
// acknowledged before, looks new.
func (w *world) wipe(id tideover.ID) {
	r := w.rows[id]
	if !w.greeted || w.restored {
		return
	}
	w.copy = nil // a router and a ledger that both have lost the same are beyond this model
	if r.Ended() && r.HubSeq != 0 && !rapid.Bool().Draw(w.T, "acknowledged before") {
		w.edge[id] = &edgeView{state: r.Outcome.Result, heard: r.HubSeq, submitted: true, taken: r.HubSeq, sentIn: w.history.Epoch()}
		return
	}
	w.edge[id] = &edgeView{state: tideover.StateQueued, heard: r.HubSeq} // not said again unless it is asked for
}

// bury sends a tombstone for what never left the edge.
func (w *world) bury(id tideover.ID) {
	e := w.edge[id]
	if !w.greeted || e.submitted || e.state != tideover.StateQueued && !e.state.Final() || w.submits[id].Request.Kind != tideover.KindSale {
		return
	}
	if e.state == tideover.StateQueued {
		e.state = rapid.SampledFrom([]tideover.State{tideover.StateExpired, tideover.StateCancelled}).Draw(w.T, "told")
	}
	as := e.state
	d := w.step(id, func(v *ledger.View) ledger.Decision {
		return v.Expire(wire.Expire{Submit: w.submits[id], Outcome: as})
	})
	if d.Verdict != ledger.Wait && w.rows[id].HubSeq == e.heard {
		e.heard = 0 // it is answered by the end, if there is one
	}
}

// begin starts what a row needs, if nothing of it is under way.
func (w *world) begin(id tideover.ID) {
	r := w.rows[id]
	if w.acts[id] != nil {
		return
	}
	kind := r.Next([16]byte{w.owner})
	a := &act{kind: kind, fence: r.Fence}
	switch kind {
	case ledger.ActNone:
		return
	case ledger.ActUndo:
		w.step(id, (*ledger.View).Undo)
		return
	case ledger.ActCall:
		if ok, _ := r.MayCall(w.lease(), r.Fence, w.now, 0, time.Second); !ok {
			w.step(id, func(v *ledger.View) ledger.Decision { return v.Uncalled(r.Fence, w.lease()) })
			return
		}
		a.answer = w.call(id)
	case ledger.ActAsk:
		a.answer = w.ask(id)
	case ledger.ActReverse:
		a.answer = w.reverse(id)
	}
	w.acts[id] = a
}

// end records what is under way.
func (w *world) end(id tideover.ID) {
	a := w.acts[id]
	if a == nil {
		return
	}
	delete(w.acts, id)
	w.step(id, func(v *ledger.View) ledger.Decision {
		if a.kind == ledger.ActReverse {
			return v.RecordReverse(a.answer, w.policy())
		}
		return v.Record(a.fence, a.answer, a.kind == ledger.ActAsk, w.policy(), w.lease())
	})
}

// crash ends the hub's process and starts another one.
func (w *world) crash() {
	w.owner++
	clear(w.acts)
	w.open(false)
	for _, id := range w.order {
		if w.rows[id].State != tideover.RowNone {
			w.step(id, func(v *ledger.View) ledger.Decision { v.Lapse([16]byte{w.owner}); return ledger.Decision{} })
		}
	}
}

// restart begins a new process of the edge.
func (w *world) restart() {
	w.incarnation++
	w.greeted = false
	for _, id := range w.order {
		if e := w.edge[id]; e.state != tideover.StateNone && !e.state.Final() {
			e.state, _ = tideover.Next(e.state, tideover.CauseReopened)
			e.submitted = true // as far as the new process knows
		}
	}
}

// Random interleavings of copies, cancels, tombstones, calls, lost and late answers, crashes of either side and the passing of time
// never execute an id twice, never repeat a call after an answer, tell each edge only what its own table allows, and come to one
// definite end that agrees with the platform.
func TestLedger_AnyInterleavingEndsOnceAndDefinitely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		pick := rapid.SampledFrom(w.order)
		t.Repeat(map[string]func(*rapid.T){
			"submit": func(t *rapid.T) { w.submit(pick.Draw(t, "id")) },
			"cancel": func(t *rapid.T) { w.cancel(pick.Draw(t, "id")) },
			"bury":   func(t *rapid.T) { w.bury(pick.Draw(t, "id")) },
			"begin":  func(t *rapid.T) { w.begin(pick.Draw(t, "id")) },
			"end":    func(t *rapid.T) { w.end(pick.Draw(t, "id")) },
			"work": func(t *rapid.T) {
				id := pick.Draw(t, "id")
				for range rapid.IntRange(1, 4).Draw(t, "times") {
					w.begin(id)
					w.end(id)
				}
			},
			"hear":    func(t *rapid.T) { w.hear(pick.Draw(t, "id")) },
			"crash":   func(*rapid.T) { w.crash() },
			"restart": func(*rapid.T) { w.restart() },
			"wipe":    func(t *rapid.T) { w.wipe(pick.Draw(t, "id")) },
			"greet":   func(*rapid.T) { w.greet() },
			"replay":  func(*rapid.T) { w.replayOne() },
			"backup":  func(*rapid.T) { w.backup() },
			"restore": func(t *rapid.T) { w.restore(rapid.Bool().Draw(t, "marked")) },
			"pass":    func(t *rapid.T) { w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "s")) * time.Second) },
			"arrive": func(t *rapid.T) {
				if len(w.travelling) > 0 {
					w.arrive(w.travelling[0])
					w.travelling = w.travelling[1:]
				}
			},
			"": func(*rapid.T) { w.check(false) },
		})
		w.settle()
		w.check(true)
	})
}

func newWorld(t *rapid.T) *world {
	w := &world{
		T: t, idempotent: rapid.Bool().Draw(t, "idempotent"), now: start, owner: 1, rows: map[tideover.ID]ledger.Row{},
		submits: map[tideover.ID]wire.Submit{}, acts: map[tideover.ID]*act{}, platform: map[tideover.ID]*paid{}, edge: map[tideover.ID]*edgeView{},
		store: ledger.Store{Name: store}, cancelled: map[tideover.ID]bool{},
		line: line{positions: map[uint64]told{}, incarnation: 1},
	}
	w.open(false)
	for _, s := range []wire.Submit{
		sale, refund, reversal, submit("refund2", undoing(tideover.KindRefund, 900)), submit("reversal2", undoing(tideover.KindReversal, 1299)),
		submit("sale2", nil), submit("advice", func(s *wire.Submit) { s.Request.Kind, s.ExpiresAt = tideover.KindAdvice, 0 }),
	} {
		w.submits[s.ID] = s
		// Few ids meet more often than many.
		if s.ID == sale.ID || rapid.IntRange(0, 2).Draw(t, "part of it") == 0 {
			w.order = append(w.order, s.ID)
			w.edge[s.ID] = &edgeView{state: tideover.StateQueued}
		}
	}
	return w
}

// settle lets everything come to its end without further faults.
func (w *world) settle() {
	w.calm = true
	for _, id := range w.travelling {
		w.arrive(id)
	}
	for range 60 {
		w.greet()
		for w.store.Replay {
			w.replayOne()
		}
		for _, id := range w.order {
			if e := w.edge[id]; e.state == tideover.StateReversing {
				w.recancel(id)
			} else if e.state.Final() && !e.submitted && (!w.rows[id].Tombstone || e.taken == 0) {
				w.bury(id)
			} else {
				w.submit(id)
			}
			w.end(id)
			w.begin(id)
			w.end(id)
			w.hear(id)
		}
		w.now = w.now.Add(5 * time.Second)
	}
}

// check is the oracle.
func (w *world) check(over bool) {
	if w.amnesic(&w.store) {
		return // what it has may be older than what was told
	}
	for _, id := range w.order {
		p, r, e := w.at(id), w.rows[id], w.edge[id]
		if p.executions > 1 || p.reversals > p.executions {
			w.Fatalf("%s: executed %d times, reversed %d times", id, p.executions, p.reversals)
		}
		if w.restored && !over {
			continue // what the lost ledger had begun to undo, its copy does not know of until it is asked again
		}
		if r.Ended() {
			stays := p.executions - p.reversals
			if r.Outcome.Result == tideover.StateApproved && p.wrong {
				w.Fatalf("%s is approved over another amount", id)
			}
			if w.cancelled[id] && r.Outcome.Result == tideover.StateApproved {
				w.Fatalf("%s was cancelled and is approved", id)
			}
			kept := r.Outcome.Result == tideover.StateApproved && r.Kind() != tideover.KindReversal
			if kept != (stays == 1) {
				w.Fatalf("%s ends as %v, and the platform has executed it %d times", id, r.Outcome.Result, stays)
			}
		}
		if !over {
			continue
		}
		if w.forPerson() {
			return
		}
		if !r.Ended() && r.State != tideover.RowNone {
			w.Fatalf("%s has no end: %s", id, describe(r))
		}
		if r.State == tideover.RowNone && !e.state.Final() || r.Ended() && e.state != r.Outcome.Result {
			w.Fatalf("%s: the edge has %v, the ledger %s", id, e.state, describe(r))
		}
	}
	if over {
		w.checkAccount()
	}
}

// forPerson says whether a tombstone came for a sale that was refunded: no machine can put that right, nor what hangs on it.
func (w *world) forPerson() bool {
	for _, r := range w.rows {
		if r.Tombstone && r.State == tideover.RowManual {
			return true
		}
	}
	return false
}

// checkAccount: what stays of a sale and its refunds is never negative.
func (w *world) checkAccount() {
	net := map[bool]int64{}
	for _, id := range w.order {
		p, r := w.at(id), w.submits[id].Request
		net[r.Kind == tideover.KindRefund] += int64(p.executions-p.reversals) * r.Amount * map[bool]int64{true: 1, false: 0}[id == sale.ID || r.Kind == tideover.KindRefund]
	}
	if net[true] > net[false] {
		w.Fatalf("%d was refunded of %d", net[true], net[false])
	}
}

func describe(r ledger.Row) string {
	return fmt.Sprintf("%q (%s), end as %v, cancel asked %v, tombstone %v, outcome %+v", r.State, r.Why, r.EndAs, r.CancelAsked, r.Tombstone, r.Outcome)
}
