package desk

import (
	"context"
	"errors"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/hub/platform"
	"tideover/internal/boottime"
	"tideover/internal/die"
)

// worker does what a row needs until it needs nothing more, or the desk stops.
func (d *Desk) worker(k ledger.Key, e *entry) {
	w := worker{desk: d, key: k, entry: e}
	for d.base.Err() == nil {
		row, err := d.ledger.Row(k.Store, k.ID)
		if err != nil {
			d.fail(err)
			break
		}
		act := row.Next(d.ledger.Owner())
		if act == ledger.ActNone {
			if d.finish(k, e, row) {
				return
			}
			continue
		}
		if err := w.do(row, act); err != nil {
			d.fail(err)
			break
		}
	}
	if errors.Is(context.Cause(d.base), errStopping) {
		w.giveBack()
	}
	d.mu.Lock()
	e.running = false
	d.drop(k, e)
	d.mu.Unlock()
}

// worker is the state of one row's work. It lives in one goroutine.
type worker struct {
	desk  *Desk
	key   ledger.Key
	entry *entry
	last  ledger.Action
	asked int       // questions since the last change of course, and calls that led to them
	due   time.Time // no question before it, but for a hint
	heard time.Time // when the last call or question was over
	hints int       // questions that a hint brought forward

	called uint64 // the fence under which the platform was called last
}

// do carries out one action, or waits for its time; then the row is to be read again.
func (w *worker) do(row ledger.Row, act ledger.Action) error {
	if act != w.last {
		if act == ledger.ActReverse {
			w.asked, w.due = 0, time.Time{} // undoing begins at once
		}
		w.last = act
	}
	if row.State != tideover.RowClaimed || act == ledger.ActUndo {
		w.desk.progress(w.entry, row.Progress())
	}
	switch act {
	case ledger.ActCall:
		return w.call(row)
	case ledger.ActUndo:
		return w.undo(row)
	case ledger.ActAsk, ledger.ActReverse:
		due, early := w.question(row, act)
		if !w.pause(time.Until(due)) {
			return nil
		}
		w.heed(act)
		err := w.ask(row, act)
		w.over(early)
		return err
	case ledger.ActNone:
	}
	return nil
}

// pause waits; false where it was woken before, and the row must be read again.
func (w *worker) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.entry.kick:
	case <-w.desk.base.Done():
	}
	return false
}

// record commits what the platform said. It is not given up when the desk stops: the call has been made.
func (w *worker) record(row ledger.Row, mark string, do func(*ledger.View) ledger.Decision) error {
	for {
		ids := append([]tideover.ID{row.ID}, row.Others()...)
		_, dec, err := w.desk.step(context.Background(), mark, w.key.Store, ids, do)
		if err != nil || dec.Verdict != ledger.Wait || len(ids) > 1 {
			return err
		}
		// The request was heard since the row was read, and the step needs its original.
		if row, err = w.desk.ledger.Row(w.key.Store, w.key.ID); err != nil {
			return err
		}
		if len(row.Others()) == 0 {
			return nil
		}
	}
}

// giveBack gives back a claim under which this process has certainly not called, since it stops.
func (w *worker) giveBack() {
	d := w.desk
	row, err := d.ledger.Row(w.key.Store, w.key.ID)
	if err != nil || row.State != tideover.RowClaimed || row.Owner != d.ledger.Owner() || row.Fence == w.called || row.Kind() == tideover.KindReversal {
		return
	}
	err = w.record(row, "hub.giveback", func(v *ledger.View) ledger.Decision { return v.GiveBack(d.ledger.Owner(), row.Fence) })
	if err != nil {
		d.log.Debug("not given back", "txn", row.ID.String(), "err", err)
	}
}

// begin takes a place among the calls; end gives it back. The call is given up when the desk stops, when its time is over, or, where
// it can be interrupted, by a cancel.
func (w *worker) begin(interruptible bool) (ctx context.Context, end func(), ok bool) {
	d := w.desk
	select {
	case d.calls <- struct{}{}:
	case <-d.base.Done():
		return nil, nil, false
	}
	ctx, cancel := context.WithTimeout(d.base, d.Timeout)
	if interruptible {
		d.mu.Lock()
		w.entry.calling = cancel
		d.mu.Unlock()
	}
	return ctx, func() {
		d.mu.Lock()
		w.entry.calling = nil
		d.mu.Unlock()
		cancel()
		<-d.calls
	}, true
}

// call calls the platform under this process's claim: at most once for each fence.
func (w *worker) call(row ledger.Row) error {
	d := w.desk
	ctx, end, ok := w.begin(true)
	if !ok {
		return nil
	}
	defer end()
	// Read again now that a cancel would interrupt: none can slip in between this and the call.
	row, err := d.ledger.Row(w.key.Store, w.key.ID)
	if err != nil {
		return err
	}
	lease := d.lease()
	if ok, why := row.MayCall(lease, row.Fence, d.ledger.Now(), boottime.Now(), d.Timeout); !ok {
		d.log.Debug("not called", "txn", row.ID.String(), "why", why)
		return w.record(row, "hub.record", func(v *ledger.View) ledger.Decision { return v.Uncalled(row.Fence, lease) })
	}
	s, err := d.ledger.Request(w.key.Store, w.key.ID)
	if err != nil {
		return err
	}
	w.called = row.Fence
	die.At("hub.call.before")
	a, err := d.Platform.Pay(ctx, platform.Payment{
		ID: row.ID, Store: w.key.Store, Terminal: s.Terminal, Request: s.Request, CreatedAt: s.CreatedAt, ExpiresAt: row.ExpiresAt,
	})
	die.At("hub.call.after")
	w.said("call", a, err)
	w.over(false)
	lease = d.lease()
	return w.record(row, "hub.record", func(v *ledger.View) ledger.Decision {
		return v.Record(row.Fence, said(a, err), false, d.policy, lease)
	})
}

// ask asks the platform what became of a row, or has it undone.
func (w *worker) ask(row ledger.Row, act ledger.Action) error {
	d := w.desk
	ctx, end, ok := w.begin(false)
	if !ok {
		return nil
	}
	defer end()
	if act == ledger.ActReverse {
		die.At("hub.reverse.before")
		a, err := d.Platform.Reverse(ctx, row.ID)
		die.At("hub.reverse.after")
		w.said("reverse", a, err)
		if err != nil && d.base.Err() != nil {
			return nil // the desk stops: that says nothing about the platform
		}
		return w.record(row, "hub.record", func(v *ledger.View) ledger.Decision { return v.RecordReverse(said(a, err), d.policy) })
	}
	a, err := d.Platform.Query(ctx, row.ID)
	w.said("query", a, err)
	if err != nil && d.base.Err() != nil {
		return nil
	}
	lease := d.lease()
	return w.record(row, "hub.record", func(v *ledger.View) ledger.Decision {
		return v.Record(row.Fence, said(a, err), true, d.policy, lease)
	})
}

// undo carries a reversal on, and waits for its original where it must.
func (w *worker) undo(row ledger.Row) error {
	d := w.desk
	var verdict ledger.Verdict
	err := w.record(row, "hub.record", func(v *ledger.View) ledger.Decision {
		dec := v.Undo()
		verdict = dec.Verdict
		return dec
	})
	if err != nil || verdict != ledger.Wait {
		return err
	}
	ctx, stop := context.WithCancel(d.base)
	defer stop()
	d.watch(ctx, ledger.Key{Store: w.key.Store, ID: row.Request.Request.Original}, w.entry.wake)
	w.pause(retryWait)
	return nil
}

// over notes that a call or a question is over. One that a hint brought forward leaves the next one at its time.
func (w *worker) over(early bool) {
	w.heard = time.Now()
	if early {
		w.hints++
		return
	}
	w.asked++
	w.due = w.heard.Add(w.desk.pauseBefore(w.asked))
}

func (w *worker) said(what string, a platform.Answer, err error) {
	w.desk.log.Debug("platform", "call", what, "txn", w.key.ID.String(), "result", a.Result.String(), "err", err)
}

// said is the platform's answer as the ledger takes it.
func said(a platform.Answer, err error) ledger.Answer {
	out := ledger.Answer{
		Code: a.Code, Message: a.Message, Reference: a.Reference, Amount: a.Amount, Currency: a.Currency, WaitingFor: a.WaitingFor,
	}
	if err != nil {
		return ledger.Answer{Said: ledger.SaidNothing}
	}
	switch a.Result {
	case platform.ResultApproved:
		out.Said = ledger.SaidApproved
	case platform.ResultDeclined:
		out.Said = ledger.SaidDeclined
	case platform.ResultPending:
		out.Said = ledger.SaidPending
	case platform.ResultMissing:
		out.Said = ledger.SaidMissing
	case platform.ResultReversed:
		out.Said = ledger.SaidReversed
	case platform.ResultNotExecuted:
		out.Said = ledger.SaidNotExecuted
	case platform.ResultNone:
		out.Said = ledger.SaidNothing
	}
	return out
}
