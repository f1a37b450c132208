package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"tideover"
	"tideover/hub/platform"
)

// paymentsMax is how many ids are remembered; beyond it new ones are answered as if the platform were down.
const paymentsMax = 2_000_000

// Options are what a simulated platform is made of.
type Options struct {
	Seed      uint64
	Behaviour Behaviour
	// Repeats: a call that is repeated is executed again, as by a platform that guarantees nothing but a status.
	Repeats bool
	// Notify is where outcomes that come late are hinted at, such as "http://127.0.0.1:8482": POST {Notify}/outcomes {id}. "": nowhere.
	Notify string
}

// Platform is a simulated platform. Its methods may be called from many goroutines.
type Platform struct {
	repeats bool
	mux     http.Handler
	hints   *hinter // nil: none are given

	mu        sync.Mutex // guards what follows
	random    *rand.Rand
	behaviour Behaviour
	payments  map[tideover.ID]*payment
	book      []line // every execution, in order
	late      int    // calls that are not done yet
	numbers   int    // references given
}

var _ platform.Platform = (*Platform)(nil)

// New makes a platform. It panics on a behaviour that is not valid.
func New(c Options) *Platform {
	if err := c.Behaviour.Validate(); err != nil {
		panic("sandbox: " + err.Error())
	}
	p := &Platform{
		repeats: c.Repeats, random: rand.New(rand.NewPCG(c.Seed, 0x7469646500)), behaviour: c.Behaviour,
		payments: make(map[tideover.ID]*payment),
	}
	p.mux = p.routes()
	if c.Notify != "" {
		p.hints = newHinter(c.Notify)
	}
	return p
}

// Behaviour returns the present behaviour.
func (p *Platform) Behaviour() Behaviour {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.behaviour
}

// Control changes the behaviour from now on. Errors: one that is not valid changes nothing.
func (p *Platform) Control(change func(*Behaviour)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.behaviour
	change(&b)
	if err := b.Validate(); err != nil {
		return err
	}
	p.behaviour = b
	return nil
}

// payment is what the platform knows of one id.
type payment struct {
	id       tideover.ID
	store    string
	count    Count
	kind     tideover.Kind
	amount   int64 // what it is approved over
	currency string

	decided  bool // approved or declined
	approved bool
	reversed bool
	lost     bool      // the statement lacks it: see Lose
	barred   bool      // certified as not executed: for good
	pending  time.Time // until then; then it is approved
	answered bool      // the platform has told its caller something of it
	ref      string
}

// errSilence is what a caller in the same process gets where others get no answer.
var errSilence = errors.New("sandbox: no answer")

// errDown is what is answered while the platform is down.
var errDown = errors.New("sandbox: the platform is down")

// get returns what is known of an id, or a new record of it; nil when there are too many.
func (p *Platform) get(id tideover.ID) *payment {
	x := p.payments[id]
	if x == nil && len(p.payments) < paymentsMax {
		x = &payment{id: id}
		p.payments[id] = x
	}
	if x != nil {
		p.mature(x)
	}
	return x
}

// mature executes what was pending until now.
func (p *Platform) mature(x *payment) {
	if !x.pending.IsZero() && !time.Now().Before(x.pending) {
		x.pending = time.Time{}
		if !x.barred {
			p.execute(x)
		}
	}
}

func (p *Platform) execute(x *payment) {
	x.decided, x.approved = true, true
	x.count.Executions++
	p.numbers++
	ref := fmt.Sprintf("SBX%09d", p.numbers)
	if x.ref == "" {
		x.ref = ref
	}
	p.enter(x, ref)
}

// arrive counts a call for a payment and says what becomes of it.
func (p *Platform) arrive(id tideover.ID) (f fate, delay time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.get(id)
	if x == nil {
		return 0, 0, errDown
	}
	x.count.Calls++
	if x.answered && x.count.Calls > 1 { // the first call of an id is no repeat, even if it comes after a reverse that was sent later
		x.count.RepeatedAfterAnswer++
	}
	if p.behaviour.Down {
		return 0, 0, errDown
	}
	return p.fate(), p.delay(), nil
}

// do does what a call for a payment asks for.
func (p *Platform) do(in platform.Payment) platform.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.get(in.ID)
	b := p.behaviour
	switch {
	case x.barred || x.reversed || !x.pending.IsZero():
	case x.decided && !(p.repeats && x.approved):
	case x.decided:
		p.execute(x)
	default:
		x.store, x.kind, x.amount, x.currency = in.Store, in.Request.Kind, in.Request.Amount, in.Request.Currency
		luck := p.random.Float64()
		switch {
		case slices.Contains(b.DeclineAmounts, in.Request.Amount) || luck < b.Decline:
			x.decided = true
		case luck < b.Decline+b.WrongAmount:
			x.amount++
			p.execute(x)
		case luck < b.Decline+b.WrongAmount+b.Pending:
			x.pending = time.Now().Add(time.Duration(b.PendingMS) * time.Millisecond)
			p.hintAt(in.ID, x.pending)
		default:
			p.execute(x)
		}
	}
	return p.says(x)
}

// says is what the platform says of an id now.
func (p *Platform) says(x *payment) platform.Answer {
	a := platform.Answer{Reference: x.ref, Amount: x.amount, Currency: x.currency}
	switch {
	case x.reversed:
		a.Result, a.Code, a.Message = platform.ResultReversed, "00", "reversed"
	case x.barred:
		a.Result, a.Code, a.Message = platform.ResultDeclined, "94", "reversed before it was executed"
	case x.approved:
		a.Result, a.Code, a.Message = platform.ResultApproved, "00", "approved"
	case x.decided:
		a.Result, a.Code, a.Message = platform.ResultDeclined, "05", "do not honour"
	case !x.pending.IsZero():
		a.Result, a.Code, a.Message, a.WaitingFor = platform.ResultPending, "09", "in progress", p.behaviour.WaitingFor
	default:
		a.Result = platform.ResultMissing
	}
	return a
}

// given notes that an answer about an id reached its caller.
func (p *Platform) given(id tideover.ID, a platform.Answer) {
	if a.Result == platform.ResultMissing {
		return // that says nothing of the id
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.get(id); x != nil {
		x.answered = true
	}
}

// serve does a call for a payment up to its answer; ok is false where the caller gets none.
func (p *Platform) serve(ctx context.Context, in platform.Payment) (a platform.Answer, f fate, err error) {
	f, delay, err := p.arrive(in.ID)
	if err != nil {
		return a, f, err
	}
	if f == fateLate {
		p.mu.Lock()
		p.late++
		wait := delay + time.Duration(p.behaviour.LateMS)*time.Millisecond
		p.mu.Unlock()
		time.AfterFunc(wait, func() {
			p.do(in)
			p.mu.Lock()
			p.late--
			p.mu.Unlock()
			p.hint(in.ID)
		})
		return a, f, nil
	}
	// A platform does not stop because its caller has left.
	time.Sleep(delay)
	switch f {
	case fateLostRequest, fateFailed:
	case fateHung:
		p.do(in)
		<-ctx.Done()
	default:
		a = p.do(in)
	}
	return a, f, nil
}

// Pay implements [platform.Platform].
func (p *Platform) Pay(ctx context.Context, in platform.Payment) (platform.Answer, error) {
	type result struct {
		a   platform.Answer
		f   fate
		err error
	}
	done := make(chan result, 1)
	go func() {
		a, f, err := p.serve(ctx, in)
		done <- result{a, f, err}
	}()
	select {
	case r := <-done:
		if r.err != nil || r.f != fateAnswered || ctx.Err() != nil {
			return platform.Answer{}, errors.Join(errSilence, r.err, ctx.Err())
		}
		p.given(in.ID, r.a)
		return r.a, nil
	case <-ctx.Done():
		return platform.Answer{}, errors.Join(errSilence, ctx.Err())
	}
}

// question counts a question and says whether it is lost.
func (p *Platform) question(id tideover.ID) (a platform.Answer, delay time.Duration, lost bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.get(id)
	if x == nil || p.behaviour.Down {
		return a, 0, false, errDown
	}
	x.count.Queries++
	return p.says(x), p.delay(), p.random.Float64() < p.behaviour.LoseQuery, nil
}

// Query implements [platform.Platform].
func (p *Platform) Query(ctx context.Context, id tideover.ID) (platform.Answer, error) {
	_, delay, lost, err := p.question(id)
	if err != nil {
		return platform.Answer{}, err
	}
	if !wait(ctx, delay) || lost {
		return platform.Answer{}, errSilence
	}
	a := p.look(id)
	p.given(id, a)
	return a, nil
}

// look says what is known of an id now.
func (p *Platform) look(id tideover.ID) platform.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.says(p.get(id))
}

// undo counts a reversal, does it, and says whether its answer is lost.
func (p *Platform) undo(id tideover.ID) (a platform.Answer, delay time.Duration, lost bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.get(id)
	if x == nil || p.behaviour.Down {
		return a, 0, false, errDown
	}
	x.count.Reverses++
	switch {
	case x.approved && !x.reversed:
		x.reversed = true
		x.count.Reversals += x.count.Executions
	case !x.approved:
		x.barred, x.pending = true, time.Time{}
	}
	a = platform.Answer{Result: platform.ResultNotExecuted, Code: "00", Message: "not executed", Reference: x.ref}
	if x.reversed {
		a.Result, a.Message = platform.ResultReversed, "reversed"
	}
	return a, p.delay(), p.random.Float64() < p.behaviour.LoseReverse, nil
}

// Reverse implements [platform.Platform].
func (p *Platform) Reverse(ctx context.Context, id tideover.ID) (platform.Answer, error) {
	a, delay, lost, err := p.undo(id)
	if err != nil {
		return platform.Answer{}, err
	}
	if !wait(ctx, delay) || lost {
		return platform.Answer{}, errSilence
	}
	p.given(id, a)
	return a, nil
}

// wait lets a call take its time; false where its caller leaves.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
