package terminal

import (
	"net/http"
	"testing"
	"time"

	"tideover"
)

func TestPreferredWait_ReadsRFC7240(t *testing.T) {
	const none = -1 * time.Second
	for _, row := range []struct {
		lines []string
		want  time.Duration
	}{
		{nil, none},
		{[]string{""}, none},
		{[]string{"wait=10"}, 10 * time.Second},
		{[]string{"wait=0"}, 0},
		{[]string{"wait=60"}, WaitMax},
		{[]string{"wait=61"}, WaitMax},
		{[]string{"wait=99999999999"}, WaitMax},
		{[]string{"wait=99999999999999999999999"}, none},
		{[]string{"WAIT = 7"}, 7 * time.Second},
		{[]string{`wait="7"`}, 7 * time.Second},
		{[]string{"respond-async, wait=5"}, 5 * time.Second},
		{[]string{"respond-async", "wait=5"}, 5 * time.Second},
		{[]string{"wait=5; foo=bar"}, 5 * time.Second},
		{[]string{"wait=5, wait=9"}, 5 * time.Second},
		{[]string{`x="a, wait=3", wait=4`}, 4 * time.Second},
		{[]string{`x="a\", wait=3", wait=4`}, 4 * time.Second},
		{[]string{`x="unfinished, wait=3`}, none},
		{[]string{"respond-async"}, none},
		{[]string{"wait"}, none},
		{[]string{"wait="}, none},
		{[]string{"wait=-1"}, none},
		{[]string{"wait=1.5"}, none},
		{[]string{"wait=+5"}, none},
		{[]string{"waiting=5"}, none},
		{[]string{",,;,wait=2"}, 2 * time.Second},
	} {
		got, ok := preferredWait(http.Header{"Prefer": row.lines})
		if !ok {
			got = none
		}
		if got != row.want {
			t.Errorf("%q: %s, want %s", row.lines, got, row.want)
		}
	}
}

func TestLanguage_ChoosesByWeight(t *testing.T) {
	for header, want := range map[string]tideover.Lang{
		"":                        tideover.Chinese,
		"en":                      tideover.English,
		"EN-us":                   tideover.English,
		"zh-CN,zh;q=0.9,en;q=0.8": tideover.Chinese,
		"en;q=0.5, zh-Hant":       tideover.Chinese,
		"zh;q=0.1, en;q=0.2":      tideover.English,
		"fr, en;q=0.3":            tideover.English,
		"fr":                      tideover.Chinese,
		"*":                       tideover.Chinese,
		"en;q=0":                  tideover.Chinese,
		"en;q=x":                  tideover.Chinese,
		"zh;q=0, en":              tideover.English,
		"english":                 tideover.Chinese,
	} {
		if got := language(http.Header{"Accept-Language": {header}}, tideover.Chinese); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestAcceptsJSON_TakesTheMostSpecific(t *testing.T) {
	for header, want := range map[string]bool{
		"":                                      true,
		"*/*":                                   true,
		"application/json":                      true,
		"Application/JSON; charset=utf-8":       true,
		"application/*;q=0.1":                   true,
		"text/html, application/json;q=0.5":     true,
		"text/html":                             false,
		"application/problem+json":              false,
		"application/json;q=0":                  false,
		"application/json;q=0, */*":             false,
		"*/*;q=0, application/json":             true,
		"application/*;q=0, application/json":   true,
		"*/*;q=0":                               false,
		`text/html;x=", application/json", */*`: true,
	} {
		if got := accepts(http.Header{"Accept": {header}}, "application/json"); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
	if !accepts(http.Header{}, "application/json") {
		t.Error("no Accept at all takes nothing")
	}
}

func TestSendsJSON(t *testing.T) {
	for _, row := range []struct {
		contentType, encoding string
		want                  bool
	}{
		{"", "", true},
		{"application/json", "", true},
		{"application/json; charset=UTF-8", "identity", true},
		{"application/json; charset=gbk", "", false},
		{"application/json", "gzip", false},
		{"text/json", "", false},
		{"text/plain", "", false},
		{"application/json; charset", "", false},
		{"/", "", false},
	} {
		h := http.Header{}
		h.Set("Content-Type", row.contentType)
		h.Set("Content-Encoding", row.encoding)
		if got := sendsJSON(h); got != row.want {
			t.Errorf("%q, %q: %v, want %v", row.contentType, row.encoding, got, row.want)
		}
	}
}

// Whatever stands in the headers: no panic, and nothing beyond the limits.
func FuzzHeaders(f *testing.F) {
	f.Add("wait=10", "zh-CN,zh;q=0.9", "application/json;q=0.5, */*", "application/json; charset=utf-8")
	f.Add(`x="a\", wait=3", wait="4"; y`, "*;q=0", `a/b;x="`, "text/plain; a")
	f.Fuzz(func(t *testing.T, prefer, languages, accept, contentType string) {
		if d, ok := preferredWait(http.Header{"Prefer": {prefer}}); d < 0 || d > WaitMax || !ok && d != 0 {
			t.Errorf("%q waits for %s", prefer, d)
		}
		if l := language(http.Header{"Accept-Language": {languages}}, tideover.Chinese); l != tideover.Chinese && l != tideover.English {
			t.Errorf("%q speaks %s", languages, l)
		}
		accepts(http.Header{"Accept": {accept}}, eventStream)
		sendsJSON(http.Header{"Content-Type": {contentType}})
	})
}
