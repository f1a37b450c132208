package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/hub/ledger/bolt"
	"tideover/wire"
)

var (
	key     = [32]byte{1, 2, 3}
	current = [16]byte{9}
)

const store = "shop-0001"

// create makes a ledger with one store whose edge has said hello.
func create(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := bolt.Create(path, key); err != nil {
		t.Fatal(err)
	}
	l, end := open(t, path)
	if err := l.AddStore(t.Context(), ledger.Store{Name: store, Secret: [32]byte{7}}); err != nil {
		t.Fatal(err)
	}
	hello(t, l, store)
	end()
	return path
}

func hello(t testing.TB, l *bolt.Ledger, name string) {
	t.Helper()
	err := l.Update(t.Context(), ledger.Update{Store: name, Step: func(v *ledger.View) error {
		_, err := v.Hello(wire.Hello{Incarnation: current})
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a ledger and runs it until end is called, or the test ends.
func open(t testing.TB, path string) (l *bolt.Ledger, end func()) {
	t.Helper()
	l, err := bolt.Open(bolt.Options{Path: path, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	end = sync.OnceFunc(func() {
		stop()
		running.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return l, end
}

func request(name string) wire.Submit {
	return wire.Submit{
		ID: tideover.MakeID(store, "t1", name), TerminalUID: "t1", Terminal: "till-1", Key: name, Hash: [32]byte{1},
		Request: tideover.Request{
			Kind: tideover.KindAdvice, Amount: 1299, Currency: "CNY", Instrument: "284500001111222233", Payload: []byte(`{"secret":"payload"}`),
		},
	}
}

// claim claims a request; record ends it.
func claim(t testing.TB, l *bolt.Ledger, s wire.Submit) {
	t.Helper()
	err := l.Update(t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{s.ID}, Step: func(v *ledger.View) error {
		v.Claim(s, current, ledger.Lease{Owner: l.Owner(), Until: time.Hour})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func record(t testing.TB, l *bolt.Ledger, s wire.Submit) {
	t.Helper()
	err := l.Update(t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{s.ID}, Step: func(v *ledger.View) error {
		r := v.Rows[0]
		a := ledger.Answer{Said: ledger.SaidApproved, Amount: s.Request.Amount, Currency: s.Request.Currency}
		v.Record(r.Fence, a, r.State == tideover.RowInDoubt, ledger.Policy{Idempotent: true}, ledger.Lease{})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLedger_KeepsWhatItWasTold(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	done, open1 := request("a"), request("b")
	claim(t, l, done)
	claim(t, l, open1)
	record(t, l, done)
	id := l.ID()
	end()

	l, _ = open(t, path)
	if l.ID() != id {
		t.Error("the ledger has another id")
	}
	r, err := l.Row(store, done.ID)
	if err != nil || r.State != tideover.RowDone || r.HubSeq != 1 || r.Request.Request.Instrument != "" || r.Request.Request.Payload != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, _ := l.Row(store, open1.ID); r.State != tideover.RowInDoubt || !r.Called {
		t.Errorf("a claim of an earlier process has not lapsed: %+v", r)
	}
	rows, err := l.OpenRows()
	if err != nil || len(rows) != 1 || rows[0] != (ledger.Key{Store: store, ID: open1.ID}) {
		t.Errorf("open rows: %v, %v", rows, err)
	}
	full, err := l.Request(store, done.ID)
	if err != nil || full.Request.Instrument != done.Request.Instrument || !bytes.Equal(full.Request.Payload, done.Request.Payload) {
		t.Errorf("the request: %+v, %v", full, err)
	}
	if s, err := l.Store(store); err != nil || s.Secret != [32]byte{7} {
		t.Errorf("the store: %+v, %v", s, err)
	}
	st, err := l.Stats()
	if err != nil || st.Rows != 2 || st.Open != 1 || st.Outbox != 1 || st.Stores != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if found, err := l.Find(done.ID); err != nil || len(found) != 1 || found[0].ID != done.ID {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestLedger_OutboxIsKeptUntilExactlyAcknowledged(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	var all []wire.Submit
	for i := range 5 {
		s := request(fmt.Sprint(i))
		all = append(all, s)
		claim(t, l, s)
		record(t, l, s)
	}
	seqs := func(after uint64, limit int) (got []uint64) {
		page, err := l.Outbox(store, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			got = append(got, c.HubSeq)
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
			if c.Adopt == nil || c.Adopt.Request.Instrument == "" || c.Adopt.Request.Payload != nil {
				t.Errorf("adopt: %+v", c.Adopt)
			}
		}
		return got
	}
	want := func(got []uint64, want ...uint64) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("outbox %v, want %v", got, want)
		}
	}
	want(seqs(0, 10), 1, 2, 3, 4, 5)
	want(seqs(2, 2), 3, 4)
	if err := l.Acknowledge(t.Context(), store, current, []wire.Position{{ID: all[1].ID, HubSeq: 2}, {ID: all[1].ID, HubSeq: 2}, {ID: all[2].ID, HubSeq: 4}, {ID: tideover.ID{1}, HubSeq: 9}}); err != nil {
		t.Fatal(err)
	}
	want(seqs(0, 10), 1, 3, 4, 5)
	end()
	l, _ = open(t, path)
	want(seqs(0, 10), 1, 3, 4, 5)
	if n, err := l.OutboxLen(store); n != 4 || err != nil {
		t.Error(n, err)
	}
	// Only what is sealed is dropped.
	s, err := l.Request(store, all[1].ID)
	if err != nil || s.Request.Instrument != "" || s.Request.Payload != nil || s.Request.Amount != 1299 {
		t.Errorf("after the acknowledgement: %+v, %v", s, err)
	}
	if r, err := l.Row(store, all[1].ID); err != nil || r.Outcome.Result != tideover.StateApproved {
		t.Errorf("after the acknowledgement: %+v, %v", r, err)
	}
	if page, err := l.Outbox("shop-00", 0, 10); err != nil || len(page) != 0 {
		t.Error("another store's outbox:", page, err)
	}
}

// A row that is being undone owes its edge nothing until its new end, which then takes the place of the old one.
func TestLedger_OutboxWhileAnEndIsUndone(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	hello(t, l, store)
	s := request("a")
	claim(t, l, s)
	record(t, l, s)
	update := func(step func(v *ledger.View) ledger.Decision) {
		t.Helper()
		err := l.Update(t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{s.ID}, Step: func(v *ledger.View) error {
			step(v)
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	update(func(v *ledger.View) ledger.Decision {
		return v.Cancel(wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key})
	})
	if page, err := l.Outbox(store, 0, 10); err != nil || len(page) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
	end()
	l, _ = open(t, path)
	hello(t, l, store)
	if st, err := l.Stats(); err != nil || st.Outbox != 0 || st.Open != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	update(func(v *ledger.View) ledger.Decision {
		return v.RecordReverse(ledger.Answer{Said: ledger.SaidReversed}, ledger.Policy{})
	})
	// The edge has the old end on its disk, and says so late.
	if err := l.Acknowledge(t.Context(), store, current, []wire.Position{{ID: s.ID, HubSeq: 1}}); err != nil {
		t.Fatal(err)
	}
	page, err := l.Outbox(store, 0, 10)
	if err != nil || len(page) != 1 || page[0].HubSeq != 2 || page[0].Outcome.Result != tideover.StateReversed {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestLedger_DrawsPositionsWithoutGaps(t *testing.T) {
	l, _ := open(t, create(t))
	var g sync.WaitGroup
	for w := range 8 {
		g.Go(func() {
			for i := range 40 {
				s := request(fmt.Sprint(w, "-", i))
				claim(t, l, s)
				record(t, l, s)
			}
		})
	}
	g.Wait()
	page, err := l.Outbox(store, 0, 1000)
	if err != nil || len(page) != 320 {
		t.Fatal(len(page), err)
	}
	for i, c := range page {
		if c.HubSeq != uint64(i+1) {
			t.Fatalf("position %d at %d", c.HubSeq, i+1)
		}
	}
}

func TestLedger_StepWithAnErrorChangesNothing(t *testing.T) {
	l, _ := open(t, create(t))
	s, bad := request("a"), errors.New("bad")
	err := l.Update(t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{s.ID}, Step: func(v *ledger.View) error {
		v.Claim(s, current, ledger.Lease{})
		return bad
	}})
	if !errors.Is(err, bad) {
		t.Fatal(err)
	}
	if r, err := l.Row(store, s.ID); err != nil || r.State != tideover.RowNone {
		t.Errorf("%+v, %v", r, err)
	}
	if err := l.Update(t.Context(), ledger.Update{Store: "nobody"}); !errors.Is(err, ledger.ErrStoreUnknown) {
		t.Error(err)
	}
}

func TestLedger_StoppedAnswersNobody(t *testing.T) {
	l, end := open(t, create(t))
	end()
	if err := l.Update(context.Background(), ledger.Update{Store: store}); !errors.Is(err, ledger.ErrStopped) {
		t.Error(err)
	}
	if err := l.Ping(context.Background()); !errors.Is(err, ledger.ErrStopped) {
		t.Error(err)
	}
}

func TestLedger_Stores(t *testing.T) {
	path := create(t)
	l, _ := open(t, path)
	ctx := t.Context()
	if err := l.AddStore(ctx, ledger.Store{Name: store}); !errors.Is(err, ledger.ErrStoreExists) {
		t.Error(err)
	}
	if err := l.AddStore(ctx, ledger.Store{Name: "a-longer-name", Secret: [32]byte{8}, Token: ledger.Token{Hash: [32]byte{5}}}); err != nil {
		t.Fatal(err)
	}
	if name, err := l.StoreOfToken([32]byte{5}); name != "a-longer-name" || err != nil {
		t.Error(name, err)
	}
	err := l.ChangeStore(ctx, "a-longer-name", func(s *ledger.Store, _ tideover.Millis) error {
		s.Issue([32]byte{6}, 10)
		s.Name, s.Secret = "nonsense", [32]byte{1}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.StoreOfToken([32]byte{5}); !errors.Is(err, ledger.ErrTokenUnknown) {
		t.Error("the replaced token:", err)
	}
	if s, err := l.Store("a-longer-name"); err != nil || s.Secret != [32]byte{8} || s.Token.Hash != [32]byte{6} || s.CreatedAt == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	all, err := l.Stores()
	if err != nil || len(all) != 2 || all[0].Name != "a-longer-name" || all[1].Name != store || all[0].Secret != [32]byte{} {
		t.Errorf("%+v, %v", all, err)
	}
	tills := []tideover.Terminal{{UID: "u", Name: "till-1", TokenHash: [32]byte{3}}}
	if err := l.KeepTerminals(ctx, store, [16]byte{1}, tills, [32]byte{2}); !errors.Is(err, ledger.ErrSuperseded) {
		t.Error(err)
	}
	if err := l.KeepTerminals(ctx, store, current, tills, [32]byte{2}); err != nil {
		t.Error(err)
	}
	if got, err := l.Terminals(store); err != nil || len(got) != 1 || got[0] != tills[0] {
		t.Error(got, err)
	}
	if got, err := l.Terminals("a-longer-name"); err != nil || got != nil {
		t.Error(got, err)
	}
}

// Nothing that must be sealed is in the file in clear, nor is it once it was dropped.
func TestLedger_SealsWhatItMust(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	s := request("a")
	claim(t, l, s)
	end()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{s.Request.Instrument, "payload", string(bytes.Repeat([]byte{7}, 1)) + string(make([]byte, 31))} {
		if bytes.Contains(b, []byte(clear)) {
			t.Errorf("%q is in the file", clear)
		}
	}
}

func TestLedger_TimeNeverGoesBack(t *testing.T) {
	path := create(t)
	wall := time.Now().Add(48 * time.Hour)
	l, err := bolt.Open(bolt.Options{Path: path, Key: key, Wall: func() time.Time { return wall }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	first := l.Now()
	wall = wall.Add(-time.Hour)
	if l.Now() < first {
		t.Error("it went back with the wall clock")
	}
	wall = wall.Add(2 * time.Hour)
	if got := l.Now(); got < first.Add(59*time.Minute) {
		t.Error("it did not follow the wall clock forward")
	}
	hello(t, l, store)
	last := l.Now()
	stop()
	<-ended
	l.Close()
	l, _ = open(t, path)
	if got := l.Now(); got < last.Add(-time.Minute) {
		t.Errorf("after a restart it is %v, was %v", got.Time(), last.Time())
	}
}
