package hub

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/hub/platform"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// answered is what a reconcile's stream said.
type answered struct {
	ledger, platform []wire.Booking
	balanced         wire.Balanced
	pages            int
	refused          *wire.Refused
	err              error // the stream's, where neither closed it
}

// of finds the entries of an id.
func (a *answered) of(id tideover.ID) (ledger, platform []wire.Booking) {
	for _, e := range a.ledger {
		if e.ID == id {
			ledger = append(ledger, e)
		}
	}
	for _, e := range a.platform {
		if e.ID == id {
			platform = append(platform, e)
		}
	}
	return ledger, platform
}

// readAnswer reads a reconcile's stream to its end.
func readAnswer(st *quic.Stream) (a answered) {
	_ = st.SetReadDeadline(time.Now().Add(soon))
	for first := true; ; first = false {
		_, msg, err := wire.ReadFrame(st, wire.FromHub)
		if err != nil {
			a.err = err
			return a
		}
		switch m := msg.(type) {
		case wire.Got:
			if !first {
				a.err = errors.New("got came twice")
				return a
			}
		case wire.Booked:
			a.pages++
			for _, e := range m.Entries {
				if e.Side == wire.SideLedger {
					a.ledger = append(a.ledger, e)
				} else {
					a.platform = append(a.platform, e)
				}
			}
		case wire.Balanced:
			a.balanced = m
			_, _, a.err = wire.ReadFrame(st, wire.FromHub)
			if a.err == io.EOF {
				a.err = nil
			}
			return a
		case wire.Refused:
			a.refused = &m
			return a
		default:
			a.err = fmt.Errorf("got %#v", msg)
			return a
		}
	}
}

func (l *link) reconcile(from, to tideover.Millis) answered {
	l.t.Helper()
	return readAnswer(l.open(wire.TypeReconcile, wire.Reconcile{From: from, To: to}))
}

// books is an answer that must be one.
func (l *link) books(from, to tideover.Millis) answered {
	l.t.Helper()
	a := l.reconcile(from, to)
	if a.err != nil || a.refused != nil {
		l.t.Fatalf("%v, %+v", a.err, a.refused)
	}
	if a.balanced.Ledger != len(a.ledger) || a.balanced.Platform != len(a.platform) {
		l.t.Fatalf("%+v after %d and %d entries", a.balanced, len(a.ledger), len(a.platform))
	}
	return a
}

// sells has n sales executed, some at once, created at the times that at names, and returns them.
func sells(t *testing.T, e *testEdge, l *link, name string, n int, at func(i int) tideover.Millis) []wire.Submit {
	t.Helper()
	all := make([]wire.Submit, n)
	next := make(chan int)
	var g sync.WaitGroup
	for range 64 {
		g.Go(func() {
			for i := range next {
				s := e.sale(fmt.Sprint(name, "-", i), int64(100+i))
				s.Request.Currency = []string{"CNY", "HKD", "MOP"}[i%3]
				s.Hash, s.CreatedAt = s.Request.Hash(e.enrolled.StoreSecret[:]), at(i)
				all[i] = s
				st := l.open(wire.TypeSubmit, s)
				for {
					_, msg, err := wire.ReadFrame(st, wire.FromHub)
					if c, ok := msg.(wire.Confirmation); ok && c.Outcome.Result == tideover.StateApproved {
						break
					} else if ok || err != nil {
						t.Errorf("sale %d: %+v, %v", i, msg, err)
						break
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	g.Wait()
	return all
}

// steady are times from a moment on, one each millisecond.
func steady(from tideover.Millis) func(int) tideover.Millis {
	return func(i int) tideover.Millis { return from + tideover.Millis(i) }
}

func TestReconcile_ADayInThreeCurrencies(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 600
	}
	h := newTestHub(t, sandbox.Behaviour{})
	e, other := newEdge(t, h.add("shop-0001")), newEdge(t, h.add("shop-0002"))
	l, stranger := e.connect(), other.connect()
	if l.welcome.Features&wire.FeatureReconcile == 0 {
		t.Fatal("the welcome does not say that the hub can")
	}
	from := tideover.MillisOf(time.Now())
	begun := time.Now()
	sold := sells(t, e, l, "k", n, steady(from))
	selling := time.Since(begun)
	sells(t, other, stranger, "k", 50, steady(from))
	to := from + tideover.Millis(n)
	twice, lost := sold[n/3].ID, sold[n/2].ID
	if !h.platform.Twice(twice) || !h.platform.Lose(lost) {
		t.Fatal("nothing to inject")
	}
	begun = time.Now()
	a := l.books(from, to)
	took := time.Since(begun)
	if len(a.ledger) != n || len(a.platform) != n || !a.balanced.Statement || a.balanced.Detail != "" {
		t.Fatalf("%d and %d entries, %+v", len(a.ledger), len(a.platform), a.balanced)
	}
	if want := (2*n + wire.BookedMax - 1) / wire.BookedMax; a.pages != want {
		t.Errorf("%d frames, want %d", a.pages, want)
	}
	ledger, platform := map[tideover.ID]wire.Booking{}, map[tideover.ID][]wire.Booking{}
	for _, b := range a.ledger {
		ledger[b.ID] = b
	}
	for _, b := range a.platform {
		platform[b.ID] = append(platform[b.ID], b)
	}
	for _, s := range sold {
		b, entries := ledger[s.ID], platform[s.ID]
		want := wire.Booking{
			Side: wire.SideLedger, ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Kind: s.Request.Kind, Amount: s.Request.Amount,
			Currency: s.Request.Currency, State: tideover.StateApproved, Reference: b.Reference, CreatedAt: s.CreatedAt,
		}
		if b != want || b.Reference == "" {
			t.Fatalf("the ledger says %+v, want %+v", b, want)
		}
		if n := map[tideover.ID]int{twice: 2, lost: -1}[s.ID]; len(entries) != max(0, n+count(n == 0)) {
			t.Errorf("%s stands %d times in the statement", s.ID, len(entries))
		}
		for i, p := range entries {
			if p.Amount != b.Amount || p.Currency != b.Currency || p.Kind != b.Kind || p.State != b.State || (p.Reference == b.Reference) != (i == 0) {
				t.Errorf("the platform says %+v of %+v", p, b)
			}
		}
	}
	// One thread reads what 64 have executed; the machine is as slow for the one as for the other.
	t.Logf("%d executed in %s, reconciled in %s: ratio %.3f", n, selling, took, took.Seconds()/selling.Seconds())
	if took > selling {
		t.Errorf("to read %d took %s, to execute them %s", n, took, selling)
	}
	paymentsGoOn(t, e, l, from, to)
}

// paymentsGoOn has sales executed alone and beside a reconcile that begins anew whenever it has ended. Beside it they share the processors with
// all of that, but none waits for it.
func paymentsGoOn(t *testing.T, e *testEdge, l *link, from, to tideover.Millis) {
	t.Helper()
	const rounds, sales = 6, 60
	took := map[bool][]time.Duration{}
	var reconciles []time.Duration
	for round := range rounds {
		beside := round%2 == 1
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for beside {
				begun := time.Now()
				if a := l.reconcile(from, to); a.err != nil || a.refused != nil {
					t.Errorf("%+v, %v", a.refused, a.err)
					return
				}
				reconciles = append(reconciles, time.Since(begun))
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		for i := range sales {
			s := e.sale(fmt.Sprint("beside-", round, "-", i), 1)
			begun := time.Now()
			mustEnd(t, l.submit(s), tideover.StateApproved)
			took[beside] = append(took[beside], time.Since(begun))
		}
		close(stop)
		<-ended
	}
	median := func(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }
	alone, beside, reconcile := median(took[false]), median(took[true]), median(reconciles)
	t.Logf("a sale takes %s alone, and %s (ratio %.2f) beside %d reconciles of %s", alone, beside, beside.Seconds()/alone.Seconds(), len(reconciles), reconcile)
	if !testing.Short() && beside > reconcile/2 {
		t.Errorf("a sale takes %s alone, and %s beside reconciles of %s: it waits for them", alone, beside, reconcile)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestReconcile_FromIsWithinAndToIsNot(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	from := tideover.MillisOf(time.Now())
	sold := sells(t, e, l, "k", 10, steady(from))
	// One asks as soon as the other is answered: none is refused, since the place is given back before the last word.
	for _, c := range []struct {
		from, to tideover.Millis
		first, n int
	}{
		{from, from + 10, 0, 10},
		{from + 1, from + 10, 1, 9},
		{from, from + 9, 0, 9},
		{from + 4, from + 5, 4, 1},
		{from + 10, from + 20, 0, 0},
		{from - 5, from, 0, 0},
	} {
		a := l.books(c.from, c.to)
		if len(a.ledger) != c.n || len(a.platform) != c.n {
			t.Fatalf("%d to %d: %d and %d entries, want %d", c.from-from, c.to-from, len(a.ledger), len(a.platform), c.n)
		}
		for i := range c.n {
			if a.ledger[i].ID != sold[c.first+i].ID {
				t.Errorf("%d to %d: entry %d is %+v", c.from-from, c.to-from, i, a.ledger[i])
			}
		}
	}
}

// What the shop took while it was offline is executed days later by the platform's clock: it is matched by its id, and no other day's.
func TestReconcile_WhatWasExecutedOnAnotherDayIsFound(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	day := tideover.Millis((24 * time.Hour).Milliseconds())
	now := tideover.MillisOf(time.Now())
	sold := sells(t, e, l, "today", 3, steady(now))
	late := sells(t, e, l, "late", 4, steady(now-3*day))
	old := sells(t, e, l, "old", 1, steady(now-40*day))
	// Paid under an id that the ledger does not have.
	stray := e.sale("stray", 7)
	h.platform.Pay(t.Context(), paymentOf("shop-0001", stray))
	h.platform.Pay(t.Context(), paymentOf("shop-0002", e.sale("another's", 7)))
	today := l.books(now-1000, now+60_000)
	if len(today.ledger) != len(sold) || len(today.platform) != len(sold)+1 {
		t.Errorf("today: %d and %d entries", len(today.ledger), len(today.platform))
	}
	if ledger, platform := today.of(stray.ID); len(ledger) != 0 || len(platform) != 1 || platform[0].Amount != 7 {
		t.Errorf("what the ledger does not have: %+v, %+v", ledger, platform)
	}
	then := l.books(now-3*day-1000, now-3*day+1000)
	if len(then.ledger) != len(late) || len(then.platform) != len(late) || !then.balanced.Statement {
		t.Errorf("three days ago: %d and %d entries, %+v", len(then.ledger), len(then.platform), then.balanced)
	}
	ancient := l.books(now-40*day-1000, now-40*day+1000)
	if len(ancient.ledger) != len(old) || len(ancient.platform) != 0 || ancient.balanced.Statement || !strings.Contains(ancient.balanced.Detail, "31 days") {
		t.Errorf("forty days ago: %+v", ancient)
	}
}

// Every state of a row is told, and what was never executed too.
func TestReconcile_States(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{DeclineAmounts: []int64{13}})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	from := tideover.MillisOf(time.Now()) - 1000
	declined, undone, barred := e.sale("declined", 13), e.sale("undone", 5), e.sale("barred", 6)
	mustEnd(t, l.submit(declined), tideover.StateDeclined)
	mustEnd(t, l.submit(undone), tideover.StateApproved)
	cancel := func(s wire.Submit) any {
		return l.end(l.open(wire.TypeCancel, wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key}))
	}
	mustEnd(t, cancel(undone), tideover.StateReversed)
	mustEnd(t, cancel(barred), tideover.StateCancelled)
	h.platform.Control(func(b *sandbox.Behaviour) { b.Pending, b.PendingMS = 1, 3_600_000 })
	waiting := e.sale("waiting", 9)
	st := l.open(wire.TypeSubmit, waiting)
	defer st.CancelRead(0)
	eventually(t, "the platform is at work", func() bool { return h.platform.Count(waiting.ID).Calls == 1 })
	var a answered
	eventually(t, "the ledger has heard that", func() bool {
		a = l.books(from, tideover.MillisOf(time.Now())+1000)
		return len(a.ledger) == 4
	})
	for _, c := range []struct {
		of               wire.Submit
		ledger, platform tideover.State
		kind             tideover.Kind
	}{
		{declined, tideover.StateDeclined, tideover.StateNone, tideover.KindSale},
		{undone, tideover.StateReversed, tideover.StateReversed, tideover.KindSale},
		{barred, tideover.StateCancelled, tideover.StateNone, tideover.KindNone},
		{waiting, tideover.StatePending, tideover.StateNone, tideover.KindSale},
	} {
		ledger, platform := a.of(c.of.ID)
		if len(ledger) != 1 || ledger[0].State != c.ledger || ledger[0].Kind != c.kind || ledger[0].TerminalUID != c.of.TerminalUID {
			t.Errorf("%s: the ledger says %+v", c.of.Key, ledger)
		}
		if c.platform == tideover.StateNone && len(platform) != 0 || c.platform != tideover.StateNone && (len(platform) != 1 || platform[0].State != c.platform) {
			t.Errorf("%s: the platform says %+v", c.of.Key, platform)
		}
	}
}

func TestReconcile_WithoutAStatement(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{NoStatement: true})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	from := tideover.MillisOf(time.Now())
	sells(t, e, l, "k", 3, steady(from))
	a := l.books(from, from+100)
	if len(a.ledger) != 3 || a.balanced.Statement || a.balanced.Platform != 0 || a.balanced.Detail != "the platform gives no statement" {
		t.Errorf("%+v", a)
	}
	h.platform.Control(func(b *sandbox.Behaviour) { b.NoStatement, b.Down = false, true })
	a = l.books(from, from+100)
	if len(a.ledger) != 3 || a.balanced.Statement || !strings.Contains(a.balanced.Detail, "503") {
		t.Errorf("while it is down: %+v", a)
	}
	// What breaks off is no statement, however much of it was heard.
	h.platform.Control(func(b *sandbox.Behaviour) { b.Down = false })
	if a = l.books(from, from+100); !a.balanced.Statement || len(a.platform) != 3 {
		t.Errorf("%+v", a)
	}
}

func TestReconcile_OfASupersededProcessIsRefused(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	old := e.connect()
	e.incarnation[0] ^= 1
	fresh := e.connect()
	if a := old.reconcile(1, 2); a.refused == nil || a.refused.Reason != wire.ReasonSuperseded {
		t.Errorf("%+v", a)
	}
	fresh.books(1, 2)
}

// holdStatements has the platform's statement wait until it is let go; asked hears of each question.
func (h *testHub) holdStatements() (asked <-chan struct{}, release func()) {
	return h.hold(func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path == "/payments" })
}

// hold has requests to the platform wait until they are let go.
func (h *testHub) hold(which func(*http.Request) bool) (asked <-chan struct{}, release func()) {
	questions, let := make(chan struct{}, 100), make(chan struct{})
	wait := func(r *http.Request) {
		if which(r) {
			questions <- struct{}{}
			select {
			case <-let:
			case <-r.Context().Done():
			}
		}
	}
	h.gate.Store(&wait)
	return questions, sync.OnceFunc(func() { close(let) })
}

// paymentOf is a payment as the platform gets it, whoever sends it.
func paymentOf(store string, s wire.Submit) platform.Payment {
	return platform.Payment{ID: s.ID, Store: store, Terminal: s.Terminal, Request: s.Request, CreatedAt: s.CreatedAt, ExpiresAt: s.ExpiresAt}
}

func TestReconcile_OneAtATimeForAStore(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	asked, release := h.holdStatements()
	defer release()
	e, other := newEdge(t, h.add("shop-0001")), newEdge(t, h.add("shop-0002"))
	l := e.connect()
	now := tideover.MillisOf(time.Now())
	q := wire.Reconcile{From: now - 1000, To: now}
	first := l.open(wire.TypeReconcile, q)
	<-asked
	a := l.reconcile(q.From, q.To)
	if a.refused == nil || a.refused.Reason != wire.ReasonBusy || a.refused.Retry == 0 {
		t.Errorf("a second one: %+v", a)
	}
	// It stands in nobody's way.
	mustEnd(t, l.submit(e.sale("k", 5)), tideover.StateApproved)
	o := other.connect()
	waits := o.open(wire.TypeReconcile, q)
	<-asked
	// Whoever stops listening gives the place back.
	first.CancelRead(wire.StreamDone)
	left := time.Now()
	eventually(t, "the place is free", func() bool {
		a := l.open(wire.TypeReconcile, q)
		defer a.CancelRead(wire.StreamDone)
		select {
		case <-asked:
			return true
		case <-time.After(20 * time.Millisecond):
			return false
		}
	})
	if took := time.Since(left); took > 12*time.Second { // after 15 s the platform's page is given up by itself
		t.Errorf("the place was free after %s: nobody noticed that the edge had left", took)
	}
	release()
	if a := readAnswer(waits); a.err != nil || a.refused != nil || !a.balanced.Statement {
		t.Errorf("%+v", a)
	}
}

// A hub that stops meanwhile leaves half an answer, and it shows: neither balance nor statement comes.
func TestReconcile_AHubThatStopsMeanwhile(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	from := tideover.MillisOf(time.Now())
	sells(t, e, l, "k", 300, steady(from))
	asked, release := h.holdStatements()
	st := l.open(wire.TypeReconcile, wire.Reconcile{From: from, To: from + 1000})
	<-asked
	if err := h.shut(); err != nil {
		t.Error(err)
	}
	release()
	if a := readAnswer(st); a.err == nil && a.refused == nil {
		t.Errorf("%+v", a)
	}
	h.start()
	e.addr = h.ready.Addresses[0]

	// Now it stops in the middle of what it says, to an edge that reads slowly.
	conn := e.dialWith(&quic.Config{EnableDatagrams: true, InitialStreamReceiveWindow: 8 << 10, MaxStreamReceiveWindow: 8 << 10})
	control, _, err := e.hello(conn)
	if err != nil {
		t.Fatal(err)
	}
	slow := &link{t: t, conn: conn, control: control}
	st = slow.open(wire.TypeReconcile, wire.Reconcile{From: from, To: from + 1000})
	_ = st.SetReadDeadline(time.Now().Add(soon))
	for range 2 { // got, and the first page
		if _, _, err := wire.ReadFrame(st, wire.FromHub); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.shut(); err != nil {
		t.Error(err)
	}
	if a := readAnswer(st); a.err == nil && a.refused == nil {
		t.Errorf("%+v", a)
	}
	h.start()
	e.addr = h.ready.Addresses[0]
	if a := e.connect().books(from, from+1000); len(a.ledger) != 300 || len(a.platform) != 300 {
		t.Errorf("after the start: %d and %d", len(a.ledger), len(a.platform))
	}
}

func TestReconcile_WhileTheHubDrainsIsRefused(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	asked, release := h.hold(func(*http.Request) bool { return true })
	defer release()
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	slow := l.open(wire.TypeSubmit, e.sale("k", 5)) // keeps the hub from stopping at once
	defer slow.CancelRead(wire.StreamDone)
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- h.shut() }()
	if _, ok := l.next().(wire.GoAway); !ok {
		t.Fatal("no word that the hub drains")
	}
	if a := l.reconcile(1, 2); a.refused == nil || a.refused.Reason != wire.ReasonDraining {
		t.Errorf("%+v", a)
	}
	release()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A till that closes waits for the ledger, and for no platform.
func TestReconcile_OfTheLedgerAlone(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	from := tideover.MillisOf(time.Now())
	sells(t, e, l, "k", 3, steady(from))
	a := readAnswer(l.open(wire.TypeReconcile, wire.Reconcile{From: from, To: from + 100, LedgerOnly: true}))
	if a.err != nil || a.refused != nil || len(a.ledger) != 3 || len(a.platform) != 0 || a.balanced.Statement || a.balanced.Ledger != 3 || a.balanced.Detail == "" {
		t.Errorf("%+v", a)
	}
}

// Beyond reconcilesMax, a store waits for its turn, and gets it.
func TestReconcile_ManyStoresAtOnceTakeTurns(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	asked, release := h.holdStatements()
	defer release()
	now := tideover.MillisOf(time.Now())
	var streams []*quic.Stream
	for i := range reconcilesMax + 2 {
		l := newEdge(t, h.add(fmt.Sprint("shop-", i))).connect()
		st := l.open(wire.TypeReconcile, wire.Reconcile{From: now - 1000, To: now})
		if _, msg, err := wire.ReadFrame(st, wire.FromHub); msg != (wire.Got{}) {
			t.Fatalf("%v, %v", msg, err)
		}
		streams = append(streams, st)
	}
	for range reconcilesMax {
		<-asked
	}
	select {
	case <-asked:
		t.Error("one more than may be answered at once")
	case <-time.After(50 * time.Millisecond):
	}
	closing := newEdge(t, h.add("closing")).connect()
	if a := readAnswer(closing.open(wire.TypeReconcile, wire.Reconcile{From: now - 1000, To: now, LedgerOnly: true})); a.err != nil || a.refused != nil {
		t.Errorf("a till that closes: %+v", a)
	}
	release()
	for _, st := range streams {
		if a := readAnswer(st); a.err != nil || a.refused != nil || !a.balanced.Statement {
			t.Errorf("%+v", a)
		}
	}
}
