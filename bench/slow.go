package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tideover/bench/rounds"
	"tideover/internal/lab/disk"
)

const (
	// slowSync is what a sync takes on the slow disk: that of cheap flash.
	slowSync = 8 * time.Millisecond
	// slowBytes is the size of the slow disk, which is in memory.
	slowBytes = 256 << 20
	// slowRoundsMax bounds the rounds there: its sync is always the same.
	slowRoundsMax = 3
)

// slowSection is the accept on a disk whose sync takes 8 ms.
func slowSection(ctx context.Context, m *measurement) (text string, verdicts []verdict, err error) {
	dir := filepath.Join(m.dir, "slow")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	stop, err := disk.Start(dir, disk.Options{SyncDelay: slowSync, Bytes: slowBytes})
	if err != nil {
		return noDisk(fmt.Errorf("%w: %w", errNoDisk, err))
	}
	defer func() { err = errors.Join(err, stop()) }()
	var b strings.Builder
	fmt.Fprintf(&b, `A file system in user space whose sync takes %v, as that of cheap flash does. *syncs*: the median of an accept over that of one sync there, measured in the same rounds; two are
what a commit of bbolt has. Without it a commit that takes only who is there would make it four.

| tills | one sync | queue alone, p50 | **syncs** | per second | through HTTP, p50 | **syncs** | per second |
|---|---|---|---|---|---|---|---|
`, slowSync)
	times := min(m.options.rounds, slowRoundsMax)
	for _, tills := range tillCounts {
		floor, err := m.oneSync(ctx, dir, times)
		if err != nil {
			return "", nil, err
		}
		r, err := m.compare(ctx, dir, tills, times, m.options.each)
		if err != nil {
			return "", nil, fmt.Errorf("%d tills: %w", tills, err)
		}
		served, err := m.acceptOn(ctx, dir, tills, times)
		if err != nil {
			return "", nil, fmt.Errorf("%d tills: %w", tills, err)
		}
		queue, http := over(r.took, floor), over(served, floor)
		fmt.Fprintf(&b, "| %d | %s | %s | **%.2f** | %.0f | %s | **%.2f** | %.0f |\n", tills, rounds.P50(floor),
			rounds.P50(r.took), queue, rounds.PerSec(r.took), rounds.P50(served), http, rounds.PerSec(served))
		verdicts = append(verdicts, verdict{what: fmt.Sprintf("the queue alone on a disk of %v, %d tills", slowSync, tills), is: queue, limit: 2.1, unit: " syncs"})
	}
	return b.String() + measured(m.options), verdicts, nil
}

// over is how many times the median of one is in that of the other.
func over(a, b []rounds.Load) float64 {
	p50 := func(all []rounds.Load) float64 {
		var figures []float64
		for _, l := range all {
			figures = append(figures, float64(l.P50))
		}
		return rounds.SpreadOf(figures).Median
	}
	return p50(a) / p50(b)
}

// oneSync is what a single writer's sync takes in a folder.
func (m *measurement) oneSync(ctx context.Context, dir string, times int) (all []rounds.Load, err error) {
	floor, stop, err := runFloor(ctx, dir)
	defer stop()
	if err != nil {
		return nil, err
	}
	for range times {
		l, err := rounds.Press(ctx, 1, rounds.Lasting(m.options.each/2), committing(floor))
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// acceptOn is the accept through HTTP by an edge whose state lies in a folder.
func (m *measurement) acceptOn(ctx context.Context, dir string, tills, times int) (all []rounds.Load, err error) {
	name := m.name("slow")
	m.house.states = map[string]string{name: filepath.Join(dir, name)}
	e, err := m.house.startEdge(ctx, name)
	if err != nil {
		return nil, err
	}
	defer e.kill()
	clients := newTills(tills)
	for round := range times {
		say("a slow disk, %d tills, round %d", tills, round+1)
		l, err := rounds.Press(ctx, tills, rounds.Lasting(m.options.each), m.accepting(clients, e.url+"/v1/transactions"))
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}
