package hub

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/ledger"
	"tideover/wire"
)

// Limits of the listener. At each of them the newcomer is refused, and the connection's close says why; what is in flight goes on.
const (
	connectionsMax = 50_000 // about 73 kB each
	// storeConnectionsMax is well above the uplinks of one router; beyond it the connection that has been silent longest is closed.
	storeConnectionsMax = 16
	enrolmentsMax       = 64
	// connectionIDSize makes an edge's probe, a datagram of 8 bytes, larger than the 42 bytes that a packet must exceed for quic-go to
	// answer it with a stateless reset (protocol.MinStatelessResetSize): 1 + 16 + 2 + 9 + 16 = 44. By it an edge notices at its next
	// probe that the hub was started again.
	connectionIDSize = 16
	// handshakesMax is how many handshakes may run before newcomers must first prove their address (Retry).
	handshakesMax = 256

	streamsMax       = 1000 // in flight on one connection; more wait at the edge
	streamWindow     = 64 << 10
	connectionWindow = 256 << 10
	idleMax          = 30 * time.Second
	handshakeMax     = 10 * time.Second
	frameWait        = 10 * time.Second // for a frame that a peer must send next, and for one of ours to be taken
	drainMax         = 8 * time.Second  // for what is in flight to be answered
)

// software is what this hub calls itself in its welcome.
const software = "tideover-hub " + tideover.Version

// server is the QUIC side: connections, their streams, and what is pushed to stores.
type server struct {
	listen  string
	keys    *keyring
	desk    *desk.Desk
	stores  *stores
	metrics *meters
	log     *slog.Logger
	now     func() time.Time

	socket    net.PacketConn
	transport *quic.Transport
	listener  *quic.Listener

	handshaking atomic.Int64
	connections atomic.Int64
	enrolments  atomic.Int64
	inflight    atomic.Int64 // transactions' streams being served

	mu       sync.Mutex // guards what follows
	sessions map[string]map[*session]struct{}
	draining bool
	// reconciling are the stores that a reconcile is answered for.
	reconciling map[string]bool

	reconciles chan struct{} // a place for each that is answered at once
	closings   chan struct{} // and of those of the ledger alone

	running sync.WaitGroup // connections
}

// open binds the port; the bound address is known from then on.
func (s *server) open() error {
	addr, err := net.ResolveUDPAddr("udp", s.listen)
	if err != nil {
		return &Error{
			What: text("listen = %q is not an address", "listen = %q 不是有效地址", s.listen), Err: err,
			Hint: text(`set listen to HOST:PORT, e.g. "0.0.0.0:8443"`, `请将 listen 设为 主机:端口，例如 "0.0.0.0:8443"`),
		}
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return listenError("UDP", s.listen, "listen", err)
	}
	s.socket = conn
	s.transport = &quic.Transport{
		Conn: conn, StatelessResetKey: (*quic.StatelessResetKey)(&s.keys.reset), TokenGeneratorKey: (*quic.TokenGeneratorKey)(&s.keys.token),
		ConnectionIDLength: connectionIDSize, ConnContext: s.handshake,
		VerifySourceAddress: func(net.Addr) bool { return s.handshaking.Load() > handshakesMax },
	}
	s.listener, err = s.transport.Listen(s.keys.ca.tlsConfig(s.keys.server), &quic.Config{
		HandshakeIdleTimeout: handshakeMax, MaxIdleTimeout: idleMax, MaxIncomingStreams: streamsMax, MaxIncomingUniStreams: -1,
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: connectionWindow,
		InitialConnectionReceiveWindow: connectionWindow, MaxConnectionReceiveWindow: 4 * connectionWindow,
		EnableDatagrams: true,
	})
	if err != nil {
		conn.Close()
		return fmt.Errorf("listen on %s: %w", s.listen, err)
	}
	return nil
}

// handshake counts one connection among those that shake hands, until it is accepted or fails.
type handshake struct {
	once  sync.Once
	count *atomic.Int64
}

type handshakeKey struct{}

func (h *handshake) done() { h.once.Do(func() { h.count.Add(-1) }) }

func (s *server) handshake(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	h := &handshake{count: &s.handshaking}
	s.handshaking.Add(1)
	context.AfterFunc(ctx, h.done)
	return context.WithValue(ctx, handshakeKey{}, h), nil
}

// addr is the address that the server is bound to.
func (s *server) addr() *net.UDPAddr { return s.socket.LocalAddr().(*net.UDPAddr) }

// run accepts connections until ctx ends, then drains: what is in flight is answered, for at most drainMax or until hurry ends.
func (s *server) run(ctx, hurry context.Context) error {
	serve, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var err error
	for {
		var conn *quic.Conn
		conn, err = s.listener.Accept(ctx)
		if err != nil {
			break
		}
		if h, ok := conn.Context().Value(handshakeKey{}).(*handshake); ok {
			h.done()
		}
		if s.connections.Add(1) > connectionsMax {
			s.connections.Add(-1)
			_ = conn.CloseWithError(wire.CloseBusy, "this hub has all the connections that it can take")
			continue
		}
		s.running.Go(func() {
			defer s.connections.Add(-1)
			s.serve(serve, conn)
		})
	}
	if ctx.Err() != nil {
		err = nil
		s.drain(hurry)
	}
	stop()
	s.closeAll(wire.CloseDraining, "this hub is stopping")
	s.running.Wait()
	s.close()
	return err
}

// close gives the port back. It may be called at any time and more than once.
func (s *server) close() {
	if s.listener != nil {
		s.listener.Close()
	}
	if s.transport != nil {
		s.transport.Close()
	}
	if s.socket != nil {
		s.socket.Close()
	}
}

// drain asks the edges to leave and waits for what is in flight.
func (s *server) drain(hurry context.Context) {
	s.mu.Lock()
	s.draining = true
	all := s.allLocked()
	s.mu.Unlock()
	s.log.Info("draining", "connections", len(all), "transactions", s.inflight.Load())
	for _, se := range all {
		se.tell(wire.TypeGoAway, wire.GoAway{})
	}
	deadline := time.NewTimer(drainMax)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.inflight.Load() > 0 {
		select {
		case <-tick.C:
		case <-deadline.C:
			s.log.Warn("stopping with transactions in flight; they stay in the ledger", "transactions", s.inflight.Load())
			return
		case <-hurry.Done():
			return
		}
	}
}

func (s *server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

func (s *server) allLocked() []*session {
	var all []*session
	for _, of := range s.sessions {
		for se := range of {
			all = append(all, se)
		}
	}
	return all
}

func (s *server) closeAll(code quic.ApplicationErrorCode, why string) {
	s.mu.Lock()
	all := s.allLocked()
	s.mu.Unlock()
	for _, se := range all {
		_ = se.conn.CloseWithError(code, why)
	}
}

// serve runs one connection to its end.
func (s *server) serve(ctx context.Context, conn *quic.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.CloseWithError(wire.CloseDraining, "this hub is stopping") })()
	state := conn.ConnectionState().TLS
	log := s.log.With("remote", conn.RemoteAddr().String())
	switch state.NegotiatedProtocol {
	case wire.EnrollProtocol:
		if s.enrolments.Add(1) > enrolmentsMax {
			_ = conn.CloseWithError(wire.CloseBusy, "too many enrolments at once; try again")
		} else {
			s.enrol(ctx, conn, log)
		}
		s.enrolments.Add(-1)
	case wire.Protocol:
		if len(state.PeerCertificates) == 0 {
			_ = conn.CloseWithError(wire.CloseProtocol, "no certificate")
			return
		}
		cert := state.PeerCertificates[0]
		se := newSession(s, conn, cert, log.With("store", cert.Subject.CommonName))
		if !s.enter(se) {
			return
		}
		defer s.leave(se)
		se.run(ctx)
	default:
		_ = conn.CloseWithError(wire.CloseProtocol, "unknown protocol")
	}
}

// enter registers a connection before its certificate is compared with the store's row, so that an end of the certificate that is
// committed meanwhile finds it.
func (s *server) enter(se *session) bool {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		_ = se.conn.CloseWithError(wire.CloseDraining, "this hub is stopping")
		return false
	}
	of := s.sessions[se.store]
	if of == nil {
		of = make(map[*session]struct{})
		s.sessions[se.store] = of
	}
	var oldest *session
	if len(of) >= storeConnectionsMax {
		for other := range of {
			if oldest == nil || other.heard.Load() < oldest.heard.Load() {
				oldest = other
			}
		}
	}
	of[se] = struct{}{}
	s.mu.Unlock()
	if oldest != nil {
		_ = oldest.conn.CloseWithError(wire.CloseBusy, "too many connections of this store: the one silent longest is closed")
	}
	return true
}

func (s *server) leave(se *session) {
	s.mu.Lock()
	of := s.sessions[se.store]
	delete(of, se)
	if len(of) == 0 {
		delete(s.sessions, se.store)
	}
	s.mu.Unlock()
	if se.welcomed() {
		// What it was to be told may have died with the connection, unheard or half written: another one says the outbox again, if there
		// is one; else the next hello does.
		if other := s.freshest(se.store); other != nil {
			other.replay()
		}
	}
}

// supersede parts with every connection of an earlier process of the store's edge: what is said to it would be said to nobody, and it is
// to know that it speaks for the store no more.
func (s *server) supersede(by *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for se := range s.sessions[by.store] {
		if se != by && se.welcomed() && se.incarnation != by.incarnation {
			se.tell(wire.TypeRefused, wire.Refused{Reason: wire.ReasonSuperseded, Detail: ledger.ErrSuperseded.Error()})
		}
	}
}

// freshest returns the store's connection that was heard from last and has said hello, or nil.
func (s *server) freshest(store string) (best *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for se := range s.sessions[store] {
		if se.welcomed() && (best == nil || se.heard.Load() > best.heard.Load()) {
			best = se
		}
	}
	return best
}

// push tells a store an end that no stream waits for. Where the store is not connected nothing is lost: its next hello has it said.
func (s *server) push(store string, c wire.Confirmation) {
	if se := s.freshest(store); se != nil {
		se.confirm(c)
	}
}

// heardAck notes at every connection of the store that it has these positions.
func (s *server) heardAck(store string, have []wire.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for se := range s.sessions[store] {
		se.acknowledged(have)
	}
}

// end closes the connections of a store whose certificate is not keep (the fingerprint; zero ends all).
func (s *server) end(store string, keep [32]byte, why string) {
	var old []*session
	s.mu.Lock()
	for se := range s.sessions[store] {
		if se.certificate != keep {
			old = append(old, se)
		}
	}
	s.mu.Unlock()
	for _, se := range old {
		se.log.Info("connection ended", "why", why)
		_ = se.conn.CloseWithError(wire.CloseRevoked, why)
	}
}

// connected returns how many connections a store has, and when it was last heard from on one of them.
func (s *server) connected(store string) (n int, heard tideover.Millis) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for se := range s.sessions[store] {
		n++
		heard = max(heard, tideover.Millis(se.heard.Load()))
	}
	return n, heard
}
