package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The sizes that a usual transaction has.
const (
	recordBytes = 600 // on disk, as in the measurements that the store was chosen by
	answerBytes = 560 // a Transaction as the terminal's API writes it
	frameBytes  = 400 // a submit frame
	echoBytes   = 200 // a confirmation frame
)

// floorFileBytes is the size of the floor's file; it is written from the start again when it is full.
const floorFileBytes = 32 << 20

// yieldsMax bounds how often the committer lets writers run before it takes what they left, as the queue's does.
const yieldsMax = 8

// floorLog appends records for any number of writers with one fdatasync a batch: the least that durability costs.
type floorLog struct {
	file  *os.File
	syncs int // one after the other for each batch
	calls chan chan error
}

func newFloorLog(dir string, syncs int) (*floorLog, error) {
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("floor-%d-%d", syncs, os.Getpid())))
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, 1<<20)
	for range floorFileBytes / len(zeros) {
		if _, err := f.Write(zeros); err != nil {
			return nil, err
		}
	}
	l := &floorLog{file: f, syncs: syncs, calls: make(chan chan error, 1024)}
	return l, f.Sync()
}

// run commits until ctx ends.
func (l *floorLog) run(ctx context.Context) {
	record := make([]byte, recordBytes)
	var at int64
	for {
		var batch []chan error
		select {
		case <-ctx.Done():
			return
		case first := <-l.calls:
			batch = append(batch, first)
		}
		for quiet, yields := false, 0; !quiet && yields < yieldsMax; yields++ {
			runtime.Gosched()
			quiet = len(l.calls) == 0
			for len(l.calls) > 0 {
				batch = append(batch, <-l.calls)
			}
		}
		if at+int64(len(batch)*recordBytes) > floorFileBytes {
			at = 0
		}
		_, err := l.file.WriteAt(bytes.Repeat(record, len(batch)), at)
		at += int64(len(batch) * recordBytes)
		for range l.syncs {
			err = errors.Join(err, unix.Fdatasync(int(l.file.Fd())))
		}
		for _, c := range batch {
			c <- err
		}
	}
}

// commit returns once a record is on disk.
func (l *floorLog) commit() error {
	done := make(chan error, 1)
	l.calls <- done
	return <-done
}

// serveFloor is the child process of the two HTTP floors. It prints its address and serves until its standard input is closed.
func serveFloor(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log, err := newFloorLog(dir, 2)
	if err != nil {
		return err
	}
	go log.run(ctx)
	answer := `{"filler":"` + strings.Repeat("x", answerBytes-13) + `"}`
	reply := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, answer)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /empty", reply)
	mux.HandleFunc("POST /synced", func(w http.ResponseWriter, r *http.Request) {
		if err := log.commit(); err != nil {
			panic(err) // the floor is gone: nothing measured after it means anything
		}
		reply(w, r)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: mux}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
