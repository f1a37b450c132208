package daemon

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"tideover"
	"tideover/control"
	"tideover/edge"
	"tideover/queue"
	"tideover/rules"
	"tideover/terminal"
)

// What a technician sees of transactions, and does to them.

const (
	// answerMax is how long a technician waits for the hub's answer to a cancel or a settling; what is on disk then takes effect later.
	answerMax = 5 * time.Second
	// closingLook is how often that wait looks whether the daemon stops.
	closingLook = 200 * time.Millisecond
	// foundMax is how many transactions are named where several begin with the same characters.
	foundMax = 5
	// exportPage is how many transactions are held in memory while others are written out, about a megabyte.
	exportPage = queue.ListMax
)

// Act implements control.Backend.
func (r *Router) Act(ctx context.Context, id tideover.ID, a control.Action, by control.Peer) (control.Detail, error) {
	if err := rules.CardText(rules.Text{Field: "reason", Value: a.Reason}); err != nil {
		return control.Detail{}, err
	}
	who := edge.By{Who: by.String(), Reason: a.Reason}
	now, _ := r.forward.clock.Now()
	var t tideover.Transaction
	var err error
	waits := false
	switch a.Verb {
	case control.VerbHold:
		t, err = r.queue.Hold(ctx, id, who)
	case control.VerbRelease:
		t, err = r.queue.Release(ctx, id, who)
	case control.VerbRetry:
		t, err = r.queue.Retry(ctx, id, who)
	case control.VerbCancel:
		t, err = r.queue.Cancel(ctx, id, r.forward.Past, who, now)
		waits = true
	case control.VerbSettle:
		t, err = r.queue.Settle(ctx, id, a.As, who)
		waits = true
	case control.VerbDrop:
		t, err = r.queue.Drop(ctx, id, r.forward.Past, who, now)
	}
	if err != nil {
		return control.Detail{}, plain(id, err)
	}
	r.log.Info("a person acted", "txn", id, "action", string(a.Verb), "by", who.Who, "state", t.State.String())
	if waits && r.awaitEnd(ctx, t) {
		_ = r.queue.Flush(ctx) // so that the history has the end too; without room for it the hub keeps it
	}
	return r.Show(ctx, id)
}

// awaitEnd waits until a transaction has its end, for answerMax at most, and no longer than the daemon runs. It says whether it has.
func (r *Router) awaitEnd(ctx context.Context, t tideover.Transaction) bool {
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	for err := error(nil); err == nil && ctx.Err() == nil && !t.Final() && !r.closing.Load(); t, err = r.queue.Get(t.ID) {
		select {
		case <-r.queue.Changed(t.ID, t.Seq):
		case <-time.After(closingLook):
		case <-ctx.Done():
		}
	}
	return t.Final()
}

// plain turns the queue's errors about a transaction into what a technician may hear.
func plain(id tideover.ID, err error) error {
	switch {
	case errors.Is(err, queue.ErrUnknown):
		return control.Unknown(id.String())
	case errors.Is(err, queue.ErrStopped):
		return &control.Error{
			Status: http.StatusServiceUnavailable, Code: string(tideover.CodeShuttingDown),
			What: tideover.Textf("the daemon is stopping", "守护进程正在停止"),
			Hint: tideover.Textf("do it again once it runs; tideover queue show %s tells what is on record", "请待其运行后重试；tideover queue show %s 可查看已记录的内容", id),
		}
	default:
		return err
	}
}

// Find implements control.Backend.
func (r *Router) Find(first, last tideover.ID) []tideover.ID {
	return r.queue.Find(first, last, foundMax)
}

// List implements control.Backend.
func (r *Router) List(_ context.Context, f control.Filter) (control.Page, error) {
	uid := ""
	if f.Terminal != "" {
		t, ok := r.tills.byName(f.Terminal)
		if !ok && r.config.Endpoint.Access != terminal.AccessOpen {
			return control.Page{}, r.unknownTerminal(f.Terminal)
		}
		if uid = t.UID; !ok {
			uid = f.Terminal // with open access the name is the uid
		}
	}
	page := control.Page{Next: f.After}
	for more := true; more && len(page.Transactions) < f.Limit; more = f.NotHandedOver && page.Next != "" {
		wanted := queue.Filter{
			Terminal: uid, State: f.State, Unacknowledged: f.NotHandedOver, After: page.Next, Limit: f.Limit - len(page.Transactions),
		}
		found, next, err := r.queue.List(wanted)
		if err != nil {
			return control.Page{}, err
		}
		page.Next = next
		now := tideover.MillisOf(time.Now())
		for _, t := range found {
			if seen := control.See(t, now); seen.NotHandedOver || !f.NotHandedOver {
				page.Transactions = append(page.Transactions, seen)
			}
		}
	}
	return page, nil
}

// Show implements control.Backend.
func (r *Router) Show(_ context.Context, id tideover.ID) (control.Detail, error) {
	t, err := r.queue.Get(id)
	if err != nil {
		return control.Detail{}, plain(id, err)
	}
	return r.detail(t)
}

// detail adds a transaction's history to it.
func (r *Router) detail(t tideover.Transaction) (control.Detail, error) {
	d := control.Detail{Transaction: control.See(t, tideover.MillisOf(time.Now())), History: []control.Event{}}
	steps, err := r.queue.History(t.ID)
	if errors.Is(err, queue.ErrUnknown) { // adopted from the hub a moment ago, and not on disk yet
		return d, nil
	}
	if err != nil {
		return control.Detail{}, plain(t.ID, err)
	}
	for _, step := range steps {
		d.History = append(d.History, eventOf(step))
		if step.Rules == 0 {
			continue
		}
		judged, err := r.queue.RulesAt(step.Rules)
		if err != nil && !errors.Is(err, queue.ErrUnknown) {
			return control.Detail{}, plain(t.ID, err)
		}
		d.Rules = &control.Rules{Version: step.Rules, Since: judged.At}
	}
	return d, nil
}

// eventOf is a step of the journal as a technician reads it: an end by the cause that tells which, anything else by its own name.
func eventOf(step queue.Step) control.Event {
	e := control.Event{Seq: step.Seq, At: step.At, Event: step.What, State: step.State, By: step.By, Detail: step.Reason}
	if of := step.Judged.DuplicateOf; !of.IsZero() {
		e.Detail = "looks like a second press of " + of.String()
		if step.Judged.Override {
			e.Detail += "; its operator answers for it"
		}
	}
	switch step.What {
	case edge.EventEnded.String():
		e.Event, e.By = step.Cause.String(), control.ByHub
	case edge.EventEndedHere.String():
		e.Event = step.Cause.String()
	case edge.EventSettle.String():
		e.State = tideover.StateManual // nothing else is settled; the hub's word for it was in memory alone
		e.Detail = strings.TrimSuffix(step.Settle.String()+": "+step.Reason, ": ")
	}
	return e
}

// Export implements control.Backend. What is accepted while it runs may be left out.
func (r *Router) Export(ctx context.Context, each func(control.Detail) error) error {
	for after := ""; ; {
		page, next, err := r.queue.List(queue.Filter{After: after, Limit: exportPage})
		if err != nil {
			return err
		}
		for _, t := range page {
			d, err := r.detail(t)
			if err != nil {
				return err
			}
			if err := errors.Join(each(d), ctx.Err()); err != nil {
				return err
			}
		}
		if after = next; after == "" {
			return nil
		}
	}
}
