package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tideover"
)

func TestMalformedSettlement(t *testing.T) {
	total := func(kind tideover.Kind, currency string) tideover.SettlementTotal {
		return tideover.SettlementTotal{Kind: kind, Currency: currency, Count: 1, Amount: 1}
	}
	item := func(n byte, change ...func(*tideover.SettlementItem)) tideover.SettlementItem {
		it := tideover.SettlementItem{ID: tideover.ID{n}, Kind: tideover.KindSale, Amount: 1, Currency: "CNY", State: tideover.StateApproved}
		for _, c := range change {
			c(&it)
		}
		return it
	}
	for name, tc := range map[string]struct {
		s    tideover.Settlement
		want []string
	}{
		"nothing": {tideover.Settlement{}, nil},
		"well": {tideover.Settlement{
			From: 1, To: 2, Totals: []tideover.SettlementTotal{total(tideover.KindSale, "CNY"), total(tideover.KindSale, "JPY"), total(tideover.KindRefund, "CNY")},
			Items: []tideover.SettlementItem{item(1), item(2)},
		}, nil},
		"a reversal that left out its amount": {tideover.Settlement{Items: []tideover.SettlementItem{item(1, func(i *tideover.SettlementItem) {
			i.Kind, i.Amount, i.Currency = tideover.KindReversal, 0, ""
		})}}, nil},
		"turned around": {tideover.Settlement{From: 2, To: 2}, []string{"to"}},
		"sums": {tideover.Settlement{Totals: []tideover.SettlementTotal{
			total(tideover.KindNone, "CNY"), total(tideover.KindSale, "cny"), total(tideover.KindReversal, "CNY"), total(tideover.KindAdvice, "USD"), total(tideover.KindAdvice, "USD"),
		}}, []string{"totals[0].kind", "totals[1].currency", "totals[2].kind", "totals[4].kind"}},
		"items": {tideover.Settlement{Items: []tideover.SettlementItem{
			item(1, func(i *tideover.SettlementItem) { i.Kind = tideover.KindNone }), item(2, func(i *tideover.SettlementItem) { i.Amount = 0 }),
			item(3, func(i *tideover.SettlementItem) { i.Amount = AmountMax + 1 }), item(4, func(i *tideover.SettlementItem) { i.Currency = "" }), item(4),
		}}, []string{"items[0].kind", "items[1].amount", "items[2].amount", "items[3].currency", "items[4].id"}},
	} {
		err := MalformedSettlement(&tc.s)
		r, refused := errors.AsType[*tideover.Refusal](err)
		var have []string
		if refused {
			for _, f := range r.Fields {
				have = append(have, f.Field)
				if f.Detail.En == "" || f.Detail.Zh == "" || strings.Contains(fmt.Sprint(f.Detail), "%!") {
					t.Errorf("%s: %+v", name, f)
				}
			}
		}
		if (err == nil) != (tc.want == nil) || !slices.Equal(have, tc.want) {
			t.Errorf("%s: have %v (%v), want %v", name, have, err, tc.want)
		}
	}
	many := tideover.Settlement{Items: make([]tideover.SettlementItem, 5000)}
	if r, ok := errors.AsType[*tideover.Refusal](MalformedSettlement(&many)); !ok || len(r.Fields) != settlementFaultsMax {
		t.Errorf("many: %v", r)
	}
}
