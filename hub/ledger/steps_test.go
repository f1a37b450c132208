package ledger_test

import (
	"reflect"
	"testing"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

const (
	store = "shop-0001"
	start = tideover.Millis(1_800_000_000_000)
)

var (
	me      = [16]byte{1}
	other   = [16]byte{2}
	current = [16]byte{9}
	policy  = ledger.Policy{Idempotent: true, PendingMax: ledger.PendingMax}
	once    = ledger.Policy{PendingMax: ledger.PendingMax}
	lease   = ledger.Lease{Owner: me, Until: time.Hour}
	yes     = ledger.Answer{Said: ledger.SaidApproved, Code: "00", Reference: "R1", Amount: 1299, Currency: "CNY"}
	no      = ledger.Answer{Said: ledger.SaidDeclined, Code: "05"}
	silence = ledger.Answer{Said: ledger.SaidNothing}
	missing = ledger.Answer{Said: ledger.SaidMissing}
	pending = ledger.Answer{Said: ledger.SaidPending, WaitingFor: "customer"}
	undone  = ledger.Answer{Said: ledger.SaidReversed}
	never   = ledger.Answer{Said: ledger.SaidNotExecuted}
)

func submit(key string, change func(*wire.Submit)) wire.Submit {
	s := wire.Submit{
		ID: tideover.MakeID(store, "t1", key), TerminalUID: "t1", Terminal: "till-1", Key: key, CreatedAt: start, ExpiresAt: start.Add(45 * time.Second),
		Request: tideover.Request{Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", ExpiresIn: 45 * time.Second, Payload: []byte(`{}`)},
	}
	if change != nil {
		change(&s)
	}
	s.Hash = s.Request.Hash([]byte("secret"))
	return s
}

func undoing(kind tideover.Kind, amount int64) func(*wire.Submit) {
	return func(s *wire.Submit) {
		s.Request.Kind, s.Request.Amount, s.Request.Original, s.ExpiresAt = kind, amount, tideover.MakeID(store, "t1", "sale"), 0
		s.Request.ExpiresIn = 0
	}
}

func cancelOf(s wire.Submit) wire.Cancel {
	return wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key}
}

// view is a ledger of one store, whose steps see one row and perhaps its original.
type view struct{ ledger.View }

func newView(rows ...ledger.Row) *view {
	return &view{ledger.View{Now: start, Store: ledger.Store{Name: store, Incarnation: current}, Rows: rows}}
}

// on makes a view of a request's row after some steps.
func on(s wire.Submit, steps ...func(*view)) *view {
	v := newView(ledger.Row{ID: s.ID})
	if s.Request.Kind.Undoes() {
		v.Rows = append(v.Rows, ledger.Row{ID: s.Request.Original})
	}
	for _, step := range steps {
		step(v)
	}
	return v
}

func claim(s wire.Submit) func(*view) {
	return func(v *view) { v.Claim(s, current, lease) }
}

func record(a ledger.Answer) func(*view) {
	return func(v *view) { v.Record(v.Rows[0].Fence, a, v.Rows[0].State == tideover.RowInDoubt, policy, lease) }
}

func recordOnce(a ledger.Answer) func(*view) {
	return func(v *view) { v.Record(v.Rows[0].Fence, a, v.Rows[0].State == tideover.RowInDoubt, once, lease) }
}

func reverse(a ledger.Answer) func(*view) {
	return func(v *view) { v.RecordReverse(a, policy) }
}

func cancel(s wire.Submit) func(*view) {
	return func(v *view) { v.Cancel(cancelOf(s)) }
}

func expire(s wire.Submit, as tideover.State) func(*view) {
	return func(v *view) { v.Expire(wire.Expire{Submit: s, Outcome: as}) }
}

func pass(d time.Duration) func(*view) { return func(v *view) { v.Now = v.Now.Add(d) } }

func lapse(v *view) { v.Lapse(other) }

func undo(v *view) { v.Undo() }

// original puts the row of a sale behind that of what undoes it.
func original(steps ...func(*view)) func(*view) {
	return func(v *view) {
		o := on(submit("sale", nil), steps...)
		v.Rows[1] = o.Rows[0]
		v.Store.HubSeq = max(v.Store.HubSeq, o.Store.HubSeq)
	}
}

var (
	sale     = submit("sale", nil)
	again    = submit("sale", func(s *wire.Submit) { s.Again = true })
	refund   = submit("refund", undoing(tideover.KindRefund, 500))
	reversal = submit("reversal", undoing(tideover.KindReversal, 0))
	approved = []func(*view){claim(sale), record(yes)}
)

func steps(lists ...any) (all []func(*view)) {
	for _, l := range lists {
		switch l := l.(type) {
		case func(*view):
			all = append(all, l)
		case []func(*view):
			all = append(all, l...)
		}
	}
	return all
}

// The table: what follows from what, and what is told of it.
var stepTable = []struct {
	name      string
	submit    wire.Submit
	before    []func(*view)
	step      func(*view)
	from, to  tideover.RowState
	result    tideover.State // of the end; none where there is none
	code      string
	corrected bool
	next      ledger.Action
}{
	{"a claim", sale, nil, claim(sale), 0, tideover.RowClaimed, 0, "", false, ledger.ActCall},
	{"a claim that is too old", sale, steps(pass(time.Hour)), claim(sale), 0, tideover.RowRefused, tideover.StateExpired, "expired", false, 0},
	{"a sale of unknown age", sale, nil, claim(submit("sale", func(s *wire.Submit) { s.ExpiresAt = 0 })), 0, tideover.RowRefused, tideover.StateExpired, "expired", false, 0},
	{"an advice never expires", submit("advice", nil), steps(pass(time.Hour)), claim(submit("advice", func(s *wire.Submit) { s.Request.Kind = tideover.KindAdvice })), 0, tideover.RowClaimed, 0, "", false, ledger.ActCall},
	{"sent again", sale, nil, claim(again), 0, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"sent again, too old", sale, steps(pass(time.Hour)), claim(again), 0, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"older than the ledger", sale, steps(func(v *view) { v.Store.PrunedBefore = start + 1 }), claim(sale), 0, tideover.RowManual, 0, "", false, 0},
	{"a copy", sale, steps(claim(sale)), claim(sale), tideover.RowClaimed, tideover.RowClaimed, 0, "", false, ledger.ActCall},
	{"a copy of an end", sale, approved, claim(sale), tideover.RowDone, tideover.RowDone, tideover.StateApproved, "00", false, 0},
	{"cancel before anything", sale, nil, cancel(sale), 0, tideover.RowRefused, tideover.StateCancelled, "cancelled", false, 0},
	{"a copy after a cancel", sale, steps(cancel(sale)), claim(sale), tideover.RowRefused, tideover.RowRefused, tideover.StateCancelled, "cancelled", false, 0},
	{"a tombstone before anything", sale, nil, expire(sale, tideover.StateExpired), 0, tideover.RowRefused, tideover.StateExpired, "expired", false, 0},

	{"approved", sale, steps(claim(sale)), record(yes), tideover.RowClaimed, tideover.RowDone, tideover.StateApproved, "00", false, 0},
	{"declined", sale, steps(claim(sale)), record(no), tideover.RowClaimed, tideover.RowDone, tideover.StateDeclined, "05", false, 0},
	{"pending", sale, steps(claim(sale)), record(pending), tideover.RowClaimed, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"no answer", sale, steps(claim(sale)), record(silence), tideover.RowClaimed, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"no answer, long after expiry: asked first", sale, steps(claim(sale), pass(time.Hour)), record(silence), tideover.RowClaimed, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"another amount", sale, steps(claim(sale)), record(ledger.Answer{Said: ledger.SaidApproved, Amount: 1300, Currency: "CNY"}), tideover.RowClaimed, tideover.RowReversing, 0, "", true, ledger.ActReverse},
	{"another currency", sale, steps(claim(sale)), record(ledger.Answer{Said: ledger.SaidApproved, Amount: 1299, Currency: "EUR"}), tideover.RowClaimed, tideover.RowReversing, 0, "", true, ledger.ActReverse},
	{"cancel during the call", sale, steps(claim(sale)), cancel(sale), tideover.RowClaimed, tideover.RowClaimed, 0, "", false, ledger.ActCall},
	{"approved after a cancel", sale, steps(claim(sale), cancel(sale)), record(yes), tideover.RowClaimed, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"declined after a cancel", sale, steps(claim(sale), cancel(sale)), record(no), tideover.RowClaimed, tideover.RowDone, tideover.StateDeclined, "05", false, 0},
	{"no answer after a cancel", sale, steps(claim(sale), cancel(sale)), record(silence), tideover.RowClaimed, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"pending after a cancel", sale, steps(claim(sale), cancel(sale)), record(pending), tideover.RowClaimed, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"never called, cancelled", sale, steps(claim(sale), cancel(sale)), uncalled, tideover.RowClaimed, tideover.RowRefused, tideover.StateCancelled, "cancelled", false, 0},
	{"never called, expired", sale, steps(claim(sale), pass(time.Hour)), uncalled, tideover.RowClaimed, tideover.RowRefused, tideover.StateExpired, "expired", false, 0},
	{"never called, lease too short", sale, steps(claim(sale)), uncalled, tideover.RowClaimed, tideover.RowClaimed, 0, "", false, ledger.ActCall},
	{"not called this time, expired", sale, steps(claim(sale), record(silence), record(missing), pass(time.Hour)), uncalled, tideover.RowClaimed, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"not called this time, cancelled", sale, steps(claim(sale), record(silence), record(missing), cancel(sale)), uncalled, tideover.RowClaimed, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"the owner is gone", sale, steps(claim(sale)), lapse, tideover.RowClaimed, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},

	{"asked: approved", sale, steps(claim(sale), record(silence)), record(yes), tideover.RowInDoubt, tideover.RowDone, tideover.StateApproved, "00", false, 0},
	{"asked: declined", sale, steps(claim(sale), record(silence)), record(no), tideover.RowInDoubt, tideover.RowDone, tideover.StateDeclined, "05", false, 0},
	{"asked: approved long after expiry", sale, steps(claim(sale), record(silence), pass(time.Hour)), record(yes), tideover.RowInDoubt, tideover.RowDone, tideover.StateApproved, "00", false, 0},
	{"asked: missing", sale, steps(claim(sale), record(silence)), record(missing), tideover.RowInDoubt, tideover.RowClaimed, 0, "", false, ledger.ActCall},
	{"asked: missing, expired", sale, steps(claim(sale), record(silence), pass(time.Hour)), record(missing), tideover.RowInDoubt, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"asked: missing, one call only", sale, steps(claim(sale), record(silence)), recordOnce(missing), tideover.RowInDoubt, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"asked: missing, but it was pending before", sale, steps(claim(sale), record(pending)), record(missing), tideover.RowInDoubt, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"asked: nothing", sale, steps(claim(sale), record(silence)), record(silence), tideover.RowInDoubt, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"asked: nothing, expired", sale, steps(claim(sale), record(silence), pass(time.Hour)), record(silence), tideover.RowInDoubt, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"asked: pending for a minute", sale, steps(claim(sale), record(pending), pass(time.Minute)), record(pending), tideover.RowInDoubt, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"asked: nothing, pending for a minute", sale, steps(claim(sale), record(pending), pass(time.Minute)), record(silence), tideover.RowInDoubt, tideover.RowInDoubt, 0, "", false, ledger.ActAsk},
	{"asked: pending for too long", sale, steps(claim(sale), record(pending), pass(ledger.PendingMax)), record(pending), tideover.RowInDoubt, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"asked: undone already", sale, steps(claim(sale), record(silence)), record(undone), tideover.RowInDoubt, tideover.RowReversed, tideover.StateReversed, "", false, 0},
	{"cancel in doubt", sale, steps(claim(sale), record(silence)), cancel(sale), tideover.RowInDoubt, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"a tombstone in doubt", sale, steps(claim(sale), record(silence)), expire(sale, tideover.StateExpired), tideover.RowInDoubt, tideover.RowReversing, 0, "", false, ledger.ActReverse},

	{"cancel of an approval", sale, approved, cancel(sale), tideover.RowDone, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"cancel of a decline", sale, steps(claim(sale), record(no)), cancel(sale), tideover.RowDone, tideover.RowDone, tideover.StateDeclined, "05", false, 0},
	{"a tombstone after an approval", sale, approved, expire(sale, tideover.StateExpired), tideover.RowDone, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"an approval after a decline", sale, steps(claim(sale), record(no)), record(yes), tideover.RowDone, tideover.RowReversing, 0, "", true, ledger.ActReverse},
	{"an approval after a bar", sale, steps(cancel(sale)), record(yes), tideover.RowRefused, tideover.RowReversing, 0, "", true, ledger.ActReverse},
	{"an approval after an approval", sale, approved, record(yes), tideover.RowDone, tideover.RowDone, tideover.StateApproved, "00", false, 0},

	{"undone", sale, steps(approved, cancel(sale)), reverse(undone), tideover.RowReversing, tideover.RowReversed, tideover.StateReversed, "", false, 0},
	{"undone: it was never executed", sale, steps(claim(sale), record(silence), cancel(sale)), reverse(never), tideover.RowReversing, tideover.RowRefused, tideover.StateCancelled, "cancelled", false, 0},
	{"undone: expired and never executed", sale, steps(claim(sale), record(silence), pass(time.Hour), record(missing)), reverse(never), tideover.RowReversing, tideover.RowRefused, tideover.StateExpired, "expired", false, 0},
	{"undone: told approved, and yet never executed", sale, steps(approved, cancel(sale)), reverse(never), tideover.RowReversing, tideover.RowReversed, tideover.StateReversed, "", false, 0},
	{"undone: it was declined", sale, steps(claim(sale), record(silence), cancel(sale)), reverse(no), tideover.RowReversing, tideover.RowDone, tideover.StateDeclined, "05", false, 0},
	{"undone: no answer", sale, steps(approved, cancel(sale)), reverse(silence), tideover.RowReversing, tideover.RowReversing, 0, "", false, ledger.ActReverse},
	{"undone: no answer, one call only", sale, steps(approved, cancel(sale)), func(v *view) { v.RecordReverse(silence, once) }, tideover.RowReversing, tideover.RowManual, 0, "", false, 0},
	{"undone after a tombstone", sale, steps(claim(sale), record(silence), expire(sale, tideover.StateExpired)), reverse(undone), tideover.RowReversing, tideover.RowReversed, tideover.StateReversed, "", true, 0},
	{"a tombstone, certified", sale, steps(claim(sale), record(silence), expire(sale, tideover.StateCancelled)), reverse(never), tideover.RowReversing, tideover.RowRefused, tideover.StateCancelled, "cancelled", false, 0},
	{"a tombstone, declined", sale, steps(claim(sale), expire(sale, tideover.StateExpired)), record(no), tideover.RowClaimed, tideover.RowReversing, 0, "", false, ledger.ActReverse},

	{"a refund", refund, steps(original(approved...)), claim(refund), 0, tideover.RowClaimed, 0, "", false, ledger.ActCall},
	{"a refund of nothing", refund, nil, claim(refund), 0, tideover.RowRefused, tideover.StateDeclined, "original_unknown", false, 0},
	{"a refund of a decline", refund, steps(original(claim(sale), record(no))), claim(refund), 0, tideover.RowRefused, tideover.StateDeclined, "original_not_approved", false, 0},
	{"a refund of too much", refund, steps(original(approved...), func(v *view) { v.Rows[1].Account.Refunded = 800 }), claim(refund), 0, tideover.RowRefused, tideover.StateDeclined, "refund_exceeds_original", false, 0},
	{"a refund of something open", refund, steps(original(claim(sale))), claim(refund), 0, 0, 0, "", false, 0},
	{"a refund, not executed, one call only", refund, steps(original(approved...), claim(refund), recordOnce(silence), recordOnce(missing)), reverse(never), tideover.RowReversing, tideover.RowRefused, tideover.StateCancelled, "cancelled", false, 0},
	{"a refund sent again that does not fit", refund, steps(func(v *view) {
		v.Claim(submit("refund", func(s *wire.Submit) { undoing(tideover.KindRefund, 500)(s); s.Again = true }), current, lease)
	}), record(missing), tideover.RowInDoubt, tideover.RowReversing, 0, "", false, ledger.ActReverse},

	{"a reversal of an approval", reversal, steps(original(approved...), claim(reversal)), undo, tideover.RowClaimed, tideover.RowClaimed, 0, "", false, ledger.ActUndo},
	{"a reversal, done", reversal, steps(original(steps(approved, cancel(sale), reverse(undone))...), claim(reversal)), undo, tideover.RowClaimed, tideover.RowDone, tideover.StateApproved, "00", false, 0},
	{"a reversal of nothing", reversal, steps(claim(reversal)), undo, tideover.RowClaimed, tideover.RowDone, tideover.StateApproved, "00", false, 0},
	{"a reversal of a decline", reversal, steps(original(claim(sale), record(no)), claim(reversal)), undo, tideover.RowClaimed, tideover.RowDone, tideover.StateApproved, "00", false, 0},
	{"a reversal of what needs a person", reversal, steps(original(approved...), claim(reversal), func(v *view) { v.Rows[1].State = tideover.RowManual }), undo, tideover.RowClaimed, tideover.RowManual, 0, "", false, 0},
	{"a reversal in doubt of what needs a person", reversal, steps(original(approved...), claim(reversal), lapse, func(v *view) { v.Rows[1].State = tideover.RowManual }), undo, tideover.RowInDoubt, tideover.RowManual, 0, "", false, 0},
	{"a reversal after a refund", reversal, steps(original(approved...), func(v *view) { v.Rows[1].Account.Refunded = 500 }, claim(reversal)), undo, tideover.RowClaimed, tideover.RowDone, tideover.StateDeclined, "refund_exceeds_original", false, 0},
	{"a reversal of another amount", reversal, steps(original(approved...), func(v *view) { v.Claim(submit("reversal", undoing(tideover.KindReversal, 7)), current, lease) }), undo, tideover.RowClaimed, tideover.RowDone, tideover.StateDeclined, "original_not_approved", false, 0},
	{"a reversal during a refund", reversal, steps(original(approved...), func(v *view) { v.Rows[1].Account.Refunding = 500 }, claim(reversal)), undo, tideover.RowClaimed, tideover.RowClaimed, 0, "", false, ledger.ActUndo},
	{"cancel of a reversal", reversal, steps(original(approved...), claim(reversal)), cancel(reversal), tideover.RowClaimed, tideover.RowClaimed, 0, "", false, ledger.ActUndo},
}

func uncalled(v *view) { v.Uncalled(v.Rows[0].Fence, lease) }

func TestView_Steps(t *testing.T) {
	for _, c := range stepTable {
		t.Run(c.name, func(t *testing.T) {
			v := on(c.submit, c.before...)
			from, given := v.Rows[0].State, v.Store.HubSeq
			c.step(v)
			r := v.Rows[0]
			if from != c.from || r.State != c.to {
				t.Fatalf("went from %q to %q, want %q to %q (%s)", from, r.State, c.from, c.to, r.Why)
			}
			if r.Ended() != (c.result != 0) || r.Ended() && (r.Outcome.Result != c.result || r.Outcome.Code != c.code) {
				t.Errorf("ended: %v with %+v, want %v %q", r.Ended(), r.Outcome, c.result, c.code)
			}
			if r.Corrected != c.corrected {
				t.Errorf("corrected is %v", r.Corrected)
			}
			if got := r.Next(me); got != c.next {
				t.Errorf("next action %d, want %d", got, c.next)
			}
			if r.Ended() && r.HubSeq == 0 || r.Ended() && from != c.to && r.HubSeq != given+1 {
				t.Errorf("outbox position %d after %d", r.HubSeq, given)
			}
			if r.State.Open() && (r.PendingSince != 0) != (r.Progress().State == tideover.StatePending && r.State == tideover.RowInDoubt) {
				t.Errorf("pending since %d, told %v", r.PendingSince, r.Progress())
			}
			if r.Ended() {
				r.Confirmation().Validate()
			} else if err := r.Progress().Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every row of the root's table is taken by some step.
func TestView_StepsTakeEveryTransition(t *testing.T) {
	taken := map[[2]tideover.RowState]bool{}
	for _, c := range stepTable {
		taken[[2]tideover.RowState{c.from, c.to}] = true
	}
	for _, c := range restoreTable {
		taken[[2]tideover.RowState{c.from, c.to}] = true
	}
	for _, tr := range tideover.RowTransitions() {
		if !taken[[2]tideover.RowState{tr.From, tr.To}] {
			t.Errorf("from %q to %q (%s) is not tested", tr.From, tr.To, tr.Why)
		}
	}
}

func TestView_ClaimRefusesAnEarlierIncarnation(t *testing.T) {
	v := on(sale)
	d := v.Claim(sale, [16]byte{8}, lease)
	if d.Verdict != ledger.Refuse || d.Refused.Reason != wire.ReasonSuperseded || v.Rows[0].State != tideover.RowNone {
		t.Fatalf("%+v, row %v", d, v.Rows[0].State)
	}
}

func TestView_ClaimRefusesAnotherRequest(t *testing.T) {
	v := on(sale, approved...)
	v.Store.HubSeq = 7
	changed := submit("sale", func(s *wire.Submit) { s.Request.Amount = 1 })
	d := v.Claim(changed, current, lease)
	if d.Verdict != ledger.Refuse || d.Refused.Reason != wire.ReasonKeyReused || d.Refused.Adopt == nil || d.Refused.End == nil {
		t.Fatalf("%+v", d)
	}
	if d.Refused.Adopt.Hash != sale.Hash || d.Refused.End.Outcome.Result != tideover.StateApproved {
		t.Errorf("adopt %+v, end %+v", d.Refused.Adopt, d.Refused.End)
	}
	if err := d.Refused.Validate(); err != nil {
		t.Error(err)
	}
	// What was barred by key alone has no request that another could differ from.
	if d := on(sale, cancel(sale)).Claim(changed, current, lease); d.Verdict != ledger.Carry {
		t.Errorf("after a bar: %+v", d)
	}
}

func TestView_EarliestExpiryStands(t *testing.T) {
	v := on(sale, claim(sale))
	later, sooner := sale, sale
	later.ExpiresAt, sooner.ExpiresAt = sale.ExpiresAt+5000, sale.ExpiresAt-5000
	v.Claim(later, current, lease)
	if v.Rows[0].ExpiresAt != sale.ExpiresAt {
		t.Error("a later expiry was taken")
	}
	v.Claim(sooner, current, lease)
	if v.Rows[0].ExpiresAt != sooner.ExpiresAt {
		t.Error("an earlier expiry was not taken")
	}
}

func TestView_AnswerToAnEarlierClaimChangesNothing(t *testing.T) {
	v := on(sale, claim(sale), record(silence), record(missing))
	before := v.Rows[0]
	if d := v.Record(before.Fence-1, no, false, policy, lease); d.Verdict != ledger.Stale || !reflect.DeepEqual(before, v.Rows[0]) {
		t.Fatalf("%+v, row %+v", d, v.Rows[0])
	}
}

func TestRow_MayCall(t *testing.T) {
	r := on(sale, claim(sale)).Rows[0]
	for name, c := range map[string]struct {
		lease  ledger.Lease
		fence  uint64
		now    tideover.Millis
		boot   time.Duration
		cancel bool
		want   bool
	}{
		"now":                    {lease, 1, start, 0, false, true},
		"another owner":          {ledger.Lease{Owner: other}, 1, start, 0, false, false},
		"an earlier claim":       {lease, 0, start, 0, false, false},
		"expired":                {lease, 1, sale.ExpiresAt, 0, false, false},
		"just before expiry":     {lease, 1, sale.ExpiresAt - 1, 0, false, true},
		"the lease is too short": {lease, 1, start, time.Hour - 10*time.Second, false, false},
		"the lease just does":    {lease, 1, start, time.Hour - 10*time.Second - 1, false, true},
		"cancelled":              {lease, 1, start, 0, true, false},
	} {
		r := r
		if c.cancel {
			v := newView(r)
			v.Cancel(cancelOf(sale))
			r = v.Rows[0]
		}
		if ok, why := r.MayCall(c.lease, c.fence, c.now, c.boot, 10*time.Second); ok != c.want {
			t.Errorf("%s: %v (%s)", name, ok, why)
		}
	}
}

// Refunds hold what they ask for until their end, and never take more than there is, together with a reversal.
func TestView_RefundsAreAccountedUnderTheOriginal(t *testing.T) {
	o := on(sale, approved...).Rows[0]
	run := func(s wire.Submit, steps ...func(*view)) *view {
		v := on(s)
		v.Rows[1] = o
		for _, step := range steps {
			step(v)
		}
		o = v.Rows[1]
		return v
	}
	want := func(refunding, refunded int64) {
		t.Helper()
		if o.Account.Refunding != refunding || o.Account.Refunded != refunded {
			t.Fatalf("account %+v, want %d refunding, %d refunded", o.Account, refunding, refunded)
		}
	}
	r := func(key string, amount int64) wire.Submit { return submit(key, undoing(tideover.KindRefund, amount)) }
	money := func(n int64) ledger.Answer {
		return ledger.Answer{Said: ledger.SaidApproved, Amount: n, Currency: "CNY"}
	}
	first := run(r("r1", 1000), claim(r("r1", 1000)))
	want(1000, 0)
	if v := run(r("r2", 300), claim(r("r2", 300))); v.Rows[0].Outcome.Code != "refund_exceeds_original" {
		t.Fatalf("a refund beyond the account: %+v", v.Rows[0])
	}
	if v := run(reversal, claim(reversal), undo); v.Rows[0].Ended() {
		t.Fatalf("a reversal during a refund: %+v", v.Rows[0])
	}
	first.Rows[1] = o
	record(money(1000))(first)
	o = first.Rows[1]
	want(0, 1000)
	run(r("r3", 299), claim(r("r3", 299)), record(no))
	want(0, 1000)
	run(r("r4", 299), claim(r("r4", 299)), record(silence), record(money(299)))
	want(0, 1299)
	if v := run(reversal, claim(reversal), undo); v.Rows[0].Outcome.Code != "refund_exceeds_original" {
		t.Fatalf("a reversal after refunds: %+v", v.Rows[0])
	}
	c := newView(o)
	c.Store.HubSeq = 50
	if c.Cancel(cancelOf(sale)); c.Rows[0].State != tideover.RowDone || c.Rows[0].HubSeq == o.HubSeq {
		t.Fatalf("cancel of what is refunded in part: %+v", c.Rows[0])
	}
	// A refund that is cancelled gives back what it took.
	first.Rows[1] = o
	cancel(r("r1", 1000))(first)
	reverse(undone)(first)
	o = first.Rows[1]
	want(0, 299)
}

func TestView_ReversalBarsAnUnknownOriginalAndTellsItOnce(t *testing.T) {
	v := on(reversal, claim(reversal), undo)
	o := v.Rows[1]
	if o.State != tideover.RowRefused || o.Outcome.Result != tideover.StateCancelled || o.HubSeq != 0 {
		t.Fatalf("the original: %+v", o)
	}
	late := newView(o)
	late.Store.HubSeq = v.Store.HubSeq
	if d := late.Claim(sale, current, lease); d.Verdict != ledger.Carry || late.Rows[0].State != tideover.RowRefused || late.Rows[0].HubSeq != 2 {
		t.Fatalf("a copy on its way: %+v, %+v", d, late.Rows[0])
	}
}

func TestView_ReversalIsOneActWithCancel(t *testing.T) {
	v := on(reversal, original(approved...), claim(reversal))
	if d := v.Undo(); d.Verdict != ledger.Wait || v.Rows[1].State != tideover.RowReversing {
		t.Fatalf("%+v, original %v", d, v.Rows[1].State)
	}
	if d := v.Undo(); d.Verdict != ledger.Wait {
		t.Fatalf("asked again: %+v", d)
	}
	o := newView(v.Rows[1])
	o.Store.HubSeq = 5
	reverse(undone)(o)
	if o.Rows[0].HubSeq != 6 || o.Rows[0].Outcome.Result != tideover.StateReversed {
		t.Fatalf("the original's new end: %+v", o.Rows[0])
	}
	v.Rows[1] = o.Rows[0]
	v.Undo()
	if v.Rows[0].Outcome.Result != tideover.StateApproved {
		t.Fatalf("the reversal: %+v", v.Rows[0])
	}
}

func TestView_AcknowledgeTakesExactPositionsOnly(t *testing.T) {
	v := on(sale, approved...)
	r := v.Rows[0]
	for _, p := range []wire.Position{{ID: r.ID, HubSeq: r.HubSeq + 1}, {ID: reversal.ID, HubSeq: r.HubSeq}, {ID: r.ID}} {
		if n := v.Acknowledge(current, []wire.Position{p}); n != 0 || v.Rows[0].Acked {
			t.Errorf("%+v was taken", p)
		}
	}
	have := []wire.Position{{ID: r.ID, HubSeq: r.HubSeq}}
	if n := v.Acknowledge(current, have); n != 1 || !v.Rows[0].Acked {
		t.Error("not taken")
	}
	cancel(sale)(v)
	reverse(undone)(v)
	if v.Rows[0].Acked {
		t.Error("a new end counts as acknowledged")
	}
	if n := v.Acknowledge(current, have); n != 0 {
		t.Error("the old position acknowledges the new end")
	}
}

// Two hubs: the second has taken the claim over and calls again; the platform executes the first one's call and declines the copy.
func TestRecord_AnApprovalOfAnEarlierClaimCounts(t *testing.T) {
	v := on(sale, claim(sale))
	first := v.Rows[0].Fence
	v.TakeOver(v.Rows[0].Owner)
	other := ledger.Lease{Owner: [16]byte{0xb}, Until: time.Hour}
	v.Record(v.Rows[0].Fence, missing, true, policy, other)
	if v.Rows[0].State != tideover.RowClaimed || v.Rows[0].Fence == first {
		t.Fatalf("not claimed anew: %+v", v.Rows[0])
	}
	if v.Record(first, no, false, policy, lease); v.Rows[0].State != tideover.RowClaimed {
		t.Errorf("an earlier claim's decline ends it: %s", v.Rows[0].State)
	}
	v.Record(first, yes, false, policy, lease)
	v.Record(v.Rows[0].Fence, no, false, policy, other)
	if r := v.Rows[0]; r.State != tideover.RowDone || r.Outcome.Result != tideover.StateApproved {
		t.Errorf("money was taken, and the row says %s, %s", r.State, r.Outcome.Result)
	}
}
