package sandbox_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/hub/platform"
	platformhttp "tideover/hub/platform/http"
	"tideover/hub/platform/sandbox"
)

// paid is a payment of a store.
func paid(t *testing.T, p *sandbox.Platform, store, key string, amount int64) tideover.ID {
	t.Helper()
	in := payment(tideover.MakeID(store, "t1", key))
	in.Store, in.Request.Amount = store, amount
	if _, err := p.Pay(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	return in.ID
}

// statement reads all of a store's statement, in pages.
func statement(t *testing.T, p platform.Lister, page platform.Page) (all []platform.Entry, pages int) {
	t.Helper()
	for {
		l, err := p.List(t.Context(), page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l.Entries...)
		if pages++; l.Next == "" {
			return all, pages
		}
		page.After = l.Next
	}
}

// The simulated platform and the adapter speak of one statement, over HTTP and without.
func TestPlatform_ListsEachExecution(t *testing.T) {
	p := sandbox.New(sandbox.Options{Behaviour: sandbox.Behaviour{DeclineAmounts: []int64{13}}})
	web := httptest.NewServer(p)
	defer web.Close()
	remote, err := platformhttp.New(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	from := tideover.MillisOf(time.Now())
	a, b := paid(t, p, "shop", "a", 100), paid(t, p, "shop", "b", 200)
	undone, lost := paid(t, p, "shop", "undone", 300), paid(t, p, "shop", "lost", 400)
	paid(t, p, "shop", "declined", 13)
	paid(t, p, "other", "a", 500)
	p.Reverse(t.Context(), undone)
	inject := func(body string, want int) {
		t.Helper()
		resp, err := http.Post(web.URL+"/inject", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != want {
			t.Errorf("%s: %s %s", body, resp.Status, text)
		}
	}
	inject(`{"twice":"`+b.String()+`"}`, 200)
	inject(`{"twice":"`+undone.String()+`"}`, 404)
	inject(`{"lose":"`+lost.String()+`"}`, 200)
	inject(`{"lose":"`+lost.String()+`"}`, 404)
	inject(`{}`, 400)
	all := platform.Page{Store: "shop", From: from, To: from.Add(time.Hour)}
	for name, lister := range map[string]platform.Lister{"itself": p, "over HTTP": remote} {
		got, pages := statement(t, lister, all)
		if len(got) != 4 || pages != 1 {
			t.Fatalf("%s: %d entries on %d pages: %+v", name, len(got), pages, got)
		}
		for i, want := range []struct {
			id     tideover.ID
			amount int64
			result platform.Result
		}{
			{a, 100, platform.ResultApproved},
			{b, 200, platform.ResultApproved},
			{undone, 300, platform.ResultReversed},
			{b, 200, platform.ResultApproved},
		} {
			e := got[i]
			if e.ID != want.id || e.Amount != want.amount || e.Result != want.result || e.Kind != tideover.KindSale || e.Currency != "CNY" || e.At < from {
				t.Errorf("%s: entry %d: %+v", name, i, e)
			}
			for j := range i {
				if got[j].Reference == e.Reference {
					t.Errorf("%s: two executions have the number %s", name, e.Reference)
				}
			}
		}
		if got, _ := statement(t, lister, platform.Page{Store: "shop", From: got[1].At + 3_600_000, To: got[1].At + 3_600_001}); len(got) != 0 {
			t.Errorf("%s: of another time: %+v", name, got)
		}
	}
	if s := p.Stats(); s.ExecutedTwice != 1 || s.Net["CNY"] != 100+2*200+400+500 {
		t.Errorf("%+v", s)
	}
}

func TestPlatform_ListsInPages(t *testing.T) {
	p := sandbox.New(sandbox.Options{})
	web := httptest.NewServer(p)
	defer web.Close()
	remote, _ := platformhttp.New(web.URL)
	from := tideover.MillisOf(time.Now())
	const n = 1203
	for i := range n {
		paid(t, p, "shop", string(rune('a'+i)), int64(i+1))
		paid(t, p, "other", string(rune('a'+i)), 1)
	}
	got, pages := statement(t, remote, platform.Page{Store: "shop", From: from, To: from.Add(time.Hour)})
	if len(got) != n || pages != 3 {
		t.Fatalf("%d entries on %d pages", len(got), pages)
	}
	for i, e := range got {
		if e.Amount != int64(i+1) {
			t.Fatalf("entry %d is of %d", i, e.Amount)
		}
	}
}

func TestPlatform_WithoutAStatement(t *testing.T) {
	p := sandbox.New(sandbox.Options{Behaviour: sandbox.Behaviour{NoStatement: true}})
	web := httptest.NewServer(p)
	defer web.Close()
	remote, _ := platformhttp.New(web.URL)
	if _, err := remote.List(t.Context(), platform.Page{Store: "shop", From: 1, To: 2}); !errors.Is(err, platform.ErrNoStatement) {
		t.Errorf("%v", err)
	}
	p.Control(func(b *sandbox.Behaviour) { b.NoStatement, b.Down = false, true })
	if _, err := remote.List(t.Context(), platform.Page{Store: "shop", From: 1, To: 2}); err == nil || errors.Is(err, platform.ErrNoStatement) {
		t.Errorf("a platform that is down: %v", err)
	}
}
