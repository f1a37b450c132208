package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() { os.Exit(run(os.Args[1:])) }

// options of a run.
type options struct {
	rounds       int
	each         time.Duration // of each measurement in a round
	transactions int           // before the edge's memory is read
	out          string
	dir          string // of everything that is written meanwhile; on the disk that is measured
	peers        string // folder of the module that measures other stores; empty: they are not measured
	role         string
}

func run(args []string) int {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 7, "rounds of each measurement; the median counts")
	flags.DurationVar(&o.each, "each", time.Second, "length of one measurement within a round")
	flags.IntVar(&o.transactions, "transactions", 10_000, "transactions before the edge's memory is read")
	flags.StringVar(&o.out, "out", "docs/benchmarks.md", "document to write; empty: none")
	flags.StringVar(&o.dir, "dir", "", "folder on the disk to measure; default: a temporary one")
	flags.StringVar(&o.peers, "peers", "bench/peers", "module that measures the queue beside other stores; empty: not measured")
	flags.StringVar(&o.role, "role", "", "used by this program for its own child processes")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := play(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}
	return 0
}

// play does what the role says; without one it measures everything.
func play(ctx context.Context, o options) error {
	switch o.role {
	case "floor":
		return serveFloor(o.dir)
	case "echo":
		return serveEcho()
	case "":
	default:
		return fmt.Errorf("there is no role %q", o.role)
	}
	// First, before anything else runs here; and what it needs from elsewhere is missed before the minutes of the rest.
	section, err := peers(ctx, o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "tideover-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m, err := newMeasurement(ctx, o, dir)
	if err != nil {
		return err
	}
	defer m.close()
	results, err := m.all(ctx)
	if err != nil {
		return err
	}
	document := results.document() + section
	fmt.Print(document)
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(document), 0o644)
}
