package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync/atomic"

	"github.com/quic-go/quic-go"

	"tideover/bench/rounds"
)

// tillCounts are the numbers of tills that press at the same time.
var tillCounts = []int{1, 8, 64}

// measurement holds the floors and the house for as long as a run lasts.
type measurement struct {
	options options
	dir     string // of everything that is written meanwhile
	house   *house // nil until a section needs it, as are the floors
	floor   string // URL of the HTTP floors
	echo    *quic.Conn
	sync    *rounds.Floor
	presses atomic.Int64 // makes each key a new one
	closers []func()
}

// live starts everything that the sections about running programs need, once; what it started before it failed is ended by close.
func (m *measurement) live(ctx context.Context) (err error) {
	if m.house != nil {
		return nil
	}
	say("building and enrolling")
	m.house = &house{dir: m.dir}
	m.closers = append(m.closers, m.house.stop)
	if err := m.house.open(ctx); err != nil {
		return err
	}
	addr, stop, err := child(ctx, "floor", m.dir)
	if err != nil {
		return err
	}
	m.floor = "http://" + addr
	m.closers = append(m.closers, stop)
	if addr, stop, err = child(ctx, "echo", m.dir); err != nil {
		return err
	}
	m.closers = append(m.closers, stop)
	if m.echo, err = dialEcho(ctx, addr); err != nil {
		return err
	}
	m.sync, stop, err = runFloor(ctx, m.dir)
	m.closers = append(m.closers, stop)
	return err
}

// runFloor starts a floor of one sync a batch in a folder.
func runFloor(ctx context.Context, dir string) (f *rounds.Floor, stop func(), err error) {
	if f, err = rounds.NewFloor(dir, 1); err != nil {
		return nil, func() {}, err
	}
	syncing, stopSync := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(syncing)
	}()
	return f, func() {
		stopSync()
		<-ended
		f.Close()
	}, nil
}

// cut ends the hub: from here on what is measured is accepting alone, as in an outage.
func (m *measurement) cut(ctx context.Context) error {
	if err := m.live(ctx); err != nil {
		return err
	}
	m.house.cut()
	return nil
}

func (m *measurement) close() {
	for _, c := range slices.Backward(m.closers) {
		c()
	}
}

// name makes one for a folder or a store that nothing had before.
func (m *measurement) name(of string) string { return fmt.Sprintf("%s-%d", of, m.presses.Add(1)) }

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
		e, err := m.house.startEdge(ctx, m.name("accept"))
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
	e, err := m.house.startEdge(ctx, m.name("confirm"))
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
	e, err := m.house.startEdge(ctx, m.name("memory"))
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
