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
	"tideover/sandbox"
)

// overlapTrip is the time from the edge to the hub and back, as of a mobile line.
const overlapTrip = 20 * time.Millisecond

// overlapSection is a confirmed sale with overlap over one without, on a slow disk and a line that takes its time.
func overlapSection(ctx context.Context, m *measurement) (text string, verdicts []verdict, err error) {
	if err := m.live(ctx); err != nil {
		return "", nil, err
	}
	dir := filepath.Join(m.dir, "overlap")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	stop, err := disk.Start(dir, disk.Options{SyncDelay: slowSync, Bytes: slowBytes})
	if err != nil {
		return noDisk(fmt.Errorf("%w: %w", errNoDisk, err))
	}
	defer func() { err = errors.Join(err, stop()) }()
	line, err := sandbox.NewCable(m.house.hubAddr, 1)
	if err != nil {
		return "", nil, err
	}
	line.Set(sandbox.Weather{Delay: overlapTrip / 2})
	carrying, hangUp := context.WithCancel(ctx)
	carried := make(chan error, 1)
	go func() { carried <- line.Run(carrying) }()
	defer func() { hangUp(); err = errors.Join(err, <-carried) }()

	var b strings.Builder
	fmt.Fprintf(&b, `From the till's POST to its 200 with the platform's approval, by two edges that differ in `+"`[hub] overlap`"+` alone, pressed in turn: on a disk whose sync takes %v and over a line
that takes %v to the hub and back. A commit has two syncs, and the hub's own two commits, HTTP and the platform come on top: without overlap a sale costs the sum, with it the longer of the two.

| tills | one sync | without, p50 | p99 | with, p50 | p99 | **with ÷ without** |
|---|---|---|---|---|---|---|
`, slowSync, overlapTrip)
	with, err := m.overlapping(ctx, dir, line.Addr(), true)
	if err != nil {
		return "", nil, err
	}
	defer with.kill()
	without, err := m.overlapping(ctx, dir, line.Addr(), false)
	if err != nil {
		return "", nil, err
	}
	defer without.kill()
	for _, tills := range tillCounts {
		r, err := m.overlap(ctx, dir, tills, with, without)
		if err != nil {
			return "", nil, fmt.Errorf("%d tills: %w", tills, err)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | **%s** |\n", tills, rounds.P50(r.sync), rounds.P50(r.without), rounds.P99(r.without),
			rounds.P50(r.with), rounds.P99(r.with), r.ratio)
		if tills == 1 {
			verdicts = append(verdicts, verdict{what: "a confirmed sale with overlap ÷ without", is: r.ratio.Median, limit: 0.75})
		}
	}
	return b.String() + measured(m.options), verdicts, nil
}

// overlapping starts an edge on the slow disk and at the end of the long line.
func (m *measurement) overlapping(ctx context.Context, dir, hub string, on bool) (*router, error) {
	name := m.name("overlap")
	h := m.house
	h.states = map[string]string{name: filepath.Join(dir, name)}
	addr, err := h.configureEdge(name, name)
	if err != nil {
		return nil, err
	}
	if err := h.enroll(ctx, name); err != nil {
		return nil, err
	}
	path := h.path(name + ".toml")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	changed := strings.Replace(string(text), fmt.Sprintf("addresses = [%q]\n", h.hubAddr), fmt.Sprintf("addresses = [%q]\noverlap = %t\n", hub, on), 1)
	if changed == string(text) {
		return nil, errors.New("the edge's configuration has no addresses of a hub")
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		return nil, err
	}
	e, err := h.run(ctx, name, addr)
	if err != nil {
		return nil, err
	}
	if err := e.connected(ctx); err != nil {
		e.kill()
		return nil, err
	}
	return e, nil
}

// overlaps are rounds with and without.
type overlaps struct {
	sync, with, without []rounds.Load
	ratio               rounds.Spread
}

func (m *measurement) overlap(ctx context.Context, dir string, tills int, with, without *router) (r overlaps, err error) {
	floor, stop, err := runFloor(ctx, dir)
	defer stop()
	if err != nil {
		return r, err
	}
	clients := newTills(tills)
	selling := func(e *router) rounds.Operation {
		return func(ctx context.Context, i int) error {
			_, err := clients[i].confirmed(ctx, e.url, m.key())
			return err
		}
	}
	var ratios []float64
	for round := range min(m.options.rounds, slowRoundsMax) {
		say("overlap, %d tills, round %d", tills, round+1)
		took, err := rounds.Interleave(ctx, tills, m.options.each, []rounds.Operation{committing(floor), selling(without), selling(with)})
		if err != nil {
			return r, err
		}
		r.sync, r.without, r.with = append(r.sync, took[0]), append(r.without, took[1]), append(r.with, took[2])
		ratios = append(ratios, rounds.Ratio(took[2].P50, took[1].P50))
	}
	r.ratio = rounds.SpreadOf(ratios)
	return r, nil
}
