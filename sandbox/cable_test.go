package sandbox

import (
	"context"
	"net"
	"testing"
	"time"
)

// line is a cable with an echo at its far end and a socket at its near one.
type line struct {
	t     *testing.T
	cable *Cable
	near  net.Conn
}

// silence is long enough to believe that nothing comes, and the loss of a datagram on loopback under load is not mistaken for it.
const silence = 200 * time.Millisecond

func newLine(t *testing.T) *line {
	far, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := far.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = far.WriteTo(buf[:n], from)
		}
	}()
	cable, err := NewCable(far.LocalAddr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- cable.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	near, err := net.Dial("udp4", cable.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	return &line{t: t, cable: cable, near: near}
}

// says sends a word until its echo comes, at most for the given time.
func (l *line) says(word string, within time.Duration) bool {
	l.t.Helper()
	buf := make([]byte, 64)
	for end := time.Now().Add(within); time.Now().Before(end); {
		if _, err := l.near.Write([]byte(word)); err != nil {
			l.t.Fatal(err)
		}
		_ = l.near.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		for {
			n, err := l.near.Read(buf)
			if err != nil {
				break
			}
			if string(buf[:n]) == word {
				return true
			}
		}
	}
	return false
}

func TestCable_CarriesUntilItIsCut(t *testing.T) {
	l := newLine(t)
	if !l.says("one", 5*time.Second) {
		t.Fatal("nothing came through a good cable")
	}
	l.cable.Set(Weather{Cut: true})
	if l.says("two", silence) {
		t.Error("something came through a cut cable")
	}
	l.cable.Set(Weather{})
	if !l.says("three", 5*time.Second) {
		t.Error("nothing came through a mended cable")
	}
	l.cable.Set(Weather{Loss: 1})
	if l.says("four", silence) {
		t.Error("something came through a cable that loses everything")
	}
}

func TestCable_Delays(t *testing.T) {
	l := newLine(t)
	l.says("warm", 5*time.Second)
	const delay = 100 * time.Millisecond
	l.cable.Set(Weather{Delay: delay})
	began := time.Now()
	if !l.says("word", 5*time.Second) {
		t.Fatal("nothing came through")
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back took %v, less than two delays of %v", took, delay)
	}
}
