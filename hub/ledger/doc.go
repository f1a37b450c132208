// Package ledger decides what the hub does with each transaction, and nothing else: it does no I/O and knows no clock.
//
// # Nouns
//
// A [Row] is what the hub knows of one id. A [Store] is what it knows of one shop. A [View] holds the rows and the store that one step
// may read and change. A step is a method of View: it takes an event, reads [View.Now], changes what it must, and says in a [Decision]
// what follows and why. An engine (package bolt) loads the view, runs the step, and commits whatever differs; it may run a step again
// on a fresh view, so a step keeps nothing outside of it.
//
// # Rules
//
// Every move of a row goes through [Row.move], which asks the root's table; a move that is not in it panics before anything reaches
// the disk. An end is given its place in the store's outbox in the same step that decides it, so that nothing is heard before it is
// committed, and everything that was committed is heard. A row has one place in the outbox at most: a newer end takes the place of an
// older one that was not acknowledged.
//
// # A ledger that was put back to an older copy
//
// An edge's hello shows it ([View.Hello]). The edge then tells the ends that it has once more ([View.Replay]), and the ledger takes them as it
// had told them. Until it has them all ([View.Replayed]) it decides nothing that one of them could forbid: what takes money back waits, and what
// is in doubt is asked about and neither called nor barred. For a month more, an id that it does not have may be one that it has
// lost: a request that says so starts in doubt, and a cancel is the platform's to answer.
//
// # One effect
//
// Only [View.Claim] and [View.Record] put a row into "claimed", the only state from which the platform may be called, and each
// claim permits one call. Record does so only after the platform said that it does not have the id, had never said
// anything else of it, and guarantees that a repeat has one effect. Silence never leads to another call: what is in doubt is asked.
package ledger
