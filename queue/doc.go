// Package queue is the edge's durable memory: what a till was answered is in its journal, and stays there until its end has arrived,
// been told and been acknowledged.
//
// # Nouns
//
//   - The journal is one bbolt bucket, keyed by sequence. Each entry is an event of one transaction (accepted, ended, delivered,
//     acknowledged ...), of a terminal, or of the edge itself. A transaction is what its events add up to, by
//     [tideover.Next]; there is no other copy of it on disk.
//   - The chain: each entry carries SHA-256(hash before it, sequence, event). The event holds a digest of its sealed part, so that a
//     payload can be erased later without breaking the chain. [Queue.Head] is the newest committed hash.
//   - What is over leaves the journal after a time, a transaction as a whole: it is pruned. Of a stretch that was pruned a run is left, the
//     chain's hash at its end; an event of the journal attests all runs.
//   - An anchor is a head that somebody else keeps: the hub. A chain that was computed anew, or cut at its end, is sound in itself and does not
//     go through it. [Queue.Verify] and [VerifyFile] look at every entry, and hold the chain against anchors.
//   - Rules are the shop's, as text that the queue only compares. Each version is an entry, and each accepted event names the one that
//     judged it.
//   - The sealed part is the payload and the instrument under AES-256-GCM, with the transaction's id as associated data. It stands in a bucket
//     of its own, by the entry's sequence, and is erased once an end was delivered: see [Retention].
//   - [Keys] are what it is sealed with. The journal says from which entry on the next one seals ([Queue.Rotate]), and that one was destroyed
//     ([Queue.EndKeys]): what that one sealed nobody can read, and it is no damage.
//   - The committer is the one goroutine that writes: [Queue.Run]. It takes everything that waits into one commit.
//   - A parcel is a transaction handed out to be carried to the hub, with its request opened.
//   - A proof is what the hub told for a receipt of an end; it stands in that end's event.
//   - A salvage ([SalvageFile]) reads what is left of a damaged file, page by page, and orders it by the chain. What it makes is a copy, and
//     is marked as a backup is: what is open in it is asked about.
//   - A feed tells one terminal's transactions as they change, and goes on where an earlier one was.
//   - A compaction puts a smaller file in the file's place, with the same entries, while everything goes on.
//   - Room is what can be written for certain. It is found before a commit, and kept for the ends of what was accepted; see [Queue.Full].
//
// # Promises
//
//   - Accept, EndHere, Acknowledge, SetRules and PutTerminal return after their commit is on disk and synced.
//   - A sale may be handed out by [Queue.Next] while its acceptance is on its way to the disk ([Queue.Early]); nobody else sees it before it is there, and
//     its Accept returns after both. The journal says beforehand that a process which dies then may have sent what it does not have ([Queue.Orphans]).
//   - Nothing is written when a transaction is sent. After a restart everything without an end is in doubt.
//   - Ends that the hub told are in memory at once and ride the next commit; [Options.Durable] is called after it.
//   - One sequence counts journal entries and changes that are in memory only, so the journal's keys have gaps. After a restart it
//     goes on above anything that a till may have been told.
//   - A feed misses no change of what is still known, over restarts too, and holds nothing but ids. Nobody waits for its reader.
//   - [Open] reads and checks every page, every link of the chain and every digest before bbolt sees the file. A file that is not
//     certainly whole is refused with one of the errors listed there, and is never replaced by an empty one.
//   - After a failed commit nothing is answered any more: each waiting and each later call returns [ErrStopped], Run returns a
//     [CommitError], and the process has to end. Whether that commit is on disk is found out by the next [Open].
//
// # Caveats
//
// The decide function of Accept runs under the queue's lock: it must be pure, quick, and call nothing of the queue but its [View].
// The file must be on a file system with shared writable maps and working fdatasync (not JFFS2, not a network share).
package queue
