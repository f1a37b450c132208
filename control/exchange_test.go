package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// foreign listens at a socket of its own and does with each connection what do says; it returns the socket.
func foreign(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); do(conn) }()
		}
	}()
	return path
}

// says is a peer that writes s, whatever it is asked, and hangs up.
func says(s string) func(net.Conn) {
	return func(conn net.Conn) {
		http.ReadRequest(bufio.NewReader(conn))
		io.WriteString(conn, s)
	}
}

// hangs is a peer that writes s and then nothing, until the client hangs up.
func hangs(s string) func(net.Conn) {
	return func(conn net.Conn) { io.WriteString(conn, s); io.Copy(io.Discard, conn) }
}

// What is at the socket may be another program, or a daemon that hangs or dies: each is told apart, and none holds the technician up.
func TestClient_SaysWhatIsWrongAtTheOtherEnd(t *testing.T) {
	const wait = 100 * time.Millisecond
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
	for name, tc := range map[string]struct {
		do   func(net.Conn)
		what string // of which error
	}{
		"silent":             {hangs(""), "does not answer"},
		"stops in the head":  {hangs("HTTP/1.1 200 OK\r\nContent-"), "does not answer"},
		"stops in the body":  {hangs(ok), "does not answer"},
		"dies at once":       {func(net.Conn) {}, "cannot be reached"},
		"dies in the head":   {says("HTTP/1.1 200 OK\r\n"), "cannot be reached"},
		"dies in the body":   {says(ok), "cannot be reached"},
		"speaks something":   {says("220 mail.example.com ESMTP\r\n"), "cannot be reached"},
		"speaks without end": {func(conn net.Conn) { go io.Copy(io.Discard, conn); io.Copy(conn, zeroes{}) }, "cannot be reached"},
		"sends elsewhere":    {says("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), "answered 302 Found"},
		"serves something":   {says("HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nno such page"), "answered 404 Not Found"},
		"answers a refusal":  {says("HTTP/1.1 409 Conflict\r\nContent-Length: 31\r\n\r\n{\"what\":{\"en\":\"no, it is not\"}}"), "no, it is not"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Client{path: foreign(t, tc.do), wait: wait}
			// More than the kernel takes of a call that nobody reads.
			for _, call := range []struct {
				name string
				make func() error
			}{
				{"a question", func() error { _, err := c.Status(t.Context()); return err }},
				{"an order", func() error {
					_, err := c.Act(t.Context(), "012345", Action{Verb: VerbHold, Reason: strings.Repeat("x", 1<<20)})
					return err
				}},
			} {
				err := call.make()
				var what string
				if e, ok := errors.AsType[*SocketError](err); ok && errors.Is(err, ErrUnreachable) {
					what = e.What.En
				} else if e, ok := errors.AsType[*Error](err); ok {
					what = e.What.En
				}
				if !strings.Contains(what, tc.what) {
					t.Errorf("%s: have %v, want one that says %q", call.name, err, tc.what)
				}
			}
		})
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { return len(b), nil }

// The limit of a head is not that of what follows.
func TestClient_ReadsALongAnswer(t *testing.T) {
	store := strings.Repeat("x", 1<<20)
	body := `{"store":"` + store + `"}`
	path := foreign(t, says(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
	if s, err := Dial(path).Status(t.Context()); err != nil || s.Store != store {
		t.Errorf("have %d bytes, %v", len(s.Store), err)
	}
}

// Who gives up is not told that the daemon is at fault, and is not kept.
func TestClient_LeavesWhenItsCallerDoes(t *testing.T) {
	reached := make(chan struct{}, 3)
	c := &Client{wait: time.Hour, path: foreign(t, func(conn net.Conn) {
		http.ReadRequest(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		reached <- struct{}{}
		io.Copy(io.Discard, conn)
	})}
	for name, call := range map[string]func(context.Context) error{
		"status": func(ctx context.Context) error { _, err := c.Status(ctx); return err },
		"export": func(ctx context.Context) error { return c.Export(ctx, func(Detail) error { return nil }) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-reached; cancel() }()
		left := make(chan error, 1)
		go func() { left <- call(ctx) }()
		select {
		case err := <-left:
			if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: have %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: its caller has left, and is kept", name)
		}
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, having left before: have %v", name, err)
		}
	}
	if len(reached) != 0 {
		t.Error("a call left after its caller had")
	}
}

// An export whose next line does not come has broken off; one whose reader is slow goes on.
func TestClient_WaitsForEachLineOfAnExport(t *testing.T) {
	const wait = 200 * time.Millisecond
	const line = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n"
	taken := make(chan struct{}, 2)
	for _, tc := range []struct {
		name  string
		do    func(net.Conn)
		lines int
		whole bool
	}{
		{"a slow reader", func(conn net.Conn) {
			io.WriteString(conn, line)
			<-taken
			io.WriteString(conn, "3\r\n{}\n\r\n0\r\n\r\n")
			io.Copy(io.Discard, conn)
		}, 2, true},
		{"a daemon that hangs", hangs(line), 1, false},
		{"a daemon that dies", says(line), 1, false},
	} {
		n := 0
		c := &Client{path: foreign(t, tc.do), wait: wait}
		err := c.Export(t.Context(), func(Detail) error {
			n++
			time.Sleep(2 * wait)
			taken <- struct{}{}
			return nil
		})
		if n != tc.lines || (err == nil) != tc.whole || err != nil && !strings.Contains(err.Error(), "broke off") {
			t.Errorf("%s: %d lines, %v", tc.name, n, err)
		}
		for len(taken) > 0 {
			<-taken
		}
	}
}

// What a person types as an id stays one segment of the path: a server takes dots for steps, and slashes for further segments.
func TestClient_SendsAnIDAsItWasTyped(t *testing.T) {
	for _, id := range []string{"a b", "a/b", ".", "..", "../status", "a?b", "a#b", "%2E", "前台", "a\r\nX: y"} {
		asked := make(chan string, 1)
		l := foreign(t, func(conn net.Conn) {
			defer close(asked)
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err != nil {
				asked <- err.Error()
				return
			}
			mux := http.NewServeMux()
			mux.HandleFunc("/v1/transactions/{id}", func(_ http.ResponseWriter, r *http.Request) { asked <- r.PathValue("id") })
			mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { asked <- "a call of " + r.URL.Path })
			mux.ServeHTTP(httptest.NewRecorder(), r)
		})
		Dial(l).Show(t.Context(), id)
		if have := <-asked; have != id {
			t.Errorf("asked for %q, want %q", have, id)
		}
	}
}
