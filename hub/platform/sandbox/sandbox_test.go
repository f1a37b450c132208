package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/hub/platform"
	"tideover/hub/platform/sandbox"
)

var id = tideover.MakeID("shop", "t1", "k")

func payment(id tideover.ID) platform.Payment {
	return platform.Payment{ID: id, Request: tideover.Request{Kind: tideover.KindSale, Amount: 100, Currency: "CNY"}}
}

func TestPlatform_OneEffect(t *testing.T) {
	p := sandbox.New(sandbox.Options{})
	var g sync.WaitGroup
	for range 20 {
		g.Go(func() {
			if a, err := p.Pay(t.Context(), payment(id)); err != nil || a.Result != platform.ResultApproved || a.Amount != 100 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	g.Wait()
	c := p.Count(id)
	if c.Calls != 20 || c.Executions != 1 || c.RepeatedAfterAnswer == 0 {
		t.Errorf("%+v", c)
	}
	if s := p.Stats(); s.ExecutedTwice != 0 || s.Charged != 1 || s.Net["CNY"] != 100 {
		t.Errorf("%+v", s)
	}
}

func TestPlatform_RepeatsExecuteWhereAsked(t *testing.T) {
	p := sandbox.New(sandbox.Options{Repeats: true})
	p.Pay(t.Context(), payment(id))
	p.Pay(t.Context(), payment(id))
	if s := p.Stats(); s.ExecutedTwice != 1 || s.Net["CNY"] != 200 {
		t.Errorf("%+v", s)
	}
}

func TestPlatform_ReverseBarsForGood(t *testing.T) {
	p := sandbox.New(sandbox.Options{})
	for range 2 {
		if a, err := p.Reverse(t.Context(), id); err != nil || a.Result != platform.ResultNotExecuted {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if a, err := p.Pay(t.Context(), payment(id)); err != nil || a.Result != platform.ResultDeclined {
		t.Errorf("a late call: %+v, %v", a, err)
	}
	if a, err := p.Query(t.Context(), id); err != nil || a.Result != platform.ResultDeclined {
		t.Errorf("a question: %+v, %v", a, err)
	}
	other := tideover.MakeID("shop", "t1", "other")
	p.Pay(t.Context(), payment(other))
	for range 2 {
		if a, err := p.Reverse(t.Context(), other); err != nil || a.Result != platform.ResultReversed {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if c := p.Count(other); c.Net() != 0 || c.Reversals != 1 {
		t.Errorf("%+v", c)
	}
}

func TestPlatform_TheFirstCallIsNoRepeat(t *testing.T) {
	p := sandbox.New(sandbox.Options{})
	p.Reverse(t.Context(), id) // overtook the call
	for calls := range 2 {
		a, err := p.Pay(t.Context(), payment(id))
		if c := p.Count(id); err != nil || a.Result != platform.ResultDeclined || c.RepeatedAfterAnswer != calls {
			t.Errorf("%+v, %v, %+v", a, err, c)
		}
	}
}

func TestPlatform_AnswerThatNobodyTookIsNotGiven(t *testing.T) {
	p := sandbox.New(sandbox.Options{Behaviour: sandbox.Behaviour{LatencyMS: 100}})
	s := httptest.NewServer(p)
	defer s.Close()
	post := func(wait time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		body := `{"id":"` + id.String() + `","store":"s","terminal":"t","kind":"sale","amount":100,"currency":"CNY","method":null,"order":null,` +
			`"original":null,"instrument":null,"operator":null,"payload":null,"created_at":null,"expires_at":null}`
		req, _ := http.NewRequestWithContext(ctx, "POST", s.URL+"/payments", strings.NewReader(body))
		req.Header.Set("Idempotency-Key", id.String())
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 {
			t.Errorf("%s %s", resp.Status, b)
		}
		return err
	}
	if err := post(30 * time.Millisecond); err == nil {
		t.Fatal("answered at once")
	}
	for p.Count(id).Executions == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := post(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if c := p.Count(id); c.Calls != 2 || c.RepeatedAfterAnswer != 0 || c.Executions != 1 {
		t.Errorf("after an answer that nobody took: %+v", c)
	}
	if err := post(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if c := p.Count(id); c.RepeatedAfterAnswer != 1 {
		t.Errorf("after an answer: %+v", c)
	}
}

func TestPlatform_ControlAndStats(t *testing.T) {
	p := sandbox.New(sandbox.Options{Behaviour: sandbox.Behaviour{LatencyMS: 1}})
	s := httptest.NewServer(p)
	defer s.Close()
	do := func(method, path, body string, want int) string {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Errorf("%s %s %s: %s %s", method, path, body, resp.Status, b)
		}
		return string(b)
	}
	do("POST", "/control", `{"decline_amounts":[100],"late_ms":5}`, 200)
	if b := p.Behaviour(); b.LatencyMS != 1 || b.LateMS != 5 || len(b.DeclineAmounts) != 1 {
		t.Errorf("%+v", b)
	}
	for _, bad := range []string{`{"decline":2}`, `{"nonsense":1}`, `{"latency_ms":-1}`, `{"latency_ms":99999999999}`, `nonsense`, ``} {
		do("POST", "/control", bad, 400)
	}
	if b := p.Behaviour(); b.Decline != 0 || b.LatencyMS != 1 {
		t.Errorf("a bad one changed something: %+v", b)
	}
	p.Pay(t.Context(), payment(id))
	var st sandbox.Stats
	if err := json.Unmarshal([]byte(do("GET", "/stats?by_id=1", "", 200)), &st); err != nil || st.Declined != 1 || st.ByID[id].Calls != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if strings.Contains(do("GET", "/stats", "", 200), "by_id") {
		t.Error("every id was told unasked")
	}
	do("GET", "/stats/"+id.String(), "", 200)
	do("GET", "/payments/nonsense", "", 400)
	do("GET", "/payments/"+tideover.MakeID("a", "b", "c").String(), "", 404)
	do("POST", "/payments", `{"id":"`+id.String()+`"}`, 400)
	do("POST", "/payments/"+id.String()+"/reverse", `{}`, 400)
	do("POST", "/control", `{"down":true}`, 200)
	do("GET", "/payments/"+id.String(), "", 503)
}

func TestPlatform_SameSeedSameLuck(t *testing.T) {
	run := func() (got []platform.Result) {
		p := sandbox.New(sandbox.Options{Seed: 7, Behaviour: sandbox.Behaviour{Decline: 0.3, LoseAnswer: 0.3, LoseRequest: 0.2}})
		for i := range 50 {
			a, _ := p.Pay(t.Context(), payment(tideover.ID{byte(i)}))
			got = append(got, a.Result)
		}
		return got
	}
	a, b := run(), run()
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("call %d: %v and %v", i, a[i], b[i])
		}
	}
}
