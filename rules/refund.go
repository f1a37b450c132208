package rules

import (
	"time"

	"tideover"
)

// judgeOriginal holds a refund or reversal against the transaction that it undoes: of any till, ended or open. What is open is waited for. What
// the hub knows beyond this journal, its ledger holds against it.
func (l Limits) judgeOriginal(r tideover.Request, v View) error {
	if !r.Kind.Undoes() {
		return nil
	}
	original, known := v.Get(r.Original)
	switch {
	case !known && !v.Complete():
		return nil
	case !known:
		return tideover.Refuse(tideover.CodeOriginalUnknown,
			"no till of this shop has sold %[1]s; take the id of the answer to the original, or of its receipt",
			"本店没有交易 %[1]s；请使用原交易应答或小票上的交易号", r.Original)
	case original.Kind == tideover.KindNone:
		return notApproved("its key was cancelled before it was pressed: there is nothing to give back", "其键在发起前已被取消：没有可退的款项")
	case original.Kind == tideover.KindReversal, original.Kind == tideover.KindRefund && r.Kind == tideover.KindRefund:
		return notApproved("it is a %[1]s itself; name the sale, or make a new one", "它本身是 %[1]s；请填写原消费交易，或重新发起消费", original.Kind)
	case r.Currency != "" && r.Currency != original.Currency:
		return notApproved("it is over %[1]s, not over %[2]s", "其货币为 %[1]s，而非 %[2]s", original.Currency, r.Currency)
	case r.Kind == tideover.KindReversal:
		return judgeReversal(r, original, v.Undone(r.Original))
	}
	return l.judgeRefund(r, original, v)
}

// notApproved refuses to undo what is not, or not any more, an approved original of the kind and the money in question.
func notApproved(en, zh string, args ...any) error {
	return tideover.Refuse(tideover.CodeOriginalNotApproved, "the original cannot be undone so: "+en, "原交易不能这样退款或冲正："+zh, args...)
}

// judgeRefund looks at the original's end, at what was given back of it already, and at its age.
func (l Limits) judgeRefund(r tideover.Request, original tideover.Transaction, v View) error {
	undone := v.Undone(r.Original)
	switch {
	case original.Final() && original.State != tideover.StateApproved:
		return notApproved("it is %[1]s: no money is held of it", "其状态为 %[1]s：没有可退的款项", original.State)
	case original.State == tideover.StateReversing:
		return notApproved("it is being undone as a whole; ask for its end first", "它正在整笔撤销；请先查询其结果")
	case undone.Reversal:
		return notApproved("a reversal gives all of it back already; ask for that one's end first", "已有冲正在整笔退还；请先查询该冲正的结果")
	}
	if left := original.Amount - undone.Refunded - undone.Refunding; left <= 0 {
		return nothingLeft(original, undone)
	} else if r.Amount > left {
		return exceeds(original, left,
			"refunds of %[1]s may be %[2]s together; %[3]s of that are refunded or on their way, so at most %[4]s is left; refund that, or wait for those without an end",
			"交易 %[1]s 最多可退 %[2]s；已退或在途 %[3]s，最多还可退 %[4]s；请按此金额退款，或等待在途退款的结果",
			original.ID, money(original.Amount, original), money(undone.Refunded+undone.Refunding, original), money(left, original))
	}
	if age := v.Since(original); l.RefundWindow != 0 && age > l.RefundWindow {
		return tideover.Refuse(tideover.CodeRefundWindowClosed,
			"a refund is taken for %[1]s after its sale, and this one was %[2]s ago; pay it back another way, or ask the shop's owner (limits.refund_window)",
			"消费后 %[1]s 内可以退款，而该笔已过 %[2]s；请以其他方式退还，或联系店主（limits.refund_window）",
			l.RefundWindow, age.Round(time.Second))
	}
	return nil
}

// judgeReversal: of what was never executed there is nothing to undo, which the reversal's own end will say; and twice is as good as once.
func judgeReversal(r tideover.Request, original tideover.Transaction, undone Undone) error {
	switch {
	case r.Amount != 0 && r.Amount != original.Amount:
		return notApproved("it is over %[1]s, and is reversed as a whole; leave the amount out, or send a refund of a part",
			"其金额为 %[1]s，冲正只能整笔进行；请不要填写金额，或改为部分退款", money(original.Amount, original))
	case undone.Refunded > 0:
		left := original.Amount - undone.Refunded - undone.Refunding
		if left <= 0 {
			return nothingLeft(original, undone)
		}
		return exceeds(original, left,
			"%[2]s of %[1]s are refunded already, so it cannot be reversed as a whole; refund the rest, at most %[3]s",
			"交易 %[1]s 已退款 %[2]s，不能整笔冲正；请退还余下部分，最多 %[3]s",
			original.ID, money(undone.Refunded, original), money(left, original))
	}
	return nil
}

// nothingLeft refuses to give back more of what was given back as a whole, or will have been if what is under way comes to pass. Whoever
// reads it must not send another refund of a smaller amount, nor wait for what has its end.
func nothingLeft(original tideover.Transaction, undone Undone) error {
	if undone.Refunding == 0 {
		return exceeds(original, 0, "all of %[1]s, %[2]s, is refunded already: nothing is left to give back; show the customer those refunds",
			"交易 %[1]s 的 %[2]s 已全部退还：没有可退的金额；请向顾客出示已有的退款", original.ID, money(original.Amount, original))
	}
	return exceeds(original, 0,
		"%[3]s of %[1]s are refunded and %[4]s on their way, of %[2]s: nothing is left to give back; ask for the refunds without an end, and refund again only if one fails",
		"交易 %[1]s 共 %[2]s，已退 %[3]s，在途 %[4]s：没有可退的金额；请查询在途退款的结果，只有其中失败的才可再退",
		original.ID, money(original.Amount, original), money(undone.Refunded, original), money(undone.Refunding, original))
}

func exceeds(original tideover.Transaction, left int64, en, zh string, args ...any) error {
	refusal := tideover.Refuse(tideover.CodeRefundExceedsOriginal, en, zh, args...)
	refusal.Limit, refusal.Remaining = &original.Amount, &left
	return refusal
}

func money(minor int64, of tideover.Transaction) string { return tideover.Money(minor, of.Currency) }
