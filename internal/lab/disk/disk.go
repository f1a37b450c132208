package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Options say what a disk is like.
type Options struct {
	Bytes     int64         // its size; 0 is [BytesDefault]
	SyncDelay time.Duration // how long a sync takes at least; on top comes what FUSE takes, some 0.1 ms
	Lie       bool          // a sync is answered and brings nothing to the disk
}

// BytesDefault is the size of a disk whose options name none.
const BytesDefault = 64 << 20

// Cut says what becomes of what was not synced when the power fails.
type Cut uint8

const (
	Lost    Cut = iota // nothing of it is there
	Partial            // some writes are there, whole, in any selection
	Torn               // some sectors of them are
	CutsEnd            // is no cut: they are below it
)

// String implements fmt.Stringer.
func (c Cut) String() string {
	switch c {
	case Lost:
		return "lost"
	case Partial:
		return "partial"
	case Torn:
		return "torn"
	case CutsEnd:
	}
	return fmt.Sprintf("Cut(%d)", uint8(c))
}

// Op is a kind of operation that changes the disk.
type Op uint8

const (
	Write Op = iota // of bytes, or of a length
	Sync            // of a file or a folder
	Move            // a name is made, changed or removed
	opsEnd
)

// String implements fmt.Stringer.
func (o Op) String() string {
	switch o {
	case Write:
		return "write"
	case Sync:
		return "sync"
	case Move:
		return "move"
	case opsEnd:
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

// Fate says what becomes of what a failed operation should have brought to the disk.
type Fate uint8

const (
	// Gone: a write did not happen. What a failed sync should have brought still reads as written, and no later sync brings it: that is
	// what Linux does to pages whose writing failed.
	Gone Fate = iota
	// Waits: a later sync brings it. For a write it is Gone.
	Waits
	// Halved: the first half of a write happened; each edit that a sync should have brought is on the disk or Gone, by a coin.
	Halved
	// Whole: it happened, and only its answer is an error.
	Whole
)

// Fault is an operation that fails.
type Fault struct {
	Op   Op
	At   int // which one, counted from the call of [Disk.Fail]: 1 is the next
	Err  syscall.Errno
	Fate Fate
	Rest bool // every later one of its kind fails, too, and is Gone
}

// Counts is how many operations a disk has had.
type Counts struct {
	Writes, Syncs, Moves int
	Bytes                int64 // that were written
}

// Disk is a disk. Its methods are safe for concurrent use, but for Mount, Unmount and Restore, which one goroutine calls.
type Disk struct {
	mu       sync.Mutex // guards what follows
	media    *media
	options  Options
	counts   Counts
	faults   []Fault
	freezeIn int           // operations until the disk freezes; 0 is never
	frozen   chan struct{} // closed when it is
	released chan struct{} // closed when those that wait are let go, with an error
	dice     *rand.Rand    // for halves

	dir    string
	server *fuse.Server // nil while it is not mounted
}

// New returns an empty disk.
func New(o Options) *Disk {
	if o.Bytes <= 0 {
		o.Bytes = BytesDefault
	}
	return &Disk{
		media: newMedia(o.Bytes), options: o, frozen: make(chan struct{}), released: make(chan struct{}), dice: rand.New(rand.NewPCG(1, 2)),
	}
}

// Mount shows the disk at dir, which must be a folder. The caller calls [Disk.Unmount] in the end.
func (d *Disk) Mount(dir string) error {
	server, err := mount(d, dir)
	if err != nil {
		return fmt.Errorf("mount a disk at %s (it needs root and /dev/fuse): %w", dir, err)
	}
	d.dir, d.server = dir, server
	return nil
}

// Unmount ends the mount; what is on the disk stays, also what was not synced. Where a process has still something open there, the name
// goes and an error says so.
func (d *Disk) Unmount() error {
	if d.server == nil {
		return nil
	}
	server := d.server
	d.server = nil
	err := server.Unmount()
	if err != nil {
		d.Release() // whoever has it open is not to hang
		err = errors.Join(fmt.Errorf("unmount %s: %w", d.dir, err), syscall.Unmount(d.dir, syscall.MNT_DETACH))
	}
	return err
}

// SetSyncDelay changes how long a sync takes.
func (d *Disk) SetSyncDelay(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.options.SyncDelay = delay
}

// SetLie begins or ends that syncs bring nothing to the disk.
func (d *Disk) SetLie(lie bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.options.Lie = lie
}

// Counts returns how many operations there were since the disk was made.
func (d *Disk) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Fail lets operations fail, instead of those named before.
func (d *Disk) Fail(faults ...Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append([]Fault(nil), faults...)
}

// Freeze is the instant of a power failure: no operation is answered any more. The caller kills the processes that use the disk, calls
// [Disk.Release], waits for their end and calls [Disk.Restore].
func (d *Disk) Freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freeze()
}

// FreezeAt freezes the disk at the nth operation from now on, in the middle of it: a write or a move may be on the disk, as anything that is
// not synced; a sync has brought nothing yet.
func (d *Disk) FreezeAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freezeIn = n
}

// Frozen returns a channel that is closed once the disk is frozen.
func (d *Disk) Frozen() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frozen
}

// Pending returns how many writes and moves a power failure could take now.
func (d *Disk) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.media.pending()
}

// freeze stops the disk. Callers hold mu.
func (d *Disk) freeze() {
	d.freezeIn = 0
	select {
	case <-d.frozen:
	default:
		close(d.frozen)
	}
}

// Release lets the operations go that wait on a frozen disk, each with EIO, so that their processes can end. Those that come later fail,
// too.
func (d *Disk) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freeze()
	select {
	case <-d.released:
	default:
		close(d.released)
	}
}

// Restore is the machine coming up again: the disk has what was synced and what the cut leaves of the rest, and is mounted at the same
// place. Faults are over. Nobody may have anything open there any more.
func (d *Disk) Restore(kind Cut, dice *rand.Rand) error {
	d.Release()
	if err := d.Unmount(); err != nil {
		return err
	}
	d.mu.Lock()
	d.media.cut(kind, dice)
	d.faults, d.frozen, d.released = nil, make(chan struct{}), make(chan struct{})
	d.mu.Unlock()
	return d.Mount(d.dir)
}

// wait holds an operation on a frozen disk, and returns its error. Callers hold mu; it is free meanwhile.
func (d *Disk) wait() syscall.Errno {
	released := d.released
	d.mu.Unlock()
	defer d.mu.Lock()
	<-released
	return syscall.EIO
}

// stopped says that the disk is frozen. Callers hold mu.
func (d *Disk) stopped() bool {
	select {
	case <-d.frozen:
		return true
	default:
		return false
	}
}

// arrive counts an operation. It returns the fault that it has, and whether the disk freezes in the middle of it. Callers hold mu.
func (d *Disk) arrive(op Op, bytes int) (f *Fault, freezes bool) {
	switch op {
	case Write:
		d.counts.Writes++
		d.counts.Bytes += int64(bytes)
	case Sync:
		d.counts.Syncs++
	case Move:
		d.counts.Moves++
	case opsEnd:
	}
	for i := range d.faults {
		if g := &d.faults[i]; g.Op == op {
			if g.At--; g.At == 0 || g.Rest && g.At < 0 {
				now := *g
				if now.At < 0 {
					now.Fate = Gone
				}
				f = &now
			}
		}
	}
	if d.freezeIn > 0 {
		d.freezeIn--
		freezes = d.freezeIn == 0
	}
	return f, freezes
}

// change lets an operation happen that changes bytes or names. Where it fails by a fault of fate Halved, half happens; half may be nil.
func (d *Disk) change(op Op, bytes int, whole, half func() syscall.Errno) (err syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped() {
		return d.wait()
	}
	f, freezes := d.arrive(op, bytes)
	switch {
	case f == nil || f.Fate == Whole:
		err = whole()
	case f.Fate == Halved && half != nil:
		err = half()
	}
	if freezes {
		d.freeze()
		return d.wait()
	}
	if err == 0 && f != nil {
		err = f.Err
	}
	return err
}

// write changes a file.
func (d *Disk) write(n *inode, e edit) syscall.Errno {
	return d.change(Write, len(e.data), func() syscall.Errno { return d.media.edit(n, e) }, func() syscall.Errno {
		if e.resize {
			return 0
		}
		return d.media.edit(n, edit{at: e.at, data: e.data[:len(e.data)/2]})
	})
}

// sync brings a file or a folder to the disk.
func (d *Disk) sync(n *inode) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped() {
		return d.wait()
	}
	f, freezes := d.arrive(Sync, 0)
	if freezes {
		d.freeze()
		return d.wait()
	}
	mark := d.media.mark(n)
	if delay := d.options.SyncDelay; delay > 0 {
		d.mu.Unlock()
		time.Sleep(delay)
		d.mu.Lock()
		if d.stopped() {
			return d.wait()
		}
	}
	switch {
	case f == nil && d.options.Lie:
	case f == nil:
		d.media.settle(n, mark, nil)
	default:
		d.fail(n, mark, f.Fate)
		return f.Err
	}
	return 0
}

// fail ends a sync that has a fault. Callers hold mu.
func (d *Disk) fail(n *inode, mark int, fate Fate) {
	switch fate {
	case Gone:
		d.media.settle(n, mark, func() bool { return true })
	case Halved:
		d.media.settle(n, mark, func() bool { return d.dice.IntN(2) == 0 })
	case Whole:
		d.media.settle(n, mark, nil)
	case Waits:
	}
}
