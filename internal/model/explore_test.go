package model

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// found is what an exploration has seen.
type found struct {
	states, steps, depth, rested int
	complete                     bool
	err                          error
	trace                        []step
}

func (f found) String() string {
	return fmt.Sprintf("%d states, %d steps, depth %d, %d run to rest, complete: %t", f.states, f.steps, f.depth, f.rested, f.complete)
}

// node is how a state was reached.
type node struct {
	from int32
	by   step
}

// limits bound an exploration.
type limits struct {
	states int // at most
	until  time.Time
	rest   int32 // one state of so many is run to rest
}

// explore visits every state that a world can come to, breadth first, so that the first counterexample is as short as any.
func explore(w *world, lim limits) (f found) {
	seen := map[uint64]int32{}
	var nodes []node
	var e encoder
	var steps []step
	type place struct {
		w  *world
		id int32
	}
	add := func(w *world, from int32, by step) (int32, bool) {
		d := w.digest(&e)
		if id, ok := seen[d]; ok {
			return id, false
		}
		id := int32(len(nodes))
		seen[d] = id
		nodes = append(nodes, node{from, by})
		return id, true
	}
	trace := func(id int32) (t []step) {
		for ; id > 0; id = nodes[id].from {
			t = append(t, nodes[id].by)
		}
		slices.Reverse(t)
		return t
	}
	id, _ := add(w, 0, step{})
	frontier := []place{{w, id}}
	f.complete = true
	for len(frontier) > 0 {
		var next []place
		for i, p := range frontier {
			frontier[i].w = nil // its memory
			steps = p.w.enabled(steps[:0])
			for _, s := range steps {
				n := p.w.clone()
				if !n.do(s) {
					continue
				}
				f.steps++
				if n.oracle.err != nil {
					f.err, f.trace, f.states = n.oracle.err, append(trace(p.id), s), len(nodes)
					return f
				}
				id, isNew := add(n, p.id, s)
				if !isNew {
					continue
				}
				if id%lim.rest == 0 {
					f.rested++
					if err := n.rest(id/lim.rest%2 == 0); err != nil {
						f.err, f.trace, f.states = err, trace(id), len(nodes)
						return f
					}
				}
				next = append(next, place{n, id})
			}
			if len(nodes) >= lim.states || i%64 == 0 && time.Now().After(lim.until) {
				f.complete, f.states = false, len(nodes)
				f.trace = trace(int32(len(nodes) - 1))
				return f
			}
		}
		frontier = next
		f.depth++
	}
	f.states = len(nodes)
	return f
}

// retrace makes a world take steps again; those that are not possible are left out.
func retrace(sc *scenario, trace []step) (w *world, taken []step) {
	w = newWorld(sc)
	for _, s := range trace {
		before := w.clone()
		if w.do(s) {
			taken = append(taken, s)
			continue
		}
		if w.oracle.err != nil {
			return w, taken
		}
		*w = *before
	}
	return w, taken
}

// fails says whether a trace still leads to a broken promise.
func fails(sc *scenario, trace []step) error {
	w, _ := retrace(sc, trace)
	for _, arrive := range []bool{true, false} {
		if w.oracle.err != nil {
			return w.oracle.err
		}
		if err := w.rest(arrive); err != nil {
			return err
		}
	}
	return w.oracle.err
}

// shrink leaves out whatever is not needed for a promise to be broken.
func shrink(sc *scenario, trace []step) []step {
	for changed := true; changed; {
		changed = false
		for size := len(trace) / 2; size >= 1; size /= 2 {
			for i := 0; i+size <= len(trace); i++ {
				less := slices.Delete(slices.Clone(trace), i, i+size)
				if fails(sc, less) != nil {
					trace, changed = less, true
					i--
				}
			}
		}
	}
	_, taken := retrace(sc, trace)
	return taken
}

// narrate tells a trace as a person reads it.
func narrate(sc *scenario, trace []step) string {
	w := newWorld(sc)
	w.story = &story{}
	for _, s := range trace {
		w.do(s)
	}
	for _, arrive := range []bool{true, false} {
		if w.oracle.err != nil {
			break
		}
		lines := w.story.lines
		if w.rest(arrive) != nil {
			break
		}
		w.story.lines = lines
	}
	return "\n" + strings.Join(w.story.lines, "\n")
}

// report fails a test with a counterexample.
func report(t *testing.T, sc *scenario, err error, trace []step) {
	t.Helper()
	t.Errorf("%s: %v\nafter these %d steps:%s", sc.name, err, len(trace), narrate(sc, trace))
}
