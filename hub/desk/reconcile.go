package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/hub/platform"
	"tideover/wire"
)

// Limits of a reconcile. At any of the platform's, the answer goes without its statement and says why: half a statement would show money as
// missing that is there.
const (
	// clockSlack is how far the clocks of platform and ledger may be apart, with a call on its way: the statement is asked for that much
	// more on either side.
	clockSlack = 15 * time.Minute
	// reachMax is how long before or after the time that was asked for its transactions may have been executed: an advice that waited while the
	// shop was offline, a shop whose clock is wrong.
	reachMax = 31 * 24 * time.Hour
	// statementMax is how many entries of a statement are kept to be said; some 15 MB.
	statementMax = 50_000
	pagesMax     = 4096             // of one statement
	pageWait     = 15 * time.Second // for each
)

// Reconcile says what the ledger and the platform have of a time, in pages, and counts what it said. The statement is read first, then the
// ledger, both beside the work that goes on: nothing waits for them. Errors: [ledger.ErrSuperseded], [ledger.ErrStoreUnknown], the
// ledger's failure, say's, or the context's; then nothing of what was said counts.
func (d *Desk) Reconcile(ctx context.Context, store string, incarnation [16]byte, q wire.Reconcile, say func(wire.Booked) error) (b wire.Balanced, err error) {
	begun := d.ledger.Now()
	read := reading{d: d, store: store, incarnation: incarnation, asked: q, within: make(map[tideover.ID]struct{})}
	statement, err := read.statement(ctx)
	switch {
	case err == nil:
		b.Statement = true
	case ctx.Err() != nil:
		return b, ctx.Err()
	case errors.Is(err, errLedger):
		return b, err
	default:
		b.Detail = plain(err)
		d.log.Debug("reconcile without the platform's statement", "store", store, "err", err)
	}
	batch := batch{say: say}
	err = read.rows(ctx, func(r *ledger.Row) error {
		entry := r.Booking()
		entry.Moving = b.Statement && r.UpdatedAt >= begun
		b.Ledger++
		return batch.add(entry)
	})
	for i := 0; i < len(statement) && err == nil; i++ {
		b.Platform++
		err = batch.add(statement[i])
	}
	if err == nil {
		err = batch.flush()
	}
	return b, err
}

// plain makes an error's text one that a frame can carry and a log may hold: a platform's status line may be of anything.
func plain(err error) string {
	s := tideover.Mask(err.Error())
	return strings.ToValidUTF8(s[:min(len(s), wire.DetailMax)], "")
}

// batch gathers entries into frames.
type batch struct {
	say     func(wire.Booked) error
	entries []wire.Booking
}

func (b *batch) add(e wire.Booking) error {
	if b.entries = append(b.entries, e); len(b.entries) < wire.BookedMax {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	if len(b.entries) == 0 {
		return nil
	}
	err := b.say(wire.Booked{Entries: b.entries})
	b.entries = nil // whoever was given it may keep it
	return err
}

// reading is one reconcile's way through the ledger and the statement.
type reading struct {
	d           *Desk
	store       string
	incarnation [16]byte
	asked       wire.Reconcile
	// within are ids that the ledger has of that time, statementMax at most: what is listed of others is looked up one by one.
	within map[tideover.ID]struct{}
}

// errLedger marks what the ledger itself failed with, among the reasons for which there may be no statement.
var errLedger = errors.New("read the ledger")

// rows reads the ledger's rows of the time that was asked for, a page at once. One that moves meanwhile, since the request of a barred id is heard, is
// given once.
func (r *reading) rows(ctx context.Context, each func(*ledger.Row) error) error {
	barred := map[tideover.ID]bool{}
	for after := (ledger.Place{At: r.asked.From}); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := r.d.ledger.Booked(r.store, r.incarnation, after, r.asked.To, wire.BookedMax)
		if err != nil {
			return fmt.Errorf("%w: %w", errLedger, err)
		}
		for i := range page {
			if row := &page[i]; !barred[row.ID] {
				if !row.Known() {
					barred[row.ID] = true
				}
				if err := each(row); err != nil {
					return err
				}
			}
		}
		if len(page) < wire.BookedMax {
			return nil
		}
		after = page[len(page)-1].Place()
	}
}

// errReach is why no statement is asked for.
var errReach = fmt.Errorf("transactions of this time reached the hub more than %d days before or after it: a statement that long is not asked for", reachMax/(24*time.Hour))

// span finds when, by the ledger's clock, the platform may have executed what was created in the time that was asked for. The two differ by
// as long as the shop was offline, and by its clock.
func (r *reading) span(ctx context.Context) (p platform.Page, err error) {
	now := r.d.ledger.Now()
	from, to := r.asked.From, min(r.asked.To, now)
	first, last := r.asked.From.Add(-reachMax), r.asked.To.Add(reachMax)
	far := false
	err = r.rows(ctx, func(row *ledger.Row) error {
		if row.State == tideover.RowRefused {
			return nil // never executed
		}
		if len(r.within) < statementMax {
			r.within[row.ID] = struct{}{}
		}
		begun, ended := row.CreatedAt, now
		if row.Ended() {
			ended = row.Outcome.At
			begun = min(begun, ended) // it was told again to a ledger that had lost it
		}
		far = far || begun < first || begun > last
		// What a person has settled a quarter later was executed soon after it was claimed, if at all.
		from, to = min(from, begun), max(to, min(ended, last))
		return nil
	})
	if err == nil && far {
		err = errReach
	}
	return platform.Page{Store: r.store, From: max(1, from.Add(-clockSlack)), To: to.Add(clockSlack)}, err
}

// errMany is why a statement is not kept.
var errMany = fmt.Errorf("the platform's statement has more than %d entries or %d pages: ask for a shorter time", statementMax, pagesMax)

// errNotAsked is why there is no statement where the edge wants none.
var errNotAsked = errors.New("the statement was not asked for")

// statement reads what the platform has executed: what the ledger has of the time that was asked for, by id, and of that time itself what the
// ledger does not have at all.
func (r *reading) statement(ctx context.Context) (entries []wire.Booking, err error) {
	if r.asked.LedgerOnly {
		return nil, errNotAsked
	}
	lister, ok := r.d.Platform.(platform.Lister)
	if !ok {
		return nil, platform.ErrNoStatement
	}
	page, err := r.span(ctx)
	if err != nil || page.From >= page.To {
		return nil, err
	}
	for range pagesMax {
		listing, err := r.list(ctx, lister, page)
		if err != nil {
			return nil, err
		}
		for i := range listing.Entries {
			e := &listing.Entries[i]
			if wanted, err := r.wants(e); err != nil {
				return nil, err
			} else if wanted {
				entries = append(entries, booking(e))
			}
		}
		switch {
		case len(entries) > statementMax:
			return nil, errMany
		case listing.Next == "":
			return entries, nil
		case listing.Next == page.After:
			return nil, errors.New("the platform's statement does not go on: a page names itself as the next")
		}
		page.After = listing.Next
	}
	return nil, errMany
}

func (r *reading) list(ctx context.Context, lister platform.Lister, page platform.Page) (platform.Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	return lister.List(ctx, page)
}

// wants says whether an entry is part of the answer. Of what the ledger has, its own time counts.
func (r *reading) wants(e *platform.Entry) (bool, error) {
	if _, ok := r.within[e.ID]; ok {
		return true, nil
	}
	row, err := r.d.ledger.Row(r.store, e.ID)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errLedger, err)
	}
	at := e.At
	if row.State != tideover.RowNone {
		at = row.Place().At
	}
	return at >= r.asked.From && at < r.asked.To, nil
}

// booking is an entry as the edge hears it.
func booking(e *platform.Entry) wire.Booking {
	b := wire.Booking{
		Side: wire.SidePlatform, ID: e.ID, Kind: e.Kind, Amount: e.Amount, Currency: e.Currency, Reference: e.Reference, CreatedAt: e.At,
	}
	switch e.Result {
	case platform.ResultApproved:
		b.State = tideover.StateApproved
	case platform.ResultReversed:
		b.State = tideover.StateReversed
	case platform.ResultPending:
		b.State = tideover.StatePending
	case platform.ResultNone, platform.ResultDeclined, platform.ResultMissing, platform.ResultNotExecuted:
		b.State = tideover.StateDeclined
	}
	return b
}
