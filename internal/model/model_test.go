package model

import (
	"os"
	"testing"
	"time"

	"tideover"
)

func sale() press    { return press{kind: tideover.KindSale, amount: 1299, original: -1} }
func advice() press  { return press{kind: tideover.KindAdvice, amount: 1299, original: -1} }
func refund() press  { return press{kind: tideover.KindRefund, amount: 900, original: 0} }
func reverse() press { return press{kind: tideover.KindReversal, amount: 1299, original: 0} }

// may is how often each fault may happen.
type may = map[fault]uint8

// one is a sale alone.
var one = []press{sale()}

// small are the worlds that are explored to the end. Each allows a few faults of a few kinds, so that all of them meet in every order.
var small = []scenario{
	// Cancels at each instant, with answers lost, processes killed, copies and time.
	{name: "a cancel, a lost answer, a router's crash", presses: one, idempotent: true, allow: may{fCancel: 1, fProcess: 1, fSilent: 1}},
	{name: "a cancel, a lost answer, a hub's crash", presses: one, idempotent: true, allow: may{fCancel: 1, fHub: 1, fSilent: 1}},
	{name: "a cancel, and a frame that arrives twice", presses: one, idempotent: true, allow: may{fTwice: 1, fProcess: 1, fCancel: 1}},
	{name: "cancels, acknowledgements, a cut", presses: one, idempotent: true, allow: may{fCancel: 2, fAck: 2, fCut: 1}},
	{name: "a cancel of an advice", presses: []press{advice()}, allow: may{fCancel: 1, fSilent: 1, fProcess: 1}},
	// Expiry.
	{name: "time, a lost answer, a router's crash", presses: one, idempotent: true, allow: may{fSilent: 1, fProcess: 1, fTick: 3}},
	{name: "time, a jump of the clock, a power cut", presses: one, idempotent: true, allow: may{fReboot: 1, fTick: 3, fJump: 1}},
	{name: "time, a wall clock that is wrong", presses: one, idempotent: true, wall: true, allow: may{fReboot: 1, fTick: 3}},
	{name: "time, a lost answer, a hub's crash", presses: one, idempotent: true, allow: may{fSilent: 1, fHub: 1, fTick: 2}},
	// What the platform makes of it.
	{name: "a platform that is called once", presses: one, allow: may{fSilent: 1, fHub: 1, fTick: 2, fRefuse: 1}},
	{name: "a platform that is long at work", presses: one, allow: may{fSilent: 1, fPending: 1, fTick: 2, fCancel: 1, fRefuse: 1}},
	{name: "another amount", presses: one, idempotent: true, allow: may{fSilent: 1, fWrong: 1, fTick: 1, fCancel: 1, fAck: 1}},
	{name: "a technician", presses: one, allow: may{fPerson: 3, fSilent: 2, fProcess: 1}},
	// Two hubs on one ledger.
	{name: "two hubs, one hidden by the network", presses: one, idempotent: true, hubs: 2, allow: may{fTakeOver: 1, fSilent: 1}},
	{name: "two hubs, an approval after a decline", presses: one, idempotent: true, hubs: 2, allow: may{fTakeOver: 1, fRefuse: 1, fLie: 1}},
	// Replaced and restored.
	{name: "a replaced router, pressed again", presses: one, idempotent: true, allow: may{fReplace: 1, fTick: 2, fRepeat: 1}},
	{name: "a replaced router, a cancel", presses: one, idempotent: true, allow: may{fReplace: 1, fCancel: 1, fRepeat: 1}},
	{name: "a replaced router, another body", presses: one, idempotent: true, allow: may{fReplace: 1, fRepeat: 1, fOther: 1}},
	{name: "a restored router", presses: one, idempotent: true, allow: may{fCopy: 1, fCancel: 1, fAck: 1}},
	{name: "a restored router, a technician", presses: one, allow: may{fCopy: 1, fPerson: 1}},
	{name: "a restored ledger, a cancel", presses: one, idempotent: true, allow: may{fHubCopy: 1, fCancel: 1}},
	{name: "a restored ledger, a platform that is called once", presses: one, allow: may{fHubCopy: 1, fTick: 1, fAck: 1}},
	{name: "a ledger's marked copy", presses: one, idempotent: true, marked: true, allow: may{fHubCopy: 1, fCancel: 1}},
	// Sales that leave while they are synced.
	{name: "overlap, a router's crash, a cancel", presses: one, idempotent: true, overlap: true, allow: may{fProcess: 1, fCancel: 1, fRepeat: 1}},
	{name: "overlap, a router's crash, time", presses: one, idempotent: true, overlap: true, allow: may{fProcess: 1, fTick: 3, fRepeat: 1}},
	{name: "overlap, a power cut, a cut line", presses: one, overlap: true, allow: may{fReboot: 1, fTick: 2, fCut: 1}},
	{name: "overlap, a copied disk", presses: one, idempotent: true, overlap: true, allow: may{fCopy: 1, fCancel: 1, fRepeat: 1}},
	{name: "overlap, a replaced router", presses: one, idempotent: true, overlap: true, allow: may{fReplace: 1, fCancel: 1}},
	{name: "overlap, heard bit by bit", presses: one, idempotent: true, overlap: true, fine: true, allow: may{fProcess: 1, fCancel: 1, fRepeat: 1}},
	{name: "overlap, two hubs", presses: one, idempotent: true, overlap: true, hubs: 2, allow: may{fProcess: 1}},
	{name: "overlap, a ledger's marked copy, called once", presses: one, overlap: true, marked: true, allow: may{fHubCopy: 1, fProcess: 1, fRepeat: 1}},
	// What undoes something.
	{name: "a reversal", presses: []press{sale(), reverse()}, idempotent: true, allow: may{fSilent: 1}},
	{name: "a refund, a hub's crash", presses: []press{sale(), refund()}, idempotent: true, allow: may{fHub: 1, fSilent: 1}},
}

// wide are larger ones, for the night.
var wide = []scenario{
	{name: "two hubs, one crashes, a platform that is called once", presses: one, hubs: 2, allow: may{fHub: 1, fTick: 2}},
	{name: "a refund and a reversal", presses: []press{advice(), refund(), reverse()}, idempotent: true},
	{name: "a reversal, cancels", presses: []press{sale(), reverse()}, idempotent: true, allow: may{fCancel: 1, fAck: 1}},
	{name: "a reversal, a router's crash", presses: []press{sale(), reverse()}, idempotent: true, allow: may{fProcess: 1}},
	{name: "everything late", presses: one, idempotent: true, late: true, fine: true, allow: may{fProcess: 1, fCancel: 1}},
	{name: "a replaced router, a cancel, time", presses: one, idempotent: true, allow: may{fReplace: 1, fCancel: 1, fRepeat: 1, fTick: 2}},
	{name: "a ledger's marked copy, a refund", presses: []press{advice(), refund()}, idempotent: true, marked: true, allow: may{fHubCopy: 1}},
	{name: "a marked copy, a reversal", presses: []press{advice(), reverse()}, idempotent: true, marked: true, allow: may{fHubCopy: 1}},
	{name: "overlap, a replaced router, a crash", presses: one, idempotent: true, overlap: true, allow: may{fReplace: 1, fCancel: 1, fRepeat: 1, fProcess: 1}},
	{name: "overlap, heard bit by bit, two crashes", presses: one, idempotent: true, overlap: true, fine: true, allow: may{fProcess: 2, fCancel: 1, fRepeat: 1}},
	{name: "overlap, a reversal", presses: []press{sale(), reverse()}, idempotent: true, overlap: true, allow: may{fProcess: 1}},
	{name: "overlap, two hubs, a cancel", presses: one, idempotent: true, overlap: true, hubs: 2, allow: may{fProcess: 1, fCancel: 1}},
	{name: "overlap, a ledger's marked copy, a cancel", presses: one, overlap: true, marked: true, allow: may{fHubCopy: 1, fProcess: 1, fCancel: 1}},
	{name: "a ledger's marked copy, called once", presses: one, marked: true, allow: may{fHubCopy: 1, fCancel: 1, fTick: 1, fSilent: 1}},
	{name: "a restored ledger, a refund", presses: []press{advice(), refund()}, idempotent: true, allow: may{fHubCopy: 1}},
}

const (
	// smallMax and wideMax are more states than any of these worlds has: one that has grown beyond is to be made smaller.
	smallMax, wideMax = 250_000, 3_000_000
	// exploreMax is longer than any machine takes.
	exploreMax = 10 * time.Minute
)

// Every interleaving of a small world keeps every promise, and from wherever it is, everything comes to its end.
func TestModel_SmallWorlds(t *testing.T) {
	t.Parallel()
	worlds, lim := small, limits{states: smallMax, rest: 31}
	if os.Getenv("TIDEOVER_NIGHTLY") != "" {
		worlds, lim = append(worlds[:len(worlds):len(worlds)], wide...), limits{states: wideMax, rest: 7}
	}
	states, rested := 0, 0
	for i, sc := range worlds {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			begun := time.Now()
			lim.until = begun.Add(exploreMax)
			f := explore(newWorld(sc.prepare()), lim)
			states, rested = states+f.states, rested+f.rested
			t.Log(f, time.Since(begun).Round(time.Millisecond))
			switch {
			case f.err != nil:
				report(t, &sc, f.err, f.trace)
			case !f.complete:
				t.Errorf("it is too large to be explored: %v", f)
			}
		})
	}
	t.Logf("%d states, %d run to rest", states, rested)
}
