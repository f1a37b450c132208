package http_test

import (
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/hub/platform"
)

const entry = `{"id":"%s","kind":"sale","amount":1299,"currency":"CNY","result":"approved","reference":"R1","at":"2027-01-15T08:00:00.250Z"}`

func TestPlatform_ListAsksAsTheContractSays(t *testing.T) {
	id := tideover.MakeID("shop", "t1", "k")
	p := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		q := r.URL.Query()
		if r.Method != "GET" || r.URL.Path != "/v1/payments" || q.Get("store") != "shop & co" || q.Get("from") != "2027-01-15T08:00:00.000Z" ||
			q.Get("to") != "2027-01-16T08:00:00.001Z" || len(q) != 3+len(q["after"]) {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		switch q.Get("after") {
		case "":
			fmt.Fprintf(w, `{"payments":[`+entry+`],"next":"c/1?&"}`, id)
		case "c/1?&":
			io.WriteString(w, `{"payments":[],"next":null,"more":1}`)
		default:
			t.Errorf("cursor %q", q.Get("after"))
		}
	})
	page := platform.Page{Store: "shop & co", From: 1_800_000_000_000, To: 1_800_086_400_001}
	got, err := p.List(t.Context(), page)
	want := platform.Entry{
		ID: id, Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Result: platform.ResultApproved, Reference: "R1", At: 1_800_000_000_250,
	}
	if err != nil || len(got.Entries) != 1 || got.Entries[0] != want || got.Next != "c/1?&" {
		t.Fatalf("%+v, %v", got, err)
	}
	page.After = got.Next
	if got, err = p.List(t.Context(), page); err != nil || len(got.Entries) != 0 || got.Next != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// A page is taken whole, or not at all; only three answers say that there is no statement.
func TestPlatform_ListRefusesHalfAStatement(t *testing.T) {
	good := fmt.Sprintf(entry, tideover.MakeID("shop", "t1", "k"))
	body := func(lines ...string) string { return `{"payments":[` + strings.Join(lines, ",") + `]}` }
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatal(old)
		}
		return body(good, strings.Replace(good, old, new, 1))
	}
	for name, c := range map[string]struct {
		status int
		body   string
		none   bool
	}{
		"not found":        {404, ``, true},
		"not allowed":      {405, `x`, true},
		"not implemented":  {501, `{}`, true},
		"down":             {503, body(good), false},
		"another 2xx":      {206, body(good), false},
		"no JSON":          {200, `<html>`, false},
		"no payments":      {200, `{"next":null}`, false},
		"null":             {200, `null`, false},
		"cut off":          {200, body(good)[:100], false},
		"no id":            {200, with(`"id"`, `"it"`), false},
		"a foreign id":     {200, with(good[7:33], "4111111111111111"), false},
		"an unknown kind":  {200, with(`"sale"`, `"loan"`), false},
		"no kind":          {200, with(`"sale"`, `""`), false},
		"below nothing":    {200, with(`1299`, `-1299`), false},
		"half a cent":      {200, with(`1299`, `1299.5`), false},
		"no currency":      {200, with(`CNY`, ``), false},
		"an unknown word":  {200, with(`approved`, `perhaps`), false},
		"missing":          {200, with(`approved`, `missing`), false},
		"no time":          {200, with(`"2027-01-15T08:00:00.250Z"`, `null`), false},
		"too many":         {200, body(strings.Split(strings.Repeat(good+"\n", platform.PageMax+1), "\n")[:platform.PageMax+1]...), false},
		"too long":         {200, body(good) + strings.Repeat(" ", 1<<20), false},
		"a cursor too far": {200, `{"payments":[],"next":"` + strings.Repeat("x", platform.CursorMax+1) + `"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			got, err := p.List(t.Context(), platform.Page{Store: "shop", From: 1, To: tideover.MillisOf(time.Now())})
			if err == nil || len(got.Entries) != 0 || errors.Is(err, platform.ErrNoStatement) != c.none {
				t.Errorf("%+v, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "4111") {
				t.Errorf("the error repeats what stands in the statement: %v", err)
			}
		})
	}
}
