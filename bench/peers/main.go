package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"tideover/bench/rounds"
)

// clientCounts are the numbers of clients that put at the same time.
var clientCounts = []int{1, 8, 64}

// options of a run.
type options struct {
	rounds int
	each   time.Duration // of each measurement in a round
	dir    string        // on the disk that is measured
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var o options
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 7, "rounds of each measurement; the median counts")
	flags.DurationVar(&o.each, "each", time.Second, "length of one measurement within a round")
	flags.StringVar(&o.dir, "dir", "", "folder on the disk to measure; default: a temporary one")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	section, err := measure(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		return 2
	}
	fmt.Print(section)
	return 0
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "peers: "+format+"\n", args...) }

// measurement holds the floor for as long as a run lasts.
type measurement struct {
	options options
	dir     string
	floor   *rounds.Floor
	numbers atomic.Uint64 // makes each record a new one
}

// measure measures everything and returns the section that it makes of docs/benchmarks.md.
func measure(ctx context.Context, o options) (string, error) {
	dir, err := os.MkdirTemp(o.dir, "tideover-peers-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	// A server that runs as somebody else goes through here to its own folder.
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", err
	}
	m := &measurement{options: o, dir: dir}
	if m.floor, err = rounds.NewFloor(dir, 1); err != nil {
		return "", err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go m.floor.Run(ctx)

	var t table
	for _, p := range peers {
		if why := p.absent(); why != "" {
			t.skipped = append(t.skipped, p.name+": "+why)
		} else if v := p.version(); !slices.Contains(t.versions, v) {
			t.versions = append(t.versions, v)
		}
	}
	for _, clients := range clientCounts {
		all, err := m.all(ctx, clients)
		if err != nil {
			return "", err
		}
		t.counts = append(t.counts, all)
	}
	return t.section(o), nil
}

// figures are what one peer did in all rounds with so many clients, beside the floor of the same seconds.
type figures struct {
	name        string
	floor, took []rounds.Load
	p50, rate   []float64 // over the floor's
}

// count is all peers with so many clients.
type count struct {
	clients int
	peers   []*figures
}

// all measures each peer that is here, in turn within each round.
func (m *measurement) all(ctx context.Context, clients int) (count, error) {
	c := count{clients: clients}
	byName := map[string]*figures{}
	for round := range m.options.rounds {
		for _, p := range peers {
			if p.absent() != "" {
				continue
			}
			say("%s, %d clients, round %d", p.name, clients, round+1)
			if byName[p.name] == nil {
				byName[p.name] = &figures{name: p.name}
				c.peers = append(c.peers, byName[p.name])
			}
			if err := m.one(ctx, p, clients, byName[p.name]); err != nil {
				return c, fmt.Errorf("%s, %d clients: %w", p.name, clients, err)
			}
		}
	}
	return c, nil
}

// one is a peer's turn in a round: on a store that holds nothing yet, beside the floor.
func (m *measurement) one(ctx context.Context, p peer, clients int, f *figures) (err error) {
	dir := filepath.Join(m.dir, "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := p.open(ctx, dir, clients)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	took, err := rounds.Interleave(ctx, clients, m.options.each, []rounds.Operation{
		func(context.Context, int) error { return m.floor.Commit(record(m.numbers.Add(1))) },
		func(ctx context.Context, client int) error { return s.put(ctx, client, m.numbers.Add(1)) },
	})
	if err != nil {
		return err
	}
	floor, put := took[0], took[1]
	f.floor, f.took = append(f.floor, floor), append(f.took, put)
	f.p50, f.rate = append(f.p50, rounds.Ratio(put.P50, floor.P50)), append(f.rate, put.PerSec/floor.PerSec)
	return nil
}
