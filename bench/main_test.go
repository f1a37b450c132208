package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBench_RunsBriefly keeps the harness alive: it measures everything for a moment and looks only at the table's shape.
func TestBench_RunsBriefly(t *testing.T) {
	dir := t.TempDir()
	program, document := filepath.Join(dir, "bench"), filepath.Join(dir, "benchmarks.md")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program,
		"-rounds", "1", "-each", "50ms", "-transactions", "80", "-dir", dir, "-out", document)
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

func TestPress_CountsAndStops(t *testing.T) {
	took, err := press(t.Context(), 3, each(5), func(context.Context, int) error { return nil })
	if err != nil || took.PerSec <= 0 || took.P50 > took.P99 {
		t.Errorf("%+v, %v", took, err)
	}
}

func TestSpreadOf_IsTheMedianAndItsRange(t *testing.T) {
	if got := spreadOf([]float64{3, 1, 2}); got != (spread{Median: 2, Low: 1, High: 3}) {
		t.Errorf("%+v", got)
	}
	if got, want := ratio(3*time.Second, 2*time.Second), 1.5; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
