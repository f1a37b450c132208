package bolt

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	bbolt "go.etcd.io/bbolt"

	"tideover"
	"tideover/hub/ledger"
)

// epochsMax is how many epochs a ledger remembers, one for each time that it was opened. An edge that has not heard the hub for longer than
// that takes the ledger for one that was put back, and tells it once more what it has: nothing worse.
const epochsMax = 1024

// restored is when, and in which epoch, the file was last found to be a copy that was put in the ledger's place.
type restored struct {
	Epoch [16]byte        `cbor:"1,keyasint"`
	At    tideover.Millis `cbor:"2,keyasint"` // ledger time
}

// begin makes this opening an epoch of the ledger, and notes whether the file is a copy that was put in the ledger's place. Claims of earlier
// processes have lapsed with the same commit.
func (l *Ledger) begin() error {
	tx, err := l.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	meta := tx.Bucket(bucketMeta)
	var h ledger.History
	if b := meta.Get(metaEpochs); b != nil {
		if err := decode(metaEpochs, b, &h.Epochs); err != nil {
			return err
		}
	}
	var restored restored
	if b := meta.Get(metaRestored); b != nil {
		if err := decode(metaRestored, b, &restored); err != nil {
			return err
		}
	}
	var epoch [16]byte
	must(rand.Read(epoch[:]))
	h.Epochs = append(h.Epochs, epoch)
	h.Epochs = h.Epochs[max(0, len(h.Epochs)-epochsMax):]
	if copied := meta.Get(metaCopied); copied != nil {
		var at tideover.Millis
		if err := decode(metaCopied, copied, &at); err != nil {
			return err
		}
		restored.Epoch, restored.At = epoch, l.Now()
		if err := errors.Join(meta.Put(metaRestored, encode(metaRestored, restored)), meta.Delete(metaCopied)); err != nil {
			return err
		}
		l.log.Warn("this ledger was restored from a copy: every store is asked what it knows of the time since", "copied_at", at.Time())
	}
	if err := meta.Put(metaEpochs, encode(metaEpochs, h.Epochs)); err != nil {
		return err
	}
	h.Restored = restored.Epoch
	l.history, l.restoredAt = h, restored.At
	if err := l.lapse(tx); err != nil {
		return err
	}
	return l.durable.commit(tx, func() {})
}

// History returns what the ledger knows of its own life. It is not to be changed.
func (l *Ledger) History() ledger.History { return l.history }

// RestoredAt returns the ledger time at which the file was last found to be a copy that was put in the ledger's place; 0: never. A copy
// that was made by other means than [Ledger.Backup] does not say that it is one.
func (l *Ledger) RestoredAt() tideover.Millis { return l.restoredAt }

// Backup writes a copy of the ledger to path, as of one commit, while the ledger is in use. The copy is checked, and knows that it is
// one: a ledger that is opened from it tells every store that it has lost what came after. Keys are not in it. Errors are [Error]; where
// there is a file already, [ErrExists].
func (l *Ledger) Backup(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return &Error{Path: path, Err: ErrExists}
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return &Error{Path: path, Err: err}
	}
	defer os.Remove(tmp.Name())
	err = l.view(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(tmp)
		return err
	})
	if err = errors.Join(err, tmp.Close()); err != nil {
		return &Error{Path: path, Err: err}
	}
	if err := l.mark(tmp.Name()); err != nil {
		return &Error{Path: path, Err: err}
	}
	// A hard link fails where a file has appeared meanwhile; a rename would replace it.
	if err := os.Link(tmp.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = ErrExists
		}
		return &Error{Path: path, Err: err}
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return &Error{Path: path, Err: err}
	}
	return nil
}

// mark reads a copy through, and has it know that it is one.
func (l *Ledger) mark(path string) error {
	file, err := lock(path)
	if err != nil {
		return err
	}
	db, err := attach(path, file)
	if err != nil {
		file.Close()
		return err
	}
	c := &Ledger{vault: l.vault}
	err = db.View(c.check)
	if err == nil {
		now := l.Now()
		err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaCopied, encode(metaCopied, now)) })
	}
	return errors.Join(err, db.Sync(), db.Close())
}

// Check reads every value, as far as [verifyMax] goes, beside the work that goes on. Errors wrap [ErrDamaged].
func (l *Ledger) Check() error {
	c := &Ledger{vault: l.vault}
	return l.view(c.check)
}
