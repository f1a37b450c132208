package queue

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
)

func TestLazy_WaitsAtMostLazyMax(t *testing.T) {
	s := newShop(t)
	s.close()
	s.open(Options{LazyMax: 20 * time.Millisecond})
	d := draft("till", "k")
	s.accept(d)
	s.end(approved(d.ID, 1))
	if have := <-s.told; have[0].HubSeq != 1 || s.q.HaveThrough() != 1 {
		t.Fatalf("durable: %v", have)
	}
}

func TestLazy_CountForcesACommit(t *testing.T) {
	s := newShop(t)
	for i := range lazyCountMax {
		d := draft("till", fmt.Sprint(i))
		e := approved(d.ID, uint64(i+1))
		e.Adopt = &d
		s.end(e)
	}
	for have := 0; have < lazyCountMax/2; {
		have += len(<-s.told)
	}
}

func TestSeq_NeverGoesBack(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	s.reopen()
	for range 3 {
		for range 50 {
			if err := s.q.Move(d.ID, tideover.CauseSent, edge.Note{}); err != nil {
				t.Fatal(err)
			}
		}
		before := s.get(d.ID).Seq
		s.crash()
		if after := s.get(d.ID).Seq; after <= before {
			t.Fatalf("seq went from %d to %d over a crash", before, after)
		}
	}
	s.q.mu.Lock()
	head, drawn := s.q.headSeq, s.q.seq+seqForce
	s.q.seq = drawn // as if so many changes had been in memory only
	s.q.mu.Unlock()
	s.q.poke()
	for {
		if now, _ := s.q.Head(); now > head {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.crash()
	if after := s.get(d.ID).Seq; after <= drawn {
		t.Fatalf("seq went from %d to %d", drawn, after)
	}
}

// TestRun_AFailedCommitEndsEverything takes the disk away: nothing may be answered any more.
func TestRun_AFailedCommitEndsEverything(t *testing.T) {
	s := newShop(t)
	known := draft("till", "known")
	tx := s.accept(known)
	changed := s.q.Changed(tx.ID, tx.Seq)
	s.q.file.Close()
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if _, err := s.q.Accept(t.Context(), draft("till", fmt.Sprint(i)), yes); !errors.Is(err, ErrStopped) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if _, ok := errors.AsType[*CommitError](<-s.ran); !ok {
		t.Error("Run does not say so")
	}
	<-changed
	if _, err := s.q.Get(known.ID); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	if err := s.q.End(approved(known.ID, 1)); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	s.q.Close()
	s.q = nil
	check(t, s.path)
}

// TestCommit_ManyEndsOnAFullDisk: more ends wait than the reserve takes by the careful reckoning; they are written bit by bit, as far as
// they really fit, and not refused as a whole for ever.
func TestCommit_ManyEndsOnAFullDisk(t *testing.T) {
	s := newShop(t)
	s.close()
	s.open(Options{SizeMax: 4 << 20})
	const ends = 1200
	var taken []tideover.ID
	for full := false; !full; {
		d := draft("till", fmt.Sprint(len(taken)))
		if len(taken) >= ends {
			d.Request.Payload = make([]byte, 30_000)
		}
		_, err := s.q.Accept(t.Context(), d, yes)
		if full = err != nil; full {
			refused(t, err, tideover.CodeStorageFull)
		}
		taken = append(taken, d.ID)
	}
	for i, id := range taken[:ends] {
		s.end(approved(id, uint64(i+1)))
	}
	for range ends {
		if s.q.Flush(t.Context()) == nil {
			break
		}
	}
	if have := s.q.HaveThrough(); have != ends {
		t.Errorf("have through %d of %d", have, ends)
	}
}
