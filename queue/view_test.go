package queue

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tideover"
	"tideover/edge"
)

// sight drives a queue, and compares what the rules see of it with what loops over all transactions find.
type sight struct {
	s      *shop
	drafts map[tideover.ID]edge.Draft // of what is there, as the journal has it
	disk   map[tideover.ID]edge.Draft // of what a crash leaves
	hubSeq uint64
}

// Whatever happens to transactions, through crashes too: what is taken of each original, what is like each press and what the shop has taken
// on are what the transactions themselves add up to.
func TestView_AddsUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &sight{s: newShop(t), drafts: map[tideover.ID]edge.Draft{}, disk: map[tideover.ID]edge.Draft{}}
		defer m.s.close()
		m.remember(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"":       m.compare,
			"accept": m.accept,
			"end":    m.end,
			"acknowledge": func(t *rapid.T) {
				id := m.pick(t)
				if tx := m.s.get(id); tx.Final() {
					if _, err := m.s.q.Acknowledge(m.s.t.Context(), id, tx.Seq); err != nil {
						t.Fatal(err)
					}
					m.flush()
				}
			},
			"cancel": func(t *rapid.T) {
				_, _ = m.s.q.Cancel(m.s.t.Context(), m.pick(t), unheard, edge.By{}, 0) // refused where it was acknowledged
				m.flush()
			},
			"adopt": func(t *rapid.T) {
				d := m.draft(t)
				if old, known := m.drafts[d.ID]; known && old.Hash == d.Hash {
					t.Skip("the same")
				}
				if err := m.s.q.Adopt(d); err != nil {
					t.Fatal(err)
				}
				m.drafts[d.ID] = d
			},
			"flush":  func(*rapid.T) { m.flush() },
			"reopen": func(t *rapid.T) { m.s.reopen(); m.flush(); m.remember(t) },
			"crash": func(t *rapid.T) {
				m.s.crash()
				m.drafts = map[tideover.ID]edge.Draft{}
				maps.Copy(m.drafts, m.disk)
				m.remember(t)
			},
		})
	})
}

func (m *sight) remember(t *rapid.T) {
	if err := m.s.q.Remember(time.Hour, byWall); err != nil {
		t.Fatal(err)
	}
}

func (m *sight) flush() {
	m.s.flush()
	maps.Copy(m.disk, m.drafts)
}

func (m *sight) pick(t *rapid.T) tideover.ID {
	id := tideover.MakeID(testStore, "till", rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "key"))
	if _, known := m.drafts[id]; !known {
		t.Skip("unknown")
	}
	return id
}

// draft makes a press: of the first keys sales, of the others refunds and reversals of those.
func (m *sight) draft(t *rapid.T) edge.Draft {
	key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "key")
	return draft("till", key, func(d *edge.Draft) {
		d.Request.Amount = int64(rapid.IntRange(1, 2).Draw(t, "amount"))
		d.Request.Order = rapid.SampledFrom([]string{"", "A-1"}).Draw(t, "order")
		d.Request.Instrument = rapid.SampledFrom([]string{"", "28451234"}).Draw(t, "instrument")
		if key >= "c" {
			d.Request.Kind = rapid.SampledFrom([]tideover.Kind{tideover.KindRefund, tideover.KindReversal}).Draw(t, "kind")
			d.Request.Original = tideover.MakeID(testStore, "till", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "original"))
		}
		d.InstrumentHash = tideover.InstrumentHash([]byte("s"), d.Request.Instrument)
	})
}

func (m *sight) accept(t *rapid.T) {
	d := m.draft(t)
	if _, known := m.drafts[d.ID]; known {
		t.Skip("known")
	}
	m.s.accept(d)
	m.drafts[d.ID] = d
	m.flush()
}

func (m *sight) end(t *rapid.T) {
	id := m.pick(t)
	result := rapid.SampledFrom([]tideover.State{tideover.StateApproved, tideover.StateDeclined, tideover.StateReversed}).Draw(t, "result")
	m.hubSeq++
	e := told(id, m.hubSeq, result)
	e.Asked, e.Corrected = true, true
	_ = m.s.q.End(e) // refused where it cannot follow
}

func (m *sight) compare(t *rapid.T) {
	undone, open, sum := map[tideover.ID]Undone{}, 0, int64(0)
	for id := range m.drafts {
		tx := m.s.get(id)
		if !tx.Final() {
			open++
			sum += tx.Amount
		}
		approved := tx.State == tideover.StateApproved
		if !tx.Kind.Undoes() || tx.Final() && !approved {
			continue
		}
		u := undone[tx.Original]
		switch {
		case tx.Kind == tideover.KindReversal:
			u.Reversal = true
		case approved:
			u.Refunded += tx.Amount
		default:
			u.Refunding += tx.Amount
		}
		undone[tx.Original] = u
	}
	probe := m.draft(t)
	probe.ID = tideover.ID{1}
	m.s.q.mu.Lock()
	defer m.s.q.mu.Unlock()
	v := View{queue: m.s.q, batch: &batch{}}
	if count, amount := v.Open(); count != open || amount["CNY"] != sum {
		t.Fatalf("exposure %d, %v; want %d, %d", count, amount, open, sum)
	}
	for _, key := range []string{"a", "b"} {
		id := tideover.MakeID(testStore, "till", key)
		if got := v.Undone(id); got != undone[id] {
			t.Fatalf("of %s: %+v; want %+v", key, got, undone[id])
		}
	}
	alike := map[tideover.ID]bool{}
	for r := range v.Alike(&probe) {
		if alike[r.ID] {
			t.Fatalf("%s twice", r.ID)
		}
		alike[r.ID] = true
	}
	for id, d := range m.drafts {
		r, err := m.s.q.find(id)
		if err != nil {
			t.Fatal(err)
		}
		if want := likeEachOther(&probe, &d) && (!r.Final() || r.State == tideover.StateApproved); alike[id] != want {
			t.Fatalf("%s is like %+v: %v, want %v", d.Key, probe.Request, alike[id], want)
		}
		delete(alike, id)
	}
	if len(alike) > 0 {
		t.Fatalf("nobody pressed %v", alike)
	}
}

func likeEachOther(a, b *edge.Draft) bool {
	p, q := a.Request, b.Request
	switch {
	case p.Kind == tideover.KindReversal, p.Kind != q.Kind, p.Amount != q.Amount, p.Currency != q.Currency:
		return false
	case p.Instrument == "" && p.Order == "":
		return q.Instrument == "" && q.Order == ""
	}
	return p.Instrument != "" && p.Instrument == q.Instrument || p.Order != "" && p.Order == q.Order
}

// byWall is an age by the wall clock.
func byWall(r edge.Record) time.Duration { return time.Since(r.CreatedAt.Time()) }

// A wall clock that was set in between makes nothing older: a till's second press after a restart is still known as one.
func TestRemember_GoesByTheAgeThatItIsTold(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k", func(d *edge.Draft) { d.CreatedAt = 1000 }) // 1970
	s.accept(d)
	s.end(approved(d.ID, 1))
	if _, err := s.q.Acknowledge(t.Context(), d.ID, s.get(d.ID).Seq); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	for want, age := range map[int]time.Duration{0: 2 * time.Minute, 1: time.Minute - time.Second} {
		if err := s.q.Remember(time.Minute, func(edge.Record) time.Duration { return age }); err != nil {
			t.Fatal(err)
		}
		if n := len(s.q.album.recent); n != want {
			t.Errorf("%d are known of an age of %s, want %d", n, age, want)
		}
		s.reopen()
	}
}

// What is closed is known for as long as it was asked to be, and no longer; what is open for ever.
func TestRemember_ForgetsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		if err := s.q.Remember(time.Minute, byWall); err != nil {
			t.Fatal(err)
		}
		closed, open := draft("till", "closed"), draft("till", "open")
		s.accept(closed)
		s.accept(open)
		s.end(approved(closed.ID, 1))
		if _, err := s.q.Acknowledge(t.Context(), closed.ID, s.get(closed.ID).Seq); err != nil {
			t.Fatal(err)
		}
		seen := func(want ...tideover.ID) {
			t.Helper()
			next := draft("till", fmt.Sprint("next ", time.Now()), func(d *edge.Draft) { d.InstrumentHash = closed.InstrumentHash })
			var have []tideover.ID
			_, _ = s.q.Accept(t.Context(), next, func(v View) error {
				for r := range v.Alike(&next) {
					have = append(have, r.ID)
				}
				return tideover.Refuse(tideover.CodeSuspectedDuplicate, "no", "不")
			})
			byID := func(a, b tideover.ID) int { return bytes.Compare(a[:], b[:]) }
			slices.SortFunc(have, byID)
			slices.SortFunc(want, byID)
			if !slices.Equal(have, want) {
				t.Fatalf("after %s: %v, want %v", time.Since(closed.CreatedAt.Time()), have, want)
			}
		}
		seen(open.ID, closed.ID)
		time.Sleep(59 * time.Second)
		seen(open.ID, closed.ID)
		s.reopen()
		if err := s.q.Remember(time.Minute, byWall); err != nil {
			t.Fatal(err)
		}
		seen(open.ID, closed.ID)
		time.Sleep(2 * time.Second)
		seen(open.ID)
		if err := s.q.Remember(time.Hour, byWall); err != nil { // a rule that looks further back brings it back from the journal
			t.Fatal(err)
		}
		seen(open.ID, closed.ID)
		if n := len(s.q.album.recent); n != 1 {
			t.Errorf("%d closed ones in memory", n)
		}
		time.Sleep(2 * time.Hour)
		seen(open.ID)
		if n, m := len(s.q.album.recent), s.q.album.closed.Len(); n+m != 0 {
			t.Errorf("%d and %d closed ones stay in memory", n, m)
		}
	})
}

// A press of an equal coffee does not walk past every earlier one, under the queue's lock, at a till that acknowledges nothing; nor does one of a
// code that was declined over and over.
func TestAlike_WhatNeverCountsDoesNotGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		if err := s.q.Remember(time.Minute, byWall); err != nil {
			t.Fatal(err)
		}
		coffee := func(key string) edge.Draft {
			return draft("till", key, func(d *edge.Draft) { d.Request.Order, d.Request.Instrument, d.InstrumentHash = "", "", [32]byte{} })
		}
		like := func(d edge.Draft) (n int) {
			t.Helper()
			_, _ = s.q.Accept(t.Context(), d, func(v View) error {
				for range v.Alike(&d) {
					n++
				}
				return tideover.Refuse(tideover.CodeSuspectedDuplicate, "no", "不")
			})
			return n
		}
		const many = 50
		for i := range many {
			sold, declined := coffee(fmt.Sprint("coffee ", i)), draft("till", fmt.Sprint("declined ", i))
			s.accept(sold)
			s.accept(declined)
			if i%2 == 0 {
				s.end(approved(sold.ID, uint64(2*i+1)))
			}
			s.end(told(declined.ID, uint64(2*i+2), tideover.StateDeclined))
		}
		if err := s.q.Adopt(coffee("another router's")); err != nil {
			t.Fatal(err)
		}
		s.flush()
		if n := like(draft("till", "next")); n != 0 {
			t.Errorf("like one that is pressed again are %d declined ones", n)
		}
		if n := like(coffee("next")); n != many+1 {
			t.Errorf("of %d coffees of this minute %d are seen", many+1, n)
		}
		for range 2 {
			time.Sleep(59 * time.Second)
			late := coffee(fmt.Sprint("late ", time.Now()))
			s.accept(late)
			s.reopen()
			if err := s.q.Remember(time.Minute, byWall); err != nil {
				t.Fatal(err)
			}
		}
		if n := like(coffee("next")); n != 2 {
			t.Errorf("after two minutes %d coffees are seen, and 2 are of the last minute", n)
		}
		time.Sleep(2 * time.Minute)
		if n := like(coffee("next")); n != 0 {
			t.Errorf("after another two minutes %d coffees are seen", n)
		}
		if n, m := len(s.q.album.recent), len(s.q.album.rings); n+m != 0 {
			t.Errorf("%d of them, and %d rings, stay in memory", n, m)
		}
	})
}

// What waits for its commit is like a press that rides with it, and is not found by its id: a repetition would be answered before it is on disk.
func TestAlike_IsFoundAloneOnceItIsOnDisk(t *testing.T) {
	s := newShop(t)
	if err := s.q.Remember(time.Hour, byWall); err != nil {
		t.Fatal(err)
	}
	blind := func(key string) edge.Draft {
		return draft("till", key, func(d *edge.Draft) { d.Request.Order, d.Request.Instrument, d.InstrumentHash = "", "", [32]byte{} })
	}
	rode := 0
	for i := range 1000 {
		first, second := blind(fmt.Sprint("first ", i)), blind(fmt.Sprint("second ", i))
		var wg sync.WaitGroup
		busy := make(chan struct{})
		wg.Go(func() { // while the committer is busy with this one, the next commit gathers
			_, _ = s.q.Accept(t.Context(), draft("till", fmt.Sprint("before ", i)), func(View) error { close(busy); return nil })
		})
		<-busy
		for _, pair := range [][2]edge.Draft{{first, second}, {second, first}} {
			wg.Go(func() {
				_, _ = s.q.Accept(t.Context(), pair[0], func(v View) error {
					other := pair[1].ID
					if v.batch.accepted[other] == nil {
						return nil
					}
					rode++
					if r, err := v.queue.find(other); r != nil || err != nil {
						t.Errorf("found before its commit: %+v, %v", r, err)
					}
					return nil
				})
			})
		}
		if wg.Wait(); rode >= 10 {
			return
		}
	}
	if rode == 0 {
		t.Error("no two rode in one commit")
	}
}
