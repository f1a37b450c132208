package hub

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/ledger"
	"tideover/hub/ledger/bolt"
	platformhttp "tideover/hub/platform/http"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// askPause is the pause between two questions in these tests: far longer than what a hint may take.
const askPause = 5 * time.Second

// hinted is the way of a hint with everything on it real: the simulated platform behind HTTP, its adapter, the address that it calls
// back, the desk and its ledger.
type hinted struct {
	t        *testing.T
	platform *sandbox.Platform
	desk     *desk.Desk
	meters   *meters
	url      string // of the listener
}

func newHinted(t *testing.T, o sandbox.Options, callsBack bool) *hinted {
	t.Helper()
	listener, err := listenNotify("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hinted{t: t, meters: newMeters(), url: "http://" + listener.Addr().String()}
	if callsBack {
		o.Notify = h.url
	}
	h.platform = sandbox.New(o)
	web := httptest.NewServer(h.platform)
	t.Cleanup(web.Close)
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := bolt.Create(path, [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	l, err := bolt.Open(bolt.Options{Path: path, Key: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := platformhttp.New(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	h.desk = desk.New(desk.Config{
		Ledger: l, Platform: p, Idempotent: !o.Repeats, Timeout: 2 * time.Second, AskAfter: []time.Duration{askPause},
	})
	ctx, end := context.WithCancel(context.Background())
	last, close := context.WithCancel(context.Background())
	var serving, committing sync.WaitGroup
	part := func(g *sync.WaitGroup, run func() error) {
		g.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	part(&serving, func() error { return h.desk.Run(ctx) })
	part(&serving, func() error {
		return newHints(h.desk.Hint, h.meters, slog.New(slog.DiscardHandler), time.Now).serve(ctx, listener)
	})
	part(&committing, func() error { return l.Run(last) })
	t.Cleanup(func() {
		end()
		serving.Wait()
		close()
		committing.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.AddStore(t.Context(), ledger.Store{Name: "shop-0001"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.desk.Hello(t.Context(), "shop-0001", wire.Hello{Incarnation: [16]byte{9}}); err != nil {
		t.Fatal(err)
	}
	return h
}

// submit sells, and returns the sale and the channel on which its end comes.
func (h *hinted) submit(key string) (wire.Submit, <-chan wire.Confirmation) {
	h.t.Helper()
	s := wire.Submit{
		ID: tideover.MakeID("shop-0001", "t1", key), TerminalUID: "t1", Terminal: "till-1", Key: key, CreatedAt: tideover.MillisOf(time.Now()),
		Request: tideover.Request{Kind: tideover.KindSale, Amount: 1299, Currency: "CNY"},
	}
	s.ExpiresAt = s.CreatedAt.Add(time.Minute)
	end := make(chan wire.Confirmation, 1)
	h.desk.Submit(context.Background(), "shop-0001", [16]byte{9}, s, func(m any) {
		if c, ok := m.(wire.Confirmation); ok {
			end <- c
		}
	})
	return s, end
}

// post gives a hint and returns the answer's status.
func (h *hinted) post(body string) int {
	h.t.Helper()
	res, err := http.Post(h.url+"/outcomes", "application/json", strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode
}

func (h *hinted) hint(id tideover.ID) int { return h.post(fmt.Sprintf(`{"id":%q}`, id)) }

// queries is how often the platform was asked about an id.
func (h *hinted) queries(id tideover.ID) int { return h.platform.Count(id).Queries }

// What the platform decides late reaches the till at once where it calls back, and not only at the next question.
func TestNotify_LateOutcomeIsFetchedAtOnce(t *testing.T) {
	for name, b := range map[string]sandbox.Behaviour{
		"pending": {Pending: 1, PendingMS: 400},
		"late":    {Late: 1, LateMS: 400},
	} {
		for _, repeats := range []bool{false, true} {
			if name == "late" && repeats {
				continue // the first question keeps its time: see TestNotify_ForgedHintIsAQuestionAndNothingElse
			}
			t.Run(fmt.Sprintf("%s, status only %v", name, repeats), func(t *testing.T) {
				t.Parallel()
				h := newHinted(t, sandbox.Options{Behaviour: b, Repeats: repeats}, true)
				from := time.Now()
				s, end := h.submit("a")
				c := <-end
				took := time.Since(from) - 400*time.Millisecond
				if c.Outcome.Result != tideover.StateApproved || took > askPause/2 {
					t.Errorf("%v, %v after it was decided; the pause between questions is %v", c.Outcome.Result, took, askPause)
				}
				if n := h.platform.Count(s.ID); n.Calls != 1 || n.Executions != 1 || n.Queries != 1 {
					t.Errorf("%+v", n)
				}
			})
		}
	}
}

// Whoever knows an id and lies about it has the platform asked, and nothing else: its answer counts.
func TestNotify_ForgedHintIsAQuestionAndNothingElse(t *testing.T) {
	t.Run("pending", func(t *testing.T) {
		t.Parallel()
		h := newHinted(t, sandbox.Options{Behaviour: sandbox.Behaviour{Pending: 1, PendingMS: 3_600_000}}, false)
		s, end := h.submit("a")
		h.until("it is called", func() bool { return h.platform.Count(s.ID).Calls == 1 })
		for h.queries(s.ID) == 0 {
			if status := h.hint(s.ID); status != http.StatusAccepted {
				t.Fatalf("answered %d", status)
			}
			time.Sleep(10 * time.Millisecond)
		}
		select {
		case c := <-end:
			t.Errorf("a forged hint ended it: %+v", c)
		case <-time.After(300 * time.Millisecond):
		}
		if n := h.platform.Count(s.ID); n.Calls != 1 || n.Executions != 0 || n.Reverses != 0 {
			t.Errorf("%+v", n)
		}
	})
	// A 404 has the only call that there will ever be barred: no stranger may make that question come before its time.
	t.Run("the only call still travels", func(t *testing.T) {
		t.Parallel()
		h := newHinted(t, sandbox.Options{Behaviour: sandbox.Behaviour{Late: 1, LateMS: 1500}, Repeats: true}, false)
		s, end := h.submit("a")
		h.until("it is called", func() bool { return h.platform.Count(s.ID).Calls == 1 })
		for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
			h.hint(s.ID)
		}
		if n := h.platform.Count(s.ID); n.Queries != 0 || n.Reverses != 0 {
			t.Errorf("%+v", n)
		}
		if c := <-end; c.Outcome.Result != tideover.StateApproved {
			t.Errorf("%+v", c)
		}
	})
	t.Run("ended, foreign, unknown", func(t *testing.T) {
		t.Parallel()
		h := newHinted(t, sandbox.Options{}, false)
		s, end := h.submit("a")
		<-end
		was := h.platform.Stats()
		for _, id := range []tideover.ID{s.ID, tideover.MakeID("shop-0002", "t1", "a"), {}, {1, 2, 3}} {
			if status := h.hint(id); status != http.StatusAccepted {
				t.Errorf("%s is answered %d: that tells ids apart", id, status)
			}
		}
		time.Sleep(200 * time.Millisecond)
		if is := h.platform.Stats(); is.Queries != was.Queries || is.IDs != was.IDs || is.Calls != was.Calls {
			t.Errorf("%+v, was %+v", is, was)
		}
	})
}

func (h *hinted) until(what string, so func() bool) {
	h.t.Helper()
	eventually(h.t, what, so)
}

// A storm of hints, about one id or about many, costs the platform a handful of questions for each, however long it lasts.
func TestNotify_StormIsAHandfulOfQuestions(t *testing.T) {
	t.Parallel()
	h := newHinted(t, sandbox.Options{Behaviour: sandbox.Behaviour{Pending: 1, PendingMS: 3_600_000}}, false)
	var sales []wire.Submit
	for i := range 4 {
		s, _ := h.submit(fmt.Sprint(i))
		sales = append(sales, s)
	}
	const storm = 4 * time.Second
	var callers sync.WaitGroup
	var given, limited [4]int
	for i := range 4 {
		callers.Go(func() {
			for until := time.Now().Add(storm); time.Now().Before(until); given[i]++ {
				if h.hint(sales[i%2].ID) == http.StatusTooManyRequests {
					limited[i]++
				}
			}
		})
	}
	callers.Wait()
	// 250 ms, 500 ms, 1 s, 2 s … after the one before, and one by schedule.
	const most = 6
	for i, s := range sales {
		n := h.queries(s.ID)
		t.Logf("sale %d: %d questions after %d hints, %d of them refused", i, n, given[i]+given[(i+2)%4], limited[i]+limited[(i+2)%4])
		if n > most || i < 2 && n < 2 || i >= 2 && n > 1 {
			t.Errorf("sale %d was asked about %d times", i, n)
		}
	}
}

func TestHints_RateIsLimitedForAllTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHints(func(tideover.ID) {}, newMeters(), slog.New(slog.DiscardHandler), time.Now)
		take := func() (n int) {
			for h.wait() == 0 {
				n++
			}
			return n
		}
		if n := take(); n != hintBurst {
			t.Errorf("%d at once, want %d", n, hintBurst)
		}
		time.Sleep(time.Second)
		if n := take(); n != hintRate {
			t.Errorf("%d in the second after, want %d", n, hintRate)
		}
		time.Sleep(time.Hour)
		if n := take(); n != hintBurst {
			t.Errorf("%d after an hour, want %d", n, hintBurst)
		}
	})
}

func TestNotify_TakesNothingButHints(t *testing.T) {
	h := newHinted(t, sandbox.Options{}, false)
	id := tideover.MakeID("shop-0001", "t1", "a").String()
	for name, c := range map[string]struct {
		method, path, kind, body string
		want                     int
		code                     tideover.Code
	}{
		"a hint":           {"POST", "/outcomes", "application/json; charset=utf-8", `{"id":"` + id + `"}`, 202, ""},
		"another method":   {"GET", "/outcomes", "", "", 405, tideover.CodeMethodNotAllowed},
		"another path":     {"POST", "/payments", "application/json", `{"id":"` + id + `"}`, 404, tideover.CodeNotFound},
		"no type":          {"POST", "/outcomes", "", `{"id":"` + id + `"}`, 415, tideover.CodeUnsupportedMediaType},
		"a form":           {"POST", "/outcomes", "application/x-www-form-urlencoded", "id=" + id, 415, tideover.CodeUnsupportedMediaType},
		"no body":          {"POST", "/outcomes", "application/json", "", 400, tideover.CodeInvalidRequest},
		"no id":            {"POST", "/outcomes", "application/json", "{}", 400, tideover.CodeInvalidRequest},
		"a null id":        {"POST", "/outcomes", "application/json", `{"id":null}`, 400, tideover.CodeInvalidRequest},
		"no id of ours":    {"POST", "/outcomes", "application/json", `{"id":"pay_123"}`, 400, tideover.CodeInvalidRequest},
		"an outcome":       {"POST", "/outcomes", "application/json", `{"id":"` + id + `","result":"approved"}`, 400, tideover.CodeInvalidRequest},
		"something after":  {"POST", "/outcomes", "application/json", `{"id":"` + id + `"}{}`, 400, tideover.CodeInvalidRequest},
		"too large":        {"POST", "/outcomes", "application/json", `{"id":"` + id + `"}` + strings.Repeat(" ", hintBodyMax), 413, tideover.CodeTooLarge},
		"too large inside": {"POST", "/outcomes", "application/json", `{"id":"` + strings.Repeat("x", hintBodyMax) + `"}`, 413, tideover.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(c.method, h.url+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", c.kind)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			if res.StatusCode != c.want {
				t.Fatalf("answered %d %s, want %d", res.StatusCode, b, c.want)
			}
			if c.want == http.StatusAccepted {
				if len(b) != 0 {
					t.Errorf("answered %s", b)
				}
				return
			}
			var p struct {
				Type, Title, Detail string
				Status              int
				Code                tideover.Code
			}
			if err := json.Unmarshal(b, &p); err != nil || p.Code != c.code || p.Type != "urn:tideover:problem:"+string(c.code) ||
				p.Status != c.want || p.Title == "" || p.Detail == "" || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%v: %s", err, b)
			}
			if c.want == http.StatusMethodNotAllowed && res.Header.Get("Allow") != "POST" {
				t.Errorf("Allow: %q", res.Header.Get("Allow"))
			}
		})
	}
}

// Strangers who only hold connections are closed: those beyond the limit as they come, those that say nothing after a while.
func TestNotify_ConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHinted(t, sandbox.Options{}, false)
	addr := strings.TrimPrefix(h.url, "http://")
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var held []net.Conn
	for range hintConnectionsMax {
		c := dial()
		if _, err := io.WriteString(c, "POST /outcomes HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	over := dial()
	_ = over.SetReadDeadline(time.Now().Add(hintTimeMax / 2))
	if _, err := over.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("one connection more is held: %v", err)
	}
	_ = held[0].SetReadDeadline(time.Now().Add(3 * hintTimeMax))
	if _, err := io.ReadAll(bufio.NewReader(held[0])); isTimeout(err) {
		t.Error("half a request is waited for without end")
	}
	h.until("there is room again", func() bool {
		res, err := http.Post(h.url+"/outcomes", "application/json", strings.NewReader(`{"id":"`+tideover.ID{}.String()+`"}`))
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusAccepted
	})
}

// The whole hub listens where it is told to, says so, and takes hints; where the address is taken it says that.
func TestServer_Notify(t *testing.T) {
	p := sandbox.New(sandbox.Options{})
	web := httptest.NewServer(p)
	t.Cleanup(web.Close)
	h := &testHub{t: t, config: testConfig(t, web.URL), platform: p, log: &logBuffer{}}
	h.config.Platform.Notify = "127.0.0.1:0"
	h.start()
	t.Cleanup(func() { h.shut() })
	s, err := newClient(h.config.Admin).Status(t.Context())
	if err != nil || s.Platform.Notify == "" || s.Platform.Notify != h.ready.Notify {
		t.Fatalf("%+v, %v", s.Platform, err)
	}
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	if err := p.Control(func(b *sandbox.Behaviour) { b.Pending, b.PendingMS = 1, 3_600_000 }); err != nil {
		t.Fatal(err)
	}
	sale := e.sale("k", 1299)
	l.open(wire.TypeSubmit, sale)
	// Without hints the questions are 1, 2, 3 and 5 seconds apart.
	eventually(t, "a hint has it asked about", func() bool {
		res, err := http.Post("http://"+s.Platform.Notify+"/outcomes", "application/json", strings.NewReader(fmt.Sprintf(`{"id":%q}`, sale.ID)))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode == http.StatusAccepted && p.Count(sale.ID).Queries > 0
	})

	other := testConfig(t, web.URL)
	other.Platform.Notify = s.Platform.Notify
	err = Run(t.Context(), other, Options{})
	mustHint(t, err)
	if what, _ := explain(err); !strings.Contains(what.En, "platform.notify") {
		t.Errorf("%s", what.En)
	}
}
