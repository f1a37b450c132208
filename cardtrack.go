package tideover

import "strings"

// Track data is what a magnetic stripe holds: ISO/IEC 7813 has the number on track 1 end with ^ and that on track 2 with =, for which
// the chip's copy of track 2 (EMV tag 57) has the hexadecimal digit D. The expiry follows as year and month, then three digits of service.
const (
	trackDigitsMin = 12
	trackDigitsMax = 19
	trackBelow     = 21 // digits before the = of track 3, ISO/IEC 4909, which begins with two of its own
	nameMax        = 26 // characters of the holder's name on track 1
	track1Max      = 79 // characters of a whole track 1
	expiryDigits   = 4
	serviceDigits  = 3
)

// findTracks finds what the separators of track data stand in.
func (t *cardText) findTracks() {
	for i, c := range t.class {
		if c != '^' && c != '=' && c != 'd' {
			continue
		}
		begin := i
		for t.is(begin-1, isDigit) && i-begin <= trackBelow {
			begin--
		}
		switch n := i - begin; {
		case n < trackDigitsMin:
		case c == '^':
			t.findTrack1(begin, i)
		default:
			t.findTrack2(begin, i, c)
		}
	}
	t.findTag5A()
}

// findTrack1 looks at a ^ behind digits: %B4111111111111111^DOE/JOHN^2512101…?
func (t *cardText) findTrack1(begin, at int) {
	marked := t.is(begin-1, func(c byte) bool { return c == 'b' })
	end := at + 1
	for end < len(t.class) && end-begin < track1Max && t.class[end] >= ' ' {
		if end++; t.class[end-1] == '?' {
			break
		}
	}
	second := t.after(at+1, min(at+2+nameMax, len(t.class)), '^')
	if !marked && (second < 0 || t.run(second+1, isDigit)-second <= expiryDigits) {
		return
	}
	if marked {
		begin--
	}
	if t.is(begin-1, func(c byte) bool { return c == '%' }) {
		begin--
	}
	t.add(begin, end, CardTrack)
}

// after returns the first place from one to another that has c, and -1 if none has.
func (t *cardText) after(from, to int, c byte) int {
	for i := from; i < to; i++ {
		if t.class[i] == c {
			return i
		}
	}
	return -1
}

// findTrack2 looks at a = or D behind digits: ;4111111111111111=2512101…?
func (t *cardText) findTrack2(begin, at int, separator byte) {
	end := t.run(at+1, isDigit)
	more := end - at - 1
	switch {
	case t.is(begin-1, func(c byte) bool { return c == ';' }) && more >= expiryDigits: // it begins as a track does
		begin--
	case more < expiryDigits+serviceDigits || !isMonth(t.class[at+3:at+5]):
		return
	default:
		// Digits before the number are those of the tag and its length.
		n := min(at-begin, trackDigitsMax)
		for n >= trackDigitsMin && !t.endsNumber(at-n, at, separator) {
			n--
		}
		if n < trackDigitsMin {
			return
		}
		begin = at - n
	}
	if t.is(end, func(c byte) bool { return c == '?' || c == 'f' }) {
		end++
	}
	t.add(begin, end, CardTrack)
}

// endsNumber says whether the digits before a separator can be a card's number. A = says by itself what they are; a D may be any
// hexadecimal digit.
func (t *cardText) endsNumber(from, at int, separator byte) bool {
	number := string(t.class[from:at])
	return IsCardNumber(number) || separator == '=' && luhn(number)
}

func isMonth(two []byte) bool {
	month := string(two)
	return month >= "01" && month <= "12"
}

// findTag5A finds the number in a chip's data, as hexadecimal digits: 5A, how many bytes follow, and the number with an F behind it
// where its digits are odd.
func (t *cardText) findTag5A() {
	for i := 0; i+4 < len(t.class); i++ {
		if t.class[i] != '5' || t.class[i+1] != 'a' || t.class[i+2] != '0' || !isHex(t.class[i+3]) {
			continue
		}
		begin := i + 4
		end := begin + 2*strings.IndexByte("0123456789abcdef", t.class[i+3])
		if end > len(t.class) {
			continue
		}
		if end > begin && t.class[end-1] == 'f' {
			end--
		}
		if IsCardNumber(string(t.class[begin:end])) {
			t.add(begin, end, CardNumber)
		}
	}
}

// passOverTokens takes hexadecimal tokens and UUIDs out of the search for numbers: one hash of 64 digits in a thousand holds, by chance, a
// run of digits that could be a card's.
func (t *cardText) passOverTokens() {
	for i := 0; i < len(t.class); {
		if !isHex(t.class[i]) {
			i++
			continue
		}
		end := t.run(i, isHex)
		if uuid := t.uuid(i); uuid > 0 {
			end = uuid
		} else if !t.isToken(i, end) {
			i = end
			continue
		}
		for ; i < end; i++ {
			t.class[i] = 'x'
		}
	}
}

// tokenMin is the shortest token, in hexadecimal digits.
const tokenMin = 16

// isToken says whether a run of hexadecimal digits is a hash or its like: letters are found all over it. One word before a card's
// number is none.
func (t *cardText) isToken(from, to int) bool {
	if to-from < tokenMin {
		return false
	}
	letters, words := 0, 0
	for i := from; i < to; i++ {
		if isLetter(t.class[i]) {
			letters++
			if i == from || !isLetter(t.class[i-1]) {
				words++
			}
		}
	}
	return letters >= 4 && words >= 2
}

// uuid returns where the UUID that begins at from ends, and 0 if none does.
func (t *cardText) uuid(from int) int {
	at := from
	for i, size := range []int{8, 4, 4, 4, 12} {
		if i > 0 {
			if !t.is(at, func(c byte) bool { return c == '-' }) {
				return 0
			}
			at++
		}
		end := t.run(at, isHex)
		if end-at != size {
			return 0
		}
		at = end
	}
	return at
}

// cardWords are what verification codes and PINs are called in a text; each has in front the kind of what follows it. Words that mean
// other things as well (CID, verification code) are not among them.
var cardWords = [...]struct {
	word string
	kind CardData
}{
	{"cvv", CardCode},
	{"cvc", CardCode},
	{"cvn", CardCode},
	{"cav", CardCode},
	{"csc", CardCode},
	{"securitycode", CardCode},
	{"security code", CardCode},
	{"security_code", CardCode},
	{"card verification", CardCode},
	{"安全码", CardCode},
	{"pin", CardPIN},
	{"密码", CardPIN},
}

// fillers may stand between such a word and what it names.
var fillers = [...]string{"block", "code", "number", "value", "data", "no", "is", "号", "码", "值", "是", "为"}

// What stands behind such a word.
const (
	fillMax     = 24 // runes between a word and what it names
	codeMin     = 3  // digits of a verification code
	codeMax     = 4
	pinMin      = 4 // digits of a PIN, ISO 9564-1
	pinMax      = 12
	pinBlockHex = 16 // hexadecimal digits of a PIN block; 32 with AES
)

// findWords finds what stands behind the name of a verification code or of a PIN.
func (t *cardText) findWords() {
	for i := range t.class {
		for _, w := range cardWords {
			if n := t.word(i, w.word); n > 0 && !t.is(i-1, isLetter) {
				t.findNamed(i, i+n, w.kind)
			}
		}
	}
}

// word returns how many runes the word has that begins at i; 0 if another one does.
func (t *cardText) word(i int, word string) int {
	if word[0] >= 0x80 {
		if strings.HasPrefix(t.s[t.at[i]:], word) {
			return len([]rune(word))
		}
		return 0
	}
	if t.class[i] == word[0] && i+len(word) <= len(t.class) && string(t.class[i:i+len(word)]) == word {
		return len(word)
	}
	return 0
}

// findNamed looks at what follows a name.
func (t *cardText) findNamed(begin, at int, kind CardData) {
	if kind == CardCode && t.is(at, func(c byte) bool { return c == '1' || c == '2' }) && !t.is(at+1, isDigit) {
		at++ // CVV2
	}
	from, said := t.fill(at)
	end := t.run(from, isDigit)
	n := end - from
	switch kind {
	case CardCode:
		joined := from == at && (t.is(begin-1, isWord) || t.is(end, isWord)) // inside of some token
		if n >= codeMin && n <= codeMax && !joined {
			t.add(from, end, CardCode)
		}
	case CardPIN:
		block := t.run(from, isHex)
		if said && block-from >= pinBlockHex {
			t.add(from, block, CardPIN)
		} else if said && n >= pinMin && n <= pinMax && end == block {
			t.add(from, end, CardPIN)
		}
	case CardNone, CardNumber, CardTrack:
	}
}

func isWord(c byte) bool { return isDigit(c) || isLetter(c) || c == '/' || c == '+' }

// fill passes over what stands between a name and its value, and says whether a : or its like is there.
func (t *cardText) fill(at int) (value int, said bool) {
	for most := at + fillMax; at < most && at < len(t.class); {
		c := t.class[at]
		if strings.IndexByte(" \t-_.'\"\\:=()[]{}#>", c) >= 0 {
			said = said || c == ':' || c == '=' || c == '>'
			at++
			continue
		}
		n := 0
		for _, filler := range fillers {
			if fits := t.word(at, filler); fits > n {
				n = fits
				said = said || filler == "is" || filler == "是" || filler == "为"
			}
		}
		if n == 0 {
			break
		}
		at += n
	}
	return at, said
}
