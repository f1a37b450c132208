package terminal

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tideover"
)

// refusedAs fails unless err is nil or a refusal with one of the codes, in both languages, that can be written as JSON.
func refusedAs(t *testing.T, err error, codes ...tideover.Code) (refused bool) {
	t.Helper()
	if err == nil {
		return false
	}
	r, ok := errors.AsType[*tideover.Refusal](err)
	if !ok || !slices.Contains(codes, r.Code) {
		t.Fatalf("refused with %v", err)
	}
	texts := []tideover.Text{r.Detail}
	for _, f := range r.Fields {
		texts = append(texts, f.Detail, tideover.Text{En: f.Field, Zh: f.Field})
	}
	for _, text := range texts {
		for _, s := range []string{text.En, text.Zh} {
			if s == "" && text != (tideover.Text{}) || strings.Contains(s, "%!(") && !strings.Contains(s, `\`) {
				t.Fatalf("%q is no text", s)
			}
		}
	}
	return true
}

// asked makes an exchange of a request that was read, as far as decoders look at it.
func asked(header http.Header, query string, body []byte) *exchange {
	return &exchange{r: &http.Request{Header: header, URL: &url.URL{Path: "/v1/transactions", RawQuery: query}}, body: body}
}

// FuzzBodies: the bodies of cancel, cancel by key, acknowledgement and pairing. What is taken is what encoding/json reads too.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"key":"A-1"}`, `{"seq":42}`, `{"code":"123456","name":"till-1"}`, `{}`, `{"key":null}`, `{"seq":-1}`, `{"seq":1e3}`, `{"seq":18446744073709551615}`,
		`{"key":"a","key":"b"}`, `{"code":123456}`, `{"name":"\ud83d"}`, "", "null", "[]", `{"key":"a"} x`, "{\"key\":\"\xff\"}", `{"key":"4111111111111111"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, known := range [][]string{{}, {"key"}, {"seq"}, {"code", "name"}} {
			o, err := parseObject(body, known...)
			if refusedAs(t, err, tideover.CodeInvalidRequest) {
				continue
			}
			var lax map[string]any
			if err := json.Unmarshal(body, &lax); err != nil || lax == nil {
				t.Fatalf("%q was taken: %v", body, err)
			}
			if len(o.bad) == 0 {
				for name := range lax {
					if !slices.Contains(known, name) {
						t.Fatalf("%q: the field %q was taken", body, name)
					}
				}
			}
			for _, name := range known {
				before := len(o.bad)
				if name == "seq" {
					n := o.integer(name, 0)
					if float, ok := lax[name].(float64); len(o.bad) == before && ok && float64(n) != float {
						t.Fatalf("%q: read %d, others %v", body, n, float)
					}
					continue
				}
				s := o.text(name)
				if text, ok := lax[name].(string); len(o.bad) == before && ok && s != text {
					t.Fatalf("%q: read %q, others %q", body, s, text)
				}
				_ = refusedAs(t, checkKey(name, s), tideover.CodeInvalidRequest)
				if ValidName(s) && (!utf8.ValidString(s) || utf8.RuneCountInString(s) > NameMax) {
					t.Fatalf("%q is taken for a name", s)
				}
			}
			_ = refusedAs(t, o.err(), tideover.CodeInvalidRequest)
		}
	})
}

// FuzzHeaderLines: what is read of the headers where each comes as two lines; the keys and the override too.
func FuzzHeaderLines(f *testing.F) {
	for _, seed := range []string{
		"", "wait=10", `respond-async, wait="7"; x=y`, `x="a\", wait=3", wait=4`, "wait=99999999999999999999999", "*/*", "application/json;q=0.5, text/*",
		"application/json;q=0", `text/html;level="1,2", */*;q=1e-9`, "zh-CN,zh;q=0.9,en;q=0.8", "en;q=NaN", "en;q=+Inf", "*;q=0.1,zh;q=0", "duplicate", "A-1001-1",
		"application/json; charset=utf-8", "application/json; charset*=utf-8''x", "multipart/form-data; boundary=", "Bearer tdt_x", "gzip", "identity",
		"wait=4000000", strings.Repeat("k", keyMax+1), "a key", "k\x7f", "键",
	} {
		f.Add(seed, "")
		f.Add("", seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		h := http.Header{}
		for _, name := range []string{
			"Prefer", "Accept", "Accept-Language", "Content-Type", "Idempotency-Key", "Tideover-Override", "Authorization", "Content-Encoding",
		} {
			h[name] = []string{first, second}
		}
		if d, ok := preferredWait(h); d < 0 || d > WaitMax || !ok && d != 0 || d%time.Second != 0 {
			t.Fatalf("%q: a wait of %s", h["Prefer"], d)
		}
		for _, fallback := range []tideover.Lang{tideover.English, tideover.Chinese} {
			if lang := language(h, fallback); lang != tideover.English && lang != tideover.Chinese {
				t.Fatalf("%q: the language %q", h["Accept-Language"], lang)
			}
		}
		if strings.TrimSpace(first+second) == "" && !accepts(h, "application/json") {
			t.Fatal("who names nothing takes everything")
		}
		accepts(h, eventStream)
		sendsJSON(h)
		for _, values := range [][]string{{first}, {first, second}} {
			h["Idempotency-Key"] = values
			key, err := asked(h, "", nil).key()
			if !refusedAs(t, err, tideover.CodeInvalidRequest, tideover.CodeMissingKey) && (key != first || !visible(key) || len(key) == 0 || len(key) > keyMax || len(values) > 1) {
				t.Fatalf("%q is taken for a key", values)
			}
		}
		h["Tideover-Override"] = []string{first}
		o, err := asked(h, "", nil).override()
		if !refusedAs(t, err, tideover.CodeInvalidRequest) && (o == OverrideDuplicate) != (first == "duplicate") {
			t.Fatalf("%q is taken for an override", first)
		}
	})
}

// FuzzQuery: a list's query and a transaction's, and the path in front of them.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"/v1/transactions?key=A-1", "/v1/transactions?unacknowledged=1&limit=100", "/v1/transactions?order=A%2F1&next=1048592", "/v1/transactions?limit=0",
		"/v1/transactions?limit=9223372036854775808", "/v1/transactions?%zz", "/v1/transactions?key=a&key=b", "/v1/transactions?a;b", "/v1/transactions?=", "/v1/transactions?next=",
		"/v1/transactions/y49p4j302d1d313cs3axahr7m0?wait=60", "/v1/transactions/y49p4j302d1d313cs3axahr7m0/ack", "/v1/transactions//ack", "/v1/transactions/a/b/c", "/v1/settlements/x",
		"/v1/transactions/ID/cancel", "/v1/transactions/%00", "/v1/events?x", "/", "//", "/v1/transactions/?wait=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // net/http answers that
		}
		if rt, id, ok := find(u.Path); ok {
			if rt.get == nil && rt.post == nil || rt.hasID != (id != "") || strings.Contains(id, "/") {
				t.Fatalf("%q leads to %+v of %q", target, rt, id)
			}
			if parsed, err := tideover.ParseID(id); err == nil && parsed.String() != id {
				t.Fatalf("%q is taken for the id %s", id, parsed)
			}
		}
		x := asked(http.Header{}, u.RawQuery, nil)
		for _, known := range [][]string{{"key", "unacknowledged", "order", "limit", "next"}, {"wait"}, {}} {
			q, err := x.query(known...)
			if refusedAs(t, err, tideover.CodeInvalidRequest) {
				continue
			}
			for name, values := range q.Values {
				if !slices.Contains(known, name) || len(values) != 1 {
					t.Fatalf("%q: the parameter %q was taken", target, name)
				}
			}
			for _, name := range known {
				n, err := q.number(name, 1, ListMax)
				if !refusedAs(t, err, tideover.CodeInvalidRequest) && (n < 1 || n > ListMax) {
					t.Fatalf("%q: %s is %d", target, name, n)
				}
			}
		}
	})
}
