package tideover

import (
	"encoding/json"
	"strconv"
)

// MarshalJSON writes the Transaction of the terminal's API; what is absent is null.
func (t Transaction) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// AppendJSON appends what [Transaction.MarshalJSON] returns. Each press is answered with it: it is written by hand, byte for byte what
// encoding/json makes of [transactionJSON].
func (t *Transaction) AppendJSON(b []byte) []byte {
	if b == nil {
		b = make([]byte, 0, 768)
	}
	o := objectJSON{b: append(b, '{')}
	o.text("id", t.ID.String())
	o.text("terminal", t.Terminal)
	o.text("key", t.Key)
	o.orNull("kind", nameOrNone(t.Kind))
	o.number("amount", t.Amount)
	o.orNull("currency", t.Currency)
	o.orNull("method", t.Method)
	o.orNull("order", t.Order)
	o.orNull("original", nameOrNone(t.Original))
	o.orNull("operator", t.Operator)
	o.text("state", t.State.String())
	o.truth("final", t.Final())
	o.outcome("outcome", t.Outcome)
	o.number("attempts", int64(t.Attempts))
	o.orNull("uplink", t.Uplink)
	o.truth("delivered", t.Delivered)
	o.truth("acknowledged", t.Acknowledged)
	o.name("seq")
	o.b = strconv.AppendUint(o.b, t.Seq, 10)
	o.orNull("waiting_for", t.WaitingFor)
	o.truth("corrected", t.Corrected)
	o.instant("created_at", t.CreatedAt)
	o.instant("updated_at", t.UpdatedAt)
	o.instant("expires_at", t.ExpiresAt)
	o.truth("replayed", t.Replayed)
	return append(o.b, '}')
}

// nameOrNone is what a value is called; "" for the zero value.
func nameOrNone[T interface {
	comparable
	String() string
}](v T) string {
	var zero T
	if v == zero {
		return ""
	}
	return v.String()
}

// objectJSON writes the fields of one object.
type objectJSON struct {
	b    []byte
	more bool // a field stands before the next one
}

// raw appends as it is. It is one of three that are kept out of line: two dozen copies of them made 5 kB on mipsle.
//
//go:noinline
func (o *objectJSON) raw(s string) { o.b = append(o.b, s...) }

func (o *objectJSON) name(name string) {
	if o.more {
		o.raw(",")
	}
	o.more = true
	o.raw(`"`)
	o.raw(name)
	o.raw(`":`)
}

// text writes a string, which seldom has anything to be escaped.
func (o *objectJSON) text(name, s string) {
	o.name(name)
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			escaped, err := json.Marshal(s)
			if err != nil {
				panic("tideover: a string cannot be written as JSON: " + err.Error())
			}
			o.raw(string(escaped))
			return
		}
	}
	o.raw(`"`)
	o.raw(s)
	o.raw(`"`)
}

// orNull writes a string, or null where there is none.
func (o *objectJSON) orNull(name, s string) {
	if s == "" {
		o.word(name, "null")
		return
	}
	o.text(name, s)
}

//go:noinline
func (o *objectJSON) word(name, word string) {
	o.name(name)
	o.raw(word)
}

//go:noinline
func (o *objectJSON) truth(name string, is bool) {
	word := "false"
	if is {
		word = "true"
	}
	o.word(name, word)
}

func (o *objectJSON) number(name string, n int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, n, 10)
}

func (o *objectJSON) instant(name string, m Millis) {
	o.name(name)
	o.b = m.appendJSON(o.b)
}

func (o *objectJSON) outcome(name string, end *Outcome) {
	if end == nil {
		o.word(name, "null")
		return
	}
	o.name(name)
	inner := objectJSON{b: append(o.b, '{')}
	inner.text("result", end.Result.String())
	inner.text("code", end.Code)
	inner.text("message", end.Message)
	inner.text("reference", end.Reference)
	inner.instant("at", end.At)
	o.b = append(inner.b, '}')
}

// millisLayout is RFC 3339 with milliseconds.
const millisLayout = "2006-01-02T15:04:05.000Z07:00"

func (m Millis) appendJSON(b []byte) []byte {
	if m == 0 {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = m.Time().AppendFormat(b, millisLayout)
	return append(b, '"')
}
