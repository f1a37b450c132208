package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"tideover"
	"tideover/hub/ledger"
	"tideover/internal/die"
)

// Limits of the committer. A call beyond them waits.
const (
	opsMax    = 4096 // waiting for the committer
	batchMax  = 4096 // in one commit
	yieldsMax = 8    // rounds in which the committer lets others add to the commit
)

// op is a change on its way through the committer.
type op struct {
	mark  string
	apply func(*bbolt.Tx, tideover.Millis) (changed bool, err error)
	err   error
	done  chan struct{}
}

// Update makes a change and returns once it is on disk; a change that changes nothing returns once everything before it is on disk.
// Errors are the step's, [ledger.ErrStoreUnknown], or [ledger.ErrStopped]. ctx bounds the wait for a place in the queue alone: once the change
// has one, it is made.
func (l *Ledger) Update(ctx context.Context, u ledger.Update) error {
	return l.do(ctx, &op{mark: u.Mark, apply: func(tx *bbolt.Tx, now tideover.Millis) (bool, error) { return l.step(tx, u, now) }})
}

// Ping returns once the committer has answered.
func (l *Ledger) Ping(ctx context.Context) error {
	o := &op{apply: func(*bbolt.Tx, tideover.Millis) (bool, error) { return false, nil }, done: make(chan struct{})}
	select {
	case l.ops <- o:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ended:
		return ledger.ErrStopped
	}
	select {
	case <-o.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ended:
		return ledger.ErrStopped
	}
}

func (l *Ledger) do(ctx context.Context, o *op) error {
	o.done = make(chan struct{})
	select {
	case l.ops <- o:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ended:
		return ledger.ErrStopped
	}
	select {
	case <-o.done:
		return o.err
	case <-l.ended:
	}
	select {
	case <-o.done: // it was the last batch's
		return o.err
	default:
		return ledger.ErrStopped
	}
}

// Run makes the changes until ctx ends; what is in the queue then is made first. An error is a commit's, whose outcome is unknown: the
// process must end.
func (l *Ledger) Run(ctx context.Context) error {
	if l.ran.Swap(true) {
		return errors.New("ledger: Run was called twice")
	}
	defer close(l.ended)
	for {
		var batch []*op
		select {
		case o := <-l.ops:
			batch = l.collect(o)
		case <-ctx.Done():
			select {
			case o := <-l.ops:
				batch = l.collect(o)
			default:
				return nil
			}
		}
		if err := l.commit(batch); err != nil {
			return fmt.Errorf("commit to the ledger (its outcome is unknown): %w", err)
		}
	}
}

// collect takes what has queued up, and lets others run until the queue does not grow any more.
func (l *Ledger) collect(first *op) []*op {
	batch := []*op{first}
	take := func() (grew bool) {
		for len(batch) < batchMax {
			select {
			case o := <-l.ops:
				batch, grew = append(batch, o), true
			default:
				return grew
			}
		}
		return false
	}
	take()
	for range yieldsMax {
		runtime.Gosched()
		if !take() {
			break
		}
	}
	return batch
}

// commit makes a batch of changes durable and then tells those who wait.
func (l *Ledger) commit(batch []*op) error {
	tx, err := l.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing, once it is committed
	now := l.Now()
	counts := l.counts.load()
	changed := false
	var marks []string
	for _, o := range batch {
		did, err := o.apply(tx, now)
		if fatal, ok := errors.AsType[*writeError](err); ok {
			l.counts.store(counts)
			return fatal
		}
		o.err = err
		changed = changed || did
		if did && o.mark != "" && !slices.Contains(marks, o.mark) {
			marks = append(marks, o.mark)
		}
	}
	if changed {
		if err := tx.Bucket(bucketMeta).Put(metaClock, encode(metaClock, now)); err != nil {
			return err
		}
		for _, m := range marks {
			die.At(m + ".before")
		}
		if err := l.durable.commit(tx, func() { l.counts.commits.Add(1) }); err != nil {
			return err
		}
		for _, m := range marks {
			die.At(m + ".after")
		}
	}
	for _, o := range batch {
		close(o.done)
	}
	return nil
}

// writeError is a failed write within a commit: the whole commit is given up.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// step runs one update within a commit.
func (l *Ledger) step(tx *bbolt.Tx, u ledger.Update, now tideover.Millis) (changed bool, err error) {
	key := storeKey(u.Store)
	rawStore := tx.Bucket(bucketStores).Get(key)
	if rawStore == nil {
		return false, fmt.Errorf("%q: %w", u.Store, ledger.ErrStoreUnknown)
	}
	v := &ledger.View{Now: now, History: l.history, Rows: make([]ledger.Row, len(u.IDs))}
	if err := decode(key, rawStore, &v.Store); err != nil {
		return false, &writeError{err}
	}
	before := make([]before, len(u.IDs))
	rows := tx.Bucket(bucketRows)
	for i, id := range u.IDs {
		k := rowKey(u.Store, id)
		before[i].key = k
		if raw := rows.Get(k); raw != nil {
			if err := decode(k, raw, &v.Rows[i]); err != nil {
				return false, &writeError{err}
			}
			before[i].raw, before[i].row = raw, v.Rows[i]
		} else {
			v.Rows[i] = ledger.Row{ID: id}
		}
	}
	if err := u.Step(v); err != nil {
		return false, err
	}
	for i := range v.Rows {
		did, err := l.writeRow(tx, before[i], &v.Rows[i])
		if err != nil {
			return false, &writeError{err}
		}
		changed = changed || did
	}
	if raw := encode(key, v.Store); !bytes.Equal(raw, rawStore) {
		if err := tx.Bucket(bucketStores).Put(key, raw); err != nil {
			return false, &writeError{err}
		}
		changed = true
	}
	return changed, nil
}

// before is a row as it was when its step began.
type before struct {
	key []byte
	raw []byte // nil: there was none
	row ledger.Row
}

// writeRow writes a row that differs, and keeps the other buckets in step with it.
func (l *Ledger) writeRow(tx *bbolt.Tx, b before, r *ledger.Row) (changed bool, err error) {
	if r.State == tideover.RowNone {
		return false, nil
	}
	if k := rowKey(r.Store, r.ID); !bytes.Equal(k, b.key) {
		panic(fmt.Sprintf("ledger: a step has turned the row of %x into that of %x", b.key, k))
	}
	if err := l.hide(tx, b.key, r); err != nil {
		return false, err
	}
	raw := encode(b.key, r)
	if bytes.Equal(raw, b.raw) {
		return false, nil
	}
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	do(tx.Bucket(bucketRows).Put(b.key, raw))
	outbox, open := tx.Bucket(bucketOutbox), tx.Bucket(bucketOpen)
	inBefore, inNow := b.row.Owed(), r.Owed()
	if inBefore && (!inNow || b.row.HubSeq != r.HubSeq) {
		do(outbox.Delete(outboxKey(r.Store, b.row.HubSeq)))
		l.counts.outbox.Add(-1)
	}
	if inNow && (!inBefore || b.row.HubSeq != r.HubSeq) {
		do(outbox.Put(outboxKey(r.Store, r.HubSeq), r.ID[:]))
		l.counts.outbox.Add(1)
	}
	switch was, is := b.row.State.Open(), r.State.Open(); {
	case was && !is:
		do(open.Delete(b.key))
		l.counts.open.Add(-1)
	case !was && is:
		do(open.Put(b.key, nil))
		l.counts.open.Add(1)
	}
	if b.raw == nil {
		_, err := tx.Bucket(bucketRows).NextSequence() // counts the rows
		do(err)
		do(book(tx, nil, r))
	} else {
		do(book(tx, &b.row, r))
	}
	switch was, is := b.row.State == tideover.RowManual, r.State == tideover.RowManual; {
	case was && !is:
		do(tx.Bucket(bucketManual).Delete(b.key))
		l.counts.manual.Add(-1)
	case !was && is:
		do(tx.Bucket(bucketManual).Put(b.key, nil))
		l.counts.manual.Add(1)
	}
	return true, errors.Join(errs...)
}

// hide moves what must be sealed out of the row; once the edge has the end, it is dropped for good.
func (l *Ledger) hide(tx *bbolt.Tx, key []byte, r *ledger.Row) error {
	sealed := tx.Bucket(bucketSealed)
	h := hidden{Instrument: r.Request.Request.Instrument, Payload: r.Request.Request.Payload}
	r.Request.Request.Instrument, r.Request.Request.Payload = "", nil
	if r.Acked {
		return sealed.Delete(key)
	}
	if h.Instrument == "" && h.Payload == nil {
		return nil
	}
	return sealed.Put(key, l.vault.seal(must(encoder.Marshal(h)), key))
}
