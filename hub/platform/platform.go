package platform

import (
	"context"

	"tideover"
)

// Payment is one transaction as the platform gets it: a sale, a refund or an advice.
type Payment struct {
	ID        tideover.ID
	Store     string
	Terminal  string
	Request   tideover.Request // with payload and instrument in clear
	CreatedAt tideover.Millis  // the edge's wall clock
	ExpiresAt tideover.Millis  // sales only: no call may begin after it
}

// Result is what the platform says of a transaction.
type Result uint8

// The results. Each method says which of them it returns.
const (
	ResultNone        Result = iota // nothing was said
	ResultApproved                  // executed
	ResultDeclined                  // not executed, and never will be
	ResultPending                   // the platform is at work
	ResultMissing                   // it does not have the id (yet): certifies nothing, a call may still be travelling
	ResultReversed                  // it was executed, and is undone
	ResultNotExecuted               // certified: it was not executed, and a late call of the id will be declined
)

var resultNames = [...]string{
	ResultNone: "unknown", ResultApproved: "approved", ResultDeclined: "declined", ResultPending: "pending", ResultMissing: "missing",
	ResultReversed: "reversed", ResultNotExecuted: "not_executed",
}

// String returns the result's name at the platform.
func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return "unknown"
}

// Answer is what the platform says.
type Answer struct {
	Result    Result
	Code      string
	Message   string
	Reference string // the platform's own number
	// Amount, in minor units, and Currency are what it was approved over. An approval that does not name them is one over another
	// amount: it is not believed, and reversed. A platform that leaves them out has every sale undone, which shows at the first one.
	Amount     int64
	Currency   string
	WaitingFor string // pending: "customer" while a PIN is being entered
}

// The limits of an answer's texts, in bytes; what is longer is cut.
const (
	CodeMax      = 32
	MessageMax   = 512
	ReferenceMax = 128
)

// Platform moves the money. An error from any method means that it is not known what the platform did, and nothing else; a method
// returns within its context's time.
type Platform interface {
	// Pay executes a payment. Results: approved, declined, pending.
	Pay(context.Context, Payment) (Answer, error)
	// Query asks what became of an id. Results: approved, declined, pending, missing; reversed where it was undone.
	Query(context.Context, tideover.ID) (Answer, error)
	// Reverse undoes an id, or bars it where it was not executed. Results: reversed, not executed, declined (it was, long ago).
	// It may be repeated.
	Reverse(context.Context, tideover.ID) (Answer, error)
}
