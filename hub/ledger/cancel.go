package ledger

import (
	"tideover"
	"tideover/wire"
)

// Ask tells what the ledger has of an id; it changes nothing but that an end which nobody was told of gets its place in the outbox.
func (v *View) Ask() Decision {
	r := v.row()
	if r.State == tideover.RowNone {
		return Decision{Verdict: Unknown, Why: "the ledger does not have it"}
	}
	v.speak(r)
	return Decision{Why: r.Why}
}

// Cancel bars an id that the ledger does not have, for good, also against a copy that is still on its way; it undoes one that was
// or may have been executed. Where the ledger may have lost the id, only the platform can tell those two apart. A reversal cannot be
// cancelled, and neither can what was refunded in part: those keep their end.
func (v *View) Cancel(m wire.Cancel) Decision {
	r := v.row()
	switch {
	case r.State == tideover.RowNone:
		v.enter(m.ID)
		r.Request = wire.Submit{ID: m.ID, TerminalUID: m.TerminalUID, Terminal: m.Terminal, Key: m.Key, CreatedAt: v.Now}
		r.CancelAsked, r.EndAs = true, tideover.StateCancelled
		if !m.Again && !v.lost() {
			v.refused(r, tideover.StateCancelled, "cancelled before it arrived")
			break
		}
		r.Called = true
		v.doubt(r, "the ledger may have lost it")
		v.undo(r, tideover.StateCancelled, "cancelled, and the ledger may have lost it: bar it at the platform, or undo it")
	case r.Kind() == tideover.KindReversal:
		r.CancelAsked = true
		v.keep(r)
	case r.State == tideover.RowDone && r.Approved:
		return v.cancelApproved(r)
	case r.State.Open():
		v.cancelOpen(r)
	case r.State == tideover.RowManual:
		r.CancelAsked = true
	default:
		r.CancelAsked = true
		v.speak(r)
	}
	return Decision{Why: r.Why}
}

// keep tells a row's end anew: the edge has put the transaction back to "reversing" and must hear an end that it has not heard before.
func (v *View) keep(r *Row) {
	if r.Ended() {
		v.tell(r)
	}
}

func (v *View) cancelApproved(r *Row) Decision {
	switch {
	case r.Account.Refunding > 0:
		return Decision{Verdict: Wait, Why: "a refund of it has no end yet"}
	case v.amnesic():
		return Decision{Verdict: Wait, Why: "the ledger may have lost a refund of it"}
	}
	r.CancelAsked = true
	if r.Account.Refunded > 0 {
		v.keep(r)
		return Decision{Why: "refunded in part already: it stays approved"}
	}
	v.undo(r, tideover.StateCancelled, "cancelled after it was approved")
	return Decision{Why: r.Why}
}

// cancelOpen has a row without an end undone. While a call may be under way its answer is waited for: recording an approval then
// undoes it in the same step.
func (v *View) cancelOpen(r *Row) {
	r.CancelAsked = true
	if !r.Tombstone {
		r.EndAs = tideover.StateCancelled
	}
	r.UpdatedAt = v.Now
	if r.State == tideover.RowInDoubt {
		v.undo(r, r.EndAs, "cancelled while it was in doubt")
	}
}

// Expire takes a tombstone: the edge certifies that it never sent the id and has told its till an end. If the ledger has
// the id all the same, what was executed is undone, and the till is told so.
func (v *View) Expire(e wire.Expire) Decision {
	r := v.row()
	if r.State == tideover.RowNone {
		v.enter(e.Submit.ID)
		r.heard(e.Submit)
		r.Request.Request.Payload, r.Request.Request.Instrument = nil, ""
		r.Tombstone, r.EndAs = true, e.Outcome
		v.refused(r, e.Outcome, "ended by the edge, which never sent it")
		return Decision{Why: r.Why}
	}
	if d, reused := r.reused(e.Submit); reused {
		return d
	}
	if r.State == tideover.RowDone && r.Approved && (r.Account.Refunding > 0 || v.amnesic()) {
		return Decision{Verdict: Wait, Why: "a refund of it has no end yet, or may be lost"}
	}
	r.heard(e.Submit)
	known := r.Tombstone && r.EndAs == e.Outcome
	r.Tombstone, r.EndAs = true, e.Outcome
	switch {
	case known:
		v.speak(r)
	case r.State == tideover.RowDone && r.Account.Refunded > 0:
		// To undo all of it would give back more than was taken, and the till has heard that nothing was.
		v.undo(r, e.Outcome, "the edge has told another end")
		r.move(tideover.RowManual, "the edge has told another end, but parts of it are refunded already")
	case r.State == tideover.RowInDoubt, r.State == tideover.RowDone:
		v.undo(r, e.Outcome, "the edge has told another end")
	case r.State == tideover.RowRefused && r.Outcome.Result != e.Outcome:
		r.Outcome.Result = e.Outcome // certain either way; the till has heard the edge's
		v.tell(r)
	case r.State == tideover.RowReversed:
		r.Corrected = true
		v.tell(r)
	default:
		v.speak(r)
	}
	return Decision{Why: r.Why}
}

// Undo carries a reversal on: its original is undone under the original's own row, once, whoever asks for it; the reversal ends
// together with it. An original that the ledger does not have is barred.
func (v *View) Undo() Decision {
	if v.without() {
		return Decision{Verdict: Wait, Why: "its original was not looked up"}
	}
	r, o := v.row(), v.original()
	if !r.State.Open() {
		return Decision{Verdict: Stale, Why: r.Why}
	}
	switch {
	case v.amnesic():
		return Decision{Verdict: Wait, Why: "the ledger may have lost its original, or a refund of that"}
	case o.State == tideover.RowNone && (v.lost() || v.Store.PrunedBefore != 0):
		return v.needsPerson("its original may have been executed, and is gone from the ledger")
	case o.State == tideover.RowNone:
		v.bar(o)
		return v.undone("nothing was executed, and nothing will be")
	case o.Kind() == tideover.KindReversal:
		return v.notUndone(tideover.CodeOriginalNotApproved, "a reversal cannot be reversed")
	case o.State == tideover.RowRefused, o.State == tideover.RowDone && !o.Approved:
		return v.undone("nothing was executed, and nothing will be")
	case o.State == tideover.RowReversed:
		return v.undone("the original is undone")
	case o.State == tideover.RowManual:
		return v.needsPerson("its original needs a person")
	case !sameMoney(r.Request.Request, o.Request.Request):
		return v.notUndone(tideover.CodeOriginalNotApproved, "the original is over another amount or currency")
	case o.State == tideover.RowDone && o.Account.Refunded > 0:
		return v.notUndone(tideover.CodeRefundExceedsOriginal, "parts of the original are refunded already")
	case o.State == tideover.RowDone && o.Account.Refunding > 0:
		return Decision{Verdict: Wait, Why: "a refund of the original has no end yet"}
	case o.State == tideover.RowDone:
		v.undo(o, tideover.StateCancelled, "reversed after it was approved")
	default:
		v.cancelOpen(o)
	}
	return Decision{Verdict: Wait, Why: "its original is being undone"}
}

// bar refuses the original of a reversal for good. It has no place in the outbox until an edge asks for it: perhaps none has a record
// of it.
func (v *View) bar(o *Row) {
	id := v.row().Request.Request.Original
	*o = Row{Store: v.Store.Name, ID: id, CreatedAt: v.Now, UpdatedAt: v.Now, EndAs: tideover.StateCancelled}
	o.move(tideover.RowRefused, "reversed before it arrived")
	o.Outcome = refusedOutcome(tideover.StateCancelled)
	o.Outcome.At = v.Now
}

// needsPerson leaves a reversal to a person.
func (v *View) needsPerson(why string) Decision {
	r := v.row()
	if r.State == tideover.RowClaimed {
		v.doubt(r, why)
	}
	r.move(tideover.RowManual, why)
	r.UpdatedAt = v.Now
	return Decision{Why: why}
}

// sameMoney says whether a reversal's amount and currency, where it names them, are its original's.
func sameMoney(r, o tideover.Request) bool {
	return (r.Amount == 0 || r.Amount == o.Amount) && (r.Currency == "" || r.Currency == o.Currency)
}

// undone ends a reversal well.
func (v *View) undone(why string) Decision {
	r, o := v.row(), v.original()
	out := tideover.Outcome{Result: tideover.StateApproved, Code: CodeUndone, Message: why, Reference: o.Outcome.Reference}
	v.end(r, tideover.RowDone, out, why)
	return Decision{Why: why}
}

// notUndone ends a reversal that must not be done.
func (v *View) notUndone(code tideover.Code, why string) Decision {
	v.end(v.row(), tideover.RowDone, tideover.Outcome{Result: tideover.StateDeclined, Code: string(code), Message: why}, why)
	return Decision{Why: why}
}

// Acknowledge notes that the edge has these ends on its disk: the edge's present process, since the disk of one that was replaced is not
// the one to keep them. Only the very position that a row's end has now counts; it returns how many did.
func (v *View) Acknowledge(incarnation [16]byte, have []wire.Position) (n int) {
	if incarnation != v.Store.Incarnation {
		return 0
	}
	at := make(map[tideover.ID]uint64, len(have))
	for _, p := range have {
		at[p.ID] = max(at[p.ID], p.HubSeq)
	}
	for i := range v.Rows {
		if r := &v.Rows[i]; r.Ended() && r.HubSeq != 0 && at[r.ID] == r.HubSeq && !r.Acked {
			r.Acked = true
			v.Store.Acked = max(v.Store.Acked, r.HubSeq)
			n++
		}
	}
	return n
}
