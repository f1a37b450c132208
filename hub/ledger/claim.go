package ledger

import (
	"time"

	"tideover"
	"tideover/wire"
)

// Lease is a claim's hold on a row.
type Lease struct {
	Owner [16]byte      // this process
	Until time.Duration // boot-time clock: no call begins after it
}

// The codes of ends that the hub gives by itself, beside those of the terminal's API.
const (
	CodeExpired     = "expired"
	CodeCancelled   = "cancelled"
	CodeNotExecuted = "not_executed"
	CodeUndone      = "00"
)

// Claim takes a transaction's arrival. Whoever comes first claims it; every later copy finds the row and is carried on by its state.
// A claim that cannot be executed any more, or that its original's account does not allow, bars the id for good.
func (v *View) Claim(s wire.Submit, incarnation [16]byte, lease Lease) Decision {
	v.Anchor(incarnation, s.Anchor)
	s.Anchor = wire.Anchor{} // the row is the transaction's alone
	r := v.row()
	if r.State != tideover.RowNone {
		return v.copyOf(s)
	}
	if incarnation != v.Store.Incarnation {
		return refuse(wire.ReasonSuperseded, ErrSuperseded.Error())
	}
	if s.Request.Kind == tideover.KindRefund && v.amnesic() && !s.Again {
		return Decision{Verdict: Wait, Why: "the ledger may have lost its original, or other refunds of that"}
	}
	again := s.Again || v.Orphaned()
	v.enter(s.ID)
	r.heard(s)
	switch {
	case s.CreatedAt != 0 && s.CreatedAt < v.Store.PrunedBefore:
		r.move(tideover.RowManual, "accepted before the ledger's memory begins: it may have been executed")
		return Decision{Why: r.Why}
	case again && r.Kind() == tideover.KindRefund && v.original().State.Open():
		*r = Row{}
		return Decision{Verdict: Wait, Why: "the original has no end yet"}
	case again && r.Kind() != tideover.KindReversal:
		v.holdWhatFits()
		v.doubt(r, "it may have been sent to a ledger that lost it: ask first")
		r.Called = true
		return Decision{Why: r.Why}
	case r.expired(v.Now):
		v.refused(r, tideover.StateExpired, "expired before it was claimed")
		return Decision{Why: r.Why}
	case r.Kind() == tideover.KindRefund:
		if d := v.hold(); d.Verdict != Carry || r.Ended() {
			return d
		}
	}
	v.claimed(r, lease, "claimed")
	return Decision{Fresh: true, Why: r.Why}
}

// enter makes the first row a new one.
func (v *View) enter(id tideover.ID) {
	v.Rows[0] = Row{Store: v.Store.Name, ID: id, CreatedAt: v.Now, UpdatedAt: v.Now}
}

// copyOf takes a request whose id the ledger has.
func (v *View) copyOf(s wire.Submit) Decision {
	r := v.row()
	if d, reused := r.reused(s); reused {
		return d
	}
	r.heard(s)
	v.speak(r)
	return Decision{Why: "a copy of what the ledger has: " + r.Why}
}

// reused refuses another request under an id that the ledger has.
func (r *Row) reused(s wire.Submit) (Decision, bool) {
	if !r.Known() || s.Request.Kind == tideover.KindNone || r.Request.Hash == s.Hash {
		return Decision{}, false
	}
	d := refuse(wire.ReasonKeyReused, "the ledger has this id with another request")
	adopt := r.Request
	d.Refused.Adopt = &adopt
	if r.Ended() && r.HubSeq != 0 {
		end := r.Confirmation()
		d.Refused.End = &end
	}
	return d, true
}

// claimed permits one call.
func (v *View) claimed(r *Row, lease Lease, why string) {
	r.move(tideover.RowClaimed, why)
	r.Fence++
	r.Owner, r.Lease = lease.Owner, lease.Until
	r.UpdatedAt = v.Now
}

// refused ends a row that was certainly never executed.
func (v *View) refused(r *Row, as tideover.State, why string) {
	v.end(r, tideover.RowRefused, refusedOutcome(as), why)
}

func refusedOutcome(as tideover.State) tideover.Outcome {
	if as == tideover.StateExpired {
		return tideover.Outcome{Result: as, Code: CodeExpired, Message: "expired; it was not executed and never will be"}
	}
	return tideover.Outcome{Result: as, Code: CodeCancelled, Message: "cancelled; it was not executed and never will be"}
}

// speak gives an end its place in the outbox where it has none yet: it was barred by something else, and now an edge asks for it.
func (v *View) speak(r *Row) {
	if r.Ended() && r.HubSeq == 0 {
		v.tell(r)
	}
}

// hold takes a refund's amount from what is left of its original, or declines the refund for good.
func (v *View) hold() Decision {
	r, o := v.row(), v.original()
	want := r.Request.Request
	decline := func(code tideover.Code, message string) Decision {
		v.end(r, tideover.RowRefused, tideover.Outcome{Result: tideover.StateDeclined, Code: string(code), Message: message}, message)
		return Decision{Why: message}
	}
	switch {
	case o.State == tideover.RowNone:
		return decline(tideover.CodeOriginalUnknown, "the original is unknown to the ledger")
	case o.State.Open():
		*r = Row{}
		return Decision{Verdict: Wait, Why: "the original has no end yet"}
	case o.State != tideover.RowDone || !o.Approved || o.Kind().Undoes():
		return decline(tideover.CodeOriginalNotApproved, "the original is not an approved sale or advice")
	case o.Request.Request.Currency != want.Currency:
		return decline(tideover.CodeOriginalNotApproved, "the original was approved in another currency")
	case o.Account.Left() < want.Amount:
		return decline(tideover.CodeRefundExceedsOriginal, "the refunds of the original would exceed it")
	}
	o.Account.Refunding += want.Amount
	o.UpdatedAt = v.Now
	r.Accounted = want.Amount
	return Decision{}
}

// holdWhatFits does the same for a refund that may have been executed already: it is not this ledger's to decline it.
func (v *View) holdWhatFits() {
	r := v.row()
	if r.Kind() != tideover.KindRefund {
		return
	}
	if o := v.original(); o.State == tideover.RowDone && o.Approved {
		r.Accounted = min(r.Request.Request.Amount, max(0, o.Account.Left()))
		o.Account.Refunding += r.Accounted
		o.UpdatedAt = v.Now
	}
}

// MayCall says, immediately before the call, whether it may begin: nil, or why not. boot is the boot-time clock, need the call's
// longest time.
func (r *Row) MayCall(lease Lease, fence uint64, now tideover.Millis, boot, need time.Duration) (ok bool, why string) {
	switch {
	case r.State != tideover.RowClaimed || r.Owner != lease.Owner || r.Fence != fence:
		return false, "the claim is not this process's any more"
	case r.EndAs != tideover.StateNone:
		return false, "cancelled before the call"
	case r.expired(now):
		return false, "expired before the call"
	case r.Lease-boot <= need:
		return false, "the rest of the lease is shorter than the call may take"
	}
	return true, ""
}

// Uncalled takes back a claim under which the platform has certainly not been called, for the reason that [Row.MayCall] gave: the row
// ends, is asked about where an earlier claim may have called, or is claimed anew.
func (v *View) Uncalled(fence uint64, lease Lease) Decision {
	r := v.row()
	if r.State != tideover.RowClaimed || r.Fence != fence {
		return Decision{Verdict: Stale}
	}
	as := r.EndAs
	if as == tideover.StateNone && r.expired(v.Now) {
		as = tideover.StateExpired
	}
	switch {
	case as == tideover.StateNone:
		v.claimed(r, lease, "claimed anew: the lease was too short for a call")
	case r.Called:
		v.doubt(r, "too late for a call, but an earlier one may have left")
		if r.EndAs != tideover.StateNone {
			v.undo(r, r.EndAs, "cancelled")
		}
	default:
		v.refused(r, as, "never called, and too late for it")
	}
	return Decision{Why: r.Why}
}
