package rules

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"tideover"
)

// Method is what a shop says of one way to pay for the time when no hub is heard, `[[method]]` of the configuration. Tills send the name
// as `method`; upper and lower case are one.
type Method struct {
	Name     string `toml:"name"`      // "*" is every other, a sale without a method too; cash is not among them
	MayWait  *bool  `toml:"may_wait"`  // nil: it may. Otherwise a sale is refused at once, rather than stored
	Offer    string `toml:"offer"`     // what the cashier offers instead: a method's name, or a word of the shop's own
	OfferEn  string `toml:"offer_en"`  // how people call that; where empty, as methodNames has it, or as it stands
	OfferZh  string `toml:"offer_zh"`  //
	BannerEn string `toml:"banner_en"` // for the till's screen while no hub is heard; where empty, words of ours
	BannerZh string `toml:"banner_zh"`
}

// Methods are what the configuration says, in its order. The zero value says nothing: then everything may wait.
type Methods []Method

// How much there may be of methods.
const (
	MethodsMax = 32  // in one configuration
	BannerMax  = 200 // characters of a banner
)

const (
	anyMethod  = "*"
	cashMethod = "cash" // needs no line: it is what is left where nothing else works
)

// methodNames are the labels of the contract, as people call them. What is not among them is shown as it stands.
var methodNames = map[string]tideover.Text{
	cashMethod: {En: "cash", Zh: "现金"},
	"card":     {En: "card", Zh: "银行卡"},
	"qr":       {En: "QR code", Zh: "扫码支付"},
	"alipay":   {En: "Alipay", Zh: "支付宝"},
	"wechat":   {En: "WeChat Pay", Zh: "微信支付"},
	"baitiao":  {En: "Baitiao", Zh: "白条"},
}

func called(method string) tideover.Text {
	if known, ok := methodNames[strings.ToLower(method)]; ok {
		return known
	}
	return tideover.Text{En: method, Zh: method}
}

// Waits says whether a sale of this method may be stored while no hub is heard.
func (m Method) Waits() bool { return m.MayWait == nil || *m.MayWait }

// Instead is what the cashier offers instead of a method: the label, and how people call it. Where the shop names nothing it is cash, and
// nothing instead of that.
func (m Method) Instead() (label string, words tideover.Text) {
	label = m.Offer
	if label == "" && !strings.EqualFold(m.Name, cashMethod) {
		label = cashMethod
	}
	words = called(label)
	if m.OfferEn != "" {
		words.En = m.OfferEn
	}
	if m.OfferZh != "" {
		words.Zh = m.OfferZh
	}
	return label, words
}

// Banner is what a cashier is told of a method while no hub is heard.
func (m Method) Banner() tideover.Text {
	_, instead := m.Instead()
	words := called(m.Name)
	if m.Name == anyMethod {
		words = tideover.Text{En: "Other payments", Zh: "其他支付方式"}
	}
	var text tideover.Text
	switch kind := strings.ToLower(m.Name); {
	case kind == cashMethod && m.Waits():
		text = tideover.Text{En: "Cash is taken as always, and is booked when the line is back.", Zh: "现金照常收取，网络恢复后自动入账。"}
	case !m.Waits() && instead.En == "":
		text = tideover.Textf("%[1]s: not possible while the line is down.", "%[2]s：断网期间无法使用。", words.En, words.Zh)
	case !m.Waits():
		text = tideover.Textf("%[1]s: not possible while the line is down. Offer the customer: %[3]s.", "%[2]s：断网期间无法使用。请建议顾客改用：%[4]s。",
			words.En, words.Zh, instead.En, instead.Zh)
	case kind == "card":
		text = tideover.Textf("%[1]s: present it once and wait. It is charged if the line is back in time, and not at all otherwise. If the customer cannot wait: %[3]s.",
			"%[2]s：只刷一次并等待结果。网络及时恢复则扣款，否则不会扣款。顾客不便等待时请改用：%[4]s。", words.En, words.Zh, instead.En, instead.Zh)
	default:
		text = tideover.Textf("%[1]s: take it once and wait. It is charged if the line is back in time, and not at all otherwise. If the customer cannot wait: %[3]s.",
			"%[2]s：只操作一次并等待结果。网络及时恢复则扣款，否则不会扣款。顾客不便等待时请改用：%[4]s。", words.En, words.Zh, instead.En, instead.Zh)
	}
	if m.BannerEn != "" {
		text.En = m.BannerEn
	}
	if m.BannerZh != "" {
		text.Zh = m.BannerZh
	}
	return text
}

// Of returns what is said of a method: its own entry, else that of "*", else one of that name which says nothing.
func (all Methods) Of(method string) Method {
	other := Method{Name: method}
	for _, m := range all {
		if strings.EqualFold(m.Name, method) && method != "" {
			return m
		}
		if m.Name == anyMethod && !strings.EqualFold(method, cashMethod) {
			other = m
			other.Name = method
		}
	}
	return other
}

// judge holds a request against what its method may do. While no hub is heard a sale that may not wait is refused, and nothing else: a
// refund, a reversal and an advice have no customer waiting, and are kept until they are done.
func (all Methods) judge(r tideover.Request, heard bool) error {
	if heard || r.Kind != tideover.KindSale {
		return nil
	}
	m := all.Of(r.Method)
	if m.Waits() {
		return nil
	}
	words := called(r.Method)
	if r.Method == "" {
		words = tideover.Text{En: "this payment", Zh: "此次付款"}
	}
	_, instead := m.Instead()
	refusal := tideover.Refuse(tideover.CodeOfflineLimit,
		"the line is down, and %[1]s is not taken meanwhile: nothing was stored or charged. Offer the customer %[3]s instead, or send it again under the same key when the line is back",
		"网络中断，期间不受理%[2]s：未保存，也未扣款。请建议顾客改用%[4]s，或在网络恢复后用同一幂等键重发",
		words.En, words.Zh, instead.En, instead.Zh)
	refusal.RetryAfter = RetryOffline
	return refusal
}

// Banner sums up for the whole shop what is taken while no hub is heard.
func (all Methods) Banner() tideover.Text {
	var refused [2][]string
	for _, m := range all {
		if words := called(m.Name); !m.Waits() {
			if m.Name == anyMethod {
				words = tideover.Text{En: "all other payments", Zh: "其他各种支付方式"}
			}
			_, instead := m.Instead()
			refused[0] = append(refused[0], words.En+" (instead: "+instead.En+")")
			refused[1] = append(refused[1], words.Zh+"（请改用"+instead.Zh+"）")
		}
	}
	if len(refused[0]) == 0 {
		return tideover.Text{
			En: "Offline: sales wait for the line and end uncharged if it is not back in time; ask for cash if the customer cannot wait.",
			Zh: "离线：交易等待网络恢复，逾时未恢复则不会扣款；顾客不便等待时请收现金。",
		}
	}
	return tideover.Textf("Offline. Not taken until the line is back: %[1]s.", "离线。网络恢复前不受理：%[2]s。",
		strings.Join(refused[0], ", "), strings.Join(refused[1], "、"))
}

// Check tells bad what no shop can mean, each under its key in the file.
func (all Methods) Check(bad func(key string, what, hint tideover.Text)) {
	if len(all) > MethodsMax {
		bad("method", tideover.Textf("%d methods, at most %d", "共有 %d 种支付方式，最多 %d 种", len(all), MethodsMax),
			tideover.Textf(`leave some out; name = "*" stands for every other`, `请删去一些；name = "*" 代表其余所有方式`))
		return
	}
	for i, m := range all {
		at := "method[" + strconv.Itoa(i) + "]."
		all[:i].checkName(at+"name", m.Name, bad)
		for _, text := range []struct {
			key, value string
			most       int
		}{
			{"offer", m.Offer, MethodMax},
			{"offer_en", m.OfferEn, BannerMax},
			{"offer_zh", m.OfferZh, BannerMax},
			{"banner_en", m.BannerEn, BannerMax},
			{"banner_zh", m.BannerZh, BannerMax},
		} {
			if !isLine(text.value, text.most) {
				bad(at+text.key, tideover.Textf("is longer than %d characters, or no single line of text", "超过 %d 个字符，或不是单行文字", text.most),
					tideover.Textf("shorten it: a till shows it in its banner", "请缩短：终端会在横幅中显示它"))
			}
		}
		all.checkOffer(at+"offer", m, bad)
	}
}

// checkName judges a name after those that stand before it.
func (all Methods) checkName(key, name string, bad func(key string, what, hint tideover.Text)) {
	if name == "" || !isLine(name, MethodMax) {
		bad(key, tideover.Textf("%q names no method", "%q 不是支付方式", name),
			tideover.Textf(`write what tills send as "method", like "qr", at most %d characters; "*" is every other`, `请填写终端在 "method" 中发送的名称，例如 "qr"，最多 %d 个字符；"*" 代表其余所有方式`, MethodMax))
	}
	for _, earlier := range all {
		if strings.EqualFold(earlier.Name, name) {
			bad(key, tideover.Textf("%q stands there twice", "%q 重复出现", name), tideover.Textf("give each method one [[method]]", "每种支付方式只写一个 [[method]]"))
			return
		}
	}
}

// checkOffer finds an offer that is missing, and one that leads a cashier in a circle.
func (all Methods) checkOffer(key string, m Method, bad func(key string, what, hint tideover.Text)) {
	hint := tideover.Textf(`write what works without the line, like offer = "cash"`, `请填写断网时仍可用的方式，例如 offer = "cash"`)
	switch {
	case !m.Waits() && strings.TrimSpace(m.Offer) == "":
		bad(key, tideover.Textf("%q may not wait, and nothing is offered instead", "%q 不可等待，但没有填写替代方式", m.Name), hint)
	case m.Offer != "" && strings.EqualFold(m.Offer, m.Name):
		bad(key, tideover.Textf("%q is offered instead of itself", "%q 的替代方式就是它自己", m.Name), hint)
	case m.Offer != "" && !all.Of(m.Offer).Waits() && all.knows(m.Offer):
		bad(key, tideover.Textf("%q is offered, and may not wait either", "所填的替代方式 %q 同样不可等待", m.Offer), hint)
	}
}

// knows says whether a label is that of a method, rather than a word of the shop's own, which "*" does not judge.
func (all Methods) knows(label string) bool {
	for _, m := range all {
		if strings.EqualFold(m.Name, label) {
			return true
		}
	}
	_, known := methodNames[strings.ToLower(label)]
	return known
}

// isLine says whether s is one line of readable text of at most so many characters.
func isLine(s string, most int) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) && utf8.RuneCountInString(s) <= most
}
