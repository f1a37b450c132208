package queue

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
)

// deed is something that is done to a queue's file, and that a child does over and over until it is killed in the middle of it.
type deed struct {
	// begin makes what it starts from, in an empty folder: the journal has the name that [killedJournal] gives.
	begin func(t *testing.T, dir string)
	// sells: the child has the journal open, and tills press beside the deed; what they were answered must be there after each kill. One that
	// does not sell gets no queue.
	sells bool
	// ready is what each run needs before it, in the child; it is killed less often. It may be nil.
	ready func(dir string) error
	// do is what is killed.
	do func(ctx context.Context, q *Queue, dir string) error
	// holds says what must be so in the folder afterwards, wherever it was killed; done says that do was heard to return before. The
	// journal's own soundness need not be said. It may be nil.
	holds func(t *testing.T, dir string, done bool)
	// unborn: there may be no journal.
	unborn bool
	// inPlace: it makes no file beside the journal that a kill could leave.
	inPlace bool
}

// deeds has a row for each thing that is done to a file as a whole.
var deeds = map[string]deed{
	"create": {
		begin: func(*testing.T, string) {},
		ready: func(dir string) error { return gone(os.Remove(killedJournal(dir))) },
		do: func(_ context.Context, _ *Queue, dir string) error {
			return Create(killedJournal(dir), testKey, Ident{Store: testStore})
		},
		holds:  holdsCreated,
		unborn: true,
	},
	"backup, hot": {
		begin: beginJournal, sells: true,
		ready: func(dir string) error { return gone(os.Remove(killedCopy(dir))) },
		do: func(ctx context.Context, q *Queue, dir string) error {
			_, err := q.Backup(ctx, killedCopy(dir))
			return err
		},
		holds: holdsCopied,
	},
	"backup, cold": {
		begin: beginJournal,
		ready: func(dir string) error { return gone(os.Remove(killedCopy(dir))) },
		do: func(_ context.Context, _ *Queue, dir string) error {
			_, err := BackupFile(killedJournal(dir), killedCopy(dir), testKey, testStore)
			return err
		},
		holds: holdsCopied,
	},
	"compact, hot": {
		begin: beginJournal, sells: true,
		do: func(ctx context.Context, q *Queue, _ string) error {
			_, err := q.Compact(ctx)
			return err
		},
	},
	"compact, cold": {
		begin: beginJournal,
		ready: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "before"), []byte(entriesSum(killedJournal(dir))), 0o600)
		},
		do: func(_ context.Context, _ *Queue, dir string) error {
			_, err := CompactFile(killedJournal(dir), testKey, testStore)
			return err
		},
		holds: func(t *testing.T, dir string, _ bool) {
			before, err := os.ReadFile(filepath.Join(dir, "before"))
			if is := entriesSum(killedJournal(dir)); err != nil || is != string(before) {
				t.Fatalf("the entries are not what they were: %s, %s, %v", is, before, err)
			}
		},
	},
	"prune": {begin: beginPrune, ready: readyPrune, do: doPrune, holds: holdsPruned, inPlace: true},
	"restore": {
		begin: func(t *testing.T, dir string) {
			beginJournal(t, dir)
			if _, err := BackupFile(killedJournal(dir), killedCopy(dir), testKey, testStore); err != nil {
				t.Fatal(err)
			}
		},
		ready: readyRestore,
		do: func(_ context.Context, _ *Queue, dir string) error {
			_, err := RestoreFile(killedCopy(dir), killedJournal(dir), testKey, testStore)
			return err
		},
		holds: holdsRestored,
	},
}

const (
	killsEach   = 50 // of each deed, in its middle
	killTries   = 4  // so many times as often at most: a loaded machine kills some after the end
	killedTills = 2  // press beside a deed
	// killLead is how long a child waits between the word that it begins and the deed, so that the parent's clock runs by then.
	killLead = 2 * time.Millisecond
)

func killedJournal(dir string) string { return filepath.Join(dir, "queue.db") }
func killedCopy(dir string) string    { return filepath.Join(dir, "copy.db") }

// gone takes that something is not there for that it was removed.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// beginJournal makes a journal of some transactions.
func beginJournal(t *testing.T, dir string) {
	s := &shop{t: t, path: killedJournal(dir), told: make(chan []Position, 1024)}
	if err := Create(s.path, testKey, Ident{Store: testStore}); err != nil {
		t.Fatal(err)
	}
	s.open(Options{})
	for i := range 40 {
		d := draft("till", fmt.Sprint("before", i))
		s.accept(d)
		if i%2 == 0 {
			s.end(approved(d.ID, uint64(i/2+1)))
		}
	}
	s.close()
}

// sumOf tells files apart by their bytes.
func sumOf(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// entriesSum tells journals apart by what is in them.
func entriesSum(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	sum := sha256.New()
	err = entriesOf(f)(func(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
		fmt.Fprintf(sum, "%d %x %x %x\n", seq, raw, link, sealed)
		return nil
	}, noRest)
	return fmt.Sprintf("%x %v", sum.Sum(nil), err)
}

// wholeFile looks at all of a file that nobody has open, and changes nothing.
func wholeFile(t *testing.T, path string) Check {
	t.Helper()
	c, err := CheckFile(path, testKey, testStore)
	if err != nil || len(c.Flaws) > 0 {
		t.Fatalf("%s: %+v, %v", filepath.Base(path), c.Flaws, err)
	}
	return c
}

func holdsCreated(t *testing.T, dir string, done bool) {
	_, err := os.Lstat(killedJournal(dir))
	if done && err != nil {
		t.Fatalf("it was said to be there: %v", err)
	}
	if err == nil {
		check(t, killedJournal(dir))
		return
	}
	if err := Create(killedJournal(dir), testKey, Ident{Store: testStore}); err != nil {
		t.Fatalf("it cannot be made again: %v", err)
	}
}

func holdsCopied(t *testing.T, dir string, done bool) {
	if _, err := os.Lstat(killedCopy(dir)); err == nil {
		if c := wholeFile(t, killedCopy(dir)); c.Transactions < 40 {
			t.Fatalf("a copy of %d transactions", c.Transactions)
		}
	} else if done {
		t.Fatalf("it was said to be there: %v", err)
	}
}

// readyRestore notes what the journal is before the next restore, and takes away what earlier ones have kept.
func readyRestore(dir string) error {
	kept, err := filepath.Glob(killedJournal(dir) + ".2*")
	for _, path := range kept {
		err = errors.Join(err, os.Remove(path))
	}
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "before"), []byte(sumOf(killedJournal(dir))), 0o600))
}

// holdsRestored: the journal is what it was, or what was there has another name now and is what it was.
func holdsRestored(t *testing.T, dir string, done bool) {
	before, err := os.ReadFile(filepath.Join(dir, "before"))
	if err != nil {
		t.Fatal(err)
	}
	wholeFile(t, killedJournal(dir))
	is := sumOf(killedJournal(dir)) == string(before)
	if done && is {
		t.Fatal("it was said to be restored")
	}
	kept, err := filepath.Glob(killedJournal(dir) + ".2*")
	if err != nil || len(kept) > 1 || (!is && len(kept) == 0) {
		t.Fatalf("kept: %v, %v", kept, err)
	}
	for _, path := range kept {
		if sumOf(path) != string(before) {
			t.Fatalf("%s is not what was there", path)
		}
	}
}

// doUntilKilled is the child: it does a deed over and over, and says on stdout when it begins and what it has done.
func doUntilKilled(name, dir string) {
	d := deeds[name]
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			os.Exit(2)
		}
	}
	var mu sync.Mutex
	say := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		os.Stdout.WriteString(what + "\n")
	}
	var q *Queue
	if d.sells {
		var err error
		q, err = Open(Options{Path: killedJournal(dir), Key: testKey, Store: testStore, LazyMax: 5 * time.Millisecond})
		fail(err)
		go func() { fail(q.Run(context.Background())) }()
		for till := range killedTills {
			go sell(q, fmt.Sprint("till", till), time.Millisecond, func(what string, id tideover.ID) { say(what + " " + id.String()) }, fail)
		}
	}
	for {
		if d.ready != nil {
			say("readies")
			fail(d.ready(dir))
		}
		say("begins")
		time.Sleep(killLead)
		start := time.Now()
		fail(d.do(context.Background(), q, dir))
		say("done " + strconv.FormatInt(int64(time.Since(start)), 10))
		time.Sleep(killLead) // a kill that comes right after its end is to find it so
	}
}

// leftIn returns the files that a killed child has left unfinished.
func leftIn(dir string) []string {
	left, _ := filepath.Glob(filepath.Join(dir, ".*"+tempMark+"*"))
	return left
}

// sweeps does the deed once more, to its end: nothing unfinished is left then.
func (d deed) sweeps(t *testing.T, dir string) {
	t.Helper()
	var err error
	if d.sells {
		q, opened := Open(Options{Path: killedJournal(dir), Key: testKey, Store: testStore})
		if err = opened; err == nil {
			err = q.Close()
		}
	} else {
		if d.ready != nil {
			err = d.ready(dir)
		}
		err = errors.Join(err, d.do(t.Context(), nil, dir))
	}
	if left := leftIn(dir); err != nil || len(left) > 0 {
		t.Errorf("left after it was done again: %v, %v", left, err)
	}
}

// kills is what a deed's kills have come to.
type kills struct {
	took   time.Duration // a run of the deed, as it was the last time
	middle int           // killed before it returned
	left   int           // files that were not removed by who made them
	said   map[tideover.ID]string
}

// once starts a child, lets it do its deed a few times, and kills it at an instant of the next run, each as likely as another. It returns
// the last that the child was heard to be at: "readies", "begins" or "done".
func (k *kills) once(t *testing.T, name, dir string) (at string) {
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), "TIDEOVER_QUEUE_DEED="+name, "TIDEOVER_QUEUE_DIR="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { child.Process.Kill() })
	defer stuck.Stop()
	before := rand.IntN(2)
	if k.took == 0 {
		before = 2
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, text, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "readies":
			at = what
		case "begins":
			at = what
			if before--; before < 0 {
				time.AfterFunc(killLead+time.Duration(rand.Int64N(int64(k.took)+1)), func() { child.Process.Kill() })
			}
		case "done":
			at = what
			if took, err := strconv.ParseInt(text, 10, 64); err == nil {
				k.took = time.Duration(took)
			}
		default:
			if id, err := tideover.ParseID(text); err == nil { // the last line may be half
				k.said[id] = what
			}
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == 2 || !stuck.Stop() {
		t.Fatalf("the child ended by itself, or not at all: %v", err)
	}
	return at
}

// answered holds a journal against what tills were answered.
func (k *kills) answered(t *testing.T, path string) {
	t.Helper()
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for id, what := range k.said {
		tx, err := q.Get(id)
		if err != nil {
			t.Fatalf("%s was %s, and is gone: %v", id, what, err)
		}
		if what == "acknowledged" && (!tx.Acknowledged || tx.State != tideover.StateApproved) {
			t.Fatalf("was acknowledged, and is %+v", tx)
		}
	}
}

// TestKilled_InTheMiddle kills each deed at instants all over it, again and again on what the kill before has left: the journal is whole each
// time, has everything that was answered, and what the deed itself promises holds.
func TestKilled_InTheMiddle(t *testing.T) {
	each := killsEach
	if testing.Short() {
		each = 5
	}
	if os.Getenv("TIDEOVER_NIGHTLY") != "" {
		each *= 10
	}
	for name, d := range deeds {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d.begin(t, dir)
			k := kills{said: make(map[tideover.ID]string)}
			tries := 0
			for ; k.middle < each && tries < killTries*each; tries++ {
				at := k.once(t, name, dir)
				if at == "readies" {
					continue
				}
				if at == "begins" {
					k.middle++
				}
				k.left += len(leftIn(dir))
				if _, err := os.Lstat(killedJournal(dir)); err == nil || !d.unborn {
					wholeFile(t, killedJournal(dir))
				}
				if d.holds != nil {
					d.holds(t, dir, at == "done")
				}
				if d.sells {
					k.answered(t, killedJournal(dir))
				}
			}
			d.sweeps(t, dir)
			if k.left == 0 && !d.inPlace {
				t.Error("no kill has left anything to sweep")
			}
			if d.sells && len(k.said) < each {
				t.Errorf("only %d were answered", len(k.said))
			}
			if k.middle < each {
				t.Errorf("%d of %d kills were in its middle", k.middle, tries)
			}
			t.Logf("%d kills, %d in the middle of about %v; %d answered, 0 lost; %d times a file was left", tries, k.middle,
				k.took.Round(time.Microsecond), len(k.said), k.left)
		})
	}
}
