package ledger_test

import (
	"testing"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// Replays come in any order. Whatever comes first, the account of a sale ends up with its refunds, and what is left can be refunded
// and no more.
func TestView_ReplayedRefundsAreAccountedInAnyOrder(t *testing.T) {
	second := submit("refund2", undoing(tideover.KindRefund, 300))
	third := submit("refund3", undoing(tideover.KindRefund, 400))
	ends := []wire.Replay{
		replayOf(sale, stApproved, 12), replayOf(refund, stApproved, 13), replayOf(second, stApproved, 14), replayOf(third, stDeclined, 15),
	}
	var orders func(at int, do func())
	orders = func(at int, do func()) {
		if at == len(ends) {
			do()
			return
		}
		for i := at; i < len(ends); i++ {
			ends[at], ends[i] = ends[i], ends[at]
			orders(at+1, do)
			ends[at], ends[i] = ends[i], ends[at]
		}
	}
	orders(0, func() {
		rows := map[tideover.ID]ledger.Row{}
		var st ledger.Store
		step := func(s wire.Submit, do func(*view)) ledger.Row {
			v := on(s)
			for i := range v.Rows {
				if r, ok := rows[v.Rows[i].ID]; ok {
					v.Rows[i] = r
				}
			}
			if st.Name != "" {
				v.Store = st
			}
			do(v)
			for _, r := range v.Rows {
				if r.State != tideover.RowNone {
					rows[r.ID] = r
				}
			}
			st = v.Store
			return v.Rows[0]
		}
		step(sale, forgetful)
		for range 2 { // and doubled
			for _, m := range ends {
				step(m.Submit, func(v *view) {
					if d := v.Replay(m); d.Verdict != ledger.Carry {
						t.Fatalf("%+v", d)
					}
				})
			}
		}
		if a := rows[sale.ID].Account; a != (ledger.Account{Approved: 1299, Refunded: 800}) {
			t.Fatalf("account %+v in the order %v", a, ends)
		}
		if r := rows[third.ID]; r.State != tideover.RowDone || r.Approved {
			t.Fatalf("the declined refund: %+v", r)
		}
		step(sale, replayed)
		much, little := submit("much", undoing(tideover.KindRefund, 500)), submit("little", undoing(tideover.KindRefund, 499))
		if r := step(much, claim(much)); r.Outcome.Code != "refund_exceeds_original" {
			t.Fatalf("a refund of more than is left: %+v", r)
		}
		if r := step(little, claim(little)); r.State != tideover.RowClaimed {
			t.Fatalf("a refund of what is left: %+v", r)
		}
	})
}

// A refund of which the copy knows that it is open, and the edge that it was approved, is accounted once.
func TestView_ReplayedRefundThatIsOpenInTheCopy(t *testing.T) {
	for name, c := range map[string]struct {
		as   tideover.State
		want ledger.Account
	}{
		"approved":  {stApproved, ledger.Account{Approved: 1299, Refunded: 500}},
		"declined":  {stDeclined, ledger.Account{Approved: 1299}},
		"cancelled": {stCancelled, ledger.Account{Approved: 1299}},
		"undone":    {stReversed, ledger.Account{Approved: 1299}},
	} {
		v := on(refund, original(approved...), claim(refund), lapse, forgetful)
		if v.Rows[1].Account.Refunding != 500 {
			t.Fatal("the refund holds nothing")
		}
		for range 2 {
			replay(refund, c.as, 12)(v)
			if v.Rows[1].Account != c.want {
				t.Errorf("%s: account %+v", name, v.Rows[1].Account)
			}
		}
	}
	// One that is to be undone since takes its amount until it is undone.
	v := on(refund, original(approved...), forgetful, cancelAgain(refund), replay(refund, stApproved, 12))
	if v.Rows[0].State != tideover.RowReversing || v.Rows[1].Account.Refunded != 500 {
		t.Errorf("%q, account %+v", v.Rows[0].State, v.Rows[1].Account)
	}
	if reverse(undone)(v); v.Rows[1].Account != (ledger.Account{Approved: 1299}) {
		t.Errorf("undone: account %+v", v.Rows[1].Account)
	}
}

// Of a refund whose sale no edge tells again it is known that the sale was approved, and nothing more can be refunded of it.
func TestView_RefundIsAWitnessOfItsSale(t *testing.T) {
	v := on(refund, forgetful, replay(refund, stApproved, 12), replayed)
	o := v.Rows[1]
	if o.State != tideover.RowDone || !o.Approved || o.Owed() || o.Account != (ledger.Account{Approved: 500, Refunded: 500}) {
		t.Fatalf("the sale: %+v", o)
	}
	more := on(submit("more", undoing(tideover.KindRefund, 1)))
	more.Rows[1] = o
	if claim(submit("more", undoing(tideover.KindRefund, 1)))(more); more.Rows[0].Outcome.Code != "refund_exceeds_original" {
		t.Errorf("one more refund: %+v", more.Rows[0])
	}
	late := newView(o)
	late.Store = v.Store
	if d := late.Claim(sale, current, lease); d.Verdict != ledger.Carry || late.Rows[0].Account.Left() != 799 || late.Rows[0].HubSeq != 21 {
		t.Errorf("the sale is sent again: %+v, %+v", d, late.Rows[0])
	}
	if d := late.Cancel(cancelOf(sale)); late.Rows[0].State != tideover.RowDone {
		t.Errorf("cancel of what was refunded: %+v", d)
	}
}

// A refund that is sent again may come before the edge has told its sale: it is asked about, and if the platform has executed it, it counts.
func TestView_RefundSentAgainIsAccountedThoughItsSaleIsLost(t *testing.T) {
	s := submit("refund", func(s *wire.Submit) { undoing(tideover.KindRefund, 500)(s); s.Again = true })
	v := on(s, forgetful, claim(s), record(ledger.Answer{Said: ledger.SaidApproved, Amount: 500, Currency: "CNY"}))
	o := newView(v.Rows[1])
	o.Store = v.Store
	replay(sale, stApproved, 12)(o)
	if a := o.Rows[0].Account; a != (ledger.Account{Approved: 1299, Refunded: 500}) {
		t.Errorf("account %+v", a)
	}
}
