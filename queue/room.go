package queue

import (
	"errors"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover"
)

const (
	// fullRetry is the pause between attempts to write what found no room.
	fullRetry = time.Second
	// entryOverhead is an upper bound of what an entry needs beside its texts and its sealed part.
	entryOverhead = 1024
	// commitOverhead is what a commit rewrites whatever it holds: the path from the root to the last leaf.
	commitOverhead = 16 * pageSize
	// reserve stays free of accepts, so that ends and acknowledgements of what is open can still be written on a full disk.
	reserve = 256 << 10
	// growMin and growMax bound the steps in which the file grows.
	growMin, growMax = 512 << 10, 16 << 20
)

// measure reads the file's size and how much of it is in use.
func (q *Queue) measure() error {
	info, err := q.file.Stat()
	if err != nil {
		return err
	}
	var used int64
	if err := q.db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size, q.used = info.Size(), used
	return nil
}

// makeRoom returns how many bytes can be written for certain, after trying to make it want. bbolt finds the space there already: it
// neither extends the file in a commit nor meets a full disk there. Pages that are free inside are not counted. Callers hold mu.
func (q *Queue) makeRoom(want int64) (int64, error) {
	have := q.size - q.used - pageSize // bbolt asks for one page more than it uses
	if have >= want || time.Now().Before(q.fullUntil) {
		return have, nil
	}
	step := min(max(q.size/2, growMin), growMax)
	to := min(q.size+max(step, want-have), q.options.SizeMax)
	to -= to % pageSize
	if to > q.size {
		n, err := fillZeros(q.file, q.size, to)
		q.size = max(q.size, n)
		q.syncs++
		switch {
		case err == nil:
			q.fullUntil = time.Time{}
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
			if q.fullUntil.IsZero() {
				q.log.Error("no space is left for the queue", "path", q.options.Path, "err", err)
			}
			q.fullUntil = time.Now().Add(fullRetry)
		default:
			return 0, err
		}
	}
	return q.size - q.used - pageSize, nil
}

// growAhead lets the file grow while nobody waits for it.
func (q *Queue) growAhead() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, err := q.makeRoom(commitOverhead + reserve + growMin)
	return err
}

func storageFull() error {
	return tideover.Refuse(tideover.CodeStorageFull,
		"The router's storage for transactions is full: nothing was stored. Free disk space, or raise the queue's size, and send the same key again.",
		"路由器上的交易存储已满，本次请求没有保存。请清理磁盘或增大队列上限，然后用同一个键重试。")
}

// Full says that an accept of ordinary size finds no room now, and that the file cannot grow. It does not try, and it does not block on
// the disk: where space was made since the last attempt it says so before the next one.
func (q *Queue) Full() bool {
	free := q.free()
	q.mu.Lock()
	defer q.mu.Unlock()
	const need = commitOverhead + reserve + 2*entryOverhead + pageSize
	if q.size-q.used >= need {
		return false
	}
	return min(q.options.SizeMax, q.size+free)-q.used < need || time.Now().Before(q.fullUntil)
}

// free returns how many bytes the file system has left for this user; 0 if it does not tell.
func (q *Queue) free() int64 {
	var s unix.Statfs_t
	if unix.Statfs(q.options.Path, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
