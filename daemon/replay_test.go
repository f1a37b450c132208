package daemon

import (
	"slices"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/terminal"
	"tideover/wire"
)

// TestSession_TellsARestoredHubWhatItHasLost: the ends that it had told, those first that others are accounted under; the refunds that have
// no end; that this was all; and only then anything that is new.
func TestSession_TellsARestoredHubWhatItHasLost(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	sold, lost := h.sell(t, till1, "sold", 1299), h.sell(t, till1, "lost", 500)
	back := h.press(t, "back", tideover.Request{Kind: tideover.KindRefund, Amount: 100, Currency: "CNY", ExpiresIn: 45 * time.Second, Original: sold.ID})
	open := h.press(t, "open", tideover.Request{Kind: tideover.KindRefund, Amount: 200, Currency: "CNY", ExpiresIn: 45 * time.Second, Original: sold.ID})
	fresh := h.press(t, "fresh", tideover.Request{Kind: tideover.KindRefund, Amount: 300, Currency: "CNY", ExpiresIn: 45 * time.Second, Original: sold.ID})
	for i, x := range []tideover.Transaction{back, sold, lost} {
		o := tideover.Outcome{Result: tideover.StateApproved, Code: "00"}
		if err := h.session.Confirm(wire.Confirmation{ID: x.ID, HubSeq: uint64(i + 4), Outcome: o}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.queue.Move(open.ID, tideover.CauseSent, edge.Note{Uplink: "lo"}); err != nil {
		t.Fatal(err)
	}
	if err := h.queue.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	seq, _ := h.queue.Head()
	hub := &fakeHub{welcome: wire.Welcome{LostBefore: seq, LostFrom: 3, Replay: true, GivenOut: 3}}
	hub.answer = func(msg any) []any {
		switch m := msg.(type) {
		case wire.Replay:
			return []any{wire.Confirmation{ID: m.Submit.ID, HubSeq: m.HubSeq, Outcome: m.Outcome}}
		case wire.Submit:
			return []any{wire.Progress{State: tideover.StatePending}}
		}
		return nil
	}
	h.connect(t, hub)
	waiting := func() (submits []wire.Submit) { return hub.submits() }
	soon(t, func() bool { return len(waiting()) >= 3 }) // the open one twice: told of, and then carried

	hub.mu.Lock()
	defer hub.mu.Unlock()
	at := func(what func(any) bool) int { return slices.IndexFunc(hub.heard, what) }
	replay := func(id tideover.ID) int {
		return at(func(m any) bool { r, ok := m.(wire.Replay); return ok && r.Submit.ID == id })
	}
	submit := func(id tideover.ID, again bool) int {
		return at(func(m any) bool { s, ok := m.(wire.Submit); return ok && s.ID == id && s.Again == again })
	}
	replayed := at(func(m any) bool { _, ok := m.(wire.Replayed); return ok })
	order := []int{max(replay(sold.ID), replay(lost.ID)), replay(back.ID), submit(open.ID, true), replayed, submit(fresh.ID, false)}
	if !slices.IsSorted(order) || order[0] < 0 || replay(sold.ID) < 0 || replay(lost.ID) < 0 {
		t.Errorf("heard in the order %v: the sales' ends, the refund's end, the open refund, that it was all, the new one", order)
	}
	if submit(fresh.ID, true) >= 0 || submit(open.ID, false) >= 0 {
		t.Error("what was never sent is said to have been, or the other way round")
	}
}

// press has a till ask for something.
func (h *house) press(t *testing.T, key string, r tideover.Request) tideover.Transaction {
	t.Helper()
	x, err := h.Accept(t.Context(), till1, key, terminal.OverrideNone, r)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestSession_ARestoredHubThatIsSlowKeepsNobodyFromSelling: what it has not spoken of waits for its original there.
func TestSession_ARestoredHubThatIsSlowKeepsNobodyFromSelling(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	open := h.press(t, "open", tideover.Request{Kind: tideover.KindRefund, Amount: 200, Currency: "CNY", ExpiresIn: 45 * time.Second, Original: tideover.ID{1}})
	if err := h.queue.Move(open.ID, tideover.CauseSent, edge.Note{Uplink: "lo"}); err != nil {
		t.Fatal(err)
	}
	seq, _ := h.queue.Head()
	hub := &fakeHub{welcome: wire.Welcome{LostBefore: seq, Replay: true}, answer: func(any) []any { return nil }}
	h.connect(t, hub)
	soon(t, func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return slices.ContainsFunc(hub.heard, func(m any) bool { _, ok := m.(wire.Replayed); return ok })
	})
	soon(t, func() bool { return h.session.Past().Caught })
	if asked := hub.submits(); len(asked) == 0 || !asked[0].Again {
		t.Errorf("it was not told of the refund: %+v", asked)
	}
}
