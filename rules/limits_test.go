package rules

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"tideover"
)

// open is a view of what is accepted and not final, and of nothing else.
type open struct {
	ledger
	count  int
	amount map[string]int64
}

func (o open) Open() (int, map[string]int64) { return o.count, o.amount }

func taken(count int, amount map[string]int64) open {
	return open{ledger: ledger{incomplete: true}, count: count, amount: amount}
}

func TestLimits_Judge(t *testing.T) {
	limits := Limits{
		SaleMax: 10_000, SaleMin: 100, RefundMax: 5_000, RefundMin: 2, AdviceMax: 30_000, AdviceMin: 10, OfflineCountMax: 10, OfflineAmountMax: 50_000,
	}
	empty := taken(0, nil)
	full := taken(10, map[string]int64{"CNY": 1000})
	heavy := taken(9, map[string]int64{"CNY": 49_000, "USD": 10})
	for name, c := range map[string]struct {
		limits    Limits
		kind      tideover.Kind
		amount    int64
		currency  string
		view      View
		code      tideover.Code
		limit     int64
		remaining int64 // -1: none is told
	}{
		"a sale within":                    {limits, tideover.KindSale, 10_000, "CNY", empty, "", 0, 0},
		"a sale at the minimum":            {limits, tideover.KindSale, 100, "CNY", empty, "", 0, 0},
		"a sale above":                     {limits, tideover.KindSale, 10_001, "CNY", empty, tideover.CodeAmountAboveLimit, 10_000, -1},
		"a sale below":                     {limits, tideover.KindSale, 99, "CNY", empty, tideover.CodeAmountBelowMinimum, 100, -1},
		"a refund within":                  {limits, tideover.KindRefund, 5_000, "CNY", empty, "", 0, 0},
		"a refund above":                   {limits, tideover.KindRefund, 5_001, "CNY", empty, tideover.CodeAmountAboveLimit, 5_000, -1},
		"a refund below":                   {limits, tideover.KindRefund, 1, "CNY", empty, tideover.CodeAmountBelowMinimum, 2, -1},
		"an advice above":                  {limits, tideover.KindAdvice, 30_001, "CNY", empty, tideover.CodeAmountAboveLimit, 30_000, -1},
		"an advice below":                  {limits, tideover.KindAdvice, 9, "CNY", empty, tideover.CodeAmountBelowMinimum, 10, -1},
		"a reversal of any amount":         {limits, tideover.KindReversal, 90_000, "CNY", empty, "", 0, 0},
		"a small refund":                   {limits, tideover.KindRefund, 2, "CNY", empty, "", 0, 0},
		"an advice above sale_max":         {limits, tideover.KindAdvice, 20_000, "CNY", empty, "", 0, 0},
		"a sale when it is full":           {limits, tideover.KindSale, 200, "CNY", full, tideover.CodeOfflineLimit, 10, 0},
		"a refund when it is full":         {limits, tideover.KindRefund, 200, "CNY", full, tideover.CodeOfflineLimit, 10, 0},
		"an advice when it is full":        {limits, tideover.KindAdvice, 200, "CNY", full, tideover.CodeOfflineLimit, 10, 0},
		"a reversal when it is full":       {limits, tideover.KindReversal, 200, "CNY", full, "", 0, 0},
		"the sum just reached":             {limits, tideover.KindSale, 1000, "CNY", heavy, "", 0, 0},
		"the sum passed":                   {limits, tideover.KindSale, 1001, "CNY", heavy, tideover.CodeOfflineLimit, 50_000, 1000},
		"another currency's sum":           {limits, tideover.KindSale, 1001, "USD", heavy, "", 0, 0},
		"a sum that is passed already":     {limits, tideover.KindAdvice, 10, "CNY", taken(1, map[string]int64{"CNY": 60_000}), tideover.CodeOfflineLimit, 50_000, 0},
		"a reversal above the sum":         {limits, tideover.KindReversal, 9_000, "CNY", heavy, "", 0, 0},
		"no limits at all":                 {Limits{}, tideover.KindSale, AmountMax, "CNY", taken(1<<20, map[string]int64{"CNY": 1 << 60}), "", 0, 0},
		"a sum near the end of the number": {Limits{OfflineAmountMax: math.MaxInt64}, tideover.KindSale, AmountMax, "CNY", taken(1, map[string]int64{"CNY": math.MaxInt64 - 1}), tideover.CodeOfflineLimit, math.MaxInt64, 1},
	} {
		t.Run(name, func(t *testing.T) {
			press := Press{Request: tideover.Request{Kind: c.kind, Amount: c.amount, Currency: c.currency}}
			_, err := Rules{Limits: c.limits}.Judge(press, c.view)
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
			if refusal.Limit == nil || *refusal.Limit != c.limit {
				t.Errorf("limit %v, want %d", refusal.Limit, c.limit)
			}
			if told := refusal.Remaining != nil; told != (c.remaining >= 0) || told && *refusal.Remaining != c.remaining {
				t.Errorf("remaining %v, want %d", refusal.Remaining, c.remaining)
			}
			if (refusal.RetryAfter > 0) != (c.code == tideover.CodeOfflineLimit) {
				t.Errorf("retry after %s with %s", refusal.RetryAfter, c.code)
			}
		})
	}
}

// Whatever is taken, the exposure never passes the limits; and what would fit is never refused.
func TestLimits_ExposureStaysWithin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{OfflineCountMax: rapid.IntRange(0, 5).Draw(t, "count"), OfflineAmountMax: rapid.Int64Range(0, 1000).Draw(t, "amount")}
		view := taken(0, map[string]int64{})
		for range rapid.IntRange(1, 20).Draw(t, "requests") {
			r := tideover.Request{
				Kind:     rapid.SampledFrom([]tideover.Kind{tideover.KindSale, tideover.KindRefund, tideover.KindAdvice}).Draw(t, "kind"),
				Amount:   rapid.Int64Range(1, 400).Draw(t, "amount"),
				Currency: rapid.SampledFrom([]string{"CNY", "USD"}).Draw(t, "currency"),
			}
			fits := (limits.OfflineCountMax == 0 || view.count+1 <= limits.OfflineCountMax) &&
				(limits.OfflineAmountMax == 0 || view.amount[r.Currency]+r.Amount <= limits.OfflineAmountMax)
			if _, err := (Rules{Limits: limits}).Judge(Press{Request: r}, view); (err == nil) != fits {
				t.Fatalf("%+v over %+v with %+v: %v, fits: %v", r, view, limits, err, fits)
			}
			if fits {
				view.count++
				view.amount[r.Currency] += r.Amount
			}
		}
	})
}
