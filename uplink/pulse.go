package uplink

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// How a connection is watched.
const (
	probePending = 250 * time.Millisecond // while anything is pending, or a probe is late
	probeIdle    = time.Second
	probeGap     = 50 * time.Millisecond   // between two probes, whoever asks
	freshMax     = 1500 * time.Millisecond // a sale's first bytes go to a connection heard from within this time
	silentMax    = 1500 * time.Millisecond // without a word, and with silentProbes out, a connection is given up
	silentProbes = 3
)

// pulse is what is known of a connection's life.
type pulse struct {
	now  chan struct{} // buffered: probe now
	line chan uint64   // buffered: the next probe for send

	mu       sync.Mutex // guards what follows
	heard    time.Time
	doubted  bool          // a link has changed or failed since heard
	out      int           // probes since heard
	firstOut time.Time     // when the first of them was sent
	lastSent time.Time     // when the last probe was sent
	word     chan struct{} // closed when the hub is heard next
}

func (p *pulse) init() {
	p.now, p.line, p.word = make(chan struct{}, 1), make(chan uint64, 1), make(chan struct{})
}

// touch notes that the hub was heard.
func (p *pulse) touch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard, p.doubted, p.out = time.Now(), false, 0
	close(p.word)
	p.word = make(chan struct{})
}

func (p *pulse) heardAt() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard
}

// doubt takes back what was known: the hub must be heard again.
func (p *pulse) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubted = true
}

// fresh says whether the hub was heard lately; else it returns what is closed when it is heard.
func (p *pulse) fresh(now time.Time) (bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.doubted && now.Sub(p.heard) < freshMax, p.word
}

// beat is what to do about a connection now.
type beat struct {
	Dead  bool
	Probe bool
	Wait  time.Duration // until it should be asked again, at the latest
}

// look decides what to do now: whether the connection is given up, whether a probe is due, and when to look again. rtt is the smoothed
// round-trip time.
func (p *pulse) look(now time.Time, rtt time.Duration, pending, asked bool) beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A link may be slower than silence is patient.
	patience := max(silentMax, 2*rtt+500*time.Millisecond)
	if p.out >= silentProbes && now.Sub(p.heard) >= patience && now.Sub(p.firstOut) >= patience/2 {
		return beat{Dead: true}
	}
	late := p.out > 0 && now.Sub(p.firstOut) >= max(probePending, rtt+rtt/2)
	every := probeIdle
	if pending || p.doubted || late {
		every = probePending
	}
	if asked {
		every = probeGap
	}
	if left := every - now.Sub(p.lastSent); left > 0 {
		return beat{Wait: min(left, probePending)}
	}
	if p.out == 0 {
		p.firstOut = now
	}
	p.out++
	p.lastSent = now
	return beat{Probe: true, Wait: probePending}
}

// send puts probes on the connection. It has a goroutine of its own, since a full queue of datagrams blocks.
func (p *pulse) send(ctx context.Context, conn *quic.Conn) error {
	for {
		select {
		case n := <-p.line:
			if err := conn.SendDatagram(binary.BigEndian.AppendUint64(nil, n)); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// probe watches the connection until it is silent for too long, or empty after the hub has asked this edge to leave.
func (s *session) probe(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := uint64(0); ; {
		asked := false
		select {
		case <-timer.C:
		case <-s.pulse.now:
			asked = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if s.drained.Load() && s.inflight.Load() == 0 {
			return errLeft
		}
		b := s.pulse.look(time.Now(), s.conn.ConnectionStats().SmoothedRTT, s.u.pending(), asked)
		if b.Dead {
			return errSilent
		}
		if b.Probe {
			n++
			select {
			case s.pulse.line <- n:
			default: // the one before cannot leave either
			}
		}
		timer.Reset(b.Wait)
	}
}

// echoes hears the hub's echoes.
func (s *session) echoes(ctx context.Context) error {
	for {
		if _, err := s.conn.ReceiveDatagram(ctx); err != nil {
			return s.why(err)
		}
		s.pulse.touch()
	}
}

// awaitFresh returns nil once the hub has been heard within freshMax, probing where it was not.
func (s *session) awaitFresh(ctx context.Context) error {
	for {
		fresh, word := s.pulse.fresh(time.Now())
		if fresh {
			return nil
		}
		signal(s.pulse.now)
		select {
		case <-word:
		case <-s.conn.Context().Done():
			return context.Cause(s.conn.Context())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
