// Package uplink holds the connection to the hub over one way out of the shop.
//
// An [Uplink] dials the hub until it answers, says hello, hears the outbox, carries transactions, each on a stream of its own, and
// dials again when the connection is gone. What is said and heard about the whole store goes through a [Peer]; a transaction goes
// through [Uplink.Submit] and its siblings.
//
// # What has left and what has not
//
// Of a call that fails with [ErrNoLink] or [ErrVetoed] no byte has left and none will. After [ErrLost] bytes may have left: only the
// hub knows what became of them. The hook [Hooks.Sending] runs between the two, immediately before the first byte can leave. The first
// bytes of a sale only go to a connection that was heard from within the last 1.5 s; otherwise it is probed and the sale waits for
// the answer, so that a silent outage leaves most sales provably unsent.
//
// # Silence
//
// Probes are QUIC datagrams, which the hub echoes: each 250 ms while anything is pending or one is late, else each second. After
// 1.5 s of silence and three probes the connection is given up and everything on it is lost. A socket survives what kills a QUIC
// connection for no good reason: a send error of a link that is down is taken for a lost packet. Attempts to connect begin at most 1 s
// apart while anything is pending and at most 5 s otherwise, and at once when a link changes.
//
// # Order and blocking
//
// Frames of the control stream reach the Peer in the order in which the hub wrote them, from one goroutine; confirmations of calls
// come from the goroutine of the call. Calls block until their end is known, their connection is gone or their context ends.
package uplink
