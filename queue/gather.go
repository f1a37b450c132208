package queue

import (
	"context"
	"runtime"
	"time"
)

const (
	// yieldsMax is how often the committer lets others run while the queue grows: measured, it turns many small commits into few.
	yieldsMax = 8
	// patienceMax bounds how long a commit waits for those who are on their way back; where a commit takes less, it is that.
	patienceMax = 4 * time.Millisecond
	// sulkMax is how many commits in a row are made without waiting for anybody after it was in vain.
	sulkMax = 64
)

// crowd is what the committer expects: tills that were answered a moment ago come back with their next press, and share a commit if it
// waits for them. Without it they fall into two groups, each of which waits for the other's syncs. It belongs to the committer.
type crowd struct {
	ended time.Time     // when the last commit was answered
	took  time.Duration // how long it had taken
	size  int           // who was answered then, and who waited already

	vain, sulk int // waits in a row that were in vain; commits that wait for nobody because of it
}

// answers notes that a commit is answered now: those may come back, and others wait already.
func (c *crowd) answers(now time.Time, answered, waiting int) {
	c.ended, c.size = now, min(answered+waiting, batchMax)
}

// expects returns how many requests are worth waiting for, and until when: as long as a commit takes, since whoever misses it waits that
// long. Where have is enough, or waiting has been in vain, there is nothing to wait for.
func (c *crowd) expects(now time.Time, have int) (wanted int, wait time.Duration) {
	wait = min(c.took, patienceMax) - now.Sub(c.ended)
	switch {
	case have >= c.size || wait <= 0:
		return 0, 0
	case c.sulk > 0:
		c.sulk--
		return 0, 0
	}
	return c.size, wait
}

// met notes how many came of those who were missing: half of them were worth it.
func (c *crowd) met(came, missing int) {
	if 2*came >= missing {
		c.vain = 0
		return
	}
	c.vain = min(c.vain+1, 16)
	c.sulk = min(1<<c.vain, sulkMax)
}

// gather lets those who are about to submit do so: what comes now shares the syncs. A press that comes alone to a quiet queue waits for
// nobody.
func (q *Queue) gather(ctx context.Context) {
	have := q.waiting(0)
	if q.crowd.size <= 1 && have == 1 {
		return
	}
	wanted, wait := q.crowd.expects(time.Now(), have)
	if wanted == 0 {
		q.yield(have)
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	defer q.waiting(0)
	here := q.waiting(wanted)
	for late := false; !late && here < wanted; here = q.waiting(wanted) {
		select {
		case <-q.submitted:
		case <-timer.C:
			late = true
		case <-ctx.Done():
			return
		}
	}
	q.crowd.met(here-have, wanted-have)
}

// waiting returns how many requests wait, and has submit wake the committer from then on once there are so many.
func (q *Queue) waiting(wanted int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wanted = wanted
	return len(q.requests)
}

// yield lets others run for as long as that brings more requests.
func (q *Queue) yield(have int) {
	for range yieldsMax {
		runtime.Gosched()
		now := q.waiting(0)
		if now == have {
			return
		}
		have = now
	}
}
