package ledger_test

import (
	"testing"
	"time"

	"tideover"
	"tideover/hub/ledger"
)

func TestView_TakeOver(t *testing.T) {
	row := on(sale, claim(sale)).Rows[0]
	for name, c := range map[string]struct {
		silent    time.Duration
		leaseOver bool
		policy    ledger.Policy
		want      bool
	}{
		"alive":                             {0, false, policy, false},
		"silent for a moment":               {time.Second - 1, false, policy, false},
		"silent, a repeat has one effect":   {time.Second, false, policy, true},
		"silent, one call only":             {time.Hour, false, once, false},
		"its lease is over, one call only":  {0, true, once, true},
		"its lease is over, and it repeats": {0, true, policy, true},
	} {
		if got := row.MayTakeOver(c.silent, c.leaseOver, c.policy); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	v := on(sale, claim(sale))
	v.TakeOver(other)
	if v.Rows[0].State != tideover.RowClaimed {
		t.Error("another owner's claim was taken")
	}
	v.TakeOver(me)
	if r := v.Rows[0]; r.State != tideover.RowInDoubt || !r.Called || r.MayTakeOver(time.Hour, true, policy) {
		t.Errorf("%+v", r)
	}
}

func TestView_GiveBack(t *testing.T) {
	v := on(sale, claim(sale))
	for _, d := range []ledger.Decision{v.GiveBack(other, 1), v.GiveBack(me, 2)} {
		if d.Verdict != ledger.Stale || v.Rows[0].Owner != me {
			t.Errorf("%+v", d)
		}
	}
	v.GiveBack(me, 1)
	r := v.Rows[0]
	if r.State != tideover.RowClaimed || r.Next(other) != ledger.ActCall {
		t.Fatalf("%+v", r)
	}
	theirs := ledger.Lease{Owner: other, Until: time.Hour}
	if ok, _ := r.MayCall(theirs, r.Fence, v.Now, 0, time.Second); ok {
		t.Error("called under a claim that is nobody's")
	}
	if v.Uncalled(r.Fence, theirs); v.Rows[0].Owner != other || v.Rows[0].Fence != 2 || v.Rows[0].Called {
		t.Errorf("%+v", v.Rows[0])
	}
}
