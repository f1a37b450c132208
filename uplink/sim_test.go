package uplink

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// simNet is a network in memory, for synctest: hubs at fixed addresses, the edge's sockets at ever new ones, and one link between.
type simNet struct {
	mu    sync.Mutex // guards what follows
	nodes map[netip.AddrPort]*simConn
	port  uint16
	delay time.Duration // one way
	cut   bool          // a silent black-hole
	fails error         // what a send of the edge returns
	names map[string][]netip.Addr
	opens []time.Time // of the edge's sockets
}

func newSimNet() *simNet {
	return &simNet{nodes: make(map[netip.AddrPort]*simConn), port: 40000, delay: 10 * time.Millisecond, names: make(map[string][]netip.Addr)}
}

// set changes the link.
func (n *simNet) set(change func(*simNet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *simNet) attempts() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.opens)
}

// listen puts a socket at an address; one that was there gets nothing any more.
func (n *simNet) listen(addr string) *simConn {
	return n.put(netip.MustParseAddrPort(addr), nil)
}

func (n *simNet) put(addr netip.AddrPort, down func(error)) *simConn {
	c := &simConn{net: n, addr: addr, down: down, in: make(chan simPacket, 4096), closed: make(chan struct{}), moved: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[addr] = c
	return c
}

func (n *simNet) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if found := n.names[host]; found != nil {
		return found, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n *simNet) open(_ context.Context, _ netip.AddrPort, down func(error)) (net.PacketConn, error) {
	n.mu.Lock()
	n.port++
	addr := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), n.port)
	n.opens = append(n.opens, time.Now())
	n.mu.Unlock()
	return n.put(addr, down), nil
}

type simPacket struct {
	from netip.AddrPort
	data []byte
}

// simConn is a socket of a simNet; one with down is the edge's.
type simConn struct {
	net  *simNet
	addr netip.AddrPort
	down func(error)
	in   chan simPacket

	once   sync.Once
	closed chan struct{}

	mu       sync.Mutex // guards what follows
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
}

func (c *simConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c.mu.Lock()
		deadline, moved := c.deadline, c.moved
		c.mu.Unlock()
		var late <-chan time.Time
		if !deadline.IsZero() {
			late = time.After(time.Until(deadline))
		}
		select {
		case p := <-c.in:
			return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
		case <-late:
			return 0, nil, os.ErrDeadlineExceeded
		case <-moved:
		case <-c.closed:
			return 0, nil, net.ErrClosed
		}
	}
}

func (c *simConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	c.net.mu.Lock()
	cut, fails, delay := c.net.cut, c.net.fails, c.net.delay
	to := c.net.nodes[addr.(*net.UDPAddr).AddrPort()]
	mine := c.net.nodes[c.addr] == c
	c.net.mu.Unlock()
	if c.down != nil && fails != nil {
		if err := swallow(fails, c.down); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	if to == nil || cut || !mine {
		return len(b), nil
	}
	p := simPacket{c.addr, slices.Clone(b)}
	time.AfterFunc(delay, func() {
		select {
		case to.in <- p:
		default:
		}
	})
	return len(b), nil
}

func (c *simConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *simConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.addr) }

func (c *simConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *simConn) SetWriteDeadline(time.Time) error { return nil }

func (c *simConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

// SetReadBuffer and SetWriteBuffer keep quic-go from complaining.
func (c *simConn) SetReadBuffer(int) error { return nil }

func (c *simConn) SetWriteBuffer(int) error { return nil }
