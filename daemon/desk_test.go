package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/queue"
	"tideover/rules"
	"tideover/terminal"
	"tideover/wire"
)

// house is a desk over a real journal, without a hub.
type house struct {
	*desk
	session *session
	path    string
	key     queue.Keys
	sizeMax int64         // of the journal; 0: as usual
	final   time.Duration // how long it keeps what is over; 0: for ever
	stop    func()
	closed  atomic.Bool
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{path: filepath.Join(t.TempDir(), "queue.db"), key: queue.OneKey([32]byte{7})}
	if err := queue.Create(h.path, h.key, queue.Ident{Store: "shop-0001"}); err != nil {
		t.Fatal(err)
	}
	h.open(t)
	t.Cleanup(func() { h.stop() })
	return h
}

// open starts the process's part: what is in memory is new, what is on disk is as it was.
func (h *house) open(t *testing.T) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	q, err := queue.Open(queue.Options{Path: h.path, Key: h.key, Store: "shop-0001", SizeMax: h.sizeMax, Log: log, Retention: queue.Retention{Final: h.final}, Overlap: func() bool { return h.session.overlap() }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the queue: %v", err)
		}
		if err := q.Close(); err != nil {
			t.Errorf("close the queue: %v", err)
		}
		h.stop = func() {}
	}
	f := &forwarder{
		queue: q, clock: newLedgerClock(), boot: thisBoot, secret: []byte("secret"), receipts: newReceipts("shop-0001", filepath.Dir(h.path), q, log),
		log: log,
	}
	f.past.Orphans = q.Orphans()
	h.session = &session{forwarder: f, ctx: ctx, ledger: [16]byte{1}, incarnation: [16]byte{2}, overlaps: true}
	h.desk = &desk{
		store: "shop-0001", secret: []byte("secret"), boot: thisBoot, judge: &judge{queue: q, boot: thisBoot, log: log}, queue: q, books: newBooks(q, nil), clock: f.clock,
		tills: &tills{queue: q, log: log, changed: func() {}}, closing: h.closed.Load, past: f.Past,
		heard: func() bool { return f.Past().Caught }, log: log,
		receipts: f.receipts,
		knows:    func(ctx context.Context, id tideover.ID) (bool, error) { return f.uplink.Knows(ctx, id) },
	}
	h.tills.load()
	h.rule(t, rules.Rules{Limits: rules.DefaultLimits(), Duplicates: rules.DefaultDuplicates()})
}

// rule puts rules in force.
func (h *house) rule(t *testing.T, r rules.Rules) {
	t.Helper()
	if _, err := h.judge.enact(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// welcome lets the edge hear its hub.
func (h *house) welcome(t *testing.T, w wire.Welcome) {
	t.Helper()
	w.Ledger, w.LedgerTime = h.session.ledger, tideover.MillisOf(time.Now())
	if err := h.session.Welcome("hub:8443", h.session.Hello(), w); err != nil {
		t.Fatal(err)
	}
	if err := h.session.CaughtUp(wire.CaughtUp{}); err != nil {
		t.Fatal(err)
	}
}

var till1, till2 = terminal.Caller{UID: "uid-1", Name: "till-1"}, terminal.Caller{UID: "uid-2", Name: "till-2"}

func saleOf(amount int64) tideover.Request {
	return tideover.Request{
		Kind: tideover.KindSale, Amount: amount, Currency: "CNY", Method: "qr", ExpiresIn: tideover.ExpiresInDefault, Payload: []byte(`{"a":1}`),
	}
}

func (h *house) sell(t *testing.T, by terminal.Caller, key string, amount int64) tideover.Transaction {
	t.Helper()
	sold, err := h.Accept(t.Context(), by, key, terminal.OverrideNone, saleOf(amount))
	if err != nil {
		t.Fatal(err)
	}
	return sold
}

func wantCode(t *testing.T, err error, code tideover.Code) {
	t.Helper()
	if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code != code {
		t.Errorf("got %v, want the refusal %s", err, code)
	}
}

func TestDesk_OneKeyIsOneTransaction(t *testing.T) {
	h := newHouse(t)
	first := h.sell(t, till1, "A-1", 1299)
	again := h.sell(t, till1, "A-1", 1299)
	if first.Replayed || !again.Replayed || first.ID != again.ID {
		t.Errorf("first %+v, again %+v", first, again)
	}
	_, err := h.Accept(t.Context(), till1, "A-1", terminal.OverrideNone, saleOf(1300))
	wantCode(t, err, tideover.CodeKeyReused)
	if other := h.sell(t, till2, "A-1", 1300); other.ID == first.ID {
		t.Error("two terminals share an id")
	}
}

func TestDesk_ATillSeesItsOwnOnly(t *testing.T) {
	h := newHouse(t)
	sold := h.sell(t, till1, "A-1", 1299)
	if _, err := h.Get(t.Context(), till1, sold.ID); err != nil {
		t.Error(err)
	}
	for name, look := range map[string]func() error{
		"get":         func() error { _, err := h.Get(t.Context(), till2, sold.ID); return err },
		"wait":        func() error { _, err := h.Wait(t.Context(), till2, sold.ID, 0); return err },
		"acknowledge": func() error { _, err := h.Acknowledge(t.Context(), till2, sold.ID, sold.Seq); return err },
		"cancel":      func() error { _, err := h.Cancel(t.Context(), till2, sold.ID); return err },
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, look(), tideover.CodeUnknownTransaction) })
	}
	page, _, err := h.List(t.Context(), till2, terminal.Filter{Limit: 10})
	if err != nil || len(page) != 0 {
		t.Errorf("another till lists %v, %v", page, err)
	}
	if page, _, _ = h.List(t.Context(), till2, terminal.Filter{Key: "A-1", Limit: 10}); len(page) != 0 {
		t.Errorf("another till finds %v by key", page)
	}
	if page, _, _ = h.List(t.Context(), till1, terminal.Filter{Key: "A-1", Limit: 10}); len(page) != 1 {
		t.Errorf("the till itself finds %v by key", page)
	}
}

func TestDesk_ALostRecordIsTheHubs(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	sold := h.sell(t, till1, "A-1", 1300) // the hub knows this key with 1299
	theirs := saleOf(1299)
	submit := wire.Submit{
		ID: sold.ID, TerminalUID: till1.UID, Terminal: till1.Name, Key: "A-1", Hash: theirs.Hash(h.secret), Request: theirs,
		CreatedAt: tideover.MillisOf(time.Now()),
	}
	refused := wire.Refused{Reason: wire.ReasonKeyReused, Adopt: &submit, End: &wire.Confirmation{
		ID: sold.ID, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved, Code: "00"},
	}}
	h.session.refused(queue.Parcel{Record: edge.Record{Transaction: sold}}, refused)
	now, err := h.Get(t.Context(), till1, sold.ID)
	if err != nil || now.State != tideover.StateApproved || now.Amount != 1299 || now.Hash == sold.Hash {
		t.Errorf("got %+v, %v; want the hub's record", now, err)
	}
	_, err = h.Accept(t.Context(), till1, "A-1", terminal.OverrideNone, saleOf(1300))
	wantCode(t, err, tideover.CodeKeyReused)
}

func TestDesk_WaitEndsWithTheOutcome(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	sold := h.sell(t, till1, "A-1", 1299)
	heard := make(chan tideover.Transaction, 1)
	go func() {
		got, _ := h.Wait(t.Context(), till1, sold.ID, sold.Seq)
		heard <- got
	}()
	if err := h.session.Confirm(wire.Confirmation{ID: sold.ID, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved}}); err != nil {
		t.Fatal(err)
	}
	got := <-heard
	if got.State != tideover.StateApproved || got.Seq <= sold.Seq {
		t.Errorf("got %+v", got)
	}
	if _, err := h.Acknowledge(t.Context(), till1, sold.ID, sold.Seq); err == nil {
		t.Error("an acknowledgement of what was told before the end is taken")
	}
	if acked, err := h.Acknowledge(t.Context(), till1, sold.ID, got.Seq); err != nil || !acked.Acknowledged {
		t.Errorf("got %+v, %v", acked, err)
	}
}

func TestDesk_StoppedAnswersNothing(t *testing.T) {
	h := newHouse(t)
	sold := h.sell(t, till1, "A-1", 1299)
	h.closed.Store(true)
	_, err := h.Accept(t.Context(), till1, "A-2", terminal.OverrideNone, saleOf(1))
	wantCode(t, err, tideover.CodeShuttingDown)
	h.closed.Store(false)
	h.stop()
	if _, err := h.Accept(t.Context(), till1, "A-2", terminal.OverrideNone, saleOf(1)); !errors.Is(err, terminal.ErrAbort) {
		t.Errorf("a stopped queue is answered: %v", err)
	}
	if _, err := h.Get(t.Context(), till1, sold.ID); !errors.Is(err, terminal.ErrAbort) {
		t.Errorf("a stopped queue is answered: %v", err)
	}
}

// What has certainly not left is ended here; the rest is undone, which the hub decides.
func TestDesk_CancelEndsHereOnlyWhatHasNotLeft(t *testing.T) {
	h := newHouse(t)
	unheard := h.sell(t, till1, "A-0", 1299)
	if got, err := h.Cancel(t.Context(), till1, unheard.ID); err != nil || got.State != tideover.StateReversing {
		t.Errorf("got %+v, %v: another router with this store's past may have sent it", got, err)
	}
	h.welcome(t, wire.Welcome{})
	kept := h.sell(t, till1, "A-1", 1299)
	if got, err := h.Cancel(t.Context(), till1, kept.ID); err != nil || got.State != tideover.StateCancelled {
		t.Errorf("got %+v, %v", got, err)
	}
	left := h.sell(t, till1, "A-2", 1299)
	if err := h.queue.Move(left.ID, tideover.CauseSent, edge.Note{Uplink: "eth1"}); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Cancel(t.Context(), till1, left.ID); err != nil || got.State != tideover.StateReversing {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := h.queue.Move(left.ID, tideover.CauseSent, edge.Note{Uplink: "eth1"}); !errors.Is(err, edge.ErrCancelAsked) {
		t.Errorf("it may be sent after its cancel: %v", err)
	}
	if len(h.queue.Tombstones()) != 1 {
		t.Errorf("tombstones: %v", h.queue.Tombstones())
	}
}

func TestTills_PairReplaceRevoke(t *testing.T) {
	h := newHouse(t)
	pair := func(g terminal.Grant, name string) (tideover.Terminal, string, error) {
		code, _, err := h.tills.book.Open(g)
		if err != nil {
			t.Fatal(err)
		}
		return h.Pair(t.Context(), terminal.PairRequest{Code: code, Name: name})
	}
	first, token, err := pair(terminal.Grant{}, "till-1")
	if err != nil {
		t.Fatal(err)
	}
	if by, ok := h.Authenticate(token); !ok || by.UID != first.UID || by.Name != "till-1" {
		t.Errorf("got %+v, %v", by, ok)
	}
	_, _, err = pair(terminal.Grant{}, "till-1")
	wantCode(t, err, tideover.CodeNameInUse)
	replaced, second, err := pair(terminal.Grant{Name: "till-1", Replace: true}, "")
	if err != nil || replaced.UID != first.UID {
		t.Errorf("the new box has uid %q, %v; the old one had %q", replaced.UID, err, first.UID)
	}
	if _, ok := h.Authenticate(token); ok {
		t.Error("the replaced box is still let in")
	}
	h.stop()
	h.open(t) // the power went off
	if by, ok := h.Authenticate(second); !ok || by.UID != first.UID {
		t.Errorf("after a restart: %+v, %v", by, ok)
	}
	if err := h.tills.revoke(t.Context(), "till-1"); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.Authenticate(second); ok {
		t.Error("a revoked till is let in")
	}
	fresh, _, err := pair(terminal.Grant{}, "till-1")
	if err != nil || fresh.UID == first.UID {
		t.Errorf("a revoked till's name gives its past away: %+v, %v", fresh, err)
	}
}

func TestSession_RefusesAnotherLedger(t *testing.T) {
	h := newHouse(t)
	err := h.session.Welcome("hub:8443", h.session.Hello(), wire.Welcome{Ledger: [16]byte{9}})
	if err == nil {
		t.Fatal("another ledger is welcome")
	}
	if h.session.Past().Caught {
		t.Error("and believed")
	}
}

func TestSession_KnowsARestoredJournalAndARestoredHub(t *testing.T) {
	h := newHouse(t)
	h.sell(t, till1, "A-1", 1299)
	h.stop()
	h.open(t)
	seq, head := h.queue.Head()
	h.welcome(t, wire.Welcome{AnchorSeq: seq, AnchorHead: head})
	if h.session.Past().Restored || h.session.Past().LostBefore != 0 {
		t.Error("a plain restart is taken for a restored copy")
	}
	h.welcome(t, wire.Welcome{AnchorSeq: seq + 1<<40})
	if !h.session.Past().Restored {
		t.Error("an anchor ahead of the journal goes unnoticed")
	}
	h.session.asked(mustNext(t, h).ID, wire.Progress{})
	if got := h.queue.Stats().ByState[tideover.StateManual]; got != 1 {
		t.Errorf("%d manual: what the ledger does not know needs a person", got)
	}
	h.welcome(t, wire.Welcome{LostBefore: 7, LostFrom: 3, Replay: true})
	if past := h.session.Past(); past.LostBefore != 7 || past.MayEnd() {
		t.Errorf("a hub that has lost something goes unnoticed: %+v", past)
	}
}

func mustNext(t *testing.T, h *house) queue.Parcel {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p, err := h.queue.Next(ctx)
	if err != nil {
		t.Fatal(fmt.Errorf("nothing to work on: %w", err))
	}
	return p
}
