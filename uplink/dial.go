package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"tideover/wire"
)

// When to dial. Two kinds of attempts run side by side: brisk ones, which are given up soon, since the repeats of an old
// handshake come ever later and a healed link must be found at once; and one that is patient, for links whose round trip takes longer
// than a brisk one lives.
const (
	redialPendingMax = time.Second     // between the beginnings of two attempts while anything is pending
	redialIdleMax    = 5 * time.Second // otherwise, and for an address whose hub answers but cannot be used
	redialMin        = 50 * time.Millisecond
	pendingLook      = 250 * time.Millisecond // how soon it is seen, while idle, that something has become pending
	briskMax         = 1500 * time.Millisecond
	patientMax       = 10 * time.Second
	briskAtOnce      = 3 // beyond it the oldest makes room
	lookupMax        = time.Second
	restMax          = time.Minute // for a hub that asks to be left alone for longer
)

// Limits of a connection. The hub opens no streams; what it sends on ours is read at once.
const (
	idleMax      = 30 * time.Second
	streamWindow = 64 << 10
	connWindow   = 256 << 10
	packetMin    = 1200 // passes wherever QUIC does; path MTU discovery raises it
	connIDLength = 8
)

// dialer makes connections for one uplink. All but known and resting belongs to the goroutine that calls connect.
type dialer struct {
	u        *Uplink
	attempts sync.WaitGroup

	turn     int       // of the next address
	last     time.Time // when the last attempt began
	share    float64   // of the longest pause: the jitter of the next attempt
	failures int       // since the last connection

	mu      sync.Mutex              // guards what follows
	known   map[string][]netip.Addr // what each host resolved to last
	resting map[string]time.Time    // addresses that asked to be left alone, and until when
}

func newDialer(u *Uplink) *dialer {
	return &dialer{u: u, known: make(map[string][]netip.Addr), resting: make(map[string]time.Time)}
}

// wait returns when every attempt has ended.
func (d *dialer) wait() { d.attempts.Wait() }

// rest leaves an address alone for a while.
func (d *dialer) rest(addr string, pause time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resting[addr] = time.Now().Add(min(pause, restMax))
}

// attempted is how an attempt ended.
type attempted struct {
	addr    string
	patient bool
	session *session
	err     error
}

// connect tries until the hub has answered a hello and the peer has taken that; its only error is the context's.
func (d *dialer) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempted)
	var brisk []context.CancelCauseFunc // of the attempts begun last, oldest first
	patient := false
	d.failures = 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-d.u.hasten:
			d.last = time.Time{}
		case <-timer.C:
		case r := <-results:
			patient = patient && !r.patient
			s, err := d.judge(r)
			if err == nil {
				return s, nil
			}
			d.missed(r.addr, err)
		}
		if addr, ok := d.next(); ok && !time.Now().Before(d.due()) {
			makeRoom := d.begin(ctx, addr, !patient, results)
			if patient {
				brisk = append(brisk, makeRoom)
			}
			patient = true
			if len(brisk) > briskAtOnce {
				brisk[0](errMadeRoom)
				brisk = brisk[1:]
			}
		}
		timer.Reset(min(max(time.Until(d.due()), redialMin), pendingLook))
	}
}

// errMadeRoom ends an attempt for a newer one.
var errMadeRoom = errors.New("a newer attempt has begun")

// errNoAnswer reads the same for both kinds of attempts, so that it is news only once.
var errNoAnswer = errors.New("no answer from the hub")

// missed notes a failed attempt. An address whose hub answers and cannot be used rests.
func (d *dialer) missed(addr string, err error) {
	if errors.Is(err, errMadeRoom) {
		return
	}
	d.failures++
	d.u.failed(addr, err)
	if isFinal(err) {
		d.rest(addr, redialIdleMax/2+rand.N(redialIdleMax/2))
	}
}

// due returns when the next attempt begins. It is asked often: what becomes pending brings it nearer.
func (d *dialer) due() time.Time {
	longest := min(redialIdleMax, redialPendingMax<<min(d.failures, 3))
	if d.u.pending() {
		longest = redialPendingMax
	}
	return d.last.Add(max(redialMin, time.Duration(d.share*float64(longest))))
}

// next returns the address whose turn it is, and false while every one rests.
func (d *dialer) next() (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.u.cfg.Addresses {
		addr := d.u.cfg.Addresses[(d.turn+i)%len(d.u.cfg.Addresses)]
		if !time.Now().Before(d.resting[addr]) {
			d.turn += i
			return addr, true
		}
	}
	return "", false
}

// begin starts an attempt, which ends by itself, or with ctx, or to make room.
func (d *dialer) begin(ctx context.Context, addr string, patient bool, results chan<- attempted) context.CancelCauseFunc {
	round := d.turn / len(d.u.cfg.Addresses)
	d.turn++
	d.last, d.share = time.Now(), rand.Float64()
	limit := briskMax
	if patient {
		limit = patientMax
	}
	actx, end := context.WithCancelCause(ctx)
	d.attempts.Go(func() {
		defer end(nil)
		s, err := d.attempt(actx, addr, round, limit)
		select {
		case results <- attempted{addr, patient, s, err}:
		case <-ctx.Done():
			// Another attempt was faster.
			if s != nil {
				s.close(wire.CloseDone, "not needed")
			}
		}
	})
	return end
}

// judge lets the peer look at what the hub answered.
func (d *dialer) judge(r attempted) (*session, error) {
	if r.err != nil {
		return nil, r.err
	}
	if err := d.u.peer.Welcome(r.addr, r.session.hello, r.session.welcome); err != nil {
		r.session.close(wire.CloseDone, "this edge does not use this hub")
		return nil, &rejectedError{err}
	}
	return r.session, nil
}

// attempt dials one address and says hello.
func (d *dialer) attempt(ctx context.Context, addr string, round int, limit time.Duration) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errNoAnswer)
	defer cancel()
	remote, err := d.resolve(ctx, addr, round)
	if err != nil {
		return nil, err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := newSession(d.u, d, addr, remote, fail)
	socket, err := d.u.net.open(ctx, remote, s.linkDown)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	s.socket = socket
	s.transport = &quic.Transport{Conn: socket, ConnectionIDLength: connIDLength}
	s.conn, err = s.transport.Dial(ctx, net.UDPAddrFromAddrPort(remote), clientTLS(d.u.cfg.TLS), clientQUIC())
	if err == nil {
		err = s.greet(ctx)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		s.close(wire.CloseDone, "given up")
		return nil, plain(err)
	}
	return s, nil
}

// resolve returns the address to dial in a round; the last answer serves while names cannot be looked up.
func (d *dialer) resolve(ctx context.Context, addr string, round int) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("the port of %q is not a number", addr)
	}
	ctx, cancel := context.WithTimeout(ctx, lookupMax)
	defer cancel()
	found, err := d.u.net.lookup(ctx, host)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && len(found) > 0 {
		d.known[host] = found
	}
	all := d.known[host]
	if len(all) == 0 {
		return netip.AddrPort{}, errors.Join(fmt.Errorf("the name %q has no address", host), err)
	}
	return netip.AddrPortFrom(all[round%len(all)].Unmap(), uint16(port)), nil
}

// clientTLS completes the store's configuration. X25519 alone: with the hybrid post-quantum exchange a first flight takes two packets
// instead of one, 3 kB a handshake, and a link that fails is dialled often.
func clientTLS(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.NextProtos, c.ServerName, c.MinVersion = []string{wire.Protocol}, wire.ServerName, tls.VersionTLS13
	c.CurvePreferences = []tls.CurveID{tls.X25519}
	return c
}

func clientQUIC() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: patientMax, MaxIdleTimeout: idleMax, EnableDatagrams: true, InitialPacketSize: packetMin,
		MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: connWindow,
		InitialConnectionReceiveWindow: connWindow, MaxConnectionReceiveWindow: 2 * connWindow,
	}
}
