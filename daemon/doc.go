// Package daemon composes a running router out of the rooms: terminal, rules, queue, uplink, netmon, control.
//
// forward.go is the only place that carries a transaction from the queue to the uplink; decide.go holds what it decides by, as pure
// steps; session.go is the conversation with the hub that is not about one transaction; desk.go answers the tills; receipts.go checks
// what the hub has signed, and hands it out.
//
// [Run] owns every goroutine in one group. When its context ends the rooms end in the order of a transaction's way: no till is
// answered any more, nothing is carried any more, what the hub told is put on disk, and the journal is closed last. When a commit
// fails, nothing that waits for it is answered, and Run returns the error: the process must end.
package daemon
