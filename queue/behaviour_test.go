package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tideover"
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

func TestNext_OldestFirstAndRests(t *testing.T) {
	s := newShop(t)
	a, b := draft("till", "a"), draft("till", "b")
	s.accept(a)
	s.accept(b)
	next := func() tideover.ID {
		t.Helper()
		p, err := s.q.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return p.ID
	}
	none := func() {
		t.Helper()
		if r, _, _ := s.q.handOut(); r != nil {
			t.Fatalf("%s was handed out", r.Key)
		}
	}
	if next() != a.ID || next() != b.ID {
		t.Fatal("not the oldest first")
	}
	none()
	s.q.Back(a.ID, time.Hour)
	none() // a rests, and does not hold up b
	s.q.Back(b.ID, 0)
	if next() != b.ID {
		t.Fatal("what was given back without a rest is not ready")
	}
	s.q.Wake()
	if next() != a.ID {
		t.Fatal("a rest outlived the link's return")
	}
	s.q.Wake()
	s.q.Back(a.ID, time.Hour)
	if next() != a.ID {
		t.Fatal("a link that returned while it was out does not count")
	}
	s.end(approved(a.ID, 1))
	s.q.Back(a.ID, 0)
	s.q.Back(b.ID, 30*time.Millisecond)
	if next() != b.ID {
		t.Fatal("a rest does not end")
	}
	none()
}

func TestNext_Lanes(t *testing.T) {
	s := newShop(t)
	sale := draft("till", "sale")
	s.accept(sale)
	refund := draft("till", "refund", undoing(tideover.KindRefund, sale.ID))
	reversal := draft("till", "reversal", undoing(tideover.KindReversal, sale.ID))
	stranger := draft("till", "stranger", undoing(tideover.KindRefund, tideover.ID{1}))
	self := draft("till", "self", undoing(tideover.KindRefund, tideover.MakeID(testStore, "till", "self")))
	other := draft("till", "other")
	for _, d := range []Draft{refund, reversal, stranger, self, other} {
		s.accept(d)
	}
	ready := func(want ...string) {
		t.Helper()
		var got []string
		for {
			r, _, _ := s.q.handOut()
			if r == nil {
				break
			}
			got = append(got, r.Key)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	ready("sale", "stranger", "self", "other") // what is unknown here is not waited for, nor is oneself
	if err := s.q.Move(sale.ID, tideover.CauseSent, Note{}); err != nil {
		t.Fatal(err)
	}
	ready("reversal")
	s.q.Back(sale.ID, time.Hour)
	ready()
	s.end(approved(sale.ID, 1))
	ready("refund")
	s.q.Back(refund.ID, 0)
	ready("refund")
	s.reopen()
	ready("refund", "reversal", "stranger", "self", "other")
}

func TestNext_ARefundWaitsAfterARestart(t *testing.T) {
	s := newShop(t)
	sale := draft("till", "sale")
	s.accept(sale)
	s.accept(draft("till", "refund", undoing(tideover.KindRefund, sale.ID)))
	s.reopen()
	p, err := s.q.Next(t.Context())
	if err != nil || p.Key != "sale" || !p.Reopened || p.NeverSent || p.State != tideover.StateInDoubt {
		t.Fatalf("got %+v, %v", p, err)
	}
	if r, _, _ := s.q.handOut(); r != nil {
		t.Fatalf("%s passed its sale", r.Key)
	}
}

func TestNext_EndsWithItsContextAndWithTheQueue(t *testing.T) {
	s := newShop(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := s.q.Next(ctx); ended <- err }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	d := draft("till", "k")
	tx := s.accept(d)
	if _, err := s.q.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed := s.q.Changed(tx.ID, tx.Seq)
	go func() { _, err := s.q.Next(context.Background()); ended <- err }()
	q := s.q
	s.close()
	if err := <-ended; !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	<-changed
	if _, err := q.Get(d.ID); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	if _, err := q.Accept(t.Context(), draft("till", "l"), yes); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
}

func TestEndHere_OnlyWhileNothingCanHaveLeft(t *testing.T) {
	s := newShop(t)
	end := func(id tideover.ID) error {
		return s.q.EndHere(t.Context(), id, tideover.CauseExpired, tideover.Outcome{Message: "too late"})
	}
	fresh, sent, old := draft("till", "fresh"), draft("till", "sent"), draft("till", "old")
	s.accept(old)
	s.reopen()
	s.accept(fresh)
	s.accept(sent)
	if err := s.q.Move(sent.ID, tideover.CauseSent, Note{}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []Draft{sent, old} {
		if err := end(d.ID); !errors.Is(err, ErrMaySent) {
			t.Fatalf("%s: got %v", d.Key, err)
		}
	}
	if err := end(tideover.ID{1}); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	if err := end(fresh.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.q.Move(fresh.ID, tideover.CauseSent, Note{}); err == nil {
		t.Fatal("what has expired may leave")
	}
	s.crash()
	if tx := s.get(fresh.ID); tx.State != tideover.StateExpired || tx.Outcome.Message != "too late" {
		t.Fatalf("got %+v", tx)
	}
	stones := s.q.Tombstones()
	if len(stones) != 1 || stones[0].ID != fresh.ID || stones[0].Request.Instrument == "" || stones[0].State != tideover.StateExpired {
		t.Fatalf("tombstones: %+v", stones)
	}
	if _, err := s.q.Acknowledge(t.Context(), fresh.ID, s.get(fresh.ID).Seq); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if len(s.q.Tombstones()) != 1 {
		t.Fatal("an acknowledged tombstone is forgotten before the hub knows it")
	}
	s.q.TombstoneTold(fresh.ID)
	s.q.TombstoneTold(fresh.ID)
	if len(s.q.Tombstones()) != 0 {
		t.Fatal("told, and still there")
	}
	s.reopen()
	if len(s.q.Tombstones()) != 0 || !s.get(fresh.ID).Acknowledged {
		t.Fatal("told, and back after a restart")
	}
}

// TestEndHere_OrSent lets both try at once: exactly one may win.
func TestEndHere_OrSent(t *testing.T) {
	s := newShop(t)
	for i := range 200 {
		d := draft("till", fmt.Sprint(i))
		s.accept(d)
		var sent, ended error
		var wg sync.WaitGroup
		wg.Go(func() { sent = s.q.Move(d.ID, tideover.CauseSent, Note{}) })
		wg.Go(func() { ended = s.q.EndHere(t.Context(), d.ID, tideover.CauseCancelled, tideover.Outcome{}) })
		wg.Wait()
		if (sent == nil) == (ended == nil) {
			t.Fatalf("sent: %v, ended: %v", sent, ended)
		}
	}
}

func TestEnd_RepeatsAndCorrections(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	s.end(approved(d.ID, 1))
	s.end(approved(d.ID, 1)) // not on disk: nothing to say
	first := s.get(d.ID)
	acked, err := s.q.Acknowledge(t.Context(), d.ID, first.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if have := <-s.told; len(have) != 1 {
		t.Fatalf("durable: %v", have)
	}
	s.end(approved(d.ID, 1)) // the hub has not heard that it is on disk
	if have := <-s.told; len(have) != 1 || have[0] != (Position{d.ID, 1}) {
		t.Fatalf("durable: %v", have)
	}
	if s.get(d.ID).Seq != acked.Seq {
		t.Fatal("the same end told twice changed something")
	}
	// A correction takes the acknowledgement back.
	if err := s.q.Move(d.ID, tideover.ToldReversing, Note{}); err != nil {
		t.Fatal(err)
	}
	if tx := s.get(d.ID); tx.Final() || tx.Outcome != nil || tx.Acknowledged || tx.EndSeq != 0 {
		t.Fatalf("reversing: %+v", tx)
	}
	corrected := told(d.ID, 2, tideover.StateReversed)
	corrected.Corrected = true
	s.end(corrected)
	tx := s.get(d.ID)
	if tx.State != tideover.StateReversed || !tx.Corrected || tx.Acknowledged || tx.Delivered {
		t.Fatalf("corrected: %+v", tx)
	}
	_, err = s.q.Acknowledge(t.Context(), d.ID, first.Seq)
	refused(t, err, tideover.CodeOutcomeChanged)
	_, err = s.q.Acknowledge(t.Context(), d.ID, tx.Seq+1000)
	refused(t, err, tideover.CodeInvalidRequest)
	s.end(approved(d.ID, 1)) // a late copy of what was corrected
	if s.get(d.ID).State != tideover.StateReversed {
		t.Fatal("a late copy undid a correction")
	}
	if err := s.q.End(approved(d.ID, 3)); err == nil {
		t.Fatal("what is reversed was approved")
	}
	if _, err := s.q.Acknowledge(t.Context(), d.ID, tx.Seq); err != nil {
		t.Fatal(err)
	}
	if _, err := s.q.Acknowledge(t.Context(), d.ID, tx.EndSeq); err != nil { // again
		t.Fatal(err)
	}
	s.reopen()
	if got := s.get(d.ID); got.State != tideover.StateReversed || !got.Corrected || !got.Acknowledged {
		t.Fatalf("reopened: %+v", got)
	}
}

// TestEnd_AfterAnExcursionInMemory keeps out a journal that cannot be opened again: reversing is in memory only, and the end after it
// would not follow from the end before it.
func TestEnd_AfterAnExcursionInMemory(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	s.end(approved(d.ID, 1))
	s.flush()
	if err := s.q.Move(d.ID, tideover.ToldReversing, Note{}); err != nil {
		t.Fatal(err)
	}
	s.end(told(d.ID, 2, tideover.StateDeclined))
	s.reopen()
	if tx := s.get(d.ID); tx.State != tideover.StateDeclined {
		t.Fatalf("got %+v", tx)
	}
}

func TestAcknowledge_NotBeforeTheEnd(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	tx := s.accept(d)
	_, err := s.q.Acknowledge(t.Context(), d.ID, tx.Seq)
	refused(t, err, tideover.CodeOutcomeChanged)
	if _, err := s.q.Acknowledge(t.Context(), tideover.ID{1}, 1); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
}

func TestEnd_AdoptsWhatWasLost(t *testing.T) {
	s := newShop(t)
	d := draft("till", "lost")
	if err := s.q.End(approved(d.ID, 1)); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	s.q.CaughtUp(9)
	s.flush()
	if s.q.HaveThrough() != 0 {
		t.Fatal("caught up past an end that could not be taken")
	}
	e := approved(d.ID, 1)
	e.Adopt = &d
	s.end(e)
	s.q.CaughtUp(9)
	if s.q.HaveThrough() != 0 {
		t.Fatal("caught up before it was on disk")
	}
	s.flush()
	if s.q.HaveThrough() != 9 {
		t.Fatalf("have through %d", s.q.HaveThrough())
	}
	s.crash()
	tx := s.get(d.ID)
	if tx.State != tideover.StateApproved || tx.Key != "lost" || tx.Amount != 1299 || s.q.HaveThrough() != 9 {
		t.Fatalf("got %+v", tx)
	}
	if again := s.accept(d); !again.Replayed {
		t.Fatal("the till's repeat was taken for new")
	}
	other := draft("till", "lost", func(d *Draft) { d.Request.Amount = 7 })
	_, err := s.q.Accept(t.Context(), other, yes)
	refused(t, err, tideover.CodeKeyReused)
}

func TestAdopt_ReplacesAnotherRequest(t *testing.T) {
	s := newShop(t)
	mine := draft("till", "k")
	hubs := draft("till", "k", func(d *Draft) { d.Request.Amount, d.Request.Instrument = 700, "999" })
	s.accept(mine)
	if err := s.q.Adopt(hubs); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		p, err := s.q.Next(t.Context())
		if err != nil || p.Amount != 700 || p.Request.Instrument != "999" || p.NeverSent || p.State != tideover.StateInDoubt || !p.Adopted {
			t.Fatalf("got %+v, %v", p, err)
		}
		if _, amount := (View{s.q, &batch{}}).Open(); amount["CNY"] != 700 {
			t.Fatalf("exposure %v", amount)
		}
		_, err = s.q.Accept(t.Context(), mine, yes)
		refused(t, err, tideover.CodeKeyReused)
	}
	look()
	if err := s.q.Adopt(hubs); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	look()
	if err := s.q.Adopt(draft("till", "other")); err != nil {
		t.Fatal(err)
	}
	s.flush()
	if s.get(draft("till", "other").ID).State != tideover.StateInDoubt {
		t.Fatal("an adopted one is not in doubt")
	}
}

func TestHaveThrough_WaitsForGaps(t *testing.T) {
	s := newShop(t)
	var drafts []Draft
	for i := range 5 {
		drafts = append(drafts, draft("till", fmt.Sprint(i)))
		s.accept(drafts[i])
	}
	tell := func(i int, position, want uint64) {
		t.Helper()
		s.end(approved(drafts[i].ID, position))
		s.flush()
		if got := s.q.HaveThrough(); got != want {
			t.Fatalf("have through %d, want %d", got, want)
		}
	}
	tell(0, 1, 1)
	tell(1, 3, 1)
	s.crash()
	if s.q.HaveThrough() != 1 {
		t.Fatal("forgotten")
	}
	tell(2, 2, 3)
	tell(3, 6, 3)
	s.q.CaughtUp(5)
	s.flush()
	if s.q.HaveThrough() != 6 {
		t.Fatalf("have through %d", s.q.HaveThrough())
	}
	s.reopen()
	if s.q.HaveThrough() != 6 {
		t.Fatalf("have through %d after a restart", s.q.HaveThrough())
	}
}

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
			if err := s.q.Move(d.ID, tideover.CauseSent, Note{}); err != nil {
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

func TestTerminals_AreKept(t *testing.T) {
	s := newShop(t)
	a := tideover.Terminal{UID: "a", Name: "till-1", TokenHash: [32]byte{1}, PairedAt: 5}
	b := tideover.Terminal{UID: "b", Name: "till-2"}
	if err := s.q.SetTerminals(t.Context(), []tideover.Terminal{b, a}); err != nil {
		t.Fatal(err)
	}
	a.Revoked = true
	if err := s.q.PutTerminal(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	s.q.NoteLedgerTime(1_000_000)
	s.q.NoteLedgerTime(1_000_500)
	if s.q.LedgerTime() != 1_000_500 {
		t.Fatal("ledger time")
	}
	s.reopen()
	if got := s.q.Terminals(); len(got) != 2 || got[0] != a || got[1] != b || s.q.LedgerTime() != 1_000_000 {
		t.Fatalf("got %+v, %d", got, s.q.LedgerTime())
	}
	head, _ := s.q.Head()
	if err := s.q.PutTerminal(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if now, _ := s.q.Head(); now != head {
		t.Fatal("what is known was written again")
	}
}

func TestList_PagesNewestFirst(t *testing.T) {
	s := newShop(t)
	var ids []tideover.ID
	for i := range 25 {
		till := []string{"a", "b"}[i%2]
		d := draft(till, fmt.Sprint(i), func(d *Draft) { d.Request.Order = fmt.Sprint("O", i%5) })
		ids = append(ids, s.accept(d).ID)
		if i < 10 {
			s.end(approved(d.ID, uint64(i+1)))
		}
		if i < 4 {
			if _, err := s.q.Acknowledge(t.Context(), d.ID, s.get(d.ID).Seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := func(f Filter) (got []int) {
		t.Helper()
		for {
			page, next, err := s.q.List(f)
			if err != nil || (f.Limit > 0 && len(page) > f.Limit) {
				t.Fatalf("%d, %v", len(page), err)
			}
			for _, tx := range page {
				for i, id := range ids {
					if id == tx.ID {
						got = append(got, i)
					}
				}
			}
			if next == "" {
				return got
			}
			f.After = next
		}
	}
	for _, c := range []struct {
		f    Filter
		want int
		top  int
	}{
		{Filter{}, 25, 24},
		{Filter{Limit: 4}, 25, 24},
		{Filter{Limit: 25}, 25, 24},
		{Filter{Terminal: "b", Limit: 5}, 12, 23},
		{Filter{Order: "O3", Limit: 2}, 5, 23},
		{Filter{Unacknowledged: true, Limit: 4}, 6, 9},
		{Filter{State: tideover.StateApproved, Limit: 3}, 10, 9},
		{Filter{State: tideover.StateQueued, Limit: 4}, 15, 24},
		{Filter{Terminal: "nobody"}, 0, 0},
	} {
		got := all(c.f)
		if len(got) != c.want || (c.want > 0 && got[0] != c.top) {
			t.Errorf("%+v: got %v", c.f, got)
		}
		for i := 1; i < len(got); i++ {
			if got[i] >= got[i-1] {
				t.Errorf("%+v: out of order: %v", c.f, got)
			}
		}
	}
	_, _, err := s.q.List(Filter{After: "x"})
	refused(t, err, tideover.CodeInvalidRequest)
}

func TestAccept_FullStorage(t *testing.T) {
	s := newShop(t)
	s.close()
	s.open(Options{SizeMax: 2 << 20})
	var taken []Draft
	for i := 0; ; i++ {
		d := draft("till", fmt.Sprint(i))
		d.Request.Payload = fmt.Appendf(nil, "%05000d", i)
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
	// What was taken can still be brought to its end.
	for i, d := range taken {
		s.end(approved(d.ID, uint64(i+1)))
		if _, err := s.q.Acknowledge(t.Context(), d.ID, s.get(d.ID).Seq); err != nil {
			if i < 50 {
				t.Fatalf("after %d: %v", i, err)
			}
			break
		}
	}
	if st := s.q.Stats(); st.FileBytes > 2<<20 || st.FreeBytes == 0 || st.Pending != 0 && st.Oldest == 0 {
		t.Fatalf("stats: %+v", st)
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

func TestStats_Counts(t *testing.T) {
	s := newShop(t)
	a, b := draft("till", "a"), draft("till", "b", func(d *Draft) { d.Request.Currency = "EUR" })
	s.accept(a)
	s.accept(b)
	st := s.q.Stats()
	if st.Pending != 2 || st.Amounts["CNY"] != 1299 || st.Amounts["EUR"] != 1299 || st.ByState[tideover.StateQueued] != 2 ||
		st.Oldest != min(a.CreatedAt, b.CreatedAt) || st.Commits != 3 || st.Syncs != 6 {
		t.Fatalf("%+v", st)
	}
	s.end(approved(a.ID, 1))
	if st := s.q.Stats(); st.Pending != 1 || len(st.Amounts) != 1 || st.Unacknowledged != 1 || st.Lazy != 1 || st.Commits != 3 {
		t.Fatalf("%+v", st)
	}
}
