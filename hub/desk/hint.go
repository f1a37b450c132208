package desk

import (
	"time"

	"tideover"
	"tideover/hub/ledger"
)

// hintGap is how long after the last question about an id, or the call, a hint brings the next one forward. It doubles with each
// question that a hint has brought forward: whoever hints without end gets a handful of questions, and then no more than without.
const hintGap = 250 * time.Millisecond

// hintsMax bounds that doubling; the gap is then longer than any pause.
const hintsMax = 20

// Hint tells that the platform may have something new about an id: what is in doubt is asked about now instead of after its pause.
// Nothing else comes of it, whoever gives it: the platform's answer to that question counts, as it would have a little later. An id
// that is not worked on, or that the desk does not know, is ignored. Hint does not block.
func (d *Desk) Hint(id tideover.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.working[id]; e != nil && !e.hinted {
		e.hinted = true
		e.wake()
	}
}

// question is when the platform is to be asked about a row, and whether a hint brought that forward. Undoing is never hastened.
func (w *worker) question(row ledger.Row, act ledger.Action) (at time.Time, early bool) {
	w.desk.mu.Lock()
	hinted := w.entry.hinted
	w.desk.mu.Unlock()
	switch {
	case !hinted || act != ledger.ActAsk:
		return w.due, false
	case !w.desk.Idempotent && !row.Answered && w.asked <= 1:
		// A 404 has this id barred for good, while its one call may still be travelling: the first question keeps its time.
		return w.due, false
	}
	at = w.heard.Add(hintGap << min(w.hints, hintsMax))
	if at.Before(w.due) {
		return at, true
	}
	return w.due, false
}

// heed takes the hint as answered by the question that follows: what comes during it is a new one.
func (w *worker) heed(act ledger.Action) {
	if act != ledger.ActAsk {
		return
	}
	w.desk.mu.Lock()
	w.entry.hinted = false
	w.desk.mu.Unlock()
}
