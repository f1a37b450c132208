package daemon

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/queue"
	"tideover/terminal"
	"tideover/wire"
)

// TestSession_TellsARestoredHubWhatItHasLost: the ends that it had told, those first that others are accounted under; the refunds that have
// no end; then that this was all, and anything that is new.
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
	all := func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return slices.ContainsFunc(hub.heard, func(m any) bool { _, ok := m.(wire.Replayed); return ok })
	}
	soon(t, func() bool { return len(waiting()) >= 3 && all() }) // the open one twice: told of, and then carried

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
	// That it was all and what is new come on streams of their own, of which either may be heard first: a hub lets the new refund wait for that.
	order := []int{max(replay(sold.ID), replay(lost.ID)), replay(back.ID), submit(open.ID, true), min(replayed, submit(fresh.ID, false))}
	if !slices.IsSorted(order) || order[0] < 0 || replay(sold.ID) < 0 || replay(lost.ID) < 0 {
		t.Errorf("heard in the order %v: the sales' ends, the refund's end, the open refund; then that it was all, and the new one", order)
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
	h.welcome(t, wire.Welcome{Gap: true}) // another router sold the original
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

// TestSession_AHeldRefundKeepsNobodyFromSelling: a technician holds it back, so a restored hub is not told of it by sending it.
func TestSession_AHeldRefundKeepsNobodyFromSelling(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{Gap: true}) // another router sold the original
	h.press(t, "held", tideover.Request{Kind: tideover.KindRefund, Amount: 200, Currency: "CNY", ExpiresIn: 45 * time.Second, Original: tideover.ID{1}})
	h.stop()
	h.open(t) // an earlier process may have sent it
	p := mustNext(t, h)
	if _, err := h.queue.Hold(t.Context(), p.ID, edge.By{Who: "uid 0"}); err != nil {
		t.Fatal(err)
	}
	h.queue.Back(p.ID, 0)
	seq, _ := h.queue.Head()
	hub := &fakeHub{welcome: wire.Welcome{LostBefore: seq, Replay: true}, answer: func(any) []any { return nil }}
	h.connect(t, hub)
	if sent := hub.submits(); len(sent) != 0 {
		t.Errorf("what is held is sent: %+v", sent)
	}
}

// TestSession_AnUndoingOfARestoredJournalIsAskedAbout, and not sent, however much the hub has lost: it may have ended in the journal that was
// lost.
func TestSession_AnUndoingOfARestoredJournalIsAskedAbout(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{Gap: true}) // another router sold the original
	h.press(t, "old", tideover.Request{Kind: tideover.KindRefund, Amount: 200, Currency: "CNY", ExpiresIn: 45 * time.Second, Original: tideover.ID{1}})
	h.stop()
	h.open(t)
	seq, _ := h.queue.Head()
	hub := &fakeHub{
		welcome: wire.Welcome{LostBefore: seq, Replay: true, AnchorSeq: seq + 1<<30, AnchorHead: [32]byte{5}},
		answer:  func(any) []any { return []any{wire.Progress{}} },
	}
	h.connect(t, hub)
	soon(t, func() bool { return h.queue.Stats().ByState[tideover.StateManual] == 1 })
	if sent := hub.submits(); len(sent) != 0 {
		t.Errorf("it is sent: %+v", sent)
	}
}

// TestSession_ACopyIsKnownWhereTheHubHasHeardNothingNewer: in an outage a refund is stored, a backup is made, and the refund is cancelled for
// certain, since nothing of it has left. The copy has it open again, and the hub's head is on its chain.
func TestSession_ACopyIsKnownWhereTheHubHasHeardNothingNewer(t *testing.T) {
	h := newHouse(t)
	seq, head := h.queue.Head()
	h.welcome(t, wire.Welcome{AnchorSeq: seq, AnchorHead: head, Gap: true}) // another router sold the original
	h.press(t, "k", tideover.Request{Kind: tideover.KindRefund, Amount: 200, Currency: "CNY", ExpiresIn: 45 * time.Second, Original: tideover.ID{1}})
	copied := filepath.Join(t.TempDir(), "copy.db")
	made, err := backupOf(copied, func() (queue.Copied, error) { return h.queue.Backup(t.Context(), copied) })
	if err != nil || made.Transactions != 1 {
		t.Fatalf("%+v, %v", made, err)
	}
	h.stop()
	writeFile(t, h.path, readFile(t, copied))
	for range 2 { // it is known after another start, too
		h.open(t)
		hub := &fakeHub{welcome: wire.Welcome{AnchorSeq: seq, AnchorHead: head}, answer: func(any) []any { return []any{wire.Progress{}} }}
		h.connect(t, hub)
		soon(t, func() bool { return h.queue.Stats().ByState[tideover.StateManual] == 1 })
		if sent := hub.submits(); len(sent) != 0 {
			t.Errorf("it is sent: %+v", sent)
		}
		if !h.session.Past().Restored {
			t.Error("the copy is taken for the journal")
		}
		h.stop()
	}
	h.open(t)
}

// TestSession_AHubThatIsRestoredAgainIsToldAnew: its welcome comes while what the one before it asked for is still being told.
func TestSession_AHubThatIsRestoredAgainIsToldAnew(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	older, newer := h.sell(t, till1, "older", 1299), h.sell(t, till1, "newer", 500)
	for position, x := range map[uint64]tideover.Transaction{2: older, 4: newer} {
		o := tideover.Outcome{Result: tideover.StateApproved, Code: "00"}
		if err := h.session.Confirm(wire.Confirmation{ID: x.ID, HubSeq: position, Outcome: o}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.queue.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	seq, _ := h.queue.Head()
	hub := &fakeHub{welcome: wire.Welcome{LostBefore: seq, LostFrom: 3, Replay: true}}
	again := wire.Welcome{Ledger: h.session.ledger, LedgerTime: tideover.MillisOf(time.Now()), LostBefore: seq, LostFrom: 1, Replay: true}
	var once sync.Once
	hub.answer = func(msg any) []any {
		m := msg.(wire.Replay)
		once.Do(func() {
			if err := h.session.Welcome("hub:8443", h.session.Hello(), again); err != nil {
				t.Error(err)
			}
			if err := h.session.CaughtUp(wire.CaughtUp{}); err != nil {
				t.Error(err)
			}
		})
		return []any{wire.Confirmation{ID: m.Submit.ID, HubSeq: m.HubSeq, Outcome: m.Outcome}}
	}
	h.connect(t, hub)
	soon(t, func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return slices.ContainsFunc(hub.heard, func(m any) bool { r, ok := m.(wire.Replay); return ok && r.Submit.ID == older.ID })
	})
	soon(t, func() bool { return h.session.Past().Caught })
}

// TestSession_TellsARestoredHubAfterItsOutbox: what a hub still knows is on disk before the edge says that it has caught up.
func TestSession_TellsARestoredHubAfterItsOutbox(t *testing.T) {
	h := newHouse(t)
	w := wire.Welcome{Ledger: h.session.ledger, LedgerTime: tideover.MillisOf(time.Now()), LostBefore: 1, Replay: true}
	if err := h.session.Welcome("hub:8443", h.session.Hello(), w); err != nil {
		t.Fatal(err)
	}
	if _, owed := h.session.owed(); owed {
		t.Error("it is told before its outbox is home")
	}
	if err := h.session.CaughtUp(wire.CaughtUp{}); err != nil {
		t.Fatal(err)
	}
	if _, owed := h.session.owed(); !owed || h.session.Past().Caught {
		t.Error("it is not told")
	}
}
