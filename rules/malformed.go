package rules

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tideover"
)

// How much a field may hold. Lengths are in characters.
const (
	// AmountMax is twelve digits of minor units: what ISO 8583 has room for (DE4), and far below where sums overflow or a till that
	// reads JSON numbers as floating point loses the last digit.
	AmountMax     = 999_999_999_999
	MethodMax     = 32
	OrderMax      = 64
	OperatorMax   = 64
	InstrumentMax = 256
)

// Malformed returns a [*tideover.Refusal] of invalid_request that names every field of r which no till may send; nil where all are
// well. The request's types are right already; zero values are fields left out, except for ExpiresIn.
func Malformed(r tideover.Request) error {
	var bad faults
	bad.kind(r)
	bad.money(r)
	bad.original(r)
	bad.label("method", r.Method, MethodMax)
	bad.label("order", r.Order, OrderMax)
	bad.label("operator", r.Operator, OperatorMax)
	bad.label("instrument", r.Instrument, InstrumentMax)
	if r.ExpiresIn < time.Second || r.ExpiresIn > tideover.ExpiresInMax || r.ExpiresIn%time.Second != 0 {
		bad.add("expires_in", "must be 1 to %d seconds", "必须是 1 到 %d 秒", int(tideover.ExpiresInMax/time.Second))
	}
	return bad.refusal()
}

// faults gathers what is wrong, in the order of the contract's fields.
type faults []tideover.FieldError

// add notes what is wrong with a field.
//
//go:noinline
func (f *faults) add(field, en, zh string, args ...any) {
	*f = append(*f, tideover.FieldError{Field: field, Detail: tideover.Textf(en, zh, args...)})
}

func (f faults) refusal() error {
	if len(f) == 0 {
		return nil
	}
	names := make([]string, len(f))
	for i, fault := range f {
		names[i] = fault.Field
	}
	r := tideover.Refuse(tideover.CodeInvalidRequest, "nothing was taken; correct %s and send it again", "请求未受理；请更正 %s 后重发",
		strings.Join(names, ", "))
	r.Fields = f
	return r
}

func (f *faults) kind(r tideover.Request) {
	switch r.Kind {
	case tideover.KindSale, tideover.KindRefund, tideover.KindReversal, tideover.KindAdvice:
	case tideover.KindNone:
		f.add("kind", "is missing; it is sale, refund, reversal or advice", "缺少；应为 sale、refund、reversal 或 advice")
	default:
		f.add("kind", "is unknown; it is sale, refund, reversal or advice", "未知；应为 sale、refund、reversal 或 advice")
	}
}

// money judges amount and currency; a reversal may leave out both or either.
func (f *faults) money(r tideover.Request) {
	mayLack := r.Kind == tideover.KindReversal
	switch {
	case r.Amount == 0 && mayLack:
	case r.Amount <= 0:
		f.add("amount", "must be above 0, in minor units (1299 is 12.99)", "必须大于 0，以最小货币单位计（1299 即 12.99）")
	case r.Amount > AmountMax:
		f.add("amount", "must be at most %d minor units", "不得超过 %d（最小货币单位）", int64(AmountMax))
	}
	switch {
	case r.Currency == "" && mayLack:
	case r.Currency == "":
		f.add("currency", "is missing; it is a code of ISO 4217, such as CNY", "缺少；应为 ISO 4217 货币代码，例如 CNY")
	case !IsCurrency(r.Currency):
		f.add("currency", "is no code of ISO 4217 in capitals, such as CNY", "不是大写的 ISO 4217 货币代码，例如 CNY")
	}
}

func (f *faults) original(r tideover.Request) {
	switch {
	case r.Kind.Undoes() && r.Original.IsZero():
		f.add("original", "is missing: the id of the transaction that a %s undoes", "缺少：%s 所针对的原交易号", r.Kind)
	case !r.Kind.Undoes() && !r.Original.IsZero():
		f.add("original", "is for refund and reversal alone; leave it out", "仅用于 refund 和 reversal；请去掉")
	}
}

// label judges a text that is shown to people or handed on.
func (f *faults) label(field, s string, most int) {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		f.add(field, "must not hold control characters", "不得含有控制字符")
	case utf8.RuneCountInString(s) > most:
		f.add(field, "must be at most %d characters", "不得超过 %d 个字符", most)
	}
}
