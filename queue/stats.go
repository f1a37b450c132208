package queue

import (
	"maps"

	"tideover"
)

// Stats are the queue's numbers.
type Stats struct {
	Pending        int                    // accepted and not final
	Oldest         tideover.Millis        // when the oldest of them was accepted, the edge's wall clock; 0 if there is none
	ByState        map[tideover.State]int // of what is in memory: open, or final and not acknowledged
	Amounts        map[string]int64       // pending, minor units by currency
	Unacknowledged int                    // final, and not acknowledged
	Untold         int                    // the edge's own ends that the hub does not know
	Transactions   int                    // in the journal
	Lazy           int                    // events that wait for a commit to ride on
	FileBytes      int64
	UsedBytes      int64 // of the file, and has ever been since it was compacted
	InsideBytes    int64 // of what is used: free again inside
	FreeBytes      int64 // of the file system
	SizeMax        int64
	Commits        uint64 // since the start
	Syncs          uint64 // since the start
	HeadSeq        uint64
	HeadHash       [32]byte
	HaveThrough    uint64
}

// Stats returns the numbers as they are now.
func (q *Queue) Stats() Stats {
	free, _, _ := q.left()
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{
		Pending: q.counted.open, ByState: make(map[tideover.State]int), Amounts: maps.Clone(q.counted.amount), Untold: len(q.untold),
		Transactions: len(q.index), Lazy: len(q.lazy), FileBytes: q.size, UsedBytes: q.used, InsideBytes: q.freed + q.freeing, FreeBytes: free,
		SizeMax: q.options.SizeMax, Commits: q.commits, Syncs: q.syncs, HeadSeq: q.headSeq, HeadHash: q.headHash,
		HaveThrough: q.outbox.have,
	}
	for _, r := range q.live {
		s.ByState[r.State]++
		switch {
		case !r.Final():
			if s.Oldest == 0 || r.CreatedAt < s.Oldest {
				s.Oldest = r.CreatedAt
			}
		case !r.Acknowledged:
			s.Unacknowledged++
		}
	}
	return s
}

// Pending returns how many transactions are accepted and not final.
func (q *Queue) Pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counted.open
}

// Exposure returns how many transactions are accepted and not final, and the sum of their amounts in minor units by currency.
func (q *Queue) Exposure() (count int, amount map[string]int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counted.open, maps.Clone(q.counted.amount)
}

// PendingByTerminal returns how many transactions of each terminal, by its uid, are accepted and not final.
func (q *Queue) PendingByTerminal() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	pending := make(map[string]int)
	for _, r := range q.live {
		if r.Counts() {
			pending[r.TerminalUID]++
		}
	}
	return pending
}

// OpenOfCopy counts what was open in the copy that this journal was once restored from, and has no end yet. It may have ended since the copy
// was made, in the journal that was lost.
func (q *Queue) OpenOfCopy() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.gap {
		return 0
	}
	for _, r := range q.live {
		if r.First < q.gapAt && !r.Final() {
			n++
		}
	}
	return n
}

// Reopened returns how many of the transactions that this process found without an end have none yet.
func (q *Queue) Reopened() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.live {
		if r.Reopened && !r.Final() {
			n++
		}
	}
	return n
}
