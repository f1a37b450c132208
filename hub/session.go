package hub

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"tideover"
	"tideover/internal/die"
	"tideover/wire"
)

const (
	// outgoingMax is how many frames may wait for the control stream; an edge that takes them more slowly gets what it missed
	// from the outbox once it has caught up.
	outgoingMax = 256
	// repeatAfter is how long a confirmation that was pushed may stay unacknowledged before it is said again: an edge
	// acknowledges within 200 ms of its commit.
	repeatAfter = 10 * time.Second
	repeatMax   = 5 * time.Minute
	// partWait is how long an edge that was refused has to read why.
	partWait = 2 * time.Second
	// outboxPage bounds how many confirmations of a replay are held in memory at once.
	outboxPage = 256
)

// errGone ends a session whose connection the hub itself has closed.
var errGone = errors.New("connection ended")

// outgoing is a frame for the control stream; an outgoing without a message asks for a replay.
type outgoing struct {
	kind wire.Type
	msg  any
}

// session is one connection of a store's edge.
type session struct {
	srv         *server
	conn        *quic.Conn
	store       string
	certificate [32]byte        // fingerprint
	issued      tideover.Millis // when the hub signed it, to the second
	log         *slog.Logger

	heard       atomic.Int64 // when anything last came, as tideover.Millis
	incarnation [16]byte     // set before ready is closed
	ready       chan struct{}
	out         chan outgoing
	missed      atomic.Bool // out was full: replay

	mu     sync.Mutex           // guards what follows
	unack  map[uint64]time.Time // hub sequences said on the control stream and not acknowledged, and when they were said
	repeat time.Duration        // how long they may stay so

	opened atomic.Bool // the control stream is open
}

func newSession(s *server, conn *quic.Conn, cert *x509.Certificate, log *slog.Logger) *session {
	se := &session{
		srv: s, conn: conn, store: cert.Subject.CommonName, certificate: fingerprint(cert.Raw), issued: issuedAt(cert), log: log,
		ready: make(chan struct{}), out: make(chan outgoing, outgoingMax), unack: make(map[uint64]time.Time), repeat: repeatAfter,
	}
	se.touch()
	return se
}

func (se *session) touch() { se.heard.Store(int64(tideover.MillisOf(se.srv.now()))) }

// welcomed says whether the hello was answered.
func (se *session) welcomed() bool {
	select {
	case <-se.ready:
		return true
	default:
		return false
	}
}

// run serves the connection until it ends.
func (se *session) run(ctx context.Context) {
	g, ctx := se.group(ctx)
	g.Go(func() error { return se.echo(ctx) })
	g.Go(func() error { return se.accept(ctx, g) })
	err := g.Wait()
	var closed *quic.ApplicationError
	if errors.As(err, &closed) || errors.Is(err, errGone) {
		se.log.Debug("connection closed", "err", err)
		return
	}
	se.log.Debug("connection lost", "err", err)
}

// group runs parts of a connection. The first that fails ends them all and the connection with them: reads of the control stream end
// with that alone, and half a connection would answer no probe, take no stream, and be chosen for pushes all the same.
func (se *session) group(parent context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(parent)
	context.AfterFunc(ctx, func() {
		if parent.Err() == nil { // else the parent says why
			_ = se.conn.CloseWithError(wire.CloseInternal, "the connection could not be served")
		}
	})
	return g, ctx
}

// echo returns datagrams: the edge measures its links by them.
func (se *session) echo(ctx context.Context) error {
	for {
		b, err := se.conn.ReceiveDatagram(ctx)
		if err != nil {
			return err
		}
		se.touch()
		// A full send queue loses a probe, as a network may.
		_ = se.conn.SendDatagram(b)
	}
}

// accept serves each stream that the edge opens. A stream's end never ends the connection, except the control stream's.
func (se *session) accept(ctx context.Context, g *errgroup.Group) error {
	for {
		st, err := se.conn.AcceptStream(ctx)
		if err != nil {
			return err
		}
		g.Go(func() error { return se.stream(ctx, st) })
	}
}

// stream reads a stream's first frame and does what it asks.
func (se *session) stream(ctx context.Context, st *quic.Stream) error {
	_ = st.SetReadDeadline(time.Now().Add(frameWait))
	kind, msg, err := wire.ReadFrame(st, wire.FromEdge)
	if err != nil {
		return se.unreadable(st, err)
	}
	se.touch()
	if kind == wire.TypeHello {
		return se.control(ctx, st, msg.(wire.Hello))
	}
	defer st.CancelRead(wire.StreamDone)
	select {
	case <-se.ready:
	case <-time.After(frameWait):
		return se.close(wire.CloseProtocol, "no hello")
	case <-ctx.Done():
		return ctx.Err()
	}
	if q, ok := msg.(wire.Reconcile); ok {
		return se.reconcile(ctx, st, q)
	}
	return se.transaction(ctx, st, kind, msg)
}

// unreadable ends a stream, or the connection where the peer breaks the protocol rather than being slow or gone.
func (se *session) unreadable(st *quic.Stream, err error) error {
	var peer *quic.StreamError
	switch {
	case errors.Is(err, io.EOF), errors.As(err, &peer):
		st.CancelRead(wire.StreamDone)
		st.CancelWrite(wire.StreamDone)
		return nil
	case isTimeout(err):
		se.srv.metrics.slow.Inc()
		st.CancelRead(wire.StreamSlow)
		st.CancelWrite(wire.StreamSlow)
		return nil
	case se.conn.Context().Err() != nil:
		return errGone
	}
	se.srv.metrics.malformed.Inc()
	se.log.Warn("bad frame", "err", err)
	return se.close(wire.CloseProtocol, err.Error())
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	var idle *quic.IdleTimeoutError
	return errors.As(err, &t) && t.Timeout() && !errors.As(err, &idle)
}

// close ends the connection and returns errGone.
func (se *session) close(code quic.ApplicationErrorCode, why string) error {
	_ = se.conn.CloseWithError(code, why)
	return errGone
}

// write sends one frame; an edge that does not take it within frameWait is cut off.
func (se *session) write(st *quic.Stream, kind wire.Type, msg any) error {
	_ = st.SetWriteDeadline(time.Now().Add(frameWait))
	if kind == wire.TypeConfirmation {
		die.At("hub.send.before")
		defer die.At("hub.send.after")
		se.srv.metrics.confirmations.Inc()
	}
	return wire.WriteFrame(st, kind, msg)
}

// transaction serves one transaction's stream: got at once, then what the desk tells, up to an end.
func (se *session) transaction(ctx context.Context, st *quic.Stream, kind wire.Type, msg any) error {
	se.srv.inflight.Add(1)
	defer se.srv.inflight.Add(-1)
	if err := se.write(st, wire.TypeGot, wire.Got{}); err != nil {
		st.CancelWrite(wire.StreamSlow)
		return nil
	}
	if se.srv.isDraining() && kind != wire.TypeAsk {
		return se.finish(st, wire.Refused{Reason: wire.ReasonDraining, Detail: "this hub is stopping"})
	}
	box := newMailbox()
	// An end that this stream cannot say any more is pushed: the edge may be there on another link.
	defer box.abandon(func(c wire.Confirmation) { se.srv.push(se.store, c) })
	// The stream's context ends when the edge stops listening; the desk carries on without it.
	sctx, cancel := context.WithCancel(st.Context())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	if err := se.ask(sctx, kind, msg, box); err != nil {
		return err
	}
	for {
		told, last, err := box.take(sctx)
		if err != nil {
			st.CancelWrite(wire.StreamDone)
			return nil
		}
		if last {
			return se.finish(st, told)
		}
		if err := se.write(st, wire.TypeProgress, told); err != nil {
			st.CancelWrite(wire.StreamSlow)
			return nil
		}
		if p := told.(wire.Progress); p.State == tideover.StateNone || p.State == tideover.StateManual {
			// Nothing follows by machine; an end that a person gives later is pushed. An edge that has stopped listening meanwhile
			// makes closing fail: that ends nothing but the stream.
			_ = st.Close()
			return nil
		}
	}
}

// ask hands a frame to the desk.
func (se *session) ask(ctx context.Context, kind wire.Type, msg any, box *mailbox) error {
	d := se.srv.desk
	switch m := msg.(type) {
	case wire.Submit:
		d.Submit(ctx, se.store, se.incarnation, m, box.put)
	case wire.Ask:
		d.Ask(ctx, se.store, m, box.put)
	case wire.Cancel:
		d.Cancel(ctx, se.store, se.incarnation, m, box.put)
	case wire.Expire:
		d.Expire(ctx, se.store, se.incarnation, m, box.put)
	case wire.Settle:
		d.Settle(ctx, se.store, m, box.put)
	case wire.Replay:
		d.Replay(ctx, se.store, m, box.put)
	default:
		se.srv.metrics.malformed.Inc()
		return se.close(wire.CloseProtocol, fmt.Sprintf("frame type %d does not open a stream", kind))
	}
	return nil
}

// finish says the end on its stream and closes it. An end that could not be said is pushed: the edge may be there on another link.
func (se *session) finish(st *quic.Stream, end any) error {
	var err error
	switch end := end.(type) {
	case wire.Confirmation:
		if err = se.write(st, wire.TypeConfirmation, end); err != nil {
			se.srv.push(se.store, end)
		}
	case wire.Refused:
		se.srv.metrics.refused.Inc()
		err = se.write(st, wire.TypeRefused, end)
	}
	if err != nil {
		st.CancelWrite(wire.StreamSlow)
		return nil
	}
	_ = st.Close()
	return nil
}
