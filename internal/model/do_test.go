package model

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"tideover/hub/ledger"
	"tideover/wire"
)

// unshare gives a store slices of its own, so that a step that appends to them changes no other world.
func unshare(s *ledger.Store) { s.Past = slices.Clip(s.Past) }

// do makes one step. A step that is not possible here does nothing and returns false.
func (w *world) do(s step) (done bool) {
	if w.oracle.err != nil {
		return false
	}
	defer func() {
		if p := recover(); p != nil {
			w.oracle.fail("nothing panics", "%v\n%s", p, debug.Stack())
			done = true
		}
	}()
	before := w
	if !w.calm {
		before = w.clone()
	}
	said := 0
	if w.story != nil {
		said = len(w.story.lines)
		w.tell("%s", w.describe(s))
	}
	if !w.doOne(s) {
		if w.story != nil {
			w.story.lines = w.story.lines[:min(said, len(w.story.lines))]
		}
		return false
	}
	w.oracle.look(before, w)
	return true
}

func (w *world) doOne(s step) bool {
	switch s.verb {
	case vPress, vCancel, vAcknowledge, vPerson:
		return w.doTill(s)
	case vCarry, vBury, vCommit, vDial, vListen, vRetell, vReplayed, vAnchor:
		return w.doRouter(s)
	case vDeliver, vTwice:
		i := w.find(s)
		if i < 0 || s.verb == vTwice && !w.spend(fTwice) {
			return false
		}
		w.deliver(i, s.verb == vTwice)
	case vTell:
		if !w.row(w.hubs[s.h].ledger, s.tx).Owed() || !w.routers[s.e].links[s.h].shaken {
			return false
		}
		w.tellEnd(s.h, s.e, s.tx)
	case vTakeOver:
		row := w.row(w.hubs[s.h].ledger, s.tx)
		if !w.mayTakeOver(s.h, s.tx) || !w.gone(row) && !w.spend(fTakeOver) {
			return false
		}
		w.takeOver(s.h, s.tx)
	case vHint:
		if !w.spend(fHint) {
			return false
		}
		w.hint(s.h, s.tx)
	case vWork, vSilent, vArrive, vStray, vRecord, vTimeOut, vMature, vDecline:
		return w.doPlatform(s)
	default:
		return w.doFault(s)
	}
	return true
}

func (w *world) doTill(s step) bool {
	if early := s.verb == vPress && s.k == pressedEarly; !early {
		w.touchdown(w.till) // it waits for the commit that is under way
	} else if !w.mayPressEarly(s.tx) {
		return false
	}
	rec := w.known(w.till, s.tx)
	switch s.verb {
	case vPress:
		if w.oracle.pressed[s.tx] && !w.calm && !w.spend(fRepeat) {
			return false
		}
		if s.k == pressedEarly {
			return w.pressEarly(s.tx)
		}
		if s.k == pressedOther && !w.spend(fOther) {
			return false
		}
		w.press(s.tx, s.k == pressedOther)
	case vCancel:
		if !w.spend(fCancel) {
			return false
		}
		w.oracle.asked[s.tx] = true
		w.cancel(s.tx)
	case vAcknowledge:
		if rec == nil || !rec.Final() || !w.calm && !w.spend(fAck) {
			return false
		}
		w.shows(s.tx)
	default:
		if rec == nil || !w.spend(fPerson) {
			return false
		}
		if person(s.k) == pSettle {
			w.oracle.takenOver(s.tx)
		}
		return w.act(person(s.k), s.tx)
	}
	return true
}

func (w *world) doRouter(s step) bool {
	r := &w.routers[s.e]
	if !r.alive {
		return false
	}
	l := &r.links[s.h]
	switch s.verb {
	case vCarry:
		return w.carry(s.e, s.tx, s.h)
	case vBury:
		if rec := w.known(s.e, s.tx); rec == nil || !rec.Untold || !l.shaken {
			return false
		}
		w.bury(s.e, s.tx, s.h)
	case vCommit:
		if len(r.tail) == 0 && r.fly == nil {
			return false
		}
		w.commit(s.e)
	case vDial:
		if l.up {
			return false
		}
		w.dial(s.e, s.h)
	case vListen:
		if len(l.said) == 0 {
			return false
		}
		w.listen(s.e, s.h)
	case vRetell, vReplayed:
		if !l.shaken || !slices.Contains(w.retellSteps(nil, s.e, s.h), s) {
			return false
		}
		if s.verb == vReplayed {
			w.replayed(s.e, s.h)
		} else {
			w.retell(s.e, s.h, s.tx)
		}
	default:
		if !l.shaken {
			return false
		}
		w.sayAnchor(s.e, s.h)
	}
	return true
}

func (w *world) doPlatform(s step) bool {
	p := &w.platform[s.tx]
	a := &w.hubs[s.h].acts[s.tx]
	switch s.verb {
	case vWork, vSilent:
		if a.kind != ledger.ActNone || s.verb == vSilent && !w.spend(fSilent) {
			return false
		}
		w.work(s.h, s.tx, s.verb == vSilent)
	case vArrive:
		if a.kind != ledger.ActCall || a.arrived || !w.minded(s.tx, mind(s.k)) {
			return false
		}
		w.arrive(s.h, s.tx, mind(s.k))
	case vStray:
		if p.strays == 0 || !w.minded(s.tx, mind(s.k)) {
			return false
		}
		w.stray(s.tx, mind(s.k))
	case vRecord:
		if a.kind == ledger.ActNone || a.kind == ledger.ActCall && !a.arrived {
			return false
		}
		w.record(s.h, s.tx)
	case vTimeOut:
		if a.kind != ledger.ActCall {
			return false
		}
		if row := w.row(w.hubs[s.h].ledger, s.tx); row.EndAs == 0 && !w.spend(fSilent) {
			return false
		}
		w.timeOut(s.h, s.tx)
	default:
		if !p.pending || s.verb == vDecline && !w.spend(fRefuse) {
			return false
		}
		w.mature(s.tx, s.verb == vMature)
	}
	return true
}

func (w *world) doFault(s step) bool {
	switch s.verb {
	case vTick:
		w.tick++
		return w.calm || w.spend(fTick)
	case vJump:
		w.jump += 3
		return w.spend(fJump)
	case vProcess, vReboot:
		if !w.routers[s.e].alive || !w.spend(map[verb]fault{vProcess: fProcess, vReboot: fReboot}[s.verb]) {
			return false
		}
		w.stop(s.e)
		if s.verb == vReboot {
			w.routers[s.e].boot, w.routers[s.e].booted = w.draw(), w.tick
		}
		w.startProcess(s.e)
		w.oracle.bothLost(w)
	case vReplace:
		if w.till != 0 || !w.spend(fReplace) {
			return false
		}
		w.replace()
	case vOldDies:
		if w.till == 0 || !w.routers[0].alive {
			return false
		}
		w.stop(0)
	case vCopy:
		if !w.spend(fCopy) {
			return false
		}
		w.copyDisk(s.e)
	case vPutBack:
		if w.savedDisk == nil {
			return false
		}
		w.putBack(s.e)
	case vCut:
		if !w.spend(fCut) {
			return false
		}
		w.hangUp(s.e, s.h)
	case vHub, vDrain:
		if !w.spend(fHub) {
			return false
		}
		if s.verb == vDrain {
			w.giveBack(s.h)
		}
		w.restart(s.h)
	case vPrune:
		if !w.prunable(s.tx) || !w.spend(fPrune) {
			return false
		}
		w.prune(s.tx)
	case vCopyBooks:
		if !w.spend(fHubCopy) {
			return false
		}
		w.copyBooks()
	case vPutBooksBack:
		if w.saved == nil {
			return false
		}
		w.putBooksBack()
	default:
		panic(fmt.Sprintf("model: nothing does %d", s.verb))
	}
	return true
}

// story is what a counterexample tells.
type story struct{ lines []string }

// tell adds a line to the story, if anybody listens.
func (w *world) tell(format string, args ...any) {
	if w.story == nil {
		return
	}
	line := fmt.Sprintf(format, args...)
	if w.calm && slices.Contains(w.story.lines[max(0, len(w.story.lines)-storyRepeat):], line) {
		return
	}
	w.story.lines = append(w.story.lines, line)
}

// storyRepeat is how far back a line is not said again while everybody runs to rest.
const storyRepeat = 40

// describe says what a step is, as a person reads it.
func (w *world) describe(s step) string {
	what := ""
	if int(s.tx) < len(w.presses) {
		what = fmt.Sprintf("%s %d", w.presses[s.tx].kind, s.tx)
	}
	router, hub := fmt.Sprintf("router %d", s.e), fmt.Sprintf("hub %d", s.h)
	switch s.verb {
	case vPress:
		return "the till presses " + what + [...]string{"", ", with another body", ", and its acceptance is on its way to the disk"}[s.k]
	case vCancel:
		return "the till cancels " + what
	case vAcknowledge:
		return "the till acknowledges " + what
	case vPerson:
		return fmt.Sprintf("a technician %s %s", person(s.k), what)
	case vCarry:
		return fmt.Sprintf("%s takes up %s (%s)", router, what, hub)
	case vBury:
		return fmt.Sprintf("%s tells %s its own end of %s", router, hub, what)
	case vCommit:
		return router + " commits what waits"
	case vDial:
		return fmt.Sprintf("%s says hello to %s", router, hub)
	case vListen:
		return fmt.Sprintf("%s hears what %s says", router, hub)
	case vDeliver:
		return fmt.Sprintf("delivered: %s", w.names(s))
	case vTwice:
		return fmt.Sprintf("delivered, and a copy stays on its way: %s", w.names(s))
	case vTell:
		return fmt.Sprintf("%s says the end of %s to %s", hub, what, router)
	case vWork:
		return fmt.Sprintf("%s works on %s", hub, what)
	case vSilent:
		return fmt.Sprintf("%s works on %s, and the answer is lost", hub, what)
	case vArrive:
		return fmt.Sprintf("the platform takes the call of %s and %s %s", hub, mind(s.k), what)
	case vStray:
		return fmt.Sprintf("a late call reaches the platform, which %s %s", mind(s.k), what)
	case vRecord:
		return fmt.Sprintf("%s records the answer about %s", hub, what)
	case vTimeOut:
		return fmt.Sprintf("the call of %s about %s is given up", hub, what)
	default:
		return w.describeFault(s, what, router, hub)
	}
}

func (w *world) describeFault(s step, what, router, hub string) string {
	switch s.verb {
	case vMature:
		return "the platform approves what was pending: " + what
	case vDecline:
		return "the platform declines what was pending: " + what
	case vTick:
		return "time passes"
	case vJump:
		return "the ledger's clock jumps ahead"
	case vProcess:
		return "the process of " + router + " dies and another one starts"
	case vReboot:
		return router + " loses power and starts again"
	case vReplace:
		return "another router takes the place of the first, with an empty disk"
	case vOldDies:
		return "the first router is switched off"
	case vCopy:
		return "the disk of " + router + " is copied"
	case vPutBack:
		return "the disk of " + router + " is replaced by the copy"
	case vCut:
		return fmt.Sprintf("the connection of %s to %s is lost", router, hub)
	case vHub:
		return "the process of " + hub + " dies and another one starts"
	case vCopyBooks:
		return "the ledger is copied"
	case vPutBooksBack:
		return "the ledger is replaced by the copy"
	case vAnchor:
		return fmt.Sprintf("%s tells %s its head", router, hub)
	case vTakeOver:
		return fmt.Sprintf("%s takes %s over from another hub", hub, what)
	case vDrain:
		return "the process of " + hub + " gives its claims back and stops, and another one starts"
	case vHint:
		return fmt.Sprintf("somebody tells %s that there is news of %s", hub, what)
	case vPrune:
		return "the ledger forgets " + what + ", which has ended long ago"
	case vRetell:
		return fmt.Sprintf("%s tells %s again how %s ended", router, hub, what)
	case vReplayed:
		return fmt.Sprintf("%s has told %s all that it had lost", router, hub)
	default:
		return fmt.Sprintf("step %d", s.verb)
	}
}

// names says which frame a step delivers.
func (w *world) names(s step) string {
	kind := map[wire.Type]string{
		wire.TypeHello: "hello", wire.TypeSubmit: "submit", wire.TypeAsk: "ask", wire.TypeCancel: "cancel", wire.TypeExpire: "tombstone",
		wire.TypeAck: "acknowledgement", wire.TypeConfirmation: "confirmation", wire.TypeProgress: "progress", wire.TypeRefused: "refusal",
		wire.TypeSettle: "settle", wire.TypeReplay: "replay", wire.TypeReplayed: "replayed",
	}[wire.Type(s.k)]
	i := w.find(s)
	if i < 0 {
		return kind + " (none)"
	}
	f := &w.net[i]
	about, way := "", fmt.Sprintf("from router %d to hub %d", s.e, s.h)
	if int(s.tx) < len(w.presses) && f.kind != wire.TypeHello {
		about = fmt.Sprintf(" of %s %d", w.presses[s.tx].kind, s.tx)
	}
	if !f.up {
		way = fmt.Sprintf("from hub %d to router %d", s.h, s.e)
	}
	if f.from != w.routers[f.e].inc {
		way += ", of an earlier process"
	}
	return strings.TrimSpace(kind+about+" "+way) + w.detail(f)
}

// detail says what matters in a frame.
func (w *world) detail(f *frame) string {
	switch b := f.body.(type) {
	case *box[answer]:
		return fmt.Sprintf(": %s at position %d", b.v.Outcome.Result, b.v.HubSeq)
	case *box[progress]:
		if b.v.State == 0 {
			return ": unknown to the ledger"
		}
		return ": " + b.v.State.String()
	case *box[wire.Expire]:
		return ": " + b.v.Outcome.String()
	case *box[wire.Submit]:
		if b.v.Again {
			return ", perhaps sent before"
		}
	default:
	}
	return ""
}
