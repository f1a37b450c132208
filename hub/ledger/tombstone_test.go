package ledger_test

import (
	"reflect"
	"testing"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// A replaced router has no record of a sale that its predecessor brought to an end and another till has refunded. The key is pressed
// again, expires there unsent, and the tombstone must not undo the whole of what was refunded in part.
func TestView_TombstoneOfARefundedSale(t *testing.T) {
	bury := wire.Expire{Submit: sale, Outcome: tideover.StateExpired}

	v := on(sale, approved...)
	v.Rows[0].Account.Refunding = 500
	before := v.Rows[0]
	if d := v.Expire(bury); d.Verdict != ledger.Wait || !reflect.DeepEqual(before, v.Rows[0]) {
		t.Errorf("during a refund: %+v, row %+v", d, v.Rows[0])
	}

	v.Rows[0].Account = ledger.Account{Approved: 1299, Refunded: 500}
	for _, when := range []string{"after a refund", "told again"} {
		if d := v.Expire(bury); d.Verdict != ledger.Carry || v.Rows[0].State != tideover.RowManual {
			t.Errorf("%s: %+v, row %q (%s)", when, d, v.Rows[0].State, v.Rows[0].Why)
		}
	}

	v = on(sale, approved...)
	v.Expire(bury)
	if v.Rows[0].State != tideover.RowReversing {
		t.Errorf("without a refund: %q", v.Rows[0].State)
	}
}
