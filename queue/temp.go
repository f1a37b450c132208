package queue

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A file that is being made has a name for the time being, .NAME.new-RANDOM beside the one that it gets when it is whole. Its maker holds a
// lock on it; a maker that was killed does not, and what it has left goes when the next file is made in that folder, or when the journal
// there is opened. The lock belongs to the open file, so that bbolt's own, which it takes and lets go of, is another one.

const (
	tempMark  = ".new-"
	tempTries = 8 // for a name that no sweeper has taken between its making and its lock
)

// makeTemp makes a file that is to get the name path, mode 0600, and takes it; before that it sweeps the folder.
func makeTemp(path string) (f *os.File, err error) {
	if err := fileSystemOf(filepath.Dir(path)).fit(); err != nil {
		return nil, openError(path, err)
	}
	sweep(path)
	for range tempTries {
		if f, err = os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+tempMark+"*"); err != nil {
			return nil, err
		}
		// Where the file system has no such locks, a sweep takes nothing either.
		if err := take(f); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			here, bad := f.Stat()
			there, gone := os.Lstat(f.Name())
			if bad == nil && gone == nil && os.SameFile(here, there) {
				return f, nil
			}
		}
		f.Close()
	}
	return nil, fmt.Errorf("%s is taken by another process again and again", f.Name())
}

// take locks an open file against other takers, until the last copy of its descriptor is closed.
func take(f *os.File) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})
}

// sweep removes what killed makers have left in the folder of path, and returns the names. It takes nothing that somebody is at work on,
// and nothing that is not a queue's but for what bears the name of path.
func sweep(path string) (swept []string) {
	folder, base := filepath.Dir(path), filepath.Base(path)
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil // it can stay for the next time
	}
	for _, file := range files {
		name := file.Name()
		own := strings.HasPrefix(strings.TrimPrefix(name, "."), base+tempMark) // without the dot: as earlier versions made new journals
		if own || strings.HasPrefix(name, ".") && strings.Contains(name, tempMark) {
			if at := filepath.Join(folder, name); removeLeft(at, own) {
				swept = append(swept, at)
			}
		}
	}
	return swept
}

// removeLeft removes a file where nobody is at work on it, and where it is certainly ours: by its name, or by what is in it.
func removeLeft(path string, own bool) bool {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || take(f) != nil {
		return false
	}
	if !own {
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() || info.Mode().Perm() != 0o600 {
			return false
		}
		var p [pageHeaderSize + metaSize]byte
		if _, err := f.ReadAt(p[:], 0); err != nil || order.Uint32(p[pageHeaderSize:]) != boltMagic ||
			order.Uint32(p[pageHeaderSize+4:]) != boltVersion || order.Uint32(p[pageHeaderSize+8:]) != pageSize {
			return false
		}
	}
	return os.Remove(path) == nil
}
