package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tideover"
)

// forbidden returns the fields that a refusal of card data names; nil where nothing is refused.
func forbidden(t *testing.T, err error) (fields []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	refusal, ok := errors.AsType[*tideover.Refusal](err)
	if !ok || refusal.Code != tideover.CodeForbiddenCardData || len(refusal.Fields) == 0 {
		t.Fatalf("got %v, want a forbidden_card_data that names fields", err)
	}
	sentence := refusal.Detail
	for _, f := range refusal.Fields {
		fields = append(fields, f.Field)
		sentence.En = strings.ReplaceAll(sentence.En, f.Field, "it")
		bothLanguages(t, f.Detail)
		if !strings.Contains(refusal.Detail.En, f.Field) || !strings.Contains(refusal.Detail.Zh, f.Field) {
			t.Errorf("the detail does not name %s: %+v", f.Field, refusal.Detail)
		}
	}
	bothLanguages(t, sentence)
	return fields
}

const (
	clearNumber = "4111111111111111"
	track1      = "%B4111111111111111^DOE/JOHN^25121010000000000?"
	track2      = ";4111111111111111=25121010000012345678?"
)

func TestCardData_JudgesEveryText(t *testing.T) {
	for _, secret := range []string{clearNumber, "4111 1111 1111 1111", track1, track2, "cvv: 123", "pin: 1234"} {
		for field, change := range map[string]func(*tideover.Request){
			"method":     func(r *tideover.Request) { r.Method = secret },
			"order":      func(r *tideover.Request) { r.Order = "A-1 " + secret },
			"operator":   func(r *tideover.Request) { r.Operator = secret },
			"instrument": func(r *tideover.Request) { r.Instrument = secret },
		} {
			r := sale()
			change(&r)
			err := CardData(r, Text{"Idempotency-Key", "K-1"})
			if got := forbidden(t, err); !slices.Equal(got, []string{field}) {
				t.Errorf("%q in %s: fields %q", secret, field, got)
			}
			saysNothing(t, err, secret)
		}
		err := CardData(sale(), Text{"Idempotency-Key", secret}, Text{"Tideover-Terminal", "till " + secret})
		if got := forbidden(t, err); !slices.Equal(got, []string{"Idempotency-Key", "Tideover-Terminal"}) {
			t.Errorf("%q in the header: fields %q", secret, got)
		}
		if got := forbidden(t, CardText(Text{"reason", secret}, Text{"other", "fine"})); !slices.Equal(got, []string{"reason"}) {
			t.Errorf("%q in a reason: fields %q", secret, got)
		}
	}
	if err := CardData(sale(), Text{"Idempotency-Key", "4c1b8e52-4539-4a14-8803-436467001122"}); err != nil {
		t.Errorf("an ordinary request is refused: %v", err)
	}
}

// saysNothing fails for a refusal that repeats what was secret.
func saysNothing(t *testing.T, err error, secret string) {
	t.Helper()
	said, _ := json.Marshal(err)
	if strings.Contains(string(said), secret) || strings.Contains(err.Error(), secret) {
		t.Errorf("the refusal repeats %q: %s", secret, said)
	}
}

func TestCardData_JudgesThePayload(t *testing.T) {
	for payload, fields := range map[string][]string{
		// By name, whatever the value.
		`{"cvv":"123"}`:                                   {"payload.cvv"},
		`{"CVV2":123}`:                                    {"payload.CVV2"},
		`{"cvc":"12"}`:                                    {"payload.cvc"},
		`{"card_cvv":"1"}`:                                {"payload.card_cvv"},
		`{"Security Code":"x1"}`:                          {"payload.Security Code"},
		`{"card-verification.value":"7"}`:                 {"payload.card-verification.value"},
		`{"a":[{"b":{"pin_block":"0412AC"}}]}`:            {"payload.a[0].b.pin_block"},
		`{"PIN":1234}`:                                    {"payload.PIN"},
		`{"encryptedPinData":{"ksn":"1","data":"2"}}`:     {"payload.encryptedPinData.ksn", "payload.encryptedPinData.data"},
		`{"track1":"B4","track2":["",";4"],"track_3":1}`:  {"payload.track1", "payload.track2[1]", "payload.track_3"},
		`{"track2Data":"q"}`:                              {"payload.track2Data"},
		`{"emv_track2_equivalent":"57"}`:                  {"payload.emv_track2_equivalent"},
		`{"magStripe":"q"}`:                               {"payload.magStripe"},
		`{"msr":"q"}`:                                     {"payload.msr"},
		`{"卡":{"磁道信息":"q"},"安全码":"12"}`:                   {"payload.卡.磁道信息", "payload.安全码"},
		`{"支付密码":"abc"}`:                                  {"payload.支付密码"},
		`{"pan":"123456789012"}`:                          {"payload.pan"}, // no issuer's
		`{"card_number":"1234 5678 9012 34"}`:             {"payload.card_number"},
		`{"card":{"number":1234567890123456}}`:            {"payload.card.number"},
		`{"银行卡号":"1234567890123456789"}`:                  {"payload.银行卡号"},
		`{"primary_account_number":["1234567890123456"]}`: {"payload.primary_account_number[0]"},
		// By content.
		`"4111111111111111"`:                                      {"payload"},
		`4111111111111111`:                                        {"payload"},
		`{"x":4111111111111111}`:                                  {"payload.x"},
		`{"x":4.111111111111111e15}`:                              {"payload.x"},
		`{"x":41111111111111110E-1}`:                              {"payload.x"},
		`{"x":-4111111111111111.0}`:                               {"payload.x"},
		`{"x":[1,[2,{"y":"a 4111 1111 1111 1111"}]]}`:             {"payload.x[1][1].y"},
		`{"x":"` + track1 + `"}`:                                  {"payload.x"},
		`{"x":"` + track2 + `"}`:                                  {"payload.x"},
		`{"emv":"9F2608AABB57114111111111111111D2512101000F"}`:    {"payload.emv"},
		`{"raw":"{\"cvv\":\"123\"}"}`:                             {"payload.raw"},
		`{"raw":"<pan>4111111111111111</pan>"}`:                   {"payload.raw"},
		`{"note":"cvv 123"}`:                                      {"payload.note"},
		`{"4111111111111111":true}`:                               {"payload.411111******1111"},
		`{"` + track2 + `":{"a":null}}`:                           {"payload.[track data]"},
		`{"\u0034111111111111111":1,"x":"\u0034111111111111111"}`: {"payload.411111******1111", "payload.x"},
		`{"x":"4111`:                                              {}, // not JSON, and nothing in it
		`{"x":"4111111111111111`:                                  {"payload"},
		`{} {"x":"4111111111111111"}`:                             {"payload"},
		// What is none.
		`{"cvv":"","cvc":null,"cvv2":true,"pin":"****","track2":[],"pinblock":{}}`:                                            {},
		`{"cvv_result":"M","cvv2ResultCode":"N","pin_block_status":"ok"}`:                                                     {},
		`{"pinned":"yes","ping":12,"opinion":"good","tracking":"Z1","track12":"a song","spin":"x"}`:                           {},
		`{"pan":"411111******1111","card_number":"tok_1a2b","cardNo":"****1111","card":{"brand":"visa","id":"123456789012"}}`: {},
		`{"card":{"last4":"1111","bin":"411111","expiry":"12/27"}}`:                                                           {},
		`{"member_no":"20261127000012","order_no":"20261127133626000017","items":[{"ean":"6901028075831","qty":1.5e2}]}`:      {},
		`{"at":1764250586000,"ns":1764250586000000000,"lat":51.50735090,"big":1e400,"small":1e-400}`:                          {},
		`{"sha256":"e3b0c44298fc1c149afb4539148803436467e4649b934ca495991b7852b855ab"}`:                                       {},
		`null`: {}, `{}`: {}, `[]`: {}, `""`: {}, `true`: {},
	} {
		r := sale()
		r.Payload = []byte(payload)
		got := forbidden(t, CardData(r))
		if !slices.Equal(got, fields) && len(got)+len(fields) > 0 {
			t.Errorf("%s: fields %q, want %q", payload, got, fields)
		}
	}
}

func TestCardData_NamesAFewOfMany(t *testing.T) {
	r := sale()
	r.Payload = []byte(`{"x":[` + strings.Repeat(`"4111111111111111",`, 1000) + `1]}`)
	if got := forbidden(t, CardData(r)); len(got) != cardFieldsMax {
		t.Errorf("%d fields are named", len(got))
	}
	r.Payload = []byte(`{"` + strings.Repeat("x", 60) + clearNumber + `":"` + clearNumber + `"}`)
	err := CardData(r)
	if forbidden(t, err); strings.Contains(fmt.Sprint(err), "41111111") {
		t.Errorf("a number shows where a name is cut: %v", err)
	}
}

// wallets are the pay codes of wallets: how they begin, how long they are, and what tills call the method.
var wallets = map[string]struct {
	begins  []string
	digits  []int
	methods []string
}{
	"WeChat Pay": {[]string{"10", "11", "12", "13", "14", "15"}, []int{18}, []string{"qr", "wechat", "WeChat Pay", "weixin", "微信支付", ""}},
	"Alipay":     {[]string{"25", "26", "27", "28", "29", "30"}, []int{16, 17, 18, 19, 20, 21, 22, 23, 24}, []string{"qr", "alipay", "支付宝", "scan"}},
	"UnionPay":   {[]string{"62"}, []int{19}, []string{"qr", "unionpay", "quickpass", "云闪付", "UnionPay-QR"}},
	"JD Pay":     {[]string{"18", "62", "40", "51"}, []int{18}, []string{"jd", "baitiao", "白条", "qr_code"}},
}

func TestCardData_TakesEveryPayCode(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for name, w := range wallets {
		t.Run(name, func(t *testing.T) {
			byLuhn := 0
			for range 10_000 {
				code := []byte(w.begins[dice.IntN(len(w.begins))])
				for n := w.digits[dice.IntN(len(w.digits))]; len(code) < n; {
					code = append(code, byte('0'+dice.IntN(10)))
				}
				if tideover.FindCardData(string(code)) != tideover.CardNone {
					byLuhn++
				}
				r := sale()
				r.Method, r.Instrument = w.methods[dice.IntN(len(w.methods))], string(code)
				if err := CardData(r); err != nil {
					t.Fatalf("the code %s with method %q is refused: %v", code, r.Method, err)
				}
				r.Instrument, r.Payload = "", []byte(`{"auth_code":"`+string(code)+`","deep":[{"payCode":`+string(code)+`}]}`)
				if err := CardData(r); err != nil {
					t.Fatalf("the code %s in the payload with method %q is refused: %v", code, r.Method, err)
				}
			}
			t.Logf("%d of 10000 could be card numbers", byLuhn)
			if name == "UnionPay" && byLuhn < 500 {
				t.Errorf("only %d of the codes could be card numbers: the test tests nothing", byLuhn)
			}
		})
	}
}

func TestCardData_RefusesACardForAPayCode(t *testing.T) {
	for _, c := range []struct {
		method, instrument string
		refused            bool
	}{
		{"card", clearNumber, true},
		{"", clearNumber, true},
		{"qr", clearNumber, true}, // 16 digits of a card are no wallet's
		{"alipay", "5555555555554444", true},
		{"qr", "378282246310005", true},
		{"card", "6200000000000000000", true},
		{"unionpay_card", "6200000000000000000", true},
		{"银联卡", "6200000000000000000", true},
		{"", "6200000000000000000", true},
		{"unionpay", "6200000000000000000", false},
		{"qr", " 6200000000000000000 ", false},
		{"qr", "6200 0000 0000 0000 000", true}, // no scanner writes it so
		{"cash", "6200000000000000000", true},
		{"card", "tok_1a2b3c4d5e6f", false},
		{"card", "411111******1111", false},
		{"card", "2500000000000000009", false}, // no issuer's
		{"card", "2500000000000001", true},     // a Mastercard
		{"", "2500000000000001", true},
		{"alipay", "2500000000000001", false},
		{"qr", "4111111111111111D25121010000", true},
		{"qr", track2, true},
	} {
		r := sale()
		r.Method, r.Instrument = c.method, c.instrument
		if got := forbidden(t, CardData(r)); (len(got) == 1 && got[0] == "instrument") != c.refused || len(got) > 1 {
			t.Errorf("%q with method %q: fields %q, want refused %v", c.instrument, c.method, got, c.refused)
		}
	}
}

func TestWhole_WritesNumbersAsPeopleDo(t *testing.T) {
	for number, want := range map[string]string{
		"0": "", "12": "12", "-12": "12", "1.50": "1.5", "1e3": "1000", "1.5E+3": "1500", "4111e-2": "41.11", "12e-5": "12", "1e999": "1", "1e99999999999999999999": "1",
		"4.111111111111111e15": "4111111111111111", "0.4111111111111111e16": "4111111111111111", "4111111111111111.000": "4111111111111111",
	} {
		if got := whole(number); got != want {
			t.Errorf("%s became %q, want %q", number, got, want)
		}
	}
}

// FuzzCardData holds that a judgement ends, that what was refused repeats nothing, and that what was taken holds nothing that could be
// found in its strings one by one.
func FuzzCardData(f *testing.F) {
	for _, s := range []string{
		`{"cvv":"123"}`, `{"a":[{"pan":"4111 1111 1111 1111"}]}`, `{"auth_code":6200000000000000000}`, `4.111111111111111e15`, `{"4111111111111111":`, `"` + track2 + `"`,
	} {
		f.Add("qr", "134567890123456789", []byte(s))
	}
	f.Fuzz(func(t *testing.T, method, instrument string, payload []byte) {
		r := sale()
		r.Method, r.Instrument, r.Payload = method, instrument, payload
		err := CardData(r)
		if err == nil {
			if tideover.FindCardData(method) != tideover.CardNone {
				t.Errorf("the method %q is taken", method)
			}
			var values map[string]string
			if json.Unmarshal(payload, &values) == nil {
				for name, v := range values {
					if tideover.FindCardData(name) != tideover.CardNone || tideover.FindCardData(v) != tideover.CardNone && !isPayCode(v, true, false) {
						t.Errorf("the payload %q is taken", payload)
					}
				}
			}
			return
		}
		if forbidden(t, err); tideover.FindCardData(err.Error()) != tideover.CardNone {
			t.Errorf("the refusal holds card data: %v", err)
		}
	})
}

// TestCardData_FindsItAtAnyDepth draws a payload, puts a card's number somewhere into it, and wants that very place to be named.
func TestCardData_FindsItAtAnyDepth(t *testing.T) {
	spellings := []string{
		`"4111111111111111"`, `4111111111111111`, `"4111 1111 1111 1111"`, `4.111111111111111e15`, `"no. 4111-1111-1111-1111!"`, `"\u0034111111111111111"`,
		`"４１１１１１１１１１１１１１１１"`, `"` + track1 + `"`, `"` + track2 + `"`, `"cvv 123"`,
	}
	plain := []string{`1`, `-2.5e3`, `true`, `null`, `""`, `"a"`, `"411111******1111"`, `"20261127133626000017"`, `{}`, `[]`, `"6901028075831"`}
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SampledFrom(spellings).Draw(t, "secret")
		clean, foul, path := "null", secret, ""
		for range rapid.IntRange(0, 12).Draw(t, "depth") {
			before := rapid.SliceOfN(rapid.SampledFrom(plain), 0, 3).Draw(t, "before")
			after := rapid.SliceOfN(rapid.SampledFrom(plain), 0, 3).Draw(t, "after")
			if rapid.Bool().Draw(t, "array") {
				wrap := func(inner string) string {
					return "[" + strings.Join(slices.Concat(before, []string{inner}, after), ", ") + "]"
				}
				clean, foul, path = wrap(clean), wrap(foul), fmt.Sprintf("[%d]%s", len(before), path)
				continue
			}
			wrap := func(inner string) string {
				var fields []string
				for i, v := range slices.Concat(before, after) {
					fields = append(fields, fmt.Sprintf(`"f%d": %s`, i, v))
				}
				return "{" + strings.Join(slices.Insert(fields, len(before), `"here":`+inner), ",") + "}"
			}
			clean, foul, path = wrap(clean), wrap(foul), ".here"+path
		}
		r := sale()
		r.Payload = []byte(clean)
		if err := CardData(r); err != nil {
			t.Fatalf("%s is refused: %v", clean, err)
		}
		r.Payload = []byte(foul)
		refusal, ok := errors.AsType[*tideover.Refusal](CardData(r))
		if !ok || len(refusal.Fields) != 1 || refusal.Fields[0].Field != "payload"+path {
			t.Fatalf("%s: got %+v, want payload%s", foul, refusal, path)
		}
	})
}
