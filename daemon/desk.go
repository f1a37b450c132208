package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/internal/boottime"
	"tideover/queue"
	"tideover/rules"
	"tideover/terminal"
)

// desk answers the endpoint out of the queue.
type desk struct {
	store    string
	secret   []byte // keys the request and instrument hashes
	boot     [16]byte
	judge    *judge
	queue    *queue.Queue
	books    *books
	clock    *ledgerClock
	tills    *tills
	receipts *receipts
	health   func() terminal.Health
	heard    func() bool                                      // a hub is, just now; see Router.heard
	knows    func(context.Context, tideover.ID) (bool, error) // the hub's ledger has an id
	closing  func() bool
	past     func() edge.Past // see forwarder
	log      *slog.Logger
}

// Accept implements terminal.Desk. The rules are asked inside the accepting commit, so that two requests at once see each other;
// a known key is answered before any of them.
func (d *desk) Accept(
	ctx context.Context, by terminal.Caller, key string, o terminal.Override, req tideover.Request,
) (tideover.Transaction, error) {
	if d.closing() {
		return tideover.Transaction{}, shuttingDown()
	}
	if err := rules.Malformed(req); err != nil {
		return tideover.Transaction{}, err
	}
	// What is known of the line is read before the commit: under the queue's lock nobody waits for the uplink's.
	heard, superseded := d.heard(), d.past().Superseded
	book, unrecorded := d.judge.book(ctx)
	draft := d.draft(by, key, req)
	draft.Rules = book.on.Seq
	forbidden := rules.CardData(req, rules.Text{Field: "Idempotency-Key", Value: key}, rules.Text{Field: "Tideover-Terminal", Value: by.Name})
	var found edge.Judged
	taken := false // by another router
	decide := func(v queue.View) (err error) {
		switch {
		case forbidden != nil:
			return forbidden
		case superseded && req.Kind != tideover.KindReversal:
			return replaced()
		case unrecorded != nil:
			return unrecorded
		case taken:
			return nil
		}
		found, err = seen{v, d, &draft, heard}.judge(book.Rules, o)
		v.Keep(found)
		return err
	}
	t, err := d.queue.Accept(ctx, draft, decide)
	if err != nil {
		if taken, err = d.elsewhere(ctx, draft.ID, err); taken {
			t, err = d.queue.Accept(ctx, draft, decide)
		}
	}
	if err == nil && !t.Replayed && !found.DuplicateOf.IsZero() {
		d.log.Warn("taken although it looks like a second press", "txn", t.ID, "of", found.DuplicateOf, "operator", t.Operator, "override", found.Override)
	}
	return t, told(err)
}

// Taken implements terminal.Desk.
func (d *desk) Taken(t tideover.Transaction) {
	d.log.Info("accepted", "txn", t.ID, "terminal", t.Terminal, "kind", t.Kind.String())
}

// draft is the record that a request becomes.
func (d *desk) draft(by terminal.Caller, key string, req tideover.Request) edge.Draft {
	draft := edge.Draft{
		ID: tideover.MakeID(d.store, by.UID, key), TerminalUID: by.UID, Terminal: by.Name, Key: key, Request: req,
		Hash: req.Hash(d.secret), InstrumentHash: tideover.InstrumentHash(d.secret, req.Instrument),
		CreatedAt: tideover.MillisOf(time.Now()), Boot: d.boot, BootAt: boottime.Now(),
	}
	if now, known := d.clock.Now(); known && req.Kind == tideover.KindSale {
		draft.LedgerExpires = now.Add(req.ExpiresIn)
	}
	return draft
}

// told turns what the queue returns into what the endpoint may hear: after a failed commit nothing is answered.
func told(err error) error {
	if errors.Is(err, queue.ErrStopped) {
		return terminal.ErrAbort
	}
	return err
}

func shuttingDown() error {
	r := tideover.Refuse(tideover.CodeShuttingDown,
		"Tideover is stopping on this router. Send the same key again in a moment; nothing was stored.",
		"路由器上的 Tideover 正在停止。请稍后用同一个键重试；本次请求没有保存。")
	r.RetryAfter = 2 * time.Second
	return r
}

func unknownTransaction() error {
	return tideover.Refuse(tideover.CodeUnknownTransaction,
		"This till has no such transaction. Check the id, or send the request again with its own key.",
		"本终端没有这笔交易。请核对编号，或用原来的键重新发送请求。")
}

// own returns a transaction if it is the caller's.
func (d *desk) own(by terminal.Caller, id tideover.ID) (tideover.Transaction, error) {
	t, err := d.queue.Get(id)
	if errors.Is(err, queue.ErrUnknown) || (err == nil && t.TerminalUID != by.UID) {
		return tideover.Transaction{}, unknownTransaction()
	}
	return t, told(err)
}

// Get implements terminal.Desk.
func (d *desk) Get(_ context.Context, by terminal.Caller, id tideover.ID) (tideover.Transaction, error) {
	return d.own(by, id)
}

// Wait implements terminal.Desk.
func (d *desk) Wait(ctx context.Context, by terminal.Caller, id tideover.ID, seq uint64) (tideover.Transaction, error) {
	t, err := d.own(by, id)
	if err != nil || t.Seq > seq {
		return t, err
	}
	select {
	case <-d.queue.Changed(id, seq):
		return d.own(by, id)
	case <-ctx.Done():
		return t, ctx.Err()
	}
}

// List implements terminal.Desk.
func (d *desk) List(_ context.Context, by terminal.Caller, f terminal.Filter) ([]tideover.Transaction, string, error) {
	if f.Key != "" {
		t, err := d.own(by, tideover.MakeID(d.store, by.UID, f.Key))
		if _, unknown := errors.AsType[*tideover.Refusal](err); unknown {
			return nil, "", nil
		}
		return []tideover.Transaction{t}, "", err
	}
	page, next, err := d.queue.List(queue.Filter{
		Terminal: by.UID, Order: f.Order, Unacknowledged: f.Unacknowledged, After: f.After, Limit: f.Limit,
	})
	return page, next, told(err)
}

// Acknowledge implements terminal.Desk.
func (d *desk) Acknowledge(ctx context.Context, by terminal.Caller, id tideover.ID, seq uint64) (tideover.Transaction, error) {
	if _, err := d.own(by, id); err != nil {
		return tideover.Transaction{}, err
	}
	t, err := d.queue.Acknowledge(ctx, id, seq)
	return t, told(err)
}

// Delivered implements terminal.Desk.
func (d *desk) Delivered(id tideover.ID, seq uint64) { d.queue.Delivered(id, seq) }

// Health implements terminal.Desk.
func (d *desk) Health() terminal.Health { return d.health() }

// Authenticate implements terminal.Desk.
func (d *desk) Authenticate(token string) (terminal.Caller, bool) { return d.tills.roster.Match(token) }

// Pair implements terminal.Desk.
func (d *desk) Pair(ctx context.Context, r terminal.PairRequest) (tideover.Terminal, string, error) {
	if err := rules.CardText(rules.Text{Field: "name", Value: r.Name}); err != nil {
		return tideover.Terminal{}, "", err
	}
	t, token, err := d.tills.pair(ctx, r)
	return t, token, told(err)
}

// Cancel implements terminal.Desk: what certainly has not left is ended here and now; the rest is undone, which the hub decides once.
// Either is on disk when Cancel returns.
func (d *desk) Cancel(ctx context.Context, by terminal.Caller, id tideover.ID) (tideover.Transaction, error) {
	if _, err := d.own(by, id); err != nil {
		return tideover.Transaction{}, err
	}
	now, _ := d.clock.Now()
	t, err := d.queue.Cancel(ctx, id, d.past, edge.By{}, now)
	return d.cancelled(t, err)
}

// CancelKey implements terminal.Desk. A key that would be barred is kept, so that it is judged as that of a press is; what is known
// already can always be cancelled.
func (d *desk) CancelKey(ctx context.Context, by terminal.Caller, key string) (tideover.Transaction, error) {
	id := tideover.MakeID(d.store, by.UID, key)
	if _, err := d.own(by, id); err != nil {
		if err := rules.CardText(rules.Text{Field: "key", Value: key}, rules.Text{Field: "Tideover-Terminal", Value: by.Name}); err != nil {
			return tideover.Transaction{}, err
		}
	}
	now, _ := d.clock.Now()
	t, err := d.queue.Bar(ctx, edge.Draft{
		ID: id, TerminalUID: by.UID, Terminal: by.Name, Key: key,
		CreatedAt: tideover.MillisOf(time.Now()),
	}, d.past, edge.By{}, now)
	return d.cancelled(t, err)
}

func (d *desk) cancelled(t tideover.Transaction, err error) (tideover.Transaction, error) {
	if err == nil {
		d.log.Info("cancel", "txn", t.ID, "terminal", t.Terminal, "state", t.State.String())
	}
	return t, told(err)
}
