package ledger

import (
	"errors"
	"fmt"
	"time"

	"tideover"
	"tideover/wire"
)

// Policy is what steps need to know of the platform and of this hub.
type Policy struct {
	// Idempotent: a repeated call of an id has one effect. Otherwise an id is called once, ever.
	Idempotent bool
	// PendingMax is how long a sale may be pending before it is reversed.
	PendingMax time.Duration
}

// PendingMax is the usual [Policy.PendingMax].
const PendingMax = 120 * time.Second

// Key names a row.
type Key struct {
	Store string
	ID    tideover.ID
}

// Update is one change of a ledger, as an engine takes it.
type Update struct {
	Store string
	// IDs are the rows that the step sees, in this order.
	IDs []tideover.ID
	// Step reads and changes the view. It may be run more than once, each time on a fresh view. With an error nothing is changed.
	Step func(*View) error
	// Mark names the commit for crash tests: "hub.claim"; may be empty.
	Mark string
}

// ErrStopped is returned by calls on a ledger whose engine has ended. Whether their change was made is not known.
var ErrStopped = errors.New("the ledger has stopped")

// View is what one step may read and change. Rows are in the order of the ids that were asked for; one that the ledger does not have
// has the state none.
type View struct {
	Now     tideover.Millis // ledger time; it never goes back
	History History
	Store   Store
	Rows    []Row
}

// History is what a ledger knows of its own life. A step may not change it.
type History struct {
	// Epochs name the times that the ledger was opened, the newest last. An engine draws one whenever nobody else has the ledger open.
	Epochs [][16]byte
	// Restored is the epoch in which it was found to be a copy that was put in the ledger's place; zero: never.
	Restored [16]byte
}

// Epoch is the present one.
func (h History) Epoch() (e [16]byte) {
	if n := len(h.Epochs); n > 0 {
		e = h.Epochs[n-1]
	}
	return e
}

// Verdict is what follows from a step.
type Verdict uint8

// The verdicts.
const (
	Carry   Verdict = iota // go on by the state of the first row: tell its end, or work on it
	Refuse                 // nothing was taken; tell Refused
	Wait                   // something else must come first: the original's end where there is one; then take the step again
	Unknown                // there is no row
	Stale                  // the event is of an earlier claim, or comes after an end: nothing changed
)

// Decision is what a step says.
type Decision struct {
	Verdict Verdict
	Fresh   bool         // the row was claimed by this very step
	Refused wire.Refused // where the verdict is [Refuse]
	Why     string
}

func refuse(reason wire.Reason, why string) Decision {
	return Decision{Verdict: Refuse, Refused: wire.Refused{Reason: reason, Detail: why}, Why: why}
}

// row returns the row that the step is about.
func (v *View) row() *Row { return &v.Rows[0] }

// original returns the row that a refund or reversal undoes, and nil for other kinds.
func (v *View) original() *Row {
	r := v.row()
	if !r.Kind().Undoes() {
		return nil
	}
	if len(v.Rows) < 2 || v.Rows[1].ID != r.Request.Request.Original {
		panic(fmt.Sprintf("ledger: a step on %s was given no original", r.ID))
	}
	return &v.Rows[1]
}

// without says that a step on the row needs its original and was not given it: what the row is of was heard after its ids were named.
func (v *View) without() bool {
	r := v.row()
	return r.Kind().Undoes() && (len(v.Rows) < 2 || v.Rows[1].ID != r.Request.Request.Original)
}

// Others returns the ids, besides the row's own, that steps on it need.
func (r *Row) Others() []tideover.ID { return Others(r.Request.Request) }

// Others returns the ids, besides its own, that steps on a request's row need.
func Others(r tideover.Request) []tideover.ID {
	if r.Kind.Undoes() {
		return []tideover.ID{r.Original}
	}
	return nil
}

// end gives a row its end, its place in the outbox, and settles what it holds of its original's account. to is done, refused or
// reversed.
func (v *View) end(r *Row, to tideover.RowState, out tideover.Outcome, why string) {
	r.move(to, why)
	out.At = v.Now
	v.ended(r, out, accounted(r)) // all of it, also where less could be held
	v.tell(r)
}

// ended writes a row's end. accounted is what the row takes of its original's account if the end is an approval.
func (v *View) ended(r *Row, out tideover.Outcome, accounted int64) {
	r.Outcome = out
	r.PendingSince, r.WaitingFor, r.Lease, r.Owner = 0, "", 0, [16]byte{}
	before := r.Approved
	switch out.Result {
	case tideover.StateApproved:
		r.Approved = true
		if r.Kind() != tideover.KindReversal {
			r.Account.Approved = r.Request.Request.Amount
		}
	case tideover.StateReversed:
		r.Account.Reversed = true
	default:
		r.Approved = false
	}
	if out.Result != tideover.StateApproved {
		accounted = 0
	}
	if r.Accounted != 0 || accounted != 0 {
		v.settle(r, before, accounted)
	}
}

// settle takes back what a refund holds of its original's account, and enters what it takes for good. approved says whether it had been
// approved before.
func (v *View) settle(r *Row, approved bool, accounted int64) {
	o := v.original()
	if o.State == tideover.RowNone && accounted != 0 {
		v.witness(r)
	}
	if approved {
		o.Account.Refunded -= r.Accounted
	} else {
		o.Account.Refunding -= r.Accounted
	}
	if o.Account.Refunding < 0 || o.Account.Refunded < 0 {
		panic(fmt.Sprintf("ledger: the account of %s does not add up: %+v", o.ID, o.Account))
	}
	o.Account.Refunded += accounted
	if !o.Known() { // see witness
		o.Account.Approved = max(o.Account.Approved, o.Account.Refunding+o.Account.Refunded)
	}
	r.Accounted = accounted
	o.UpdatedAt = v.Now
}

// tell gives a row's end a place in the store's outbox. No place is given twice, whatever copy of the ledger this is: see [View.Hello].
func (v *View) tell(r *Row) {
	s := &v.Store
	if s.HeardIn != v.History.Epoch() && !s.Ahead {
		s.Ahead, s.HeardSeq = true, s.HubSeq
	}
	s.HubSeq++
	r.HubSeq, r.Acked = s.HubSeq, false
	r.UpdatedAt = v.Now
}

// doubt puts a row into "in doubt": a call may have left, and must be asked about.
func (v *View) doubt(r *Row, why string) {
	r.move(tideover.RowInDoubt, why)
	r.Owner, r.Lease = [16]byte{}, 0
	r.UpdatedAt = v.Now
}

// undo begins to undo a row. endAs is what it ends as if it turns out that it was never executed.
func (v *View) undo(r *Row, endAs tideover.State, why string) {
	r.move(tideover.RowReversing, why)
	if r.EndAs == tideover.StateNone {
		r.EndAs = endAs
	}
	r.Owner, r.Lease, r.PendingSince, r.WaitingFor = [16]byte{}, 0, 0, ""
	r.UpdatedAt = v.Now
}

// expired says whether no call of the row may begin any more. Only sales expire; one whose time is not known counts as expired.
func (r *Row) expired(now tideover.Millis) bool {
	return r.Kind() == tideover.KindSale && now >= r.ExpiresAt
}

// heard keeps what a request says, and the earliest expiry that was ever seen of it.
func (r *Row) heard(s wire.Submit) {
	if !r.Known() {
		r.Request = s
		r.Request.Anchor = wire.Anchor{}               // the store's, not the transaction's
		if r.State == tideover.RowDone && r.Approved { // see witness
			r.Account.Approved = max(r.Account.Approved, s.Request.Amount)
		}
	}
	if s.Request.Kind == tideover.KindSale && s.ExpiresAt != 0 && (r.ExpiresAt == 0 || s.ExpiresAt < r.ExpiresAt) {
		r.ExpiresAt = s.ExpiresAt
	}
}
