package model

import (
	"testing"
	"time"
)

// mutation is a world in which one rule of the protocol is left out. What decides is the product all the same: the rule is taken away
// around it.
type mutation uint8

const (
	intact mutation = iota
	missingProves
	calledTwice
	posted
	uncheckedCall
	lateApproval
	cancelForgotten
	hintBelieved
	earlyTakeOver
	noRow
	noTombstone
	anyIncarnation
	latestExpiry
	twoAccounts
	twoLedgers
	pruneForgotten
	lazyEnds
	lazyCancel
	unheard
	neverReopened
	haveInMemory
	earlyAck
	wallExpiry
	approvalBelieved
	gapIgnored
	restoredSends
	notAgain
	notReplayed
	anchorForgotten
	epochForgotten
	ackedForgotten
	heardAtOpen
	begunCancelled
	orphansForgotten
	openUntold
	openNotMarked
	orphansLost
	mutations
)

// mutants lists the mutations, each with the rule that it leaves out and a world in which that breaks a promise.
var mutants = []struct {
	broken mutation
	rule   string
	world  scenario
}{
	{missingProves, "404 certifies nothing, a call may still be travelling", scenario{
		presses: one, idempotent: true, allow: may{fSilent: 1},
	}},
	{calledTwice, "status_only: one call per id, ever", scenario{
		presses: one, allow: may{fSilent: 1},
	}},
	{posted, "no repeat may happen behind the ledger's back", scenario{
		presses: one,
	}},
	{uncheckedCall, "lease and expiry are checked again immediately before the call", scenario{
		presses: one, idempotent: true, allow: may{fTick: 2},
	}},
	{lateApproval, "an approval after another end is not believed and not kept", scenario{
		presses: one, idempotent: true, hubs: 2, allow: may{fTakeOver: 1, fRefuse: 1, fLie: 1},
	}},
	{cancelForgotten, "a cancel sets cancel_asked; recording an approval then makes it reversing", scenario{
		presses: one, idempotent: true, allow: may{fCancel: 1},
	}},
	{hintBelieved, "what the platform pushes (notify) only prompts asking it", scenario{
		presses: one, idempotent: true, allow: may{fSilent: 1, fHint: 1},
	}},
	{earlyTakeOver, "owner silent: with an idempotent platform after about a second; otherwise when the lease ends", scenario{
		presses: one, hubs: 2, allow: may{fTakeOver: 1},
	}},
	{noRow, "cancel inserts refused where there is no row: for good, also against a copy still on its way", scenario{
		presses: one, idempotent: true, allow: may{fCancel: 1},
	}},
	{noTombstone, "expiry inserts refused where there is no row", scenario{
		presses: one, idempotent: true, allow: may{fReplace: 1, fRepeat: 1, fCancel: 1},
	}},
	{anyIncarnation, "a later claim by an older incarnation is answered superseded and never executed", scenario{
		presses: one, idempotent: true, allow: may{fProcess: 1},
	}},
	{latestExpiry, "the earliest value seen for an id stands", scenario{
		presses: one, idempotent: true, allow: may{fJump: 1, fCut: 1, fSilent: 1},
	}},
	{twoAccounts, "refunds and reversal are accounted under the original's row", scenario{
		presses: []press{advice(), refund(), reverse()}, idempotent: true,
	}},
	{twoLedgers, "all hub addresses of an edge share one ledger; another one is refused", scenario{
		presses: one, hubs: 2, allow: may{fCut: 1},
	}},
	{pruneForgotten, "an unknown id accepted before pruned_before is manual", scenario{
		presses: []press{advice()}, idempotent: true, allow: may{fTwice: 1, fPrune: 1},
	}},
	{lazyEnds, "what the edge itself decides is synced before it is answered or acted on", scenario{
		presses: one, idempotent: true, allow: may{fProcess: 1, fCancel: 1},
	}},
	{lazyCancel, "a cancel asked for is synced before it is answered", scenario{
		presses: one, idempotent: true, allow: may{fProcess: 1, fCancel: 1},
	}},
	{unheard, "until the first hello is answered and that outbox is on disk, the edge says no expired or cancelled by itself", scenario{
		presses: one, idempotent: true, allow: may{fReplace: 1, fCancel: 1},
	}},
	{neverReopened, "never sent is known only in memory; after a restart everything without an end is in doubt", scenario{
		presses: one, idempotent: true, allow: may{fProcess: 1, fCancel: 1},
	}},
	{haveInMemory, "have_through is the outbox position that is on the edge's disk", scenario{
		presses: one, idempotent: true, allow: may{fCut: 1},
	}},
	{earlyAck, "the hub hears of an outcome after the commit that holds it", scenario{
		presses: one, idempotent: true, allow: may{fReplace: 1, fProcess: 1},
	}},
	{wallExpiry, "ledger time alone decides expiry", scenario{
		presses: one, idempotent: true, wall: true, allow: may{fTick: 3},
	}},
	{approvalBelieved, "a late approval never wins over a cancel unseen", scenario{
		presses: one, idempotent: true, allow: may{fCancel: 1},
	}},
	{gapIgnored, "a journal that lacks part of the store's past ends nothing by itself", scenario{
		presses: one, idempotent: true, allow: may{fReplace: 1, fCancel: 1},
	}},
	{restoredSends, "the open records of a restored edge are asked about, never sent", scenario{
		presses: one, idempotent: true, allow: may{fCopy: 1, fCancel: 1},
	}},
	{notAgain, "transactions sent again to a restored hub carry again and start in doubt there", scenario{
		presses: one, allow: may{fHubCopy: 1},
	}},
	{notReplayed, "a restored hub is first told the edge's ends", scenario{
		presses: []press{advice(), reverse()}, idempotent: true, allow: may{fHubCopy: 1},
	}},
	{anchorForgotten, "a copy of the edge's disk is known by a head that is newer than its own: what is claimed is anchored with it", scenario{
		presses: one, idempotent: true, allow: may{fCopy: 1, fCancel: 1},
	}},
	{epochForgotten, "what may have been sent in another epoch of the ledger is sent again as such", scenario{
		presses: one, allow: may{fHubCopy: 1},
	}},
	{ackedForgotten, "a restored edge hears again what it had acknowledged", scenario{
		presses: one, idempotent: true, allow: may{fCopy: 1, fCancel: 1},
	}},
	{heardAtOpen, "a hub that was opened anew calls nothing before the edge was heard", scenario{
		presses: one, idempotent: true, allow: may{fHubCopy: 1, fCancel: 1},
	}},
	{begunCancelled, "a reversal of which the original is being cancelled is not cancelled itself", scenario{
		presses: []press{sale(), reverse()}, idempotent: true, allow: may{fCancel: 1},
	}},
	{orphansForgotten, "after a crash that may have left orphans nothing is ended here before the hub has told what it has", scenario{
		presses: one, idempotent: true, overlap: true, allow: may{fProcess: 1, fCancel: 1},
	}},
	{openUntold, "a hub tells at a hello what has no end, as well as its outbox", scenario{
		presses: one, idempotent: true, overlap: true, allow: may{fProcess: 1, fCancel: 1},
	}},
	{openNotMarked, "what the hub has without an end may have left, though this process has not sent it", scenario{
		presses: one, idempotent: true, overlap: true, allow: may{fProcess: 1, fCancel: 1, fRepeat: 1},
	}},
	{orphansLost, "what a router and the ledger may both have lost is asked about before it is called", scenario{
		presses: one, overlap: true, marked: true, allow: may{fHubCopy: 1, fProcess: 1, fRepeat: 1},
	}},
}

// Each rule of the protocol closes a hole: without it a promise is broken, within a small world; with it none is.
func TestModel_MutationsAreCaught(t *testing.T) {
	t.Parallel()
	if len(mutants) != int(mutations)-1 {
		t.Errorf("%d mutations are listed, of %d", len(mutants), mutations-1)
	}
	for _, m := range mutants {
		t.Run(m.rule, func(t *testing.T) {
			sc := m.world
			sc.name, sc.broken = m.rule, m.broken
			begun := time.Now()
			f := explore(newWorld(sc.prepare()), limits{states: 100_000, until: begun.Add(exploreMax), rest: 3})
			if f.err == nil {
				t.Errorf("without this rule every promise is kept: %v", f)
				return
			}
			t.Logf("%v (%v; %d steps, %d states)", f.err, time.Since(begun).Round(time.Millisecond), len(f.trace), f.states)
		})
	}
}

// The worlds in which the mutations are caught keep every promise as they are.
func TestModel_MutantsWorldsAreSoundIntact(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		if testing.Short() {
			break
		}
		t.Run(m.rule, func(t *testing.T) {
			sc := m.world
			sc.name = m.rule
			begun := time.Now()
			f := explore(newWorld(sc.prepare()), limits{states: 30_000, until: begun.Add(exploreMax), rest: 15})
			t.Log(f, time.Since(begun).Round(time.Millisecond))
			if f.err != nil {
				report(t, &sc, f.err, f.trace)
			}
		})
	}
}
