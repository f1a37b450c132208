package terminal_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tideover"
	"tideover/terminal"
)

// trouble is a problem as a till reads it.
type trouble struct {
	Type, Title, Detail, Instance string
	Status                        int
	Code                          tideover.Code
	Errors                        []struct{ Field, Detail string }
	Limit, Remaining              *int64
	DuplicateOf                   string `json:"duplicate_of"`
}

// refusal makes a desk's refusal with every extra that a code may have.
func refusal(code tideover.Code) *tideover.Refusal {
	limit, remaining := int64(5000), int64(17)
	r := tideover.Refuse(code, "what is wrong, and the next step", "错在哪里，以及下一步")
	if slices.Contains([]tideover.Code{
		tideover.CodeAmountAboveLimit, tideover.CodeAmountBelowMinimum, tideover.CodeRefundExceedsOriginal, tideover.CodeOfflineLimit,
	}, code) {
		r.Limit, r.Remaining = &limit, &remaining
	}
	if code == tideover.CodeSuspectedDuplicate {
		r.DuplicateOf = tideover.MakeID("shop", "till-1", "other")
	}
	return r
}

// What the endpoint itself refuses, and each code that the desk may refuse with, as the contract's table has it.
func TestServer_StatusesAndCodes(t *testing.T) {
	c := openCounter(t)
	c.must(202, sell("known"))
	known := tideover.MakeID("shop", c.desk.terminals[0].UID, "known").String()
	unsigned := transaction(t, c.must(202, sell("unsigned"))).ID.String()
	c.desk.sign(unsigned, "unsigned")
	sale := func(body string) call { return post("/v1/transactions", body, "Idempotency-Key: k") }
	for name, row := range map[string]struct {
		call    call
		status  int
		code    tideover.Code
		fields  []string
		answer  error // what the desk says
		headers []string
	}{
		"no body":             {sale(""), 400, tideover.CodeInvalidRequest, nil, nil, nil},
		"no JSON":             {sale(`{"kind":`), 400, tideover.CodeInvalidRequest, nil, nil, nil},
		"no object":           {sale(`[1]`), 400, tideover.CodeInvalidRequest, nil, nil, nil},
		"null":                {sale(`null`), 400, tideover.CodeInvalidRequest, nil, nil, nil},
		"two bodies":          {sale(`{} {}`), 400, tideover.CodeInvalidRequest, nil, nil, nil},
		"unknown fields":      {sale(`{"kind":"sale","tip":1,"Amount":5}`), 400, tideover.CodeInvalidRequest, []string{"Amount", "tip"}, nil, nil},
		"wrong types":         {sale(`{"kind":1,"amount":"5","expires_in":1.5}`), 400, tideover.CodeInvalidRequest, []string{"amount", "kind", "expires_in"}, nil, nil},
		"a field twice":       {sale(`{"amount":1,"amount":2}`), 400, tideover.CodeInvalidRequest, []string{"amount"}, nil, nil},
		"no key":              {sell("", "Idempotency-Key:"), 400, tideover.CodeMissingKey, nil, nil, nil},
		"an empty key":        {sell("", "Idempotency-Key: "), 400, tideover.CodeMissingKey, nil, nil, nil},
		"a key with a space":  {sell("a b"), 400, tideover.CodeInvalidRequest, []string{"Idempotency-Key"}, nil, nil},
		"a key too long":      {sell(strings.Repeat("k", 129)), 400, tideover.CodeInvalidRequest, []string{"Idempotency-Key"}, nil, nil},
		"two keys":            {sell("a", "Idempotency-Key: b"), 400, tideover.CodeInvalidRequest, []string{"Idempotency-Key"}, nil, nil},
		"an unknown override": {sell("k", "Tideover-Override: everything"), 400, tideover.CodeInvalidRequest, []string{"Tideover-Override"}, nil, nil},
		"an unknown query":    {get("/v1/transactions?till=2&a=1"), 400, tideover.CodeInvalidRequest, []string{"a", "till"}, nil, nil},
		"a broken query":      {get("/v1/transactions?%zz"), 400, tideover.CodeInvalidRequest, nil, nil, nil},
		"two choices":         {get("/v1/transactions?key=a&order=b"), 400, tideover.CodeInvalidRequest, nil, nil, nil},
		"an empty order":      {get("/v1/transactions?order="), 400, tideover.CodeInvalidRequest, []string{"order"}, nil, nil},
		"a wait too long":     {get("/v1/transactions/" + known + "?wait=61"), 400, tideover.CodeInvalidRequest, []string{"wait"}, nil, nil},
		"a wait of words":     {get("/v1/transactions/" + known + "?wait=soon"), 400, tideover.CodeInvalidRequest, []string{"wait"}, nil, nil},
		"an ack of nothing":   {post("/v1/transactions/"+known+"/ack", `{}`), 400, tideover.CodeInvalidRequest, []string{"seq"}, nil, nil},
		"a cancel of no key":  {post("/v1/cancel", `{"key":""}`), 400, tideover.CodeInvalidRequest, []string{"key"}, nil, nil},
		"a cancel with more":  {post("/v1/transactions/"+known+"/cancel", `{"why":1}`), 400, tideover.CodeInvalidRequest, []string{"why"}, nil, nil},
		"pairing without":     {post("/v1/pair", `{"name":"x"}`, "Authorization:"), 400, tideover.CodeInvalidRequest, []string{"code"}, nil, nil},
		"pairing as nobody":   {post("/v1/pair", `{"code":"1","name":" x"}`, "Authorization:"), 400, tideover.CodeInvalidRequest, []string{"name"}, nil, nil},
		"no token":            {sell("k", "Authorization:"), 401, tideover.CodeUnauthorized, nil, nil, []string{"Www-Authenticate"}},
		"another scheme":      {sell("k", "Authorization:", "Authorization: Basic eDp5"), 401, tideover.CodeUnauthorized, nil, nil, []string{"Www-Authenticate"}},
		"two tokens":          {sell("k", "Authorization: Bearer tdt_x"), 401, tideover.CodeUnauthorized, nil, nil, []string{"Www-Authenticate"}},
		"an unknown token":    {sell("k", "Authorization:", "Authorization: Bearer tdt_x"), 401, tideover.CodeUnauthorized, nil, nil, []string{"Www-Authenticate"}},
		"a wrong code":        {post("/v1/pair", `{"code":"x"}`, "Authorization:"), 403, tideover.CodeForbidden, nil, nil, nil},
		"no such path":        {get("/v1/nothing"), 404, tideover.CodeNotFound, nil, nil, nil},
		"no such verb":        {post("/v1/transactions/"+known+"/undo", `{}`), 404, tideover.CodeNotFound, nil, nil, nil},
		"a path too far":      {get("/v1/transactions/" + known + "/"), 404, tideover.CodeNotFound, nil, nil, nil},
		"an unknown id":       {get("/v1/transactions/" + tideover.MakeID("a", "b", "c").String()), 404, tideover.CodeUnknownTransaction, nil, nil, nil},
		"no id":               {get("/v1/transactions/xyz"), 404, tideover.CodeUnknownTransaction, nil, nil, nil},
		"a wrong method":      {call{"DELETE", "/v1/transactions", "", nil}, 405, tideover.CodeMethodNotAllowed, nil, nil, []string{"Allow"}},
		"a get of a post":     {get("/v1/pair"), 405, tideover.CodeMethodNotAllowed, nil, nil, []string{"Allow"}},
		"no JSON wanted":      {sell("k", "Accept: text/html"), 406, tideover.CodeNotAcceptable, nil, nil, nil},
		"a form":              {sell("k", "Content-Type:", "Content-Type: application/x-www-form-urlencoded"), 415, tideover.CodeUnsupportedMediaType, nil, nil, nil},
		"compressed":          {sell("k", "Content-Encoding: gzip"), 415, tideover.CodeUnsupportedMediaType, nil, nil, nil},
		"65 KiB":              {sale(`{"order":"` + strings.Repeat("x", 65<<10) + `"}`), 413, tideover.CodeTooLarge, nil, nil, nil},
		"an acknowledgement before its end": {
			post("/v1/transactions/"+known+"/ack", `{"seq":1}`), 409, tideover.CodeOutcomeChanged, nil, nil, nil,
		},
		"a receipt before the end":   {get("/v1/transactions/" + known + "/receipt"), 409, tideover.CodeNotPossible, nil, nil, []string{"Retry-After"}},
		"a receipt of no signed end": {get("/v1/transactions/" + unsigned + "/receipt"), 409, tideover.CodeNotPossible, nil, nil, nil},
		"a receipt with a query":     {get("/v1/transactions/" + unsigned + "/receipt?wait=1"), 400, tideover.CodeInvalidRequest, []string{"wait"}, nil, nil},
		"a receipt of nothing":       {get("/v1/transactions/" + tideover.MakeID("a", "b", "c").String() + "/receipt"), 404, tideover.CodeUnknownTransaction, nil, nil, nil},
		"a receipt posted":           {post("/v1/transactions/"+known+"/receipt", `{}`), 405, tideover.CodeMethodNotAllowed, nil, nil, []string{"Allow"}},
		"the same key, another body": {
			post("/v1/transactions", `{"kind":"sale","amount":1,"currency":"CNY"}`, "Idempotency-Key: known"), 422, tideover.CodeKeyReused, nil, nil, nil,
		},
		"suspected_duplicate":     {sell("k"), 409, tideover.CodeSuspectedDuplicate, nil, refusal(tideover.CodeSuspectedDuplicate), nil},
		"already_acknowledged":    {sell("k"), 409, tideover.CodeAlreadyAcknowledged, nil, refusal(tideover.CodeAlreadyAcknowledged), nil},
		"name_in_use":             {sell("k"), 409, tideover.CodeNameInUse, nil, refusal(tideover.CodeNameInUse), nil},
		"amount_above_limit":      {sell("k"), 422, tideover.CodeAmountAboveLimit, nil, refusal(tideover.CodeAmountAboveLimit), nil},
		"amount_below_minimum":    {sell("k"), 422, tideover.CodeAmountBelowMinimum, nil, refusal(tideover.CodeAmountBelowMinimum), nil},
		"original_unknown":        {sell("k"), 422, tideover.CodeOriginalUnknown, nil, refusal(tideover.CodeOriginalUnknown), nil},
		"original_not_approved":   {sell("k"), 422, tideover.CodeOriginalNotApproved, nil, refusal(tideover.CodeOriginalNotApproved), nil},
		"refund_exceeds_original": {sell("k"), 422, tideover.CodeRefundExceedsOriginal, nil, refusal(tideover.CodeRefundExceedsOriginal), nil},
		"refund_window_closed":    {sell("k"), 422, tideover.CodeRefundWindowClosed, nil, refusal(tideover.CodeRefundWindowClosed), nil},
		"forbidden_card_data":     {sell("k"), 422, tideover.CodeForbiddenCardData, nil, refusal(tideover.CodeForbiddenCardData), nil},
		"too_many_requests":       {sell("k"), 429, tideover.CodeTooManyRequests, nil, refusal(tideover.CodeTooManyRequests), []string{"Retry-After"}},
		"offline_limit":           {sell("k"), 503, tideover.CodeOfflineLimit, nil, refusal(tideover.CodeOfflineLimit), []string{"Retry-After"}},
		"shutting_down":           {sell("k"), 503, tideover.CodeShuttingDown, nil, refusal(tideover.CodeShuttingDown), []string{"Retry-After"}},
		"storage_full":            {sell("k"), 507, tideover.CodeStorageFull, nil, refusal(tideover.CodeStorageFull), nil},
		"a fault of the edge's":   {sell("k"), 500, tideover.CodeInternal, nil, fmt.Errorf("secret of the house"), nil},
	} {
		for _, lang := range []tideover.Lang{tideover.English, tideover.Chinese} {
			t.Run(name+" "+string(lang), func(t *testing.T) {
				c.desk.mu.Lock()
				c.desk.answer = row.answer
				before := c.desk.accepted
				c.desk.mu.Unlock()
				q := row.call
				q.header = append(slices.Clone(q.header), "Accept-Language: "+string(lang))
				a := c.do(q)
				if a.err != nil {
					t.Fatal(a.err)
				}
				p := wellFormed(t, a, lang, q.path)
				if a.status != row.status || p.Code != row.code {
					t.Fatalf("%d %s, want %d %s: %s", a.status, p.Code, row.status, row.code, a.body)
				}
				var fields []string
				for _, f := range p.Errors {
					fields = append(fields, f.Field)
				}
				slices.Sort(fields)
				if want := slices.Sorted(slices.Values(row.fields)); !slices.Equal(fields, want) {
					t.Errorf("names %q, want %q", fields, want)
				}
				for _, name := range row.headers {
					if a.header.Get(name) == "" {
						t.Errorf("%s is missing", name)
					}
				}
				if r, ok := row.answer.(*tideover.Refusal); ok {
					extras(t, r, p)
				}
				// A refund in another currency, or of a refund, has this code as well: its original is approved.
				if row.code == tideover.CodeOriginalNotApproved && (strings.Contains(p.Title, "not approved") || strings.Contains(p.Title, "未成功")) {
					t.Errorf("a cashier who reads the title alone sells again: %q", p.Title)
				}
				if c.desk.accepted != before {
					t.Error("it was refused, and taken")
				}
			})
		}
	}
}

// wellFormed reads a problem, and fails where it is none in the language.
func wellFormed(t *testing.T, a answer, lang tideover.Lang, path string) (p trouble) {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if got := a.header.Get("Content-Language"); got != string(lang) {
		t.Errorf("Content-Language %q", got)
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	path, _, _ = strings.Cut(path, "?")
	if p.Status != a.status || p.Type != "urn:tideover:problem:"+string(p.Code) || p.Instance != path {
		t.Errorf("not a problem of RFC 9457: %s", a.body)
	}
	texts := []string{p.Title, p.Detail}
	for _, f := range p.Errors {
		texts = append(texts, f.Detail)
	}
	for _, text := range texts {
		han := strings.ContainsFunc(text, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff })
		if text == "" || han != (lang == tideover.Chinese) || strings.Contains(text, "%!") {
			t.Errorf("%q does not speak %s", text, lang)
		}
	}
	if strings.Contains(string(a.body), "secret") {
		t.Errorf("it tells what is the house's: %s", a.body)
	}
	return p
}

// extras compares what a refusal carries beside its code.
func extras(t *testing.T, r *tideover.Refusal, p trouble) {
	t.Helper()
	if (r.Limit == nil) != (p.Limit == nil) || r.Limit != nil && *r.Limit != *p.Limit {
		t.Errorf("limit %v, want %v", p.Limit, r.Limit)
	}
	if (r.Remaining == nil) != (p.Remaining == nil) || r.Remaining != nil && *r.Remaining != *p.Remaining {
		t.Errorf("remaining %v, want %v", p.Remaining, r.Remaining)
	}
	if !r.DuplicateOf.IsZero() && p.DuplicateOf != r.DuplicateOf.String() || r.DuplicateOf.IsZero() && p.DuplicateOf != "" {
		t.Errorf("duplicate_of %q, want %s", p.DuplicateOf, r.DuplicateOf)
	}
}

func TestServer_HealthIsAlwaysAnswered(t *testing.T) {
	c := openCounter(t)
	for _, q := range []call{
		get("/v1/health", "Authorization:"),
		get("/v1/health", "Accept: text/plain"),
		get("/v1/health", "Authorization: Basic x"),
	} {
		var h map[string]any
		c.must(200, q, &h)
		if h["hub"] != "connected" || h["uplink"] != "lo" || h["accepting"] != true || h["message"] != "all is well" || h["pending"] != 0.0 {
			t.Errorf("health: %v", h)
		}
	}
	c.desk.mu.Lock()
	c.desk.health = terminal.Health{Pending: 3, Message: tideover.Text{En: "out", Zh: "断网"}}
	c.desk.mu.Unlock()
	var h map[string]any
	c.must(200, get("/v1/health", "Accept-Language: zh-CN"), &h)
	if h["hub"] != "unreachable" || h["uplink"] != nil || h["accepting"] != false || h["message"] != "断网" || h["pending"] != 3.0 {
		t.Errorf("health: %v", h)
	}
}

func TestServer_RefusesBeyondTheTillsShare(t *testing.T) {
	c := openCounter(t)
	other := c.pair("till-2")
	done := make(chan answer)
	for i := range terminal.RequestsTerminalMax {
		go func() { done <- c.do(sell(fmt.Sprint(i), "Prefer: wait=60")) }()
	}
	c.desk.awaitWaits(t, terminal.RequestsTerminalMax)
	a := c.do(sell("one-more"))
	if a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("one more: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	c.must(202, sell("another-tills", "Authorization:", "Authorization: Bearer "+other))
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	for range terminal.RequestsTerminalMax {
		if a := <-done; a.status != 202 {
			t.Errorf("a wait ended by the draining: %d, %v", a.status, a.err)
		}
	}
}

func TestServer_SaysWhenThePortIsTaken(t *testing.T) {
	c := openCounter(t)
	cfg := terminal.DefaultConfig()
	cfg.Listen = c.addr
	s, err := terminal.New(cfg, newShop(), c.log())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), c.addr) || !strings.Contains(err.Error(), "endpoint.listen") {
		t.Errorf("it does not say what to do: %v", err)
	}
}
