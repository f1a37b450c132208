package terminal_test

import (
	"fmt"
	"strings"
	"testing"

	"tideover"
)

func TestServer_CancelsByIDAndByKey(t *testing.T) {
	c := openCounter(t)
	for name, cancel := range map[string]func(tideover.Transaction) call{
		"by id":                func(tx tideover.Transaction) call { return post("/v1/transactions/"+tx.ID.String()+"/cancel", "") },
		"by key":               func(tx tideover.Transaction) call { return post("/v1/cancel", fmt.Sprintf(`{"key":%q}`, tx.Key)) },
		"with an empty object": func(tx tideover.Transaction) call { return post("/v1/transactions/"+tx.ID.String()+"/cancel", "{}") },
	} {
		for _, row := range []struct {
			before, after tideover.State
			status        int
		}{
			{tideover.StateQueued, tideover.StateCancelled, 200},
			{tideover.StateSent, tideover.StateReversing, 202},
			{tideover.StateApproved, tideover.StateReversing, 202},
			{tideover.StateReversing, tideover.StateReversing, 202},
			{tideover.StateDeclined, tideover.StateDeclined, 200},
			{tideover.StateExpired, tideover.StateExpired, 200},
			{tideover.StateCancelled, tideover.StateCancelled, 200},
			{tideover.StateReversed, tideover.StateReversed, 200},
		} {
			tx := c.sold(strings.ReplaceAll(name, " ", "-")+"-"+row.before.String(), row.before)
			a := c.must(row.status, cancel(tx))
			if got := transaction(t, a); got.State != row.after || got.ID != tx.ID {
				t.Errorf("%s, %s: %s", name, row.before, a.body)
			}
			if a.header.Get("Location") != "/v1/transactions/"+tx.ID.String() || (a.header.Get("Retry-After") != "") != (row.status == 202) {
				t.Errorf("%s, %s: %v", name, row.before, a.header)
			}
		}
	}
}

func TestServer_ACancelWaitsForTheEnd(t *testing.T) {
	c := openCounter(t)
	sent := transaction(t, c.must(202, sell("sent")))
	c.desk.tell(sent.ID, tideover.StateSent)
	done := make(chan answer)
	go func() { done <- c.do(post("/v1/cancel", `{"key":"sent"}`, "Prefer: wait=60")) }()
	c.desk.awaitWaits(t, 1)
	c.desk.tell(sent.ID, tideover.StateReversed)
	if a := <-done; a.status != 200 || transaction(t, a).State != tideover.StateReversed {
		t.Errorf("%d: %s", a.status, a.body)
	}
	if a := c.must(200, post("/v1/cancel", `{"key":"never-arrived"}`)); transaction(t, a).State != tideover.StateCancelled {
		t.Errorf("%s", a.body)
	}
}

// A cancel has no request that could be another one: a router that lost its record takes the hub's over, and the cancel goes on.
func TestServer_ACancelFollowsWhatTheHubKnows(t *testing.T) {
	c := openCounter(t)
	lost := c.sold("lost", tideover.StateSent)
	adopt := func() {
		c.desk.mu.Lock()
		defer c.desk.mu.Unlock()
		c.desk.put(c.desk.all[lost.ID].t, [32]byte{9})
	}
	for _, q := range []call{
		post("/v1/cancel", `{"key":"lost"}`, "Prefer: wait=60"),
		post("/v1/transactions/"+lost.ID.String()+"/cancel", "", "Prefer: wait=60"),
		get("/v1/transactions/" + lost.ID.String() + "?wait=60"),
	} {
		done := make(chan answer)
		go func() { done <- c.do(q) }()
		c.desk.awaitWaits(t, 1)
		adopt()
		c.desk.awaitWaits(t, 1)
		c.desk.tell(lost.ID, tideover.StateReversed)
		if a := <-done; a.status != 200 || transaction(t, a).State != tideover.StateReversed {
			t.Errorf("%s: %d: %s", q.path, a.status, a.body)
		}
		c.desk.tell(lost.ID, tideover.StateReversing)
	}
}

// Who has pressed is told that the key belongs to another request.
func TestServer_APressHearsOfAnotherRequest(t *testing.T) {
	c := openCounter(t)
	lost := c.sold("lost", tideover.StateSent)
	done := make(chan answer)
	go func() { done <- c.do(sell("lost", "Prefer: wait=60")) }()
	c.desk.awaitWaits(t, 1)
	c.desk.mu.Lock()
	c.desk.put(c.desk.all[lost.ID].t, [32]byte{9})
	c.desk.mu.Unlock()
	if a := <-done; a.status != 422 || !strings.Contains(string(a.body), "sale 12.99 CNY") { // not 1299 CNY, a hundred times that
		t.Errorf("%d: %s", a.status, a.body)
	}
}

func TestServer_DecodesACancelStrictly(t *testing.T) {
	c := openCounter(t)
	tx := c.sold("k")
	for _, body := range []string{
		``, `null`, `[]`, `"k"`, `{`, `{}`, `{"key":null}`, `{"key":1}`, `{"key":""}`, `{"key":"a b"}`, `{"key":"k","key":"k"}`,
		`{"Key":"k"}`, `{"key":"k","why":"x"}`, `{"key":"k"} {}`, `{"key":"` + string(make([]byte, 129)) + `"}`,
	} {
		c.must(400, post("/v1/cancel", body))
	}
	for _, body := range []string{`null`, `[]`, `{`, `{"key":"k"}`, `{} {}`} {
		c.must(400, post("/v1/transactions/"+tx.ID.String()+"/cancel", body))
	}
	if got := transaction(t, c.must(202, get("/v1/transactions/"+tx.ID.String()))); got.State != tideover.StateQueued {
		t.Errorf("what was refused has cancelled: it is %s", got.State)
	}
}
