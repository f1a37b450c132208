package terminal

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a till's machine neither reads nor acknowledges is bounded on the sockets that are accepted.
func TestServer_LimitsWhatAPeerHolds(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	s, err := New(cfg, &patient{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	defer s.listener.Close()
	there, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	here, err := s.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	socket, err := here.(*limitedConn).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var silent, buffer int
	if err := socket.Control(func(fd uintptr) {
		silent, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		buffer, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	}); err != nil {
		t.Fatal(err)
	}
	if silent != int(silentMax.Milliseconds()) || buffer > 2*sendBufferMax { // the kernel doubles it, for its own
		t.Errorf("silent for %d ms, %d bytes", silent, buffer)
	}
	if err := here.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(here, zeros{}); err == nil || n > 8<<20 { // the rest is in the till's own kernel
		t.Errorf("%d bytes were written to who does not read: %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
