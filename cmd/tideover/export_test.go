package main

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tideover"
	"tideover/control"
)

// Nothing that a till or a platform sends is computed by the spreadsheet that opens an export.
func TestCell_IsNoFormula(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "",
		"A-1001":            "A-1001",
		"=1+1":              "'=1+1",
		"+8613800000000":    "'+8613800000000",
		"-5":                "'-5",
		"@SUM(A1)":          "'@SUM(A1)",
		"＝1＋1":              "'＝1＋1",
		"  =1":              "  '=1",
		"\"=1":              "\"'=1",
		"x;=cmd|' /C calc'": "x;'=cmd|' /C calc'",
		"a,-b, -c":          "a,'-b, '-c",
		"\t=1":              "\ufffd=1",
		"two\nlines\x1b[2J": "two\ufffdlines\ufffd[2J",
		"a=b":               "a=b",
		"2026-03-01T12:00Z": "2026-03-01T12:00Z",
		"退款-1":              "退款-1",
	} {
		if have := cell(text); have != want {
			t.Errorf("%q: have %q, want %q", text, have, want)
		}
	}
}

// A line has as many cells as the head has names, whatever is in them, and a reader gets back what was written.
func TestCSVCells_FillTheirColumns(t *testing.T) {
	d := control.Detail{
		Transaction: control.See(tideover.Transaction{ID: saleID, Order: `a,"b"` + "\n", State: tideover.StateApproved}, noon),
		History: []control.Event{
			{Event: "accepted"}, {Event: "told approved", By: control.ByHub}, {Event: "dropped", By: "uid 0 (root)", Detail: "why", At: noon},
		},
	}
	cells := csvCells(d)
	if len(cells) != len(csvNames) || cells[len(cells)-1] != "2026-03-01T12:00:00.000Z dropped by uid 0 (root) why" {
		t.Errorf("have %q", cells)
	}
	var b strings.Builder
	if err := csv.NewWriter(&b).WriteAll([][]string{cells}); err != nil {
		t.Fatal(err)
	}
	if back, err := csv.NewReader(strings.NewReader(b.String())).Read(); err != nil || back[7] != cells[7] {
		t.Errorf("have %q, %v", back, err)
	}
}

// Every command that the runbook names is run by a script against a real daemon, but for those of the hub.
func TestRunbook_NamesCommandsThatAreTested(t *testing.T) {
	runbook, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	var script []byte
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		script = append(script, text...)
	}
	named := regexp.MustCompile("`tideover (queue )?([a-z]+)([^`]*)`").FindAllStringSubmatch(string(runbook), -1)
	if len(named) < 15 {
		t.Errorf("the runbook names %d commands", len(named))
	}
	for _, n := range named {
		if !regexp.MustCompile(`(?m)^!? ?exec (sh status.sh )?(sh act.sh|tideover queue|tideover) ` + n[2] + ` `).Match(script) {
			t.Errorf("no script runs tideover %s%s", n[1], n[2])
		}
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(n[3], -1) {
			if !strings.Contains(string(script), flag) {
				t.Errorf("no script uses %s", flag)
			}
		}
	}
}
