package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	bbolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"tideover"
	"tideover/hub/ledger"
	"tideover/internal/die"
)

// migrateMax is how many rows one commit enters in the books of a ledger of version 1.
const migrateMax = 4096

func schemaNow() []byte { return binary.BigEndian.AppendUint64(nil, schema) }

// schemaOf reads the version of what the file holds.
func schemaOf(tx *bbolt.Tx) (uint64, error) {
	raw := tx.Bucket(bucketMeta).Get(metaSchema)
	if len(raw) != 8 {
		return 0, fmt.Errorf("%w: no schema version", ErrDamaged)
	}
	switch v := binary.BigEndian.Uint64(raw); {
	case v > schema:
		return 0, &Error{Err: ErrNewerSchema, More: fmt.Sprintf("schema %d, this version knows %d", v, schema)}
	case v == 0:
		return 0, fmt.Errorf("%w: schema 0", ErrDamaged)
	default:
		return v, nil
	}
}

// bookKey orders a store's rows by their place.
func bookKey(store string, p ledger.Place) []byte {
	return append(binary.BigEndian.AppendUint64(storeKey(store), uint64(p.At)), p.ID[:]...)
}

// book keeps a row's place in step with the row. was is nil where the row is new.
func book(tx *bbolt.Tx, was, is *ledger.Row) error {
	books := tx.Bucket(bucketBooks)
	if was != nil {
		if was.Place() == is.Place() {
			return nil
		}
		if err := books.Delete(bookKey(was.Store, was.Place())); err != nil {
			return err
		}
	}
	return books.Put(bookKey(is.Store, is.Place()), nil)
}

// keepBooks enters every row of a ledger of version 1 in the books, some in each commit. Only the last commit makes it one of version 2:
// until then it is one of version 1, which an earlier program may open and add to, and whose half-filled books are made anew.
func (l *Ledger) keepBooks() error {
	var version uint64
	err := l.db.View(func(tx *bbolt.Tx) (err error) {
		version, err = schemaOf(tx)
		return err
	})
	if err != nil || version == schema {
		return err
	}
	l.log.Info("the ledger is of an earlier version: its transactions are entered in books that are ordered by time")
	rows := 0
	var last []byte // the last row that was entered
	for first, done := true, false; !done; first = false {
		die.At("hub.books.before")
		err := l.db.Update(func(tx *bbolt.Tx) error {
			if first {
				if err := tx.DeleteBucket(bucketBooks); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
					return err
				}
				if _, err := tx.CreateBucket(bucketBooks); err != nil {
					return err
				}
			}
			var n int
			var err error
			last, n, err = enter(tx, last)
			if err != nil {
				return err
			}
			rows += n
			if done = n < migrateMax; done {
				return tx.Bucket(bucketMeta).Put(metaSchema, schemaNow())
			}
			return nil
		})
		if err != nil {
			return err
		}
		die.At("hub.books.after")
	}
	l.log.Info("the ledger is of this version now", "transactions", rows)
	return nil
}

// enter enters at most migrateMax rows, from the one behind after on, and returns the last.
func enter(tx *bbolt.Tx, after []byte) (last []byte, n int, err error) {
	c := tx.Bucket(bucketRows).Cursor()
	k, raw := c.First()
	if after != nil {
		if k, raw = c.Seek(after); bytes.Equal(k, after) {
			k, raw = c.Next()
		}
	}
	for ; k != nil && n < migrateMax; k, raw = c.Next() {
		var r ledger.Row
		if err := decode(k, raw, &r); err != nil {
			return nil, n, err
		}
		if err := book(tx, nil, &r); err != nil {
			return nil, n, err
		}
		last = bytes.Clone(k)
		n++
	}
	return last, n, nil
}

// Booked reads at most limit of a store's rows in the order of their places, those behind a place and before a time, beside the work that
// goes on. It is refused for an incarnation that was superseded: [ledger.ErrSuperseded].
func (l *Ledger) Booked(store string, incarnation [16]byte, after ledger.Place, to tideover.Millis, limit int) (page []ledger.Row, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		prefix := storeKey(store)
		var s ledger.Store
		if raw := tx.Bucket(bucketStores).Get(prefix); raw == nil {
			return fmt.Errorf("%q: %w", store, ledger.ErrStoreUnknown)
		} else if err := decode(prefix, raw, &s); err != nil {
			return err
		}
		if s.Incarnation != incarnation {
			return ledger.ErrSuperseded
		}
		c, from, end := tx.Bucket(bucketBooks).Cursor(), bookKey(store, after), bookKey(store, ledger.Place{At: to})
		k, _ := c.Seek(from)
		if bytes.Equal(k, from) {
			k, _ = c.Next()
		}
		for ; k != nil && bytes.Compare(k, end) < 0 && len(page) < limit; k, _ = c.Next() {
			if len(k) != len(end) {
				return fmt.Errorf("%w: books %x", ErrDamaged, k)
			}
			rk := append(storeKey(store), k[len(k)-len(tideover.ID{}):]...)
			page = append(page, ledger.Row{})
			if err := decode(rk, tx.Bucket(bucketRows).Get(rk), &page[len(page)-1]); err != nil {
				return err
			}
		}
		return nil
	})
	return page, err
}
