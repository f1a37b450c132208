package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tideover/hub"
)

func TestMain(m *testing.M) {
	if os.Getenv("TIDEOVER_TEST_IS_HUB") != "" { // a child that restart_test.go kills
		os.Exit(hub.Main(context.Background(), os.Args[1:], hub.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	testscript.Main(m, map[string]func(){
		"tideover-hub": func() {
			os.Exit(hub.Main(context.Background(), os.Args[1:], hub.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// TestMain_Commands runs the real program against real state directories, as testdata/script says.
func TestMain_Commands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE_GOLDEN") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("LC_ALL", "C.UTF-8")
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"ready":    ready,
			"busyport": busyPort,
			"sigterm":  sigTerm,
		},
	})
}

// exits runs a program and compares its exit status: exits N PROGRAM ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// ready waits until the hub of a state directory has said what it listens on: ready STATE_DIR
func ready(ts *testscript.TestScript, _ bool, args []string) {
	path := filepath.Join(ts.MkAbs(args[0]), "run.json")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no %s", path)
		}
	}
}

// sigTerm sends SIGTERM to the hub of a state directory: sigterm STATE_DIR
func sigTerm(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(filepath.Join(ts.MkAbs(args[0]), "run.json"))
	ts.Check(err)
	var running hub.Ready
	ts.Check(json.Unmarshal(b, &running))
	ts.Check(syscall.Kill(running.PID, syscall.SIGTERM))
}

// busyPort keeps a UDP and a TCP port of loopback for the rest of the script and writes them into a file's PORT: busyport FILE
func busyPort(ts *testscript.TestScript, _ bool, args []string) {
	var port string
	for range 10 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		ts.Check(err)
		_, port, _ = net.SplitHostPort(udp.LocalAddr().String())
		tcp, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			udp.Close()
			continue
		}
		ts.Defer(func() {
			udp.Close()
			tcp.Close()
		})
		ts.Setenv("PORT", port)
		for _, name := range args {
			path := ts.MkAbs(name)
			ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(ts.ReadFile(name), "PORT", port)), 0o600))
		}
		return
	}
	ts.Fatalf("no port is free for both")
}
