package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"tideover"
)

// ErrCrashed is returned by what a till was doing when it crashed.
var ErrCrashed = errors.New("the till has crashed")

// errUnknown: a router that was put in another one's place does not know of a press.
var errUnknown = errors.New("this router does not know it")

// NewRouter tells the till that the shop's router was replaced by one with an empty or an older disk: that one may know nothing of what
// the old one had answered. The till sends again what has no end, and asks again for what it wanted undone.
func (t *Till) NewRouter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.router++
	for _, n := range t.notes {
		n.known, n.seq, n.open = false, 0, false
	}
}

// Crash is a power cut at the till: what it was doing breaks off with [ErrCrashed], and of its presses it remembers only what a till
// keeps: key, request and that it was told to cancel, each before its first try, and the end that it has shown.
func (t *Till) Crash() {
	t.mu.Lock()
	for _, n := range t.notes {
		n.forgot = true
	}
	end := t.crash
	t.life, t.crash = context.WithCancel(context.Background())
	t.mu.Unlock()
	end()
	t.client.CloseIdleConnections()
}

// living returns a context that also ends when the till crashes, and what turns errors into [ErrCrashed] where it did.
func (t *Till) living(ctx context.Context) (context.Context, func(error) error) {
	t.mu.Lock()
	life := t.life
	t.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(life, cancel)
	return ctx, func(err error) error {
		stop()
		cancel()
		if err != nil && life.Err() != nil {
			return ErrCrashed
		}
		return err
	}
}

// Keep writes a press down, or finds it; nothing of it is sent.
func (t *Till) Keep(key string, p Press) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.notes[key] == nil {
		t.notes[key] = &Note{Terminal: t.Name, Key: key, Press: p}
		t.order = append(t.order, key)
	}
}

// memory is what the till remembers of a press, and the router that it speaks to.
func (t *Till) memory(key string) (n Note, router int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.notes[key]; n != nil {
		return *n, t.router
	}
	return Note{}, t.router
}

// RefusedError is a press that the edge refused for good.
type RefusedError struct {
	Status int
	Code   tideover.Code
	Detail string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("refused: %s: %s", e.Code, e.Detail) }

// Sell presses under key and follows the transaction until its end is told and acknowledged. It returns that end, a
// [*RefusedError], [ErrCrashed] or ctx's error; then the same call under the same key takes it up again.
func (t *Till) Sell(ctx context.Context, key string, p Press) (tideover.Transaction, error) {
	ctx, end := t.living(ctx)
	t.Keep(key, p)
	x, err := t.send(ctx, key, t.Wait)
	x, err = t.finish(ctx, key, x, err)
	return x, end(err)
}

// Press writes a press down and sends it until it is answered 200 or 202, or refused for good; it does not follow it.
func (t *Till) Press(ctx context.Context, key string, p Press) (tideover.Transaction, error) {
	ctx, end := t.living(ctx)
	t.Keep(key, p)
	x, err := t.send(ctx, key, t.Wait)
	return x, end(err)
}

// Void cancels a press and follows it to its end as [Till.Sell] does. The press itself is not sent, unless a router that was put in
// another one's place has to be told of it.
func (t *Till) Void(ctx context.Context, key string, byKey bool) (tideover.Transaction, error) {
	ctx, end := t.living(ctx)
	x, err := t.cancel(ctx, key, byKey, t.someWait())
	x, err = t.finish(ctx, key, x, err)
	return x, end(err)
}

// Cancel asks for a press to be undone until that is answered: by id where the till knows it and byKey is not set, and by key
// otherwise. It does not follow what becomes of it.
func (t *Till) Cancel(ctx context.Context, key string, byKey bool) (tideover.Transaction, error) {
	ctx, end := t.living(ctx)
	x, err := t.cancel(ctx, key, byKey, t.someWait())
	return x, end(err)
}

// Finish follows a press from what was told last until its end is told and acknowledged.
func (t *Till) Finish(ctx context.Context, key string, x tideover.Transaction) (tideover.Transaction, error) {
	ctx, end := t.living(ctx)
	x, err := t.finish(ctx, key, x, nil)
	return x, end(err)
}

// Ask looks at a press once it can be reached, without sending it: by id, or by key, as the dice fall.
func (t *Till) Ask(ctx context.Context, key string) (tideover.Transaction, error) {
	ctx, end := t.living(ctx)
	x, err := t.ask(ctx, key, 0)
	return x, end(err)
}

// Collect takes the ends that the edge still holds for this till, and acknowledges them: an end that was corrected, or undone by
// another till's reversal, comes unasked. It returns how many there were.
func (t *Till) Collect(ctx context.Context) (n int, err error) {
	ctx, end := t.living(ctx)
	for err == nil {
		var page []tideover.Transaction
		if page, err = t.Unacknowledged(ctx); len(page) == 0 {
			break
		}
		for _, x := range page {
			known, router := t.memory(x.Key)
			if known.Key == "" {
				return n, end(fmt.Errorf("the edge holds an end for %s that it never pressed: %s", t.Name, x.ID))
			}
			t.told(x.Key, x, router)
			if _, err = t.finish(ctx, x.Key, x, nil); err != nil {
				break
			}
			n++
		}
	}
	return n, end(err)
}

// finish follows a press until its end is told and acknowledged.
func (t *Till) finish(ctx context.Context, key string, x tideover.Transaction, err error) (tideover.Transaction, error) {
	for err == nil || errors.Is(err, errUnknown) {
		n, router := t.memory(key)
		switch {
		case err == nil && x.Final() && x.State == tideover.StateApproved && n.Cancel.Taken() && n.Cancel.router != router:
			// The router that had taken the cancel is gone, and this one does not know of it.
			x, err = t.cancel(ctx, key, true, t.someWait())
		case err == nil && x.Final():
			var done bool
			if done, err = t.acknowledge(ctx, key, x); err == nil && !done {
				x, err = t.ask(ctx, key, 0)
			} else if err == nil {
				return x, nil
			}
		default:
			x, err = t.follow(ctx, key, n)
		}
	}
	return x, err
}

// follow looks again at a press that is not final, in the way of this till.
func (t *Till) follow(ctx context.Context, key string, n Note) (tideover.Transaction, error) {
	switch {
	case !n.known && !n.Cancel.Asked.IsZero():
		return t.cancel(ctx, key, true, t.someWait())
	case n.known && t.Asks:
		return t.ask(ctx, key, t.Wait)
	}
	if err := rest(ctx); err != nil {
		return tideover.Transaction{}, err
	}
	return t.send(ctx, key, t.Wait)
}

// send sends a press that was written down until it is answered 200 or 202, or refused for good. wait is how long the edge may hold the
// answer.
func (t *Till) send(ctx context.Context, key string, wait time.Duration) (tideover.Transaction, error) {
	n, _ := t.memory(key)
	body, err := json.Marshal(n.Press)
	if err != nil {
		return tideover.Transaction{}, err
	}
	header := http.Header{"Idempotency-Key": {key}, "Prefer": {"wait=" + strconv.Itoa(int(wait.Seconds()))}}
	for {
		before, router := t.memory(key)
		a, err := t.call(ctx, http.MethodPost, "/v1/transactions", header, body, wait)
		if err == nil {
			x, again, err := t.heard(key, a, before.known, router)
			if !again {
				return x, err
			}
		}
		if err := rest(ctx); err != nil {
			return tideover.Transaction{}, err
		}
	}
}

// Accepted says whether a press was answered 200 or 202.
func (t *Till) Accepted(key string) bool { return t.Note(key).Accepted }

// heard takes the answer to a press. known says that the router had answered it 200 or 202 before this try began: then it must still
// know it.
func (t *Till) heard(key string, a answer, known bool, router int) (x tideover.Transaction, again bool, err error) {
	known = known && t.still(router)
	switch a.status {
	case http.StatusOK, http.StatusAccepted:
		x, err := a.transaction()
		if err != nil {
			t.wrong(key, "%v", err)
			return x, false, err
		}
		if known && !x.Replayed {
			t.wrong(key, "it had been answered before, and was taken as new: %s", a)
		}
		if (a.status == http.StatusOK) != x.Final() {
			t.wrong(key, "the status and the state disagree: %s", a)
		}
		t.told(key, x, router)
		return x, false, nil
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInsufficientStorage:
		return x, true, nil
	}
	r := a.refusal()
	if known {
		t.wrong(key, "it had been answered before, and was refused: %s", a)
	}
	t.mu.Lock()
	t.notes[key].Refused = r.Code
	t.mu.Unlock()
	return x, false, r
}

// still says whether the router is the one that it was.
func (t *Till) still(router int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.router == router
}

// told writes down what a router said about a press.
func (t *Till) told(key string, x tideover.Transaction, router int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.notes[key]
	if !n.ID.IsZero() && n.ID != x.ID {
		n.Wrong = append(n.Wrong, fmt.Sprintf("its id was %s and is now %s", n.ID, x.ID))
	}
	n.ID, n.Accepted, n.forgot = x.ID, true, false
	if barred := x.Kind == tideover.KindNone; x.Key != key || !barred && x.Amount != n.Press.Amount && n.Press.Amount != 0 {
		n.Wrong = append(n.Wrong, fmt.Sprintf("the answer is about key %q and %d, not about this press", x.Key, x.Amount))
	}
	if router == t.router {
		if x.Seq < n.seq {
			return // it was overtaken by another answer
		}
		n.known, n.seq, n.open = true, x.Seq, !x.Final()
	}
	if n.open {
		n.Acked = false // its end, if it had one, is being undone
	}
	if c := &n.Cancel; x.State == tideover.StateApproved && c.Taken() && c.router == router && x.Seq > c.seq {
		c.Overruled = true
	}
	if !x.Final() {
		return
	}
	if n.End != nil && n.teller == router && n.End.State != x.State && !x.Corrected && (n.End.State != tideover.StateApproved || x.State != tideover.StateReversed) {
		n.Wrong = append(n.Wrong, fmt.Sprintf("it was told %q and then %q", n.End.State, x.State))
	}
	if n.End == nil || n.End.State != x.State {
		n.Ends = append(n.Ends, x.State)
		n.Acked = false
	}
	n.End, n.teller = &x, router // another router may have an older disk, and takes that for the end until it has heard the hub
}

// ask looks at a press until it is answered; [errUnknown] where the router was replaced and has never heard of it.
func (t *Till) ask(ctx context.Context, key string, wait time.Duration) (tideover.Transaction, error) {
	for {
		n, router := t.memory(key)
		byKey := rand.IntN(2) == 0 || n.forgot || n.ID.IsZero()
		path := "/v1/transactions/" + n.ID.String() + "?wait=" + strconv.Itoa(int(wait.Seconds()))
		if byKey {
			path = "/v1/transactions?key=" + url.QueryEscape(key)
		}
		a, err := t.call(ctx, http.MethodGet, path, nil, nil, wait)
		if err == nil && a.status == http.StatusOK && !(byKey && a.none()) {
			x, err := a.one(byKey)
			if err != nil {
				t.wrong(key, "%v", err)
				return x, err
			}
			t.told(key, x, router)
			if byKey && !x.Final() && wait > 0 {
				err = rest(ctx) // a list is not held back until something changes
			}
			return x, err
		}
		if err == nil && (a.status == http.StatusNotFound || a.status == http.StatusOK) {
			if n.known && t.still(router) {
				t.wrong(key, "it had been answered, and is unknown now: %s", a)
				return tideover.Transaction{}, a.refusal()
			}
			return tideover.Transaction{}, errUnknown
		}
		if err := rest(ctx); err != nil {
			return tideover.Transaction{}, err
		}
	}
}

// acknowledge tells the edge that the end was shown, until it is answered. It returns false if the edge has another end meanwhile.
func (t *Till) acknowledge(ctx context.Context, key string, x tideover.Transaction) (done bool, err error) {
	body := fmt.Appendf(nil, `{"seq":%d}`, x.Seq)
	for {
		before, router := t.memory(key)
		t.change(key, func(n *Note) { n.shown = true })
		a, err := t.call(ctx, http.MethodPost, "/v1/transactions/"+x.ID.String()+"/ack", nil, body, 0)
		if err == nil {
			switch {
			case a.status == http.StatusNoContent:
				t.change(key, func(n *Note) { n.Acked = n.End != nil && n.End.State == x.State && !n.open })
				return true, nil
			case a.status == http.StatusConflict: // after a crash of the edge the hub tells the end again, under a later seq
				return false, rest(ctx)
			case a.status == http.StatusServiceUnavailable, a.status == http.StatusTooManyRequests, a.status == http.StatusInsufficientStorage:
			case a.status == http.StatusNotFound && (!before.known || !t.still(router)):
				t.change(key, func(n *Note) { n.Acked = true }) // it was shown, and the router that had to know of that is gone
				return true, nil
			case a.status == http.StatusBadRequest && x.Seq > before.seq:
				return false, rest(ctx) // another router had told that end, with sequences of its own
			default:
				t.wrong(key, "its acknowledgement of seq %d was refused: %s", x.Seq, a)
				return false, a.refusal()
			}
		}
		if err := rest(ctx); err != nil {
			return false, err
		}
	}
}

// change writes something down about a press.
func (t *Till) change(key string, what func(*Note)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	what(t.notes[key])
}

func (t *Till) wrong(key, format string, args ...any) {
	t.change(key, func(n *Note) { n.Wrong = append(n.Wrong, fmt.Sprintf(format, args...)) })
}

// cancel asks for a press to be undone until that is answered. What was answered 409 because the till had acknowledged it is a
// [*RefusedError]; the transaction keeps its end. wait is how long the edge may hold the answer.
func (t *Till) cancel(ctx context.Context, key string, byKey bool, wait time.Duration) (tideover.Transaction, error) {
	t.change(key, func(n *Note) {
		if n.Cancel.Asked.IsZero() {
			n.Cancel.Asked = time.Now()
		}
	})
	for {
		n, router := t.memory(key)
		named := byKey || n.forgot || n.ID.IsZero()
		path, body := "/v1/transactions/"+n.ID.String()+"/cancel", []byte(nil)
		if named {
			path, body = "/v1/cancel", fmt.Appendf(nil, `{"key":%q}`, key)
		}
		header := http.Header{"Prefer": {"wait=" + strconv.Itoa(int(wait.Seconds()))}}
		a, err := t.call(ctx, http.MethodPost, path, header, body, wait)
		if err == nil {
			x, again, err := t.cancelled(key, a, named, n, router)
			if !again {
				return x, err
			}
			byKey = byKey || a.status == http.StatusNotFound
		}
		if err := rest(ctx); err != nil {
			return tideover.Transaction{}, err
		}
	}
}

// someWait has a cancel answered at once, or when it is undone.
func (t *Till) someWait() time.Duration { return time.Duration(rand.IntN(2)) * t.Wait }

// cancelled takes the answer to a cancel.
func (t *Till) cancelled(key string, a answer, named bool, before Note, router int) (x tideover.Transaction, again bool, err error) {
	switch a.status {
	case http.StatusOK, http.StatusAccepted:
		if x, err = a.transaction(); err != nil {
			t.wrong(key, "%v", err)
			return x, false, err
		}
		if (a.status == http.StatusOK) != x.Final() || !x.Final() && x.State != tideover.StateReversing && x.State != tideover.StateManual {
			t.wrong(key, "its cancel was answered with a status that the state does not have: %s", a)
		}
		t.change(key, func(n *Note) {
			c := &n.Cancel
			if c.Answers == 0 {
				c.Answered, c.Status = time.Now(), a.status
			}
			if c.Answers == 0 || c.router != router {
				c.seq, c.router = x.Seq, router
			}
			c.Answers++
			c.Overruled = c.Overruled || x.State == tideover.StateApproved
		})
		t.told(key, x, router)
		return x, false, nil
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInsufficientStorage:
		return x, true, nil
	case http.StatusNotFound:
		if !named && !(before.known && t.still(router)) {
			return x, true, nil // by key, then
		}
	}
	r := a.refusal()
	t.change(key, func(n *Note) {
		n.Cancel.Refused = r.Code
		if r.Code != tideover.CodeAlreadyAcknowledged && n.Press.Kind != tideover.KindReversal || r.Code == tideover.CodeAlreadyAcknowledged && !n.shown {
			n.Wrong = append(n.Wrong, fmt.Sprintf("its cancel was refused: %s", a))
		}
	})
	return x, false, r
}
