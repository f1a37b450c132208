package model

import (
	"slices"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/wire"
)

// router is one machine: its disk, and the process that runs on it.
type router struct {
	on, alive bool
	inc       uint64 // of its process
	boot      uint64 // of its machine
	booted    uint8  // the tick at which it was
	journal   uint64
	disk      disk

	// The process's memory.
	mem     [txMax]*box[edge.Record]
	tail    []*box[event] // lazily written events that no commit holds yet
	missing []missed      // ends that could not be taken
	seq     uint64        // the last sequence drawn
	past    edge.Past
	ahead   int8 // ledger time less this world's, in ticks, as the last welcome told it
	known   bool // the ledger's time
	links   [hubMax]link
	calls   [txMax]wire.Type   // what was sent of it and is not answered yet
	epoch   [16]byte           // of the ledger, as heard last
	since   uint64             // the sequence at which it was heard first
	welcome *box[wire.Welcome] // the last one; nil before it
	home    bool               // what its outbox held is on disk
	retold  [txMax]uint64      // ends that were told again to a hub that had lost them, by their positions
	fly     *flight            // accepted, and not on disk yet
	noted   bool               // the journal says that sales may leave early, or will with the next commit
}

// missed is an end that could not be taken.
type missed struct {
	position uint64
	tx       uint8
}

// link is a connection to a hub.
type link struct {
	up     bool
	shaken bool      // the hub's welcome was heard
	said   []content // what is left of welcome, outbox and caught-up
}

// event is a journal's entry before it is on disk.
type event struct {
	edge.Event
	seq uint64
	tx  uint8 // txMax: not a transaction's
}

// disk is what a crash leaves. What a journal's events add up to stands for the events.
type disk struct {
	rec     [txMax]*box[edge.Record]
	have    uint64   // every outbox position up to it was taken
	highest uint64   // position ever taken
	ahead   []uint64 // positions beyond a gap
	epoch   [16]byte // of the ledger, as heard last, and the sequence at which it was heard first
	since   uint64
	gap     bool
	early   bool // sales may have left whose acceptance is not here
	seq     uint64
	heads   *chain // the chain, the newest first
}

// chain is a committed head; the chain of all before it is what a journal can be known by.
type chain struct {
	before *chain
	seq    uint64
	name   uint64
}

// holds says whether the chain has a head.
func (d *disk) holds(seq, name uint64) bool {
	for h := d.heads; h != nil && h.seq >= seq; h = h.before {
		if h.seq == seq {
			return h.name == name
		}
	}
	return false
}

// install puts a new router in place, with an empty disk.
func (w *world) install(e uint8) {
	w.routers[e] = router{on: true, journal: w.draw(), boot: w.draw(), booted: w.tick}
	w.startProcess(e)
}

// startProcess opens the journal, as queue does.
func (w *world) startProcess(e uint8) {
	r := &w.routers[e]
	r.alive, r.inc, r.mem, r.tail, r.missing, r.known = true, w.draw(), r.disk.rec, nil, nil, false
	r.links, r.past, r.welcome, r.home = [hubMax]link{}, edge.Past{Orphans: r.disk.early && w.broken != orphansForgotten}, nil, false
	r.fly, r.noted = nil, r.disk.early
	r.retold, r.calls = [txMax]uint64{}, [txMax]wire.Type{}
	r.epoch, r.since = r.disk.epoch, r.disk.since
	if w.broken == unheard {
		r.past.Caught, r.known, r.ahead = true, true, int8(w.jump) // says what it likes before it has heard
	}
	r.seq = r.disk.seq + seqStep
	started := r.seq
	w.landed(e, started) // the mark
	for tx, b := range r.mem {
		if b == nil {
			continue
		}
		rec := b.v
		if rec.Final() {
			rec.Seq = started
		} else if r.seq++; w.broken == neverReopened {
			rec.Seq = r.seq
		} else {
			if err := rec.Reopen(r.seq); err != nil {
				w.oracle.fail("a journal that was written can be opened again", "%v", err)
			}
		}
		r.mem[tx] = boxed(rec)
	}
}

// landed gives the journal a new head.
func (w *world) landed(e uint8, seq uint64) {
	d := &w.routers[e].disk
	d.seq, d.heads = seq, &chain{before: d.heads, seq: seq, name: w.draw()}
}

// stop ends a router's process: its memory is gone, and its connections are.
func (w *world) stop(e uint8) {
	r := &w.routers[e]
	r.fly = nil
	r.alive, r.mem, r.tail, r.missing, r.links = false, [txMax]*box[edge.Record]{}, nil, nil, [hubMax]link{}
	w.lose(func(f *frame) bool { return !f.up && f.e == e })
}

// hangUp ends a connection: what was in flight to the router is lost, and what may have left is in doubt.
func (w *world) hangUp(e, h uint8) {
	r := &w.routers[e]
	if !r.links[h].up {
		return
	}
	if r.fly != nil && r.fly.rec.v.Left {
		w.touchdown(e) // what is in doubt waits for its commit
	}
	r.links[h], r.calls = link{}, [txMax]wire.Type{}
	w.lose(func(f *frame) bool { return !f.up && f.e == e && f.h == h })
	for tx, b := range r.mem {
		if b != nil && (b.v.State == tideover.StateSent || b.v.State == tideover.StatePending) {
			w.move(e, uint8(tx), tideover.CauseDoubt)
		}
	}
}

// clock is what a router takes for the ledger's time.
func (w *world) clock(e uint8) (tideover.Millis, bool) {
	r := &w.routers[e]
	if w.broken == wallExpiry {
		return w.wallClock(), r.known
	}
	if !r.known {
		return 0, false
	}
	return start.Add(time.Duration(int(w.tick)+int(r.ahead)) * tickLen), true
}

// bootNow is the boot-time clock of a router.
func (w *world) bootNow(e uint8) time.Duration { return w.since(w.routers[e].booted) }

func (w *world) moment(e uint8) edge.Moment {
	r := &w.routers[e]
	now, known := w.clock(e)
	m := edge.Moment{Past: w.past(e), LedgerNow: now, LedgerKnown: known, Boot: name16(r.boot), BootNow: w.bootNow(e)}
	for h := range r.links {
		m.Connected = m.Connected || r.links[h].shaken
	}
	return m
}

// past is what a process knows, or is made to believe.
func (w *world) past(e uint8) edge.Past {
	p := w.routers[e].past
	if w.broken == gapIgnored {
		p.Gap = false
	}
	if w.broken == restoredSends {
		p.Restored, p.Gap = false, false
	}
	if w.broken == notAgain {
		p.LostBefore = 0
	}
	return p
}

// record_ returns what a router has of a transaction; nil where it has nothing.
func (w *world) known(e, tx uint8) *edge.Record {
	if b := w.routers[e].mem[tx]; b != nil {
		return &b.v
	}
	return nil
}

// original returns what a router has of the transaction that another one undoes.
func (w *world) original(e, tx uint8) *edge.Record {
	if o := w.presses[tx].original; w.presses[tx].kind.Undoes() {
		return w.known(e, uint8(o))
	}
	return nil
}

// apply puts an event into memory.
func (w *world) apply(e, tx uint8, seq uint64, ev *edge.Event) {
	r := &w.routers[e]
	var rec edge.Record
	if b := r.mem[tx]; b != nil {
		rec = b.v
	}
	if err := rec.Apply(seq, ev, true); err != nil {
		w.oracle.fail("an event that was decided on can be applied", "%v", err)
		return
	}
	r.mem[tx] = boxed(rec)
}

// lazily lets an event happen that the disk has with the next commit.
func (w *world) lazily(e, tx uint8, ev edge.Event) {
	r := &w.routers[e]
	r.seq++
	if tx < txMax {
		ev.ID = w.ids[tx]
		w.apply(e, tx, r.seq, &ev)
	}
	r.tail = append(slices.Clip(r.tail), boxed(event{ev, r.seq, tx}))
}

// own commits an event, and whatever waits, before anybody sees it.
func (w *world) own(e, tx uint8, ev edge.Event) {
	ev.ID = w.ids[tx]
	if lazy := ev.Type == edge.EventEndedHere || ev.Type == edge.EventBarred && ev.Outcome != nil; lazy && w.broken == lazyEnds {
		w.lazily(e, tx, ev)
		return
	}
	if ev.Type == edge.EventUndo && w.broken == lazyCancel {
		w.lazily(e, tx, ev)
		return
	}
	r := &w.routers[e]
	r.seq++
	seq := r.seq
	r.tail = append(slices.Clip(r.tail), boxed(event{ev, seq, tx}))
	w.commit(e)
	w.apply(e, tx, seq, &ev)
	w.tell("  on disk: %s", ev.Type)
}

// commit writes what waits, and then says so to the hub.
func (w *world) commit(e uint8) {
	r := &w.routers[e]
	w.touchdown(e)
	if len(r.tail) == 0 {
		return
	}
	tail := r.tail
	r.tail = nil
	for _, b := range tail {
		w.land(e, &b.v)
	}
	w.landed(e, tail[len(tail)-1].v.seq)
	for _, b := range tail {
		if ev := &b.v; ev.Type == edge.EventEnded && ev.HubSeq != 0 && w.broken != earlyAck {
			w.acknowledge(e, ev.tx, ev.HubSeq)
		}
	}
}

// land makes one event part of the disk.
func (w *world) land(e uint8, ev *event) {
	d := &w.routers[e].disk
	switch ev.Type {
	case edge.EventHeard:
		d.through(ev.HubSeq)
		if ev.Epoch != d.epoch {
			d.epoch, d.since = ev.Epoch, max(d.since, ev.seq)
		}
		d.early = ev.Early
		return
	case edge.EventGap:
		d.gap = true
		return
	case edge.EventEnded:
		d.add(ev.HubSeq)
	default:
	}
	var rec edge.Record
	if b := d.rec[ev.tx]; b != nil {
		rec = b.v
	}
	if err := rec.Apply(ev.seq, &ev.Event, false); err != nil {
		w.oracle.fail("a journal that is written can be read again", "%v", err)
		return
	}
	d.rec[ev.tx] = boxed(rec)
}

// add, through and miss keep account of the outbox, as queue does.
func (d *disk) add(position uint64) {
	d.highest = max(d.highest, position)
	if position > d.have && !slices.Contains(d.ahead, position) {
		d.ahead = append(slices.Clip(d.ahead), position)
		slices.Sort(d.ahead)
	}
	d.closeGap()
}

func (d *disk) through(position uint64) {
	if position > d.have {
		d.have, d.highest = position, max(d.highest, position)
		d.closeGap()
	}
}

func (d *disk) closeGap() {
	for len(d.ahead) > 0 && d.ahead[0] <= d.have+1 {
		d.have = max(d.have, d.ahead[0])
		d.ahead = slices.Clip(d.ahead[1:])
	}
}

// acknowledge tells every hub that is there of an end on disk. What it names was committed with the head that is said before it.
func (w *world) acknowledge(e, tx uint8, position uint64) {
	r := &w.routers[e]
	for h := range r.links {
		if r.links[h].shaken {
			m := have{Anchor: w.anchor(e), Ack: wire.Position{ID: w.ids[tx], HubSeq: position}}
			w.send(frame{kind: wire.TypeAck, from: r.inc, e: e, h: uint8(h), tx: tx, up: true, body: boxed(m)})
		}
	}
}

// anchor is the head as a router tells it: one that was restored tells none while it holds something open.
func (w *world) anchor(e uint8) wire.Anchor {
	r := &w.routers[e]
	if r.past.Restored && w.reopened(e) {
		return wire.Anchor{}
	}
	return wire.Anchor{Seq: r.disk.heads.seq, Head: headOf(r.disk.heads)}
}

func headOf(h *chain) (b [32]byte) {
	n := name16(h.name)
	copy(b[:], n[:])
	return b
}

func (w *world) reopened(e uint8) bool {
	for _, b := range w.routers[e].mem {
		if b != nil && b.v.Reopened && !b.v.Final() {
			return true
		}
	}
	return false
}

// move makes a change that is in memory only; false where it must not happen.
func (w *world) move(e, tx uint8, cause tideover.Cause) bool {
	r := &w.routers[e]
	b := r.mem[tx]
	if b == nil {
		return false
	}
	changes, err := b.v.Look(cause, edge.Note{})
	if err != nil {
		w.tell("  not moved: %v", err)
		return false
	}
	if changes {
		rec := b.v
		r.seq++
		rec.Move(cause, edge.Note{}, r.seq, 0)
		r.mem[tx] = boxed(rec)
	}
	return true
}
