package daemon

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tideover"
	"tideover/control"
	"tideover/edge"
	"tideover/terminal"
	"tideover/wire"
)

// crash leaves the disk as it is between two commits, and starts another process on it.
func (h *house) crash(t *testing.T) {
	t.Helper()
	left := readFile(t, h.path)
	h.stop()
	writeFile(t, h.path, left)
	h.open(t)
}

var lists = wire.Welcome{Features: wire.FeatureOpen}

// hears has the edge say hello and hear what the hub has without an end; all says that it was all.
func (h *house) hears(t *testing.T, w wire.Welcome, all bool, open ...wire.Open) (hello wire.Hello) {
	t.Helper()
	w.Ledger, w.LedgerTime = h.session.ledger, tideover.MillisOf(time.Now())
	hello = h.session.Hello()
	if err := h.session.Welcome("hub:8443", hello, w); err != nil {
		t.Fatal(err)
	}
	for _, o := range open {
		if err := h.session.Open(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.session.CaughtUp(wire.CaughtUp{Open: all}); err != nil {
		t.Fatal(err)
	}
	return hello
}

// orphan is what the hub has of a sale that an earlier process has sent and not kept.
func (h *house) orphan(key string) wire.Open {
	s := saleOf(1299)
	now := tideover.MillisOf(time.Now())
	o := wire.Open{State: tideover.StatePending, Submit: wire.Submit{
		ID: tideover.MakeID(h.store, till1.UID, key), TerminalUID: till1.UID, Terminal: till1.Name, Key: key, Hash: s.Hash(h.secret), Request: s,
		CreatedAt: now, ExpiresAt: now.Add(s.ExpiresIn),
	}}
	o.Submit.Request.Payload = nil
	return o
}

// Sales leave early only where the next process can find out what they were: the hub tells what has no end, and the journal says that there may be some.
func TestSession_SalesLeaveEarlyWhereTheHubTellsWhatIsOpen(t *testing.T) {
	h := newHouse(t)
	if h.session.overlap() {
		t.Error("before the hub was heard")
	}
	h.hears(t, wire.Welcome{}, false)
	if !h.session.Past().Complete() || h.session.overlap() {
		t.Errorf("with a hub that does not tell: %+v, %v", h.session.Past(), h.session.overlap())
	}
	h.crash(t)
	if h.session.Past().Orphans {
		t.Error("nothing has left early, and a later process reckons with it")
	}
	if hello := h.hears(t, lists, false); hello.Features != 0 || !h.session.overlap() || !h.session.Past().Complete() {
		t.Errorf("with a hub that tells: %+v, %v, asked for %b", h.session.Past(), h.session.overlap(), hello.Features)
	}
	h.hears(t, wire.Welcome{}, false)
	if h.session.overlap() {
		t.Error("with an older hub after it")
	}
	h.hears(t, lists, false)
	h.crash(t)
	if !h.session.Past().Orphans || h.session.Hello().Features != wire.FeatureOpen {
		t.Error("a later process does not reckon with what may have left")
	}
	h.hears(t, lists, true)
	if h.session.Past().Orphans || h.session.Hello().Features != 0 || !h.session.overlap() {
		t.Error("told, and it is asked for again")
	}
	h.stop()
	h.open(t)
	if h.session.Past().Orphans {
		t.Error("a process that ended well left something")
	}
	h.session.overlaps = false
	h.hears(t, lists, false)
	h.crash(t)
	if h.session.Past().Orphans {
		t.Error("overlap was switched off")
	}
}

// While it is not known what an earlier process has sent, the router says no "cancelled" and no "expired" by itself.
func TestSession_EndsNothingWhileOrphansMayBeOut(t *testing.T) {
	for name, c := range map[string]struct {
		welcome wire.Welcome
		all     bool
		ends    bool
	}{
		"the hub does not tell":          {wire.Welcome{}, false, false},
		"it has too much to tell":        {lists, false, false},
		"it has told that there is none": {lists, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.hears(t, lists, false)
			h.crash(t)
			h.hears(t, c.welcome, c.all)
			r := &Router{queue: h.queue, forward: h.session.forwarder, session: h.session}
			if noted := slices.ContainsFunc(r.alarms(), func(f control.Finding) bool { return f.Code == "orphans" && f.Note }); noted == c.ends {
				t.Errorf("status notes it: %v", noted)
			}
			if !h.session.Past().Caught || h.session.overlap() != c.ends {
				t.Errorf("sends: %v, early: %v", h.session.Past().Caught, h.session.overlap())
			}
			want := tideover.StateReversing
			if c.ends {
				want = tideover.StateCancelled
			}
			if barred, err := h.CancelKey(t.Context(), till1, "A-1"); err != nil || barred.State != want {
				t.Errorf("a key that is cancelled is %s, %v; want %s", barred.State, err, want)
			}
			sold := h.sell(t, till1, "A-2", 1299)
			if cancelled, err := h.Cancel(t.Context(), till1, sold.ID); err != nil || cancelled.State != want {
				t.Errorf("a sale that is cancelled is %s, %v; want %s", cancelled.State, err, want)
			}
			if h.crash(t); !h.session.Past().Orphans {
				t.Error("the next process has forgotten it")
			}
		})
	}
}

// A sale that left and whose record did not come to the disk comes home through the hub: open, or with its end; its till's repetition gets the one
// transaction, and it is listed until the till has acknowledged it.
func TestSession_AnOrphanComesHome(t *testing.T) {
	h := newHouse(t)
	h.hears(t, lists, false)
	h.crash(t)
	o := h.orphan("A-1")
	h.hears(t, lists, true, o)
	again, err := h.Accept(t.Context(), till1, "A-1", terminal.OverrideNone, saleOf(1299))
	if err != nil || !again.Replayed || again.ID != o.Submit.ID || again.State != tideover.StatePending {
		t.Fatalf("the till's repetition: %+v, %v", again, err)
	}
	if _, err := h.Accept(t.Context(), till1, "A-1", terminal.OverrideNone, saleOf(1300)); err == nil {
		t.Error("another request is taken under its key")
	}
	h.crash(t) // it is on disk since the hub was caught up with
	h.hears(t, lists, true, o)
	if err := h.session.Confirm(wire.Confirmation{ID: o.Submit.ID, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved, Code: "00"}}); err != nil {
		t.Fatal(err)
	}
	list, _, err := h.List(t.Context(), till1, terminal.Filter{Unacknowledged: true})
	if err != nil || len(list) != 1 || list[0].ID != o.Submit.ID || list[0].State != tideover.StateApproved || list[0].Delivered || list[0].Acknowledged {
		t.Errorf("paid, and not handed over: %+v, %v", list, err)
	}
	if p, err := h.queue.Parcel(o.Submit.ID); err != nil || !p.Adopted || p.NeverSent() {
		t.Errorf("its record: %+v, %v", p.Record, err)
	}
}

// What the hub has without an end has left, whatever this process knows: the till may have pressed it again before the hub was heard.
func TestSession_APressBeforeTheHubIsHeardMayBeAnOrphans(t *testing.T) {
	for name, state := range map[string]tideover.State{
		"claimed": tideover.StatePending, "in doubt": tideover.StateInDoubt, "reversing": tideover.StateReversing, "manual": tideover.StateManual,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.hears(t, lists, false)
			h.crash(t)
			sold := h.sell(t, till1, "A-1", 1299)
			o := h.orphan("A-1")
			o.State = state
			h.hears(t, lists, true, o)
			p, err := h.queue.Parcel(sold.ID)
			if err != nil || p.State != state {
				t.Fatalf("%+v, %v", p, err)
			}
			late := edge.Moment{Past: h.session.Past(), LedgerNow: o.Submit.ExpiresAt.Add(time.Hour), LedgerKnown: true, Boot: thisBoot}
			if s := edge.Decide(&p.Record, nil, late); s.Act == edge.ActExpire {
				t.Errorf("too old and without a link it would be ended here: %s", s.Reason)
			}
			if err := h.queue.EndHere(t.Context(), sold.ID, tideover.CauseExpired, tideover.Outcome{}); !errors.Is(err, edge.ErrMaySent) {
				t.Errorf("ended here: %v", err)
			}
			if got, err := h.Cancel(t.Context(), till1, sold.ID); err != nil || got.State != tideover.StateReversing {
				t.Errorf("cancelled: %s, %v", got.State, err)
			}
		})
	}
}
