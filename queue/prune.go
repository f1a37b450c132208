package queue

import (
	"slices"
	"sort"
	"time"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

// What is over for long enough leaves the journal, in the commits of others and in the order of the journal: a transaction as a whole, with all
// that was given back of it, and of the rest what something newer supersedes. A sweep goes from the oldest entry up to a limit, a few entries
// for each commit, and leaves what is still wanted; a later sweep looks at that again.

const (
	// pruneBusy and pruneIdle bound how many entries one commit prunes, beside calls that wait for it and without; pruneLook how many are
	// looked at for each of them.
	pruneBusy, pruneIdle, pruneLook = 64, 1024, 4
	// pruneLeast is how many are pruned together at least: each time the journal says so in an entry of its own.
	pruneLeast = 16
	// pruneAlone is the pause between commits that are made for pruning alone, while a sweep is under way; sweepPause the one between sweeps.
	pruneAlone, sweepPause = 10 * time.Second, 10 * time.Minute
	// pruneRest is how long calls go without one that prunes beside them: few of them wait for it, and a thousand entries a second leave.
	pruneRest = 50 * time.Millisecond
	// groupMax is how many transactions at most leave together: more were given back of one original only where somebody plays.
	groupMax = 64
	// runsMax bounds the stretches that were pruned. At it only what touches one of them is pruned: tills have left so many transactions
	// unacknowledged between them.
	runsMax = 4096
	// agesMax bounds the times that are known of the journal.
	agesMax = 1024
)

// age is a time by the ledger: what has a sequence below was written before.
type age struct {
	seq    uint64
	ledger tideover.Millis
}

// sweeper prunes the journal. The queue's mutex guards it.
type sweeper struct {
	keep     time.Duration // 0: everything
	least    int           // pruneLeast
	pause    time.Duration // sweepPause
	rest     time.Duration // pruneRest
	anchored uint64        // the head that the hub has for certain
	ages     []age         // in order of both
	runs     []run         // what was pruned, as it is on disk
	through  tideover.Millis

	limit uint64    // of the sweep under way; 0: there is none
	at    uint64    // where it goes on
	next  time.Time // no sweep before this time
	alone time.Time // no commit for pruning alone before this time
	calm  time.Time // none beside calls before this time
	// What a sweep has found to keep, from its beginning on.
	firstKept  uint64 // the first event of the oldest transaction
	rulesNamed uint64 // the oldest version of the rules

	// The newest entries of the edge itself, by which older ones are superseded.
	heard, heardThrough, ledger, pruned uint64
	terminals                           map[string]uint64 // by uid
	longest                             int64             // of them, about
	rules                               []uint64          // every version
}

// Anchored tells up to which entry the hub holds this journal's chain for certain: nothing that is newer is ever pruned.
func (q *Queue) Anchored(seq uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sweeper.anchored = max(q.sweeper.anchored, min(seq, q.headSeq))
}

// Pruned says how far the journal reaches back: transactions that were accepted up to that time, by the router's wall clock, may have left it.
// 0: it has everything.
func (q *Queue) Pruned() tideover.Millis {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sweeper.through
}

// note takes an entry of the edge itself into account.
func (s *sweeper) note(seq uint64, e *edge.Event) {
	switch e.Type {
	case edge.EventHeard:
		s.heard, s.heardThrough = seq, e.HubSeq
	case edge.EventLedgerTime:
		s.ledger = seq
		s.see(age{seq, e.Ledger})
	case edge.EventTerminal:
		if e.Terminal != nil {
			s.terminals[e.Terminal.UID] = seq
		}
	case edge.EventRules:
		s.rules = append(s.rules, seq)
		s.longest = max(s.longest, int64(len(e.Rules)))
	case edge.EventSettlement:
		if e.Settlement != nil {
			s.longest = max(s.longest, int64(len(e.Settlement.Totals))*totalOverhead)
		}
	case edge.EventPruned:
		if s.pruned = seq; e.Pruned != nil {
			s.through = max(s.through, e.Pruned.Through)
		}
	default:
	}
}

// see keeps a time of the ledger, if it is later than those before: a ledger that was put back to an older copy counts again when it is.
func (s *sweeper) see(a age) {
	n := len(s.ages)
	if n > 0 && a.ledger <= s.ages[n-1].ledger {
		return
	}
	if n > 1 && a.ledger-s.ages[n-2].ledger < tideover.Millis(s.keep.Milliseconds()/(agesMax/2)) {
		s.ages = s.ages[:n-1] // a little later is as good
	}
	if n == agesMax { // nothing was pruned for long: coarser will do
		for i := range n / 2 {
			s.ages[i] = s.ages[2*i]
		}
		s.ages = s.ages[:n/2]
	}
	s.ages = append(s.ages, a)
}

// until returns the entry before which everything is old enough, and anchored. Only the ledger's time counts: a wall clock that is set wrong must
// not cost a shop its past.
func (s *sweeper) until(now tideover.Millis) uint64 {
	old := now - tideover.Millis(s.keep.Milliseconds())
	n := sort.Search(len(s.ages), func(i int) bool { return s.ages[i].ledger > old })
	if n == 0 {
		return 0
	}
	s.ages = s.ages[max(0, n-1):]
	return min(s.ages[0].seq, s.anchored)
}

// pruning is what a commit takes out of the journal.
type pruning struct {
	seqs    []uint64
	ids     []tideover.ID
	reports []tideover.ID
	through tideover.Millis
	ends    bool // ends are among it
	event   *edge.Event
	runs    []run // afterwards
}

// prune adds to a batch what may leave the journal with it. Callers hold mu.
func (q *Queue) prune(b *batch) {
	s := &q.sweeper
	clock := time.Now()
	if s.keep <= 0 || q.holds > 0 || !q.sweeping(clock) || len(b.entries)+len(b.erased) == 0 && clock.Before(s.alone) {
		return
	}
	most := pruneIdle
	if len(b.landing) > 0 {
		if clock.Before(s.calm) {
			return
		}
		most = pruneBusy
	}
	// Each may be alone in its page, and have it joined with its neighbour; a long one beside it is written anew, too, and needs pages in a row.
	most = min(most, int((b.room.all()-b.need-2*entryOverhead-commitOverhead)/(2*pageSize)))
	if most < s.least || s.longest > leafMax && b.room.beyond < b.need+4*s.longest {
		return
	}
	s.alone, s.calm = clock.Add(pruneAlone), clock.Add(s.rest)
	p := &pruning{}
	if err := q.sweep(b, p, most); err != nil {
		q.log.Error("the journal is not pruned any more: it cannot be read", "path", q.options.Path, "err", err)
		s.keep, s.limit = 0, 0
		return
	}
	if len(p.seqs) < s.least {
		return
	}
	slices.Sort(p.seqs)
	if p.ends && s.heardThrough < q.outbox.have {
		b.force(entry{seq: q.draw(), event: &edge.Event{
			Type: edge.EventHeard, At: now(), HubSeq: q.outbox.have, Epoch: q.epochNoted, Early: q.early.noted || q.early.disk,
		}})
	}
	p.event = &edge.Event{Type: edge.EventPruned, At: now(), Pruned: &edge.Pruned{Through: max(p.through, s.through)}}
	b.force(entry{seq: q.draw(), event: p.event})
	for _, id := range p.ids {
		delete(q.index, id) // nobody finds it from here on, whatever the disk still has for a moment
		q.parts.drop(id)
	}
	q.reports.drop(p.reports)
	b.pruning = p
}

// sweeping says whether there is something to sweep, and begins a sweep. Callers hold mu.
func (q *Queue) sweeping(now time.Time) bool {
	s := &q.sweeper
	if s.limit != 0 {
		return true
	}
	if now.Before(s.next) {
		return false
	}
	limit := s.until(q.ledgerTime)
	if limit == 0 {
		return false
	}
	s.next = now.Add(s.pause)
	s.limit, s.at, s.firstKept, s.rulesNamed = limit, 0, limit, ^uint64(0)
	return true
}

// sweep goes on with the sweep under way, until most entries are to be pruned. Callers hold mu.
func (q *Queue) sweep(b *batch, p *pruning, most int) error {
	s := &q.sweeper
	taken := make(map[uint64]struct{})
	return q.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketJournal).Cursor()
		key, value := c.Seek(seqKey(s.at))
		for looked := 0; ; looked++ {
			if key == nil || seqOf(key) >= s.limit {
				q.swept(p)
				return nil
			}
			seq := seqOf(key)
			if s.at = seq; looked >= most*pruneLook || len(p.seqs) >= most {
				return nil
			}
			if _, gone := taken[seq]; !gone {
				e, err := decodeValue(seq, value)
				if err != nil {
					return err
				}
				if err := q.consider(tx, b, p, taken, seq, &e); err != nil {
					return err
				}
			}
			key, value = c.Next()
		}
	})
}

// consider adds an entry to what is pruned, with all that goes with it, or keeps it.
func (q *Queue) consider(tx *bbolt.Tx, b *batch, p *pruning, taken map[uint64]struct{}, seq uint64, e *edge.Event) error {
	if !ofTransaction(e.Type) {
		if q.superseded(seq, e) && q.fits(tx, p, []uint64{seq}) {
			p.seqs = append(p.seqs, seq)
			if e.Type == edge.EventSettlement {
				p.reports = append(p.reports, e.ID)
			}
		}
		return nil
	}
	g, ok, err := q.groupOf(tx, b, e.ID)
	if err != nil {
		return err
	}
	if !ok || !q.fits(tx, p, g.seqs) {
		if s := &q.sweeper; e.Accepted != nil {
			s.firstKept = min(s.firstKept, seq)
			if named := e.Accepted.Rules; named != 0 {
				s.rulesNamed = min(s.rulesNamed, named)
			}
		}
		return nil
	}
	for _, seq := range g.seqs {
		taken[seq] = struct{}{}
	}
	p.seqs, p.ids = append(p.seqs, g.seqs...), append(p.ids, g.ids...)
	p.through, p.ends = max(p.through, g.through), p.ends || g.ends
	return nil
}

// fits says whether there may be so many stretches more; where there are too many already, what makes one longer fits still.
func (q *Queue) fits(tx *bbolt.Tx, p *pruning, seqs []uint64) bool {
	runs := q.sweeper.runs
	if len(runs)+len(p.seqs)+len(seqs) <= runsMax {
		return true
	}
	c := tx.Bucket(bucketJournal).Cursor()
	for _, seq := range seqs {
		var before uint64
		after := ^uint64(0)
		c.Seek(seqKey(seq))
		if key, _ := c.Prev(); key != nil {
			before = seqOf(key)
		}
		c.Seek(seqKey(seq))
		if key, _ := c.Next(); key != nil {
			after = seqOf(key)
		}
		if i := sort.Search(len(runs), func(i int) bool { return runs[i].first > before }); i == len(runs) || runs[i].first > after {
			return false
		}
	}
	return true
}

// superseded says whether an entry of the edge itself has nothing more to say. Rules are looked at in the end; that the journal was once restored
// from a copy stays for ever.
func (q *Queue) superseded(seq uint64, e *edge.Event) bool {
	s := &q.sweeper
	switch e.Type {
	case edge.EventMark:
		return true
	case edge.EventHeard:
		return seq != s.heard && seq != q.epochSince
	case edge.EventLedgerTime:
		return seq != s.ledger
	case edge.EventTerminal:
		return e.Terminal == nil || seq != s.terminals[e.Terminal.UID]
	case edge.EventPruned:
		return seq != s.pruned
	case edge.EventSettlement:
		return e.Settlement == nil || !q.reports.newest(e.ID)
	default:
		return false
	}
}

// groupOf returns the entries of a transaction, of what it undoes, and of what undoes it: they leave together, so that an account never lacks a
// part. ok is false where something of it is not over, or not for long enough.
func (q *Queue) groupOf(tx *bbolt.Tx, b *batch, id tideover.ID) (g pruning, ok bool, err error) {
	root := id
	for range groupMax {
		up, known := q.parts.in[root]
		if !known || q.index[up] == 0 {
			break
		}
		root = up
	}
	g.ids = append(g.ids, root)
	for i := 0; i < len(g.ids); i++ {
		over, err := q.isOver(tx, b, &g, g.ids[i])
		if err != nil || !over || len(g.ids) > groupMax {
			return g, false, err
		}
		for _, part := range q.parts.of[g.ids[i]] {
			if !slices.Contains(g.ids, part.id) {
				g.ids = append(g.ids, part.id)
			}
		}
	}
	return g, true, nil
}

// isOver adds a transaction's entries to a group, if nothing more is expected of it, and has not been for long enough.
func (q *Queue) isOver(tx *bbolt.Tx, b *batch, g *pruning, id tideover.ID) (bool, error) {
	newest := q.index[id]
	if newest == 0 || newest >= q.sweeper.limit || q.live[id] != nil || q.album.recent[id] != nil || slices.Contains(b.flying, id) {
		return false, nil
	}
	for seq := newest; seq != 0; {
		e, err := decodeValue(seq, tx.Bucket(bucketJournal).Get(seqKey(seq)))
		if err != nil {
			return false, err
		}
		if e.HubSeq > q.outbox.have {
			return false, nil // a gap in the outbox is before it: it is the only one to say that this was heard
		}
		if e.Accepted != nil {
			g.through = max(g.through, e.Accepted.CreatedAt)
		}
		g.ends = g.ends || e.HubSeq != 0
		g.seqs = append(g.seqs, seq)
		if e.ID != id || e.Prev >= seq {
			return false, ErrDamaged
		}
		seq = e.Prev
	}
	return true, nil
}

// swept ends a sweep. What no transaction that was kept can name of the rules goes now: one is judged by the newest version, or by the one
// before that where they changed meanwhile.
func (q *Queue) swept(p *pruning) {
	s := &q.sweeper
	n := sort.Search(len(s.rules), func(i int) bool { return s.rules[i] >= s.limit })
	for i := 0; i < n-2 && s.rules[i] < s.rulesNamed; i++ {
		p.seqs = append(p.seqs, s.rules[i])
	}
	for len(q.strides) > 0 && q.strides[0].last < s.firstKept {
		q.strides = q.strides[1:]
	}
	s.limit = 0
}

// cutOut takes what a batch prunes out of the file.
func (q *Queue) cutOut(tx *bbolt.Tx, p *pruning) (err error) {
	if p.runs, err = cut(tx, q.sweeper.runs, p.seqs); err != nil { // only the committer writes them
		return err
	}
	p.event.Pruned.Runs = digestOf(p.runs)
	return nil
}

// pruned notes what has left the file. Callers hold mu.
func (q *Queue) pruned(p *pruning) {
	s := &q.sweeper
	s.runs = p.runs
	kept := s.rules[:0]
	for _, seq := range s.rules {
		if i := sort.Search(len(p.seqs), func(i int) bool { return p.seqs[i] >= seq }); i == len(p.seqs) || p.seqs[i] != seq {
			kept = append(kept, seq)
		}
	}
	s.rules = kept
}

// pruneDue returns how long to wait until a commit is to be made for pruning alone; false where none is. Callers hold mu.
func (q *Queue) pruneDue(now time.Time) (wait time.Duration, some bool) {
	s := &q.sweeper
	if s.keep <= 0 || q.holds > 0 || s.limit == 0 {
		return 0, false
	}
	return max(0, s.alone.Sub(now)), true
}
