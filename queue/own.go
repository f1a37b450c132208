package queue

import (
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"tideover"
	"tideover/edge"
)

func now() tideover.Millis { return tideover.MillisOf(time.Now()) }

// own submits a change of one transaction that is synced before the call returns. look runs in the committer under mu: it returns the
// event to write, nil to write nothing, or the call's error.
func (q *Queue) own(ctx context.Context, id tideover.ID, look func(*record) (*edge.Event, error)) (tideover.Transaction, error) {
	return q.ownOrFirst(ctx, id, func(_ *batch, r *record) (*edge.Event, error) { return look(r) }, nil)
}

// ownOrFirst is own, but for one thing: where the journal does not have the transaction, first returns the event that it begins with.
func (q *Queue) ownOrFirst(
	ctx context.Context, id tideover.ID, look func(*batch, *record) (*edge.Event, error), first func() *edge.Event,
) (tideover.Transaction, error) {
	var answer tideover.Transaction // the committer's, also after ctx has ended
	var r *record
	var add entry
	call := &request{ctx: ctx, class: classOwn, size: entryOverhead}
	call.prepare = func(b *batch) error {
		if slices.Contains(b.flying, id) {
			return errLater
		}
		var err error
		if r, err = q.find(id); err != nil {
			return err
		}
		var e *edge.Event
		var keep int64 // for what is open: a bar may be refused as its press may
		switch {
		case r != nil:
			e, err = look(b, r)
		case first != nil:
			r, e, keep = &record{}, first(), reserve/2
		default:
			err = ErrUnknown
		}
		if errors.Is(err, errLater) {
			return err
		}
		if err != nil || e == nil {
			call.class = classFlush
			if r != nil {
				answer = r.Transaction
			}
			return err
		}
		e.ID, e.Prev, e.At = id, r.last, now()
		add = entry{seq: q.seq + 1, event: e}
		if !b.add(add, keep) {
			return storageFull()
		}
		q.draw()
		b.flying = append(b.flying, id)
		return nil
	}
	call.land = func() {
		if add.event == nil {
			return
		}
		q.live[id] = r
		q.apply(r, add.seq, add.event)
		q.recall(r, add.event)
		answer = r.Transaction
		q.release(r)
	}
	if err := q.submit(call); err != nil {
		return tideover.Transaction{}, err
	}
	return answer, nil
}

// EndHere gives a transaction the edge's own end: CauseExpired, CauseCancelled, or CauseMoot for a reversal. It is synced when EndHere
// returns, and nobody sees it before. It fails with edge.ErrMaySent unless the transaction is queued and no byte of it can have left;
// from then on [Queue.Move] lets none leave. The end is a tombstone until [Queue.TombstoneTold]. Other errors: ErrUnknown, storage_full,
// ErrStopped, ctx's.
func (q *Queue) EndHere(ctx context.Context, id tideover.ID, cause tideover.Cause, o tideover.Outcome) error {
	_, err := q.own(ctx, id, func(r *record) (*edge.Event, error) { return r.EndHere(cause, o) })
	return err
}

// Cancel ends a transaction here, or puts its cancel on disk, as [edge.Record.Cancel] decides; it is synced when Cancel returns. past is
// asked at the moment of the decision, under the queue's lock; now is ledger time, 0 where it is not known. Errors: ErrUnknown, a
// refusal, ErrStopped, ctx's.
func (q *Queue) Cancel(
	ctx context.Context, id tideover.ID, past func() edge.Past, by edge.By, now tideover.Millis,
) (tideover.Transaction, error) {
	return q.ownOrFirst(ctx, id, q.canceller(past, by, now), nil)
}

// CancelFor is Cancel on behalf of a reversal of the transaction. It changes nothing where that has its end by then.
func (q *Queue) CancelFor(
	ctx context.Context, id, reversal tideover.ID, past func() edge.Past, by edge.By, now tideover.Millis,
) (tideover.Transaction, error) {
	return q.ownOrFirst(ctx, id, func(b *batch, r *record) (*edge.Event, error) {
		if slices.Contains(b.flying, reversal) {
			return nil, errLater
		}
		if on := q.live[reversal]; on == nil || on.Final() {
			return nil, nil
		}
		return r.Cancel(past(), by, now)
	}, nil)
}

// canceller looks at a record that is to be cancelled. A reversal of which the original is cancelled on its behalf, or undone, has begun.
func (q *Queue) canceller(past func() edge.Past, by edge.By, now tideover.Millis) func(*batch, *record) (*edge.Event, error) {
	return func(b *batch, r *record) (*edge.Event, error) {
		if begun, err := q.begun(b, r); err != nil {
			return nil, err
		} else if begun {
			return nil, edge.CannotCancel()
		}
		return r.Cancel(past(), by, now)
	}
}

// begun is [edge.Record.Begun]; errLater where the batch changes the original. Callers hold mu.
func (q *Queue) begun(b *batch, r *record) (bool, error) {
	if r.Kind != tideover.KindReversal {
		return false, nil
	}
	if slices.Contains(b.flying, r.Original) {
		return false, errLater
	}
	original, err := q.find(r.Original)
	if err != nil || original == nil {
		return false, err
	}
	return r.Begun(&original.Record), nil
}

// Bar is Cancel for a key of which the journal may have nothing: then it is barred, so that a press of it that comes later finds it
// cancelled. The draft names id, terminal and key alone.
func (q *Queue) Bar(
	ctx context.Context, d edge.Draft, past func() edge.Past, by edge.By, now tideover.Millis,
) (tideover.Transaction, error) {
	return q.ownOrFirst(ctx, d.ID, q.canceller(past, by, now), func() *edge.Event {
		e := edge.Bar(&d, past(), by, now)
		return &e
	})
}

// Hold keeps a transaction back; it is synced when Hold returns. Errors: ErrUnknown, a refusal, ErrStopped, ctx's.
func (q *Queue) Hold(ctx context.Context, id tideover.ID, by edge.By) (tideover.Transaction, error) {
	return q.own(ctx, id, func(r *record) (*edge.Event, error) { return r.Hold(by) })
}

// Release lets a transaction go that is held or manual; it is synced when Release returns. Errors as of Hold.
func (q *Queue) Release(ctx context.Context, id tideover.ID, by edge.By) (tideover.Transaction, error) {
	return q.own(ctx, id, func(r *record) (*edge.Event, error) { return r.Release(by) })
}

// Drop ends what never left, or clears an end that no till has acknowledged; it is synced when Drop returns. Errors as of Hold.
func (q *Queue) Drop(
	ctx context.Context, id tideover.ID, past func() edge.Past, by edge.By, now tideover.Millis,
) (tideover.Transaction, error) {
	return q.ownOrFirst(ctx, id, func(b *batch, r *record) (*edge.Event, error) {
		if begun, err := q.begun(b, r); err != nil {
			return nil, err
		} else if begun {
			return nil, edge.CannotDrop(r.State)
		}
		return r.Drop(past(), by, now)
	}, nil)
}

// Settle puts a person's word on a manual transaction on record; it is synced when Settle returns, and the end follows once the ledger
// has taken it. Errors as of Hold.
func (q *Queue) Settle(ctx context.Context, id tideover.ID, as tideover.State, by edge.By) (tideover.Transaction, error) {
	return q.own(ctx, id, func(r *record) (*edge.Event, error) { return r.SettleAs(as, by) })
}

// Retry hands an open transaction out again now, if it rests, and notes who wanted it; that is synced when Retry returns. Errors as of
// Hold.
func (q *Queue) Retry(ctx context.Context, id tideover.ID, by edge.By) (tideover.Transaction, error) {
	return q.own(ctx, id, func(r *record) (*edge.Event, error) { return r.Retry(by) })
}

// TombstoneTold tells that the hub knows of the edge's own end. It is written lazily: told twice does no harm.
func (q *Queue) TombstoneTold(id tideover.ID) {
	q.lazily(id, func(r *record) (edge.Event, bool) { return edge.Event{Type: edge.EventBuried}, r.Untold })
}

// Delivered tells that an answer with the end that came at or before seq was written to the till. It is written lazily.
func (q *Queue) Delivered(id tideover.ID, seq uint64) {
	q.lazily(id, func(r *record) (edge.Event, bool) {
		wanted := r.Final() && !r.Delivered && r.EndSeq <= seq && len(q.lazy) < lazyDropMax
		return edge.Event{Type: edge.EventDelivered}, wanted
	})
}

// lazily lets an event of a transaction happen if look wants it.
func (q *Queue) lazily(id tideover.ID, look func(*record) (edge.Event, bool)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.calm(id) != nil {
		return
	}
	r, err := q.find(id)
	if err != nil || r == nil {
		return
	}
	if e, wanted := look(r); wanted {
		q.later(r, e, nil)
	}
}

// Acknowledge tells that the till has printed or shown the end that it was told with seq. It is synced when Acknowledge returns; the
// same again changes nothing. A seq from before the present end, and any while there is none, is refused with outcome_changed; one
// that no till was told yet with invalid_request. Other errors: ErrUnknown, storage_full, ErrStopped, ctx's.
func (q *Queue) Acknowledge(ctx context.Context, id tideover.ID, seq uint64) (tideover.Transaction, error) {
	return q.own(ctx, id, func(r *record) (*edge.Event, error) { return r.Acknowledge(seq) })
}

// PutTerminal stores a terminal as it is now. It is synced when PutTerminal returns. Errors: storage_full, ErrStopped, ctx's.
func (q *Queue) PutTerminal(ctx context.Context, t tideover.Terminal) error {
	return q.SetTerminals(ctx, []tideover.Terminal{t})
}

// SetTerminals stores each of the terminals as it is now, in one commit; others stay as they are. Errors as of PutTerminal.
func (q *Queue) SetTerminals(ctx context.Context, all []tideover.Terminal) error {
	return q.submit(&request{ctx: ctx, class: classOwn, size: int64(len(all)) * entryOverhead, prepare: func(b *batch) error {
		var size int64
		var changed []tideover.Terminal
		for _, t := range all {
			if known, ok := q.terminals[t.UID]; !ok || known != t {
				changed = append(changed, t)
				size += entryOverhead
			}
		}
		if !b.holds(size, func() int64 { return 0 }, 0) {
			return storageFull()
		}
		for _, t := range changed {
			b.add(entry{seq: q.draw(), event: &edge.Event{Type: edge.EventTerminal, At: now(), Terminal: &t}}, 0)
		}
		return nil
	}})
}

// Terminals returns every terminal, revoked ones included, in the order of their uids.
func (q *Queue) Terminals() []tideover.Terminal {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]tideover.Terminal, 0, len(q.terminals))
	for _, t := range q.terminals {
		all = append(all, t)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].UID < all[j].UID })
	return all
}
