package queue

import (
	"context"
	"errors"

	"tideover"
	"tideover/edge"
	"tideover/internal/die"
)

// class says what kind of change a request is; the crash tests tell them apart.
type class uint8

const (
	classFlush  class = iota // writes nothing of its own
	classAccept              // queue.accept.before, queue.accept.after
	classOwn                 // queue.own.before, queue.own.after: the edge's own ends, acknowledgements, terminals
)

// entry is an event on its way to the journal.
type entry struct {
	seq    uint64
	event  *edge.Event
	sealed []byte
	lazy   bool
}

func (e *entry) bytes() int64 {
	n := len(e.sealed) + len(e.event.Rules)
	if a := e.event.Accepted; a != nil {
		n += len(a.Key) + len(a.Terminal) + len(a.TerminalUID) + len(a.Request.Order) + len(a.Request.Method) + len(a.Request.Operator)
	}
	if s := e.event.Settlement; s != nil {
		n += len(s.Key) + len(s.Terminal) + len(s.TerminalUID) + len(s.Totals)*totalOverhead
	}
	if o := e.event.Outcome; o != nil {
		n += len(o.Code) + len(o.Message) + len(o.Reference)
	}
	if p := e.event.Receipt; p != nil {
		n += len(p.Terminal)
	}
	return int64(entryOverhead + n + min(n, 2*pageSize)) // it may fill its last page badly, and its neighbour's
}

// request is a call that waits for the committer.
type request struct {
	ctx   context.Context
	class class
	size  int64 // an upper bound of what it adds to a batch, in bytes
	// prepare looks whether the change may be made, and adds what is to be written to the batch. It runs in the committer under mu. An
	// error is the call's answer; errLater keeps the request for the next batch.
	prepare func(*batch) error
	// land shows the change in memory, after the commit, under mu. May be nil.
	land   func()
	err    error
	answer chan struct{}
}

var errLater = errors.New("another change of the same transaction is in this batch")

// batch is what one commit holds.
type batch struct {
	entries  []entry
	landing  []*request // to be answered after the commit
	flying   []tideover.ID
	accepted map[tideover.ID]*record
	open     counts // of accepted
	room     room
	lastRow  func() int64 // see Queue.lastRow; nil once it was asked
	rows     int64        // bytes that are needed in a row, with the last leaf, for the first rowed entries
	rowed    int
	owed     int64    // bytes that stay free beside a reserve
	large    bool     // a sealed part of it is larger than leafMax
	full     bool     // there is no room for all that waited
	space    room     // what room was before it was found to be too little for what waits
	erased   []uint64 // entries whose sealed part goes
	pruning  *pruning // what leaves the journal; nil: nothing
	need     int64
	classes  [classOwn + 1]bool
	ends     bool
	undoes   bool     // a cancel is put on disk
	rules    bool     // a version of the rules is
	reports  []string // the uids of tills of which a report is
	keys     bool     // something is put on record of a key
	turn     [32]byte // the name of the key that seals from here on; zero where that stays
}

// add puts an entry into the batch if there is room for it beside keep bytes that stay free.
func (b *batch) add(e entry, keep int64) bool {
	if keep > 0 {
		keep += b.owed
	}
	if !b.fits(&e, keep) {
		return false
	}
	b.need += e.bytes()
	b.large = b.large || len(e.sealed) > leafMax
	if e.event.Type == edge.EventAccepted {
		b.owed += endRoom
	}
	b.entries = append(b.entries, e)
	b.ends = b.ends || e.event.Type == edge.EventEnded
	b.undoes = b.undoes || e.event.Type == edge.EventUndo || e.event.Type == edge.EventBarred
	return true
}

// force adds an entry for which there is room.
func (b *batch) force(e entry) {
	b.need += e.bytes()
	b.entries = append(b.entries, e)
}

// die marks the instants around a commit for crash tests.
func (b *batch) die(when string) {
	if b.classes[classAccept] {
		die.At("queue.accept" + when)
	}
	if b.ends {
		die.At("queue.end" + when)
	}
	if b.classes[classOwn] {
		die.At("queue.own" + when)
	}
	if b.undoes {
		die.At("queue.cancel" + when)
	}
	if len(b.erased) > 0 {
		die.At("queue.erase" + when)
	}
	if b.pruning != nil {
		die.At("queue.prune" + when)
	}
	if b.rules {
		die.At("queue.rules" + when)
	}
	if len(b.reports) > 0 {
		die.At("queue.settlement" + when)
	}
	if b.keys {
		die.At("queue.key.turn" + when)
	}
}
