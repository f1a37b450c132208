package uplink

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tideover"
	"tideover/netmon"
	"tideover/wire"
)

func TestUplink_SilenceLosesWhatIsOnTheWay(t *testing.T) {
	bubble(t, func(h *testHub) { h.answer = gotOnly }, func(t *testing.T, s *shop, h *testHub) {
		lost := make(chan error, 1)
		go func() { lost <- s.up.Submit(t.Context(), submit("k", tideover.KindSale), Hooks{}) }()
		s.until(time.Second, func() bool { return len(heardOf[wire.Submit](h)) == 1 })
		time.Sleep(3 * time.Second) // probed often by now
		s.net.set(func(n *simNet) { n.cut = true })
		cut := time.Now()
		err := <-lost
		if took := time.Since(cut); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), errSilent.Error()) || took < time.Second || took > 2*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		if s.up.State().Connected {
			t.Error("still connected")
		}
	})
}

// TestUplink_RedialsWithinASecondWhilePending holds the pauses between attempts through a minute of silence, and finds the healed link.
func TestUplink_RedialsWithinASecondWhilePending(t *testing.T) {
	for _, c := range []struct {
		pending bool
		longest time.Duration
		most    int // attempts in the minute
	}{{true, redialPendingMax, 200}, {false, redialIdleMax, 40}} {
		bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
			s.pending.Store(c.pending)
			before := len(s.net.attempts())
			s.net.set(func(n *simNet) { n.cut = true })
			s.until(4*time.Second, func() bool { return !s.up.State().Connected })
			time.Sleep(time.Minute)
			opens := s.net.attempts()[before:]
			for i := range opens[1:] {
				if pause := opens[i+1].Sub(opens[i]); pause > c.longest+pendingLook {
					t.Errorf("pending %v: %s between two attempts", c.pending, pause)
				}
			}
			if len(opens) > c.most {
				t.Errorf("pending %v: %d attempts in a minute", c.pending, len(opens))
			}
			s.net.set(func(n *simNet) { n.cut = false })
			s.connected(c.longest + pendingLook + 200*time.Millisecond)
		})
	}
}

// TestUplink_SeesThatSomethingBecamePending: an idle pause of seconds ends early.
func TestUplink_SeesThatSomethingBecamePending(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
		s.net.set(func(n *simNet) { n.cut = true })
		s.until(4*time.Second, func() bool { return !s.up.State().Connected })
		time.Sleep(time.Minute)
		before := len(s.net.attempts())
		s.pending.Store(true)
		s.until(redialPendingMax+pendingLook, func() bool { return len(s.net.attempts()) > before })
	})
}

func TestUplink_RedialsAtOnceWhenALinkReturns(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *shop, h *testHub) {
		s.net.set(func(n *simNet) { n.fails = unix.ENETUNREACH })
		s.until(4*time.Second, func() bool { return !s.up.State().Connected })
		time.Sleep(time.Minute)
		if err := s.up.State().Err; !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("said %v", err)
		}
		changed := s.up.Changed()
		s.net.set(func(n *simNet) { n.fails = nil })
		s.links <- netmon.Change{What: netmon.Links, Interfaces: []string{"eth1"}}
		s.connected(100 * time.Millisecond)
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}
	})
}

// TestUplink_SurvivesSendErrors takes the link away for a second: the connection and what is on it stay.
func TestUplink_SurvivesSendErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := open(t, hubA)
		defer s.close()
		h := s.hub(hubA, func(h *testHub) { h.answer = approveAfter(release) })
		s.connected(time.Second)
		done := make(chan error, 1)
		go func() { done <- s.up.Submit(t.Context(), submit("k", tideover.KindSale), Hooks{}) }()
		s.until(time.Second, func() bool { return len(heardOf[wire.Submit](h)) == 1 })
		since := s.up.State().Since
		for _, err := range linkDown {
			s.net.set(func(n *simNet) { n.fails = err })
			s.up.Redial() // something is sent
			time.Sleep(time.Second)
			s.net.set(func(n *simNet) { n.fails = nil })
			time.Sleep(2 * time.Second)
		}
		close(release)
		check(t, <-done)
		if st := s.up.State(); !st.Connected || !st.Since.Equal(since) || len(h.connections()) != 1 {
			t.Errorf("%+v, %d connections", st, len(h.connections()))
		}
		// Any other error is the end of the connection, as quic-go has it.
		s.net.set(func(n *simNet) { n.fails = unix.EIO })
		s.until(3*time.Second, func() bool { return !s.up.State().Connected })
	})
}

// TestUplink_FindsARestartedHub: the hub's process dies and comes back at its address with the same reset key.
func TestUplink_FindsARestartedHub(t *testing.T) {
	bubble(t, func(h *testHub) { h.answer = gotOnly }, func(t *testing.T, s *shop, h *testHub) {
		lost := make(chan error, 1)
		go func() { lost <- s.up.Submit(t.Context(), submit("k", tideover.KindRefund), Hooks{}) }()
		s.until(time.Second, func() bool { return len(heardOf[wire.Submit](h)) == 1 })
		again := s.hub(hubA, nil) // what the old one says is not delivered any more
		begin := time.Now()
		if err := <-lost; !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		s.connected(3 * time.Second)
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("back after %s", took)
		}
		check(t, s.up.Submit(t.Context(), submit("k", tideover.KindRefund), Hooks{}))
		if len(heardOf[wire.Submit](again)) != 1 {
			t.Error("the new process was not asked")
		}
	})
}

// TestUplink_HubThatClosesIsLeft: a hub that stops says so; the calls on it are lost at once.
func TestUplink_HubThatClosesIsLeft(t *testing.T) {
	bubble(t, func(h *testHub) { h.answer = gotOnly }, func(t *testing.T, s *shop, h *testHub) {
		lost := make(chan error, 1)
		go func() { lost <- s.up.Submit(t.Context(), submit("k", tideover.KindSale), Hooks{}) }()
		s.until(time.Second, func() bool { return len(heardOf[wire.Submit](h)) == 1 })
		begin := time.Now()
		_ = h.connections()[0].CloseWithError(wire.CloseDraining, "stopping")
		if err := <-lost; !errors.Is(err, ErrLost) || time.Since(begin) > 100*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		s.connected(2 * time.Second)
	})
}
