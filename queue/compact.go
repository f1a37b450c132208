package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover/internal/die"
)

// A compaction copies the journal, whose file has grown and holds little now, into a new file, and puts that in its place: the same head, the
// same entries, the same chain, and no mark, since it is the same journal. The copy is made and read beside the work. What was committed
// meanwhile is added by the committer, who then gives the new file the name and goes on in it. At every instant a whole file has the name, and
// both hold every answer that was given until then: nothing is committed between the last entry that is copied and the moment at which the
// name is certainly on disk. The new file is locked from the beginning, so that no other process gets in between.

// ErrNoRoom is found in the error of a compaction or a backup for whose copy the disk has no room.
var ErrNoRoom = errors.New("the disk has no room for the copy")

// ErrCompacting is returned by a compaction while another one is under way.
var ErrCompacting = errors.New("a compaction is under way")

// Compacted is what a compaction has come to.
type Compacted struct {
	Before, After int64         // the file's size, in bytes
	Took          time.Duration // all of it
	Stalled       time.Duration // commits waited so long, in the end
}

const (
	// catchUpMax is how often what was committed meanwhile is copied beside the work, before the committer is asked to wait for the rest.
	catchUpMax = 16
	// tailMax is how many entries the committer copies itself; where more come than can be copied, it copies those too.
	tailMax = 256
	// pacedMax bounds the rest after each part of the copy.
	pacedMax = time.Second
	// copySlack is what the disk must have beside a copy's content: a page that is filled badly, and what a new file is filled up to.
	copySlack = createdSize + commitOverhead + reserve
	// compactBytes is the least size of a file that is compacted by itself: what a smaller one wastes harms nobody.
	compactBytes = 8 << 20
	// compactQuiet is how long no accept may have come before a file is compacted by itself, compactPause how long it is left alone after
	// a compaction, and after one that failed.
	compactQuiet, compactPause = time.Minute, time.Hour
)

// exchange is a copy that the committer puts in the file's place.
type exchange struct {
	*copier
	file *os.File
	done chan error // nil: the new file is open, and old is to be closed
	old  *opened
	took time.Duration
}

// Compact makes the file as small as what it holds, beside the work that goes on. It returns when the new file has the name and is in use;
// commits wait for the last part of it, about as long as for a few commits. Where it fails the old file goes on, and nothing is left of the
// new one. Errors: ErrNoRoom, ErrCompacting, ErrStopped, ErrDamaged, ctx's, or the operating system's.
func (q *Queue) Compact(ctx context.Context) (c Compacted, err error) {
	if !q.compacting.TryLock() {
		return c, ErrCompacting
	}
	defer q.compacting.Unlock()
	began := time.Now()
	q.mu.Lock()
	q.compacted = began
	c.Before = q.size
	q.mu.Unlock()
	if err := roomFor(q.options.Path, q.liveBytes()); err != nil {
		return c, fmt.Errorf("compact the queue: %w", err)
	}
	defer q.still()() // what has left the file must not come back with the copy
	x, err := q.replaceFile(ctx)
	if err != nil {
		return c, fmt.Errorf("compact the queue: %w", err)
	}
	if err := x.old.Close(); err != nil { // it waits for its readers
		q.log.Error("the file before the compaction was not closed well", "err", err)
	}
	q.mu.Lock()
	c.After = q.size
	q.mu.Unlock()
	c.Stalled, c.Took = x.took, time.Since(began)
	q.log.Info("compacted the queue", "path", q.options.Path, "before", c.Before, "after", c.After, "took", c.Took, "stalled", c.Stalled)
	return c, nil
}

// replaceFile makes the copy and has it put in the file's place. Nothing is erased meanwhile: the copy might have it still.
func (q *Queue) replaceFile(ctx context.Context) (*exchange, error) {
	defer q.still()()
	x, err := q.copyBeside(ctx)
	if err != nil {
		return nil, err
	}
	return x, q.hand(ctx, x)
}

// liveBytes is how many bytes of the file's pages hold something.
func (q *Queue) liveBytes() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used - q.freed - q.freeing
}

// roomForCopy is roomFor of a copy of a whole file.
func roomForCopy(f *os.File, path string) error {
	live, err := inUse(f)
	if err == nil {
		err = roomFor(path, live)
	}
	return err
}

// roomFor says whether the file system of path has room for a copy of so many bytes, and what is left to others.
func roomFor(path string, bytes int64) error {
	left, floor, told := leftAt(filepath.Dir(path))
	if need := bytes + copySlack + floor; told && left < need {
		return fmt.Errorf("%w: it takes about %d kB and leaves %d kB to others, and %d kB are free in %s",
			ErrNoRoom, (bytes+copySlack)>>10, floor>>10, left>>10, filepath.Dir(path))
	}
	return nil
}

// copyBeside copies what is committed, until little has come since, and reads the copy.
func (q *Queue) copyBeside(ctx context.Context) (_ *exchange, err error) {
	h, err := q.storedHead()
	if err != nil {
		return nil, err
	}
	runs, err := q.storedRuns()
	if err != nil {
		return nil, err
	}
	f, err := makeTemp(q.options.Path)
	if err != nil {
		return nil, err
	}
	x := &exchange{file: f, done: make(chan error, 1)}
	defer func() {
		if err != nil {
			x.discard()
		}
	}()
	if x.copier, err = newCopier(f, h, runs); err != nil {
		return nil, err
	}
	die.At("queue.compact.copying")
	for range catchUpMax {
		n := 0
		var end Anchor
		if h, end, err = q.storedEnds(); err != nil { // another key may seal since the copy was begun
			return nil, err
		}
		_, err := q.eachEntryFrom(ctx, x.last.Seq+1, func(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
			if seq > end.Seq {
				return errBeyond
			}
			n++
			return x.put(seq, raw, link, sealed)
		}, x.paced)
		if errors.Is(err, errBeyond) {
			err = x.paced()
		}
		if err != nil {
			return nil, err
		}
		if n < tailMax {
			break
		}
	}
	if err := x.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyHead, h.encode()) }); err != nil {
		return nil, err
	}
	used, err := x.finish()
	if err != nil {
		return nil, err
	}
	// bbolt lets a file grow by holes: what is beyond its last page is cut off, and written as zeros.
	if err := f.Truncate(used); err != nil {
		return nil, err
	}
	if _, err := fillZeros(f, used, max(createdSize, used+commitOverhead+reserve+growMin)); err != nil {
		return nil, err
	}
	if _, err := (copied{f}).check(q.ring.Load(), q.options.Store); err != nil {
		return nil, err
	}
	die.At("queue.compact.copied")
	return x, nil
}

// paced writes what was put, lets the disk have it at once, and then leaves the disk to others for as long: the sync in the end is short, and
// commits wait behind one of these at most.
func (x *exchange) paced() error {
	began := time.Now()
	if err := x.rest(); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(x.file.Fd())); err != nil {
		return err
	}
	time.Sleep(min(time.Since(began), pacedMax))
	return nil
}

// discard lets go of the copy, and removes it where it has no name of its own yet.
func (x *exchange) discard() {
	os.Remove(x.file.Name())
	if x.copier != nil {
		x.db.Close()
	}
	x.file.Close() // bbolt has closed it already, but where it never had it
}

// hand has the committer put the copy in the file's place, and waits for it.
func (q *Queue) hand(ctx context.Context, x *exchange) error {
	q.mu.Lock()
	if q.stopped != nil || q.draining {
		q.mu.Unlock()
		x.discard()
		return ErrStopped
	}
	q.exchanging = x
	q.mu.Unlock()
	q.poke()
	var err error
	select {
	case err = <-x.done:
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-q.over:
		err = ErrStopped
	}
	q.mu.Lock()
	waits := q.exchanging == x
	if waits {
		q.exchanging = nil
	}
	q.mu.Unlock()
	if waits {
		x.discard()
		return err
	}
	return <-x.done // the committer has it
}

// exchange puts a copy in the file's place, where one waits. An error is one after which it is not known which file has the name: nothing may
// be committed any more. The committer alone calls it.
func (q *Queue) exchange() error {
	q.mu.Lock()
	x := q.exchanging
	q.exchanging = nil
	q.mu.Unlock()
	if x == nil {
		return nil
	}
	began := time.Now()
	if err := q.complete(x); err != nil {
		x.discard()
		x.done <- err
		return nil
	}
	die.At("queue.compact.before")
	err := os.Rename(x.file.Name(), q.options.Path)
	if neverDone(err) {
		x.discard()
		x.done <- err
		return nil
	}
	die.At("queue.compact.renamed")
	if err == nil {
		err = syncFolder(filepath.Dir(q.options.Path))
	}
	if err != nil {
		err = fmt.Errorf("put the compacted file in place: %w", err)
		x.done <- err
		return err
	}
	die.At("queue.compact.after")
	x.old = q.db.now.Swap(&opened{x.db, x.file})
	q.mu.Lock()
	q.file, q.size = x.file, 0 // measured anew
	q.fullUntil = time.Time{}
	q.mu.Unlock()
	err = q.measure()
	x.took = time.Since(began)
	x.done <- nil
	return err
}

// neverDone says of a failed rename that certainly nothing was renamed: it was refused before anything was written.
func neverDone(err error) bool {
	for _, refusal := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.ENOENT, syscall.EBUSY, syscall.EXDEV, syscall.ENOMEM,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// complete adds what was committed since, and puts the copy on disk. From here on bbolt syncs what it writes there.
func (q *Queue) complete(x *exchange) error {
	if _, err := q.eachEntryFrom(context.Background(), x.last.Seq+1, x.put, x.rest); err != nil {
		return err
	}
	q.mu.Lock()
	head := Anchor{q.headSeq, q.headHash}
	q.mu.Unlock()
	if x.last != head {
		return fmt.Errorf("%w: the copy ends at entry %d, and should at %d", ErrDamaged, x.last.Seq, head.Seq)
	}
	if err := q.copyMeta(x.db); err != nil {
		return err
	}
	if err := x.file.Sync(); err != nil {
		return err
	}
	x.db.NoSync, x.db.NoGrowSync = false, false
	_, err := x.finish()
	return err
}

// copyMeta copies what stands beside the journal as it is now.
func (q *Queue) copyMeta(to *bbolt.DB) error {
	return q.look(func(from *bbolt.Tx) error {
		return to.Update(func(tx *bbolt.Tx) error {
			meta := tx.Bucket(bucketMeta)
			return from.Bucket(bucketMeta).ForEach(func(key, value []byte) error { return meta.Put(key, value) })
		})
	})
}

// CompactionPays says that a compaction should be made now, without anybody asking for it: the file is large and mostly free inside, no till
// has pressed for a while, the disk has room for the copy, and the last one was long ago. Where the file can neither grow nor take a large
// request it pays sooner, and also while tills press.
func (q *Queue) CompactionPays(now time.Time) bool {
	q.mu.Lock()
	inside := q.freed + q.freeing
	stuck := q.room().beyond < reserve && (now.Before(q.fullUntil) || q.size+growMin > q.options.SizeMax)
	large := q.size >= compactBytes && inside >= q.size/4*3 && now.Sub(q.sold) >= compactQuiet
	pays := (large || stuck && inside >= q.size/2) && now.Sub(q.compacted) >= compactPause
	q.mu.Unlock()
	return pays && roomFor(q.options.Path, q.liveBytes()) == nil
}

// CompactFile is [Queue.Compact] of a file that no daemon has open. Errors are those, and those of [CheckFile] as [*OpenError]; a file with a
// flaw is ErrDamaged.
func CompactFile(path string, keys Keys, store string) (c Compacted, err error) {
	began := time.Now()
	f, err := lock(path)
	if err != nil {
		return c, openError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return c, openError(path, err)
	}
	c.Before = info.Size()
	ring, err := newRing(keys)
	if err != nil {
		return c, err
	}
	o, err := sound(f, path, ring, store)
	if err != nil {
		return c, err
	}
	if err = roomForCopy(f, path); err == nil {
		err = compactFile(f, path, ring, o)
	}
	if err == nil {
		info, err = os.Stat(path)
	}
	if err != nil {
		return c, fmt.Errorf("compact the queue: %w", err)
	}
	c.After, c.Took = info.Size(), time.Since(began)
	return c, nil
}

// compactFile puts a copy of a file that is locked in its place.
func compactFile(f *os.File, path string, ring *ring, o original) error {
	die.At("queue.compact.copying")
	n, err := writeCopy(path, o, entriesOf(f), 0)
	if err != nil {
		return err
	}
	defer n.discard()
	if _, err := n.check(ring, o.head.Store); err != nil {
		return err
	}
	die.At("queue.compact.copied")
	if err := n.belong(f, filepath.Dir(path)); err != nil {
		return err
	}
	// Nobody may sell on it before its name is on disk for certain.
	if err := unix.Flock(int(n.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	die.At("queue.compact.before")
	if err := os.Rename(n.Name(), path); err != nil {
		return err
	}
	die.At("queue.compact.renamed")
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return err
	}
	die.At("queue.compact.after")
	return nil
}

// inUse returns how many bytes of a file's pages hold something.
func inUse(f *os.File) (int64, error) {
	w, err := newWalker(f)
	if err != nil {
		return 0, err
	}
	l, _, err := identify(w, schemaNow)
	if err != nil {
		return 0, err
	}
	err = w.contents(l, func(uint64, []byte, [hashSize]byte, []byte) error { return nil })
	return w.used(), err
}
