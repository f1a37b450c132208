// Package sandbox simulates a payment platform: it is slow, declines, keeps payments pending, loses requests and answers, hangs, is
// late or approves another amount, as its [Behaviour] says, and it counts everything that it is asked to do. Nothing in it moves money.
//
// It is a [platform.Platform] for a hub in the same process, and a handler that serves the contract's calls to others:
//
//	POST /payments               GET /payments/ID              POST /payments/ID/reverse
//	GET  /payments?store=…       (its statement)               POST /inject {"twice": ID} or {"lose": ID}
//	GET  /stats[?by_id=1]        GET /stats/ID                 GET, POST /control
//
// Where it is told where to ([Options].Notify), it calls back when a payment that was pending or late is decided: a hint, given once,
// and lost where nobody takes it.
//
// Its counts are what tests and the sandbox's story are judged by, so it has its own record of what it answered: an answer counts
// as given only once it was written whole to a caller who was still there. A payment that it was asked for again after that is
// counted in [Stats.RepeatedAfterAnswer].
//
// The same seed and the same order of calls give the same luck.
package sandbox
