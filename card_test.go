package tideover

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestFindCardData_KnowsWhatItSees(t *testing.T) {
	for text, want := range map[string]CardData{
		// Numbers that issuers publish for tests.
		"4111111111111111":                   CardNumber, // Visa
		"4222222222222":                      CardNumber, // Visa of 13 digits
		"5555555555554444":                   CardNumber, // Mastercard
		"2223003122003222":                   CardNumber, // Mastercard, 2-series
		"378282246310005":                    CardNumber, // American Express
		"6011111111111117":                   CardNumber, // Discover
		"3530111333300000":                   CardNumber, // JCB
		"30569309025904":                     CardNumber, // Diners Club
		"38520000023237":                     CardNumber, // Diners Club
		"6200000000000005":                   CardNumber, // UnionPay
		"6200000000000000000":                CardNumber, // UnionPay of 19 digits
		"8171999927660000":                   CardNumber, // UnionPay 81
		"6759649826438453":                   CardNumber, // Maestro
		"2200000000000004":                   CardNumber, // Mir
		"6521111111111110":                   CardNumber, // RuPay
		"4111 1111 1111 1111":                CardNumber,
		"4111-1111-1111-1111":                CardNumber,
		"4111.1111.1111.1111":                CardNumber,
		"4111 - 1111 - 1111 - 1111":          CardNumber,
		"4111\u00a01111\u00a01111\u00a01111": CardNumber,
		"4111–1111–1111–1111":                CardNumber,
		"41111111 11111111":                  CardNumber,
		"41 11 11 11 11 11 11 11":            CardNumber,
		"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1":    CardNumber,
		"3782 822463 10005":                  CardNumber,
		"3056 930902 5904":                   CardNumber,
		"620000 0000000000000":               CardNumber,
		"6200 0000 0000 0000 000":            CardNumber,
		"４１１１１１１１１１１１１１１１":                   CardNumber,
		"卡号４１１１ １１１１ １１１１ １１１１。":               CardNumber,
		"paid with 4111111111111111, thanks":   CardNumber,
		"PAN4111111111111111":                  CardNumber,
		"decade4111111111111111":               CardNumber,
		"c4111111111111111":                    CardNumber,
		"tok_4111111111111111_live":            CardNumber,
		"10 4111 1111 1111 1111 20":            CardNumber,
		`{"pan":"4111111111111111"}`:           CardNumber,
		"5A0841111111111111119F2608AABBCCDDEE": CardNumber, // a chip's tag 5A
		"5A08378282246310005F":                 CardNumber,

		"%B4111111111111111^DOE/JOHN^25121010000000000?": CardTrack,
		"B4111111111111111^DOE/JOHN^2512101":             CardTrack,
		"%B6222020000000000000^ZHANG/SAN^2512101?":       CardTrack, // whatever the issuer
		";4111111111111111=25121010000012345678?":        CardTrack,
		"4111111111111111=2512101":                       CardTrack,
		"4111111111111111D25121010000012345678F":         CardTrack,
		"57114111111111111111D25121010000012345678F":     CardTrack, // a chip's tag 57
		"9F2608AABB57114111111111111111d2512101000F5F34": CardTrack,
		";014111111111111111=1561560000?":                CardTrack, // track 3

		"cvv=123": CardCode, "CVV: 123": CardCode, "cvv2=1234": CardCode, "cvc 123": CardCode, "CVC2: 999": CardCode, "cvv123": CardCode,
		"CVV code is 123": CardCode, "安全码：123": CardCode, "安全码是１２３": CardCode, `{"cvv":"123"}`: CardCode, "ＣＶＶ２：１２３": CardCode, `{\"cvv\":\"123\"}`: CardCode,
		"card_cvv=123": CardCode, "security code 123": CardCode, "<CVV>123</CVV>": CardCode,
		"pin=1234": CardPIN, "PIN: 123456": CardPIN, "pin_block=04A1B2C3D4E5F607": CardPIN, "密码：123456": CardPIN, "PIN is 1234": CardPIN,
		`"pinblock":"0412AC89ABCDEF67"`: CardPIN,

		"":                 CardNone,
		"A-1001":           CardNone,
		"4111111111111112": CardNone, // Luhn
		"411111******1111": CardNone, "411111xxxxxx1111": CardNone, "4111 11** **** 1111": CardNone, "************1111": CardNone,
		"41111111111111111111111": CardNone, // part of a longer run
		"1234567890123456":        CardNone,
		"20261127133626000017":    CardNone, // an order number that begins with a date
		"2026112713362600":        CardNone, "202611271336260": CardNone, "2026-1127-1336-2600": CardNone,
		"1764250586000":             CardNone, // milliseconds
		"1764250586000000000":       CardNone, // nanoseconds
		"134567890123456789":        CardNone, // a WeChat code
		"4111 1111 1111":            CardNone,
		"4111, 1111, 1111, 1111":    CardNone,
		"5312-20261127-0013":        CardNone,
		"622202-20261118":           CardNone,
		"9780141036144":             CardNone, // ISBN
		"6901028075831":             CardNone, // a Chinese article
		"4006381333931":             CardNone, // a German one
		"13812345678":               CardNone, // a telephone
		"192.168.100.200:8443":      CardNone,
		"2026-11-27T13:36:26+08:00": CardNone,
		"cvv_result=2":              CardNone, "cvv 12345": CardNone, "cvv match": CardNone, "recv 123": CardNone, "cvvtest 9": CardNone,
		"pin 1234": CardNone, "ping=1234": CardNone, "spin: 1234": CardNone, "pin=12": CardNone, "pairing code 123456": CardNone,
		"4539148803436467-is-a-card":                                       CardNumber,
		"d41d8cd9-4539-1488-0343-646798ecf842":                             CardNone, // a UUID
		"e3b0c44298fc1c149afb4539148803436467e4649b934ca495991b7852b855ab": CardNone, // a hash
	} {
		if got := FindCardData(text); got != want {
			t.Errorf("%q: found %d, want %d", text, got, want)
		}
	}
}

func TestMask_LeavesTheRest(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"A-1001 is paid":          "A-1001 is paid",
		"4111111111111111":        "411111******1111",
		"a 4111 1111 1111 1111 b": "a 4111 11** **** 1111 b",
		"3782-822463-10005":       "3782-82****-*0005",
		"6200 0000 0000 0000 000": "6200 00** **** ***0 000",
		"４１１１１１１１１１１１１１１１号":                                  "４１１１１１******１１１１号",
		"4111111111111111 5555555555554444":                  "411111******1111 555555******4444",
		"x%B4111111111111111^DOE/JOHN^25121010000000000?y":   "x[track data]y",
		"x ;4111111111111111=25121010000012345678? y":        "x [track data] y",
		"57114111111111111111D25121010000012345678F9F2608AA": "5711[track data]9F2608AA",
		"cvv=123, amount 123":                                "cvv=***, amount 123",
		"安全码：123":                                            "安全码：***",
		"pinblock=04A1B2C3D4E5F607 amount=1":                 "pinblock=**************** amount=1",
		"\xff4111111111111111\xfe":                           "\xff411111******1111\xfe",
	} {
		got := Mask(text)
		if got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
		if again := Mask(got); again != got {
			t.Errorf("%q became %q the second time", got, again)
		}
	}
}

// TestMask_EndsWhateverItIsGiven has texts in which each round leaves numbers for the next.
func TestMask_EndsWhateverItIsGiven(t *testing.T) {
	begun := time.Now()
	for _, text := range []string{
		strings.Repeat("4", 64<<10), strings.Repeat("4 ", 32<<10), strings.Repeat("4242 ", 13<<10), strings.Repeat("0=", 32<<10),
		strings.Repeat("^", 64<<10), strings.Repeat("cvv", 20<<10), strings.Repeat("12345678901234^", 4<<10), strings.Repeat("pin:", 16<<10),
		strings.Repeat("123456789012=", 5<<10), strings.Repeat("5a08", 16<<10), strings.Repeat("000", 20<<10) + strings.Repeat("cvvcode", 100),
	} {
		if masked := Mask(text); FindCardData(masked) != CardNone {
			t.Errorf("%.40q… is not masked: %.80q…", text, masked)
		}
	}
	t.Logf("took %v", time.Since(begun))
}

// cards are numbers that could be given out, one generator for each issuer.
var cards = map[string]*rapid.Generator[string]{
	"Visa": numberOf("4", 16), "Visa of 19": numberOf("4", 19), "Mastercard": numberOf("53", 16), "Mastercard 2": numberOf("2345", 16),
	"American Express": numberOf("37", 15), "UnionPay": numberOf("62", 16), "UnionPay of 18": numberOf("62", 18), "UnionPay of 19": numberOf("62", 19),
	"UnionPay 81": numberOf("81", 17), "Discover": numberOf("6011", 16), "JCB": numberOf("3540", 16), "Diners Club": numberOf("36", 14), "Diners Club 300": numberOf("301", 16),
	"Maestro": numberOf("5018", 17), "Mir": numberOf("2202", 16), "RuPay": numberOf("508", 16), "RuPay 82": numberOf("82", 16),
}

// numberOf draws numbers that begin with some digits and pass the Luhn test.
func numberOf(begin string, digits int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		b.WriteString(begin)
		for b.Len() < digits-1 {
			b.WriteByte('0' + rapid.Byte().Draw(t, "digit")%10)
		}
		for check := range 10 {
			if number := b.String() + strconv.Itoa(check); luhn(number) {
				return number
			}
		}
		panic("no check digit fits")
	})
}

// without draws text in which no digit stands, so that it holds no card data and lengthens no number.
var without = rapid.StringMatching(`[a-zäöü付款\pP ]{0,12}[、。;,!]|`)

func TestFindCardData_FindsEveryIssuersNumbers(t *testing.T) {
	for name, numbers := range cards {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			number := numbers.Draw(t, "number")
			gap := rapid.SampledFrom([]string{"", " ", "-", ".", " - ", "　", "–"}).Draw(t, "gap")
			size := rapid.SampledFrom([]int{4, 8, 3, 5}).Draw(t, "group")
			var b strings.Builder
			for i, r := range number {
				if i > 0 && i%size == 0 {
					b.WriteString(gap)
				}
				if rapid.IntRange(0, 9).Draw(t, "wide") == 0 {
					r += '０' - '0'
				}
				b.WriteRune(r)
			}
			before, after := without.Draw(t, "before"), without.Draw(t, "after")
			text := before + b.String() + after
			if got := FindCardData(text); got == CardNone {
				t.Fatalf("%q is not found", text)
			}
			masked := Mask(text)
			if !strings.HasPrefix(masked, before) || !strings.HasSuffix(masked, after) {
				t.Fatalf("%q became %q", text, masked)
			}
			shown := 0
			for _, r := range masked {
				if digitOf(r) >= 0 {
					shown++
				}
			}
			if shown > 10 || FindCardData(masked) != CardNone || Mask(masked) != masked {
				t.Fatalf("%q became %q", text, masked)
			}
		}))
	}
}

// TestMask_LeavesTextWithoutCards draws what a shop's texts are full of: order numbers with dates, amounts, times, ids.
func TestMask_LeavesTextWithoutCards(t *testing.T) {
	plain := rapid.OneOf(
		without,
		rapid.StringMatching(`[a-zA-Z]{1,8} ?[0-9]{1,11}[,;]`),
		rapid.StringMatching(`2026(0[1-9]|1[0-2])[0-9]{5,13}[,;]`),
		rapid.StringMatching(`17[0-9]{11}([0-9]{6})?[,;]`),
		rapid.StringMatching(`1[0-5][0-9]{16}[,;]`),
		rapid.StringMatching(`(2[89])[0-9]{14,22}[,;]`),
		rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}[,;]`),
		rapid.StringMatching(`[0-9]{20,40}[,;]`),
		rapid.StringMatching(`[0-9]{6}\*{6}[0-9]{4}[,;]`),
	)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(plain, 0, 6).Draw(t, "text"), " ")
		if masked := Mask(text); masked != text {
			t.Fatalf("%q became %q", text, masked)
		}
	})
}

func TestMaskAttr_MasksWhateverIsLogged(t *testing.T) {
	const number = "4111111111111111"
	for name, handler := range map[string]func(*bytes.Buffer, *slog.HandlerOptions) slog.Handler{
		"json": func(b *bytes.Buffer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(b, o) },
		"text": func(b *bytes.Buffer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(b, o) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			log := slog.New(handler(&b, &slog.HandlerOptions{ReplaceAttr: MaskAttr}))
			log.With("with", number).WithGroup("group").Info("message "+number, "text", number, "err", errors.New("error "+number),
				"any", []string{number}, slog.Group("in", "side", number), "refusal", Refuse(CodeInternal, number, number))
			log.Info("plain", "n", 7, "err", errors.New("broken"), "txn", ID{1})
			if strings.Contains(b.String(), number) {
				t.Errorf("the log holds it: %s", b.String())
			}
			if got := strings.Count(b.String(), "411111******1111"); got != 7 {
				t.Errorf("%d of 7 are masked: %s", got, b.String())
			}
			if !strings.Contains(b.String(), "broken") || !strings.Contains(b.String(), "7") || !strings.Contains(b.String(), ID{1}.String()) {
				t.Errorf("other attributes are gone: %s", b.String())
			}
		})
	}
}

func FuzzMask(f *testing.F) {
	for _, s := range []string{
		"", "4111111111111111", "4111 1111 1111 1111", "４１１１１１１１１１１１１１１１", "%B4111111111111111^DOE/JOHN^2512101?", ";4111111111111111=2512101?",
		"57114111111111111111D25121010000012345678F", "5A08378282246310005F", "cvv=123", "pin: 1234", "密码：123456", "\xff4111111111111111",
		"d41d8cd9-4539-1488-0343-646798ecf842", "4242424242424242 4242424242424242424", "4111111111111111111111111111111=2512101",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		masked := Mask(s)
		if FindCardData(masked) != CardNone {
			t.Errorf("%q became %q, which still holds card data", s, masked)
		}
		if Mask(masked) != masked {
			t.Errorf("%q became %q, and then %q", s, masked, Mask(masked))
		}
		if FindCardData(s) == CardNone && masked != s {
			t.Errorf("%q holds nothing, and became %q", s, masked)
		}
	})
}
