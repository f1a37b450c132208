package uplink

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/wire"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority signs for hubs and edges of a test.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(20, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return &authority{key, cert}
}

func (a *authority) sign(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(20, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	check(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *authority) hubTLS(t *testing.T) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{a.sign(t, wire.ServerName)}, NextProtos: []string{wire.Protocol},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool(),
	}
}

func (a *authority) edgeTLS(t *testing.T) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.sign(t, "shop-0001")}, RootCAs: a.pool()}
}

// testHub speaks the hub's side of the protocol over real QUIC, as a test wants it.
type testHub struct {
	t         *testing.T
	socket    net.PacketConn
	transport *quic.Transport
	running   sync.WaitGroup

	welcome wire.Welcome
	refuse  *wire.Refused
	outbox  []wire.Confirmation
	open    []wire.Open
	// answer serves a transaction's stream after its frame was read; nil answers got and an approval.
	answer func(st *quic.Stream, kind wire.Type, msg any) error

	mu    sync.Mutex // guards what follows
	heard []any      // every frame but hello
	conns []*quic.Conn
	said  []*quic.Stream // every control stream, the newest last
	hello []wire.Hello
}

var (
	testLedger = [16]byte{1}
	resetKey   = quic.StatelessResetKey{9}
)

func startHub(t *testing.T, socket net.PacketConn, c *tls.Config, change func(*testHub)) *testHub {
	t.Helper()
	h := &testHub{t: t, socket: socket, welcome: wire.Welcome{Ledger: testLedger, LedgerTime: 1_700_000_000_000, Terminals: wire.TerminalsDigest(nil)}}
	if change != nil {
		change(h)
	}
	h.transport = &quic.Transport{Conn: socket, StatelessResetKey: &resetKey, ConnectionIDLength: 8}
	l, err := h.transport.Listen(c, &quic.Config{EnableDatagrams: true, MaxIncomingStreams: 1000})
	check(t, err)
	h.running.Go(func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			h.running.Go(func() { h.serve(conn) })
		}
	})
	return h
}

// stop ends the hub; its connections' ends are told to the edges.
func (h *testHub) stop() {
	h.transport.Close()
	h.socket.Close()
	h.running.Wait()
}

func (h *testHub) serve(conn *quic.Conn) {
	h.mu.Lock()
	h.conns = append(h.conns, conn)
	h.mu.Unlock()
	h.running.Go(func() {
		for {
			b, err := conn.ReceiveDatagram(conn.Context())
			if err != nil {
				return
			}
			_ = conn.SendDatagram(b)
		}
	})
	for {
		st, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		h.running.Go(func() { h.stream(conn, st) })
	}
}

func (h *testHub) note(msg any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, msg)
}

func (h *testHub) stream(conn *quic.Conn, st *quic.Stream) {
	kind, msg, err := wire.ReadFrame(st, wire.FromEdge)
	if err != nil {
		return
	}
	if hello, ok := msg.(wire.Hello); ok {
		h.control(conn, st, hello)
		return
	}
	h.note(msg)
	answer := h.answer
	if answer == nil {
		answer = approve
	}
	if err := answer(st, kind, msg); err != nil {
		st.CancelWrite(1)
		return
	}
	st.Close()
}

func (h *testHub) control(conn *quic.Conn, st *quic.Stream, hello wire.Hello) {
	h.mu.Lock()
	h.hello = append(h.hello, hello)
	h.said = append(h.said, st)
	h.mu.Unlock()
	if h.refuse != nil {
		h.say(st, wire.TypeRefused, *h.refuse)
		return
	}
	h.say(st, wire.TypeWelcome, h.welcome)
	for _, o := range h.open {
		h.say(st, wire.TypeOpen, o)
	}
	for _, c := range h.outbox {
		h.say(st, wire.TypeConfirmation, c)
	}
	h.say(st, wire.TypeCaughtUp, wire.CaughtUp{Through: uint64(len(h.outbox))})
	for {
		_, msg, err := wire.ReadFrame(st, wire.FromEdge)
		if err != nil {
			return
		}
		h.note(msg)
	}
}

func (h *testHub) say(st *quic.Stream, kind wire.Type, msg any) {
	if err := wire.WriteFrame(st, kind, msg); err != nil && st.Context().Err() == nil {
		h.t.Error(err)
	}
}

// push says a frame on the newest control stream that is open: of several attempts to connect an older one may have been the faster.
func (h *testHub) push(kind wire.Type, msg any) {
	h.mu.Lock()
	open := h.said[0]
	for _, st := range h.said {
		if st.Context().Err() == nil {
			open = st
		}
	}
	h.mu.Unlock()
	h.say(open, kind, msg)
}

func (h *testHub) connections() []*quic.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*quic.Conn(nil), h.conns...)
}

// heardOf returns the frames of one type that the hub has heard.
func heardOf[T any](h *testHub) (all []T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.heard {
		if one, ok := m.(T); ok {
			all = append(all, one)
		}
	}
	return all
}

func idOf(msg any) tideover.ID {
	switch m := msg.(type) {
	case wire.Submit:
		return m.ID
	case wire.Ask:
		return m.ID
	case wire.Cancel:
		return m.ID
	case wire.Expire:
		return m.Submit.ID
	case wire.Settle:
		return m.Submit.ID
	case wire.Replay:
		return m.Submit.ID
	}
	return tideover.ID{}
}

func confirmation(id tideover.ID, seq uint64) wire.Confirmation {
	return wire.Confirmation{ID: id, HubSeq: seq, Outcome: tideover.Outcome{Result: tideover.StateApproved, Code: "00"}}
}

func approve(st *quic.Stream, _ wire.Type, msg any) error {
	return errors.Join(
		wire.WriteFrame(st, wire.TypeGot, wire.Got{}),
		wire.WriteFrame(st, wire.TypeProgress, wire.Progress{State: tideover.StatePending}),
		wire.WriteFrame(st, wire.TypeConfirmation, confirmation(idOf(msg), 1)),
	)
}

// gotOnly reads and never answers.
func gotOnly(st *quic.Stream, _ wire.Type, _ any) error {
	err := wire.WriteFrame(st, wire.TypeGot, wire.Got{})
	<-st.Context().Done()
	return err
}

// approveAfter reads, and answers once it is let go.
func approveAfter(release <-chan struct{}) func(*quic.Stream, wire.Type, any) error {
	return func(st *quic.Stream, kind wire.Type, msg any) error {
		if err := wire.WriteFrame(st, wire.TypeGot, wire.Got{}); err != nil {
			return err
		}
		<-release
		return approve(st, kind, msg)
	}
}

// testPeer records what an uplink tells it.
type testPeer struct {
	mu        sync.Mutex // guards what follows
	said      []string   // in order
	confirmed []wire.Confirmation
	list      []tideover.Terminal
	seq       uint64
	full      error // what it says to an Open
}

func (p *testPeer) note(format string, args ...any) {
	p.said = append(p.said, fmt.Sprintf(format, args...))
}

func (p *testPeer) Hello() wire.Hello {
	p.mu.Lock()
	defer p.mu.Unlock()
	return wire.Hello{Incarnation: [16]byte{7}, Seq: p.seq, Terminals: wire.TerminalsDigest(p.list)}
}

func (p *testPeer) Welcome(addr string, _ wire.Hello, w wire.Welcome) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("welcome %s", addr)
	if w.Ledger != testLedger {
		return errors.New("another ledger")
	}
	return nil
}

func (p *testPeer) Confirm(c wire.Confirmation) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("confirm %d", c.HubSeq)
	p.confirmed = append(p.confirmed, c)
	return nil
}

func (p *testPeer) Open(o wire.Open) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("open %s", o.Submit.Key)
	return p.full
}

func (p *testPeer) CaughtUp(c wire.CaughtUp) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("caught up %d", c.Through)
	return nil
}

func (p *testPeer) Terminals() []tideover.Terminal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]tideover.Terminal(nil), p.list...)
}

func (p *testPeer) order() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.said...)
}

func (p *testPeer) set(change func(*testPeer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// testLog shows what the uplink logs where a test is verbose.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func submit(key string, kind tideover.Kind) wire.Submit {
	s := wire.Submit{
		ID: tideover.MakeID("shop-0001", "u1", key), TerminalUID: "u1", Terminal: "till-1", Key: key,
		Request: tideover.Request{Kind: kind, Amount: 1, Currency: "CNY"}, CreatedAt: 1,
	}
	if kind.Undoes() {
		s.Request.Original = tideover.MakeID("shop-0001", "u1", "original")
	}
	return s
}
