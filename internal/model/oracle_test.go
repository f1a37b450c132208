package model

import (
	"fmt"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// oracle knows what was promised to whom, and fails a world that breaks a promise. Each failure begins with the promise.
type oracle struct {
	err error

	newest   [hubMax]uint64 // the incarnation whose hello each ledger took last
	banned   [routerMax]bool
	lost     [routerMax]bool // the router's disk is not the one that its frames spoke of
	pressed  [txMax]bool
	accepted [txMax]uint8           // the tick of the last acceptance
	expiry   [txMax]tideover.Millis // the earliest that the ledger has seen
	word     [txMax]bool            // a hub has heard a definite word of the platform
	told     [txMax]ends            // what tills have heard
	cancel   [txMax]uint8           // routers that have promised a cancel, as bits
	asked    [txMax]bool            // a cancel was asked for
	settled  [txMax]bool            // by a person
	caught   [txMax]bool            // a hub has heard that the platform executed what it had declined
	gone     [txMax]bool            // an end that was told, and that both sides have lost
	person   [txMax]bool            // it may need one
	copied   bool                   // the ledger is a copy
	unkept   *box[answer]           // a broken hub tells what it does not keep
}

// ends is a set of ends.
type ends uint16

func (s ends) has(st tideover.State) bool { return s&(1<<st) != 0 }

// fail notes the first promise that is broken.
func (o *oracle) fail(promise, format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf("broken promise: %s: %s", promise, fmt.Sprintf(format, args...))
	}
}

// moved looks at what a step has made of a row.
func (o *oracle) moved(tx uint8, was, is *ledger.Row, seqWas, seqIs uint64) {
	if !reachable(was.State, is.State) {
		o.fail("rows move by the table", "transaction %d went from %q to %q", tx, was.State, is.State)
	}
	if is.HubSeq > seqIs || is.HubSeq != was.HubSeq && is.HubSeq <= seqWas && !is.Acked { // one that is acknowledged was told again
		o.fail("outbox positions are never given twice", "transaction %d went from position %d to %d, of %d", tx, was.HubSeq, is.HubSeq, seqIs)
	}
	// What a copy of the ledger has held for refunds may be undone by an end that it is told again; what the platform does is looked at below.
	a := is.Account
	if !o.copied && (a.Refunding < 0 || a.Refunded < 0 || a.Refunding+a.Refunded > a.Approved || a.Reversed && a.Refunded+a.Refunding > 0) {
		o.fail("refunds and reversal are never more than what was approved", "the account of %d is %+v", tx, a)
	}
}

// reachable says whether one step may lead from a row's state to another: it may make several moves.
func reachable(from, to tideover.RowState) bool {
	if tideover.RowMay(from, to) {
		return true
	}
	for _, t := range tideover.RowTransitions() {
		if t.From != from {
			continue
		}
		if tideover.RowMay(t.To, to) {
			return true
		}
		for _, u := range tideover.RowTransitions() {
			if u.From == t.To && tideover.RowMay(u.To, to) {
				return true
			}
		}
	}
	return false
}

// claimed looks at a copy that a hub has taken.
func (o *oracle) claimed(w *world, f *frame, s wire.Submit, d ledger.Decision) {
	l := w.hubs[f.h].ledger
	if d.Fresh && f.from != o.newest[l] {
		o.fail("a superseded router's claims are refused", "transaction %d was claimed by a process that another one has replaced", f.tx)
	}
	if s.ExpiresAt != 0 && d.Verdict != ledger.Refuse && (o.expiry[f.tx] == 0 || s.ExpiresAt < o.expiry[f.tx]) {
		o.expiry[f.tx] = s.ExpiresAt
	}
}

// called looks at a call that leaves for the platform.
func (o *oracle) called(w *world, tx uint8) {
	p := &w.platform[tx]
	sale := w.presses[tx].kind == tideover.KindSale
	switch {
	case !w.idempotent && p.calls > 1:
		o.fail("a platform that is status_only is called once for each id, ever", "transaction %d was called %d times", tx, p.calls)
	case o.word[tx]:
		o.fail("nothing is called after it was answered", "transaction %d was", tx)
	case sale && o.expiry[tx] != 0 && w.ledgerNow() >= o.expiry[tx]:
		o.fail("no call begins after the earliest expiry that was seen", "transaction %d was called too late", tx)
	case sale && time.Duration(w.tick-o.accepted[tx])*tickLen >= saleLife:
		o.fail("a sale is started in time or not at all", "transaction %d was called %d ticks after it was accepted", tx, w.tick-o.accepted[tx])
	}
}

// touched looks at a hub that reverses: a claim of a platform that is called once belongs to its owner while its lease lasts.
func (o *oracle) touched(w *world, h, tx uint8) {
	for i := range w.scenario.hubs {
		a := &w.hubs[i].acts[tx]
		if uint8(i) != h && !w.idempotent && a.kind == ledger.ActCall && !a.arrived && w.since(0) < a.lease {
			o.fail("nobody else reverses what the hub that holds its lease may be calling", "hub %d reverses transaction %d", h, tx)
		}
	}
}

// answered notes that a hub has recorded the platform's word.
func (o *oracle) answered(w *world, tx uint8, a act, d ledger.Decision) {
	if a.kind == ledger.ActReverse && a.answer == ledger.SaidNothing && !w.idempotent {
		o.person[tx] = true
	}
	if w.platform[tx].lied && a.answer == ledger.SaidApproved {
		o.caught[tx] = true
	}
	if a.answer != ledger.SaidNothing && a.answer != ledger.SaidMissing && d.Verdict != ledger.Stale {
		o.word[tx] = true
	}
}

// acked looks at what a router says is on its disk.
func (o *oracle) acked(w *world, f *frame, p wire.Position) {
	if o.lost[f.e] {
		return
	}
	if w.row(w.hubs[f.h].ledger, f.tx).HubSeq != p.HubSeq {
		return // of an end that another has replaced: it counts for nothing
	}
	if b := w.routers[f.e].disk.rec[f.tx]; b == nil || b.v.Final() && b.v.HubSeq < p.HubSeq && !uncharged(b.v.State) {
		o.fail("the hub keeps an end until the router has it on disk",
			"position %d of transaction %d was acknowledged, and is not there", p.HubSeq, f.tx)
	}
}

// greeting looks at what a hello says of the disk.
func (o *oracle) greeting(w *world, e uint8, through uint64) {
	if o.lost[e] || o.banned[0] || o.copied { // a copy gives positions a second time until it hears what was taken
		return
	}
	for tx := range w.presses {
		row, b := w.row(0, uint8(tx)), w.routers[e].disk.rec[tx]
		if row.Owed() && row.HubSeq <= through && (b == nil || b.v.HubSeq < row.HubSeq && !b.v.Undo && !uncharged(b.v.State)) {
			o.fail("a hello says no more than what is on disk", "position %d of transaction %d is not", row.HubSeq, tx)
		}
	}
}

// restPromise is the bit of a cancel that holds at the end, wherever the till is then.
const restPromise = 1 << 7

// promised notes that a cancel was answered well.
func (o *oracle) promised(w *world, e, tx uint8) {
	if w.presses[tx].kind != tideover.KindReversal {
		o.cancel[tx] |= 1<<e | restPromise
	}
}

// forget drops the promises that only a disk knew which is gone: what a router has said offline, and no hub has heard, a new disk cannot
// keep. left is the copy that takes its place, nil for an empty one.
func (o *oracle) forget(w *world, e uint8, left *disk) {
	o.lost[e] = true
	for tx := range w.presses {
		row, rec := w.row(0, uint8(tx)), w.routers[e].disk.rec[tx]
		known := row.CancelAsked || row.Ended() && row.Outcome.Result != tideover.StateApproved || row.State == tideover.RowReversing
		if left != nil && left.rec[tx] != nil && (left.rec[tx].v.Undo || uncharged(left.rec[tx].v.State)) {
			known = true
		}
		o.cancel[tx] &= restPromise // another disk does not know what it must not show
		if known {
			continue
		}
		o.cancel[tx] = 0
		if rec != nil && rec.v.Untold {
			o.told[tx] = 0
		}
	}
}

// bothLost drops what the ledger has lost and no disk has: a router that had heard it is gone with its memory. When both lose the same at
// once, nobody can know.
func (o *oracle) bothLost(w *world) {
	for tx := range w.presses {
		rec := w.known(w.till, uint8(tx))
		if o.copied && !w.row(0, uint8(tx)).Ended() && (rec == nil || !rec.Final()) {
			o.gone[tx] = o.gone[tx] || o.told[tx] != 0
			o.told[tx] = 0
		}
	}
}

// takenOver notes that a person has taken over.
func (o *oracle) takenOver(tx uint8) { o.settled[tx] = true }

// look compares a world with the one before it.
func (o *oracle) look(before, w *world) {
	for tx := range w.presses {
		o.platform(w, uint8(tx))
		for e := range w.routers {
			o.shown(before, w, uint8(e), uint8(tx))
		}
	}
	o.money(w)
}

// platform looks at what is executed.
func (o *oracle) platform(w *world, tx uint8) {
	p := &w.platform[tx]
	told := o.told[tx]
	switch {
	case p.executions > 1 || p.reversals > p.executions:
		o.fail("one effect", "transaction %d was executed %d times and reversed %d times", tx, p.executions, p.reversals)
	case p.executions > 0 && !p.lied && !o.settled[tx] && (told.has(tideover.StateExpired) || told.has(tideover.StateCancelled)):
		o.fail("expired and cancelled are certain", "a till has heard it of transaction %d, which is executed", tx)
	case p.executions > 0 && !p.lied && !o.settled[tx] && told.has(tideover.StateDeclined):
		o.fail("declined is certain", "a till has heard it of transaction %d, which is executed", tx)
	}
}

// shown looks at what a till can see. A till hears at once whatever its router has in memory.
func (o *oracle) shown(before, w *world, e, tx uint8) {
	is, old := w.known(e, tx), before.known(e, tx)
	if is == nil || is == old {
		return
	}
	if old != nil && before.oracle.lost[e] == o.lost[e] {
		if is.Seq < old.Seq || is.Seq == old.Seq && is.State != old.State {
			o.fail("seq grows with each change", "transaction %d went from %s at %d to %s at %d", tx, old.State, old.Seq, is.State, is.Seq)
		}
		if old.Acknowledged && is.Final() && is.State != old.State && (is.State != tideover.StateReversed && !is.Corrected || is.Acknowledged) {
			o.fail("what a till has acknowledged changes only by a correction or a reversal, to be acknowledged anew",
				"transaction %d went from %s to %s", tx, old.State, is.State)
		}
	}
	sameProcess := o.lost[e] == before.oracle.lost[e] && w.routers[e].inc == before.routers[e].inc
	if sameProcess && old != nil && uncharged(old.State) && !is.Final() && w.platform[tx].executions == 0 {
		o.fail("an end is definite", "transaction %d is %s after it was %s, and was never executed", tx, is.State, old.State)
	}
	if is.Final() && e == w.till { // nobody listens to a router that was replaced
		o.end(w, e, tx, is.State)
	}
}

// end looks at an end that a till hears.
func (o *oracle) end(w *world, e, tx uint8, st tideover.State) {
	p, told, kind := &w.platform[tx], o.told[tx], w.presses[tx].kind
	o.told[tx] |= 1 << st
	if kind == tideover.KindReversal || o.settled[tx] {
		return
	}
	negative := told.has(tideover.StateDeclined) || told.has(tideover.StateExpired) || told.has(tideover.StateCancelled)
	switch {
	case st == tideover.StateApproved && p.executions == 0:
		o.fail("approved is the platform's word", "transaction %d is approved, and was never executed", tx)
	case st == tideover.StateApproved && p.wrong:
		o.fail("an approval over another amount is not believed", "transaction %d is approved", tx)
	case st == tideover.StateApproved && negative:
		o.fail("an end is definite", "transaction %d is approved after a till has heard another end", tx)
	case st == tideover.StateApproved && o.cancel[tx]&(1<<e) != 0 && !w.refunded(tx):
		o.fail("cancel means cancel", "transaction %d is shown as approved after its cancel was answered", tx)
	case st != tideover.StateApproved && st != tideover.StateReversed && told.has(tideover.StateApproved) && !p.lied:
		o.fail("an end is definite", "transaction %d is %s after a till has heard that it was approved", tx, st)
	case st == tideover.StateReversed && told.has(tideover.StateApproved) && !w.wanted(tx):
		o.fail("what was approved is undone only through a cancel, a reversal or a correction", "nobody wanted transaction %d undone", tx)
	case st == tideover.StateReversed && p.stays() > 0:
		o.fail("reversed is undone", "transaction %d is reversed, and stays executed", tx)
	}
}

// wanted says whether there is a reason for a transaction to be undone.
func (w *world) wanted(tx uint8) bool {
	o := &w.oracle
	for i, p := range w.presses {
		if p.kind == tideover.KindReversal && p.original == int(tx) && o.pressed[i] {
			return true
		}
	}
	return o.asked[tx] || w.platform[tx].lied || o.copied || o.lost[0] || o.lost[1]
}

// refunded says whether parts of a transaction were given back: it is not undone any more then.
func (w *world) refunded(tx uint8) bool {
	for i, p := range w.presses {
		if p.kind == tideover.KindRefund && p.original == int(tx) && w.platform[i].executions > 0 {
			return true
		}
	}
	return w.row(0, tx).Account.Refunding+w.row(0, tx).Account.Refunded > 0
}

// unheard says whether the platform has executed what it had declined, and nobody was told.
func (o *oracle) unheard(w *world, tx uint8) bool { return w.platform[tx].lied && !o.caught[tx] }

// money looks at what stays of a sale and its refunds.
func (o *oracle) money(w *world) {
	for tx, p := range w.presses {
		if p.kind.Undoes() || o.gone[tx] || o.unheard(w, uint8(tx)) {
			continue
		}
		back := int64(0)
		for i, q := range w.presses {
			if q.kind == tideover.KindRefund && q.original == tx && !o.unheard(w, uint8(i)) {
				back += int64(w.platform[i].stays()) * q.amount
			}
		}
		if back > 0 && back > int64(w.platform[tx].stays())*p.amount {
			o.fail("never is more given back than was taken", "%d of transaction %d, over %d", back, tx, p.amount)
		}
	}
}
