package terminal_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/internal/openapi"
	"tideover/terminal"
)

// shop is a desk in memory. It keeps the promises of [terminal.Desk] as the daemon's does: one transaction per key, a seq that grows
// with each change, waits that end with a change, tills that see their own alone. What the platform says is said by [shop.tell].
type shop struct {
	book   terminal.Book
	roster terminal.Roster

	settling settling

	mu        sync.Mutex // guards what follows
	seq       uint64
	all       map[tideover.ID]*record
	order     []tideover.ID
	terminals []tideover.Terminal
	answer    error // what the next Accept fails with
	health    terminal.Health
	delivered map[tideover.ID]uint64
	taken     []tideover.ID
	accepted  int
	waiting   int
	feeds     map[*feed]bool
}

type record struct {
	t       tideover.Transaction
	hash    [32]byte
	changed chan struct{}
}

func newShop() *shop {
	return &shop{all: map[tideover.ID]*record{}, delivered: map[tideover.ID]uint64{}, feeds: map[*feed]bool{}, health: terminal.Health{
		Connected: true, Uplink: "lo", Accepting: true, Message: tideover.Text{En: "all is well", Zh: "一切正常"},
	}}
}

var errUnknown = tideover.Refuse(tideover.CodeUnknownTransaction, "this till has no such transaction", "本终端没有这笔交易")

func (d *shop) Accept(ctx context.Context, by terminal.Caller, key string, _ terminal.Override, req tideover.Request) (tideover.Transaction, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, hash := tideover.MakeID("shop", by.UID, key), req.Hash([]byte("secret"))
	if r, known := d.all[id]; known {
		if r.hash != hash {
			return tideover.Transaction{}, tideover.Refuse(tideover.CodeKeyReused, "this key was used for another request", "此幂等键已用于另一请求")
		}
		t := r.t
		t.Replayed = true
		return t, nil
	}
	if err := d.answer; err != nil {
		d.answer = nil
		return tideover.Transaction{}, err
	}
	d.accepted++
	return d.put(tideover.Transaction{
		ID: id, Terminal: by.Name, TerminalUID: by.UID, Key: key, Kind: req.Kind, Amount: req.Amount, Currency: req.Currency,
		Order: req.Order, State: tideover.StateQueued, CreatedAt: tideover.MillisOf(time.Now()),
	}, hash), nil
}

func (d *shop) put(t tideover.Transaction, hash [32]byte) tideover.Transaction {
	d.seq++
	t.Seq, t.Hash = d.seq, hash
	if old, known := d.all[t.ID]; known {
		close(old.changed)
	} else {
		d.order = append(d.order, t.ID)
	}
	d.all[t.ID] = &record{t, hash, make(chan struct{})}
	for f := range d.feeds {
		f.poke()
	}
	return t
}

// sign approves a transaction with a code.
func (d *shop) sign(id, code string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	of, err := tideover.ParseID(id)
	if err != nil {
		panic(err)
	}
	t := d.all[of].t
	t.State, t.Outcome, t.EndSeq = tideover.StateApproved, &tideover.Outcome{Result: tideover.StateApproved, Code: code}, d.seq+1
	d.put(t, d.all[of].hash)
}

// tell moves a transaction to a state, as the hub's word does.
func (d *shop) tell(id tideover.ID, state tideover.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.all[id]
	t := r.t
	t.State = state
	if t.Final() {
		t.Outcome = &tideover.Outcome{Result: state, Code: "00"}
		t.EndSeq = d.seq + 1
	}
	d.put(t, r.hash)
}

// Receipt signs nothing while the end has the code "unsigned", and nothing of a bar.
func (d *shop) Receipt(ctx context.Context, by terminal.Caller, id tideover.ID) (r tideover.Receipt, signed bool, err error) {
	t, err := d.Get(ctx, by, id)
	if err != nil {
		return r, false, err
	}
	r = tideover.ReceiptOf("shop", t)
	if !t.Final() || t.Kind == tideover.KindNone || t.Outcome.Code == "unsigned" {
		return r, false, nil
	}
	r.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	return r, true, nil
}

func (d *shop) Get(_ context.Context, by terminal.Caller, id tideover.ID) (tideover.Transaction, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, known := d.all[id]
	if !known || r.t.TerminalUID != by.UID {
		return tideover.Transaction{}, errUnknown
	}
	return r.t, nil
}

func (d *shop) Wait(ctx context.Context, by terminal.Caller, id tideover.ID, seq uint64) (tideover.Transaction, error) {
	for {
		t, err := d.Get(ctx, by, id)
		if err != nil || t.Seq > seq {
			return t, err
		}
		d.mu.Lock()
		changed := d.all[id].changed
		if d.all[id].t.Seq > seq {
			d.mu.Unlock()
			continue
		}
		d.waiting++
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		d.mu.Lock()
		d.waiting--
		d.mu.Unlock()
		if err != nil {
			return t, err
		}
	}
}

func (d *shop) List(_ context.Context, by terminal.Caller, f terminal.Filter) (page []tideover.Transaction, next string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := 0
	if f.After != "" {
		if from, err = strconv.Atoi(f.After); err != nil {
			return nil, "", tideover.Refuse(tideover.CodeInvalidRequest, "next is no cursor of this list", "next 不是本列表的游标")
		}
	}
	for i, id := range d.order[min(from, len(d.order)):] {
		t := d.all[id].t
		mine := t.TerminalUID == by.UID && (f.Key == "" || t.Key == f.Key) && (f.Order == "" || t.Order == f.Order) &&
			(!f.Unacknowledged || t.Final() && !t.Acknowledged)
		if !mine {
			continue
		}
		if len(page) == f.Limit {
			return page, strconv.Itoa(from + i), nil
		}
		page = append(page, t)
	}
	return page, "", nil
}

func (d *shop) Acknowledge(ctx context.Context, by terminal.Caller, id tideover.ID, seq uint64) (tideover.Transaction, error) {
	t, err := d.Get(ctx, by, id)
	if err != nil {
		return t, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.EndSeq == 0 || seq < t.EndSeq {
		return t, tideover.Refuse(tideover.CodeOutcomeChanged, "the transaction has changed since seq %d; read it again", "自 seq %d 以来交易已变更；请重新读取", seq)
	}
	t.Acknowledged = true
	return d.put(t, d.all[id].hash), nil
}

func (d *shop) Taken(t tideover.Transaction) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = append(d.taken, t.ID)
}

func (d *shop) Delivered(id tideover.ID, seq uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delivered[id] = seq
	if r := d.all[id]; !r.t.Delivered {
		t := r.t
		t.Delivered = true
		d.put(t, r.hash)
	}
}

func (d *shop) Cancel(ctx context.Context, by terminal.Caller, id tideover.ID) (tideover.Transaction, error) {
	t, err := d.Get(ctx, by, id)
	switch {
	case err != nil:
		return t, err
	case t.Acknowledged:
		return t, tideover.Refuse(tideover.CodeAlreadyAcknowledged, "send a reversal instead", "请改发冲正交易")
	case t.State == tideover.StateQueued:
		d.tell(id, tideover.StateCancelled)
	case t.State == tideover.StateSent, t.State == tideover.StateApproved:
		d.tell(id, tideover.StateReversing)
	}
	return d.Get(ctx, by, id)
}

func (d *shop) CancelKey(ctx context.Context, by terminal.Caller, key string) (tideover.Transaction, error) {
	id := tideover.MakeID("shop", by.UID, key)
	d.mu.Lock()
	if _, known := d.all[id]; !known {
		d.put(tideover.Transaction{ID: id, Terminal: by.Name, TerminalUID: by.UID, Key: key, State: tideover.StateQueued}, [32]byte{})
	}
	d.mu.Unlock()
	return d.Cancel(ctx, by, id)
}

// feed tells a till's transactions by their seq; an event's ID is that.
type feed struct {
	d    *shop
	by   terminal.Caller
	due  chan struct{}
	ends []tideover.ID
	told map[tideover.ID]uint64 // ends that were told out of order, with their seq
	at   uint64
}

func (d *shop) Follow(_ context.Context, by terminal.Caller, after string) (terminal.Feed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.answer; err != nil {
		d.answer = nil
		return nil, err
	}
	f := &feed{d: d, by: by, due: make(chan struct{}, 1), told: map[tideover.ID]uint64{}}
	f.at, _ = strconv.ParseUint(after, 10, 64)
	for _, id := range d.order {
		if t := d.all[id].t; t.TerminalUID == by.UID && t.Final() && !t.Acknowledged {
			f.ends = append(f.ends, id)
		}
	}
	d.feeds[f] = true
	return f, nil
}

func (f *feed) poke() {
	select {
	case f.due <- struct{}{}:
	default:
	}
}

func (f *feed) Due() <-chan struct{} { return f.due }

func (f *feed) Next() (e terminal.Event, ok bool, err error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if len(f.ends) > 0 {
		e = terminal.Event{ID: strconv.FormatUint(f.at, 10), Transaction: f.d.all[f.ends[0]].t}
		f.ends, f.told[e.Transaction.ID] = f.ends[1:], e.Seq
		return e, true, nil
	}
	for _, id := range f.d.order {
		if t := f.d.all[id].t; t.TerminalUID == f.by.UID && t.Seq > f.at && t.Seq != f.told[id] && (!ok || t.Seq < e.Seq) {
			e, ok = terminal.Event{ID: strconv.FormatUint(t.Seq, 10), Transaction: t}, true
		}
	}
	if ok {
		f.at = e.Seq
	}
	return e, ok, nil
}

func (f *feed) Close() {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	delete(f.d.feeds, f)
}

func (d *shop) Unfinished(_ context.Context, by terminal.Caller, longer time.Duration, limit int) (oldest []tideover.Transaction, all int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range d.order {
		t := d.all[id].t
		if t.TerminalUID != by.UID || t.Acknowledged || time.Since(t.CreatedAt.Time()) < longer {
			continue
		}
		if all++; all <= limit {
			oldest = append(oldest, t)
		}
	}
	return oldest, all, nil
}

func (d *shop) Health() terminal.Health {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.health
}

func (d *shop) Authenticate(token string) (terminal.Caller, bool) { return d.roster.Match(token) }

func (d *shop) Pair(_ context.Context, r terminal.PairRequest) (till tideover.Terminal, token string, err error) {
	err = d.book.Redeem(r.Code, func(g terminal.Grant) error {
		name := cmp.Or(g.Name, r.Name, "till")
		d.mu.Lock()
		defer d.mu.Unlock()
		uid := terminal.NewUID()
		for i, t := range d.terminals {
			if t.Name != name {
				continue
			}
			if !g.Replace {
				return tideover.Refuse(tideover.CodeNameInUse, "another till is called %s", "已有名为 %s 的终端", name)
			}
			uid = t.UID
			d.terminals = slices.Delete(slices.Clone(d.terminals), i, i+1)
			break
		}
		var hash [32]byte
		token, hash = terminal.NewToken()
		till = tideover.Terminal{UID: uid, Name: name, TokenHash: hash}
		d.terminals = append(slices.Clone(d.terminals), till)
		d.roster.Set(d.terminals)
		return nil
	})
	return till, token, err
}

// awaitWaits waits until n waits are on their way.
func (d *shop) awaitWaits(t *testing.T, n int) {
	t.Helper()
	until(t, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.waiting == n
	})
}

// until polls a condition that another goroutine brings about.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it never came about")
}

// counter is an endpoint that listens, its desk, and a till that was let in.
type counter struct {
	*testing.T
	desk  *shop
	addr  string
	token string
	stop  func() error // drains the endpoint and returns what Run returned
}

// openCounter starts an endpoint on a port of its own.
func openCounter(t *testing.T, change ...func(*terminal.Config)) *counter {
	t.Helper()
	cfg := terminal.DefaultConfig()
	cfg.Listen, cfg.Lang, cfg.DefaultWait = "127.0.0.1:0", tideover.English, 0
	for _, f := range change {
		f(&cfg)
	}
	c := &counter{T: t, desk: newShop()}
	s, err := terminal.New(cfg, c.desk, c.log())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	c.addr = s.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Errorf("the endpoint ended with %v", err)
		}
	})
	c.token = c.pair("till-1")
	return c
}

func (c *counter) log() *slog.Logger { return slog.New(slog.NewTextHandler(c.Output(), nil)) }

// pair lets a till in by the desk, and returns its token.
func (c *counter) pair(name string) string {
	c.Helper()
	code, _, err := c.desk.book.Open(terminal.Grant{Name: name})
	if err != nil {
		c.Fatal(err)
	}
	_, token, err := c.desk.Pair(c.Context(), terminal.PairRequest{Code: code})
	if err != nil {
		c.Fatal(err)
	}
	return token
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// call is one request; header lines are "Name: value", and an empty value takes a default away.
type call struct {
	method, path, body string
	header             []string
}

func post(path, body string, header ...string) call { return call{"POST", path, body, header} }
func get(path string, header ...string) call        { return call{"GET", path, "", header} }

// sell is a sale of 12.99 under a key.
func sell(key string, header ...string) call {
	return post("/v1/transactions", `{"kind":"sale","amount":1299,"currency":"CNY"}`, append([]string{"Idempotency-Key: " + key}, header...)...)
}

// do sends a request over a connection of its own.
func (c *counter) do(q call) answer {
	return c.doWith(&http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second}}, q)
}

func (c *counter) doWith(client *http.Client, q call) answer {
	req, err := http.NewRequestWithContext(c.Context(), q.method, "http://"+c.addr+q.path, strings.NewReader(q.body))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if q.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range q.header {
		name, value, _ := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); value == "" {
			req.Header.Del(name)
		} else {
			req.Header.Add(name, value)
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.Header.Get("Content-Language") != "" { // else it is net/http's own, about what is no HTTP
		if wrong := asDescribed().Answer(q.method, q.path, res.StatusCode, res.Header, body); wrong != nil {
			c.Errorf("not as described: %v", wrong)
		}
	}
	return answer{res.StatusCode, res.Header, body, err}
}

// asDescribed is the API's own description; every answer of these tests is held to it.
var asDescribed = sync.OnceValue(func() *openapi.Description {
	document, err := os.ReadFile("openapi.json")
	if err != nil {
		panic(err)
	}
	d, err := openapi.Load(document)
	if err != nil {
		panic(err)
	}
	return d
})

// must sends a request that is answered with a status, and reads its body into the values given.
func (c *counter) must(status int, q call, into ...any) answer {
	c.Helper()
	a := c.do(q)
	if a.err != nil || a.status != status {
		c.Fatalf("%s %s: %d, %v, want %d: %s", q.method, q.path, a.status, a.err, status, a.body)
	}
	for _, v := range into {
		if err := json.Unmarshal(a.body, v); err != nil {
			c.Fatalf("%s %s: %v in %s", q.method, q.path, err, a.body)
		}
	}
	return a
}

// dial opens a bare connection.
func (c *counter) dial() net.Conn {
	c.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { conn.Close() })
	return conn
}
