package ledger

import (
	"fmt"

	"tideover"
)

// Said is what the platform said, or did not say.
type Said uint8

// What the platform may say.
const (
	SaidNothing     Said = iota // silence, an error, an answer that cannot be read
	SaidApproved                // executed
	SaidDeclined                // not executed, and never will be
	SaidPending                 // the platform is at work
	SaidMissing                 // it does not have the id (yet); certifies nothing
	SaidReversed                // executed and undone
	SaidNotExecuted             // certified: not executed, and never will be
)

var saidNames = [...]string{
	SaidNothing: "nothing", SaidApproved: "approved", SaidDeclined: "declined", SaidPending: "pending", SaidMissing: "missing",
	SaidReversed: "reversed", SaidNotExecuted: "not executed",
}

// String returns the word for logs.
func (s Said) String() string {
	if int(s) < len(saidNames) {
		return saidNames[s]
	}
	return fmt.Sprintf("unknown-%d", s)
}

// Answer is the platform's answer to a call or to a question.
type Answer struct {
	Said       Said
	Code       string
	Message    string
	Reference  string
	Amount     int64 // minor units
	Currency   string
	WaitingFor string
}

func (a Answer) outcome(result tideover.State) tideover.Outcome {
	return tideover.Outcome{Result: result, Code: a.Code, Message: a.Message, Reference: a.Reference}
}

// Record takes the answer to a call under a claim (asked is false), or to a question while in doubt (asked is true). An answer to
// an earlier claim's call changes nothing, unless it is an approval: that one counts, and after another end it is undone.
func (v *View) Record(fence uint64, a Answer, asked bool, p Policy, lease Lease) Decision {
	r := v.row()
	if v.without() {
		return Decision{Verdict: Wait, Why: "its original was not looked up"}
	}
	switch {
	case r.State == tideover.RowClaimed && !asked && r.Fence == fence:
	case r.State == tideover.RowInDoubt && asked && r.Fence == fence:
	case a.Said == SaidApproved && (r.State == tideover.RowClaimed || r.State == tideover.RowInDoubt):
		// The call of an earlier claim was executed, whatever a later one is answered.
	case a.Said == SaidApproved && (r.State == tideover.RowRefused || r.State == tideover.RowDone && !r.Approved):
		r.Answered, r.Corrected = true, true
		v.undo(r, tideover.StateNone, "approved after another end: not believed")
		return Decision{Why: r.Why}
	default:
		return Decision{Verdict: Stale, Why: "the answer is not to the present claim"}
	}
	if a.Said != SaidNothing && a.Said != SaidMissing {
		r.Answered = true
	}
	switch a.Said {
	case SaidApproved:
		v.approved(r, a)
	case SaidDeclined, SaidNotExecuted:
		if r.Tombstone {
			// The till has heard the edge's end: only the platform's certificate makes that one certain.
			v.undo(r, r.EndAs, "declined, but the edge has told another end")
		} else {
			v.end(r, tideover.RowDone, a.outcome(tideover.StateDeclined), "the platform's word")
		}
	case SaidReversed:
		v.undo(r, tideover.StateNone, "the platform has undone it already")
		v.reversed(r, a)
	case SaidPending:
		v.pending(r, a, p)
	case SaidMissing:
		v.missing(r, p, lease)
	case SaidNothing:
		v.unheard(r, asked, p)
	}
	return Decision{Why: r.Why}
}

// approved believes an approval over the right money that nobody wants undone.
func (v *View) approved(r *Row, a Answer) {
	want := r.Request.Request
	switch {
	case a.Amount != want.Amount || a.Currency != want.Currency:
		r.Corrected = true
		v.undo(r, r.EndAs, fmt.Sprintf("approved over %d %q instead of %d %q: not believed", a.Amount, a.Currency, want.Amount, want.Currency))
	case r.EndAs != tideover.StateNone:
		v.undo(r, r.EndAs, "approved after a cancel")
	default:
		v.end(r, tideover.RowDone, a.outcome(tideover.StateApproved), "the platform's word")
	}
}

func (v *View) pending(r *Row, a Answer, p Policy) {
	if r.State == tideover.RowClaimed {
		v.doubt(r, "the platform is at work")
	}
	if r.PendingSince == 0 {
		r.PendingSince = v.Now
		r.UpdatedAt = v.Now
	}
	r.WaitingFor = a.WaitingFor
	switch {
	case r.EndAs != tideover.StateNone:
		v.undo(r, r.EndAs, "cancelled while it was pending")
	case v.tooLong(r, p):
		v.undo(r, tideover.StateExpired, "pending for too long")
	}
}

// tooLong says whether a sale has been pending for longer than its customer waits. While the ledger may have lost its end, it is only asked
// about: the till may have shown an approval.
func (v *View) tooLong(r *Row, p Policy) bool {
	return r.Kind() == tideover.KindSale && r.PendingSince != 0 && v.Now >= r.PendingSince.Add(p.PendingMax) && !v.amnesic()
}

// missing: the platform says that it does not have the id. That certifies nothing. Where a repeat has one effect, it is called again.
func (v *View) missing(r *Row, p Policy, lease Lease) {
	switch {
	case r.Answered || r.State != tideover.RowInDoubt:
		// It had the id before, or it answers a call with "not found": there is no sense in that, so nothing is known.
		v.unheard(r, r.State == tideover.RowInDoubt, p)
	case v.amnesic():
		// An end that the ledger has lost may have been told. Nothing is called and nothing barred before the edge has told it again.
	case r.expired(v.Now):
		v.undo(r, tideover.StateExpired, "expired, and the platform does not have it: bar it there")
	case !p.Idempotent:
		v.undo(r, neverExecuted(r), "the platform does not have it, and may not be called twice: bar it there")
	case r.Kind() == tideover.KindRefund && r.Accounted < r.Request.Request.Amount:
		v.undo(r, tideover.StateCancelled, "the original's account does not allow the refund: bar it at the platform")
	default:
		r.Called = true
		v.claimed(r, lease, "the platform does not have it yet and takes a repeat as one: call again")
	}
}

// neverExecuted is the end of a row that was certainly never executed and that nobody cancelled.
func neverExecuted(r *Row) tideover.State {
	if r.Kind() == tideover.KindSale {
		return tideover.StateExpired
	}
	return tideover.StateCancelled
}

// unheard: nothing is known of the call, or of the question. A sale that is too old is undone once it was asked about in vain.
func (v *View) unheard(r *Row, asked bool, p Policy) {
	if r.State == tideover.RowClaimed {
		r.Called = true
		v.doubt(r, "the call's answer is not known")
	}
	switch {
	case r.EndAs != tideover.StateNone:
		v.undo(r, r.EndAs, "cancelled, and it is not known whether it was executed")
	case v.tooLong(r, p):
		v.undo(r, tideover.StateExpired, "pending for too long")
	case asked && r.PendingSince == 0 && r.expired(v.Now) && !v.amnesic():
		v.undo(r, tideover.StateExpired, "expired, and it is not known whether it was executed")
	}
}

// RecordReverse takes the platform's answer to "reverse".
func (v *View) RecordReverse(a Answer, p Policy) Decision {
	r := v.row()
	if v.without() {
		return Decision{Verdict: Wait, Why: "its original was not looked up"}
	}
	if r.State != tideover.RowReversing {
		return Decision{Verdict: Stale, Why: "it is not being undone any more"}
	}
	switch a.Said {
	case SaidReversed:
		v.reversed(r, a)
	case SaidNotExecuted, SaidDeclined:
		switch {
		case r.Approved:
			// It was told to be approved. Either way the customer is not charged, and the till must hear that it was undone.
			a.Message = "the platform certifies that it was not executed"
			v.reversed(r, a)
		case a.Said == SaidDeclined && !r.Tombstone:
			v.end(r, tideover.RowDone, a.outcome(tideover.StateDeclined), "the platform had declined it")
		default:
			as := r.EndAs
			if as == tideover.StateNone {
				as = neverExecuted(r)
			}
			v.refused(r, as, "the platform certifies that it was not executed and never will be")
		}
	default:
		if p.Idempotent {
			return Decision{Why: "not undone yet"}
		}
		r.move(tideover.RowManual, "the platform does not say whether it was undone")
		r.UpdatedAt = v.Now
	}
	return Decision{Why: r.Why}
}

// reversed ends a row that was executed and is undone.
func (v *View) reversed(r *Row, a Answer) {
	r.Corrected = r.Corrected || r.Tombstone
	out := a.outcome(tideover.StateReversed)
	if out.Reference == "" {
		out.Reference = r.Outcome.Reference
	}
	v.end(r, tideover.RowReversed, out, "undone")
}
