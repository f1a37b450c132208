package ledger_test

import (
	"math"
	"testing"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// forgetful is a ledger that was put back to an older copy: it had given out 7 positions, and the edge has taken 20.
func forgetful(v *view) {
	v.Store.HubSeq = max(v.Store.HubSeq, 7)
	v.Hello(wire.Hello{Incarnation: current, Seq: 50, Highest: 20})
}

func replayOf(s wire.Submit, as tideover.State, seq uint64) wire.Replay {
	s.Request.Payload, s.Request.Instrument = nil, ""
	return wire.Replay{Submit: s, HubSeq: seq, Outcome: tideover.Outcome{Result: as, Code: "told", Reference: "R9", At: start - 5}}
}

func replay(s wire.Submit, as tideover.State, seq uint64) func(*view) {
	return func(v *view) { v.Replay(replayOf(s, as, seq)) }
}

func settledAs(s wire.Submit, as tideover.State, seq uint64) func(*view) {
	m := replayOf(s, as, seq)
	m.Outcome.Code = ledger.CodeSettled
	return func(v *view) { v.Replay(m) }
}

func settle(s wire.Submit, as tideover.State) func(*view) {
	return func(v *view) { v.Settle(wire.Settle{Submit: s, As: as, By: "lin", Reason: "the bank says so"}) }
}

func cancelAgain(s wire.Submit) func(*view) {
	return func(v *view) {
		m := cancelOf(s)
		m.Again = true
		v.Cancel(m)
	}
}

func needsPerson(v *view) {
	steps := []func(*view){claim(sale), record(silence), cancel(sale), func(v *view) { v.RecordReverse(silence, once) }}
	for _, step := range steps {
		step(v)
	}
}

const (
	stApproved  = tideover.StateApproved
	stDeclined  = tideover.StateDeclined
	stExpired   = tideover.StateExpired
	stCancelled = tideover.StateCancelled
	stReversed  = tideover.StateReversed
)

var bare = wire.Submit{ID: sale.ID, TerminalUID: sale.TerminalUID, Terminal: sale.Terminal, Key: sale.Key}

// The ends that an edge tells again, and those that a person gives. position is where the end stands in the outbox; next is the one
// after all that were ever given out. An end that is told again at its own position is acknowledged.
var restoreTable = []struct {
	name     string
	submit   wire.Submit
	before   []func(*view)
	step     func(*view)
	from, to tideover.RowState
	result   tideover.State // of the end; none where there is none
	position uint64
	next     ledger.Action
}{
	{"approved and lost", sale, steps(forgetful), replay(sale, stApproved, 12), 0, tideover.RowDone, stApproved, 12, 0},
	{"declined and lost", sale, steps(forgetful), replay(sale, stDeclined, 12), 0, tideover.RowDone, stDeclined, 12, 0},
	{"expired and lost", sale, steps(forgetful), replay(sale, stExpired, 12), 0, tideover.RowRefused, stExpired, 12, 0},
	{"barred by key and lost", sale, steps(forgetful), replay(bare, stCancelled, 12), 0, tideover.RowRefused, stCancelled, 12, 0},
	{"undone and lost", sale, steps(forgetful), replay(sale, stReversed, 12), 0, tideover.RowReversed, stReversed, 12, 0},
	{"doubled", sale, steps(forgetful, replay(sale, stApproved, 12)), replay(sale, stApproved, 12), tideover.RowDone, tideover.RowDone, stApproved, 12, 0},
	{"beyond what was said to be the highest", sale, steps(forgetful), replay(sale, stApproved, 25), 0, tideover.RowDone, stApproved, 25, 0},

	{"open in the copy: approved", sale, steps(claim(sale), lapse, forgetful), replay(sale, stApproved, 12), tideover.RowInDoubt, tideover.RowDone, stApproved, 12, 0},
	{"open in the copy: declined", sale, steps(claim(sale), lapse, forgetful), replay(sale, stDeclined, 12), tideover.RowInDoubt, tideover.RowDone, stDeclined, 12, 0},
	{"open in the copy: cancelled", sale, steps(claim(sale), lapse, forgetful), replay(sale, stCancelled, 12), tideover.RowInDoubt, tideover.RowRefused, stCancelled, 12, 0},
	{"open in the copy: undone", sale, steps(claim(sale), lapse, forgetful), replay(sale, stReversed, 12), tideover.RowInDoubt, tideover.RowReversed, stReversed, 12, 0},
	{"claimed anew, as a call is made: approved", sale, steps(claim(sale), forgetful), replay(sale, stApproved, 12), tideover.RowClaimed, tideover.RowDone, stApproved, 12, 0},
	{"claimed anew, as a call is made: expired", sale, steps(claim(sale), forgetful), replay(sale, stExpired, 12), tideover.RowClaimed, tideover.RowRefused, stExpired, 12, 0},
	{"claimed and cancelled since: approved", sale, steps(claim(sale), forgetful, cancel(sale)), replay(sale, stApproved, 12), tideover.RowClaimed, tideover.RowReversing, 0, 0, ledger.ActReverse},
	{"being undone in the copy: undone", sale, steps(approved, cancel(sale), forgetful), replay(sale, stReversed, 12), tideover.RowReversing, tideover.RowReversed, stReversed, 12, 0},
	{"being undone in the copy: never executed", sale, steps(claim(sale), record(silence), cancel(sale), forgetful), replay(sale, stCancelled, 12), tideover.RowReversing, tideover.RowRefused, stCancelled, 12, 0},
	{"being undone in the copy: declined", sale, steps(claim(sale), record(silence), cancel(sale), forgetful), replay(sale, stDeclined, 12), tideover.RowReversing, tideover.RowDone, stDeclined, 12, 0},
	{"needs a person in the copy: settled", sale, steps(needsPerson, forgetful), settledAs(sale, stApproved, 12), tideover.RowManual, tideover.RowDone, stApproved, 12, 0},
	{"needs a person after a cancel: approved before it", sale, steps(needsPerson, forgetful), replay(sale, stApproved, 12), tideover.RowManual, tideover.RowManual, 0, 0, 0},
	{"needs a person in the copy: undone", sale, steps(needsPerson, forgetful), replay(sale, stReversed, 12), tideover.RowManual, tideover.RowReversed, stReversed, 12, 0},
	{"needs a person here, ended elsewhere", sale, steps(needsPerson, forgetful), replay(sale, stCancelled, 12), tideover.RowManual, tideover.RowRefused, stCancelled, 12, 0},
	{"ended in the copy, undone since", sale, steps(approved, forgetful), replay(sale, stReversed, 12), tideover.RowDone, tideover.RowReversed, stReversed, 12, 0},
	{"ended in the copy, told anew since", sale, steps(approved, forgetful), replay(sale, stApproved, 12), tideover.RowDone, tideover.RowDone, stApproved, 12, 0},
	{"barred in the copy, settled since", sale, steps(cancel(sale), forgetful), replay(sale, stApproved, 12), tideover.RowRefused, tideover.RowDone, stApproved, 12, 0},
	{"undone in the copy: approved earlier", sale, steps(approved, cancel(sale), reverse(undone), forgetful), replay(sale, stApproved, 12), tideover.RowReversed, tideover.RowReversed, stReversed, 21, 0},

	{"a lost approval, cancelled first", sale, steps(forgetful, cancelAgain(sale)), replay(sale, stApproved, 12), tideover.RowReversing, tideover.RowReversing, 0, 0, ledger.ActReverse},
	{"a lost approval, cancelled and undone first", sale, steps(forgetful, cancelAgain(sale), reverse(undone)), replay(sale, stApproved, 12), tideover.RowReversed, tideover.RowReversed, stReversed, 21, 0},
	{"an approval, barred since without asking", sale, steps(forgetful, expire(sale, stExpired)), replay(sale, stApproved, 12), tideover.RowRefused, tideover.RowReversing, 0, 0, ledger.ActReverse},
	{"an approval, declined since", sale, steps(forgetful, claim(again), record(no)), replay(sale, stApproved, 12), tideover.RowDone, tideover.RowReversing, 0, 0, ledger.ActReverse},
	{"a cancel, executed since", sale, steps(forgetful, claim(again), record(yes)), replay(sale, stCancelled, 12), tideover.RowDone, tideover.RowReversing, 0, 0, ledger.ActReverse},
	{"undone, approved since", sale, steps(forgetful, claim(again), record(yes)), replay(sale, stReversed, 12), tideover.RowDone, tideover.RowReversed, stReversed, 22, 0},
	{"approved, and since", sale, steps(forgetful, claim(again), record(yes)), replay(sale, stApproved, 12), tideover.RowDone, tideover.RowDone, stApproved, 21, 0},
	{"expired, and since", sale, steps(forgetful, expire(sale, stExpired)), replay(sale, stExpired, 12), tideover.RowRefused, tideover.RowRefused, stExpired, 21, 0},

	{"a cancel of what may be lost", sale, steps(forgetful), cancel(sale), 0, tideover.RowReversing, 0, 0, ledger.ActReverse},
	{"a cancel that says so by itself", sale, nil, cancelAgain(sale), 0, tideover.RowReversing, 0, 0, ledger.ActReverse},
	{"a cancel of what may be lost, never executed", sale, steps(forgetful, cancel(sale)), reverse(never), tideover.RowReversing, tideover.RowRefused, stCancelled, 21, 0},
	{"a cancel of what may be lost, undone", sale, steps(forgetful, cancel(sale)), reverse(undone), tideover.RowReversing, tideover.RowReversed, stReversed, 21, 0},
	{"a cancel of what an edge had told again", sale, steps(forgetful, replay(sale, stApproved, 12), replayed), cancel(sale), tideover.RowDone, tideover.RowReversing, 0, 0, ledger.ActReverse},

	{"settled as approved", sale, steps(needsPerson), settle(sale, stApproved), tideover.RowManual, tideover.RowDone, stApproved, 1, 0},
	{"settled as declined", sale, steps(needsPerson), settle(sale, stDeclined), tideover.RowManual, tideover.RowDone, stDeclined, 1, 0},
	{"settled as reversed", sale, steps(needsPerson), settle(sale, stReversed), tideover.RowManual, tideover.RowReversed, stReversed, 1, 0},
	{"settled by key alone", sale, steps(needsPerson), settle(bare, stReversed), tideover.RowManual, tideover.RowReversed, stReversed, 1, 0},
	{"settled twice: the first word counts", sale, steps(needsPerson, settle(sale, stApproved)), settle(sale, stDeclined), tideover.RowDone, tideover.RowDone, stApproved, 1, 0},
	{"settled, and the ledger does not have it", sale, nil, settle(sale, stApproved), 0, tideover.RowDone, stApproved, 1, 0},
	{"settled as reversed, and the ledger does not have it", sale, nil, settle(sale, stReversed), 0, tideover.RowReversed, stReversed, 1, 0},
	{"settled while the machine is at it", sale, steps(claim(sale), record(silence)), settle(sale, stApproved), tideover.RowInDoubt, tideover.RowInDoubt, 0, 0, ledger.ActAsk},
	{"settled after an end", sale, approved, settle(sale, stDeclined), tideover.RowDone, tideover.RowDone, stApproved, 1, 0},
}

func replayed(v *view) { v.Replayed(current) }

func TestView_RestoreAndSettle(t *testing.T) {
	for _, c := range restoreTable {
		t.Run(c.name, func(t *testing.T) {
			v := on(c.submit, c.before...)
			from := v.Rows[0].State
			c.step(v)
			r := v.Rows[0]
			if from != c.from || r.State != c.to {
				t.Fatalf("went from %q to %q, want %q to %q (%s)", from, r.State, c.from, c.to, r.Why)
			}
			if r.Ended() != (c.result != 0) || r.Ended() && (r.Outcome.Result != c.result || r.HubSeq != c.position) {
				t.Errorf("ended: %v with %+v at %d, want %v at %d", r.Ended(), r.Outcome, r.HubSeq, c.result, c.position)
			}
			if got := r.Next(me); got != c.next {
				t.Errorf("next action %d, want %d", got, c.next)
			}
			if told := r.HubSeq == 12 || r.HubSeq == 25; r.Ended() && told != r.Acked {
				t.Errorf("acknowledged is %v", r.Acked)
			}
			if r.Ended() {
				if err := r.Confirmation().Validate(); err != nil {
					t.Error(err)
				}
			}
			if v.Store.HubSeq < r.HubSeq {
				t.Errorf("position %d, and the highest given out is %d", r.HubSeq, v.Store.HubSeq)
			}
		})
	}
}

func TestView_ReplayToALedgerThatHasLostNothing(t *testing.T) {
	v := on(sale)
	if d := v.Replay(replayOf(sale, stApproved, 3)); d.Verdict != ledger.Refuse || v.Rows[0].State != tideover.RowNone {
		t.Errorf("%+v, row %q", d, v.Rows[0].State)
	}
	forgetful(v)
	changed := submit("sale", func(s *wire.Submit) { s.Request.Amount = 1 })
	replay(sale, stApproved, 12)(v)
	if d := v.Replay(replayOf(changed, stApproved, 13)); d.Verdict != ledger.Refuse || d.Refused.Reason != wire.ReasonKeyReused {
		t.Errorf("another request: %+v", d)
	}
}

// A cancel that an edge has on its disk wins over an approval unless the hub says that it knew of the cancel.
func TestView_ConfirmationTellsThatACancelWasKnown(t *testing.T) {
	for name, c := range map[string]struct {
		steps []func(*view)
		want  bool
	}{
		"approved":                        {approved, false},
		"declined after a cancel":         {steps(claim(sale), cancel(sale), record(no)), true},
		"declined, then cancelled":        {steps(claim(sale), record(no), cancel(sale)), true},
		"refunded in part, then cancel":   {steps(approved, func(v *view) { v.Rows[0].Account.Refunded = 5 }, cancel(sale)), true},
		"cancelled, settled as approved":  {steps(needsPerson, settle(sale, stApproved)), true},
		"barred":                          {steps(cancel(sale)), true},
		"a reversal, cancelled in vain":   {steps(original(approved...), claim(reversal), cancel(reversal), func(v *view) { v.Rows[1].State = tideover.RowReversed }, undo), true},
		"an edge's own end, told again":   {steps(forgetful, replay(sale, stExpired, 12)), false},
		"an approval that was told again": {steps(forgetful, replay(sale, stApproved, 12)), false},
	} {
		s := sale
		if name == "a reversal, cancelled in vain" {
			s = reversal
		}
		if got := on(s, c.steps...).Rows[0].Confirmation().Asked; got != c.want {
			t.Errorf("%s: asked is %v", name, got)
		}
	}
}

// While the edge has not told its ends again, nothing is decided that one of them could forbid.
func TestView_WaitsForTheReplay(t *testing.T) {
	for name, c := range map[string]struct {
		v    *view
		step func(*view) ledger.Decision
	}{
		"a refund": {on(refund, forgetful), func(v *view) ledger.Decision { return v.Claim(refund, current, lease) }},
		"a refund of what the copy has": {on(refund, original(approved...), forgetful), func(v *view) ledger.Decision {
			return v.Claim(refund, current, lease)
		}},
		"a reversal":               {on(reversal, forgetful, claim(reversal)), func(v *view) ledger.Decision { return v.Undo() }},
		"a cancel of an approval":  {on(sale, steps(approved, forgetful)...), func(v *view) ledger.Decision { return v.Cancel(cancelOf(sale)) }},
		"a tombstone of something": {on(sale, steps(approved, forgetful)...), func(v *view) ledger.Decision { return v.Expire(wire.Expire{Submit: sale, Outcome: stExpired}) }},
	} {
		was := c.v.Rows[0]
		if d := c.step(c.v); d.Verdict != ledger.Wait || c.v.Rows[0].State != was.State || c.v.Rows[0].HubSeq != was.HubSeq {
			t.Errorf("%s: %+v", name, d)
		}
		c.v.Replayed([16]byte{0xee})
		if d := c.step(c.v); d.Verdict != ledger.Wait {
			t.Errorf("%s, after another incarnation's word: %+v", name, d)
		}
		replayed(c.v)
		if d := c.step(c.v); d.Verdict == ledger.Wait {
			t.Errorf("%s, after the replay: %+v", name, d)
		}
	}
	for name, a := range map[string]ledger.Answer{"missing": missing, "silence": silence, "pending": pending} {
		for _, p := range []ledger.Policy{policy, once} {
			v := on(sale, claim(sale), lapse, record(pending), forgetful, pass(time.Hour))
			v.Rows[0].Answered = false
			v.Record(v.Rows[0].Fence, a, true, p, lease)
			if v.Rows[0].State != tideover.RowInDoubt {
				t.Errorf("%s, idempotent %v: %q (%s)", name, p.Idempotent, v.Rows[0].State, v.Rows[0].Why)
			}
			replayed(v)
			v.Record(v.Rows[0].Fence, a, true, p, lease)
			if v.Rows[0].State != tideover.RowReversing {
				t.Errorf("%s, idempotent %v, after the replay: %q (%s)", name, p.Idempotent, v.Rows[0].State, v.Rows[0].Why)
			}
		}
	}
}

func TestView_HelloTellsWhatTheLedgerHasLost(t *testing.T) {
	e1, e2, e3 := [16]byte{1}, [16]byte{2}, [16]byte{3}
	journal := [16]byte{7}
	for name, c := range map[string]struct {
		hello    wire.Hello
		history  ledger.History
		from     uint64
		before   uint64
		restored bool
	}{
		"all is well":            {wire.Hello{Seq: 9, Highest: 7, HaveThrough: 7, Epoch: e1}, ledger.History{Epochs: [][16]byte{e1, e2}}, 0, 0, false},
		"an old edge":            {wire.Hello{Seq: 9, HaveThrough: 7}, ledger.History{Epochs: [][16]byte{e1}}, 0, 0, false},
		"positions unknown here": {wire.Hello{Seq: 9, Highest: 8, Epoch: e1}, ledger.History{Epochs: [][16]byte{e1}}, 7, 9, true},
		"an old edge's":          {wire.Hello{Seq: 9, HaveThrough: 8}, ledger.History{}, 7, 9, true},
		"an epoch unknown here":  {wire.Hello{Seq: 9, Highest: 3, Epoch: e3}, ledger.History{Epochs: [][16]byte{e1}}, 7, 9, true},
		"the file is a copy":     {wire.Hello{Seq: 9, Epoch: e1}, ledger.History{Epochs: [][16]byte{e1, e2}, Restored: e2}, 7, 9, true},
		"and the journal too":    {wire.Hello{Highest: 12, Epoch: e1}, ledger.History{Epochs: [][16]byte{e1, e2}, Restored: e2}, 7, math.MaxUint64, true},
		"an empty journal":       {wire.Hello{}, ledger.History{Epochs: [][16]byte{e1, e2}, Restored: e2}, 7, 1, true},
	} {
		v := newView()
		v.History = c.history
		v.Store.HubSeq, v.Store.Journal, v.Store.HeardIn = 7, journal, v.History.Epoch()
		c.hello.Incarnation, c.hello.Journal = [16]byte{5}, journal
		for i := range 2 { // the first welcome is lost
			w, err := v.Hello(c.hello)
			if err != nil {
				t.Fatal(err)
			}
			w.Ledger = [16]byte{1}
			if err := w.Validate(); err != nil {
				t.Error(name, err)
			}
			if w.Replay != c.restored || w.LostFrom != c.from || w.LostBefore != c.before || w.Gap || w.Epoch != v.History.Epoch() {
				t.Errorf("%s, hello %d: %+v", name, i, w)
			}
			if v.Store.HubSeq < max(7, c.hello.Highest, c.hello.HaveThrough) {
				t.Errorf("%s: position %d would be given out again", name, v.Store.HubSeq+1)
			}
		}
		v.Replayed([16]byte{5})
		c.hello.Epoch, c.hello.Incarnation, c.hello.Seq = v.History.Epoch(), [16]byte{6}, 30
		if w, _ := v.Hello(c.hello); w.Replay || w.LostFrom != 0 || w.LostBefore != c.before {
			t.Errorf("%s, after the replay: %+v", name, w)
		}
		v.Now = v.Now.Add(34 * 24 * time.Hour)
		if w, _ := v.Hello(c.hello); w.LostBefore != 0 {
			t.Errorf("%s, a month later: %+v", name, w)
		}
	}
}

func TestView_HelloTellsOfAGap(t *testing.T) {
	v := newView()
	a, b := [16]byte{1}, [16]byte{2}
	hello := func(inc byte, journal [16]byte) bool {
		t.Helper()
		w, err := v.Hello(wire.Hello{Incarnation: [16]byte{inc}, Journal: journal})
		if err != nil {
			t.Fatal(err)
		}
		return w.Gap
	}
	if hello(1, a) || hello(2, a) || hello(3, [16]byte{}) {
		t.Error("a gap in the only journal there ever was")
	}
	for i := range 2 { // the first welcome is lost
		if !hello(4, b) {
			t.Error("another journal has no gap", i)
		}
	}
	if !hello(5, a) {
		t.Error("the first one is back and lacks what the second one knows")
	}
	v.Now = v.Now.Add(34 * 24 * time.Hour)
	if hello(6, a) {
		t.Error("the gap never closes")
	}
	// What a ledger has lost may have been another journal's.
	v = newView()
	v.History = ledger.History{Epochs: [][16]byte{{1}}, Restored: [16]byte{1}}
	if !hello(1, a) {
		t.Error("a journal that the copy has never heard of")
	}
}

// Positions that were given out before the first hello, and that the lost ledger had given out too, are given out anew: else an edge
// would take another end for one that it has.
func TestView_RetellsWhatWasGivenOutTwice(t *testing.T) {
	v := on(sale, claim(sale), lapse)
	v.History = ledger.History{Epochs: [][16]byte{{1}, {2}}}
	v.Store.HubSeq, v.Store.HeardIn = 7, [16]byte{1}
	if record(no)(v); v.Rows[0].HubSeq != 8 {
		t.Fatalf("position %d", v.Rows[0].HubSeq)
	}
	owed := v.Rows
	v.Rows = nil
	w, _ := v.Hello(wire.Hello{Incarnation: current, Seq: 9, Highest: 12, HaveThrough: 12, Epoch: [16]byte{9}})
	if w.LostFrom != 7 || !w.Replay || w.GivenOut != 12 || v.Store.Reused != 8 {
		t.Fatalf("%+v, store %+v", w, v.Store)
	}
	v.Rows = owed
	for range 2 {
		if v.Retell(); v.Rows[0].HubSeq != 13 || v.Store.Reused != 8 {
			t.Fatalf("position %d, store %+v", v.Rows[0].HubSeq, v.Store)
		}
	}
	v.Rows = nil
	if v.Retell(); v.Store.Reused != 0 {
		t.Fatal("not noted")
	}
	// The very same position, and another end: the edge takes what was decided since.
	v.Rows = owed
	if replay(sale, stApproved, 8)(v); v.Rows[0].State != tideover.RowReversing {
		t.Fatalf("%q", v.Rows[0].State)
	}
	// A hub that was merely started again has given out nothing twice.
	v = on(sale, claim(sale), lapse)
	v.History = ledger.History{Epochs: [][16]byte{{1}, {2}}}
	v.Store.HubSeq, v.Store.HeardIn = 7, [16]byte{1}
	record(no)(v)
	if w, _ := v.Hello(wire.Hello{Incarnation: current, Seq: 9, Highest: 7, HaveThrough: 7, Epoch: [16]byte{1}}); w.Replay || v.Store.Reused != 0 || v.Store.Ahead {
		t.Fatalf("%+v, store %+v", w, v.Store)
	}
}

// What a row is of may be heard after a step on it was given its ids: the step is taken again, and nothing else happens.
func TestView_StepsThatWereNotGivenTheOriginalAreTakenAgain(t *testing.T) {
	known := on(refund, original(approved...), claim(refund)).Rows[0]
	for name, step := range map[string]func(*view) ledger.Decision{
		"record":         func(v *view) ledger.Decision { return v.Record(1, yes, false, policy, lease) },
		"record reverse": func(v *view) ledger.Decision { return v.RecordReverse(undone, policy) },
		"settle":         func(v *view) ledger.Decision { return v.Settle(wire.Settle{Submit: bareOf(refund), As: stApproved}) },
		"replay":         func(v *view) ledger.Decision { return v.Replay(replayOf(bareOf(refund), stApproved, 12)) },
		"undo":           func(v *view) ledger.Decision { return v.Undo() },
	} {
		v := newView(known)
		forgetful(v)
		if d := step(v); d.Verdict != ledger.Wait {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func bareOf(s wire.Submit) wire.Submit {
	return wire.Submit{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key}
}

// Neither a new router nor a restored ledger knows what the old router had sent: what a till repeats is asked about first.
func TestView_ReplacedRouterAtARestoredHub(t *testing.T) {
	for name, c := range map[string]struct {
		journal byte
		kind    tideover.Kind
		after   time.Duration
		want    tideover.RowState
	}{
		"the same router":       {1, tideover.KindSale, 0, tideover.RowClaimed},
		"another router's sale": {2, tideover.KindSale, 0, tideover.RowInDoubt},
		"its sale, later":       {2, tideover.KindSale, tideover.ExpiresInMax, tideover.RowClaimed},
		"its advice":            {2, tideover.KindAdvice, time.Minute, tideover.RowInDoubt},
		"its advice, later":     {2, tideover.KindAdvice, tideover.ExpiresInMax, tideover.RowClaimed},
	} {
		s := submit("fresh", func(s *wire.Submit) {
			s.Request.Kind = c.kind
			s.ExpiresAt = start.Add(c.after + time.Second)
		})
		v := on(s)
		v.Store.HubSeq, v.Store.Journal = 7, [16]byte{1}
		v.Hello(wire.Hello{Incarnation: current, Journal: [16]byte{c.journal}, Seq: 3, Highest: 20})
		v.Replayed(current)
		v.Now = v.Now.Add(c.after)
		if claim(s)(v); v.Rows[0].State != c.want {
			t.Errorf("%s: %q", name, v.Rows[0].State)
		}
	}
}

// A process that died in the middle of a commit has sent a sale that its journal does not have. Where the ledger was put back to an older copy at that
// time, neither knows of it: what the till repeats is asked about first, and the list of what has no end is not all of it.
func TestView_ACrashedRouterAtARestoredHub(t *testing.T) {
	asks, plain := wire.Hello{Features: wire.FeatureOpen}, wire.Hello{}
	for name, c := range map[string]struct {
		hellos []wire.Hello // of one process each; the ledger is put back before the first
		apart  time.Duration
		lost   bool
		after  time.Duration
		want   bool
	}{
		"nothing is lost":                              {[]wire.Hello{asks}, 0, false, 0, false},
		"a process that ended well":                    {[]wire.Hello{plain}, 0, true, 0, false},
		"a crash":                                      {[]wire.Hello{asks}, 0, true, 0, true},
		"a crash, later":                               {[]wire.Hello{asks}, 0, true, tideover.ExpiresInMax, false},
		"a crash, and one that ended well":             {[]wire.Hello{asks, plain}, 0, true, 0, true},
		"the loss was found out just before the crash": {[]wire.Hello{plain, asks}, time.Minute, true, 0, true},
		"the loss was found out long before the crash": {[]wire.Hello{plain, asks}, tideover.ExpiresInMax, true, 0, false},
	} {
		s := submit("fresh", func(s *wire.Submit) { s.ExpiresAt = start.Add(2*tideover.ExpiresInMax + time.Hour) })
		v := on(s)
		v.Store.HubSeq, v.Store.Journal = 7, [16]byte{1}
		for i, h := range c.hellos {
			v.Now = v.Now.Add(c.apart)
			h.Incarnation, h.Journal, h.Seq = [16]byte{byte(i + 1)}, [16]byte{1}, 3
			if c.lost {
				h.Highest = 20
			}
			v.Hello(h)
			v.Replayed(h.Incarnation)
		}
		v.Now = v.Now.Add(c.after)
		if v.Orphaned() != c.want {
			t.Errorf("%s: orphaned %v", name, !c.want)
		}
		want := tideover.RowClaimed
		if c.want {
			want = tideover.RowInDoubt
		}
		if v.Claim(s, v.Store.Incarnation, lease); v.Rows[0].State != want {
			t.Errorf("%s: %q, want %q", name, v.Rows[0].State, want)
		}
	}
}

// opened lets a view be of a ledger that was opened anew: its edge has not said hello since.
func opened(v *view) {
	v.History.Epochs = [][16]byte{{1}, {2}}
	v.Store.HeardIn = v.History.Epochs[0]
}

// Whether a ledger was put back to an older copy is not known before the edge has said hello: until then what is in doubt is asked about, and
// neither called nor undone, since an end that was lost may say otherwise. It keeps out a sale that was cancelled in the lost time, and called.
func TestView_DecidesNothingBeforeTheFirstHello(t *testing.T) {
	for name, late := range map[string]bool{"missing": false, "too old, and missing": true, "too old, and silent": true} {
		answer := missing
		if name == "too old, and silent" {
			answer = silence
		}
		v := on(sale, claim(sale), record(silence), opened)
		if late {
			v.Now = sale.ExpiresAt + 1
		}
		v.Record(v.Rows[0].Fence, answer, true, policy, lease)
		if got := v.Rows[0].State; got != tideover.RowInDoubt {
			t.Errorf("%s: %s before the edge was heard", name, got)
		}
		if _, err := v.Hello(wire.Hello{Incarnation: current, Epoch: [16]byte{1}}); err != nil {
			t.Fatal(err)
		}
		v.Record(v.Rows[0].Fence, answer, true, policy, lease)
		if got := v.Rows[0].State; got == tideover.RowInDoubt {
			t.Errorf("%s: nothing follows after the hello", name)
		}
	}
}

// A reversal that was approved in the lost time has undone its original, whatever is left of that: it is undone again, which the platform
// knows, and the edge hears of it.
func TestView_ReplayedReversalUndoesItsOriginal(t *testing.T) {
	v := on(reversal, forgetful)
	o := on(sale, claim(sale), record(yes)).Rows[0]
	v.Rows[1] = o
	replay(reversal, stApproved, 12)(v)
	if got := v.Rows[1].State; got != tideover.RowReversing {
		t.Errorf("its original is %s", got)
	}
}

// A cancel that no machine could carry out is not forgotten for an approval from before it.
func TestView_ReplayOfAnApprovalThatIsToBeUndone(t *testing.T) {
	v := on(sale, needsPerson, cancel(sale), forgetful)
	replay(sale, stApproved, 12)(v)
	if r := v.Rows[0]; r.State != tideover.RowManual || !r.Approved {
		t.Errorf("got %s", r.State)
	}
}

// A reversal of a sale that router and ledger have both lost must not end well: the customer would stay charged.
func TestView_ReversalOfWhatMayBeLostNeedsAPerson(t *testing.T) {
	v := on(reversal, forgetful)
	v.Replayed(current)
	v.Claim(reversal, current, lease)
	v.Undo()
	if r := v.Rows[0]; r.State != tideover.RowManual || v.Rows[1].State != tideover.RowNone {
		t.Errorf("it is %s (%s), its original %s", r.State, r.Why, v.Rows[1].State)
	}
	v = on(reversal, claim(reversal))
	v.Undo()
	if r := v.Rows[0]; r.State != tideover.RowDone || v.Rows[1].State != tideover.RowRefused {
		t.Errorf("nothing is lost: it is %s, its original %s", r.State, v.Rows[1].State)
	}
}
