package rounds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// RecordBytes is what a usual transaction has on disk, as in the measurements that the store was chosen by.
const RecordBytes = 600

// floorFileBytes is the size of the floor's file; it is written from the start again when it is full.
const floorFileBytes = 32 << 20

const (
	// waitingMax is how many records may wait for a committer; who comes after them waits before he hands his over.
	waitingMax = 1024
	// yieldsMax bounds how often a committer lets writers run before it takes what they left, as the queue's does.
	yieldsMax = 8
)

// Committer commits what any number of writers hand it in batches, as the queue's does: what came meanwhile goes into the next one.
type Committer struct {
	write func(records [][]byte) error
	calls chan call
}

type call struct {
	record []byte
	done   chan error
}

// NewCommitter makes one over a function that returns once a batch is durable.
func NewCommitter(write func(records [][]byte) error) *Committer {
	return &Committer{write: write, calls: make(chan call, waitingMax)}
}

// Run commits until ctx ends; nobody may wait for an answer then.
func (c *Committer) Run(ctx context.Context) {
	for {
		var batch []call
		select {
		case <-ctx.Done():
			return
		case first := <-c.calls:
			batch = append(batch, first)
		}
		for quiet, yields := false, 0; !quiet && yields < yieldsMax; yields++ {
			runtime.Gosched()
			quiet = len(c.calls) == 0
			for len(c.calls) > 0 {
				batch = append(batch, <-c.calls)
			}
		}
		records := make([][]byte, len(batch))
		for i := range batch {
			records[i] = batch[i].record
		}
		err := c.write(records)
		for i := range batch {
			batch[i].done <- err
		}
	}
}

// Commit returns once a record is durable. It keeps the record until then.
func (c *Committer) Commit(record []byte) error {
	done := make(chan error, 1)
	c.calls <- call{record, done}
	return <-done
}

// Floor is the least that durability costs on a disk: records appended to a file of zeros, by a [Committer] for all writers.
type Floor struct {
	*Committer
	file  *os.File
	syncs int
	at    int64
}

// NewFloor makes one in a folder, with so many fdatasync for each batch, one after the other. The caller runs it and closes it.
func NewFloor(dir string, syncs int) (*Floor, error) {
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("floor-%d-%d", syncs, os.Getpid())))
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, 1<<20)
	for range floorFileBytes / len(zeros) {
		if _, err := f.Write(zeros); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	l := &Floor{file: f, syncs: syncs}
	l.Committer = NewCommitter(l.append)
	return l, f.Sync()
}

// append writes a batch and syncs it.
func (l *Floor) append(records [][]byte) error {
	all := bytes.Join(records, nil)
	if l.at+int64(len(all)) > floorFileBytes {
		l.at = 0
	}
	_, err := l.file.WriteAt(all, l.at)
	l.at += int64(len(all))
	for range l.syncs {
		err = errors.Join(err, unix.Fdatasync(int(l.file.Fd())))
	}
	return err
}

// Close closes the file, once nothing runs the floor any more.
func (l *Floor) Close() error { return l.file.Close() }
