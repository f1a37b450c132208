package hub

import (
	"net/http"
	"testing"

	"tideover"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// listed reads the control stream up to caught up.
func (l *link) listed() (open []wire.Open, all bool) {
	l.t.Helper()
	for {
		switch m := l.next().(type) {
		case wire.Open:
			open = append(open, m)
		case wire.CaughtUp:
			return open, m.Open
		}
	}
}

// A process that asks is told what an earlier one has sent and has no end, before it is caught up; from then on nothing of the earlier one is taken.
func TestServer_TellsWhatHasNoEnd(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	first := e.connect()
	if first.welcome.Features&wire.FeatureOpen == 0 {
		t.Error("the hub does not say that it tells what has no end")
	}
	if open, all := first.listed(); len(open) > 0 || all {
		t.Errorf("told without being asked: %+v, %v", open, all)
	}
	ended := mustEnd(t, first.submit(e.sale("ended", 1)), tideover.StateApproved)
	asked, let := h.hold(func(*http.Request) bool { return true })
	defer let()
	s := e.sale("open", 2)
	s.Request.Payload, s.Request.Instrument = []byte(`{"a":1}`), "284512345678"
	stream := first.open(wire.TypeSubmit, s)
	<-asked // it is claimed

	e.incarnation[0]++
	e.features = wire.FeatureOpen
	second := e.connect()
	open, all := second.listed()
	if !all || len(open) != 1 || open[0].Submit.ID != s.ID || open[0].State != tideover.StatePending {
		t.Fatalf("told %+v, all %v", open, all)
	}
	if o := open[0].Submit; o.Key != s.Key || o.Hash != s.Hash || o.Request.Instrument != s.Request.Instrument || o.Request.Payload != nil || o.ExpiresAt != s.ExpiresAt {
		t.Errorf("told %+v of %+v", o, s)
	}
	if r, ok := second.submitAs(first, e.sale("late", 3)).(wire.Refused); ok && r.Reason != wire.ReasonSuperseded {
		t.Errorf("a late frame of the first process: %+v", r)
	}
	let()
	if c := mustEnd(t, second.end(second.open(wire.TypeAsk, wire.Ask{ID: s.ID})), tideover.StateApproved); c.ID == ended.ID {
		t.Error("another's end")
	}
	stream.CancelRead(0)
	third := e.connect()
	if open, all := third.listed(); len(open) > 0 || !all {
		t.Errorf("after its end: %+v, %v", open, all)
	}
}

// submitAs sends a transaction on a connection of an earlier process, which the hub may have closed by now; then it is refused all the same.
func (l *link) submitAs(earlier *link, s wire.Submit) any {
	st, err := earlier.conn.OpenStream()
	if err != nil {
		return wire.Refused{Reason: wire.ReasonSuperseded}
	}
	if wire.WriteFrame(st, wire.TypeSubmit, s) != nil {
		return wire.Refused{Reason: wire.ReasonSuperseded}
	}
	st.Close()
	for {
		_, msg, err := wire.ReadFrame(st, wire.FromHub)
		if err != nil {
			return wire.Refused{Reason: wire.ReasonSuperseded}
		}
		if _, got := msg.(wire.Got); !got {
			return msg
		}
	}
}
