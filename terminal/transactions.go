package terminal

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"tideover"
)

// keyMax is the most characters of an idempotency key.
const keyMax = 128

// accept takes a transaction: POST /v1/transactions.
func (x *exchange) accept() error {
	key, err := x.key()
	if err != nil {
		return err
	}
	override, err := x.override()
	if err != nil {
		return err
	}
	req, err := decodeTransaction(x.body)
	if err != nil {
		return err
	}
	if err := x.paced(key); err != nil {
		return err
	}
	t, err := x.s.desk.Accept(x.r.Context(), x.by, key, override, req)
	if err != nil {
		return err
	}
	x.pressed = t.Hash
	x.dropBody() // the answer may be held for a minute
	wait := x.preferred(x.s.cfg.DefaultWait)
	switch {
	case t.Replayed:
	case wait > 0:
		x.s.desk.Taken(t)
	default: // no till waits for what is written about it
		defer x.s.desk.Taken(t)
	}
	return x.answerAfter(t, wait)
}

// key reads the idempotency key from its header.
func (x *exchange) key() (string, error) {
	const name = "Idempotency-Key"
	values := x.r.Header.Values(name)
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return "", tideover.Refuse(tideover.CodeMissingKey,
			"send Idempotency-Key, 1 to %d visible ASCII characters, new for each press; store it before the first try, and repeat it until answered",
			"请发送 Idempotency-Key：1 到 %d 个可见 ASCII 字符，每次按键使用新值；首次尝试前先保存，重试时保持不变，直到得到应答", keyMax)
	}
	if len(values) > 1 {
		return "", fieldsRefusal([]tideover.FieldError{{Field: name, Detail: tideover.Text{En: "is given twice", Zh: "重复出现"}}})
	}
	return values[0], checkKey(name, values[0])
}

// checkKey refuses what is no idempotency key.
func checkKey(field, key string) error {
	if key != "" && len(key) <= keyMax && visible(key) {
		return nil
	}
	return fieldsRefusal([]tideover.FieldError{{
		Field: field, Detail: tideover.Textf("must be 1 to %d visible ASCII characters", "必须是 1 到 %d 个可见 ASCII 字符", keyMax),
	}})
}

// override reads what an operator takes upon himself.
func (x *exchange) override() (Override, error) {
	const name = "Tideover-Override"
	switch value := strings.Join(x.r.Header.Values(name), ","); value {
	case "":
		return OverrideNone, nil
	case "duplicate":
		return OverrideDuplicate, nil
	default:
		return 0, fieldsRefusal([]tideover.FieldError{{
			Field: name, Detail: tideover.Textf(`%q is unknown; it is "duplicate"`, `未知的 %q；应为 "duplicate"`, clip(value)),
		}})
	}
}

// answerHeld answers with t when it is final, and otherwise when the time is over that the till gave; where it gave none, after wait.
func (x *exchange) answerHeld(t tideover.Transaction, wait time.Duration) error {
	return x.answerAfter(t, x.preferred(wait))
}

// preferred is how long the till wants its answer to be held; wait where it does not say.
func (x *exchange) preferred(wait time.Duration) time.Duration {
	if preferred, asked := preferredWait(x.r.Header); asked {
		wait = preferred
		x.w.Header().Set("Preference-Applied", "wait="+seconds(wait))
	}
	return wait
}

// answerAfter holds the answer for a time at most.
func (x *exchange) answerAfter(t tideover.Transaction, wait time.Duration) error {
	t, err := x.await(t, wait)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Location", "/v1/transactions/"+t.ID.String())
	status := http.StatusOK
	if !t.Final() {
		status = http.StatusAccepted
		h.Set("Retry-After", seconds(askAgain(t)))
	}
	if x.write(status, "application/json", t) == nil {
		x.delivered(t)
	}
	return nil
}

// delivered tells the desk that an end was written to the till.
func (x *exchange) delivered(t tideover.Transaction) {
	if t.Final() && !t.Delivered && x.r.Method != http.MethodHead {
		x.s.desk.Delivered(t.ID, t.Seq)
	}
}

// askAgain is when a till may ask for news of t: a customer is waiting for a sale, and a person for what is manual.
func askAgain(t tideover.Transaction) time.Duration {
	switch {
	case t.State == tideover.StateManual, t.State == tideover.StateHeld:
		return time.Minute
	case t.Kind == tideover.KindSale:
		return time.Second
	default:
		return 5 * time.Second
	}
}

// await returns t as it is when it becomes final, or when the wait is over, or the endpoint stops. It fails when the till has gone.
func (x *exchange) await(t tideover.Transaction, wait time.Duration) (tideover.Transaction, error) {
	if t.Final() || wait <= 0 {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), wait)
	defer cancel()
	defer context.AfterFunc(x.s.drained, cancel)()
	for !t.Final() {
		next, err := x.s.desk.Wait(ctx, x.by, t.ID, t.Seq)
		switch {
		case err == nil && x.pressed != [32]byte{} && next.Hash != x.pressed:
			return t, otherRequest(next)
		case err == nil:
			next.Replayed = t.Replayed // of this answer, not of the record
			t = next
		case ctx.Err() != nil && x.r.Context().Err() == nil:
			return t, nil
		default:
			return t, err
		}
	}
	return t, nil
}

// otherRequest tells a till whose key the hub knows with another request than the one that it has pressed: this edge had lost its
// record, and has taken the hub's over.
func otherRequest(t tideover.Transaction) error {
	return tideover.Refuse(tideover.CodeKeyReused,
		"this key was used before for another request (transaction %s, %s %s); a new request needs a new key",
		"该键此前已用于另一笔请求（交易 %s，%s %s）；新的请求请使用新的键", t.ID, t.Kind, tideover.Money(t.Amount, t.Currency))
}

// get answers with one transaction: GET /v1/transactions/ID?wait=N.
func (x *exchange) get() error {
	q, err := x.query("wait")
	if err != nil {
		return err
	}
	wait, given, err := q.wait()
	if err != nil {
		return err
	}
	t, err := x.s.desk.Get(x.r.Context(), x.by, x.id)
	if err != nil {
		return err
	}
	if given {
		return x.answerAfter(t, wait)
	}
	return x.answerHeld(t, 0)
}

// cancel undoes a transaction: POST /v1/transactions/ID/cancel.
func (x *exchange) cancel() error {
	if len(x.body) > 0 {
		o, err := parseObject(x.body)
		if err != nil {
			return err
		}
		if err := o.err(); err != nil {
			return err
		}
	}
	t, err := x.s.desk.Cancel(x.r.Context(), x.by, x.id)
	if err != nil {
		return err
	}
	return x.answerHeld(t, x.cancelWait())
}

// cancelKey undoes a press whose id never arrived: POST /v1/cancel.
func (x *exchange) cancelKey() error {
	o, err := parseObject(x.body, "key")
	if err != nil {
		return err
	}
	key := o.text("key")
	if err := o.err(); err != nil {
		return err
	}
	if err := checkKey("key", key); err != nil {
		return err
	}
	if err := x.paced(key); err != nil {
		return err
	}
	t, err := x.s.desk.CancelKey(x.r.Context(), x.by, key)
	if err != nil {
		return err
	}
	return x.answerHeld(t, x.cancelWait())
}

// cancelWaitMax is how long the answer to a cancel is held where the till does not say: its operator waits for the screen, and what has
// not come by then may take as long as the outage does.
const cancelWaitMax = 5 * time.Second

func (x *exchange) cancelWait() time.Duration { return min(x.s.cfg.DefaultWait, cancelWaitMax) }

// acknowledge takes the till's word that it has shown an end: POST /v1/transactions/ID/ack.
func (x *exchange) acknowledge() error {
	o, err := parseObject(x.body, "seq")
	if err != nil {
		return err
	}
	seq := o.integer("seq", 0)
	if len(o.bad) == 0 && seq < 1 {
		o.fault("seq", "must be the seq of the answer that was shown", "必须是所展示应答中的 seq")
	}
	if err := o.err(); err != nil {
		return err
	}
	if _, err := x.s.desk.Acknowledge(x.r.Context(), x.by, x.id, uint64(seq)); err != nil {
		return err
	}
	_ = x.send(http.StatusNoContent, nil) // the till asks again if it did not hear it
	return nil
}

// page is the answer to a list.
type page struct {
	Transactions []tideover.Transaction `json:"transactions"`
	Next         *string                `json:"next"`
}

// list answers with the caller's own: GET /v1/transactions.
func (x *exchange) list() error {
	q, err := x.query("key", "unacknowledged", "order", "limit", "next")
	if err != nil {
		return err
	}
	f := Filter{Key: q.Get("key"), Order: q.Get("order"), After: q.Get("next"), Limit: ListMax}
	chosen := 0
	for _, name := range []string{"key", "unacknowledged", "order"} {
		if q.Has(name) {
			chosen++
		}
	}
	if chosen > 1 {
		return malformed("give one of key, unacknowledged and order, not several", "key、unacknowledged、order 只能给出其中一个")
	}
	if q.Has("key") {
		if err := checkKey("key", f.Key); err != nil {
			return err
		}
	}
	if q.Has("order") && f.Order == "" {
		return fieldsRefusal([]tideover.FieldError{{Field: "order", Detail: tideover.Text{En: "is empty", Zh: "为空"}}})
	}
	if q.Has("unacknowledged") {
		n, err := q.number("unacknowledged", 0, 1)
		if err != nil {
			return err
		}
		f.Unacknowledged = n == 1
	}
	if q.Has("limit") {
		if f.Limit, err = q.number("limit", 1, ListMax); err != nil {
			return err
		}
	}
	all, next, err := x.s.desk.List(x.r.Context(), x.by, f)
	if err != nil {
		return err
	}
	answer := page{Transactions: append([]tideover.Transaction{}, all...)}
	if next != "" {
		answer.Next = &next
	}
	if x.write(http.StatusOK, "application/json", answer) == nil {
		for _, t := range all {
			x.delivered(t)
		}
	}
	return nil
}

// params are the parameters of a query, each given once.
type params struct{ url.Values }

// query reads the parameters, and refuses one that is unknown or given twice.
func (x *exchange) query(known ...string) (params, error) {
	values, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return params{}, &tideover.Refusal{Code: tideover.CodeInvalidRequest, Detail: tideover.Text{
			En: "the query after ? is malformed: " + err.Error(), Zh: "? 之后的查询参数有误，例如百分号编码不完整",
		}}
	}
	var bad []tideover.FieldError
	for name, given := range values {
		switch {
		case !slices.Contains(known, name):
			bad = append(bad, tideover.FieldError{Field: clip(name), Detail: tideover.Textf("is unknown; the parameters are: %s",
				"未知参数；可用参数：%s", cmp.Or(strings.Join(known, ", "), "–"))})
		case len(given) > 1:
			bad = append(bad, tideover.FieldError{Field: name, Detail: tideover.Text{En: "is given twice", Zh: "重复出现"}})
		}
	}
	sort.Slice(bad, func(i, j int) bool { return bad[i].Field < bad[j].Field })
	return params{values}, fieldsRefusal(bad)
}

// number reads a whole number from least to most.
func (p params) number(name string, least, most int) (int, error) {
	n, err := strconv.Atoi(p.Get(name))
	if err != nil || n < least || n > most {
		return 0, fieldsRefusal([]tideover.FieldError{{
			Field: name, Detail: tideover.Textf("must be a whole number from %d to %d", "必须是 %d 到 %d 的整数", least, most),
		}})
	}
	return n, nil
}

// wait reads how long an answer may be held, in seconds: 0 to [WaitMax].
func (p params) wait() (d time.Duration, given bool, err error) {
	if !p.Has("wait") {
		return 0, false, nil
	}
	n, err := p.number("wait", 0, int(WaitMax/time.Second))
	return time.Duration(n) * time.Second, true, err
}
