package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover"
	"tideover/edge"
)

// Which key seals stands in the journal: an [edge.EventKey] at sequence K says that what is sealed above K is sealed with its key, and the head
// names that key since the same commit. A sealed part is never sealed anew, since the chain holds the digest of its ciphertext. So an old
// key stays until nothing is left that it has sealed; then the journal says that it is destroyed, and after that whoever keeps the keys
// destroys it. What is on disk if the process dies in between:
//
//	the new key is in the file, and nothing in the journal: the next open goes on, and puts it on record
//	it is on record: the same as after it
//	the end of an old key is on record, and it is in the file: it opens nothing any more; its keeper takes it out at the next start
//	it is out of the file: the same as after it
//
// A journal that is put back to a copy from before finds the file of keys ahead of it, and goes through the same steps.

// ErrKeySeals says that a key cannot be destroyed, since it seals what is accepted.
var ErrKeySeals = errors.New("it is the key that seals")

// KeyUse is one key, and what of the journal it opens.
type KeyUse struct {
	Name      [32]byte        // see [KeyName]
	Since     tideover.Millis // when it began to seal; for the first one, when the journal was made. 0 where it never did in this journal
	Seals     bool            // now
	Held      bool            // it is at hand
	Sealed    int             // parts of the journal that it sealed, and that were not erased since
	Open      int             // of these, of transactions without an end
	Reports   int             // of these, of tills' reports
	Destroyed tideover.Millis // when its end was put on record; 0 where that is not so
	By        edge.By         // who wanted that
}

// Lost says that nothing of what it sealed can be read any more.
func (k *KeyUse) Lost() bool { return !k.Held || k.Destroyed != 0 }

// keysComplete says whether there is the key of everything that is sealed, but for those that were destroyed. Errors: ErrWrongKey.
func (q *Queue) keysComplete() error {
	r := q.ring.Load()
	missing := func(p span) bool {
		_, held := r.held[p.check]
		return !held && !r.lost(&p)
	}
	if !slices.ContainsFunc(r.spans, missing) {
		return nil
	}
	var wrong error
	err := q.eachSealed(context.Background(), func(seq uint64) error {
		if _, err := r.of(seq); wrong == nil && errors.Is(err, ErrWrongKey) {
			wrong = err
		}
		return nil
	})
	return cmp.Or(wrong, err)
}

// finishKeys puts on record, at an open, what is in the file of keys and not in the journal: a newer key that is to seal, and older ones
// that were destroyed. Callers hold mu.
func (q *Queue) finishKeys(b *batch) bool {
	r := q.ring.Load()
	if r.now() != r.newest && !q.turnTo(b, r.newest, 0, edge.By{Reason: "found in the file of keys at the start"}) {
		return false
	}
	for _, p := range r.spans {
		if _, held := r.held[p.check]; p.gone != nil || held || !r.noted[p.check] {
			continue
		}
		if !q.endKey(b, p.check, edge.By{Reason: "found destroyed at the start"}) {
			return false
		}
	}
	return true
}

// turnTo lets another key seal what is drawn from now on, if there is room beside keep bytes that stay free. Callers hold mu.
func (q *Queue) turnTo(b *batch, name [32]byte, keep int64, by edge.By) bool {
	add := entry{seq: q.seq + 1, event: &edge.Event{
		Type: edge.EventKey, At: now(), Key: &edge.Key{Check: name}, By: by.Who, Reason: by.Reason,
	}}
	if !b.add(add, keep) {
		return false
	}
	q.draw()
	b.keys, b.turn = true, name
	// Before the commit: what draws a sequence above it from now on is sealed with it. A commit that fails ends the process.
	q.ring.Store(q.ring.Load().follow(add.seq, add.event))
	return true
}

// endKey puts on record that a key is destroyed. Callers hold mu.
func (q *Queue) endKey(b *batch, name [32]byte, by edge.By) bool {
	add := entry{seq: q.seq + 1, event: &edge.Event{
		Type: edge.EventKey, At: now(), Key: &edge.Key{Check: name, Destroyed: true}, By: by.Who, Reason: by.Reason,
	}}
	if !b.add(add, 0) {
		return false
	}
	q.draw()
	b.keys = true
	return true
}

// turnHead has the file's first record name the key that seals.
func turnHead(tx *bbolt.Tx, name [32]byte) error {
	meta := tx.Bucket(bucketMeta)
	h, err := decodeHead(meta.Get(keyHead), schemaNow)
	if err != nil {
		return err
	}
	h.turn(name)
	return meta.Put(keyHead, h.encode())
}

// Rotate lets another key seal everything that is accepted from now on; it is on record when Rotate returns. The key must be on disk, where the
// next start finds it as the newest: what is sealed with it nothing else opens. The same key again changes nothing. Errors: storage_full,
// ErrStopped, ctx's.
func (q *Queue) Rotate(ctx context.Context, key [32]byte, by edge.By) error {
	s, err := newSealer(key)
	if err != nil {
		return err
	}
	call := &request{ctx: ctx, class: classOwn, size: entryOverhead}
	call.prepare = func(b *batch) error {
		switch {
		case b.turn != [32]byte{}:
			return errLater
		case q.ring.Load().now() == s.check:
			call.class = classFlush
			return nil
		}
		before := q.ring.Load()
		q.ring.Store(before.with(s))
		if !q.turnTo(b, s.check, reserve, by) {
			q.ring.Store(before)
			return storageFull()
		}
		return nil
	}
	return q.submit(call)
}

// EndKeys puts on record that older keys are destroyed; nothing that they sealed can be read when it returns, and their keeper destroys
// them. Those whose end is on record already change nothing. Errors: ErrKeySeals, storage_full, ErrStopped, ctx's.
func (q *Queue) EndKeys(ctx context.Context, names [][32]byte, by edge.By) error {
	call := &request{ctx: ctx, class: classOwn, size: int64(len(names)) * entryOverhead}
	call.prepare = func(b *batch) error {
		r := q.ring.Load()
		if slices.Contains(names, r.now()) {
			return ErrKeySeals
		}
		if !b.holds(call.size, func() int64 { return 0 }, 0) {
			return storageFull()
		}
		call.class = classFlush
		for _, name := range names {
			if !r.ended(name) && q.endKey(b, name, by) {
				call.class = classOwn
			}
		}
		return nil
	}
	call.land = func() {
		for _, r := range q.live { // what cannot be sent any more is looked at again
			if !r.Final() && r.fresh == nil && q.lostWith(r.body) {
				q.schedule(r)
			}
		}
	}
	return q.submit(call)
}

// ForgetKeys lets go of keys that were destroyed: this process does not hold them any longer than the disk.
func (q *Queue) ForgetKeys(names [][32]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ring.Store(q.ring.Load().without(names))
}

// SealingKey returns the name of the key that seals.
func (q *Queue) SealingKey() [32]byte { return q.ring.Load().now() }

// HeldKeys counts the keys that are at hand.
func (q *Queue) HeldKeys() int { return len(q.ring.Load().held) }

// SpentKeys returns the keys at hand that have served: those whose end is on record, and those that sealed a part of this journal of which nothing
// is left. It is quick. Errors: ErrStopped, ErrDamaged.
func (q *Queue) SpentKeys() (ended, idle [][32]byte, err error) {
	r := q.ring.Load()
	busy := make(map[[32]byte]bool)
	err = q.look(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketSealed).Cursor()
		for i := range r.spans {
			key, _ := c.Seek(seqKey(r.spans[i].after + 1))
			if key != nil && (i+1 == len(r.spans) || seqOf(key) <= r.spans[i+1].after) {
				busy[r.spans[i].check] = true
			}
		}
		return nil
	})
	for _, name := range r.present {
		switch {
		case r.ended(name):
			ended = append(ended, name)
		case name != r.now() && r.sealed(name) && !busy[name]:
			idle = append(idle, name)
		}
	}
	return ended, idle, err
}

// Keys returns every key of the journal and every one at hand, the newest first, with what each opens. It reads through what is sealed, a
// few thousand parts at a time. Errors: ErrStopped, ErrDamaged, ctx's.
func (q *Queue) Keys(ctx context.Context) ([]KeyUse, error) {
	h, err := q.storedHead()
	if err != nil {
		return nil, err
	}
	return q.keysIn(h, func(visit func(seq uint64) error) error { return q.eachSealed(ctx, visit) })
}

// KeysOfFile is [Queue.Keys] of a file that no daemon has open. Nothing is written. Errors are those of [CheckFile], and what would be a
// flaw is one, too.
func KeysOfFile(path string, keys Keys, store string) (uses []KeyUse, err error) {
	f, err := lockAs(path, os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		return nil, openError(path, err)
	}
	defer f.Close()
	ring, err := newRing(keys)
	if err != nil {
		return nil, err
	}
	if uses, err = keysOfFile(f, ring, store); err != nil {
		return nil, openError(path, err)
	}
	return uses, nil
}

func keysOfFile(f *os.File, ring *ring, store string) ([]KeyUse, error) {
	w, err := newWalker(f)
	if err != nil {
		return nil, err
	}
	l, h, err := identify(w, schemaNow)
	switch {
	case err != nil:
		return nil, err
	case h.schema > schemaNow:
		return nil, fmt.Errorf("%w: schema %d, this one knows %d", ErrNewerSchema, h.schema, schemaNow)
	}
	if err := ring.owns(h, store); err != nil {
		return nil, err
	}
	q := newQueue(Options{}, ring)
	if err := q.replay(w, l, h); err != nil {
		return nil, err
	}
	if w, err = newWalker(f); err == nil {
		l, h, err = identify(w, schemaNow)
	}
	if err != nil {
		return nil, err
	}
	var sealed []uint64
	err = w.contents(l, func(seq uint64, _ []byte, _ [hashSize]byte, part []byte) error {
		if len(part) > 0 {
			sealed = append(sealed, seq)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return q.keysIn(h, func(visit func(seq uint64) error) error {
		for _, seq := range sealed {
			if err := visit(seq); err != nil {
				return err
			}
		}
		return nil
	})
}

// keysIn makes the list, of what each hands to its visitor.
func (q *Queue) keysIn(h head, each func(visit func(seq uint64) error) error) ([]KeyUse, error) {
	r := q.ring.Load()
	uses := usesOf(r, h.Created)
	open, reports := q.sealing()
	err := each(func(seq uint64) error {
		u := uses[r.span(seq).check]
		u.Sealed++
		if open[seq] {
			u.Open++
		}
		if reports[seq] {
			u.Reports++
		}
		return nil
	})
	var all []KeyUse
	add := func(name [32]byte) {
		if !slices.ContainsFunc(all, func(u KeyUse) bool { return u.Name == name }) {
			all = append(all, *uses[name])
		}
	}
	for _, p := range slices.Backward(r.spans) {
		add(p.check)
	}
	for _, name := range r.present { // at hand, and strange to this journal
		add(name)
	}
	return all, err
}

// usesOf makes the list of keys without what they open.
func usesOf(r *ring, created tideover.Millis) map[[32]byte]*KeyUse {
	uses := make(map[[32]byte]*KeyUse)
	of := func(name [32]byte) *KeyUse {
		if uses[name] == nil {
			_, held := r.held[name]
			uses[name] = &KeyUse{Name: name, Held: held, Seals: name == r.now()}
		}
		return uses[name]
	}
	for i, p := range r.spans {
		u := of(p.check)
		if u.Since = p.since; i == 0 {
			u.Since = created
		}
		if p.gone != nil {
			u.Destroyed, u.By = p.gone.at, p.gone.by
		}
	}
	for _, name := range r.present {
		of(name)
	}
	return uses
}

// sealing returns the entries that hold the requests of what is open, and tills' reports.
func (q *Queue) sealing() (open, reports map[uint64]bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	open, reports = make(map[uint64]bool), make(map[uint64]bool)
	for _, r := range q.live {
		if !r.Final() {
			open[r.body] = true
		}
	}
	for i := range q.reports.all {
		reports[q.reports.all[i].seq] = true
	}
	return open, reports
}

// eachSealed calls visit for every entry with a sealed part, oldest first, a few thousand in one look. Errors: visit's, ErrDamaged, ErrStopped,
// ctx's.
func (q *Queue) eachSealed(ctx context.Context, visit func(seq uint64) error) error {
	for next, more := uint64(0), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := q.look(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketSealed).Cursor()
			key, _ := c.Seek(seqKey(next))
			for n := 0; key != nil && n < scanStep; n++ {
				if err := visit(seqOf(key)); err != nil {
					return err
				}
				next = seqOf(key) + 1
				key, _ = c.Next()
			}
			more = key != nil
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stepKeyDestroyed is what the history of a transaction calls the end of the key that its payload was sealed with.
const stepKeyDestroyed = "key destroyed"

// withKeyEnd puts the end of a key into the history of a transaction that was open then, and whose payload was sealed with it.
func (q *Queue) withKeyEnd(steps []Step, events []edge.Event) []Step {
	r := q.ring.Load()
	for i := range slices.Backward(steps) {
		e := &events[i]
		if e.Accepted == nil || e.Digest == [32]byte{} {
			continue
		}
		gone := r.span(steps[i].Seq).gone
		if gone == nil {
			return steps
		}
		at := i
		for at+1 < len(steps) && steps[at+1].Seq < gone.seq {
			at++
		}
		if gone.seq < steps[i].Seq || steps[at].State.Final() {
			return steps
		}
		steps = append(steps, Step{})
		copy(steps[at+2:], steps[at+1:])
		steps[at+1] = Step{
			Seq: gone.seq, At: gone.at, What: stepKeyDestroyed, By: gone.by.Who, Reason: gone.by.Reason, State: steps[at].State, Hash: steps[at].Hash,
		}
		return steps
	}
	return steps
}

// lostWith says that something was sealed with an entry, and that its key was destroyed. The entry is read only where its key was. Callers
// hold mu.
func (q *Queue) lostWith(seq uint64) bool {
	if r := q.ring.Load(); seq == 0 || !r.lost(r.span(seq)) {
		return false
	}
	e, sealed, err := q.read(seq)
	if err != nil || len(sealed) == 0 { // what cannot be read is said by whoever opens it
		return false
	}
	_, err = q.ring.Load().show(seq, e.ID, sealed)
	return errors.Is(err, ErrKeyDestroyed)
}
