package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tideover"
	"tideover/control"
	"tideover/edge"
	"tideover/rules"
	"tideover/terminal"
	"tideover/wire"
)

// router is the house as the technician's API knows it.
func (h *house) router() *Router {
	c := Config{Endpoint: terminal.DefaultConfig(), Limits: rules.DefaultLimits()}
	return &Router{
		config: c, log: slog.New(slog.DiscardHandler), queue: h.queue, forward: h.session.forwarder, session: h.session, tills: h.tills, judge: h.judge,
	}
}

// technician serves the API on a real socket, and returns its client.
func (h *house) technician(t *testing.T) (*control.Client, *Router) {
	t.Helper()
	r := h.router()
	path := filepath.Join(t.TempDir(), "control.sock")
	s := control.New(control.Config{Socket: path}, r, r.log)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return control.Dial(path), r
}

// me is who the tests are, as the kernel says.
func me(t *testing.T, d control.Detail) string {
	t.Helper()
	for _, e := range d.History {
		if strings.HasPrefix(e.By, "uid ") {
			return e.By
		}
	}
	t.Fatalf("nobody is on record: %+v", d.History)
	return ""
}

func wantRefused(t *testing.T, err error, status int, code tideover.Code) {
	t.Helper()
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Status != status || e.Code != string(code) || e.What.Zh == "" {
		t.Errorf("got %#v, want %d %s", err, status, code)
	}
}

// reopen is a kill -9 and a start: memory is gone, and the disk is as it was.
func (h *house) reopen(t *testing.T) {
	t.Helper()
	h.stop()
	h.open(t)
}

func TestRouter_WhatAPersonDoesIsOnRecord(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	tech, _ := h.technician(t)
	held := h.sell(t, till1, "A-1", 1299).ID.String()
	dropped := h.sell(t, till1, "A-2", 1299).ID.String()
	cancelled := h.sell(t, till1, "A-3", 1299).ID.String()
	steps := []struct {
		id   string
		a    control.Action
		want tideover.State
	}{
		{held, control.Action{Verb: control.VerbHold, Reason: "顾客有疑问"}, tideover.StateHeld},
		{held, control.Action{Verb: control.VerbRelease}, tideover.StateInDoubt},
		{held, control.Action{Verb: control.VerbRetry}, tideover.StateInDoubt},
		{dropped[:10], control.Action{Verb: control.VerbDrop, Reason: "wrong amount"}, tideover.StateCancelled},
		{cancelled, control.Action{Verb: control.VerbCancel, Reason: "the customer left"}, tideover.StateCancelled},
	}
	for _, s := range steps {
		d, err := tech.Act(t.Context(), s.id, s.a)
		if err != nil || d.Transaction.State != s.want {
			t.Fatalf("%s: %+v, %v", s.a.Verb, d.Transaction, err)
		}
	}
	h.reopen(t)
	tech, _ = h.technician(t)
	for id, want := range map[string][]string{
		held:      {"accepted  ", "held ME 顾客有疑问", "released ME ", "retry asked ME "},
		dropped:   {"accepted  ", "dropped ME wrong amount"},
		cancelled: {"accepted  ", "cancelled ME the customer left"},
	} {
		d, err := tech.Show(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, e := range d.History {
			have = append(have, strings.ReplaceAll(e.Event+" "+e.By+" "+e.Detail, me(t, d), "ME"))
		}
		if !slices.Equal(have, want) {
			t.Errorf("have %q, want %q", have, want)
		}
	}
}

func TestRouter_RefusesWhatATransactionCannotTake(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	tech, _ := h.technician(t)
	sent := h.sell(t, till1, "A-1", 1299).ID
	if err := h.queue.Move(sent, tideover.CauseSent, edge.Note{Uplink: "lo"}); err != nil {
		t.Fatal(err)
	}
	before, err := h.queue.History(sent)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []control.Action{
		{Verb: control.VerbDrop, Reason: "x"},
		{Verb: control.VerbHold},
		{Verb: control.VerbRelease},
		{Verb: control.VerbSettle, As: tideover.StateApproved, Reason: "x"},
	} {
		_, err := tech.Act(t.Context(), sent.String(), a)
		wantRefused(t, err, http.StatusConflict, tideover.CodeNotPossible)
		_, err = tech.Act(t.Context(), tideover.MakeID("x", "y", "z").String(), a)
		wantRefused(t, err, http.StatusNotFound, tideover.CodeUnknownTransaction)
	}
	_, err = tech.Act(t.Context(), tideover.MakeID("x", "y", "z").String(), control.Action{Verb: control.VerbRetry})
	wantRefused(t, err, http.StatusNotFound, tideover.CodeUnknownTransaction)
	if after, err := h.queue.History(sent); err != nil || len(after) != len(before) {
		t.Errorf("%d entries, %d before, %v", len(after), len(before), err)
	}
}

// A cancel of what may have left is answered with the hub's end where that comes in time, and is on disk in any case.
func TestRouter_ACancelWaitsForTheHub(t *testing.T) {
	h := newHouse(t)
	hub := &fakeHub{answer: func(msg any) []any {
		if c, ok := msg.(wire.Cancel); ok {
			return []any{wire.Confirmation{ID: c.ID, HubSeq: 1, Asked: true, Outcome: tideover.Outcome{Result: tideover.StateReversed}}}
		}
		return nil
	}}
	h.connect(t, hub)
	tech, _ := h.technician(t)
	sold := h.sell(t, till1, "A-1", 1299).ID
	soon(t, func() bool { return len(hub.submits()) > 0 })
	d, err := tech.Act(t.Context(), sold.String(), control.Action{Verb: control.VerbCancel, Reason: "wrong goods"})
	if err != nil || d.Transaction.State != tideover.StateReversed {
		t.Fatalf("%+v, %v", d.Transaction, err)
	}
	last := d.History[len(d.History)-1]
	if me(t, d); last.By != control.ByHub || last.Event != "told reversed" {
		t.Errorf("the last step is %+v", last)
	}
}

// A daemon that stops answers at once what it has put on disk.
func TestRouter_ACancelWithoutAHubIsOnRecord(t *testing.T) {
	h := newHouse(t)
	tech, r := h.technician(t) // no hub was ever heard
	sold := h.sell(t, till1, "A-1", 1299).ID
	r.closing.Store(true)
	d, err := tech.Act(t.Context(), sold.String(), control.Action{Verb: control.VerbCancel})
	if err != nil || d.Transaction.State != tideover.StateReversing {
		t.Fatalf("%+v, %v", d.Transaction, err)
	}
	me(t, d)
	h.reopen(t)
	if got := h.state(t, sold); got != tideover.StateReversing {
		t.Errorf("after a restart it is %s", got)
	}
}

// A person's word on what no machine can resolve goes to the hub, and the ledger's end comes home.
func TestRouter_ASettlingIsTheLedgersToTake(t *testing.T) {
	h := newHouse(t)
	said := make(chan wire.Settle, 1)
	hub := &fakeHub{answer: func(msg any) []any {
		if s, ok := msg.(wire.Settle); ok {
			said <- s
			return []any{wire.Confirmation{ID: s.Submit.ID, HubSeq: 1, Outcome: tideover.Outcome{Result: s.As}}}
		}
		return []any{wire.Progress{State: tideover.StateManual}}
	}}
	h.connect(t, hub)
	tech, _ := h.technician(t)
	sold := h.sell(t, till1, "A-1", 1299).ID
	soon(t, func() bool { return h.state(t, sold) == tideover.StateManual })
	a := control.Action{Verb: control.VerbSettle, As: tideover.StateDeclined, Reason: "银行确认未入账"}
	d, err := tech.Act(t.Context(), sold.String(), a)
	if err != nil || d.Transaction.State != tideover.StateDeclined {
		t.Fatalf("%+v, %v", d.Transaction, err)
	}
	if s := <-said; s.As != a.As || s.Reason != a.Reason || s.By != me(t, d) || len(s.Submit.Request.Payload) > 0 {
		t.Errorf("the hub heard %+v", s)
	}
	if !slices.ContainsFunc(d.History, func(e control.Event) bool {
		return e.Event == "settle asked" && e.Detail == "declined: 银行确认未入账"
	}) {
		t.Errorf("have %+v", d.History)
	}
}

// Paid, not handed over: also where the hub brought the approval home for a till that this journal has never seen.
func TestRouter_ShowsWhatIsPaidAndNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.welcome(t, wire.Welcome{})
		r := h.router()
		shown := h.sell(t, till1, "A-1", 1299)
		lost := tideover.MakeID("shop-0001", "gone", "A-2")
		for i, id := range []tideover.ID{shown.ID, lost} {
			request := saleOf(1299)
			err := h.session.Confirm(wire.Confirmation{
				ID: id, HubSeq: uint64(i + 1), Outcome: tideover.Outcome{Result: tideover.StateApproved},
				Adopt: &wire.Submit{ID: id, TerminalUID: "gone", Terminal: "till-9", Key: "A-2", Request: request, Hash: request.Hash([]byte("secret"))},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		count := func() int {
			s := control.Status{Now: tideover.MillisOf(time.Now())}
			r.single(&s)
			page, err := r.List(t.Context(), control.Filter{NotHandedOver: true, Limit: 1})
			if err != nil || len(page.Transactions) != min(1, s.Queue.NotHandedOver) {
				t.Errorf("%d in status, and the list is %+v, %v", s.Queue.NotHandedOver, page, err)
			}
			return s.Queue.NotHandedOver
		}
		if n := count(); n != 0 {
			t.Errorf("at once: %d", n)
		}
		time.Sleep(control.HandOverMax + time.Second)
		if n := count(); n != 2 {
			t.Errorf("after %s: %d, want 2", control.HandOverMax, n)
		}
		now, err := h.queue.Get(shown.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Acknowledge(t.Context(), till1, shown.ID, now.Seq); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 1 {
			t.Errorf("one is acknowledged: %d, want 1", n)
		}
		d, err := r.Act(t.Context(), lost, control.Action{Verb: control.VerbDrop, Reason: "handed over"}, control.Peer{UID: 4711})
		if err != nil || !d.Transaction.Acknowledged || d.Transaction.State != tideover.StateApproved {
			t.Errorf("%+v, %v", d.Transaction, err)
		}
		if last := d.History[len(d.History)-1]; last.By != "uid 4711" || last.Detail != "handed over" || last.Event != "dropped" {
			t.Errorf("the last step is %+v", last)
		}
		if n := count(); n != 0 {
			t.Errorf("all are seen to: %d", n)
		}
	})
}

func TestRouter_ListsWhatIsNotHandedOverPageByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.router()
		const all = 25
		for i := range all {
			sold := h.sell(t, till1, fmt.Sprint("A-", i), 1)
			result := tideover.StateApproved
			if i%3 == 0 {
				result = tideover.StateDeclined
			}
			if err := h.session.Confirm(wire.Confirmation{ID: sold.ID, HubSeq: uint64(i + 1), Outcome: tideover.Outcome{Result: result}}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		h.sell(t, till1, "B", 1)
		f, seen := control.Filter{NotHandedOver: true, Limit: 4}, map[tideover.ID]bool{}
		for {
			page, err := r.List(t.Context(), f)
			if err != nil || len(page.Transactions) > f.Limit || page.Next != "" && len(page.Transactions) < f.Limit {
				t.Fatalf("%+v, %v", page, err)
			}
			for _, one := range page.Transactions {
				if seen[one.ID] || !one.NotHandedOver {
					t.Errorf("%+v", one)
				}
				seen[one.ID] = true
			}
			if f.After = page.Next; f.After == "" {
				break
			}
		}
		if len(seen) != all-(all+2)/3 {
			t.Errorf("%d are listed", len(seen))
		}
	})
}

// An export has every transaction once, with its history, and nothing of what was sealed.
func TestRouter_ExportsTheJournalWithoutPayloads(t *testing.T) {
	h := newHouse(t)
	tech, _ := h.technician(t)
	h.rule(t, rules.Rules{})
	const secret = "28400012345678"
	want := map[tideover.ID]bool{}
	for i := range exportPage*2 + 7 {
		request := saleOf(int64(i + 1))
		request.Payload, request.Instrument = []byte(`{"code":"`+secret+`"}`), secret
		sold, err := h.Accept(t.Context(), till1, fmt.Sprint("A-", i), terminal.OverrideNone, request)
		if err != nil {
			t.Fatal(err)
		}
		want[sold.ID] = true
	}
	err := tech.Export(t.Context(), func(d control.Detail) error {
		b, err := json.Marshal(d)
		if !want[d.Transaction.ID] || len(d.History) == 0 || bytes.Contains(b, []byte(secret)) {
			t.Errorf("have %s", b)
		}
		delete(want, d.Transaction.ID)
		return err
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%d are missing, %v", len(want), err)
	}
	h.stop()
	if err := tech.Export(t.Context(), func(control.Detail) error { return nil }); err == nil {
		t.Error("a stopped journal was exported")
	}
	_, err = tech.Show(t.Context(), tideover.ID{}.String())
	wantRefused(t, err, http.StatusServiceUnavailable, tideover.CodeShuttingDown)
}

// What was restored or replaced is said, and what to do about it; where nothing is left to do it is a note.
func TestRouter_SaysWhatTheHubHasTaughtIt(t *testing.T) {
	runbook, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		past    edge.Past
		welcome wire.Welcome
		open    bool // something is open since before
		want    string
	}{
		"nothing":             {want: ""},
		"another epoch":       {past: edge.Past{LostBefore: 7}, open: true, want: ""}, // a hub that was started anew has lost nothing
		"superseded":          {past: edge.Past{Superseded: true}, want: "superseded"},
		"restored":            {past: edge.Past{Restored: true, Gap: true}, open: true, want: "restored"},
		"restored, done":      {past: edge.Past{Restored: true, Gap: true}, want: "(restored)"},
		"replaced":            {past: edge.Past{Gap: true}, open: true, want: "(gap)"},
		"hub restored":        {welcome: wire.Welcome{LostBefore: 7}, open: true, want: "hub_restored"},
		"hub restored, done":  {welcome: wire.Welcome{LostBefore: 7}, want: "(hub_restored)"},
		"hub is told again":   {welcome: wire.Welcome{LostBefore: 7, Replay: true}, want: "replaying (hub_restored)"},
		"both sides restored": {past: edge.Past{Gap: true, Restored: true}, welcome: wire.Welcome{LostBefore: 7}, open: true, want: "restored hub_restored"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			if tc.open {
				h.sell(t, till1, "A-1", 1)
				h.reopen(t)
			}
			h.session.learn(func(p *edge.Past) { *p = tc.past })
			h.session.hear(tc.welcome)
			var have []string
			for _, f := range h.router().alarms() {
				code := f.Code
				if !strings.Contains(string(runbook), "`"+code+"`") {
					t.Errorf("the runbook does not know %s", code)
				}
				if f.Note {
					code = "(" + code + ")"
				}
				if have = append(have, code); f.What.Zh == "" || f.Next.Zh == "" {
					t.Errorf("%+v", f)
				}
			}
			if strings.Join(have, " ") != tc.want {
				t.Errorf("have %q, want %q", have, tc.want)
			}
		})
	}
}
