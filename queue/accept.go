package queue

import (
	"context"
	"iter"
	"slices"

	"tideover"
	"tideover/edge"
)

// View is what a decision about an accept sees: everything accepted before it, also in the same commit.
type View struct {
	queue *Queue
	batch *batch
	found *edge.Judged
}

// Keep has the journal keep what the rules found, with the acceptance.
func (v View) Keep(found edge.Judged) { *v.found = found }

// Get returns a transaction, and false where the journal has none of that id or cannot be read.
func (v View) Get(id tideover.ID) (tideover.Transaction, bool) {
	if r := v.batch.accepted[id]; r != nil {
		return r.Transaction, true
	}
	r, err := v.queue.find(id)
	if err != nil || r == nil {
		return tideover.Transaction{}, false
	}
	return r.Transaction, true
}

// Pruned says whether transactions have left the journal since they were over.
func (v View) Pruned() bool { return v.queue.sweeper.pruned != 0 }

// Open returns how many transactions are accepted and not final, and the sum of their amounts in minor units by currency.
func (v View) Open() (count int, amount map[string]int64) {
	amount = make(map[string]int64)
	for _, c := range []counts{v.queue.counted, v.batch.open} {
		count += c.open
		for currency, sum := range c.amount {
			amount[currency] += sum
		}
	}
	return count, amount
}

// Undone returns what refunds and reversals take of a transaction, of everything that the journal knows.
func (v View) Undone(original tideover.ID) Undone { return v.queue.parts.undone(original) }

// Alike iterates over what has a draft's kind, amount and currency, and its instrument or its order, or its terminal where it has neither:
// what is open, or charged and not acknowledged, and what was closed within the time of [Queue.Remember]; where it has neither, what was
// accepted within that time. Each comes once, in no order.
func (v View) Alike(d *edge.Draft) iter.Seq[edge.Record] {
	like := v.queue.album.like(likeness{
		kind: d.Request.Kind, amount: d.Request.Amount, currency: d.Request.Currency, instrument: d.InstrumentHash, order: d.Request.Order,
		terminal: d.TerminalUID,
	}, d.ID)
	return func(yield func(edge.Record) bool) {
		like(func(other *record) bool { return yield(other.Record) })
	}
}

// Live iterates over the transactions that are open, or final and not acknowledged, in no order.
func (v View) Live() iter.Seq[tideover.Transaction] {
	return func(yield func(tideover.Transaction) bool) {
		for _, all := range []map[tideover.ID]*record{v.queue.live, v.batch.accepted} {
			for _, r := range all {
				if !yield(r.Transaction) {
					return
				}
			}
		}
	}
}

// Accept makes a request durable, and returns it as a transaction once it is synced. A known id with the same hash is answered with
// its transaction as it is, Replayed set, without asking decide and without writing; so is a key that was barred. With another hash it is
// refused with key_reused.
// decide is pure; it runs in the committer in the order of the commits, and its error is returned: nothing is written then.
// Other errors: storage_full as a [*tideover.Refusal]; ErrStopped, after which nothing may be answered; ctx's, after which the
// request may have been taken.
func (q *Queue) Accept(ctx context.Context, d edge.Draft, decide func(View) error) (tideover.Transaction, error) {
	q.mu.Lock()
	r, err := q.find(d.ID)
	// What was adopted a moment ago, and is on no disk yet, is answered after the commit that takes it there.
	if err != nil || r != nil && q.index[d.ID] != 0 {
		defer q.mu.Unlock()
		if err != nil {
			return tideover.Transaction{}, err
		}
		return replayed(r, d.Hash)
	}
	q.mu.Unlock()

	var answer tideover.Transaction
	ring := q.ring.Load()
	sealed := ring.seal(d.ID, d.Request)
	e := edge.Accept(&d)
	e.At, e.Digest = now(), digest(sealed)
	var mine *record
	var refused error // by what rides the same commit: it is said after that, when it is certain
	call := &request{ctx: ctx, class: classAccept, size: (&entry{event: &e, sealed: sealed}).bytes()}
	call.prepare = func(b *batch) error {
		known := b.accepted[d.ID]
		if known == nil && slices.Contains(b.flying, d.ID) {
			return errLater // its key is being barred
		}
		if known == nil {
			var err error
			if known, err = q.find(d.ID); err != nil {
				return err
			}
		}
		if known != nil && b.full && q.index[d.ID] == 0 && b.accepted[d.ID] == nil {
			return storageFull() // its record finds no room
		}
		if known != nil {
			call.class = classFlush // it adds nothing to the commit, and is answered after it
			answer, refused = replayed(known, d.Hash)
			return nil
		}
		var found edge.Judged
		if refused = decide(View{q, b, &found}); refused != nil {
			call.class = classFlush
			return nil
		}
		e.Judge(found)
		if now := q.ring.Load(); now.now() != ring.now() { // another key seals from here on
			sealed = now.seal(d.ID, d.Request)
			e.Digest = digest(sealed)
		}
		add := entry{seq: q.seq + 1, event: &e, sealed: sealed}
		q.ordinary = min(q.ordinary, call.size)
		if !b.add(add, reserve) {
			return storageFull()
		}
		q.draw()
		mine = &record{}
		if err := mine.apply(add.seq, &e, true); err != nil {
			panic("queue: " + err.Error())
		}
		mine.fresh = &d.Request
		b.accepted[d.ID] = mine
		b.flying = append(b.flying, d.ID)
		b.open.open++
		b.open.amount[mine.Currency] += mine.Amount
		q.album.add(mine) // for the next decisions of this batch; a commit that fails ends the process
		q.parts.set(mine)
		return nil
	}
	call.land = func() {
		if mine != nil {
			mine.fresh = nil // it is read from the disk from now on
			q.live[mine.ID] = mine
			q.album.age(mine)
			q.account(mine, 1)
			q.changed(mine)
			answer = mine.Transaction // it may have left meanwhile
		}
	}
	if err := q.submit(call); err != nil {
		return tideover.Transaction{}, err
	}
	return answer, refused
}

// replayed answers a press of a key that is known. A key that was barred has no request to compare with: the press is answered with its end.
func replayed(r *record, hash [32]byte) (tideover.Transaction, error) {
	if r.Hash != hash && !r.Barred() {
		return tideover.Transaction{}, tideover.Refuse(tideover.CodeKeyReused,
			"this key was used for another request (transaction %s, %s %s); a new request needs a new key",
			"该键已用于另一笔请求（交易 %s，%s %s）；新的请求请使用新的键",
			r.ID, r.Kind, tideover.Money(r.Amount, r.Currency))
	}
	t := r.Transaction
	t.Replayed = true
	return t, nil
}
