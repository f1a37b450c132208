package rules

import (
	"fmt"
	"time"

	"tideover"
)

// Limits are the shop's own bounds, `[limits]` of the configuration. Amounts are minor units of the request's own currency; 0 is
// no bound.
type Limits struct {
	SaleMax          int64         `toml:"sale_max"`
	SaleMin          int64         `toml:"sale_min"`
	RefundMax        int64         `toml:"refund_max"`
	RefundMin        int64         `toml:"refund_min"`
	AdviceMax        int64         `toml:"advice_max"`
	AdviceMin        int64         `toml:"advice_min"`
	RefundWindow     time.Duration `toml:"refund_window"`      // how long after its sale a refund is taken
	OfflineCountMax  int           `toml:"offline_count_max"`  // accepted and not final, all kinds
	OfflineAmountMax int64         `toml:"offline_amount_max"` // sum of the same, of one currency
	OfflineAgeMax    time.Duration `toml:"offline_age_max"`    // past it an alarm; nothing is stopped
}

// DefaultLimits are those of a shop that has configured none.
func DefaultLimits() Limits {
	return Limits{OfflineCountMax: 1000, OfflineAgeMax: 72 * time.Hour}
}

// RetryOffline is advised to a till that meets an offline limit: the hub may be back by then.
const RetryOffline = 10 * time.Second

// bounds are what one transaction of a kind may be over; 0 is no bound.
type bounds struct {
	key       string // in the configuration, without its _min or _max
	name      tideover.Text
	min, max  int64
	otherwise [2]tideover.Text // what to do with less, and with more
}

// of returns the bounds of a kind; false where it has none.
func (l Limits) of(k tideover.Kind) (b bounds, bounded bool) {
	cash := tideover.Text{En: "take it in cash", Zh: "请收现金"}
	switch k {
	case tideover.KindSale:
		rest := tideover.Text{En: "take the rest another way", Zh: "其余请以其他方式收取"}
		return bounds{"sale", tideover.Text{En: "sale", Zh: "消费"}, l.SaleMin, l.SaleMax, [2]tideover.Text{cash, rest}}, true
	case tideover.KindRefund:
		back := tideover.Text{En: "give it back in cash", Zh: "请以现金退还"}
		rest := tideover.Text{En: "give the rest back another way", Zh: "其余请以其他方式退还"}
		return bounds{"refund", tideover.Text{En: "refund", Zh: "退款"}, l.RefundMin, l.RefundMax, [2]tideover.Text{back, rest}}, true
	case tideover.KindAdvice:
		book := tideover.Text{En: "enter it by hand", Zh: "请手工登记"}
		return bounds{"advice", tideover.Text{En: "advice", Zh: "通知"}, l.AdviceMin, l.AdviceMax, [2]tideover.Text{book, book}}, true
	case tideover.KindNone, tideover.KindReversal:
	}
	return b, false
}

// judgeAmount looks at the request by itself.
func (l Limits) judgeAmount(r tideover.Request) error {
	b, bounded := l.of(r.Kind)
	refuse := func(code tideover.Code, en, zh string, limit int64, or tideover.Text, suffix string) error {
		allowed := tideover.Money(limit, r.Currency)
		refusal := &tideover.Refusal{Code: code, Limit: &limit, Detail: tideover.Text{
			En: fmt.Sprintf(en, b.name.En, allowed, or.En, b.key+suffix), Zh: fmt.Sprintf(zh, b.name.Zh, allowed, or.Zh, b.key+suffix),
		}}
		return refusal
	}
	switch {
	case !bounded:
	case b.max != 0 && r.Amount > b.max:
		return refuse(tideover.CodeAmountAboveLimit, "one %s is at most %s here; %s, or ask the shop's owner (limits.%s)",
			"本店单笔%s上限为 %s；%s，或联系店主（limits.%s）", b.max, b.otherwise[1], "_max")
	case r.Amount < b.min:
		return refuse(tideover.CodeAmountBelowMinimum, "one %s is at least %s here; %s, or ask the shop's owner (limits.%s)",
			"本店单笔%s下限为 %s；%s，或联系店主（limits.%s）", b.min, b.otherwise[0], "_min")
	}
	return nil
}

// judgeExposure looks at what the shop has taken on and does not yet know the end of. A reversal only lowers it.
func (l Limits) judgeExposure(r tideover.Request, v View) error {
	if r.Kind == tideover.KindReversal {
		return nil
	}
	count, amount := v.Open()
	if l.OfflineCountMax != 0 && count >= l.OfflineCountMax {
		return offline(int64(l.OfflineCountMax), 0,
			"%d transactions have no end yet, %d are allowed, and no more are taken until the hub has answered some; take cash meanwhile (limits.offline_count_max)",
			"已有 %d 笔交易尚无结果，上限为 %d 笔；在中心答复之前不再受理；请先收现金（limits.offline_count_max）", count, l.OfflineCountMax)
	}
	if open := amount[r.Currency]; l.OfflineAmountMax != 0 && (open > l.OfflineAmountMax || r.Amount > l.OfflineAmountMax-open) {
		left := max(0, l.OfflineAmountMax-open)
		return offline(l.OfflineAmountMax, left,
			"transactions over %[1]s have no end yet; %[3]s are allowed, so %[2]s more may be taken until the hub has answered some; take cash meanwhile (limits.offline_amount_max)",
			"尚无结果的交易合计 %[1]s，上限为 %[3]s；在中心答复之前最多还可受理 %[2]s；请先收现金（limits.offline_amount_max）",
			tideover.Money(open, r.Currency), tideover.Money(left, r.Currency), tideover.Money(l.OfflineAmountMax, r.Currency))
	}
	return nil
}

func offline(limit, remaining int64, en, zh string, args ...any) error {
	refusal := tideover.Refuse(tideover.CodeOfflineLimit, en, zh, args...)
	refusal.Limit, refusal.Remaining, refusal.RetryAfter = &limit, &remaining, RetryOffline
	return refusal
}
