package rules

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tideover"
)

var saleID, otherID = tideover.ID{1}, tideover.ID{2}

// sold is a sale of 10.00 CNY that stands at a state.
func sold(state tideover.State) entry {
	return entry{Transaction: tideover.Transaction{ID: saleID, Kind: tideover.KindSale, Amount: 1000, Currency: "CNY", State: state, TerminalUID: "till-1"}}
}

// undoing is a refund or reversal of that sale.
func undoing(n byte, kind tideover.Kind, amount int64, state tideover.State) entry {
	return entry{Transaction: tideover.Transaction{
		ID: tideover.ID{9, n}, Kind: kind, Amount: amount, Currency: "CNY", State: state, Original: saleID, TerminalUID: "till-2",
	}}
}

func TestLimits_Originals(t *testing.T) {
	approved, refund, reversal := sold(tideover.StateApproved), tideover.KindRefund, tideover.KindReversal
	of := func(state tideover.State) []entry { return []entry{sold(state)} }
	part := func(amount int64, state tideover.State) entry { return undoing(1, refund, amount, state) }
	is := func(change func(*entry)) []entry {
		e := approved
		change(&e)
		return []entry{e}
	}
	window := Limits{RefundWindow: time.Hour}
	for name, c := range map[string]struct {
		kind      tideover.Kind
		amount    int64
		past      []entry
		code      tideover.Code
		remaining int64 // -1: none is told
	}{
		"all of it":                       {refund, 1000, of(tideover.StateApproved), "", -1},
		"more than it":                    {refund, 1001, of(tideover.StateApproved), tideover.CodeRefundExceedsOriginal, 1000},
		"the rest":                        {refund, 400, []entry{approved, part(600, tideover.StateApproved)}, "", -1},
		"more than the rest":              {refund, 401, []entry{approved, part(600, tideover.StateApproved)}, tideover.CodeRefundExceedsOriginal, 400},
		"beside an open one":              {refund, 401, []entry{approved, part(600, tideover.StateInDoubt)}, tideover.CodeRefundExceedsOriginal, 400},
		"beside one that needs a person":  {refund, 401, []entry{approved, part(600, tideover.StateManual)}, tideover.CodeRefundExceedsOriginal, 400},
		"beside one that is being undone": {refund, 401, []entry{approved, part(600, tideover.StateReversing)}, tideover.CodeRefundExceedsOriginal, 400},
		"after one that was declined":     {refund, 1000, []entry{approved, part(600, tideover.StateDeclined)}, "", -1},
		"after one that was cancelled":    {refund, 1000, []entry{approved, part(600, tideover.StateCancelled)}, "", -1},
		"after one that was reversed":     {refund, 1000, []entry{approved, part(600, tideover.StateReversed)}, "", -1},
		"both, open and approved": {
			refund, 301,
			[]entry{approved, part(600, tideover.StateApproved), undoing(2, refund, 100, tideover.StateQueued)},
			tideover.CodeRefundExceedsOriginal, 300,
		},
		"more than all is gone":             {refund, 1, []entry{approved, part(1200, tideover.StateApproved)}, tideover.CodeRefundExceedsOriginal, 0},
		"all of it, again":                  {refund, 1000, []entry{approved, part(1000, tideover.StateApproved)}, tideover.CodeRefundExceedsOriginal, 0},
		"all of it is on its way":           {refund, 1, []entry{approved, part(1000, tideover.StateQueued)}, tideover.CodeRefundExceedsOriginal, 0},
		"a reversal after all of it":        {reversal, 0, []entry{approved, part(1000, tideover.StateApproved)}, tideover.CodeRefundExceedsOriginal, 0},
		"of what is queued":                 {refund, 1000, of(tideover.StateQueued), "", -1},
		"of what is held":                   {refund, 1000, of(tideover.StateHeld), "", -1},
		"of what is sent":                   {refund, 1000, of(tideover.StateSent), "", -1},
		"of what is pending":                {refund, 1000, of(tideover.StatePending), "", -1},
		"of what is in doubt":               {refund, 1000, of(tideover.StateInDoubt), "", -1},
		"of what needs a person":            {refund, 1000, of(tideover.StateManual), "", -1},
		"of what is open, more than it":     {refund, 1001, of(tideover.StateSent), tideover.CodeRefundExceedsOriginal, 1000},
		"of what is being undone":           {refund, 1000, of(tideover.StateReversing), tideover.CodeOriginalNotApproved, -1},
		"of what was declined":              {refund, 1000, of(tideover.StateDeclined), tideover.CodeOriginalNotApproved, -1},
		"of what has expired":               {refund, 1000, of(tideover.StateExpired), tideover.CodeOriginalNotApproved, -1},
		"of what was cancelled":             {refund, 1000, of(tideover.StateCancelled), tideover.CodeOriginalNotApproved, -1},
		"of what was reversed":              {refund, 1000, of(tideover.StateReversed), tideover.CodeOriginalNotApproved, -1},
		"beside an open reversal":           {refund, 1, []entry{approved, undoing(1, reversal, 0, tideover.StateSent)}, tideover.CodeOriginalNotApproved, -1},
		"after a reversal that failed":      {refund, 1, []entry{approved, undoing(1, reversal, 0, tideover.StateDeclined)}, "", -1},
		"of an advice":                      {refund, 1000, is(func(e *entry) { e.Kind = tideover.KindAdvice }), "", -1},
		"of a refund":                       {refund, 1000, is(func(e *entry) { e.Kind = refund }), tideover.CodeOriginalNotApproved, -1},
		"of a reversal":                     {refund, 1000, is(func(e *entry) { e.Kind = reversal }), tideover.CodeOriginalNotApproved, -1},
		"of a barred key":                   {refund, 1000, is(func(e *entry) { e.Kind, e.State = 0, tideover.StateCancelled }), tideover.CodeOriginalNotApproved, -1},
		"in another currency":               {refund, 1000, is(func(e *entry) { e.Currency = "USD" }), tideover.CodeOriginalNotApproved, -1},
		"of what nobody sold":               {refund, 1000, nil, tideover.CodeOriginalUnknown, -1},
		"at the end of the window":          {refund, 1000, is(func(e *entry) { e.at = -time.Hour }), "", -1},
		"after the window":                  {refund, 1000, is(func(e *entry) { e.at = -time.Hour - time.Second }), tideover.CodeRefundWindowClosed, -1},
		"by a clock that went back":         {refund, 1000, is(func(e *entry) { e.at = time.Hour }), "", -1},
		"a reversal":                        {reversal, 0, of(tideover.StateApproved), "", -1},
		"a reversal, any age":               {reversal, 0, is(func(e *entry) { e.at = -9 * time.Hour }), "", -1},
		"a reversal of what is open":        {reversal, 1000, of(tideover.StateSent), "", -1},
		"a reversal of what is undone":      {reversal, 1000, of(tideover.StateReversed), "", -1},
		"a reversal of what never was":      {reversal, 0, of(tideover.StateDeclined), "", -1},
		"a second reversal":                 {reversal, 0, []entry{approved, undoing(1, reversal, 0, tideover.StateApproved)}, "", -1},
		"a reversal of a part":              {reversal, 999, of(tideover.StateApproved), tideover.CodeOriginalNotApproved, -1},
		"a reversal beside an open refund":  {reversal, 0, []entry{approved, part(600, tideover.StateSent)}, "", -1},
		"a reversal after a refund":         {reversal, 0, []entry{approved, part(600, tideover.StateApproved)}, tideover.CodeRefundExceedsOriginal, 400},
		"a reversal after the least refund": {reversal, 0, []entry{approved, part(1, tideover.StateApproved)}, tideover.CodeRefundExceedsOriginal, 999},
		"a reversal of a refund":            {reversal, 0, is(func(e *entry) { e.Kind = refund }), "", -1},
		"a reversal of a barred key":        {reversal, 0, is(func(e *entry) { e.Kind, e.State, e.Currency = 0, tideover.StateCancelled, "" }), tideover.CodeOriginalNotApproved, -1},
		"a reversal of a reversal":          {reversal, 0, is(func(e *entry) { e.Kind = reversal }), tideover.CodeOriginalNotApproved, -1},
		"a reversal of what nobody sold":    {reversal, 0, nil, tideover.CodeOriginalUnknown, -1},
	} {
		t.Run(name, func(t *testing.T) {
			press := Press{Request: tideover.Request{Kind: c.kind, Amount: c.amount, Currency: "CNY", Original: saleID}, TerminalUID: "till-3"}
			if c.amount == 0 {
				press.Currency = "" // as a till leaves both out
			}
			_, err := Rules{Limits: window}.Judge(press, ledger{all: c.past})
			if c.code == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			refusal, ok := errors.AsType[*tideover.Refusal](err)
			if !ok || refusal.Code != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			bothLanguages(t, refusal.Detail)
			if told := refusal.Remaining != nil; told != (c.remaining >= 0) || told && (*refusal.Remaining != c.remaining || *refusal.Limit != 1000) {
				t.Errorf("limit %v, remaining %v, want %d", refusal.Limit, refusal.Remaining, c.remaining)
			}
			// A cashier who reads "at most 0.00 is left; refund that" tries on.
			if c.remaining == 0 && (strings.Contains(refusal.Detail.En, "at most") || !strings.Contains(refusal.Detail.En, "nothing is left")) {
				t.Errorf("nothing is left, and it says %q", refusal.Detail.En)
			}
			if c.past == nil {
				if _, err := (Rules{}).Judge(press, ledger{incomplete: true}); err != nil {
					t.Errorf("the hub may know it: %v", err)
				}
			}
		})
	}
}

// In whatever order refunds of some sales come and end, what is given back of a sale and what may be is never above it, and nothing that fits is
// refused.
func TestRules_RefundsStayWithinTheirSale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		book := ledger{}
		amounts, held := map[tideover.ID]int64{}, map[tideover.ID]int64{} // the reference
		for i := range rapid.IntRange(1, 3).Draw(t, "sales") {
			id := tideover.ID{byte(i + 1)}
			amounts[id] = rapid.Int64Range(1, 1000).Draw(t, "sold")
			book.all = append(book.all, entry{Transaction: tideover.Transaction{
				ID: id, Kind: tideover.KindSale, Amount: amounts[id], Currency: "CNY", State: tideover.StateApproved,
			}})
		}
		sales := len(book.all)
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			if n := len(book.all); n > sales && rapid.Bool().Draw(t, "end one") {
				e := &book.all[rapid.IntRange(sales, n-1).Draw(t, "which")]
				if !e.Final() {
					e.State = rapid.SampledFrom([]tideover.State{tideover.StateApproved, tideover.StateDeclined, tideover.StateReversed}).Draw(t, "end")
					if e.State != tideover.StateApproved {
						held[e.Original] -= e.Amount
					}
				}
				continue
			}
			of := book.all[rapid.IntRange(0, sales-1).Draw(t, "of")].ID
			amount := rapid.Int64Range(1, 600).Draw(t, "amount")
			press := Press{Request: tideover.Request{Kind: tideover.KindRefund, Amount: amount, Currency: "CNY", Original: of}}
			_, err := Rules{}.Judge(press, book)
			if fits := held[of]+amount <= amounts[of]; fits != (err == nil) {
				t.Fatalf("%d of %d, %d held: %v", amount, amounts[of], held[of], err)
			}
			if refusal, ok := errors.AsType[*tideover.Refusal](err); ok {
				if *refusal.Limit != amounts[of] || *refusal.Remaining != amounts[of]-held[of] {
					t.Fatalf("limit %d, remaining %d; want %d and %d", *refusal.Limit, *refusal.Remaining, amounts[of], amounts[of]-held[of])
				}
				continue
			}
			held[of] += amount
			book.all = append(book.all, entry{Transaction: tideover.Transaction{
				ID: tideover.ID{100, byte(i)}, Kind: tideover.KindRefund, Amount: amount, Currency: "CNY", Original: of, State: tideover.StateSent,
			}})
		}
	})
}
