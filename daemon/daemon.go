package daemon

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tideover"
	"tideover/control"
	"tideover/install"
	"tideover/internal/boottime"
	"tideover/netmon"
	"tideover/queue"
	"tideover/terminal"
	"tideover/uplink"
)

// drainHub is how long an end that the hub has told may take to reach the disk when the edge stops; what does not stays in the hub's
// outbox. With the endpoint's five seconds and the control socket's two it stays below the ten that a service manager waits.
const drainHub = 2 * time.Second

// QueuePath is where the journal lies in a state directory.
func QueuePath(stateDir string) string { return filepath.Join(stateDir, "queue.db") }

// CreateQueue makes the journal of a freshly enrolled machine. One that is there already is left as it is.
func CreateQueue(c Config) error {
	id, err := install.Load(c.StateDir)
	if err != nil {
		return err
	}
	path := QueuePath(c.StateDir)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return queue.Create(path, queueKeys(id.QueueKeys), queue.Ident{Store: id.Store})
}

// Router is a running edge.
type Router struct {
	config  Config
	log     *slog.Logger
	started time.Time
	id      install.Identity

	queue    *queue.Queue
	uplink   *uplink.Uplink
	netmon   *netmon.Monitor
	forward  *forwarder
	session  *session
	tills    *tills
	endpoint *terminal.Server
	control  *control.Server
	judge    *judge
	books    *books
	receipts *receipts
	keys     *keeper
	reload   <-chan struct{}
	closing  atomic.Bool

	verifying sync.Mutex                      // the journal is verified by one at a time
	flawed    atomic.Pointer[control.Journal] // what the last verification against the hub's head has found; nil where that was nothing
}

// Run runs the edge until ctx ends, then drains it, and returns nil. An error means that it could not start, or had to stop: after a
// failed commit nothing was answered, and the process must end. For each value that reload has it reads the configuration again; nil has none.
func Run(ctx context.Context, c Config, reload <-chan struct{}, log *slog.Logger) error {
	r, err := open(c, log)
	if err != nil {
		return err
	}
	r.reload = reload
	if err := r.listen(); err != nil {
		r.queue.Close()
		return err
	}
	return r.run(ctx)
}

// open reads what the machine is, opens its journal, and builds the rooms around it. Nothing runs yet.
func open(c Config, log *slog.Logger) (*Router, error) {
	id, err := install.Load(c.StateDir)
	if err != nil {
		return nil, err
	}
	if err := c.Complete(id.Store, id.Addresses); err != nil {
		return nil, err
	}
	r := &Router{config: c, log: log, started: time.Now(), id: id, netmon: netmon.New(log)}
	r.queue, err = queue.Open(queue.Options{
		Path: QueuePath(c.StateDir), Key: queueKeys(id.QueueKeys), Store: id.Store, Log: log,
		Durable:   func(have []queue.Position) { r.session.durable(have) },
		Overlap:   func() bool { return r.forward.overlap() },
		Retention: queue.Retention{Payload: c.Retention.Payload, Final: c.Retention.Final},
	})
	if err != nil {
		return nil, err
	}
	clock := newLedgerClock()
	boot := boottime.ID()
	r.keys = &keeper{dir: c.StateDir, queue: r.queue, log: log}
	r.receipts = newReceipts(id.Store, c.StateDir, r.queue, log)
	r.forward = &forwarder{queue: r.queue, clock: clock, boot: boot, secret: id.StoreSecret[:], receipts: r.receipts, log: log}
	r.forward.past.Orphans = r.queue.Orphans()
	r.session = &session{forwarder: r.forward, ledger: id.Ledger, overlaps: c.Hub.Overlap}
	rand.Read(r.session.incarnation[:])
	link := link(c)
	link.TLS = id.TLS(func() time.Time { return judgeTime(clock, r.queue, id.EnrolledAt) })
	link.Links = r.netmon.Changes()
	link.Pending = func() bool { return r.queue.Pending() > 0 }
	r.uplink = uplink.New(link, r.session, log)
	r.forward.uplink = r.uplink
	r.tills = &tills{queue: r.queue, log: log, changed: r.uplink.TerminalsChanged}
	r.tills.load()
	r.judge = &judge{queue: r.queue, boot: boot, log: log}
	r.books = newBooks(r.queue, r.uplink)
	d := &desk{
		store: id.Store, secret: id.StoreSecret[:], boot: boot, judge: r.judge, queue: r.queue, books: r.books, clock: clock, tills: r.tills,
		receipts: r.receipts,
		health:   r.health, heard: r.heard, knows: r.uplink.Knows, closing: r.closing.Load, past: r.forward.Past, log: log,
	}
	if r.endpoint, err = terminal.New(c.Endpoint, d, log); err != nil {
		r.queue.Close()
		return nil, err
	}
	r.control = control.New(c.Admin, r, log)
	return r, nil
}

// link is the one uplink of this version: the first that is configured, or an unbound socket.
func link(c Config) uplink.Config {
	out := uplink.Config{Name: "lo", Addresses: c.Hub.Addresses}
	if len(c.Uplinks) > 0 {
		out.Name, out.Interface = c.Uplinks[0].Name, c.Uplinks[0].Interface
		if len(c.Uplinks[0].Hub) > 0 {
			out.Addresses = c.Uplinks[0].Hub
		}
	}
	return out
}

// judgeTime is the time by which certificates are judged: the ledger's as far as it is known, since the wall clock may be wrong.
func judgeTime(clock *ledgerClock, q *queue.Queue, enrolled tideover.Millis) time.Time {
	if now, known := clock.Now(); known {
		return now.Time()
	}
	return max(q.LedgerTime(), enrolled).Time()
}

// listen takes the endpoint's port and the technician's socket, before anything runs.
func (r *Router) listen() error {
	if err := r.control.Listen(); err != nil {
		return err
	}
	if err := r.endpoint.Listen(); err != nil {
		r.control.Close()
		return err
	}
	return nil
}

// putAway waits for its turn to end, between the forwarder and the uplink: what the hub has told is put on disk while its
// acknowledgement can still leave.
func (r *Router) putAway(ctx context.Context) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainHub)
	defer cancel()
	_ = r.queue.Flush(ctx) // what is not on disk by then stays in the hub's outbox
	return nil
}

// rememberTills takes the terminals over that the hub remembers of this store, on a router whose journal knows none: before any till
// is served.
func (r *Router) rememberTills(ctx context.Context) error {
	if len(r.id.Terminals) == 0 || len(r.queue.Terminals()) > 0 {
		return nil
	}
	if err := r.queue.SetTerminals(ctx, r.id.Terminals); err != nil {
		return err
	}
	r.tills.load()
	return nil
}

// prepare puts on disk what has to be there before any till is served.
func (r *Router) prepare(ctx context.Context) error {
	if err := r.rememberTills(ctx); err != nil {
		return err
	}
	return r.judge.begin(ctx, r.config.Rules())
}

// run runs the rooms in one group, and ends them in the order of a transaction's way: tills first, the journal last.
func (r *Router) run(ctx context.Context) error {
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	r.session.ctx = failed
	var ends []func() // the room that was started first ends last
	start := func(rooms ...func(context.Context) error) {
		for _, run := range rooms {
			inside, stop := context.WithCancel(failed)
			ended := make(chan struct{})
			group.Go(func() error {
				defer close(ended)
				return run(inside)
			})
			ends = append(ends, func() { stop(); <-ended })
		}
	}
	start(r.queue.Run)
	if err := r.prepare(failed); err != nil {
		group.Go(func() error { return err })
	} else {
		start(r.netmon.Run, r.uplink.Run, r.putAway, r.forward.Run, r.session.bury, r.session.tellTime, r.readAgain, r.compactWhenItPays, r.keys.Run, r.control.Run, r.endpoint.Run)
		r.log.Info("running", "version", tideover.Version, "store", r.id.Store, "listen", r.endpoint.Addr().String(),
			"pending", r.queue.Pending())
	}
	select {
	case <-ctx.Done():
	case <-failed.Done():
	}
	r.closing.Store(true)
	for _, end := range slices.Backward(ends) {
		end()
	}
	err := group.Wait()
	if closed := r.queue.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("stopped: %w", err)
	}
	r.log.Info("stopped")
	return nil
}
