package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"tideover"
)

// TestCompact_BesideTills compacts again and again while tills press, other processes try for the file, and somebody reads: the journal is
// the same one all the time, and has everything that was answered.
func TestCompact_BesideTills(t *testing.T) {
	s := newShop(t)
	ctx, stop := context.WithCancel(t.Context())
	var tills sync.WaitGroup
	var mu sync.Mutex
	var said []tideover.ID
	for till := range 4 {
		tills.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				d := draft(fmt.Sprint("till", till), fmt.Sprint(i))
				if _, err := s.q.Accept(context.Background(), d, yes); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				said = append(said, d.ID)
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	tills.Go(func() {
		for ctx.Err() == nil {
			if f, err := lock(s.path); !errors.Is(err, ErrInUse) {
				t.Errorf("another process gets in between: %v", err)
				f.Close()
				return
			}
		}
	})
	tills.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.q.Verify(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("verify: %v", err)
			}
		}
	})
	for range 10 {
		if _, err := s.q.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	tills.Wait()
	s.reopen()
	for _, id := range said {
		s.get(id)
	}
	if left := leftIn(filepath.Dir(s.path)); len(said) < 40 || len(left) > 0 {
		t.Errorf("%d answered, left %v", len(said), left)
	}
}

// TestCompact_TheSameJournal, and small: head, entries and chain are what they were, what is closed can be read, and it goes on.
func TestCompact_TheSameJournal(t *testing.T) {
	s := newShop(t)
	d := draft("till", "first")
	s.accept(d)
	s.end(approved(d.ID, 1))
	if _, err := s.q.Acknowledge(t.Context(), d.ID, s.get(d.ID).Seq); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		s.accept(draft("till", fmt.Sprint(i)))
	}
	s.q.mu.Lock()
	_, err := fillZeros(s.q.file, s.q.size, 8<<20) // as after a day of many
	s.q.size = 8 << 20
	s.q.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	seq, hash := s.q.Head()
	before := entriesSum(s.path)
	c, err := s.q.Compact(t.Context())
	if err != nil || c.Before != 8<<20 || c.After > 2<<20 {
		t.Fatalf("%+v, %v", c, err)
	}
	if after := entriesSum(s.path); after != before {
		t.Error("the entries are not what they were")
	}
	if now, is := s.q.Head(); now != seq || is != hash || s.q.Gap() {
		t.Errorf("the head is %d, and was %d", now, seq)
	}
	if steps, err := s.q.History(d.ID); err != nil || len(steps) < 3 {
		t.Errorf("history: %v, %v", steps, err)
	}
	if _, err := s.q.Accept(t.Context(), draft("till", "after"), yes); err != nil {
		t.Fatal(err)
	}
	s.close()
	before = entriesSum(s.path)
	cold, err := CompactFile(s.path, testKey, testStore)
	if err != nil || cold.After > c.After || entriesSum(s.path) != before {
		t.Errorf("cold: %+v, %v", cold, err)
	}
	s.open(Options{})
	s.get(draft("till", "after").ID)
}

// TestCompact_ReadersGoOn: who reads when the file is exchanged reads on in the old one, and nobody waits for him but the compaction itself.
func TestCompact_ReadersGoOn(t *testing.T) {
	s := newShop(t)
	s.accept(draft("till", "before"))
	reading, read := make(chan struct{}), make(chan struct{})
	var looked sync.WaitGroup
	looked.Go(func() {
		err := s.q.db.View(func(tx *bbolt.Tx) error {
			close(reading)
			<-read
			n := 0
			return tx.Bucket(bucketJournal).ForEach(func([]byte, []byte) error {
				if n++; n > 2 {
					return errors.New("it has what came later")
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-reading
	compacted := make(chan error)
	old := s.q.db.now.Load()
	go func() {
		_, err := s.q.Compact(context.Background())
		compacted <- err
	}()
	for s.q.db.now.Load() == old {
		time.Sleep(time.Millisecond)
	}
	s.accept(draft("till", "after"))
	s.get(draft("till", "after").ID)
	select {
	case err := <-compacted:
		t.Fatalf("the old file was closed under its reader: %v", err)
	default:
	}
	close(read)
	looked.Wait()
	if err := <-compacted; err != nil {
		t.Fatal(err)
	}
}

// TestCompact_WhatFailsLeavesNothing: the old file goes on.
func TestCompact_WhatFailsLeavesNothing(t *testing.T) {
	s := newShop(t)
	s.accept(draft("till", "before"))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.q.Compact(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	x, err := s.q.copyBeside(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(x.file.Name()); err != nil {
		t.Fatal(err)
	}
	if err := s.q.hand(t.Context(), x); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is gone: %v", err)
	}
	if x, err = s.q.copyBeside(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.last.Hash[0]++
	if err := s.q.hand(t.Context(), x); !errors.Is(err, ErrDamaged) {
		t.Errorf("the copy is another journal: %v", err)
	}
	s.accept(draft("till", "after"))
	s.close()
	if left := leftIn(filepath.Dir(s.path)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	s.open(Options{})
	s.get(draft("till", "after").ID)
}

// TestCompact_DiesAnywhere: at each step the journal is whole, of the old file or of the new one, and what tills were answered is there.
func TestCompact_DiesAnywhere(t *testing.T) {
	binary := mortal(t)
	for _, deed := range []string{"compact, hot", "compact, cold"} {
		for _, point := range []string{"copying", "copied", "before", "renamed", "after"} {
			dir := t.TempDir()
			beginJournal(t, dir)
			k := kills{said: make(map[tideover.ID]string)}
			child := exec.Command(binary, "-test.run=^$")
			child.Env = append(os.Environ(), "TIDEOVER_QUEUE_DEED="+deed, "TIDEOVER_QUEUE_DIR="+dir, "TIDEOVER_DIE=queue.compact."+point+":2")
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			stuck := time.AfterFunc(time.Minute, func() { child.Process.Kill() })
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				what, text, _ := strings.Cut(lines.Text(), " ")
				if id, err := tideover.ParseID(text); err == nil {
					k.said[id] = what
				}
			}
			if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 || !stuck.Stop() {
				t.Fatalf("%s, %s: it was not killed there: %v", deed, point, err)
			}
			wholeFile(t, killedJournal(dir))
			k.answered(t, killedJournal(dir))
			deeds[deed].sweeps(t, dir)
		}
	}
}

// TestCompact_Pays: a large file that is mostly free is compacted by itself in a quiet hour, and one that is stuck at once.
func TestCompact_Pays(t *testing.T) {
	s := newShop(t)
	now := time.Now()
	for name, tc := range map[string]struct {
		change func(*Queue)
		pays   bool
	}{
		"large, free, quiet":   {func(*Queue) {}, true},
		"small":                {func(q *Queue) { q.size, q.used, q.freed = 7<<20, 6<<20, 6<<20 }, false},
		"in use":               {func(q *Queue) { q.freed = 11 << 20 }, false},
		"never used":           {func(q *Queue) { q.used, q.freed = 2<<20, 1<<20 }, false},
		"tills press":          {func(q *Queue) { q.sold = now.Add(-time.Second) }, false},
		"a moment ago":         {func(q *Queue) { q.compacted = now.Add(-time.Minute) }, false},
		"long ago":             {func(q *Queue) { q.compacted = now.Add(-2 * time.Hour) }, true},
		"stuck at its cap":     {func(q *Queue) { q.size, q.used, q.freed, q.sold, q.options.SizeMax = 3<<20, 3<<20, 2<<20, now, 3<<20 }, true},
		"stuck on a full disk": {func(q *Queue) { q.used, q.freed, q.sold, q.fullUntil = 16<<20, 9<<20, now, now.Add(time.Second) }, true},
		"stuck, and in use":    {func(q *Queue) { q.used, q.freed, q.sold, q.fullUntil = 16<<20, 7<<20, now, now.Add(time.Second) }, false},
	} {
		q := newQueue(Options{Path: s.path, SizeMax: 1 << 30}, s.q.ring.Load())
		q.size, q.used, q.freed = 16<<20, 15<<20, 13<<20
		tc.change(q)
		if pays := q.CompactionPays(now); pays != tc.pays {
			t.Errorf("%s: %v", name, pays)
		}
	}
}
