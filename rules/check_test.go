package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tideover"
)

// fair are rules that no shop is warned of.
func fair() Rules {
	return Rules{
		Limits: Limits{
			SaleMin: 100, SaleMax: 500_000, RefundMin: 100, RefundMax: 300_000, AdviceMax: 500_000, RefundWindow: 90 * 24 * time.Hour,
			OfflineCountMax: 1000, OfflineAmountMax: 2_000_000, OfflineAgeMax: 72 * time.Hour,
		},
		Duplicates: Duplicates{Window: 2 * time.Minute, BlindWindow: 5 * time.Second, Action: ActionRefuse},
	}
}

func TestRules_CheckFindsWhatContradicts(t *testing.T) {
	no := false
	for name, tc := range map[string]struct {
		change func(*Limits, *Duplicates, *Methods)
		want   string // KEY OTHER, and "!" where it is grave; several by commas
	}{
		"fair rules":           {func(*Limits, *Duplicates, *Methods) {}, ""},
		"a negative bound":     {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundMax = -1 }, "limits.refund_max !"},
		"a negative count":     {func(l *Limits, _ *Duplicates, _ *Methods) { l.OfflineCountMax = -1 }, "limits.offline_count_max !"},
		"a negative window":    {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundWindow = -1 }, "limits.refund_window !"},
		"a negative age":       {func(l *Limits, _ *Duplicates, _ *Methods) { l.OfflineAgeMax = -1 }, "limits.offline_age_max !"},
		"windows below 0":      {func(_ *Limits, d *Duplicates, _ *Methods) { d.Window, d.BlindWindow = -1, -2 }, "duplicates.window !,duplicates.blind_window !"},
		"an action":            {func(_ *Limits, d *Duplicates, _ *Methods) { d.Action = "" }, "duplicates.action !"},
		"a sale between":       {func(l *Limits, _ *Duplicates, _ *Methods) { l.SaleMin = 500_001 }, "limits.sale_min limits.sale_max!"},
		"a refund between":     {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundMin = 300_001 }, "limits.refund_min limits.refund_max!"},
		"an advice between":    {func(l *Limits, _ *Duplicates, _ *Methods) { l.AdviceMin = 500_001 }, "limits.advice_min limits.advice_max!"},
		"a sale never open":    {func(l *Limits, _ *Duplicates, _ *Methods) { l.SaleMin, l.SaleMax = 2_000_001, 0 }, "limits.sale_min limits.offline_amount_max!"},
		"a refund never open":  {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundMin, l.RefundMax = 2_000_001, 0 }, "limits.refund_min limits.offline_amount_max!"},
		"an advice never open": {func(l *Limits, _ *Duplicates, _ *Methods) { l.AdviceMin, l.AdviceMax = 2_000_001, 0 }, "limits.advice_min limits.offline_amount_max!"},
		"13 digits": {func(l *Limits, _ *Duplicates, _ *Methods) {
			l.SaleMin, l.SaleMax, l.OfflineAmountMax = AmountMax+1, 0, 0
		}, "limits.sale_min !"},
		"12 digits":             {func(l *Limits, _ *Duplicates, _ *Methods) { *l = Limits{SaleMin: AmountMax} }, ""},
		"equal bounds":          {func(l *Limits, _ *Duplicates, _ *Methods) { l.SaleMin, l.SaleMax = 2000, 2000; l.RefundMin = 0 }, ""},
		"a method's":            {func(_ *Limits, _ *Duplicates, m *Methods) { *m = Methods{{Name: "qr", MayWait: &no}} }, "method[0].offer !"},
		"both at once":          {func(l *Limits, d *Duplicates, _ *Methods) { l.SaleMin = 500_001; d.Action = "x" }, "duplicates.action !,limits.sale_min limits.sale_max!"},
		"a sale never that big": {func(l *Limits, _ *Duplicates, _ *Methods) { l.SaleMax = 2_000_001 }, "limits.sale_max limits.offline_amount_max"},
		"a refund never":        {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundMax = 2_000_001 }, "limits.refund_max limits.offline_amount_max"},
		"an advice never":       {func(l *Limits, _ *Duplicates, _ *Methods) { l.AdviceMax = 2_000_001 }, "limits.advice_max limits.offline_amount_max"},
		"no smallest refund":    {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundMin, l.RefundMax = 0, 99 }, "limits.refund_max limits.sale_min"},
		"no largest refund":     {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundMin, l.RefundMax = 500_001, 0 }, "limits.refund_min limits.sale_max"},
		"a sale for good":       {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundMin = 101 }, "limits.refund_min limits.sale_min"},
		"no smallest sale":      {func(l *Limits, _ *Duplicates, _ *Methods) { l.SaleMin = 0 }, ""},
		"minutes for months":    {func(l *Limits, _ *Duplicates, _ *Methods) { l.RefundWindow = 3 * time.Minute }, "limits.refund_window "},
		"too late to give back": {func(l *Limits, d *Duplicates, _ *Methods) { l.RefundWindow, d.Window = time.Hour, 2*time.Hour }, "limits.refund_window duplicates.window"},
		"whole units":           {func(l *Limits, _ *Duplicates, _ *Methods) { l.SaleMax, l.AdviceMax = 500, 999 }, "limits.sale_max ,limits.advice_max "},
		"whole units, all":      {func(l *Limits, _ *Duplicates, _ *Methods) { *l = Limits{OfflineAmountMax: 999} }, "limits.offline_amount_max "},
		"hardly any":            {func(l *Limits, _ *Duplicates, _ *Methods) { l.OfflineCountMax = 9 }, "limits.offline_count_max "},
		"looks, refuses nothing": {
			func(_ *Limits, d *Duplicates, _ *Methods) { d.Action = ActionAllow }, "duplicates.blind_window duplicates.action",
		},
		"blind for longer": {func(_ *Limits, d *Duplicates, _ *Methods) { d.BlindWindow = 3 * time.Minute }, "duplicates.blind_window duplicates.window"},
		"every day's lunch": {
			func(_ *Limits, d *Duplicates, _ *Methods) { d.Window = 25 * time.Hour }, "duplicates.window ",
		},
		"no rules at all": {func(l *Limits, d *Duplicates, _ *Methods) { *l, *d = Limits{}, Duplicates{Action: ActionAllow} }, ""},
		"the defaults":    {func(l *Limits, d *Duplicates, _ *Methods) { *l, *d = DefaultLimits(), DefaultDuplicates() }, ""},
	} {
		r := fair()
		tc.change(&r.Limits, &r.Duplicates, &r.Methods)
		var have []string
		for _, c := range r.Check() {
			grave := ""
			if c.Grave {
				grave = "!"
			}
			have = append(have, c.Key+" "+c.Other+grave)
			for _, text := range []tideover.Text{c.What, c.Hint} {
				if text.En == "" || text.Zh == "" || text.En == text.Zh || strings.Contains(text.En+text.Zh, "%!") {
					t.Errorf("%s: %+v", name, text)
				}
			}
			if c.Other != "" && !strings.Contains(c.What.En, c.Other) || c.Other != "" && !strings.Contains(c.What.Zh, c.Other) {
				t.Errorf("%s: %q does not name %s", name, c.What, c.Other)
			}
		}
		if strings.Join(have, ",") != tc.want {
			t.Errorf("%s: have %q, want %q", name, have, tc.want)
		}
	}
}

// Rules are refused exactly where an empty shop could take no amount of some kind. The reference tries the amounts at which anything changes.
func TestRules_CheckRefusesWhatTakesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.SampledFrom([]int64{0, 0, 1, 2, 5, 1000, AmountMax - 1, AmountMax, AmountMax + 1, 1 << 62})
		r := Rules{
			Limits: Limits{
				SaleMin: bound.Draw(t, "sale_min"), SaleMax: bound.Draw(t, "sale_max"), RefundMin: bound.Draw(t, "refund_min"),
				RefundMax: bound.Draw(t, "refund_max"), AdviceMin: bound.Draw(t, "advice_min"), AdviceMax: bound.Draw(t, "advice_max"),
				OfflineAmountMax: bound.Draw(t, "offline_amount_max"),
			},
			Duplicates: DefaultDuplicates(),
		}
		l := r.Limits
		refused := map[string]bool{}
		for _, c := range r.Check() {
			if c.Grave {
				refused[c.Key] = true
			}
		}
		for _, kind := range bounded {
			taken := false
			for _, amount := range []int64{
				1, 2, 5, 1000, AmountMax - 1, AmountMax, l.SaleMin, l.SaleMax, l.RefundMin, l.RefundMax, l.AdviceMin, l.AdviceMax, l.OfflineAmountMax,
			} {
				q := tideover.Request{Kind: kind, Amount: amount, Currency: "CNY"}
				taken = taken || amount > 0 && amount <= AmountMax && l.judgeAmount(q) == nil && l.judgeExposure(q, ledger{}) == nil
			}
			if key := fmt.Sprintf("limits.%s_min", kind); taken == refused[key] {
				t.Fatalf("%+v: a %s is taken: %v, its rules are refused: %v", l, kind, taken, refused[key])
			}
		}
	})
}
