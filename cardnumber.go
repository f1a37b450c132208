package tideover

import "strings"

// The shortest and the longest card number that is looked for. ISO/IEC 7812-1 allows 8 to 19 digits; no issuer of the list has fewer
// than 13.
const (
	cardDigitsMin = 13
	cardDigitsMax = 19
)

// issuers are the ranges of ISO/IEC 7812 that cards of this world begin with, as their first four digits, and how many digits such a
// card has. The Luhn test alone would not do: one number in ten passes it by chance, and order numbers, timestamps and invoice
// numbers of 13 to 19 digits are everywhere in a shop. Those that begin with a date (2026…), a time in milliseconds or nanoseconds (17…) or a
// shop's 1, 7 or 9 are in no range.
var issuers = [...]struct {
	first, last int
	digits      lengths
}{
	{2200, 2204, from(16, 19)},                               // Mir
	{2221, 2720, from(16, 16)},                               // Mastercard, from 2017
	{3000, 3059, from(14, 19)},                               // Diners Club
	{3095, 3095, from(14, 19)},                               //
	{3400, 3499, from(15, 15)},                               // American Express
	{3528, 3589, from(16, 19)},                               // JCB
	{3600, 3699, from(14, 19)},                               // Diners Club
	{3700, 3799, from(15, 15)},                               // American Express
	{3800, 3999, from(14, 19)},                               // Diners Club
	{4000, 4999, from(13, 13) | from(16, 16) | from(19, 19)}, // Visa
	{5000, 5099, from(13, 19)},                               // Maestro, RuPay
	{5100, 5599, from(16, 16)},                               // Mastercard
	{5600, 5899, from(13, 19)},                               // Maestro
	{6000, 6999, from(13, 19)},                               // Maestro, UnionPay (62), Discover (6011, 644–649, 65), RuPay (60, 65)
	{8100, 8199, from(16, 19)},                               // UnionPay, RuPay
	{8200, 8299, from(16, 16)},                               // RuPay
}

// lengths is a set of numbers of digits.
type lengths uint32

func from(least, most int) (set lengths) {
	for n := least; n <= most; n++ {
		set |= 1 << n
	}
	return set
}

// IsCardNumber says whether digits, ASCII ones alone, can be the whole number of a card: one of 13 to 19 digits that begins as an
// issuer's cards do, has as many digits as they have, and passes the Luhn test of ISO/IEC 7812-1, annex B. A number of 13 digits
// that is an article's (GTIN-13, what is under a bar code; every Chinese one begins with 69) is none: the only cards of 13 digits are old.
func IsCardNumber(digits string) bool {
	n := len(digits)
	if n < cardDigitsMin || n > cardDigitsMax || !luhn(digits) {
		return false
	}
	first := 0
	for _, c := range []byte(digits[:4]) {
		first = first*10 + int(c-'0')
	}
	for _, issuer := range issuers {
		if first >= issuer.first && first <= issuer.last {
			return issuer.digits&(1<<n) != 0 && !isArticle(digits)
		}
	}
	return false
}

// luhn says whether digits pass the Luhn test; anything but a digit does not.
func luhn(digits string) bool {
	sum := 0
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return false
		}
		d := int(digits[i] - '0')
		if (len(digits)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isArticle says whether digits are a GTIN-13 with a check digit that is right.
func isArticle(digits string) bool {
	sum := 0
	for i := range len(digits) {
		weight := 1
		if i%2 == 1 {
			weight = 3
		}
		sum += weight * int(digits[i]-'0')
	}
	return len(digits) == 13 && sum%10 == 0
}

// OnlyDigits returns the digits of a text that holds nothing else, but for the white space and dashes that people group them with;
// full-width digits come out as ASCII. It is false for any other text.
func OnlyDigits(s string) (digits string, ok bool) {
	var b strings.Builder
	for _, r := range s {
		switch c := classOf(r); {
		case isDigit(c):
			b.WriteByte(c)
		case !isGap(c):
			return "", false
		}
	}
	return b.String(), b.Len() > 0
}

// isGap says whether c may stand between two groups of a number's digits.
func isGap(c byte) bool { return c == ' ' || c == '-' || c == '.' || c == '_' || c == '\t' }

// gapMax is how many such characters may stand between two groups: " - ".
const gapMax = 3

// findNumbers finds clear card numbers. A number is a run of digits, or several runs in a row that are grouped as numbers of cards are;
// it is no part of a longer run.
func (t *cardText) findNumbers() {
	for i := 0; i < len(t.class); {
		if !isDigit(t.class[i]) {
			i++
			continue
		}
		var groups []finding // each a run of digits
		for next := i; t.is(next, isDigit); {
			end := t.run(next, isDigit)
			groups = append(groups, finding{from: next, to: end})
			i = end
			if next = t.run(end, isGap); next-end > gapMax {
				break
			}
		}
		t.findAmong(groups)
	}
}

// findAmong finds the numbers that neighbouring groups make, each as long as it can be.
func (t *cardText) findAmong(groups []finding) {
	var digits [cardDigitsMax]byte
	for i := range groups {
		n, longest := 0, -1
		for j := i; j < len(groups) && n+groups[j].to-groups[j].from <= cardDigitsMax; j++ {
			n += copy(digits[n:], t.class[groups[j].from:groups[j].to])
			if grouped(groups[i:j+1]) && IsCardNumber(string(digits[:n])) {
				longest = j
			}
		}
		if longest >= 0 {
			t.add(groups[i].from, groups[longest].to, CardNumber)
		}
	}
}

// grouped says whether groups of digits are of lengths that people group a card's number in: all alike but for a shorter last one
// (4-4-4-4, 4-4-4-4-3, 8-8), or 6-13, 4-6-5 and their kin. Other groups are those of order numbers: 5312-20261127-0013.
func grouped(groups []finding) bool {
	size := func(i int) int { return groups[i].to - groups[i].from }
	last := len(groups) - 1
	if last == 0 || last == 1 && size(0) == 6 && size(1) >= 10 || last == 2 && size(0) == 4 && size(1) == 6 {
		return true
	}
	for i := range last {
		if size(i) != size(0) {
			return false
		}
	}
	return size(last) <= size(0)
}
