package tideover

import "fmt"

// State is where a transaction stands, as its till sees it.
type State uint8

// The states of the terminal's API.
const (
	StateNone      State = iota // no record
	StateQueued                 // on disk, never sent
	StateHeld                   // on disk, held back by a technician
	StateSent                   // sent at least once, no answer yet
	StatePending                // the platform is at work
	StateInDoubt                // not known whether it was executed; the hub is being asked
	StateReversing              // being undone
	StateApproved               // final: the platform's word
	StateDeclined               // final: the platform's word
	StateExpired                // final: certainly never executed, and never will be
	StateCancelled              // final: certainly never executed, and never will be
	StateReversed               // final: executed and undone
	StateManual                 // could not be resolved by machine; needs a person
	statesEnd
)

var stateNames = [...]string{
	StateNone: "", StateQueued: "queued", StateHeld: "held", StateSent: "sent", StatePending: "pending", StateInDoubt: "in_doubt",
	StateReversing: "reversing", StateApproved: "approved", StateDeclined: "declined", StateExpired: "expired",
	StateCancelled: "cancelled", StateReversed: "reversed", StateManual: "manual",
}

// String returns the state's name in the terminal's API.
func (s State) String() string { return nameOf(stateNames[:], uint8(s)) }

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; an unknown name is an error.
func (s *State) UnmarshalText(b []byte) error {
	i, err := indexOf("state", stateNames[:], string(b))
	*s = State(i)
	return err
}

// Final says whether the state is a definite end.
//
//go:noinline
func (s State) Final() bool {
	switch s {
	case StateApproved, StateDeclined, StateExpired, StateCancelled, StateReversed:
		return true
	case StateNone, StateQueued, StateHeld, StateSent, StatePending, StateInDoubt, StateReversing, StateManual, statesEnd:
	}
	return false
}

// States lists every state but [StateNone].
func States() []State {
	var all []State
	for s := StateQueued; s < statesEnd; s++ {
		all = append(all, s)
	}
	return all
}

// Cause is what moves a transaction from one state to the next at the edge.
type Cause uint8

// The causes. Those that begin with Told are the hub's word.
const (
	CauseNone      Cause = iota
	CauseAccepted        // the accepting commit
	CauseSent            // its first byte is about to leave
	CauseReopened        // the process started again and found it without an end
	CauseDoubt           // its link died, its time ran out unheard, or the hub does not know
	CauseHeld            // a technician holds it
	CauseReleased        // a technician lets it go
	CauseExpired         // the edge itself: never sent, and too old by ledger time
	CauseCancelled       // the edge itself: never sent, and cancelled
	CauseUndo            // a cancel is on disk for something that may have left
	ToldPending          // the platform is at work
	ToldReversing        // the hub is undoing it
	ToldManual           // the hub could not resolve it
	ToldApproved
	ToldDeclined
	ToldExpired
	ToldCancelled
	ToldReversed
	CauseMoot // the edge itself: a reversal of what it has ended unsent
	causesEnd
)

var causeNames = [...]string{
	CauseNone: "", CauseAccepted: "accepted", CauseSent: "sent", CauseReopened: "reopened", CauseDoubt: "doubt", CauseHeld: "held",
	CauseReleased: "released", CauseExpired: "expired", CauseCancelled: "cancelled", CauseUndo: "cancel asked",
	ToldPending: "told pending", ToldReversing: "told reversing", ToldManual: "told manual", ToldApproved: "told approved",
	ToldDeclined: "told declined", ToldExpired: "told expired", ToldCancelled: "told cancelled", ToldReversed: "told reversed",
	CauseMoot: "nothing to undo",
}

// String returns the cause's name in the journal and in logs.
func (c Cause) String() string { return nameOf(causeNames[:], uint8(c)) }

// Disk says what of a transaction is certainly on the edge's disk at a point of its way.
type Disk uint8

// What is on disk. The order is that of a life: nothing, the acceptance, then an end.
const (
	DiskNothing  Disk = iota // no record: nothing was answered
	DiskAccepted             // the acceptance; a restart finds it without an end and asks the hub
	DiskAsked                // the acceptance, and what a person or till asked for since (held, cancel)
	DiskEnd                  // the acceptance and the end
	DiskEndLater             // the acceptance; the end rides the next commit, and the hub keeps it until that is done
)

// Transition is one row of the list of what may follow what.
type Transition struct {
	From   State
	On     Cause
	To     State
	Before Disk // on disk when the cause comes
	After  Disk // on disk when anybody is told of To
}

// open are the states without an end in which the hub's word, or its silence, may find a transaction.
var open = []State{StateQueued, StateHeld, StateSent, StatePending, StateInDoubt, StateReversing, StateManual}

// transitions is the table; see [Transitions].
var transitions = func() []Transition {
	t := []Transition{
		{StateNone, CauseAccepted, StateQueued, DiskNothing, DiskAccepted},
		// A sale's acceptance may still be on its way to the disk. Nobody hears of either state before it is there.
		{StateQueued, CauseSent, StateSent, DiskAccepted, DiskAccepted},
		{StateQueued, CauseReopened, StateInDoubt, DiskAccepted, DiskAccepted},
		{StateSent, CauseReopened, StateInDoubt, DiskAccepted, DiskAccepted},
		{StatePending, CauseReopened, StateInDoubt, DiskAccepted, DiskAccepted},
		{StateInDoubt, CauseReopened, StateInDoubt, DiskAccepted, DiskAccepted},
		{StateQueued, CauseDoubt, StateInDoubt, DiskAccepted, DiskAccepted},
		{StateSent, CauseDoubt, StateInDoubt, DiskAccepted, DiskAccepted},
		{StatePending, CauseDoubt, StateInDoubt, DiskAccepted, DiskAccepted},
		// The hub was busy, or the link changed: the same bytes leave once more.
		{StateSent, CauseSent, StateSent, DiskAccepted, DiskAccepted},
		{StatePending, CauseSent, StatePending, DiskAccepted, DiskAccepted},
		// What is in doubt stays so while it is sent again: an earlier process may have sent it.
		{StateInDoubt, CauseSent, StateInDoubt, DiskAccepted, DiskAccepted},
		{StateInDoubt, CauseDoubt, StateInDoubt, DiskAccepted, DiskAccepted},
		{StateQueued, CauseHeld, StateHeld, DiskAccepted, DiskAsked},
		{StateInDoubt, CauseHeld, StateHeld, DiskAccepted, DiskAsked},
		{StateHeld, CauseReopened, StateHeld, DiskAsked, DiskAsked},
		// Whether it was ever sent is forgotten by then: it is asked about, like after a restart.
		{StateHeld, CauseReleased, StateInDoubt, DiskAsked, DiskAsked},
		{StateQueued, CauseExpired, StateExpired, DiskAccepted, DiskEnd},
		{StateQueued, CauseCancelled, StateCancelled, DiskAccepted, DiskEnd},
		{StateQueued, CauseMoot, StateApproved, DiskAccepted, DiskEnd},
		// A barred key: cancelled before anything of it was accepted here. Where another router may have sent it, the hub decides.
		{StateNone, CauseCancelled, StateCancelled, DiskNothing, DiskEnd},
		{StateNone, CauseUndo, StateReversing, DiskNothing, DiskAsked},
		{StateQueued, CauseUndo, StateReversing, DiskAccepted, DiskAsked},
		// What is held may have left before it was: the hub decides, as for everything else that may have.
		{StateHeld, CauseUndo, StateReversing, DiskAsked, DiskAsked},
		{StateSent, CauseUndo, StateReversing, DiskAccepted, DiskAsked},
		{StatePending, CauseUndo, StateReversing, DiskAccepted, DiskAsked},
		{StateInDoubt, CauseUndo, StateReversing, DiskAccepted, DiskAsked},
		{StateApproved, CauseUndo, StateReversing, DiskEndLater, DiskAsked},
		{StateReversing, CauseUndo, StateReversing, DiskAsked, DiskAsked},
		{StateReversing, CauseReopened, StateReversing, DiskAsked, DiskAsked},
		// What the hub is undoing is asked for by sending it again; what was cancelled here is not sent any more.
		{StateReversing, CauseSent, StateReversing, DiskAsked, DiskAsked},
		{StateReversing, CauseDoubt, StateReversing, DiskAsked, DiskAsked},
		{StateReversing, ToldPending, StateReversing, DiskAsked, DiskAsked},
		{StateManual, CauseReopened, StateManual, DiskAccepted, DiskAccepted},
		{StateManual, CauseSent, StateManual, DiskAccepted, DiskAccepted},
		{StateManual, CauseDoubt, StateManual, DiskAccepted, DiskAccepted},
		// A person has looked at it. Its settling is asked of the ledger, and comes home as an end.
		{StateManual, CauseReleased, StateInDoubt, DiskAccepted, DiskAsked},
		{StateManual, CauseUndo, StateReversing, DiskAccepted, DiskAsked},
		// What was approved may be undone: by cancel, by a reversal or as a correction. Only that end takes its place: what the hub says before
		// an end is always older than an end that is here, since nothing with an end is sent or asked about.
		{StateApproved, ToldReversed, StateReversed, DiskEndLater, DiskEndLater},
	}
	for _, from := range open {
		before := DiskAccepted
		switch from {
		case StateHeld, StateReversing:
			before = DiskAsked
		case StateQueued, StateSent, StatePending:
			t = append(t, Transition{from, ToldPending, StatePending, before, before})
		case StateInDoubt:
			t = append(t, Transition{from, ToldPending, StatePending, before, before})
		case StateNone, StateApproved, StateDeclined, StateExpired, StateCancelled, StateReversed, StateManual, statesEnd:
		}
		t = append(t,
			Transition{from, ToldReversing, StateReversing, before, before},
			Transition{from, ToldManual, StateManual, before, before},
			Transition{from, ToldApproved, StateApproved, before, DiskEndLater},
			Transition{from, ToldDeclined, StateDeclined, before, DiskEndLater},
			Transition{from, ToldExpired, StateExpired, before, DiskEndLater},
			Transition{from, ToldCancelled, StateCancelled, before, DiskEndLater},
			Transition{from, ToldReversed, StateReversed, before, DiskEndLater},
		)
	}
	// An approval after another end is not believed: the hub undoes it and says so, to be acknowledged anew.
	for _, from := range []State{StateDeclined, StateExpired, StateCancelled} {
		t = append(t, Transition{from, ToldReversed, StateReversed, DiskEndLater, DiskEndLater})
	}
	// The same end told twice changes nothing.
	for end, told := range map[State]Cause{
		StateApproved: ToldApproved, StateDeclined: ToldDeclined, StateExpired: ToldExpired,
		StateCancelled: ToldCancelled, StateReversed: ToldReversed,
	} {
		t = append(t, Transition{end, told, end, DiskEndLater, DiskEndLater})
	}
	return t
}()

var nextState = func() (table [statesEnd][causesEnd]State) {
	for _, t := range transitions {
		table[t.From][t.On] = t.To
	}
	return table
}()

// Transitions returns the one list of what may follow what at the edge.
func Transitions() []Transition { return append([]Transition(nil), transitions...) }

// Next returns the state that follows from on a cause. It fails with a [TransitionError] where the list has no such row: then
// nothing may change.
func Next(from State, on Cause) (State, error) {
	if from < statesEnd && on < causesEnd && nextState[from][on] != StateNone {
		return nextState[from][on], nil
	}
	return from, &TransitionError{From: from, On: on}
}

// TransitionError tells of a cause that may not meet a state.
type TransitionError struct {
	From State
	On   Cause
}

// Error implements error.
func (e *TransitionError) Error() string {
	return fmt.Sprintf("a transaction that is %q cannot take %q", e.From, e.On)
}

// Told returns the cause by which the hub's word of s reaches the edge, and false for a state that the hub never tells.
func Told(s State) (Cause, bool) {
	switch s {
	case StatePending:
		return ToldPending, true
	case StateInDoubt:
		return CauseDoubt, true
	case StateReversing:
		return ToldReversing, true
	case StateManual:
		return ToldManual, true
	case StateApproved:
		return ToldApproved, true
	case StateDeclined:
		return ToldDeclined, true
	case StateExpired:
		return ToldExpired, true
	case StateCancelled:
		return ToldCancelled, true
	case StateReversed:
		return ToldReversed, true
	case StateNone, StateQueued, StateHeld, StateSent, statesEnd:
	}
	return CauseNone, false
}
