package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"tideover"
)

// document is docs/benchmarks.md.
func (r results) document() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# What a transaction costs

Written by `+"`make bench`"+`; `+"`bench/doc.go`"+` says how it is measured. Trust the ratios: times are those of one machine in one hour (%s, %s/%s,
%d processors, Tideover %s), medians of %d rounds of %v each, floor and product in turn within each round.

## Durable accept

From the till's POST to its 202, which says that the transaction is synced to disk; the edge reaches no hub meanwhile. The floor is an empty
HTTP handler plus two syncs of a minimal log, since a commit of bbolt has two. *÷ sum*: the edge's median over the sum of the floors'. *÷ server*: over the
median of one server that does both, where the parts share the processors as they do in the edge. *rate*: the edge's transactions a second over that server's.

| tills | empty handler | one sync | server with two | edge, p50 | p99 | per second | **÷ sum** | ÷ server | rate |
|---|---|---|---|---|---|---|---|---|---|
`, time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), tideover.Version, r.options.rounds, r.options.each)
	for _, a := range r.accepts {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %.0f | **%s** | %s | %s |\n", a.tills, p50(a.empty), p50(a.sync), p50(a.synced),
			p50(a.accept), p99(a.accept), perSec(a.accept), a.overSum, a.overServer, a.rate)
	}
	fmt.Fprintf(&b, `
## Confirmed round trip

From the till's POST to its 200 with the platform's approval: HTTP, the edge's commit, QUIC to the hub, the claim's commit, the platform over HTTP,
the outcome's commit, and back. *÷ echo*: over a bare QUIC echo between two processes on the same loopback, which commits nothing. *÷ parts*: over the sum of what no
such round trip can do without: the echo, %d empty handlers and %d syncs.

| tills | QUIC echo | empty handler | one sync | confirmed, p50 | p99 | per second | **÷ echo** | ÷ parts |
|---|---|---|---|---|---|---|---|---|
`, confirmHandlers, confirmSyncs)
	for _, c := range r.confirms {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %.0f | **%s** | %s |\n", c.tills, p50(c.echo), p50(c.empty), p50(c.sync),
			p50(c.confirm), p99(c.confirm), perSec(c.confirm), c.overEcho, c.overParts)
	}
	const mb = 1e6
	fmt.Fprintf(&b, `
## Memory

Resident memory of the edge's process, whose budget is 40 MB: %.1f MB when it is connected, **%.1f MB** after %d transactions that were sold, confirmed
and acknowledged from eight tills, %.1f MB at its highest.
`, float64(r.memory.fresh)/mb, float64(r.memory.after)/mb, r.memory.transactions, float64(r.memory.peak)/mb)
	return b.String()
}

// String writes a ratio with the range of its rounds.
func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Low, s.High) }

func p50(rounds []load) string { return median(rounds, func(l load) time.Duration { return l.P50 }) }

func p99(rounds []load) string { return median(rounds, func(l load) time.Duration { return l.P99 }) }

func median(rounds []load, of func(load) time.Duration) string {
	var all []float64
	for _, l := range rounds {
		all = append(all, float64(of(l)))
	}
	return fmt.Sprintf("%.3f ms", spreadOf(all).Median/float64(time.Millisecond))
}

func perSec(rounds []load) float64 {
	var all []float64
	for _, l := range rounds {
		all = append(all, l.PerSec)
	}
	return spreadOf(all).Median
}
