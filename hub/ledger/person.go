package ledger

import (
	"cmp"
	"fmt"

	"tideover"
	"tideover/wire"
)

// CodeSettled is the code of an end that a person gave.
const CodeSettled = "settled"

// Settle takes a person's word on what no machine can resolve, once: the first word makes the end. Of what has an end already that is
// told, and what the machine is at work on it carries on with.
func (v *View) Settle(m wire.Settle) Decision {
	r := v.row()
	if d, reused := r.reused(m.Submit); reused {
		return d
	}
	none := r.State == tideover.RowNone
	if none {
		v.enter(m.Submit.ID)
	}
	r.heard(m.Submit)
	if v.without() {
		*r = Row{} // nothing is changed
		return Decision{Verdict: Wait, Why: "its original was not looked up"}
	}
	switch {
	case none:
		r.move(tideover.RowManual, "the ledger does not have it, and a person settles it")
	case r.State == tideover.RowManual:
	default:
		v.speak(r)
		return Decision{Why: r.Why}
	}
	why := fmt.Sprintf("settled as %s by %s: %s", m.As, cmp.Or(m.By, "a person"), cmp.Or(m.Reason, "no reason given"))
	to := tideover.RowDone
	if m.As == tideover.StateReversed {
		to = tideover.RowReversed
		v.executed(r)
	}
	r.Corrected = r.HubSeq != 0 && r.Outcome.Result != m.As
	r.Tombstone, r.Answered = false, true
	r.move(to, why)
	v.ended(r, tideover.Outcome{
		Result: m.As, Code: CodeSettled, Message: "settled by a person", Reference: r.Outcome.Reference, At: v.Now,
	}, accounted(r))
	v.tell(r)
	return Decision{Why: r.Why}
}
