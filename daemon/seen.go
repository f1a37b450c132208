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

// Complete implements rules.View: a router that has not heard its hub since it started may be a new one, and does not know it.
func (s seen) Complete() bool { return s.desk.past().Complete() }

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
			age := s.draft.CreatedAt.Time().Sub(r.CreatedAt.Time())
			if r.Boot == s.draft.Boot && r.Boot != [16]byte{} {
				age = max(0, boottime.Now()-r.BootAt)
			}
			if !yield(rules.Seen{Transaction: r.Transaction, Instrument: r.InstrumentHash, Age: age}) {
				return
			}
		}
	}
}
