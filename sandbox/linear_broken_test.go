package sandbox

import (
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"tideover"
)

// played is one operation of a history that is written down by hand: they follow each other, unless within says how many of those that
// come after it begin before it has ended.
type played struct {
	operation operation
	result    result
	within    int
}

func pressed(said string) played {
	return played{operation: operation{name: "accept", request: requestA}, result: result{said: said}}
}

func other(said string) played {
	return played{operation: operation{name: "accept", request: requestB}, result: result{said: said}}
}

func cancelled(byKey bool, said string) played {
	return played{operation: operation{name: "cancel", byKey: byKey}, result: result{said: said}}
}

func acked(seq uint64, said string) played {
	return played{operation: operation{name: "ack", seq: seq}, result: result{said: said}}
}

func killed() played { return played{operation: operation{name: "kill"}} }

// read is an answer that shows the first request in a state.
func read(state tideover.State, seq uint64) played {
	s := seen{request: requestA, state: state, seq: seq}
	if state == tideover.StateApproved {
		s.ref = "SBX1"
	}
	return played{operation: operation{name: "read"}, result: result{seen: s}}
}

func readAcked(state tideover.State, seq uint64) played {
	l := read(state, seq)
	l.result.seen.acked = true
	return l
}

func readBarred(state tideover.State, seq uint64) played {
	l := read(state, seq)
	l.result.seen.request = requestBarred
	return l
}

func readNothing() played { return played{operation: operation{name: "read"}} }

// during lets a played last until n of those after it have begun.
func during(n int, l played) played {
	l.within = n
	return l
}

func historyOf(lines []played) []porcupine.Operation {
	var all []porcupine.Operation
	for i, l := range lines {
		all = append(all, porcupine.Operation{
			ClientId: i, Input: l.operation, Call: int64(10 * i), Output: l.result, Return: int64(10*(i+l.within) + 5),
		})
	}
	return all
}

const (
	isQueued    = tideover.StateQueued
	isSent      = tideover.StateSent
	isPending   = tideover.StatePending
	isInDoubt   = tideover.StateInDoubt
	isReversing = tideover.StateReversing
	isApproved  = tideover.StateApproved
	isDeclined  = tideover.StateDeclined
	isExpired   = tideover.StateExpired
	isCancelled = tideover.StateCancelled
	isReversed  = tideover.StateReversed
)

// The model takes what the protocol allows.
func TestLinear_ModelTakesWhatMayBe(t *testing.T) {
	for name, c := range map[string]struct {
		own   bool
		lines []played
	}{
		"a sale": {false, []played{
			readNothing(), pressed(saidCreated), read(isQueued, 1), read(isSent, 2), read(isPending, 3), read(isApproved, 4), acked(3, saidChanged),
			acked(4, saidDone), acked(4, saidDone), readAcked(isApproved, 5), pressed(saidReplayed), other(saidReused), acked(99, saidBeyond),
		}},
		"nothing yet": {false, []played{
			readNothing(), acked(1, saidUnknown), cancelled(false, saidUnknown), readNothing(), other(saidCreated), pressed(saidReused),
		}},
		"delivered":                          {false, []played{pressed(saidCreated), read(isApproved, 4), read(isApproved, 5), acked(4, saidDone)}},
		"an answer was lost":                 {false, []played{during(3, pressed("")), readNothing(), read(isSent, 2), pressed(saidReplayed)}},
		"a request was lost":                 {false, []played{during(3, pressed("")), readNothing(), other(saidCreated), pressed(saidReused)}},
		"two presses at once":                {false, []played{during(1, pressed(saidReplayed)), pressed(saidCreated)}},
		"killed on its way":                  {false, []played{pressed(saidCreated), read(isSent, 2), killed(), read(isInDoubt, 9), read(isPending, 10), read(isApproved, 11)}},
		"killed before its end was on disk":  {false, []played{pressed(saidCreated), read(isApproved, 4), killed(), read(isInDoubt, 9), read(isApproved, 10), acked(4, saidChanged), acked(10, saidDone)}},
		"killed when its end was on disk":    {false, []played{pressed(saidCreated), read(isApproved, 4), killed(), read(isApproved, 4), acked(4, saidDone)}},
		"killed, and its end told in secret": {false, []played{pressed(saidCreated), read(isApproved, 4), killed(), read(isApproved, 12), acked(4, saidChanged), acked(12, saidDone)}},
		"killed again and again":             {false, []played{pressed(saidCreated), read(isDeclined, 4), killed(), read(isInDoubt, 9), killed(), read(isInDoubt, 19), killed(), read(isDeclined, 30)}},
		"acknowledged unheard":               {false, []played{pressed(saidCreated), read(isApproved, 4), acked(4, ""), readAcked(isApproved, 5), killed(), readAcked(isApproved, 6)}},
		"its acknowledgement was lost":       {false, []played{pressed(saidCreated), read(isApproved, 4), acked(4, ""), killed(), read(isInDoubt, 9)}},
		"expired by itself":                  {true, []played{pressed(saidCreated), read(isExpired, 2), acked(2, saidDone)}},
		"undone by the hub":                  {true, []played{pressed(saidCreated), read(isSent, 2), read(isReversing, 3), read(isReversed, 4)}},
		"cancelled before it left":           {false, []played{pressed(saidCreated), cancelled(false, saidTaken), read(isCancelled, 2), cancelled(true, saidTaken), acked(2, saidDone)}},
		"cancelled on its way":               {false, []played{pressed(saidCreated), read(isSent, 2), cancelled(true, saidTaken), read(isReversing, 3), read(isReversed, 4)}},
		"cancelled after its approval":       {false, []played{pressed(saidCreated), read(isApproved, 3), cancelled(false, saidTaken), read(isReversing, 4), killed(), read(isReversing, 9), read(isReversed, 10)}},
		"cancelled too late":                 {false, []played{pressed(saidCreated), read(isApproved, 3), acked(3, saidDone), cancelled(false, saidAcked), readAcked(isApproved, 4)}},
		"cancelled after a decline":          {false, []played{pressed(saidCreated), read(isDeclined, 3), acked(3, saidDone), cancelled(false, saidTaken), readAcked(isDeclined, 4)}},
		"a cancel that was lost":             {false, []played{pressed(saidCreated), cancelled(false, ""), killed(), read(isInDoubt, 9), read(isApproved, 10)}},
		"a cancel unheard":                   {false, []played{pressed(saidCreated), cancelled(false, ""), killed(), read(isReversing, 9), read(isCancelled, 10)}},
		"barred":                             {false, []played{readNothing(), cancelled(true, saidTaken), pressed(saidReplayed), readBarred(isReversing, 2), killed(), readBarred(isCancelled, 9), other(saidReplayed)}},
		"a wait that ends with a late answer": {false, []played{
			pressed(saidCreated), during(4, read(isApproved, 3)), read(isQueued, 1), read(isSent, 2), read(isSent, 2), read(isApproved, 3),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			history := historyOf(c.lines)
			if verdict, info := porcupine.CheckOperationsVerbose(model(c.own), history, 0); verdict != porcupine.Ok {
				t.Errorf("%s:\n%s", verdict, story(history, info))
			}
		})
	}
}

// The model refuses what breaks a promise.
func TestLinear_ModelRefusesWhatMustNotBe(t *testing.T) {
	for name, c := range map[string]struct {
		own   bool
		lines []played
	}{
		"an acceptance lost":                        {false, []played{pressed(saidCreated), read(isQueued, 1), killed(), readNothing()}},
		"an acceptance lost that was only seen":     {false, []played{during(1, pressed("")), read(isQueued, 1), killed(), readNothing()}},
		"accepted twice":                            {false, []played{pressed(saidCreated), killed(), pressed(saidCreated)}},
		"replayed before it was there":              {false, []played{readNothing(), pressed(saidReplayed)}},
		"another request taken for it":              {false, []played{pressed(saidCreated), other(saidReplayed)}},
		"another request in its place":              {true, []played{other(saidCreated), read(isQueued, 1)}},
		"a free key refused":                        {false, []played{readNothing(), other(saidReused)}},
		"seq goes back":                             {false, []played{pressed(saidCreated), read(isSent, 5), read(isSent, 4)}},
		"seq goes back after a kill":                {false, []played{pressed(saidCreated), read(isApproved, 5), killed(), read(isInDoubt, 4)}},
		"two states under one seq":                  {false, []played{pressed(saidCreated), read(isSent, 5), read(isPending, 5)}},
		"a change without a seq":                    {false, []played{pressed(saidCreated), read(isApproved, 5), acked(5, saidDone), readAcked(isApproved, 5)}},
		"back in the queue":                         {false, []played{pressed(saidCreated), read(isSent, 2), read(isQueued, 3)}},
		"sent once more as if new":                  {false, []played{pressed(saidCreated), killed(), read(isInDoubt, 8), read(isSent, 9)}},
		"an end forgotten":                          {false, []played{pressed(saidCreated), read(isApproved, 4), read(isInDoubt, 5)}},
		"an end replaced":                           {false, []played{pressed(saidCreated), read(isDeclined, 4), read(isApproved, 5)}},
		"an end replaced over a kill":               {false, []played{pressed(saidCreated), read(isApproved, 4), killed(), read(isDeclined, 9)}},
		"an end replaced over two kills":            {false, []played{pressed(saidCreated), read(isApproved, 4), killed(), read(isInDoubt, 9), killed(), read(isExpired, 19)}},
		"pending again after its end":               {false, []played{pressed(saidCreated), read(isApproved, 4), killed(), read(isPending, 9)}},
		"another approval":                          {false, []played{pressed(saidCreated), read(isApproved, 4), killed(), secondRef(9)}},
		"an acknowledged end forgotten":             {false, []played{pressed(saidCreated), read(isApproved, 4), acked(4, saidDone), killed(), read(isInDoubt, 9)}},
		"an acknowledgement forgotten":              {false, []played{pressed(saidCreated), read(isApproved, 4), acked(4, saidDone), killed(), read(isApproved, 9)}},
		"an acknowledgement from nowhere":           {false, []played{pressed(saidCreated), read(isApproved, 4), readAcked(isApproved, 5)}},
		"an acknowledgement of an old seq":          {false, []played{pressed(saidCreated), read(isSent, 3), read(isApproved, 4), acked(3, saidDone)}},
		"an acknowledgement of a lost end":          {false, []played{pressed(saidCreated), read(isApproved, 4), killed(), read(isInDoubt, 9), read(isApproved, 10), acked(4, saidDone)}},
		"an acknowledgement of no end":              {false, []played{pressed(saidCreated), read(isPending, 3), acked(3, saidDone), read(isPending, 3)}},
		"a present seq refused":                     {false, []played{pressed(saidCreated), read(isApproved, 4), acked(4, saidChanged)}},
		"an end expired that could not":             {false, []played{pressed(saidCreated), read(isExpired, 4)}},
		"cancelled, and nobody asked":               {true, []played{pressed(saidCreated), read(isCancelled, 4)}},
		"approved to cancelled":                     {true, []played{pressed(saidCreated), read(isApproved, 3), cancelled(false, saidTaken), read(isCancelled, 4)}},
		"approved to reversed, and nobody asked":    {true, []played{pressed(saidCreated), read(isApproved, 3), read(isReversed, 4)}},
		"approved after a cancel":                   {true, []played{pressed(saidCreated), read(isSent, 2), cancelled(false, saidTaken), read(isApproved, 3)}},
		"approved after a cancel and a kill":        {true, []played{pressed(saidCreated), cancelled(false, saidTaken), killed(), read(isReversing, 9), read(isApproved, 10)}},
		"approved after it was being undone":        {true, []played{pressed(saidCreated), read(isReversing, 3), read(isApproved, 4)}},
		"approved although barred":                  {true, []played{cancelled(true, saidTaken), pressed(saidReplayed), readBarred(isApproved, 4)}},
		"executed although barred":                  {true, []played{cancelled(true, saidTaken), readBarred(isReversed, 4)}},
		"accepted although barred":                  {true, []played{cancelled(true, saidTaken), pressed(saidCreated)}},
		"a cancel forgotten":                        {true, []played{pressed(saidCreated), cancelled(false, saidTaken), killed(), read(isInDoubt, 9)}},
		"a bar forgotten":                           {true, []played{cancelled(true, saidTaken), killed(), readNothing()}},
		"a cancel refused that nobody was too late": {true, []played{pressed(saidCreated), read(isApproved, 3), cancelled(false, saidAcked)}},
		"a cancel of nothing":                       {true, []played{readNothing(), cancelled(false, saidTaken)}},
		"a cancel taken after the acknowledgement":  {true, []played{pressed(saidCreated), read(isApproved, 3), acked(3, saidDone), cancelled(false, saidTaken)}},
	} {
		t.Run(name, func(t *testing.T) {
			if verdict, info := porcupine.CheckOperationsVerbose(model(c.own), historyOf(c.lines), 0); verdict != porcupine.Illegal {
				t.Errorf("%s, in this order: %v", verdict, info.PartialLinearizations())
			}
		})
	}
}

func secondRef(seq uint64) played {
	l := read(isApproved, seq)
	l.result.seen.ref = "SBX2"
	return l
}

// Every state that a till can be shown in such a contest is reached by the model's steps, and no other: none that a technician makes.
func TestLinear_ModelMovesAlongTheTable(t *testing.T) {
	fresh := register{request: requestA, state: isQueued}
	names := func(all []tideover.State) string {
		var b []string
		for _, s := range tideover.States() {
			for _, have := range all {
				if have == s {
					b = append(b, s.String())
				}
			}
		}
		return strings.Join(b, " ")
	}
	if got, want := names(fresh.reach(false)), "sent pending in_doubt approved declined"; got != want {
		t.Errorf("a sale that does not expire reaches %s, want %s", got, want)
	}
	if got, want := names(fresh.reach(true)), "sent pending in_doubt reversing approved declined expired reversed"; got != want {
		t.Errorf("a sale that may expire reaches %s, want %s", got, want)
	}
}
