// Package hub is the head end: it takes transactions from enrolled stores' edges, has each of them executed once, and keeps every
// outcome until the edge has it on its disk.
//
// # Parts
//
//   - server: one UDP port for two protocols of QUIC. Edges show their store's certificate and speak [wire.Protocol]; a machine that
//     wants to become an edge shows none and speaks [wire.EnrollProtocol].
//   - session: one connection of an edge: a control stream (hello, the outbox, acknowledgements) and a stream for each transaction.
//   - reconcile: tells an edge what ledger and platform have of a time, beside everything else and after it.
//   - stores: who may connect. A store has one valid certificate at a time, pinned in its ledger row; enrolling anew ends the old one
//     and its connections.
//   - desk (package desk): executes: claims in the ledger, calls the platform, records, tells.
//   - receipts: every end that is told is signed with a key of its own, see [tideover.Receipt]. Edges hear the public key at enrolment and in each welcome.
//   - operator: the commands of tideover-hub, against a running hub through its admin socket, or against its state directory.
//
// # Promises
//
// Nothing is told to an edge before it is committed in the ledger. A confirmation that could not be written to a stream, or that
// stays unacknowledged, is said again on the store's freshest control stream, and after every hello, until it is acknowledged.
// A frame that the desk has taken is carried on with, whether its stream lives or not.
//
// # State directory
//
// One process uses it at a time (a lock that ends with the process). It is set up once; a file of it that goes missing later is an
// error and never made anew, since a new authority would cut off every store and a new ledger could have things executed twice. The ledger alone
// may be put back to a copy that `ledger backup` has written, or to any other: edges tell it again what it has lost.
//
// # Limits
//
// Connections, streams, frames and waits are bounded by the constants in server.go; at each limit the newcomer is refused or the
// slow one is cut off, and what is in flight goes on.
package hub
