// Package disk is a disk that fails on demand, for tests: a FUSE file system in memory that keeps what is synced apart from what is only
// written.
//
// # Nouns
//
//   - The media is what the disk has: for each file what was synced and the edits since, in order; for each folder the names that are durable
//     and the moves since. Reads see everything; after a power cut there is what was synced and what the [Cut] leaves of the rest.
//   - An operation is a write (of bytes, or of a length), a sync (of a file or a folder) or a move (a name is made, changed or removed).
//   - A cut is a power failure: [Disk.Freeze] or [Disk.FreezeAt] stops the disk between two operations or in the middle of one, the caller
//     ends the processes that used it, and [Disk.Restore] shows what a machine finds that comes up again.
//   - A fault is an operation that fails, and what becomes of what it should have brought to the disk.
//
// # What is durable
//
// A file's sync brings its bytes and its length to the disk; its name is durable only after the sync of its folder, and so is a rename, a
// link or a removal. What a sync has not brought yet may be lost, be there in part, or be torn within a write, by sectors of 512 bytes: each
// file for itself, in any selection. Moves are lost from the newest on, as a file system with a journal loses them; each is whole or not there. That is
// no kinder than ext4, xfs, f2fs or ubifs, and in places less so: none of them forgets the name of a new file that was synced.
//
// # How to use it
//
//	d := disk.New(disk.Options{SyncDelay: 8 * time.Millisecond})
//	if err := d.Mount(dir); err != nil { … }
//	defer d.Unmount()
//
// A process that serves a mount must not map a file on it into its memory, as bbolt does: a page fault while the world is stopped would wait for
// the world, beyond SIGKILL. So whatever has a database there runs as a child. Where that does not fit, [Start] serves from a child
// instead, with less to steer. Should a mount hang all the same, writing 1 to the file abort of its connection under /sys/fs/fuse/connections
// frees it.
//
// [Private] runs a test binary in a mount namespace of its own: mounts, and the loop devices on them, end with it, however it ends.
//
// # Needs
//
// Root, /dev/fuse. Mounting needs no other program.
package disk
