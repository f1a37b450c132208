package queue

import (
	"errors"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
	"tideover/internal/die"
)

// Sealed parts stand in a bucket of their own, by the sequence of the entry that holds their digest: what is over is erased without an entry
// being written anew, and as transactions end in about the order in which they came, whole pages become free. While few are kept bbolt keeps
// the bucket within its root page, which every commit writes anyhow.

// beside goes through the sealed parts while somebody goes through the entries, both in the order of their sequences.
type beside struct {
	next func() (key, part []byte, err error) // no key: there are no more
	key  []byte
	part []byte
	err  error
	read bool // the first one was
}

// of returns the sealed part of the next entry; nothing where it has none.
func (b *beside) of(seq uint64) (part []byte, err error) {
	if !b.read {
		b.advance()
	}
	switch {
	case b.err != nil:
		return nil, b.err
	case b.key == nil || seqOf(b.key) > seq:
		return nil, nil
	case seqOf(b.key) < seq:
		return nil, errStray(seqOf(b.key))
	}
	part = b.part
	b.advance()
	return part, nil
}

func (b *beside) advance() {
	b.read = true
	b.key, b.part, b.err = b.next()
	switch {
	case b.err != nil || b.key == nil:
	case len(b.key) != len(seqKey(0)):
		b.err = errors.New("a key of the sealed parts is not a sequence")
	case len(b.part) == 0:
		b.err = fmt.Errorf("the sealed part of entry %d is empty", seqOf(b.key))
	}
}

// end says whether every sealed part was some entry's, after the last entry.
func (b *beside) end() error {
	if !b.read {
		b.advance()
	}
	if b.err == nil && b.key != nil {
		return errStray(seqOf(b.key))
	}
	return b.err
}

func errStray(seq uint64) error {
	return fmt.Errorf("a sealed part says that it is of entry %d, which does not exist", seq)
}

var errEnough = errors.New("enough") // ends a walk; no fault

// contents visits every entry of a file in order, from w.from on, with its sealed part, wherever the file's schema keeps that.
func (w *walker) contents(l layout, visit entryVisitor) error {
	type pair struct {
		key, part []byte
		err       error
	}
	next, stop := iter.Pull(func(yield func(pair) bool) {
		err := w.entries(l.sealed, func(key, value []byte) error {
			if !yield(pair{key: key, part: value}) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(pair{err: err})
		}
	})
	defer stop()
	b := beside{next: func() (key, part []byte, err error) {
		p, _ := next()
		return p.key, p.part, p.err
	}}
	err := w.entries(l.journal, func(key, value []byte) error {
		if len(key) != len(seqKey(0)) {
			return &damage{l.journal.page, "a key of the journal is not a sequence"}
		}
		seq := seqOf(key)
		raw, link, sealed, err := splitValue(value)
		if err != nil {
			return l.damaged(seq, err)
		}
		part, err := b.of(seq)
		switch {
		case err != nil:
			return l.astray(err)
		case len(sealed) > 0 && (l.schema > 1 || len(part) > 0):
			return l.damaged(seq, errLongValue)
		case len(sealed) == 0:
			sealed = part
		}
		return visit(seq, raw, link, sealed)
	})
	if err == nil {
		if err = b.end(); err != nil {
			err = l.astray(err)
		}
	}
	return err
}

// damaged says that an entry is not as it was written.
func (l *layout) damaged(seq uint64, err error) error {
	return &damage{l.journal.root, fmt.Sprintf("entry %d: %v", seq, err)}
}

// astray says what is wrong with the sealed parts.
func (l *layout) astray(err error) error {
	if d, ok := errors.AsType[*damage](err); ok {
		return d
	}
	return &damage{l.sealed.page, err.Error()}
}

// vacancies are entries without the sealed part that they had. A payload may be erased once an end of its transaction was delivered,
// acknowledged or cleared, or once the hub's record has replaced the request; the event that says so comes later in the journal.
type vacancies map[tideover.ID]uint64

// note takes the next entry into account.
func (v vacancies) note(seq uint64, e *edge.Event, sealed []byte) {
	if passes(e.Type) {
		delete(v, e.ID)
	}
	if len(sealed) == 0 && e.Digest != [hashSize]byte{} {
		v[e.ID] = seq
	}
}

// first returns the oldest entry whose sealed part should be there, after the last entry; 0 where there is none.
func (v vacancies) first() (seq uint64) {
	for _, at := range v {
		if seq == 0 || at < seq {
			seq = at
		}
	}
	return seq
}

// moveSealed leads from schema 1 to 2: sealed parts leave the entries' values. A large file is moved in many commits, so that no more than a
// few megabytes are in memory at once; one that was stopped in between goes on with what has not been moved. Only the last one raises the
// schema: until then an entry has its sealed part behind it, or in the bucket.
func moveSealed(db *bbolt.DB, raise func(*bbolt.Tx) error) error {
	die.At("queue.migrate.before")
	for next, more := uint64(0), true; more; {
		err := db.Update(func(tx *bbolt.Tx) (err error) {
			for _, name := range [][]byte{bucketSealed, bucketPruned} {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			if next, more, err = moveStep(tx, next); err != nil || more {
				return err
			}
			return raise(tx)
		})
		if err != nil {
			return err
		}
		if more {
			die.At("queue.migrate.moved")
		}
	}
	die.At("queue.migrate.after")
	return nil
}

// moveStep moves the sealed parts of entries from a sequence on, about copyStep bytes of them. It returns where to go on.
func moveStep(tx *bbolt.Tx, from uint64) (next uint64, more bool, err error) {
	journal, parts := tx.Bucket(bucketJournal), tx.Bucket(bucketSealed)
	journal.FillPercent, parts.FillPercent = 1, 1
	type move struct{ key, value, sealed []byte }
	var moves []move
	bytes := 0
	c := journal.Cursor()
	key, value := c.Seek(seqKey(from))
	for ; key != nil && bytes < copyStep; key, value = c.Next() {
		raw, link, sealed, err := splitValue(value)
		if err != nil {
			return 0, false, err
		}
		if next = seqOf(key) + 1; len(sealed) > 0 {
			bytes += len(value)
			moves = append(moves, move{seqKey(seqOf(key)), encodeValue(raw, link), append([]byte(nil), sealed...)})
		}
	}
	more = key != nil
	for _, m := range moves {
		if err := journal.Put(m.key, m.value); err != nil {
			return 0, false, err
		}
		if err := parts.Put(m.key, m.sealed); err != nil {
			return 0, false, err
		}
	}
	return next, more, nil
}
