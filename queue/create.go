package queue

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover"
)

// Ident says whose queue a file is.
type Ident struct {
	Store string
}

// createdSize is how much of a new file is filled with zeros: the first growth comes some hundred transactions later.
const createdSize = 1 << 20

// Create makes an empty queue at path, mode 0600, and returns when it is on disk under that name. It is built under another name in
// the same folder, so that a crash leaves either nothing or a whole file there. It fails with [fs.ErrExist] where path exists, and is
// never called by [Open]: a queue that is missing where one should be is an error for a person.
func Create(path string, keys Keys, id Ident) error {
	return create(path, keys, id, schemaNow)
}

func create(path string, keys Keys, id Ident, schema uint32) (err error) {
	r, err := newRing(keys)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("create queue: %w", &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist})
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create queue: %w", err)
	}
	f, err := makeTemp(path)
	if err != nil {
		return fmt.Errorf("create queue: %w", err)
	}
	temp := f.Name()
	defer os.Remove(temp) // fails after the file has its name
	defer f.Close()
	h := newHead(r.newest, id.Store)
	h.schema = schema
	if err := build(f, h); err != nil {
		return fmt.Errorf("create queue: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("create queue: %w", err)
	}
	if _, err := fillZeros(f, info.Size(), createdSize); err != nil {
		return fmt.Errorf("create queue: %w", err)
	}
	if err := fillHoles(f, createdSize); err != nil { // bbolt leaves one
		return fmt.Errorf("create queue: %w", err)
	}
	if err := renameNew(temp, path); err != nil {
		return fmt.Errorf("create queue: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// newHead begins a journal; key is the name of the one that seals.
func newHead(key [32]byte, store string) head {
	h := head{schema: schemaNow, Store: store, Check: key, Created: tideover.MillisOf(time.Now())}
	rand.Read(h.Genesis[:])
	return h
}

// renameNew gives a file a name that no file has. A file system that cannot promise that relies on the look of a moment ago.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return os.Rename(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// furnish makes an empty database a queue's.
func furnish(db *bbolt.DB, h head) error {
	return db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		for _, name := range [][]byte{bucketJournal, bucketSealed, bucketPruned} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return meta.Put(keyHead, h.encode())
	})
}

// build writes the empty database into a file. Two commits leave both meta pages without a freelist.
func build(f *os.File, h head) error {
	db, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{
		PageSize: pageSize, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return duplicate(f) },
	})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := furnish(db, h); err != nil {
		return err
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketJournal).SetSequence(0) }); err != nil {
		return err
	}
	return db.Close()
}

// fillZeros makes a file size bytes long by writing zeros after its end, which is at from, syncs it, and returns where it ends then.
// Allocated and written blocks make a later fdatasync cheaper than a hole or an extension does.
func fillZeros(f *os.File, from, size int64) (int64, error) {
	zeros := make([]byte, 64<<10)
	for from < size {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-from)], from)
		from += int64(n)
		if err != nil {
			return from, err
		}
	}
	return from, f.Sync()
}

// fillHoles writes zeros where a file of a size reads as zeros and has no place on the disk: bbolt leaves such a hole in a new file, and cp, tar
// and rsync make them of zeros. Writing there could find the disk full. Where the system does not tell of holes there are none.
func fillHoles(f *os.File, size int64) error {
	filled := false
	for at := int64(0); at < size; {
		hole, err := unix.Seek(int(f.Fd()), at, unix.SEEK_HOLE)
		if err != nil || hole >= size {
			break
		}
		end, err := unix.Seek(int(f.Fd()), hole, unix.SEEK_DATA)
		if err != nil || end > size {
			end = size // there is nothing after it
		}
		zeros := make([]byte, 64<<10)
		for at = hole; at < end; {
			n, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at)
			if at += int64(n); err != nil {
				return err
			}
		}
		filled = true
	}
	if !filled {
		return nil
	}
	return f.Sync()
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
