package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/bbolt"

	"tideover"
	"tideover/control"
	"tideover/hub"
	"tideover/internal/command"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC // golden screens show instants
	testscript.Main(m, map[string]func(){"tideover": main, "tideover-hub": hubMain, "stuck": stuck})
}

// hubMain is the head end, as its own command runs it.
func hubMain() {
	os.Exit(hub.Main(context.Background(), os.Args[1:], hub.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// stuck is a daemon that never ends what it is doing; its argument is the patience of the drain.
func stuck() {
	patience, err := time.ParseDuration(os.Args[1])
	if err != nil {
		panic(err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM)
	if err := errors.Join(os.WriteFile("pid.new", strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600), os.Rename("pid.new", "pid")); err != nil {
		panic(err)
	}
	obey(signals, patience, func() { _ = os.WriteFile("draining", nil, 0o600) }, nil, newLog(os.Stderr))
}

// TestScripts runs the real program through testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			_, port, err := net.SplitHostPort(l.Addr().String())
			e.Setenv("PORT", port) // free a moment ago
			return errors.Join(err, l.Close())
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"eventually": eventually, "post": post, "get": get, "signal": sendSignal, "alter": alter, "cutjournal": cutJournal, "newer": newer},
	})
}

// sendSignal sends TERM or HUP to the process whose number a file holds.
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	known := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	if neg || len(args) != 2 || known[args[0]] == 0 {
		ts.Fatalf("usage: signal TERM|HUP FILE")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, known[args[0]]))
}

// alter changes the first place where a file has a text into another text of that length.
func alter(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: alter FILE OLD NEW")
	}
	before := ts.ReadFile(args[0])
	after := strings.ReplaceAll(before, args[1], args[2]) // a page that is free may hold it, too
	if before == after {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(after), 0o600))
}

// cutJournal removes the last N entries of a journal as one does who knows how it is made: what is left is sound in itself.
func cutJournal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cutjournal FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	db, err := bbolt.Open(ts.MkAbs(args[0]), 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: time.Second})
	ts.Check(err)
	err = db.Update(func(tx *bbolt.Tx) error {
		journal := tx.Bucket([]byte("journal"))
		for range n {
			key, _ := journal.Cursor().Last()
			if err := journal.Delete(key); err != nil {
				return err
			}
		}
		key, _ := journal.Cursor().Last()
		return journal.SetSequence(binary.BigEndian.Uint64(key))
	})
	ts.Check(errors.Join(err, db.Close()))
}

// newer gives a journal the schema of a later version.
func newer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: newer FILE")
	}
	db, err := bbolt.Open(ts.MkAbs(args[0]), 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: time.Second})
	ts.Check(err)
	err = db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte("meta"))
		head := bytes.Clone(meta.Get([]byte("head")))
		magic := bytes.IndexByte(head, '\n') + 1
		binary.BigEndian.PutUint32(head[magic:], 99)
		sum := sha256.Sum256(head[:len(head)-sha256.Size])
		return meta.Put([]byte("head"), append(head[:len(head)-sha256.Size], sum[:]...))
	})
	ts.Check(errors.Join(err, db.Close()))
}

// eventuallyMax bounds every wait of a script, on a slow machine.
const eventuallyMax = 30 * time.Second

// eventually runs a command until it succeeds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: eventually COMMAND [ARG...]")
	}
	for end := time.Now().Add(eventuallyMax); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v never succeeded: %v", args, err)
		}
	}
}

// post sends a file's text as JSON, with headers given as NAME=VALUE, where {FILE} stands for a file's text, and leaves the answer in the
// file "answer". Its first argument is the status that is expected.
func post(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: post STATUS URL FILE [NAME=VALUE...]")
	}
	req, err := http.NewRequest(http.MethodPost, args[1], strings.NewReader(ts.ReadFile(args[2])))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	ask(ts, req, args[0], args[3:])
}

// get asks for a path, where {FILE} stands for a file's text; all else is as in post.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: get STATUS URL [NAME=VALUE...]")
	}
	before, rest, _ := strings.Cut(args[1], "{")
	if file, after, ok := strings.Cut(rest, "}"); ok {
		rest = strings.TrimSpace(ts.ReadFile(file)) + after
	}
	req, err := http.NewRequest(http.MethodGet, before+rest, nil)
	ts.Check(err)
	ask(ts, req, args[0], args[2:])
}

// ask sends a request with its headers, and leaves the answer.
func ask(ts *testscript.TestScript, req *http.Request, status string, headers []string) {
	for _, h := range headers {
		name, value, _ := strings.Cut(h, "=")
		if before, file, ok := strings.Cut(strings.TrimSuffix(value, "}"), "{"); ok {
			value = before + strings.TrimSpace(ts.ReadFile(file))
		}
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("answer"), body, 0o600))
	if strconv.Itoa(resp.StatusCode) != status {
		ts.Fatalf("%s: %d %s", req.URL, resp.StatusCode, body)
	}
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, have string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("%s differs (go test ./cmd/tideover -update writes it anew); have:\n%s", path, have)
	}
}

// call runs the program as a person would.
func call(t *testing.T, args ...string) (status int, out, words string) {
	t.Helper()
	var o, e strings.Builder
	status = run(t.Context(), args, streams{strings.NewReader(""), &o, &e})
	return status, o.String(), e.String()
}

// Every command's help, in both languages: it has an example, and no line of it is wider than a screen that people use.
func TestHelp_IsWhatItWas(t *testing.T) {
	for _, lang := range []string{"en", "zh"} {
		var all strings.Builder
		var walk func(path []string, c *command.Command)
		walk = func(path []string, c *command.Command) {
			status, out, words := call(t, append(path, "--help", "--lang", lang)...)
			if status != exitWell || words != "" {
				t.Errorf("%v --help: status %d, %s", path, status, words)
			}
			if c.Example == "" {
				t.Errorf("%v has no example", path)
			}
			fmt.Fprintf(&all, "$ tideover %s\n%s\n", strings.Join(append(path, "--help"), " "), out)
			for _, sub := range c.Commands() {
				if sub.IsAvailableCommand() {
					walk(append(path[:len(path):len(path)], sub.Name()), sub)
				}
			}
		}
		walk(nil, (&program{lang: lang}).command())
		golden(t, "help."+lang+".txt", all.String())
	}
}

func TestLangOf_ReadsTheEnvironment(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want tideover.Lang
	}{
		{nil, "en"},
		{map[string]string{"LANG": "zh_CN.UTF-8"}, "zh"},
		{map[string]string{"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "zh_TW"}, "zh"},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_MESSAGES": "zh_CN"}, "zh"},
		{map[string]string{"LC_ALL": "", "LANG": "zh"}, "zh"},
	} {
		if have := langOf(func(k string) string { return tc.env[k] }); have != tc.want {
			t.Errorf("%v: %s", tc.env, have)
		}
	}
}

func TestAgo_ReadsAsPeopleSayIt(t *testing.T) {
	now := tideover.MillisOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	for want, d := range map[string]time.Duration{
		"0s": -time.Hour, "45s": 45 * time.Second, "3m05s": 185 * time.Second, "2h05m": 125 * time.Minute, "3d04h": 76 * time.Hour,
	} {
		if have := ago(now.Add(-d), now); have != want {
			t.Errorf("have %q, want %q", have, want)
		}
	}
}

func TestStatusOf_IsTheContracts(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"unreachable": {fmt.Errorf("status: %w", &control.SocketError{Err: control.ErrUnreachable}), exitUnreachable},
		"in use":      {&control.SocketError{Err: control.ErrInUse}, exitFailed},
		"not found":   {control.NotFound("x", tideover.Text{}, tideover.Text{}), exitRefused},
		"malformed":   {&control.Error{Status: http.StatusBadRequest}, exitFailed},
		"broken":      {&control.Error{Status: http.StatusInternalServerError}, exitFailed},
		"refusal":     {tideover.Refuse(tideover.CodeForbidden, "no", "否"), exitRefused},
		"other":       {errors.New("x"), exitFailed},
		"misuse":      {(&program{}).misuse("tideover", "x", "x"), exitFailed},
	} {
		if have := statusOf(tc.err); have != tc.want {
			t.Errorf("%s: %d, want %d", name, have, tc.want)
		}
	}
}

// An error that rooms have wrapped, or several at once, are told in the caller's language, each with its hint.
func TestComplain_FindsWhatIsExplained(t *testing.T) {
	one := &failure{what: tideover.Textf("one", "一"), hint: tideover.Textf("do", "做")}
	two := &failure{what: tideover.Textf("two", "二")}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"wrapped": {fmt.Errorf("stopped: %w", one), "tideover: 一\n  提示：做\n"},
		"several": {fmt.Errorf("x: %w", errors.Join(one, two)), "tideover: 一\n  提示：做\ntideover: 二\n"},
		"refusal": {tideover.Refuse(tideover.CodeForbidden, "no", "否"), "tideover: 否\n"},
		"other":   {errors.New("plain"), "tideover: plain\n"},
	} {
		var words strings.Builder
		p := &program{streams: streams{err: &words}, lang: "zh"}
		if p.complain(tc.err); words.String() != tc.want {
			t.Errorf("%s: have %q, want %q", name, words.String(), tc.want)
		}
	}
}

// A result that cannot be written is a failure: a script must not take half a list for the whole.
func TestRun_FailsWhereTheResultCannotBeWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs /dev/full")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"version"}, {"version", "--json"}, {"--help"}, {"config", "show"}} {
		var words strings.Builder
		if status := run(t.Context(), args, streams{strings.NewReader(""), full, &words}); status != exitFailed || !strings.Contains(words.String(), "no space") {
			t.Errorf("%v: status %d, %s", args, status, words.String())
		}
	}
}

// The first signal drains, a hang-up reads the configuration again. (The second ends the process; a script shows it.)
func TestObey_DrainsOnceAndReloadsAtWill(t *testing.T) {
	signals := make(chan os.Signal, 4)
	var drained, reloaded int
	signals <- syscall.SIGHUP
	signals <- syscall.SIGHUP
	signals <- syscall.SIGTERM
	signals <- syscall.SIGHUP
	close(signals)
	// A timer that would end this process must not outlive the test by its own time.
	timer := obey(signals, time.Hour, func() { drained++ }, func() { reloaded++ }, slog.New(slog.DiscardHandler))
	timer.Stop()
	if drained != 1 || reloaded != 3 {
		t.Errorf("drained %d times, reloaded %d times", drained, reloaded)
	}
}
