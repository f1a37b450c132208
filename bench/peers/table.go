package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"tideover/bench/rounds"
)

// table is what a run found.
type table struct {
	counts   []count
	versions []string // of the peers that are here
	skipped  []string // those that are not, with the reason
}

// section is the table as docs/benchmarks.md has it.
func (t table) section(o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, `## The queue beside other stores

The same durable accept without HTTP: a record of %d bytes is synced to disk before its client is answered and puts the next one. The
floor is the same records appended to a file of zeros by one committer with one fdatasync a batch, taken beside each store within the same seconds. *rate*: the
store's records a second over the floor's; *p50*: its median over the floor's. `+"`bench/peers/doc.go`"+` says what is compared, and what is not fair about
it. Measured %s, %s/%s, %d processors, medians of %d rounds of %v each, a new store in each round:
%s.

| clients | store | p50 | p99 | per second | **rate ÷ floor** | p50 ÷ floor |
|---|---|---|---|---|---|---|
`, rounds.RecordBytes, time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), o.rounds, o.each,
		strings.Join(t.versions, ", "))
	for _, c := range t.counts {
		var floor []rounds.Load
		for _, f := range c.peers {
			floor = append(floor, f.floor...)
		}
		row(&b, c.clients, "floor", floor, "1", "1")
		for _, f := range c.peers {
			row(&b, c.clients, f.name, f.took, rounds.SpreadOf(f.rate).String(), rounds.SpreadOf(f.p50).String())
		}
	}
	if len(t.skipped) > 0 {
		fmt.Fprintf(&b, "\nNot measured: %s.\n", strings.Join(t.skipped, "; "))
	}
	return b.String()
}

func row(b *strings.Builder, clients int, name string, took []rounds.Load, rate, p50 string) {
	fmt.Fprintf(b, "| %d | %s | %s | %s | %.0f | **%s** | %s |\n",
		clients, name, rounds.P50(took), rounds.P99(took), rounds.PerSec(took), rate, p50)
}
