package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tideover/internal/die"
)

// Restored is a journal that was restored from a copy.
type Restored struct {
	Check
	Aside string // where the file that was in its place is now; "" where there was none
}

// asideMax bounds the names that are tried for the file that is kept, within one second.
const asideMax = 100

// RestoreFile puts a copy of the journal in the place of the file at path, which no daemon has open. The copy is checked first, and marked as
// one above every sequence that the file before it shows. That file keeps a dated name beside it, whatever its state, and is never deleted.
// A crash leaves the old file in its place or the new one, each whole. Errors are those of [CheckFile]; a copy with a flaw is ErrDamaged.
func RestoreFile(from, path string, keys Keys, store string) (r Restored, err error) {
	src, err := lockAs(from, os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		return r, openError(from, err)
	}
	defer src.Close()
	ring, err := newRing(keys)
	if err != nil {
		return r, err
	}
	o, err := sound(src, from, ring, store)
	if err != nil {
		return r, err
	}
	if err := roomForCopy(src, path); err != nil {
		return r, fmt.Errorf("restore the queue: %w", err)
	}
	present, err := lock(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, openError(path, err)
	}
	defer present.Close() // nil where there is none
	n, err := writeCopy(path, o, entriesOf(src), max(1, sequenceOf(present)))
	if err != nil {
		return r, fmt.Errorf("restore the queue: %w", err)
	}
	defer n.discard()
	if r.Check, err = n.check(ring, store); err == nil {
		err = n.belong(present, filepath.Dir(path))
	}
	if err == nil {
		// Nobody may sell on it before its name is on disk for certain.
		err = unix.Flock(int(n.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		r.Aside, err = n.replace(path, present != nil)
	}
	if err != nil {
		return r, fmt.Errorf("restore the queue: %w", err)
	}
	return r, nil
}

// sequenceOf returns where a journal says that it ends; 0 where it cannot be read.
func sequenceOf(f *os.File) uint64 {
	if f == nil {
		return 0
	}
	w, err := newWalker(f)
	if err != nil {
		return 0
	}
	l, _, err := identify(w, schemaNow)
	if err != nil {
		return 0
	}
	return l.journal.sequence
}

// belong gives the copy to the owner of the file that it replaces, or of the folder: a daemon that is not root must open it.
func (n copied) belong(present *os.File, folder string) error {
	info, err := os.Stat(folder)
	if present != nil {
		info, err = present.Stat()
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	if err := n.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return err
	}
	return n.Sync()
}

// replace gives the copy its name, after the file that has it got another one. At every instant a whole file has the name.
func (n copied) replace(path string, present bool) (aside string, err error) {
	folder := filepath.Dir(path)
	die.At("queue.restore.before")
	if present {
		if aside, err = keep(path); err != nil {
			return "", err
		}
		die.At("queue.restore.kept")
		if err := syncFolder(folder); err != nil {
			return aside, err
		}
		die.At("queue.restore.synced")
		err = os.Rename(n.Name(), path)
	} else {
		err = renameNew(n.Name(), path)
	}
	if err != nil {
		return aside, err
	}
	die.At("queue.restore.renamed")
	if err := syncFolder(folder); err != nil {
		return aside, err
	}
	die.At("queue.restore.after")
	return aside, nil
}

// keep gives a file a dated name beside its own.
func keep(path string) (aside string, err error) {
	dated := path + "." + time.Now().Format("20060102-150405")
	for i := range asideMax {
		if aside = dated; i > 0 {
			aside += "-" + strconv.Itoa(i)
		}
		if err = os.Link(path, aside); !errors.Is(err, fs.ErrExist) {
			return aside, err
		}
	}
	return "", err
}
