package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tideover"
	"tideover/bench/rounds"
	"tideover/edge"
	"tideover/internal/lab/disk"
	"tideover/queue"
)

// job is what a child of this program does with a queue alone, on a disk that its parent counts.
type job struct {
	Tills, Each  int           // transactions of each till
	Acknowledged bool          // by the till, one by one
	Minute       time.Duration // from one press to the next of a quiet shop, in which all other times are as much shorter; 0: back to back
}

// warm is how many transactions come before those that are counted: the first ones grow the file.
const warm = 20

// work is that child: it says so when it is warm and when it is done, and goes on when it is told to.
func work(ctx context.Context, dir string, j job) (err error) {
	o := queue.Options{}
	if j.Minute > 0 {
		o.LazyMax = j.scaled(queue.LazyMaxDefault)
	}
	a, err := openAlone(dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.end()) }()
	told := bufio.NewReader(os.Stdin)
	next := make(chan uint64, 1)
	next <- 1
	sale := func(ctx context.Context, till int) error {
		n := <-next
		next <- n + 1
		return a.sale(ctx, till, n, j)
	}
	for _, each := range []int{warm, j.Each} {
		if _, err := rounds.Press(ctx, j.Tills, rounds.Each(each), sale); err != nil {
			return err
		}
		if err := a.Flush(ctx); err != nil { // what rides along is paid, too
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(a.Stats().Commits); err != nil {
			return err
		}
		if _, err := told.ReadString('\n'); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// A sale of a quiet shop: what passes between its acceptance and the hub's word, and until the till has printed it.
const (
	hourSales  = 60
	hourAnswer = 2 * time.Second
	hourAck    = 5 * time.Second
)

func (j job) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * float64(j.Minute) / float64(time.Minute))
}

// sale is one from its acceptance until its end was delivered, or acknowledged.
func (a *alone) sale(ctx context.Context, till int, n uint64, j job) error {
	begin := time.Now()
	tx, err := a.accept(ctx, till, fmt.Sprint("life-", n))
	if err != nil {
		return err
	}
	time.Sleep(j.scaled(hourAnswer))
	if err := a.tell(tx.ID, n); err != nil {
		return err
	}
	if tx, err = a.Get(tx.ID); err != nil {
		return err
	}
	a.Delivered(tx.ID, tx.Seq)
	if j.Acknowledged {
		time.Sleep(j.scaled(hourAck - hourAnswer))
		if _, err = a.Acknowledge(ctx, tx.ID, tx.Seq); err != nil {
			return err
		}
	}
	time.Sleep(j.Minute - time.Since(begin))
	return nil
}

// tell gives a transaction the hub's approval.
func (a *alone) tell(id tideover.ID, hubSeq uint64) error {
	if err := a.Move(id, tideover.CauseSent, edge.Note{Uplink: "eth1"}); err != nil {
		return err
	}
	return a.End(queue.Told{
		Position: queue.Position{ID: id, HubSeq: hubSeq},
		Outcome:  tideover.Outcome{Result: tideover.StateApproved, Code: "00", Reference: "P-1", At: tideover.MillisOf(time.Now())},
	})
}

// spent is what a number of transactions cost a disk.
type spent struct {
	n, syncs, commits int
	bytes, grown      int64 // all that was written, and what of it are the zeros by which the file grew
}

func (s spent) each(n int) float64 { return float64(n) / float64(s.n) }
func (s spent) kb() float64        { return float64(s.bytes-s.grown) / float64(s.n) / 1000 }
func (s spent) grownKB() float64   { return float64(s.grown) / float64(s.n) / 1000 }

// spend has a child do a job on a disk that counts.
func (m *measurement) spend(ctx context.Context, j job) (s spent, err error) {
	dir := filepath.Join(m.dir, m.name("counted"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return s, err
	}
	d := disk.New(disk.Options{Bytes: slowBytes})
	if err := d.Mount(dir); err != nil {
		return s, fmt.Errorf("%w: %w", errNoDisk, err)
	}
	defer func() { err = errors.Join(err, d.Unmount()) }()
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	order, err := json.Marshal(j)
	if err != nil {
		return s, err
	}
	cmd := exec.CommandContext(ctx, self, "-role", "work", "-job", string(order), "-dir", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return s, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := cmd.Start(); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, cmd.Wait()) }()
	defer in.Close()
	var counts [2]disk.Counts
	var size [2]int64
	var commits [2]int
	said := json.NewDecoder(out)
	for i := range counts {
		if err := said.Decode(&commits[i]); err != nil {
			return s, fmt.Errorf("the queue on the disk that counts: %w", err)
		}
		counts[i] = d.Counts()
		info, err := os.Stat(filepath.Join(dir, "queue.db"))
		if err != nil {
			return s, err
		}
		size[i] = info.Size()
		if _, err := in.Write([]byte("\n")); err != nil {
			return s, err
		}
	}
	return spent{
		n: j.Tills * j.Each, syncs: counts[1].Syncs - counts[0].Syncs, commits: commits[1] - commits[0], bytes: counts[1].Bytes - counts[0].Bytes,
		grown: size[1] - size[0],
	}, nil
}

// errNoDisk says that this machine lets nobody make the disks of internal/lab/disk.
var errNoDisk = errors.New("a disk of its own needs root and /dev/fuse")

// noDisk is what a section says there, and nil where the error is another.
func noDisk(err error) (string, []verdict, error) {
	if errors.Is(err, errNoDisk) {
		say("%v", err)
		return "Not measured here: " + errNoDisk.Error() + ".\n", nil, nil
	}
	return "", nil, err
}

// lifeSection is what whole transactions cost the disk, back to back.
func lifeSection(ctx context.Context, m *measurement) (string, []verdict, error) {
	var b strings.Builder
	fmt.Fprint(&b, `Syncs and bytes of a transaction from its acceptance until its end is on the disk and was delivered, back to back, by the queue alone: the hub answers at once. Ends and deliveries ride later commits;
a till's acknowledgement is synced before it is answered, so that one till that acknowledges each sale by itself pays a second commit. Counted by a file system in user space, as its disk sees them.
*KB* are what the commits write: a commit of bbolt writes each page from the root to the last leaf anew, in two trees here, and a head, 4096 bytes each. *Growing* is the zeros by which the file grew, once for
space that is used again and again; its syncs are among the syncs. What was not acknowledged keeps space for its acknowledgement.

| tills | acknowledged | transactions | **syncs each** | commits each | **KB each** | growing, KB each |
|---|---|---|---|---|---|---|
`)
	var verdicts []verdict
	for _, acknowledged := range []bool{false, true} {
		for _, c := range []struct {
			tills, each int
			syncs, kb   float64
		}{{1, m.options.transactions / 10, 2.1, 10}, {64, m.options.transactions / 64, 0.1, 2}} {
			say("whole transactions, %d tills", c.tills)
			s, err := m.spend(ctx, job{Tills: c.tills, Each: max(c.each, 1), Acknowledged: acknowledged})
			if err != nil {
				return noDisk(err)
			}
			fmt.Fprintf(&b, "| %d | %s | %d | **%.3f** | %.3f | **%.2f** | %.2f |\n", c.tills, yesNo(acknowledged), s.n, s.each(s.syncs), s.each(s.commits),
				s.kb(), s.grownKB())
			if !acknowledged {
				what := fmt.Sprintf("a whole transaction, %d tills", c.tills)
				verdicts = append(verdicts, verdict{what: what, is: s.each(s.syncs), limit: c.syncs, unit: " syncs"},
					verdict{what: what + ", beside growing", is: s.kb(), limit: c.kb, unit: " KB"})
			}
		}
	}
	return b.String() + measured(m.options), verdicts, nil
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// hourSection is a sale a minute for an hour. Nothing of it depends on how fast the clock goes but the wait of what rides along, which is
// shortened as much.
func hourSection(ctx context.Context, m *measurement) (string, []verdict, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `A sale a minute for an hour: accepted, ended by the hub after %v and delivered, acknowledged %v after it was pressed or not at all. It is the queue alone, in an hour of %v: what waits for a commit to
ride on does so for as much less than the %v of the product. Counted as above.

| acknowledged | sales | **syncs each** | commits each | **KB each** | growing, KB each |
|---|---|---|---|---|---|
`, hourAnswer, hourAck, m.options.hour, queue.LazyMaxDefault)
	for _, acknowledged := range []bool{true, false} {
		say("a quiet hour of %v", m.options.hour)
		s, err := m.spend(ctx, job{Tills: 1, Each: hourSales, Acknowledged: acknowledged, Minute: m.options.hour / hourSales})
		if err != nil {
			return noDisk(err)
		}
		fmt.Fprintf(&b, "| %s | %d | **%.2f** | %.2f | **%.1f** | %.1f |\n", yesNo(acknowledged), s.n, s.each(s.syncs), s.each(s.commits), s.kb(), s.grownKB())
	}
	return b.String() + measured(m.options), nil, nil
}
