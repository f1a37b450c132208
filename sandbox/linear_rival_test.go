package sandbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"

	"tideover"
)

// rivalName is the till that all rivals are.
const rivalName = "till-1"

// The two requests that rivals press under one key.
const amountA, amountB = 1299, 4711

// rival is one client of a contest: it has the till's name, and no memory of what others did.
type rival struct {
	*contest
	till    *Till
	referee *referee
	number  int
	dice    *rand.Rand
}

// ask makes one request. It returns false where there was no answer; then what the request asks for may have been done.
func (v *rival) ask(ctx context.Context, o operation, method, path string, header http.Header, body string, wait time.Duration) (
	a answer, call, end int64, ok bool,
) {
	var sent int64
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = v.referee.now() }})
	var payload []byte
	if body != "" {
		payload = []byte(body)
	}
	call = v.referee.now()
	a, err := v.till.call(ctx, method, path, header, payload, wait)
	end = v.referee.now()
	switch {
	case err == nil && a.status == http.StatusInternalServerError:
		v.complain("%s was answered %s", o.name, a)
	case err == nil && a.status < http.StatusInternalServerError && a.status != http.StatusTooManyRequests:
		return a, call, end, true
	case err == nil, sent == 0, o.name == "read":
		return a, call, end, false // it was not taken, or asked for nothing
	}
	v.mu.Lock()
	v.broken = append(v.broken, breach{o, v.number, call, sent})
	v.mu.Unlock()
	return a, call, end, false
}

// press posts one of the two requests.
func (v *rival) press(ctx context.Context, q request) {
	amount, life := amountA, 600
	if q == requestB {
		amount = amountB
	}
	if v.own {
		life = 2
	}
	wait := time.Duration(v.dice.IntN(2)) * time.Second
	o := operation{name: "accept", request: q}
	header := http.Header{"Idempotency-Key": {v.key}, "Prefer": {fmt.Sprintf("wait=%d", int(wait.Seconds()))}}
	body := fmt.Sprintf(`{"kind":"sale","amount":%d,"currency":"CNY","expires_in":%d}`, amount, life)
	a, call, end, ok := v.ask(ctx, o, http.MethodPost, "/v1/transactions", header, body, wait)
	switch {
	case !ok:
	case a.status == http.StatusUnprocessableEntity && a.refusal().Code == tideover.CodeKeyReused:
		v.add(v.number, o, result{said: saidReused}, call, end)
	case a.status == http.StatusOK, a.status == http.StatusAccepted:
		x, err := a.transaction()
		if err != nil {
			v.complain("%v", err)
			return
		}
		said := saidCreated
		if x.Replayed {
			said = saidReplayed
		}
		v.add(v.number, o, result{said: said}, call, end)
		v.saw(a, x, call, end)
	default:
		v.complain("a press was answered %s", a)
	}
}

// saw enters what an answer shows, and returns it.
func (v *rival) saw(a answer, x tideover.Transaction, call, end int64) seen {
	s := seen{state: x.State, seq: x.Seq, acked: x.Acknowledged}
	switch {
	case x.Kind == tideover.KindNone:
		s.request = requestBarred
	case x.Amount == amountA:
		s.request = requestA
	case x.Amount == amountB:
		s.request = requestB
	}
	if x.State == tideover.StateApproved && x.Outcome != nil {
		s.ref = x.Outcome.Reference
	}
	if x.ID != v.id || x.Key != v.key || s.request == requestNone || x.State.Final() != (x.Outcome != nil) ||
		x.Outcome != nil && x.Outcome.Result != x.State {
		v.complain("the answer is not about this key, or does not agree with itself: %s", a)
	}
	v.add(v.number, operation{name: "read"}, result{seen: s}, call, end)
	return s
}

// look asks by id or by key. It returns what the answer shows, if there was one.
func (v *rival) look(ctx context.Context, byKey bool, wait time.Duration) (seen, bool) {
	path := fmt.Sprintf("/v1/transactions/%s?wait=%d", v.id, int(wait.Seconds()))
	if byKey {
		path = "/v1/transactions?key=" + url.QueryEscape(v.key)
	}
	o := operation{name: "read"}
	a, call, end, ok := v.ask(ctx, o, http.MethodGet, path, nil, "", wait)
	if !ok {
		return seen{}, false
	}
	page, err := a.list()
	if missing := err == nil && len(page) == 0; !byKey && a.status == http.StatusNotFound || byKey && missing {
		v.add(v.number, o, result{}, call, end)
		return seen{}, true
	}
	x, err := a.one(byKey)
	if err != nil {
		v.complain("%v", err)
		return seen{}, false
	}
	return v.saw(a, x, call, end), true
}

// undo cancels by id or by key.
func (v *rival) undo(ctx context.Context, byKey bool) {
	o := operation{name: "cancel", byKey: byKey}
	path, body := "/v1/transactions/"+v.id.String()+"/cancel", ""
	if byKey {
		path, body = "/v1/cancel", fmt.Sprintf(`{"key":%q}`, v.key)
	}
	wait := time.Duration(v.dice.IntN(2)) * time.Second
	header := http.Header{"Prefer": {fmt.Sprintf("wait=%d", int(wait.Seconds()))}}
	a, call, end, ok := v.ask(ctx, o, http.MethodPost, path, header, body, wait)
	switch {
	case !ok:
	case a.status == http.StatusOK, a.status == http.StatusAccepted:
		x, err := a.transaction()
		if err != nil {
			v.complain("%v", err)
			return
		}
		v.add(v.number, o, result{said: saidTaken}, call, end)
		v.saw(a, x, call, end)
	case a.status == http.StatusNotFound:
		v.add(v.number, o, result{said: saidUnknown}, call, end)
	case a.status == http.StatusConflict && a.refusal().Code == tideover.CodeAlreadyAcknowledged:
		v.add(v.number, o, result{said: saidAcked}, call, end)
	default:
		v.complain("a cancel was answered %s", a)
	}
}

// ack acknowledges an end that this or another client was told, now or long ago, and sometimes one that nobody was told.
func (v *rival) ack(ctx context.Context) {
	seq := uint64(1)
	v.mu.Lock()
	if n := len(v.ends); n > 0 {
		seq = v.ends[v.dice.IntN(n)]
	}
	v.mu.Unlock()
	if v.dice.IntN(10) == 0 {
		seq += 1 << 40
	}
	v.acknowledge(ctx, seq)
}

func (v *rival) acknowledge(ctx context.Context, seq uint64) {
	o := operation{name: "ack", seq: seq}
	path := "/v1/transactions/" + v.id.String() + "/ack"
	a, call, end, ok := v.ask(ctx, o, http.MethodPost, path, nil, fmt.Sprintf(`{"seq":%d}`, seq), 0)
	said := map[int]string{
		http.StatusNoContent: saidDone, http.StatusNotFound: saidUnknown, http.StatusConflict: saidChanged, http.StatusBadRequest: saidBeyond,
	}[a.status]
	switch {
	case !ok:
	case said == "":
		v.complain("an acknowledgement was answered %s", a)
	default:
		v.add(v.number, o, result{said: said}, call, end)
	}
}

// play does something at random until over ends.
func (v *rival) play(ctx context.Context, over <-chan struct{}) {
	for {
		switch n := v.dice.IntN(20); {
		case n < 5:
			v.press(ctx, requestA)
		case n < 6:
			v.press(ctx, requestB)
		case n < 11:
			v.look(ctx, false, time.Duration(v.dice.IntN(2))*time.Second)
		case n < 15:
			v.look(ctx, true, 0)
		case n < 18:
			v.ack(ctx)
		case v.cancels:
			v.undo(ctx, n < 19)
		}
		select {
		case <-over:
			return
		case <-time.After(time.Duration(v.dice.IntN(80)) * time.Millisecond):
		}
	}
}

// finish follows the key to its end in peace, and acknowledges that.
func (v *rival) finish(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < settleMax; {
		switch last, answered := v.look(ctx, true, 0); {
		case !answered:
		case last.request == requestNone:
			return nil // nobody's press has arrived
		case last.state.Final() && last.acked:
			return nil
		case last.state.Final():
			v.acknowledge(ctx, last.seq)
		}
		if err := rest(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("key %s has no acknowledged end after %v of peace", v.key, settleMax)
}
