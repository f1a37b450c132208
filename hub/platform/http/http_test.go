package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tideover"
	"tideover/hub/platform"
	"tideover/hub/platform/http"
)

var payment = platform.Payment{
	ID: tideover.MakeID("shop", "t1", "k"), Store: "shop", Terminal: "till-1", CreatedAt: 1_800_000_000_000, ExpiresAt: 1_800_000_045_000,
	Request: tideover.Request{Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Order: "A-1", Payload: []byte(`{"scene": "pos"}`)},
}

func serve(t *testing.T, h nethttp.HandlerFunc) *http.Platform {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	p, err := http.New(s.URL + "/v1/")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlatform_PaySendsTheContractsBody(t *testing.T) {
	p := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		b, _ := io.ReadAll(r.Body)
		want := `{"id":"` + payment.ID.String() + `","store":"shop","terminal":"till-1","kind":"sale","amount":1299,"currency":"CNY",` +
			`"method":null,"order":"A-1","original":null,"instrument":null,"operator":null,"payload":{"scene":"pos"},` +
			`"created_at":"2027-01-15T08:00:00.000Z","expires_at":"2027-01-15T08:00:45.000Z"}`
		if string(b) != want {
			t.Errorf("body %s\nwant %s", b, want)
		}
		if r.Method != "POST" || r.URL.Path != "/v1/payments" || r.Header.Get("Idempotency-Key") != payment.ID.String() {
			t.Errorf("%s %s, key %q", r.Method, r.URL.Path, r.Header.Get("Idempotency-Key"))
		}
		io.WriteString(w, `{"result":"approved","code":"00","message":"ok","reference":"R1","amount":1299,"currency":"CNY","waiting_for":null,"more":1}`)
	})
	a, err := p.Pay(t.Context(), payment)
	want := platform.Answer{Result: platform.ResultApproved, Code: "00", Message: "ok", Reference: "R1", Amount: 1299, Currency: "CNY"}
	if err != nil || a != want {
		t.Errorf("%+v, %v", a, err)
	}
}

// Only a 200 with a result that the call may have is an answer; everything else is not known.
func TestPlatform_Answers(t *testing.T) {
	long := strings.Repeat("字", 1000)
	for name, c := range map[string]struct {
		status  int
		body    string
		pay     platform.Result
		query   platform.Result
		reverse platform.Result
	}{
		"approved":       {200, `{"result":"approved"}`, platform.ResultApproved, platform.ResultApproved, 0},
		"declined":       {200, `{"result":"declined"}`, platform.ResultDeclined, platform.ResultDeclined, platform.ResultDeclined},
		"pending":        {200, `{"result":"pending","waiting_for":"customer"}`, platform.ResultPending, platform.ResultPending, 0},
		"reversed":       {200, `{"result":"reversed"}`, 0, platform.ResultReversed, platform.ResultReversed},
		"not executed":   {200, `{"result":"not_executed"}`, 0, 0, platform.ResultNotExecuted},
		"missing":        {404, `{}`, 0, platform.ResultMissing, 0},
		"unknown result": {200, `{"result":"perhaps"}`, 0, 0, 0},
		"unknown word":   {200, `{"result":"unknown"}`, 0, 0, 0},
		"missing word":   {200, `{"result":"missing"}`, 0, 0, 0},
		"no result":      {200, `{}`, 0, 0, 0},
		"no JSON":        {200, `<html>`, 0, 0, 0},
		"empty":          {200, ``, 0, 0, 0},
		"wrong type":     {200, `{"result":"approved","amount":"1299"}`, 0, 0, 0},
		"another 2xx":    {202, `{"result":"approved"}`, 0, 0, 0},
		"created":        {201, `{"result":"approved"}`, 0, 0, 0},
		"bad request":    {400, `{"result":"declined"}`, 0, 0, 0},
		"down":           {503, `{"result":"declined"}`, 0, 0, 0},
		"too long":       {200, `{"result":"approved","message":"` + strings.Repeat("x", 70<<10) + `"}`, 0, 0, 0},
		"long texts":     {200, `{"result":"approved","message":"` + long + `","code":"` + long + `","reference":"` + long + `"}`, platform.ResultApproved, platform.ResultApproved, 0},
	} {
		p := serve(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		})
		for call, x := range map[string]struct {
			want platform.Result
			do   func() (platform.Answer, error)
		}{
			"pay":     {c.pay, func() (platform.Answer, error) { return p.Pay(t.Context(), payment) }},
			"query":   {c.query, func() (platform.Answer, error) { return p.Query(t.Context(), payment.ID) }},
			"reverse": {c.reverse, func() (platform.Answer, error) { return p.Reverse(t.Context(), payment.ID) }},
		} {
			a, err := x.do()
			if a.Result != x.want || (err == nil) != (x.want != 0) {
				t.Errorf("%s, %s: %v, %v", name, call, a.Result, err)
			}
			if len(a.Message) > platform.MessageMax || len(a.Code) > platform.CodeMax || len(a.Reference) > platform.ReferenceMax || !json.Valid([]byte(`"`+a.Message+`"`)) {
				t.Errorf("%s: texts are too long or cut within a character", name)
			}
		}
	}
}

func TestPlatform_NoRedirect(t *testing.T) {
	var calls atomic.Int64
	p := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		calls.Add(1)
		nethttp.Redirect(w, r, "/elsewhere", nethttp.StatusTemporaryRedirect)
	})
	if _, err := p.Pay(t.Context(), payment); err == nil || calls.Load() != 1 {
		t.Errorf("%v, %d calls", err, calls.Load())
	}
}

// Go's transport repeats a POST with an Idempotency-Key by itself when a kept connection is dead, unless it cannot rewind the body.
// The server here answers one call on each connection, then reads the next one and cuts: each must be seen once.
func TestPlatform_NoRepeatOnADeadConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var posts atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for i := range 2 {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if strings.HasPrefix(string(buf[:n]), "POST") {
						posts.Add(1)
					}
					if i == 0 {
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"result\":\"approved\"}")
					}
				}
			}()
		}
	}()
	p, err := http.New("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for i := range 10 {
		_, err := p.Pay(t.Context(), payment)
		if err != nil {
			lost++
		}
		if got := posts.Load(); got > int64(i+1) {
			t.Fatalf("%d calls arrived of %d", got, i+1)
		}
	}
	if lost == 0 {
		t.Error("no connection was found dead: the test shows nothing")
	}
	before := posts.Load()
	for range 2 {
		p.Reverse(t.Context(), payment.ID)
	}
	if got := posts.Load() - before; got > 2 {
		t.Errorf("%d reversals arrived of 2", got)
	}
}

func TestPlatform_KeepsItsTime(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	p := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Pay(ctx, payment); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestNew_RefusesWhatIsNoAddress(t *testing.T) {
	for _, bad := range []string{"", "localhost:9090", "ftp://x", "http://", "http://x?y=1", "http://u@x", "http://x#f", "://"} {
		if _, err := http.New(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestPlatform_KeepsNoCardData: what the platform says of an outcome is kept, shown and printed.
func TestPlatform_KeepsNoCardData(t *testing.T) {
	p := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		io.WriteString(w, `{"result":"declined","code":"05","message":"card 4111111111111111 is blocked","reference":"R-1","amount":1299,"currency":"CNY"}`)
	})
	a, err := p.Pay(t.Context(), payment)
	if err != nil || a.Message != "card 411111******1111 is blocked" || a.Reference != "R-1" {
		t.Errorf("got %+v, %v", a, err)
	}
}
