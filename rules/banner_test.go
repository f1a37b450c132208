package rules

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tideover"
)

func TestLimits_Reached(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		count  int
		amount map[string]int64
		full   bool
		word   string
	}{
		"no limit":                     {Limits{}, 1 << 20, map[string]int64{"CNY": 1 << 40}, false, ""},
		"one below":                    {Limits{OfflineCountMax: 3}, 2, nil, false, ""},
		"as many as may be":            {Limits{OfflineCountMax: 3}, 3, nil, true, "offline_count_max"},
		"a unit below":                 {Limits{OfflineAmountMax: 100}, 1, map[string]int64{"CNY": 99}, false, ""},
		"the whole sum":                {Limits{OfflineAmountMax: 100}, 1, map[string]int64{"CNY": 100}, true, "CNY"},
		"above, of a larger limit":     {Limits{OfflineAmountMax: 100}, 1, map[string]int64{"CNY": 150}, true, "offline_amount_max"},
		"one of two currencies":        {Limits{OfflineAmountMax: 100}, 2, map[string]int64{"CNY": 100, "USD": 5}, false, "in CNY has"},
		"both":                         {Limits{OfflineAmountMax: 100}, 2, map[string]int64{"CNY": 100, "USD": 100}, true, "CNY, USD"},
		"a currency that is over":      {Limits{OfflineAmountMax: 100}, 2, map[string]int64{"CNY": 100, "USD": 0}, true, "CNY"},
		"the count before the amounts": {Limits{OfflineCountMax: 2, OfflineAmountMax: 100}, 2, map[string]int64{"CNY": 100}, true, "offline_count_max"},
	} {
		full, why := c.limits.Reached(c.count, c.amount)
		if full != c.full || !strings.Contains(why.En, c.word) || (why.En == "") != (c.word == "") {
			t.Errorf("%s: %v, %q", name, full, why.En)
		}
		if why.En != "" {
			bothLanguages(t, why)
		}
	}
}

// A banner that says "full" is never wrong: no sale of a currency that is open would be taken then.
func TestLimits_ReachedAgreesWithTheJudgement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{OfflineCountMax: rapid.IntRange(0, 3).Draw(t, "count max"), OfflineAmountMax: rapid.Int64Range(0, 50).Draw(t, "amount max")}
		view := open{count: rapid.IntRange(0, 4).Draw(t, "count"), amount: map[string]int64{}}
		for _, currency := range []string{"CNY", "USD"} {
			if sum := rapid.Int64Range(0, 60).Draw(t, currency); sum > 0 {
				view.amount[currency] = sum
			}
		}
		full, _ := limits.Reached(view.count, view.amount)
		taken := len(view.amount) == 0 && limits.judgeExposure(tideover.Request{Kind: tideover.KindSale, Amount: 1, Currency: "CNY"}, view) == nil
		for currency := range view.amount {
			taken = taken || limits.judgeExposure(tideover.Request{Kind: tideover.KindSale, Amount: 1, Currency: currency}, view) == nil
		}
		if full == taken {
			t.Fatalf("full: %v, and a sale of one unit is taken: %v", full, taken)
		}
	})
}
