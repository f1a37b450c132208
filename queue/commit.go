package queue

import (
	"context"
	"errors"
	"time"

	"tideover"
	"tideover/edge"
)

const (
	// batchMax bounds how many requests one commit holds; more wait for the next one.
	batchMax = 4096
	// lazyCountMax is how many lazily written events wait at most before they get a commit of their own.
	lazyCountMax = 1024
	// lazyDropMax is how many may wait where no room is left on the disk; beyond it what only informs (delivered) is dropped.
	lazyDropMax = 1 << 16
	// seqForce is how many sequences may be drawn without a commit; half of seqStep, so that the commit has time.
	seqForce = seqStep / 2
)

// Run commits what is submitted until ctx ends. What waits then is still committed and answered; later calls that would write get
// [ErrStopped], and lazily written events wait for [Queue.Close]. It returns nil, or a [*CommitError] after which nothing may be
// answered and the process must end. It is called once.
func (q *Queue) Run(ctx context.Context) error {
	defer q.end()
	for {
		last := !q.await(ctx)
		q.gather(ctx)
		if err := q.turn(last); err != nil {
			q.fail()
			return &CommitError{err}
		}
		if last {
			return nil
		}
	}
}

// await sleeps until there is something to commit; false says that ctx has ended.
func (q *Queue) await(ctx context.Context) bool {
	for {
		wait := q.due()
		if ctx.Err() != nil {
			return false
		}
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-q.submitted:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// due returns how long the committer may sleep; 0 is not at all.
func (q *Queue) due() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	switch {
	case len(q.requests) > 0 || len(q.again) > 0 || q.exchanging != nil:
		return 0
	case now.Before(q.lazyRetry):
		return q.lazyRetry.Sub(now)
	case len(q.lazy) >= lazyCountMax || q.seq-max(q.headSeq, q.started) >= seqForce:
		return 0
	}
	wait := restIdle
	if !q.lazySince.IsZero() {
		wait = max(0, q.options.LazyMax-now.Sub(q.lazySince))
	}
	if erase, some := q.erasures.next(now, q.options.LazyMax); some && q.holds == 0 {
		wait = min(wait, erase)
	}
	if prune, some := q.pruneDue(now); some {
		wait = min(wait, prune)
	}
	return wait
}

// submit hands a request to the committer and waits for its answer. If ctx ends first the change may still be made.
func (q *Queue) submit(r *request) error {
	r.answer = make(chan struct{})
	q.mu.Lock()
	if q.stopped != nil || q.draining {
		q.mu.Unlock()
		return ErrStopped
	}
	q.requests = append(q.requests, r)
	enough := len(q.requests) >= q.wanted
	q.mu.Unlock()
	if enough {
		q.poke()
	}
	select {
	case <-r.answer:
		return r.err
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-q.over:
	}
	select {
	case <-r.answer:
		return r.err
	default:
		return ErrStopped
	}
}

func (q *Queue) poke() {
	select {
	case q.submitted <- struct{}{}:
	default:
	}
}

// enqueue lets an event wait for a commit to ride on. Callers hold mu.
func (q *Queue) enqueue(e entry, wants bool) {
	q.lazy = append(q.lazy, e)
	if wants && q.lazySince.IsZero() {
		q.lazySince = time.Now()
		q.poke()
	} else if len(q.lazy) == lazyCountMax {
		q.poke()
	}
}

// turn makes one commit of what waits. last says that no more requests are taken after it.
func (q *Queue) turn(last bool) error {
	for {
		b, again, err := q.collect(last)
		if err != nil {
			return err
		}
		if !last {
			q.launch(b)
		}
		if len(b.entries)+len(b.erased) > 0 {
			if err := q.write(b); err != nil {
				return err
			}
		}
		q.land(b, again)
		if err := q.growAhead(); err != nil {
			return err
		}
		if err := q.exchange(); err != nil {
			return err
		}
		q.mu.Lock()
		more := last && len(q.requests) > 0
		q.mu.Unlock()
		if !more {
			return nil
		}
	}
}

// collect makes a batch of the events that wait and of the requests that may be granted, in the order in which they came.
func (q *Queue) collect(last bool) (*batch, []Position, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped != nil {
		return nil, nil, q.stopped
	}
	q.draining, q.shown = q.draining || last, q.seq
	q.album.fade(time.Now(), q.live)
	take := min(len(q.requests), batchMax)
	requests := append([]*request(nil), q.requests[:take]...)
	q.requests = append([]*request(nil), q.requests[take:]...)
	again := q.again
	q.again = nil
	b := &batch{accepted: make(map[tideover.ID]*record), open: counts{amount: make(map[string]int64)}, need: commitOverhead}
	if err := q.ride(b, requests); err != nil {
		return nil, nil, err
	}
	for _, r := range requests {
		r.err = r.ctx.Err()
		if r.err == nil {
			r.err = r.prepare(b)
		}
		switch {
		case r.err == nil:
			b.classes[r.class] = true
			b.landing = append(b.landing, r)
		case errors.Is(r.err, errLater):
			q.requests = append(q.requests, r)
			q.poke()
		default:
			close(r.answer)
		}
	}
	for _, id := range b.flying {
		q.flying[id] = struct{}{}
	}
	if q.seq-max(q.headSeq, q.started) >= seqForce && len(b.entries) == 0 {
		b.add(markEntry(q.draw()), 0)
	}
	q.erase(b)
	q.prune(b)
	q.committing = true
	return b, again, nil
}

// ride puts the lazily written events first into a batch, and finds out how much room there is. Their sequences were drawn when they
// happened, so that nothing can be written before them: where not all of them fit, the batch has room for the oldest of them alone.
// Callers hold mu.
func (q *Queue) ride(b *batch, requests []*request) error {
	b.lastRow, b.owed = q.lastRow, q.owed()
	own, others := int64(commitOverhead), reserve+b.owed
	for i := range q.lazy {
		own += q.lazy[i].bytes()
	}
	for _, r := range requests {
		if others += r.size; r.class == classAccept {
			others += endRoom // it is owed from then on
		}
	}
	var err error
	if b.room, err = q.makeRoom(own, others, q.inRow(requests, own+others, reserve+b.owed)); err != nil {
		return err
	}
	b.space = b.room
	ridden := 0
	for ridden < len(q.lazy) && b.add(q.lazy[ridden], 0) {
		ridden++
	}
	if ridden < len(q.lazy) || own > b.room.all() {
		b.room, b.full = room{}, true
		if ridden == 0 {
			q.lazyRetry = time.Now().Add(fullRetry)
		}
		q.lazy = append([]entry(nil), q.lazy[ridden:]...)
		return nil
	}
	q.lazy, q.lazySince, q.lazyRetry = nil, time.Time{}, time.Time{}
	return nil
}

// write is the commit. Any error means that its outcome is unknown.
func (q *Queue) write(b *batch) error {
	began := time.Now()
	tx, err := q.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	journal, parts := tx.Bucket(bucketJournal), tx.Bucket(bucketSealed)
	journal.FillPercent, parts.FillPercent = 1, 1 // keys only grow
	hash := q.headHash                            // only the committer writes it
	last := q.headSeq
	if b.pruning != nil {
		if err := q.cutOut(tx, b.pruning); err != nil {
			return err
		}
	}
	for i := range b.entries {
		e := &b.entries[i]
		if e.seq <= last {
			panic("queue: sequences out of order") // before it reaches the disk
		}
		last = e.seq
		raw := encodeEvent(e.event)
		hash = chain(hash, e.seq, raw)
		if err := journal.Put(seqKey(e.seq), encodeValue(raw, hash)); err != nil {
			return err
		}
		if len(e.sealed) > 0 {
			if err := parts.Put(seqKey(e.seq), e.sealed); err != nil {
				return err
			}
		}
	}
	for _, seq := range b.erased {
		if err := parts.Delete(seqKey(seq)); err != nil {
			return err
		}
	}
	// Where the journal ends stands apart from the journal: a page that is older than the rest does not go unseen at the next open.
	if err := journal.SetSequence(last); err != nil {
		return err
	}
	if b.turn != [32]byte{} {
		if err := turnHead(tx, b.turn); err != nil {
			return err
		}
	}
	b.die(".before")
	q.dieEarly(b)
	if err := tx.Commit(); err != nil {
		return err
	}
	b.die(".after")
	q.crowd.took = time.Since(began)
	q.mu.Lock()
	q.headSeq, q.headHash = last, hash
	if b.classes[classAccept] {
		q.sold = began
	}
	if b.large {
		q.large = largeSome
	}
	q.commits++
	q.syncs += 2
	q.mu.Unlock()
	return q.measure()
}

// land shows in memory what is on disk now, and answers.
func (q *Queue) land(b *batch, durable []Position) {
	q.mu.Lock()
	for i := range b.entries {
		e := &b.entries[i]
		if !q.note(e.seq, e.event) {
			continue
		}
		q.index[e.event.ID] = e.seq
		if e.event.Type == edge.EventEnded && e.event.HubSeq != 0 {
			durable = append(durable, Position{e.event.ID, e.event.HubSeq})
		}
		if r := q.live[e.event.ID]; r != nil && e.lazy {
			if r.unwritten--; r.unwritten == 0 {
				r.fresh, r.ending = nil, nil
			}
			q.release(r)
		}
	}
	for _, r := range b.landing {
		if r.land != nil {
			r.land()
		}
	}
	for _, id := range b.flying {
		delete(q.flying, id)
		delete(q.launched, id)
	}
	if b.pruning != nil {
		q.pruned(b.pruning)
	}
	q.committing = false
	q.landed.Broadcast()
	q.crowd.answers(time.Now(), len(b.landing), len(q.requests))
	q.mu.Unlock()
	for _, r := range b.landing {
		close(r.answer)
	}
	if len(durable) > 0 && q.options.Durable != nil {
		q.options.Durable(durable)
	}
}

// fail makes every call end without an answer.
func (q *Queue) fail() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = ErrStopped
	q.landed.Broadcast()
}

// end lets everybody go who waits for the committer.
func (q *Queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.draining, q.ended = true, true
	close(q.over)
	for id, w := range q.watch {
		close(w)
		delete(q.watch, id)
	}
}

// Flush commits what waits. Errors: ErrStopped, or ctx's.
func (q *Queue) Flush(ctx context.Context) error {
	return q.submit(&request{ctx: ctx, prepare: func(b *batch) error {
		if b.full {
			return storageFull()
		}
		return nil
	}})
}

// Close writes what still waits for a commit and closes the file. It is called after Run has ended; every later call gets
// [ErrStopped].
func (q *Queue) Close() error {
	q.mu.Lock()
	failed := q.stopped != nil
	q.clearEarly()
	q.mu.Unlock()
	var err error
	if !failed {
		if err = q.turn(true); err != nil {
			err = &CommitError{err}
		}
	}
	q.fail()
	return errors.Join(err, q.db.Close())
}
