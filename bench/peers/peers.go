package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"github.com/nats-io/nats-server/v2/server"

	"tideover"
	"tideover/bench/rounds"
)

// peer is a store that can do the edge's durable accept.
type peer struct {
	name string
	// open opens what the folder holds, or makes it there, for so many clients at once. Two folders share nothing.
	open func(ctx context.Context, dir string, clients int) (store, error)
	// version says which one was measured.
	version func() string
	// missing says why it cannot be had on this machine; "" is that it can. nil is that it always can.
	missing func() string
}

// absent says why a peer cannot be had on this machine; "" is that it can.
func (p peer) absent() string {
	if p.missing == nil {
		return ""
	}
	return p.missing()
}

// store is an open peer.
type store interface {
	// put returns once the record of that number is durable. Each client calls it one at a time.
	put(ctx context.Context, client int, number uint64) error
	// whole returns the numbers of the records that are there, each byte as it was given.
	whole(ctx context.Context) ([]uint64, error)
	close() error
}

// peers in the order of the table; the queue is the first of them.
var peers = []peer{
	{name: "the queue alone", open: openQueue, version: func() string { return "Tideover " + tideover.Version }},
	{name: "SQLite, a commit a record", open: openSQLite, version: versionSQLite, missing: missingSQLite},
	{name: "SQLite behind a committer", open: openGroupedSQLite, version: versionSQLite, missing: missingSQLite},
	{name: "NATS JetStream", open: openNATS, version: func() string { return "NATS " + server.VERSION }},
	{name: "PostgreSQL", open: openPostgres, version: versionPostgres, missing: missingPostgres},
}

// noise fills records, so that nobody gains by compressing them.
var noise = func() (b [rounds.RecordBytes]byte) {
	rand.NewChaCha8([32]byte{}).Read(b[:])
	return b
}()

// record makes the one of that number: eight bytes of number, then noise.
func record(number uint64) []byte {
	b := noise
	binary.BigEndian.PutUint64(b[:], number)
	return b[:]
}

// numberOf is record's way back; false says that these are not the bytes of any.
func numberOf(b []byte) (uint64, bool) {
	if len(b) != rounds.RecordBytes || string(b[8:]) != string(noise[8:]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}
