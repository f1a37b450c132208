package tideover_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// quickStartMax bounds the whole quick start, building included, on a slow machine.
const quickStartMax = 5 * time.Minute

// TestReadme_QuickStartRuns runs the shell blocks of the README's "By hand", as they stand there but for the ports.
func TestReadme_QuickStartRuns(t *testing.T) {
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: the README uses it", program)
		}
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, byHand, ok := strings.Cut(string(readme), "\n## By hand\n")
	if !ok {
		t.Fatal(`the README has no section "By hand"`)
	}
	byHand, _, _ = strings.Cut(byHand, "\n## ")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(byHand, -1)
	if len(blocks) < 4 {
		t.Fatalf("the quick start has %d shell blocks", len(blocks))
	}
	script := "set -euo pipefail\ntrap 'kill -KILL $(jobs -p) 2>/dev/null || true' EXIT\n"
	for _, b := range blocks {
		script += b[1]
	}
	script = strings.NewReplacer(":8443", freePort(t, "udp"), ":8400", freePort(t, "tcp")).Replace(script)

	out := runScript(t, script)
	for want, times := range map[string]int{
		`"state":"approved"`: 2, `"replayed":false`: 1, `"replayed":true`: 1, `"key":"A-1001"`: 2,
	} {
		if got := strings.Count(strings.ReplaceAll(out, `": `, `":`), want); got != times {
			t.Errorf("%s is said %d times, want %d", want, got, times)
		}
	}
	if t.Failed() {
		t.Logf("the quick start said:\n%s", out)
	}
}

// freePort returns ":port" of a port on loopback that was free a moment ago.
func freePort(t *testing.T, network string) string {
	t.Helper()
	var addr net.Addr
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		addr = c.LocalAddr()
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addr = l.Addr()
	}
	_, port, _ := net.SplitHostPort(addr.String())
	return ":" + port
}

// runScript runs bash in a process group of its own, which is ended with it, and returns what came on its standard output.
func runScript(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), quickStartMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("the quick start failed: %v\n%s%s", err, out.String(), words.String())
	}
	return out.String()
}

// TestDocs_LinksLeadSomewhere follows every relative link of the documents.
func TestDocs_LinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 5 {
		t.Fatalf("found only %q", files)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", file, err)
			}
		}
	}
}

// TestDocs_DecisionsAreNumberedOnce: a decision's number is its name, whoever refers to it.
func TestDocs_DecisionsAreNumberedOnce(t *testing.T) {
	files, err := filepath.Glob("docs/decisions/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	taken := map[string]string{}
	for _, file := range files {
		number, _, _ := strings.Cut(filepath.Base(file), "-")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := strconv.Atoi(number); err != nil || number != fmt.Sprintf("%03d", n) || !strings.HasPrefix(string(text), "# "+number+": ") {
			t.Errorf("%s: want one number of three digits in its name and its title", file)
		}
		if other := taken[number]; other != "" {
			t.Errorf("%s and %s have the same number", file, other)
		}
		taken[number] = file
	}
	for n := range files {
		if number := fmt.Sprintf("%03d", n+1); taken[number] == "" {
			t.Errorf("there are %d decisions, and none is number %s", len(files), number)
		}
	}
}
