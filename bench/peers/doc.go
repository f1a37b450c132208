// Peers does the durable accept of the edge's queue with the stores that people would take instead, and prints how each compares with the
// floor of the same disk. It is a module of its own: the product never depends on any of them. `make bench` runs it, and puts the table
// into docs/benchmarks.md.
//
// # What is measured
//
// Each of 1, 8 and 64 clients puts one record after the other: 600 bytes that no compression makes smaller, and the next one only once the
// store has answered, which says that the record is on disk and synced. The floor appends the same records to a file of zeros, by one committer
// that takes what waits and makes one fdatasync a batch. Each round opens every store anew and empty, and takes the floor and the store
// in turn; ratios are of the same round, and the table shows their medians with the range.
//
//   - The queue is the product's, in this process, with rules that let everything through. Its records are sales with a payload of 350 bytes,
//     which makes an entry of its journal some 600 bytes.
//   - SQLite has a write-ahead log with synchronous=FULL and one connection, in this process, once with a commit for each record and once behind
//     the floor's own committer with a commit for each batch.
//   - NATS JetStream is a server in this process with sync "always" and one file stream; each client has a connection in memory.
//   - PostgreSQL is Debian's, a process of its own with the settings of initdb (fsync and synchronous_commit on); each client has a connection
//     through a Unix socket, and statements are prepared.
//
// # What would be unfair to conclude
//
//   - The others do less here. The queue seals each payload, chains each entry, finds a repeated request by its id and judges it in
//     the commit; to them the record is bytes under a number.
//   - The others can do more elsewhere. PostgreSQL and NATS serve many programs and are not in their process: a share of their
//     time is the way there. None of them is tuned beyond what makes it durable.
//   - bbolt needs two syncs for a commit, SQLite's and PostgreSQL's logs one and the floor one: with one client nothing over bbolt comes below
//     twice the floor.
//   - SQLite calls fsync instead of fdatasync where it is compiled without HAVE_FDATASYNC, as the driver does by itself; fsync is dearer.
//     `make bench` compiles it in (CGO_CFLAGS); Debian's library, which the tag libsqlite3 takes instead, has it.
//   - What the stores cost later (compaction, vacuum, checkpoints of hours, reading, memory) is not here, nor is what a power cut leaves.
//
// What was answered is read back after a reopen by the tests: a store that answers early would fail there only if it also forgot, so that
// each one's durable setting is named above and set in the code that opens it.
package main
