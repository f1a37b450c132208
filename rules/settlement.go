package rules

import (
	"fmt"

	"tideover"
)

// settlementFaultsMax is how many wrong fields of a report are named.
const settlementFaultsMax = 20

// MalformedSettlement returns a [*tideover.Refusal] of invalid_request that names the fields of a till's report which no till may send, the
// first of them at least; nil where all are well. Every item bears its id.
func MalformedSettlement(s *tideover.Settlement) error {
	var bad faults
	if s.From != 0 && s.To != 0 && s.From >= s.To {
		bad.add("to", "must be after from", "必须晚于 from")
	}
	type class struct {
		kind     tideover.Kind
		currency string
	}
	sums := map[class]bool{}
	for i, t := range s.Totals {
		at := fmt.Sprintf("totals[%d].", i)
		bad.settled(at, t.Kind, t.Currency, false)
		if t.Kind == tideover.KindReversal {
			bad.add(at+"kind", "a reversal has no sum of its own: what it undid no longer counts; leave it out", "撤销没有单独的合计：被撤销的交易不再计入；请去掉")
		}
		if sums[class{t.Kind, t.Currency}] {
			bad.add(at+"kind", "%s in %s is given twice", "%s（%s）重复出现", t.Kind, t.Currency)
		}
		sums[class{t.Kind, t.Currency}] = true
	}
	seen := make(map[tideover.ID]int, len(s.Items))
	for i := range s.Items {
		if len(bad) >= settlementFaultsMax {
			break
		}
		it := &s.Items[i]
		at := fmt.Sprintf("items[%d].", i)
		reversal := it.Kind == tideover.KindReversal
		bad.settled(at, it.Kind, it.Currency, reversal)
		switch {
		case it.Amount > AmountMax:
			bad.add(at+"amount", "must be at most %d minor units", "不得超过 %d（最小货币单位）", int64(AmountMax))
		case it.Amount <= 0 && !reversal:
			bad.add(at+"amount", "must be above 0, in minor units (1299 is 12.99)", "必须大于 0，以最小货币单位计（1299 即 12.99）")
		}
		if first, twice := seen[it.ID]; twice {
			bad.add(at+"id", "names the same transaction as items[%d]", "与 items[%d] 是同一笔交易", first)
		}
		seen[it.ID] = i
	}
	if len(bad) > settlementFaultsMax {
		bad = bad[:settlementFaultsMax]
	}
	return bad.refusal()
}

// settled judges kind and currency of a sum or an item.
func (f *faults) settled(at string, kind tideover.Kind, currency string, mayLack bool) {
	if kind == tideover.KindNone {
		f.add(at+"kind", "is missing; it is sale, refund, reversal or advice", "缺少；应为 sale、refund、reversal 或 advice")
	}
	if !(currency == "" && mayLack) && !IsCurrency(currency) {
		f.add(at+"currency", "must be a code of ISO 4217 in capitals, such as CNY", "必须是大写的 ISO 4217 货币代码，例如 CNY")
	}
}
