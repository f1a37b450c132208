package queue

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestCrowd_WaitsForThoseWhoWereAnsweredAMomentAgo.
func TestCrowd_WaitsForThoseWhoWereAnsweredAMomentAgo(t *testing.T) {
	const sync = 300 * time.Microsecond
	for name, c := range map[string]struct {
		answered, waiting int
		took, since       time.Duration
		have              int
		wanted            int
		wait              time.Duration
	}{
		"a lone till comes back":               {1, 0, sync, 50 * time.Microsecond, 1, 0, 0},
		"eight were answered, one is here":     {8, 0, sync, 50 * time.Microsecond, 1, 8, 250 * time.Microsecond},
		"two groups become one":                {3, 5, sync, 50 * time.Microsecond, 5, 8, 250 * time.Microsecond},
		"all are here":                         {8, 0, sync, 50 * time.Microsecond, 8, 0, 0},
		"more are here":                        {8, 0, sync, 50 * time.Microsecond, 9, 0, 0},
		"a commit's time has gone by":          {8, 0, sync, sync, 1, 0, 0},
		"a minute later":                       {8, 0, sync, time.Minute, 1, 0, 0},
		"a slow disk":                          {8, 0, time.Second, time.Millisecond, 1, 8, patienceMax - time.Millisecond},
		"no more than a commit holds":          {batchMax, batchMax, sync, 0, 1, batchMax, sync},
		"the first commit of a process":        {0, 0, 0, time.Hour, 1, 0, 0},
		"nobody was answered, and one is here": {0, 0, sync, 0, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1, 0)
			var k crowd
			k.took = c.took
			k.answers(now, c.answered, c.waiting)
			if wanted, wait := k.expects(now.Add(c.since), c.have); wanted != c.wanted || wait != c.wait {
				t.Errorf("waits for %d, %v; want %d, %v", wanted, wait, c.wanted, c.wait)
			}
		})
	}
}

// TestCrowd_WaitsSeldomInVain: tills that come as they like are not waited for again and again.
func TestCrowd_WaitsSeldomInVain(t *testing.T) {
	var k crowd
	k.took = time.Millisecond
	now := time.Unix(1, 0)
	waits := func(commits int) (n int) {
		for range commits {
			k.answers(now, 2, 1)
			if wanted, _ := k.expects(now, 1); wanted != 0 {
				n++
				k.met(0, 2)
			}
		}
		return n
	}
	if n := waits(1000); n > 30 {
		t.Errorf("%d of 1000 commits waited in vain", n)
	}
	if n := waits(10_000); n > 10_000/sulkMax+1 {
		t.Errorf("%d of 10000 commits waited in vain", n)
	}
	k.met(1, 2)
	k.sulk = 0
	if n := waits(10); n < 3 {
		t.Errorf("once they came, the next are waited for; %d of 10 were", n)
	}
}

// TestQueue_GatherWaitsForAllWhoComeBack: those who come back while the committer waits share one commit, and who does not come is not
// waited for beyond the time of a commit.
func TestQueue_GatherWaitsForAllWhoComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		q := s.q
		press := func(key string, after time.Duration) (answered time.Time) {
			time.Sleep(after)
			s.accept(draft("till", key))
			return time.Now()
		}
		press("first", time.Second)
		commits := q.Stats().Commits
		// As if three had been answered just now, by a commit of 3 ms.
		ready := make(chan struct{})
		if err := q.submit(&request{ctx: context.Background(), prepare: func(*batch) error { return nil }, land: func() { close(ready) }}); err != nil {
			t.Fatal(err)
		}
		<-ready
		synctest.Wait()
		q.crowd.took, q.crowd.size, q.crowd.ended = 3*time.Millisecond, 3, time.Now()
		begun := time.Now()
		var all sync.WaitGroup
		for i, after := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond} {
			all.Go(func() {
				if at := press(after.String(), after); at.Sub(begun) != 2*time.Millisecond {
					t.Errorf("press %d was answered after %v", i, at.Sub(begun))
				}
			})
		}
		all.Wait()
		if n := q.Stats().Commits - commits; n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
		q.crowd.took, q.crowd.size, q.crowd.ended = 3*time.Millisecond, 3, time.Now()
		begun = time.Now()
		if at := press("last", 0); at.Sub(begun) != 3*time.Millisecond {
			t.Errorf("a press that nobody follows was answered after %v", at.Sub(begun))
		}
	})
}
