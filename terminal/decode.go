package terminal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tideover"
)

// depthMax is how deep JSON may be nested, the object around it included.
const depthMax = 32

// object reads the fields of one JSON object, and gathers what is wrong with them. A field that is null counts as left out.
type object struct {
	raw []field
	bad []tideover.FieldError
}

// parseObject takes a body apart. It refuses anything but one JSON object in UTF-8, each field at most once at any depth, all of its
// own fields among known.
func parseObject(body []byte, known ...string) (*object, error) {
	raw, ok := plainObject(body)
	if !ok {
		if err := checkJSON(body); err != nil {
			return nil, err
		}
		raw, ok = fieldsOf(body)
	}
	if !ok {
		return nil, malformed("the body must be one JSON object, {…}", "请求体必须是一个 JSON 对象 {…}")
	}
	o := &object{raw: raw}
	o.unknown(known)
	return o, nil
}

// fieldsOf returns the fields of an object's JSON; false for any other JSON.
func fieldsOf(raw []byte) (fields []field, ok bool) {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil || all == nil {
		return nil, false
	}
	for name, value := range all {
		fields = append(fields, field{[]byte(name), value})
	}
	return fields, true
}

// unknown finds fault with fields that are not among known.
func (o *object) unknown(known []string) {
	var unknown []string
	for i := range o.raw {
		if name := string(o.raw[i].name); !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		o.fault(clip(name), "is unknown; the fields are: %s", "未知字段；可用字段：%s", cmp.Or(strings.Join(known, ", "), "–"))
	}
}

func malformed(en, zh string, args ...any) error {
	return tideover.Refuse(tideover.CodeInvalidRequest, en, zh, args...)
}

// clip shortens what a stranger wrote before it is said back to him. Card data is masked first, so that no half of a number is left.
func clip(s string) string {
	const most = 64
	if s = tideover.Mask(s); len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// fault notes what is wrong with a field.
//
//go:noinline
func (o *object) fault(field, en, zh string, args ...any) {
	o.bad = append(o.bad, tideover.FieldError{Field: field, Detail: tideover.Textf(en, zh, args...)})
}

// err is the refusal that names every field that is wrong; nil while none is.
func (o *object) err() error { return fieldsRefusal(o.bad) }

func fieldsRefusal(bad []tideover.FieldError) error {
	if len(bad) == 0 {
		return nil
	}
	names := make([]string, len(bad))
	for i, f := range bad {
		names[i] = f.Field
	}
	r := tideover.Refuse(tideover.CodeInvalidRequest, "nothing was taken; correct %s and send it again", "请求未受理；请更正 %s 后重发",
		strings.Join(names, ", "))
	r.Fields = bad
	return r
}

// given returns a field's JSON, and false where it is left out.
func (o *object) given(name string) (json.RawMessage, bool) {
	for i := range o.raw {
		if string(o.raw[i].name) == name {
			return o.raw[i].raw, string(o.raw[i].raw) != "null"
		}
	}
	return nil, false
}

// text reads a string; "" where it is left out.
func (o *object) text(name string) (s string) {
	raw, ok := o.given(name)
	if !ok {
		return ""
	}
	if s, ok = plainText(raw); !ok && json.Unmarshal(raw, &s) != nil {
		o.fault(name, "must be a string", "必须是字符串")
	}
	return s
}

// integer reads a whole number; fallback where it is left out.
func (o *object) integer(name string, fallback int64) int64 {
	raw, ok := o.given(name)
	if !ok {
		return fallback
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	switch {
	case err == nil:
		return n
	case errors.Is(err, strconv.ErrRange):
		o.fault(name, "is out of range", "超出范围")
	default:
		o.fault(name, "must be a whole number without quotes, fraction or exponent", "必须是整数，不带引号、小数或指数")
	}
	return fallback
}

// transactionFields are those of a POST of a transaction.
var transactionFields = []string{
	"kind", "amount", "currency", "method", "order", "original", "instrument", "operator", "expires_in", "payload",
}

// decodeTransaction reads the body of a POST. What it returns has the right types; what it means is for the rules to judge.
func decodeTransaction(body []byte) (tideover.Request, error) {
	o, err := parseObject(body, transactionFields...)
	if err != nil {
		return tideover.Request{}, err
	}
	r := tideover.Request{
		Amount: o.integer("amount", 0), Currency: o.text("currency"), Method: o.text("method"), Order: o.text("order"),
		Instrument: o.text("instrument"), Operator: o.text("operator"),
	}
	r.Kind = o.kind()
	if original := o.text("original"); original != "" {
		if r.Original, err = tideover.ParseID(original); err != nil {
			o.fault("original", "%q is no transaction id; take the id of the answer to the original", "%q 不是交易号；请使用原交易应答中的 id", clip(original))
		}
	}
	// Far out of range stays far out of range, and does not wrap around to a good value.
	inSeconds := o.integer("expires_in", int64(tideover.ExpiresInDefault/time.Second))
	r.ExpiresIn = time.Duration(min(max(inSeconds, -1e9), 1e9)) * time.Second
	if payload, ok := o.given("payload"); ok {
		r.Payload = bytes.Clone(payload)
	}
	return r, o.err()
}

// checkJSON refuses what is not exactly one JSON value that everybody reads alike: bad UTF-8, half a surrogate pair, a field given
// twice, nesting beyond [depthMax], anything after the value.
func checkJSON(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return malformed("the body is empty; send a JSON object", "请求体为空；请发送 JSON 对象")
	}
	if !utf8.Valid(body) {
		return malformed("the body is not UTF-8", "请求体不是 UTF-8 编码")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		at := int64(len(body))
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = syntax.Offset
		}
		return malformed("the body is not JSON: byte %[1]d: %[2]v", "请求体不是有效的 JSON：错误位于第 %[1]d 字节", at, err)
	}
	if at := loneSurrogate(body); at >= 0 {
		return malformed("the body is not JSON: byte %d: half of a surrogate pair", "请求体不是有效的 JSON：第 %d 字节：代理对不完整", at+1)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return checkValue(d, "", 1)
}

// brokenJSON: the decoder speaks English alone.
func brokenJSON(err error) error {
	return &tideover.Refusal{Code: tideover.CodeInvalidRequest, Detail: tideover.Text{
		En: "the body is not JSON: " + err.Error(), Zh: "请求体不是有效的 JSON",
	}}
}

// checkValue walks over the next value of valid JSON.
func checkValue(d *json.Decoder, path string, depth int) error {
	token, err := d.Token()
	if err != nil {
		return brokenJSON(err)
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth > depthMax {
		return malformed("the body is nested deeper than %d levels", "请求体嵌套超过 %d 层", depthMax)
	}
	seen := map[string]bool{}
	for i := 0; d.More(); i++ {
		inner := fmt.Sprintf("%s[%d]", path, i)
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return brokenJSON(err)
			}
			field := name.(string)
			inner = strings.TrimPrefix(path+"."+clip(field), ".")
			if seen[field] {
				return fieldsRefusal([]tideover.FieldError{{Field: inner, Detail: tideover.Text{En: "is given twice", Zh: "重复出现"}}})
			}
			seen[field] = true
		}
		if err := checkValue(d, inner, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing one
	return err
}

// loneSurrogate returns where valid JSON has an escape that is half of a surrogate pair, and -1 if nowhere. Decoders disagree about
// what such text is.
func loneSurrogate(b []byte) int {
	unit := func(i int) (uint64, bool) {
		if i+6 > len(b) || b[i] != '\\' || b[i+1] != 'u' {
			return 0, false
		}
		u, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 16)
		return u, err == nil
	}
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' { // escapes are found in strings alone
			continue
		}
		u, ok := unit(i)
		switch {
		case !ok:
			i++ // another escape, of two bytes
		case u >= 0xD800 && u < 0xDC00:
			if low, ok := unit(i + 6); !ok || low < 0xDC00 || low > 0xDFFF {
				return i
			}
			i += 11
		case u >= 0xDC00 && u < 0xE000:
			return i
		default:
			i += 5
		}
	}
	return -1
}
