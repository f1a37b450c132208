package rules

import (
	"time"

	"tideover"
)

// Limits are the shop's own bounds, `[limits]` of the configuration. Amounts are minor units of the request's own currency; 0 is
// no bound.
type Limits struct {
	SaleMax          int64         `toml:"sale_max"`
	SaleMin          int64         `toml:"sale_min"`
	RefundMax        int64         `toml:"refund_max"`
	RefundWindow     time.Duration `toml:"refund_window"`
	OfflineCountMax  int           `toml:"offline_count_max"`  // accepted and not final, all kinds
	OfflineAmountMax int64         `toml:"offline_amount_max"` // sum of the same, of one currency
	OfflineAgeMax    time.Duration `toml:"offline_age_max"`    // past it an alarm; nothing is stopped
}

// DefaultLimits are those of a shop that has configured none.
func DefaultLimits() Limits {
	return Limits{OfflineCountMax: 1000, OfflineAgeMax: 72 * time.Hour}
}

// LimitError is a limit that no shop can mean.
type LimitError struct {
	Key  string // as in the file: "limits.sale_min"
	Text tideover.Text
}

// Error implements error, in English.
func (e *LimitError) Error() string { return e.Key + ": " + e.Text.En }

// Validate says what is wrong with the first limit that is, as a [*LimitError].
func (l Limits) Validate() error {
	for _, bound := range []struct {
		key   string
		value int64
	}{
		{"sale_max", l.SaleMax},
		{"sale_min", l.SaleMin},
		{"refund_max", l.RefundMax},
		{"refund_window", int64(l.RefundWindow)},
		{"offline_count_max", int64(l.OfflineCountMax)},
		{"offline_amount_max", l.OfflineAmountMax},
		{"offline_age_max", int64(l.OfflineAgeMax)},
	} {
		if bound.value < 0 {
			return &LimitError{"limits." + bound.key, tideover.Text{En: "is below 0; 0 means no limit", Zh: "小于 0；0 表示不限"}}
		}
	}
	if l.SaleMax != 0 && l.SaleMin > l.SaleMax {
		return &LimitError{"limits.sale_min", tideover.Textf("%d is above limits.sale_max, %d: no sale would be taken",
			"%d 大于 limits.sale_max（%d）：任何消费都不会被受理", l.SaleMin, l.SaleMax)}
	}
	return nil
}

// View is what the rules see of the queue, as of the accept that is being decided.
type View interface {
	// Open returns how many transactions are accepted and not final, and the sum of their amounts in minor units by currency.
	Open() (count int, amount map[string]int64)
}

// RetryOffline is advised to a till that meets an offline limit: the hub may be back by then.
const RetryOffline = 10 * time.Second

// Judge holds a well-formed request against the limits. It returns a [*tideover.Refusal], or nil where r may be taken.
func (l Limits) Judge(r tideover.Request, v View) error {
	if err := l.judgeAmount(r); err != nil {
		return err
	}
	return l.judgeExposure(r, v)
}

// judgeAmount looks at the request by itself.
func (l Limits) judgeAmount(r tideover.Request) error {
	switch r.Kind {
	case tideover.KindSale:
		if l.SaleMax != 0 && r.Amount > l.SaleMax {
			return above(l.SaleMax, "a sale is at most %d minor units here; take the rest another way, or ask the shop's owner (limits.sale_max)",
				"本店单笔消费上限为 %d（最小货币单位）；请以其他方式收取，或联系店主（limits.sale_max）")
		}
		if r.Amount < l.SaleMin {
			refusal := tideover.Refuse(tideover.CodeAmountBelowMinimum,
				"a sale is at least %d minor units here; take it in cash, or ask the shop's owner (limits.sale_min)",
				"本店单笔消费下限为 %d（最小货币单位）；请收现金，或联系店主（limits.sale_min）", l.SaleMin)
			refusal.Limit = &l.SaleMin
			return refusal
		}
	case tideover.KindRefund:
		if l.RefundMax != 0 && r.Amount > l.RefundMax {
			return above(l.RefundMax, "a refund is at most %d minor units here; ask the shop's owner (limits.refund_max)",
				"本店单笔退款上限为 %d（最小货币单位）；请联系店主（limits.refund_max）")
		}
	case tideover.KindNone, tideover.KindReversal, tideover.KindAdvice:
	}
	return nil
}

func above(limit int64, en, zh string) error {
	refusal := tideover.Refuse(tideover.CodeAmountAboveLimit, en, zh, limit)
	refusal.Limit = &limit
	return refusal
}

// judgeExposure looks at what the shop has taken on and does not yet know the end of. A reversal only lowers it.
func (l Limits) judgeExposure(r tideover.Request, v View) error {
	if r.Kind == tideover.KindReversal {
		return nil
	}
	count, amount := v.Open()
	if l.OfflineCountMax != 0 && count >= l.OfflineCountMax {
		return offline(int64(l.OfflineCountMax), 0,
			"%d transactions have no end yet, and no more are taken until the hub has answered some; take cash meanwhile (limits.offline_count_max)",
			"已有 %d 笔交易尚无结果；在中心答复之前不再受理；请先收现金（limits.offline_count_max）", count)
	}
	if open := amount[r.Currency]; l.OfflineAmountMax != 0 && (open > l.OfflineAmountMax || r.Amount > l.OfflineAmountMax-open) {
		left := max(0, l.OfflineAmountMax-open)
		return offline(l.OfflineAmountMax, left,
			"transactions of %[1]d minor units of %[2]s have no end yet, and %[3]d more may be taken until the hub has answered some; take cash meanwhile (limits.offline_amount_max)",
			"尚无结果的 %[2]s 交易合计 %[1]d（最小货币单位），在中心答复之前最多还可受理 %[3]d；请先收现金（limits.offline_amount_max）",
			open, r.Currency, left)
	}
	return nil
}

func offline(limit, remaining int64, en, zh string, args ...any) error {
	refusal := tideover.Refuse(tideover.CodeOfflineLimit, en, zh, args...)
	refusal.Limit, refusal.Remaining, refusal.RetryAfter = &limit, &remaining, RetryOffline
	return refusal
}
