package power

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"tideover/internal/lab/disk"
)

// through lets a life go on to its end, and returns its exit status and its words.
func (w *world) through(o order) (status int, words string) {
	w.t.Helper()
	c := w.live(o, nil)
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.Process.Kill()
		<-c.ended
	}
	return c.ProcessState.ExitCode(), c.words.String()
}

// blow is a kind of error, and what becomes of what should have been brought to the disk.
type blow struct {
	op   disk.Op
	err  syscall.Errno
	fate disk.Fate
	rest bool
}

func (b blow) String() string {
	s := fmt.Sprintf("%v %v", b.op, map[syscall.Errno]string{syscall.EIO: "EIO", syscall.ENOSPC: "ENOSPC"}[b.err])
	switch b.fate {
	case disk.Gone:
		s += ", gone"
	case disk.Waits:
		s += ", waits"
	case disk.Halved:
		s += ", halved"
	case disk.Whole:
		s += ", happened"
	}
	if b.rest {
		s += ", and every later one"
	}
	return s
}

var blows = []blow{
	{disk.Write, syscall.EIO, disk.Gone, false},
	{disk.Write, syscall.EIO, disk.Halved, false},
	{disk.Write, syscall.EIO, disk.Gone, true},
	{disk.Write, syscall.ENOSPC, disk.Gone, false},
	{disk.Write, syscall.ENOSPC, disk.Halved, true},
	{disk.Sync, syscall.EIO, disk.Gone, false},
	{disk.Sync, syscall.EIO, disk.Waits, false},
	{disk.Sync, syscall.EIO, disk.Halved, false},
	{disk.Sync, syscall.EIO, disk.Whole, false},
	{disk.Sync, syscall.EIO, disk.Gone, true},
	{disk.Move, syscall.EIO, disk.Gone, false},
	{disk.Move, syscall.EIO, disk.Whole, false},
	{disk.Move, syscall.ENOSPC, disk.Gone, false},
}

// TestPower_AnErrorAtEachOperation lets each write, each sync and each change of a name of a scripted life fail in turn.
func TestPower_AnErrorAtEachOperation(t *testing.T) {
	needs(t)
	w := newWorld(t, rand.New(rand.NewPCG(1, 1)), disk.Options{})
	if status, words := w.through(order{Script: true}); status != 0 {
		t.Fatal(status, words)
	}
	n := w.disk.Counts()
	t.Logf("the life has %d writes, %d syncs, %d moves", n.Writes, n.Syncs, n.Moves)
	for i, b := range blows {
		t.Run(b.String(), func(t *testing.T) {
			times := map[disk.Op]int{disk.Write: n.Writes, disk.Sync: n.Syncs, disk.Move: n.Moves}[b.op]
			cases, stopped := 0, 0
			for at := 1; at <= times; at++ {
				for _, then := range allAfterwards {
					if !nightly() && b.op != disk.Move && (at+7*int(then)+3*i)%20 != 0 && !(b.err == syscall.EIO && b.fate == disk.Gone && !b.rest && then == cutSoon) {
						continue // each operation fails at least once, in the way after which most can go wrong
					}
					cases++
					if sweep(t, b, at, then) == exitStopped {
						stopped++
					}
				}
			}
			t.Logf("%d cases: %d stopped, in the others backup or compaction failed, room was short, or a repeated write went well", cases, stopped)
		})
	}
}

// afterwards is what follows a life that had an error.
type afterwards int

const (
	cutAtOnce afterwards = iota // the power fails
	cutSoon                     // another life begins in the same machine, and the power fails in the first steps of it
	goOn                        // another life in the same machine comes to its end; then the power fails
)

var allAfterwards = []afterwards{cutAtOnce, cutSoon, goOn}

// soon is how many operations of the disk an opening and the first commit after it have.
const soon = 14

// sweep is one case: a life with an error, what comes afterwards, and the look.
func sweep(t *testing.T, b blow, at int, then afterwards) (status int) {
	w := newWorld(t, rand.New(rand.NewPCG(uint64(then), uint64(at))), disk.Options{})
	defer w.disk.Unmount()
	failed := func(format string, a ...any) {
		t.Helper()
		t.Fatalf("%v at %d, %d: "+format, append([]any{b, at, then}, a...)...)
	}
	w.disk.Fail(disk.Fault{Op: b.op, At: at, Err: b.err, Fate: b.fate, Rest: b.rest})
	status, words := w.through(order{Script: true})
	if status != 0 && status != exitStopped || status == 0 && b.op != disk.Write && len(w.said.Backups) > 0 && w.said.Compacted > 0 {
		// A write that fails in its second half is repeated by the standard library, which is as good.
		failed("status %d, backups %v, compacted %d: %s", status, w.said.Backups, w.said.Compacted, words)
	}
	w.disk.Fail()
	kind := disk.Lost
	switch then {
	case cutAtOnce:
	case cutSoon:
		kind = disk.Cut(at % int(disk.CutsEnd))
		if words, _ := w.cut(kind, 1+w.dice.IntN(soon), order{Script: true}, nil); words != "" {
			failed("gone on in the same machine: %s", words)
		}
	case goOn:
		if status, words := w.through(order{Script: true}); status != 0 {
			failed("gone on in the same machine: status %d: %s", status, words)
		}
	}
	if then != cutSoon {
		w.fail(kind)
	}
	if words := w.look(); words != "" {
		failed("after a power failure: %s", words)
	}
	return status
}

// TestPower_AnErrorInABusyShop lets an operation fail while eight tills press: what shares the failed commit is answered to none of them.
func TestPower_AnErrorInABusyShop(t *testing.T) {
	needs(t)
	var sum tally
	stopped, times := 0, each(300, 30)
	for i := range times {
		dice := rand.New(rand.NewPCG(3, uint64(i)))
		b, at := blows[i%len(blows)], 1+dice.IntN(300)
		w := newWorld(t, dice, disk.Options{})
		w.disk.Fail(disk.Fault{Op: b.op, At: at, Err: b.err, Fate: b.fate, Rest: b.rest})
		w.disk.FreezeAt(1000) // where nothing that matters has failed
		c := w.live(order{Tills: 8, Backup: i%3 == 0, Compact: i%3 == 1, Prune: i%2 == 0}, nil)
		select {
		case <-w.disk.Frozen():
		case <-c.ended:
		case <-time.After(patience):
			t.Errorf("%v at %d: it does not end", b, at)
		}
		c.Process.Kill()
		w.disk.Release()
		<-c.ended
		switch c.ProcessState.ExitCode() {
		case exitStopped:
			stopped++
		case -1:
		default:
			t.Fatalf("%v at %d: %v: %s", b, at, c.ProcessState, c.words.String())
		}
		w.fail(disk.Cut(i % int(disk.CutsEnd)))
		if words := w.look(); words != "" {
			t.Fatalf("%v at %d: %s", b, at, words)
		}
		sum.add(&w.said)
	}
	t.Logf("%d errors, %d of them stopped the shop; %v; 0 lost", times, stopped, sum)
	if stopped < times/3 {
		t.Errorf("of %d errors only %d stopped the shop", times, stopped)
	}
}
