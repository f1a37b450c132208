package hub

import (
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// An edge that stops listening on one stream, because it has heard enough on another link, must lose that stream alone.
func TestServer_StreamThatIsGivenUpEndsNoConnection(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	var g sync.WaitGroup
	for worker := range 8 {
		g.Go(func() {
			for i := range 1000 {
				st, err := l.conn.OpenStreamSync(t.Context())
				if err != nil {
					t.Errorf("after %d streams: %v", i, err)
					return
				}
				if wire.WriteFrame(st, wire.TypeAsk, wire.Ask{ID: tideover.ID{1, byte(worker), byte(i), byte(i >> 8)}}) != nil {
					return
				}
				st.Close()
				time.Sleep(time.Duration(i%64) * 4 * time.Microsecond)
				st.CancelRead(0)
			}
		})
	}
	g.Wait()
	mustEnd(t, l.submit(e.sale("k", 1)), tideover.StateApproved)
}

// A connection of which one part has failed is closed at once: half a connection would answer no probe and take no stream, and be
// chosen for pushes all the same.
func TestServer_HalfAConnectionIsClosed(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{LatencyMS: 200})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	s := e.sale("k", 1)
	st := l.open(wire.TypeSubmit, s)
	eventually(t, "it is in flight", func() bool { return h.platform.Count(s.ID).Calls > 0 })
	l.control.CancelRead(0) // the push that follows cannot be written
	st.CancelRead(0)
	mustClose(t, l.conn, wire.CloseInternal)
}

// What a connection has not said is said on another one, also where nothing tells any more that it was to be said: its queue had
// overflowed, or the frame was being written when the connection died.
func TestServer_EndsThatADeadLinkHasNotSaidAreSaidOnAnother(t *testing.T) {
	const store = "shop-0001"
	link := func() *session {
		se := &session{store: store, ready: make(chan struct{}), out: make(chan outgoing, outgoingMax)}
		close(se.ready)
		return se
	}
	dead, alive := link(), link()
	s := &server{sessions: map[string]map[*session]struct{}{store: {dead: {}, alive: {}}}}
	dead.missed.Store(true)
	s.leave(dead)
	if len(alive.out) != 1 {
		t.Error("the other connection does not say the outbox again")
	}
	stranger := &session{store: store, ready: make(chan struct{})} // has not said hello: nothing was for it
	s.leave(stranger)
	if len(alive.out) != 1 {
		t.Error("a connection without a hello has the outbox said again")
	}
}
