package rules

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tideover"
)

func sale() tideover.Request {
	return tideover.Request{Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", ExpiresIn: 45 * time.Second}
}

func TestMalformed_NamesEveryField(t *testing.T) {
	original := tideover.MakeID("shop", "till", "key")
	of := func(change func(*tideover.Request)) tideover.Request {
		r := sale()
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		request tideover.Request
		fields  []string
	}{
		"a sale":                    {sale(), nil},
		"an advice":                 {of(func(r *tideover.Request) { r.Kind = tideover.KindAdvice }), nil},
		"the largest amount":        {of(func(r *tideover.Request) { r.Amount = AmountMax }), nil},
		"a refund":                  {of(func(r *tideover.Request) { r.Kind, r.Original = tideover.KindRefund, original }), nil},
		"a reversal without amount": {tideover.Request{Kind: tideover.KindReversal, Original: original, ExpiresIn: time.Second}, nil},
		"a reversal with amount":    {of(func(r *tideover.Request) { r.Kind, r.Original = tideover.KindReversal, original }), nil},
		"labels at their limits": {of(func(r *tideover.Request) {
			r.Method, r.Order = strings.Repeat("付", MethodMax), strings.Repeat("号", OrderMax)
			r.Operator, r.Instrument = strings.Repeat("林", OperatorMax), strings.Repeat("8", InstrumentMax)
		}), nil},
		"the longest expiry":              {of(func(r *tideover.Request) { r.ExpiresIn = tideover.ExpiresInMax }), nil},
		"nothing":                         {tideover.Request{}, []string{"kind", "amount", "currency", "expires_in"}},
		"no kind":                         {of(func(r *tideover.Request) { r.Kind = tideover.KindNone }), []string{"kind"}},
		"a kind from the future":          {of(func(r *tideover.Request) { r.Kind = 200 }), []string{"kind"}},
		"amount 0":                        {of(func(r *tideover.Request) { r.Amount = 0 }), []string{"amount"}},
		"amount below 0":                  {of(func(r *tideover.Request) { r.Amount = -1 }), []string{"amount"}},
		"amount above twelve digits":      {of(func(r *tideover.Request) { r.Amount = AmountMax + 1 }), []string{"amount"}},
		"a reversal of a negative amount": {of(func(r *tideover.Request) { r.Kind, r.Original, r.Amount = tideover.KindReversal, original, -1 }), []string{"amount"}},
		"no currency":                     {of(func(r *tideover.Request) { r.Currency = "" }), []string{"currency"}},
		"a currency in small letters":     {of(func(r *tideover.Request) { r.Currency = "cny" }), []string{"currency"}},
		"a currency that is none":         {of(func(r *tideover.Request) { r.Currency = "XXX" }), []string{"currency"}},
		"a refund of nothing":             {of(func(r *tideover.Request) { r.Kind = tideover.KindRefund }), []string{"original"}},
		"a reversal of nothing":           {of(func(r *tideover.Request) { r.Kind = tideover.KindReversal }), []string{"original"}},
		"a sale with an original":         {of(func(r *tideover.Request) { r.Original = original }), []string{"original"}},
		"labels too long": {of(func(r *tideover.Request) {
			r.Method, r.Order = strings.Repeat("付", MethodMax+1), strings.Repeat("号", OrderMax+1)
			r.Operator, r.Instrument = strings.Repeat("林", OperatorMax+1), strings.Repeat("8", InstrumentMax+1)
		}), []string{"method", "order", "operator", "instrument"}},
		"a line break in an order":  {of(func(r *tideover.Request) { r.Order = "A\n1" }), []string{"order"}},
		"broken text in a method":   {of(func(r *tideover.Request) { r.Method = "\xff" }), []string{"method"}},
		"expired as it comes":       {of(func(r *tideover.Request) { r.ExpiresIn = 0 }), []string{"expires_in"}},
		"an expiry before":          {of(func(r *tideover.Request) { r.ExpiresIn = -time.Second }), []string{"expires_in"}},
		"an expiry too late":        {of(func(r *tideover.Request) { r.ExpiresIn = tideover.ExpiresInMax + time.Second }), []string{"expires_in"}},
		"a fraction of a second":    {of(func(r *tideover.Request) { r.ExpiresIn = 1500 * time.Millisecond }), []string{"expires_in"}},
		"several things at a time":  {of(func(r *tideover.Request) { r.Amount, r.Currency, r.Order = -5, "?", "\x00" }), []string{"amount", "currency", "order"}},
		"a refund without anything": {tideover.Request{Kind: tideover.KindRefund, ExpiresIn: time.Second}, []string{"amount", "currency", "original"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := Malformed(c.request)
			if len(c.fields) == 0 {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			refusal, ok := errors.AsType[*tideover.Refusal](err)
			if !ok || refusal.Code != tideover.CodeInvalidRequest {
				t.Fatalf("got %v, want an invalid_request", err)
			}
			var fields []string
			for _, f := range refusal.Fields {
				fields = append(fields, f.Field)
				bothLanguages(t, f.Detail)
				if !strings.Contains(refusal.Detail.En, f.Field) || !strings.Contains(refusal.Detail.Zh, f.Field) {
					t.Errorf("the detail does not name %s: %+v", f.Field, refusal.Detail)
				}
			}
			bothLanguages(t, refusal.Detail)
			if !slices.Equal(fields, c.fields) {
				t.Errorf("fields %q, want %q", fields, c.fields)
			}
		})
	}
}

// bothLanguages fails for a text that is missing in one language, that repeats itself in the other, or whose arguments do not fit.
func bothLanguages(t *testing.T, text tideover.Text) {
	t.Helper()
	isHan := func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff }
	if text.En == "" || strings.ContainsFunc(text.En, isHan) || !strings.ContainsFunc(text.Zh, isHan) {
		t.Errorf("not a text in both languages: %+v", text)
	}
	for _, s := range []string{text.En, text.Zh} {
		if strings.Contains(s, "%!") {
			t.Errorf("arguments do not fit: %q", s)
		}
	}
}

func TestIsCurrency_KnowsISO4217(t *testing.T) {
	codes := strings.Fields(currencies)
	if !slices.IsSorted(codes) || len(slices.Compact(slices.Clone(codes))) != len(codes) {
		t.Error("the list is not in order, or holds a code twice")
	}
	if len(currencies) != 4*len(codes) {
		t.Errorf("%d bytes for %d codes", len(currencies), len(codes))
	}
	for _, code := range codes {
		if len(code) != 3 || !IsCurrency(code) {
			t.Errorf("%q is in the list and is not known", code)
		}
	}
	for _, code := range []string{"CNY", "USD", "EUR", "JPY", "HKD", "GBP", "KWD", "ZWG", "XCG", "VED"} {
		if !IsCurrency(code) {
			t.Errorf("%s is not known", code)
		}
	}
	for _, code := range []string{
		"", "C", "CN", "CNYY", "cny", "Cny", "XXX", "XTS", "RMB", "DEM", "HRK", "SLL", "ZWL", "ANG", "ED ", "D A", " AE", "   ", "人民币", "AED ",
	} {
		if IsCurrency(code) {
			t.Errorf("%q passes for a currency", code)
		}
	}
}
