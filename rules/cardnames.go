package rules

import (
	"slices"
	"strings"

	"tideover"
)

// What fields are called. Names are compared in small letters and without what joins their words.

var joints = strings.NewReplacer("_", "", "-", "", ".", "", " ", "")

func plainName(name string) string { return joints.Replace(strings.ToLower(name)) }

// numberNames are those of fields for a card number. Numbers of members' and gift cards have other names.
var numberNames = []string{
	"pan", "pan1", "panno", "pannumber", "cardpan", "clearpan", "fullpan", "primaryaccountnumber", "card", "cardnumber", "cardno", "cardnr",
	"cardnum", "cardnbr", "cc", "ccno", "ccnum", "ccnumber", "bankcard", "bankcardno", "bankcardnum", "bankcardnumber", "creditcard", "creditcardno",
	"creditcardnum", "creditcardnumber", "debitcard", "debitcardno", "debitcardnum", "debitcardnumber", "paymentcardnumber",
	"卡号", "银行卡", "银行卡号", "信用卡号", "借记卡号", "储蓄卡号", "支付卡号", "完整卡号",
}

// numberParts are what the number is called inside of an object that is a card.
var numberParts = []string{"number", "no", "num", "nr", "value", "clear", "plain", "号码"}

// secretNames are those of fields that no value may stand in.
var secretNames = []struct {
	kind  tideover.CardData
	names []string
}{
	{tideover.CardTrack, []string{
		"track1", "track2", "track3", "tracks", "trackone", "tracktwo", "trackthree", "trackdata", "cardtrack", "magstripe", "magstripedata", "magneticstripe",
		"magdata", "msr", "msrdata", "swipe", "swipedata", "磁道", "磁道信息", "磁道数据", "磁条", "磁条信息", "磁条数据",
	}},
	{tideover.CardCode, []string{
		"cvv", "cvv1", "cvv2", "cvc", "cvc1", "cvc2", "cvn", "cvn2", "cav", "cav2", "csc", "icvv", "dcvv", "cvd", "cvdvalue", "securitycode",
		"cardsecuritycode", "cardverificationvalue", "cardverificationcode", "cardverificationnumber", "安全码", "卡安全码", "卡验证码",
	}},
	{tideover.CardPIN, []string{
		"pin", "pinblock", "pindata", "pinvalue", "pincode", "pinoffset", "pvv", "epb", "encryptedpin", "encryptedpinblock", "encpin", "encpinblock",
		"cardpin", "userpin", "onlinepin", "offlinepin", "clearpin", "密码", "支付密码", "卡密码", "交易密码", "取款密码", "银行卡密码",
	}},
}

// secretParts are what names of that kind hold, whatever else is in them: emv_track2_equivalent, customer.cvv, payer_pin_block.
var secretParts = []struct {
	kind  tideover.CardData
	parts []string
}{
	{tideover.CardTrack, []string{"track1", "track2", "track3", "trackdata", "magstripe", "magneticstripe", "磁道", "磁条"}},
	{tideover.CardCode, []string{"cvv", "cvc2", "cav2", "cvn2", "cardsecuritycode", "cardverificationvalue", "cardverificationcode", "安全码"}},
	{tideover.CardPIN, []string{"pinblock", "pindata", "encryptedpin", "密码"}},
}

// verdicts end the names of fields that tell what came of a test, and not what was tested.
var verdicts = []string{"result", "resultcode", "response", "responsecode", "status", "indicator", "check", "match", "present", "mode", "method", "type", "结果"}

// named is what a name inside of an object says of its value. All that is below a secret's name is secret; below a card's, only what is
// called its number.
func (in within) named(name string) within {
	name = plainName(name)
	if kind := secretName(name); kind != tideover.CardNone {
		in.kind = kind
	} else if slices.Contains(numberNames, name) {
		in.kind = max(in.kind, tideover.CardNumber)
	} else if in.kind == tideover.CardNumber && !slices.Contains(numberParts, name) {
		in.kind = tideover.CardNone
	}
	in.code = in.code || slices.Contains(codeNames, name)
	return in
}

func secretName(name string) tideover.CardData {
	for _, s := range secretNames {
		if slices.Contains(s.names, name) {
			return s.kind
		}
	}
	for _, s := range secretParts {
		for _, part := range s.parts {
			if at := strings.Index(name, part); at >= 0 && !endsInVerdict(name) && !goesOn(name[at+len(part):]) {
				return s.kind
			}
		}
	}
	return tideover.CardNone
}

func endsInVerdict(name string) bool {
	return slices.ContainsFunc(verdicts, func(verdict string) bool { return strings.HasSuffix(name, verdict) })
}

// goesOn says whether a number that a part ends in has more digits: track12 is a song.
func goesOn(rest string) bool { return rest != "" && rest[0] >= '0' && rest[0] <= '9' && len(rest) < 3 }

// codeNames are those of fields for a pay code that a till has scanned.
var codeNames = []string{
	"authcode", "authno", "paycode", "paymentcode", "payauthcode", "scancode", "dynamicid", "dynamiccode", "barcode", "qrcode", "qr", "qrno", "qrcodeno",
	"c2bcode", "usercode", "buyercode", "付款码", "支付码", "条码", "条形码", "二维码", "授权码", "扫码",
}

// scanWords are found in the methods that scan a customer's pay code.
var scanWords = []string{
	"qr", "scan", "barcode", "paycode", "alipay", "wechat", "weixin", "wxpay", "unionpay", "quickpass", "yunshanfu", "baitiao", "jdpay", "jingdong", "wallet", "ecny",
	"支付宝", "微信", "云闪付", "银联", "白条", "京东", "扫码", "付款码", "数字人民币", "数币",
}

// scans says whether a method is paid with a pay code that the till scans.
func scans(method string) bool {
	method = plainName(method)
	return !takesCards(method) && (method == "jd" || slices.ContainsFunc(scanWords, func(word string) bool { return strings.Contains(method, word) }))
}

// takesCards says whether a method is paid with a card of plastic.
func takesCards(method string) bool {
	method = plainName(method)
	return slices.ContainsFunc([]string{"card", "credit", "debit", "swipe", "chip", "卡", "刷"}, func(word string) bool { return strings.Contains(method, word) })
}

// isPayCode says whether a text has the form of a pay code, which is exempt from the tests of card numbers: one in ten passes Luhn's by
// chance, and UnionPay's codes begin with 62 as its cards do. A code is good for a minute and once, so that it may be kept, sealed. What is
// paid by card is no pay code, nor is a number of 13 to 16 digits that a method does not scan.
//
// Forms: WeChat Pay 18 digits that begin with 10 to 15 (its documentation of codepay); Alipay 16 to 24 that begin with 25 to 30 (of
// alipay.trade.pay, auth_code); UnionPay 19 that begin with 62 (QuickPass, consumer-presented mode); JD Pay and others 18.
func isPayCode(s string, scanned, card bool) bool {
	s = strings.TrimSpace(s)
	if card || len(s) < 16 || len(s) > 24 || strings.Trim(s, "0123456789") != "" {
		return false
	}
	begins := s[:2]
	switch {
	case begins >= "25" && begins <= "30":
		return scanned || len(s) > 16
	case begins >= "10" && begins <= "15" && len(s) == 18:
		return true
	default:
		return scanned && len(s) > 16
	}
}
