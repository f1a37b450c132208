package bolt_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"tideover"
	"tideover/wire"
)

// BenchmarkLedger_Claim measures durable claims by as many callers at once as the name says; "alone" is one commit for each.
func BenchmarkLedger_Claim(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l, _ := open(b, create(b))
			next := make(chan int)
			var g sync.WaitGroup
			for range callers {
				g.Go(func() {
					for i := range next {
						claim(b, l, request(fmt.Sprint("bench-", i)))
					}
				})
			}
			before, _ := l.Stats()
			b.ResetTimer()
			for i := range b.N {
				next <- i
			}
			close(next)
			g.Wait()
			b.StopTimer()
			after, _ := l.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
			b.ReportMetric(float64(after.Commits-before.Commits)/float64(b.N), "commits/claim")
		})
	}
	b.Run("alone", func(b *testing.B) {
		db, err := bbolt.Open(filepath.Join(b.TempDir(), "floor.db"), 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		value := make([]byte, 600)
		for i := range b.N {
			err := db.Update(func(tx *bbolt.Tx) error {
				bucket, err := tx.CreateBucketIfNotExists([]byte("rows"))
				if err != nil {
					return err
				}
				id := request(fmt.Sprint("bench-", i)).ID
				return bucket.Put(id[:], value)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
	})
}

// BenchmarkLedger_Booked reads one day of 5,000 out of sixty, by the books, and by reading every row of the store instead.
func BenchmarkLedger_Booked(b *testing.B) {
	const days, each, day = 60, 5000, 86_400_000
	l, _ := open(b, create(b))
	fillBooks(b, l, store, days*each, func(i int) tideover.Millis { return tideover.Millis(1 + i/each*day + i%each*17_000) })
	b.Run("books", func(b *testing.B) {
		for range b.N {
			if got := books(b, l, store, 30*day, 31*day, wire.BookedMax); len(got) != each {
				b.Fatalf("%d rows", len(got))
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		for range b.N {
			if got, err := l.Acknowledged(store, (days-1)*each); err != nil || len(got) != each {
				b.Fatalf("%d rows, %v", len(got), err)
			}
		}
	})
}
