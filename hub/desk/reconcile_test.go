package desk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/ledger"
	"tideover/hub/platform"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

const day = 24 * time.Hour

// lister is a platform whose statement is as a test wants it.
type lister struct {
	platform.Platform
	list func(platform.Page) (platform.Listing, error)
}

func (l lister) List(_ context.Context, p platform.Page) (platform.Listing, error) { return l.list(p) }

// enter writes a row that ended, and was claimed, when a test says.
func (h *house) enter(name string, created, claimed, ended tideover.Millis) tideover.ID {
	h.t.Helper()
	s := sale(name)
	s.CreatedAt = created
	err := h.ledger.Update(h.t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{s.ID}, Step: func(v *ledger.View) error {
		v.Rows[0] = ledger.Row{
			Store: store, ID: s.ID, State: tideover.RowDone, Request: s, Approved: true, Acked: true, HubSeq: 1, CreatedAt: claimed, UpdatedAt: ended,
			Outcome: tideover.Outcome{Result: tideover.StateApproved, At: ended},
		}
		return nil
	}})
	if err != nil {
		h.t.Fatal(err)
	}
	return s.ID
}

// reconcile asks a desk with another platform.
func (h *house) reconcile(ctx context.Context, p platform.Platform, q wire.Reconcile) (entries []wire.Booking, b wire.Balanced, err error) {
	d := desk.New(desk.Config{Ledger: h.ledger, Platform: p, Timeout: time.Second})
	b, err = d.Reconcile(ctx, store, current, q, func(m wire.Booked) error {
		entries = append(entries, m.Entries...)
		return m.Validate()
	})
	if err == nil {
		err = b.Validate()
	}
	return entries, b, err
}

func listed(id tideover.ID, at tideover.Millis) platform.Entry {
	return platform.Entry{
		ID: id, Kind: tideover.KindSale, Amount: 100, Currency: "CNY", Result: platform.ResultApproved, Reference: "R", At: at,
	}
}

// Of a statement that cannot be read to its end nothing is told: what it would have had further on is not missing.
func TestReconcile_AStatementIsWholeOrNone(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, nil)
	now := h.ledger.Now()
	q := wire.Reconcile{From: now, To: now + 1000}
	id := h.enter("a", now, now, now)
	many := make([]platform.Entry, platform.PageMax)
	for i := range many {
		many[i] = listed(tideover.MakeID(store, "x", fmt.Sprint(i)), now)
	}
	pages := 0
	for name, c := range map[string]struct {
		p     platform.Platform
		why   string
		wants int // entries of the platform
	}{
		"whole": {lister{list: func(p platform.Page) (platform.Listing, error) {
			if p.After == "" {
				return platform.Listing{Entries: []platform.Entry{listed(id, now)}, Next: "2"}, nil
			}
			return platform.Listing{Entries: []platform.Entry{listed(id, now+5*tideover.Millis(day.Milliseconds()))}}, nil
		}}, "", 2},
		"no list": {struct{ platform.Platform }{}, "gives no statement", 0},
		"it breaks off": {lister{list: func(p platform.Page) (platform.Listing, error) {
			if p.After == "" {
				return platform.Listing{Entries: []platform.Entry{listed(id, now)}, Next: "2"}, nil
			}
			return platform.Listing{}, errors.New("the platform answered 502 4111111111111111 \xff" + strings.Repeat("x", 2000))
		}}, "502", 0},
		"it goes round": {lister{list: func(platform.Page) (platform.Listing, error) {
			return platform.Listing{Entries: []platform.Entry{listed(id, now)}, Next: "2"}, nil
		}}, "does not go on", 0},
		"without end": {lister{list: func(platform.Page) (platform.Listing, error) {
			pages++
			return platform.Listing{Next: fmt.Sprint(pages)}, nil
		}}, "4096 pages", 0},
		"too many": {lister{list: func(p platform.Page) (platform.Listing, error) {
			return platform.Listing{Entries: many, Next: p.After + "x"}, nil
		}}, "50000 entries", 0},
	} {
		t.Run(name, func(t *testing.T) {
			entries, b, err := h.reconcile(t.Context(), c.p, q)
			if err != nil || b.Ledger != 1 || b.Platform != c.wants || len(entries) != 1+c.wants || b.Statement != (c.why == "") || !strings.Contains(b.Detail, c.why) || strings.Contains(b.Detail, "4111111111111111") {
				t.Errorf("%d entries, %+v, %v", len(entries), b, err)
			}
		})
	}
}

// What moves while the statement is read is told as moving; what stands still is not.
func TestReconcile_WhatMovesMeanwhileSaysSo(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, nil)
	now := h.ledger.Now()
	stands := h.enter("stands", now, now, now)
	for h.ledger.Now() == now {
		time.Sleep(time.Millisecond)
	}
	var moves tideover.ID
	p := lister{list: func(platform.Page) (platform.Listing, error) {
		moves = h.enter("moves", now+1, h.ledger.Now(), h.ledger.Now())
		return platform.Listing{Entries: []platform.Entry{listed(stands, now)}}, nil
	}}
	entries, _, err := h.reconcile(t.Context(), p, wire.Reconcile{From: now, To: now + 1000})
	if err != nil || len(entries) != 3 {
		t.Fatalf("%+v, %v", entries, err)
	}
	for _, e := range entries {
		if e.Moving != (e.ID == moves) {
			t.Errorf("%+v", e)
		}
	}
}

// The statement is asked for the time in which the platform may have executed what was created in the time that was asked for.
func TestReconcile_AsksForTheTimeOfTheExecution(t *testing.T) {
	const slack = tideover.Millis(15 * 60 * 1000)
	days := func(n int) tideover.Millis { return tideover.Millis(n) * tideover.Millis(day.Milliseconds()) }
	at := tideover.MillisOf(time.Now()) - days(200)
	q := wire.Reconcile{From: at, To: at + days(1)}
	for name, c := range map[string]struct {
		created, claimed, ended tideover.Millis // 0: no row
		from, to                tideover.Millis
		far                     bool
	}{
		"nothing":                             {from: q.From - slack, to: q.To + slack},
		"at once":                             {at, at + 10, at + 20, q.From - slack, q.To + slack, false},
		"after an offline week":               {at, at + days(7), at + days(7) + 1, q.From - slack, q.From + days(7) + 1 + slack, false},
		"by a router that was a week ahead":   {at, at - days(7), at - days(7) + 1, q.From - days(7) - slack, q.To + slack, false},
		"settled by a person a quarter later": {at, at, at + days(90), q.From - slack, q.To + days(31) + slack, false},
		"told again to a restored ledger":     {at, at + days(100), at + 1, q.From - slack, q.To + slack, false},
		"two months later":                    {at, at + days(60), at + days(60), 0, 0, true},
		"by a router of 1970":                 {at, at - days(60), at - days(60), 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, sandbox.Options{}, nil)
			if c.created != 0 {
				h.enter("a", c.created, c.claimed, c.ended)
			}
			var asked []platform.Page
			p := lister{list: func(p platform.Page) (platform.Listing, error) {
				asked = append(asked, p)
				return platform.Listing{}, nil
			}}
			_, b, err := h.reconcile(t.Context(), p, q)
			if err != nil || b.Statement == c.far || c.far != strings.Contains(b.Detail, "31 days") {
				t.Fatalf("%+v, %v", b, err)
			}
			want := platform.Page{Store: store, From: c.from, To: c.to}
			if c.far && len(asked) != 0 || !c.far && (len(asked) != 1 || asked[0] != want) {
				t.Errorf("asked for %+v, want %+v", asked, want)
			}
		})
	}
}

func TestReconcile_EndsWithItsContextAndItsListener(t *testing.T) {
	h := newHouse(t, sandbox.Options{}, nil)
	now := h.ledger.Now()
	for i := range wire.BookedMax + 1 {
		h.enter(fmt.Sprint(i), now, now, now)
	}
	q := wire.Reconcile{From: now, To: now + 1000}
	ctx, cancel := context.WithCancel(t.Context())
	leaves := lister{list: func(platform.Page) (platform.Listing, error) { cancel(); return platform.Listing{}, ctx.Err() }}
	if entries, _, err := h.reconcile(ctx, leaves, q); !errors.Is(err, context.Canceled) || len(entries) != 0 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	broken := errors.New("the stream is gone")
	d := desk.New(desk.Config{Ledger: h.ledger, Platform: h.platform, Timeout: time.Second})
	said := 0
	if _, err := d.Reconcile(t.Context(), store, current, q, func(wire.Booked) error { said++; return broken }); !errors.Is(err, broken) || said != 1 {
		t.Errorf("said %d times, %v", said, err)
	}
	if _, err := d.Reconcile(t.Context(), store, [16]byte{1}, q, nil); !errors.Is(err, ledger.ErrSuperseded) {
		t.Errorf("an earlier process: %v", err)
	}
}
