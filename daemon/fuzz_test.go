package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tideover/edge"
	"tideover/queue"
	"tideover/rules"
	"tideover/terminal"
	"tideover/uplink"
)

// memory is a listener whose connections are in memory.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}
func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

// sender is a connection on which everything has been sent already. It ends where a request or a body would need more; while an answer is
// being made, when the server watches with a buffer of one byte whether the till is still there, it stays for a moment.
type sender struct {
	in      *bytes.Reader
	mu      sync.Mutex // guards out
	out     bytes.Buffer
	expired chan struct{} // a read deadline has passed
	closed  chan struct{}
	once    sync.Once
}

// lingers is how long a till that has sent everything waits for what is held.
const lingers = 100 * time.Millisecond

func (c *sender) Read(p []byte) (int, error) {
	if c.in.Len() > 0 {
		return c.in.Read(p)
	}
	if len(p) > 1 {
		return 0, io.EOF
	}
	select {
	case <-c.expired:
		return 0, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, net.ErrClosed
	case <-time.After(lingers):
		return 0, io.EOF
	}
}

func (c *sender) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

func (c *sender) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		select {
		case c.expired <- struct{}{}:
		default:
		}
	}
	return nil
}

func (c *sender) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *sender) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *sender) SetWriteDeadline(time.Time) error { return nil }
func (c *sender) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *sender) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// contractStatuses are those that the endpoint may answer with; the last ones are net/http's own, about what is no HTTP.
var contractStatuses = []int{200, 202, 204, 400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429, 500, 503, 507, 100, 417, 431, 501, 505}

// brokenLog hears of a panic that the endpoint has caught: the till only sees its connection closed.
type brokenLog struct{ said atomic.Pointer[string] }

func (*brokenLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (b *brokenLog) WithAttrs([]slog.Attr) slog.Handler             { return b }
func (b *brokenLog) WithGroup(string) slog.Handler                  { return b }
func (b *brokenLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "broke") || strings.Contains(r.Message, "a request failed") {
		said := r.Message
		r.Attrs(func(a slog.Attr) bool { said += " " + a.String(); return true })
		b.said.CompareAndSwap(nil, &said)
	}
	return nil
}

// FuzzExchange: whatever bytes come over a connection to the real desk over a real journal, each answer is HTTP with a status of the contract,
// and a problem is one; the journal still opens afterwards.
func FuzzExchange(f *testing.F) {
	const host = "Host: 127.0.0.1\r\nTideover-Terminal: till-1\r\n"
	sale := `{"kind":"sale","amount":1299,"currency":"CNY","method":"qr"}`
	post := func(path, body string, header string) string {
		return "POST " + path + " HTTP/1.1\r\n" + host + header + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	}
	for _, seed := range []string{
		post("/v1/transactions", sale, "Idempotency-Key: k\r\nPrefer: wait=0\r\n"),
		post("/v1/transactions", `{"kind":"refund","amount":1,"currency":"CNY","original":"y49p4j302d1d313cs3axahr7m0"}`, "Idempotency-Key: r\r\nPrefer: wait=0\r\n"),
		post("/v1/cancel", `{"key":"k"}`, "Prefer: wait=0\r\n") + "GET /v1/transactions?limit=2 HTTP/1.1\r\n" + host + "\r\n",
		post("/v1/pair", `{"code":"123456"}`, ""),
		post("/v1/transactions/y49p4j302d1d313cs3axahr7m0/ack", `{"seq":1}`, ""),
		"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/openapi.json HTTP/1.0\r\n\r\n",
		"POST /v1/transactions HTTP/1.1\r\n" + host + "Idempotency-Key: c\r\nTransfer-Encoding: chunked\r\n\r\n3c\r\n" + sale + "\r\n0\r\n\r\n",
		post("/v1/settlements", `{"totals":[{"kind":"sale","currency":"CNY","count":1,"amount":5}],"items":[{"key":"k","kind":"sale","amount":5,"currency":"CNY"}]}`, "Idempotency-Key: d\r\nPrefer: wait=0\r\n"),
		"GET /v1/settlements/6pc4t2cnvmswesysn750px3cmr?wait=0 HTTP/1.1\r\n" + host + "\r\n",
		"GET /v1/transactions/y49p4j302d1d313cs3axahr7m0/receipt HTTP/1.1\r\n" + host + "\r\n",
		"HEAD /v1/transactions HTTP/1.1\r\n" + host + "Accept-Language: zh\r\nAccept: text/html\r\n\r\n",
		"GET /v1/events HTTP/1.1\r\n" + host + "Last-Event-ID: c8800899b3db727241b537ed21ec9862-1048592\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"\x16\x03\x01\x00\xa5\x01", "GET / HTTP/1.1\r\n\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	path, key := filepath.Join(f.TempDir(), "queue.db"), queue.OneKey([32]byte{7})
	if err := queue.Create(path, key, queue.Ident{Store: "shop-0001"}); err != nil {
		f.Fatal(err)
	}
	var broken brokenLog
	log := slog.New(&broken)
	q, err := queue.Open(queue.Options{Path: path, Key: key, Store: "shop-0001", SizeMax: 16 << 20, Log: log})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = q.Run(ctx) })
	clock := newLedgerClock()
	up := uplink.New(uplink.Config{Name: "lo", Addresses: []string{"127.0.0.1:1"}}, nil, log) // it does not run: no hub is heard
	d := &desk{
		store: "shop-0001", secret: []byte("secret"), boot: thisBoot, judge: &judge{queue: q, log: log}, queue: q, clock: clock, books: newBooks(q, up), knows: up.Knows,
		receipts: newReceipts("shop-0001", filepath.Dir(path), q, log),
		tills:    &tills{queue: q, log: log, changed: func() {}}, closing: func() bool { return false }, past: func() edge.Past { return edge.Past{} },
		heard: func() bool { return false }, health: func() terminal.Health { return standing{}.health() }, log: log,
	}
	d.tills.load()
	if _, err := d.judge.enact(ctx, rules.Rules{Limits: rules.Limits{OfflineCountMax: 2000}, Duplicates: rules.DefaultDuplicates()}); err != nil {
		f.Fatal(err)
	}
	cfg := terminal.DefaultConfig()
	cfg.Listen, cfg.Access, cfg.DefaultWait = "127.0.0.1:0", terminal.AccessOpen, 0
	s, err := terminal.New(cfg, d, log)
	if err != nil {
		f.Fatal(err)
	}
	w := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: time.Second, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	running.Go(func() { _ = server.Serve(w) })
	f.Cleanup(func() {
		server.Close()
		cancel()
		running.Wait()
		if err := q.Close(); err != nil {
			f.Error(err)
		}
		again, err := queue.Open(queue.Options{Path: path, Key: key, Store: "shop-0001", Log: log})
		if err != nil {
			f.Fatalf("the journal does not open any more: %v", err)
		}
		again.Close()
	})
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := &sender{in: bytes.NewReader(sent), expired: make(chan struct{}, 1), closed: make(chan struct{})}
		w.conns <- c
		select {
		case <-c.closed:
		case <-time.After(time.Minute):
			t.Fatalf("the connection stays open after %q", sent)
		}
		if said := broken.said.Load(); said != nil {
			t.Fatalf("%q breaks the endpoint: %s", sent, *said)
		}
		c.mu.Lock()
		r := bufio.NewReader(bytes.NewReader(slices.Clone(c.out.Bytes())))
		c.mu.Unlock()
		for {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				return
			}
			if !slices.Contains(contractStatuses, res.StatusCode) {
				t.Fatalf("answered %s to %q", res.Status, sent)
			}
			if res.Header.Get("Content-Type") == "text/event-stream" {
				return
			}
			if res.ContentLength > 0 && isHead(sent) {
				return // which of the answers are to a HEAD is not told here
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return
			}
			if res.Header.Get("Content-Type") == "application/problem+json" {
				var p trouble
				if err := json.Unmarshal(body, &p); err != nil || p.Status != res.StatusCode || p.Type != "urn:tideover:problem:"+string(p.Code) || p.Detail == "" {
					t.Fatalf("%s to %q", body, sent)
				}
			}
		}
	})
}

func isHead(sent []byte) bool { return bytes.Contains(sent, []byte("HEAD")) }
