package ledger

import (
	"time"

	"tideover"
)

// TakeOverAfter is how long the owner of a claim must have been silent before another hub takes over, where a repeated call has one
// effect.
const TakeOverAfter = time.Second

// Lapse takes back the claims of owners that are gone: a call may have left.
func (v *View) Lapse(owner [16]byte) {
	for i := range v.Rows {
		if r := &v.Rows[i]; r.State == tideover.RowClaimed && r.Owner != owner {
			v.lapse(r)
		}
	}
}

// MayTakeOver says whether another hub may take back a claim of an owner that has been silent for a while; leaseOver says that the claim's
// lease has run out by that owner's clock. The owner may still be alive, and call: where a repeat has one effect that does no harm; where it
// has not, only the lease keeps the owner from it.
func (r *Row) MayTakeOver(silent time.Duration, leaseOver bool, p Policy) bool {
	return r.State == tideover.RowClaimed && (leaseOver || p.Idempotent && silent >= TakeOverAfter)
}

// TakeOver takes back the claims of one owner; see [Row.MayTakeOver]. What that owner records later is of an earlier fence.
func (v *View) TakeOver(owner [16]byte) {
	for i := range v.Rows {
		if r := &v.Rows[i]; r.State == tideover.RowClaimed && r.Owner == owner {
			v.lapse(r)
		}
	}
}

func (v *View) lapse(r *Row) {
	r.Called = true
	v.doubt(r, "its owner is gone: a call may have left")
}

// GiveBack takes back a claim under which its owner, which stops, has certainly not called: any hub on this ledger may claim it anew,
// without asking the platform first.
func (v *View) GiveBack(owner [16]byte, fence uint64) Decision {
	r := v.row()
	if r.State != tideover.RowClaimed || r.Owner != owner || r.Fence != fence {
		return Decision{Verdict: Stale, Why: r.Why}
	}
	r.Owner, r.Lease, r.Why = [16]byte{}, 0, "given back by a hub that stops: not called"
	r.UpdatedAt = v.Now
	return Decision{Why: r.Why}
}
