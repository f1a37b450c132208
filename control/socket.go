package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"tideover"
)

// socketMode lets the daemon's own user in, and root, whom no mode keeps out.
const socketMode = 0o600

// pathMax is the longest name that the kernel takes for a socket (sun_path, with its end), in bytes.
const pathMax = 107

// socket is a Unix socket that this process owns, together with the lock that says so.
type socket struct {
	*net.UnixListener
	path string
	lock *os.File
	made fs.FileInfo // what was made, so that nothing else is ever removed
	gone sync.Once   // closed: a second time would remove a successor's socket, which may have the same inode
}

// listen makes the socket at path. One that a dead process left is replaced; a living one is [ErrInUse].
func listen(path string) (*socket, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, socketError(path, err)
	}
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, socketError(path, err)
	}
	s, err := bind(path)
	if err != nil {
		lock.Close()
		return nil, socketError(path, err)
	}
	s.lock = lock
	return s, nil
}

// takeLock holds a lock that the kernel gives back when this process ends, however it ends. The file stays: removing it would let two
// processes lock two files of one name.
func takeLock(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, err
	}
	return lock, nil
}

// errNotSocket and errForeign tell of things at the socket's path that are left alone.
var (
	errNotSocket = errors.New("something that is not a socket is in its place")
	errForeign   = errors.New("another program answers there")
)

// bind makes the socket beside its place, gives it its mode, and moves it there in one step. The lock is held.
func bind(path string) (*socket, error) {
	switch old, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case old.Mode().Type() != fs.ModeSocket:
		return nil, errNotSocket
	default:
		// A daemon of ours would hold the lock. Whoever answers all the same is not ours to push aside.
		if conn, err := dial(path); err == nil {
			conn.Close()
			return nil, errForeign
		}
	}
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%d", os.Getpid()))
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	address, done, err := address(temp)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: address})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	s := &socket{UnixListener: l, path: path}
	if err = os.Chmod(temp, socketMode); err == nil {
		if s.made, err = os.Lstat(temp); err == nil {
			err = os.Rename(temp, path)
		}
	}
	if err != nil {
		l.Close()
		os.Remove(temp)
		return nil, err
	}
	return s, nil
}

// Close stops listening, removes the socket, and gives the lock back, in this order. It may be called twice.
func (s *socket) Close() (err error) {
	s.gone.Do(func() {
		err = s.UnixListener.Close()
		if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.made) {
			os.Remove(s.path)
		}
		s.lock.Close()
	})
	return err
}

// dial connects to the socket at path. It does not wait: a Unix socket takes a connection at once, or not.
func dial(path string) (*net.UnixConn, error) {
	address, done, err := address(path)
	if err != nil {
		return nil, err
	}
	defer done()
	return net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: address})
}

// address returns a name by which the kernel knows path. One that is too long is reached through its directory's descriptor, which done
// closes.
func address(path string) (name string, done func(), err error) {
	if len(path) <= pathMax {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	name = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	if len(name) > pathMax {
		dir.Close()
		return "", nil, syscall.ENAMETOOLONG
	}
	return name, func() { dir.Close() }, nil
}

// socketError says in plain words why a socket cannot be made.
func socketError(path string, err error) error {
	e := &SocketError{Path: path, Err: err}
	another := tideover.Textf("choose another path for admin.socket", "请为 admin.socket 另选路径")
	switch {
	case errors.Is(err, ErrInUse):
		e.What = tideover.Textf("another tideover runs with this control socket", "另一个 tideover 正在使用此控制套接字")
		e.Hint = tideover.Textf("stop that one first, or give this one its own admin.socket and state_dir",
			"请先停止它，或为本实例设置独立的 admin.socket 和 state_dir")
	case errors.Is(err, errForeign):
		e.What, e.Hint = tideover.Textf("another program answers on this socket", "此套接字由其他程序使用"), another
	case errors.Is(err, errNotSocket):
		e.What = tideover.Textf("exists and is not a socket; it is left alone", "已存在且不是套接字；保持原样")
		e.Hint = another
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.What = tideover.Textf("this user may not make a socket there", "当前用户无权在此创建套接字")
		e.Hint = tideover.Textf("run as the service's user, or choose a directory of its own for admin.socket",
			"请以服务用户运行，或为 admin.socket 选择可写的目录")
	case errors.Is(err, syscall.ENAMETOOLONG):
		e.What, e.Hint = tideover.Textf("the path is too long for a socket", "路径过长，无法用作套接字"), another
	default:
		e.What = tideover.Textf("cannot be listened on: %s", "无法监听：%s", plainError(err))
		e.Hint = tideover.Textf("check admin.socket in the configuration", "请检查配置中的 admin.socket")
	}
	return e
}

// plainError is the innermost words of an operating system's error.
func plainError(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return strings.TrimSpace(err.Error())
}
