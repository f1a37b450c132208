package netmon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// enter puts the calling goroutine into a network of its own, for good: its thread ends with it.
func enter(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: a network namespace of its own")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("needs network namespaces:", err)
	}
}

// script does things to links and waits for word of each.
type script struct {
	changes <-chan Change
	err     error
}

func (s *script) do(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *script) await(what What, name string) {
	late := time.After(20 * time.Second)
	for s.err == nil {
		select {
		case c := <-s.changes:
			if c.What&what == what && slices.Contains(c.Interfaces, name) {
				return
			}
		case <-late:
			s.err = fmt.Errorf("no word of %s of %s", what, name)
		}
	}
}

// TestMonitor_TellsOfLinks makes a link, gives it an address and a route, and takes it away.
func TestMonitor_TellsOfLinks(t *testing.T) {
	enter(t)
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	m := New(slog.New(slog.DiscardHandler))
	s := &script{changes: m.Changes()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	played := make(chan struct{})
	go func() { // outside of the namespace, but for the handle
		defer close(played)
		defer cancel()
		<-s.changes // it listens
		s.do(handle.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wan0"}, PeerName: "wan1"}))
		s.await(Links, "wan0")
		link, err := handle.LinkByName("wan0")
		s.do(err)
		peer, err := handle.LinkByName("wan1")
		s.do(err)
		if s.err != nil {
			return
		}
		s.do(handle.LinkSetUp(link))
		s.do(handle.LinkSetUp(peer))
		s.await(Links, "wan0")
		s.do(handle.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, 0, 2), Mask: net.CIDRMask(24, 32)}}))
		s.await(Addresses, "wan0")
		s.do(handle.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IPv4(10, 9, 0, 1)}))
		s.await(Routes, "wan0")
		s.do(handle.LinkDel(link))
		s.await(Links, "wan0")
	}()
	err = m.Run(ctx) // in the namespace
	<-played
	if err := errors.Join(err, s.err); err != nil {
		t.Error(err)
	}
}

func TestMonitor_MergesWhatIsNotTaken(t *testing.T) {
	m := New(slog.New(slog.DiscardHandler))
	slow, other := m.Changes(), m.Changes()
	m.tell(Change{What: Links, Interfaces: []string{"eth1"}})
	<-other
	m.tell(Change{What: Routes, Interfaces: []string{"eth0", "eth1"}})
	want := Change{What: Links | Routes, Interfaces: []string{"eth0", "eth1"}}
	if got := <-slow; !reflect.DeepEqual(got, want) {
		t.Errorf("merged to %+v, want %+v", got, want)
	}
	if got := <-other; got.What != Routes {
		t.Errorf("told %+v twice", got)
	}
	if s := want.String(); s != "links+routes of eth0, eth1" {
		t.Error(s)
	}
}

func TestPoll_FindsWhatDiffers(t *testing.T) {
	before := map[string]string{"eth0": "a", "eth1": "b", "wwan0": "c"}
	now := map[string]string{"eth0": "a", "eth1": "x", "wlan0": "d"}
	want := Change{What: Links | Addresses, Interfaces: []string{"eth1", "wlan0", "wwan0"}}
	if got := differs(before, now); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := differs(now, now); got.What != 0 {
		t.Errorf("%+v where nothing differs", got)
	}
}

// TestList_SeesADefaultRoute looks at a namespace with one link that leads out.
func TestList_SeesADefaultRoute(t *testing.T) {
	enter(t)
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wan0"}, PeerName: "wan1"}); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("wan0")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := netlink.LinkByName("wan1")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		netlink.LinkSetUp(link), netlink.LinkSetUp(peer),
		netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, 0, 2), Mask: net.CIDRMask(24, 32)}}),
		netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IPv4(10, 9, 0, 1)}),
	); err != nil {
		t.Fatal(err)
	}
	all, err := List()
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for _, l := range all {
		if l.Default != (l.Name == "wan0") || l.Loopback != (l.Name == "lo") {
			t.Errorf("%+v", l)
		}
		if l.Name == "wan0" && (!l.Up || !slices.Contains(l.Addresses, netip.MustParsePrefix("10.9.0.2/24"))) {
			t.Errorf("%+v", l)
		}
	}
}
