package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"tideover"
	"tideover/bench/rounds"
	"tideover/queue"
)

// crowd is how many fill a queue at once.
const crowd = 256

// outageSection is an edge in which very many transactions wait for the hub.
func outageSection(ctx context.Context, m *measurement) (string, []verdict, error) {
	n := m.options.pending / 64 * 64
	opened, err := m.openTimes(ctx, n)
	if err != nil {
		return "", nil, err
	}
	say("%d transactions wait", n)
	name := m.name("outage")
	full, err := m.house.startEdge(ctx, name)
	if err != nil {
		return "", nil, err
	}
	if _, err := rounds.Press(ctx, 64, rounds.Each(n/64), m.accepting(newTills(64), full.url+"/v1/transactions")); err != nil {
		full.kill()
		return "", nil, err
	}
	_, peak, err := full.rssBytes()
	end(full.cmd)
	if err != nil {
		return "", nil, err
	}
	begin := time.Now()
	if full, err = m.house.run(ctx, name, strings.TrimPrefix(full.url, "http://")); err != nil {
		return "", nil, err
	}
	start := time.Since(begin)
	defer full.kill()
	again, _, err := full.rssBytes()
	if err != nil {
		return "", nil, err
	}
	text := fmt.Sprintf(`%[1]d sales are accepted while no hub can be reached, and none of them is forgotten. Opening such a journal, with each page, link and digest checked, takes **%.2[2]f s** with the file in
the page cache; the edge's process answers %.2[3]f s after its start. Its resident memory is **%.1[4]f MB** when the last one is accepted, and %.1[5]f MB after a restart.

The accept meanwhile, over that of an edge with an empty queue in the same rounds:

| tills | empty queue, p50 | p99 | full queue, p50 | p99 | **÷ empty** |
|---|---|---|---|---|---|
`, n, opened.Seconds(), start.Seconds(), float64(peak)/mb, float64(again)/mb)
	verdicts := []verdict{{what: fmt.Sprintf("opening %d pending", n), is: opened.Seconds(), limit: 1, unit: " s"}}
	empty, err := m.house.startEdge(ctx, m.name("empty"))
	if err != nil {
		return "", nil, err
	}
	defer empty.kill()
	for _, tills := range []int{1, 8} {
		row, v, err := m.besideEmpty(ctx, tills, empty.url, full.url)
		if err != nil {
			return "", nil, err
		}
		v.what = fmt.Sprintf("accept with %d pending ÷ with none, %d tills", n, tills)
		text, verdicts = text+row, append(verdicts, v)
	}
	now, _, err := full.rssBytes()
	if err != nil {
		return "", nil, err
	}
	text += fmt.Sprintf("\nAfter these its memory is %.1f MB.\n", float64(now)/mb)
	return text + measured(m.options), verdicts, nil
}

// besideEmpty compares the accepts of two edges.
func (m *measurement) besideEmpty(ctx context.Context, tills int, empty, full string) (row string, v verdict, err error) {
	clients := newTills(tills)
	var a, b []rounds.Load
	var ratio []float64
	for round := range m.options.rounds {
		say("beside an empty queue, %d tills, round %d", tills, round+1)
		took, err := rounds.Interleave(ctx, tills, m.options.each, []rounds.Operation{
			m.accepting(clients, empty+"/v1/transactions"), m.accepting(clients, full+"/v1/transactions"),
		})
		if err != nil {
			return "", v, err
		}
		a, b = append(a, took[0]), append(b, took[1])
		ratio = append(ratio, rounds.Ratio(took[1].P50, took[0].P50))
	}
	over := rounds.SpreadOf(ratio)
	row = fmt.Sprintf("| %d | %s | %s | %s | %s | **%s** |\n", tills, rounds.P50(a), rounds.P99(a), rounds.P50(b), rounds.P99(b), over)
	return row, verdict{is: over.Median, limit: 1.3}, nil
}

// openTimes is how long it takes to open a queue in which so many wait: the median of three.
func (m *measurement) openTimes(ctx context.Context, n int) (time.Duration, error) {
	say("a queue in which %d wait is opened", n)
	dir, err := os.MkdirTemp(m.dir, "open-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	var times []time.Duration
	for i := range 4 {
		a, err := openAlone(dir, queue.Options{})
		if err != nil {
			return 0, err
		}
		if i == 0 {
			_, err = rounds.Press(ctx, crowd, rounds.Each(max(1, n/crowd)), m.acceptingAlone(a))
		} else {
			times = append(times, a.opened)
		}
		if err = errors.Join(err, a.end()); err != nil {
			return 0, err
		}
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// drainedSection is a queue that has seen very many transactions to their end.
func drainedSection(ctx context.Context, m *measurement) (text string, verdicts []verdict, err error) {
	dir, err := os.MkdirTemp(m.dir, "drained-")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(dir)
	before := heapBytes()
	full, err := openAlone(dir, queue.Options{})
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, full.end()) }()
	n := m.options.drained
	if err := m.drain(ctx, full, n); err != nil {
		return "", nil, err
	}
	held := heapBytes() - before
	st := full.Stats()
	text = fmt.Sprintf(`A journal that has seen %d sales accepted, ended, delivered and acknowledged, and holds nothing open. Its file has %.0f MB, of which %.0f are in use; what memory holds of it is
**%.0f MB**. The accept of the queue alone, over that of an empty one in the same rounds:

| tills | empty, p50 | p99 | drained, p50 | p99 | **÷ empty** |
|---|---|---|---|---|---|
`, n, float64(st.FileBytes)/mb, float64(st.UsedBytes)/mb, float64(held)/mb)
	for _, tills := range []int{1, 8, 64} {
		row, v, err := m.besideNew(ctx, tills, full)
		if err != nil {
			return "", nil, err
		}
		v.what = fmt.Sprintf("accept after %d ÷ on an empty queue, %d tills", n, tills)
		text, verdicts = text+row, append(verdicts, v)
	}
	return text + measured(m.options), verdicts, nil
}

// besideNew compares a queue with one that is empty at first, each round anew.
func (m *measurement) besideNew(ctx context.Context, tills int, full *alone) (row string, v verdict, err error) {
	var a, b []rounds.Load
	var ratio []float64
	for round := range m.options.rounds {
		say("beside an empty queue, %d tills, round %d", tills, round+1)
		took, err := m.oneBesideNew(ctx, tills, full)
		if err != nil {
			return "", v, err
		}
		a, b = append(a, took[0]), append(b, took[1])
		ratio = append(ratio, rounds.Ratio(took[1].P50, took[0].P50))
	}
	over := rounds.SpreadOf(ratio)
	row = fmt.Sprintf("| %d | %s | %s | %s | %s | **%s** |\n", tills, rounds.P50(a), rounds.P99(a), rounds.P50(b), rounds.P99(b), over)
	return row, verdict{is: over.Median, limit: 1.3}, nil
}

func (m *measurement) oneBesideNew(ctx context.Context, tills int, full *alone) (took []rounds.Load, err error) {
	dir, err := os.MkdirTemp(m.dir, "new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	empty, err := openAlone(dir, queue.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, empty.end()) }()
	return rounds.Interleave(ctx, tills, m.options.each, []rounds.Operation{m.acceptingAlone(empty), m.acceptingAlone(full)})
}

// drain sees so many transactions to their end.
func (m *measurement) drain(ctx context.Context, a *alone, n int) error {
	each := max(1, n/crowd)
	_, err := rounds.Press(ctx, crowd, rounds.Each(each), func(ctx context.Context, till int) error {
		tx, err := a.accept(ctx, till, m.key())
		if err != nil {
			return err
		}
		if err := a.tell(tx.ID, uint64(m.presses.Add(1))); err != nil {
			return err
		}
		if tx, err = a.Get(tx.ID); err != nil {
			return err
		}
		if tx.State != tideover.StateApproved {
			return fmt.Errorf("transaction %s is %s", tx.ID, tx.State)
		}
		a.Delivered(tx.ID, tx.Seq)
		_, err = a.Acknowledge(ctx, tx.ID, tx.Seq)
		return err
	})
	return err
}

// heapBytes is what this process holds in memory.
func heapBytes() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
