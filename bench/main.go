package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"tideover/internal/lab/disk"
)

func main() {
	disk.Serve() // in a child of this program that has a disk
	os.Exit(run(os.Args[1:]))
}

// options of a run.
type options struct {
	rounds       int
	each         time.Duration // of each measurement in a round
	transactions int           // before the edge's memory is read
	out          string
	dir          string        // of everything that is written meanwhile; on the disk that is measured
	pending      int           // transactions of a long outage
	drained      int           // transactions of a long life
	hour         time.Duration // that a quiet hour takes here
	only         string        // sections, separated by commas; empty: all
	strict       bool          // a missed limit is an error
	peers        string        // folder of the module that measures other stores; empty: they are not measured
	role, job    string
}

func run(args []string) int {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 7, "rounds of each measurement; the median counts")
	flags.DurationVar(&o.each, "each", time.Second, "length of one measurement within a round")
	flags.IntVar(&o.transactions, "transactions", 10_000, "transactions before the edge's memory is read")
	flags.IntVar(&o.pending, "pending", 100_000, "transactions that wait in a long outage")
	flags.IntVar(&o.drained, "drained", 1_000_000, "transactions that a journal has seen to their end")
	flags.DurationVar(&o.hour, "hour", 36*time.Second, "how long a quiet hour takes here: all its times are as much shorter")
	flags.StringVar(&o.only, "only", "", "sections to measure, separated by commas: "+strings.Join(sectionNames(), ", ")+"; default: all")
	flags.BoolVar(&o.strict, "strict", false, "exit with status 1 where a limit is missed")
	flags.StringVar(&o.out, "out", "docs/benchmarks.md", "document to write; empty: none")
	flags.StringVar(&o.dir, "dir", "", "folder on the disk to measure; default: a temporary one")
	flags.StringVar(&o.peers, "peers", "bench/peers", "module that measures the queue beside other stores; empty: not measured")
	flags.StringVar(&o.job, "job", "", "what a child process does, as JSON")
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
	case "work":
		var j job
		if err := json.Unmarshal([]byte(o.job), &j); err != nil {
			return err
		}
		return work(ctx, o.dir, j)
	case "":
	default:
		return fmt.Errorf("there is no role %q", o.role)
	}
	all, err := chosen(o.only)
	if err != nil {
		return err
	}
	written, err := readDocument(o.out)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "tideover-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &measurement{options: o, dir: dir}
	defer m.close()
	verdicts, err := m.sections(ctx, all, written)
	if err != nil {
		return err
	}
	missed := 0
	for _, v := range verdicts {
		fmt.Fprintln(os.Stderr, v)
		if !v.kept() {
			missed++
		}
	}
	if missed > 0 && o.strict {
		return fmt.Errorf("%d limits of %d are missed", missed, len(verdicts))
	}
	return nil
}

// sections measures one after the other. Each is written as soon as it is known: what an interrupted run has measured stays.
func (m *measurement) sections(ctx context.Context, all []section, written document) (verdicts []verdict, err error) {
	for _, s := range all {
		if s.cut {
			if err := m.cut(ctx); err != nil {
				return nil, err
			}
		}
		text, found, err := s.measure(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		verdicts = append(verdicts, found...)
		if text == "" {
			continue
		}
		fmt.Printf("## %s\n\n%s\n", s.title, text)
		written[s.title] = text
		if m.options.out == "" {
			continue
		}
		if err := os.WriteFile(m.options.out, []byte(written.String()), 0o644); err != nil {
			return nil, err
		}
	}
	return verdicts, nil
}
