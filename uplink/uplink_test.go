package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tideover"
	"tideover/netmon"
	"tideover/wire"
)

const (
	hubA = "192.0.2.1:8443"
	hubB = "192.0.2.2:8443"
)

// shop is an uplink and a hub with a simulated link between them, in a synctest bubble.
type shop struct {
	t       *testing.T
	ca      *authority
	net     *simNet
	hubs    []*testHub
	peer    *testPeer
	up      *Uplink
	links   chan netmon.Change
	pending atomic.Bool
	stop    context.CancelFunc
	ended   chan error
}

// open starts an uplink towards the addresses; hubs are started by the test.
func open(t *testing.T, addresses ...string) *shop {
	t.Helper()
	s := &shop{
		t: t, ca: newAuthority(t), net: newSimNet(), peer: &testPeer{}, links: make(chan netmon.Change, 1), ended: make(chan error, 1),
	}
	s.up = New(Config{
		Name: "eth1", Addresses: addresses, TLS: s.ca.edgeTLS(t), Links: s.links, Pending: s.pending.Load,
	}, s.peer, testLog(t))
	s.up.net = s.net
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	go func() { s.ended <- s.up.Run(ctx) }()
	return s
}

func (s *shop) hub(addr string, change func(*testHub)) *testHub {
	s.t.Helper()
	h := startHub(s.t, s.net.listen(addr), s.ca.hubTLS(s.t), change)
	s.hubs = append(s.hubs, h)
	return h
}

// close ends everything: a bubble must be empty at its end.
func (s *shop) close() {
	s.stop()
	if err := <-s.ended; err != nil {
		s.t.Error(err)
	}
	for _, h := range s.hubs {
		h.stop()
	}
}

// connected waits until calls are taken, for at most max.
func (s *shop) connected(limit time.Duration) {
	s.t.Helper()
	s.until(limit, func() bool { return s.up.State().Connected })
}

func (s *shop) until(limit time.Duration, done func() bool) {
	s.t.Helper()
	for begin := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > limit {
			s.t.Fatalf("not within %s; %+v", limit, s.up.State())
		}
	}
}

// bubble runs a test with one hub that is connected.
func bubble(t *testing.T, change func(*testHub), test func(t *testing.T, s *shop, h *testHub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, hubA)
		defer s.close()
		h := s.hub(hubA, change)
		s.connected(5 * time.Second)
		test(t, s, h)
	})
}

func TestSubmit_BringsAnEndHome(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
		m := submit("k1", tideover.KindSale)
		var order []string
		err := s.up.Submit(t.Context(), m, Hooks{
			Sending: func(link string) error {
				if len(heardOf[wire.Submit](h)) > 0 {
					t.Error("the hub had it before")
				}
				order = append(order, "sending over "+link)
				return nil
			},
			Progress: func(p wire.Progress) { order = append(order, p.State.String()) },
		})
		check(t, err)
		if want := []string{"sending over eth1", "pending"}; !reflect.DeepEqual(order, want) {
			t.Errorf("hooks: %v, want %v", order, want)
		}
		if got := heardOf[wire.Submit](h); len(got) != 1 || !reflect.DeepEqual(got[0], m) {
			t.Errorf("the hub has %+v", got)
		}
		if len(s.peer.confirmed) != 1 || s.peer.confirmed[0].ID != m.ID {
			t.Errorf("confirmed: %+v", s.peer.confirmed)
		}
	})
}

func TestUplink_ReplaysTheOutboxInOrder(t *testing.T) {
	var box []wire.Confirmation
	for i := range uint64(40) {
		box = append(box, confirmation(tideover.ID{byte(i + 1)}, i+1))
	}
	bubble(t, func(h *testHub) { h.outbox = box }, func(t *testing.T, s *shop, h *testHub) {
		s.until(time.Second, func() bool { return len(s.peer.order()) == len(box)+2 })
		said := s.peer.order()
		if said[0] != "welcome "+hubA || said[1] != "confirm 1" || said[40] != "confirm 40" || said[41] != "caught up 40" {
			t.Errorf("said %v", said)
		}
	})
}

// What has no end is heard before the peer is caught up; one that the peer cannot take ends the connection, since it would be missing.
func TestUplink_HearsWhatHasNoEnd(t *testing.T) {
	var open []wire.Open
	for i := range 5 {
		open = append(open, wire.Open{Submit: submit(fmt.Sprint(i), tideover.KindSale), State: tideover.StatePending})
	}
	bubble(t, func(h *testHub) { h.open = open }, func(t *testing.T, s *shop, h *testHub) {
		s.until(time.Second, func() bool { return len(s.peer.order()) == len(open)+2 })
		if said := s.peer.order(); said[1] != "open 0" || said[5] != "open 4" || said[6] != "caught up 0" {
			t.Errorf("said %v", said)
		}
	})
	full := errors.New("no room")
	bubble(t, func(h *testHub) { h.open = open }, func(t *testing.T, s *shop, h *testHub) {
		s.until(time.Second, func() bool { return len(s.peer.order()) == len(open)+2 })
		s.peer.set(func(p *testPeer) { p.full, p.said = full, nil })
		for _, c := range h.connections() {
			_ = c.CloseWithError(wire.CloseDraining, "another one")
		}
		s.until(30*time.Second, func() bool { return len(s.peer.order()) >= 4 })
		for _, said := range s.peer.order() {
			if strings.HasPrefix(said, "caught up") {
				t.Fatalf("caught up without what has no end: %v", s.peer.order())
			}
		}
		s.peer.set(func(p *testPeer) { p.full = nil })
	})
}

func TestAck_GathersFor200Milliseconds(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
		begin := time.Now()
		for i := range 3 {
			s.up.Ack([]wire.Position{{ID: tideover.ID{1}, HubSeq: uint64(i + 1)}})
			time.Sleep(10 * time.Millisecond)
		}
		s.until(time.Second, func() bool { return len(heardOf[wire.Ack](h)) > 0 })
		if took := time.Since(begin); took > ackWait+30*time.Millisecond {
			t.Errorf("after %s", took)
		}
		many := make([]wire.Position, 100)
		for i := range many {
			many[i] = wire.Position{ID: tideover.ID{2}, HubSeq: uint64(i + 10)}
		}
		s.up.Ack(many)
		var have []uint64
		s.until(100*time.Millisecond, func() bool {
			have = nil
			for _, a := range heardOf[wire.Ack](h) {
				if len(a.Have) > wire.AckMax {
					t.Fatalf("%d in one frame", len(a.Have))
				}
				for _, p := range a.Have {
					have = append(have, p.HubSeq)
				}
			}
			return len(have) == 103
		})
	})
}

func TestUplink_WithoutALinkNothingLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, hubA)
		defer s.close()
		err := s.up.Submit(t.Context(), submit("k", tideover.KindRefund), Hooks{Sending: func(string) error {
			t.Error("the hook ran")
			return nil
		}})
		if !errors.Is(err, ErrNoLink) {
			t.Error(err)
		}
		if st := s.up.State(); st.Connected || st.Err == nil {
			t.Errorf("%+v", st)
		}
	})
}

func TestSubmit_VetoedByTheHook(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
		no := errors.New("ended meanwhile")
		err := s.up.Submit(t.Context(), submit("k", tideover.KindSale), Hooks{Sending: func(string) error { return no }})
		if !errors.Is(err, ErrVetoed) || !errors.Is(err, no) {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if got := heardOf[wire.Submit](h); len(got) > 0 {
			t.Error("it left")
		}
	})
}

// TestSubmit_SaleIsProbedFirst: on a link of which nobody knows, a sale waits for an echo; if none comes, nothing of it has left.
// A refund does not wait.
func TestSubmit_SaleIsProbedFirst(t *testing.T) {
	bubble(t, func(h *testHub) { h.answer = gotOnly }, func(t *testing.T, s *shop, h *testHub) {
		time.Sleep(500 * time.Millisecond) // no probe is under way
		s.up.current().pulse.doubt()
		begin := time.Now()
		sent := make(chan time.Duration, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := s.up.Submit(ctx, submit("k1", tideover.KindSale), Hooks{Sending: func(string) error { sent <- time.Since(begin); return nil }})
		cancel()
		if took := <-sent; took != 20*time.Millisecond || !errors.Is(err, ErrLost) {
			t.Errorf("sent after %s, want one round trip; %v", took, err)
		}

		s.net.set(func(n *simNet) { n.cut = true })
		s.up.current().pulse.doubt()
		refunded := make(chan error, 1)
		left := false
		go func() {
			refunded <- s.up.Submit(t.Context(), submit("k2", tideover.KindRefund), Hooks{Sending: func(string) error { left = true; return nil }})
		}()
		err = s.up.Submit(t.Context(), submit("k3", tideover.KindSale), Hooks{Sending: func(string) error {
			t.Error("the sale left")
			return nil
		}})
		if !errors.Is(err, ErrNoLink) {
			t.Errorf("the sale: %v", err)
		}
		if err := <-refunded; !errors.Is(err, ErrLost) || !left {
			t.Errorf("the refund: %v, left: %v", err, left)
		}
		s.net.set(func(n *simNet) { n.cut = false })
		s.connected(2 * time.Second)
		for _, m := range heardOf[wire.Submit](h) {
			if m.Key == "k3" {
				t.Error("the hub has the sale")
			}
		}
	})
}

// TestSubmit_FreshnessIsOfTheLastSecondAndAHalf cuts the link right after an echo, and sends a sale at each moment until the connection
// is given up.
func TestSubmit_FreshnessIsOfTheLastSecondAndAHalf(t *testing.T) {
	for _, after := range []time.Duration{100 * time.Millisecond, 1400 * time.Millisecond, 1510 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			bubble(t, func(h *testHub) { h.answer = gotOnly }, func(t *testing.T, s *shop, h *testHub) {
				heard := s.up.State().Heard
				s.until(2*time.Second, func() bool { return s.up.State().Heard.After(heard) })
				s.net.set(func(n *simNet) { n.cut = true })
				time.Sleep(time.Until(s.up.State().Heard.Add(after)))
				left := false
				err := s.up.Submit(t.Context(), submit("k", tideover.KindSale), Hooks{Sending: func(string) error { left = true; return nil }})
				if left != (after < freshMax) || errors.Is(err, ErrLost) != left || errors.Is(err, ErrNoLink) == left {
					t.Errorf("left: %v, %v", left, err)
				}
			})
		})
	}
}

func TestUplink_RefusesAnotherLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, hubA, hubB)
		defer s.close()
		other := s.hub(hubA, func(h *testHub) { h.welcome.Ledger = [16]byte{2} })
		time.Sleep(30 * time.Second)
		if st := s.up.State(); st.Connected || st.Err == nil {
			t.Errorf("%+v", st)
		}
		all := other.connections()
		for _, c := range all[:max(0, len(all)-1)] { // the last may be in the middle of its hello
			if c.Context().Err() == nil {
				t.Error("its connection is still there")
			}
		}
		if n := len(all); n < 2 || n > 13 {
			t.Errorf("it was tried %d times in 30 s", n)
		}
		good := s.hub(hubB, nil)
		s.connected(2 * redialIdleMax)
		if st := s.up.State(); st.Address != hubB || len(good.connections()) != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestUplink_TellsWhyAHubRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, hubA)
		defer s.close()
		s.hub(hubA, func(h *testHub) {
			h.refuse = &wire.Refused{Reason: wire.ReasonRevoked, Detail: "the certificate was ended"}
		})
		time.Sleep(3 * time.Second)
		refused, ok := errors.AsType[*RefusedError](s.up.State().Err)
		if !ok || refused.Refused.Reason != wire.ReasonRevoked {
			t.Error(s.up.State().Err)
		}
	})
}

func TestUplink_WrongCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, hubA)
		defer s.close()
		s.ca = newAuthority(t) // the hub's
		s.hub(hubA, nil)
		time.Sleep(3 * time.Second)
		if st := s.up.State(); !st.Refused() || !strings.HasPrefix(st.Err.Error(), "the hub shows a certificate that this edge cannot trust: x509:") {
			t.Error(st.Err)
		}
	})
}

// TestUplink_GoAwayMovesNewCalls: what is on the old connection is still answered.
func TestUplink_GoAwayMovesNewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, hubA, hubB)
		defer s.close()
		release := make(chan struct{})
		old := s.hub(hubA, func(h *testHub) {
			h.answer = approveAfter(release)
		})
		s.connected(time.Second)
		done := make(chan error, 1)
		go func() { done <- s.up.Submit(t.Context(), submit("k1", tideover.KindSale), Hooks{}) }()
		s.until(time.Second, func() bool { return len(heardOf[wire.Submit](old)) == 1 })
		next := s.hub(hubB, nil)
		old.push(wire.TypeGoAway, wire.GoAway{AfterMillis: 20_000})
		s.until(2*time.Second, func() bool { return s.up.State().Address == hubB && s.up.State().Connected })
		check(t, s.up.Submit(t.Context(), submit("k2", tideover.KindSale), Hooks{}))
		if len(heardOf[wire.Submit](next)) != 1 {
			t.Error("the new call went elsewhere")
		}
		time.Sleep(5 * time.Second)
		close(release)
		check(t, <-done)
		s.until(2*time.Second, func() bool { return old.connections()[0].Context().Err() != nil })
		if n := len(old.connections()); n != 1 {
			t.Errorf("the hub that stops was dialled %d times", n)
		}
	})
}

// TestUplink_SlowLinks: links with long round trips connect, stay, and carry.
func TestUplink_SlowLinks(t *testing.T) {
	for _, delay := range []time.Duration{300 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, hubA)
			defer s.close()
			s.net.set(func(n *simNet) { n.delay = delay })
			h := s.hub(hubA, nil)
			s.connected(20 * delay)
			time.Sleep(4 * delay) // until the attempts that were under way by then have come to the hub, too
			tried := len(h.connections())
			for range 3 {
				check(t, s.up.Submit(t.Context(), submit("k", tideover.KindSale), Hooks{}))
				time.Sleep(20 * time.Second)
			}
			if n := len(h.connections()); s.up.State().RTT < 2*delay || n > tried || tried > 1+int(4*delay/redialMin) {
				t.Errorf("%d connections, %d of them to begin with, %+v", n, tried, s.up.State())
			}
		})
	}
}

func TestUplink_KeepsTheListOfTerminals(t *testing.T) {
	till := func(name string) tideover.Terminal { return tideover.Terminal{UID: name, Name: name} }
	bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
		time.Sleep(time.Second)
		if got := heardOf[wire.Terminals](h); len(got) > 0 {
			t.Error("an equal list was sent")
		}
		s.peer.set(func(p *testPeer) { p.list = append(p.list, till("a")) })
		s.up.TerminalsChanged()
		s.until(time.Second, func() bool { return len(heardOf[wire.Terminals](h)) == 1 })
		// It changes again while the hub writes.
		first := wire.TerminalsDigest(heardOf[wire.Terminals](h)[0].Terminals)
		s.peer.set(func(p *testPeer) { p.list = append(p.list, till("b")) })
		h.push(wire.TypeTerminalsKept, wire.TerminalsKept{Digest: first})
		s.until(time.Second, func() bool { return len(heardOf[wire.Terminals](h)) == 2 })
		second := heardOf[wire.Terminals](h)[1].Terminals
		if len(second) != 2 {
			t.Errorf("sent %v", second)
		}
		h.push(wire.TypeTerminalsKept, wire.TerminalsKept{Digest: wire.TerminalsDigest(second)})
		time.Sleep(time.Second)
		if n := len(heardOf[wire.Terminals](h)); n != 2 {
			t.Errorf("sent %d times", n)
		}
	})
}

func TestUplink_AnchorsNewHeads(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
		time.Sleep(3 * anchorEvery)
		if got := heardOf[wire.Anchor](h); len(got) > 0 {
			t.Errorf("anchored %v, and nothing was committed", got)
		}
		s.peer.set(func(p *testPeer) { p.seq = 12 })
		time.Sleep(3 * anchorEvery)
		if got := heardOf[wire.Anchor](h); len(got) != 1 || got[0].Seq != 12 {
			t.Errorf("anchored %v", got)
		}
	})
}

// TestUplink_KnowsAHostWithoutItsNames: the address that a name had serves while names cannot be looked up.
func TestUplink_KnowsAHostWithoutItsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "hub.example.com:8443")
		defer s.close()
		s.net.set(func(n *simNet) {
			n.names["hub.example.com"] = []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("192.0.2.1")}
		})
		h := s.hub(hubA, nil)
		s.connected(10 * time.Second)
		s.net.set(func(n *simNet) { clear(n.names) })
		_ = h.connections()[0].CloseWithError(wire.CloseBusy, "")
		s.until(time.Second, func() bool { return !s.up.State().Connected })
		s.connected(10 * time.Second)
	})
}

func TestRun_NeedsAddresses(t *testing.T) {
	for _, addresses := range [][]string{nil, {"no-port"}} {
		if err := New(Config{Name: "eth1", Addresses: addresses}, &testPeer{}, testLog(t)).Run(t.Context()); err == nil {
			t.Errorf("%v: runs", addresses)
		}
	}
}

func TestReplayed_IsSaidOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
		check(t, s.up.Replayed())
		s.until(time.Second, func() bool { return len(heardOf[wire.Replayed](h)) == 1 })
		h.push(wire.TypeGoAway, wire.GoAway{AfterMillis: 60_000})
		s.until(time.Second, func() bool { return !s.up.State().Connected })
		if err := s.up.Replayed(); !errors.Is(err, ErrNoLink) {
			t.Errorf("told a hub that is leaving: %v", err)
		}
	})
}
