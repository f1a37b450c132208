package terminal_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/terminal"
)

// settling is the shop's part for reports: it keeps them by id, and waits for as long as open is not closed.
type settling struct {
	mu      sync.Mutex // guards what follows
	reports map[tideover.ID]tideover.Settlement
	owner   map[tideover.ID]string
	open    chan struct{} // nil: nothing is open
	block   chan struct{} // Settle returns once it is closed; nil: at once
	entered chan struct{}
}

func (d *shop) Settle(_ context.Context, by terminal.Caller, key string, s tideover.Settlement) (tideover.ID, bool, error) {
	if d.settling.block != nil {
		d.settling.entered <- struct{}{}
		<-d.settling.block
	}
	d.settling.mu.Lock()
	defer d.settling.mu.Unlock()
	id := tideover.SettlementID("shop", by.UID, key)
	if old, known := d.settling.reports[id]; known {
		if old.Hash(nil) != s.Hash(nil) {
			return id, false, tideover.Refuse(tideover.CodeKeyReused, "this key was used for another report", "该键已用于另一份结算")
		}
		return id, true, nil
	}
	if d.settling.reports == nil {
		d.settling.reports, d.settling.owner = map[tideover.ID]tideover.Settlement{}, map[tideover.ID]string{}
	}
	d.settling.reports[id], d.settling.owner[id] = s, by.UID
	return id, false, nil
}

func (d *shop) AwaitSettled(ctx context.Context, by terminal.Caller, id tideover.ID) error {
	d.settling.mu.Lock()
	open := d.settling.open
	d.settling.mu.Unlock()
	if open == nil {
		return nil
	}
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *shop) Settled(_ context.Context, by terminal.Caller, id tideover.ID) (tideover.Settled, error) {
	d.settling.mu.Lock()
	defer d.settling.mu.Unlock()
	if d.settling.owner[id] != by.UID {
		return tideover.Settled{}, errUnknown
	}
	sale := tideover.KindSale
	out := tideover.Settled{
		ID: id, Terminal: by.Name, From: d.settling.reports[id].From, To: d.settling.reports[id].To, Result: tideover.VerdictMismatch,
		Totals: []tideover.Balance{{Kind: sale, Currency: "CNY", Till: &tideover.Sum{Count: 1, Amount: 5}, Journal: &tideover.Sum{}, Result: tideover.VerdictOneSided}},
		Items: []tideover.Compared{{
			ID: tideover.MakeID("shop", by.UID, "k"), Key: "k", Result: tideover.VerdictOneSided, Reason: "till_lacks",
			Journal: &tideover.Said{Kind: &sale, Amount: 5, Currency: "CNY", State: tideover.StateApproved},
			What:    tideover.Text{En: "till: nothing", Zh: "终端：没有记录"}, Next: tideover.Text{En: "ask again", Zh: "请重新查询"},
		}},
	}
	return out, nil
}

// settledAnswer is what a till reads.
type settledAnswer struct {
	ID, Terminal, Result string
	From, To             tideover.Millis
	Totals               []map[string]any
	Items                []map[string]any
	HubCompared          *bool `json:"hub_compared"`
	Replayed             bool
}

func report(key, body string, header ...string) call {
	return post("/v1/settlements", body, append([]string{"Idempotency-Key: " + key}, header...)...)
}

const aReport = `{"from":"2026-05-01T08:00:00+08:00","to":"2026-05-01T22:00:00+08:00",
	"totals":[{"kind":"sale","currency":"CNY","count":1,"amount":5}],"items":[{"key":"k","kind":"sale","amount":5,"currency":"CNY"}]}`

func TestServer_SettlesOnceUnderAKey(t *testing.T) {
	c := openCounter(t)
	var first, again, asked settledAnswer
	a := c.must(200, report("day-1", aReport), &first)
	if a.header.Get("Location") != "/v1/settlements/"+first.ID || first.Result != "mismatch" || first.Terminal != "till-1" || first.Replayed {
		t.Errorf("have %+v, %v", first, a.header)
	}
	if first.HubCompared == nil || *first.HubCompared || len(first.Totals) != 1 || first.Totals[0]["hub"] != nil || len(first.Items) != 1 {
		t.Errorf("have %s", a.body)
	}
	if d := first.Items[0]["detail"]; d != "till: nothing. ask again" || first.Items[0]["till"] != nil || first.Items[0]["key"] != "k" {
		t.Errorf("have %v", first.Items[0])
	}
	c.must(200, report("day-1", aReport, "Accept-Language: zh"), &again)
	if again.ID != first.ID || !again.Replayed || again.Items[0]["detail"] != "终端：没有记录。请重新查询" {
		t.Errorf("again %+v", again)
	}
	if c.must(200, get("/v1/settlements/"+first.ID), &asked); asked.ID != first.ID {
		t.Errorf("asked %+v", asked)
	}
	var p trouble
	if c.must(422, report("day-1", `{"totals":[]}`), &p); p.Code != tideover.CodeKeyReused {
		t.Errorf("have %+v", p)
	}
	c.token = c.pair("till-2")
	if c.must(404, get("/v1/settlements/"+first.ID), &p); p.Code != tideover.CodeUnknownTransaction {
		t.Errorf("another till's: %+v", p)
	}
	got := c.desk.settling.reports[tideover.SettlementID("shop", c.desk.terminals[0].UID, "day-1")]
	if got.From.Time().Format(time.RFC3339) != "2026-05-01T00:00:00Z" || len(got.Items) != 1 || got.Items[0].State != tideover.StateApproved {
		t.Errorf("the desk was given %+v", got)
	}
}

func TestServer_SettlementRefuses(t *testing.T) {
	c := openCounter(t)
	id := tideover.MakeID("shop", "x", "y").String()
	for name, row := range map[string]struct {
		call   call
		status int
		code   tideover.Code
		fields string
	}{
		"no key":            {report("", aReport, "Idempotency-Key:"), 400, tideover.CodeMissingKey, ""},
		"nothing":           {report("k", `{}`), 400, tideover.CodeInvalidRequest, "totals"},
		"null":              {report("k", `{"totals":null,"items":null}`), 400, tideover.CodeInvalidRequest, "totals"},
		"unknown":           {report("k", `{"totals":[],"sum":1}`), 400, tideover.CodeInvalidRequest, "sum"},
		"no list":           {report("k", `{"totals":{}}`), 400, tideover.CodeInvalidRequest, "totals"},
		"no objects":        {report("k", `{"totals":[1,null],"items":[[]]}`), 400, tideover.CodeInvalidRequest, "totals[0] totals[1] items[0]"},
		"times":             {report("k", `{"from":"yesterday","to":5,"totals":[]}`), 400, tideover.CodeInvalidRequest, "from to"},
		"a total":           {report("k", `{"totals":[{"kind":"tip","currency":5,"count":-1,"amount":1.5,"x":1}]}`), 400, tideover.CodeInvalidRequest, "totals[0].x totals[0].kind totals[0].currency totals[0].count totals[0].amount"},
		"a total too large": {report("k", `{"totals":[{"count":1000001,"amount":1000000000000001}]}`), 400, tideover.CodeInvalidRequest, "totals[0].count totals[0].amount"},
		"an item's name":    {report("k", `{"items":[{"kind":"sale"},{"id":"`+id+`","key":"k"},{"id":"xyz"},{"key":"a b"},{"key":""}]}`), 400, tideover.CodeInvalidRequest, "items[0].id items[1].id items[2].id items[3].key items[4].key"},
		"an item's state":   {report("k", `{"items":[{"key":"a","state":"paid"}]}`), 400, tideover.CodeInvalidRequest, "items[0].state"},
		"twice":             {report("k", `{"items":[{"key":"a","key":"b"}]}`), 400, tideover.CodeInvalidRequest, "items[0].key"},
		"too many sums":     {report("k", `{"totals":[{}`+strings.Repeat(",{}", terminal.SettlementTotalsMax)+`]}`), 400, tideover.CodeInvalidRequest, "totals"},
		"too many items":    {report("k", `{"items":[{}`+strings.Repeat(",{}", terminal.SettlementItemsMax)+`]}`), 400, tideover.CodeInvalidRequest, "items"},
		"too large":         {report("k", `{"totals":[]`+strings.Repeat(" ", terminal.SettlementBodyMax)+`}`, "Expect: 100-continue"), 413, tideover.CodeTooLarge, ""},
		"no id":             {get("/v1/settlements/xyz"), 404, tideover.CodeUnknownTransaction, ""},
		"unknown id":        {get("/v1/settlements/" + id), 404, tideover.CodeUnknownTransaction, ""},
		"a verb":            {get("/v1/settlements/" + id + "/ack"), 404, tideover.CodeNotFound, ""},
		"a list of them":    {get("/v1/settlements"), 405, tideover.CodeMethodNotAllowed, ""},
		"a wait too long":   {get("/v1/settlements/" + id + "?wait=61"), 400, tideover.CodeInvalidRequest, "wait"},
	} {
		var p trouble
		c.must(row.status, row.call, &p)
		var fields []string
		for _, e := range p.Errors {
			fields = append(fields, e.Field)
		}
		if p.Code != row.code || strings.Join(fields, " ") != row.fields {
			t.Errorf("%s: %s %q, want %s %q", name, p.Code, strings.Join(fields, " "), row.code, row.fields)
		}
	}
	if len(c.desk.settling.reports) != 0 {
		t.Errorf("the desk was asked: %v", c.desk.settling.reports)
	}
	var p trouble
	c.must(400, report("k", `{"items":[`+strings.Repeat(`{"key":""},`, 5000)+`{}]}`), &p)
	if len(p.Errors) > 20 {
		t.Errorf("%d faults are named", len(p.Errors))
	}
}

// A till's whole day fits into one body.
func TestServer_SettlesADayOfFiveThousand(t *testing.T) {
	c := openCounter(t)
	var items []string
	for i := range 5000 {
		items = append(items, fmt.Sprintf(`{"id":%q,"kind":"sale","amount":%d,"currency":"CNY","state":"approved"}`, tideover.MakeID("shop", "t", fmt.Sprint(i)), i+1))
	}
	c.must(200, report("day", `{"items":[`+strings.Join(items, ",")+`]}`))
	for _, s := range c.desk.settling.reports {
		if len(s.Items) != 5000 || s.Items[4999].Amount != 5000 {
			t.Errorf("%d items", len(s.Items))
		}
	}
}

func TestServer_SettlementWaitsForWhatIsOpen(t *testing.T) {
	c := openCounter(t)
	c.desk.settling.open = make(chan struct{})
	if a := c.must(200, report("a", aReport, "Prefer: wait=0")); a.header.Get("Preference-Applied") != "wait=0" {
		t.Errorf("have %v", a.header)
	}
	c.must(200, report("b", aReport, "Prefer: wait=1")) // and answers with what is open when its time is over
	done := make(chan answer, 1)
	go func() { done <- c.do(report("c", aReport)) }()
	select {
	case a := <-done:
		t.Fatalf("it did not wait: %d %s", a.status, a.body)
	case <-time.After(300 * time.Millisecond):
	}
	close(c.desk.settling.open)
	if a := <-done; a.status != 200 {
		t.Errorf("have %d %s", a.status, a.body)
	}
	c.desk.settling.open = make(chan struct{})
	go func() { done <- c.do(report("d", aReport)) }()
	until(t, func() bool { // it is durable, and waits
		c.desk.settling.mu.Lock()
		defer c.desk.settling.mu.Unlock()
		return len(c.desk.settling.reports) == 4
	})
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.status != 200 { // the endpoint stops: what is known is told
		t.Errorf("have %d %v", a.status, a.err)
	}
}

// Large bodies are few at once; small ones, and those whose till only waits, are not in their way.
func TestServer_LargeReportsAreLimited(t *testing.T) {
	c := openCounter(t)
	c.desk.settling.block, c.desk.settling.entered = make(chan struct{}), make(chan struct{}, 8)
	c.desk.settling.open = make(chan struct{})
	large := aReport[:len(aReport)-1] + strings.Repeat(" ", terminal.BodyMax) + "}"
	done := make(chan answer, 8)
	for i := range terminal.LargeBodiesMax {
		go func() { done <- c.do(report(fmt.Sprint("large-", i), large)) }()
		<-c.desk.settling.entered
	}
	var p trouble
	a := c.must(429, report("more", large), &p)
	if p.Code != tideover.CodeTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("have %+v, %v", p, a.header)
	}
	chunked, _ := http.NewRequest("POST", "http://"+c.addr+"/v1/settlements", struct{ *strings.Reader }{strings.NewReader(aReport)})
	chunked.Header.Set("Authorization", "Bearer "+c.token)
	if res, err := http.DefaultClient.Do(chunked); err != nil || res.StatusCode != 429 {
		t.Errorf("of unknown length: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	go func() { done <- c.do(report("small", aReport)) }()
	<-c.desk.settling.entered
	close(c.desk.settling.block) // all are durable now, and wait for what is open
	until(t, func() bool {
		c.desk.settling.mu.Lock()
		defer c.desk.settling.mu.Unlock()
		return len(c.desk.settling.reports) == 3
	})
	until(t, func() bool { return c.do(report("large-again", large, "Prefer: wait=0")).status == 200 })
	close(c.desk.settling.open)
	for range 3 {
		if a := <-done; a.status != 200 {
			t.Errorf("have %d, %v %s", a.status, a.err, a.body)
		}
	}
	var conn net.Conn // one that breaks off in the middle gives its place back
	for range terminal.LargeBodiesMax + 1 {
		conn = c.dial()
		fmt.Fprintf(conn, "POST /v1/settlements HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nIdempotency-Key: x\r\nContent-Type: application/json\r\nContent-Length: 500000\r\n\r\n{", c.token)
		conn.Close()
	}
	until(t, func() bool { return c.do(report("after", large, "Prefer: wait=0")).status == 200 })
}
