package tideover_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"tideover"
)

var update = flag.Bool("update", false, "write the generated documents anew")

// causes lists every cause; the last one is known by the name after it.
func causes() (all []tideover.Cause) {
	for c := tideover.CauseAccepted; !strings.HasPrefix(c.String(), "unknown"); c++ {
		all = append(all, c)
	}
	return all
}

func rowStates() (all []tideover.RowState) {
	for s := tideover.RowClaimed; !strings.HasPrefix(s.String(), "unknown"); s++ {
		all = append(all, s)
	}
	return all
}

// edgeTable returns the edge's transitions in a fixed order.
func edgeTable() []tideover.Transition {
	t := tideover.Transitions()
	slices.SortFunc(t, func(a, b tideover.Transition) int {
		return (int(a.From)-int(b.From))*1000 + int(a.On) - int(b.On)
	})
	return t
}

func TestTransitions_NextFollowsEachRowAndNothingElse(t *testing.T) {
	type meeting struct {
		from tideover.State
		on   tideover.Cause
	}
	rows := map[meeting]tideover.State{}
	for _, row := range tideover.Transitions() {
		m := meeting{row.From, row.On}
		if _, twice := rows[m]; twice {
			t.Errorf("%q on %q is listed twice", row.From, row.On)
		}
		rows[m] = row.To
	}
	for _, from := range append(tideover.States(), tideover.StateNone) {
		for _, on := range append(causes(), tideover.CauseNone) {
			to, err := tideover.Next(from, on)
			want, listed := rows[meeting{from, on}]
			switch {
			case listed && (err != nil || to != want):
				t.Errorf("Next(%q, %q) = %q, %v, want %q", from, on, to, err, want)
			case !listed && err == nil:
				t.Errorf("Next(%q, %q) = %q, and no row says so", from, on, to)
			case !listed:
				e, ok := errors.AsType[*tideover.TransitionError](err)
				if !ok || e.From != from || e.On != on || to != from {
					t.Errorf("Next(%q, %q) = %q, %v, want a TransitionError that changes nothing", from, on, to, err)
				}
			}
		}
	}
	if _, err := tideover.Next(200, tideover.CauseSent); err == nil {
		t.Error("a state that is none has a next one")
	}
	if _, err := tideover.Next(tideover.StateQueued, 200); err == nil {
		t.Error("a cause that is none moves something")
	}
}

func TestTransitions_EachStateIsReachedAndEachCauseUsed(t *testing.T) {
	reached := map[tideover.State]bool{tideover.StateNone: true}
	for grown := true; grown; {
		grown = false
		for _, row := range tideover.Transitions() {
			if reached[row.From] && !reached[row.To] {
				reached[row.To], grown = true, true
			}
		}
	}
	used := map[tideover.Cause]bool{}
	for _, row := range tideover.Transitions() {
		used[row.On] = true
	}
	for _, s := range tideover.States() {
		if !reached[s] {
			t.Errorf("nothing leads to %q", s)
		}
	}
	for _, c := range causes() {
		if !used[c] {
			t.Errorf("%q moves nothing", c)
		}
	}
}

// TestTransitions_EveryOpenStateHasAnEnd: from wherever a transaction stands, the hub's word and, for a manual one, a person's ends it.
func TestTransitions_EveryOpenStateHasAnEnd(t *testing.T) {
	ends := []tideover.Cause{
		tideover.ToldApproved, tideover.ToldDeclined, tideover.ToldExpired, tideover.ToldCancelled, tideover.ToldReversed,
	}
	for _, s := range tideover.States() {
		if s.Final() {
			continue
		}
		for _, on := range append(ends, tideover.ToldReversing, tideover.ToldManual) {
			to, err := tideover.Next(s, on)
			if err != nil {
				t.Errorf("%q cannot hear %q: %v", s, on, err)
			}
			if want := slices.Contains(ends, on); to.Final() != want {
				t.Errorf("%q on %q becomes %q", s, on, to)
			}
		}
		if to, err := tideover.Next(s, tideover.CauseReopened); err != nil || to == tideover.StateQueued || to == tideover.StateSent {
			t.Errorf("after a restart %q becomes %q (%v): what may have been sent is forgotten by then", s, to, err)
		}
	}
}

// TestTransitions_EndsChangeOnlyByCorrection lists every way out of an end. A silence, a restart or a second end is none of them.
func TestTransitions_EndsChangeOnlyByCorrection(t *testing.T) {
	for _, row := range tideover.Transitions() {
		if !row.From.Final() || row.To == row.From {
			continue
		}
		allowed := row.From != tideover.StateReversed && row.On == tideover.ToldReversed ||
			row.From == tideover.StateApproved && row.On == tideover.CauseUndo
		if !allowed {
			t.Errorf("%q on %q becomes %q: an end is definite", row.From, row.On, row.To)
		}
	}
}

// TestTransitions_TheEdgeEndsOnlyWhatNeverLeft: by itself it says expired or cancelled only in states that nothing can have been
// sent before. It keeps out a hole: sent, link lost, in doubt, held by a technician, cancelled by the edge, and executed.
func TestTransitions_TheEdgeEndsOnlyWhatNeverLeft(t *testing.T) {
	mayHaveLeft := map[tideover.State]bool{}
	for range tideover.States() {
		for _, row := range tideover.Transitions() {
			left := row.On == tideover.CauseSent || row.On == tideover.CauseReopened || row.On == tideover.CauseDoubt
			if left || mayHaveLeft[row.From] {
				mayHaveLeft[row.To] = true
			}
		}
	}
	for _, row := range tideover.Transitions() {
		if own := row.On == tideover.CauseExpired || row.On == tideover.CauseCancelled || row.On == tideover.CauseMoot; own && mayHaveLeft[row.From] {
			t.Errorf("%q on %q: bytes of it may have left", row.From, row.On)
		}
	}
}

// TestTransitions_DiskIsWhatThePromisesSay holds the two columns of each row to protocol.md: nothing is written for sending or
// hearing; what the edge or a person decides is synced before it is told; the hub's ends ride a later commit.
func TestTransitions_DiskIsWhatThePromisesSay(t *testing.T) {
	for _, row := range tideover.Transitions() {
		wrong := func(why string) {
			t.Errorf("%q on %q to %q, on disk %s then %s: %s", row.From, row.On, row.To, disk(row.Before), disk(row.After), why)
		}
		if (row.From == tideover.StateNone) != (row.Before == tideover.DiskNothing) {
			wrong("there is a record just where there is a state")
		}
		if row.After == tideover.DiskNothing {
			wrong("a state is told that is not on disk")
		}
		switch row.On {
		case tideover.CauseAccepted:
			if row.After != tideover.DiskAccepted {
				wrong("accepting is a commit")
			}
		case tideover.CauseExpired, tideover.CauseCancelled, tideover.CauseMoot:
			if row.After != tideover.DiskEnd {
				wrong("the edge's own ends are synced before they are told")
			}
		case tideover.CauseHeld, tideover.CauseReleased, tideover.CauseUndo:
			if row.After != tideover.DiskAsked {
				wrong("what people ask for is synced before it is acted on")
			}
		case tideover.ToldApproved, tideover.ToldDeclined, tideover.ToldExpired, tideover.ToldCancelled, tideover.ToldReversed:
			if row.After != tideover.DiskEndLater {
				wrong("the hub's ends ride a later commit, since the hub keeps them")
			}
		case tideover.CauseSent, tideover.CauseReopened, tideover.CauseDoubt, tideover.ToldPending,
			tideover.ToldReversing, tideover.ToldManual:
			if row.After != row.Before {
				wrong("nothing is written for it")
			}
		case tideover.CauseNone:
			wrong("no cause moves nothing")
		default:
			wrong("this test does not know the cause")
		}
	}
}

func TestTold_IsTheHubsWord(t *testing.T) {
	for _, s := range tideover.States() {
		cause, ok := tideover.Told(s)
		switch s {
		case tideover.StateQueued, tideover.StateHeld, tideover.StateSent:
			if ok {
				t.Errorf("the hub never tells %q", s)
			}
		default:
			to, err := tideover.Next(tideover.StateSent, cause)
			if !ok || err != nil || to != s {
				t.Errorf("told %q, what was sent becomes %q (%v, %v)", s, to, ok, err)
			}
		}
	}
}

func TestState_Names(t *testing.T) {
	want := []string{
		"queued", "held", "sent", "pending", "in_doubt", "reversing", "approved", "declined", "expired", "cancelled", "reversed", "manual",
	}
	for i, s := range tideover.States() {
		var back tideover.State
		if err := back.UnmarshalText([]byte(want[i])); err != nil || back != s || s.String() != want[i] {
			t.Errorf("state %d reads %q, want %q (%v)", s, s, want[i], err)
		}
	}
	if len(tideover.States()) != len(want) {
		t.Errorf("there are %d states, the contract has %d", len(tideover.States()), len(want))
	}
	for _, bad := range []string{"", "Approved", "in doubt", "unknown-0"} {
		var s tideover.State
		if err := s.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("state %q was taken as %q", bad, s)
		}
	}
}

func TestRowTransitions_RowMayFollowsEachRowAndNothingElse(t *testing.T) {
	listed := map[[2]tideover.RowState]bool{}
	for _, row := range tideover.RowTransitions() {
		edge := [2]tideover.RowState{row.From, row.To}
		if listed[edge] || row.Why == "" || row.From == row.To {
			t.Errorf("%q to %q is listed twice, without a reason, or stays", row.From, row.To)
		}
		listed[edge] = true
	}
	all := append(rowStates(), tideover.RowNone)
	for _, from := range all {
		for _, to := range all {
			if want := from == to || listed[[2]tideover.RowState{from, to}]; tideover.RowMay(from, to) != want {
				t.Errorf("RowMay(%q, %q) is %v", from, to, !want)
			}
		}
	}
}

func TestRowTransitions_ReachEachStateAndLeaveEachOpenOne(t *testing.T) {
	reached := map[tideover.RowState]bool{tideover.RowNone: true}
	leaves := map[tideover.RowState]bool{}
	for range tideover.RowTransitions() {
		for _, row := range tideover.RowTransitions() {
			reached[row.To] = reached[row.To] || reached[row.From]
			leaves[row.From] = true
		}
	}
	for _, s := range rowStates() {
		if !reached[s] {
			t.Errorf("nothing leads to %q", s)
		}
		if s.Open() && !leaves[s] {
			t.Errorf("nothing leads out of %q, which needs work by machine", s)
		}
	}
}

// TestRowTransitions_KeepThePromises names what no row may say: a refused id is never executed, an answer is never forgotten, and
// what is over is called again by nobody.
func TestRowTransitions_KeepThePromises(t *testing.T) {
	for _, never := range []struct {
		from, to tideover.RowState
		why      string
	}{
		{tideover.RowRefused, tideover.RowClaimed, "a barred id must never be called"},
		{tideover.RowRefused, tideover.RowInDoubt, "a barred id must never be called"},
		{tideover.RowRefused, tideover.RowDone, "a late approval never wins over an end that was told"},
		{tideover.RowDone, tideover.RowClaimed, "an answered id must never be called again"},
		{tideover.RowDone, tideover.RowInDoubt, "an answer is known"},
		{tideover.RowDone, tideover.RowRefused, "what was executed is not certainly unexecuted"},
		{tideover.RowDone, tideover.RowReversed, "the platform is asked to undo first"},
		{tideover.RowReversing, tideover.RowClaimed, "what is being undone must never be called"},
		{tideover.RowReversed, tideover.RowReversing, "undoing happens once"},
		{tideover.RowReversed, tideover.RowDone, "undoing is for good"},
		{tideover.RowReversed, tideover.RowClaimed, "what was undone must never be called"},
		{tideover.RowInDoubt, tideover.RowRefused, "404 certifies nothing: only reverse does"},
		{tideover.RowNone, tideover.RowReversing, "nothing is undone that has no row"},
		{tideover.RowManual, tideover.RowClaimed, "the machine keeps its hands off"},
	} {
		if tideover.RowMay(never.from, never.to) {
			t.Errorf("%q may become %q: %s", never.from, never.to, never.why)
		}
	}
	for _, row := range tideover.RowTransitions() {
		if row.To == tideover.RowNone {
			t.Errorf("%q may be forgotten", row.From)
		}
	}
}

// disk says a [tideover.Disk] in words.
func disk(d tideover.Disk) string {
	switch d {
	case tideover.DiskNothing:
		return "nothing"
	case tideover.DiskAccepted:
		return "acceptance"
	case tideover.DiskAsked:
		return "acceptance, what was asked"
	case tideover.DiskEnd:
		return "acceptance, end"
	case tideover.DiskEndLater:
		return "acceptance; end by the next commit"
	}
	return fmt.Sprintf("unknown-%d", d)
}

const transactionsPath = "docs/transactions.md"

// TestTransitions_DocumentIsGenerated holds docs/transactions.md to the tables: go test . -update writes it.
func TestTransitions_DocumentIsGenerated(t *testing.T) {
	want := transactionsDocument()
	if *update {
		if err := os.WriteFile(transactionsPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(transactionsPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the tables say; write it anew: go test . -run Document -update", transactionsPath)
	}
}

func transactionsDocument() string {
	var b strings.Builder
	b.WriteString(`# What may follow what

Written by ` + "`go test . -run Document -update`" + ` from the tables in state.go and row.go; a test holds it to them. Whatever stands in no
row cannot happen: at the edge such an event changes nothing, in the ledger such a step is not committed.

## At the edge

*On disk before* is what a power cut leaves at the moment when the cause comes; *after* is what it leaves once anybody has been
told of the new state. "End by the next commit": the till may hear the end at once, because the hub keeps it until the edge has it on
disk; after a crash in between the transaction reads ` + "`in_doubt`" + ` until the hub repeats it.

| from | cause | to | on disk before | after |
|---|---|---|---|---|
`)
	name := func(s fmt.Stringer) string {
		if s.String() == "" {
			return "–"
		}
		return s.String()
	}
	for _, row := range edgeTable() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name(row.From), row.On, name(row.To), disk(row.Before), disk(row.After))
	}
	b.WriteString(`
Causes that begin with *told* are the hub's word; *settled* is a person's; all others are the edge's own.

## In the hub's ledger

Every step is committed before anybody hears of it.

| from | to | when |
|---|---|---|
`)
	for _, row := range tideover.RowTransitions() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name(row.From), name(row.To), row.Why)
	}
	return b.String()
}
