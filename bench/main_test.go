package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBench_RunsBriefly keeps the harness alive: it measures everything for a moment and looks only at the document's shape; then one section
// again, which leaves the others.
func TestBench_RunsBriefly(t *testing.T) {
	dir := t.TempDir()
	program, path := filepath.Join(dir, "bench"), filepath.Join(dir, "benchmarks.md")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := func(args ...string) (words string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append([]string{
			"-rounds", "1", "-each", "50ms", "-transactions", "80", "-pending", "256", "-drained", "512", "-hour", "600ms", "-dir", dir, "-out", path, "-peers", "",
		}, args...)...)
		cmd.Dir = ".."
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			t.Fatalf("bench %v: %v\n%s", args, err, said.String())
		}
		return said.String()
	}
	words := run()
	written, err := readDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		text, there := written[s.title]
		switch {
		case there == (s.name == "peers"):
			t.Errorf("%s: in the document: %v", s.title, there)
		case there && !strings.Contains(text, "\nMeasured ") && !strings.HasPrefix(text, "Not measured here: "):
			t.Errorf("%s does not say when it was measured:\n%s", s.title, text)
		}
	}
	for _, tills := range []string{"\n| 1 |", "\n| 8 |", "\n| 64 |"} {
		if !strings.Contains(written["Durable accept"], tills) || !strings.Contains(written["Confirmed round trip"], tills) {
			t.Errorf("no row%s in the tables:\n%v", tills, written)
		}
	}
	if !strings.Contains(written["Memory"], "after 80 transactions") || !strings.Contains(words, "HTTP accept ÷ (empty handler + two syncs), 8 tills: ") {
		t.Errorf("memory or verdict is missing:\n%s\n%s", written["Memory"], words)
	}
	alone := written["The queue alone"]
	written["The queue alone"], written["Of an older program"] = "stale\n", "gone\n"
	if err := os.WriteFile(path, []byte(written.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run("-only", "alone")
	again, err := readDocument(path)
	if err != nil || again["The queue alone"] == "stale\n" || len(again["The queue alone"]) < len(alone)/2 {
		t.Errorf("the section was not measured again: %q, %v", again["The queue alone"], err)
	}
	for title, text := range written {
		if title != "The queue alone" && again[title] != text && title != "Of an older program" {
			t.Errorf("%s has changed", title)
		}
	}
}

func TestChosen_KnowsItsSections(t *testing.T) {
	all, err := chosen("")
	if err != nil || len(all) != len(sections) || all[len(all)-1].cut == all[0].cut {
		t.Errorf("%d sections, %v", len(all), err)
	}
	two, err := chosen("accept,memory")
	if err != nil || len(two) != 2 || two[0].name != "memory" {
		t.Errorf("%v, %v: the hub is needed first", two, err)
	}
	if _, err := chosen("accept,nonsense"); err == nil || !strings.Contains(err.Error(), "there are: accept, ") {
		t.Errorf("got %v", err)
	}
}

func TestVerdict_SaysWhatIsMissed(t *testing.T) {
	for v, want := range map[verdict]string{
		{what: "a", is: 1.1, limit: 1.2}:               "kept   a: 1.1, limit ≤ 1.2",
		{what: "a", is: 1.3, limit: 1.2}:               "MISSED a: 1.3, limit ≤ 1.2",
		{what: "b", is: 0.4, limit: 0.35, least: true}: "kept   b: 0.4, limit ≥ 0.35",
		{what: "b", is: 0.3, limit: 0.35, least: true}: "MISSED b: 0.3, limit ≥ 0.35",
		{what: "c", is: 12, limit: 10, unit: " KB"}:    "MISSED c: 12 KB, limit ≤ 10 KB",
	} {
		if got := v.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
