package control

import (
	"errors"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Peer is who is at the other end of the socket, as the kernel says: it cannot be forged.
type Peer struct {
	PID      int32
	UID, GID uint32
}

// peerOf asks the kernel.
func peerOf(c *net.UnixConn) (p Peer, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return p, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, credErr); err != nil {
		return p, err
	}
	return Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid}, nil
}

// nameMax bounds a user's name in the journal, in bytes; the kernel's own tools stop at 32.
const nameMax = 64

// String names the user for the journal and the log: "uid 0 (root)", and "uid 1000" where the machine has no name for it.
func (p Peer) String() string {
	uid := strconv.FormatUint(uint64(p.UID), 10)
	if u, err := user.LookupId(uid); err == nil && len(u.Username) <= nameMax && printable(u.Username) {
		return "uid " + uid + " (" + u.Username + ")"
	}
	return "uid " + uid
}

// may says whether the peer is answered: root and the daemon's own user are.
func (p Peer) may() bool { return p.UID == 0 || p.UID == uint32(os.Geteuid()) }

// connsMax is how many connections are served at once; more wait in the kernel's backlog.
const connsMax = 32

// acceptor hands out connections that know their peer, at most connsMax at once.
type acceptor struct {
	*socket
	slots chan struct{}
}

// conn is a connection of a known peer.
type conn struct {
	net.Conn
	peer Peer
	free func()
}

// Accept implements net.Listener.
func (a *acceptor) Accept() (net.Conn, error) {
	a.slots <- struct{}{}
	free := sync.OnceFunc(func() { <-a.slots })
	for {
		c, err := a.AcceptUnix()
		if err != nil {
			free()
			return nil, err
		}
		peer, err := peerOf(c)
		if err != nil {
			c.Close()
			continue
		}
		return &conn{Conn: c, peer: peer, free: free}, nil
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
