package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/control"
	"tideover/edge"
	"tideover/queue"
	"tideover/terminal"
	"tideover/uplink"
	"tideover/wire"
)

// ledger is a hub that has what it was given, and one that is out of reach while err is set. The real one runs in package sandbox.
type ledger struct {
	mu      sync.Mutex
	entries []wire.Booking
	none    bool // the platform gives no statement
	err     error
	asked   []wire.Reconcile
}

func (l *ledger) Reconcile(_ context.Context, q wire.Reconcile, each func(wire.Booked) error) (b wire.Balanced, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, q)
	if err := q.Validate(); err != nil {
		return b, err
	}
	for _, e := range l.entries {
		if e.CreatedAt < q.From || e.CreatedAt >= q.To || (l.none || q.LedgerOnly) && e.Side == wire.SidePlatform {
			continue
		}
		if err := each(wire.Booked{Entries: []wire.Booking{e}}); err != nil {
			return b, err
		}
	}
	b.Statement, b.Detail = !l.none && !q.LedgerOnly, map[bool]string{true: "the platform gives none"}[l.none]
	return b, l.err
}

// Knows says whether it has an id at any time.
func (l *ledger) Knows(_ context.Context, id tideover.ID) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.ID == id && e.Side == wire.SideLedger {
			return true, l.err
		}
	}
	return false, l.err
}

// book lets ledger and platform have a transaction as the journal has it.
func (l *ledger) book(t tideover.Transaction, state tideover.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := wire.Booking{
		Side: wire.SideLedger, ID: t.ID, TerminalUID: t.TerminalUID, Terminal: t.Terminal, Kind: t.Kind, Amount: t.Amount, Currency: t.Currency,
		State: state, CreatedAt: t.CreatedAt,
	}
	l.entries = append(l.entries, e)
	if state == tideover.StateApproved {
		e.Side, e.TerminalUID, e.Terminal, e.Reference = wire.SidePlatform, "", "", "P-"+t.Key
		l.entries = append(l.entries, e)
	}
}

func (h *house) withLedger() *ledger {
	l := &ledger{}
	h.books = newBooks(h.queue, l)
	return l
}

func itemOf(t tideover.Transaction) tideover.SettlementItem {
	return tideover.SettlementItem{ID: t.ID, Kind: t.Kind, Amount: t.Amount, Currency: t.Currency, State: tideover.StateApproved}
}

func (h *house) settle(t *testing.T, by terminal.Caller, key string, s tideover.Settlement) tideover.Settled {
	t.Helper()
	id, _, err := h.Settle(t.Context(), by, key, s)
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.Settled(t.Context(), by, id)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDesk_SettlesByWhatIsKnownNow(t *testing.T) {
	h := newHouse(t)
	l := h.withLedger()
	paid, open := h.sell(t, till1, "A-1", 1299), h.sell(t, till1, "A-2", 500)
	h.sell(t, till2, "B-1", 777) // another till's
	if err := h.approve(paid.ID, 1); err != nil {
		t.Fatal(err)
	}
	l.book(paid, tideover.StateApproved)
	time.Sleep(2 * time.Millisecond) // the report ends after what was accepted
	report := tideover.Settlement{
		Totals: []tideover.SettlementTotal{{Kind: tideover.KindSale, Currency: "CNY", Count: 1, Amount: 1299}},
		Items:  []tideover.SettlementItem{itemOf(paid)},
	}
	s := h.settle(t, till1, "day", report)
	if s.Result != tideover.VerdictOpen || len(s.Items) != 1 || s.Items[0].ID != open.ID || !s.HubCompared || len(s.Totals) != 1 || *s.Totals[0].Hub != (tideover.Sum{Count: 1, Amount: 1299}) {
		t.Fatalf("have %+v", s)
	}
	morning, _ := dayOf(s.To - 1)
	if s.From != morning {
		t.Errorf("from %v, not %v", s.From.Time(), morning.Time())
	}
	if err := h.approve(open.ID, 2); err != nil { // late: the till did not count it
		t.Fatal(err)
	}
	l.book(open, tideover.StateApproved)
	h.reopen(t)
	h.books = newBooks(h.queue, l)
	id, replayed, err := h.Settle(t.Context(), till1, "day", report)
	if err != nil || !replayed || id != s.ID {
		t.Fatalf("repeated: %v, %v, %v", id, replayed, err)
	}
	late, err := h.Settled(t.Context(), till1, id)
	if err != nil || late.Result != tideover.VerdictMismatch || len(late.Items) != 1 || late.Items[0].Reason != "till_lacks" || late.From != s.From || late.To != s.To {
		t.Errorf("after a late end: %+v, %v", late, err)
	}
	report.Items[0].Amount++
	_, _, err = h.Settle(t.Context(), till1, "day", report)
	wantCode(t, err, tideover.CodeKeyReused)
	_, err = h.Settled(t.Context(), till2, id)
	wantCode(t, err, tideover.CodeUnknownTransaction)
	wantCode(t, h.AwaitSettled(t.Context(), till2, id), tideover.CodeUnknownTransaction)
}

func TestDesk_SettlesWithoutTheHub(t *testing.T) {
	h := newHouse(t)
	l := h.withLedger()
	busy := &uplink.RefusedError{Refused: wire.Refused{Reason: wire.ReasonBusy, Detail: "later"}}
	for i, err := range []error{uplink.ErrNoLink, uplink.ErrHubTooOld, fmt.Errorf("%w: in the middle", uplink.ErrLost), busy} {
		l.err = err
		s := h.settle(t, till1, fmt.Sprint(i), tideover.Settlement{From: tideover.MillisOf(time.Now().Add(-time.Hour))})
		if s.HubCompared || s.Result != tideover.VerdictMatch {
			t.Errorf("%v: %+v", l.err, s)
		}
	}
}

func TestDesk_SettlementNamesItemsByKeyAndByID(t *testing.T) {
	h := newHouse(t)
	h.withLedger().err = uplink.ErrNoLink
	sold := h.sell(t, till1, "A-1", 1299)
	if err := h.approve(sold.ID, 1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond)
	it := itemOf(sold)
	it.ID, it.Key = tideover.ID{}, "A-1"
	if s := h.settle(t, till1, "day", tideover.Settlement{Items: []tideover.SettlementItem{it}}); s.Result != tideover.VerdictMatch {
		t.Errorf("have %+v", s)
	}
	_, _, err := h.Settle(t.Context(), till1, "twice", tideover.Settlement{Items: []tideover.SettlementItem{it, itemOf(sold)}})
	wantCode(t, err, tideover.CodeInvalidRequest)
	it.Key = "4111111111111111"
	_, _, err = h.Settle(t.Context(), till1, "card", tideover.Settlement{Items: []tideover.SettlementItem{it}})
	wantCode(t, err, tideover.CodeForbiddenCardData)
	_, _, err = h.Settle(t.Context(), till1, it.Key, tideover.Settlement{})
	wantCode(t, err, tideover.CodeForbiddenCardData)
	s := h.settle(t, till2, "day", tideover.Settlement{Items: []tideover.SettlementItem{itemOf(sold)}})
	if s.Result != tideover.VerdictOneSided || s.Items[0].Journal != nil {
		t.Errorf("another till's id: %+v", s.Items)
	}
}

func TestDesk_SettlementsTimes(t *testing.T) {
	h := newHouse(t)
	h.withLedger().err = uplink.ErrNoLink
	now := tideover.MillisOf(time.Now())
	ahead := h.settle(t, till1, "1", tideover.Settlement{To: now.Add(time.Hour)})
	if ahead.To > tideover.MillisOf(time.Now()) {
		t.Errorf("to %v, which is to come", ahead.To.Time())
	}
	if next := h.settle(t, till1, "2", tideover.Settlement{}); next.From != ahead.To {
		t.Errorf("from %v, not %v", next.From, ahead.To)
	}
	h.books.hub.(*ledger).err = nil
	if at, err := h.queue.ReadReport(tideover.SettlementID("shop-0001", till1.UID, "2")); err != nil {
		t.Error(err)
	} else if s := h.settle(t, till1, "empty", tideover.Settlement{To: at.To}); s.From != s.To || s.Result != tideover.VerdictMatch || !s.HubCompared {
		t.Errorf("nothing: %+v", s)
	}
	_, _, err := h.Settle(t.Context(), till1, "3", tideover.Settlement{From: now.Add(-settlementSpanMax - time.Hour)})
	wantCode(t, err, tideover.CodeInvalidRequest)
	_, _, err = h.Settle(t.Context(), till1, "4", tideover.Settlement{From: now.Add(time.Hour)})
	wantCode(t, err, tideover.CodeInvalidRequest)
	h.closed.Store(true)
	_, _, err = h.Settle(t.Context(), till1, "5", tideover.Settlement{})
	wantCode(t, err, tideover.CodeShuttingDown)
}

func TestDesk_AwaitsWhatIsOpenInTheReport(t *testing.T) {
	h := newHouse(t)
	h.withLedger().err = uplink.ErrNoLink
	sold, held := h.sell(t, till1, "A-1", 1299), h.sell(t, till1, "A-2", 5)
	if _, err := h.queue.Hold(t.Context(), held.ID, edge.By{Who: "uid 0", Reason: "test"}); err != nil { // it waits for a person
		t.Fatal(err)
	}
	h.sell(t, till2, "B-1", 777)
	time.Sleep(2 * time.Millisecond)
	id, _, err := h.Settle(t.Context(), till1, "day", tideover.Settlement{})
	if err != nil {
		t.Fatal(err)
	}
	h.sell(t, till1, "A-3", 1) // after the report
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := h.AwaitSettled(short, till1, id); err == nil {
		t.Error("it did not wait")
	}
	done := make(chan error, 1)
	go func() { done <- h.AwaitSettled(t.Context(), till1, id) }()
	if err := h.approve(sold.ID, 1); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRouter_ReconcilesADay(t *testing.T) {
	h := newHouse(t)
	l := h.withLedger()
	tech, r := h.technician(t)
	r.books = h.books
	var sold []tideover.Transaction
	for i, by := range []terminal.Caller{till1, till1, till2} {
		tx := h.sell(t, by, fmt.Sprint(i), int64(100+i))
		if err := h.approve(tx.ID, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
		l.book(tx, tideover.StateApproved)
		sold = append(sold, tx)
	}
	time.Sleep(2 * time.Millisecond)
	h.settle(t, till1, "day", tideover.Settlement{Totals: []tideover.SettlementTotal{{Kind: tideover.KindSale, Currency: "CNY", Count: 2, Amount: 201}}})
	var lines []tideover.Compared
	ask := func(q control.ReconcileQuery) tideover.Reconciliation {
		t.Helper()
		lines = nil
		whole, err := tech.Reconcile(t.Context(), q, func(c tideover.Compared) error { lines = append(lines, c); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return whole
	}
	whole := ask(control.ReconcileQuery{All: true})
	if whole.Result != tideover.VerdictMatch || whole.Compared != 3 || len(lines) != 3 || len(whole.Findings) != 0 || !whole.Statement ||
		len(whole.Unreported) != 1 || whole.Unreported[0].Terminal != "till-2" || whole.Well() {
		t.Fatalf("have %+v", whole)
	}
	h.settle(t, till2, "day", tideover.Settlement{Items: []tideover.SettlementItem{itemOf(sold[2])}})
	today := time.Now().Format(time.DateOnly)
	if whole = ask(control.ReconcileQuery{Date: today}); !whole.Well() || len(lines) != 0 || whole.Date != today {
		t.Errorf("have %+v", whole)
	}
	if again := ask(control.ReconcileQuery{}); again.ID != whole.ID {
		t.Errorf("ids %s and %s", whole.ID, again.ID)
	}
	l.entries = append(l.entries, l.entries[1]) // executed twice
	if whole = ask(control.ReconcileQuery{}); len(whole.Findings) != 1 || whole.Findings[0].ID != sold[0].ID || whole.Findings[0].Reason != "twice" {
		t.Errorf("have %+v", whole.Findings)
	}
	l.none = true
	if whole = ask(control.ReconcileQuery{}); !whole.Well() || whole.Statement || whole.HubWhy != "the platform gives none" {
		t.Errorf("have %+v", whole)
	}
	l.err = uplink.ErrNoLink
	if whole = ask(control.ReconcileQuery{}); whole.Hub || whole.Well() || whole.HubWhy == "" || whole.Result != tideover.VerdictMatch {
		t.Errorf("have %+v", whole)
	}
	for _, date := range []string{"yesterday", "2999-01-01", "1970-01-01"} {
		if _, err := tech.Reconcile(t.Context(), control.ReconcileQuery{Date: date}, nil); err == nil {
			t.Errorf("%s was taken", date)
		}
	}
	if yesterday := ask(control.ReconcileQuery{Date: time.Now().AddDate(0, 0, -1).Format(time.DateOnly)}); yesterday.Compared != 0 {
		t.Errorf("have %+v", yesterday)
	}
}

// What a new router accepted anew keeps in the ledger the time of its first acceptance, and is there all the same.
func TestDesk_SettlesWhatARepeatedPressBrought(t *testing.T) {
	h := newHouse(t)
	l := h.withLedger()
	tech, r := h.technician(t)
	r.books = h.books
	again, unknown := h.sell(t, till1, "A-1", 1299), h.sell(t, till1, "A-2", 500)
	for i, tx := range []tideover.Transaction{again, unknown} {
		if err := h.approve(tx.ID, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	early := again
	early.CreatedAt = again.CreatedAt.Add(-26 * time.Hour)
	l.book(early, tideover.StateApproved)
	time.Sleep(2 * time.Millisecond)
	s := h.settle(t, till1, "day", tideover.Settlement{Items: []tideover.SettlementItem{itemOf(again), itemOf(unknown)}})
	if len(s.Items) != 1 || s.Items[0].ID != unknown.ID || s.Items[0].Reason != "hub_lacks" || !s.HubCompared {
		t.Errorf("have %+v", s.Items)
	}
	heard := unknown // by a ledger that was put back, a moment ago
	heard.CreatedAt = s.To
	time.Sleep(2 * time.Millisecond)
	l.book(heard, tideover.StateApproved)
	if s, err := h.Settled(t.Context(), till1, s.ID); err != nil || s.Result != tideover.VerdictMatch {
		t.Errorf("heard of again: %+v, %v", s.Items, err)
	}
	whole, err := tech.Reconcile(t.Context(), control.ReconcileQuery{}, nil)
	if err != nil || !whole.Well() || whole.Compared != 2 {
		t.Errorf("%v, %+v", err, whole)
	}
	h.sell(t, till2, "B-1", 1) // and where no report says so
	late := h.sell(t, till2, "B-2", 700)
	if err := h.approve(late.ID, 3); err != nil {
		t.Fatal(err)
	}
	early = late
	early.CreatedAt = late.CreatedAt.Add(-26 * time.Hour)
	l.book(early, tideover.StateApproved)
	time.Sleep(2 * time.Millisecond)
	if whole, err = tech.Reconcile(t.Context(), control.ReconcileQuery{}, nil); err != nil || len(whole.Findings) != 1 || whole.Findings[0].Reason != "open" {
		t.Errorf("%v, %+v", err, whole)
	}
}

// However much tills report, a comparison does not outgrow the router: what is superseded is not held, and too much is said.
func TestRouter_ReconcileIsBounded(t *testing.T) {
	h := newHouse(t)
	h.withLedger()
	tech, r := h.technician(t)
	r.books = h.books
	now := tideover.MillisOf(time.Now())
	report := func(key string, from tideover.Millis) {
		t.Helper()
		s := tideover.Settlement{From: from, To: now}
		for i := range queue.SettlementItemsMax {
			s.Items = append(s.Items, tideover.SettlementItem{ID: tideover.MakeID("x", "y", fmt.Sprint(i)), Kind: tideover.KindSale, Amount: 1, Currency: "CNY", State: tideover.StateDeclined})
		}
		if _, _, err := h.Settle(t.Context(), till1, key, s); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 { // each replaces the one before it
		report(fmt.Sprint("a", i), now.Add(-time.Duration(i+1)*time.Minute))
	}
	whole, err := tech.Reconcile(t.Context(), control.ReconcileQuery{}, nil)
	if err != nil || len(whole.Reports) != 8 || !whole.Reports[6].Superseded || whole.Reports[7].Superseded {
		t.Fatalf("%v, %d reports", err, len(whole.Reports))
	}
	for i := range 5 { // none covers the one before it
		report(fmt.Sprint("b", i), now.Add(-time.Duration(20-i)*time.Second))
	}
	_, err = tech.Reconcile(t.Context(), control.ReconcileQuery{}, nil)
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != "too_many_transactions" {
		t.Errorf("have %v", err)
	}
}

// The endpoint takes no report that the journal cannot hold.
func TestDesk_EndpointAndJournalAgreeOnAReport(t *testing.T) {
	if terminal.SettlementItemsMax > queue.SettlementItemsMax || terminal.SettlementTotalsMax > queue.SettlementTotalsMax {
		t.Error("the endpoint takes more than the journal holds")
	}
}
