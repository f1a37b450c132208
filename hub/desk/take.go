package desk

import (
	"context"
	"errors"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// Submit takes a transaction: it claims it, or carries on what the ledger has of it. It returns once that is committed; what follows is
// told to the listener until ctx ends. A transaction that was claimed is executed whether anybody listens or not.
func (d *Desk) Submit(ctx context.Context, store string, incarnation [16]byte, s wire.Submit, tell Listener) {
	if why := malformed(store, s); why != "" {
		tell(wire.Refused{Reason: wire.ReasonMalformed, Detail: why})
		return
	}
	if !d.admit(store, tell) {
		return
	}
	ids := append([]tideover.ID{s.ID}, ledger.Others(s.Request)...)
	lease := d.lease()
	d.take(ctx, taking{
		store: store, ids: ids, mark: "hub.claim", tell: tell,
		step: func(v *ledger.View) ledger.Decision { return v.Claim(s, incarnation, lease) },
	})
}

// Ask tells what the ledger has of an id; [wire.Progress] with [tideover.StateNone] where it has nothing.
func (d *Desk) Ask(ctx context.Context, store string, a wire.Ask, tell Listener) {
	row, err := d.ledger.Row(store, a.ID)
	if err == nil && (!row.Ended() || row.HubSeq != 0) {
		// Nothing has to be written, so nothing has to wait for a commit.
		d.carry(ctx, taking{store: store, ids: []tideover.ID{a.ID}, tell: tell}, row, ledger.Decision{})
		return
	}
	d.take(ctx, taking{
		store: store, ids: []tideover.ID{a.ID}, tell: tell, mark: "hub.ask",
		step: func(v *ledger.View) ledger.Decision { return v.Ask() },
	})
}

// Cancel bars an id or undoes it. A call of the platform that is under way is given up: it would have to be undone anyway.
func (d *Desk) Cancel(ctx context.Context, store string, _ [16]byte, m wire.Cancel, tell Listener) {
	if m.ID != tideover.MakeID(store, m.TerminalUID, m.Key) {
		tell(wire.Refused{Reason: wire.ReasonMalformed, Detail: wrongID})
		return
	}
	d.take(ctx, taking{
		store: store, ids: []tideover.ID{m.ID}, mark: "hub.cancel", tell: tell, interrupt: true,
		step: func(v *ledger.View) ledger.Decision { return v.Cancel(m) },
	})
}

// Expire keeps a tombstone: an end that the edge has told by itself for something that it never sent.
func (d *Desk) Expire(ctx context.Context, store string, _ [16]byte, e wire.Expire, tell Listener) {
	if why := malformedOrBarred(store, e.Submit); why != "" {
		tell(wire.Refused{Reason: wire.ReasonMalformed, Detail: why})
		return
	}
	d.take(ctx, taking{
		store: store, ids: []tideover.ID{e.Submit.ID}, mark: "hub.expire", tell: tell, interrupt: true,
		step: func(v *ledger.View) ledger.Decision { return v.Expire(e) },
	})
}

// Settle takes a person's word on what no machine can resolve, once.
func (d *Desk) Settle(ctx context.Context, store string, m wire.Settle, tell Listener) {
	if why := malformedOrBarred(store, m.Submit); why != "" {
		tell(wire.Refused{Reason: wire.ReasonMalformed, Detail: why})
		return
	}
	d.take(ctx, taking{
		store: store, of: &m.Submit, mark: "hub.settle", tell: tell,
		step: func(v *ledger.View) ledger.Decision { return v.Settle(m) },
	})
}

// Replay takes back an end that the ledger has lost and the edge's journal has. A call of the platform that is under way goes on: what it
// is answered must not be overlooked.
func (d *Desk) Replay(ctx context.Context, store string, m wire.Replay, tell Listener) {
	if why := malformedOrBarred(store, m.Submit); why != "" {
		tell(wire.Refused{Reason: wire.ReasonMalformed, Detail: why})
		return
	}
	d.take(ctx, taking{
		store: store, of: &m.Submit, mark: "hub.replay", tell: tell,
		step: func(v *ledger.View) ledger.Decision { return v.Replay(m) },
	})
}

// malformedOrBarred says the same as malformed, but of an id that was barred by its key there is nothing to judge but the id.
func malformedOrBarred(store string, s wire.Submit) string {
	if s.Request.Kind != tideover.KindNone {
		return malformed(store, s)
	}
	if s.ID != tideover.MakeID(store, s.TerminalUID, s.Key) {
		return wrongID
	}
	return ""
}

const wrongID = "the id is not that of store, terminal and key"

// malformed says what makes a request one that no edge of this store can have made.
func malformed(store string, s wire.Submit) string {
	r := s.Request
	switch {
	case s.ID != tideover.MakeID(store, s.TerminalUID, s.Key):
		return wrongID
	case r.Kind < tideover.KindSale || r.Kind > tideover.KindAdvice:
		return "the kind is unknown"
	case r.Kind != tideover.KindReversal && (r.Amount <= 0 || r.Currency == ""):
		return "the amount or the currency is missing"
	case r.Amount < 0:
		return "the amount is negative"
	case r.Kind.Undoes() == r.Original.IsZero():
		return "a refund or reversal, and nothing else, names its original"
	case r.Original == s.ID:
		return "it names itself as its original"
	}
	return ""
}

// admit refuses where the desk stops, or has all that it can take, of this store or of all.
func (d *Desk) admit(store string, tell Listener) bool {
	d.mu.Lock()
	stopping, full := d.stopping, len(d.entries) >= entriesMax || d.of[store] >= storeEntriesMax
	d.mu.Unlock()
	switch {
	case stopping:
		tell(wire.Refused{Reason: wire.ReasonDraining, Detail: "this hub is stopping"})
	case full:
		tell(wire.Refused{Reason: wire.ReasonBusy, Detail: "too many transactions at once", Retry: tideover.Millis(retryWait.Milliseconds())})
	default:
		return true
	}
	return false
}

// taking is a frame on its way into the ledger.
type taking struct {
	store     string
	ids       []tideover.ID
	of        *wire.Submit // where ids are not given: this one's, and its original's
	mark      string
	step      func(*ledger.View) ledger.Decision
	tell      Listener
	interrupt bool // give up a call under way
}

// take runs a frame's step and carries on from there. Where the ledger has stopped nothing is told: what became of it is not known.
func (d *Desk) take(ctx context.Context, t taking) {
	if t.of != nil {
		var err error
		if t.ids, err = d.idsOf(t.store, t.of); err != nil {
			d.log.Debug("not taken", "txn", t.of.ID.String(), "store", t.store, "err", err)
			return
		}
	}
	row, dec, err := d.step(ctx, t.mark, t.store, t.ids, t.step)
	switch {
	case errors.Is(err, ledger.ErrStoreUnknown):
		t.tell(wire.Refused{Reason: wire.ReasonRevoked, Detail: "the store is unknown"})
	case err != nil:
		d.log.Debug("not taken", "txn", t.ids[0].String(), "store", t.store, "err", err)
	default:
		d.carry(ctx, t, row, dec)
	}
}

// idsOf names the rows that a step on a transaction needs. Where the edge does not know the request, the ledger may.
func (d *Desk) idsOf(store string, s *wire.Submit) ([]tideover.ID, error) {
	others := ledger.Others(s.Request)
	if s.Request.Kind == tideover.KindNone {
		row, err := d.ledger.Row(store, s.ID)
		if err != nil {
			return nil, err
		}
		others = row.Others()
	}
	return append([]tideover.ID{s.ID}, others...), nil
}

// carry does what a decision says.
func (d *Desk) carry(ctx context.Context, t taking, row ledger.Row, dec ledger.Decision) {
	switch {
	case dec.Verdict == ledger.Refuse:
		if r := &dec.Refused; r.End != nil && r.Adopt != nil {
			d.prove(t.store, r.End, r.Adopt)
		}
		t.tell(dec.Refused)
	case dec.Verdict == ledger.Wait:
		d.mu.Lock()
		if !d.stopping {
			d.work.Go(func() { d.again(ctx, t) })
		}
		d.mu.Unlock()
	case row.Ended():
		t.tell(d.end(&row))
	default:
		if !dec.Fresh {
			t.tell(row.Progress())
		}
		d.listen(ctx, ledger.Key{Store: t.store, ID: t.ids[0]}, t.tell, row.State.Open(), t.interrupt)
	}
}

// again takes a frame again once the row that it waits for has ended, or after a while.
func (d *Desk) again(ctx context.Context, t taking) {
	pause, stop := context.WithTimeout(ctx, retryWait)
	defer stop()
	if len(t.ids) > 1 {
		d.watch(pause, ledger.Key{Store: t.store, ID: t.ids[1]}, stop)
	}
	select {
	case <-pause.Done():
	case <-d.base.Done():
		return
	}
	if ctx.Err() == nil {
		d.take(ctx, t)
	}
}

// watch calls once when a row without an end comes to one, and has it worked on; not at all where it has an end already.
func (d *Desk) watch(ctx context.Context, k ledger.Key, ended func()) {
	row, err := d.ledger.Row(k.Store, k.ID)
	if err != nil || !row.State.Open() {
		return
	}
	d.attach(ctx, k, &listener{internal: true, tell: func(message any) {
		if p, ok := message.(wire.Progress); !ok || p.State == tideover.StateManual {
			ended()
		}
	}}, true, false)
}

// pauseBefore is how long to wait before the nth question about an id; before the first one there is no pause.
func (d *Desk) pauseBefore(n int) time.Duration {
	if n == 0 {
		return 0
	}
	return d.AskAfter[min(n, len(d.AskAfter))-1]
}
