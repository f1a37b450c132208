package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tideover"
	"tideover/bench/rounds"
	"tideover/edge"
	"tideover/queue"
)

// shop is the store of the queues that are measured without a program around them.
const shop = "shop-0001"

// queueSizeMax is what no such queue reaches.
const queueSizeMax = 8 << 30

// alone is a queue in this process.
type alone struct {
	*queue.Queue
	path   string
	opened time.Duration // how long that took
	end    func() error
}

// openAlone opens the queue in a folder, or makes it there.
func openAlone(dir string, o queue.Options) (*alone, error) {
	o.Path, o.Key, o.Store, o.SizeMax = filepath.Join(dir, "queue.db"), queue.OneKey([32]byte{1}), shop, queueSizeMax
	if _, err := os.Stat(o.Path); errors.Is(err, os.ErrNotExist) {
		if err := queue.Create(o.Path, o.Key, queue.Ident{Store: shop}); err != nil {
			return nil, err
		}
	}
	begin := time.Now()
	q, err := queue.Open(o)
	if err != nil {
		return nil, err
	}
	a := &alone{Queue: q, path: o.Path, opened: time.Since(begin)}
	ctx, stop := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	var failed error
	ran.Go(func() { failed = q.Run(ctx) })
	a.end = func() error {
		stop()
		ran.Wait()
		return errors.Join(failed, q.Close())
	}
	return a, nil
}

// payload makes an entry of the journal as large as the floor's records: what it has beside it is some 250 bytes.
var payload = []byte(`{"filler":"` + strings.Repeat("x", rounds.RecordBytes-250-13) + `"}`)

// draftOf is a usual sale, accepted now.
func draftOf(till, key string) edge.Draft {
	return edge.Draft{
		ID: tideover.MakeID(shop, till, key), TerminalUID: till, Terminal: till, Key: key, Hash: [32]byte{1},
		Request: tideover.Request{
			Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-" + key, ExpiresIn: 45 * time.Second, Payload: payload,
		},
		CreatedAt: tideover.MillisOf(time.Now()),
	}
}

// accept is what the queue alone does for a till: rules let everything through.
func (a *alone) accept(ctx context.Context, till int, key string) (tideover.Transaction, error) {
	return a.Accept(ctx, draftOf(fmt.Sprint("till-", till), key), func(queue.View) error { return nil })
}

// accepting returns that as an operation.
func (m *measurement) acceptingAlone(a *alone) rounds.Operation {
	return func(ctx context.Context, till int) error {
		_, err := a.accept(ctx, till, m.key())
		return err
	}
}

// committing returns the floor's operation.
func committing(f *rounds.Floor) rounds.Operation {
	return func(context.Context, int) error { return f.Commit(record) }
}

// compared are the queue alone and the floor, in turn.
type compared struct {
	floor, took []rounds.Load
	p50, rate   rounds.Spread // over the floor's
}

// compare measures them in a folder, each round on an empty queue.
func (m *measurement) compare(ctx context.Context, dir string, tills, times int, each time.Duration) (r compared, err error) {
	floor, stop, err := runFloor(ctx, dir)
	defer stop()
	if err != nil {
		return r, err
	}
	var p50, rate []float64
	for round := range times {
		say("the queue alone, %d tills, round %d", tills, round+1)
		took, err := m.beside(ctx, dir, tills, each, floor)
		if err != nil {
			return r, err
		}
		r.floor, r.took = append(r.floor, took[0]), append(r.took, took[1])
		p50 = append(p50, rounds.Ratio(took[1].P50, took[0].P50))
		rate = append(rate, took[1].PerSec/took[0].PerSec)
	}
	r.p50, r.rate = rounds.SpreadOf(p50), rounds.SpreadOf(rate)
	return r, nil
}

func (m *measurement) beside(ctx context.Context, dir string, tills int, each time.Duration, floor *rounds.Floor) (took []rounds.Load, err error) {
	inside := filepath.Join(dir, m.name("queue"))
	if err := os.Mkdir(inside, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(inside)
	a, err := openAlone(inside, queue.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.end()) }()
	return rounds.Interleave(ctx, tills, each, []rounds.Operation{committing(floor), m.acceptingAlone(a)})
}

// aloneSection is the queue beside the floor.
func aloneSection(ctx context.Context, m *measurement) (string, []verdict, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `The durable accept without HTTP, in one process: tills wait for their record's commit. The floor is records of %d bytes appended to a file of zeros by one committer
with one fdatasync a batch; a commit of bbolt has two, so that *p50* over the floor's cannot be below 2 with one till.

| tills | floor, p50 | per second | queue, p50 | p99 | per second | **p50 ÷ floor** | **rate ÷ floor** |
|---|---|---|---|---|---|---|---|
`, rounds.RecordBytes)
	var verdicts []verdict
	for _, tills := range tillCounts {
		r, err := m.compare(ctx, m.dir, tills, m.options.rounds, m.options.each)
		if err != nil {
			return "", nil, fmt.Errorf("%d tills: %w", tills, err)
		}
		fmt.Fprintf(&b, "| %d | %s | %.0f | %s | %s | %.0f | **%s** | **%s** |\n", tills, rounds.P50(r.floor), rounds.PerSec(r.floor),
			rounds.P50(r.took), rounds.P99(r.took), rounds.PerSec(r.took), r.p50, r.rate)
		verdicts = append(verdicts, verdict{what: fmt.Sprintf("the queue alone ÷ floor, p50, %d tills", tills), is: r.p50.Median, limit: 2.3})
		if tills == 64 {
			verdicts = append(verdicts, verdict{what: "the queue alone ÷ floor, rate, 64 tills", is: r.rate.Median, limit: 0.35, least: true})
		}
	}
	return b.String() + measured(m.options), verdicts, nil
}
