package uplink

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tideover"
)

// netns is a network namespace of its own, in which sockets can be opened and links moved.
type netns struct {
	do chan func()
}

// newNetns makes one; its thread ends with the test.
func newNetns(t *testing.T) *netns {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: network namespaces of its own")
	}
	n := &netns{do: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		err := unix.Unshare(unix.CLONE_NEWNET)
		made <- err
		if err == nil {
			for f := range n.do {
				f()
			}
		}
	}()
	if err := <-made; err != nil {
		t.Skip("needs network namespaces:", err)
	}
	t.Cleanup(func() { close(n.do) })
	return n
}

// run does something inside.
func (n *netns) run(f func() error) error {
	done := make(chan error)
	n.do <- func() { done <- f() }
	return <-done
}

// nsNetwork opens the product's sockets inside a namespace.
type nsNetwork struct {
	systemNetwork
	ns *netns
}

func (n nsNetwork) open(ctx context.Context, addr netip.AddrPort, down func(error)) (c net.PacketConn, err error) {
	return c, n.ns.run(func() error {
		c, err = n.systemNetwork.open(ctx, addr, down)
		return err
	})
}

// cable lays a link between two namespaces: 10.7.0.1 (wan0) in the edge's, 10.7.0.2 in the hub's.
func cable(t *testing.T, edge, hub *netns) {
	t.Helper()
	var fd int
	check(t, hub.run(func() (err error) {
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(fd)
	address := func(name string, last byte) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return errors.Join(
			netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 7, 0, last), Mask: net.CIDRMask(24, 32)}}),
			netlink.LinkSetUp(link),
		)
	}
	check(t, edge.run(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wan0"}, PeerName: "wan1"}); err != nil {
			return err
		}
		peer, err := netlink.LinkByName("wan1")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetNsFd(peer, fd), address("wan0", 1))
	}))
	check(t, hub.run(func() error { return address("wan1", 2) }))
}

// TestSystemNetwork_TakesADeadLinkForLoss sends where no route leads.
func TestSystemNetwork_TakesADeadLinkForLoss(t *testing.T) {
	ns := newNetns(t)
	var told error
	c, err := nsNetwork{ns: ns}.open(t.Context(), netip.MustParseAddrPort("192.0.2.1:1"), func(err error) { told = err })
	check(t, err)
	defer c.Close()
	s := c.(*socket)
	nowhere := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	if n, err := s.WriteTo([]byte("abc"), nowhere); n != 3 || err != nil || !errors.Is(told, unix.ENETUNREACH) {
		t.Errorf("%d, %v, told %v", n, err, told)
	}
	told = nil
	if n, _, err := s.WriteMsgUDP([]byte("abc"), nil, nowhere); n != 3 || err != nil || !errors.Is(told, unix.ENETUNREACH) {
		t.Errorf("%d, %v, told %v", n, err, told)
	}
	told = nil
	check(t, ns.run(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	}))
	if _, _, err := s.WriteMsgUDP(make([]byte, 66_000), nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}); !errors.Is(err, unix.EMSGSIZE) || told != nil {
		t.Errorf("a packet that is too large: %v, told %v", err, told)
	}
}

// TestUplink_OverARealLink pulls a real cable: for an instant, which the connection survives, and for long, after which it is found again. The
// socket is bound to the interface.
func TestUplink_OverARealLink(t *testing.T) {
	edge, hub := newNetns(t), newNetns(t)
	cable(t, edge, hub)
	ca := newAuthority(t)
	var socket net.PacketConn
	check(t, hub.run(func() (err error) {
		socket, err = net.ListenPacket("udp4", "10.7.0.2:8443")
		return err
	}))
	h := startHub(t, socket, ca.hubTLS(t), nil)
	defer h.stop()
	up := New(Config{Name: "wan0", Interface: "wan0", Addresses: []string{"10.7.0.2:8443"}, TLS: ca.edgeTLS(t), Pending: func() bool { return true }},
		&testPeer{}, testLog(t))
	up.net = nsNetwork{systemNetwork{iface: "wan0"}, edge}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- up.Run(ctx) }()
	defer func() {
		stop()
		check(t, <-ended)
	}()
	await := func(connected bool) {
		t.Helper()
		for late := time.After(30 * time.Second); up.State().Connected != connected; {
			select {
			case <-up.Changed():
			case <-time.After(100 * time.Millisecond):
			case <-late:
				t.Fatalf("%+v", up.State())
			}
		}
	}
	plug := func(set func(netlink.Link) error) {
		t.Helper()
		check(t, edge.run(func() error {
			link, err := netlink.LinkByName("wan0")
			if err != nil {
				return err
			}
			return set(link)
		}))
	}
	await(true)
	check(t, up.Submit(t.Context(), submit("k1", tideover.KindSale), Hooks{}))

	survived := false
	for try := 0; try < 5 && !survived; try++ { // a busy machine may stretch the instant
		since := up.State().Since
		plug(netlink.LinkSetDown)
		up.Redial() // something is sent while it is down
		time.Sleep(200 * time.Millisecond)
		plug(netlink.LinkSetUp)
		await(true)
		err := up.Submit(t.Context(), submit("k2", tideover.KindRefund), Hooks{})
		survived = err == nil && up.State().Since.Equal(since)
	}
	if !survived {
		t.Error("no connection survived an instant without a link")
	}

	await(true)
	plug(netlink.LinkSetDown)
	await(false)
	if err := up.Submit(t.Context(), submit("k3", tideover.KindSale), Hooks{}); !errors.Is(err, ErrNoLink) {
		t.Error(err)
	}
	plug(netlink.LinkSetUp)
	up.Redial()
	await(true)
	check(t, up.Submit(t.Context(), submit("k3", tideover.KindSale), Hooks{}))
}

// TestUplink_OverLoopback is the whole way with the machine's own sockets, as an ordinary user.
func TestUplink_OverLoopback(t *testing.T) {
	ca := newAuthority(t)
	socket, err := net.ListenPacket("udp", "localhost:0")
	check(t, err)
	h := startHub(t, socket, ca.hubTLS(t), nil)
	defer h.stop()
	_, port, err := net.SplitHostPort(socket.LocalAddr().String())
	check(t, err)
	up := New(Config{Name: "lo", Interface: "lo", Addresses: []string{net.JoinHostPort("localhost", port)}, TLS: ca.edgeTLS(t)}, &testPeer{}, testLog(t))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- up.Run(ctx) }()
	for !up.State().Connected {
		select {
		case <-up.Changed():
		case <-time.After(30 * time.Second):
			t.Fatalf("%+v", up.State())
		}
	}
	for _, kind := range []tideover.Kind{tideover.KindSale, tideover.KindRefund} {
		check(t, up.Submit(t.Context(), submit("k", kind), Hooks{}))
	}
	stop()
	check(t, <-ended)
	if up.State().Connected {
		t.Error("connected after its end")
	}
}
