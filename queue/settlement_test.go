package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
)

const morning = tideover.Millis(1_790_000_000_000)

// report is a till's report with n items, which ends at to.
func report(till, key string, to tideover.Millis, n int) Report {
	r := Report{
		ID: tideover.SettlementID(testStore, till, key), TerminalUID: till, Terminal: "name of " + till, Key: key,
		Settlement: tideover.Settlement{To: to, Totals: []tideover.SettlementTotal{
			{Kind: tideover.KindSale, Currency: "CNY", Count: int64(n), Amount: int64(n) * 100},
		}},
	}
	for i := range n {
		item := tideover.SettlementItem{
			ID: tideover.MakeID(testStore, till, fmt.Sprint(i)), Kind: tideover.KindSale, Amount: 100, Currency: "CNY", State: tideover.StateApproved,
		}
		if i%2 == 0 {
			item.Key = fmt.Sprint(i)
		}
		r.Items = append(r.Items, item)
	}
	r.Hash = r.Settlement.Hash([]byte("s"))
	return r
}

func (s *shop) report(r Report, otherwise tideover.Millis) Report {
	s.t.Helper()
	on, replayed, err := s.q.Report(s.t.Context(), r, otherwise, 0)
	if err != nil || replayed {
		s.t.Fatalf("%v, replayed %v", err, replayed)
	}
	return on
}

func TestReport_IsOnDiskBeforeItIsAnswered(t *testing.T) {
	s := newShop(t)
	s.accept(draft("till", "a"))
	big := s.report(report("till", "day", morning.Add(time.Hour), SettlementItemsMax), morning)
	if big.From != morning || big.At == 0 {
		t.Fatalf("have %v, %v", big.From, big.At)
	}
	s.crash() // what a kill leaves
	on, err := s.q.ReadReport(big.ID)
	if err != nil || !reflect.DeepEqual(on, big) {
		t.Fatalf("read back: %v, %d items", err, len(on.Items))
	}
	again, replayed, err := s.q.Report(t.Context(), report("till", "day", morning.Add(time.Hour), SettlementItemsMax), 7, 0)
	if err != nil || !replayed || !reflect.DeepEqual(again, big) {
		t.Errorf("repeated: %v, %v, from %v", err, replayed, again.From)
	}
	other := report("till", "day", morning.Add(2*time.Hour), 1)
	_, _, err = s.q.Report(t.Context(), other, morning, 0)
	if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code != tideover.CodeKeyReused {
		t.Errorf("another report under the key: %v", err)
	}
	if _, err := s.q.ReadReport(tideover.ID{1}); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if _, err := s.q.Get(big.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("it is a transaction: %v", err)
	}
}

func TestReport_BeginsWhereTheLastOneEnds(t *testing.T) {
	s := newShop(t)
	noon, evening := morning.Add(4*time.Hour), morning.Add(10*time.Hour)
	s.report(report("till", "1", noon, 1), morning)
	s.report(report("other", "1", evening, 1), morning)
	s.reopen()
	if r := s.report(report("till", "2", evening, 1), morning); r.From != noon {
		t.Errorf("from %v, not %v", r.From, noon)
	}
	if r := s.report(report("till", "3", noon, 1), morning); r.From != morning { // the clock was set back
		t.Errorf("from %v, not %v", r.From, morning)
	}
	r, _, err := s.q.Report(t.Context(), report("till", "4", evening.Add(100*24*time.Hour), 1), morning, evening)
	if err != nil || r.From != evening {
		t.Errorf("after months from %v, %v", r.From, err)
	}
	given := report("till", "5", evening, 1)
	given.From = morning - 1
	if r = s.report(given, noon); r.From != morning-1 {
		t.Errorf("from %v, which was given", r.From)
	}
	if have := s.q.Reports(noon, evening); len(have) != 3 { // not those that end at noon, nor what begins in the evening
		t.Errorf("%d reports", len(have))
	}
}

func TestReport_IsTakenOnceHoweverManyPressAtOnce(t *testing.T) {
	s := newShop(t)
	var fresh, repeated int
	var mu sync.Mutex
	var wg sync.WaitGroup
	begins := map[tideover.Millis]int{}
	for i := range 40 {
		wg.Go(func() {
			r := report("till", fmt.Sprint(i%4), morning.Add(time.Duration(1+i%4)*time.Hour), 3)
			on, replayed, err := s.q.Report(t.Context(), r, morning, 0)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if replayed {
				repeated++
				return
			}
			fresh++
			begins[on.From]++
		})
	}
	wg.Wait()
	if fresh != 4 || repeated != 36 {
		t.Errorf("%d fresh, %d repeated", fresh, repeated)
	}
	for from, n := range begins { // each began where the one before it ended, but for those that end before it
		if from != morning && n > 1 {
			t.Errorf("%d begin at %v", n, from)
		}
	}
}

func TestReport_HasALimitADay(t *testing.T) {
	s := newShop(t)
	for i := range ReportsDayMax {
		s.report(report("till", fmt.Sprint(i), morning, 0), 1)
	}
	_, _, err := s.q.Report(t.Context(), report("till", "more", morning, 0), 1, 0)
	if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code != tideover.CodeTooManyRequests || r.RetryAfter == 0 {
		t.Errorf("one more: %v", err)
	}
	if _, replayed, err := s.q.Report(t.Context(), report("till", "3", morning, 0), 1, 0); err != nil || !replayed {
		t.Errorf("a known one: %v, %v", replayed, err)
	}
	s.report(report("other", "1", morning, 0), 1)
}

// TestBetween_MissesNothingHoweverTheClockWasSet compares with a look at everything.
func TestBetween_MissesNothingHoweverTheClockWasSet(t *testing.T) {
	s := newShop(t)
	dice := rand.New(rand.NewPCG(1, 2))
	at := morning
	type made struct {
		id tideover.ID
		at tideover.Millis
	}
	var all []made
	for i := range 3 * strideLen {
		switch dice.IntN(40) {
		case 0:
			at = at.Add(time.Duration(dice.IntN(48)-24) * time.Hour)
		default:
			at = at.Add(time.Duration(dice.IntN(20)) * time.Second)
		}
		d := draft("till", fmt.Sprint(i), func(d *edge.Draft) { d.CreatedAt = at })
		s.accept(d)
		all = append(all, made{d.ID, at})
	}
	// The hub knows one of them from another time.
	moved := draft("till", "5", func(d *edge.Draft) { d.CreatedAt = morning.Add(-1000 * time.Hour) })
	if err := s.q.End(Told{Position: Position{moved.ID, 1}, Outcome: tideover.Outcome{Result: tideover.StateApproved}, Adopt: &moved}); err != nil {
		t.Fatal(err)
	}
	s.flush()
	all[5].at = s.get(moved.ID).CreatedAt
	for round := range 60 {
		if round == 30 {
			s.reopen()
		}
		from := all[dice.IntN(len(all))].at
		to := from.Add(time.Duration(dice.IntN(7200)) * time.Second)
		if round%7 == 0 {
			to = from + 1
		}
		var want, have []tideover.ID
		for _, m := range all {
			if from <= m.at && m.at < to {
				want = append(want, m.id)
			}
		}
		err := s.q.Between(t.Context(), from, to, func(tx tideover.Transaction) error {
			have = append(have, tx.ID)
			return nil
		})
		order := func(a, b tideover.ID) int { return slices.Compare(a[:], b[:]) }
		slices.SortFunc(want, order)
		slices.SortFunc(have, order)
		if err != nil || !slices.Equal(want, have) {
			t.Fatalf("%v to %v: %d, want %d, %v", from, to, len(have), len(want), err)
		}
	}
	stop := errors.New("stop")
	if err := s.q.Between(t.Context(), 0, 1<<60, func(tideover.Transaction) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestBetween_ReadsWhatItNeeds: an hour of a long journal is found without reading the whole.
func TestBetween_ReadsWhatItNeeds(t *testing.T) {
	var s strides
	for i := range 40 * strideLen {
		s.add(uint64(i), morning.Add(time.Duration(i)*time.Second))
	}
	if n := len(s.touching(morning.Add(time.Hour), morning.Add(2*time.Hour))); n < 3600/strideLen || n > 3600/strideLen+2 {
		t.Errorf("%d strides for an hour of %d sales", n, 3600)
	}
}

// A full disk refuses reports, and leaves the room that ends and acknowledgements need.
func TestReport_AFullDiskIsSaid(t *testing.T) {
	s := newShop(t)
	s.close()
	s.open(Options{SizeMax: 2 << 20})
	s.accept(draft("till", "a"))
	taken := 0
	var err error
	for ; taken < 40 && err == nil; taken++ {
		_, _, err = s.q.Report(t.Context(), report("till", fmt.Sprint(taken), morning, 2000), 1, 0)
	}
	if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code != tideover.CodeStorageFull || taken < 2 {
		t.Fatalf("after %d reports: %v", taken, err)
	}
	refused := tideover.SettlementID(testStore, "till", fmt.Sprint(taken-1))
	if _, err := s.q.ReadReport(refused); !errors.Is(err, ErrUnknown) {
		t.Errorf("the refused one: %v", err)
	}
	if _, err := s.q.ReadReport(tideover.SettlementID(testStore, "till", "0")); err != nil {
		t.Errorf("one that was taken: %v", err)
	}
	id := tideover.MakeID(testStore, "till", "a")
	s.end(approved(id, 1))
	if _, err := s.q.Acknowledge(t.Context(), id, s.get(id).Seq); err != nil {
		t.Errorf("an acknowledgement: %v", err)
	}
	s.reopen()
}
