package uplink

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// network is what a connection needs of the machine; a simulated one stands in for it in tests.
type network interface {
	// lookup returns the addresses of a host.
	lookup(ctx context.Context, host string) ([]netip.Addr, error)
	// open returns a socket that can reach addr. It calls down, which must not block, when a send finds no way out.
	open(ctx context.Context, addr netip.AddrPort, down func(error)) (net.PacketConn, error)
}

// systemNetwork is the machine's, through one interface where that is set.
type systemNetwork struct{ iface string }

func (systemNetwork) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// open makes a new socket for each connection: one that was bound to a device which went away can only be bound again with privilege.
// It has the wildcard address, so that a change of address (DHCP) does not end it.
func (n systemNetwork) open(ctx context.Context, addr netip.AddrPort, down func(error)) (net.PacketConn, error) {
	family := "udp4"
	if addr.Addr().Unmap().Is6() {
		family = "udp6"
	}
	var lc net.ListenConfig
	if n.iface != "" && n.iface != "lo" {
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var bind error
			if err := c.Control(func(fd uintptr) { bind = unix.BindToDevice(int(fd), n.iface) }); err != nil {
				return err
			}
			return bind
		}
	}
	conn, err := lc.ListenPacket(ctx, family, ":0")
	if err != nil {
		return nil, err
	}
	return &socket{UDPConn: conn.(*net.UDPConn), down: down}, nil
}

// socket is a UDP socket whose sends do not fail while the link is down: quic-go ends a connection at the first send error, although the
// link may be back before anybody has missed the packet.
type socket struct {
	*net.UDPConn
	down func(error)
}

// linkDown are the errors of a send for want of a link, a route or an address. Everything else is passed on: EMSGSIZE and EIO mean
// something to quic-go.
var linkDown = []syscall.Errno{
	unix.ENETUNREACH, unix.ENODEV, unix.ENETDOWN, unix.EACCES, unix.EHOSTUNREACH, unix.EPERM, unix.ENOBUFS, unix.EADDRNOTAVAIL,
}

// swallow tells down of an error that means so, and passes on every other.
func swallow(err error, down func(error)) error {
	for _, e := range linkDown {
		if errors.Is(err, e) {
			down(e)
			return nil
		}
	}
	return err
}

// WriteMsgUDP takes a packet for sent where the link is down.
func (s *socket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, addr)
	if err != nil {
		if err = swallow(err, s.down); err == nil {
			n, oobn = len(b), len(oob)
		}
	}
	return n, oobn, err
}

// WriteTo takes a packet for sent where the link is down.
func (s *socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	n, err := s.UDPConn.WriteTo(b, addr)
	if err != nil {
		if err = swallow(err, s.down); err == nil {
			n = len(b)
		}
	}
	return n, err
}
