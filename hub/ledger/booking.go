package ledger

import (
	"tideover"
	"tideover/wire"
)

// Place is where a row stands in its store's books: in the order of these times, and of ids within one.
type Place struct {
	At tideover.Millis
	ID tideover.ID
}

// Place returns it. The time is the edge's wall clock at the transaction's acceptance; where no request of it was seen, it is when it was
// barred. A row moves once at most, when the request of an id that was barred is heard after all.
func (r *Row) Place() Place {
	at := r.Request.CreatedAt
	if at == 0 {
		at = r.CreatedAt
	}
	return Place{At: max(0, at), ID: r.ID}
}

// Booking is the row as a reconcile tells it. Moving is left to whoever compares.
func (r *Row) Booking() wire.Booking {
	q := r.Request.Request
	b := wire.Booking{
		Side: wire.SideLedger, ID: r.ID, TerminalUID: r.Request.TerminalUID, Terminal: r.Request.Terminal, Kind: q.Kind, Amount: q.Amount,
		Currency: q.Currency, State: r.Progress().State, CreatedAt: r.Place().At,
	}
	if r.Ended() {
		b.State, b.Reference = r.Outcome.Result, r.Outcome.Reference
	}
	return b
}
