package tideover

import (
	"fmt"
	"log/slog"
	"strings"
)

// CardData is a kind of card data that a shop may not store in clear.
type CardData uint8

// The kinds, the gravest last. PCI DSS 4.0, requirement 3, has the last three stored by nobody, not even sealed; and a number only so
// that it cannot be read.
const (
	CardNone   CardData = iota
	CardNumber          // a clear card number
	CardCode            // the verification code that is printed on a card: CVV, CVC
	CardPIN             // a PIN or a PIN block
	CardTrack           // what is on the magnetic stripe, or its like on the chip
)

// FindCardData returns the gravest kind of card data that a text seems to hold. It knows it by its form: a number that an issuer gives
// out, see [IsCardNumber], also grouped and in full-width digits; track 1, track 2 and the chip's tags 57 and 5A; a verification code or a
// PIN behind its name. A number that stands for itself is found by no form but its own: three digits are a verification code only behind
// such a word.
func FindCardData(s string) (worst CardData) {
	for _, f := range findCardData(s) {
		worst = max(worst, f.kind)
	}
	return worst
}

// Mask returns a text in which the card data that [FindCardData] knows cannot be read any more: of a card number the first six and the last four
// digits are left, which PCI DSS 3.4.1 allows to be shown, and of anything else nothing. Other text stays as it is. What is masked
// may be masked again, and does not change. It is the second line of defence, for logs and errors: what is to be stored is refused instead.
func Mask(s string) string {
	for range maskRoundsMax {
		found := findCardData(s)
		if len(found) == 0 {
			return s
		}
		s = hide(s, found)
	}
	return strings.Map(func(r rune) rune { // a text made to outlast it
		if digitOf(r) >= 0 {
			return '*'
		}
		return r
	}, s)
}

// maskRoundsMax bounds the work on one text: what is left of one number may make another with its neighbours, and has to go in a second
// round. A text that still holds some after so many loses all its digits.
const maskRoundsMax = 8

// MaskAttr masks one attribute of a log line; it is the ReplaceAttr of [slog.HandlerOptions] in every program, so that no log holds
// card data, whoever wrote it into an error.
func MaskAttr(_ []string, a slog.Attr) slog.Attr {
	var text string
	switch a.Value.Kind() {
	case slog.KindString:
		text = a.Value.String()
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case slog.Level:
			return a
		case ID: // of a hash: what digits it has are nobody's card
			return slog.String(a.Key, v.String())
		default:
			text = fmt.Sprint(v)
		}
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindTime, slog.KindUint64, slog.KindGroup, slog.KindLogValuer:
		return a
	}
	if masked := Mask(text); masked != text {
		a.Value = slog.StringValue(masked)
	}
	return a
}

// finding is where a text holds card data: from and to are runes, to excluded.
type finding struct {
	from, to int
	kind     CardData
}

// trackGone stands where track data was.
const trackGone = "[track data]"

// hide masks what was found.
func hide(s string, found []finding) string {
	t := look(s)
	hidden := make([]CardData, len(t.class))
	for _, f := range found {
		for i, left := range f.rests(t) {
			if !left {
				hidden[f.from+i] = max(hidden[f.from+i], f.kind)
			}
		}
	}
	var b strings.Builder
	for i, kind := range hidden {
		switch {
		case kind == CardNone:
			b.WriteString(s[t.at[i]:t.at[i+1]])
		case kind != CardTrack:
			b.WriteByte('*')
		case i == 0 || hidden[i-1] != CardTrack:
			b.WriteString(trackGone)
		}
	}
	return b.String()
}

// rests says of each rune of a finding whether it may be shown.
func (f finding) rests(t *cardText) []bool {
	rests := make([]bool, f.to-f.from)
	if f.kind != CardNumber {
		return rests
	}
	digits := 0
	for i := f.from; i < f.to; i++ {
		if isDigit(t.class[i]) {
			digits++
		}
	}
	n := 0
	for i := range rests {
		digit := isDigit(t.class[f.from+i])
		rests[i] = !digit || n < 6 || n >= digits-4
		if digit {
			n++
		}
	}
	return rests
}

// findCardData returns every finding in a text.
func findCardData(s string) []finding {
	if !mayHoldCardData(s) {
		return nil
	}
	t := look(s)
	t.findTracks()
	t.findWords()
	t.passOverTokens()
	t.findNumbers()
	return t.found
}

// mayHoldCardData is a quick look: the shortest that there is has three digits. It is what most texts end with.
func mayHoldCardData(s string) bool {
	digits := 0
	for i := range len(s) {
		if isDigit(s[i]) || s[i] == 0xEF { // the first byte of a full-width digit
			if digits++; digits == 3 {
				return true
			}
		}
	}
	return false
}

// cardText is a text as the search reads it.
type cardText struct {
	s string
	// class has a byte for each rune: a digit, full-width ones too; a small letter for one of either case or width; ' ' and '-' for all that looks
	// like them; other ASCII as it is; 0 for the rest.
	class []byte
	at    []int32 // where each rune begins in s, and where the last one ends
	found []finding
}

func look(s string) *cardText {
	t := &cardText{s: s, class: make([]byte, 0, len(s)), at: make([]int32, 0, len(s)+1)}
	for i, r := range s {
		t.class = append(t.class, classOf(r))
		t.at = append(t.at, int32(i))
	}
	t.at = append(t.at, int32(len(s)))
	return t
}

func classOf(r rune) byte {
	switch {
	case digitOf(r) >= 0:
		return byte('0' + digitOf(r))
	case r >= 'A' && r <= 'Z':
		return byte(r - 'A' + 'a')
	case r < 0x80:
		return byte(r)
	case r >= 'Ａ' && r <= 'Ｚ':
		return byte(r - 'Ａ' + 'a')
	case r >= 'ａ' && r <= 'ｚ':
		return byte(r - 'ａ' + 'a')
	case r == 0xA0 || r == 0x3000 || r >= 0x2000 && r <= 0x200B: // spaces of all widths
		return ' '
	case r >= 0x2010 && r <= 0x2015 || r == 0x2212 || r == 0xFF0D: // dashes of all lengths
		return '-'
	case r == '：':
		return ':'
	case r == '＝':
		return '='
	}
	return 0
}

// digitOf returns the value of a digit as people in a shop may type one, and -1 for what is none.
func digitOf(r rune) int {
	switch {
	case r >= '0' && r <= '9':
		return int(r - '0')
	case r >= '０' && r <= '９':
		return int(r - '０')
	}
	return -1
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }
func isHex(c byte) bool    { return isDigit(c) || c >= 'a' && c <= 'f' }

// is says whether the rune at i, if there is one, is of a kind.
func (t *cardText) is(i int, kind func(byte) bool) bool {
	return i >= 0 && i < len(t.class) && kind(t.class[i])
}

// run returns where the runes of a kind that begin at i end.
func (t *cardText) run(i int, kind func(byte) bool) int {
	for t.is(i, kind) {
		i++
	}
	return i
}

func (t *cardText) add(from, to int, kind CardData) {
	t.found = append(t.found, finding{from, to, kind})
}
