package bolt_test

import (
	"fmt"
	"sync"
	"testing"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// What is told of a store is all that has no end, and nothing else: open rows, and what needs a person.
func TestLedger_OpenOfAStore(t *testing.T) {
	l, _ := open(t, create(t))
	if err := l.AddStore(t.Context(), ledger.Store{Name: "shop-0002", Secret: [32]byte{8}}); err != nil {
		t.Fatal(err)
	}
	hello(t, l, "shop-0002")
	ended, open, person := request("ended"), request("open"), request("person")
	for _, s := range []wire.Submit{ended, open, person} {
		claim(t, l, s)
	}
	record(t, l, ended)
	step := func(name string, id tideover.ID, do func(*ledger.View)) {
		t.Helper()
		err := l.Update(t.Context(), ledger.Update{Store: name, IDs: []tideover.ID{id}, Step: func(v *ledger.View) error { do(v); return nil }})
		if err != nil {
			t.Fatal(err)
		}
	}
	other := tideover.MakeID("shop-0002", "t1", "k")
	step("shop-0002", other, func(v *ledger.View) {
		s := request("k")
		s.ID = other
		v.Claim(s, current, ledger.Lease{Owner: l.Owner()})
	})
	old := request("old")
	old.CreatedAt = 1
	step(store, old.ID, func(v *ledger.View) { // what is older than the ledger's memory needs a person
		v.Store.PrunedBefore = 2
		v.Claim(old, current, ledger.Lease{Owner: l.Owner()})
	})
	got := func(limit int) map[string]wire.Open {
		t.Helper()
		rows, complete, err := l.Open(store, limit)
		if err != nil || complete != (limit >= 3) || len(rows) != min(limit, 3) {
			t.Fatalf("of 3 rows %d, complete %v, %v", len(rows), complete, err)
		}
		all := map[string]wire.Open{}
		for _, o := range rows {
			if err := o.Validate(); err != nil || o.Submit.Request.Instrument == "" {
				t.Errorf("%+v: %v", o, err)
			}
			all[o.Submit.Key] = o
		}
		return all
	}
	all := got(100)
	if all["open"].State != tideover.StatePending || all["person"].State != tideover.StatePending || all["old"].State != tideover.StateManual {
		t.Errorf("told: %+v", all)
	}
	got(3)
	got(2)
	got(0)
	record(t, l, open)
	record(t, l, person)
	if rows, complete, err := l.Open(store, 100); err != nil || !complete || len(rows) != 1 {
		t.Errorf("after their ends: %d rows, %v, %v", len(rows), complete, err)
	}
}

// BenchmarkLedger_Open is what a hello costs that asks for what has no end: of a store with 16 such rows, in ledgers of any size.
func BenchmarkLedger_Open(b *testing.B) {
	for _, rows := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			l, _ := open(b, create(b))
			next := make(chan int)
			var g sync.WaitGroup
			for range 1024 {
				g.Go(func() {
					for i := range next {
						s := request(fmt.Sprint("bench-", i))
						claim(b, l, s)
						if i >= 16 {
							record(b, l, s)
						}
					}
				})
			}
			for i := range rows {
				next <- i
			}
			close(next)
			g.Wait()
			b.ResetTimer()
			for range b.N {
				if open, complete, err := l.Open(store, 10_000); err != nil || !complete || len(open) != 16 {
					b.Fatal(len(open), complete, err)
				}
			}
		})
	}
}
