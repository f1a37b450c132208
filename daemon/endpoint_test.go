package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/internal/openapi"
	"tideover/terminal"
	"tideover/wire"
)

// agreeable is a hub whose platform approves what comes, and undoes what is to be undone.
func agreeable() *fakeHub {
	var mu sync.Mutex
	seen, seq := map[tideover.ID]bool{}, uint64(0)
	return &fakeHub{welcome: wire.Welcome{ReceiptKey: publicKey(signer(1))}, answer: func(msg any) []any {
		mu.Lock()
		defer mu.Unlock()
		seq++
		end := func(id tideover.ID, result tideover.State, code string) []any {
			return []any{wire.Confirmation{ID: id, HubSeq: seq, Corrected: result == tideover.StateReversed && seen[id], Outcome: tideover.Outcome{
				Result: result, Code: code, Reference: fmt.Sprint("P-", seq), At: tideover.MillisOf(time.Now()),
			}}}
		}
		switch m := msg.(type) {
		case wire.Submit:
			seen[m.ID] = true
			told := end(m.ID, tideover.StateApproved, "00")
			c := told[0].(wire.Confirmation)
			receipt := m.Receipt("shop-0001", c.Outcome, c.Corrected)
			c.Receipt = receipt.Sign(signer(1))
			return []any{c}
		case wire.Cancel:
			if seen[m.ID] {
				return end(m.ID, tideover.StateReversed, "")
			}
			return end(m.ID, tideover.StateCancelled, "")
		}
		return nil
	}}
}

// counter is an endpoint that listens, over the house's real desk.
type counter struct {
	*testing.T
	*house
	base string // its URL
	api  *openapi.Description
	stop func() // drains the endpoint
}

// serve opens the house's endpoint on a port of its own, and reads its own description from it.
func (h *house) serve(t *testing.T, change ...func(*terminal.Config)) *counter {
	t.Helper()
	cfg := terminal.DefaultConfig()
	cfg.Listen, cfg.Access, cfg.Lang = "127.0.0.1:0", terminal.AccessOpen, tideover.English
	for _, f := range change {
		f(&cfg)
	}
	if h.health == nil {
		h.health = func() terminal.Health {
			return standing{heard: h.heard(), uplink: "lo", methods: h.judge.now.Load().Methods}.health()
		}
	}
	s, err := terminal.New(cfg, h.desk, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	c := &counter{T: t, house: h, base: "http://" + s.Addr().String()}
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the endpoint: %v", err)
		}
	})
	t.Cleanup(func() { c.stop() })
	document := c.call("GET", "/v1/openapi.json", "", nil)
	if c.api, err = openapi.Load(document.body); err != nil {
		t.Fatal(err)
	}
	return c
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (a reply) field(t *testing.T, name string) any {
	t.Helper()
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return fields[name]
}

// call sends one request as a till that names itself till-1, over a connection of its own, and holds the answer to the description.
func (c *counter) call(method, path, body string, header http.Header) reply {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Tideover-Terminal", "till-1")
	maps.Copy(req.Header, header)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	a := reply{status: res.StatusCode, header: res.Header}
	if res.Header.Get("Content-Type") == "text/event-stream" {
		a.body = make([]byte, 64)
		n, _ := io.ReadFull(res.Body, a.body)
		a.body = a.body[:n]
	} else if a.body, err = io.ReadAll(res.Body); err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
	if c.api != nil {
		if err := c.api.Answer(method, path, a.status, a.header, a.body); err != nil {
			c.Errorf("not as described: %v", err)
		}
	}
	return a
}

// The examples of the description are sent as they stand, over a real connection to the real desk, and answered as it promises.
func TestEndpoint_RunsItsOwnExamples(t *testing.T) {
	h := newHouse(t)
	h.connect(t, agreeable())
	c := h.serve(t)
	all := c.api.Examples()
	run := func(method, path, name string, change ...func(*openapi.Example)) reply {
		t.Helper()
		i := slices.IndexFunc(all, func(e openapi.Example) bool { return e.Method == method && e.Path == path && e.Name == name })
		if i < 0 {
			t.Fatalf("%s %s has no example %s", method, path, name)
		}
		e := all[i]
		all = slices.Delete(all, i, i+1)
		for _, f := range change {
			f(&e)
		}
		a := c.call(e.Method, e.URL, string(e.Body), e.Header)
		if a.status != e.Status {
			t.Errorf("%s %s, %s: %d, and the description promises %d: %s", method, path, name, a.status, e.Status, a.body)
		}
		return a
	}
	const transactions, one = "/v1/transactions", "/v1/transactions/{id}"
	sold := run("POST", transactions, "sale")
	if again := run("POST", transactions, "pressed-twice"); again.field(t, "replayed") != true || again.field(t, "id") != sold.field(t, "id") {
		t.Errorf("pressed twice: %s", again.body)
	}
	run("POST", transactions, "refund")
	run("POST", transactions, "advice")
	run("POST", transactions, "other-body")
	run("POST", transactions, "malformed")
	run("POST", transactions, "unknown-original")
	run("POST", transactions, "same-order")
	run("POST", transactions, "another-purchase")
	if page := run("GET", transactions, "by-key"); !strings.Contains(string(page.body), fmt.Sprint(sold.field(t, "id"))) {
		t.Errorf("by key: %s", page.body)
	}
	run("GET", transactions, "unacknowledged")
	run("GET", transactions, "by-order")
	first := run("GET", transactions, "first-page")
	if rest := c.call("GET", fmt.Sprintf("%s?next=%v", transactions, first.field(t, "next")), "", nil); rest.status != 200 {
		t.Errorf("the link to the next page: %d %s", rest.status, rest.body)
	}
	run("GET", one, "read")
	run("GET", one, "of-nobody")
	run("POST", one+"/cancel", "of-nobody")
	run("GET", one+"/receipt", "read")
	run("POST", one+"/ack", "too-early")
	// The link from a sale's answer to its acknowledgement.
	ack := c.call("POST", fmt.Sprintf("%s/%v/ack", transactions, sold.field(t, "id")), fmt.Sprintf(`{"seq":%v}`, sold.field(t, "seq")), nil)
	if ack.status != 204 {
		t.Errorf("the link to the acknowledgement: %d %s", ack.status, ack.body)
	}
	run("POST", "/v1/cancel", "lost-press")
	run("POST", "/v1/cancel", "no-key")
	if events := run("GET", "/v1/events", "open"); !strings.HasPrefix(string(events.body), "retry: 2000\n\nevent: transaction\n") {
		t.Errorf("events: %q", events.body)
	}
	settled := run("POST", "/v1/settlements", "day-end")
	if settled.field(t, "hub_compared") != false { // this hub is of a version that cannot
		t.Errorf("settled: %s", settled.body)
	}
	run("POST", "/v1/settlements", "malformed")
	if asked := run("GET", "/v1/settlements/{id}", "read"); asked.field(t, "id") != settled.field(t, "id") {
		t.Errorf("asked again: %s", asked.body)
	}
	run("GET", "/v1/settlements/{id}", "of-nobody")
	run("POST", "/v1/pair", "no-code")
	run("POST", "/v1/pair", "pair", func(e *openapi.Example) { // a code is made on the spot
		code, _, err := h.tills.book.Open(terminal.Grant{})
		if err != nil {
			t.Fatal(err)
		}
		e.Body = bytes.Replace(e.Body, []byte("123456"), []byte(code), 1)
	})
	run("GET", "/v1/health", "now")
	for _, e := range all {
		t.Errorf("%s %s: the example %s was not run", e.Method, e.Path, e.Name)
	}
}
