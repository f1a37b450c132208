package sandbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// datagramMax is more than any datagram that QUIC sends over loopback.
	datagramMax = 64 << 10
	// pipeMax is how many datagrams one direction holds while they are delayed; what comes on top is lost, as in a router's queue.
	pipeMax = 4096
	// wiresMax bounds the edge's sockets that the cable knows at once; the one that has been silent longest makes room.
	wiresMax = 16
)

// Weather is what a cable does to datagrams, in both directions.
type Weather struct {
	Cut   bool          // nothing arrives, and nobody is told
	Delay time.Duration // one way
	Loss  float64       // 0 to 1
}

// Cable is the line between shop and hub: a UDP relay on loopback that can be cut. The edge dials [Cable.Addr]; the hub sees the
// relay's own sockets, one for each of the edge's.
type Cable struct {
	front *net.UDPConn
	hub   netip.AddrPort

	weather atomic.Pointer[Weather]
	dice    dice

	mu    sync.Mutex // guards wires
	wires map[netip.AddrPort]*relay
}

// dice makes rand.Rand safe for the cable's goroutines.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) below(p float64) bool {
	if p <= 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Float64() < p
}

// relay is one of the edge's sockets as the hub sees it.
type relay struct {
	edge  netip.AddrPort
	back  *net.UDPConn
	up    chan parcel
	down  chan parcel
	heard time.Time // last datagram from the edge; guarded by Cable.mu
}

type parcel struct {
	due  time.Time
	data []byte
}

// NewCable lays a cable from a free port of loopback to the hub's address. It carries nothing until [Cable.Run].
func NewCable(hub string, seed uint64) (*Cable, error) {
	to, err := netip.ParseAddrPort(hub)
	if err != nil {
		return nil, err
	}
	front, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		return nil, err
	}
	c := &Cable{
		front: front, hub: to, wires: map[netip.AddrPort]*relay{},
		dice: dice{r: rand.New(rand.NewPCG(seed, 1))},
	}
	c.Set(Weather{})
	return c, nil
}

// Addr is what the edge dials.
func (c *Cable) Addr() string { return c.front.LocalAddr().String() }

// Set changes the weather, also for what is on its way.
func (c *Cable) Set(w Weather) { c.weather.Store(&w) }

// Weather returns what the cable does now.
func (c *Cable) Weather() Weather { return *c.weather.Load() }

// Run carries datagrams until ctx ends, then closes every socket.
func (c *Cable) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		c.front.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, r := range c.wires {
			r.back.Close()
		}
		return nil
	})
	group.Go(func() error {
		buf := make([]byte, datagramMax)
		for {
			n, from, err := c.front.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if err != nil {
				continue // an ICMP message about an edge that has gone
			}
			r, err := c.relay(ctx, group, from)
			if err != nil {
				return err
			}
			c.put(r.up, buf[:n])
		}
	})
	return group.Wait()
}

// relay finds or makes the edge socket's own socket towards the hub.
func (c *Cable) relay(ctx context.Context, group *errgroup.Group, edge netip.AddrPort) (*relay, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.wires[edge]; ok {
		r.heard = time.Now()
		return r, nil
	}
	if len(c.wires) >= wiresMax {
		c.dropSilent()
	}
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(c.hub))
	if err != nil {
		return nil, err
	}
	r := &relay{edge: edge, back: back, heard: time.Now(), up: make(chan parcel, pipeMax), down: make(chan parcel, pipeMax)}
	c.wires[edge] = r
	gone := make(chan struct{})
	group.Go(func() error {
		defer close(gone)
		return c.listen(r)
	})
	group.Go(func() error { return c.carry(ctx, gone, r.up, func(b []byte) { _, _ = r.back.Write(b) }) })
	group.Go(func() error {
		return c.carry(ctx, gone, r.down, func(b []byte) { _, _ = c.front.WriteToUDPAddrPort(b, r.edge) })
	})
	return r, nil
}

// dropSilent closes the relay that the edge has not used for longest. The caller holds mu.
func (c *Cable) dropSilent() {
	var oldest *relay
	for _, r := range c.wires {
		if oldest == nil || r.heard.Before(oldest.heard) {
			oldest = r
		}
	}
	oldest.back.Close()
	delete(c.wires, oldest.edge)
}

// listen takes what the hub sends, until the relay is closed.
func (c *Cable) listen(r *relay) error {
	buf := make([]byte, datagramMax)
	for {
		n, err := r.back.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			continue // the hub's port is closed while it is down
		}
		c.put(r.down, buf[:n])
	}
}

// put takes a datagram into the cable, unless the weather takes it.
func (c *Cable) put(pipe chan<- parcel, b []byte) {
	w := c.Weather()
	if w.Cut || c.dice.below(w.Loss) {
		return
	}
	select {
	case pipe <- parcel{due: time.Now().Add(w.Delay), data: append([]byte(nil), b...)}:
	default:
	}
}

// carry hands datagrams on when they are due.
func (c *Cable) carry(ctx context.Context, gone <-chan struct{}, pipe <-chan parcel, write func([]byte)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-gone:
			return nil
		case p := <-pipe:
			if wait := time.Until(p.due); wait > 0 {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(wait):
				}
			}
			if !c.Weather().Cut { // what was on its way when the cable was cut does not arrive either
				write(p.data)
			}
		}
	}
}
