// Package power cuts the power under a queue that is at work, and lets its disk fail; it has tests alone.
//
// A child process opens the journal on a disk of package disk, first holds it against everything that was said of it in earlier lives, then
// works as a shop does: tills press, the hub tells ends, tills acknowledge and cancel, a technician makes backups. It says each thing on its
// standard output after it was answered. In the middle of that, at an operation of the disk that dice chose, the power fails. What the child had said by
// then is what the next one holds the journal against, on a disk that has lost, kept or torn what was not synced.
//
// The same life runs on a real ext4, whose own disk fails in the same way, and where each write, each sync and each change of a name in
// turn fails with an error. And it runs once more on a disk that answers a sync without doing it: there, and only there, it must lose something.
package power
