package tideover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// receiptTitle heads a receipt as it is printed.
var receiptTitle = Text{En: "Tideover receipt", Zh: "Tideover 收据"}

// receiptLine is one line of a receipt as it is printed.
type receiptLine struct {
	label Text
	show  func(*Receipt) string // "" leaves the line out
	read  func(*Receipt, string) error
}

// text is a line for a field that is a text.
func receiptText(en, zh string, field func(*Receipt) *string) receiptLine {
	return receiptLine{
		Text{En: en, Zh: zh},
		func(r *Receipt) string { return quoted(*field(r)) },
		func(r *Receipt, s string) (err error) {
			*field(r), err = unquoted(s)
			return err
		},
	}
}

// receiptTime is a line for an instant.
func receiptTime(en, zh string, field func(*Receipt) *Millis) receiptLine {
	return receiptLine{
		Text{En: en, Zh: zh},
		func(r *Receipt) string {
			if *field(r) == 0 {
				return ""
			}
			b, err := field(r).MarshalJSON()
			if err != nil {
				return ""
			}
			return strings.Trim(string(b), `"`)
		},
		func(r *Receipt, s string) error { return field(r).UnmarshalJSON([]byte(strconv.Quote(s))) },
	}
}

// receiptID is a line for a transaction's id.
func receiptID(en, zh string, field func(*Receipt) *ID) receiptLine {
	return receiptLine{
		Text{En: en, Zh: zh},
		func(r *Receipt) string {
			if field(r).IsZero() {
				return ""
			}
			return field(r).String()
		},
		func(r *Receipt, s string) error { return field(r).UnmarshalText([]byte(s)) },
	}
}

// receiptLines are a printed receipt's, in order. Everything that is under the signature is there, so that the paper alone can be checked.
var receiptLines = []receiptLine{
	receiptText("store", "门店", func(r *Receipt) *string { return &r.Store }),
	receiptText("till", "终端", func(r *Receipt) *string { return &r.Terminal }),
	receiptID("transaction", "交易", func(r *Receipt) *ID { return &r.ID }),
	{
		Text{En: "kind", Zh: "类型"},
		func(r *Receipt) string { return r.Kind.String() }, func(r *Receipt, s string) error { return r.Kind.UnmarshalText([]byte(s)) },
	},
	{
		Text{En: "amount", Zh: "金额"},
		func(r *Receipt) string { return Money(r.Amount, r.Currency) },
		func(r *Receipt, s string) (err error) {
			r.Amount, r.Currency, err = parseMoney(s)
			return err
		},
	},
	receiptText("method", "方式", func(r *Receipt) *string { return &r.Method }),
	receiptText("order", "订单", func(r *Receipt) *string { return &r.Order }),
	receiptID("undoes", "原交易", func(r *Receipt) *ID { return &r.Original }),
	receiptText("operator", "操作员", func(r *Receipt) *string { return &r.Operator }),
	{
		Text{En: "state", Zh: "状态"},
		func(r *Receipt) string { return r.State.String() }, func(r *Receipt, s string) error { return r.State.UnmarshalText([]byte(s)) },
	},
	{
		Text{En: "corrected", Zh: "已更正"},
		func(r *Receipt) string {
			if r.Corrected {
				return "true"
			}
			return ""
		},
		func(r *Receipt, _ string) error {
			r.Corrected = true
			return nil
		},
	},
	receiptText("code", "代码", func(r *Receipt) *string { return &r.Code }),
	receiptText("message", "说明", func(r *Receipt) *string { return &r.Message }),
	receiptText("reference", "平台单号", func(r *Receipt) *string { return &r.Reference }),
	receiptTime("accepted", "受理时间", func(r *Receipt) *Millis { return &r.CreatedAt }),
	receiptTime("recorded", "记录时间", func(r *Receipt) *Millis { return &r.At }),
}

// receiptSeal is the label of the last line, which has the key's id and the signature.
var receiptSeal = Text{En: "signature", Zh: "签名"}

// Text returns the receipt as it is printed: a title, a line for each field that it has, and the signature in one line. [ParseReceipt] reads
// it back, so what the paper says can be checked as it stands there.
func (r Receipt) Text(lang Lang) string {
	var b strings.Builder
	b.WriteString(receiptTitle.In(lang) + "\n")
	for _, l := range receiptLines {
		if s := l.show(&r); s != "" {
			b.WriteString(l.label.In(lang) + ": " + s + "\n")
		}
	}
	b.WriteString(receiptSeal.In(lang) + ": " + r.Key.String() + "." + base64url.EncodeToString(r.Signature[:]) + "\n")
	return b.String()
}

// ParseReceipt reads a receipt, as JSON or as it is printed in either language. Whether it is true is for [Receipt.Verify] to say. Errors
// are [ErrNotReceipt].
func ParseReceipt(b []byte) (r Receipt, err error) {
	switch {
	case len(b) > ReceiptMax:
		return Receipt{}, notReceipt(fmt.Errorf("it has more than %d bytes", ReceiptMax))
	case bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")):
		if err = json.Unmarshal(b, &r); err != nil && !errors.Is(err, ErrNotReceipt) {
			err = notReceipt(err) // not even JSON
		}
	default:
		r, err = parsePrinted(b)
	}
	if err != nil {
		return Receipt{}, err
	}
	return r, nil
}

// parsePrinted reads a receipt as it is printed. White space at the ends of lines and empty lines count for nothing, and the signature may run
// over several lines, since paper is narrow; all else is as [Receipt.Text] writes it.
func parsePrinted(b []byte) (r Receipt, err error) {
	if !utf8.Valid(b) {
		return r, notReceipt(errors.New("it is not UTF-8"))
	}
	var lines []string
	for line := range strings.Lines(strings.TrimPrefix(string(b), "\ufeff")) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if n := len(lines) - 1; n > 0 && sealed(lines[n]) {
			lines[n] += line
		} else {
			lines = append(lines, line)
		}
	}
	lang := English
	if len(lines) > 0 && lines[0] == receiptTitle.Zh {
		lang = Chinese
	}
	if len(lines) < 2 || lines[0] != receiptTitle.In(lang) {
		return r, notReceipt(fmt.Errorf("it begins neither with { nor with %q or %q", receiptTitle.En, receiptTitle.Zh))
	}
	for _, line := range lines[1 : len(lines)-1] {
		if err := r.readLine(line, lang); err != nil {
			return r, notReceipt(err)
		}
	}
	seal, ok := strings.CutPrefix(lines[len(lines)-1], receiptSeal.In(lang)+": ")
	key, signature, cut := strings.Cut(seal, ".")
	if !ok || !cut {
		return r, notReceipt(errors.New("its last line is not the signature"))
	}
	if err := r.take(key, signature); err != nil {
		return r, err
	}
	if again := r.Text(lang); again != strings.Join(lines, "\n")+"\n" {
		return r, notReceipt(errors.New("a line is out of place, or not written as a receipt has it"))
	}
	return r, nil
}

// sealed says whether a line is the signature's, or its beginning.
func sealed(line string) bool {
	return strings.HasPrefix(line, receiptSeal.En+": ") || strings.HasPrefix(line, receiptSeal.Zh+": ")
}

// readLine takes one line of a printed receipt.
func (r *Receipt) readLine(line string, lang Lang) error {
	label, value, ok := strings.Cut(line, ": ")
	for _, l := range receiptLines {
		if ok && label == l.label.In(lang) {
			if err := l.read(r, value); err != nil {
				return fmt.Errorf("%s: %w", label, err)
			}
			return nil
		}
	}
	return fmt.Errorf("the line %q is not one of a receipt", clipped(line))
}

// quoted shows a text on one line: as it is where that is possible, else in quotes.
func quoted(s string) string {
	plain := s == strings.TrimSpace(s) && !strings.HasPrefix(s, `"`)
	for _, c := range s {
		plain = plain && strconv.IsPrint(c) && c != utf8.RuneError
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// unquoted reads what quoted shows.
func unquoted(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	return strconv.Unquote(s)
}

// parseMoney reads what [Money] shows.
func parseMoney(s string) (minor int64, currency string, err error) {
	if s == "-" {
		return 0, "", nil
	}
	digits, currency, _ := strings.Cut(s, " ")
	minor, err = strconv.ParseInt(strings.Replace(digits, ".", "", 1), 10, 64)
	return minor, currency, err
}
