package hub

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tideover"
	"tideover/hub/desk"
	"tideover/wire"
)

// Ready tells what a running hub listens on: its ready line in the log, run.json in its state directory, and part of its status.
type Ready struct {
	Listen    string   `json:"listen"`    // bound UDP address
	Addresses []string `json:"addresses"` // what tokens tell edges
	Admin     string   `json:"admin"`
	Metrics   string   `json:"metrics"` // bound TCP address; "" where it is off
	Notify    string   `json:"notify"`  // bound TCP address for the platform's hints; "" where it is off
	PID       int      `json:"pid"`
	Version   string   `json:"version"`
	Ledger    string   `json:"ledger"` // its id, hex
	CA        string   `json:"ca"`     // SHA-256 of the CA's certificate, hex
}

// Options are what a hub takes besides its configuration.
type Options struct {
	Log   *slog.Logger
	Ready func(Ready) // called once everything listens; may be nil
}

// runSignalled runs a hub until SIGTERM or SIGINT, which drain it; a second one ends the process at once.
func runSignalled(ctx context.Context, c Config, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // from then on a signal has its usual effect
	return Run(ctx, c, Options{Log: log})
}

// Run runs a hub until ctx ends, then drains it: what is in flight is answered within 8 s, and what is not stays in the ledger. It
// returns an [Error] with a hint where a person can help.
func Run(ctx context.Context, c Config, o Options) error {
	h, err := open(c, o)
	if err != nil {
		return err
	}
	defer h.close()
	return h.run(ctx)
}

// hub is everything that a running hub holds.
type hub struct {
	config  Config
	options Options
	log     *slog.Logger
	state   *state
	desk    *desk.Desk
	server  *server
	stores  *stores
	meters  *meters
	admin   net.Listener
	probes  net.Listener // nil: off
	notify  net.Listener // nil: off
	ready   Ready
	started time.Time
}

// open takes the state directory and every address; nothing is served before run.
func open(c Config, o Options) (_ *hub, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &hub{config: c, options: o, log: o.Log, meters: newMeters(), started: time.Now()}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.state, err = openState(c.StateDir, o.Log); err != nil {
		return nil, err
	}
	if h.desk, err = newDesk(c.Platform, h.state.ledger, o.Log, h.state.keys.signer(), h.push); err != nil {
		return nil, err
	}
	h.stores = &stores{state: h.state, config: c, connected: h.connected, ended: h.ended}
	h.server = &server{
		listen: c.Listen, keys: h.state.keys, desk: h.desk, stores: h.stores, metrics: h.meters, log: o.Log, now: time.Now,
		sessions: make(map[string]map[*session]struct{}), reconciling: make(map[string]bool), reconciles: make(chan struct{}, reconcilesMax),
		closings: make(chan struct{}, reconcilesMax),
	}
	h.meters.watch(h)
	if err = h.server.open(); err != nil {
		return nil, err
	}
	h.stores.bound = h.server.addr()
	if h.probes, err = listenMetrics(c.Metrics); err != nil {
		return nil, err
	}
	if h.notify, err = listenNotify(c.Platform.Notify); err != nil {
		return nil, err
	}
	if h.admin, err = listenAdmin(c.Admin); err != nil {
		return nil, err
	}
	return h, h.announce()
}

func (h *hub) push(store string, c wire.Confirmation) { h.server.push(store, c) }

func (h *hub) connected(store string) (int, tideover.Millis) { return h.server.connected(store) }

func (h *hub) ended(store string, keep [32]byte, why string) { h.server.end(store, keep, why) }

// announce writes down what is listened on.
func (h *hub) announce() error {
	addresses, err := h.config.addresses(h.server.addr())
	if err != nil {
		return err
	}
	ca, id := h.state.keys.ca.hash(), h.state.ledger.ID()
	h.ready = Ready{
		Listen: h.server.addr().String(), Addresses: addresses, Admin: h.config.Admin, PID: os.Getpid(), Version: tideover.Version,
		Ledger: hex.EncodeToString(id[:]), CA: hex.EncodeToString(ca[:]),
	}
	if h.probes != nil {
		h.ready.Metrics = h.probes.Addr().String()
	}
	if h.notify != nil {
		h.ready.Notify = h.notify.Addr().String()
	}
	b, err := json.MarshalIndent(h.ready, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(h.config.StateDir, fileRun, append(b, '\n')); err != nil {
		return diskError("write %s", "无法写入 %s", err, filepath.Join(h.config.StateDir, fileRun))
	}
	return nil
}

// run serves until ctx ends or a part fails.
func (h *hub) run(ctx context.Context) error {
	// The desk and the admin socket outlive the drain; all end at once where a part fails.
	base, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)
	behind, stop := context.WithCancel(base)
	defer stop()
	var g errgroup.Group
	start := func(what string, run func() error) {
		g.Go(func() error {
			err := run()
			if err != nil {
				err = broke(what, err)
				fail(err)
			}
			return err
		})
	}
	accept, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(base, cancel)()
	// The ledger ends last: whoever waits for a commit gets it.
	var desk sync.WaitGroup
	desk.Add(1)
	start("desk", func() error {
		defer desk.Done()
		return h.desk.Run(behind)
	})
	start("ledger", func() error {
		last, end := context.WithCancel(base)
		defer end()
		go func() {
			<-behind.Done()
			desk.Wait()
			end()
		}()
		return h.state.ledger.Run(last)
	})
	start("admin socket", func() error {
		a := &adminServer{stores: h.stores, status: h.status, log: h.log}
		return serveHTTP(behind, h.admin, a.handler())
	})
	if h.probes != nil {
		start("metrics", func() error { return serveHTTP(behind, h.probes, h.meters.probes(h.alive, h.takes)) })
	}
	if h.notify != nil {
		start("notify", func() error { return newHints(h.desk.Hint, h.meters, h.log, time.Now).serve(behind, h.notify) })
	}
	h.log.Info("ready", "listen", h.ready.Listen, "addresses", h.ready.Addresses, "admin", h.ready.Admin, "metrics", h.ready.Metrics,
		"notify", h.ready.Notify, "version", h.ready.Version, "pid", h.ready.PID, "ledger", h.ready.Ledger, "ca", h.ready.CA)
	if h.options.Ready != nil {
		h.options.Ready(h.ready)
	}
	start("server", func() error {
		defer stop()
		return h.server.run(accept, base)
	})
	err := g.Wait()
	if err == nil {
		h.log.Info("stopped")
	}
	return err
}

// broke is what a part's failure means to people.
func broke(part string, err error) error {
	if _, ok := errors.AsType[explainer](err); ok {
		return err
	}
	return &Error{
		What: text("the hub had to stop (%s)", "hub 不得不停止（%s）", part), Err: err,
		Hint: text("everything that was answered is in the ledger: mend the cause (often the disk) and start it again",
			"所有已应答的内容都在账本中：请排除原因（常为磁盘问题）后重新启动"),
	}
}

// close gives everything back, in any state of opening.
func (h *hub) close() {
	if h.server != nil {
		h.server.close()
	}
	if h.probes != nil {
		h.probes.Close()
	}
	if h.notify != nil {
		h.notify.Close()
	}
	if h.admin != nil {
		h.admin.Close()
	}
	if h.state != nil {
		_ = os.Remove(filepath.Join(h.config.StateDir, fileRun))
		h.state.close()
	}
}

// errDraining is why a hub that stops is not ready.
var errDraining = errors.New("draining")

// alive says whether the ledger's committer answers; takes, whether transactions are taken.
func (h *hub) alive(ctx context.Context) error { return h.state.ledger.Ping(ctx) }

func (h *hub) takes(ctx context.Context) error {
	if h.server.isDraining() {
		return errDraining
	}
	return h.state.ledger.Ping(ctx)
}
