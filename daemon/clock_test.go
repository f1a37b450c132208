package daemon

import (
	"testing"
	"time"
)

func TestLedgerClock_RunsOnBootTime(t *testing.T) {
	boot := 5 * time.Second
	c := &ledgerClock{boot: func() time.Duration { return boot }}
	if _, known := c.Now(); known {
		t.Fatal("knows the time before any hub was heard")
	}
	c.Set(1_000)
	boot += 3 * time.Second
	if now, known := c.Now(); !known || now != 4_000 {
		t.Fatalf("got %d, %v; want 4000", now, known)
	}
}

var thisBoot = [16]byte{1}
