package terminal_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tideover/terminal"
)

// served fails unless another till is served at once.
func (c *counter) served(other, key string) {
	c.Helper()
	start := time.Now()
	c.must(202, sell(key, "Authorization:", "Authorization: Bearer "+other))
	if took := time.Since(start); took > 5*time.Second {
		c.Errorf("another till waited for %s", took)
	}
}

// A till that posts in a loop is slowed down, and the others are not. A key that it knows is answered whatever its pace.
func TestServer_HoldsATillToItsPace(t *testing.T) {
	c := openCounter(t, func(cfg *terminal.Config) { cfg.TillRate = 1 })
	other := c.pair("till-2")
	taken := 0
	var refused answer
	for i := range 20 {
		if a := c.do(sell(fmt.Sprint("loop", i))); a.status == 202 {
			taken++
		} else {
			refused = a
		}
	}
	if taken < 5 || taken > 15 || refused.status != 429 || refused.header.Get("Retry-After") != "1" {
		t.Errorf("%d of 20 were taken at one a second, and the last one refused with %d", taken, refused.status)
	}
	if a := c.do(post("/v1/cancel", `{"key":"never"}`)); a.status != 429 {
		t.Errorf("a cancel of a new key: %d", a.status)
	}
	for range 20 {
		c.must(202, sell("loop0"))
		c.must(200, post("/v1/cancel", `{"key":"loop1"}`))
		c.must(200, get("/v1/transactions?key=loop0"))
	}
	c.served(other, "k")
	before := c.desk.accepted
	time.Sleep(1100 * time.Millisecond)
	c.must(202, sell("loop19"))
	if c.desk.accepted != before+1 {
		t.Error("a key that was refused is not free")
	}
}

// What is being read of all bodies is bounded; a till's share does not touch another's.
func TestServer_BoundsTheMemoryOfBodies(t *testing.T) {
	c := openCounter(t)
	other := c.pair("till-2")
	const share = 2 << 20 / terminal.BodyMax
	for range share {
		conn := c.dial()
		fmt.Fprintf(conn, "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nIdempotency-Key: k\r\nContent-Length: %d\r\n\r\n{", c.token, terminal.BodyMax)
	}
	until(t, func() bool { return c.do(sell("one-more")).status == 429 })
	c.served(other, "k")
	for range 10 { // whoever is not known may send little
		if a := c.do(post("/v1/pair", `{"code":"1","name":"`+strings.Repeat("x", 5<<10)+`"}`, "Authorization:")); a.status != 413 {
			t.Errorf("a stranger's 5 KiB: %d", a.status)
		}
	}
}

// A client that opens HTTP/2 streams and takes them back as fast as it can (CVE-2023-44487) keeps nobody else from being served, and leaves
// nothing behind.
func TestServer_OutlastsStreamsThatAreTakenBack(t *testing.T) {
	c := openCounter(t)
	other := c.pair("till-2")
	before := runtime.NumGoroutine()
	conn := c.dial()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	var w bytes.Buffer
	framer := http2.NewFramer(&w, nil)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	h := hpack.NewEncoder(&block)
	for stream := uint32(1); stream < 20_000; stream += 2 {
		block.Reset()
		for _, f := range [][2]string{
			{":method", "POST"},
			{":path", "/v1/transactions"},
			{":scheme", "http"},
			{":authority", "x"},
			{"authorization", "Bearer " + c.token},
			{"idempotency-key", fmt.Sprint("rapid", stream)},
		} {
			_ = h.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
		_ = framer.WriteData(stream, true, []byte(`{"kind":"sale","amount":5,"currency":"CNY"}`))
		_ = framer.WriteRSTStream(stream, http2.ErrCodeCancel)
		if w.Len() > 32<<10 {
			if _, err := conn.Write(w.Bytes()); err != nil {
				break // it was cut off
			}
			w.Reset()
		}
	}
	c.served(other, "k")
	conn.Close()
	until(t, func() bool { return runtime.NumGoroutine() <= before+10 })
}

// Requests that come before the last one was answered are answered in their order.
func TestServer_AnswersAPipelineInOrder(t *testing.T) {
	c := openCounter(t)
	conn := c.dial()
	const n = 50
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "GET /v1/pipe%d HTTP/1.1\r\nHost: x\r\n\r\n", i)
	}
	if _, err := io.WriteString(conn, all.String()); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for i := range n {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		if want := fmt.Sprintf(`"instance":"/v1/pipe%d"`, i); res.StatusCode != 404 || !strings.Contains(string(body), want) {
			t.Errorf("number %d: %d %s", i, res.StatusCode, body)
		}
	}
}

// What is no good request is answered with a status that says so, or not at all, and nothing of it is taken.
func TestServer_TurnsAwayWhatIsNoRequest(t *testing.T) {
	c := openCounter(t)
	auth := "Authorization: Bearer " + c.token + "\r\nIdempotency-Key: k\r\n"
	const head = "POST /v1/transactions HTTP/1.1\r\nHost: x\r\n"
	body := `{"kind":"sale","amount":5,"currency":"CNY"}`
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	for name, row := range map[string]struct {
		sent   string
		status string // of the first answer; "" is none
	}{
		"words":                              {"HELO edge\r\n\r\n", "400"},
		"a header without an end":            {head + "X: " + strings.Repeat("x", 40<<10), "431"},
		"very many headers":                  {head + strings.Repeat("X: y\r\n", 8<<10), "431"},
		"two lengths":                        {head + auth + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + body, "400"},
		"a length and chunks":                {head + auth + "Transfer-Encoding: chunked\r\n" + length + "\r\n", ""}, // a chunk's length is no JSON
		"a length below 0":                   {head + auth + "Content-Length: -1\r\n\r\n", "400"},
		"a coding that there is not":         {head + auth + "Transfer-Encoding: gzip\r\n\r\n", "501"},
		"no host":                            {"GET /v1/health HTTP/1.1\r\n\r\n", "400"},
		"a header that is folded":            {"GET /v1/health HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n: c\r\n\r\n", "400"},
		"an expectation of its own":          {head + auth + "Expect: tea\r\n" + length, "417"},
		"a huge body that waits to be asked": {head + auth + "Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", "413"},
		"a body nobody is let in with":       {head + "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n", "401"},
		"a proxy's method":                   {"CONNECT edge:443 HTTP/1.1\r\nHost: edge:443\r\n\r\n", "404"},
		"another's whole address":            {"GET http://evil.example/v1/health HTTP/1.1\r\nHost: evil.example\r\n\r\n", "200"},
		"a path with dots":                   {"GET /v1/../v1/health HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		"two slashes":                        {"GET //v1//health HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		"HTTP of tomorrow":                   {"GET /v1/health HTTP/9.9\r\nHost: x\r\n\r\n", "505"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := c.dial()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			var sending sync.WaitGroup
			defer sending.Wait()
			sending.Go(func() { _, _ = io.WriteString(conn, row.sent) })
			line, err := bufio.NewReader(conn).ReadString('\n')
			if _, status, _ := strings.Cut(line, " "); !strings.HasPrefix(status, row.status) || (status == "") != (row.status == "") {
				t.Errorf("answered %q, %v; want %q", line, err, row.status)
			}
			conn.Close()
		})
	}
	if c.desk.accepted != 0 {
		t.Errorf("%d were taken", c.desk.accepted)
	}
}

// A till that has closed its sending half has gone: it asks again, and what it pressed is there once.
func TestServer_TakesAHalfClosedTillForGone(t *testing.T) {
	c := openCounter(t)
	conn := c.dial().(*net.TCPConn)
	body := `{"kind":"sale","amount":1299,"currency":"CNY"}`
	fmt.Fprintf(conn, "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nIdempotency-Key: k\r\nPrefer: wait=60\r\nContent-Length: %d\r\n\r\n%s", c.token, len(body), body)
	c.desk.awaitWaits(t, 1)
	_ = conn.CloseWrite()
	c.desk.awaitWaits(t, 0)
	if again := transaction(t, c.must(202, sell("k"))); !again.Replayed {
		t.Errorf("asked again: %+v", again)
	}
}
