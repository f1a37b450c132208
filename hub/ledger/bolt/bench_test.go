package bolt_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	bbolt "go.etcd.io/bbolt"
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
