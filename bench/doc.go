// Bench measures what a transaction costs over the floor of the machine that it runs on, and writes docs/benchmarks.md.
//
// Figures of a machine say little elsewhere, and its neighbours change them by the minute; ratios travel. So each measurement runs in
// rounds, and each round takes the floor and the thing itself within the same seconds, in turn; the table shows the median of the
// rounds' ratios with their range. The programs measured are the real ones: built here, run as processes of their own, spoken to
// over the same loopback as the floor.
//
// The document has sections. Each is measured by itself and says when: `-only accept,alone` measures some again and leaves the others.
// Where a section has a limit, the run says at its end how the figure stands to it; with -strict a missed one is an error:
//
//	go run ./bench -strict -peers=
//
// The queue alone is measured beside other stores by a module of its own, bench/peers, which says what is compared there. Disks that are
// slow, or that count, are file systems in user space (internal/lab/disk): they need root and /dev/fuse, and a section that lacks them says
// so.
//
// Floors:
//   - empty handler: an HTTP server in a process of its own that reads the request and answers a Transaction of the usual size;
//   - floor sync: a record of the usual size appended to a zero-filled file, by one committer for all writers, one fdatasync a batch;
//   - synced handler: the empty handler, but it answers after two such syncs one after the other, as a commit of bbolt has two;
//   - QUIC echo: a stream for each round trip, 400 bytes there and 200 back, over one connection between two processes.
package main
