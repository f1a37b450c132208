package sandbox

import (
	"strings"
	"testing"

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
