package rules

import (
	"sort"
	"strings"

	"tideover"
)

// Reached says whether the exposure leaves no room for a sale of any amount, and in words what is used up: the banner of a till. Where
// only some of the currencies that are open have no room left, it has words and room all the same.
func (l Limits) Reached(count int, amount map[string]int64) (full bool, why tideover.Text) {
	if l.OfflineCountMax != 0 && count >= l.OfflineCountMax {
		return true, tideover.Textf("%d transactions have no end yet, and no more are taken until the hub has answered some. Take cash meanwhile (limits.offline_count_max).",
			"已有 %d 笔交易尚无结果，在中心答复之前不再受理。请先收现金（limits.offline_count_max）。", count)
	}
	if l.OfflineAmountMax == 0 {
		return false, tideover.Text{}
	}
	var spent []string
	for currency, open := range amount {
		if open >= l.OfflineAmountMax {
			spent = append(spent, currency)
		}
	}
	if len(spent) == 0 {
		return false, tideover.Text{}
	}
	sort.Strings(spent)
	open := 0
	for _, sum := range amount {
		if sum > 0 {
			open++
		}
	}
	return len(spent) >= open, tideover.Textf(
		"What has no end yet in %[1]s has reached the limit of %[2]d minor units, and no more of it is taken until the hub has answered some. Take cash meanwhile (limits.offline_amount_max).",
		"尚无结果的 %[1]s 交易已达上限 %[2]d（最小货币单位），在中心答复之前不再受理。请先收现金（limits.offline_amount_max）。",
		strings.Join(spent, ", "), l.OfflineAmountMax)
}
