package queue

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// base is the open database. A compaction puts another file under it while it is in use: whoever reads then reads on in the file that he
// began with, and the next one comes to the new file.
type base struct{ now atomic.Pointer[opened] }

// opened is a database with its own file.
type opened struct {
	*bbolt.DB
	file *os.File
}

// View is one read. Errors: read's, or ErrStopped once the queue is closed.
func (b *base) View(read func(*bbolt.Tx) error) error {
	return b.begin(func(_ *opened, tx *bbolt.Tx) error { return read(tx) })
}

func (b *base) begin(read func(*opened, *bbolt.Tx) error) error {
	for {
		db := b.now.Load()
		tx, err := db.Begin(false)
		switch {
		case err == nil:
			defer tx.Rollback() // read may panic, see Queue.look
			return read(db, tx)
		case !errors.Is(err, bolterrors.ErrDatabaseNotOpen):
			return err
		case b.now.Load() == db:
			return ErrStopped
		}
	}
}

// metaTries is how often the meta pages are read where they are not of two commits in a row: one may be written just then.
const metaTries = 20

// Walk is one read that believes nothing in the file: where somebody has changed a page under it, bbolt would follow that into the memory of the process, which no
// recover survives. The transaction of bbolt is there for its pages alone: none that the walker can come to is written again while it is open.
// Errors: those of newWalker, read's, or ErrStopped.
func (b *base) Walk(read func(*walker) error) error {
	return b.begin(func(db *opened, _ *bbolt.Tx) error {
		w, err := newWalker(db.file)
		for try := 1; err != nil && try < metaTries; try++ {
			time.Sleep(time.Millisecond)
			w, err = newWalker(db.file)
		}
		if err != nil {
			return err
		}
		return read(w)
	})
}

// Begin opens the one transaction that writes: the committer's.
func (b *base) Begin(writable bool) (*bbolt.Tx, error) { return b.now.Load().Begin(writable) }

// Close closes the file, once nobody reads it any more.
func (b *base) Close() error { return b.now.Load().Close() }
