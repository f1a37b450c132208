package desk

import (
	"context"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// entry is an id that is worked on or listened for. The desk's mutex guards it.
type entry struct {
	listeners map[*listener]struct{}
	running   bool               // it has a worker
	renewed   bool               // somebody came since the worker last read the row: it must read it again before it ends
	kick      chan struct{}      // wakes the worker from a pause
	hinted    bool               // the platform has called back about it since it was last asked
	calling   context.CancelFunc // gives up the call that is under way; nil where none is
	said      wire.Progress      // what the listeners heard last
}

// listener is told what becomes of an id.
type listener struct {
	tell     Listener
	internal bool        // of the desk itself: an end that only such ones hear is pushed
	stop     func() bool // ends the watch over its context
}

// listen attaches a listener until ctx ends, and has the row worked on if it is open.
func (d *Desk) listen(ctx context.Context, k ledger.Key, tell Listener, open, interrupt bool) {
	d.attach(ctx, k, &listener{tell: tell}, open, interrupt)
}

// ensure has an open row worked on.
func (d *Desk) ensure(k ledger.Key) { d.attach(d.base, k, nil, true, false) }

// attach adds a listener, if any, and starts or wakes the row's worker if the row is open. A worker that is running reads the row again
// before it ends, so that no listener misses an end, and none hears one from before its own step.
func (d *Desk) attach(ctx context.Context, k ledger.Key, l *listener, open, interrupt bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[k]
	if e == nil {
		e = &entry{listeners: make(map[*listener]struct{}), kick: make(chan struct{}, 1)}
		d.entries[k] = e
		d.of[k.Store]++
	}
	if l != nil {
		e.listeners[l] = struct{}{}
		l.stop = context.AfterFunc(ctx, func() { d.detach(k, l) })
	}
	switch {
	case e.running:
		e.renewed = true
		e.wake()
		if interrupt && e.calling != nil {
			e.calling()
		}
	case open && !d.stopping:
		e.running, e.renewed = true, false
		d.working[k.ID] = e
		d.work.Go(func() { d.worker(k, e) })
	}
}

func (e *entry) wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

func (d *Desk) detach(k ledger.Key, l *listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[k]
	if e == nil {
		return
	}
	delete(e.listeners, l)
	d.drop(k, e)
}

// drop forgets an entry that nobody needs. The mutex is held.
func (d *Desk) drop(k ledger.Key, e *entry) {
	if !e.running && d.working[k.ID] == e {
		delete(d.working, k.ID)
	}
	if !e.running && len(e.listeners) == 0 && d.entries[k] == e {
		delete(d.entries, k)
		if d.of[k.Store]--; d.of[k.Store] == 0 {
			delete(d.of, k.Store)
		}
	}
}

// progress tells listeners how a row without an end stands, if it is news.
func (d *Desk) progress(e *entry, p wire.Progress) {
	if len(p.WaitingFor) > waitingMax {
		p.WaitingFor = ""
	}
	d.mu.Lock()
	if e.said == p {
		d.mu.Unlock()
		return
	}
	e.said = p
	told := make([]*listener, 0, len(e.listeners))
	for l := range e.listeners {
		told = append(told, l)
	}
	d.mu.Unlock()
	for _, l := range told {
		l.tell(p)
	}
}

// finish ends a worker whose row needs nothing more, and tells the end; false where the row must be read again first.
func (d *Desk) finish(k ledger.Key, e *entry, row ledger.Row) bool {
	d.mu.Lock()
	if e.renewed {
		e.renewed = false
		d.mu.Unlock()
		return false
	}
	e.running = false
	told, heard := make([]*listener, 0, len(e.listeners)), false
	for l := range e.listeners {
		told = append(told, l)
		heard = heard || !l.internal
	}
	if row.Ended() {
		for _, l := range told {
			l.stop()
		}
		clear(e.listeners)
	}
	d.drop(k, e)
	d.mu.Unlock()
	switch {
	case row.Ended():
		end := d.end(&row)
		for _, l := range told {
			l.tell(end)
		}
		if !heard && !row.Acked {
			d.Push(k.Store, end)
		}
	case row.State == tideover.RowManual:
		for _, l := range told {
			l.tell(row.Progress())
		}
	}
	return true
}
