// Package tideover carries a shop's payments over a network that fails, and brings each confirmation back to its till.
//
// # A transaction's way
//
//		till ── HTTP/JSON ──▶ terminal ──▶ rules ──▶ queue ──▶ daemon (forward.go) ──▶ uplink ── QUIC, wire ──▶ hub ──▶ ledger ──▶ platform
//		till ◀── answer ───── terminal ◀─────────── queue ◀── daemon ◀──────────────── uplink ◀── confirmation ── hub ◀── ledger ◀── platform
//
//	  - terminal: speaks with tills, and asks for one thing: that a request be accepted.
//	  - rules: says whether a request may be taken, from what the queue shows.
//	  - edge: decides, and does nothing else: what an event makes of a record, and what to do next with it.
//	  - queue: makes it durable in bbolt before anybody hears of it, and keeps its end until the till has acknowledged it.
//	  - daemon: composes a router out of the rooms; forward.go is the only place that carries a transaction from queue to uplink.
//	  - uplink: holds the connections to the hub.
//	  - wire: the frames that both sides speak.
//	  - hub: claims the transaction in its ledger, asks the platform once, records the answer, keeps it until the edge has it.
//
// This package holds the nouns that all rooms share ([Transaction], [Request], [Outcome], [State], [ID]) and the one list of
// what may follow what ([Transitions] at the edge, [RowTransitions] in the hub's ledger). It does no I/O.
package tideover

// Version is the release that this source becomes; programs print it and say it in their hello.
const Version = "0.1.0"
