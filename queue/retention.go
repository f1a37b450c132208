package queue

import (
	"time"

	"tideover"
	"tideover/edge"
)

// Retention says how long what is over stays in the journal.
type Retention struct {
	// Payload is how long after an end was delivered, acknowledged or cleared the payload and the instrument stay; 0 is not at all.
	Payload time.Duration
	// Final is how long after its last change, by the ledger's time, a transaction stays that has an end which its till has acknowledged and
	// the hub knows; 0 is for ever.
	Final time.Duration
}

const (
	// eraseBusy and eraseIdle bound how many sealed parts one commit erases, beside calls that wait for it and without.
	eraseBusy, eraseIdle = 256, 4096
	// eraseMany is how many wait at most for a commit to ride on before they get one of their own.
	eraseMany = 1024
)

// erasures are the sealed parts that are to be erased, in the order in which their transactions' ends were delivered. They ride the commits of
// others. What waits is not on disk: the next process finds it again in the journal. The queue's mutex guards it.
type erasures struct {
	keep    time.Duration
	waiting []erasure
	retry   time.Time // no room for the commit before this time
}

// erasure is a sealed part whose time comes.
type erasure struct {
	seq   uint64 // the entry that it is of
	id    tideover.ID
	after uint64    // the entry that allows it: it must not be on disk later than this is done
	due   time.Time // not before
}

// passes says whether an event ends the need for the sealed part that its transaction had before it.
func passes(t edge.EventType) bool {
	switch t {
	case edge.EventDelivered, edge.EventAcknowledged, edge.EventDropped, edge.EventAdopted:
		return true
	case edge.EventNone, edge.EventAccepted, edge.EventEnded, edge.EventEndedHere, edge.EventHeld, edge.EventReleased, edge.EventUndo,
		edge.EventSettle, edge.EventBuried, edge.EventTerminal, edge.EventHeard, edge.EventLedgerTime, edge.EventMark, edge.EventBarred,
		edge.EventGap, edge.EventRetry, edge.EventRules, edge.EventSettlement, edge.EventPruned, edge.EventKey, edge.EventTypesEnd:
	}
	return false
}

// pass lets a sealed part be erased after the event that allows it. The wall clock counts for what an earlier process has left alone, and
// never lets it stay longer than from now on.
func (s *erasures) pass(seq uint64, id tideover.ID, after uint64, at tideover.Millis, now time.Time) {
	wait := s.keep
	if since := now.Sub(at.Time()); since > 0 {
		wait = max(0, wait-since)
	}
	s.waiting = append(s.waiting, erasure{seq: seq, id: id, after: after, due: now.Add(wait)})
}

// ripe returns how many may be erased beside a commit that ends with the entry through, at most limit of them.
func (s *erasures) ripe(through uint64, now time.Time, limit int) (n int) {
	for n < min(len(s.waiting), limit) && s.waiting[n].after <= through && !s.waiting[n].due.After(now) {
		n++
	}
	return n
}

// next returns how long to wait until some have waited for long enough to get a commit of their own; false where none do.
func (s *erasures) next(now time.Time, patience time.Duration) (wait time.Duration, some bool) {
	switch {
	case len(s.waiting) == 0:
		return 0, false
	case now.Before(s.retry):
		return s.retry.Sub(now), true
	case len(s.waiting) > eraseMany && !s.waiting[eraseMany].due.After(now):
		return 0, true
	}
	return max(0, s.waiting[0].due.Add(patience).Sub(now)), true
}

// erase adds what is due to a batch: no more than what others wait for allows. What is open again keeps what it has. Callers hold mu.
func (q *Queue) erase(b *batch) {
	b.room = b.space // what only makes room may have it, also where others find none
	if b.room.all() < commitOverhead {
		q.erasures.retry = time.Now().Add(fullRetry)
	}
	if q.holds > 0 || time.Now().Before(q.erasures.retry) {
		return
	}
	through, limit := q.headSeq, eraseIdle
	if n := len(b.entries); n > 0 {
		through = b.entries[n-1].seq
	}
	if len(b.landing) > 0 {
		limit = eraseBusy
	}
	n := q.erasures.ripe(through, time.Now(), limit)
	if n == 0 || len(b.entries) == 0 && !q.eraseAlone() {
		return
	}
	rows := q.rowsBeside(q.erasures.waiting[:n])
	for i, e := range q.erasures.waiting[:n] {
		if !b.erases(rows(i)) {
			n = i
			break
		}
		r := q.live[e.id]
		if r != nil && r.sealed == e.seq {
			if !r.Final() {
				continue
			}
			r.sealed = 0
		}
		b.erased = append(b.erased, e.seq)
	}
	if q.erasures.waiting = q.erasures.waiting[n:]; len(q.erasures.waiting) == 0 {
		q.erasures.waiting = nil
	}
}

// eraseAlone says whether what waits to be erased has waited for long enough. Callers hold mu.
func (q *Queue) eraseAlone() bool {
	wait, some := q.erasures.next(time.Now(), q.options.LazyMax)
	return some && wait <= 0
}

// still keeps everything that is on disk there until it is released: a look at the whole journal is many reads, and what one of them has seen
// must not be missing in the next. It waits for the commit that is under way.
func (q *Queue) still() (release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.holds++
	for q.committing && q.stopped == nil {
		q.landed.Wait()
	}
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.holds--; q.holds == 0 {
			q.poke()
		}
	}
}
