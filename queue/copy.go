package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover/edge"
	"tideover/internal/die"
)

// ErrExists is found in the error of a backup whose file is there already: a backup never replaces one.
var ErrExists = fs.ErrExist

// Copied is a copy that was made of a journal.
type Copied struct {
	Check
	Through Anchor // the journal's entry with which the copy ends, but for the mark
}

// copyStep is how many bytes of entries a copy writes in one commit of its own.
const copyStep = 1 << 20

var errBeyond = errors.New("it is newer than the copy") // ends a look; no fault

// Backup writes a copy of the journal to path, mode 0600, beside the work that goes on, and returns when it is on disk under that name and was
// opened there. It has every entry up to the newest one that was committed when it began, and then a mark by which it is known as a copy
// wherever it is used in the journal's place. Commits wait for it as little as for [Queue.Verify]. No key is in it. Errors: ErrExists,
// ErrNoRoom, ErrStopped, ErrDamaged, ctx's, or the operating system's.
func (q *Queue) Backup(ctx context.Context, path string) (Copied, error) {
	defer q.still()()
	var o original
	var err error
	if o.head, o.last, err = q.storedEnds(); err == nil {
		o.runs, err = q.storedRuns()
	}
	if err != nil {
		return Copied{}, fmt.Errorf("back up the queue: %w", err)
	}
	if err := roomFor(path, q.liveBytes()); err != nil {
		return Copied{}, fmt.Errorf("back up the queue: %w", err)
	}
	return backup(path, q.ring.Load(), o, func(put entryVisitor, rest func() error) error {
		_, err := q.eachEntry(ctx, func(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
			if seq > o.last.Seq {
				return errBeyond
			}
			return put(seq, raw, link, sealed)
		}, rest)
		if errors.Is(err, errBeyond) {
			err = nil
		}
		if err == nil {
			err = rest()
		}
		return err
	})
}

// storedEnds reads the file's first record, and its last entry as of the same commit.
func (q *Queue) storedEnds() (h head, last Anchor, err error) {
	err = q.look(func(tx *bbolt.Tx) error {
		if h, err = decodeHead(tx.Bucket(bucketMeta).Get(keyHead), schemaNow); err != nil {
			return err
		}
		key, value := tx.Bucket(bucketJournal).Cursor().Last()
		if key == nil {
			return nil
		}
		last.Seq = seqOf(key)
		_, last.Hash, _, err = splitValue(value)
		return err
	})
	return h, last, err
}

// BackupFile is [Queue.Backup] of a file that no daemon has open. Errors are those, and those of [CheckFile] as [*OpenError]; a file with a
// flaw is ErrDamaged.
func BackupFile(from, path string, keys Keys, store string) (Copied, error) {
	f, err := lockAs(from, os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		return Copied{}, openError(from, err)
	}
	defer f.Close()
	ring, err := newRing(keys)
	if err != nil {
		return Copied{}, err
	}
	o, err := sound(f, from, ring, store)
	if err != nil {
		return Copied{}, err
	}
	if err := roomForCopy(f, path); err != nil {
		return Copied{}, fmt.Errorf("back up the queue: %w", err)
	}
	return backup(path, ring, o, entriesOf(f))
}

// sound checks the whole of a file before it is copied.
func sound(f *os.File, path string, ring *ring, store string) (o original, err error) {
	c, err := checkFile(f, path, ring, store, nil)
	if err != nil {
		return o, err
	}
	if len(c.Flaws) > 0 {
		return o, &OpenError{Path: path, Err: ErrDamaged, At: c.Flaws[0].What.En}
	}
	w, err := newWalker(f)
	if err != nil {
		return o, err
	}
	l, h, err := identify(w, schemaNow)
	return original{head: h, runs: l.runs, last: c.Head}, err
}

// source hands every entry to put, in order, and calls rest now and then and in the end, while it holds nothing up.
type source func(put entryVisitor, rest func() error) error

// original is what a copy is of.
type original struct {
	head head
	runs []run  // what was pruned
	last Anchor // the entry with which the copy ends
}

// entriesOf is what a file has.
func entriesOf(f *os.File) source {
	return func(put entryVisitor, rest func() error) error {
		w, err := newWalker(f)
		if err != nil {
			return err
		}
		l, _, err := identify(w, schemaNow)
		if err != nil {
			return err
		}
		pending := 0
		err = w.contents(l, func(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
			if pending += len(raw) + len(sealed); pending > copyStep {
				pending = 0
				if err := rest(); err != nil {
					return err
				}
			}
			return put(seq, raw, link, sealed)
		})
		if err == nil {
			err = rest()
		}
		return err
	}
}

// backup makes a copy with its mark, reads it, and gives it its name.
func backup(path string, ring *ring, o original, from source) (c Copied, err error) {
	if _, err := os.Lstat(path); err == nil {
		return c, fmt.Errorf("back up the queue: %w", &fs.PathError{Op: "create", Path: path, Err: ErrExists})
	}
	n, err := writeCopy(path, o, from, 1)
	if err != nil {
		return c, fmt.Errorf("back up the queue: %w", err)
	}
	defer n.discard()
	if c.Check, err = n.check(ring, o.head.Store); err != nil {
		return c, fmt.Errorf("back up the queue: %w", err)
	}
	c.Through = o.last
	die.At("queue.backup.before")
	if err := renameNew(n.Name(), path); err != nil {
		return c, fmt.Errorf("back up the queue: %w", err)
	}
	die.At("queue.backup.renamed")
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return c, fmt.Errorf("back up the queue: %w", err)
	}
	die.At("queue.backup.after")
	return c, nil
}

// copied is a copy under a name for the time being.
type copied struct{ *os.File }

// discard lets go of it, and removes it where it still has that name.
func (n copied) discard() {
	os.Remove(n.Name())
	n.Close()
}

// check opens a copy and reads all of it, without changing it.
func (n copied) check(ring *ring, store string) (Check, error) {
	c, err := checkFile(n.File, n.Name(), ring, store, nil)
	if err == nil && len(c.Flaws) > 0 {
		err = &OpenError{Path: n.Name(), Err: ErrDamaged, At: c.Flaws[0].What.En}
	}
	return c, err
}

// writeCopy writes entries into a new file beside path, and syncs it: the same head, the same entries, the same chain, and after them the
// mark of a copy, above the sequence mark, where that is not 0. It must come to the entry that it should end with.
func writeCopy(path string, o original, from source, mark uint64) (n copied, err error) {
	f, err := makeTemp(path)
	if err != nil {
		return n, err
	}
	n = copied{f}
	defer func() {
		if err != nil {
			n.discard()
		}
	}()
	used, err := fillCopy(f, o, from, mark)
	if err != nil {
		return n, err
	}
	// bbolt lets a file grow by holes: what is beyond its last page is cut off, and written as zeros.
	if err := f.Truncate(used); err != nil {
		return n, err
	}
	_, err = fillZeros(f, used, max(used, createdSize))
	return n, err
}

// duplicate returns the same open file once more, for bbolt to close.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// copier has bbolt write entries into a new file. Nothing is synced: the file is, in the end, and has no name before.
type copier struct {
	db      *bbolt.DB
	last    Anchor // the newest entry that was put
	along   along
	waiting []copying
}

// copying is an entry that waits for the next commit of a copier.
type copying struct{ key, value, sealed []byte }

// newCopier makes the file a queue's without entries. bbolt closes f in the end.
func newCopier(f *os.File, h head, runs []run) (*copier, error) {
	db, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{
		PageSize: pageSize, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoSync: true, NoGrowSync: true, InitialMmapSize: mapAhead,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	if err != nil {
		f.Close()
		return nil, err
	}
	h.schema = schemaNow // a copy is written as everything is today, also one of an older file
	err = furnish(db, h)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			pruned := tx.Bucket(bucketPruned)
			for i := range runs {
				if err := pruned.Put(seqKey(runs[i].last), runs[i].value()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return &copier{db: db, last: Anchor{Hash: h.genesis()}, along: along{runs: runs}}, nil
}

// put takes the next entry.
func (c *copier) put(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
	if err := c.along.before(seq, &c.last.Hash); err != nil {
		return err
	}
	if c.last = (Anchor{seq, chain(c.last.Hash, seq, raw)}); c.last.Hash != link {
		return errChain
	}
	c.waiting = append(c.waiting, copying{seqKey(seq), encodeValue(raw, link), append([]byte(nil), sealed...)})
	return nil
}

// rest writes what was put.
func (c *copier) rest() error {
	if len(c.waiting) == 0 {
		return nil
	}
	err := c.db.Update(func(tx *bbolt.Tx) error {
		journal, parts := tx.Bucket(bucketJournal), tx.Bucket(bucketSealed)
		journal.FillPercent, parts.FillPercent = 1, 1
		for _, c := range c.waiting {
			if err := journal.Put(c.key, c.value); err != nil {
				return err
			}
			if len(c.sealed) == 0 {
				continue
			}
			if err := parts.Put(c.key, c.sealed); err != nil {
				return err
			}
		}
		return journal.SetSequence(c.last.Seq)
	})
	c.waiting = c.waiting[:0]
	return err
}

// finish makes the last commit once more, so that both meta pages tell of the whole, and returns how much of the file is in use.
func (c *copier) finish() (used int64, err error) {
	if err := c.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketJournal).SetSequence(c.last.Seq) }); err != nil {
		return 0, err
	}
	err = c.db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil })
	return used, err
}

// fillCopy writes the whole of a copy.
func fillCopy(f *os.File, o original, from source, mark uint64) (used int64, err error) {
	again, err := duplicate(f)
	if err != nil {
		return 0, err
	}
	c, err := newCopier(again, o.head, o.runs)
	if err != nil {
		return 0, err
	}
	defer c.db.Close()
	if err := from(c.put, c.rest); err != nil {
		return 0, err
	}
	if o.last.Seq != 0 && c.last != o.last {
		return 0, fmt.Errorf("%w: the copy ends at entry %d, and should at %d", ErrDamaged, c.last.Seq, o.last.Seq)
	}
	if mark != 0 {
		seq := max(c.last.Seq, mark) + 2*seqStep
		raw := encodeEvent(&edge.Event{Type: edge.EventGap, At: now()})
		if err := c.put(seq, raw, chain(c.last.Hash, seq, raw), nil); err != nil {
			return 0, err
		}
		if err := c.rest(); err != nil {
			return 0, err
		}
	}
	if used, err = c.finish(); err != nil {
		return 0, err
	}
	return used, c.db.Close()
}
