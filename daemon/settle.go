package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tideover"
	"tideover/queue"
	"tideover/reconcile"
	"tideover/rules"
	"tideover/terminal"
	"tideover/wire"
)

// Settle implements terminal.Desk.
func (d *desk) Settle(ctx context.Context, by terminal.Caller, key string, s tideover.Settlement) (tideover.ID, bool, error) {
	if d.closing() {
		return tideover.ID{}, false, shuttingDown()
	}
	hash := s.Hash(d.secret) // of what was sent
	for i := range s.Items {
		if it := &s.Items[i]; it.ID.IsZero() {
			it.ID = tideover.MakeID(d.store, by.UID, it.Key)
		}
	}
	now := tideover.MillisOf(time.Now())
	if s.To == 0 || s.To > now {
		s.To = now // a till whose clock runs ahead has seen no more than this
	}
	if err := rules.MalformedSettlement(&s); err != nil {
		return tideover.ID{}, false, err
	}
	texts := []rules.Text{{Field: "Idempotency-Key", Value: key}, {Field: "Tideover-Terminal", Value: by.Name}}
	for i := range s.Items {
		if k := s.Items[i].Key; k != "" {
			texts = append(texts, rules.Text{Field: fmt.Sprintf("items[%d].key", i), Value: k})
		}
	}
	if err := rules.CardText(texts...); err != nil {
		return tideover.ID{}, false, err
	}
	if s.From != 0 && s.To-s.From > tideover.Millis(settlementSpanMax.Milliseconds()) {
		return tideover.ID{}, false, spanTooLong()
	}
	pruned := d.queue.Pruned()
	if s.From != 0 && s.From <= pruned || s.To <= pruned {
		return tideover.ID{}, false, reportTooOld(pruned)
	}
	morning, _ := dayOf(s.To - 1)
	r := queue.Report{
		ID: tideover.SettlementID(d.store, by.UID, key), TerminalUID: by.UID, Terminal: by.Name, Key: key, Hash: hash, Settlement: s,
	}
	on, replayed, err := d.queue.Report(ctx, r, morning, max(s.To.Add(-settlementSpanMax), pruned+1))
	if err != nil {
		return tideover.ID{}, false, told(err)
	}
	if !replayed {
		d.log.Info("settlement", "settlement", on.ID, "terminal", on.Terminal, "from", on.From.Time(), "to", on.To.Time(), "items", len(s.Items))
	}
	return on.ID, replayed, nil
}

// reportTooOld refuses a report of a time of which the journal does not have everything any more: to compare it would find fault with the till.
func reportTooOld(pruned tideover.Millis) error {
	return tideover.Refuse(tideover.CodeInvalidRequest,
		"this router no longer has everything of that time: what was accepted until %s is kept by the hub alone; report a later time", "本路由器已不保留该时段的全部交易（%s 及以前的仅保存在中心）；请结算更晚的时段",
		pruned.Time().In(time.Local).Format(time.DateTime))
}

// ownReport returns a report if it is the caller's.
func (d *desk) ownReport(by terminal.Caller, id tideover.ID) (queue.Report, error) {
	r, err := d.queue.ReadReport(id)
	if errors.Is(err, queue.ErrUnknown) || err == nil && r.TerminalUID != by.UID {
		return queue.Report{}, tideover.Refuse(tideover.CodeUnknownTransaction,
			"this till has no such settlement; check the id, or send the report again under its own key", "本终端没有这份结算；请核对编号，或用原来的键重新发送")
	}
	if pruned := d.queue.Pruned(); err == nil && r.From <= pruned {
		return queue.Report{}, reportTooOld(pruned)
	}
	if err == nil && r.Unreadable {
		err = itemsLost(id)
	}
	return r, told(err)
}

// itemsLost refuses a report whose items nobody can read any more.
func itemsLost(id tideover.ID) error {
	return tideover.Refuse(tideover.CodeUnknownTransaction,
		"the items of settlement %s cannot be read any more, since their key was destroyed; send the report again under a new key",
		"结算 %s 的明细所用密钥已销毁，无法再读取；请用新的键重新发送", id)
}

// AwaitSettled implements terminal.Desk.
func (d *desk) AwaitSettled(ctx context.Context, by terminal.Caller, id tideover.ID) error {
	r, err := d.ownReport(by, id)
	if err != nil {
		return err
	}
	for {
		wait, err := d.openIn(&r)
		if err != nil || wait == nil {
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// openIn returns what is closed when one of the till's transactions in the report's time changes that is without an end; nil where none is.
// What is held or manual waits for a person, and no till waits for him.
func (d *desk) openIn(r *queue.Report) (<-chan struct{}, error) {
	var open []tideover.Transaction
	d.queue.Live(func(t tideover.Transaction) {
		mine := t.TerminalUID == r.TerminalUID && r.From <= t.CreatedAt && t.CreatedAt < r.To
		if mine && !t.Final() && t.State != tideover.StateHeld && t.State != tideover.StateManual {
			open = append(open, t)
		}
	})
	if len(open) == 0 {
		return nil, nil
	}
	changed := d.queue.Changed(open[0].ID, open[0].Seq)
	if changed == nil {
		return nil, errors.New("an open transaction has gone")
	}
	return changed, nil
}

// Settled implements terminal.Desk: the report is as it was, and what it is compared with is as it is now.
func (d *desk) Settled(ctx context.Context, by terminal.Caller, id tideover.ID) (tideover.Settled, error) {
	leave, err := d.books.enter(ctx)
	if err != nil {
		return tideover.Settled{}, err
	}
	defer leave()
	r, err := d.ownReport(by, id)
	if err != nil {
		return tideover.Settled{}, err
	}
	journal, err := d.books.journal(ctx, r.From, r.To, r.TerminalUID)
	var ledger reconcile.Book
	var why string
	if ledger.Given = r.From >= r.To; err == nil && !ledger.Given { // two reports within a millisecond: there is nothing in it
		ledger, _, why, err = d.books.hubSides(ctx, wire.Reconcile{From: max(r.From, 1), To: r.To, LedgerOnly: true}, r.TerminalUID, journal, hubSettleMax)
	}
	switch {
	case errors.Is(err, errTooMany):
		return tideover.Settled{}, tooManyToSettle()
	case err != nil:
		return tideover.Settled{}, told(err)
	}
	report := reportOf(&r)
	s := reconcile.Settle(&report, journal, ledger, d.books.lookup)
	d.log.Info("settled", "settlement", s.ID, "terminal", s.Terminal, "result", s.Result.String(), "differ", len(s.Items), "hub", why)
	return s, nil
}
