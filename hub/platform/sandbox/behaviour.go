package sandbox

import (
	"errors"
	"fmt"
	"time"
)

// Behaviour is how the simulated platform treats its callers. Shares are from 0 to 1; for each call at most one of them strikes, in the
// order in which they stand here. The zero value approves everything at once.
type Behaviour struct {
	LatencyMS int64 `json:"latency_ms"` // of every call
	JitterMS  int64 `json:"jitter_ms"`  // at most this much more, at random

	// What happens to payments.
	Decline        float64 `json:"decline"`
	DeclineAmounts []int64 `json:"decline_amounts"` // exactly these, minor units, are always declined
	WrongAmount    float64 `json:"wrong_amount"`    // approved over one minor unit more
	Pending        float64 `json:"pending"`         // pending for PendingMS, then decided
	PendingMS      int64   `json:"pending_ms"`
	WaitingFor     string  `json:"waiting_for"` // said while it is pending

	// What happens to calls for a payment.
	LoseRequest float64 `json:"lose_request"` // never arrives: the connection is cut
	LoseAnswer  float64 `json:"lose_answer"`  // done, then the connection is cut
	Fail        float64 `json:"fail"`         // not done, answered 500
	Garble      float64 `json:"garble"`       // done, answered 200 with something that is no answer
	Hang        float64 `json:"hang"`         // done, never answered
	Late        float64 `json:"late"`         // the connection is cut at once, and it is done LateMS later
	LateMS      int64   `json:"late_ms"`

	// What happens to questions and reversals.
	LoseQuery   float64 `json:"lose_query"`   // cut
	LoseReverse float64 `json:"lose_reverse"` // done, then cut

	NoStatement bool `json:"no_statement"` // it has no statement to give

	Down bool `json:"down"` // everything is answered 503, and nothing is done
}

// delayMax bounds every time in a [Behaviour].
const delayMax = time.Hour

// Validate says what is out of its bounds.
func (b Behaviour) Validate() error {
	var errs []error
	for name, share := range map[string]float64{
		"decline": b.Decline, "wrong_amount": b.WrongAmount, "pending": b.Pending, "lose_request": b.LoseRequest,
		"lose_answer": b.LoseAnswer, "fail": b.Fail, "garble": b.Garble, "hang": b.Hang, "late": b.Late, "lose_query": b.LoseQuery,
		"lose_reverse": b.LoseReverse,
	} {
		if !(share >= 0 && share <= 1) {
			errs = append(errs, fmt.Errorf("%s = %v is not between 0 and 1", name, share))
		}
	}
	for name, ms := range map[string]int64{
		"latency_ms": b.LatencyMS, "jitter_ms": b.JitterMS, "pending_ms": b.PendingMS, "late_ms": b.LateMS,
	} {
		if ms < 0 || ms > delayMax.Milliseconds() {
			errs = append(errs, fmt.Errorf("%s = %d is not between 0 and an hour", name, ms))
		}
	}
	return errors.Join(errs...)
}

// fate is what becomes of one call for a payment.
type fate uint8

const (
	fateAnswered fate = iota
	fateLostRequest
	fateLostAnswer
	fateFailed
	fateGarbled
	fateHung
	fateLate
)

// fate draws what becomes of a call. The mutex is held.
func (p *Platform) fate() fate {
	b, luck := p.behaviour, p.random.Float64()
	for _, x := range []struct {
		share float64
		fate  fate
	}{
		{b.LoseRequest, fateLostRequest},
		{b.LoseAnswer, fateLostAnswer},
		{b.Fail, fateFailed},
		{b.Garble, fateGarbled},
		{b.Hang, fateHung},
		{b.Late, fateLate},
	} {
		if luck < x.share {
			return x.fate
		}
		luck -= x.share
	}
	return fateAnswered
}

// delay draws how long a call takes.
func (p *Platform) delay() time.Duration {
	d := time.Duration(p.behaviour.LatencyMS) * time.Millisecond
	if j := p.behaviour.JitterMS; j > 0 {
		d += time.Duration(p.random.Int64N(j*int64(time.Millisecond) + 1))
	}
	return d
}
