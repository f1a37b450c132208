package bolt

import (
	"sync"
	"sync/atomic"

	bbolt "go.etcd.io/bbolt"

	"tideover/hub/ledger"
)

// durable knows which commit is on the disk. bbolt lets a commit be read once its meta page is written, before that page is synced: a
// power cut could still undo what was read, told to an edge and acted on.
type durable struct {
	committing sync.RWMutex  // held by a commit
	through    atomic.Uint64 // the last commit that is on the disk
}

// commit makes a transaction durable; then is called before any reader can see it.
func (d *durable) commit(tx *bbolt.Tx, then func()) error {
	d.committing.Lock()
	defer d.committing.Unlock()
	id := uint64(tx.ID())
	if err := tx.Commit(); err != nil {
		return err
	}
	then()
	d.through.Store(id)
	return nil
}

// settled returns the last commit that is on the disk once the one under way has ended.
func (d *durable) settled() uint64 {
	d.committing.RLock()
	defer d.committing.RUnlock()
	return d.through.Load()
}

// view reads the ledger and returns once what it has read is on the disk. Errors: read's, or [ledger.ErrStopped] where the commit that
// was read has failed.
func (l *Ledger) view(read func(*bbolt.Tx) error) error {
	var id uint64
	err := l.db.View(func(tx *bbolt.Tx) error {
		id = uint64(tx.ID())
		return read(tx)
	})
	if id <= l.durable.through.Load() {
		return err
	}
	if id <= l.durable.settled() {
		return err
	}
	<-l.ended
	return ledger.ErrStopped
}
