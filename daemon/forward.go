package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tideover"
	"tideover/edge"
	"tideover/internal/boottime"
	"tideover/queue"
	"tideover/uplink"
	"tideover/wire"
)

// carriedMax is how many sales, and how many transactions of other kinds, are on their way to the hub at once; what is beyond it rests
// in the queue. Sales have places of their own: a platform that is silent about advices or refunds takes none of them.
const carriedMax = 256

const (
	// retryAfter is the rest of a transaction that the hub could not take just now.
	retryAfter = time.Second
	// breath is the rest of one whose stream or link was lost, so that a link which takes and drops streams is no busy loop; the next
	// link wakes it earlier.
	breath = 50 * time.Millisecond
	// patience is how long a call keeps its place where others wait for one: the hub has the transaction by then, and pushes its end.
	patience = 10 * time.Second
)

// Why a call is given up.
var (
	errMadeRoom = errors.New("left for others to be carried") // its transaction is asked for again later
	errRecalled = errors.New("something else is to be done with it now")
	errOutdated = errors.New("the hub was heard since it was decided")
)

// forwarder is the only place that carries a transaction from the queue to the uplink, and its end back.
type forwarder struct {
	queue    *queue.Queue
	uplink   *uplink.Uplink
	clock    *ledgerClock
	boot     [16]byte
	secret   []byte // keys the instrument hashes
	receipts *receipts
	log      *slog.Logger

	mu    sync.Mutex // guards what follows
	past  edge.Past
	lists bool // the hub that was heard last tells, if asked, what it holds open
}

// carriers are the places of one kind of transactions.
type carriers struct {
	group errgroup.Group
	room  chan struct{} // one token for each call that is to make room
}

func newCarriers() *carriers {
	c := &carriers{room: make(chan struct{})}
	c.group.SetLimit(carriedMax)
	return c
}

// Run carries transactions until ctx ends; it returns when none is on its way any more.
func (f *forwarder) Run(ctx context.Context) error {
	outer := ctx
	ctx, broken := context.WithCancelCause(outer)
	defer broken(nil)
	sales, others := newCarriers(), newCarriers()
	defer others.group.Wait()
	defer sales.group.Wait()
	for {
		p, err := f.queue.Next(ctx)
		switch {
		case outer.Err() != nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		m, s := f.decide(p)
		if s.Act == edge.ActHold { // most of an outage: it takes no place, and its request stays closed
			f.queue.Back(p.ID, s.Until)
			continue
		}
		c := others
		if p.Kind == tideover.KindSale {
			c = sales
		}
		carry := func(room <-chan struct{}) {
			rest, err := f.carry(ctx, p, m, s, room)
			f.queue.Back(p.ID, rest)
			if err != nil {
				broken(err)
			}
		}
		if c.group.TryGo(func() error { carry(c.room); return nil }) {
			continue
		}
		select {
		case c.room <- struct{}{}:
		default: // none has lasted long enough to make room
		}
		carry(nil)
	}
}

// decide says what is to be done next with a transaction, as of now.
func (f *forwarder) decide(p queue.Parcel) (edge.Moment, edge.Step) {
	m := f.moment()
	s := edge.Decide(&p.Record, p.Original, m)
	if f.log.Enabled(context.Background(), slog.LevelDebug) {
		f.log.Debug("decided", "txn", p.ID, "reason", s.Reason)
	}
	return m, s
}

// Past is what this process has learned from the hub.
func (f *forwarder) Past() edge.Past {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.past
}

// learn changes what is known, and returns what was. It must not ask the queue, which asks for Past under its own lock.
func (f *forwarder) learn(more func(*edge.Past)) (before edge.Past) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before = f.past
	more(&f.past)
	return before
}

// moment gathers what the edge knows now.
func (f *forwarder) moment() edge.Moment {
	now, known := f.clock.Now()
	link := f.uplink.State()
	if refused, ok := errors.AsType[*uplink.RefusedError](link.Err); ok && refused.Refused.Reason == wire.ReasonSuperseded {
		f.supersede() // the hub said so to a hello
	}
	return edge.Moment{
		Past: f.Past(), LedgerNow: now, LedgerKnown: known, Boot: f.boot, BootNow: boottime.Now(), Connected: link.Connected,
	}
}

// supersede notes that a later process of this store has said hello: for good, since this one's incarnation is never current again.
func (f *forwarder) supersede() {
	if !f.learn(func(p *edge.Past) { p.Superseded = true }).Superseded {
		f.log.Error("another router has taken over this store: this one sends nothing more; stop it, or enroll it again")
	}
}

// carry does the next step of one transaction, and returns how long it may rest if it has no end then. Without a place (room is nil) it
// does not speak with the hub; with one it gives the place up after a while when room has a token. An error is the journal's: it cannot be read.
func (f *forwarder) carry(ctx context.Context, p queue.Parcel, m edge.Moment, s edge.Step, room <-chan struct{}) (time.Duration, error) {
	switch s.Act {
	case edge.ActHold:
		return s.Until, nil
	case edge.ActDoubt:
		f.move(p.ID, tideover.CauseDoubt, edge.Note{})
		return s.Until, nil
	case edge.ActExpire:
		return f.endHere(ctx, p, tideover.CauseExpired, tideover.Outcome{Message: "not sent in time", At: m.LedgerNow}), nil
	case edge.ActMoot:
		return f.endHere(ctx, p, tideover.CauseMoot, tideover.Outcome{
			Code: "00", Message: "nothing was executed, and nothing will be", At: m.LedgerNow,
		}), nil
	case edge.ActFirst:
		return f.cancelFirst(ctx, p, m), nil
	case edge.ActManual:
		f.log.Error("its key was destroyed, and it cannot be sent: it needs a person", "txn", p.ID)
		f.move(p.ID, tideover.ToldManual, edge.Note{})
		return edge.LookAgain, nil
	case edge.ActAsk, edge.ActSend, edge.ActCancel, edge.ActSettle:
	}
	if room == nil {
		return retryAfter, nil
	}
	if s.Act == edge.ActSend || s.Act == edge.ActSettle {
		if err := f.queue.Unpack(&p); err != nil {
			if t, gone := f.queue.Get(p.ID); gone == nil && t.Final() {
				return 0, nil // it has come to its end meanwhile, and its request may be erased
			}
			return retryAfter, err
		}
		if s.Act == edge.ActSend && p.Unreadable {
			return 0, nil // its key was destroyed a moment ago: it is decided anew
		}
	}
	return f.call(ctx, p, m, s, room), nil
}

// call speaks with the hub for as long as the transaction keeps its place, and returns how long it may rest after that.
func (f *forwarder) call(ctx context.Context, p queue.Parcel, m edge.Moment, s edge.Step, room <-chan struct{}) time.Duration {
	call, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	defer time.AfterFunc(patience, func() {
		select {
		case <-room:
			leave(errMadeRoom)
		case <-call.Done():
		}
	}).Stop()
	go func() {
		select {
		case <-p.Recalled:
			leave(errRecalled)
		case <-call.Done():
		}
	}()
	err := f.speak(call, p, m, s)
	rest := f.rest(p, err)
	switch cause := context.Cause(call); {
	case err == nil:
		return rest
	case errors.Is(cause, errRecalled):
		return 0
	case errors.Is(cause, errMadeRoom):
		return edge.LookAgain
	default:
		return rest
	}
}

// speak says to the hub what was decided, and hears what follows.
func (f *forwarder) speak(ctx context.Context, p queue.Parcel, m edge.Moment, s edge.Step) error {
	progress := func(e wire.Progress) { f.progress(p.ID, e) }
	// A hub that was heard since the decision may have lost what this frame would have to say.
	fresh := func(string) error {
		if f.Past() != m.Past {
			return errOutdated
		}
		return nil
	}
	switch s.Act {
	case edge.ActAsk:
		return f.uplink.Ask(ctx, wire.Ask{ID: p.ID}, func(e wire.Progress) { f.asked(p.ID, e) })
	case edge.ActCancel:
		return f.uplink.Cancel(ctx, cancelOf(p, s.Again), uplink.Hooks{Sending: fresh, Progress: progress})
	case edge.ActSettle:
		submit := submitOf(p, m, s.Again)
		submit.Request.Payload, submit.Request.Instrument = nil, ""
		return f.uplink.Settle(ctx, wire.Settle{Submit: submit, As: p.Settle, By: p.SettleBy.Who, Reason: p.SettleBy.Reason}, progress)
	default:
		submit := submitOf(p, m, s.Again)
		submit.Anchor = f.anchor()
		err := f.uplink.Submit(ctx, submit, uplink.Hooks{
			// From here on bytes of it may have left: the state says so before the first one can.
			Sending: func(link string) error {
				if err := fresh(link); err != nil {
					return err
				}
				return f.queue.Move(p.ID, tideover.CauseSent, edge.Note{Uplink: link})
			},
			Progress: progress,
		})
		if err == nil { // the ledger has committed it with the claim
			f.queue.Anchored(submit.Anchor.Seq)
		}
		return err
	}
}

// anchor is the head of the journal that is on this disk; zero where it must not be anchored: while a restored journal holds anything
// open, a later process must see that it was restored.
func (f *forwarder) anchor() wire.Anchor {
	if f.Past().Restored && f.queue.Reopened() > 0 {
		return wire.Anchor{}
	}
	seq, head := f.queue.Head()
	return wire.Anchor{Seq: seq, Head: head}
}

// submitOf is a transaction as the hub gets it.
func submitOf(p queue.Parcel, m edge.Moment, again bool) wire.Submit {
	expires, _ := p.Expires(m)
	return wire.Submit{
		ID: p.ID, TerminalUID: p.TerminalUID, Terminal: p.Terminal, Key: p.Key, Hash: p.Hash, Request: p.Request,
		CreatedAt: p.CreatedAt, ExpiresAt: expires, Again: again,
	}
}

func cancelOf(p queue.Parcel, again bool) wire.Cancel {
	return wire.Cancel{ID: p.ID, TerminalUID: p.TerminalUID, Terminal: p.Terminal, Key: p.Key, Again: again}
}

// endHere gives the edge's own end to what has not left. It is on disk before anybody hears of it.
func (f *forwarder) endHere(ctx context.Context, p queue.Parcel, cause tideover.Cause, o tideover.Outcome) time.Duration {
	if err := f.queue.EndHere(ctx, p.ID, cause, o); err != nil && ctx.Err() == nil {
		f.log.Error("could not end it", "txn", p.ID, "cause", cause, "err", err)
	}
	return retryAfter
}

// cancelFirst has the original of a reversal cancelled: what has not left then never will, and what has is undone once. The reversal
// waits for that end.
func (f *forwarder) cancelFirst(ctx context.Context, p queue.Parcel, m edge.Moment) time.Duration {
	_, err := f.queue.CancelFor(ctx, p.Original.ID, p.ID, f.Past, edge.By{Who: "reversal " + p.ID.String()}, m.LedgerNow)
	if err != nil && ctx.Err() == nil {
		f.log.Error("could not cancel the original of a reversal", "txn", p.Original.ID, "reversal", p.ID, "err", err)
		return retryAfter
	}
	return 0
}

// rest judges how a submission ended: its confirmation has gone to the queue by then.
func (f *forwarder) rest(p queue.Parcel, err error) time.Duration {
	switch refused, ok := errors.AsType[*uplink.RefusedError](err); {
	case err == nil:
		if t, err := f.queue.Get(p.ID); err == nil && t.State == tideover.StateManual {
			return edge.LookAgain // the hub pushes what a person makes of it
		}
		return retryAfter
	case ok:
		return f.refused(p, refused.Refused)
	case errors.Is(err, uplink.ErrNoLink), errors.Is(err, uplink.ErrVetoed):
		return breath // nothing has left
	default:
		f.log.Debug("lost on the way", "txn", p.ID, "err", err)
		f.move(p.ID, tideover.CauseDoubt, edge.Note{})
		return breath
	}
}

// refused acts on the hub's reason for not taking a transaction.
func (f *forwarder) refused(p queue.Parcel, r wire.Refused) time.Duration {
	switch r.Reason {
	case wire.ReasonSuperseded:
		f.supersede()
		return edge.LookAgain
	case wire.ReasonKeyReused:
		f.log.Error("the hub knows this key with another request: its record is adopted", "txn", p.ID)
		if err := f.adopt(r); err != nil {
			f.log.Error("the hub's record could not be adopted", "txn", p.ID, "err", err)
		}
		return retryAfter
	case wire.ReasonMalformed:
		f.log.Error("the hub takes this transaction for malformed: it needs a person", "txn", p.ID, "err", r.Detail)
		f.move(p.ID, tideover.ToldManual, edge.Note{})
		return edge.LookAgain
	case wire.ReasonNone, wire.ReasonBusy, wire.ReasonDraining, wire.ReasonToken, wire.ReasonRevoked:
	}
	return retryAfter
}

// progress takes the hub's word that is not an end.
func (f *forwarder) progress(id tideover.ID, p wire.Progress) {
	if cause, ok := tideover.Told(p.State); ok {
		f.move(id, cause, edge.Note{WaitingFor: p.WaitingFor})
	}
}

// asked takes the answer to a question about what a restored journal holds open: what the ledger does not know was never sent by
// the router that kept the newer journal, or was lost by both; a person looks at it before it is released.
func (f *forwarder) asked(id tideover.ID, p wire.Progress) {
	if p.State == tideover.StateNone {
		p.State = tideover.StateManual
	}
	f.progress(id, p)
}

func (f *forwarder) move(id tideover.ID, cause tideover.Cause, note edge.Note) {
	if err := f.queue.Move(id, cause, note); err != nil {
		f.log.Debug("not moved", "txn", id, "cause", cause, "err", err)
	}
}

// confirm takes an end home: the till may hear of it at once, the disk has it with the next commit, and the hub hears of that.
func (f *forwarder) confirm(c wire.Confirmation) error {
	told := queue.Told{
		Position: queue.Position{ID: c.ID, HubSeq: c.HubSeq}, Outcome: c.Outcome, Corrected: c.Corrected, Asked: c.Asked,
		Receipt: f.receipts.proof(c),
	}
	if c.Adopt != nil {
		told.Adopt = f.draftOf(*c.Adopt)
	}
	if err := f.queue.End(told); err != nil {
		return err
	}
	f.log.Info("told", "txn", c.ID, "state", c.Outcome.Result.String(), "corrected", c.Corrected)
	return nil
}

// adopt takes the hub's record of a key over that this edge holds with another request: it has lost its own, and the till is told that
// the key is used.
func (f *forwarder) adopt(r wire.Refused) error {
	switch {
	case r.End != nil:
		end := *r.End
		end.Adopt = r.Adopt
		return f.confirm(end)
	case r.Adopt != nil:
		return f.queue.Adopt(*f.draftOf(*r.Adopt))
	default:
		return errors.New("the hub sent no record")
	}
}

// overlap says whether sales may leave while their acceptance is on its way to the disk: what is lost with this process has to be found again by the
// next one. The queue asks it under its own lock.
func (f *forwarder) overlap() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists && f.past.Complete()
}

// found takes what the ledger has without an end. What this journal does not have an earlier process has sent and not kept: it is entered. Of what it
// has, a byte has left, whatever this process knows.
func (f *forwarder) found(o wire.Open) error {
	id := o.Submit.ID
	_, err := f.queue.Get(id)
	if errors.Is(err, queue.ErrUnknown) {
		f.log.Warn("the hub has a transaction that this router has no record of: it was sent by a process that ended before its record was on the disk",
			"txn", id, "state", o.State.String())
	}
	if err := f.queue.Adopt(*f.draftOf(o.Submit)); err != nil {
		return err
	}
	cause, ok := tideover.Told(o.State)
	if !ok {
		cause = tideover.CauseDoubt
	}
	f.move(id, cause, edge.Note{WaitingFor: o.WaitingFor})
	return nil
}

// draftOf is what a journal that has lost a record needs to enter it again.
func (f *forwarder) draftOf(s wire.Submit) *edge.Draft {
	return &edge.Draft{
		ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, Request: s.Request, Hash: s.Hash,
		InstrumentHash: tideover.InstrumentHash(f.secret, s.Request.Instrument), CreatedAt: s.CreatedAt, LedgerExpires: s.ExpiresAt,
	}
}
