// Package sandbox is a whole shop in one process tree: the platform simulator, a hub, an edge and simulated tills, all on loopback,
// and a cable between edge and hub that can be cut. It tells a story with them (tideover-sandbox), and it is what the campaigns that
// kill programs at random instants, and put older copies of their disks back, run on.
//
// # Nouns
//
// A [Shop] is the tree: platform and [Cable] live in the calling process, hub and edge are child processes that run the same code as
// the real programs, so that they can be killed with -9. A [Till] speaks the real API over real connections, keeps each press as a
// [Note] before its first try, and follows it to its end; it can cancel, by id and by key, listen to its stream of events, and crash,
// after which it has its notes' keys and no more. [Judge] compares what the tills were told with what the platform saw, and its
// [Verdict] is the story's last line and the campaigns' oracle.
//
// # Promises
//
//   - Nothing listens or dials beyond 127.0.0.1, and nothing is written outside of the shop's own directory, which goes with it.
//   - Hub and edge end with the process that started them, however it ends.
//   - The verdict counts by the platform's own book, never by what edge or hub say of themselves.
//   - A press whose cancel was answered 200 or 202 is judged by the money alone: see [Verdict.NotUndone].
//
// # Caveats
//
// It runs on Linux alone, as the edge does.
package sandbox
