package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tideover"
	"tideover/netmon"
	"tideover/wire"
)

// Peer is the store's side of the conversation: the daemon. Its methods are called from the uplink's goroutines and may block
// for a commit.
type Peer interface {
	// Hello returns the hello of now, with what the journal knows of the ledger's past. Its head is anchored at the hub now and then, if it is beyond the anchor that a welcome told.
	Hello() wire.Hello
	// Welcome judges the answer to that hello; an error refuses this hub, and its connection is closed.
	Welcome(addr string, hello wire.Hello, w wire.Welcome) error
	// Confirm takes an end. It may come again, and for an id that no call asked about.
	Confirm(wire.Confirmation) error
	// Open takes what the ledger has without an end, and this edge may lack. It comes before CaughtUp, where the hello asked for it. An error ends the
	// connection.
	Open(wire.Open) error
	// CaughtUp says that everything in the outbox at hello was given to Confirm. An error ends the connection.
	CaughtUp(wire.CaughtUp) error
	// Terminals returns the whole list of terminals; it is sent where the hub keeps another one.
	Terminals() []tideover.Terminal
}

// Config says how the hub is reached.
type Config struct {
	Name string // of the uplink, in logs and transactions
	// Interface is what the socket is bound to; "" and "lo" leave it unbound.
	Interface string
	Addresses []string // HOST:PORT, tried in turn; any may serve
	// TLS holds the store's certificate and the hub's CA. Protocol and server name are set here.
	TLS *tls.Config
	// Links tells of changes of the machine's links; nil: nobody watches.
	Links <-chan netmon.Change
	// Pending says whether anything waits for the hub beyond the calls that are under way; nil: no.
	Pending func() bool
}

// State is what there is to know about an uplink.
type State struct {
	Name      string
	Connected bool   // calls are taken
	Address   string // of the hub, as configured: in use, or tried last
	Remote    netip.AddrPort
	Since     time.Time // since when Connected is as it is
	Heard     time.Time // when the hub was heard last on this connection
	// Round-trip times of this connection, 0 before the first.
	RTT, MinRTT time.Duration
	Err         error // why there is no connection; nil while there is one
}

// Uplink is one way to the hub. Make it with [New] and run it; every method may be called from any goroutine, also before Run.
type Uplink struct {
	cfg  Config
	peer Peer
	log  *slog.Logger
	net  network

	calls  atomic.Int64  // calls under way
	hasten chan struct{} // buffered: connect now

	mu      sync.Mutex // guards what follows
	cur     *session   // takes new calls; nil while there is none
	state   State
	changed chan struct{}     // closed at the next change of state
	last    *session          // the newest; it may have ended
	told    map[string]string // why each address failed last, so that it is news only once
}

// New makes an uplink; nothing happens before Run.
func New(cfg Config, peer Peer, log *slog.Logger) *Uplink {
	return &Uplink{
		cfg: cfg, peer: peer, log: log.With("uplink", cfg.Name), net: systemNetwork{iface: cfg.Interface},
		hasten: make(chan struct{}, 1), changed: make(chan struct{}),
		told:  make(map[string]string),
		state: State{Name: cfg.Name, Since: time.Now(), Err: errNotYet},
	}
}

var errNotYet = errors.New("not tried yet")

// Run keeps a connection until ctx ends, and returns when everything that it started has ended. It returns an error only where no
// connection can ever be made.
func (u *Uplink) Run(ctx context.Context) error {
	if len(u.cfg.Addresses) == 0 {
		return errors.New("uplink " + u.cfg.Name + " has no address of a hub")
	}
	for _, a := range u.cfg.Addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return err
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { u.watch(ctx) })
	d := newDialer(u)
	defer d.wait()
	for {
		s, err := d.connect(ctx)
		if err != nil {
			return nil
		}
		u.begin(s)
		running.Go(func() { s.log.Debug("connection ended", "err", s.run(ctx)) })
		select {
		case <-s.leaving:
		case <-ctx.Done():
			return nil
		}
	}
}

// watch hastens a redial, and questions a connection, when a link changes.
func (u *Uplink) watch(ctx context.Context) {
	for {
		select {
		case c, ok := <-u.cfg.Links:
			if !ok {
				return
			}
			u.log.Debug("links changed", "change", c.String())
			u.Redial()
		case <-ctx.Done():
			return
		}
	}
}

// Redial asks to look at the link now: a connection is probed, a missing one is dialled without waiting further.
func (u *Uplink) Redial() {
	if s := u.current(); s != nil {
		s.suspect()
		return
	}
	signal(u.hasten)
}

// pending says whether anything waits for the hub.
func (u *Uplink) pending() bool {
	return u.calls.Load() > 0 || (u.cfg.Pending != nil && u.cfg.Pending())
}

func (u *Uplink) current() *session {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cur
}

// begin makes a session the one that takes calls.
func (u *Uplink) begin(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cur, u.last = s, s
	clear(u.told)
	u.state.Connected, u.state.Address, u.state.Remote, u.state.Since, u.state.Err = true, s.addr, s.remote, time.Now(), nil
	u.stirLocked()
	u.log.Info("connected to the hub", "addr", s.addr, "remote", s.remote.String())
}

// retire takes a session out of use for new calls; what is on it goes on.
func (u *Uplink) retire(s *session, why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cur != s {
		return
	}
	u.cur = nil
	u.state.Connected, u.state.Since, u.state.Err = false, time.Now(), why
	u.stirLocked()
	u.log.Info("no link to the hub", "addr", s.addr, "err", why)
}

// failed notes that an attempt to connect came to nothing.
func (u *Uplink) failed(addr string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cur != nil {
		return
	}
	news := u.told[addr] != err.Error()
	u.told[addr] = err.Error()
	u.state.Address, u.state.Err = addr, err
	level := slog.LevelDebug
	if news {
		u.stirLocked()
		level = slog.LevelInfo
		if isFinal(err) {
			level = slog.LevelError
		}
	}
	u.log.Log(context.Background(), level, "could not reach the hub", "addr", addr, "err", err)
}

func (u *Uplink) stirLocked() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// State returns what is known now.
func (u *Uplink) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := u.state
	if u.cur != nil {
		st.Heard = u.cur.pulse.heardAt()
		stats := u.cur.conn.ConnectionStats()
		st.RTT, st.MinRTT = stats.SmoothedRTT, stats.MinRTT
	}
	return st
}

// Changed returns a channel that is closed when [State.Connected] or State.Err changes after the call. Who must not miss a change calls it
// before State.
func (u *Uplink) Changed() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.changed
}

// Ack tells the hub that confirmations are on this edge's disk. It never blocks; what is lost with a connection, or is said while there
// is none, the hub repeats after the next hello.
func (u *Uplink) Ack(have []wire.Position) {
	u.mu.Lock()
	s := u.last
	u.mu.Unlock()
	if s != nil {
		s.ack(have)
	}
}

// Replayed tells the hub that every end it asked for was replayed and answered. It does not block. With [ErrNoLink] nothing was told;
// where it is lost with the connection, the next welcome asks for the replay again.
func (u *Uplink) Replayed() error {
	s := u.current()
	if s == nil {
		return ErrNoLink
	}
	signal(s.replayed)
	return nil
}

// TerminalsChanged says that the Peer's list of terminals has changed: the hub is told.
func (u *Uplink) TerminalsChanged() {
	if s := u.current(); s != nil {
		signal(s.terminalsDue)
	}
}
