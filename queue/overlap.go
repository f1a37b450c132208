package queue

import (
	"time"

	"tideover"
	"tideover/internal/die"
)

// Overlap: a sale's bytes leave while its acceptance is on its way to the disk, so that its customer waits for the longer of the two and not for
// their sum. What a process that dies in between has sent, the journal does not have: an orphan. The ledger has it, and tells it at the next
// hello. A journal of which a process may have left orphans says so, since until they are told the router must end nothing by itself.

// early is what a journal says of overlap.
type early struct {
	disk  bool // sales may leave early: a process that dies may leave orphans
	noted bool // the same, as an event says that may still wait
	known bool // by this process: no earlier one has left orphans that are not told
}

// Orphans says whether an earlier process may have sent what this journal does not have; see [Queue.Early].
func (q *Queue) Orphans() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.early.disk && !q.early.known
}

// Early tells that everything that an earlier process may have sent is in this journal, or has been given to [Queue.Adopt] and [Queue.End], and
// whether sales are to leave early from now on. The journal says so with the next commit; after that they do, while [Options.Overlap] lets them. A
// process that ends well takes it back.
func (q *Queue) Early(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.early.known = true
	q.noteEarly(on)
}

// noteEarly lets the journal say whether sales may leave early. Callers hold mu.
func (q *Queue) noteEarly(on bool) {
	if q.stopped == nil && q.early.noted != on {
		q.early.noted = on
		q.hear(max(q.outbox.have, q.caughtUp))
	}
}

// launch lets the sales of a batch be handed out before the batch is on disk: the rules have let them pass, and there is room for them. Only
// [Queue.Next], [Queue.Back] and a [Queue.Move] of CauseSent know them before that. What undoes something is not launched: what it undoes may be changed by the
// same commit. Nor is an advice, for which nobody waits.
func (q *Queue) launch(b *batch) {
	if len(b.accepted) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.early.disk || !q.early.noted || !q.early.known || q.options.Overlap == nil || !q.options.Overlap() {
		return
	}
	die.At("queue.overlap.before")
	for _, id := range b.flying {
		if r := b.accepted[id]; r != nil && r.Kind == tideover.KindSale {
			q.launched[id] = r
			q.schedule(r)
		}
	}
}

// dieEarly marks, for crash tests, the instant at which a sale of the batch has left that is not on disk.
func (q *Queue) dieEarly(b *batch) {
	const point, patience = "queue.overlap.after", time.Second
	if !die.Armed(point) || !b.classes[classAccept] {
		return
	}
	left := func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		for id := range b.accepted {
			if r := q.launched[id]; r != nil && r.Left {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if left() {
			die.Linger() // for its bytes to go as far as they may
			die.At("queue.overlap.after")
			return
		}
	}
}

// clearEarly takes back, at a good end, that sales may leave early: nothing has left that is not on disk. Callers hold mu.
func (q *Queue) clearEarly() {
	if q.early.known {
		q.noteEarly(false)
	}
}
