package terminal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"tideover"
)

const (
	// SettlementItemsMax is the most items of one report, and SettlementTotalsMax the most sums.
	SettlementItemsMax  = 8192
	SettlementTotalsMax = 64
	// settlementFaultsMax is how many wrong fields of a report are named.
	settlementFaultsMax = 20
	// totalCountMax and totalAmountMax bound a sum: far beyond any till's day, and below what a JSON number holds exactly everywhere.
	totalCountMax  = 1_000_000
	totalAmountMax = 1_000_000_000_000_000
)

// errLargeBusy refuses a large body for which there is no place.
var errLargeBusy = func() error {
	r := tideover.Refuse(tideover.CodeTooManyRequests, "%d large reports are being read already; nothing was taken; send it again in a moment under the same key",
		"正在读取 %d 份较大的结算；请求未受理；请稍后用同一幂等键重发", LargeBodiesMax)
	r.RetryAfter = time.Second
	return r
}()

// enterLarge takes a place for a body that may be large; see [LargeBodiesMax].
func (x *exchange) enterLarge(rt route) error {
	if rt.bodyMax <= BodyMax || x.r.ContentLength >= 0 && x.r.ContentLength <= BodyMax {
		return nil
	}
	s := x.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.large >= LargeBodiesMax {
		return errLargeBusy
	}
	s.large++
	x.done = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.large--
	}
	return nil
}

// leaveLarge lets a large body go.
func (x *exchange) leaveLarge() {
	x.dropBody()
	if x.done != nil {
		x.body = nil
		x.done()
		x.done = nil
	}
}

// settle takes a till's report: POST /v1/settlements.
func (x *exchange) settle() error {
	key, err := x.key()
	if err != nil {
		return err
	}
	report, err := decodeSettlement(x.body)
	if err != nil {
		return err
	}
	id, replayed, err := x.s.desk.Settle(x.r.Context(), x.by, key, report)
	if err != nil {
		return err
	}
	x.leaveLarge()
	wait := WaitMax
	if preferred, asked := preferredWait(x.r.Header); asked {
		wait = preferred
		x.w.Header().Set("Preference-Applied", "wait="+seconds(wait))
	}
	return x.answerSettled(id, replayed, wait)
}

// settled compares a report again: GET /v1/settlements/ID?wait=N.
func (x *exchange) settled() error {
	q, err := x.query("wait")
	if err != nil {
		return err
	}
	wait, _, err := q.wait()
	if err != nil {
		return err
	}
	return x.answerSettled(x.id, true, wait)
}

// answerSettled waits for what is open, for a time at most, and answers with the comparison as it is then.
func (x *exchange) answerSettled(id tideover.ID, replayed bool, wait time.Duration) error {
	if wait > 0 {
		ctx, cancel := context.WithTimeout(x.r.Context(), wait)
		stop := context.AfterFunc(x.s.drained, cancel)
		err := x.s.desk.AwaitSettled(ctx, x.by, id)
		stop()
		cancel()
		if err != nil && (ctx.Err() == nil || x.r.Context().Err() != nil) {
			return err
		}
	}
	s, err := x.s.desk.Settled(x.r.Context(), x.by, id)
	if err != nil {
		return err
	}
	x.w.Header().Set("Location", "/v1/settlements/"+s.ID.String())
	_ = x.write(http.StatusOK, "application/json", settledOf(s, replayed, x.lang)) // the till asks again if it did not hear it
	return nil
}

// settled is the answer to a report.
type settled struct {
	ID          tideover.ID      `json:"id"`
	Terminal    string           `json:"terminal"`
	From        tideover.Millis  `json:"from"`
	To          tideover.Millis  `json:"to"`
	Result      tideover.Verdict `json:"result"`
	Totals      []settledTotal   `json:"totals"`
	Items       []settledItem    `json:"items"` // what does not match
	HubCompared bool             `json:"hub_compared"`
	Replayed    bool             `json:"replayed"`
}

type settledTotal struct {
	Kind     tideover.Kind    `json:"kind"`
	Currency string           `json:"currency"`
	Till     *tideover.Sum    `json:"till"`
	Journal  *tideover.Sum    `json:"journal"`
	Hub      *tideover.Sum    `json:"hub"`
	Result   tideover.Verdict `json:"result"`
}

type settledItem struct {
	ID      tideover.ID      `json:"id"`
	Key     *string          `json:"key"`
	Result  tideover.Verdict `json:"result"`
	Reason  string           `json:"reason"`
	Till    *tideover.Said   `json:"till"`
	Journal *tideover.Said   `json:"journal"`
	Hub     *tideover.Said   `json:"hub"`
	Detail  string           `json:"detail"`
}

func settledOf(s tideover.Settled, replayed bool, lang tideover.Lang) settled {
	out := settled{
		ID: s.ID, Terminal: s.Terminal, From: s.From, To: s.To, Result: s.Result, Totals: []settledTotal{}, Items: []settledItem{},
		HubCompared: s.HubCompared, Replayed: replayed,
	}
	for _, t := range s.Totals {
		out.Totals = append(out.Totals, settledTotal{t.Kind, t.Currency, t.Till, t.Journal, t.Hub, t.Result})
	}
	between := tideover.Text{En: ". ", Zh: "。"}.In(lang)
	for _, c := range s.Items {
		item := settledItem{ID: c.ID, Result: c.Result, Reason: c.Reason, Till: c.Till, Journal: c.Journal, Hub: c.Hub}
		if c.Key != "" {
			item.Key = &c.Key
		}
		item.Detail = c.What.In(lang) + between + c.Next.In(lang)
		out.Items = append(out.Items, item)
	}
	return out
}

// decodeSettlement reads a report. What it returns has the right types; what it means is for the rules to judge.
func decodeSettlement(body []byte) (s tideover.Settlement, err error) {
	o, err := parseObject(body, "from", "to", "totals", "items")
	if err != nil {
		return s, err
	}
	s.From, s.To = o.instant("from"), o.instant("to")
	_, summed := o.given("totals")
	_, itemised := o.given("items")
	if !summed && !itemised {
		o.fault("totals", "is missing, and so is items: report one of them or both; an empty list reports nothing", "缺少，items 也缺少：请至少报送其中之一；空列表表示没有交易")
	}
	s.Totals = list(o, "totals", SettlementTotalsMax, decodeTotal, "kind", "currency", "count", "amount")
	s.Items = list(o, "items", SettlementItemsMax, decodeItem, "id", "key", "kind", "amount", "currency", "state")
	return s, o.err()
}

// list reads a list of objects, each by decode.
func list[T any](o *object, name string, most int, decode func(*object) T, known ...string) []T {
	raw, ok := o.given(name)
	if !ok {
		return nil
	}
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		o.fault(name, "must be a list, […]", "必须是列表 […]")
		return nil
	}
	if len(all) > most {
		o.fault(name, "has %d entries, and at most %d are taken", "有 %d 项，最多 %d 项", len(all), most)
		return nil
	}
	out := make([]T, 0, len(all))
	for i, raw := range all {
		inner := &object{}
		at := fmt.Sprintf("%s[%d]", name, i)
		if inner.raw, ok = fieldsOf(raw); !ok {
			o.fault(at, "must be an object, {…}", "必须是对象 {…}")
		} else {
			inner.unknown(known)
			out = append(out, decode(inner))
		}
		for _, f := range inner.bad {
			f.Field = at + "." + f.Field
			o.bad = append(o.bad, f)
		}
		if len(o.bad) >= settlementFaultsMax {
			o.bad = o.bad[:settlementFaultsMax]
			return nil
		}
	}
	return out
}

func decodeTotal(o *object) tideover.SettlementTotal {
	return tideover.SettlementTotal{
		Kind: o.kind(), Currency: o.text("currency"), Count: o.within("count", totalCountMax), Amount: o.within("amount", totalAmountMax),
	}
}

func decodeItem(o *object) (it tideover.SettlementItem) {
	it = tideover.SettlementItem{
		Key: o.text("key"), Kind: o.kind(), Amount: o.within("amount", totalAmountMax), Currency: o.text("currency"), State: tideover.StateApproved,
	}
	id := o.text("id")
	switch _, byKey := o.given("key"); {
	case id != "" && byKey, id == "" && !byKey:
		o.fault("id", "or key names the transaction: give one of them", "与 key 二者必须且只能给出一个，以指明交易")
	case id != "":
		var err error
		if it.ID, err = tideover.ParseID(id); err != nil {
			o.fault("id", "%q is no transaction id", "%q 不是交易号", clip(id))
		}
	case it.Key != "" || len(o.bad) == 0:
		if len(it.Key) > keyMax || it.Key == "" || !visible(it.Key) {
			o.fault("key", "must be 1 to %d visible ASCII characters", "必须是 1 到 %d 个可见 ASCII 字符", keyMax)
		}
	}
	if state := o.text("state"); state != "" && it.State.UnmarshalText([]byte(state)) != nil {
		o.fault("state", "%q is unknown; it is a state of the API, such as approved", "未知的 %q；应为接口中的状态，例如 approved", clip(state))
	}
	return it
}

// kind reads the field kind.
func (o *object) kind() (k tideover.Kind) {
	if kind := o.text("kind"); kind != "" && k.UnmarshalText([]byte(kind)) != nil {
		o.fault("kind", "%q is unknown; it is sale, refund, reversal or advice", "未知的 %q；应为 sale、refund、reversal 或 advice", clip(kind))
	}
	return k
}

// within reads a whole number from 0 to most; 0 where it is left out.
func (o *object) within(name string, most int64) int64 {
	n := o.integer(name, 0)
	if n < 0 || n > most {
		o.fault(name, "must be 0 to %d", "必须是 0 到 %d", most)
		return 0
	}
	return n
}

// instant reads a time; 0 where it is left out.
func (o *object) instant(name string) tideover.Millis {
	s := o.text(name)
	if s == "" {
		return 0
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 2000 || t.Year() > 9999 {
		o.fault(name, "must be a time as of RFC 3339, such as 2026-05-01T22:00:00+08:00", "必须是 RFC 3339 时间，例如 2026-05-01T22:00:00+08:00")
		return 0
	}
	return tideover.MillisOf(t)
}
