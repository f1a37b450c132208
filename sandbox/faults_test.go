package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tideover"
)

// said is what a program printed, and how it ended.
type said struct {
	status     int
	out, words string
}

// endMax is how long a program that cannot run may take to say so.
const endMax = 20 * time.Second

// command runs one of the real programs to its end.
func command(t *testing.T, env []string, exe string, args ...string) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), endMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, append(args, "--lang", "en")...)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.Env = append(bareEnviron(), env...)
	err := cmd.Run()
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit || ctx.Err() != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, errors.Join(err, ctx.Err()), words.String())
	}
	return said{cmd.ProcessState.ExitCode(), out.String(), words.String()}
}

// wants holds what a program said to an exit status, and to words that each name a thing or a next step.
func (s said) wants(t *testing.T, status int, words ...string) {
	t.Helper()
	if s.status != status {
		t.Errorf("exit status %d, want %d: %s%s", s.status, status, s.out, s.words)
	}
	for _, w := range words {
		if !strings.Contains(s.words, w) {
			t.Errorf("it does not say %q: %s", w, s.words)
		}
	}
}

// sells wants a sale to come home through a running shop.
func (c *campaign) sells(key string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, settleMax)
	defer cancel()
	x, err := c.tills[0].Sell(ctx, key, Press{Kind: tideover.KindSale, Amount: 100, Currency: currency})
	c.must(err)
	if x.State != tideover.StateApproved {
		c.t.Errorf("%s is %s", key, x.State)
	}
}

// stores wants a sale to be taken, on disk, without an end.
func (c *campaign) stores(key string) {
	c.t.Helper()
	c.tills[0].Wait = time.Second
	x, err := c.tills[0].Press(c.ctx, key, Press{Kind: tideover.KindSale, Amount: 100, Currency: currency, ExpiresIn: 600})
	c.must(err)
	if x.Final() {
		c.t.Errorf("%s is %s, want it stored", key, x.State)
	}
}

// edit replaces a text in a file.
func edit(t *testing.T, file, from, to string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(from)) {
		t.Fatalf("%s has no %q", file, from)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(b, []byte(from), []byte(to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// variant writes the shop's configuration again with one text replaced, and returns its path.
func variant(t *testing.T, file string, replace ...string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		edit(t, path, replace[i], replace[i+1])
	}
	return path
}

// TestFault_TwoOnOneDirectory starts a second edge and a second hub on the state directories of running ones.
func TestFault_TwoOnOneDirectory(t *testing.T) {
	c := newCampaign(t, Options{})
	endpoint, err := taken.free("tcp4")
	c.must(err)
	udp, err := taken.free("udp4")
	c.must(err)
	second := variant(t, c.shop.EdgeConfig(), c.shop.Endpoint, endpoint, "edge.sock", "edge-2.sock")
	command(t, nil, build(t, "tideover"), "run", "--config", second).wants(t, 2, c.shop.path("edge"), "stop")
	hubFile, err := os.ReadFile(c.shop.HubConfig())
	c.must(err)
	_, listen, _ := strings.Cut(string(hubFile), "listen    = \"")
	listen, _, _ = strings.Cut(listen, "\"")
	second = variant(t, c.shop.HubConfig(), listen, udp, "hub.sock", "hub-2.sock")
	edit(t, second, "metrics ", "#metrics ")
	command(t, []string{"TIDEOVER_HUB_METRICS="}, build(t, "tideover-hub"), "run", "--config", second).wants(t, 2, c.shop.path("hub"), "stop")
	c.sells("after")
}

// TestFault_BusyPort starts edge and hub where another program has the port.
func TestFault_BusyPort(t *testing.T) {
	c := newCampaign(t, Options{})
	c.sells("before")
	c.must(c.shop.Stop())
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	c.must(err)
	defer tcp.Close()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	c.must(err)
	defer udp.Close()
	busy := variant(t, c.shop.EdgeConfig(), c.shop.Endpoint, tcp.Addr().String())
	command(t, nil, build(t, "tideover"), "run", "--config", busy).wants(t, 2, tcp.Addr().String(), "endpoint.listen")
	command(t, []string{"TIDEOVER_HUB_LISTEN=" + udp.LocalAddr().String()}, build(t, "tideover-hub"), "run", "--config", c.shop.HubConfig()).
		wants(t, 2, udp.LocalAddr().String(), "listen")
	c.must(c.shop.StartHub(c.ctx))
	c.must(c.shop.StartEdge(c.ctx))
	c.sells("after")
}

// TestFault_StaleSockets starts edge and hub where killed ones have left their sockets, locks and files.
func TestFault_StaleSockets(t *testing.T) {
	c := newCampaign(t, Options{})
	c.sells("before")
	c.shop.KillEdge()
	c.shop.KillHub()
	for _, name := range []string{"edge.sock", "hub.sock"} {
		if _, err := os.Lstat(c.shop.path(name)); err != nil {
			t.Errorf("a killed program should leave its socket, for this test: %v", err)
		}
	}
	status := command(t, nil, build(t, "tideover"), "status", "--config", c.shop.EdgeConfig())
	status.wants(t, 3, "edge.sock")
	command(t, nil, build(t, "tideover-hub"), "status", "--config", c.shop.HubConfig()).wants(t, 3, "hub.sock")
	c.must(c.shop.StartHub(c.ctx))
	c.must(c.shop.StartEdge(c.ctx))
	c.sells("after")
	command(t, nil, build(t, "tideover"), "status", "--config", c.shop.EdgeConfig()).wants(t, 0)
	command(t, nil, build(t, "tideover-hub"), "status", "--config", c.shop.HubConfig()).wants(t, 0)
}

// TestFault_Tokens enrols with tokens that are not good: used, expired, of a store that was revoked, of another hub, and no token at
// all. A refused enrolment leaves nothing behind, and the good router sells on.
func TestFault_Tokens(t *testing.T) {
	c := newCampaign(t, Options{})
	edge := build(t, "tideover")
	used, err := c.shop.Token(c.ctx, "rotate")
	c.must(err)
	c.shop.KillEdge()
	c.must(os.RemoveAll(c.shop.path("edge")))
	c.must(c.shop.enrol(c.ctx, used))
	c.must(c.shop.StartEdge(c.ctx))
	c.sells("with-the-token")

	fresh := variant(t, c.shop.EdgeConfig(), c.shop.path("edge")+`"`, filepath.Join(t.TempDir(), "edge")+`"`, "edge.sock", "fresh.sock")
	refused := func(token string, words ...string) {
		t.Helper()
		s := command(t, nil, edge, "enroll", token, "--config", fresh)
		if s.status != 1 && s.status != 2 {
			t.Errorf("exit status %d: %s", s.status, s.words)
		}
		s.wants(t, s.status, append(words, "tideover-hub store")...)
	}
	refused(used, "token")
	refused("tov1.nonsense", "token")
	expired := command(t, nil, build(t, "tideover-hub"), "store", "rotate", c.shop.Store, "--valid", "1m", "--json", "--config", c.shop.HubConfig())
	expired.wants(t, 0)
	// The hub's clock is four days further on when the token is used.
	c.shop.KillHub()
	late := &program{
		name: "the late hub", exe: build(t, "tideover-hub", shiftedClock(t)...),
		args: []string{"run", "--config", c.shop.HubConfig()}, log: c.shop.path("hub.log"),
	}
	c.must(late.start(clockOffset + "=345600"))
	c.must(late.until(c.ctx, startMax, func(ctx context.Context) error { return get(ctx, c.shop.hubReady) }))
	var token struct{ Token string }
	c.must(json.Unmarshal([]byte(expired.out), &token))
	refused(token.Token, "token")
	late.kill()
	c.must(c.shop.StartHub(c.ctx))
	c.sells("after")
}
