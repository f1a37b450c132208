package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tideover"
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

// errMadeRoom ends a call for others. Its transaction is asked for again later.
var errMadeRoom = errors.New("left for others to be carried")

// forwarder is the only place that carries a transaction from the queue to the uplink, and its end back.
type forwarder struct {
	queue  *queue.Queue
	uplink *uplink.Uplink
	clock  *ledgerClock
	boot   [16]byte
	log    *slog.Logger

	caught     atomic.Bool // see moment
	superseded atomic.Bool
	restored   atomic.Bool
	again      atomic.Bool // the hub was restored: what is sent again says so
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
	sales, others := newCarriers(), newCarriers()
	defer others.group.Wait()
	defer sales.group.Wait()
	for {
		p, err := f.queue.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		c := others
		if p.Kind == tideover.KindSale {
			c = sales
		}
		if c.group.TryGo(func() error {
			f.queue.Back(p.ID, f.carry(ctx, p, c.room))
			return nil
		}) {
			continue
		}
		select {
		case c.room <- struct{}{}:
		default: // none has lasted long enough to make room
		}
		f.queue.Back(p.ID, f.carry(ctx, p, nil))
	}
}

// moment gathers what the edge knows now.
func (f *forwarder) moment() moment {
	now, known := f.clock.Now()
	link := f.uplink.State()
	if refused, ok := errors.AsType[*uplink.RefusedError](link.Err); ok && refused.Refused.Reason == wire.ReasonSuperseded {
		f.supersede() // the hub said so to a hello
	}
	return moment{
		LedgerNow: now, LedgerKnown: known, Boot: f.boot, BootNow: boottime.Now(), Caught: f.caught.Load(),
		Connected: link.Connected, Superseded: f.superseded.Load(), Restored: f.restored.Load(),
	}
}

// supersede notes that a later process of this store has said hello: for good, since this one's incarnation is never current again.
func (f *forwarder) supersede() {
	if !f.superseded.Swap(true) {
		f.log.Error("another router has taken over this store: this one sends nothing more; stop it, or enroll it again")
	}
}

// mayEnd says whether this edge may give an end by itself to what it has not sent.
func (f *forwarder) mayEnd() bool { return f.caught.Load() && !f.superseded.Load() }

// recordOf is what a decision needs of a parcel.
func recordOf(p queue.Parcel) record {
	return record{
		Kind: p.Kind, State: p.State, NeverSent: p.NeverSent, Reopened: p.Reopened, ExpiresIn: p.Request.ExpiresIn,
		LedgerExpires: p.LedgerExpires, Boot: p.Boot, BootAt: p.BootAt,
	}
}

// carry does the next step of one transaction, and returns how long it may rest if it has no end then. Without a place (room is nil) it
// does not speak with the hub; with one it gives the place up after a while when room has a token.
func (f *forwarder) carry(ctx context.Context, p queue.Parcel, room <-chan struct{}) time.Duration {
	m := f.moment()
	s := decide(recordOf(p), m)
	f.log.Debug("decided", "txn", p.ID, "reason", s.Reason)
	switch s.Act {
	case actHold:
		return s.Until
	case actDoubt:
		f.move(p.ID, tideover.CauseDoubt, queue.Note{})
		return s.Until
	case actExpire:
		return f.expire(ctx, p, m)
	case actAsk, actSend:
	}
	if room == nil {
		return retryAfter
	}
	call, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	defer time.AfterFunc(patience, func() {
		select {
		case <-room:
			leave(errMadeRoom)
		case <-call.Done():
		}
	}).Stop()
	err := f.speak(call, p, m, s.Act)
	if rest := f.rest(p, err); err == nil || !errors.Is(context.Cause(call), errMadeRoom) {
		return rest
	}
	return lookAgain
}

// speak asks the hub about a transaction, or submits it.
func (f *forwarder) speak(ctx context.Context, p queue.Parcel, m moment, what act) error {
	if what == actAsk {
		return f.uplink.Ask(ctx, wire.Ask{ID: p.ID}, func(e wire.Progress) { f.asked(p.ID, e) })
	}
	expires, _ := expiresAt(recordOf(p), m)
	submit := wire.Submit{
		ID: p.ID, TerminalUID: p.TerminalUID, Terminal: p.Terminal, Key: p.Key, Hash: p.Hash, Request: p.Request,
		CreatedAt: p.CreatedAt, ExpiresAt: expires, Again: f.again.Load() && !p.NeverSent,
	}
	return f.uplink.Submit(ctx, submit, uplink.Hooks{
		// From here on bytes of it may have left: the state says so before the first one can.
		Sending:  func(link string) error { return f.queue.Move(p.ID, tideover.CauseSent, queue.Note{Uplink: link}) },
		Progress: func(e wire.Progress) { f.progress(p.ID, e) },
	})
}

// expire ends a sale of which nothing has left. It is on disk before anybody hears of it.
func (f *forwarder) expire(ctx context.Context, p queue.Parcel, m moment) time.Duration {
	err := f.queue.EndHere(ctx, p.ID, tideover.CauseExpired, tideover.Outcome{
		Result: tideover.StateExpired, Message: "not sent in time", At: m.LedgerNow,
	})
	if err != nil && ctx.Err() == nil {
		f.log.Error("could not end an expired sale", "txn", p.ID, "err", err)
	}
	return retryAfter
}

// rest judges how a submission ended: its confirmation has gone to the queue by then.
func (f *forwarder) rest(p queue.Parcel, err error) time.Duration {
	switch refused, ok := errors.AsType[*uplink.RefusedError](err); {
	case err == nil:
		if t, err := f.queue.Get(p.ID); err == nil && t.State == tideover.StateManual {
			return lookAgain // the hub pushes what a person makes of it
		}
		return retryAfter
	case ok:
		return f.refused(p, refused.Refused)
	case errors.Is(err, uplink.ErrNoLink), errors.Is(err, uplink.ErrVetoed):
		return breath // nothing has left
	default:
		f.log.Debug("lost on the way", "txn", p.ID, "err", err)
		f.move(p.ID, tideover.CauseDoubt, queue.Note{})
		return breath
	}
}

// refused acts on the hub's reason for not taking a transaction.
func (f *forwarder) refused(p queue.Parcel, r wire.Refused) time.Duration {
	switch r.Reason {
	case wire.ReasonSuperseded:
		f.supersede()
		return lookAgain
	case wire.ReasonKeyReused:
		f.log.Error("the hub knows this key with another request: its record is adopted", "txn", p.ID)
		if err := f.adopt(r); err != nil {
			f.log.Error("the hub's record could not be adopted", "txn", p.ID, "err", err)
		}
		return retryAfter
	case wire.ReasonMalformed:
		f.log.Error("the hub takes this transaction for malformed: it needs a person", "txn", p.ID, "err", r.Detail)
		f.move(p.ID, tideover.ToldManual, queue.Note{})
		return lookAgain
	case wire.ReasonNone, wire.ReasonBusy, wire.ReasonDraining, wire.ReasonToken, wire.ReasonRevoked:
	}
	return retryAfter
}

// progress takes the hub's word that is not an end.
func (f *forwarder) progress(id tideover.ID, p wire.Progress) {
	if cause, ok := tideover.Told(p.State); ok {
		f.move(id, cause, queue.Note{WaitingFor: p.WaitingFor})
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

func (f *forwarder) move(id tideover.ID, cause tideover.Cause, note queue.Note) {
	if err := f.queue.Move(id, cause, note); err != nil {
		f.log.Debug("not moved", "txn", id, "cause", cause, "err", err)
	}
}

// confirm takes an end home: the till may hear of it at once, the disk has it with the next commit, and the hub hears of that.
func (f *forwarder) confirm(c wire.Confirmation) error {
	told := queue.Told{
		Position: queue.Position{ID: c.ID, HubSeq: c.HubSeq}, Outcome: c.Outcome, Corrected: c.Corrected,
	}
	if c.Adopt != nil {
		told.Adopt = draftOf(*c.Adopt)
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
		return f.queue.Adopt(*draftOf(*r.Adopt))
	default:
		return errors.New("the hub sent no record")
	}
}

// draftOf is what a journal that has lost a record needs to enter it again.
func draftOf(s wire.Submit) *queue.Draft {
	return &queue.Draft{
		ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, Request: s.Request, Hash: s.Hash,
		CreatedAt: s.CreatedAt, LedgerExpires: s.ExpiresAt,
	}
}
