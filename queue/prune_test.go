package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

const month = 30 * 24 * time.Hour

// eager is a shop whose journal keeps a month, and is swept whenever something is committed.
func eager(t *testing.T) *shop {
	t.Helper()
	s := newShop(t)
	s.close()
	s.keep = month
	s.open(Options{})
	return s
}

// over sells, and the till acknowledges.
func (s *shop) over(key string, hubSeq uint64, change ...func(*edge.Draft)) tideover.ID {
	s.t.Helper()
	d := draft("till", key, change...)
	s.accept(d)
	s.end(approved(d.ID, hubSeq))
	s.acknowledge(d.ID)
	for len(s.told) > 0 {
		<-s.told
	}
	return d.ID
}

// begun is when these tests begin, by the ledger.
const begun tideover.Millis = 1_700_000_000_000

// passed lets time pass by the ledger, and the hub hold all that is on disk by then; and then everything leaves that may.
func (s *shop) passed(since time.Duration) {
	s.t.Helper()
	s.jump(since)
	s.anchored()
	s.sweep()
}

// jump lets time pass by the ledger.
func (s *shop) jump(since time.Duration) {
	s.t.Helper()
	s.q.NoteLedgerTime(s.q.LedgerTime() + 2*ledgerStep)
	s.q.NoteLedgerTime(begun.Add(since))
	s.flush()
}

func (s *shop) anchored() {
	seq, _ := s.q.Head()
	s.q.Anchored(seq)
}

// sweep makes commits until nothing more leaves.
func (s *shop) sweep() {
	s.t.Helper()
	for n, more := 0, true; more; n++ {
		if n == 1000 {
			s.t.Fatal("a sweep has no end")
		}
		before := s.entries()
		// Something has to be committed for a sweep to ride on.
		if err := s.q.PutTerminal(s.t.Context(), tideover.Terminal{UID: "sweep", Name: fmt.Sprint("sweep", n, time.Now()), PairedAt: 1}); err != nil {
			s.t.Fatal(err)
		}
		s.q.mu.Lock()
		more = s.entries() < before+1 || s.q.sweeper.limit != 0
		s.q.mu.Unlock()
	}
}

// entries counts what is on disk.
func (s *shop) entries() (n int) {
	s.t.Helper()
	_, err := s.q.eachEntry(s.t.Context(), func(uint64, []byte, [hashSize]byte, []byte) error { n++; return nil }, noRest)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *shop) wantGone(id tideover.ID) {
	s.t.Helper()
	if tx, err := s.q.Get(id); !errors.Is(err, ErrUnknown) {
		s.t.Errorf("it stays: %+v, %v", tx, err)
	}
	if _, err := s.q.History(id); !errors.Is(err, ErrUnknown) {
		s.t.Errorf("its history stays: %v", err)
	}
}

// wantKept wants a transaction with so many steps of its history.
func (s *shop) wantKept(id tideover.ID, steps int) {
	s.t.Helper()
	if have, err := s.q.History(id); err != nil || len(have) != steps {
		s.t.Errorf("%d steps of %v, want %d: %v", len(have), id, steps, err)
	}
}

// wantSound wants a journal that verifies, as it is and in a copy.
func (s *shop) wantSound() {
	s.t.Helper()
	seq, hash := s.q.Head()
	a, err := s.q.Check(s.t.Context(), Anchor{seq, hash})
	if err != nil || len(a.Flaws) > 0 {
		s.t.Fatalf("%+v, %v", a, err)
	}
	path := filepath.Join(s.t.TempDir(), "copy.db")
	if _, err := s.q.Backup(s.t.Context(), path); err != nil {
		s.t.Fatal(err)
	}
	check(s.t, path)
	b, err := VerifyFile(path, Anchor{seq, hash})
	if err != nil || len(b.Flaws) > 0 || b.Pruned != a.Pruned || b.Transactions != a.Transactions {
		s.t.Errorf("the copy: %+v, %v; the journal: %+v", b, err, a)
	}
}

// What is over for a month leaves the journal; what its till has not acknowledged, and what is open, stays with its whole history.
func TestPrune_WhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := eager(t)
		s.q.NoteLedgerTime(begun)
		gone := s.over("over", 1)
		told := draft("till", "told")
		s.accept(told)
		s.end(approved(told.ID, 2))
		open := draft("till", "open")
		s.accept(open)
		s.rule("a = 1\n")
		s.rule("a = 2\n")
		returned, sold := draft("till", "refund", undoing(tideover.KindRefund, s.over("returned", 3))), s.over("sold", 4)
		s.accept(returned)
		refund := s.over("refund of sold", 5, undoing(tideover.KindRefund, sold))
		s.q.CaughtUp(6)
		s.flush()
		have, highest := s.q.HaveThrough(), s.q.Highest()

		s.jump(month + time.Hour)
		s.sweep()
		s.wantKept(gone, 3) // the hub has not said what it holds
		young := s.over("young", 7)
		s.anchored()
		s.sweep()
		for _, id := range []tideover.ID{gone, sold, refund} {
			s.wantGone(id)
		}
		stays := func() {
			t.Helper()
			s.wantKept(told.ID, 2)
			s.wantKept(open.ID, 1)
			s.wantKept(returned.ID, 1)
			s.wantKept(returned.Request.Original, 3) // something is being given back of it
			s.wantKept(young, 3)
			if s.q.HaveThrough() < have || s.q.Highest() < highest {
				t.Errorf("heard through %d and %d, it was %d and %d", s.q.HaveThrough(), s.q.Highest(), have, highest)
			}
			s.wantSound()
		}
		stays()
		s.reopen()
		stays()
		if through := s.q.Pruned(); through < returned.CreatedAt {
			t.Errorf("the journal says that it was pruned through %v", through.Time())
		}
		s.acknowledge(told.ID)
		s.end(approved(returned.ID, 8))
		s.acknowledge(returned.ID)
		s.passed(3 * month)
		for _, id := range []tideover.ID{told.ID, returned.ID, returned.Request.Original, young} {
			s.wantGone(id)
		}
		s.wantKept(open.ID, 1)
		s.wantSound()
		if n := len(s.q.sweeper.runs); n != 2 { // around what is open
			t.Errorf("%d stretches", n)
		}
		again := s.accept(draft("till", "over"))
		if again.Replayed || again.State != tideover.StateQueued {
			t.Errorf("a key from before: %+v", again)
		}
		s.reopen()
		s.wantKept(gone, 1)
		s.wantSound()
	})
}

// prunedDay makes a closed journal of which the most was pruned, in three stretches.
func prunedDay(t *testing.T) (path string, heads []Anchor) {
	t.Helper()
	s := eager(t)
	s.q.NoteLedgerTime(begun)
	for i := range 12 {
		if s.over(fmt.Sprint("over", i), uint64(i+1)); i%5 == 4 {
			s.accept(draft("till", fmt.Sprint("open", i)))
		}
	}
	s.jump(month + time.Hour)
	s.anchored()
	seq, hash := s.q.Head()
	s.sweep()
	s.over("after", 20)
	if n := len(s.q.sweeper.runs); n != 3 {
		t.Fatalf("%d stretches", n)
	}
	s.close()
	return s.path, []Anchor{{seq, hash}}
}

// forgeRuns lets do change what a closed file keeps of what was pruned.
func forgeRuns(t *testing.T, path string, do func(tx *bbolt.Tx, runs []run) []run) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		var runs []run
		err := tx.Bucket(bucketPruned).ForEach(func(k, v []byte) error {
			r, err := parseRun(k, v)
			runs = append(runs, r)
			return err
		})
		if err != nil {
			return err
		}
		runs = do(tx, runs)
		if err := tx.DeleteBucket(bucketPruned); err != nil {
			return err
		}
		pruned, err := tx.CreateBucket(bucketPruned)
		if err != nil {
			return err
		}
		for i := range runs {
			if err := pruned.Put(seqKey(runs[i].last), runs[i].value()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPrune_ByAForger: nobody removes entries under the name of pruning, nor hides what was pruned.
func TestPrune_ByAForger(t *testing.T) {
	const attest, place, chain = "not what the journal says was pruned", "does not end where entry", "the chain is broken"
	for name, tc := range map[string]struct {
		words string
		do    func(tx *bbolt.Tx, runs []run) []run
	}{
		"nothing":            {"", func(_ *bbolt.Tx, runs []run) []run { return runs }},
		"a stretch is gone":  {chain, func(_ *bbolt.Tx, runs []run) []run { return runs[1:] }},
		"all are gone":       {chain, func(_ *bbolt.Tx, _ []run) []run { return nil }},
		"another hash":       {chain, func(_ *bbolt.Tx, runs []run) []run { runs[0].hash[0]++; return runs }},
		"another count":      {attest, func(_ *bbolt.Tx, runs []run) []run { runs[0].count--; return runs }},
		"a later beginning":  {attest, func(_ *bbolt.Tx, runs []run) []run { runs[2].first++; runs[2].count--; return runs }},
		"over what is there": {place, func(_ *bbolt.Tx, runs []run) []run { runs[2].first = runs[1].last + 1; return runs }},
		"one after the end": {place, func(_ *bbolt.Tx, runs []run) []run {
			return append(runs, run{first: 1 << 60, last: 1 << 60, count: 1})
		}},
		"an entry between two": {attest, func(tx *bbolt.Tx, runs []run) []run { // what is open there is made to vanish
			c := tx.Bucket(bucketJournal).Cursor()
			key, _ := c.Seek(seqKey(runs[0].last))
			seq := seqOf(key)
			if seq > runs[1].first {
				t.Fatal("nothing is between them")
			}
			cutAway, err := cut(tx, runs, []uint64{seq})
			if err != nil {
				t.Fatal(err)
			}
			return cutAway
		}},
		"the newest entries": {attest, func(tx *bbolt.Tx, runs []run) []run {
			c := tx.Bucket(bucketJournal).Cursor()
			var seqs []uint64
			for key, _ := c.Seek(seqKey(runs[2].last)); key != nil && len(seqs) < 3; key, _ = c.Next() {
				seqs = append(seqs, seqOf(key))
			}
			cutAway, err := cut(tx, runs, seqs)
			if err != nil {
				t.Fatal(err)
			}
			return cutAway
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path, heads := prunedDay(t)
			forgeRuns(t, path, tc.do)
			wantVerdict(t, path, tc.words, heads...)
			q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
			if (err == nil) != (tc.words == "") {
				t.Fatalf("opened: %v", err)
			}
			if err == nil {
				q.Close()
			}
		})
	}
	t.Run("a whole journal of which something was cut", func(t *testing.T) {
		path, _ := day(t, 12)
		forgeRuns(t, path, func(tx *bbolt.Tx, _ []run) []run {
			var seqs []uint64
			c := tx.Bucket(bucketJournal).Cursor()
			for key, _ := c.First(); len(seqs) < 6; key, _ = c.Next() {
				seqs = append(seqs, seqOf(key))
			}
			runs, err := cut(tx, nil, seqs[2:4])
			if err != nil {
				t.Fatal(err)
			}
			return runs
		})
		if a, err := VerifyFile(path); err != nil || len(a.Flaws) == 0 {
			t.Errorf("%+v, %v", a, err)
		}
		if q, err := Open(Options{Path: path, Key: testKey, Store: testStore}); err == nil {
			q.Close()
			t.Error("it was opened")
		}
	})
}

// The hub's head goes through a journal of which the beginning was pruned; one from within it only an older hub has.
func TestPrune_HoldsWhatTheHubHas(t *testing.T) {
	path, heads := prunedDay(t)
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	last := q.sweeper.runs[1]
	for name, tc := range map[string]struct {
		Anchor
		holds bool
	}{
		"the head before it":        {heads[0], true},
		"another one there":         {Anchor{heads[0].Seq, [32]byte{1}}, false},
		"the last of what was cut":  {Anchor{last.last, last.hash}, true},
		"another one there, too":    {Anchor{last.last, [32]byte{1}}, false},
		"in the middle of it":       {Anchor{last.first, [32]byte{1}}, true},
		"one that was never there":  {Anchor{1 << 60, [32]byte{1}}, false},
		"one from before all of it": {Anchor{1, [32]byte{1}}, false},
	} {
		if holds, err := q.Holds(tc.Seq, tc.Hash); err != nil || holds != tc.holds {
			t.Errorf("%s: %v, %v", name, holds, err)
		}
		if a, err := q.Verify(t.Context(), tc.Anchor); err != nil || (len(a.Flaws) == 0) != tc.holds {
			t.Errorf("%s: %+v, %v", name, a.Flaws, err)
		}
	}
}

// TestPrune_EveryByte changes each byte of a small file that was pruned.
func TestPrune_EveryByte(t *testing.T) {
	path, heads := prunedDay(t)
	everyByte(t, path, heads)
}

const (
	prunedSales = 120
	prunedOpen  = 5
)

// beginPrune makes a journal of which the most may leave: its copy is what each run starts from.
func beginPrune(t *testing.T, dir string) {
	s := eager(t)
	s.q.NoteLedgerTime(begun)
	for i := range prunedSales {
		if s.over(fmt.Sprint("over", i), uint64(i+1)); i%(prunedSales/prunedOpen) == 9 {
			s.accept(draft("till", fmt.Sprint("open", i)))
		}
	}
	s.q.CaughtUp(prunedSales)
	s.jump(month + time.Hour)
	s.close()
	image, err := os.ReadFile(s.path)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "template"), image, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := readyPrune(dir); err != nil {
		t.Fatal(err)
	}
}

func readyPrune(dir string) error {
	image, err := os.ReadFile(filepath.Join(dir, "template"))
	if err != nil {
		return err
	}
	return os.WriteFile(killedJournal(dir), image, 0o600)
}

// doPrune prunes in many commits.
func doPrune(ctx context.Context, _ *Queue, dir string) error {
	q, err := Open(Options{Path: killedJournal(dir), Key: testKey, Store: testStore, Retention: Retention{Final: month}})
	if err != nil {
		return err
	}
	q.sweeper.rest = 0
	ctx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	q.Anchored(q.headSeq)
	for n := range 20 {
		if err = q.PutTerminal(ctx, tideover.Terminal{UID: "till", Name: fmt.Sprint(n), PairedAt: 1}); err != nil {
			break
		}
	}
	stop()
	err = errors.Join(err, <-ran)
	if n := q.Stats().Transactions; err == nil && n != prunedOpen {
		err = fmt.Errorf("%d transactions are left", n)
	}
	return errors.Join(err, q.Close())
}

// holdsPruned: of each transaction all is there or nothing, and nothing is lost of what is open.
func holdsPruned(t *testing.T, dir string, done bool) {
	t.Helper()
	q, err := Open(Options{Path: killedJournal(dir), Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	open := 0
	for id := range q.index {
		steps, err := q.History(id)
		if err != nil || len(steps) != 1 && len(steps) != 3 {
			t.Fatalf("%d steps of a transaction: %v", len(steps), err)
		}
		if len(steps) == 1 {
			open++
		}
	}
	if open != prunedOpen || q.HaveThrough() != prunedSales || done && len(q.index) != open || len(q.index) < prunedOpen {
		t.Fatalf("%d transactions, %d of them open, heard through %d, after it was done: %v", len(q.index), open, q.HaveThrough(), done)
	}
}

// TestPrune_DiesAnywhere: with a commit that prunes all of it leaves, or nothing.
func TestPrune_DiesAnywhere(t *testing.T) {
	binary := mortal(t)
	dir := t.TempDir()
	beginPrune(t, dir)
	for _, point := range []string{"before", "after", "before:3", "after:3"} {
		child := exec.Command(binary, "-test.run=^$")
		child.Env = append(os.Environ(), "TIDEOVER_QUEUE_DEED=prune", "TIDEOVER_QUEUE_DIR="+dir, "TIDEOVER_DIE=queue.prune."+point)
		child.Stderr = os.Stderr
		if err := child.Run(); err == nil || child.ProcessState.ExitCode() == 2 {
			t.Fatalf("%s: the child ended by itself: %v", point, err)
		}
		wholeFile(t, killedJournal(dir))
		holdsPruned(t, dir, false)
		check(t, killedJournal(dir))
	}
}

// TestPrune_BoundsTheFile: a shop that sells each day has a file that does not grow with the years, and a memory neither.
func TestPrune_BoundsTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		s.close()
		s.open(Options{Retention: Retention{Final: month}, LazyMax: time.Minute})
		days, a := 75, 8
		if os.Getenv("TIDEOVER_NIGHTLY") != "" {
			days, a = 365, 40
		}
		var grown, most, kept int64
		for day := range days {
			for i := range a {
				s.q.NoteLedgerTime(tideover.MillisOf(time.Now()))
				s.over(fmt.Sprint("day ", day, " sale ", i), uint64(day*a+i+1))
				s.anchored()
				time.Sleep(24 * time.Hour / time.Duration(a))
			}
			st := s.q.Stats()
			if day == 2*days/3 {
				grown, kept = st.UsedBytes, int64(st.Transactions)
			}
			most = max(most, int64(st.Transactions))
		}
		st := s.q.Stats()
		t.Logf("after %d days of %d sales: %d transactions (%d at most), %d kB in use (%d kB after two thirds), %d stretches, %d strides, %d times",
			days, a, st.Transactions, most, st.UsedBytes>>10, grown>>10, len(s.q.sweeper.runs), len(s.q.strides), len(s.q.sweeper.ages))
		if limit := int64(33 * a); most > limit || kept == 0 {
			t.Errorf("%d transactions were kept, at most %d are of a month", most, limit)
		}
		if st.UsedBytes > grown+grown/4 || len(s.q.sweeper.runs) > 3 {
			t.Errorf("it grows: %d bytes in use, and %d before; %d stretches", st.UsedBytes, grown, len(s.q.sweeper.runs))
		}
		s.wantSound()
	})
}
