package queue

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tideover"
	"tideover/edge"
)

func TestAccept_TwentyAtOnceAreOne(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	var mu sync.Mutex
	fresh, asked := 0, 0
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			tx, err := s.q.Accept(t.Context(), d, func(View) error { asked++; return nil })
			mu.Lock()
			defer mu.Unlock()
			if err != nil || tx.ID != d.ID {
				t.Errorf("got %+v, %v", tx, err)
			}
			if !tx.Replayed {
				fresh++
			}
		})
	}
	wg.Wait()
	if fresh != 1 || asked != 1 {
		t.Fatalf("%d were new, decide was asked %d times", fresh, asked)
	}
	other := d
	other.Request.Amount++
	other.Hash = other.Request.Hash([]byte("s"))
	_, err := s.q.Accept(t.Context(), other, yes)
	refused(t, err, tideover.CodeKeyReused)
	if r, _ := errors.AsType[*tideover.Refusal](err); !strings.Contains(r.Detail.En, "sale 12.99 CNY") || !strings.Contains(r.Detail.Zh, "12.99 CNY") {
		t.Errorf("people read the amount as a hundred times what it is: %v", r.Detail)
	}
}

func TestAccept_DecideSeesWhatItsBatchAccepted(t *testing.T) {
	s := newShop(t)
	const most = 5
	var wg sync.WaitGroup
	taken := make(chan tideover.ID, 60)
	for i := range 60 {
		wg.Go(func() {
			d := draft("till", fmt.Sprint("k", i))
			_, err := s.q.Accept(t.Context(), d, func(v View) error {
				live := 0
				for range v.Live() {
					live++
				}
				count, amount := v.Open()
				if live != count || amount["CNY"] != int64(count)*1299 {
					t.Errorf("%d live, %d open, %v", live, count, amount)
				}
				if count >= most {
					return tideover.Refuse(tideover.CodeOfflineLimit, "no", "不")
				}
				return nil
			})
			if err == nil {
				taken <- d.ID
			} else {
				refused(t, err, tideover.CodeOfflineLimit)
			}
		})
	}
	wg.Wait()
	if len(taken) != most || s.q.Stats().Pending != most || s.q.Stats().Transactions != most {
		t.Fatalf("%d were taken, want %d", len(taken), most)
	}
	first := <-taken
	_, err := s.q.Accept(t.Context(), draft("till", "next"), func(v View) error {
		if tx, ok := v.Get(first); !ok || tx.ID != first {
			t.Error("an earlier accept is not seen")
		}
		if _, ok := v.Get(tideover.ID{9}); ok {
			t.Error("an id that nobody accepted is seen")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAccept_ARefusalLeavesTheKeyFree(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	_, err := s.q.Accept(t.Context(), d, func(View) error { return tideover.Refuse(tideover.CodeAmountAboveLimit, "no", "不") })
	refused(t, err, tideover.CodeAmountAboveLimit)
	if _, err := s.q.Get(d.ID); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	s.accept(d)
}

// A refusal that rests on a press of the same commit is not said before that is on disk: a kill in between would have told the till of
// a transaction that never was.
func TestAccept_WhatARefusalSpeaksOfIsThere(t *testing.T) {
	s := newShop(t)
	for i := range 200 {
		first := draft("till", fmt.Sprint("k", i))
		reused, duplicate := first, draft("till", fmt.Sprint("again", i))
		reused.Hash[0]++
		var wg sync.WaitGroup
		for _, d := range []edge.Draft{first, reused, duplicate} {
			wg.Go(func() {
				_, err := s.q.Accept(t.Context(), d, func(v View) error {
					if _, known := v.Get(first.ID); known && d.ID == duplicate.ID {
						return tideover.Refuse(tideover.CodeSuspectedDuplicate, "no", "不")
					}
					return nil
				})
				if _, ok := errors.AsType[*tideover.Refusal](err); !ok {
					return
				}
				if _, err := s.q.Get(first.ID); err != nil {
					t.Errorf("refused for the sake of %s: %v", first.ID, err)
				}
			})
		}
		wg.Wait()
	}
}

func TestAccept_FullStorage(t *testing.T) {
	s := newShop(t)
	s.close()
	s.open(Options{SizeMax: 2 << 20})
	var taken []edge.Draft
	for i := 0; ; i++ {
		d := draft("till", fmt.Sprint(i))
		d.Request.Payload = fmt.Appendf(nil, "%0100d", i)
		_, err := s.q.Accept(t.Context(), d, yes)
		if err != nil {
			refused(t, err, tideover.CodeStorageFull)
			if _, err := s.q.Get(d.ID); !errors.Is(err, ErrUnknown) {
				t.Fatal("a refused one is there")
			}
			break
		}
		taken = append(taken, d)
	}
	if len(taken) < 50 {
		t.Fatalf("only %d fit", len(taken))
	}
	for fits := true; fits; { // to the brim
		d := draft("till", fmt.Sprint("small", len(taken)))
		_, err := s.q.Accept(t.Context(), d, yes)
		if fits = err == nil; fits {
			taken = append(taken, d)
		}
	}
	// All that was taken can still be brought to its end.
	for i, d := range taken {
		s.end(approved(d.ID, uint64(i+1)))
		s.q.Delivered(d.ID, s.get(d.ID).Seq)
		if _, err := s.q.Acknowledge(t.Context(), d.ID, s.get(d.ID).Seq); err != nil {
			t.Fatalf("after %d of %d: %v", i, len(taken), err)
		}
		<-s.told
	}
	if st := s.q.Stats(); st.FileBytes > 2<<20 || st.FreeBytes == 0 || st.Pending != 0 || st.Unacknowledged != 0 || st.Lazy != 0 {
		t.Fatalf("stats: %+v", st)
	}
}

// TestBar_LeavesRoomOnAFullDisk: a till whose presses are refused cancels each of their keys; what is open must come to its end all the same.
func TestBar_LeavesRoomOnAFullDisk(t *testing.T) {
	s := newShop(t)
	s.close()
	s.open(Options{SizeMax: 2 << 20})
	var taken []edge.Draft
	for i := 0; ; i++ {
		d := draft("till", fmt.Sprint(i))
		d.Request.Payload = fmt.Appendf(nil, "%020000d", i)
		if _, err := s.q.Accept(t.Context(), d, yes); err != nil {
			break
		}
		taken = append(taken, d)
	}
	for i := range 10_000 {
		if _, err := s.q.Bar(t.Context(), bare(fmt.Sprint("refused-", i)), complete, edge.By{}, 0); err != nil {
			refused(t, err, tideover.CodeStorageFull)
			break
		}
	}
	for i, d := range taken[:20] {
		if _, err := s.q.Cancel(t.Context(), d.ID, unheard, edge.By{}, 0); err != nil {
			t.Fatalf("cancel %d: %v", i, err)
		}
	}
}
