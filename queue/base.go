package queue

import (
	"errors"
	"sync/atomic"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// base is the open database. A compaction puts another file under it while it is in use: whoever reads then reads on in the file that he
// began with, and the next one comes to the new file.
type base struct{ now atomic.Pointer[bbolt.DB] }

// View is one read. Errors: read's, or ErrStopped once the queue is closed.
func (b *base) View(read func(*bbolt.Tx) error) error {
	for {
		db := b.now.Load()
		tx, err := db.Begin(false)
		switch {
		case err == nil:
			defer tx.Rollback() // read may panic, see Queue.look
			return read(tx)
		case !errors.Is(err, bolterrors.ErrDatabaseNotOpen):
			return err
		case b.now.Load() == db:
			return ErrStopped
		}
	}
}

// Begin opens the one transaction that writes: the committer's.
func (b *base) Begin(writable bool) (*bbolt.Tx, error) { return b.now.Load().Begin(writable) }

// Close closes the file, once nobody reads it any more.
func (b *base) Close() error { return b.now.Load().Close() }
