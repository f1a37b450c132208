package ledger_test

import (
	"testing"

	"tideover"
	"tideover/hub/ledger"
)

// Answers carry amount and currency: an approval that leaves one out is not over the right ones.
func TestView_ApprovalThatNamesNoMoneyIsNotBelieved(t *testing.T) {
	for name, a := range map[string]ledger.Answer{
		"neither":     {Said: ledger.SaidApproved},
		"no amount":   {Said: ledger.SaidApproved, Currency: "CNY"},
		"no currency": {Said: ledger.SaidApproved, Amount: 1299},
	} {
		r := on(sale, claim(sale), record(a)).Rows[0]
		if r.State != tideover.RowReversing || !r.Corrected {
			t.Errorf("%s: %q (%s)", name, r.State, r.Why)
		}
	}
}
