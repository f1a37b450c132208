package desk_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/ledger"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// backup copies the ledger as `tideover-hub ledger backup` does; put restores such a copy and starts a hub on it.
func (h *house) backup() string {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "copy.db")
	if err := h.ledger.Backup(path); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *house) put(copied string) {
	h.t.Helper()
	h.end()
	if err := os.Rename(copied, h.path); err != nil {
		h.t.Fatal(err)
	}
	h.start()
}

// memory is what an edge has on its disk of the ends that it was told.
type memory struct {
	h       *house
	epoch   [16]byte
	highest uint64
	ends    []wire.Replay
}

// told notes an end as an edge does that has taken it.
func (m *memory) told(s wire.Submit, c wire.Confirmation) {
	m.epoch, m.highest = m.h.ledger.History().Epoch(), max(m.highest, c.HubSeq)
	s.Request.Payload, s.Request.Instrument = nil, ""
	m.ends = append(m.ends, wire.Replay{Submit: s, HubSeq: c.HubSeq, Outcome: c.Outcome, Corrected: c.Corrected})
}

func (m *memory) hello() wire.Welcome {
	m.h.t.Helper()
	w, err := m.h.desk.Hello(m.h.t.Context(), store, wire.Hello{
		Incarnation: current, Seq: 50, HaveThrough: m.highest, Highest: m.highest, Epoch: m.epoch, Journal: [16]byte{7},
	})
	if err != nil {
		m.h.t.Fatal(err)
	}
	return w
}

func (h *house) replay(m wire.Replay) *heard {
	l := newHeard(h.t)
	h.desk.Replay(h.t.Context(), store, m, l.tell)
	return l
}

func (h *house) cancelAgain(s wire.Submit) *heard {
	l := newHeard(h.t)
	m := wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, Again: true}
	h.desk.Cancel(h.t.Context(), store, current, m, l.tell)
	return l
}

// A hub is put back to yesterday's copy, on a platform of either guarantee. What the lost hub had told comes home by replay, with its
// accounts; what it had executed without the edge hearing of it is undone where it is cancelled, and not executed again where it is sent again.
func TestDesk_RestoredFromACopy(t *testing.T) {
	for name, repeats := range map[string]bool{"idempotent": false, "status only": true} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, sandbox.Options{Repeats: repeats}, nil)
			edge := &memory{h: h}
			edge.hello()
			kept, lost, unheard, again := sale("kept"), sale("lost"), sale("unheard"), sale("again")
			edge.told(kept, h.submit(kept).confirmation())
			copied := h.backup()
			edge.told(lost, h.submit(lost).confirmation())
			refund := request("refund", tideover.KindRefund, 1000, kept.ID)
			edge.told(refund, h.submit(refund).confirmation())
			gone := sale("gone")
			h.submit(gone).confirmation()
			edge.told(gone, h.cancel(gone).confirmation())
			h.submit(unheard).confirmation()
			h.submit(again).confirmation()

			h.put(copied)
			w := edge.hello()
			if w.LostBefore != 50 || w.LostFrom != 1 || !w.Replay || w.GivenOut != edge.highest {
				t.Fatalf("%+v", w)
			}
			// The till asks for more money back before the hub knows of the first refund, and for the lost sale's.
			more, theirs := h.submit(request("more", tideover.KindRefund, 500, kept.ID)), h.submit(request("theirs", tideover.KindRefund, 500, lost.ID))
			if c := h.cancelAgain(unheard).confirmation(); c.Outcome.Result != tideover.StateReversed || !c.Asked || c.HubSeq <= edge.highest {
				t.Errorf("a cancel of what was executed and lost: %+v", c)
			}
			again.Again = true
			if c := h.submit(again).confirmation(); c.Outcome.Result != tideover.StateApproved {
				t.Errorf("sent again: %+v", c)
			}
			for range 2 {
				for _, m := range edge.ends[1:] {
					if c := h.replay(m).confirmation(); c.HubSeq != m.HubSeq || c.Outcome.Result != m.Outcome.Result {
						t.Errorf("told again at %d: %+v", m.HubSeq, c)
					}
				}
			}
			if got := len(more.all) + len(theirs.all); got != 0 {
				t.Errorf("a refund was answered before the replay was over: %v, %v", more.all, theirs.all)
			}
			if err := h.desk.Replayed(t.Context(), store, current); err != nil {
				t.Fatal(err)
			}
			if c := more.confirmation(); c.Outcome.Code != string(tideover.CodeRefundExceedsOriginal) {
				t.Errorf("a refund beyond what is left: %+v", c)
			}
			if c := theirs.confirmation(); c.Outcome.Result != tideover.StateApproved {
				t.Errorf("a refund of the lost sale: %+v", c)
			}
			row, err := h.ledger.Row(store, lost.ID)
			if err != nil || row.Account != (ledger.Account{Approved: 1299, Refunded: 500}) {
				t.Errorf("%+v, %v", row.Account, err)
			}
			if w := edge.hello(); w.Replay || w.LostBefore != 50 {
				t.Errorf("%+v", w)
			}
			for _, s := range []wire.Submit{kept, lost, refund, gone, unheard, again} {
				if c := h.platform.Count(s.ID); c.Executions != 1 || c.Calls != 1 {
					t.Errorf("%s: %+v", s.Key, c)
				}
			}
			h.sound()
		})
	}
}

// What was open in the copy is asked about before any edge is heard, and gets a position that the lost hub had given to something else.
func TestDesk_PositionsAreNotGivenOutTwice(t *testing.T) {
	h := newHouse(t, sandbox.Options{Behaviour: sandbox.Behaviour{Pending: 1, PendingMS: 400}}, nil)
	edge := &memory{h: h}
	open, other := sale("open"), sale("other")
	l := h.submit(open)
	l.progress(tideover.StatePending)
	copied := h.backup()
	h.control(func(b *sandbox.Behaviour) { b.Pending = 0 })
	edge.told(other, h.submit(other).confirmation())
	l.confirmation()

	h.put(copied)
	for {
		row, err := h.ledger.Row(store, open.ID)
		if err != nil {
			t.Fatal(err)
		}
		if row.Ended() {
			if row.HubSeq != edge.highest {
				t.Fatalf("at %d; the test wants %d", row.HubSeq, edge.highest)
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if w := edge.hello(); !w.Replay || w.LostFrom != 0 {
		t.Fatalf("%+v", w)
	}
	page, err := h.desk.Outbox(t.Context(), store, 0, 10)
	if err != nil || len(page) != 1 || page[0].ID != open.ID || page[0].HubSeq <= edge.highest {
		t.Fatalf("%+v, %v", page, err)
	}
	h.sound()
}

func TestDesk_SettlesOnce(t *testing.T) {
	h := newHouse(t, sandbox.Options{Repeats: true}, nil)
	s := sale("a")
	h.submit(s).confirmation()
	h.control(func(b *sandbox.Behaviour) { b.LoseReverse = 1 })
	h.cancel(s).progress(tideover.StateManual)
	settle := func(as tideover.State) wire.Confirmation {
		l := newHeard(t)
		h.desk.Settle(t.Context(), store, wire.Settle{Submit: s, As: as, By: "lin", Reason: "statement"}, l.tell)
		return l.confirmation()
	}
	first := settle(tideover.StateApproved)
	if first.Outcome.Result != tideover.StateApproved || first.Outcome.Code != ledger.CodeSettled || !first.Asked || first.HubSeq != 2 {
		t.Errorf("%+v", first)
	}
	if second := settle(tideover.StateReversed); second != first {
		t.Errorf("settled twice: %+v", second)
	}
	l := newHeard(t)
	h.desk.Settle(t.Context(), store, wire.Settle{Submit: wire.Submit{ID: s.ID, TerminalUID: "t2", Terminal: "t", Key: "a"}, As: tideover.StateApproved}, l.tell)
	if r := l.refused(); r.Reason != wire.ReasonMalformed {
		t.Errorf("%+v", r)
	}
}

// A desk that stops gives back the claims under which it has not called; the next process executes them all the same, once.
func TestDesk_GivesBackWhatItHasNotCalled(t *testing.T) {
	h := newHouse(t, sandbox.Options{Behaviour: sandbox.Behaviour{LatencyMS: 100}}, func(c *desk.Config) { c.Timeout = 5 * time.Second })
	c := h.config
	c.Ledger = h.ledger
	c.Platform = h.platform
	second := desk.New(c)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	var all []wire.Submit
	for i := range 1500 { // more than may be called at once
		s := request("k"+string(rune('a'+i%26))+string(rune('a'+i/26)), tideover.KindAdvice, 100, tideover.ID{})
		all = append(all, s)
	}
	taken := make(chan struct{}, len(all))
	for _, s := range all {
		go func() {
			second.Submit(context.Background(), store, current, s, func(any) {})
			taken <- struct{}{}
		}()
	}
	for range all {
		<-taken
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	given := 0
	for _, s := range all {
		row, err := h.ledger.Row(store, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if row.State == tideover.RowClaimed {
			if row.Owner != [16]byte{} || h.platform.Count(s.ID).Calls != 0 {
				t.Fatalf("claimed by %x, called %d times", row.Owner, h.platform.Count(s.ID).Calls)
			}
			given++
		}
	}
	if given == 0 {
		t.Fatal("every claim was called in time: the test shows nothing")
	}
	h.restart()
	h.hello(current)
	for _, s := range all {
		if c := h.ask(s).confirmation(); c.Outcome.Result != tideover.StateApproved {
			t.Fatalf("%+v", c)
		}
		if n := h.platform.Count(s.ID).Executions; n != 1 {
			t.Fatalf("executed %d times", n)
		}
	}
	h.sound()
}
