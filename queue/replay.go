package queue

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"tideover"
	"tideover/edge"
)

// replay builds memory from the journal.
func (q *Queue) replay(w *walker, l layout, h head) (err error) {
	began := time.Now()
	q.ring.Store(q.ring.Load().begin(h))
	q.sweeper.runs = l.runs
	refold := make(map[tideover.ID]bool) // had events after they were closed: folded again once bbolt can be read
	q.headSeq, q.headHash, err = scan(w, l, h, func(seq uint64, e *edge.Event, sealed bool) error {
		if !q.note(seq, e) {
			return nil
		}
		r := q.live[e.ID]
		if e.Prev != q.index[e.ID] {
			return errors.New("it does not follow the event before it")
		}
		known := q.index[e.ID] != 0
		q.index[e.ID] = seq
		if refold[e.ID] {
			return nil
		}
		switch {
		case r == nil && known:
			refold[e.ID] = true
			q.parts.drop(e.ID)
			return nil
		case r == nil:
			r = &record{}
			q.live[e.ID] = r
		}
		had := r.sealed
		if err := r.apply(seq, e, false); err != nil {
			return err
		}
		if !sealed && r.sealed == seq {
			r.sealed = 0 // erased
		}
		if had != 0 && passes(e.Type) {
			q.erasures.pass(had, e.ID, seq, e.At, began)
		}
		if r.closed() {
			delete(q.live, e.ID)
			q.parts.set(r)
		}
		return nil
	})
	for id := range refold {
		q.refold = append(q.refold, id)
	}
	if err == nil && q.ring.Load().now() != h.Check {
		err = &damage{l.journal.root, errHeadKey.En}
	}
	return err
}

// note takes what an event says that is not a transaction's; it returns true for a transaction's event. Both when events are read
// again and when they have become durable, so that a restart knows exactly what was known.
func (q *Queue) note(seq uint64, e *edge.Event) bool {
	q.sweeper.note(seq, e)
	switch e.Type {
	case edge.EventTerminal:
		if e.Terminal != nil {
			q.terminals[e.Terminal.UID] = *e.Terminal
		}
		return false
	case edge.EventHeard:
		q.outbox.through(e.HubSeq)
		if e.Epoch != q.epoch {
			q.epoch = e.Epoch
			q.epochSince = max(q.epochSince, seq) // it may be known already, and ride this commit
		}
		q.early.disk = e.Early
		return false
	case edge.EventLedgerTime:
		q.ledgerNoted = e.Ledger
		return false
	case edge.EventGap:
		q.gap, q.gapAt = true, seq
		return false
	case edge.EventRules:
		q.rules = Rules{Seq: seq, At: e.At, Text: e.Rules}
		return false
	case edge.EventMark, edge.EventPruned:
		return false
	case edge.EventKey:
		q.ring.Store(q.ring.Load().follow(seq, e))
		return false
	case edge.EventSettlement:
		if e.Settlement != nil {
			q.reports.add(seq, e)
		}
		return false
	case edge.EventAccepted, edge.EventAdopted, edge.EventBarred:
		if e.Accepted != nil {
			q.strides.add(seq, e.Accepted.CreatedAt)
		}
	case edge.EventEnded:
		q.outbox.add(e.HubSeq)
	case edge.EventNone, edge.EventEndedHere, edge.EventDelivered, edge.EventAcknowledged, edge.EventHeld, edge.EventReleased, edge.EventUndo, edge.EventSettle,
		edge.EventDropped, edge.EventBuried, edge.EventRetry, edge.EventTypesEnd:
	}
	return true
}

// begin finishes opening: what has no end is in doubt from here on, and waits to be carried.
func (q *Queue) begin(f *os.File) error {
	q.file = f
	q.ordinary, q.holey = 2*entryOverhead, true
	if err := q.measure(); err != nil {
		return err
	}
	if err := q.keysComplete(); err != nil {
		return err
	}
	q.seq = q.headSeq + seqStep
	q.started, q.ledgerTime, q.epochNoted = q.seq, q.ledgerNoted, q.epoch
	q.early.noted = q.early.disk
	for _, id := range q.refold {
		r, err := q.fold(id)
		if err != nil {
			return err
		}
		q.parts.set(r)
		if !r.closed() {
			q.live[id] = r
		} else if r.sealed != 0 && r.passed {
			q.erasures.pass(r.sealed, id, r.last, r.UpdatedAt, time.Now()) // it may be erased already
		}
	}
	q.refold = nil
	for id, r := range q.live {
		q.album.add(r)
		q.album.age(r)
		q.parts.set(r)
		if r.Untold {
			q.untold[id] = struct{}{}
		}
		if r.Final() {
			r.Seq = q.started // see fold
			continue
		}
		if err := r.Reopen(q.draw()); err != nil {
			return err
		}
		q.account(r, 1)
	}
	for _, r := range q.live {
		q.schedule(r)
	}
	return q.mark()
}

// mark puts the first sequence of this process into the journal. Without it, what this process draws for changes in memory alone
// would be drawn anew by the next one: seq would go back before a till's eyes. What was begun with the keys is brought to its end with it.
func (q *Queue) mark() error {
	b := &batch{need: commitOverhead}
	q.mu.Lock()
	err := q.ride(b, nil)
	added := err == nil && b.add(markEntry(q.draw()), 0)
	known := added && q.finishKeys(b)
	q.mu.Unlock()
	switch {
	case err != nil:
		return err
	case q.ring.Load().aead == nil:
		return fmt.Errorf("the key of this journal was destroyed, and there is no room to put on record that another one seals: %w", syscall.ENOSPC)
	case !added:
		q.log.Error("no space is left for the queue: nothing can be stored", "path", q.options.Path)
		return nil
	case !known:
		q.log.Error("no space is left for the queue: that its keys were changed is put on record at another start", "path", q.options.Path)
	}
	if err := q.write(b); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range b.entries {
		q.note(b.entries[i].seq, b.entries[i].event)
	}
	return nil
}

func markEntry(seq uint64) entry {
	return entry{seq: seq, event: &edge.Event{Type: edge.EventMark, At: now()}}
}
