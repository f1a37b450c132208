package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/quic-go/quic-go"

	"tideover/bench/rounds"
)

// tillCounts are the numbers of tills that press at the same time.
var tillCounts = []int{1, 8, 64}

// measurement holds the floors and the house for as long as a run lasts.
type measurement struct {
	options options
	house   *house
	floor   string // URL of the HTTP floors
	echo    *quic.Conn
	sync    *rounds.Floor
	presses atomic.Int64 // makes each key a new one
	closers []func()
}

func newMeasurement(ctx context.Context, o options, dir string) (*measurement, error) {
	m := &measurement{options: o}
	if err := m.prepare(ctx, dir); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// prepare starts everything; what it started before it failed is ended by close.
func (m *measurement) prepare(ctx context.Context, dir string) (err error) {
	say("building and enrolling")
	m.house = &house{dir: dir}
	m.closers = append(m.closers, m.house.stop)
	if err := m.house.open(ctx); err != nil {
		return err
	}
	addr, stop, err := child(ctx, "floor", dir)
	if err != nil {
		return err
	}
	m.floor = "http://" + addr
	m.closers = append(m.closers, stop)
	if addr, stop, err = child(ctx, "echo", dir); err != nil {
		return err
	}
	m.closers = append(m.closers, stop)
	if m.echo, err = dialEcho(ctx, addr); err != nil {
		return err
	}
	if m.sync, err = rounds.NewFloor(dir, 1); err != nil {
		return err
	}
	syncing, stopSync := context.WithCancel(ctx)
	go m.sync.Run(syncing)
	m.closers = append(m.closers, stopSync)
	return nil
}

func (m *measurement) close() {
	for _, c := range m.closers {
		c()
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

// key returns one that no till has used before.
func (m *measurement) key() string { return fmt.Sprintf("bench-%d", m.presses.Add(1)) }

// accepting returns the operation of posting a sale that is answered 202 at once.
func (m *measurement) accepting(tills []till, url string) rounds.Operation {
	return func(ctx context.Context, i int) error {
		_, err := tills[i].sell(ctx, url, m.key(), "0", http.StatusAccepted)
		return err
	}
}

// results of a whole run.
type results struct {
	accepts  []accepts
	confirms []confirms
	memory   memory
	options  options
}

func (m *measurement) all(ctx context.Context) (r results, err error) {
	r.options = m.options
	for _, tills := range tillCounts {
		c, err := m.confirm(ctx, tills)
		if err != nil {
			return r, fmt.Errorf("confirmed round trip, %d tills: %w", tills, err)
		}
		r.confirms = append(r.confirms, c)
	}
	if r.memory, err = m.memory(ctx); err != nil {
		return r, fmt.Errorf("memory: %w", err)
	}
	// From here on the cable is cut: what is measured is accepting alone, as in an outage.
	m.house.cut()
	for _, tills := range tillCounts {
		a, err := m.accept(ctx, tills)
		if err != nil {
			return r, fmt.Errorf("durable accept, %d tills: %w", tills, err)
		}
		r.accepts = append(r.accepts, a)
	}
	return r, nil
}

// accepts is the durable accept through HTTP, and its floors.
type accepts struct {
	tills                       int
	empty, sync, synced, accept []rounds.Load
	overSum, overServer, rate   rounds.Spread // p50 over p50s of the same round; the edge's rate over the synced handler's
}

// accept measures 202s of an edge that reaches no hub, each round on an empty queue.
func (m *measurement) accept(ctx context.Context, tills int) (accepts, error) {
	r := accepts{tills: tills}
	clients := newTills(tills)
	var sum, server, rate []float64
	for round := range m.options.rounds {
		say("durable accept, %d tills, round %d", tills, round+1)
		e, err := m.house.startEdge(ctx, fmt.Sprintf("accept-%d-%d", tills, round))
		if err != nil {
			return r, err
		}
		took, err := rounds.Interleave(ctx, tills, m.options.each, []rounds.Operation{
			m.accepting(clients, m.floor+"/empty"),
			func(context.Context, int) error { return m.sync.Commit(record) },
			m.accepting(clients, m.floor+"/synced"),
			m.accepting(clients, e.url+"/v1/transactions"),
		})
		e.kill()
		if err != nil {
			return r, err
		}
		empty, sync, synced, accept := took[0], took[1], took[2], took[3]
		r.empty, r.sync = append(r.empty, empty), append(r.sync, sync)
		r.synced, r.accept = append(r.synced, synced), append(r.accept, accept)
		sum = append(sum, rounds.Ratio(accept.P50, empty.P50+2*sync.P50))
		server = append(server, rounds.Ratio(accept.P50, synced.P50))
		rate = append(rate, accept.PerSec/synced.PerSec)
	}
	r.overSum, r.overServer, r.rate = rounds.SpreadOf(sum), rounds.SpreadOf(server), rounds.SpreadOf(rate)
	return r, nil
}

// confirms is the round trip to an approval, and its floors.
type confirms struct {
	tills                      int
	echo, empty, sync, confirm []rounds.Load
	overEcho, overParts        rounds.Spread // p50 over p50s of the same round
}

// A confirmed transaction has no choice but to make these: a commit at the edge and two at the hub, of two syncs each; HTTP from till to
// edge and from hub to platform.
const (
	confirmSyncs    = 6
	confirmHandlers = 2
)

// confirm measures 200s of an edge, hub and platform that answer at once.
func (m *measurement) confirm(ctx context.Context, tills int) (confirms, error) {
	r := confirms{tills: tills}
	e, err := m.house.startEdge(ctx, fmt.Sprintf("confirm-%d", tills))
	if err != nil {
		return r, err
	}
	defer end(e.cmd)
	if err := e.connected(ctx); err != nil {
		return r, err
	}
	clients := newTills(tills)
	var overEcho, overParts []float64
	for round := range m.options.rounds {
		say("confirmed round trip, %d tills, round %d", tills, round+1)
		took, err := rounds.Interleave(ctx, tills, m.options.each, []rounds.Operation{
			func(ctx context.Context, _ int) error { return echo(ctx, m.echo) },
			m.accepting(clients, m.floor+"/empty"),
			func(context.Context, int) error { return m.sync.Commit(record) },
			func(ctx context.Context, i int) error {
				_, err := clients[i].confirmed(ctx, e.url, m.key())
				return err
			},
		})
		if err != nil {
			return r, err
		}
		echo, empty, sync, confirm := took[0], took[1], took[2], took[3]
		r.echo, r.empty = append(r.echo, echo), append(r.empty, empty)
		r.sync, r.confirm = append(r.sync, sync), append(r.confirm, confirm)
		overEcho = append(overEcho, rounds.Ratio(confirm.P50, echo.P50))
		overParts = append(overParts, rounds.Ratio(confirm.P50, echo.P50+confirmHandlers*empty.P50+confirmSyncs*sync.P50))
	}
	r.overEcho, r.overParts = rounds.SpreadOf(overEcho), rounds.SpreadOf(overParts)
	return r, nil
}

// memory is the edge's, in bytes.
type memory struct {
	fresh, after, peak int64
	transactions       int
}

// memory reads the resident memory of an edge after eight tills have sold, heard and acknowledged.
func (m *measurement) memory(ctx context.Context) (r memory, err error) {
	say("memory after %d transactions", m.options.transactions)
	e, err := m.house.startEdge(ctx, "memory")
	if err != nil {
		return r, err
	}
	defer end(e.cmd)
	if err := e.connected(ctx); err != nil {
		return r, err
	}
	if r.fresh, _, err = e.rssBytes(); err != nil {
		return r, err
	}
	clients := newTills(8)
	perTill := m.options.transactions / len(clients)
	_, err = rounds.Press(ctx, len(clients), rounds.Each(perTill), func(ctx context.Context, i int) error {
		tx, err := clients[i].confirmed(ctx, e.url, m.key())
		if err != nil {
			return err
		}
		return clients[i].acknowledge(ctx, e.url, tx)
	})
	if err != nil {
		return r, err
	}
	r.transactions = perTill * len(clients)
	r.after, r.peak, err = e.rssBytes()
	return r, err
}
