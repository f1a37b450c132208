package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"tideover"
)

// What follows is one key of one till as a register that several clients share: a till, its crashed self that knows no better, a second
// box under the same name. A press writes it, once; whatever the router, the hub and the platform do to it happens between two answers,
// as the root's table of transitions allows, and within what a till may rely on:
//
//   - Once an answer has told of it, it is there, and its seq never goes back: also after a kill -9.
//   - An end that was told stays. After a kill it may read in_doubt until the hub repeats it, unless it was acknowledged.
//   - Once a cancel was answered, it is never approved; what had been told to be approved becomes reversed.
//
// Nothing here asks for a correction, and no technician does anything.

// request is what was accepted under the key.
type request uint8

// The requests. Rivals press the first, and sometimes by mistake the second one.
const (
	requestNone   request = iota // nothing was accepted
	requestA                     // the press
	requestB                     // another one under the same key
	requestBarred                // cancelled before any press was accepted
)

// register is what is certain about one key after the newest answer; what happened since is found out by the next one.
type register struct {
	request request
	state   tideover.State
	seq     uint64 // of the newest answer
	moved   bool   // it has changed since that: the next answer has a later seq
	end     tideover.State
	ref     string // of the approval that was told
	// The present end came after lo, and at the latest at hi.
	lo, hi uint64
	acked  bool
	undo   bool // its cancel is on the router's disk
	never  bool // it was being undone: it is not approved any more
}

// seen is a transaction as an answer shows it; its request is none where there is none.
type seen struct {
	request request
	state   tideover.State
	seq     uint64
	acked   bool
	ref     string
}

// operation is what a client does, and its input to the model.
type operation struct {
	name    string // accept, read, cancel, ack, kill
	request request
	byKey   bool
	seq     uint64
}

// result is what it hears.
type result struct {
	said string // what the status says; "" is no answer: it may have been done or not
	seen seen   // of a read
}

// What answers say.
const (
	saidCreated  = "created"
	saidReplayed = "replayed"
	saidReused   = "422 key_reused"
	saidTaken    = "taken"
	saidUnknown  = "404 unknown"
	saidAcked    = "409 already_acknowledged"
	saidDone     = "204"
	saidChanged  = "409 outcome_changed"
	saidBeyond   = "400 beyond"
)

// model is the register as porcupine takes it. own says that router and hub may end a press by themselves, as one that expires soon.
func model(own bool) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{register{}} },
		Step: func(state, input, output any) []any {
			var next []any
			for _, r := range state.(register).step(input.(operation), output.(result), own) {
				next = append(next, r)
			}
			return next
		},
		DescribeOperation: func(input, output any) string { return describe(input.(operation), output.(result)) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
	return m.ToModel()
}

func describe(o operation, r result) string {
	var b strings.Builder
	b.WriteString(o.name)
	switch o.name {
	case "accept":
		fmt.Fprintf(&b, " %c", 'A'+o.request-requestA)
	case "cancel":
		fmt.Fprintf(&b, " by key %v", o.byKey)
	case "ack":
		fmt.Fprintf(&b, " %d", o.seq)
	case "read":
		if s := r.seen; s.request != requestNone {
			fmt.Fprintf(&b, " -> %q seq %d acked %v ref %q request %d", s.state, s.seq, s.acked, s.ref, s.request)
			return b.String()
		}
		r.said = "nothing"
	case "kill":
		return b.String()
	}
	if r.said == "" {
		r.said = "?"
	}
	return b.String() + " -> " + r.said
}

// step returns what may be the case after an operation with its result; nothing where that result cannot be.
func (r register) step(o operation, got result, own bool) []register {
	switch o.name {
	case "accept":
		return r.accept(o.request, got.said)
	case "read":
		return r.read(got.seen, own)
	case "cancel":
		return r.cancel(o.byKey, got.said)
	case "ack":
		return r.ack(o.seq, got.said)
	case "kill":
		return r.kill()
	}
	panic("unknown operation " + o.name)
}

func (r register) accept(q request, said string) []register {
	created := register{request: q, state: tideover.StateQueued, moved: true}
	switch {
	case said == saidCreated && r.request == requestNone:
		return []register{created}
	case said == saidReplayed && (r.request == q || r.request == requestBarred):
		return []register{r}
	case said == saidReused && r.request != requestNone && r.request != q && r.request != requestBarred:
		return []register{r}
	case said == "" && r.request == requestNone:
		return []register{r, created}
	case said == "":
		return []register{r}
	}
	return nil
}

// cancel takes the till's word. What the router had heard of it by then, the next answer tells.
func (r register) cancel(byKey bool, said string) []register {
	switch said {
	case saidTaken:
		return r.undone(byKey)
	case saidUnknown:
		if r.request == requestNone && !byKey {
			return []register{r}
		}
	case saidAcked:
		if r.state == tideover.StateApproved && r.acked {
			return []register{r}
		}
	case "":
		return append(r.undone(byKey), r)
	}
	return nil
}

// undone is what a cancel makes of it.
func (r register) undone(byKey bool) []register {
	switch {
	case r.request == requestNone && !byKey:
		return nil
	case r.request == requestNone:
		return []register{{request: requestBarred, state: tideover.StateReversing, undo: true, never: true, moved: true}}
	case r.undo, r.state.Final() && r.state != tideover.StateApproved:
		return []register{r}
	case r.acked:
		return nil
	}
	r.state, r.undo, r.never, r.moved = tideover.StateReversing, true, true, true
	return []register{r}
}

func (r register) ack(seq uint64, said string) []register {
	known := r.request != requestNone
	switch said {
	case saidDone:
		if r.state.Final() && seq > r.lo {
			r.hi = min(r.hi, seq)
			r.moved = r.moved || !r.acked || seq > r.seq
			r.acked, r.seq = true, max(r.seq, seq)
			return []register{r}
		}
	case saidChanged:
		if known && !r.state.Final() {
			return []register{r}
		}
		if known && seq < r.hi {
			r.lo = max(r.lo, seq)
			return []register{r}
		}
	case saidBeyond:
		if known && seq > r.seq {
			return []register{r}
		}
	case saidUnknown:
		if !known {
			return []register{r}
		}
	case "":
		return append(r.ack(seq, saidDone), r)
	}
	return nil
}

// kill is kill -9 of the router and its next start: what was in memory only is gone.
func (r register) kill() []register {
	again := r
	again.state, again.moved = tideover.StateInDoubt, true
	if r.undo {
		again.state = tideover.StateReversing
	}
	switch {
	case r.request == requestNone, r.acked:
		return []register{r}
	case r.state.Final():
		return []register{r, again} // the end was on the disk, or not yet
	}
	return []register{again}
}

// read compares an answer with what is certain, and takes it over.
func (r register) read(s seen, own bool) []register {
	switch {
	case s.request != r.request || s.seq < r.seq:
		return nil
	case r.request == requestNone:
		return []register{r}
	case s.seq == r.seq:
		if r.moved || s.state != r.state || s.acked != r.acked || s.state == tideover.StateApproved && s.ref != r.ref {
			return nil
		}
		return []register{r}
	case !(r.moved && s.state == r.state) && !r.becomes(s.state, own), s.acked != (r.acked && r.state == s.state):
		return nil
	}
	next := r
	next.state, next.seq, next.moved = s.state, s.seq, false
	next.never = r.never || s.state == tideover.StateReversing
	switch {
	case !s.state.Final():
	case s.state == tideover.StateApproved && r.end == tideover.StateApproved && s.ref != r.ref:
		return nil // another approval
	case r.state != s.state:
		next.end, next.ref, next.lo, next.hi = s.state, s.ref, r.seq, s.seq
	}
	return []register{next}
}

// becomes says whether an answer with a later seq may show a state, with nothing asked for in between.
func (r register) becomes(to tideover.State, own bool) bool {
	switch {
	case r.state.Final():
		return to == r.state // told again, or delivered
	case r.end == tideover.StateApproved && r.undo:
		return to == tideover.StateReversing || to == tideover.StateReversed
	case r.end != tideover.StateNone:
		// A kill has taken the end away: it is in doubt, or its cancel goes on, until the hub repeats it.
		return to == r.end || to == r.state
	case r.request == requestBarred:
		return to == tideover.StateReversing || to == tideover.StateCancelled
	}
	return slices.Contains(r.reach(own), to)
}

// silent are the causes that need nobody but router, hub and platform.
func (r register) silent(from tideover.State, own bool) []tideover.Cause {
	all := []tideover.Cause{tideover.CauseSent, tideover.CauseDoubt, tideover.ToldPending, tideover.ToldDeclined}
	if !r.never && from != tideover.StateReversing {
		all = append(all, tideover.ToldApproved)
	}
	if r.undo {
		all = append(all, tideover.ToldReversing, tideover.ToldReversed, tideover.ToldCancelled)
	}
	if own {
		all = append(all, tideover.CauseExpired, tideover.ToldExpired, tideover.ToldReversing, tideover.ToldReversed)
	}
	return all
}

// reach are the states that the table leads to by at least one silent step. Nothing leaves an end silently.
func (r register) reach(own bool) []tideover.State {
	var all []tideover.State
	for front := []tideover.State{r.state}; len(front) > 0; {
		from := front[0]
		front = front[1:]
		if from.Final() {
			continue
		}
		for _, cause := range r.silent(from, own) {
			if to, err := tideover.Next(from, cause); err == nil && !slices.Contains(all, to) {
				all, front = append(all, to), append(front, to)
			}
		}
	}
	return all
}
