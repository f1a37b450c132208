package hub

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"tideover"
	"tideover/hub/ledger/bolt"
)

// state is the opened state directory: locked, with its keys and the ledger.
type state struct {
	dir    string
	lock   *os.File
	keys   *keyring
	ledger *bolt.Ledger
}

// openState takes a state directory, and sets it up where that was never done.
func openState(dir string, log *slog.Logger) (s *state, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskError("make state directory %s", "无法创建状态目录 %s", err, dir)
	}
	s = &state{dir: dir}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	if s.lock, err = lockDir(dir); err != nil {
		if _, ok := errors.AsType[*Error](err); !ok {
			err = diskError("lock state directory %s", "无法锁定状态目录 %s", err, dir)
		}
		return s, err
	}
	now := time.Now()
	done, err := isSetUp(dir)
	if err != nil {
		return s, err
	}
	path := filepath.Join(dir, fileLedger)
	if !done {
		if err := setUpState(dir, path, now); err != nil {
			return s, err
		}
	}
	if s.keys, err = openKeyring(dir, now); err != nil {
		return s, err
	}
	if s.keys.receipt, err = openReceiptKey(dir, done, log); err != nil {
		return s, err
	}
	if s.ledger, err = bolt.Open(bolt.Options{Path: path, Key: s.keys.seal, Log: log}); err != nil {
		return s, err
	}
	if !done {
		if err := finish(dir, now, tideover.KeyIDOf(publicOf(s.keys.receipt))); err != nil {
			return s, diskError("set up %s", "无法初始化 %s", err, dir)
		}
		log.Info("state directory set up", "dir", dir)
	}
	return s, nil
}

// setUpState fills a fresh directory: the keys, and then the ledger. What hub.json marks as done is the caller's to open first.
func setUpState(dir, path string, now time.Time) error {
	if _, err := os.Stat(path); err == nil {
		if _, err := os.Stat(filepath.Join(dir, fileCAKey)); errors.Is(err, fs.ErrNotExist) {
			return &Error{
				What: text("%s holds a ledger without the rest of a hub's state", "%s 中只有账本，缺少 hub 的其他状态文件", dir),
				Hint: text("restore the whole state directory from a backup, or give the hub an empty one", "请从备份恢复整个状态目录，或改用空目录"),
			}
		}
		// Every key was written before the ledger. So hub.json alone is missing: a crash came before it, or somebody took it away from
		// a hub that is in use. Nothing is made anew; what does not open is an error.
		return nil
	}
	if err := setUp(dir, now); err != nil {
		return diskError("set up %s", "无法初始化 %s", err, dir)
	}
	keys, err := openKeyring(dir, now)
	if err != nil {
		return err
	}
	if err := bolt.Create(path, keys.seal); err != nil {
		return diskError("create %s", "无法创建 %s", err, path)
	}
	return nil
}

// serve runs the ledger's committer for a command that works without a hub; end stops it.
func (s *state) serve(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ledger.Run(ctx) // a failure reaches whoever waits for a commit
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *state) close() {
	if s.ledger != nil {
		_ = s.ledger.Close()
	}
	if s.lock != nil {
		s.lock.Close()
	}
}
