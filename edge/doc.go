// Package edge decides what the router does with each transaction, and nothing else: it does no I/O and knows no clock.
//
// # Nouns
//
// An [Event] is one entry of the router's journal. A [Record] is what one transaction's events add up to, with what this process alone
// knows of it: whether a byte of it may have left. [Past] is what this process has learned from the hub about the journal and the
// ledger, and a [Moment] is that with the clocks. [Decide] says what to do next with an open transaction, and why.
//
// # Rules
//
// [Record.Apply] is the only place that turns events into state, and it asks the root's table. The other methods of a Record look: they
// return the event that is to be written, nil where there is nothing to write, or a refusal; whoever keeps the journal (package queue)
// applies it once it is on disk, or at once where the hub keeps it until then.
//
// # What the router may say by itself
//
// "Expired" and "cancelled" are certain only while no byte can have left, from this process or any other. So they are said by the
// router alone where all of this holds ([Past.MayEnd], [Record.NeverSent]): the transaction was accepted by this very process and not
// sent; the hub has answered this process's hello, and its outbox is on disk; no later process has taken over; no earlier one can have sent
// what the journal never had ([Past.Orphans]); and the journal has no
// gap: it is the store's only one, and not restored from an older copy. In a journal with a gap a press that looks new may be the
// repetition of one that another router sent. Everything else is the hub's to say.
package edge
