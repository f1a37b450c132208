package daemon

import (
	"iter"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/internal/boottime"
	"tideover/queue"
	"tideover/rules"
	"tideover/terminal"
)

// seen shows the queue to the rules.
type seen struct {
	queue.View
	desk  *desk
	draft *edge.Draft
	heard bool
}

// judge asks the rules, inside the accepting commit.
func (s seen) judge(r rules.Rules, o terminal.Override) (edge.Judged, error) {
	override := o == terminal.OverrideDuplicate
	press := rules.Press{Request: s.draft.Request, TerminalUID: s.draft.TerminalUID, Instrument: s.draft.InstrumentHash, Override: override}
	of, err := r.Judge(press, s)
	return edge.Judged{DuplicateOf: of, Override: override && !of.IsZero()}, err
}

// Heard implements rules.View.
func (s seen) Heard() bool { return s.heard }

// Complete implements rules.View: a router that has not heard its hub since it started may be a new one, and does not know it. What
// has left the journal is in the ledger.
func (s seen) Complete() bool { return s.desk.past().Complete() && !s.Pruned() }

// Undone implements rules.View.
func (s seen) Undone(original tideover.ID) rules.Undone { return rules.Undone(s.View.Undone(original)) }

// Since implements rules.View: by ledger time where both instants are known in it, by this router's clock otherwise.
func (s seen) Since(original tideover.Transaction) time.Duration {
	if now, known := s.desk.clock.Now(); known && original.Outcome != nil && original.Outcome.At != 0 {
		return now.Time().Sub(original.Outcome.At.Time())
	}
	return s.draft.CreatedAt.Time().Sub(original.CreatedAt.Time())
}

// Alike implements rules.View. Within one boot age goes by the clock that nobody sets.
func (s seen) Alike(rules.Press) iter.Seq[rules.Seen] {
	return func(yield func(rules.Seen) bool) {
		for r := range s.View.Alike(s.draft) {
			age := ageOf(r, s.draft.Boot, boottime.Now(), s.draft.CreatedAt)
			if !yield(rules.Seen{Transaction: r.Transaction, Instrument: r.InstrumentHash, Age: age}) {
				return
			}
		}
	}
}

// ageOf is how long ago a record was accepted: within one boot by the clock that nobody sets, else by the wall clock, below 0 where that was
// wrong.
func ageOf(r edge.Record, boot [16]byte, bootNow time.Duration, now tideover.Millis) time.Duration {
	if r.Boot == boot && boot != [16]byte{} {
		return max(0, bootNow-r.BootAt)
	}
	return now.Time().Sub(r.CreatedAt.Time())
}
