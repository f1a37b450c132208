package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tideover"
)

// pipes is a listener whose connections are in memory, so that a bubble's clock drives their deadlines.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// patient is a desk whose transactions never end, and that counts what it takes.
type patient struct {
	Desk
	accepted   int
	feed       fountain
	unfinished atomic.Int64
}

func (d *patient) Taken(tideover.Transaction) {}

func (d *patient) Authenticate(string) (Caller, bool) { return Caller{UID: "u", Name: "till-1"}, true }

func (d *patient) Accept(_ context.Context, _ Caller, key string, _ Override, r tideover.Request) (tideover.Transaction, error) {
	d.accepted++
	return tideover.Transaction{ID: tideover.MakeID("shop", "u", key), Kind: r.Kind, State: tideover.StateQueued, Seq: 1}, nil
}

func (d *patient) Wait(ctx context.Context, _ Caller, _ tideover.ID, _ uint64) (tideover.Transaction, error) {
	<-ctx.Done()
	return tideover.Transaction{}, ctx.Err()
}

// inBubble runs an endpoint in a bubble, and hands the test a way to connect to it.
func inBubble(t *testing.T, test func(t *testing.T, d *patient, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		d := &patient{feed: fountain{due: make(chan struct{}, 1)}}
		s, err := New(DefaultConfig(), d, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		s.listener = p
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		test(t, d, func() net.Conn {
			here, there := net.Pipe()
			p.conns <- there
			return here
		})
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the endpoint ended with %v", err)
		}
	})
}

func (d *patient) Cancel(_ context.Context, _ Caller, id tideover.ID) (tideover.Transaction, error) {
	return tideover.Transaction{ID: id, State: tideover.StateReversing, Seq: 1}, nil
}

func (d *patient) CancelKey(ctx context.Context, by Caller, key string) (tideover.Transaction, error) {
	return d.Cancel(ctx, by, tideover.MakeID("shop", "u", key))
}

// A cancel is on disk at once; its answer waits for the end as long as the till says, and else not for long.
func TestServer_HoldsTheAnswerToACancel(t *testing.T) {
	for path, body := range map[string]string{
		"/v1/cancel": `{"key":"k"}`, "/v1/transactions/" + tideover.MakeID("shop", "u", "k").String() + "/cancel": "",
	} {
		for prefer, want := range map[string]time.Duration{"": cancelWaitMax, "Prefer: wait=0\r\n": 0, "Prefer: wait=30\r\n": 30 * time.Second} {
			inBubble(t, func(t *testing.T, _ *patient, dial func() net.Conn) {
				conn := dial()
				defer conn.Close()
				start := time.Now()
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n%sContent-Length: %d\r\n\r\n%s", path, prefer, len(body), body)
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				if took := time.Since(start); res.StatusCode != 202 || took != want || res.Header.Get("Retry-After") == "" || res.Header.Get("Location") == "" {
					t.Errorf("%s %s: %d after %s with %v", path, prefer, res.StatusCode, took, res.Header)
				}
			})
		}
	}
}

const saleHead = "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nIdempotency-Key: k\r\n"

// hungUp reads until the endpoint closes the connection, and returns what came first and how long that took.
func hungUp(conn net.Conn) (got string, after time.Duration) {
	start := time.Now()
	b, _ := io.ReadAll(conn)
	conn.Close()
	return string(b), time.Since(start)
}

func TestServer_ClosesOnSlowSenders(t *testing.T) {
	for name, row := range map[string]struct {
		sent  string
		drip  string // again each second
		limit time.Duration
	}{
		"silence from the start":           {"", "", headerTimeMax},
		"a header byte by byte":            {"POST /v1/transactions HTTP/1.1\r\nX: ", "x", headerTimeMax},
		"half of HTTP/2's first words":     {"PRI * HTTP/2", "", headerTimeMax},
		"a body byte by byte":              {saleHead + "Content-Length: 100\r\n\r\n{", " ", bodyTimeMax},
		"chunks that never end":            {saleHead + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", bodyTimeMax},
		"the body of somebody unknown":     {"POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", " ", bodyTimeMax},
		"a body for an address of nowhere": {"POST /v1/none HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", " ", bodyTimeMax},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, d *patient, dial func() net.Conn) {
				conn := dial()
				var dripping sync.WaitGroup
				defer dripping.Wait()
				dripping.Go(func() {
					_, err := io.WriteString(conn, row.sent)
					for err == nil && row.drip != "" {
						time.Sleep(time.Second)
						_, err = io.WriteString(conn, row.drip)
					}
				})
				if got, after := hungUp(conn); after > row.limit+2*time.Second || strings.HasPrefix(got, "HTTP/1.1 20") {
					t.Errorf("after %s, want %s: %s", after, row.limit, got)
				}
				if d.accepted != 0 {
					t.Error("half a request was taken")
				}
			})
		})
	}
}

// On HTTP/2 the slow body alone is given up, not what else its connection carries.
func TestServer_GivesUpASlowStream(t *testing.T) {
	inBubble(t, func(t *testing.T, d *patient, dial func() net.Conn) {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		dials := 0
		transport := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
			dials++
			return dial(), nil
		}}
		defer transport.CloseIdleConnections()
		send := func(key string, body io.Reader) (*http.Response, error) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://edge/v1/transactions", body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Authorization": {"Bearer t"}, "Idempotency-Key": {key}, "Prefer": {"wait=60"}}
			return transport.RoundTrip(req)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if res, err := send("k", strings.NewReader("{}")); err != nil || res.StatusCode != 202 {
				t.Errorf("the other stream: %v, %v", res, err)
			}
		})
		synctest.Wait()
		never, write := io.Pipe()
		defer write.Close()
		start := time.Now()
		if res, err := send("slow", never); err == nil {
			t.Errorf("half a request was answered with %d", res.StatusCode)
		}
		if after := time.Since(start); after > bodyTimeMax+time.Second {
			t.Errorf("given up after %s", after)
		}
		waiting.Wait()
		if d.accepted != 1 || dials != 1 {
			t.Errorf("%d accepted over %d connections", d.accepted, dials)
		}
	})
}

func TestServer_ClosesOnIdleConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *patient, dial func() net.Conn) {
		conn := dial()
		go io.WriteString(conn, "GET /v1/none HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, after := hungUp(conn); after > idleMax+time.Second {
			t.Errorf("open for %s", after)
		}
	})
}

func TestServer_ClosesOnATillThatDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *patient, dial func() net.Conn) {
		conn := dial()
		if _, err := io.WriteString(conn, "GET /v1/none HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(writeMax + time.Second)
		if got, _ := hungUp(conn); strings.Contains(got, "urn:") {
			t.Errorf("the answer waited: %s", got)
		}
	})
}

// No deadline of the connection may cut the longest wait, and the next request of the same connection finds none of the last one's.
func TestServer_DeadlinesSpareTheLongestWait(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *patient, dial func() net.Conn) {
		conn := dial()
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for i := range 3 {
			start := time.Now()
			body := `{"kind":"sale"}`
			fmt.Fprintf(conn, "%sPrefer: wait=60\r\nContent-Length: %d\r\n\r\n%s", saleHead, len(body), body)
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("request %d, after %s: %v", i, time.Since(start), err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 202 || time.Since(start) != WaitMax {
				t.Errorf("request %d: %d after %s, %v", i, res.StatusCode, time.Since(start), err)
			}
			time.Sleep(idleMax - time.Second)
		}
	})
}

func TestBook_CodeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Book
		take := func(Grant) error { return nil }
		code := func() string {
			t.Helper()
			c, expires, err := b.Open(Grant{Name: "till-1"})
			if err != nil || len(c) != codeDigits || expires != time.Now().Add(CodeLife) {
				t.Fatalf("%q, %s, %v", c, expires, err)
			}
			return c
		}
		refused := func(c string) bool {
			r, ok := errors.AsType[*tideover.Refusal](b.Redeem(c, take))
			return ok && r.Code == tideover.CodeForbidden
		}
		once := code()
		if refused(once) || !refused(once) {
			t.Error("a code is not for once")
		}
		late := code()
		time.Sleep(CodeLife - time.Second)
		if refused(late) {
			t.Error("a code died early")
		}
		late = code()
		time.Sleep(CodeLife)
		if !refused(late) {
			t.Error("a code outlived its time")
		}
		guessed, other := code(), code()
		for range CodeTriesMax - 1 {
			refused("no code")
		}
		if refused(guessed) {
			t.Errorf("a code died before %d wrong tries", CodeTriesMax)
		}
		if refused("no code"); !refused(other) {
			t.Errorf("a code outlived %d wrong tries", CodeTriesMax)
		}
		kept, failure := code(), errors.New("the disk")
		if err := b.Redeem(kept, func(Grant) error { return failure }); !errors.Is(err, failure) {
			t.Errorf("the failure was lost: %v", err)
		}
		if refused(kept) {
			t.Error("a code was used up by a failure")
		}
		for range CodesMax {
			code()
		}
		if _, _, err := b.Open(Grant{}); !errors.Is(err, ErrTooManyCodes) {
			t.Errorf("one code too many: %v", err)
		}
		time.Sleep(CodeLife)
		code()
	})
}

func TestRoster_KnowsATillByItsToken(t *testing.T) {
	var r Roster
	if _, ok := r.Match(""); ok {
		t.Error("the empty roster lets somebody in")
	}
	good, goodHash := NewToken()
	revoked, revokedHash := NewToken()
	r.Set([]tideover.Terminal{
		{UID: "open", Name: "open"}, // no token: paired by its word alone
		{UID: "1", Name: "till-1", TokenHash: goodHash},
		{UID: "2", Name: "till-2", TokenHash: revokedHash, Revoked: true},
	})
	if by, ok := r.Match(good); !ok || by != (Caller{"1", "till-1"}) {
		t.Errorf("%+v, %v", by, ok)
	}
	for _, token := range []string{"", revoked, good + " ", good[:len(good)-1], strings.ToLower(good)} {
		if by, ok := r.Match(token); ok {
			t.Errorf("%q lets in %+v", token, by)
		}
	}
}
