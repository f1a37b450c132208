package hub

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// past is what an edge's journal has of the hub.
type past struct {
	journal [16]byte
	epoch   [16]byte
	highest uint64
	ends    []wire.Replay
}

// greet connects as an edge with a past, and hears the outbox.
func (e *testEdge) greet(p *past) *link {
	e.t.Helper()
	conn := e.dial()
	st, err := conn.OpenStream()
	if err != nil {
		e.t.Fatal(err)
	}
	err = wire.WriteFrame(st, wire.TypeHello, wire.Hello{
		Incarnation: e.incarnation, Seq: 70, HaveThrough: p.highest, Highest: p.highest, Journal: p.journal, Epoch: p.epoch,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	l := &link{t: e.t, conn: conn, control: st}
	w, ok := l.next().(wire.Welcome)
	if !ok {
		e.t.Fatalf("hello: got %#v", w)
	}
	l.welcome, p.epoch = w, w.Epoch
	l.said, _ = l.replay()
	return l
}

// keep notes an end as an edge does, and acknowledges it.
func (p *past) keep(l *link, s wire.Submit, c wire.Confirmation) {
	l.t.Helper()
	p.highest = max(p.highest, c.HubSeq)
	p.ends = append(p.ends, wire.Replay{Submit: s, HubSeq: c.HubSeq, Outcome: c.Outcome, Corrected: c.Corrected})
	l.ack(wire.Position{ID: c.ID, HubSeq: c.HubSeq})
}

func cancelAgain(s wire.Submit) wire.Cancel {
	return wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, Again: true}
}

// put stops the hub and starts it again on a copy of its ledger, at the same address.
func (h *testHub) put(copied string) {
	h.t.Helper()
	h.config.Listen = h.ready.Listen
	if err := h.shut(); err != nil {
		h.t.Fatal(err)
	}
	image, err := os.ReadFile(copied)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.config.StateDir, fileLedger), image, 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.start()
}

// A hub is restored from a backup, twice from the same one. Its stores tell it again what they were told, what they cancel is undone and not
// merely barred, and a refund of a sale that it had lost is accounted.
func TestServer_RestoredFromABackup(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	admin := newClient(h.config.Admin)
	e, quiet := newEdge(t, h.add("shop-0001")), newEdge(t, h.add("shop-0002"))
	p, q := &past{journal: [16]byte{1}}, &past{journal: [16]byte{2}}
	quiet.greet(q)
	l := e.greet(p)
	kept, lost, unheard := e.sale("kept", 1000), e.sale("lost", 1000), e.sale("unheard", 1000)
	p.keep(l, kept, mustEnd(t, l.submit(kept), tideover.StateApproved))
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := admin.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	p.keep(l, lost, mustEnd(t, l.submit(lost), tideover.StateApproved))
	mustEnd(t, l.submit(unheard), tideover.StateApproved)
	given := p.highest + 1 // to unheard

	for round := range 2 {
		h.put(copied)
		st, err := admin.Status(t.Context())
		if err != nil || st.Well || st.RestoredAt == 0 || strings.Join(st.Forgetful, " ") != "shop-0001 shop-0002" {
			t.Fatalf("%+v, %v", st, err)
		}
		// The first welcome is not waited for: what it says must be said again.
		e.dial()
		e.greet(p)
		l = e.greet(p)
		if w := l.welcome; !w.Replay || w.LostFrom != 1 || w.LostBefore != 70 || w.Gap || w.GivenOut < p.highest {
			t.Fatalf("round %d: %+v", round, w)
		}
		if c := mustEnd(t, l.end(l.open(wire.TypeCancel, cancelAgain(unheard))), tideover.StateReversed); !c.Asked || c.HubSeq < given {
			t.Errorf("round %d: %+v", round, c)
		} else {
			p.keep(l, unheard, c)
		}
		refund := e.refund("refund", 600, lost.ID)
		refund.Again = round > 0
		waiting := l.open(wire.TypeSubmit, refund)
		for _, m := range p.ends[1:] {
			if c := mustEnd(t, l.end(l.open(wire.TypeReplay, m)), m.Outcome.Result); c.HubSeq < m.HubSeq {
				t.Errorf("round %d: told again at %d, answered at %d", round, m.HubSeq, c.HubSeq)
			}
		}
		if err := wire.WriteFrame(l.control, wire.TypeReplayed, wire.Replayed{}); err != nil {
			t.Fatal(err)
		}
		end := mustEnd(t, l.end(waiting), tideover.StateApproved)
		if c, ok := l.submit(e.refund("more", 600, lost.ID)).(wire.Confirmation); !ok || c.Outcome.Result == tideover.StateApproved {
			t.Errorf("round %d: refunded more than there was: %+v", round, c)
		}
		p.keep(l, refund, end)
		quiet.greet(q)
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		eventually(t, "the store has told", func() bool {
			st, err := admin.Status(ctx)
			return err == nil && strings.Join(st.Forgetful, " ") == "shop-0002"
		})
		cancel()
		p.ends = p.ends[:2:2] // the second time the router was put back too, to what it was told first
		p.highest = p.ends[1].HubSeq
	}
	for _, s := range []wire.Submit{kept, lost, unheard} {
		if n := h.platform.Count(s.ID); n.Executions != 1 || n.Calls != 1 {
			t.Errorf("%s: %+v", s.Key, n)
		}
	}
	if got := h.log.String(); !strings.Contains(got, "restored from a copy") || !strings.Contains(got, "the store has told again what this hub had lost") {
		t.Error("the log does not tell")
	}
}

func (e *testEdge) refund(key string, amount int64, original tideover.ID) wire.Submit {
	s := e.sale(key, amount)
	s.Request.Kind, s.Request.Original, s.Request.ExpiresIn, s.ExpiresAt = tideover.KindRefund, original, 0, 0
	s.Hash = s.Request.Hash(e.enrolled.StoreSecret[:])
	return s
}

// A person settles what the platform does not answer for; the first word counts, and it comes home like every other end.
func TestServer_APersonSettles(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	h.config.Platform.Guarantee = GuaranteeStatusOnly
	h.config.Listen = h.ready.Listen
	if err := h.shut(); err != nil {
		t.Fatal(err)
	}
	h.start()
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	s := e.sale("a", 5)
	mustEnd(t, l.submit(s), tideover.StateApproved)
	if err := h.platform.Control(func(b *sandbox.Behaviour) { b.LoseReverse = 1 }); err != nil {
		t.Fatal(err)
	}
	st := l.open(wire.TypeCancel, cancelAgain(s))
	st.SetReadDeadline(time.Now().Add(soon))
	for manual := false; !manual; {
		_, msg, err := wire.ReadFrame(st, wire.FromHub)
		if err != nil {
			t.Fatal(err)
		}
		p, ok := msg.(wire.Progress)
		manual = ok && p.State == tideover.StateManual
	}
	if status, err := newClient(h.config.Admin).Status(t.Context()); err != nil || status.Well || status.Manual != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	settle := wire.Settle{Submit: s, As: tideover.StateReversed, By: "lin", Reason: "the acquirer's statement"}
	c := mustEnd(t, l.end(l.open(wire.TypeSettle, settle)), tideover.StateReversed)
	settle.As = tideover.StateApproved
	if again := mustEnd(t, l.end(l.open(wire.TypeSettle, settle)), tideover.StateReversed); again.HubSeq != c.HubSeq {
		t.Errorf("settled twice: %+v", again)
	}
	if row, err := newClient(h.config.Admin).Transaction(t.Context(), s.ID); err != nil || !strings.Contains(row.Transactions[0].Why, "by lin: the acquirer's statement") {
		t.Errorf("%+v, %v", row, err)
	}
}

// A router that was put back to yesterday's copy hears again what it had acknowledged since: of a sale that it has as approved nothing would
// be asked. Another router with an empty journal never had it.
func TestServer_ARouterThatWasPutBackHearsAgainWhatItHadAcknowledged(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e, p := newEdge(t, h.add("shop-0001")), &past{journal: [16]byte{1}}
	l := e.greet(p)
	s := e.sale("k", 1000)
	p.keep(l, s, mustEnd(t, l.submit(s), tideover.StateApproved))
	copied := *p
	c := mustEnd(t, l.end(l.open(wire.TypeCancel, wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key})), tideover.StateReversed)
	p.keep(l, s, c)
	e.incarnation[0]++
	l = e.greet(p)
	if len(l.said) != 0 {
		t.Errorf("a plain restart is told %+v", l.said)
	}
	for range 2 { // the first answer is lost
		e.incarnation[0]++
		l = e.greet(&copied)
		if said := l.said; len(said) != 1 || said[0].HubSeq != c.HubSeq || said[0].Outcome.Result != tideover.StateReversed || said[0].Adopt == nil {
			t.Errorf("told %+v, want %+v", said, c)
		}
	}
	l.ack(wire.Position{ID: s.ID, HubSeq: c.HubSeq})
	admin := newClient(h.config.Admin)
	eventually(t, "it is acknowledged", func() bool {
		st, err := admin.Status(t.Context())
		return err == nil && st.Outbox == 0
	})
	e.incarnation[0]++
	if l = e.greet(&past{journal: [16]byte{2}}); len(l.said) != 0 || !l.welcome.Gap {
		t.Errorf("another router is told %+v, gap %v", l.said, l.welcome.Gap)
	}
}
