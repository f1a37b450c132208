package main

import (
	"context"
	"fmt"
	"strings"

	"tideover/bench/rounds"
)

// acceptSection is the durable accept through HTTP.
func acceptSection(ctx context.Context, m *measurement) (string, []verdict, error) {
	var b strings.Builder
	fmt.Fprint(&b, `From the till's POST to its 202, which says that the transaction is synced to disk; the edge reaches no hub meanwhile, and tills keep their connections. The floor is an
empty HTTP handler plus two syncs of a minimal log, since a commit of bbolt has two. *÷ sum*: the edge's median over the sum of the floors'. *÷ server*: over the
median of one server that does both, where the parts share the processors as they do in the edge. *rate*: the edge's transactions a second over that server's.

| tills | empty handler | one sync | server with two | edge, p50 | p99 | per second | **÷ sum** | ÷ server | rate |
|---|---|---|---|---|---|---|---|---|---|
`)
	var verdicts []verdict
	limits := map[int]float64{1: 1.2, 8: 1.3}
	for _, tills := range tillCounts {
		a, err := m.accept(ctx, tills)
		if err != nil {
			return "", nil, fmt.Errorf("%d tills: %w", tills, err)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %.0f | **%s** | %s | %s |\n", a.tills, rounds.P50(a.empty), rounds.P50(a.sync), rounds.P50(a.synced),
			rounds.P50(a.accept), rounds.P99(a.accept), rounds.PerSec(a.accept), a.overSum, a.overServer, a.rate)
		if limit := limits[tills]; limit > 0 {
			verdicts = append(verdicts, verdict{what: fmt.Sprintf("HTTP accept ÷ (empty handler + two syncs), %d tills", tills), is: a.overSum.Median, limit: limit})
		}
	}
	return b.String() + measured(m.options), verdicts, nil
}

// confirmSection is the round trip to the platform.
func confirmSection(ctx context.Context, m *measurement) (string, []verdict, error) {
	if err := m.live(ctx); err != nil {
		return "", nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `From the till's POST to its 200 with the platform's approval: HTTP, the edge's commit, QUIC to the hub, the claim's commit, the platform over HTTP,
the outcome's commit, and back. *÷ echo*: over a bare QUIC echo between two processes on the same loopback, which commits nothing. *÷ parts*: over the sum of what no
such round trip can do without: the echo, %d empty handlers and %d syncs.

| tills | QUIC echo | empty handler | one sync | confirmed, p50 | p99 | per second | **÷ echo** | ÷ parts |
|---|---|---|---|---|---|---|---|---|
`, confirmHandlers, confirmSyncs)
	for _, tills := range tillCounts {
		c, err := m.confirm(ctx, tills)
		if err != nil {
			return "", nil, fmt.Errorf("%d tills: %w", tills, err)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %.0f | **%s** | %s |\n", c.tills, rounds.P50(c.echo), rounds.P50(c.empty), rounds.P50(c.sync),
			rounds.P50(c.confirm), rounds.P99(c.confirm), rounds.PerSec(c.confirm), c.overEcho, c.overParts)
	}
	return b.String() + measured(m.options), nil, nil
}

// mb is a megabyte.
const mb = 1e6

// memorySection is what the edge holds after many transactions.
func memorySection(ctx context.Context, m *measurement) (string, []verdict, error) {
	if err := m.live(ctx); err != nil {
		return "", nil, err
	}
	r, err := m.memory(ctx)
	if err != nil {
		return "", nil, err
	}
	text := fmt.Sprintf(`Resident memory of the edge's process, whose budget is 40 MB: %.1f MB when it is connected, **%.1f MB** after %d transactions that were sold, confirmed
and acknowledged from eight tills, %.1f MB at its highest.
`, float64(r.fresh)/mb, float64(r.after)/mb, r.transactions, float64(r.peak)/mb)
	return text + measured(m.options), []verdict{{what: "resident memory at its highest", is: float64(r.peak) / mb, limit: 40, unit: " MB"}}, nil
}
