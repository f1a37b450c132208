package daemon

import (
	"sync"
	"time"

	"tideover"
	"tideover/internal/boottime"
)

// ledgerClock carries the hub's time on with the boot-time clock: it alone judges expiry, and nobody at the shop can set it.
type ledgerClock struct {
	boot func() time.Duration

	mu   sync.Mutex // guards what follows
	at   time.Duration
	time tideover.Millis // ledger time at the boot time `at`; 0 until a hub was heard
}

func newLedgerClock() *ledgerClock { return &ledgerClock{boot: boottime.Now} }

// Set takes the ledger time that a welcome brought. What it brought has travelled, so the clock never runs ahead of the ledger's.
func (c *ledgerClock) Set(now tideover.Millis) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.time = c.boot(), now
}

// Now returns the ledger's time, and false until a hub was heard in this process.
func (c *ledgerClock) Now() (tideover.Millis, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.time == 0 {
		return 0, false
	}
	return c.time.Add(c.boot() - c.at), true
}
