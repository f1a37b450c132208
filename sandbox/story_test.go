package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	platform "tideover/hub/platform/sandbox"
)

// lastLine is what a story that went well ends in.
var lastLine = regexp.MustCompile(`^(\d+) accepted, (\d+) confirmed, 0 lost, 0 charged twice$`)

// storyTime is what a newcomer is promised; on a busy machine it may take longer, which is only logged.
const storyTime = 30 * time.Second

// TestStory_EndsAsPromised runs the real program, as the README's first command does.
func TestStory_EndsAsPromised(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	began := time.Now()
	s := command(t, []string{"TMPDIR=" + temp, "TIDEOVER_HUB_LISTEN=nonsense"}, build(t, "tideover-sandbox"))
	if took := time.Since(began); took > storyTime {
		t.Logf("the story took %v, and is promised within %v", took, storyTime)
	}
	s.wants(t, 0)
	t.Logf("\n%s", s.out)
	lines := strings.Split(strings.TrimSpace(s.out), "\n")
	m := lastLine.FindStringSubmatch(lines[len(lines)-1])
	if m == nil || m[1] != m[2] || m[1] != "9" {
		t.Errorf("the last line is %q", lines[len(lines)-1])
	}
	for _, line := range excerpt(t) {
		if !slices.Contains(lines, line) {
			t.Errorf("the README says that the story has a line %q", line)
		}
	}
	if s.words != "" {
		t.Errorf("it complains: %s", s.words)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
}

// excerpt is what the README shows of the story; ids are functions of store, till and key, and so always the same.
func excerpt(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(readme), "\n```text\n")
	shown, _, closed := strings.Cut(shown, "\n```\n")
	lines := slices.DeleteFunc(strings.Split(shown, "\n"), func(line string) bool { return line == "…" })
	if !ok || !closed || len(lines) < 5 {
		t.Fatalf("the README shows nothing of the story: %q", lines)
	}
	return lines
}

// TestStory_JSON gives the verdict to a program, and the story to a person.
func TestStory_JSON(t *testing.T) {
	t.Parallel()
	s := command(t, nil, build(t, "tideover-sandbox"), "--json")
	s.wants(t, 0, "accepted")
	var v told
	if err := json.Unmarshal([]byte(s.out), &v); err != nil {
		t.Fatalf("%v: %s", err, s.out)
	}
	if !v.Well || v.Accepted != 9 || v.Confirmed != 9 || v.Approved != 7 || v.Charged != v.TillsHold || v.Charged == 0 || v.Cancelled != 2 || v.NotUndone != 0 {
		t.Errorf("got %+v", v)
	}
}

// TestStory_Usage says what is wrong with a command line, and exits with 2.
func TestStory_Usage(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"--no-such-flag"}, {"--lang", "fr"}} {
		var out, words bytes.Buffer
		if status := Main(t.Context(), args, Streams{Out: &out, Err: &words}); status != 2 || !strings.Contains(words.String(), "--help") {
			t.Errorf("%v: exit status %d: %s", args, status, words.String())
		}
	}
	var out bytes.Buffer
	if status := Main(t.Context(), []string{"--help", "--lang", "zh"}, Streams{Out: &out, Err: &out}); status != 0 || !strings.Contains(out.String(), "门店") {
		t.Errorf("exit status %d: %s", status, out.String())
	}
}

// TestStory_CanEndBadly tells the story with a platform that executes what it is asked twice, and with one that takes money for
// nothing: the count must see it, and the exit status must say it.
func TestStory_CanEndBadly(t *testing.T) {
	t.Parallel()
	twice := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); r.Method == http.MethodPost && r.URL.Path == "/payments" && err == nil {
				again := r.Clone(context.WithoutCancel(r.Context()))
				again.Body = io.NopCloser(bytes.NewReader(body))
				next.ServeHTTP(&nobody{header: http.Header{}}, again)
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			next.ServeHTTP(w, r)
		})
	}
	var out bytes.Buffer
	o := Options{Wrap: twice, Platform: platform.Options{Repeats: true}}
	status := run(t.Context(), []string{"--lang", "en"}, Streams{Out: &out, Err: &out}, o)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if status != 1 || lastLine.MatchString(lines[len(lines)-1]) || !strings.Contains(out.String(), "WRONG") {
		t.Errorf("exit status %d, and the story ends in %q", status, out.String())
	}
}

// nobody takes an answer that nobody hears.
type nobody struct{ header http.Header }

func (n *nobody) Header() http.Header         { return n.header }
func (n *nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n *nobody) WriteHeader(int)             {}
func (n *nobody) FlushError() error           { return nil }

// TestStory_ProgramsEndWithIt kills the story itself with -9: hub and edge end with it.
func TestStory_ProgramsEndWithIt(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(build(t, "tideover-sandbox"), "--stay", "--lang", "en")
	cmd.Env = append(bareEnviron(), "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	process := regexp.MustCompile(`process (\d+)`)
	pids := map[string]int{} // by program
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if m := process.FindStringSubmatch(lines.Text()); m != nil {
			program, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "the "), " ")
			pids[program], _ = strconv.Atoi(m[1])
		}
		if strings.Contains(lines.Text(), "Ctrl-C") {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // it was killed
	if len(pids) != 2 {
		t.Fatalf("found the processes %v", pids)
	}
	for program, pid := range pids {
		for deadline := time.Now().Add(endMax); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%s, process %d, outlived the story", program, pid)
				break
			}
		}
	}
}

// TestStory_Stay leaves the shop open, sells through it with the very line that it prints, and closes it with a signal.
func TestStory_Stay(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: the line that --stay prints uses it", program)
		}
	}
	temp := t.TempDir()
	cmd := exec.Command(build(t, "tideover-sandbox"), "--stay", "--lang", "en")
	cmd.Env = append(bareEnviron(), "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	var curl, edge string
	counted := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last := lines.Text()
		counted = counted || lastLine.MatchString(last)
		if _, config, ok := strings.Cut(last, "tideover status --config "); ok { // after "go run ./cmd/" where it is not installed
			edge = config
		}
		if strings.HasPrefix(last, "curl ") {
			curl = last
		}
		if !strings.Contains(last, "Ctrl-C") {
			continue
		}
		answer, err := exec.Command("bash", "-c", curl).Output()
		if err != nil || !strings.Contains(string(answer), `"state":"approved"`) {
			t.Errorf("%s\n%s %v", curl, answer, err)
		}
		command(t, nil, build(t, "tideover"), "status", "--config", edge).wants(t, 0)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
	if !counted {
		t.Error("nothing was counted")
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "tideover-*")); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
}

// TestStory_Hints sends to --help whoever called it wrongly, and nobody else: the fault was a hint at --help after Ctrl-C.
func TestStory_Hints(t *testing.T) {
	for _, tc := range []struct {
		args  []string
		begun bool
		hint  bool
	}{
		{[]string{"--bogus"}, false, true},
		{[]string{"extra"}, false, true},
		{[]string{"--lang", "xx"}, false, true},
		{[]string{"--lang", "en"}, true, false},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if tc.begun {
			cancel() // as a signal before the first line
		}
		var words strings.Builder
		status := run(ctx, tc.args, Streams{In: strings.NewReader(""), Out: io.Discard, Err: &words}, Options{})
		cancel()
		if status != exitFailed || strings.Contains(words.String(), "--help") != tc.hint {
			t.Errorf("%q: %d, %s", tc.args, status, words.String())
		}
	}
}
