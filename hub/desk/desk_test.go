package desk_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/ledger"
	"tideover/hub/ledger/bolt"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

func TestDesk_SubmitEndsOnceForEverybody(t *testing.T) {
	h := newHouse(t, sandbox.Options{Behaviour: sandbox.Behaviour{LatencyMS: 50}}, nil)
	s := sale("a")
	var listeners [20]*heard
	var g sync.WaitGroup
	for i := range listeners {
		g.Go(func() { listeners[i] = h.submit(s) })
	}
	g.Wait()
	first := listeners[0].confirmation()
	if first.Outcome.Result != tideover.StateApproved || first.HubSeq != 1 || first.Adopt != nil || first.Outcome.Reference == "" {
		t.Errorf("%+v", first)
	}
	for _, l := range listeners {
		if c := l.confirmation(); c != first {
			t.Errorf("%+v is not %+v", c, first)
		}
	}
	if late := h.submit(s).confirmation(); late != first {
		t.Errorf("later: %+v", late)
	}
	if c := h.platform.Count(s.ID); c.Calls != 1 || c.Executions != 1 || c.Queries != 0 {
		t.Errorf("%+v", c)
	}
	if asked := h.ask(s).confirmation(); asked != first {
		t.Errorf("asked: %+v", asked)
	}
}

func TestDesk_OutcomeNobodyHearsIsPushedAndStaysInTheOutbox(t *testing.T) {
	h := newHouse(t, sandbox.Options{Behaviour: sandbox.Behaviour{LatencyMS: 50}}, nil)
	ctx, leave := context.WithCancel(t.Context())
	h.desk.Submit(ctx, store, current, sale("a"), func(m any) { t.Errorf("told %+v", m) })
	leave()
	for h.count() == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	page, err := h.desk.Outbox(t.Context(), store, 0, 10)
	if err != nil || len(page) != 1 || page[0].Adopt == nil || page[0].Adopt.Key != "a" {
		t.Fatalf("%+v, %v", page, err)
	}
	if err := h.desk.Ack(t.Context(), store, current, []wire.Position{{ID: page[0].ID, HubSeq: page[0].HubSeq}}); err != nil {
		t.Fatal(err)
	}
	if page, _ := h.desk.Outbox(t.Context(), store, 0, 10); len(page) != 0 {
		t.Errorf("%+v", page)
	}
	if w := h.hello([16]byte{10}); w.GivenOut != 1 || w.Ledger != h.ledger.ID() || w.LedgerTime == 0 {
		t.Errorf("%+v", w)
	}
}

func (h *house) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pushed)
}

// Whatever the platform does to a call, a sale comes to one end, and is executed once or not at all.
func TestDesk_BadPlatforms(t *testing.T) {
	for name, c := range map[string]struct {
		behaviour sandbox.Behaviour
		want      tideover.State
		calls     int // 0: any number
		corrected bool
	}{
		"declines":               {sandbox.Behaviour{Decline: 1}, tideover.StateDeclined, 1, false},
		"loses answers":          {sandbox.Behaviour{LoseAnswer: 1}, tideover.StateApproved, 1, false},
		"garbles answers":        {sandbox.Behaviour{Garble: 1}, tideover.StateApproved, 1, false},
		"hangs":                  {sandbox.Behaviour{Hang: 1}, tideover.StateApproved, 1, false},
		"is slower than we wait": {sandbox.Behaviour{LatencyMS: 500}, tideover.StateApproved, 0, false},
		"is pending":             {sandbox.Behaviour{Pending: 1, PendingMS: 150, WaitingFor: "customer"}, tideover.StateApproved, 1, false},
		"is late":                {sandbox.Behaviour{Late: 1, LateMS: 200}, tideover.StateApproved, 0, false},
		"approves too much":      {sandbox.Behaviour{WrongAmount: 1}, tideover.StateReversed, 1, true},
		"approves too much, and loses that": {
			sandbox.Behaviour{WrongAmount: 1, LoseAnswer: 1}, tideover.StateReversed, 1, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, sandbox.Options{Behaviour: c.behaviour}, nil)
			s := sale("a")
			l := h.submit(s)
			if c.behaviour.LatencyMS > 300 {
				time.Sleep(time.Second)
				h.control(func(b *sandbox.Behaviour) { b.LatencyMS = 0 })
			}
			got := l.confirmation()
			if got.Outcome.Result != c.want || got.Corrected != c.corrected {
				t.Errorf("%+v", got)
			}
			n := h.platform.Count(s.ID)
			if kept := c.want == tideover.StateApproved; (n.Net() == 1) != kept || c.calls != 0 && n.Calls != c.calls {
				t.Errorf("%+v", n)
			}
			h.sound()
		})
	}
}

func TestDesk_LostRequestsAreCalledAgainUntilTheyArrive(t *testing.T) {
	for _, f := range []sandbox.Behaviour{{LoseRequest: 0.7}, {Fail: 0.7}, {LoseRequest: 0.3, LoseAnswer: 0.3, Garble: 0.2, LoseQuery: 0.5}} {
		h := newHouse(t, sandbox.Options{Seed: 5, Behaviour: f}, nil)
		var all []*heard
		for i := range 20 {
			all = append(all, h.submit(sale(fmt.Sprint(i))))
		}
		for _, l := range all {
			if c := l.confirmation(); c.Outcome.Result != tideover.StateApproved {
				t.Errorf("%+v", c)
			}
		}
		if s := h.platform.Stats(); s.Executed != 20 {
			t.Errorf("%+v", s)
		}
		h.sound()
	}
}

func TestDesk_ExpiredSaleIsBarredAtThePlatform(t *testing.T) {
	h := newHouse(t, sandbox.Options{Behaviour: sandbox.Behaviour{LoseRequest: 1}}, nil)
	s := sale("a")
	s.ExpiresAt = h.ledger.Now().Add(400 * time.Millisecond)
	if c := h.submit(s).confirmation(); c.Outcome.Result != tideover.StateExpired {
		t.Errorf("%+v", c)
	}
	if n := h.platform.Count(s.ID); n.Executions != 0 || n.Reverses == 0 {
		t.Errorf("%+v", n)
	}
	late := sale("b")
	late.ExpiresAt = h.ledger.Now() - 1
	if c := h.submit(late).confirmation(); c.Outcome.Result != tideover.StateExpired {
		t.Errorf("%+v", c)
	}
	if n := h.platform.Count(late.ID); n != (sandbox.Count{}) {
		t.Errorf("an expired sale was called: %+v", n)
	}
}

// A platform that guarantees nothing but a status gets one call for an id, ever.
func TestDesk_StatusOnlyCallsOnce(t *testing.T) {
	for name, c := range map[string]struct {
		behaviour sandbox.Behaviour
		want      tideover.State // StateManual: no end
	}{
		"answer lost":    {sandbox.Behaviour{LoseAnswer: 1}, tideover.StateApproved},
		"request lost":   {sandbox.Behaviour{LoseRequest: 1}, tideover.StateExpired},
		"all lost":       {sandbox.Behaviour{LoseRequest: 1, LoseReverse: 1}, tideover.StateManual},
		"late by a bit":  {sandbox.Behaviour{Late: 1, LateMS: 5}, tideover.StateApproved},
		"late by a lot":  {sandbox.Behaviour{Late: 1, LateMS: 400}, tideover.StateExpired},
		"questions lost": {sandbox.Behaviour{LoseAnswer: 1, LoseQuery: 0.8}, tideover.StateApproved},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, sandbox.Options{Behaviour: c.behaviour, Repeats: true}, nil)
			s := sale("a")
			l := h.submit(s)
			if c.want == tideover.StateManual {
				l.progress(tideover.StateManual)
				h.ask(s).progress(tideover.StateManual)
			} else if got := l.confirmation(); got.Outcome.Result != c.want {
				t.Errorf("%+v", got)
			}
			time.Sleep(time.Duration(c.behaviour.LateMS) * time.Millisecond)
			n := h.platform.Count(s.ID)
			if n.Calls != 1 || n.Net() > 1 || c.want == tideover.StateExpired && n.Executions != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

func TestDesk_Cancel(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, nil)
	t.Run("before it arrives", func(t *testing.T) {
		s := sale("before")
		if c := h.cancel(s).confirmation(); c.Outcome.Result != tideover.StateCancelled {
			t.Errorf("%+v", c)
		}
		if c := h.submit(s).confirmation(); c.Outcome.Result != tideover.StateCancelled {
			t.Errorf("a copy on its way: %+v", c)
		}
		if n := h.platform.Count(s.ID); n.Calls != 0 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("after the approval", func(t *testing.T) {
		s := sale("after")
		before := h.submit(s).confirmation()
		c := h.cancel(s).confirmation()
		if c.Outcome.Result != tideover.StateReversed || c.HubSeq <= before.HubSeq || c.Corrected {
			t.Errorf("%+v", c)
		}
		if n := h.platform.Count(s.ID); n.Net() != 0 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("during the call", func(t *testing.T) {
		h.control(func(b *sandbox.Behaviour) { b.Hang = 1 })
		defer h.control(func(b *sandbox.Behaviour) { b.Hang = 0 })
		s := sale("during")
		l := h.submit(s)
		for h.platform.Count(s.ID).Executions == 0 {
			time.Sleep(time.Millisecond)
		}
		c := h.cancel(s).confirmation()
		if c.Outcome.Result != tideover.StateReversed || l.confirmation() != c {
			t.Errorf("%+v", c)
		}
	})
	t.Run("while pending", func(t *testing.T) {
		h.control(func(b *sandbox.Behaviour) { b.Pending, b.PendingMS = 1, 60_000 })
		defer h.control(func(b *sandbox.Behaviour) { b.Pending = 0 })
		s := sale("pending")
		l := h.submit(s)
		l.progress(tideover.StatePending)
		if c := h.cancel(s).confirmation(); c.Outcome.Result != tideover.StateCancelled || l.confirmation() != c {
			t.Errorf("%+v", c)
		}
	})
	h.sound()
}

func TestDesk_PendingForTooLongIsUndone(t *testing.T) {
	h := newHouse(t, sandbox.Options{Behaviour: sandbox.Behaviour{Pending: 1, PendingMS: 3_600_000}}, func(c *desk.Config) {
		c.PendingMax = 300 * time.Millisecond
	})
	s := sale("a")
	if c := h.submit(s).confirmation(); c.Outcome.Result != tideover.StateExpired {
		t.Errorf("%+v", c)
	}
	if n := h.platform.Count(s.ID); n.Net() != 0 || n.Calls != 1 {
		t.Errorf("%+v", n)
	}
}

func TestDesk_RefundsAndReversals(t *testing.T) {
	h := newHouse(t, sandbox.Options{Behaviour: sandbox.Behaviour{LoseAnswer: 0.3, LoseReverse: 0.3}}, nil)
	s := sale("sale")
	h.submit(s).confirmation()
	if c := h.submit(request("r1", tideover.KindRefund, 1000, s.ID)).confirmation(); c.Outcome.Result != tideover.StateApproved {
		t.Errorf("%+v", c)
	}
	if c := h.submit(request("r2", tideover.KindRefund, 300, s.ID)).confirmation(); c.Outcome.Code != "refund_exceeds_original" {
		t.Errorf("%+v", c)
	}
	if c := h.submit(request("v1", tideover.KindReversal, 0, s.ID)).confirmation(); c.Outcome.Code != "refund_exceeds_original" {
		t.Errorf("%+v", c)
	}
	s = sale("sale2")
	h.submit(s).confirmation()
	page, _ := h.desk.Outbox(t.Context(), store, 0, 100)
	last := page[len(page)-1].HubSeq
	reversals := []*heard{
		h.submit(request("v2", tideover.KindReversal, 1299, s.ID)), h.submit(request("v3", tideover.KindReversal, 0, s.ID)), h.cancel(s),
	}
	for i, l := range reversals {
		want := tideover.StateApproved
		if i == 2 {
			want = tideover.StateReversed
		}
		if c := l.confirmation(); c.Outcome.Result != want {
			t.Errorf("%d: %+v", i, c)
		}
	}
	if n := h.platform.Count(s.ID); n.Executions != 1 || n.Reversals != 1 {
		t.Errorf("%+v", n)
	}
	page, _ = h.desk.Outbox(t.Context(), store, last, 100)
	found := false
	for _, c := range page {
		found = found || c.ID == s.ID && c.Outcome.Result == tideover.StateReversed
	}
	if !found {
		t.Errorf("the original's new end is not in the outbox: %+v", page)
	}
	// An original that never came is barred.
	lost := sale("lost")
	if c := h.submit(request("v4", tideover.KindReversal, 0, lost.ID)).confirmation(); c.Outcome.Result != tideover.StateApproved {
		t.Errorf("%+v", c)
	}
	if c := h.submit(lost).confirmation(); c.Outcome.Result != tideover.StateCancelled {
		t.Errorf("%+v", c)
	}
	h.sound()
}

func TestDesk_RefundWaitsForItsSale(t *testing.T) {
	h := newHouse(t, sandbox.Options{Behaviour: sandbox.Behaviour{Pending: 1, PendingMS: 200}}, nil)
	s := sale("sale")
	h.submit(s)
	refund := h.submit(request("r", tideover.KindRefund, 1299, s.ID))
	if c := refund.confirmation(); c.Outcome.Result != tideover.StateApproved {
		t.Errorf("%+v", c)
	}
	if n := h.platform.Stats().Net["CNY"]; n != 0 {
		t.Errorf("%d stays", n)
	}
}

func TestDesk_RefusesWhatItMust(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, nil)
	forged := sale("a")
	forged.ID[0]++
	if r := h.submit(forged).refused(); r.Reason != wire.ReasonMalformed {
		t.Errorf("%+v", r)
	}
	s := sale("a")
	h.submit(s).confirmation()
	other := s
	other.Request.Amount, other.Hash = 1, [32]byte{1}
	if r := h.submit(other).refused(); r.Reason != wire.ReasonKeyReused || r.Adopt == nil || r.End == nil || r.Validate() != nil {
		t.Errorf("%+v", r)
	}
	h.hello([16]byte{10})
	if r := h.submit(sale("b")).refused(); r.Reason != wire.ReasonSuperseded {
		t.Errorf("%+v", r)
	}
	l := newHeard(t)
	h.desk.Submit(t.Context(), "nobody", current, func() wire.Submit {
		s := sale("c")
		s.ID = tideover.MakeID("nobody", "t1", "c")
		return s
	}(), l.tell)
	if r := l.refused(); r.Reason != wire.ReasonRevoked {
		t.Errorf("%+v", r)
	}
	h.ask(sale("b")).progress(tideover.StateNone)
	if n := h.platform.Stats(); n.Calls != 1 {
		t.Errorf("%+v", n)
	}
	h.end()
	if r := h.submit(sale("d")).refused(); r.Reason != wire.ReasonDraining {
		t.Errorf("%+v", r)
	}
}

// A transaction sent again to a ledger that lost it is asked about before any call.
func TestDesk_AgainIsAskedAboutFirst(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, nil)
	s := sale("a")
	h.submit(s).confirmation()
	h.end()
	fresh := newHouseAt(t, h)
	s.Again = true
	if c := fresh.submit(s).confirmation(); c.Outcome.Result != tideover.StateApproved {
		t.Errorf("%+v", c)
	}
	n := sale("new")
	n.Again = true
	if c := fresh.submit(n).confirmation(); c.Outcome.Result != tideover.StateApproved {
		t.Errorf("%+v", c)
	}
	if got := h.platform.Count(s.ID); got.Calls != 1 || got.Executions != 1 {
		t.Errorf("%+v", got)
	}
	h.sound()
}

// newHouseAt is another ledger at the platform of h.
func newHouseAt(t testing.TB, h *house) *house {
	t.Helper()
	o := &house{t: t, path: filepath.Join(t.TempDir(), "ledger.db"), platform: h.platform, server: h.server, config: h.config}
	if err := bolt.Create(o.path, key); err != nil {
		t.Fatal(err)
	}
	o.start()
	if err := o.ledger.AddStore(t.Context(), ledger.Store{Name: store}); err != nil {
		t.Fatal(err)
	}
	o.hello(current)
	return o
}

func TestDesk_TombstoneBarsTheID(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, nil)
	s := sale("a")
	l := newHeard(t)
	h.desk.Expire(t.Context(), store, current, wire.Expire{Submit: s, Outcome: tideover.StateExpired}, l.tell)
	if c := l.confirmation(); c.Outcome.Result != tideover.StateExpired {
		t.Errorf("%+v", c)
	}
	if c := h.submit(s).confirmation(); c.Outcome.Result != tideover.StateExpired {
		t.Errorf("%+v", c)
	}
	page, err := h.desk.Outbox(t.Context(), store, 0, 10)
	if err != nil || len(page) != 1 || page[0].Adopt == nil {
		t.Errorf("%+v, %v", page, err)
	}
}

// Desks that stop in the middle leave everything to the next one.
func TestDesk_RestartsCarryOn(t *testing.T) {
	h := newHouse(t, sandbox.Options{Seed: 3, Behaviour: sandbox.Behaviour{
		LatencyMS: 5, JitterMS: 20, LoseRequest: 0.1, LoseAnswer: 0.1, Pending: 0.2, PendingMS: 50, Late: 0.05, LateMS: 80, Decline: 0.1, WrongAmount: 0.05,
	}}, nil)
	var all []wire.Submit
	for round := range 8 {
		for i := range 25 {
			s := sale(fmt.Sprint(round, "-", i))
			all = append(all, s)
			h.desk.Submit(t.Context(), store, current, s, func(any) {})
			if i%6 == 0 {
				h.cancel(s)
			}
		}
		time.Sleep(time.Duration(5+7*round) * time.Millisecond)
		h.restart()
		h.hello(current)
	}
	for i, s := range all {
		c := h.ask(s)
		if i%2 == 0 {
			c = h.submit(s)
		}
		end := c.confirmation()
		kept := end.Outcome.Result == tideover.StateApproved
		if n := h.platform.Count(s.ID); (n.Net() == 1) != kept {
			t.Errorf("%s ends as %v: %+v", s.Key, end.Outcome.Result, n)
		}
	}
	if st, err := h.ledger.Stats(); err != nil || st.Open != 0 || st.Rows != int64(len(all)) {
		t.Errorf("%+v, %v", st, err)
	}
	h.sound()
}
