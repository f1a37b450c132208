package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"tideover"
	"tideover/edge"
)

// Check is what a look at the whole of a queue's file has found. Beyond an [Audit] every sealed part was opened, and what the daemon builds
// in its memory from the journal was built.
type Check struct {
	Audit
	Bytes      int64 // of the file
	InUse      int64 // of its pages that hold something; the rest is free, inside or at its end
	FileSystem FileSystem
}

// FileSystem is where a file lies.
type FileSystem struct {
	Name string // "ext4", "tmpfs" ...; the number of its kind in hexadecimal where that is not known here
	Free int64  // bytes that are left there for this user
}

// The file systems that matter here, by the numbers of statfs(2) and linux/magic.h.
var fileSystems = map[int64]string{
	0xef53: "ext4", 0xf2f52010: "f2fs", 0x24051905: "ubifs", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x794c7630: "overlay",
	0x01021994: "tmpfs", 0x858458f6: "ramfs", 0x72b6: "jffs2", 0x4d44: "vfat", 0x2011bab0: "exfat", 0x65735546: "fuse",
	0x6969: "nfs", 0xff534d42: "cifs", 0xfe534d42: "smb2", 0x01021997: "9p",
}

// statfs asks the system about the file system of a file or a folder: [unix.Statfs], or a test's, for what cannot be mounted there.
type statfs func(path string, s *unix.Statfs_t) error

// fileSystemOf says on what a file or a folder lies; nothing where the system does not tell.
func fileSystemOf(path string) FileSystem { return statfs(unix.Statfs).look(path) }

func (ask statfs) look(path string) FileSystem {
	var s unix.Statfs_t
	if ask(path, &s) != nil {
		return FileSystem{}
	}
	kind := int64(s.Type) & math.MaxUint32 // signed, and of 32 bits on some machines
	name, known := fileSystems[kind]
	if !known {
		name = fmt.Sprintf("%#x", kind)
	}
	return FileSystem{Name: name, Free: int64(s.Bavail) * int64(s.Bsize)}
}

// Fit says whether a daemon can have its journal there at all.
func (f FileSystem) Fit() bool { return f.Name != "jffs2" }

// fit is an error where it cannot.
func (f FileSystem) fit() error {
	if f.Fit() {
		return nil
	}
	return fmt.Errorf("%w: it lies on %s, which has no shared writable maps", ErrFileSystem, f.Name)
}

// Warning says why a journal should not lie there; empty where nothing speaks against it.
func (f FileSystem) Warning() tideover.Text {
	switch f.Name {
	case "tmpfs", "ramfs":
		return tideover.Textf("the journal lies in memory (%s): nothing of it survives a reboot; put state_dir on ext4, f2fs or ubifs",
			"日志位于内存（%s）：重启后全部丢失；请将 state_dir 放到 ext4、f2fs 或 ubifs 上", f.Name)
	case "jffs2":
		return tideover.Textf("the journal lies on %s, which has no shared writable maps: the daemon cannot run there; put state_dir on ext4, f2fs or ubifs",
			"日志位于 %s，它不支持可写共享映射，守护进程无法运行；请将 state_dir 放到 ext4、f2fs 或 ubifs 上", f.Name)
	case "nfs", "cifs", "smb2", "9p":
		return tideover.Textf("the journal lies on a network share (%s): what is synced there may still be lost; put state_dir on a disk of this machine",
			"日志位于网络共享（%s）：已同步的数据仍可能丢失；请将 state_dir 放到本机磁盘上", f.Name)
	}
	return tideover.Text{}
}

// opens says whether the keys open an event's sealed part, and find in it what belongs there. Errors are those of [ring.open].
func (r *ring) opens(seq uint64, e *edge.Event, sealed []byte) error {
	if e.Type == edge.EventSettlement && e.Settlement != nil {
		_, err := r.items(seq, e, sealed)
		return err
	}
	var request tideover.Request
	return r.open(seq, e.ID, sealed, &request)
}

// Check looks at every entry as [Queue.Verify] does, beside the work that goes on, and opens every sealed part. Errors: ErrStopped, ctx's.
func (q *Queue) Check(ctx context.Context, anchors ...Anchor) (Check, error) {
	audit, err := q.verify(ctx, true, anchors)
	q.mu.Lock()
	defer q.mu.Unlock()
	return Check{Audit: audit, Bytes: q.size, InUse: q.used - q.freed - q.freeing, FileSystem: fileSystemOf(q.options.Path)}, err
}

// CheckFile looks at the whole of a queue's file that no daemon has open: each of its bytes can be read, every page, the chain and every
// digest are right, the keys open every sealed part but those whose key was destroyed, and a daemon could start on it. Nothing is written. What is wrong with the file is in
// what it returns. Errors, as [*OpenError]: ErrMissing, ErrForeign, ErrNewerSchema, ErrWrongKey, ErrOtherStore, ErrInUse, or the operating
// system's.
func CheckFile(path string, keys Keys, store string, anchors ...Anchor) (Check, error) {
	f, err := lockAs(path, os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		return Check{}, openError(path, err)
	}
	defer f.Close()
	ring, err := newRing(keys)
	if err != nil {
		return Check{}, err
	}
	return checkFile(f, path, ring, store, anchors)
}

// checkFile is [CheckFile] of an open file.
func checkFile(f *os.File, path string, ring *ring, store string, anchors []Anchor) (c Check, err error) {
	c.FileSystem = fileSystemOf(path)
	if c.Bytes, err = readable(f); err != nil {
		c.Flaws = append(c.Flaws, Flaw{0, tideover.Textf("%s: the disk cannot read it: %v", "%s：磁盘无法读取：%v", path, err)})
		return c, nil
	}
	err = verifyFile(f, looking{anchors: anchors, ring: ring, store: store}, &c.Audit)
	if err == nil && len(c.Flaws) == 0 {
		err = replays(f, ring)
	}
	if err == nil && len(c.Flaws) == 0 {
		c.InUse, err = inUse(f)
	}
	if err = c.take(path, err); err != nil {
		return Check{}, err
	}
	return c, nil
}

// readable reads a file from end to end, and returns how long it is. What is in use is looked at elsewhere; here a disk shows that it
// fails where nothing is in use yet.
func readable(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, err // what it is the walker says
	}
	return io.Copy(io.Discard, io.NewSectionReader(f, 0, info.Size()))
}

// replays says whether a daemon could build its memory from a file.
func replays(f *os.File, ring *ring) error {
	w, err := newWalker(f)
	if err != nil {
		return err
	}
	l, h, err := identify(w, schemaNow)
	switch {
	case err != nil:
		return err
	case h.schema < schemaNow:
		return nil // its own version's to read: it is migrated first
	}
	return newQueue(Options{}, ring).replay(w, l, h)
}

// take notes what is wrong with a file itself, and returns what is no flaw of it.
func (a *Audit) take(path string, err error) error {
	if err == nil || errors.Is(err, errFlaw) {
		return nil
	}
	opened, _ := errors.AsType[*OpenError](openError(path, err))
	if errors.Is(opened, ErrDamaged) || errors.Is(opened, ErrTruncated) || errors.Is(opened, ErrEmpty) {
		what, _ := opened.Explain()
		a.Flaws = append(a.Flaws, Flaw{a.Head.Seq, what})
		return nil
	}
	return opened
}
