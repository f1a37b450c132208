package terminal_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tideover"
	"tideover/terminal"
)

// record reads an answer's transaction.
func transaction(t *testing.T, a answer) (tx tideover.Transaction) {
	t.Helper()
	if a.err != nil {
		t.Fatal(a.err)
	}
	if err := json.Unmarshal(a.body, &tx); err != nil {
		t.Fatalf("%d: %v in %s", a.status, err, a.body)
	}
	return tx
}

func TestServer_AnswersOnceItIsFinal(t *testing.T) {
	c := openCounter(t)
	done := make(chan answer)
	go func() { done <- c.do(sell("k", "Prefer: respond-async, wait=60")) }()
	c.desk.awaitWaits(t, 1)
	id := c.desk.order[0]
	c.desk.tell(id, tideover.StateSent) // no end: it goes on waiting
	c.desk.awaitWaits(t, 1)
	c.desk.tell(id, tideover.StateApproved)
	a := <-done
	tx := transaction(t, a)
	if a.status != 200 || tx.State != tideover.StateApproved || tx.Outcome == nil || tx.Replayed || tx.Delivered {
		t.Errorf("%d: %s", a.status, a.body)
	}
	if got := a.header.Get("Preference-Applied"); got != "wait=60" {
		t.Errorf("Preference-Applied %q", got)
	}
	if got := a.header.Get("Location"); got != "/v1/transactions/"+id.String() {
		t.Errorf("Location %q", got)
	}
	until(t, func() bool {
		c.desk.mu.Lock()
		defer c.desk.mu.Unlock()
		return c.desk.delivered[id] == tx.Seq
	})
}

func TestServer_AnswersWhenTheWaitIsOver(t *testing.T) {
	c := openCounter(t)
	a := c.must(202, sell("k", "Prefer: wait=1"))
	tx := transaction(t, a)
	if tx.State != tideover.StateQueued || tx.Final() || a.header.Get("Retry-After") != "1" || a.header.Get("Preference-Applied") != "wait=1" {
		t.Errorf("%s with %v", a.body, a.header)
	}
	if a.header.Get("Location") != "/v1/transactions/"+tx.ID.String() {
		t.Errorf("Location %q", a.header.Get("Location"))
	}
	if len(c.desk.delivered) != 0 {
		t.Error("what has no end was marked as delivered")
	}
}

func TestServer_WaitsAsConfiguredWhereTheTillSaysNothing(t *testing.T) {
	c := openCounter(t, func(cfg *terminal.Config) { cfg.DefaultWait = terminal.WaitMax })
	done := make(chan answer)
	go func() { done <- c.do(sell("k")) }()
	c.desk.awaitWaits(t, 1)
	c.desk.tell(c.desk.order[0], tideover.StateDeclined)
	if a := <-done; a.status != 200 || a.header.Get("Preference-Applied") != "" {
		t.Errorf("%d, Preference-Applied %q", a.status, a.header.Get("Preference-Applied"))
	}
}

func TestServer_HoldsAGetUntilFinal(t *testing.T) {
	c := openCounter(t)
	tx := transaction(t, c.must(202, sell("k")))
	path := "/v1/transactions/" + tx.ID.String()
	if a := c.must(202, get(path)); transaction(t, a).State != tideover.StateQueued {
		t.Errorf("%s", a.body)
	}
	for _, q := range []call{get(path + "?wait=60"), get(path, "Prefer: wait=60")} {
		done := make(chan answer)
		go func() { done <- c.do(q) }()
		c.desk.awaitWaits(t, 1)
		c.desk.tell(tx.ID, tideover.StateReversing)
		c.desk.awaitWaits(t, 1)
		c.desk.tell(tx.ID, tideover.StateReversed)
		if a := <-done; a.status != 200 || transaction(t, a).State != tideover.StateReversed {
			t.Errorf("%d: %s", a.status, a.body)
		}
		c.desk.tell(tx.ID, tideover.StateReversing)
	}
}

func TestServer_RepeatsFromManyConnectionsAreOne(t *testing.T) {
	c := openCounter(t)
	const presses = 20
	done := make(chan answer)
	for range presses {
		go func() { done <- c.do(sell("k", "Prefer: wait=60")) }()
	}
	c.desk.awaitWaits(t, presses)
	c.desk.tell(c.desk.order[0], tideover.StateApproved)
	first := 0
	for range presses {
		a := <-done
		tx := transaction(t, a)
		if a.status != 200 || tx.State != tideover.StateApproved || tx.ID != c.desk.order[0] {
			t.Errorf("%d: %s", a.status, a.body)
		}
		if !tx.Replayed {
			first++
		}
	}
	if c.desk.accepted != 1 || first != 1 {
		t.Errorf("%d accepted, %d answers that are no repeat", c.desk.accepted, first)
	}
}

func TestServer_LetsGoOfATillThatLeaves(t *testing.T) {
	for name, client := range map[string]*http.Client{"HTTP/1.1": {Transport: &http.Transport{}}, "HTTP/2": h2()} {
		t.Run(name, func(t *testing.T) { letsGo(t, client) })
	}
}

func letsGo(t *testing.T, client *http.Client) {
	c := openCounter(t)
	defer client.CloseIdleConnections()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+c.addr+"/v1/transactions",
		strings.NewReader(`{"kind":"sale","amount":1299,"currency":"CNY"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + c.token, "Idempotency-Key": "k", "Prefer": "wait=60"} {
		req.Header.Set(name, value)
	}
	go func() {
		c.desk.awaitWaits(t, 1)
		leave()
	}()
	if res, err := client.Do(req); err == nil {
		t.Errorf("answered with %d", res.StatusCode)
	}
	c.desk.awaitWaits(t, 0)
	c.desk.tell(c.desk.order[0], tideover.StateApproved)
	if len(c.desk.delivered) != 0 {
		t.Error("an answer to nobody counts as delivered")
	}
	if tx := transaction(t, c.must(200, sell("k"))); !tx.Replayed {
		t.Error("the repeat is another transaction")
	}
}

func TestServer_ClosesUnansweredWhereTheDeskMustNotAnswer(t *testing.T) {
	c := openCounter(t)
	c.desk.answer = fmt.Errorf("accept: %w", terminal.ErrAbort)
	if a := c.do(sell("k")); a.err == nil {
		t.Errorf("answered with %d: %s", a.status, a.body)
	}
	c.must(202, sell("k"))
}

func TestServer_EndsWaitsWhenItStops(t *testing.T) {
	c := openCounter(t)
	done := make(chan answer)
	for i := range 3 {
		go func() { done <- c.do(sell(fmt.Sprint(i), "Prefer: wait=60")) }()
	}
	c.desk.awaitWaits(t, 3)
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	for range 3 {
		if a := <-done; a.status != 202 {
			t.Errorf("%d, %v", a.status, a.err)
		}
	}
	if a := c.do(sell("late")); a.err == nil {
		t.Errorf("answered after the end with %d", a.status)
	}
}

// h2 is a client that speaks HTTP/2 with prior knowledge, without TLS.
func h2() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

func TestServer_SpeaksHTTP2(t *testing.T) {
	c := openCounter(t)
	client := h2()
	defer client.CloseIdleConnections()
	done := make(chan answer)
	const tills = 50 // at once over one connection
	for i := range tills {
		go func() { done <- c.doWith(client, sell(fmt.Sprint(i), "Prefer: wait=60")) }()
	}
	c.desk.awaitWaits(t, tills)
	for _, id := range c.desk.order {
		c.desk.tell(id, tideover.StateApproved)
	}
	for range tills {
		if a := <-done; a.status != 200 || transaction(t, a).State != tideover.StateApproved {
			t.Errorf("%d, %v: %s", a.status, a.err, a.body)
		}
	}
	a := c.doWith(client, post("/v1/transactions", `{"order":"`+strings.Repeat("x", 65<<10)+`"}`, "Idempotency-Key: k"))
	if a.status != 413 {
		t.Errorf("65 KiB: %d, %v", a.status, a.err)
	}
	c.desk.mu.Lock()
	c.desk.answer = terminal.ErrAbort
	c.desk.mu.Unlock()
	if a := c.doWith(client, sell("aborted")); a.err == nil {
		t.Errorf("answered with %d where nothing may be", a.status)
	}
	go func() { done <- c.doWith(client, sell("last", "Prefer: wait=60")) }()
	c.desk.awaitWaits(t, 1)
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	if a := <-done; a.status != 202 {
		t.Errorf("a wait ended by the draining: %d, %v", a.status, a.err)
	}
}

func TestServer_RefusesMoreThanItsConnections(t *testing.T) {
	c := openCounter(t)
	var alive int
	for range terminal.ConnectionsMax + 5 {
		conn := c.dial()
		fmt.Fprintf(conn, "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			alive++
		}
	}
	// The connection of the pairing and its like may still be counted for a moment.
	if alive > terminal.ConnectionsMax || alive < terminal.ConnectionsMax-1 {
		t.Errorf("%d connections were served, want %d", alive, terminal.ConnectionsMax)
	}
}

// TestServer_TellsOfWhatWasTakenOnce: a press is told of before its till waits, and after an answer that does not wait; a repetition of it is
// no other press.
func TestServer_TellsOfWhatWasTakenOnce(t *testing.T) {
	c := openCounter(t)
	taken := func() int {
		c.desk.mu.Lock()
		defer c.desk.mu.Unlock()
		return len(c.desk.taken)
	}
	c.must(202, sell("k", "Prefer: wait=0"))
	until(t, func() bool { return taken() == 1 })
	c.must(202, sell("k", "Prefer: wait=0"))
	done := make(chan answer)
	go func() { done <- c.do(sell("l", "Prefer: wait=60")) }()
	c.desk.awaitWaits(t, 1)
	if n := taken(); n != 2 {
		t.Errorf("while a till waits, %d are told of, want 2", n)
	}
	c.desk.tell(c.desk.order[1], tideover.StateApproved)
	<-done
	if n := taken(); n != 2 || c.desk.taken[0] != c.desk.order[0] || c.desk.taken[1] != c.desk.order[1] {
		t.Errorf("told of %v, want %v", c.desk.taken, c.desk.order)
	}
}
