package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a program may take to be up, and to be gone.
const (
	upMax   = 30 * time.Second
	goneMax = 15 * time.Second
)

// house is a hub with one enrolled edge, in a folder of its own; their programs run as processes like anywhere else.
type house struct {
	dir      string // programs, configurations, state
	hubAddr  string
	platform http.Server
	hub      *exec.Cmd // nil while the cable is cut

	states map[string]string // where the state of an edge lies, by its name, where that is elsewhere
}

// build compiles both programs into dir, as they are shipped.
func build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir, "./cmd/tideover", "./cmd/tideover-hub")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// open builds the programs, starts a platform that approves at once and a hub, and enrols an edge that is not started: the one that
// is copied once the cable is cut. Whatever becomes of it, stop ends what it started.
func (h *house) open(ctx context.Context) error {
	if err := build(ctx, h.dir); err != nil {
		return err
	}
	url, err := h.servePlatform()
	if err != nil {
		return err
	}
	port, err := freePort("udp")
	if err != nil {
		return err
	}
	h.hubAddr = "127.0.0.1:" + port
	config := fmt.Sprintf("listen = %q\nadmin = %q\nmetrics = \"\"\nstate_dir = %q\n[platform]\nadapter = \"http\"\nurl = %q\n",
		h.hubAddr, h.path("hub.sock"), h.path("hub"), url)
	if err := os.WriteFile(h.path("hub.toml"), []byte(config), 0o600); err != nil {
		return err
	}
	if err := h.startHub(ctx); err != nil {
		return err
	}
	if _, err := h.configureEdge(template, template); err != nil {
		return err
	}
	return h.enroll(ctx, template)
}

// template names the store and the state of the edge that is copied.
const template = "enrolled"

// enroll adds a store to the running hub and enrols the edge of that name.
func (h *house) enroll(ctx context.Context, name string) error {
	var added struct{ Token string }
	if err := h.command(ctx, &added, "tideover-hub", "store", "add", name, "--json", "--config", h.path("hub.toml")); err != nil {
		return err
	}
	return h.command(ctx, nil, "tideover", "enroll", added.Token, "--config", h.path(name+".toml"))
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// state is the folder of an edge's state.
func (h *house) state(name string) string {
	if dir, ok := h.states[name]; ok {
		return dir
	}
	return h.path(name)
}

// command runs one to its end; its answer is read into v where v is not nil.
func (h *house) command(ctx context.Context, v any, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, h.path(program), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, stderr.String())
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(out, v)
}

// startHub starts the hub and waits until it answers its administrator.
func (h *house) startHub(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, h.path("tideover-hub"), "run", "--config", h.path("hub.toml"))
	logs, err := os.OpenFile(h.path("hub.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close()
	cmd.Stderr, cmd.Stdout = logs, logs
	h.hub = cmd
	if err := cmd.Start(); err != nil {
		return err
	}
	return until(ctx, upMax, func() bool {
		return h.command(ctx, nil, "tideover-hub", "status", "--config", h.path("hub.toml")) == nil
	})
}

// cut ends the hub: no edge reaches it any more.
func (h *house) cut() {
	end(h.hub)
	h.hub = nil
}

// stop ends everything but edges.
func (h *house) stop() {
	end(h.hub)
	h.platform.Close()
}

// end asks a process to drain and waits until it is gone.
func end(cmd *exec.Cmd) {
	if cmd == nil || cmd.Process == nil {
		return
	}
	cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(goneMax, func() { cmd.Process.Kill() })
	defer late.Stop()
	cmd.Wait()
}

// router is a running edge.
type router struct {
	cmd *exec.Cmd
	url string // of its endpoint
}

// kill ends an edge that nobody needs any more, with everything that it still holds.
func (e *router) kill() {
	e.cmd.Process.Kill()
	e.cmd.Wait()
}

// configureEdge writes the configuration of a store's edge whose state lies in a folder of this name, and returns its endpoint's
// address.
func (h *house) configureEdge(store, name string) (addr string, err error) {
	port, err := freePort("tcp")
	if err != nil {
		return "", err
	}
	addr = "127.0.0.1:" + port
	config := fmt.Sprintf("store = %q\nstate_dir = %q\n[endpoint]\nlisten = %q\naccess = \"open\"\ntill_rate = 0\n[admin]\nsocket = %q\nweb = \"\"\n"+
		"[hub]\naddresses = [%q]\n[limits]\noffline_count_max = 0\n", store, h.state(name), addr, h.path(name+".sock"), h.hubAddr)
	return addr, os.WriteFile(h.path(name+".toml"), []byte(config), 0o600)
}

// startEdge starts an edge with a queue that holds nothing yet: of a new store, or, while the cable is cut, a copy of the template,
// whose store the hub never hears of.
func (h *house) startEdge(ctx context.Context, name string) (*router, error) {
	store := name
	if h.hub == nil {
		store = template
	}
	addr, err := h.configureEdge(store, name)
	if err != nil {
		return nil, err
	}
	if h.hub != nil {
		err = h.enroll(ctx, name)
	} else if err = os.CopyFS(h.state(name), os.DirFS(h.path(template))); err == nil {
		err = private(h.state(name))
	}
	if err != nil {
		return nil, err
	}
	return h.run(ctx, name, addr)
}

// run starts an edge that is configured to serve at an address, and waits until it does.
func (h *house) run(ctx context.Context, name, addr string) (*router, error) {
	logs, err := os.Create(h.path(name + ".log"))
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	e := &router{cmd: exec.CommandContext(ctx, h.path("tideover"), "run", "--config", h.path(name+".toml")), url: "http://" + addr}
	e.cmd.Stderr, e.cmd.Stdout = logs, logs
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	if err = up(ctx, e.url); err != nil {
		end(e.cmd)
		said, _ := os.ReadFile(h.path(name + ".log"))
		return nil, fmt.Errorf("the edge does not come up: %w\n%s", err, said)
	}
	return e, nil
}

// up waits until a program's endpoint answers.
func up(ctx context.Context, url string) error {
	return until(ctx, upMax, func() bool {
		resp, err := http.Get(url + "/v1/health")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

// private gives a copied state directory the modes that the edge insists on.
func private(dir string) error {
	return filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
}

// connected waits until the edge reaches the hub.
func (e *router) connected(ctx context.Context) error {
	return until(ctx, upMax, func() bool {
		var health struct{ Hub string }
		resp, err := http.Get(e.url + "/v1/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(&health) == nil && health.Hub == "connected"
	})
}

// rssBytes reads the edge's resident memory, now and at its highest.
func (e *router) rssBytes() (now, peak int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", e.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		switch name {
		case "VmRSS":
			now = kilobytes << 10
		case "VmHWM":
			peak = kilobytes << 10
		}
	}
	if now == 0 {
		err = errors.New("the kernel tells no VmRSS")
	}
	return now, peak, err
}

// until asks again and again whether something is so.
func until(ctx context.Context, atMost time.Duration, so func() bool) error {
	for deadline := time.Now().Add(atMost); !so(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("not so after %v", atMost)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func freePort(network string) (string, error) {
	var addr net.Addr
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer c.Close()
		addr = c.LocalAddr()
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer l.Close()
		addr = l.Addr()
	}
	_, port, err := net.SplitHostPort(addr.String())
	return port, err
}

// servePlatform starts a platform that approves everything at once and remembers nothing, and returns its URL.
func (h *house) servePlatform() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payments", func(w http.ResponseWriter, r *http.Request) {
		var p struct {
			ID       string
			Amount   int64
			Currency string
		}
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"result":"approved","code":"00","message":"","reference":%q,"amount":%d,"currency":%q}`, p.ID, p.Amount, p.Currency)
	})
	mux.HandleFunc("GET /payments/{id}", func(w http.ResponseWriter, r *http.Request) {
		http.NotFound(w, r)
	})
	h.platform.Handler = mux
	go h.platform.Serve(listener)
	return "http://" + listener.Addr().String(), nil
}

// child runs this program again in one of its floors' roles and returns the address that it printed.
func child(ctx context.Context, role, dir string) (addr string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-role", role, "-dir", dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return "", nil, fmt.Errorf("the %s floor does not come up: %w", role, err)
	}
	go io.Copy(io.Discard, stdout)
	return strings.TrimSpace(line), func() {
		stdin.Close()
		cmd.Wait()
	}, nil
}
