package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/queue"
	"tideover/terminal"
)

// front is an endpoint in front of a house: tills name themselves.
type front struct {
	*testing.T
	addr   string
	client *http.Client
	stop   func()
}

func (h *house) front(t *testing.T) *front {
	t.Helper()
	cfg := terminal.DefaultConfig()
	cfg.Listen, cfg.Access, cfg.DefaultWait = "127.0.0.1:0", terminal.AccessOpen, 0
	s, err := terminal.New(cfg, h.desk, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	f := &front{T: t, addr: s.Addr().String(), client: &http.Client{Transport: &http.Transport{Protocols: protocols}}}
	f.stop = sync.OnceFunc(func() {
		f.client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the endpoint: %v", err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

// restart ends the process behind a front, and starts the next one.
func (f *front) restart(h *house) *front {
	f.stop()
	h.stop()
	h.open(f.T)
	return h.front(f.T)
}

func (f *front) request(ctx context.Context, till, method, path, body string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+f.addr+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Tideover-Terminal", till)
	return req
}

// follower is a till that follows its transactions over one stream after the other.
type follower struct {
	till  string
	at    string // Last-Event-ID
	knows map[tideover.ID]tideover.Transaction
}

// lastKey is of a transaction after which a follower reads no more.
const lastKey = "last"

// happened is one event as a till reads it.
type happened struct{ name, id, data string }

// follow reads at most n events, and fewer where none comes for a time after the first sure ones.
func (f *front) follow(w *follower, sure, n int, quiet time.Duration) (told []string, err error) {
	ctx, leave := context.WithCancel(f.Context())
	defer leave()
	req := f.request(ctx, w.till, "GET", "/v1/events", "")
	if w.at != "" {
		req.Header.Set("Last-Event-ID", w.at)
	}
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return nil, fmt.Errorf("answered with %d", res.StatusCode)
	}
	events := make(chan happened)
	go func() {
		defer close(events)
		var e happened
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
			case "event":
				e.name = value
			case "id":
				e.id = value
			case "data":
				e.data = value
			case "":
				if e.data != "" {
					select {
					case events <- e:
					case <-ctx.Done():
						return
					}
				}
				e = happened{}
			}
		}
	}()
	for len(told) < n {
		patience := quiet
		if len(told) < sure {
			patience = 10 * time.Second
		}
		select {
		case e, ok := <-events:
			if !ok {
				return told, nil
			}
			var tx tideover.Transaction
			if err := json.Unmarshal([]byte(e.data), &tx); err != nil || e.name != "transaction" || e.id == "" {
				return told, fmt.Errorf("told %+v: %v", e, err)
			}
			if tx.Terminal != w.till {
				return told, fmt.Errorf("%s was told of %s's", w.till, tx.Terminal)
			}
			w.at, w.knows[tx.ID] = e.id, tx
			told = append(told, tx.Key+" "+tx.State.String())
			if tx.Key == lastKey {
				return told, nil
			}
		case <-time.After(patience):
			return told, nil
		}
	}
	return told, nil
}

func (f *front) wantTold(w *follower, want ...string) {
	f.Helper()
	told, err := f.follow(w, len(want), 1<<30, 100*time.Millisecond)
	if err != nil || fmt.Sprint(told) != fmt.Sprint(want) {
		f.Fatalf("told %q, want %q, %v", told, want, err)
	}
}

// acknowledge acknowledges an end as it was told.
func (f *front) acknowledge(w *follower, id tideover.ID) error {
	body := fmt.Sprintf(`{"seq":%d}`, w.knows[id].Seq)
	res, err := f.client.Do(f.request(f.Context(), w.till, "POST", "/v1/transactions/"+id.String()+"/ack", body))
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != 204 {
		return fmt.Errorf("the acknowledgement was answered with %d", res.StatusCode)
	}
	return nil
}

func (h *house) approve(id tideover.ID, hubSeq uint64) error {
	return h.queue.End(queue.Told{
		Position: queue.Position{ID: id, HubSeq: hubSeq}, Outcome: tideover.Outcome{Result: tideover.StateApproved, At: 1},
	})
}

// A till follows its transactions through restarts of the router: what it has not acknowledged is told on each stream, what it has is
// not, and nothing that happened in between is missed.
func TestEvents_GoOnOverRestarts(t *testing.T) {
	h := newHouse(t)
	f := h.front(t)
	by := terminal.Caller{UID: "till-1", Name: "till-1"}
	paid, open := h.sell(t, by, "paid", 1), h.sell(t, by, "open", 2)
	h.sell(t, till2, "another's", 3)
	if err := h.approve(paid.ID, 1); err != nil {
		t.Fatal(err)
	}
	w := &follower{till: "till-1", knows: map[tideover.ID]tideover.Transaction{}}
	f.wantTold(w, "paid approved", "open queued")
	if got, err := h.queue.Get(paid.ID); err != nil || !got.Delivered {
		t.Errorf("an end that was written counts as not delivered: %v", err)
	}
	f.wantTold(w, "paid approved")
	f = f.restart(h)
	f.wantTold(w, "paid approved", "open in_doubt")
	if err := f.acknowledge(w, paid.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.approve(open.ID, 2); err != nil {
		t.Fatal(err)
	}
	f = f.restart(h)
	f.wantTold(w, "open approved", "paid approved")
	if !w.knows[paid.ID].Acknowledged {
		t.Error("the acknowledgement was not told")
	}
	if err := f.acknowledge(w, open.ID); err != nil {
		t.Fatal(err)
	}
	f.wantTold(w, "open approved")
	f.wantTold(w)
	f = f.restart(h)
	f.wantTold(w)
	w.at = ""
	f.wantTold(w)
}

// The place of another journal is none in this one.
func TestEvents_OfAReplacedRouter(t *testing.T) {
	old, replaced := newHouse(t), newHouse(t)
	by := terminal.Caller{UID: "till-1", Name: "till-1"}
	w := &follower{till: "till-1", knows: map[tideover.ID]tideover.Transaction{}}
	old.sell(t, by, "a", 1)
	old.front(t).wantTold(w, "a queued")
	replaced.sell(t, by, "b", 1)
	f := replaced.front(t)
	for _, at := range []string{w.at, "x", "-", "0", w.at + "0", strings.Repeat("9", 4000)} {
		w.at = at
		f.wantTold(w, "b queued")
	}
}

// Tills whose streams break at any event know in the end what the journal knows, over restarts too.
func TestEvents_MissNothing(t *testing.T) {
	h := newHouse(t)
	f := h.front(t)
	const tills, each, epochs = 4, 12, 3
	followers := make([]*follower, tills)
	for i := range followers {
		followers[i] = &follower{till: fmt.Sprint("till-", i), knows: map[tideover.ID]tideover.Transaction{}}
		h.sell(t, terminal.Caller{UID: followers[i].till, Name: followers[i].till}, "first", 1)
		f.wantTold(followers[i], "first queued") // from here on it has a place
	}
	var hubSeq atomic.Uint64
	for epoch := range epochs {
		var all sync.WaitGroup
		for _, w := range followers {
			by := terminal.Caller{UID: w.till, Name: w.till}
			var done sync.WaitGroup
			done.Go(func() {
				for i := range each {
					sold, err := h.Accept(t.Context(), by, fmt.Sprintf("%d-%d", epoch, i), terminal.OverrideNone, saleOf(1))
					if err == nil {
						err = h.queue.Move(sold.ID, tideover.CauseSent, edge.Note{})
					}
					if err == nil && rand.IntN(4) != 0 {
						err = h.approve(sold.ID, hubSeq.Add(1))
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
			all.Go(func() {
				for range 20 {
					if _, err := f.follow(w, 0, 1+rand.IntN(4), 20*time.Millisecond); err != nil {
						t.Error(err)
					}
					for id, tx := range w.knows {
						if tx.Final() && !tx.Acknowledged && rand.IntN(2) == 0 {
							if err := f.acknowledge(w, id); err != nil {
								t.Error(err)
							}
						}
					}
				}
				done.Wait()
			})
		}
		all.Wait()
		f = f.restart(h)
	}
	for _, w := range followers {
		h.sell(t, terminal.Caller{UID: w.till, Name: w.till}, lastKey, 1)
		told, err := f.follow(w, 1<<30, 1<<30, 0)
		if err != nil || told[len(told)-1] != "last queued" {
			t.Fatalf("told %q, %v", told, err)
		}
		list, _, err := h.queue.List(queue.Filter{Terminal: w.till})
		if err != nil || len(list) != each*epochs+2 {
			t.Fatalf("%d, %v", len(list), err)
		}
		for _, tx := range list {
			if knows := w.knows[tx.ID]; knows.State != tx.State || knows.Acknowledged != tx.Acknowledged {
				t.Errorf("%s of %s is %s (acknowledged: %t), and was told as %q (%t)", tx.Key, w.till, tx.State, tx.Acknowledged, knows.State, knows.Acknowledged)
			}
		}
	}
}

func TestDesk_SaysWhatIsUnfinished(t *testing.T) {
	h := newHouse(t)
	var ids []tideover.ID
	for i := range 4 {
		ids = append(ids, h.sell(t, till1, fmt.Sprint(i), 1).ID)
		time.Sleep(2 * time.Millisecond) // they are told apart by when they came
	}
	h.sell(t, till2, "another's", 1)
	for i, id := range ids[:2] {
		if err := h.approve(id, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.queue.Get(ids[0])
	if err == nil {
		_, err = h.Acknowledge(t.Context(), till1, ids[0], got.Seq)
	}
	if err != nil {
		t.Fatal(err)
	}
	future := h.draft(till1, "from the future", saleOf(1))
	future.CreatedAt += 3_600_000
	if _, err := h.queue.Accept(t.Context(), future, func(queue.View) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		longer time.Duration
		limit  int
		all    int
		want   string
	}{
		{time.Hour, 9, 1, "[from the future]"},
		{0, 9, 4, "[1 2 3 from the future]"},
		{0, 2, 4, "[1 2]"},
	} {
		oldest, all, err := h.Unfinished(t.Context(), till1, row.longer, row.limit)
		var keys []string
		for _, tx := range oldest {
			keys = append(keys, tx.Key)
		}
		if err != nil || all != row.all || fmt.Sprint(keys) != row.want {
			t.Errorf("longer than %s: %q of %d, %v", row.longer, keys, all, err)
		}
	}
	h.stop()
	if _, err := h.Follow(t.Context(), till1, ""); !errors.Is(err, terminal.ErrAbort) {
		t.Errorf("a feed of a closed journal: %v", err)
	}
}

func FuzzParseEventID(f *testing.F) {
	journal := [16]byte{1, 2, 3}
	for _, through := range []uint64{0, 1, 1<<64 - 1} {
		f.Add(eventID(journal, through))
	}
	good := eventID(journal, 42)
	for _, bad := range []string{
		"", "-", "42", good + "0", "0" + good, strings.ToUpper(good), good + " ", strings.Replace(good, "-", "-+", 1),
		strings.Replace(good, "-", "-0", 1), strings.Replace(good, "-", "--", 1), eventID([16]byte{}, 42), eventID(journal, 1<<64-1) + "0",
	} {
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, id string) {
		through, ok := parseEventID(journal, id)
		if ok != (id == eventID(journal, through)) {
			t.Errorf("%q is read as %d, %t", id, through, ok)
		}
	})
}
