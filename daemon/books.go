package daemon

import (
	"context"
	"errors"
	"time"

	"tideover"
	"tideover/queue"
	"tideover/reconcile"
	"tideover/uplink"
	"tideover/wire"
)

const (
	// booksEntriesMax is the most transactions of one side that are compared at once: a router has little memory.
	booksEntriesMax = 20_000
	// booksItemsMax is the most items of a day's reports: overlapping reports name a transaction more than once.
	booksItemsMax = 2 * booksEntriesMax
	// hubSettleMax is how long the ledger may take while a till waits for its answer, and hubDayMax while a technician does, whose
	// platform has to write its statement.
	hubSettleMax = 10 * time.Second
	hubDayMax    = 2 * time.Minute
	// settlementSpanMax is the longest time that one report covers.
	settlementSpanMax = 31 * 24 * time.Hour
	// comparedAtOnce is how many comparisons are in memory at once; one more waits.
	comparedAtOnce = 2
	// repeatedMax is how many transactions that the ledger seems to lack it is asked for by id, and repeatedSpan how much earlier or later it
	// may have them.
	repeatedMax  = 32
	repeatedSpan = 31 * 24 * time.Hour
)

// errTooMany says that a comparison would not fit into memory.
var errTooMany = errors.New("too many transactions")

// hubBooks asks the hub what its side has of a time; the uplink does, and a test's stand-in.
type hubBooks interface {
	Reconcile(ctx context.Context, q wire.Reconcile, each func(wire.Booked) error) (wire.Balanced, error)
	Knows(ctx context.Context, id tideover.ID) (bool, error)
}

// books reads what the sides of a comparison have.
type books struct {
	queue     *queue.Queue
	hub       hubBooks
	asking    chan struct{} // holds a token while the hub is asked: it answers a store one at a time
	comparing chan struct{} // holds a token for each comparison in memory
}

func newBooks(q *queue.Queue, hub hubBooks) *books {
	return &books{queue: q, hub: hub, asking: make(chan struct{}, 1), comparing: make(chan struct{}, comparedAtOnce)}
}

// enter takes a place among the comparisons; leave gives it back.
func (b *books) enter(ctx context.Context) (leave func(), err error) {
	select {
	case b.comparing <- struct{}{}:
		return func() { <-b.comparing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// entryOf is a transaction as the journal has it.
func entryOf(t *tideover.Transaction) reconcile.Entry {
	e := reconcile.Entry{
		ID: t.ID, UID: t.TerminalUID, Terminal: t.Terminal, Key: t.Key, Kind: t.Kind, Amount: t.Amount, Currency: t.Currency, State: t.State,
		Original: t.Original, At: t.CreatedAt,
	}
	if t.Outcome != nil {
		e.Reference = t.Outcome.Reference
	}
	return e
}

// journal returns what the journal has of a time; uid "" means every till's.
func (b *books) journal(ctx context.Context, from, to tideover.Millis, uid string) (all []reconcile.Entry, err error) {
	err = b.queue.Between(ctx, from, to, func(t tideover.Transaction) error {
		if uid != "" && t.TerminalUID != uid {
			return nil
		}
		if len(all) == booksEntriesMax {
			return errTooMany
		}
		all = append(all, entryOf(&t))
		return nil
	})
	return all, err
}

// lookup finds what the journal has of an id, whenever it was accepted.
func (b *books) lookup(id tideover.ID) (reconcile.Entry, bool) {
	t, err := b.queue.Get(id)
	if err != nil {
		return reconcile.Entry{}, false
	}
	return entryOf(&t), true
}

// hubSides asks the hub for its ledger and the platform's statement, for so long at most, and a second time for what the journal has at
// another time than the ledger. A press that a till repeats to a new router is accepted anew there, and the ledger keeps the time of the
// first acceptance; a ledger that was put back has some rows from the time at which it heard of them again.
func (b *books) hubSides(
	ctx context.Context, q wire.Reconcile, uid string, journal []reconcile.Entry, most time.Duration,
) (ledger, platform reconcile.Book, why string, err error) {
	patience, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	select {
	case b.asking <- struct{}{}:
		defer func() { <-b.asking }()
	case <-patience.Done():
		return ledger, platform, "another comparison has the hub's ear", ctx.Err()
	}
	mine := func(e *wire.Booking) bool { return uid == "" || e.Side != wire.SideLedger || e.TerminalUID == uid }
	ledger, platform, why, err = b.ask(ctx, patience, q, mine)
	if err != nil || !ledger.Given {
		return ledger, platform, why, err
	}
	repeated := b.repeated(patience, journal, ledger.Entries)
	if len(repeated) == 0 {
		return ledger, platform, why, nil
	}
	before, after := q, q
	before.From, before.To = max(q.From.Add(-repeatedSpan), 1), q.From
	after.From, after.To = q.To, min(q.To.Add(repeatedSpan), tideover.MillisOf(time.Now()))
	for _, other := range []wire.Reconcile{before, after} {
		if other.From >= other.To {
			continue
		}
		more, statement, _, err := b.ask(ctx, patience, other, func(e *wire.Booking) bool { return repeated[e.ID] })
		if err != nil {
			return ledger, platform, why, err
		}
		ledger.Entries = append(ledger.Entries, more.Entries...)
		platform.Entries = append(platform.Entries, statement.Entries...)
	}
	return ledger, platform, why, nil
}

// repeated returns those of the journal's approvals that these entries of the ledger lack, and that it has all the same.
func (b *books) repeated(ctx context.Context, journal, ledger []reconcile.Entry) map[tideover.ID]bool {
	has := make(map[tideover.ID]bool, len(ledger))
	for i := range ledger {
		has[ledger[i].ID] = true
	}
	repeated, asked := map[tideover.ID]bool{}, 0
	for i := range journal {
		id := journal[i].ID
		if journal[i].State != tideover.StateApproved || has[id] || asked == repeatedMax {
			continue
		}
		asked++
		if known, err := b.hub.Knows(ctx, id); err == nil && known {
			repeated[id] = true
		}
	}
	return repeated
}

// ask asks the hub once for its ledger and the platform's statement. A hub that was not heard is no error: why says so,
// and nothing is given. Only ctx's own end is.
func (b *books) ask(
	ctx, patience context.Context, q wire.Reconcile, wanted func(*wire.Booking) bool,
) (ledger, platform reconcile.Book, why string, err error) {
	said, err := b.hub.Reconcile(patience, q, func(m wire.Booked) error {
		for i := range m.Entries {
			e := &m.Entries[i]
			if !wanted(e) {
				continue
			}
			into := &ledger
			if e.Side == wire.SidePlatform {
				into = &platform
			}
			if len(into.Entries) == booksEntriesMax {
				return errTooMany
			}
			into.Entries = append(into.Entries, reconcile.Entry{
				ID: e.ID, UID: e.TerminalUID, Terminal: e.Terminal, Kind: e.Kind, Amount: e.Amount, Currency: e.Currency, State: e.State,
				Reference: e.Reference, At: e.CreatedAt, Moving: e.Moving,
			})
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return reconcile.Book{}, reconcile.Book{}, "", ctx.Err()
	case errors.Is(err, errTooMany):
		return reconcile.Book{}, reconcile.Book{}, "", err
	case err != nil:
		return reconcile.Book{}, reconcile.Book{}, hubWhy(err), nil
	}
	ledger.Given, platform.Given = true, said.Statement
	return ledger, platform, said.Detail, nil
}

// hubWhy says why the hub gave nothing.
func hubWhy(err error) string {
	if r, ok := errors.AsType[*uplink.RefusedError](err); ok && r.Refused.Detail != "" {
		return "the hub refused: " + r.Refused.Detail
	}
	return err.Error()
}

// dayOf returns the day of an instant in the router's time zone.
func dayOf(at tideover.Millis) (from, to tideover.Millis) {
	t := at.Time().In(time.Local)
	y, m, d := t.Date()
	return tideover.MillisOf(time.Date(y, m, d, 0, 0, 0, 0, time.Local)), tideover.MillisOf(time.Date(y, m, d+1, 0, 0, 0, 0, time.Local))
}

// reportOf is a till's report as the comparison takes it.
func reportOf(r *queue.Report) reconcile.Report {
	return reconcile.Report{ID: r.ID, UID: r.TerminalUID, Terminal: r.Terminal, At: r.At, Settlement: r.Settlement}
}

func tooManyToSettle() error {
	return tideover.Refuse(tideover.CodeInvalidRequest,
		"more than %d transactions are in that time; report a shorter time: give from and to", "该时段内超过 %d 笔交易；请用 from 和 to 报送较短的时段", booksEntriesMax)
}

// spanTooLong refuses a time that is too long for one report.
func spanTooLong() error {
	r := tideover.Refuse(tideover.CodeInvalidRequest, "nothing was taken; correct from and send it again", "请求未受理；请更正 from 后重发")
	r.Fields = []tideover.FieldError{{Field: "from", Detail: tideover.Textf("a report covers %d days at most", "一份结算最多覆盖 %d 天", int(settlementSpanMax.Hours())/24)}}
	return r
}
