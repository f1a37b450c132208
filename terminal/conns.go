package terminal

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a till's machine can hold of this one's without reading or answering.
const (
	silentMax     = 3 * heartbeat // for which what was sent is not acknowledged; then the connection is dead, and its requests with it
	sendBufferMax = 64 << 10      // bytes in this machine's kernel that the till has not taken; what more is written waits, see writeMax
)

// limitPeers prepares a listening socket: what it accepts inherits these. Without them a till that lost its power holds a stream for a
// quarter of an hour, and one that does not read some megabytes.
func limitPeers(_, _ string, socket syscall.RawConn) error {
	var err error
	set := func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silentMax/time.Millisecond))
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBufferMax)
		}
	}
	if failed := socket.Control(set); failed != nil {
		return failed
	}
	return err
}

// connLimiter closes connections beyond [ConnectionsMax] and [ConnectionsHostMax] as they come: a till that meets it tries again,
// while one that waited in the kernel's queue would not know why.
type connLimiter struct {
	net.Listener
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	total  int
	byHost map[netip.Addr]int
	full   bool // said so since there was room
}

func limitConns(l net.Listener, log *slog.Logger) *connLimiter {
	return &connLimiter{Listener: l, log: log, byHost: map[netip.Addr]int{}}
}

// Accept returns the next connection that is within the limits.
func (l *connLimiter) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := hostOf(c)
		if l.take(host) {
			return &limitedConn{Conn: c, limiter: l, host: host}, nil
		}
		c.Close()
	}
}

func hostOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (l *connLimiter) take(host netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= ConnectionsMax || !host.IsLoopback() && l.byHost[host] >= ConnectionsHostMax {
		if !l.full {
			l.full = true
			l.log.Warn("too many connections: some are closed as they come", "open", l.total, "host", host, "host_open", l.byHost[host])
		}
		return false
	}
	l.total++
	l.byHost[host]++
	return true
}

func (l *connLimiter) give(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.byHost[host]--; l.byHost[host] == 0 {
		delete(l.byHost, host)
	}
	if l.total < ConnectionsMax/2 {
		l.full = false
	}
}

// limitedConn gives its place back once.
type limitedConn struct {
	net.Conn
	limiter *connLimiter
	host    netip.Addr
	once    sync.Once
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	c.once.Do(func() { c.limiter.give(c.host) })
	return c.Conn.Close()
}

// CloseWrite lets the HTTP server send its last answer before the connection is reset.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
