package platform

import (
	"context"
	"errors"

	"tideover"
)

// Limits of a statement.
const (
	PageMax   = 1000 // entries of one page
	CursorMax = 512  // bytes of Page.After
)

// ErrNoStatement is what a [Lister] returns whose platform turns out to give none.
var ErrNoStatement = errors.New("the platform gives no statement")

// Page says which part of a statement is wanted.
type Page struct {
	Store    string
	From, To tideover.Millis // the platform's clock at the execution; To is not within
	After    string          // Listing.Next of the page before; "": from the beginning
}

// Entry is a line of the platform's own statement: one execution. An id that stands there twice was executed twice.
type Entry struct {
	ID        tideover.ID
	Kind      tideover.Kind
	Amount    int64 // minor units
	Currency  string
	Result    Result // approved, declined, reversed or pending
	Reference string // the platform's own number
	At        tideover.Millis
}

// Listing is a page of a statement, ordered by time.
type Listing struct {
	Entries []Entry
	Next    string // the cursor of the next page; "": this is the last
}

// Lister is a [Platform] that can also say what it has executed. It moves nothing and may be asked at any time. Errors: [ErrNoStatement]; any
// other means that the page could not be read, and nothing else.
type Lister interface {
	List(context.Context, Page) (Listing, error)
}
