package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"tideover/internal/die"
	"tideover/wire"
)

// Limits of the control stream's own traffic.
const (
	ackWait       = 200 * time.Millisecond // how long acknowledgements wait for company
	ackBacklogMax = 4096                   // beyond it they are dropped: the hub repeats what it has not heard of
	anchorEvery   = 10 * time.Second       // between two tellings of a committed head, if it has moved
)

// session is one connection on which the hub has answered a hello.
type session struct {
	u      *Uplink
	dialer *dialer
	addr   string // as configured
	remote netip.AddrPort
	log    *slog.Logger

	socket    net.PacketConn
	transport *quic.Transport
	conn      *quic.Conn
	control   *quic.Stream
	hello     wire.Hello
	welcome   wire.Welcome

	inflight atomic.Int64  // calls on this connection
	leaving  chan struct{} // closed when it takes no more calls
	leave    sync.Once
	drained  atomic.Bool // the hub has asked this edge to leave

	pulse pulse

	ackDue, ackFull, terminalsDue, replayed chan struct{} // buffered signals

	mu   sync.Mutex // guards what follows
	acks []wire.Position
	fail context.CancelCauseFunc // ends the attempt; nil once it has succeeded
}

func newSession(u *Uplink, d *dialer, addr string, remote netip.AddrPort, fail context.CancelCauseFunc) *session {
	s := &session{
		u: u, dialer: d, addr: addr, remote: remote, log: u.log.With("addr", addr), fail: fail, leaving: make(chan struct{}),
		ackDue: make(chan struct{}, 1), ackFull: make(chan struct{}, 1), terminalsDue: make(chan struct{}, 1),
		replayed: make(chan struct{}, 1),
	}
	s.pulse.init()
	return s
}

// signal sets a buffered signal.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// linkDown is called by the socket where a send finds no way out. While connecting that is the end of the attempt; later the link may be back
// before it matters, so the connection is only doubted.
func (s *session) linkDown(err error) {
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	if fail != nil {
		fail(err)
		return
	}
	s.pulse.doubt()
}

// suspect doubts the connection and has it probed now.
func (s *session) suspect() {
	s.pulse.doubt()
	signal(s.pulse.now)
}

// greet opens the control stream and says hello.
func (s *session) greet(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.CloseWithError(wire.CloseDone, "given up") })
	defer stop()
	var err error
	if s.control, err = s.conn.OpenStreamSync(ctx); err != nil {
		return err
	}
	s.hello = s.u.peer.Hello()
	if err := wire.WriteFrame(s.control, wire.TypeHello, s.hello); err != nil {
		return s.why(err)
	}
	_, msg, err := wire.ReadFrame(s.control, wire.FromHub)
	if err != nil {
		return s.why(err)
	}
	switch m := msg.(type) {
	case wire.Welcome:
		s.welcome = m
	case wire.Refused:
		return &rejectedError{&RefusedError{m}}
	default:
		return &rejectedError{fmt.Errorf("the hub answered hello with a %T", msg)}
	}
	s.pulse.touch()
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	return nil
}

// close ends the connection and frees its socket.
func (s *session) close(code quic.ApplicationErrorCode, why string) {
	if s.conn != nil {
		_ = s.conn.CloseWithError(code, why)
	}
	_ = s.transport.Close()
	_ = s.socket.Close()
}

// why prefers the reason for which the connection ended to the error of a stream on it.
func (s *session) why(err error) error {
	if cause := context.Cause(s.conn.Context()); cause != nil {
		return cause
	}
	return err
}

// run serves the connection until it ends; the error says why it did.
func (s *session) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(gctx, func() {
		// Out of use first: whoever comes now hears that nothing has left, not that something is lost.
		cause := context.Cause(gctx)
		if ctx.Err() != nil {
			cause = errStopped
		}
		s.stop(cause)
		_ = s.conn.CloseWithError(closeCode(cause), cause.Error())
	})()
	if s.welcome.Terminals != s.hello.Terminals {
		signal(s.terminalsDue)
	}
	g.Go(func() error { return s.hear() })
	g.Go(func() error { return s.speak(gctx) })
	g.Go(func() error { return s.probe(gctx) })
	g.Go(func() error { return s.pulse.send(gctx, s.conn) })
	g.Go(func() error { return s.echoes(gctx) })
	err := g.Wait()
	if ctx.Err() != nil {
		err = errStopped
	}
	s.stop(err)
	s.close(wire.CloseDone, "")
	return err
}

// stop takes the connection out of use for new calls.
func (s *session) stop(why error) {
	s.u.retire(s, why)
	s.leave.Do(func() { close(s.leaving) })
}

// closeCode says to the hub why this side closes.
func closeCode(why error) quic.ApplicationErrorCode {
	for _, e := range []error{wire.ErrMalformed, wire.ErrTooLarge, wire.ErrUnknownType, wire.ErrWrongSide, errProtocol} {
		if errors.Is(why, e) {
			return wire.CloseProtocol
		}
	}
	return wire.CloseDone
}

// hear reads the control stream.
func (s *session) hear() error {
	for {
		_, msg, err := wire.ReadFrame(s.control, wire.FromHub)
		if errors.Is(err, io.EOF) && s.conn.Context().Err() == nil {
			return errors.New("the hub has closed the conversation")
		}
		if err != nil {
			return s.why(err)
		}
		s.pulse.touch()
		switch m := msg.(type) {
		case wire.Confirmation:
			// One that cannot be entered is not acknowledged, so the hub keeps it; the others go on.
			if err := s.u.peer.Confirm(m); err != nil {
				s.log.Warn("confirmation not taken", "txn", m.ID, "err", err)
			}
		case wire.Open:
			if err := s.u.peer.Open(m); err != nil {
				return err
			}
		case wire.CaughtUp:
			if err := s.u.peer.CaughtUp(m); err != nil {
				return err
			}
		case wire.TerminalsKept:
			// The list may have changed while the hub was writing the one that it was sent.
			if s.terminalsMoved() {
				signal(s.terminalsDue)
			}
		case wire.GoAway:
			s.log.Info("the hub is stopping")
			s.dialer.rest(s.addr, time.Duration(min(m.AfterMillis, restMax.Milliseconds()))*time.Millisecond)
			s.drained.Store(true)
			s.stop(errLeft)
		case wire.Refused:
			return &rejectedError{&RefusedError{m}}
		default:
			return fmt.Errorf("%w: a %T on the control stream", errProtocol, msg)
		}
	}
}

// speak writes to the control stream what this edge has to say of its own accord.
func (s *session) speak(ctx context.Context) error {
	anchor := time.NewTicker(anchorEvery)
	defer anchor.Stop()
	anchored := s.welcome.AnchorSeq
	err := s.sayAnchor(&anchored)
	for err == nil {
		select {
		case <-s.ackDue:
			// What is acknowledged has just been committed: a copy of the disk from before that is to be known as one.
			if err = s.sayAnchor(&anchored); err == nil {
				err = s.sayAcks(ctx)
			}
		case <-s.terminalsDue:
			err = s.sayTerminals()
		case <-s.replayed:
			err = wire.WriteFrame(s.control, wire.TypeReplayed, wire.Replayed{})
		case <-anchor.C:
			err = s.sayAnchor(&anchored)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return s.why(err)
}

// sayAnchor says the committed head, if it has moved since the last time.
func (s *session) sayAnchor(anchored *uint64) error {
	h := s.u.peer.Hello()
	if h.Seq <= *anchored {
		return nil
	}
	*anchored = h.Seq
	return wire.WriteFrame(s.control, wire.TypeAnchor, wire.Anchor{Seq: h.Seq, Head: h.Head})
}

// ack queues acknowledgements.
func (s *session) ack(have []wire.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.acks)+len(have) > ackBacklogMax {
		return
	}
	s.acks = append(s.acks, have...)
	signal(s.ackDue)
	if len(s.acks) >= wire.AckMax {
		signal(s.ackFull)
	}
}

// sayAcks says what is queued, after it has had the time to gather.
func (s *session) sayAcks(ctx context.Context) error {
	select {
	case <-time.After(ackWait):
	case <-s.ackFull:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	have := s.acks
	s.acks = nil
	s.mu.Unlock()
	for len(have) > 0 {
		n := min(len(have), wire.AckMax)
		die.At("edge.ack.before")
		if err := wire.WriteFrame(s.control, wire.TypeAck, wire.Ack{Have: have[:n]}); err != nil {
			return err
		}
		die.At("edge.ack.after")
		have = have[n:]
	}
	return nil
}

// sayTerminals says the whole list of terminals. One that no frame can carry is a defect of this edge, and no reason to part.
func (s *session) sayTerminals() error {
	list := s.u.peer.Terminals()
	s.mu.Lock()
	s.hello.Terminals = wire.TerminalsDigest(list)
	s.mu.Unlock()
	err := wire.WriteFrame(s.control, wire.TypeTerminals, wire.Terminals{Terminals: list})
	if errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge) {
		s.log.Error("the list of terminals cannot be sent to the hub", "err", err)
		return nil
	}
	return err
}

// terminalsMoved says whether the list is another than the one that was said last.
func (s *session) terminalsMoved() bool {
	digest := wire.TerminalsDigest(s.u.peer.Terminals())
	s.mu.Lock()
	defer s.mu.Unlock()
	return digest != s.hello.Terminals
}
