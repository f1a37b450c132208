package rounds

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Load is what a number of tills did in a stretch of time.
type Load struct {
	P50, P99 time.Duration
	PerSec   float64
}

// Operation is what a till does again and again.
type Operation func(ctx context.Context, till int) error

// Press lets each till do one operation after the other until enough says so, given how many it has done and how long all have been
// at it. The first error ends it.
func Press(ctx context.Context, tills int, enough func(n int, since time.Duration) bool, op Operation) (Load, error) {
	var p presses
	if err := p.add(ctx, tills, enough, op); err != nil {
		return Load{}, err
	}
	return p.load(), nil
}

// presses are what tills did so far, and how long that took in all.
type presses struct {
	took    []time.Duration
	elapsed time.Duration
}

// add lets tills press once more.
func (p *presses) add(ctx context.Context, tills int, enough func(n int, since time.Duration) bool, op Operation) error {
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
	p.elapsed += time.Since(begin)
	for _, t := range took {
		p.took = append(p.took, t...)
	}
	return context.Cause(ctx)
}

func (p *presses) load() Load {
	slices.Sort(p.took)
	n := len(p.took)
	if n == 0 {
		return Load{}
	}
	return Load{P50: p.took[n/2], P99: p.took[n*99/100], PerSec: float64(n) / p.elapsed.Seconds()}
}

// Lasting is enough after a time.
func Lasting(d time.Duration) func(int, time.Duration) bool {
	return func(_ int, since time.Duration) bool { return since >= d }
}

// Each is enough after a number of operations by each till.
func Each(n int) func(int, time.Duration) bool {
	return func(done int, _ time.Duration) bool { return done >= n }
}

// Spread is the median of some figures with their range.
type Spread struct{ Median, Low, High float64 }

// SpreadOf takes at least one figure.
func SpreadOf(figures []float64) Spread {
	s := slices.Sorted(slices.Values(figures))
	return Spread{Median: s[len(s)/2], Low: s[0], High: s[len(s)-1]}
}

// String writes the median with the range.
func (s Spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Low, s.High) }

// median is of one figure of the rounds.
func median(all []Load, figure func(Load) float64) float64 {
	var figures []float64
	for _, l := range all {
		figures = append(figures, figure(l))
	}
	return SpreadOf(figures).Median
}

// P50 and P99 are the medians of the rounds', written in milliseconds; PerSec is that of their rates.
func P50(all []Load) string { return milliseconds(all, func(l Load) time.Duration { return l.P50 }) }

// P99 is like [P50].
func P99(all []Load) string { return milliseconds(all, func(l Load) time.Duration { return l.P99 }) }

// PerSec is like [P50].
func PerSec(all []Load) float64 { return median(all, func(l Load) float64 { return l.PerSec }) }

func milliseconds(all []Load, figure func(Load) time.Duration) string {
	m := median(all, func(l Load) float64 { return float64(figure(l)) })
	return fmt.Sprintf("%.3f ms", m/float64(time.Millisecond))
}

// Ratio is how many times b is in a.
func Ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// turns is into how many the time of an operation is cut: what slows a shared machine down for a second slows all operations down.
const turns = 5

// Interleave lets so many tills do each operation for a time, in turn, after a quarter of that as a warm-up of all.
func Interleave(ctx context.Context, tills int, each time.Duration, ops []Operation) ([]Load, error) {
	for _, op := range ops {
		if _, err := Press(ctx, tills, Lasting(each/4), op); err != nil {
			return nil, err
		}
	}
	all := make([]presses, len(ops))
	for range turns {
		for i, op := range ops {
			if err := all[i].add(ctx, tills, Lasting(each/turns), op); err != nil {
				return nil, err
			}
		}
	}
	took := make([]Load, len(ops))
	for i := range all {
		took[i] = all[i].load()
	}
	return took, nil
}
