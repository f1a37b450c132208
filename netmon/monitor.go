package netmon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// gather is how long events gather before they are told: a link that comes up brings a dozen.
	gather = 50 * time.Millisecond
	// again is how long after a lost subscription another one is tried; until then the machine is looked at every lookEvery.
	again     = 3 * time.Second
	lookEvery = time.Second
	// backlog is how many events the kernel's may run ahead of ours.
	backlog = 64
)

// Monitor tells of changes. Make it with [New] and run it; every method may be called from any goroutine.
type Monitor struct {
	log *slog.Logger

	mu       sync.Mutex // guards what follows
	watchers []chan Change
}

// New makes a monitor; nothing happens before Run.
func New(log *slog.Logger) *Monitor { return &Monitor{log: log} }

// Changes returns a channel of its own for each caller. A change that is not taken is merged with the next, so that nobody is ever
// waited for and nothing is missed. It is never closed.
func (m *Monitor) Changes() <-chan Change {
	c := make(chan Change, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = append(m.watchers, c)
	return c
}

// tell gives a change to every watcher. Only Run calls it, so nobody else puts into the channels.
func (m *Monitor) tell(c Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.watchers {
		merged := c
		select {
		case old := <-w:
			merged = old.and(c)
		default:
		}
		w <- merged
	}
}

// Run watches until ctx ends, and returns nil then. Where the kernel's events cannot be had it looks every second instead.
func (m *Monitor) Run(ctx context.Context) error {
	said := false
	for ctx.Err() == nil {
		err := m.listen(ctx)
		if ctx.Err() != nil {
			break
		}
		if !said {
			m.log.Warn("the kernel's events about links cannot be had: looking every few seconds instead", "err", err, "every", lookEvery)
			said = true
		}
		m.poll(ctx, again)
	}
	return nil
}

// subscription says why the kernel's events ended. The library closes the channel of each of the three streams when it has ended.
// Errors that it survives are noted too.
type subscription struct{ err atomic.Pointer[error] }

func (s *subscription) note(err error) { s.err.Store(&err) }

func (s *subscription) why() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return errors.New("the subscription ended")
}

// listen tells what the kernel tells, until a subscription ends or ctx does.
func (m *Monitor) listen(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	sub := &subscription{}
	links, addrs, routes := make(chan netlink.LinkUpdate, backlog), make(chan netlink.AddrUpdate, backlog), make(chan netlink.RouteUpdate, backlog)
	defer func() {
		end()
		drain(links)
		drain(addrs)
		drain(routes)
	}()
	err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), netlink.LinkSubscribeOptions{ErrorCallback: sub.note})
	if err != nil {
		close(links)
		close(addrs)
		close(routes)
		return fmt.Errorf("subscribe to links: %w", err)
	}
	err = netlink.AddrSubscribeWithOptions(addrs, ctx.Done(), netlink.AddrSubscribeOptions{ErrorCallback: sub.note})
	if err != nil {
		close(addrs)
		close(routes)
		return fmt.Errorf("subscribe to addresses: %w", err)
	}
	err = netlink.RouteSubscribeWithOptions(routes, ctx.Done(), netlink.RouteSubscribeOptions{ErrorCallback: sub.note})
	if err != nil {
		close(routes)
		return fmt.Errorf("subscribe to routes: %w", err)
	}
	return m.relay(ctx, sub, links, addrs, routes)
}

// relay gathers events and tells them.
func (m *Monitor) relay(
	ctx context.Context, sub *subscription, links <-chan netlink.LinkUpdate, addrs <-chan netlink.AddrUpdate, routes <-chan netlink.RouteUpdate,
) error {
	names := indexNames()
	// Something may have changed while nobody listened.
	pending := Change{What: Links | Addresses | Routes}
	timer := time.NewTimer(gather)
	defer timer.Stop()
	open := true
	for {
		var c Change
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			m.tell(pending)
			pending = Change{}
			continue
		case u, ok := <-links:
			open, c = ok, Change{What: Links}
			if ok {
				names[int(u.Index)] = u.Attrs().Name
				c.Interfaces = []string{u.Attrs().Name}
			}
		case u, ok := <-addrs:
			open, c = ok, Change{What: Addresses, Interfaces: named(names, u.LinkIndex)}
		case u, ok := <-routes:
			open, c = ok, Change{What: Routes, Interfaces: named(names, u.LinkIndex)}
			if ok && u.Table == unix.RT_TABLE_LOCAL {
				continue // follows an address, which is told
			}
		}
		if !open {
			return fmt.Errorf("listen to the kernel: %w", sub.why())
		}
		if pending.What == 0 {
			timer.Reset(gather)
		}
		pending = pending.and(c)
	}
}

func drain[T any](c <-chan T) {
	for range c {
	}
}

// named returns the name of an interface as a list, empty where it has none.
func named(names map[int]string, index int) []string {
	if n, ok := names[index]; ok {
		return []string{n}
	}
	return nil
}
