package power

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tideover/internal/lab/disk"
)

// Some seconds without a cut are a fault of the test, or a queue that stands still.
const patience = 60 * time.Second

func nightly() bool { return os.Getenv("TIDEOVER_NIGHTLY") != "" }

// each is how often something is done in a nightly run, and in any other.
func each(night, day int) int {
	if nightly() {
		return night
	}
	return day
}

// needs skips a test where it cannot run.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts file systems")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse: ", err)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", p, err)
		}
	}
}

// world is a disk with a shop on it, over all of its lives.
type world struct {
	t     *testing.T
	disk  *disk.Disk
	dice  *rand.Rand
	path  string // of the journal
	over  *ext4  // on top of the disk; nil where the journal lies on it as it is
	known string
	said  said
	lives int
}

func newWorld(t *testing.T, dice *rand.Rand, o disk.Options) *world {
	t.Helper()
	w := &world{t: t, disk: disk.New(o), dice: dice, known: filepath.Join(t.TempDir(), "known"), said: said{Of: map[string]*promise{}}}
	dir := t.TempDir()
	if err := w.disk.Mount(dir); err != nil {
		t.Fatal(err)
	}
	w.path = filepath.Join(dir, "queue.db")
	t.Cleanup(func() {
		if err := w.disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// syncAll brings a file and its name to the disk.
func (w *world) syncAll(path string) error {
	for _, p := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(p)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// child is a life that has begun.
type child struct {
	*exec.Cmd
	words bytes.Buffer  // on stderr
	ended chan struct{} // closed when it has said its last, and is gone
}

// live begins a life.
func (w *world) live(o order, also func(line string)) *child {
	w.t.Helper()
	w.lives++
	w.said.Pruned = w.said.Pruned || o.Prune
	o.Path, o.Known, o.Seed = w.path, w.known, uint64(w.lives)
	text, err := json.Marshal(w.said)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.known, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	told, err := json.Marshal(o)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &child{Cmd: exec.Command(os.Args[0], "-test.run=^$"), ended: make(chan struct{})}
	c.Env = append(os.Environ(), childEnv+"="+string(told))
	c.Stderr = &c.words
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		w.said.hearAll(bufio.NewScanner(out), also)
		c.Wait()
	}()
	return c
}

// cut lets a life end by a power failure at the nth operation of the disk, and the disk come up again. It returns what the child wrote
// if it ended by itself before.
func (w *world) cut(kind disk.Cut, at int, o order, also func(string)) (words string, pending int) {
	w.t.Helper()
	w.disk.FreezeAt(at)
	c := w.live(o, also)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-w.disk.Frozen():
		pending = w.disk.Pending()
	case <-c.ended:
		words = c.words.String() + "(it has ended)"
	case <-late.C:
		words = "nothing was written for a long time"
	}
	w.disk.Freeze()
	c.Process.Kill()
	w.disk.Release()
	<-c.ended
	if words == "" && c.ProcessState.Exited() {
		words = c.words.String()
	}
	w.fail(kind)
	return words, pending
}

// fail is a power failure after which the disk comes up again.
func (w *world) fail(kind disk.Cut) {
	w.t.Helper()
	if w.over != nil {
		w.over.down()
	}
	if err := w.disk.Restore(kind, w.dice); err != nil {
		w.t.Fatal(err)
	}
	if w.over != nil {
		w.over.up()
	}
}

// look has a last child hold the journal against everything that was said.
func (w *world) look() (words string) {
	w.t.Helper()
	c := w.live(order{Look: true}, nil)
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.Process.Kill()
		<-c.ended
	}
	if c.ProcessState.Success() {
		return ""
	}
	return c.words.String() + c.ProcessState.String()
}

// tally is what happened in many lives.
type tally struct{ answered, backups, compactions, orphans, pruned, keys, destroyed int }

func (t *tally) add(s *said) {
	t.answered += s.answered()
	t.backups += len(s.Backups)
	t.compactions += s.Compacted
	t.orphans += s.Orphans
	t.keys += s.Key
	t.pruned += s.Gone
	t.destroyed += s.Destroyed
}

// String implements fmt.Stringer.
func (t tally) String() string {
	return fmt.Sprintf("%d transactions answered, %d orphans, %d pruned, %d backups, %d compactions, %d further keys and %d destroyed",
		t.answered+t.pruned, t.orphans, t.pruned, t.backups, t.compactions, t.keys, t.destroyed)
}

// operations is how many operations of the disk a life has at most; the first dozen are its opening.
func (o order) operations() int {
	if o.Backup || o.Compact {
		return 500
	}
	return 250
}

// TestPower_CutsLoseNothing cuts the power in the middle of what a shop does.
func TestPower_CutsLoseNothing(t *testing.T) {
	needs(t)
	for kind := range disk.CutsEnd {
		t.Run(kind.String(), func(t *testing.T) {
			var sum tally
			cuts, pending := 0, 0 // pending: writes and moves that were not synced
			for round := range each(20, 2) {
				dice := rand.New(rand.NewPCG(uint64(kind), uint64(round)))
				w := newWorld(t, dice, disk.Options{})
				for range 25 {
					o := order{Tills: []int{1, 3, 8}[dice.IntN(3)], Backup: dice.IntN(4) == 0, Compact: dice.IntN(3) == 0, Prune: dice.IntN(3) == 0}
					words, n := w.cut(kind, 1+dice.IntN(o.operations()), o, nil)
					if words != "" {
						t.Fatalf("round %d, cut %d: %s", round, cuts, words)
					}
					cuts++
					pending += n
				}
				if words := w.look(); words != "" {
					t.Fatalf("round %d: %s", round, words)
				}
				sum.add(&w.said)
			}
			t.Logf("%d cuts, %.1f writes at each that were not synced; %v; 0 lost", cuts, float64(pending)/float64(cuts), sum)
			if sum.answered < 5*cuts || pending < 2*cuts {
				t.Errorf("too little happened: %d answered, %d writes that were not synced", sum.answered, pending)
			}
		})
	}
}

// TestPower_ADiskThatLiesLoses is the control: where a sync brings nothing to the disk, the same shop loses what it has promised, and the same
// look finds it.
func TestPower_ADiskThatLiesLoses(t *testing.T) {
	needs(t)
	const times = 10
	for kind := range disk.CutsEnd {
		t.Run(kind.String(), func(t *testing.T) {
			found := map[string]int{}
			for round := range times {
				w := newWorld(t, rand.New(rand.NewPCG(uint64(kind), uint64(round))), disk.Options{})
				words, _ := w.cut(kind, 300, order{Tills: 3}, func(line string) {
					if strings.HasPrefix(line, "created") {
						w.disk.SetLie(true)
					}
				})
				if words != "" {
					t.Fatal(words)
				}
				w.disk.SetLie(false)
				if words := w.look(); words != "" {
					found[strings.Join(strings.Fields(words)[:2], " ")]++
				} else {
					found["all is there"]++
				}
			}
			t.Logf("of %d: %v", times, found)
			if kind == disk.Lost && found["all is there"] > 0 || found["all is there"] > times/2 {
				t.Errorf("a disk that lies lost nothing: %v", found)
			}
		})
	}
}
