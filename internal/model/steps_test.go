package model

import (
	"slices"

	"tideover"
	"tideover/edge"
	"tideover/hub/ledger"
	"tideover/wire"
)

// verb is what may happen.
type verb uint8

const (
	vPress verb = iota // k: how
	vCancel
	vAcknowledge
	vPerson // k: what the technician does
	vCarry
	vBury
	vCommit
	vDial
	vListen
	vDeliver // k: type; n: which of several
	vTwice   // the same, and the frame stays on its way
	vTell    // a hub says an end of its own accord
	vWork
	vSilent // the same, and the platform's answer is lost
	vArrive // k: what the platform makes of it
	vStray
	vRecord
	vTimeOut
	vMature
	vDecline
	vTick
	vJump
	vProcess
	vReboot
	vReplace
	vOldDies
	vCopy
	vPutBack
	vCut
	vHub
	vCopyBooks
	vPutBooksBack
	vRetell
	vReplayed
	vAnchor
	vTakeOver
	vDrain
	vHint // k: what the caller pretends
	vPrune
	verbs
)

// How a till presses.
const (
	pressedOther = 1 // with another body
	pressedEarly = 2 // its sale may leave before the acceptance is on disk
)

// step is one thing that happens in a world.
type step struct {
	verb     verb
	e, h, tx uint8
	k, n     uint8
}

// enabled appends what may happen next.
func (w *world) enabled(all []step) []step {
	all = w.tillSteps(all)
	for e := range w.routers {
		if w.routers[e].alive {
			all = w.routerSteps(all, uint8(e))
		}
	}
	for h := range w.scenario.hubs {
		all = w.hubSteps(all, uint8(h))
	}
	all = w.netSteps(all)
	return w.faultSteps(all)
}

func (w *world) tillSteps(all []step) []step {
	for i := range w.presses {
		tx := uint8(i)
		if !w.routers[w.till].alive {
			continue
		}
		rec := w.known(w.till, tx)
		if rec == nil && (!w.oracle.pressed[tx] || w.can(fRepeat)) && w.pressable(tx) {
			all = append(all, step{verb: vPress, tx: tx})
			if w.oracle.pressed[tx] && w.can(fOther) {
				all = append(all, step{verb: vPress, tx: tx, k: pressedOther})
			}
			if w.mayPressEarly(tx) {
				all = append(all, step{verb: vPress, tx: tx, k: pressedEarly})
			}
		}
		if w.can(fCancel) && (rec == nil || rec.State == tideover.StateApproved || !rec.Final() && !rec.Undo) {
			all = append(all, step{verb: vCancel, tx: tx})
		}
		if rec == nil {
			continue
		}
		if w.can(fAck) && rec.Final() && !rec.Acknowledged {
			all = append(all, step{verb: vAcknowledge, tx: tx})
		}
		if w.can(fPerson) {
			held, manual := rec.State == tideover.StateHeld, rec.State == tideover.StateManual
			for p := range persons {
				if p == pRelease && !held && !manual || p == pSettle && !manual {
					continue
				}
				all = append(all, step{verb: vPerson, tx: tx, k: uint8(p)})
			}
		}
	}
	return all
}

// pressable says whether a till has a reason to press: what is undone was pressed before.
func (w *world) pressable(tx uint8) bool {
	p := w.presses[tx]
	return !p.kind.Undoes() || w.oracle.pressed[p.original]
}

func (w *world) routerSteps(all []step, e uint8) []step {
	r := &w.routers[e]
	if len(r.tail) > 0 || r.fly != nil {
		all = append(all, step{verb: vCommit, e: e})
	}
	for i := range w.scenario.hubs {
		h := uint8(i)
		l := &r.links[h]
		switch {
		case !l.up:
			if !r.past.Superseded && !w.oracle.banned[e] {
				all = append(all, step{verb: vDial, e: e, h: h})
			}
			continue
		case len(l.said) > 0:
			all = append(all, step{verb: vListen, e: e, h: h})
		}
		if l.shaken {
			all = w.retellSteps(all, e, h)
			// Every ten seconds, if it has moved; it matters where a copy is about.
			if a := w.anchor(e); w.savedDisk != nil && a.Seq > w.ledgers[w.hubs[h].ledger].store.v.AnchorSeq {
				all = append(all, step{verb: vAnchor, e: e, h: h})
			}
		}
	}
	for i := range w.presses {
		all = w.carrySteps(all, e, uint8(i))
	}
	return all
}

// carrySteps are what a router may do about one transaction.
func (w *world) carrySteps(all []step, e, tx uint8) []step {
	r := &w.routers[e]
	if w.flies(e, tx) {
		for h := range w.scenario.hubs {
			if r.calls[tx] == 0 && r.links[h].shaken && w.nextEarly(e).Act == edge.ActSend {
				all = append(all, step{verb: vCarry, e: e, tx: tx, h: uint8(h)})
			}
		}
		return all
	}
	rec := w.known(e, tx)
	s, open := w.next(e, tx)
	local := false
	if open {
		switch s.Act {
		case edge.ActHold:
			return all
		case edge.ActDoubt:
			if changes, err := rec.Look(tideover.CauseDoubt, edge.Note{}); err != nil || !changes {
				return all
			}
			local = true
		case edge.ActExpire, edge.ActMoot, edge.ActFirst, edge.ActManual:
			local = true
		case edge.ActAsk, edge.ActCancel, edge.ActSend, edge.ActSettle:
		}
	}
	bury := rec != nil && rec.Untold && rec.Final() && r.past.Caught
	for h := range w.scenario.hubs {
		switch {
		case open && local:
			return append(all, step{verb: vCarry, e: e, tx: tx})
		case r.calls[tx] != 0 && (!open || r.calls[tx] == kindOf(s.Act)): // it waits for the answer
		case open && r.links[h].shaken:
			all = append(all, step{verb: vCarry, e: e, tx: tx, h: uint8(h)})
		case bury && r.links[h].shaken:
			all = append(all, step{verb: vBury, e: e, tx: tx, h: uint8(h)})
		}
	}
	return all
}

// retellSteps tell a hub that was restored what it has lost.
func (w *world) retellSteps(all []step, e, h uint8) []step {
	r := &w.routers[e]
	if r.welcome == nil || !r.welcome.v.Replay || !r.home {
		return all
	}
	done := true
	for turn := range turns {
		if !done {
			break // what undoes something is accounted under its original, which has to be there first
		}
		for i := range w.presses {
			tx := uint8(i)
			rec := w.known(e, tx)
			if rec == nil || w.turnOf(e, rec) != turn || r.retold[i] == retelling(rec) {
				continue
			}
			done = false
			if r.calls[i] == 0 {
				all = append(all, step{verb: vRetell, e: e, h: h, tx: tx})
			}
		}
	}
	if done && !slices.Contains(r.calls[:], wire.TypeReplay) {
		all = append(all, step{verb: vReplayed, e: e, h: h})
	}
	return all
}

// retelling is what tells that a hub was told of a record as it is now.
func retelling(rec *edge.Record) uint64 {
	if rec.Final() {
		return rec.HubSeq
	}
	return rec.First
}

// turns is how many turns it takes to tell a hub what it has lost: ends, then ends of what undoes, then refunds without an end.
const turns = 3

// turnOf says in which turn a hub that was restored is told of a transaction; turns where it need not be.
func (w *world) turnOf(e uint8, rec *edge.Record) int {
	tx := uint8(w.index[rec.ID])
	switch {
	case w.lostEnd(e, tx) && !rec.Kind.Undoes():
		return 0
	case w.lostEnd(e, tx):
		return 1
	case w.heldFirst(e, rec):
		return 2
	default:
		return turns
	}
}

// heldFirst says whether a hub that was restored has to know of what undoes and has no end before it hears of anything new.
func (w *world) heldFirst(e uint8, rec *edge.Record) bool {
	r, o, past := &w.routers[e], w.original(e, uint8(w.index[rec.ID])), w.past(e)
	switch {
	case r.welcome == nil || !r.welcome.v.Replay || !rec.Kind.Undoes() || !rec.Counts():
		return false
	case rec.Undo, !rec.Lost(past), rec.Stale(past), rec.State == tideover.StateHeld, rec.Behind(o):
		return false // it is not to be sent
	}
	return true
}

// lostEnd says whether a hub that was restored may have lost an end of this journal.
func (w *world) lostEnd(e, tx uint8) bool {
	r, rec := &w.routers[e], w.known(e, tx)
	b := r.disk.rec[tx]
	return rec != nil && b != nil && rec.Final() && b.v.HubSeq > r.welcome.v.LostFrom
}

func (w *world) hubSteps(all []step, h uint8) []step {
	me := &w.hubs[h]
	for i := range w.presses {
		tx := uint8(i)
		row := w.row(me.ledger, tx)
		a := &me.acts[tx]
		switch {
		case row.State == tideover.RowClaimed && a.kind == ledger.ActNone && row.Next(name16(me.owner)) == ledger.ActAsk:
			// Another hub's: what the platform says of it would not be recorded.
		case a.kind == ledger.ActNone && row.State.Open():
			all = append(all, step{verb: vWork, h: h, tx: tx})
			if next := row.Next(name16(me.owner)); w.can(fSilent) && (next == ledger.ActAsk || next == ledger.ActReverse) {
				all = append(all, step{verb: vSilent, h: h, tx: tx})
			}
		case a.kind == ledger.ActCall && !a.arrived:
			for m := range minds {
				if w.minded(tx, m) {
					all = append(all, step{verb: vArrive, h: h, tx: tx, k: uint8(m)})
				}
			}
			fallthrough
		case a.kind != ledger.ActNone:
			if a.kind != ledger.ActCall || a.arrived {
				all = append(all, step{verb: vRecord, h: h, tx: tx})
			}
			if a.kind == ledger.ActCall && (w.can(fSilent) || row.EndAs != tideover.StateNone) {
				all = append(all, step{verb: vTimeOut, h: h, tx: tx})
			}
		}
		if w.mayTakeOver(h, tx) && (w.gone(row) || w.can(fTakeOver)) {
			all = append(all, step{verb: vTakeOver, h: h, tx: tx})
		}
		if w.can(fHint) {
			all = append(all, step{verb: vHint, h: h, tx: tx})
		}
		for e := range w.routers {
			if row.Owed() && w.routers[e].alive && w.routers[e].links[h].shaken && len(w.routers[e].links[h].said) == 0 {
				all = append(all, step{verb: vTell, h: h, e: uint8(e), tx: tx})
			}
		}
	}
	return all
}

func (w *world) netSteps(all []step) []step {
	for i := range w.net {
		f := &w.net[i]
		switch {
		case f.up && f.kind != wire.TypeHello && !w.hubs[f.h].greeted(f.from):
			continue
		case !f.up && !w.routers[f.e].alive:
			continue
		}
		s := step{verb: vDeliver, e: f.e, h: f.h, tx: f.tx, k: uint8(f.kind), n: w.nth(i)}
		all = append(all, s)
		if w.can(fTwice) && f.up && f.kind != wire.TypeHello {
			s.verb = vTwice
			all = append(all, s)
		}
	}
	for i := range w.presses {
		tx := uint8(i)
		p := &w.platform[tx]
		if p.strays > 0 {
			for m := range mLie { // nobody would hear of a lie
				if w.minded(tx, m) {
					all = append(all, step{verb: vStray, tx: tx, k: uint8(m)})
				}
			}
		}
		if p.pending {
			all = append(all, step{verb: vMature, tx: tx})
			if w.can(fRefuse) {
				all = append(all, step{verb: vDecline, tx: tx})
			}
		}
	}
	return all
}

// nth counts the frames like the ith before it, which names it in a step.
func (w *world) nth(i int) (n uint8) {
	f := &w.net[i]
	for j := range i {
		if o := &w.net[j]; o.kind == f.kind && o.e == f.e && o.h == f.h && o.tx == f.tx {
			n++
		}
	}
	return n
}

// find returns the frame that a step names; -1 where it is not there.
func (w *world) find(s step) int {
	n := s.n
	for i := range w.net {
		if f := &w.net[i]; uint8(f.kind) == s.k && f.e == s.e && f.h == s.h && f.tx == s.tx {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}

func (w *world) faultSteps(all []step) []step {
	simple := func(f fault, v verb) {
		if w.can(f) {
			all = append(all, step{verb: v})
		}
	}
	simple(fTick, vTick)
	simple(fJump, vJump)
	for e := range w.routers {
		if !w.routers[e].alive {
			continue
		}
		if w.can(fProcess) && uint8(e) == w.till {
			all = append(all, step{verb: vProcess, e: uint8(e)})
		}
		if w.can(fReboot) && uint8(e) == w.till {
			all = append(all, step{verb: vReboot, e: uint8(e)})
		}
		for h := range w.scenario.hubs {
			if w.can(fCut) && w.routers[e].links[h].up {
				all = append(all, step{verb: vCut, e: uint8(e), h: uint8(h)})
			}
		}
		if w.can(fCopy) && w.savedDisk == nil && uint8(e) == w.till {
			all = append(all, step{verb: vCopy, e: uint8(e)})
		}
	}
	if w.till == 0 {
		simple(fReplace, vReplace)
	} else if w.routers[0].alive {
		all = append(all, step{verb: vOldDies})
	}
	if w.savedDisk != nil {
		all = append(all, step{verb: vPutBack, e: w.till})
	}
	for h := range w.scenario.hubs {
		if w.can(fHub) {
			all = append(all, step{verb: vHub, h: uint8(h)}, step{verb: vDrain, h: uint8(h)})
		}
	}
	if w.can(fHubCopy) && w.saved == nil {
		all = append(all, step{verb: vCopyBooks})
	}
	if w.saved != nil {
		all = append(all, step{verb: vPutBooksBack})
	}
	for tx := range w.presses {
		if w.can(fPrune) && w.prunable(uint8(tx)) {
			all = append(all, step{verb: vPrune, tx: uint8(tx)})
		}
	}
	return all
}
