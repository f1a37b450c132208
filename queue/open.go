package queue

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover/edge"
)

// Options say which queue to open and how to run it.
type Options struct {
	Path  string
	Key   Keys // seal payloads
	Store string
	// SizeMax bounds the file, in bytes; 0 is [SizeMaxDefault]. At it accepts are refused with storage_full; ends and acknowledgements
	// still have some room.
	SizeMax int64
	// LazyMax is how long what is written lazily waits for a commit to ride on; 0 is [LazyMaxDefault].
	LazyMax   time.Duration
	Retention Retention
	Log       *slog.Logger
	// Durable is told the hub's ends that have just become durable, or that were told again and are. It is called by the committer
	// after the commit; it must not block, nor call the queue's methods that write. It may be nil.
	Durable func([]Position)
	// Overlap says whether sales may leave now while their acceptance is on its way to the disk; see [Queue.Early]. It is asked by the
	// committer under the queue's lock: it must not block, nor call the queue. nil: never.
	Overlap func() bool

	statfs statfs // [unix.Statfs] where it is nil
}

const (
	// LazyMaxDefault is long enough that a quiet shop's ends ride an accept, and short against the patience of a hub's outbox.
	LazyMaxDefault = 20 * time.Second
	// SizeMaxDefault holds some hundred thousand transactions. Where addresses have 32 bits a larger map may not be found.
	SizeMaxDefault = 512 << 20
	sizeMaxSmall   = 512 << 20
	// mapAhead is mapped at once, so that readers need not be waited for while the file grows.
	mapAhead = 16 << 20
	// seqStep is how far the counter goes on beyond the newest journal key at an open, and so what a process may draw at most
	// without a commit. See seqForce.
	seqStep = 1 << 20
)

// schema is what a program knows of the file's versions.
type schema struct {
	current    uint32
	migrations map[uint32]migration // from each older version to the next one
}

// migration brings a file from one version to the next. It may make many commits, for a file that is larger than memory: each leaves what
// the older version can be told by, an unbroken chain, and work that the next start goes on with. The last one calls raise.
type migration func(db *bbolt.DB, raise func(*bbolt.Tx) error) error

func knownSchema() schema {
	return schema{current: schemaNow, migrations: map[uint32]migration{1: moveSealed}}
}

// Open reads and checks the whole file, and returns the queue that it holds. Every failure is an [*OpenError] with one of ErrMissing,
// ErrEmpty, ErrTruncated, ErrDamaged, ErrForeign, ErrWrongKey, ErrNewerSchema, ErrInUse, ErrOtherStore and ErrFileSystem, or with the
// operating system's error. The caller runs [Queue.Run] and calls [Queue.Close] in the end.
func Open(o Options) (*Queue, error) { return open(o, knownSchema()) }

func open(o Options, known schema) (*Queue, error) {
	if o.SizeMax <= 0 {
		o.SizeMax = SizeMaxDefault
	}
	if math.MaxInt == math.MaxInt32 {
		o.SizeMax = min(o.SizeMax, sizeMaxSmall)
	}
	if o.LazyMax <= 0 {
		o.LazyMax = LazyMaxDefault
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.statfs == nil {
		o.statfs = unix.Statfs
	}
	q, older, err := load(o, known)
	if err == nil && older != 0 {
		o.Log.Info("migrating the queue", "from", older, "to", known.current)
		q, older, err = load(o, known)
	}
	if err == nil && older != 0 {
		err = fmt.Errorf("the migration from schema %d has left it as it was", older)
	}
	if err != nil {
		return nil, openError(o.Path, err)
	}
	if w := q.FileSystem().Warning(); w.En != "" {
		o.Log.Warn(w.En, "path", o.Path)
	}
	for _, name := range sweep(o.Path) {
		o.Log.Info("removed what was left of a copy that was never finished", "path", name)
	}
	return q, nil
}

// FileSystem says on what the journal lies.
func (q *Queue) FileSystem() FileSystem { return q.options.statfs.look(q.options.Path) }

// openError finds the sentinel in what went wrong.
func openError(path string, err error) error {
	e := &OpenError{Path: path, Err: err}
	if d, ok := errors.AsType[*damage](err); ok {
		e.Err, e.At = ErrDamaged, d.Error()
		return e
	}
	if errors.Is(err, fs.ErrNotExist) {
		e.Err = ErrMissing
		return e
	}
	for _, w := range openWords {
		if errors.Is(err, w.err) {
			e.Err = w.err
			e.At = strings.TrimPrefix(strings.TrimPrefix(err.Error(), w.err.Error()), ": ")
		}
	}
	if errors.Is(err, errForeignBolt) {
		e.Err, e.At = ErrForeign, errForeignBolt.Error()
	}
	return e
}

// load opens the file once. Where its schema is older it migrates the file, closes it, and returns that version.
func load(o Options, known schema) (q *Queue, older uint32, err error) {
	f, err := lock(o.Path)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil || older != 0 {
			f.Close()
		}
	}()
	if err := o.statfs.look(o.Path).fit(); err != nil {
		return nil, 0, err // before bbolt says it in its own words
	}
	// A process that was killed in a compaction or a restore may have left this file with a name that a power cut takes away again: nothing is
	// answered before the name is on disk.
	if err := syncFolder(filepath.Dir(o.Path)); err != nil {
		return nil, 0, err
	}
	w, err := newWalker(f)
	if err != nil {
		return nil, 0, err
	}
	l, h, err := identify(w, known.current)
	if err != nil {
		return nil, 0, err
	}
	ring, err := newRing(o.Key)
	switch {
	case err != nil:
		return nil, 0, err
	case h.schema > known.current:
		return nil, 0, fmt.Errorf("%w: schema %d, this one knows %d", ErrNewerSchema, h.schema, known.current)
	}
	if err := ring.owns(h, o.Store); err != nil {
		return nil, 0, err
	}
	if h.schema < known.current {
		return nil, h.schema, migrate(f, w, o, l, known, h)
	}
	q = newQueue(o, ring)
	q.journal = [16]byte(h.Genesis[:])
	if err := q.replay(w, l, h); err != nil {
		return nil, 0, err
	}
	db, err := openBolt(f, w, o)
	if err != nil {
		return nil, 0, err
	}
	q.db.now.Store(&opened{db, f})
	if err := q.begin(f); err != nil {
		q.db.Close()
		return nil, 0, err
	}
	return q, 0, nil
}

// lock opens the file and makes it this process's own, before anything in it is believed.
func lock(path string) (*os.File, error) { return lockAs(path, os.O_RDWR, unix.LOCK_EX) }

// lockAs opens the file in a mode, and locks it for this process alone (LOCK_EX), or against those who write (LOCK_SH).
func lockAs(path string, mode, how int) (*os.File, error) {
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = ErrInUse
	case err == nil:
		// The name may have come to another file while this one was being opened.
		var here, there os.FileInfo
		if here, err = f.Stat(); err == nil {
			there, err = os.Stat(path)
		}
		if err == nil && !os.SameFile(here, there) {
			err = ErrInUse
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// layout is where a file keeps what it has.
type layout struct {
	schema                  uint32
	journal, sealed, pruned bucket
	runs                    []run // what pruned holds
}

// identify finds the head and the buckets. Of a file of a newer schema it finds the head alone.
func identify(w *walker, current uint32) (l layout, h head, err error) {
	all, err := w.buckets()
	if err != nil {
		return l, h, err
	}
	meta, hasMeta := all[string(bucketMeta)]
	_, hasJournal := all[string(bucketJournal)]
	switch {
	case !hasMeta && !hasJournal:
		return l, h, errForeignBolt
	case hasMeta:
		if h, err = readHead(w, meta, current); err != nil || h.schema > current {
			return l, h, err
		}
	}
	known := 0
	for name, place := range map[string]*bucket{
		string(bucketMeta): &meta, string(bucketJournal): &l.journal, string(bucketSealed): &l.sealed, string(bucketPruned): &l.pruned,
	} {
		b, has := all[name]
		switch {
		case has:
			*place = b
			known++
		case h.schema == 1 && (place == &l.sealed || place == &l.pruned):
			place.inline = emptyInline() // it comes with the migration
		default:
			return l, h, &damage{w.root, fmt.Sprintf("its bucket %q is missing", name)}
		}
	}
	if known != len(all) {
		return l, h, &damage{w.root, "it has a bucket too many"}
	}
	l.schema = h.schema
	l.runs, err = w.runsOf(l.pruned)
	return l, h, err
}

// emptyInline is a small bucket's page with nothing in it.
func emptyInline() []byte {
	p := make([]byte, pageHeaderSize)
	order.PutUint16(p[8:], flagLeaf)
	return p
}

// readHead reads the file's first record.
func readHead(w *walker, meta bucket, current uint32) (h head, err error) {
	found := false
	err = w.entries(meta, func(key, value []byte) error {
		if string(key) != string(keyHead) {
			return &damage{meta.page, "an unknown record stands beside the head"}
		}
		found = true
		h, err = decodeHead(value, current)
		return err
	})
	if err == nil && !found {
		err = &damage{meta.page, "the head is missing"}
	}
	if errors.Is(err, errHeadForeign) || errors.Is(err, errHeadDamaged) {
		err = &damage{meta.page, err.Error()}
	}
	return h, err
}

// genesis is the chain's hash before the first event.
func (h *head) genesis() [hashSize]byte {
	return sha256.Sum256(append([]byte("tideover/1 journal"+h.Store), h.Genesis[:]...))
}

// scan reads the journal in order, checks keys, chain and digests, and hands each event on. sealed says whether its sealed part is there.
func scan(w *walker, l layout, h head, each func(seq uint64, e *edge.Event, sealed bool) error) (last uint64, hash [hashSize]byte, err error) {
	hash = h.genesis()
	vacant := make(vacancies)
	beside := along{runs: l.runs}
	err = w.contents(l, func(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
		if err := beside.before(seq, &hash); err != nil {
			return l.damaged(seq, err)
		}
		e, err := follow(&hash, seq, raw, link, sealed)
		if err != nil {
			return l.damaged(seq, err)
		}
		beside.note(&e)
		last = seq
		vacant.note(seq, &e, sealed)
		if err := each(seq, &e, len(sealed) > 0); err != nil {
			return l.damaged(seq, err)
		}
		return nil
	})
	switch seq := vacant.first(); {
	case err != nil:
	case last != l.journal.sequence:
		err = &damage{l.journal.root, fmt.Sprintf("the journal ends at entry %d, and should at %d", last, l.journal.sequence)}
	case seq != 0:
		err = l.damaged(seq, errMissing)
	default:
		if err = beside.end(); err != nil {
			err = l.damaged(last, err)
		}
	}
	return last, hash, err
}

// openBolt hands the locked file to bbolt. Both meta pages are written and synced anew before: after a failed sync the page cache
// may show a commit that the disk lacks, and all that follows would build on it.
func openBolt(f *os.File, w *walker, o Options) (*bbolt.DB, error) {
	for i, p := range w.metas {
		if _, err := f.WriteAt(p, int64(i)*pageSize); err != nil {
			return nil, err
		}
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(o.Path, 0o600, &bbolt.Options{
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: mapAhead,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	switch {
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENODEV):
		return nil, fmt.Errorf("%w: it has no shared writable maps: %w", ErrFileSystem, err)
	case err != nil:
		return nil, err
	}
	return db, nil
}

// migrate brings an older file up to the version that this program writes, one version after the other.
func migrate(f *os.File, w *walker, o Options, l layout, known schema, h head) error {
	if _, _, err := scan(w, l, h, func(uint64, *edge.Event, bool) error { return nil }); err != nil {
		return err
	}
	db, err := openBolt(f, w, o)
	if err != nil {
		return err
	}
	defer db.Close()
	for h.schema < known.current {
		step := known.migrations[h.schema]
		if step == nil {
			return fmt.Errorf("schema %d cannot be migrated by this version; use an older one first", h.schema)
		}
		h.schema++
		err := step(db, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyHead, h.encode()) })
		if err != nil {
			return fmt.Errorf("migrate to schema %d: %w", h.schema, err)
		}
	}
	return nil
}
