package terminal_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/terminal"
)

// told is one event as a till reads it.
type told struct{ name, id, data string }

// listener is a till that reads a stream of events, as the standard says.
type listener struct {
	t      *testing.T
	status int
	header http.Header
	events chan told
	ended  chan error // nil: in order
	leave  context.CancelFunc
}

// listen opens a stream; header lines are as in a call.
func (c *counter) listen(client *http.Client, header ...string) *listener {
	c.Helper()
	ctx, leave := context.WithCancel(c.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+c.addr+"/v1/events", nil)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "text/event-stream")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		req.Header.Set(name, strings.TrimSpace(value))
	}
	res, err := client.Do(req)
	if err != nil {
		leave()
		c.Fatal(err)
	}
	l := &listener{
		t: c.T, status: res.StatusCode, header: res.Header, events: make(chan told, 1000), ended: make(chan error, 1), leave: leave,
	}
	c.Cleanup(leave)
	go func() {
		defer res.Body.Close()
		l.ended <- readEvents(res.Body, func(e told) { l.events <- e })
	}()
	return l
}

// readEvents reads a stream to its end: nil where that is in order.
func readEvents(r io.Reader, each func(told)) error {
	lines := bufio.NewReader(r)
	var e told
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF && line == "" {
			return nil
		}
		if err != nil {
			return err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data += value
		case "":
			if line == "\n" && e.data != "" {
				each(e)
				e = told{id: e.id}
			}
		}
	}
}

// next is the next event.
func (l *listener) next() (e told) {
	l.t.Helper()
	select {
	case e = <-l.events:
	case err := <-l.ended:
		l.t.Fatalf("the stream ended with %v", err)
	case <-time.After(10 * time.Second):
		l.t.Fatal("no event came")
	}
	return e
}

// want reads the next event, which is a transaction's.
func (l *listener) want(key string, state tideover.State) (tideover.Transaction, string) {
	l.t.Helper()
	e := l.next()
	tx := transaction(l.t, answer{body: []byte(e.data)})
	if e.name != "transaction" || tx.Key != key || tx.State != state || e.id == "" {
		l.t.Fatalf("told %q with the id %q: %s, want %s of %s", e.name, e.id, e.data, state, key)
	}
	return tx, e.id
}

// quiet fails where an event has come.
func (l *listener) quiet() {
	l.t.Helper()
	select {
	case e := <-l.events:
		l.t.Errorf("told %+v", e)
	case <-time.After(50 * time.Millisecond):
	}
}

// clients are one for each protocol, each with connections of its own.
func clients(t *testing.T) map[string]*http.Client {
	one, two := &http.Client{Transport: &http.Transport{}}, h2()
	t.Cleanup(one.CloseIdleConnections)
	t.Cleanup(two.CloseIdleConnections)
	return map[string]*http.Client{"HTTP/1.1": one, "HTTP/2": two}
}

// sold presses a key and moves it on.
func (c *counter) sold(key string, states ...tideover.State) tideover.Transaction {
	c.Helper()
	tx := transaction(c.T, c.must(202, sell(key)))
	for _, s := range states {
		c.desk.tell(tx.ID, s)
	}
	return tx
}

func TestEvents_TellsWhatIsUnacknowledgedThenEachChange(t *testing.T) {
	for name, client := range clients(t) {
		t.Run(name, func(t *testing.T) {
			c := openCounter(t)
			open := c.sold("open")
			paid := c.sold("paid", tideover.StateApproved)
			l := c.listen(client)
			if l.status != 200 || l.header.Get("Content-Type") != "text/event-stream" || l.header.Get("X-Accel-Buffering") != "no" ||
				!strings.Contains(l.header.Get("Cache-Control"), "no-store") || l.header.Get("Content-Length") != "" {
				t.Errorf("%d with %v", l.status, l.header)
			}
			l.want("paid", tideover.StateApproved)
			l.want("open", tideover.StateQueued)
			c.desk.tell(open.ID, tideover.StateSent)
			l.want("open", tideover.StateSent)
			c.desk.tell(open.ID, tideover.StateDeclined)
			e := l.next()
			// It is what GET serves, but that GET knows that the end was delivered by the stream.
			c.awaitDelivered(open.ID)
			body := string(c.must(200, get("/v1/transactions/"+open.ID.String())).body)
			tx := transaction(t, answer{body: []byte(e.data)})
			body = strings.Replace(body, `"delivered":true`, `"delivered":false`, 1)
			body = strings.Replace(body, fmt.Sprintf(`"seq":%d`, tx.Seq+1), fmt.Sprintf(`"seq":%d`, tx.Seq), 1)
			if e.data+"\n" != body {
				t.Errorf("told %s, and GET serves %s", e.data, body)
			}
			c.awaitDelivered(paid.ID)
			l.quiet() // that it was delivered is no news to who has read it
			c.must(204, post("/v1/transactions/"+open.ID.String()+"/ack", fmt.Sprintf(`{"seq":%d}`, tx.Seq)))
			if tx, _ := l.want("open", tideover.StateDeclined); !tx.Acknowledged || !tx.Delivered {
				t.Errorf("the acknowledgement was told as %+v", tx)
			}
		})
	}
}

// awaitDelivered waits until an end counts as delivered.
func (c *counter) awaitDelivered(id tideover.ID) {
	c.Helper()
	until(c.T, func() bool {
		c.desk.mu.Lock()
		defer c.desk.mu.Unlock()
		return c.desk.delivered[id] != 0
	})
}

func TestEvents_GoesOnWhereTheTillWas(t *testing.T) {
	for name, client := range clients(t) {
		t.Run(name, func(t *testing.T) {
			c := openCounter(t)
			a, b := c.sold("a"), c.sold("b")
			l := c.listen(client)
			l.want("a", tideover.StateQueued)
			_, id := l.want("b", tideover.StateQueued)
			l.leave()
			<-l.ended
			until(t, func() bool {
				c.desk.mu.Lock()
				defer c.desk.mu.Unlock()
				return len(c.desk.feeds) == 0
			})
			c.desk.tell(b.ID, tideover.StatePending)
			c.desk.tell(a.ID, tideover.StateApproved)
			l = c.listen(client, "Last-Event-ID: "+id)
			l.want("a", tideover.StateApproved) // not acknowledged
			l.want("b", tideover.StatePending)
			l.quiet()
		})
	}
}

func TestEvents_EachTillItsOwn(t *testing.T) {
	c := openCounter(t)
	const tills, each = 12, 20
	var all sync.WaitGroup
	for i := range tills {
		name := fmt.Sprintf("many-%d", i)
		token := "Authorization: Bearer " + c.pair(name)
		client := h2()
		t.Cleanup(client.CloseIdleConnections)
		one, two := c.listen(client, token), c.listen(http.DefaultClient, token)
		all.Go(func() {
			for n := range each {
				a := c.doWith(client, sell(fmt.Sprintf("%d-%d", i, n), "Authorization:", token))
				if a.status != 202 {
					t.Errorf("%d, %v", a.status, a.err)
					return
				}
				c.desk.tell(transaction(t, a).ID, tideover.StateApproved)
			}
			for _, l := range []*listener{one, two} {
				ends := map[string]bool{}
				for len(ends) < each {
					tx := transaction(t, answer{body: []byte(l.next().data)})
					if tx.Terminal != name {
						t.Errorf("%s was told of %s's", name, tx.Terminal)
						return
					}
					if tx.Final() {
						ends[tx.Key] = true
					}
				}
			}
		})
	}
	all.Wait()
}

func TestEvents_RefusesBeforeTheStream(t *testing.T) {
	c := openCounter(t)
	for name, row := range map[string]struct {
		call   call
		status int
		code   tideover.Code
		answer error
	}{
		"JSON wanted":       {get("/v1/events", "Accept: application/json"), 406, tideover.CodeNotAcceptable, nil},
		"events not wanted": {get("/v1/events", "Accept: */*, text/event-stream;q=0"), 406, tideover.CodeNotAcceptable, nil},
		"nobody":            {get("/v1/events", "Authorization:"), 401, tideover.CodeUnauthorized, nil},
		"a post":            {post("/v1/events", "{}"), 405, tideover.CodeMethodNotAllowed, nil},
		"a query":           {get("/v1/events?since=3"), 400, tideover.CodeInvalidRequest, nil},
		"the desk":          {get("/v1/events"), 503, tideover.CodeShuttingDown, refusal(tideover.CodeShuttingDown)},
		"the house":         {get("/v1/events"), 500, tideover.CodeInternal, fmt.Errorf("secret of the house")},
	} {
		for _, lang := range []tideover.Lang{tideover.English, tideover.Chinese} {
			t.Run(name+" "+string(lang), func(t *testing.T) {
				c.desk.mu.Lock()
				c.desk.answer = row.answer
				c.desk.mu.Unlock()
				q := row.call
				q.header = append(q.header[:len(q.header):len(q.header)], "Accept-Language: "+string(lang))
				a := c.do(q)
				if a.err != nil {
					t.Fatal(a.err)
				}
				if p := wellFormed(t, a, lang, q.path); a.status != row.status || p.Code != row.code {
					t.Errorf("%d: %s", a.status, a.body)
				}
				if row.status == 405 && a.header.Get("Allow") != "GET, HEAD" {
					t.Errorf("Allow %q", a.header.Get("Allow"))
				}
			})
		}
	}
	head := c.must(200, call{"HEAD", "/v1/events", "", nil})
	if head.header.Get("Content-Type") != "text/event-stream" || len(head.body) != 0 {
		t.Errorf("HEAD: %v, %s", head.header, head.body)
	}
	for _, accept := range []string{"*/*", "text/*", "text/event-stream;q=0.5, application/json"} {
		l := c.listen(http.DefaultClient, "Accept: "+accept)
		if l.status != 200 {
			t.Errorf("%s: %d", accept, l.status)
		}
		l.leave()
	}
}

func TestEvents_SoManyStreamsAtOnce(t *testing.T) {
	c := openCounter(t)
	client := h2()
	t.Cleanup(client.CloseIdleConnections)
	var first *listener
	for range terminal.StreamsTerminalMax {
		l := c.listen(client)
		if l.status != 200 {
			t.Fatalf("refused with %d", l.status)
		}
		first = l
	}
	one := c.listen(client)
	if one.status != 429 || one.header.Get("Retry-After") == "" || one.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("one more: %d with %v", one.status, one.header)
	}
	c.must(200, get("/v1/transactions"))
	first.leave()
	until(t, func() bool {
		l := c.listen(client)
		return l.status == 200
	})
	for open := terminal.StreamsTerminalMax; open < terminal.StreamsMax; {
		token := "Authorization: Bearer " + c.pair(fmt.Sprint("till ", open))
		for range terminal.StreamsTerminalMax {
			if l := c.listen(http.DefaultClient, token); l.status != 200 {
				t.Fatalf("number %d of all: %d", open, l.status)
			}
			open++
		}
	}
	if l := c.listen(http.DefaultClient, "Authorization: Bearer "+c.pair("last")); l.status != 429 {
		t.Errorf("one more of all: %d", l.status)
	}
}

func TestEvents_EndsInOrderAtTheDraining(t *testing.T) {
	for name, client := range clients(t) {
		t.Run(name, func(t *testing.T) {
			c := openCounter(t)
			c.sold("k")
			l := c.listen(client)
			l.want("k", tideover.StateQueued)
			begin := time.Now()
			if err := c.stop(); err != nil {
				t.Error(err)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
			if err := <-l.ended; err != nil {
				t.Errorf("cut: %v", err)
			}
			if len(c.desk.feeds) != 0 {
				t.Error("the feed is open")
			}
		})
	}
}

// A till whose token is revoked hears nothing more on the stream that it has.
func TestEvents_EndsWithTheTillsLeave(t *testing.T) {
	c := openCounter(t)
	tx := c.sold("k")
	l := c.listen(http.DefaultClient)
	l.want("k", tideover.StateQueued)
	c.desk.roster.Set(nil)
	c.desk.tell(tx.ID, tideover.StateApproved)
	if err := <-l.ended; err != nil {
		t.Errorf("cut: %v", err)
	}
	l.quiet()
	if len(c.desk.delivered) != 0 {
		t.Error("an end that was not written counts as delivered")
	}
}
