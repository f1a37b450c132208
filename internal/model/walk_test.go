package model

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"tideover"
)

const (
	walkSteps = 160 // of one walk
	// faultEvery: of so many steps one is a fault, where there is one to make.
	faultEvery = 7
)

// walkTime is how long the walks last.
func walkTime() time.Duration {
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") != "":
		return 30 * time.Minute
	case testing.Short():
		return 4 * time.Second
	default:
		return 20 * time.Second
	}
}

// usualSeed is that of a run in CI, so that a change is judged by what it does and not by what was found by chance; nights have new ones.
const usualSeed = 2026

// seedOf is the run's seed: TIDEOVER_SEED where that is set.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	if s := os.Getenv("TIDEOVER_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal("TIDEOVER_SEED is a number: ", err)
		}
		return n
	}
	if os.Getenv("TIDEOVER_NIGHTLY") == "" {
		return usualSeed
	}
	return rand.Uint64()
}

// calm verbs are those by which the world goes on; all others are faults, or what people do.
func (v verb) fault() bool {
	return v == vTwice || v == vSilent || v == vTimeOut || v >= vTick && v <= vPutBooksBack || v >= vTakeOver
}

// largeWorld draws a world with everything in it.
func largeWorld(r *rand.Rand) *scenario {
	sc := &scenario{
		name: "walk", idempotent: r.IntN(3) > 0, hubs: 1 + r.IntN(2), late: true, fine: r.IntN(2) == 0, wall: r.IntN(4) == 0, allow: may{},
		marked: r.IntN(2) == 0,
	}
	first := sale()
	if r.IntN(3) == 0 {
		first = advice()
	}
	sc.presses = []press{first}
	for _, p := range []press{
		refund(), reverse(), sale(),
		{kind: refund().kind, amount: 800, original: 0},
		{kind: reverse().kind, amount: 5, original: 0},
		{kind: reverse().kind, amount: 0, original: 1}, // of whatever comes second
	} {
		// Known: a reversal of a reversal may overtake it, and bar it.
		possible := p.original <= 0 || p.original < len(sc.presses) && sc.presses[p.original].kind != tideover.KindReversal
		if len(sc.presses) < txMax && possible && r.IntN(2) == 0 {
			sc.presses = append(sc.presses, p)
		}
	}
	for f := range faults {
		sc.allow[f] = uint8(r.IntN(3))
	}
	sc.allow[fTick] = uint8(r.IntN(6))
	sc.allow[fAck] = 4
	sc.allow[fPrune] = 0 // that takes a month
	// A router and a ledger that have both lost the same are beyond any promise.
	if sc.hubs > 1 || r.IntN(2) == 0 {
		sc.allow[fHubCopy] = 0
	} else {
		sc.allow[fReplace], sc.allow[fCopy] = 0, 0
	}
	sc.allow[fHubCopy] = min(sc.allow[fHubCopy], 1)
	sc.allow[fCopy] = min(sc.allow[fCopy], 1)
	sc.allow[fReplace] = min(sc.allow[fReplace], 1)
	if sc.allow[fHubCopy] > 0 || sc.allow[fCopy] > 0 {
		sc.presses = knownOfCopies(sc.presses, sc.allow[fCopy] > 0)
	}
	sc.overlap = r.IntN(2) == 0 && (sc.allow[fHubCopy] == 0 || sc.marked)
	return sc.prepare()
}

// knownOfCopies leaves out what is known to go wrong. Where a ledger is put back to an older copy: a second transaction that undoes the
// same original, while the first one has no end and the ledger has lost it. Where a router's disk is: a reversal.
func knownOfCopies(all []press, disk bool) (kept []press) {
	undoing := 0
	for _, p := range all {
		if p.kind.Undoes() {
			undoing++
		}
		if !p.kind.Undoes() || !disk && undoing < 2 || disk && p.kind != tideover.KindReversal {
			kept = append(kept, p)
		}
	}
	return kept
}

// walk makes one random walk.
func walk(sc *scenario, r *rand.Rand) (trace []step, err error) {
	w := newWorld(sc)
	var all, some []step
	for range walkSteps {
		all = w.enabled(all[:0])
		if len(all) == 0 {
			break
		}
		wanted := r.IntN(faultEvery) == 0
		some = some[:0]
		for _, s := range all {
			if s.verb.fault() == wanted {
				some = append(some, s)
			}
		}
		if len(some) == 0 {
			some = all
		}
		s := some[r.IntN(len(some))]
		w.do(s)
		trace = append(trace, s)
		if w.oracle.err != nil {
			return trace, w.oracle.err
		}
	}
	return trace, w.rest(r.IntN(2) == 0)
}

// Random walks through worlds too large to be explored keep every promise, and come to rest.
func TestModel_RandomWalks(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	end := time.Now().Add(walkTime())
	walks, steps := 0, 0
	for ; time.Now().Before(end); walks++ {
		r := rand.New(rand.NewPCG(seed, uint64(walks)))
		sc := largeWorld(r)
		trace, err := walk(sc, r)
		steps += len(trace)
		if err != nil {
			sc.name = fmt.Sprintf("TIDEOVER_SEED=%d, walk %d (%d presses, %d hubs, idempotent %t)",
				seed, walks, len(sc.presses), sc.hubs, sc.idempotent)
			trace = shrink(sc, trace)
			report(t, sc, fails(sc, trace), trace)
			return
		}
	}
	t.Logf("TIDEOVER_SEED=%d: %d walks, %d steps", seed, walks, steps)
}
