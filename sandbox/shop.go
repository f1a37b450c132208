package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	platform "tideover/hub/platform/sandbox"
	"tideover/install"
)

// How long the shop's programs may take to be ready, on a machine that is busy with other things.
const (
	startMax  = 30 * time.Second
	enrolMax  = 30 * time.Second
	serverMax = 5 * time.Second // for the platform's open requests when the shop closes
)

// Options say what kind of shop is opened. The zero Options are those of the story.
type Options struct {
	// Executable is run again for hub and edge, with a first argument that [Main] understands; "" is this program.
	Executable string
	// EdgeExecutable is run for the edge instead, if it is another one.
	EdgeExecutable string
	Store          string // "" is "shop-0001"
	Paired         bool   // tills need a token; otherwise they name themselves
	Guarantee      string // of the platform: "" is idempotent
	Seed           uint64 // of the platform's and the cable's dice
	// PlatformTimeout is how long the hub waits for an answer of the platform; 0 is 2 s.
	PlatformTimeout time.Duration
	Platform        platform.Options
	// Wrap puts something between the hub and the platform, such as a fault; nil does not.
	Wrap func(http.Handler) http.Handler
}

// Shop is a whole shop on loopback: the platform and the cable in this process, hub and edge as child processes that can be killed.
// Everything of it lives in a directory of its own. Its methods are for one goroutine, except where they say otherwise.
type Shop struct {
	Dir      string
	Store    string
	Endpoint string // what tills are pointed at, host:port
	Platform *platform.Platform
	Cable    *Cable

	options   Options
	hub, edge *program
	hubReady  string // URL
	server    *http.Server
	carriers  *errgroup.Group
	end       context.CancelFunc
	closing   sync.Once
}

// taken is what [Shop] chose for programs of this process; see [ports].
var taken ports

// Open makes a shop in which nothing runs yet but the platform and the cable. It lives until [Shop.Close], or ctx ends.
func Open(ctx context.Context, o Options) (*Shop, error) {
	if o.Store == "" {
		o.Store = "shop-0001"
	}
	if o.PlatformTimeout == 0 {
		o.PlatformTimeout = 2 * time.Second
	}
	if o.Executable == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		o.Executable = self
	}
	if o.EdgeExecutable == "" {
		o.EdgeExecutable = o.Executable
	}
	dir, err := os.MkdirTemp("", "tideover-") // a short path: it holds Unix sockets
	if err != nil {
		return nil, err
	}
	o.Platform.Seed = o.Seed
	s := &Shop{Dir: dir, Store: o.Store, options: o, Platform: platform.New(o.Platform)}
	if err := s.furnish(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// furnish starts what runs in this process, and writes the programs' configuration.
func (s *Shop) furnish(ctx context.Context) error {
	var addrs [3]string
	for i, network := range []string{"udp4", "tcp4", "tcp4"} {
		addr, err := taken.free(network)
		if err != nil {
			return err
		}
		addrs[i] = addr
	}
	hubAddr, metrics := addrs[0], addrs[1]
	s.Endpoint, s.hubReady = addrs[2], "http://"+metrics+"/readyz"
	cable, err := NewCable(hubAddr, s.options.Seed)
	if err != nil {
		return err
	}
	s.Cable = cable
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler := http.Handler(s.Platform)
	if s.options.Wrap != nil {
		handler = s.options.Wrap(handler)
	}
	s.server = &http.Server{Handler: handler, ReadHeaderTimeout: serverMax}
	ctx, s.end = context.WithCancel(ctx)
	s.carriers = &errgroup.Group{}
	s.carriers.Go(func() error { return cable.Run(ctx) })
	s.carriers.Go(func() error {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return s.configure(hubAddr, metrics, "http://"+listener.Addr().String())
}

// configure writes both programs' configuration, as a person would.
func (s *Shop) configure(hubAddr, metrics, platformURL string) error {
	access := "open"
	if s.options.Paired {
		access = "paired"
	}
	guarantee := s.options.Guarantee
	if guarantee == "" {
		guarantee = "idempotent"
	}
	hubFile := fmt.Sprintf(`listen    = %q
advertise = [%q]
admin     = %q
metrics   = %q
state_dir = %q
[platform]
url       = %q
guarantee = %q
timeout   = %q
`, hubAddr, s.Cable.Addr(), s.path("hub.sock"), metrics, s.path("hub"), platformURL, guarantee, s.options.PlatformTimeout)
	edgeFile := fmt.Sprintf(`store     = %q
state_dir = %q
lang      = "en"
[endpoint]
listen = %q
access = %q
[admin]
socket = %q
web    = ""
[hub]
addresses = [%q]
`, s.Store, s.path("edge"), s.Endpoint, access, s.path("edge.sock"), s.Cable.Addr())
	s.hub = &program{name: "the hub", exe: s.options.Executable, args: []string{asHub, "run", "--config", s.HubConfig()}, log: s.path("hub.log")}
	s.edge = &program{name: "the edge", exe: s.options.EdgeExecutable, args: []string{asEdge, "--config", s.EdgeConfig()}, log: s.path("edge.log")}
	for file, text := range map[string]string{s.HubConfig(): hubFile, s.EdgeConfig(): edgeFile} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shop) path(name string) string { return filepath.Join(s.Dir, name) }

// HubConfig and EdgeConfig are the programs' configuration files; the real commands take them with --config.
func (s *Shop) HubConfig() string { return s.path("hub.toml") }

// EdgeConfig is the edge's configuration file.
func (s *Shop) EdgeConfig() string { return s.path("tideover.toml") }

// StartHub starts the hub, and waits until it serves. env is added to its environment.
func (s *Shop) StartHub(ctx context.Context, env ...string) error {
	if err := s.hub.start(env...); err != nil {
		return err
	}
	return s.hub.until(ctx, startMax, func(ctx context.Context) error { return get(ctx, s.hubReady) })
}

// StartEdge starts the edge, and waits until tills can reach it. env is added to its environment.
func (s *Shop) StartEdge(ctx context.Context, env ...string) error {
	if err := s.edge.start(env...); err != nil {
		return err
	}
	return s.edge.until(ctx, startMax, func(ctx context.Context) error { return get(ctx, "http://"+s.Endpoint+"/v1/health") })
}

// get wants a 200.
func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := prober.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return nil
}

// prober asks on a connection of its own each time.
var prober = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// KillHub ends the hub with SIGKILL, and returns when it is gone.
func (s *Shop) KillHub() { s.hub.kill() }

// KillEdge ends the edge with SIGKILL, and returns when it is gone.
func (s *Shop) KillEdge() { s.edge.kill() }

// CutCable lets nothing through between shop and hub any more, and tells nobody. It may be called from any goroutine.
func (s *Shop) CutCable() { s.Cable.Set(Weather{Cut: true}) }

// MendCable makes the cable a good one. It may be called from any goroutine.
func (s *Shop) MendCable() { s.Cable.Set(Weather{}) }

// Enrol adds the store at the hub, and enrols this shop's edge with the token, through a running hub.
func (s *Shop) Enrol(ctx context.Context) error {
	token, err := s.Token(ctx, "add")
	if err != nil {
		return err
	}
	return s.enrol(ctx, token)
}

// WipeEdge replaces the router by an empty one: the edge is killed and its disk is gone, the store gets a fresh token, and the new
// router is enrolled with it. It is not started.
func (s *Shop) WipeEdge(ctx context.Context) error {
	s.KillEdge()
	if err := os.RemoveAll(s.path("edge")); err != nil {
		return err
	}
	token, err := s.Token(ctx, "rotate")
	if err != nil {
		return err
	}
	return s.enrol(ctx, token)
}

func (s *Shop) enrol(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, enrolMax)
	defer cancel()
	if _, err := install.Enroll(ctx, install.Options{Token: token, StateDir: s.path("edge")}); err != nil {
		return fmt.Errorf("enrol %s: %w", s.Store, err)
	}
	return createQueue(s.EdgeConfig())
}

// Token asks the hub for the store's enrolment token: how is "add" or "rotate".
func (s *Shop) Token(ctx context.Context, how string) (string, error) {
	out, err := s.HubCommand(ctx, "store", how, s.Store, "--json")
	if err != nil {
		return "", err
	}
	var t struct{ Token string }
	if err := json.Unmarshal(out, &t); err != nil || t.Token == "" {
		return "", fmt.Errorf("store %s: no token in %q", how, out)
	}
	return t.Token, nil
}

// HubCommand runs a command of tideover-hub with this hub's configuration, and returns what it prints.
func (s *Shop) HubCommand(ctx context.Context, args ...string) ([]byte, error) {
	args = append(append([]string{asHub}, args...), "--config", s.HubConfig(), "--lang", "en")
	cmd := exec.CommandContext(ctx, s.options.Executable, args...)
	cmd.Env = bareEnviron()
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out, fmt.Errorf("tideover-hub %s: %w: %s", strings.Join(args[1:], " "), err, exit.Stderr)
	}
	return out, err
}

// Verdict compares what tills were told with what the platform did, now.
func (s *Shop) Verdict(tills ...*Till) Verdict {
	var notes []Note
	for _, t := range tills {
		notes = append(notes, t.Notes()...)
	}
	return Judge(notes, s.Platform.Stats())
}

// Slow sets how long the platform takes to answer from now on. It may be called from any goroutine.
func (s *Shop) Slow(d time.Duration) error {
	return s.Platform.Control(func(b *platform.Behaviour) { b.LatencyMS = d.Milliseconds() })
}

// Till returns a new till that is pointed at this shop's edge.
func (s *Shop) Till(name string) *Till { return NewTill(s.Endpoint, name) }

// Stop ends edge and hub as a service manager does, and says if either did not end well.
func (s *Shop) Stop() error { return errors.Join(s.edge.stop(), s.hub.stop()) }

// Close kills what still runs and removes the shop's directory. It may be called more than once, and from any goroutine.
func (s *Shop) Close() (err error) {
	s.closing.Do(func() {
		for _, p := range []*program{s.edge, s.hub} {
			if p != nil {
				p.kill()
			}
		}
		if s.end != nil {
			s.end()
			err = errors.Join(s.server.Close(), s.carriers.Wait())
		}
		err = errors.Join(err, os.RemoveAll(s.Dir))
	})
	return err
}
