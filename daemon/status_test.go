package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/control"
	"tideover/edge"
	"tideover/queue"
	"tideover/rules"
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

// ask is one request; a header that is nil is left out although it is usual.
type ask struct {
	method, path, body string
	header             http.Header
}

// pressed is a press under a key.
func pressed(key, body string, header ...string) ask {
	h := http.Header{"Idempotency-Key": {key}, "Content-Type": {"application/json"}, "Prefer": {"wait=0"}}
	for i := 0; i+1 < len(header); i += 2 {
		h[header[i]] = nil
		if header[i+1] != "" {
			h[header[i]] = []string{header[i+1]}
		}
	}
	return ask{"POST", "/v1/transactions", body, h}
}

const coffee = `{"kind":"sale","amount":1299,"currency":"CNY","method":"qr"}`

func (c *counter) send(q ask) reply { c.Helper(); return c.call(q.method, q.path, q.body, q.header) }

// must sends a request that is answered with one of the statuses.
func (c *counter) must(q ask, statuses ...int) reply {
	c.Helper()
	a := c.send(q)
	if !slices.Contains(statuses, a.status) {
		c.Fatalf("%s %s: %d, want %v: %s", q.method, q.path, a.status, statuses, a.body)
	}
	return a
}

// sold makes a sale that is approved, and returns it.
func (c *counter) sold(key string) tideover.Transaction {
	c.Helper()
	q := pressed(key, coffee)
	q.header["Prefer"] = []string{"wait=30"}
	var t tideover.Transaction
	if err := json.Unmarshal(c.must(q, 200).body, &t); err != nil {
		c.Fatal(err)
	}
	return t
}

func refundOf(original tideover.ID, amount int) string {
	return fmt.Sprintf(`{"kind":"refund","amount":%d,"currency":"CNY","original":%q}`, amount, original)
}

// online connects the house with a hub that approves what comes.
func online(c *counter) { c.connect(c.T, agreeable()) }

// limited puts limits in force.
func (c *counter) limited(l rules.Limits) {
	c.rule(c.T, rules.Rules{Limits: l, Duplicates: rules.DefaultDuplicates()})
}

// row is one status and code of the contract's table, and how it comes about.
type row struct {
	status int
	code   tideover.Code
	make   func(c *counter) ask // brings the cause about
	fields []string             // named in errors
	limit  *int64
	left   *int64 // remaining
	retry  time.Duration
	header string                  // is there
	same   bool                    // the answer names an earlier transaction
	relief func(c *counter, q ask) // takes the cause away, where the same press is to be taken then
}

func press(key, body string, header ...string) func(*counter) ask {
	return func(*counter) ask { return pressed(key, body, header...) }
}

func again(c *counter, q ask) { c.must(q, 200, 202) }

// corrected sends a good press under the key that was refused.
func corrected(c *counter, q ask) { c.must(pressed(q.header.Get("Idempotency-Key"), coffee), 200, 202) }

var statuses = map[string]row{
	"a field is wrong": {
		status: 400, code: tideover.CodeInvalidRequest, fields: []string{"amount", "currency"}, relief: corrected,
		make: press("k", `{"kind":"sale","amount":0,"currency":"yuan"}`),
	},
	"no JSON":          {status: 400, code: tideover.CodeInvalidRequest, relief: corrected, make: press("k", `{"kind":`)},
	"an unknown field": {status: 400, code: tideover.CodeInvalidRequest, fields: []string{"tip"}, relief: corrected, make: press("k", `{"kind":"sale","amount":1,"currency":"CNY","tip":1}`)},
	"no key":           {status: 400, code: tideover.CodeMissingKey, make: press("k", coffee, "Idempotency-Key", "")},
	"nobody":           {status: 401, code: tideover.CodeUnauthorized, header: "WWW-Authenticate", relief: corrected, make: press("k", coffee, "Tideover-Terminal", "")},
	"a wrong code": {status: 403, code: tideover.CodeForbidden, make: func(*counter) ask {
		return ask{"POST", "/v1/pair", `{"code":"000000","name":"till-9"}`, nil}
	}},
	"another till's": {status: 404, code: tideover.CodeUnknownTransaction, make: func(c *counter) ask {
		sold := c.sell(c.T, terminal.Caller{UID: "till-2", Name: "till-2"}, "k", 500)
		return ask{"GET", "/v1/transactions/" + sold.ID.String(), "", nil}
	}},
	"no such path": {status: 404, code: tideover.CodeNotFound, make: func(*counter) ask { return ask{"GET", "/v1/nothing", "", nil} }},
	"a wrong method": {status: 405, code: tideover.CodeMethodNotAllowed, header: "Allow", make: func(*counter) ask {
		return ask{"DELETE", "/v1/transactions", "", nil}
	}},
	"no JSON wanted": {status: 406, code: tideover.CodeNotAcceptable, relief: corrected, make: press("k", coffee, "Accept", "text/html")},
	"the same order": {
		status: 409, code: tideover.CodeSuspectedDuplicate, same: true,
		make: func(c *counter) ask {
			online(c)
			body := `{"kind":"sale","amount":1299,"currency":"CNY","order":"A-1","operator":"lin"}`
			c.must(pressed("first", body), 202, 200)
			return pressed("k", body)
		},
		relief: func(c *counter, q ask) {
			q.header = q.header.Clone()
			q.header["Tideover-Override"] = []string{"duplicate"}
			c.must(q, 200, 202)
		},
	},
	"an override without an operator": {status: 409, code: tideover.CodeSuspectedDuplicate, same: true, make: func(c *counter) ask {
		online(c)
		body := `{"kind":"sale","amount":1299,"currency":"CNY","order":"A-1"}`
		c.must(pressed("first", body), 202, 200)
		return pressed("k", body, "Tideover-Override", "duplicate")
	}},
	"a cancel of what was shown": {status: 409, code: tideover.CodeAlreadyAcknowledged, make: func(c *counter) ask {
		online(c)
		sold := c.sold("a")
		c.must(ask{"POST", "/v1/transactions/" + sold.ID.String() + "/ack", fmt.Sprintf(`{"seq":%d}`, sold.Seq), nil}, 204)
		return ask{"POST", "/v1/transactions/" + sold.ID.String() + "/cancel", "", nil}
	}},
	"an acknowledgement of something older": {status: 409, code: tideover.CodeOutcomeChanged, make: func(c *counter) ask {
		online(c)
		return ask{"POST", "/v1/transactions/" + c.sold("a").ID.String() + "/ack", `{"seq":1}`, nil}
	}},
	"a receipt of what has no end": {status: 409, code: tideover.CodeNotPossible, header: "Retry-After", make: func(c *counter) ask {
		sold := c.sell(c.T, terminal.Caller{UID: "till-1", Name: "till-1"}, "a", 1299)
		return ask{"GET", "/v1/transactions/" + sold.ID.String() + "/receipt", "", nil}
	}},
	"another till's receipt": {status: 404, code: tideover.CodeUnknownTransaction, make: func(c *counter) ask {
		sold := c.sell(c.T, till2, "a", 1299)
		return ask{"GET", "/v1/transactions/" + sold.ID.String() + "/receipt", "", nil}
	}},
	"another till's report": {status: 404, code: tideover.CodeUnknownTransaction, make: func(c *counter) ask {
		online(c)
		a := c.must(ask{"POST", "/v1/settlements", `{"totals":[]}`, http.Header{
			"Idempotency-Key": {"day"}, "Prefer": {"wait=0"}, "Content-Type": {"application/json"}, "Tideover-Terminal": {"till-2"},
		}}, 200)
		return ask{"GET", fmt.Sprint("/v1/settlements/", a.field(c.T, "id")), "", nil}
	}},
	"a report's key, another report": {status: 422, code: tideover.CodeKeyReused, make: func(c *counter) ask {
		online(c)
		report := func(body string) ask {
			return ask{"POST", "/v1/settlements", body, http.Header{"Idempotency-Key": {"day"}, "Prefer": {"wait=0"}, "Content-Type": {"application/json"}}}
		}
		c.must(report(`{"totals":[]}`), 200)
		return report(`{"totals":[{"kind":"sale","currency":"CNY","count":1,"amount":5}]}`)
	}},
	"a cancel of a reversal": {status: 409, code: tideover.CodeCannotCancel, make: func(c *counter) ask {
		sold := c.sell(c.T, terminal.Caller{UID: "till-1", Name: "till-1"}, "a", 1299)
		a := c.must(pressed("r", fmt.Sprintf(`{"kind":"reversal","original":%q}`, sold.ID)), 202)
		return ask{"POST", fmt.Sprintf("/v1/transactions/%v/cancel", a.field(c.T, "id")), "", nil}
	}},
	"a name in use": {status: 409, code: tideover.CodeNameInUse, make: func(c *counter) ask {
		for _, name := range []string{"till-7", ""} {
			code, _, err := c.tills.book.Open(terminal.Grant{})
			if err != nil {
				c.Fatal(err)
			}
			if q := (ask{"POST", "/v1/pair", fmt.Sprintf(`{"code":%q,"name":"till-7"}`, code), nil}); name == "" {
				return q
			} else if a := c.send(q); a.status == 409 {
				return q // in the other language
			}
		}
		panic("not reached")
	}},
	"64 KiB and one": {status: 413, code: tideover.CodeTooLarge, relief: corrected, make: press("k", `{"order":"`+strings.Repeat("x", terminal.BodyMax)+`"}`)},
	"a form":         {status: 415, code: tideover.CodeUnsupportedMediaType, relief: corrected, make: press("k", "kind=sale", "Content-Type", "application/x-www-form-urlencoded")},
	"compressed":     {status: 415, code: tideover.CodeUnsupportedMediaType, relief: corrected, make: press("k", "\x1f\x8b", "Content-Encoding", "gzip")},
	"the same key, another body": {status: 422, code: tideover.CodeKeyReused, make: func(c *counter) ask {
		c.must(pressed("k", coffee), 200, 202)
		return pressed("k", `{"kind":"sale","amount":1300,"currency":"CNY"}`)
	}},
	"too much": {status: 422, code: tideover.CodeAmountAboveLimit, limit: new(int64(1000)), make: func(c *counter) ask {
		c.limited(rules.Limits{SaleMax: 1000})
		return pressed("k", `{"kind":"sale","amount":1001,"currency":"CNY"}`)
	}, relief: func(c *counter, q ask) { q.body = strings.Replace(q.body, "1001", "1000", 1); again(c, q) }},
	"too little": {status: 422, code: tideover.CodeAmountBelowMinimum, limit: new(int64(100)), make: func(c *counter) ask {
		c.limited(rules.Limits{SaleMin: 100})
		return pressed("k", `{"kind":"sale","amount":99,"currency":"CNY"}`)
	}, relief: corrected},
	"a refund of nothing": {status: 422, code: tideover.CodeOriginalUnknown, relief: corrected, make: func(c *counter) ask {
		online(c)
		return pressed("k", refundOf(tideover.MakeID("a", "b", "c"), 5))
	}},
	"a refund of what was cancelled": {status: 422, code: tideover.CodeOriginalNotApproved, relief: corrected, make: func(c *counter) ask {
		online(c)
		a := c.must(ask{"POST", "/v1/cancel", `{"key":"a"}`, nil}, 200)
		return pressed("k", fmt.Sprintf(`{"kind":"refund","amount":5,"currency":"CNY","original":%q}`, a.field(c.T, "id")))
	}},
	"more than is left": {status: 422, code: tideover.CodeRefundExceedsOriginal, limit: new(int64(1299)), left: new(int64(299)), make: func(c *counter) ask {
		online(c)
		sold := c.sold("a")
		c.must(pressed("r", refundOf(sold.ID, 1000), "Prefer", "wait=30"), 200)
		return pressed("k", refundOf(sold.ID, 300))
	}, relief: func(c *counter, q ask) { q.body = strings.Replace(q.body, "300", "299", 1); c.must(q, 200, 202) }},
	"too late for a refund": {status: 422, code: tideover.CodeRefundWindowClosed, make: func(c *counter) ask {
		c.limited(rules.Limits{RefundWindow: time.Nanosecond})
		online(c)
		sold := c.sold("a")
		time.Sleep(200 * time.Millisecond) // the hub's clock, as the edge carries it on, is some milliseconds off
		return pressed("k", refundOf(sold.ID, 5))
	}, relief: func(c *counter, q ask) { c.limited(rules.Limits{}); again(c, q) }},
	"a card number": {
		status: 422, code: tideover.CodeForbiddenCardData, fields: []string{"order"}, relief: corrected,
		make: press("k", `{"kind":"sale","amount":5,"currency":"CNY","order":"4111 1111 1111 1111"}`),
	},
	"too many at once": {status: 429, code: tideover.CodeTooManyRequests, retry: time.Second, make: func(c *counter) ask {
		sold := c.sell(c.T, terminal.Caller{UID: "till-1", Name: "till-1"}, "a", 1299)
		for range terminal.RequestsTerminalMax {
			req, err := http.NewRequestWithContext(c.Context(), "GET", c.base+"/v1/transactions/"+sold.ID.String()+"?wait=60", nil)
			if err != nil {
				c.Fatal(err)
			}
			req.Header.Set("Tideover-Terminal", "till-1")
			go func() {
				if res, err := http.DefaultClient.Do(req); err == nil {
					res.Body.Close()
				}
			}()
		}
		q := pressed("k", coffee)
		soon(c.T, func() bool {
			a := c.call("GET", "/v1/transactions/"+sold.ID.String(), "", nil)
			return a.status == 429
		})
		return q
	}},
	"as many as may be open": {
		status: 503, code: tideover.CodeOfflineLimit, limit: new(int64(1)), left: new(int64(0)), retry: rules.RetryOffline,
		make: func(c *counter) ask {
			c.limited(rules.Limits{OfflineCountMax: 1})
			c.sell(c.T, till2, "a", 500)
			return pressed("k", coffee)
		}, relief: func(c *counter, q ask) { c.limited(rules.Limits{OfflineCountMax: 2}); again(c, q) },
	},
	"as much as may be open": {
		status: 503, code: tideover.CodeOfflineLimit, limit: new(int64(1700)), left: new(int64(1200)), retry: rules.RetryOffline,
		make: func(c *counter) ask {
			c.limited(rules.Limits{OfflineAmountMax: 1700})
			c.sell(c.T, till2, "a", 500)
			return pressed("k", coffee)
		}, relief: func(c *counter, q ask) { c.limited(rules.Limits{}); again(c, q) },
	},
	"a method that may not wait": {
		status: 503, code: tideover.CodeOfflineLimit, retry: rules.RetryOffline,
		make: func(c *counter) ask {
			c.rule(c.T, rules.Rules{Methods: stern(), Duplicates: rules.DefaultDuplicates()})
			return pressed("k", coffee)
		}, relief: func(c *counter, q ask) { online(c); again(c, q) },
	},
	"stopping": {status: 503, code: tideover.CodeShuttingDown, retry: 2 * time.Second, make: func(c *counter) ask {
		c.closed.Store(true)
		return pressed("k", coffee)
	}, relief: func(c *counter, q ask) { c.closed.Store(false); again(c, q) }},
	"replaced": {status: 503, code: tideover.CodeSuperseded, retry: retryReplaced, make: func(c *counter) ask {
		c.session.learn(func(p *edge.Past) { p.Superseded = true })
		return pressed("k", coffee)
	}},
	"no room": {status: 507, code: tideover.CodeStorageFull, make: func(c *counter) ask {
		large := saleOf(1)
		large.Payload = []byte(`"` + strings.Repeat("x", 60<<10) + `"`)
		for i := range 1000 {
			if _, err := c.Accept(c.Context(), till2, fmt.Sprint("fill", i), terminal.OverrideNone, large); err != nil {
				break
			}
		}
		return pressed("k", `{"kind":"sale","amount":5,"currency":"CNY","payload":"`+strings.Repeat("x", 60<<10)+`"}`)
	}},
}

// Every status and code of the contract is brought about for real, over a real connection to the real desk, in both languages. A refusal
// stores nothing, and leaves the key free.
func TestEndpoint_StatusesAndCodes(t *testing.T) {
	t.Parallel()
	contract := strings.Fields(`invalid_request missing_idempotency_key unauthorized forbidden unknown_transaction method_not_allowed not_acceptable
		too_large unsupported_media_type suspected_duplicate already_acknowledged outcome_changed key_reused amount_above_limit amount_below_minimum
		original_unknown original_not_approved refund_exceeds_original refund_window_closed forbidden_card_data too_many_requests offline_limit
		shutting_down storage_full`)
	for name, r := range statuses {
		contract = slices.DeleteFunc(contract, func(code string) bool { return code == string(r.code) })
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			if r.code == tideover.CodeStorageFull {
				h.stop()
				h.sizeMax = 2 << 20
				h.open(t)
			}
			c := h.serve(t)
			q := r.make(c)
			var said [2]trouble
			for i, lang := range []tideover.Lang{tideover.English, tideover.Chinese} {
				before := h.queue.Stats().Transactions
				if q.path == "/v1/pair" && r.code == tideover.CodeNameInUse && i > 0 {
					q = r.make(c) // a code for each try
				}
				asked := q
				asked.header = q.header.Clone()
				if asked.header == nil {
					asked.header = http.Header{}
				}
				asked.header["Accept-Language"] = []string{string(lang)}
				a := c.send(asked)
				if a.status != r.status {
					t.Fatalf("%s: %d, want %d: %s", lang, a.status, r.status, a.body)
				}
				said[i] = r.judge(t, a, lang, q.path)
				if after := h.queue.Stats().Transactions; after != before {
					t.Errorf("it was refused, and %d transactions were stored", after-before)
				}
			}
			if said[0].Detail == said[1].Detail || said[0].Title == said[1].Title {
				t.Errorf("both languages say the same: %q", said[0].Detail)
			}
			if r.relief != nil {
				r.relief(c, q)
			}
		})
	}
	if len(contract) > 0 {
		t.Errorf("never brought about: %q", contract)
	}
}

// english is text that nobody has put into Chinese: two words of it side by side, outside of what is quoted.
var english = regexp.MustCompile(`[A-Za-z]{2,} [a-z]{2,}`)

var quoted = regexp.MustCompile("`[^`]*`|\"[^\"]*\"")

// judge reads a problem, and holds it to its row.
func (r row) judge(t *testing.T, a reply, lang tideover.Lang, path string) (p trouble) {
	t.Helper()
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	path, _, _ = strings.Cut(path, "?")
	if a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Content-Language") != string(lang) ||
		p.Status != r.status || p.Code != r.code || p.Type != "urn:tideover:problem:"+string(r.code) || p.Instance != path {
		t.Errorf("want the problem %s in %s: %v %s", r.code, lang, a.header, a.body)
	}
	texts, fields := []string{p.Title, p.Detail}, []string(nil)
	for _, f := range p.Errors {
		texts, fields = append(texts, f.Detail), append(fields, f.Field)
	}
	for _, text := range texts {
		han := strings.ContainsFunc(text, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff })
		if text == "" || han != (lang == tideover.Chinese) || strings.Contains(text, "%!") {
			t.Errorf("%q does not speak %s", text, lang)
		}
		if left := english.FindString(quoted.ReplaceAllString(text, "")); lang == tideover.Chinese && left != "" {
			t.Errorf("%q is left in English in %q", left, text)
		}
	}
	slices.Sort(fields)
	if r.fields != nil && !slices.Equal(fields, r.fields) || r.fields == nil && r.code != tideover.CodeInvalidRequest && fields != nil {
		t.Errorf("names %q, want %q", fields, r.fields)
	}
	for name, pair := range map[string][2]*int64{"limit": {p.Limit, r.limit}, "remaining": {p.Remaining, r.left}} {
		if (pair[0] == nil) != (pair[1] == nil) || pair[0] != nil && *pair[0] != *pair[1] {
			t.Errorf("%s is wrong: %s", name, a.body)
		}
	}
	if (p.DuplicateOf != "") != r.same {
		t.Errorf("duplicate_of: %q", p.DuplicateOf)
	}
	if want := strconv.Itoa(int(r.retry / time.Second)); r.retry != 0 && a.header.Get("Retry-After") != want {
		t.Errorf("Retry-After %q, want %s", a.header.Get("Retry-After"), want)
	}
	if r.header != "" && a.header.Get(r.header) == "" {
		t.Errorf("%s is missing", r.header)
	}
	return p
}

// TestAlarms_TellWhereTheJournalLies: in memory nothing survives a reboot, which a technician has to hear before one.
func TestAlarms_TellWhereTheJournalLies(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "tideover")
	if err != nil {
		t.Skipf("needs a tmpfs at /dev/shm: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &house{path: filepath.Join(dir, "queue.db"), key: queue.OneKey([32]byte{7})}
	if err := queue.Create(h.path, h.key, queue.Ident{Store: "shop-0001"}); err != nil {
		t.Fatal(err)
	}
	h.open(t)
	t.Cleanup(func() { h.stop() })
	alarms := h.router().alarms()
	i := slices.IndexFunc(alarms, func(f control.Finding) bool { return f.Code == "storage_unsafe" })
	if i < 0 || !alarms[i].Note || !strings.Contains(alarms[i].What.En, "nothing of it survives a reboot") || !strings.Contains(alarms[i].What.Zh, "重启") ||
		alarms[i].Next.En == "" || alarms[i].Next.Zh == "" {
		t.Errorf("%+v", alarms)
	}
}
