package sandbox

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"tideover"
	platform "tideover/hub/platform/sandbox"
)

// currency is the one that every till of the sandbox sells in.
const currency = "CNY"

// Verdict compares what the tills were told with what the platform saw. Its counts are of presses.
type Verdict struct {
	Accepted     int       `json:"accepted"`  // the edge answered that it has them on disk
	Confirmed    int       `json:"confirmed"` // of these, a definite end was told, shown and acknowledged
	Lost         int       `json:"lost"`      // accepted or executed, and no till knows the end
	ChargedTwice int       `json:"charged_twice"`
	Approved     int       `json:"approved"`
	Declined     int       `json:"declined"`
	OtherEnds    int       `json:"other_ends"`            // expired, cancelled, reversed
	Cancelled    int       `json:"cancelled"`             // presses whose cancel was answered 200 or 202
	NotUndone    int       `json:"not_undone"`            // of these, the customer is charged all the same
	Charged      int64     `json:"charged_minor"`         // what the platform took, less what it gave back
	TillsHold    int64     `json:"tills_hold_minor"`      // what the tills believe was taken
	Problems     []Problem `json:"problems,omitempty"`    // each of them breaks a promise
	Platform     int       `json:"executed_by_platform"`  // ids that moved money
	Repeated     int       `json:"calls_after_an_answer"` // calls for an id that the platform had answered before
	Calls        int       `json:"calls_to_the_platform"` // calls that asked for an execution
}

// Problem is one press about which till and platform disagree, or that broke the contract on its way.
type Problem struct {
	Terminal string      `json:"terminal,omitempty"`
	Key      string      `json:"key,omitempty"`
	ID       tideover.ID `json:"id"`
	What     string      `json:"what"`
}

// String reads as one line.
func (p Problem) String() string {
	return fmt.Sprintf("%s key %q id %s: %s", p.Terminal, p.Key, p.ID, p.What)
}

// Well says whether every promise was kept.
func (v Verdict) Well() bool {
	return len(v.Problems) == 0 && v.Lost == 0 && v.ChargedTwice == 0 && v.NotUndone == 0 && v.Confirmed == v.Accepted && v.Charged == v.TillsHold
}

// String is the story's last line.
func (v Verdict) String() string {
	return fmt.Sprintf("%d accepted, %d confirmed, %d lost, %d charged twice", v.Accepted, v.Confirmed, v.Lost, v.ChargedTwice)
}

// court is what the judge knows of other presses while it looks at one.
type court struct {
	book     platform.Stats
	reversed map[tideover.ID]bool // by an approved reversal
	refunded map[tideover.ID]bool // by an approved refund, in part or whole
}

// Judge compares. It decides and does nothing else. The money is what the platform says that it holds.
func Judge(notes []Note, book platform.Stats) Verdict {
	v := Verdict{Charged: book.Net[currency], Calls: book.Calls, Repeated: book.RepeatedAfterAnswer, Platform: book.Executed}
	asked := map[tideover.ID]bool{}
	c := court{book: book, reversed: map[tideover.ID]bool{}, refunded: map[tideover.ID]bool{}}
	for _, n := range notes {
		asked[n.ID] = true
		if n.Press.Original == nil || n.End == nil || n.End.State != tideover.StateApproved {
			continue
		}
		if n.Press.Kind == tideover.KindReversal {
			c.reversed[*n.Press.Original] = true
		} else {
			c.refunded[*n.Press.Original] = true
		}
	}
	for _, n := range notes {
		v.note(n, c)
	}
	byText := func(a, b tideover.ID) int { return cmp.Compare(a.String(), b.String()) }
	for _, id := range slices.SortedFunc(maps.Keys(book.ByID), byText) {
		if !asked[id] && book.ByID[id].Executions > 0 {
			v.Lost++
			v.Problems = append(v.Problems, Problem{ID: id, What: "the platform executed it, and no till knows of it"})
		}
	}
	return v
}

// note judges one press.
func (v *Verdict) note(n Note, all court) {
	bad := func(format string, args ...any) {
		v.Problems = append(v.Problems, Problem{Terminal: n.Terminal, Key: n.Key, ID: n.ID, What: fmt.Sprintf(format, args...)})
	}
	c := all.book.ByID[n.ID]
	for _, w := range n.Wrong {
		bad("%s", w)
	}
	if c.Executions > 1 {
		v.ChargedTwice++
		bad("the platform executed it %d times", c.Executions)
	}
	if c.RepeatedAfterAnswer > 0 {
		bad("it was called %d times after the platform had answered", c.RepeatedAfterAnswer)
	}
	v.cancel(n, c, all, bad)
	switch {
	case n.Refused != "":
		if c.Calls > 0 {
			bad("it was refused with %q, and the platform was called", n.Refused)
		}
		return
	case n.End == nil:
		if n.Accepted || c.Executions > 0 {
			v.Lost++
		}
		v.Accepted += count(n.Accepted)
		bad("its end was never told (accepted: %v, executed: %d)", n.Accepted, c.Executions)
		return
	}
	v.Accepted++
	v.Confirmed += count(n.Acked)
	if !n.Acked {
		bad("its end was not acknowledged")
	}
	if n.Press.Kind == tideover.KindReversal {
		v.reversal(n, c, all, bad)
		return
	}
	v.end(n, c, all, bad)
}

// cancel holds an answered cancel to its promise: the customer is not charged, and nobody is told otherwise in between. What was
// refunded in part keeps its end: to undo all of it would give back more than was taken.
func (v *Verdict) cancel(n Note, c platform.Count, all court, bad func(string, ...any)) {
	if !n.Cancel.Taken() || n.Press.Kind == tideover.KindReversal || all.refunded[n.ID] {
		return
	}
	v.Cancelled++
	if c.Net() != 0 {
		v.NotUndone++
		bad("its cancel was answered %d, and the platform executed it %d times and undid %d", n.Cancel.Status, c.Executions, c.Reversals)
	}
	if n.Cancel.Overruled || n.End != nil && n.End.State == tideover.StateApproved {
		bad("its cancel was answered %d, and it was told approved after that", n.Cancel.Status)
	}
}

// reversal compares the end of a reversal with what became of its original. The platform is never called for a reversal itself.
func (v *Verdict) reversal(n Note, c platform.Count, all court, bad func(string, ...any)) {
	if c.Calls > 0 {
		bad("it is a reversal, and the platform was called for its own id")
	}
	original := all.book.ByID[*n.Press.Original]
	switch n.End.State {
	case tideover.StateApproved:
		v.Approved++
		if original.Net() != 0 {
			bad("it was told approved, and its original was executed %d times and undone %d", original.Executions, original.Reversals)
		}
	case tideover.StateDeclined: // and undid nothing: see end
		v.Declined++
	case tideover.StateCancelled:
		v.OtherEnds++
		if n.Cancel.Asked.IsZero() {
			bad("it was told cancelled, and nobody asked for that")
		}
	default:
		bad("%q was told as a reversal's end", n.End.State)
	}
}

// end compares the end that a till was told with what the platform did.
func (v *Verdict) end(n Note, c platform.Count, all court, bad func(string, ...any)) {
	for _, was := range n.Ends {
		never := was == tideover.StateExpired || was == tideover.StateCancelled
		if never && was != n.End.State && c.Executions > 0 && !n.End.Corrected {
			bad("it was told %q, which means never executed, and then %q", was, n.End.State)
		}
	}
	switch n.End.State {
	case tideover.StateApproved:
		v.Approved++
		if n.Press.Kind == tideover.KindRefund {
			v.TillsHold -= n.Press.Amount
		} else {
			v.TillsHold += n.Press.Amount
		}
		if c.Net() != 1 {
			bad("it was told approved, and the platform executed it %d times and undid %d", c.Executions, c.Reversals)
		}
	case tideover.StateDeclined:
		v.Declined++
		if c.Executions > 0 {
			bad("it was told declined, and the platform executed it")
		}
	case tideover.StateExpired, tideover.StateCancelled:
		v.OtherEnds++
		if c.Executions > 0 {
			bad("it was told %q, which means never executed, and the platform executed it", n.End.State)
		}
	case tideover.StateReversed:
		v.OtherEnds++
		if c.Executions == 0 || c.Net() != 0 {
			bad("it was told reversed, and the platform executed it %d times and undid %d", c.Executions, c.Reversals)
		}
		if slices.Contains(n.Ends, tideover.StateApproved) && n.Cancel.Asked.IsZero() && !all.reversed[n.ID] && !n.End.Corrected {
			bad("it was told approved and then reversed, and nobody asked for that")
		}
	case tideover.StateNone, tideover.StateQueued, tideover.StateHeld, tideover.StateSent, tideover.StatePending,
		tideover.StateInDoubt, tideover.StateReversing, tideover.StateManual:
		bad("%q was told as its end", n.End.State)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
