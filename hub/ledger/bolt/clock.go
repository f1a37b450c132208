package bolt

import (
	"sync"
	"time"

	"tideover"
	"tideover/internal/boottime"
)

// clock is ledger time. It follows the wall clock forward, but neither goes back with it nor runs slower than the boot-time clock: a
// sale must not be executed late because somebody set the wall clock back.
type clock struct {
	wall func() time.Time
	mu   sync.Mutex // guards what follows
	last tideover.Millis
	boot time.Duration // when last was read
}

func (c *clock) now() tideover.Millis {
	c.mu.Lock()
	defer c.mu.Unlock()
	boot := boottime.Now()
	// Whole milliseconds only, and the rest is left for the next reading.
	step := (boot - c.boot).Truncate(time.Millisecond)
	c.boot += step
	c.last = max(c.last.Add(step), tideover.MillisOf(c.wall()))
	return c.last
}

// Now returns ledger time.
func (l *Ledger) Now() tideover.Millis { return l.clock.now() }
