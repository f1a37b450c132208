package queue

import (
	"context"
	"slices"
	"strings"
	"time"

	"tideover"
)

func now() tideover.Millis { return tideover.MillisOf(time.Now()) }

// own submits a change of one transaction that is synced before the call returns. look runs in the committer under mu: it returns the
// event to write, nil to write nothing, or the call's error.
func (q *Queue) own(ctx context.Context, id tideover.ID, look func(*record) (*event, error)) (answer tideover.Transaction, err error) {
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
		if r == nil {
			return ErrUnknown
		}
		e, err := look(r)
		if err != nil || e == nil {
			answer, call.class = r.Transaction, classFlush
			return err
		}
		e.ID, e.Prev, e.At = id, r.last, now()
		add = entry{seq: q.seq + 1, event: e}
		if !b.add(add, 0) {
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
		answer = r.Transaction
		q.release(r)
	}
	if err := q.submit(call); err != nil {
		return tideover.Transaction{}, err
	}
	return answer, nil
}

// EndHere gives a transaction the edge's own end: CauseExpired or CauseCancelled. It is synced when EndHere returns, and nobody sees it
// before. It fails with ErrMaySent unless the transaction is queued and no byte of it can have left; from then on [Queue.Move] lets
// none leave. The end is a tombstone until [Queue.TombstoneTold]. Other errors: ErrUnknown, storage_full, ErrStopped, ctx's.
func (q *Queue) EndHere(ctx context.Context, id tideover.ID, cause tideover.Cause, o tideover.Outcome) error {
	_, err := q.own(ctx, id, func(r *record) (*event, error) {
		next, err := tideover.Next(r.State, cause)
		if (cause != tideover.CauseExpired && cause != tideover.CauseCancelled) || err != nil || !r.neverSent() {
			return nil, ErrMaySent
		}
		o.Result = next
		return &event{Type: eventEndedHere, From: r.State, Cause: cause, Outcome: &o}, nil
	})
	return err
}

// TombstoneTold tells that the hub knows of the edge's own end. It is written lazily: told twice does no harm.
func (q *Queue) TombstoneTold(id tideover.ID) {
	q.lazily(id, func(r *record) (event, bool) { return event{Type: eventBuried}, r.untold })
}

// Delivered tells that an answer with the end that came at or before seq was written to the till. It is written lazily.
func (q *Queue) Delivered(id tideover.ID, seq uint64) {
	q.lazily(id, func(r *record) (event, bool) {
		wanted := r.Final() && !r.Delivered && r.EndSeq <= seq && len(q.lazy) < lazyDropMax
		return event{Type: eventDelivered}, wanted
	})
}

// lazily lets an event of a transaction happen if look wants it.
func (q *Queue) lazily(id tideover.ID, look func(*record) (event, bool)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.settle(id) != nil {
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
	return q.own(ctx, id, func(r *record) (*event, error) {
		switch {
		case seq > r.Seq:
			return nil, tideover.Refuse(tideover.CodeInvalidRequest,
				"seq %d is beyond the transaction's, %d; acknowledge the seq that came with its end",
				"seq %d 超过了该交易的 seq（%d）；请确认随结果返回的 seq", seq, r.Seq)
		case !r.Final():
			return nil, tideover.Refuse(tideover.CodeOutcomeChanged,
				"the transaction has no end at present (it is %[1]s); ask for it again, and acknowledge its end when it has one",
				"该交易目前没有最终结果（状态 %[1]s）；请再次查询，待有结果后再确认", r.State)
		case seq < r.EndSeq:
			return nil, tideover.Refuse(tideover.CodeOutcomeChanged,
				"the end has changed since seq %d; show the present one, %s, and acknowledge seq %d",
				"自 seq %d 之后结果已变更；请显示当前结果（%s）并确认 seq %d", seq, r.State, r.Seq)
		case r.Acknowledged:
			return nil, nil
		}
		return &event{Type: eventAcknowledged}, nil
	})
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
		if b.need+size > b.room {
			return storageFull()
		}
		for _, t := range changed {
			b.add(entry{seq: q.draw(), event: &event{Type: eventTerminal, At: now(), Terminal: &t}}, 0)
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
	slices.SortFunc(all, func(a, b tideover.Terminal) int { return strings.Compare(a.UID, b.UID) })
	return all
}
