// Package desk carries each transaction through claim, call, record and tell.
//
// # One worker for each open row
//
// A row without an end has one goroutine in this process, from the step that opens it (or from [Desk.Run], for those found at the
// start) until its end. It does what the row needs next: calls the platform once per claim, asks while in doubt (after 1, 2, 3, 5,
// 5 … s), has it reversed, or, for a reversal, has its original undone and waits for that. The pure steps of package ledger decide; the worker
// only carries their decisions out.
//
// # Listeners
//
// Whoever asks about an id listens: it gets [wire.Progress] as the row moves and at last one [wire.Confirmation] or [wire.Refused].
// A listener's context ends its listening and nothing else. An end that nobody listens for goes to [Config.Push]; it stays in the
// ledger's outbox in any case. Listeners and Push are called without locks held, from many goroutines, and must not block.
//
// # Crashes
//
// Nothing is told before it is committed. After a crash every open row is in doubt and is asked about before anything else. A desk that stops
// gives back the claims under which it has not called: another hub on the same ledger claims them anew without asking.
//
// # A ledger that was put back
//
// [Desk.Hello] finds it out, [Desk.Replay] takes the ends that the edge tells again, and [Desk.Replayed] ends that. Meanwhile whatever one of
// those ends could forbid is tried again each second, as what waits for another row is.
package desk
