package control

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// answer is the daemon's answer to one call, on a connection of its own: a command makes one call, and leaves. It is read before it is
// closed.
type answer struct {
	*http.Response
	conn   net.Conn
	forget func() bool // ends the watch over the caller's context
}

// Close hangs up. What was not read is lost.
func (a *answer) Close() {
	a.forget()
	a.conn.Close()
}

// extend gives the daemon this long from now for what is read next.
func (a *answer) extend(wait time.Duration) { a.conn.SetDeadline(time.Now().Add(wait)) }

// whole reads a body that fits in memory.
func (a *answer) whole() ([]byte, error) { return io.ReadAll(io.LimitReader(a.Body, answerMax)) }

// exchange sends one call and reads the head of its answer. It stands where an [http.Client] might: that one brings proxies, redirects,
// cookies, HTTP/2 and compression, 0.5 MB on mipsle and nothing of it at the end of a Unix socket; docs/decisions/017. A call that the
// daemon would take (bodyMax) fits into the socket's buffer, so that writing it waits for nobody.
func (c *Client) exchange(ctx context.Context, method, path string, body []byte) (_ *answer, err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	conn, err := dial(c.path)
	if err != nil {
		return nil, err
	}
	a := &answer{conn: conn, forget: context.AfterFunc(ctx, func() { conn.Close() })}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	a.extend(c.wait)
	_, unsent := conn.Write(request(method, path, body))
	// A daemon that refuses a call need not read all of it: its answer counts, whether or not the call has left.
	from := &listener{conn: conn}
	head := &io.LimitedReader{R: from, N: headerMax}
	a.Response, err = http.ReadResponse(bufio.NewReader(head), &http.Request{Method: method})
	if err != nil {
		return nil, cmp.Or(from.failed, unsent, err)
	}
	head.N = math.MaxInt64
	return a, nil
}

// listener reads from a connection and remembers why it could not: what parses a head calls one that stops half-way malformed.
type listener struct {
	conn   net.Conn
	failed error
}

// Read implements io.Reader.
func (l *listener) Read(b []byte) (int, error) {
	n, err := l.conn.Read(b)
	if err != nil && err != io.EOF {
		l.failed = err
	}
	return n, err
}

// request is a call as HTTP/1.1 has it. path is escaped.
func request(method, path string, body []byte) []byte {
	b := []byte(method + " " + path + " HTTP/1.1\r\nHost: tideover\r\nConnection: close\r\n")
	if body != nil {
		b = append(b, "Content-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n"...)
	}
	return append(append(b, "\r\n"...), body...)
}

// segment escapes what a person typed into one segment of a path: dots too, of which a server makes steps up and down.
func segment(s string) string {
	return strings.ReplaceAll(url.PathEscape(s), ".", "%2E")
}
