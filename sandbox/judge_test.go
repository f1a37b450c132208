package sandbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tideover"
	platform "tideover/hub/platform/sandbox"
)

// TestJudge_SeesEachBrokenPromise gives the judge one press and what the platform saw of it: the judge that tests and story rely on
// must be able to say no.
func TestJudge_SeesEachBrokenPromise(t *testing.T) {
	id := tideover.MakeID("shop", "till-1", "k")
	end := func(s tideover.State) *tideover.Transaction { return &tideover.Transaction{ID: id, State: s} }
	note := func(change func(*Note)) Note {
		n := Note{
			Terminal: "till-1", Key: "k", ID: id, Accepted: true, Acked: true, End: end(tideover.StateApproved),
			Press: Press{Kind: tideover.KindSale, Amount: 100, Currency: currency},
		}
		change(&n)
		return n
	}
	as := func(s tideover.State) Note { return note(func(n *Note) { n.End = end(s) }) }
	once := platform.Count{Calls: 1, Executions: 1}
	undone := platform.Count{Calls: 1, Executions: 1, Reverses: 1, Reversals: 1}
	barred := platform.Count{Calls: 1, Reverses: 1}
	cancelled := func(s tideover.State, taken bool) Note {
		return note(func(n *Note) {
			n.End, n.Cancel.Asked = end(s), time.Now()
			if taken {
				n.Cancel.Answers, n.Cancel.Status = 1, 202
			} else {
				n.Cancel.Refused = tideover.CodeAlreadyAcknowledged
			}
		})
	}
	for _, c := range []struct {
		name    string
		note    Note
		seen    platform.Count
		problem string // "" is none
	}{
		{"approved and executed once", as(tideover.StateApproved), once, ""},
		{"declined and not executed", as(tideover.StateDeclined), platform.Count{Calls: 1}, ""},
		{"expired and never called", as(tideover.StateExpired), platform.Count{}, ""},
		{"reversed", as(tideover.StateReversed), undone, ""},
		{"refused and never called", note(func(n *Note) { n.Refused, n.End = tideover.CodeInvalidRequest, nil }), platform.Count{}, ""},
		{"executed twice", as(tideover.StateApproved), platform.Count{Calls: 2, Executions: 2}, "executed it 2 times"},
		{"called after an answer", as(tideover.StateApproved), platform.Count{Calls: 2, RepeatedAfterAnswer: 1, Executions: 1}, "after the platform had answered"},
		{"approved, not executed", as(tideover.StateApproved), platform.Count{Calls: 1}, "told approved"},
		{"approved, and reversed behind it", as(tideover.StateApproved), undone, "told approved"},
		{"declined, executed", as(tideover.StateDeclined), once, "told declined"},
		{"expired, executed", as(tideover.StateExpired), once, "never executed"},
		{"cancelled, executed", as(tideover.StateCancelled), once, "never executed"},
		{"reversed, not reversed", as(tideover.StateReversed), once, "told reversed"},
		{"an open state as an end", as(tideover.StateManual), once, "told as its end"},
		{"no end", note(func(n *Note) { n.End = nil }), once, "never told"},
		{"not acknowledged", note(func(n *Note) { n.Acked = false }), once, "not acknowledged"},
		{"a broken answer", note(func(n *Note) { n.Wrong = []string{"it changed its id"} }), once, "changed its id"},
		{"cancelled, and never executed", cancelled(tideover.StateCancelled, true), barred, ""},
		{"cancelled, and undone", cancelled(tideover.StateReversed, true), undone, ""},
		{"cancelled, and declined", cancelled(tideover.StateDeclined, true), platform.Count{Calls: 1}, ""},
		{"a cancel after the acknowledgement", cancelled(tideover.StateApproved, false), once, ""},
		{"a cancel that was answered, and approved", cancelled(tideover.StateApproved, true), once, "its cancel was answered 202"},
		{"a cancel that was answered, and approved in silence", cancelled(tideover.StateCancelled, true), once, "executed it 1 times and undid 0"},
		{"a cancel that was answered, then approved for a while", note(func(n *Note) {
			n.End, n.Cancel = end(tideover.StateReversed), Cancel{Asked: time.Now(), Answers: 1, Overruled: true}
		}), undone, "told approved after that"},
		{"approved, then reversed, by a cancel", note(func(n *Note) {
			n.End, n.Ends, n.Cancel.Asked = end(tideover.StateReversed), []tideover.State{tideover.StateApproved, tideover.StateReversed}, time.Now()
		}), undone, ""},
		{"approved, then reversed, by nobody", note(func(n *Note) {
			n.End, n.Ends = end(tideover.StateReversed), []tideover.State{tideover.StateApproved, tideover.StateReversed}
		}), undone, "nobody asked for that"},
		{"expired, then approved", note(func(n *Note) {
			n.Ends = []tideover.State{tideover.StateExpired, tideover.StateApproved}
		}), once, "never executed"},
		{"cancelled, then executed and undone", note(func(n *Note) {
			n.End, n.Ends = end(tideover.StateReversed), []tideover.State{tideover.StateCancelled, tideover.StateReversed}
		}), undone, "never executed"},
		{"cancelled, then executed, undone and corrected", note(func(n *Note) {
			n.End, n.Ends = end(tideover.StateReversed), []tideover.State{tideover.StateCancelled, tideover.StateReversed}
			n.End.Corrected = true
		}), undone, ""},
		{"approved, then corrected", note(func(n *Note) {
			n.End, n.Ends = end(tideover.StateReversed), []tideover.State{tideover.StateApproved, tideover.StateReversed}
			n.End.Corrected = true
		}), undone, ""},
		{"corrected, and not acknowledged anew", note(func(n *Note) {
			n.End, n.Acked = end(tideover.StateReversed), false
			n.End.Corrected = true
		}), undone, "not acknowledged"},
		{"refused, called", note(func(n *Note) { n.Refused, n.End = tideover.CodeInvalidRequest, nil }), platform.Count{Calls: 1}, "was refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Judge([]Note{c.note}, book(c.note, c.seen))
			var said strings.Builder
			for _, p := range v.Problems {
				said.WriteString(p.String() + "\n")
			}
			if c.problem == "" && !v.Well() || c.problem != "" && (v.Well() || !strings.Contains(said.String(), c.problem)) {
				t.Errorf("well: %v, %s; problems:\n%swant %q", v.Well(), v, said.String(), c.problem)
			}
		})
	}
}

// TestJudge_Reversals gives the judge a sale, what undoes it, and what the platform saw of the sale.
func TestJudge_Reversals(t *testing.T) {
	sale := Note{
		Terminal: "till-1", Key: "k", ID: tideover.MakeID("shop", "till-1", "k"), Accepted: true, Acked: true,
		Press: Press{Kind: tideover.KindSale, Amount: 100, Currency: currency},
	}
	once := platform.Count{Calls: 1, Executions: 1}
	undone := platform.Count{Calls: 1, Executions: 1, Reverses: 1, Reversals: 1}
	for _, c := range []struct {
		name       string
		kind       tideover.Kind
		end        tideover.State // of what undoes it
		sale       tideover.State
		seen, self platform.Count
		problem    string
	}{
		{"reversed", tideover.KindReversal, tideover.StateApproved, tideover.StateReversed, undone, platform.Count{}, ""},
		{"never executed", tideover.KindReversal, tideover.StateApproved, tideover.StateCancelled, platform.Count{}, platform.Count{}, ""},
		{"declined, and as it was", tideover.KindReversal, tideover.StateDeclined, tideover.StateApproved, once, platform.Count{}, ""},
		{"approved, and not undone", tideover.KindReversal, tideover.StateApproved, tideover.StateApproved, once, platform.Count{}, "its original was executed 1 times"},
		{"declined, and undone", tideover.KindReversal, tideover.StateDeclined, tideover.StateReversed, undone, platform.Count{}, "nobody asked for that"},
		{"called for", tideover.KindReversal, tideover.StateApproved, tideover.StateReversed, undone, platform.Count{Calls: 1}, "its own id"},
		{"expired", tideover.KindReversal, tideover.StateExpired, tideover.StateApproved, once, platform.Count{}, "as a reversal's end"},
		{"refunded, and then cancelled in vain", tideover.KindRefund, tideover.StateApproved, tideover.StateApproved, once, once, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			was, by := sale, sale
			was.End, was.Ends = &tideover.Transaction{State: c.sale}, []tideover.State{tideover.StateApproved, c.sale}
			by.Key, by.ID = "undo", tideover.MakeID("shop", "till-1", "undo")
			by.End = &tideover.Transaction{State: c.end}
			by.Press = Press{Kind: c.kind, Amount: 100, Currency: currency, Original: &sale.ID}
			b := book(was, c.seen)
			b.ByID[by.ID] = c.self
			if c.kind == tideover.KindRefund {
				b.Net[currency] -= by.Press.Amount
				was.Cancel = Cancel{Asked: time.Now(), Answers: 1}
			}
			v := Judge([]Note{was, by}, b)
			said := fmt.Sprint(v.Problems)
			if c.problem == "" && !v.Well() || c.problem != "" && (v.Well() || !strings.Contains(said, c.problem)) {
				t.Errorf("well: %v, %s; problems: %s, want %q", v.Well(), v, said, c.problem)
			}
		})
	}
}

// TestJudge_SeesWhatNoTillKnows finds money that the platform took for a press that no till has.
func TestJudge_SeesWhatNoTillKnows(t *testing.T) {
	n := Note{ID: tideover.MakeID("shop", "till-1", "k"), Press: Press{Amount: 5}}
	v := Judge(nil, book(n, platform.Count{Calls: 1, Executions: 1}))
	if v.Well() || v.Lost != 1 {
		t.Errorf("got %s, well: %v", v, v.Well())
	}
}

// TestJudge_ComparesTheMoney sees a charge over another amount, which no count shows.
func TestJudge_ComparesTheMoney(t *testing.T) {
	n := Note{
		ID: tideover.MakeID("shop", "till-1", "k"), Accepted: true, Acked: true, Press: Press{Kind: tideover.KindSale, Amount: 5},
		End: &tideover.Transaction{State: tideover.StateApproved},
	}
	b := book(n, platform.Count{Calls: 1, Executions: 1})
	if v := Judge([]Note{n}, b); !v.Well() {
		t.Errorf("not well: %s, %v", v, v.Problems)
	}
	b.Net[currency]++
	if v := Judge([]Note{n}, b); v.Well() {
		t.Error("the platform holds more than the tills know of, and all is well")
	}
}

// book is what a platform says that saw one id.
func book(n Note, c platform.Count) platform.Stats {
	return platform.Stats{
		Count: c, Executed: min(c.Executions, 1), Net: map[string]int64{currency: int64(c.Net()) * n.Press.Amount},
		ByID: map[tideover.ID]platform.Count{n.ID: c},
	}
}
