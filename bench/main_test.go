package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBench_RunsBriefly keeps the harness alive: it measures everything for a moment and looks only at the table's shape.
func TestBench_RunsBriefly(t *testing.T) {
	dir := t.TempDir()
	program, document := filepath.Join(dir, "bench"), filepath.Join(dir, "benchmarks.md")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program,
		"-rounds", "1", "-each", "50ms", "-transactions", "80", "-dir", dir, "-out", document, "-peers", "")
	cmd.Dir = ".."
	var words strings.Builder
	cmd.Stderr = &words
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("bench: %v\n%s", err, words.String())
	}
	written, err := os.ReadFile(document)
	if err != nil || string(written) != string(printed) {
		t.Errorf("it printed something else than it wrote (%v)", err)
	}
	// One row for each number of tills in both tables.
	if rows := strings.Count(string(written), "\n| 1 |") + strings.Count(string(written), "\n| 8 |") +
		strings.Count(string(written), "\n| 64 |"); rows != 6 {
		t.Errorf("the tables have %d rows, want 6:\n%s", rows, written)
	}
	if !strings.Contains(string(written), "after 80 transactions") {
		t.Errorf("the memory is not told:\n%s", written)
	}
}
