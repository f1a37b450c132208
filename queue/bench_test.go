package queue

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tideover"
	"tideover/edge"
)

// benchRequest is about as large as real ones are.
func benchRequest(till, key string) edge.Draft {
	return edge.Draft{
		ID: tideover.MakeID(testStore, till, key), TerminalUID: till, Terminal: till, Key: key, Hash: [32]byte{1},
		Request: tideover.Request{
			Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-1001", Instrument: "284512345678901234",
			ExpiresIn: 45 * time.Second, Payload: []byte(`{"items":["` + string(make([]byte, 128)) + `"]}`),
		},
		CreatedAt: 1_700_000_000_000,
	}
}

// BenchmarkAccept measures durable accepts of as many tills at once. The floor is two fdatasync, each after one write of a batch, to a
// file of zeros: the least that a bbolt commit can cost.
func BenchmarkAccept(b *testing.B) {
	for _, tills := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("floor/%d", tills), func(b *testing.B) { benchmarkFloor(b, tills) })
		b.Run(fmt.Sprintf("queue/%d", tills), func(b *testing.B) { benchmarkAccept(b, tills) })
	}
}

func benchmarkAccept(b *testing.B, tills int) {
	path := filepath.Join(b.TempDir(), "queue.db")
	if err := Create(path, testKey, Ident{Store: testStore}); err != nil {
		b.Fatal(err)
	}
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore, SizeMax: 4 << 30})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { q.Run(ctx) })
	b.ResetTimer()
	inTills(b, tills, func(till, i int) {
		if _, err := q.Accept(ctx, benchRequest(fmt.Sprint("till", till), fmt.Sprint(i)), yes); err != nil {
			b.Error(err)
		}
	})
	b.StopTimer()
	st := q.Stats()
	b.ReportMetric(float64(st.Syncs)/float64(b.N), "syncs/op")
	b.ReportMetric(float64(st.UsedBytes)/float64(b.N), "B-on-disk/op")
	stop()
	ran.Wait()
	if err := q.Close(); err != nil {
		b.Fatal(err)
	}
}

// benchmarkFloor is a committer with nothing to it: it takes what waits, writes 600 bytes for each, syncs, and syncs again.
func benchmarkFloor(b *testing.B, tills int) {
	f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const size = 64 << 20
	if _, err := fillZeros(f, 0, size); err != nil {
		b.Fatal(err)
	}
	waiting := make(chan chan struct{}, tills)
	var ran sync.WaitGroup
	ran.Go(func() {
		record, at := make([]byte, 600*tills), int64(4096)
		for first := range waiting {
			batch := []chan struct{}{first}
			for more := true; more; {
				select {
				case next := <-waiting:
					batch = append(batch, next)
				default:
					more = false
				}
			}
			if at += int64(600 * len(batch)); at > size-int64(len(record)) {
				at = 4096
			}
			f.WriteAt(record[:600*len(batch)], at)
			unix.Fdatasync(int(f.Fd()))
			f.WriteAt(record[:80], 0)
			unix.Fdatasync(int(f.Fd()))
			for _, c := range batch {
				close(c)
			}
		}
	})
	b.ResetTimer()
	inTills(b, tills, func(int, int) {
		c := make(chan struct{})
		waiting <- c
		<-c
	})
	b.StopTimer()
	close(waiting)
	ran.Wait()
}

// inTills spreads b.N calls over so many goroutines.
func inTills(b *testing.B, tills int, call func(till, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for till := range tills {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				call(till, int(i))
			}
		})
	}
	wg.Wait()
}

// BenchmarkOpen measures a cold start with 10,000 transactions pending.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "queue.db")
	if err := Create(path, testKey, Ident{Store: testStore}); err != nil {
		b.Fatal(err)
	}
	o := Options{Path: path, Key: testKey, Store: testStore}
	q, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { q.Run(ctx) })
	var wg sync.WaitGroup
	for till := range 100 {
		wg.Go(func() {
			for i := range 100 {
				if _, err := q.Accept(ctx, benchRequest(fmt.Sprint("till", till), fmt.Sprint(i)), yes); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	stop()
	ran.Wait()
	q.Close()
	for b.Loop() {
		q, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		q.db.Close()
	}
}

// BenchmarkAccept_WhileCompacting measures accepts of four tills that rest a millisecond between presses, over a journal of 50,000 pending
// transactions, alone and while it is compacted over and over.
func BenchmarkAccept_WhileCompacting(b *testing.B) {
	path := filepath.Join(b.TempDir(), "queue.db")
	if err := Create(path, testKey, Ident{Store: testStore}); err != nil {
		b.Fatal(err)
	}
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore, SizeMax: 4 << 30})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var ran, filled sync.WaitGroup
	ran.Go(func() { q.Run(ctx) })
	for till := range 64 {
		filled.Go(func() {
			for i := range 50_000 / 64 {
				q.Accept(ctx, benchRequest(fmt.Sprint("before", till), fmt.Sprint(i)), yes)
			}
		})
	}
	filled.Wait()
	for _, compacts := range []bool{false, true} {
		b.Run(fmt.Sprint("compacts=", compacts), func(b *testing.B) {
			compacting, enough := context.WithCancel(ctx)
			var compactor sync.WaitGroup
			n, stalled := 0, time.Duration(0)
			if compacts {
				compactor.Go(func() {
					for {
						c, err := q.Compact(compacting)
						if err != nil {
							return
						}
						n, stalled = n+1, max(stalled, c.Stalled)
					}
				})
			}
			took := make([]time.Duration, b.N+1)
			inTills(b, 4, func(till, i int) {
				time.Sleep(time.Millisecond)
				began := time.Now()
				if _, err := q.Accept(ctx, benchRequest(fmt.Sprint(compacts, b.N, "till", till), fmt.Sprint(i)), yes); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(began)
			})
			enough()
			compactor.Wait()
			slices.Sort(took)
			at := func(part float64) float64 { return float64(took[int(part*float64(b.N))]) / float64(time.Millisecond) }
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
			b.ReportMetric(at(1), "max-ms")
			b.ReportMetric(float64(n), "compactions")
			b.ReportMetric(float64(stalled)/float64(time.Millisecond), "stalled-max-ms")
		})
	}
	stop()
	ran.Wait()
	if err := q.Close(); err != nil {
		b.Fatal(err)
	}
}
