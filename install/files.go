package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// The files of the state directory.
const (
	fileIdentity = "identity.json"
	fileKey      = "edge.key"
	fileCert     = "edge.crt"
	fileCA       = "ca.crt"
	fileSecret   = "store.secret"
	fileQueueKey = "queue.key"
	fileQueue    = "queue.db" // the daemon's; whether it exists matters here

	dirPreparing = ".enroll"   // what an enrolment has gathered
	dirDecided   = ".enrolled" // the same, complete: it only needs to be moved into place
	fileAttempt  = "attempt"   // in dirPreparing: which token the key beside it was made for
)

// secrets may be read by their owner alone.
var secrets = []string{fileKey, fileSecret, fileQueueKey}

// moved is what an enrolment moves into place, the identity last.
var moved = []string{fileQueueKey, fileSecret, fileCA, fileKey, fileCert, fileReceiptKeys, fileIdentity}

const secretSize = 32

// stateDir is an open state directory.
type stateDir string

// path names what is in it. It is kept out of line: see CONTRIBUTING.
//
//go:noinline
func (d stateDir) path(name ...string) string {
	return filepath.Join(append([]string{string(d)}, name...)...)
}

func (d stateDir) has(name ...string) bool {
	_, err := os.Lstat(d.path(name...))
	return err == nil
}

// lock takes the directory for this process, until the returned file is closed or the process ends.
func (d stateDir) lock() (*os.File, error) {
	f, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", d, err)
		}
		return nil, &Error{
			What: text("%s: another enrolment is under way there", "%s：正在进行另一次注册", d), Err: ErrInUse,
			Hint: text("wait until it has ended", "请等待其结束"),
		}
	}
	return f, nil
}

// write puts a file in place whole or not at all, for its owner alone, and syncs it. The directory is synced by sync.
func (d stateDir) write(name string, data []byte) error {
	tmp, err := os.CreateTemp(string(d), "."+name+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", d.path(name), err)
	}
	return os.Rename(tmp.Name(), d.path(name))
}

func (d stateDir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// decide makes what was prepared the machine's identity, and finish moves it into place.
func (d stateDir) decide() error {
	if err := stateDir(d.path(dirPreparing)).sync(); err != nil {
		return err
	}
	if err := os.Rename(d.path(dirPreparing), d.path(dirDecided)); err != nil {
		return err
	}
	return d.sync()
}

// finish moves a decided enrolment into place. It may be interrupted anywhere, and done by two at once.
func (d stateDir) finish() error {
	left, err := os.ReadDir(d.path(dirDecided))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range moved {
		if slices.ContainsFunc(left, func(e fs.DirEntry) bool { return e.Name() == name }) {
			if err := os.Rename(d.path(dirDecided, name), d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := d.sync(); err != nil {
		return err
	}
	if err := os.RemoveAll(d.path(dirDecided)); err != nil {
		return err
	}
	return d.sync()
}

// read reads one file of the enrolment.
func (d stateDir) read(name string) ([]byte, error) {
	path := d.path(name)
	if slices.Contains(secrets, name) {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			return nil, &Error{
				What: text("%s can be read by others (mode %04o)", "%s 可被其他用户读取（权限 %04o）", path, info.Mode().Perm()), Err: ErrExposed,
				Hint: text("chmod 600 %s; if strangers may have read it, enroll this machine again", "请执行 chmod 600 %s；如可能已泄露，请重新注册本机", path),
			}
		}
	}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, d.damaged(name, text("is missing", "缺失"), err)
	case errors.Is(err, fs.ErrPermission):
		return nil, unreadable(path, err)
	case err != nil:
		return nil, err
	}
	return b, nil
}

func unreadable(path string, err error) error {
	return &Error{
		What: text("%s may not be read by this user", "当前用户无权读取 %s", path), Err: err,
		Hint: text("run the command as the user who runs the daemon, or with sudo", "请以运行守护进程的用户身份（或用 sudo）执行该命令"),
	}
}

// readSecret reads a file of exactly secretSize bytes.
func (d stateDir) readSecret(name string) (s [secretSize]byte, err error) {
	b, err := d.read(name)
	if err != nil {
		return s, err
	}
	if len(b) != secretSize {
		return s, d.damaged(name, text("has %d bytes instead of %d", "应为 %[2]d 字节，实为 %[1]d 字节", len(b), secretSize), nil)
	}
	return [secretSize]byte(b), nil
}
