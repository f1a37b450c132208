package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/hub/platform"
	"tideover/internal/boottime"
	"tideover/wire"
)

// Limits of the desk.
const (
	// entriesMax is how many ids may be worked on or listened for, storeEntriesMax how many of one store; beyond either a new transaction
	// is refused as "busy".
	entriesMax      = 100_000
	storeEntriesMax = 10_000
	// callsMax is how many calls of the platform may be under way at once; more wait.
	callsMax = 512
	// leaseMin is the shortest lease; a claim holds for at least three calls.
	leaseMin = 30 * time.Second
	// retryWait is how often a step that waits for another row is tried, beside the moment at which that row ends.
	retryWait = time.Second
	// waitingMax is the longest "waiting for" that is told, in bytes.
	waitingMax = 64
)

// askAfter are the pauses between two questions about one id; the last one repeats.
var askAfter = [...]time.Duration{1 * time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second}

// Ledger is what the desk needs of an engine.
type Ledger interface {
	ID() [16]byte
	Owner() [16]byte
	Now() tideover.Millis
	Update(context.Context, ledger.Update) error
	Row(store string, id tideover.ID) (ledger.Row, error)
	Request(store string, id tideover.ID) (wire.Submit, error)
	OpenRows() ([]ledger.Key, error)
	Open(store string, limit int) (open []wire.Open, complete bool, err error)
	Outbox(store string, after uint64, limit int) ([]wire.Confirmation, error)
	Acknowledged(store string, after uint64) ([]tideover.ID, error)
	Booked(store string, incarnation [16]byte, after ledger.Place, to tideover.Millis, limit int) ([]ledger.Row, error)
	Acknowledge(ctx context.Context, store string, incarnation [16]byte, have []wire.Position) error
}

// Config is what a desk is made of.
type Config struct {
	Ledger   Ledger
	Platform platform.Platform
	// Idempotent: a repeated call of an id has one effect at the platform. Otherwise an id is called once, ever.
	Idempotent bool
	Timeout    time.Duration // of one call of the platform
	PendingMax time.Duration // 0: [ledger.PendingMax]
	// AskAfter replaces the pauses between two questions about one id; nil: 1, 2, 3, 5, 5 … s.
	AskAfter []time.Duration
	// Push tells a store an end that nobody listens for. It must not block; may be nil.
	Push func(store string, c wire.Confirmation)
	// Sign signs the receipt of an end. It is deterministic: nothing of it is kept in the ledger, and an end that is told again has the same
	// signature. nil: none is signed.
	Sign func(*tideover.Receipt) tideover.Proof
	Log  *slog.Logger // may be nil
}

// Desk is the executor of a hub.
type Desk struct {
	Config
	ledger Ledger
	policy ledger.Policy
	log    *slog.Logger
	calls  chan struct{}

	base   context.Context // ends when the desk stops
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	mu       sync.Mutex // guards what follows, and every entry
	entries  map[ledger.Key]*entry
	of       map[string]int         // how many of them each store has
	working  map[tideover.ID]*entry // those with a worker: a hint names no store
	stopping bool
}

// Listener is told what becomes of an id: any number of [wire.Progress], then one [wire.Confirmation] or [wire.Refused], each as a
// value. It must not block.
type Listener func(message any)

// errStopping is why the desk's context ends in the usual way.
var errStopping = errors.New("the desk is stopping")

// New makes a desk; nothing is worked on before [Desk.Run].
func New(c Config) *Desk {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.PendingMax == 0 {
		c.PendingMax = ledger.PendingMax
	}
	if c.AskAfter == nil {
		c.AskAfter = askAfter[:]
	}
	if c.Push == nil {
		c.Push = func(string, wire.Confirmation) {}
	}
	if c.Timeout <= 0 {
		panic("desk: a call of the platform needs a time-out")
	}
	d := &Desk{
		Config: c, ledger: c.Ledger, log: c.Log, policy: ledger.Policy{Idempotent: c.Idempotent, PendingMax: c.PendingMax},
		calls: make(chan struct{}, callsMax), entries: make(map[ledger.Key]*entry), of: make(map[string]int),
		working: make(map[tideover.ID]*entry),
	}
	d.base, d.cancel = context.WithCancelCause(context.Background())
	return d
}

// Run works on what has no end until ctx ends; then calls under way are given up (their rows are in doubt) and it returns. An error
// means that the ledger cannot be read or written: the process must end.
func (d *Desk) Run(ctx context.Context) error {
	open, err := d.ledger.OpenRows()
	if err != nil {
		return fmt.Errorf("read the open rows: %w", err)
	}
	for _, k := range open {
		d.ensure(k)
	}
	if len(open) > 0 {
		d.log.Info("resuming transactions without an end", "count", len(open))
	}
	select {
	case <-ctx.Done():
		d.cancel(errStopping)
	case <-d.base.Done():
	}
	d.mu.Lock()
	d.stopping = true
	d.mu.Unlock()
	d.work.Wait()
	if cause := context.Cause(d.base); !errors.Is(cause, errStopping) {
		return cause
	}
	return nil
}

// fail ends the desk: the ledger cannot be relied on.
func (d *Desk) fail(err error) { d.cancel(err) }

// lease is a claim's hold that begins now.
func (d *Desk) lease() ledger.Lease {
	return ledger.Lease{Owner: d.ledger.Owner(), Until: boottime.Now() + max(leaseMin, 3*d.Timeout)}
}

// step makes one change and returns the first row as it was committed.
func (d *Desk) step(ctx context.Context, mark, store string, ids []tideover.ID, do func(*ledger.View) ledger.Decision) (row ledger.Row, dec ledger.Decision, err error) {
	var from tideover.RowState
	err = d.ledger.Update(ctx, ledger.Update{Store: store, IDs: ids, Mark: mark, Step: func(v *ledger.View) error {
		from = v.Rows[0].State
		dec = do(v)
		row = v.Rows[0]
		return nil
	}})
	if err == nil && row.State != from {
		d.log.Info("transaction "+row.State.String(), "txn", row.ID.String(), "store", store, "from", from.String(), "why", row.Why)
	}
	return row, dec, err
}

// Hello takes the greeting of an edge's process. Features and software of the welcome are the caller's to fill in. Errors:
// [ledger.ErrSuperseded], [ledger.ErrStoreUnknown], [ledger.ErrStopped].
func (d *Desk) Hello(ctx context.Context, store string, h wire.Hello) (w wire.Welcome, err error) {
	var asked, behind bool
	var from, reused, after uint64
	err = d.ledger.Update(ctx, ledger.Update{Store: store, Mark: "hub.hello", Step: func(v *ledger.View) (err error) {
		asked = v.Store.Replay
		after, behind = v.Behind(h)
		w, err = v.Hello(h)
		from, reused = v.Store.LostFrom, v.Store.Reused
		return err
	}})
	if err == nil && reused != 0 {
		err = d.retell(ctx, store, from, reused)
	}
	if err == nil && behind {
		err = d.unacknowledge(ctx, store, after)
	}
	if err == nil && w.Replay && !asked {
		d.log.Warn("this hub was restored from an older copy: the store is asked for every end that it was told since", "store", store, "after", w.LostFrom)
	}
	w.Ledger = d.ledger.ID()
	return w, err
}

// retell has the ends between two outbox positions told at fresh ones: other ends have stood at those positions before.
func (d *Desk) retell(ctx context.Context, store string, from, through uint64) error {
	for {
		page, err := d.ledger.Outbox(store, from, retellMax)
		if err != nil {
			return err
		}
		var ids []tideover.ID
		for _, c := range page {
			if c.HubSeq <= through {
				ids = append(ids, c.ID)
			}
		}
		err = d.ledger.Update(ctx, ledger.Update{Store: store, IDs: ids, Mark: "hub.hello", Step: func(v *ledger.View) error {
			v.Retell()
			return nil
		}})
		if err != nil || len(ids) == 0 {
			return err
		}
	}
}

// unacknowledge has the ends after an outbox position told again: the edge had them, and was put back to an older copy.
func (d *Desk) unacknowledge(ctx context.Context, store string, after uint64) error {
	ids, err := d.ledger.Acknowledged(store, after)
	if err != nil {
		return err
	}
	d.log.Warn("the store's router was put back to an older copy: it is told again what it had acknowledged", "store", store, "ends", len(ids))
	for page := range slices.Chunk(ids, retellMax) {
		err := d.ledger.Update(ctx, ledger.Update{Store: store, IDs: page, Mark: "hub.hello", Step: func(v *ledger.View) error {
			v.Unacknowledge(after)
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// retellMax bounds how many ends are told anew in one commit.
const retellMax = 256

// Replayed notes that a process of a store's edge has told again every end that its welcome asked for.
func (d *Desk) Replayed(ctx context.Context, store string, incarnation [16]byte) error {
	var done bool
	err := d.ledger.Update(ctx, ledger.Update{Store: store, Mark: "hub.replayed", Step: func(v *ledger.View) error {
		before := v.Store.Replay
		v.Replayed(incarnation)
		done = before && !v.Store.Replay
		return nil
	}})
	if err == nil && done {
		d.log.Info("the store has told again what this hub had lost", "store", store)
	}
	return err
}

// Anchor keeps a newer committed head of an edge's chain.
func (d *Desk) Anchor(ctx context.Context, store string, incarnation [16]byte, a wire.Anchor) error {
	return d.ledger.Update(ctx, ledger.Update{Store: store, Step: func(v *ledger.View) error {
		v.Anchor(incarnation, a)
		return nil
	}})
}

// Outbox reads at most limit ends that a store's edge does not have on its disk yet, in order, from the position after the given one on.
func (d *Desk) Outbox(_ context.Context, store string, after uint64, limit int) ([]wire.Confirmation, error) {
	page, err := d.ledger.Outbox(store, after, limit)
	for i := range page {
		if c := &page[i]; c.Adopt != nil {
			d.prove(store, c, c.Adopt)
		}
	}
	return page, err
}

// openMax is how much without an end a store's edge is told at a hello: as much as the desk may work on for one store, and hardly ever more than a
// handful. Where there is more, the edge is told that this is not all, and ends nothing by itself until a later hello has fewer.
const openMax = storeEntriesMax

// Open reads what a store has without an end, and whether that is all: not where the ledger may have lost some. After [Desk.Hello] nothing comes to it
// but what the present process of the edge sends: a claim is judged by the incarnation that the hello has committed.
func (d *Desk) Open(ctx context.Context, store string) (open []wire.Open, complete bool, err error) {
	lost := false
	err = d.ledger.Update(ctx, ledger.Update{Store: store, Step: func(v *ledger.View) error {
		lost = v.Orphaned()
		return nil
	}})
	if err != nil {
		return nil, false, err
	}
	open, complete, err = d.ledger.Open(store, openMax)
	if lost {
		return open, false, err
	}
	if err == nil && !complete {
		d.log.Warn("a store has too much without an end to be told at once: its router ends nothing by itself for now", "store", store, "told", len(open))
	}
	return open, complete, err
}

// end is a row's end as its edge hears it.
func (d *Desk) end(row *ledger.Row) wire.Confirmation {
	c := row.Confirmation()
	d.prove(row.Store, &c, &row.Request)
	return c
}

// prove adds to an end what its edge needs for a receipt of it. Of an id that was barred before any request of it was seen there is nothing to
// be said.
func (d *Desk) prove(store string, c *wire.Confirmation, of *wire.Submit) {
	if d.Sign == nil || of.Request.Kind == tideover.KindNone {
		return
	}
	receipt := of.Receipt(store, c.Outcome, c.Corrected)
	c.Receipt = d.Sign(&receipt)
}

// Ack notes that a process of a store's edge has these ends on its disk. Only exact positions count, and only the present process.
func (d *Desk) Ack(ctx context.Context, store string, incarnation [16]byte, have []wire.Position) error {
	return d.ledger.Acknowledge(ctx, store, incarnation, have)
}

// Load is how much is under way.
type Load struct {
	Working   int // rows that are worked on
	Listening int // ids that somebody listens for
	Calls     int // calls of the platform
}

// Load counts it.
func (d *Desk) Load() (l Load) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.entries {
		if e.running {
			l.Working++
		}
		if len(e.listeners) > 0 {
			l.Listening++
		}
	}
	l.Calls = len(d.calls)
	return l
}
