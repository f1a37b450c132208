package rules

import (
	"errors"
	"strings"
	"testing"

	"tideover"
)

func no() *bool  { b := false; return &b }
func yes() *bool { b := true; return &b }

func TestMethods_Judges(t *testing.T) {
	shop := Methods{
		{Name: "qr", MayWait: no(), Offer: "cash"},
		{Name: "wechat", MayWait: yes()},
		{Name: "Card", MayWait: no(), Offer: "imprint", OfferEn: "the paper slip", OfferZh: "手工压单"},
	}
	others := append(Methods{{Name: "*", MayWait: no(), Offer: "cash"}}, shop...)
	sale := func(method string) tideover.Request {
		return tideover.Request{Kind: tideover.KindSale, Method: method, Amount: 5}
	}
	of := func(kind tideover.Kind) tideover.Request {
		return tideover.Request{Kind: kind, Method: "qr", Amount: 5}
	}
	for name, c := range map[string]struct {
		methods Methods
		request tideover.Request
		heard   bool
		instead []string // of the refusal, in both languages; nil: taken
	}{
		"nothing is configured":               {nil, sale("qr"), false, nil},
		"it may wait":                         {shop, sale("wechat"), false, nil},
		"it is not named":                     {shop, sale("alipay"), false, nil},
		"no method":                           {shop, sale(""), false, nil},
		"it may not":                          {shop, sale("qr"), false, []string{"QR code", "扫码支付", "offer the customer cash", "现金"}},
		"upper and lower case are one":        {shop, sale("card"), false, []string{"card", "the paper slip", "手工压单"}},
		"the other way round":                 {shop, sale("QR"), false, []string{"QR code", "cash"}},
		"a hub is heard":                      {shop, sale("qr"), true, nil},
		"a refund":                            {shop, of(tideover.KindRefund), false, nil},
		"a reversal":                          {shop, of(tideover.KindReversal), false, nil},
		"an advice":                           {shop, of(tideover.KindAdvice), false, nil},
		"every other":                         {others, sale("alipay"), false, []string{"Alipay", "支付宝", "cash"}},
		"every other, of the shop's own":      {others, sale("jdpay"), false, []string{"jdpay", "cash", "现金"}},
		"every other, without a method":       {others, sale(""), false, []string{"this payment", "此次付款", "cash", "现金"}},
		"its own line counts before any":      {others, sale("wechat"), false, nil},
		"cash is not among the others":        {others, sale("cash"), false, nil},
		"cash, when it is named":              {Methods{{Name: "cash", MayWait: no(), Offer: "card"}}, sale("cash"), false, []string{"card"}},
		"every other while a hub is heard":    {others, sale("alipay"), true, nil},
		"a name that begins like another":     {shop, sale("qr2"), false, nil},
		"an advice under a stern every other": {others, tideover.Request{Kind: tideover.KindAdvice}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.methods.judge(c.request, c.heard)
			if c.instead == nil {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			r, ok := errors.AsType[*tideover.Refusal](err)
			if !ok || r.Code != tideover.CodeOfflineLimit || r.RetryAfter != RetryOffline {
				t.Fatalf("got %v", err)
			}
			bothLanguages(t, r.Detail)
			for _, word := range c.instead {
				if !strings.Contains(strings.ToLower(r.Detail.En+r.Detail.Zh), strings.ToLower(word)) {
					t.Errorf("it does not say %q: %+v", word, r.Detail)
				}
			}
		})
	}
}

func TestMethod_BannerTellsACashier(t *testing.T) {
	for name, c := range map[string]struct {
		method Method
		en, zh string // part of it
	}{
		"it may wait":        {Method{Name: "qr"}, "QR code: take it once and wait. It is charged if the line is back in time, and not at all otherwise. If the customer cannot wait: cash.", "扫码支付：只操作一次"},
		"a card":             {Method{Name: "card"}, "present it once", "只刷一次"},
		"a word of its own":  {Method{Name: "voucher"}, "voucher: take it once", "voucher："},
		"it may not":         {Method{Name: "alipay", MayWait: no(), Offer: "card"}, "Alipay: not possible while the line is down. Offer the customer: card.", "支付宝：断网期间无法使用。请建议顾客改用：银行卡。"},
		"every other":        {Method{Name: "*", MayWait: no(), Offer: "cash"}, "Other payments: not possible", "其他支付方式：断网"},
		"cash":               {Method{Name: "cash"}, "Cash is taken as always", "现金照常收取"},
		"words of the shop":  {Method{Name: "qr", BannerEn: "Ask Lin.", BannerZh: "请找小林。"}, "Ask Lin.", "请找小林。"},
		"in one language":    {Method{Name: "qr", BannerZh: "请找小林。"}, "QR code: take it once", "请找小林。"},
		"an offer in words":  {Method{Name: "qr", MayWait: no(), Offer: "slip", OfferEn: "a paper slip", OfferZh: "手工单"}, "Offer the customer: a paper slip.", "改用：手工单。"},
		"an offer as a word": {Method{Name: "qr", MayWait: no(), Offer: "slip"}, "Offer the customer: slip.", "改用：slip。"},
	} {
		text := c.method.Banner()
		if !strings.Contains(text.En, c.en) || !strings.Contains(text.Zh, c.zh) {
			t.Errorf("%s: %+v", name, text)
		}
		bothLanguages(t, text)
	}
}

func TestMethods_BannerNamesWhatIsNotTaken(t *testing.T) {
	waiting := Methods{{Name: "qr"}, {Name: "card", MayWait: yes()}}.Banner()
	if waiting != Methods(nil).Banner() || !strings.Contains(waiting.En, "sales wait") {
		t.Errorf("everything may wait: %+v", waiting)
	}
	some := Methods{{Name: "qr", MayWait: no(), Offer: "cash"}, {Name: "card"}, {Name: "*", MayWait: no(), Offer: "card"}}.Banner()
	for _, text := range []tideover.Text{waiting, some} {
		bothLanguages(t, text)
	}
	if want := "Offline. Not taken until the line is back: QR code (instead: cash), all other payments (instead: card)."; some.En != want {
		t.Errorf("have %q", some.En)
	}
	if want := "离线。网络恢复前不受理：扫码支付（请改用现金）、其他各种支付方式（请改用银行卡）。"; some.Zh != want {
		t.Errorf("have %q", some.Zh)
	}
}

func TestMethods_CheckFindsWhatNoShopCanMean(t *testing.T) {
	for name, c := range map[string]struct {
		methods Methods
		keys    string
	}{
		"nothing":                         {nil, ""},
		"all well":                        {Methods{{Name: "qr", MayWait: no(), Offer: "cash"}, {Name: "card"}, {Name: "*", MayWait: no(), Offer: "cash"}}, ""},
		"no name":                         {Methods{{}}, "method[0].name"},
		"a name too long":                 {Methods{{Name: strings.Repeat("x", MethodMax+1)}}, "method[0].name"},
		"a name of two lines":             {Methods{{Name: "q\nr"}}, "method[0].name"},
		"twice":                           {Methods{{Name: "qr"}, {Name: "card"}, {Name: "QR"}}, "method[2].name"},
		"every other twice":               {Methods{{Name: "*"}, {Name: "*"}}, "method[1].name"},
		"no offer":                        {Methods{{Name: "qr", MayWait: no()}}, "method[0].offer"},
		"an offer of spaces":              {Methods{{Name: "qr", MayWait: no(), Offer: " "}}, "method[0].offer"},
		"no offer, and it may wait":       {Methods{{Name: "qr", MayWait: yes()}}, ""},
		"itself":                          {Methods{{Name: "qr", MayWait: no(), Offer: "QR"}}, "method[0].offer"},
		"a circle of two":                 {Methods{{Name: "qr", MayWait: no(), Offer: "card"}, {Name: "card", MayWait: no(), Offer: "qr"}}, "method[0].offer method[1].offer"},
		"what every other forbids":        {Methods{{Name: "*", MayWait: no(), Offer: "card"}}, "method[0].offer"},
		"a word that is no method":        {Methods{{Name: "*", MayWait: no(), Offer: "come back later"}}, ""},
		"a method of its own that is not": {Methods{{Name: "*", MayWait: no(), Offer: "cash"}, {Name: "qr", MayWait: no(), Offer: "alipay"}}, "method[1].offer"},
		"a banner too long":               {Methods{{Name: "qr", BannerEn: strings.Repeat("x", BannerMax+1)}}, "method[0].banner_en"},
		"a banner of two lines":           {Methods{{Name: "qr", BannerZh: "一\n二"}}, "method[0].banner_zh"},
		"too many":                        {make(Methods, MethodsMax+1), "method"},
	} {
		var keys []string
		c.methods.Check(func(key string, what, hint tideover.Text) {
			keys = append(keys, key)
			bothLanguages(t, what)
			bothLanguages(t, hint)
		})
		if got := strings.Join(keys, " "); got != c.keys {
			t.Errorf("%s: complains of %q, want %q", name, got, c.keys)
		}
	}
}
