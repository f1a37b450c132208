package netmon

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sort"
	"time"

	"github.com/vishvananda/netlink"
)

// Link is what is known of one of the machine's interfaces.
type Link struct {
	Name      string
	Index     int  // another one after the interface was unplugged and came back
	Up        bool // administratively
	Carrier   bool // a cable, an association, a bearer; where the driver cannot say, it is taken to be there
	Loopback  bool
	Default   bool // a default route leads through it
	Addresses []netip.Prefix
}

// List looks at the machine now. It blocks for system calls only.
func List() ([]Link, error) {
	found, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	leads := make(map[int]bool)
	for _, r := range routes {
		if r.Dst == nil || isDefault(r.Dst) {
			leads[r.LinkIndex] = true
			for _, hop := range r.MultiPath {
				leads[hop.LinkIndex] = true
			}
		}
	}
	var all []Link
	for _, l := range found {
		a := l.Attrs()
		link := Link{
			Name: a.Name, Index: a.Index, Up: a.Flags&net.FlagUp != 0, Loopback: a.Flags&net.FlagLoopback != 0, Default: leads[a.Index],
			Carrier: a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown,
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", a.Name, err)
		}
		for _, addr := range addrs {
			if ip, ok := netip.AddrFromSlice(addr.IP); ok {
				ones, _ := addr.Mask.Size()
				link.Addresses = append(link.Addresses, netip.PrefixFrom(ip.Unmap(), ones))
			}
		}
		sort.Slice(link.Addresses, func(i, j int) bool { return link.Addresses[i].Addr().Less(link.Addresses[j].Addr()) })
		all = append(all, link)
	}
	return all, nil
}

func isDefault(n *net.IPNet) bool {
	ones, _ := n.Mask.Size()
	return ones == 0 && n.IP.IsUnspecified()
}

// indexNames returns the names of the interfaces by their index, as far as they can be had.
func indexNames() map[int]string {
	names := make(map[int]string)
	all, err := net.Interfaces()
	if err != nil {
		return names
	}
	for _, i := range all {
		names[i.Index] = i.Name
	}
	return names
}

// poll looks at the machine again and again for a while, and tells what differs.
func (m *Monitor) poll(ctx context.Context, duration time.Duration) {
	end := time.After(duration)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	before := snapshot()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-tick.C:
		}
		now := snapshot()
		if c := differs(before, now); c.What != 0 {
			m.tell(c)
		}
		before = now
	}
}

// snapshot returns what [net.Interfaces] tells of each interface, which needs no subscription.
func snapshot() map[string]string {
	all := make(map[string]string)
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		addrs, _ := i.Addrs()
		all[i.Name] = fmt.Sprint(i.Index, i.Flags, addrs)
	}
	return all
}

// differs names the interfaces that are not the same in both.
func differs(before, now map[string]string) (c Change) {
	for name := range maps.Keys(before) {
		if now[name] != before[name] {
			c = c.and(Change{What: Links | Addresses, Interfaces: []string{name}})
		}
	}
	for name := range now {
		if _, ok := before[name]; !ok {
			c = c.and(Change{What: Links | Addresses, Interfaces: []string{name}})
		}
	}
	return c
}
