package hub

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// soon bounds waits for what must come; nothing is measured by it.
const soon = 20 * time.Second

// testHub is a real hub on loopback over a real ledger, with a platform behind HTTP that counts.
type testHub struct {
	t        *testing.T
	config   Config
	platform *sandbox.Platform
	gate     atomic.Pointer[func(*http.Request)] // each request to the platform passes it; nil: it stands open
	ready    Ready
	log      *logBuffer
	stop     context.CancelFunc
	done     chan error
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testConfig(t *testing.T, url string) Config {
	dir, err := os.MkdirTemp("", "hub") // a Unix socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := Default()
	c.Listen, c.Metrics = "127.0.0.1:0", "127.0.0.1:0"
	c.StateDir, c.Admin = filepath.Join(dir, "state"), filepath.Join(dir, "admin.sock")
	c.Platform.URL, c.Platform.Timeout = url, 2*time.Second
	return c
}

func newTestHub(t *testing.T, b sandbox.Behaviour) *testHub {
	t.Helper()
	p := sandbox.New(sandbox.Options{Behaviour: b})
	h := &testHub{t: t, platform: p, log: &logBuffer{}}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gate := h.gate.Load(); gate != nil {
			(*gate)(r)
		}
		p.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	h.config = testConfig(t, web.URL)
	h.start()
	t.Cleanup(func() {
		h.shut()
		if t.Failed() {
			t.Logf("hub's log:\n%s", h.log)
		}
	})
	return h
}

func (h *testHub) start() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan Ready, 1)
	h.stop, h.done = cancel, make(chan error, 1)
	go func() {
		h.done <- Run(ctx, h.config, Options{
			Log:   slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Ready: func(r Ready) { ready <- r },
		})
	}()
	select {
	case h.ready = <-ready:
	case err := <-h.done:
		h.t.Fatalf("hub: %v", err)
	case <-time.After(soon):
		h.t.Fatal("hub is not ready")
	}
}

// shut drains the hub and waits for its end.
func (h *testHub) shut() error {
	if h.stop == nil {
		return nil
	}
	h.stop()
	h.stop = nil
	select {
	case err := <-h.done:
		return err
	case <-time.After(soon):
		return errors.New("the hub does not stop")
	}
}

// add makes a store and returns its token.
func (h *testHub) add(name string) wire.Token {
	h.t.Helper()
	return h.token(newClient(h.config.Admin).Add(h.t.Context(), name, time.Hour))
}

func (h *testHub) rotate(name string) wire.Token {
	h.t.Helper()
	return h.token(newClient(h.config.Admin).Rotate(h.t.Context(), name, time.Hour))
}

func (h *testHub) token(n NewToken, err error) wire.Token {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	t, err := wire.ParseToken(n.Token)
	if err != nil {
		h.t.Fatal(err)
	}
	return t
}

// testEdge is what an edge keeps after its enrolment.
type testEdge struct {
	t           *testing.T
	addr        string
	key         *ecdsa.PrivateKey
	enrolled    wire.Enrolled
	incarnation [16]byte
	have        uint64
	features    wire.Features
}

func newEdge(t *testing.T, token wire.Token) *testEdge {
	t.Helper()
	e := &testEdge{t: t, addr: token.Addresses[0]}
	e.key, _ = newKey()
	rand.Read(e.incarnation[:])
	reply, err := e.enrol(token)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := reply.(wire.Enrolled)
	if !ok {
		t.Fatalf("enrolment: got %#v", reply)
	}
	e.enrolled = got
	return e
}

// enrol does one enrolment and returns the hub's answer.
func (e *testEdge) enrol(token wire.Token) (any, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), soon)
	defer cancel()
	conn, err := quic.DialAddr(ctx, e.addr, &tls.Config{
		NextProtos: []string{wire.EnrollProtocol}, ServerName: wire.ServerName, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, c := range s.PeerCertificates {
				if sha256.Sum256(c.Raw) == token.CAHash {
					return nil
				}
			}
			return errors.New("the chain does not end in the token's CA")
		},
	}, nil)
	if err != nil {
		return nil, err
	}
	defer conn.CloseWithError(0, "")
	st, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, e.key)
	if err != nil {
		return nil, err
	}
	if err := wire.WriteFrame(st, wire.TypeEnroll, wire.Enroll{Secret: token.Secret, CSR: csr}); err != nil {
		return nil, err
	}
	st.Close()
	_, msg, err := wire.ReadFrame(st, wire.FromHub)
	return msg, err
}

func (e *testEdge) tls() *tls.Config {
	ca, _ := x509.ParseCertificate(e.enrolled.CA)
	pool := x509.NewCertPool()
	if ca != nil {
		pool.AddCert(ca)
	}
	return &tls.Config{
		NextProtos: []string{wire.Protocol}, ServerName: wire.ServerName, RootCAs: pool,
		Certificates: []tls.Certificate{{Certificate: [][]byte{e.enrolled.Certificate}, PrivateKey: e.key}},
	}
}

// link is one connection after its hello.
type link struct {
	t       *testing.T
	conn    *quic.Conn
	control *quic.Stream
	welcome wire.Welcome
	said    []wire.Confirmation // at the hello; filled in by greet
}

func (e *testEdge) dial() *quic.Conn {
	e.t.Helper()
	return e.dialWith(&quic.Config{EnableDatagrams: true, MaxIdleTimeout: 30 * time.Second})
}

func (e *testEdge) dialWith(c *quic.Config) *quic.Conn {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), soon)
	defer cancel()
	conn, err := quic.DialAddr(ctx, e.addr, e.tls(), c)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { conn.CloseWithError(0, "") })
	return conn
}

// hello opens the control stream and returns what the hub answers first.
func (e *testEdge) hello(conn *quic.Conn) (*quic.Stream, any, error) {
	e.t.Helper()
	st, err := conn.OpenStream()
	if err != nil {
		return nil, nil, err
	}
	st.SetReadDeadline(time.Now().Add(soon))
	if err := wire.WriteFrame(st, wire.TypeHello, wire.Hello{Incarnation: e.incarnation, HaveThrough: e.have, Features: e.features, Software: "test"}); err != nil {
		return nil, nil, err
	}
	_, msg, err := wire.ReadFrame(st, wire.FromHub)
	return st, msg, err
}

func (e *testEdge) connect() *link {
	e.t.Helper()
	conn := e.dial()
	st, msg, err := e.hello(conn)
	w, ok := msg.(wire.Welcome)
	if !ok {
		e.t.Fatalf("hello: got %#v, %v", msg, err)
	}
	return &link{t: e.t, conn: conn, control: st, welcome: w}
}

// next reads the control stream.
func (l *link) next() any {
	l.t.Helper()
	l.control.SetReadDeadline(time.Now().Add(soon))
	_, msg, err := wire.ReadFrame(l.control, wire.FromHub)
	if err != nil {
		l.t.Fatalf("control stream: %v", err)
	}
	return msg
}

// replay reads the control stream up to caught up.
func (l *link) replay() (said []wire.Confirmation, through uint64) {
	l.t.Helper()
	for {
		switch m := l.next().(type) {
		case wire.Confirmation:
			said = append(said, m)
		case wire.CaughtUp:
			return said, m.Through
		}
	}
}

func (l *link) ack(have ...wire.Position) {
	l.t.Helper()
	if err := wire.WriteFrame(l.control, wire.TypeAck, wire.Ack{Have: have}); err != nil {
		l.t.Fatal(err)
	}
}

// open sends one frame on a stream of its own.
func (l *link) open(kind wire.Type, msg any) *quic.Stream {
	l.t.Helper()
	st, err := l.conn.OpenStream()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := wire.WriteFrame(st, kind, msg); err != nil {
		l.t.Fatal(err)
	}
	st.Close()
	return st
}

// end reads a transaction's stream to its last frame; the first must be got.
func (l *link) end(st *quic.Stream) any {
	l.t.Helper()
	st.SetReadDeadline(time.Now().Add(soon))
	for first := true; ; first = false {
		_, msg, err := wire.ReadFrame(st, wire.FromHub)
		if err != nil {
			l.t.Fatalf("stream: %v", err)
		}
		switch msg.(type) {
		case wire.Got:
			if !first {
				l.t.Fatal("got came twice")
			}
		case wire.Progress:
		default:
			return msg
		}
		if _, ok := msg.(wire.Got); first && !ok {
			l.t.Fatalf("the first frame is %#v, want got", msg)
		}
	}
}

func (l *link) submit(s wire.Submit) any { return l.end(l.open(wire.TypeSubmit, s)) }

// sale makes a request as an edge sends it.
func (e *testEdge) sale(key string, amount int64) wire.Submit {
	r := tideover.Request{Kind: tideover.KindSale, Amount: amount, Currency: "CNY", ExpiresIn: 45 * time.Second}
	now := tideover.MillisOf(time.Now())
	return wire.Submit{
		ID: tideover.MakeID(e.enrolled.Store, "uid-1", key), TerminalUID: "uid-1", Terminal: "till-1", Key: key,
		Hash: r.Hash(e.enrolled.StoreSecret[:]), Request: r, CreatedAt: now, ExpiresAt: now.Add(45 * time.Second),
	}
}

func mustEnd(t *testing.T, got any, want tideover.State) wire.Confirmation {
	t.Helper()
	c, ok := got.(wire.Confirmation)
	if !ok || c.Outcome.Result != want {
		t.Fatalf("got %s, want %s", fmt.Sprintf("%#v", got), want)
	}
	return c
}

// eventually waits for something that nothing announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
