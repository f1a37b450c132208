package bolt

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	bbolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover"
	"tideover/hub/ledger"
	"tideover/internal/boottime"
)

// schema is the version of what the file holds. Version 1 has no books.
const schema = 2

// verifyMax is the largest file of which every page and every row is read at each start, at some hundred MB/s. Of a larger one only the
// meta pages and the size are checked; its values carry checksums all the same, which are checked whenever one is read.
const verifyMax = 4 << 30

// The buckets.
var (
	bucketMeta      = []byte("tideover-ledger")
	bucketStores    = []byte("stores")    // store key → ledger.Store
	bucketSecrets   = []byte("secrets")   // store key → sealed store secret
	bucketTerminals = []byte("terminals") // store key → list of terminals
	bucketTokens    = []byte("tokens")    // hash of a token's secret → store's name
	bucketRows      = []byte("rows")      // row key → ledger.Row
	bucketSealed    = []byte("sealed")    // row key → sealed payload and instrument
	bucketOutbox    = []byte("outbox")    // store key, outbox position → id
	bucketOpen      = []byte("open")      // row keys of what has no end yet
	bucketManual    = []byte("manual")    // row keys of what needs a person
	bucketBooks     = []byte("books")     // store key, time, id of every row: see ledger.Place
	buckets         = [][]byte{
		bucketStores, bucketSecrets, bucketTerminals, bucketTokens, bucketRows, bucketSealed, bucketOutbox, bucketOpen, bucketManual,
		bucketBooks,
	}
)

// The keys of the meta bucket.
var (
	metaSchema  = []byte("schema")
	metaID      = []byte("id")
	metaCheck   = []byte("key-check")
	metaCreated = []byte("created")
	metaClock   = []byte("clock") // the highest ledger time that a commit has seen

	// Absent in files of earlier versions, and where there is nothing to say.
	metaEpochs   = []byte("epochs")   // see ledger.History
	metaRestored = []byte("restored") // see ledger.History
	metaCopied   = []byte("copied")   // this file is a copy, made at that ledger time, and was not opened since
)

// keyCheck knows a key again without telling it.
func keyCheck(key [32]byte, id []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte("tideover ledger key check"))
	h.Write(id)
	return h.Sum(nil)
}

func boltOptions() *bbolt.Options {
	return &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: time.Second}
}

// Create makes a ledger with a fresh id. It is built under another name and put in place whole; where there is a file already the
// error is [ErrExists].
func Create(path string, key [32]byte) error {
	if _, err := os.Lstat(path); err == nil {
		return &Error{Path: path, Err: ErrExists}
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return &Error{Path: path, Err: err}
	}
	tmp.Close()
	defer os.Remove(tmp.Name())
	// bbolt fills an empty file by itself.
	db, err := bbolt.Open(tmp.Name(), 0o600, boltOptions())
	if err != nil {
		return &Error{Path: path, Err: err}
	}
	err = db.Update(func(tx *bbolt.Tx) error { return fill(tx, key) })
	if err = errors.Join(err, db.Sync(), db.Close()); err != nil {
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

func fill(tx *bbolt.Tx, key [32]byte) error {
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return err
	}
	id := make([]byte, 16)
	must(rand.Read(id))
	for _, kv := range []struct{ k, v []byte }{
		{metaSchema, schemaNow()},
		{metaID, id},
		{metaCheck, keyCheck(key, id)},
		{metaCreated, binary.BigEndian.AppendUint64(nil, uint64(tideover.MillisOf(time.Now())))},
	} {
		if err := meta.Put(kv.k, kv.v); err != nil {
			return err
		}
	}
	for _, name := range buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Options are what [Open] needs.
type Options struct {
	Path string
	Key  [32]byte // seals payloads, instruments and the stores' secrets
	Log  *slog.Logger
	// Wall is the wall clock; nil is time.Now. Ledger time follows it, but never goes back, nor slower than the boot-time clock.
	Wall func() time.Time
}

// Ledger is an open ledger. Reads may be made from any goroutine; changes need [Ledger.Run].
type Ledger struct {
	db     *bbolt.DB
	vault  vault
	id     [16]byte
	owner  [16]byte
	log    *slog.Logger
	clock  clock
	ops    chan *op
	ended  chan struct{} // closed when Run has ended, or when the ledger is closed without
	ran    atomic.Bool
	counts counts

	history    ledger.History // written at open only, as is restoredAt
	restoredAt tideover.Millis

	durable durable
}

// Open opens a ledger that [Create] made. Errors are [Error]; the file is not written to unless it is whole.
func Open(o Options) (*Ledger, error) {
	l, err := open(o)
	if err == nil {
		return l, nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return nil, &Error{Path: o.Path, Err: e.Err, More: e.More}
	}
	return nil, &Error{Path: o.Path, Err: err}
}

func open(o Options) (*Ledger, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	file, err := lock(o.Path)
	if err != nil {
		return nil, err
	}
	db, err := attach(o.Path, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	l := &Ledger{
		db: db, vault: newVault(o.Key), log: o.Log, clock: clock{wall: o.Wall}, ops: make(chan *op, opsMax), ended: make(chan struct{}),
	}
	must(rand.Read(l.owner[:]))
	if err = l.db.View(func(tx *bbolt.Tx) error { return l.identify(tx, o.Key) }); err == nil {
		err = l.keepBooks()
	}
	if err == nil {
		err = l.begin()
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return l, nil
}

// lock opens the file for this process alone.
func lock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, err
	}
	return file, nil
}

// attach checks the file's pages, then has bbolt use the very file that is locked.
func attach(path string, file *os.File) (*bbolt.DB, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrForeign)
	}
	if err := verify(file, info.Size()); err != nil {
		return nil, err
	}
	if err := rewriteMetas(file); err != nil {
		return nil, err
	}
	options := boltOptions()
	options.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return file, nil }
	return bbolt.Open(path, 0o600, options)
}

// rewriteMetas writes both meta pages as they are read and syncs them. After a sync that failed, the system's cache may hold a commit that
// the disk lacks; what this process goes on from must be on the disk.
func rewriteMetas(file *os.File) error {
	w := walker{file: file, size: 1}
	if err := w.meta(); err != nil {
		return err
	}
	b := make([]byte, 2*w.pageSize)
	if _, err := file.ReadAt(b, 0); err != nil {
		return err
	}
	if _, err := file.WriteAt(b, 0); err != nil {
		return err
	}
	return file.Sync()
}

// identify checks that the file is a ledger, of this version, under this key.
func (l *Ledger) identify(tx *bbolt.Tx, key [32]byte) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return ErrForeign
	}
	version, err := schemaOf(tx)
	if err != nil {
		return err
	}
	id := meta.Get(metaID)
	if len(id) != len(l.id) {
		return fmt.Errorf("%w: no ledger id", ErrDamaged)
	}
	if !hmac.Equal(meta.Get(metaCheck), keyCheck(key, id)) {
		return ErrWrongKey
	}
	copy(l.id[:], id)
	l.durable.through.Store(uint64(tx.ID())) // both meta pages were synced before the file was opened
	for _, name := range buckets {
		if tx.Bucket(name) == nil && !(version < 2 && bytes.Equal(name, bucketBooks)) {
			return fmt.Errorf("%w: no bucket %s", ErrDamaged, name)
		}
	}
	if b := meta.Get(metaClock); b != nil {
		if err := decode(metaClock, b, &l.clock.last); err != nil {
			return err
		}
	}
	l.clock.boot = boottime.Now()
	return l.check(tx)
}

// Close closes the file. [Ledger.Run] must have ended.
func (l *Ledger) Close() error {
	if !l.ran.Swap(true) {
		close(l.ended)
	}
	return l.db.Close()
}

// ID names the ledger, for good.
func (l *Ledger) ID() [16]byte { return l.id }

// Owner names this opening of the ledger: claims of another owner are not this process's.
func (l *Ledger) Owner() [16]byte { return l.owner }
