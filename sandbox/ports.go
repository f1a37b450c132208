package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

// Ports are taken from below the range that the kernel gives to outgoing connections: one of those could otherwise sit on a
// program's port while that program is down.
const (
	portLow     = 12000
	portHigh    = 32000 // Linux gives out 32768 and up unless told otherwise
	portTries   = 200
	kernelRange = "/proc/sys/net/ipv4/ip_local_port_range"
)

// ports remembers what was given out in this process, so that two shops at once do not choose the same.
type ports struct {
	mu   sync.Mutex
	used map[int]bool
}

var errNoPort = errors.New("no free port was found on 127.0.0.1")

// free returns an address of loopback on which nobody listens, for network "tcp4" or "udp4".
func (p *ports) free(network string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	low, high := portLow, portHigh
	if b, err := os.ReadFile(kernelRange); err == nil {
		var from, to int
		if n, _ := fmt.Sscan(string(b), &from, &to); n == 2 && from < high {
			high = max(from, portLow/2)
			low = max(1024, high/2)
		}
	}
	for range portTries {
		port := low + rand.IntN(high-low)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if p.used[port] || !canListen(network, addr) {
			continue
		}
		if p.used == nil {
			p.used = map[int]bool{}
		}
		p.used[port] = true
		return addr, nil
	}
	return "", errNoPort
}

func canListen(network, addr string) bool {
	if network == "udp4" {
		c, err := net.ListenPacket(network, addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	l, err := net.Listen(network, addr)
	if err == nil {
		l.Close()
	}
	return err == nil
}
