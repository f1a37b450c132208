package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// load is what a number of tills did in a stretch of time.
type load struct {
	P50, P99 time.Duration
	PerSec   float64
}

// operation is what a till does again and again.
type operation func(ctx context.Context, till int) error

// press lets each till do one operation after the other until enough says so, given how many it has done and how long all have been
// at it. The first error ends it.
func press(ctx context.Context, tills int, enough func(n int, since time.Duration) bool, op operation) (load, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([][]time.Duration, tills)
	var all sync.WaitGroup
	begin := time.Now()
	for till := range tills {
		all.Go(func() {
			for n := 0; !enough(n, time.Since(begin)) && ctx.Err() == nil; n++ {
				start := time.Now()
				if err := op(ctx, till); err != nil {
					cancel(err)
					return
				}
				took[till] = append(took[till], time.Since(start))
			}
		})
	}
	all.Wait()
	elapsed := time.Since(begin).Seconds()
	if err := context.Cause(ctx); err != nil {
		return load{}, err
	}
	flat := slices.Sorted(func(yield func(time.Duration) bool) {
		for _, till := range took {
			for _, t := range till {
				if !yield(t) {
					return
				}
			}
		}
	})
	return load{P50: flat[len(flat)/2], P99: flat[len(flat)*99/100], PerSec: float64(len(flat)) / elapsed}, nil
}

// lasting is enough after a time.
func lasting(d time.Duration) func(int, time.Duration) bool {
	return func(_ int, since time.Duration) bool { return since >= d }
}

// each is enough after a number of operations by each till.
func each(n int) func(int, time.Duration) bool {
	return func(done int, _ time.Duration) bool { return done >= n }
}

// spread is the median of some figures with their range.
type spread struct{ Median, Low, High float64 }

func spreadOf(figures []float64) spread {
	s := slices.Sorted(slices.Values(figures))
	return spread{Median: s[len(s)/2], Low: s[0], High: s[len(s)-1]}
}
