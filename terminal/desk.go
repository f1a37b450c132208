package terminal

import (
	"context"
	"errors"
	"time"

	"tideover"
)

// Caller is the till that a request comes from, as the endpoint knows it.
type Caller struct {
	UID  string // what the transaction id is made of; with open access the name
	Name string
}

// Override is what an operator takes upon himself, from the header Tideover-Override.
type Override uint8

// The overrides.
const (
	OverrideNone      Override = iota
	OverrideDuplicate          // "duplicate": this is a second sale, not a second press
)

// Filter chooses among the caller's own transactions; at most one of Key, Unacknowledged and Order is given, and with none of them
// all are meant.
type Filter struct {
	Key            string
	Unacknowledged bool // final, and not acknowledged
	Order          string
	After          string // where the last page ended, as [Desk.List] said; "" is the beginning
	Limit          int    // 1 to [ListMax]
}

// Health is what a till shows in its banner.
type Health struct {
	Connected bool   // a hub was heard just now
	Uplink    string // the link in use; "" while there is none
	Pending   int    // accepted and not final, of the whole shop
	Accepting bool   // a sale that comes now is taken
	Message   tideover.Text
	Methods   []MethodHealth // as configured, in that order
}

// MethodHealth is what a till shows of one way to pay.
type MethodHealth struct {
	Name      string        // "*": every other
	MayWait   bool          // a sale is stored while no hub is heard; otherwise it is refused at once
	Offer     string        // what the cashier offers instead; "" is nothing
	Accepting bool          // a sale that comes now is taken
	Message   tideover.Text // empty while there is nothing to say
}

// PairRequest is what a new till says about itself.
type PairRequest struct {
	Code   string
	Name   string // may be empty where the code was made for a name
	Remote string // the till's address, for the log
}

// ErrAbort is returned by a [Desk] that must not answer: the queue's disk has failed, and whether the request is on it is not known.
// The connection is closed without an answer, so that the till asks again.
var ErrAbort = errors.New("closed without an answer")

// Desk is what the endpoint needs of the house behind it. Its methods are called from many goroutines at once. A request that is not
// taken is a [*tideover.Refusal]; a ctx that ends (the till has gone, the wait is over) is ctx.Err(); [ErrAbort] closes the
// connection; any other error is told as internal_error and logged.
type Desk interface {
	// Accept returns once the transaction is on disk, or was there already under the same key and body (Replayed). The request is
	// well-formed JSON of the right types; what it means is the desk's to judge.
	Accept(ctx context.Context, by Caller, key string, o Override, req tideover.Request) (tideover.Transaction, error)

	// Get returns one of the caller's own; what is unknown, or another till's, is refused as unknown_transaction.
	Get(ctx context.Context, by Caller, id tideover.ID) (tideover.Transaction, error)

	// Wait blocks until the transaction's Seq is above seq and returns it then.
	Wait(ctx context.Context, by Caller, id tideover.ID, seq uint64) (tideover.Transaction, error)

	// List returns the caller's own, oldest first, and what to give as After for the next page ("" when there is none).
	List(ctx context.Context, by Caller, f Filter) (page []tideover.Transaction, next string, err error)

	// Acknowledge returns once it is on disk that the till has printed or shown the end that it read at seq.
	Acknowledge(ctx context.Context, by Caller, id tideover.ID, seq uint64) (tideover.Transaction, error)

	// Receipt returns the receipt of the present end of one of the caller's own. Where no hub has signed one, signed is false, and the receipt
	// says what the record has.
	Receipt(ctx context.Context, by Caller, id tideover.ID) (r tideover.Receipt, signed bool, err error)

	// Taken tells that a press was taken that is new, for the house's own log: once its till has the answer, or begins to wait for it. It does
	// not block.
	Taken(t tideover.Transaction)

	// Delivered tells that an answer with the end of seq was written to the till. It does not block.
	Delivered(id tideover.ID, seq uint64)

	// Cancel returns once the cancel is on disk; the transaction is then final or being undone.
	Cancel(ctx context.Context, by Caller, id tideover.ID) (tideover.Transaction, error)

	// CancelKey is Cancel for a press whose id never arrived; an unknown key is barred for good.
	CancelKey(ctx context.Context, by Caller, key string) (tideover.Transaction, error)

	// Follow begins to tell the caller's own transactions: first every end that is not acknowledged, then whatever has changed since
	// the till was told the event with the ID after, then each change. With an after that is "" or unknown, or from too long ago, it
	// begins with every end that is not acknowledged and everything without an end. The endpoint closes the feed.
	Follow(ctx context.Context, by Caller, after string) (Feed, error)

	// Unfinished returns the caller's own that have been for longer than a time without an end, or with one that is not acknowledged:
	// the oldest first, at most limit of them, and how many there are in all.
	Unfinished(ctx context.Context, by Caller, longer time.Duration, limit int) (oldest []tideover.Transaction, all int, err error)

	// Settle returns once a till's report is on disk, or was there already under the same key and body (replayed), with the id to ask for.
	// The report is well-formed; what it means is the desk's to judge.
	Settle(ctx context.Context, by Caller, key string, report tideover.Settlement) (id tideover.ID, replayed bool, err error)

	// AwaitSettled blocks until nothing of the till in the report's time is without an end, but for what waits for a person.
	AwaitSettled(ctx context.Context, by Caller, id tideover.ID) error

	// Settled compares a report of the caller's with what is known now. What is unknown, or another till's, is refused as
	// unknown_transaction.
	Settled(ctx context.Context, by Caller, id tideover.ID) (tideover.Settled, error)

	// Health does not block.
	Health() Health

	// Authenticate knows a paired till by its bearer token, and false for anybody else's. It does not block.
	Authenticate(token string) (Caller, bool)

	// Pair lets a till in that knows a code which the technician was shown; see [Book]. It returns once the till is on disk. The
	// token is said this once.
	Pair(ctx context.Context, r PairRequest) (t tideover.Terminal, token string, err error)
}

// Feed tells a till's own transactions as they change. It holds no more than an id for each of them, however slowly it is read: a
// transaction that changes often is told once, as it is by then. It is used by one goroutine.
type Feed interface {
	// Due returns a channel that is signalled when Next has something to tell again.
	Due() <-chan struct{}

	// Next returns the next change, and false where there is none at present. Errors are those of [Desk].
	Next() (e Event, ok bool, err error)

	// Close ends the feed.
	Close()
}

// Event is a transaction that has changed, as it is now.
type Event struct {
	// ID is where the till is once it has read the event, one visible ASCII word. It outlives a restart.
	ID string
	tideover.Transaction
}

// RetryAfterDefault is advised where a refusal that passes by itself names no time.
const RetryAfterDefault = 2 * time.Second

// ListMax is the most transactions that one page of a list holds.
const ListMax = 100
