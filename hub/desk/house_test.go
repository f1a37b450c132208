package desk_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/ledger"
	"tideover/hub/ledger/bolt"
	platformhttp "tideover/hub/platform/http"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

const store = "shop-0001"

var (
	key     = [32]byte{1}
	current = [16]byte{9}
	soon    = []time.Duration{20 * time.Millisecond, 40 * time.Millisecond}
)

// house is a desk over a real ledger file, a real HTTP adapter and the simulated platform behind a real server.
type house struct {
	t        testing.TB
	path     string
	platform *sandbox.Platform
	server   *httptest.Server
	config   desk.Config
	ledger   *bolt.Ledger
	desk     *desk.Desk
	end      func()

	mu     sync.Mutex
	pushed []wire.Confirmation
}

func newHouse(t testing.TB, o sandbox.Options, change func(*desk.Config)) *house {
	t.Helper()
	h := &house{t: t, path: filepath.Join(t.TempDir(), "ledger.db"), platform: sandbox.New(o)}
	h.server = httptest.NewServer(h.platform)
	t.Cleanup(h.server.Close)
	h.config = desk.Config{Idempotent: !o.Repeats, Timeout: 300 * time.Millisecond, AskAfter: soon, Push: h.push}
	if change != nil {
		change(&h.config)
	}
	if err := bolt.Create(h.path, key); err != nil {
		t.Fatal(err)
	}
	h.start()
	if err := h.ledger.AddStore(t.Context(), ledger.Store{Name: store}); err != nil {
		t.Fatal(err)
	}
	h.hello(current)
	return h
}

func (h *house) push(_ string, c wire.Confirmation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pushed = append(h.pushed, c)
}

func (h *house) hello(incarnation [16]byte) wire.Welcome {
	h.t.Helper()
	w, err := h.desk.Hello(h.t.Context(), store, wire.Hello{Incarnation: incarnation})
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

// start opens the ledger and runs a desk on it; stop ends both, as a drain does.
func (h *house) start() {
	h.t.Helper()
	l, err := bolt.Open(bolt.Options{Path: h.path, Key: key})
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := platformhttp.New(h.server.URL)
	if err != nil {
		h.t.Fatal(err)
	}
	c := h.config
	c.Ledger, c.Platform = l, p
	h.ledger, h.desk = l, desk.New(c)
	desks, stopDesk := context.WithCancel(context.Background())
	ledgers, stopLedger := context.WithCancel(context.Background())
	var running, committing sync.WaitGroup
	running.Go(func() {
		if err := h.desk.Run(desks); err != nil {
			h.t.Error("desk:", err)
		}
	})
	committing.Go(func() {
		if err := l.Run(ledgers); err != nil {
			h.t.Error("ledger:", err)
		}
	})
	h.end = sync.OnceFunc(func() {
		stopDesk()
		running.Wait()
		stopLedger()
		committing.Wait()
		if err := l.Close(); err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(h.end)
}

func (h *house) restart() {
	h.end()
	h.start()
}

func sale(name string) wire.Submit {
	return request(name, tideover.KindSale, 1299, tideover.ID{})
}

func request(name string, kind tideover.Kind, amount int64, original tideover.ID) wire.Submit {
	s := wire.Submit{
		ID: tideover.MakeID(store, "t1", name), TerminalUID: "t1", Terminal: "till-1", Key: name, CreatedAt: tideover.MillisOf(time.Now()),
		Request: tideover.Request{Kind: kind, Amount: amount, Currency: "CNY", Original: original, Instrument: "2845", Payload: []byte(`{"a":1}`)},
	}
	if kind == tideover.KindSale {
		s.ExpiresAt = s.CreatedAt.Add(45 * time.Second)
	}
	s.Hash = s.Request.Hash([]byte("secret"))
	return s
}

// heard gathers what a listener is told.
type heard struct {
	t    testing.TB
	mu   sync.Mutex
	all  []any
	more chan struct{}
}

func newHeard(t testing.TB) *heard { return &heard{t: t, more: make(chan struct{}, 1000)} }

func (l *heard) tell(m any) {
	l.mu.Lock()
	l.all = append(l.all, m)
	l.mu.Unlock()
	l.more <- struct{}{}
}

// until waits for a message that is wanted.
func (l *heard) until(want func(any) bool) any {
	l.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		for _, m := range l.all {
			if want(m) {
				l.mu.Unlock()
				return m
			}
		}
		all := fmt.Sprintf("%+v", l.all)
		l.mu.Unlock()
		select {
		case <-l.more:
		case <-deadline:
			l.t.Fatalf("not heard; heard %s", all)
		}
	}
}

func (l *heard) confirmation() wire.Confirmation {
	l.t.Helper()
	return l.until(func(m any) bool { _, ok := m.(wire.Confirmation); return ok }).(wire.Confirmation)
}

func (l *heard) refused() wire.Refused {
	l.t.Helper()
	return l.until(func(m any) bool { _, ok := m.(wire.Refused); return ok }).(wire.Refused)
}

func (l *heard) progress(s tideover.State) {
	l.t.Helper()
	l.until(func(m any) bool { p, ok := m.(wire.Progress); return ok && p.State == s })
}

func (h *house) submit(s wire.Submit) *heard {
	l := newHeard(h.t)
	h.desk.Submit(h.t.Context(), store, current, s, l.tell)
	return l
}

func (h *house) cancel(s wire.Submit) *heard {
	l := newHeard(h.t)
	h.desk.Cancel(h.t.Context(), store, current, wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key}, l.tell)
	return l
}

func (h *house) ask(s wire.Submit) *heard {
	l := newHeard(h.t)
	h.desk.Ask(h.t.Context(), store, wire.Ask{ID: s.ID}, l.tell)
	return l
}

// sound is the oracle: nothing was executed twice, no call was repeated after an answer.
func (h *house) sound() {
	h.t.Helper()
	if s := h.platform.Stats(); s.ExecutedTwice != 0 || s.RepeatedAfterAnswer != 0 {
		h.t.Errorf("executed twice: %d, repeated after an answer: %d", s.ExecutedTwice, s.RepeatedAfterAnswer)
	}
}

func (h *house) control(change func(*sandbox.Behaviour)) {
	h.t.Helper()
	if err := h.platform.Control(change); err != nil {
		h.t.Fatal(err)
	}
}
