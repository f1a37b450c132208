package hub

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// child is the real program in a process of its own, to be killed.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	ready Ready
}

// startChild runs the hub and reads its ready line from the log.
func startChild(t *testing.T, config string, env ...string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0], "run", "--config", config)}
	c.cmd.Env = append(append(os.Environ(), "TIDEOVER_TEST_IS_HUB=1"), env...)
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	ready := make(chan Ready, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			var line struct {
				Msg string `json:"msg"`
				Ready
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
				ready <- line.Ready
			}
		}
	}()
	select {
	case c.ready = <-ready:
	case <-time.After(soon):
		t.Fatal("the hub is not ready")
	}
	return c
}

// kill ends the child as a power cut would.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func TestServer_KilledAndStartedAgainIsNoticedAtOnceAndForgetsNothing(t *testing.T) {
	p := sandbox.New(sandbox.Options{})
	web := httptest.NewServer(p)
	defer web.Close()
	c := testConfig(t, web.URL)
	path := filepath.Join(t.TempDir(), "hub.toml")
	write := func(listen string) {
		text := fmt.Sprintf("listen = %q\nmetrics = \"\"\nadmin = %q\nstate_dir = %q\n[platform]\nurl = %q\n", listen, c.Admin, c.StateDir, web.URL)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("127.0.0.1:0")
	first := startChild(t, path)
	n, err := newClient(c.Admin).Add(t.Context(), "shop-0001", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	token, _ := wire.ParseToken(n.Token)
	e := newEdge(t, token)
	l := e.connect()
	a := mustEnd(t, l.submit(e.sale("a", 1)), tideover.StateApproved)
	first.kill()
	write(first.ready.Listen)
	second := startChild(t, path)
	if second.ready.Ledger != first.ready.Ledger || second.ready.CA != first.ready.CA {
		t.Error("the hub came back as another one")
	}
	// Without stateless resets the edge would find out by its idle time-out of 30 s.
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for ctx.Err() == nil && l.conn.Context().Err() == nil {
		_ = l.conn.SendDatagram([]byte("8 bytes!")) // as large as an edge's probe
		time.Sleep(20 * time.Millisecond)
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](context.Cause(l.conn.Context())); !ok {
		t.Errorf("the connection ended with %v, want a stateless reset", context.Cause(l.conn.Context()))
	}
	l = e.connect()
	said, _ := l.replay()
	if len(said) != 1 || said[0].ID != a.ID || said[0].HubSeq != a.HubSeq {
		t.Errorf("the outbox after the kill: %+v", said)
	}
	if again := mustEnd(t, l.submit(e.sale("a", 1)), tideover.StateApproved); again.HubSeq != a.HubSeq {
		t.Errorf("told %d, before the kill %d", again.HubSeq, a.HubSeq)
	}
	if n := p.Count(a.ID).Executions; n != 1 {
		t.Errorf("executed %d times", n)
	}
}
