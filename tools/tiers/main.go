// Tiers runs make targets one after the other and says what each took. Where a target runs go test, it shows only what a reader
// needs: the output of tests that failed, each test that was skipped with its reason, and at the very end, for all tiers together,
// go test's own line for each package.
//
// It exits with 1 if a tier failed. With TIDEOVER_CI=1 a skipped test is a failure too, unless its reason begins with "nightly: ":
// there, everything that tests need is installed, so that a skip means a test that has quietly stopped testing.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// lineMax bounds one line of a tier's output; a longer one ends the run.
const lineMax = 4 << 20

// event is a line of go test -json, as go doc test2json describes it.
type event struct {
	Action, Package, Test, Output string
}

// report gathers what tiers say.
type report struct {
	out     io.Writer
	strict  bool                // a skip is a failure
	pending map[string][]string // output of tests that still run, by package and test
	skipped []string            // one line each
	lines   []string            // go test's line for each package
}

func main() { os.Exit(run(os.Args[1:])) }

func run(targets []string) int {
	r := &report{out: os.Stdout, strict: os.Getenv("TIDEOVER_CI") == "1", pending: map[string][]string{}}
	status := 0
	var times []string
	for _, target := range targets {
		fmt.Fprintf(r.out, "== %s\n", target)
		start := time.Now()
		verdict := "ok"
		if err := r.tier(target); err != nil {
			fmt.Fprintf(r.out, "tier %s: %v\n", target, err)
			verdict, status = "FAILED", 1
		}
		times = append(times, fmt.Sprintf("tier %-12s %5.0f s  %s", target, time.Since(start).Seconds(), verdict))
	}
	fmt.Fprintln(r.out, "==")
	for _, list := range [][]string{r.skipped, times, r.lines} {
		for _, line := range list {
			fmt.Fprintln(r.out, line)
		}
	}
	return status
}

// tier runs one make target to its end.
func (r *report) tier(target string) error {
	cmd := exec.Command("make", "--no-print-directory", target, "GOTEST=go test -json")
	cmd.Dir = ".." // go run -C tools leaves us there
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	skips := len(r.skipped)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		var e event
		if line := lines.Text(); !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
			fmt.Fprintln(r.out, line)
			continue
		}
		r.take(e)
	}
	if err := lines.Err(); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	if r.strict {
		for _, s := range r.skipped[skips:] {
			if !strings.Contains(s, ": nightly: ") {
				return fmt.Errorf("a test was skipped where none may be: %s", s)
			}
		}
	}
	return nil
}

// take shows, keeps or drops one event.
func (r *report) take(e event) {
	name := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		switch {
		case e.Test == "" && isSummary(e.Output):
			r.lines = append(r.lines, strings.TrimSuffix(e.Output, "\n"))
		case e.Test == "" && e.Output == "PASS\n":
		default:
			r.pending[name] = append(r.pending[name], e.Output)
		}
	case "fail":
		fmt.Fprint(r.out, strings.Join(r.pending[name], ""))
		delete(r.pending, name)
	case "skip":
		if e.Test != "" {
			r.skipped = append(r.skipped, "skipped "+name+": "+reason(r.pending[name]))
		}
		delete(r.pending, name)
	case "pass":
		delete(r.pending, name)
	}
}

// isSummary says whether a line is go test's own about a package.
func isSummary(line string) bool {
	for _, prefix := range []string{"ok  \t", "FAIL\t", "---\t", "?   \t", "\t"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// reason finds what a skipped test said: the line that the testing package prints as file.go:line: text.
func reason(output []string) string {
	for _, line := range output {
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				return strings.TrimSpace(text)
			}
		}
	}
	return "it gave no reason"
}
