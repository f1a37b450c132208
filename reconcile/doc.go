// Package reconcile compares what up to four sides have of a shop's transactions: the till's report, this router's journal, the hub's
// ledger and the platform's statement. It is pure: books go in, verdicts with their reasons and what a person does next come out.
//
// # Nouns
//
// A [Book] is what one side says, entry by entry; [Books] are the four of them for one period. [Compare] holds them against each other,
// transaction by transaction and in sums. [Settle] answers one till's report, [Day] a whole shop's day.
//
// # What counts
//
// Sums are of money that has moved and stayed: sales, refunds and advices that are approved, per till, kind and currency; currencies are
// never added together. A transaction that was declined, expired, cancelled or reversed counts nowhere, and a till need not know of it. A
// reversal has no sum of its own: what it undid no longer counts. A till that reports sums is taken at those; one that reports items alone
// at what its approved items come to.
//
// # Verdicts
//
//   - mismatch: amount, currency or kind differ between two sides; one says that money has moved and another that it has not; the
//     platform has executed it more than once; or the till counts it in a period in which it was not accepted.
//   - one_sided: a side that was heard lacks what another has as approved. What no side has as approved is nothing to miss, with one
//     exception: what the hub holds open and the journal does not have. The platform never lists a reversal by itself: its original is
//     reversed there.
//   - open: journal or hub have no end of it yet. That is neither right nor wrong, and is asked for again later. So is what changed in
//     the ledger while the platform's statement was being read.
//   - match: everything else.
//
// Sums that differ by no more than what is open are open; other differences are one-sided where a side has none of that kind and
// currency, and a mismatch otherwise. A side that was not heard is no side: its silence says nothing.
//
// # Caveats
//
// Which period a transaction belongs to is told by the edge's wall clock at its acceptance, in journal and ledger alike; the platform's
// entries follow their ids.
package reconcile
