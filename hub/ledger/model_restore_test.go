package ledger_test

import (
	"maps"
	"slices"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// line is what there is between edge and ledger: who has heard whom, and which copies there are of the ledger.
type line struct {
	incarnation byte
	epochs      byte
	greeted     bool     // the edge has heard the welcome of this hub's process
	epoch       [16]byte // the newest that the edge has on its disk
	copy        *copied
	telling     bool          // the step under way is a hello or a replay
	todo        []tideover.ID // ends to be told again
	from        uint64        // those above this position
	positions   map[uint64]told
	restored    bool // it ever was
}

// copied is a ledger as it was.
type copied struct {
	rows    map[tideover.ID]ledger.Row
	store   ledger.Store
	history ledger.History
}

// told is an end that the edge has heard.
type told struct {
	id tideover.ID
	as tideover.State
}

// given holds that no outbox position is ever given to two ends.
func (w *world) given(id tideover.ID, r ledger.Row) {
	is := told{id, r.Outcome.Result}
	if was, ok := w.positions[r.HubSeq]; ok && was != is {
		w.Fatalf("position %d is %s's end as %v, and was %s's as %v", r.HubSeq, is.id, is.as, was.id, was.as)
	}
	w.positions[r.HubSeq] = is
}

func (w *world) amnesic(s *ledger.Store) bool {
	return s.Replay || s.Restored != w.history.Restored || !w.greeted && w.epoch != w.history.Epoch()
}

// lost says whether an earlier copy of a transaction may have gone to a ledger that has lost it.
func (w *world) lost(e *edgeView) bool { return e.submitted && e.sentIn != w.history.Epoch() }

func (e *edgeView) send(epoch [16]byte) {
	if !e.submitted {
		e.submitted, e.sentIn = true, epoch
	}
}

// open begins a process of the hub.
func (w *world) open(marked bool) {
	w.epochs++
	w.history.Epochs = append(slices.Clip(w.history.Epochs), [16]byte{w.epochs})
	if marked {
		w.history.Restored = w.history.Epoch()
	}
	w.greeted = false
}

// greet says hello, and hears the welcome, if it is not lost.
func (w *world) greet() {
	if w.greeted {
		return
	}
	h := wire.Hello{Incarnation: [16]byte{w.incarnation}, Seq: uint64(w.incarnation), Journal: [16]byte{1}, Epoch: w.epoch}
	for at := range w.positions {
		h.Highest = max(h.Highest, at)
	}
	h.HaveThrough = h.Highest
	var welcome wire.Welcome
	w.tell(w.order[0], func(v *ledger.View) ledger.Decision {
		var err error
		if welcome, err = v.Hello(h); err != nil {
			w.Fatal(err)
		}
		return ledger.Decision{}
	})
	for _, id := range w.order {
		w.tell(id, func(v *ledger.View) ledger.Decision { v.Retell(); return ledger.Decision{} })
	}
	w.store.Reused = 0
	if w.luck(3, "welcome") == 1 {
		return
	}
	w.greeted = true
	w.epoch = welcome.Epoch
	w.from = welcome.LostFrom
	w.todo = nil
	if welcome.Replay {
		w.todo = slices.Clone(w.order)
	}
}

func (w *world) tell(id tideover.ID, do func(*ledger.View) ledger.Decision) ledger.Decision {
	w.telling = true
	defer func() { w.telling = false }()
	return w.step(id, do)
}

// replayOne tells one end again, in any order; after the last one it says so.
func (w *world) replayOne() {
	if !w.greeted || !w.store.Replay {
		return
	}
	if len(w.todo) == 0 {
		w.tell(w.order[0], func(v *ledger.View) ledger.Decision {
			v.Replayed([16]byte{w.incarnation})
			return ledger.Decision{}
		})
		return
	}
	i := w.luck(len(w.todo)-1, "which")
	id := w.todo[i]
	if w.luck(4, "doubled") != 1 {
		w.todo = slices.Delete(w.todo, i, i+1)
	}
	e, s := w.edge[id], w.submits[id]
	if !e.state.Final() || e.taken <= w.from {
		return // it is open, or its end is in the copy
	}
	s.Request.Payload = nil
	d := w.tell(id, func(v *ledger.View) ledger.Decision {
		return v.Replay(wire.Replay{Submit: s, HubSeq: e.taken, Outcome: tideover.Outcome{Result: e.state}})
	})
	if d.Verdict != ledger.Carry {
		w.Fatalf("%s is told again: %+v", id, d)
	}
	if r := w.rows[id]; r.Ended() {
		w.given(id, r)
	}
}

func (w *world) backup() {
	store, history := w.store, w.history
	store.Past = slices.Clone(store.Past)
	w.copy = &copied{maps.Clone(w.rows), store, history}
}

// restore puts the copy in the ledger's place, and starts a hub on it. The file may say that it is a copy, or not.
func (w *world) restore(marked bool) {
	c := w.copy
	if c == nil {
		return
	}
	w.rows, w.store, w.history = maps.Clone(c.rows), c.store, c.history
	w.store.Past = slices.Clone(c.store.Past)
	clear(w.acts)
	w.owner++
	w.restored = true
	for id := range w.cancelled {
		if !w.edge[id].state.Final() {
			delete(w.cancelled, id) // the edge will ask for it again
		}
	}
	w.open(marked)
	for _, id := range w.order {
		if w.rows[id].State != tideover.RowNone {
			w.step(id, func(v *ledger.View) ledger.Decision { v.Lapse([16]byte{w.owner}); return ledger.Decision{} })
		}
	}
}
