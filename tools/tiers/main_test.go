package main

import (
	"strings"
	"testing"
)

// said feeds lines of go test -json to a report and returns what it showed at once.
func said(t *testing.T, r *report, events ...event) string {
	t.Helper()
	var b strings.Builder
	r.out = &b
	if r.pending == nil {
		r.pending = map[string][]string{}
	}
	for _, e := range events {
		r.take(e)
	}
	return b.String()
}

func TestReport_ShowsFailuresAndKeepsSummariesForTheEnd(t *testing.T) {
	var r report
	got := said(t, &r,
		event{"run", "p", "TestGood", ""},
		event{"output", "p", "TestGood", "    a_test.go:3: chatter\n"},
		event{"run", "p", "TestBad", ""},
		event{"output", "p", "TestBad", "    a_test.go:9: want 1\n"},
		event{"pass", "p", "TestGood", ""},
		event{"fail", "p", "TestBad", ""},
		event{"output", "p", "", "FAIL\tp\t0.1s\n"},
		event{"output", "q", "", "PASS\n"},
		event{"output", "q", "", "ok  \tq\t0.2s\n"},
	)
	if want := "    a_test.go:9: want 1\n"; got != want {
		t.Errorf("showed %q, want %q", got, want)
	}
	if want := "FAIL\tp\t0.1s|ok  \tq\t0.2s"; strings.Join(r.lines, "|") != want {
		t.Errorf("kept %q, want %q", r.lines, want)
	}
}

func TestReport_ShowsWhatAPackageSaysOutsideOfTests(t *testing.T) {
	var r report
	got := said(t, &r,
		event{"output", "p", "", "panic: in TestMain\n"},
		event{"output", "p", "", "FAIL\tp\t0.1s\n"},
		event{"fail", "p", "", ""},
		event{"build-output", "", "", "x.go:1: syntax error\n"},
	)
	if want := "panic: in TestMain\nx.go:1: syntax error\n"; got != want {
		t.Errorf("showed %q, want %q", got, want)
	}
}

func TestReport_NamesSkipsWithTheirReason(t *testing.T) {
	var r report
	said(t, &r,
		event{"output", "p", "TestRoot", "=== RUN   TestRoot\n"},
		event{"output", "p", "TestRoot", "    a_test.go:3: needs root: it makes namespaces\n"},
		event{"skip", "p", "TestRoot", ""},
		event{"skip", "q", "", ""}, // a package without tests
	)
	if want := "skipped p TestRoot: needs root: it makes namespaces"; len(r.skipped) != 1 || r.skipped[0] != want {
		t.Errorf("kept %q, want %q", r.skipped, want)
	}
}
