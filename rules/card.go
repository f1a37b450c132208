package rules

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"tideover"
)

// Text is a field of a request, or of what a person says about one, that would be kept in clear.
type Text struct {
	Field string // as whoever sent it calls it
	Value string
}

// CardData refuses card data that may not be stored, wherever it is in a request or in the texts that come with it, such as its key. It
// is refused and never masked: the till has to learn that it must not send it. The refusal names each field, and repeats no value.
func CardData(r tideover.Request, texts ...Text) error {
	var f cardFaults
	for _, t := range append(texts, Text{"method", r.Method}, Text{"order", r.Order}, Text{"operator", r.Operator}) {
		f.text(t.Field, t.Value)
	}
	scanned := scans(r.Method)
	if !isPayCode(r.Instrument, scanned, takesCards(r.Method)) {
		f.text("instrument", r.Instrument)
	}
	if len(r.Payload) > 0 {
		f.payload(r.Payload, r.Method)
	}
	return f.refusal()
}

// CardText refuses card data in texts that come without a request.
func CardText(texts ...Text) error {
	var f cardFaults
	for _, t := range texts {
		f.text(t.Field, t.Value)
	}
	return f.refusal()
}

// cardFieldsMax is how many fields a refusal names; more of them are refused all the same.
const cardFieldsMax = 16

// cardFaults gathers the fields that hold what they must not.
type cardFaults []tideover.FieldError

func (f *cardFaults) refusal() error {
	if len(*f) == 0 {
		return nil
	}
	names := make([]string, len(*f))
	for i, fault := range *f {
		names[i] = fault.Field
	}
	r := tideover.Refuse(tideover.CodeForbiddenCardData,
		"nothing was taken or stored: %s holds card data that may not be stored. A token, or the first six and last four digits of a card, may be sent; leave the rest out and send it again",
		"请求未受理，也未保存：%s 含有禁止存储的卡数据。可以发送令牌，或卡号的前六位和后四位；请去掉其余内容后重发", strings.Join(names, ", "))
	r.Fields = *f
	return r
}

// add names a field once.
func (f *cardFaults) add(field string, kind tideover.CardData) {
	field = tideover.Mask(field)
	if len(*f) == cardFieldsMax {
		return
	}
	for _, known := range *f {
		if known.Field == field {
			return
		}
	}
	*f = append(*f, tideover.FieldError{Field: field, Detail: cardDetails[kind]})
}

// cardDetails say what is wrong with a field, and what may stand there.
var cardDetails = [...]tideover.Text{
	tideover.CardNumber: {
		En: "holds a clear card number; send a token instead, or the first six and last four digits, such as 411111******1111",
		Zh: "含有明文卡号；请改为发送令牌，或仅发送前六位和后四位，例如 411111******1111",
	},
	tideover.CardCode: {
		En: "holds a card's verification code (CVV), which nobody may store; leave it out, and enter it on the card terminal",
		Zh: "含有卡片安全码（CVV），任何人都不得存储；请去掉，并在刷卡终端上输入",
	},
	tideover.CardPIN: {
		En: "holds a PIN, a PIN block or a password, which nobody may store; leave it out, and have it entered on the card terminal",
		Zh: "含有密码或 PIN 数据块，任何人都不得存储；请去掉，并由顾客在刷卡终端上输入",
	},
	tideover.CardTrack: {
		En: "holds track data of a card, which nobody may store; leave it out, and read the card with the card terminal",
		Zh: "含有卡片磁道数据，任何人都不得存储；请去掉，并用刷卡终端读卡",
	},
}

// text judges a text by what it holds.
func (f *cardFaults) text(field, s string) {
	if kind := tideover.FindCardData(s); kind != tideover.CardNone {
		f.add(field, kind)
	}
}

// payload judges JSON by its fields' names and by what they hold, at any depth. What is not JSON is judged as a text.
func (f *cardFaults) payload(payload []byte, method string) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	w := payloadWalk{faults: f, d: d, cards: takesCards(method)}
	if w.value("payload", within{}) != nil || d.InputOffset() != int64(len(bytes.TrimRight(payload, " \t\r\n"))) {
		f.text("payload", string(payload))
	}
}

// payloadWalk goes once over a payload.
type payloadWalk struct {
	faults *cardFaults
	d      *json.Decoder
	cards  bool // the method is that of a card
}

// within is what the names above a value say of it.
type within struct {
	kind tideover.CardData // any value is that, unless it is CardNone; a CardNumber has to look like one
	code bool              // it is a pay code that was scanned
}

func (w *payloadWalk) value(path string, in within) error {
	token, err := w.d.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '[' {
			return w.array(path, in)
		}
		return w.object(path, in)
	case string:
		w.leaf(path, v, in)
	case json.Number:
		w.leaf(path, whole(v.String()), in)
	case bool, nil:
	}
	return nil
}

func (w *payloadWalk) array(path string, in within) error {
	for i := 0; w.d.More(); i++ {
		if err := w.value(path+"["+strconv.Itoa(i)+"]", in); err != nil {
			return err
		}
	}
	_, err := w.d.Token()
	return err
}

func (w *payloadWalk) object(path string, in within) error {
	for w.d.More() {
		token, err := w.d.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		inner := path + "." + shortName(name)
		w.faults.text(inner, name)
		if err := w.value(inner, in.named(name)); err != nil {
			return err
		}
	}
	_, err := w.d.Token()
	return err
}

// shortName is a field's name as a refusal says it: masked before it is cut, so that no half of a number is left.
func shortName(name string) string {
	const most = 64
	if name = tideover.Mask(name); len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// leaf judges a string or a number.
func (w *payloadWalk) leaf(path, s string, in within) {
	switch {
	case in.kind == tideover.CardNumber:
		if digits, ok := tideover.OnlyDigits(s); ok && len(digits) >= clearDigitsMin && len(digits) <= clearDigitsMax {
			w.faults.add(path, in.kind)
			return
		}
	case in.kind != tideover.CardNone && !isBlank(s):
		w.faults.add(path, in.kind)
		return
	case in.code && isPayCode(s, true, w.cards):
		return
	}
	w.faults.text(path, s)
}

// What a field that is named as a card number's may not hold, whatever the issuer.
const (
	clearDigitsMin = 12
	clearDigitsMax = 19
)

// isBlank says whether a text tells nothing: it is empty, or masked from end to end.
func isBlank(s string) bool { return strings.Trim(s, "*xX•- ") == "" }

// whole writes a JSON number without its exponent, where that makes a number that people would write so: 4.1e15 is a number of 16
// digits.
func whole(number string) string {
	const most = 40 // digits; beyond it nothing is a card's
	mantissa, exponent, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(number, "-")), "e")
	shift := 0
	if exponent != "" {
		var err error
		if shift, err = strconv.Atoi(exponent); err != nil || shift < -most || shift > most {
			return mantissa
		}
	}
	integer, fraction, _ := strings.Cut(mantissa, ".")
	digits, point := integer+fraction, len(integer)+shift
	if point <= 0 || len(digits) > 2*most {
		return mantissa
	}
	if n := point - len(digits); n > 0 {
		digits += strings.Repeat("0", n)
	}
	integer, fraction = strings.TrimLeft(digits[:point], "0"), strings.TrimRight(digits[point:], "0")
	if fraction == "" {
		return integer
	}
	return integer + "." + fraction
}
