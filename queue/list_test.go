package queue

import (
	"fmt"
	"testing"

	"tideover"
	"tideover/edge"
)

func TestList_PagesNewestFirst(t *testing.T) {
	s := newShop(t)
	var ids []tideover.ID
	for i := range 25 {
		till := []string{"a", "b"}[i%2]
		d := draft(till, fmt.Sprint(i), func(d *edge.Draft) { d.Request.Order = fmt.Sprint("O", i%5) })
		ids = append(ids, s.accept(d).ID)
		if i < 10 {
			s.end(approved(d.ID, uint64(i+1)))
		}
		if i < 4 {
			if _, err := s.q.Acknowledge(t.Context(), d.ID, s.get(d.ID).Seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := func(f Filter) (got []int) {
		t.Helper()
		for {
			page, next, err := s.q.List(f)
			if err != nil || (f.Limit > 0 && len(page) > f.Limit) {
				t.Fatalf("%d, %v", len(page), err)
			}
			for _, tx := range page {
				for i, id := range ids {
					if id == tx.ID {
						got = append(got, i)
					}
				}
			}
			if next == "" {
				return got
			}
			f.After = next
		}
	}
	for _, c := range []struct {
		f    Filter
		want int
		top  int
	}{
		{Filter{}, 25, 24},
		{Filter{Limit: 4}, 25, 24},
		{Filter{Limit: 25}, 25, 24},
		{Filter{Terminal: "b", Limit: 5}, 12, 23},
		{Filter{Order: "O3", Limit: 2}, 5, 23},
		{Filter{Unacknowledged: true, Limit: 4}, 6, 9},
		{Filter{State: tideover.StateApproved, Limit: 3}, 10, 9},
		{Filter{State: tideover.StateQueued, Limit: 4}, 15, 24},
		{Filter{Terminal: "nobody"}, 0, 0},
	} {
		got := all(c.f)
		if len(got) != c.want || (c.want > 0 && got[0] != c.top) {
			t.Errorf("%+v: got %v", c.f, got)
		}
		for i := 1; i < len(got); i++ {
			if got[i] >= got[i-1] {
				t.Errorf("%+v: out of order: %v", c.f, got)
			}
		}
	}
	_, _, err := s.q.List(Filter{After: "x"})
	refused(t, err, tideover.CodeInvalidRequest)
}

func TestStats_Counts(t *testing.T) {
	s := newShop(t)
	a, b := draft("till", "a"), draft("till", "b", func(d *edge.Draft) { d.Request.Currency = "EUR" })
	s.accept(a)
	s.accept(b)
	st := s.q.Stats()
	if st.Pending != 2 || st.Amounts["CNY"] != 1299 || st.Amounts["EUR"] != 1299 || st.ByState[tideover.StateQueued] != 2 ||
		st.Oldest != min(a.CreatedAt, b.CreatedAt) || st.Commits != 3 || st.Syncs != 6 {
		t.Fatalf("%+v", st)
	}
	s.end(approved(a.ID, 1))
	if st := s.q.Stats(); st.Pending != 1 || len(st.Amounts) != 1 || st.Unacknowledged != 1 || st.Lazy != 1 || st.Commits != 3 {
		t.Fatalf("%+v", st)
	}
}
