package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"tideover"
	"tideover/bench/rounds"
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
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %.0f | **%s** | %s | %s |\n", a.tills, rounds.P50(a.empty), rounds.P50(a.sync), rounds.P50(a.synced),
			rounds.P50(a.accept), rounds.P99(a.accept), rounds.PerSec(a.accept), a.overSum, a.overServer, a.rate)
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
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %.0f | **%s** | %s |\n", c.tills, rounds.P50(c.echo), rounds.P50(c.empty), rounds.P50(c.sync),
			rounds.P50(c.confirm), rounds.P99(c.confirm), rounds.PerSec(c.confirm), c.overEcho, c.overParts)
	}
	const mb = 1e6
	fmt.Fprintf(&b, `
## Memory

Resident memory of the edge's process, whose budget is 40 MB: %.1f MB when it is connected, **%.1f MB** after %d transactions that were sold, confirmed
and acknowledged from eight tills, %.1f MB at its highest.
`, float64(r.memory.fresh)/mb, float64(r.memory.after)/mb, r.memory.transactions, float64(r.memory.peak)/mb)
	return b.String()
}
