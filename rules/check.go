package rules

import (
	"strings"
	"time"

	"tideover"
)

// Complaint is something that a shop cannot mean by its rules.
type Complaint struct {
	Key   string // as in the file: "limits.sale_min"
	Other string // the key that it contradicts; "" where it is wrong by itself
	What  tideover.Text
	Hint  tideover.Text
	// Grave rules are refused: they could take no transaction of some kind, ever, or say nothing that is known. The others can be run with, and
	// do not do what they seem to.
	Grave bool
}

const (
	// refundWindowLeast is less than any shop gives a customer to bring something back: "m" was taken for months.
	refundWindowLeast = time.Hour
	// windowMost is longer than a second press is late: a guest who has the same every day would be taken for one.
	windowMost = 24 * time.Hour
	// amountLeast, in minor units, is less than any bound upwards: a currency's units were written instead.
	amountLeast = 1000
	// countLeast is what a shop's tills have under way at once, although every line is up.
	countLeast = 10
)

// Check finds what is wrong with rules by themselves, and where they contradict each other.
func (r Rules) Check() (all []Complaint) {
	c := checker{rules: r}
	c.values()
	c.never()
	c.methods()
	if len(c.all) > 0 {
		return c.all // what they seem to mean is not known yet
	}
	c.amounts()
	c.refunds()
	c.duplicates()
	return c.all
}

// checker collects complaints.
type checker struct {
	rules Rules
	all   []Complaint
}

func (c *checker) grave(key, other string, what, hint tideover.Text) {
	c.all = append(c.all, Complaint{key, other, what, hint, true})
}

func (c *checker) warn(key, other string, what, hint tideover.Text) {
	c.all = append(c.all, Complaint{key, other, what, hint, false})
}

// methods takes over what is wrong with the methods; they have nothing that contradicts another rule.
func (c *checker) methods() {
	c.rules.Methods.Check(func(key string, what, hint tideover.Text) { c.grave(key, "", what, hint) })
}

// either is the hint about two keys that do not fit.
func either() tideover.Text { return tideover.Textf("correct one of the two", "请修改其中一个") }

// values finds what no rule can be.
func (c *checker) values() {
	l, d := c.rules.Limits, c.rules.Duplicates
	for _, v := range []struct {
		key   string
		value int64
		shown any
	}{
		{"limits.sale_max", l.SaleMax, l.SaleMax},
		{"limits.sale_min", l.SaleMin, l.SaleMin},
		{"limits.refund_max", l.RefundMax, l.RefundMax},
		{"limits.refund_min", l.RefundMin, l.RefundMin},
		{"limits.advice_max", l.AdviceMax, l.AdviceMax},
		{"limits.advice_min", l.AdviceMin, l.AdviceMin},
		{"limits.refund_window", int64(l.RefundWindow), l.RefundWindow},
		{"limits.offline_count_max", int64(l.OfflineCountMax), l.OfflineCountMax},
		{"limits.offline_amount_max", l.OfflineAmountMax, l.OfflineAmountMax},
		{"limits.offline_age_max", int64(l.OfflineAgeMax), l.OfflineAgeMax},
		{"duplicates.window", int64(d.Window), d.Window},
		{"duplicates.blind_window", int64(d.BlindWindow), d.BlindWindow},
	} {
		if v.value < 0 {
			c.grave(v.key, "", tideover.Textf("%v is below 0", "%v 小于 0", v.shown), tideover.Textf("write 0 for none", "0 表示不限"))
		}
	}
	if d.Action != ActionRefuse && d.Action != ActionAllow {
		c.grave("duplicates.action", "", tideover.Textf("%q is unknown", "未知的 %q", d.Action), tideover.Textf(`write "refuse" or "allow"`, `请写 "refuse" 或 "allow"`))
	}
}

// bounded are the kinds that have bounds of their own.
var bounded = []tideover.Kind{tideover.KindSale, tideover.KindRefund, tideover.KindAdvice}

// never finds bounds between which no amount lies.
func (c *checker) never() {
	for _, kind := range bounded {
		b, _ := c.rules.Limits.of(kind)
		low, high := "limits."+b.key+"_min", "limits."+b.key+"_max"
		switch most := c.rules.Limits.OfflineAmountMax; {
		case b.max > 0 && b.min > b.max:
			c.grave(low, high, tideover.Textf("%[1]d is above %[2]s, %[3]d: no %[4]s would be taken", "%[1]d 大于 %[2]s 的 %[3]d：任何%[5]s都会被拒绝",
				b.min, high, b.max, b.name.En, b.name.Zh), either())
		case most > 0 && b.min > most:
			c.grave(low, "limits.offline_amount_max", tideover.Textf("%[1]d is above limits.offline_amount_max, %[2]d: no %[3]s would be taken",
				"%[1]d 大于 limits.offline_amount_max 的 %[2]d：任何%[4]s都会被拒绝", b.min, most, b.name.En, b.name.Zh), either())
		case b.min > AmountMax:
			c.grave(low, "", tideover.Textf("%[1]d is above %[2]d, the largest amount that there is: no %[3]s would be taken",
				"%[1]d 大于金额上限 %[2]d：任何%[4]s都会被拒绝", b.min, int64(AmountMax), b.name.En, b.name.Zh),
				tideover.Textf("write minor units: 500 for 5.00", "请以最小货币单位填写：5.00 写作 500"))
		}
	}
}

// amounts finds bounds that another one makes idle, and such as are in the wrong unit.
func (c *checker) amounts() {
	l := c.rules.Limits
	for _, kind := range bounded {
		b, _ := l.of(kind)
		if high := "limits." + b.key + "_max"; l.OfflineAmountMax > 0 && b.max > l.OfflineAmountMax {
			c.warn(high, "limits.offline_amount_max", tideover.Textf(
				"%[1]d is above limits.offline_amount_max, %[2]d: one %[3]s above that is refused also while the line is up", "%[1]d 大于 limits.offline_amount_max 的 %[2]d：即使在线，超过后者的单笔%[4]s也会被拒绝",
				b.max, l.OfflineAmountMax, b.name.En, b.name.Zh),
				tideover.Textf("raise offline_amount_max, or lower this one to it", "请提高 offline_amount_max，或将本项降至该值"))
		}
	}
	for _, v := range []struct {
		key   string
		value int64
	}{
		{"limits.sale_max", l.SaleMax},
		{"limits.advice_max", l.AdviceMax},
		{"limits.offline_amount_max", l.OfflineAmountMax},
	} {
		if v.value > 0 && v.value < amountLeast {
			c.warn(v.key, "", tideover.Textf("%d is in minor units: %s in a currency with two decimals", "%d 以最小货币单位计：对有两位小数的货币为 %s",
				v.value, decimal(v.value)), tideover.Textf("write %d00 if whole units were meant", "若指整数货币单位，请写 %d00", v.value))
		}
	}
	if n := l.OfflineCountMax; n > 0 && n < countLeast {
		c.warn("limits.offline_count_max", "", tideover.Textf(
			"%d counts every sale that is under way, also while the line is up: with some tills sales are refused", "%d 包括所有进行中的交易，在线时也计入：多台终端同时收款时会被拒绝", n),
			tideover.Textf("allow as many as may wait in an outage: the default is %d", "请按断网时可接受的笔数填写：默认 %d", DefaultLimits().OfflineCountMax))
	}
}

// decimal writes minor units of a currency with two decimals.
func decimal(minor int64) string {
	s := tideover.Money(minor, "CNY")
	return s[:len(s)-len(" CNY")]
}

// span writes a length of time as the file has it: 2m, not 2m0s.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// refunds finds sales that may be taken, and not be given back.
func (c *checker) refunds() {
	l := c.rules.Limits
	switch {
	case l.RefundMax > 0 && l.RefundMax < l.SaleMin:
		c.warn("limits.refund_max", "limits.sale_min", tideover.Textf(
			"%d is below limits.sale_min, %d: not even the smallest sale can be given back at once", "%d 小于 limits.sale_min 的 %d：最小的消费也无法一次退款", l.RefundMax, l.SaleMin), either())
	case l.SaleMax > 0 && l.RefundMin > l.SaleMax:
		c.warn("limits.refund_min", "limits.sale_max", tideover.Textf(
			"%d is above limits.sale_max, %d: no sale is large enough to be given back", "%d 大于 limits.sale_max 的 %d：任何消费都达不到退款下限", l.RefundMin, l.SaleMax), either())
	case l.SaleMin > 0 && l.RefundMin > l.SaleMin:
		c.warn("limits.refund_min", "limits.sale_min", tideover.Textf(
			"%d is above limits.sale_min, %d: a sale between the two can be taken, and not be given back", "%d 大于 limits.sale_min 的 %d：介于两者之间的消费可以收取但无法退款", l.RefundMin, l.SaleMin), either())
	}
	if w := l.RefundWindow; w > 0 && w < refundWindowLeast {
		c.warn("limits.refund_window", "", tideover.Textf("%v after its sale a refund is refused: m is minutes", "消费后仅 %v 内可退款：m 表示分钟", span(w)),
			tideover.Textf(`write days for weeks and months: "14d", "90d"`, `周和月请用天数表示："14d"、"90d"`))
	}
	if w := c.rules.Duplicates.Window; l.RefundWindow > 0 && w > l.RefundWindow {
		c.warn("limits.refund_window", "duplicates.window", tideover.Textf(
			"%v is shorter than duplicates.window, %v: a sale that was pressed twice is found out when it cannot be given back any more",
			"%v 短于 duplicates.window 的 %v：发现重复收款时已无法退款", span(l.RefundWindow), span(w)), either())
	}
}

// duplicates finds windows that look through nothing.
func (c *checker) duplicates() {
	d := c.rules.Duplicates
	if d.BlindWindow > 0 && d.Action == ActionAllow {
		c.warn("duplicates.blind_window", "duplicates.action", tideover.Textf(
			`duplicates.action = "allow" refuses nothing: such a press is taken, and only noted in the journal`, `duplicates.action = "allow" 不会拒绝：此类重复仍会受理，仅记入日志`),
			tideover.Textf(`write action = "refuse" if the till is to ask its operator`, `若需终端询问操作员，请写 action = "refuse"`))
	}
	if d.BlindWindow > d.Window {
		c.warn("duplicates.blind_window", "duplicates.window", tideover.Textf(
			"%v is above duplicates.window, %v: a till that names neither order nor instrument is watched for longer than one that does",
			"%v 大于 duplicates.window 的 %v：不提供订单和付款码的终端反而被检查得更久", span(d.BlindWindow), span(d.Window)), either())
	}
	if d.Window > windowMost {
		c.warn("duplicates.window", "", tideover.Textf(
			"within %v a guest who pays the same amount with the same card again is taken for a second press", "%v 内，同一张卡再次支付相同金额会被视为重复", span(d.Window)),
			tideover.Textf("minutes are enough: the default is %v", "几分钟即可：默认 %v", span(DefaultDuplicates().Window)))
	}
}
