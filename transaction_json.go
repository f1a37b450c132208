package tideover

import (
	"encoding/json"
	"strconv"
	"time"
)

// MarshalJSON writes the Transaction of the terminal's API; what is absent is null.
func (t Transaction) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// AppendJSON appends what [Transaction.MarshalJSON] returns. Each press is answered with it: it is written by hand, byte for byte what
// encoding/json makes of [transactionJSON].
func (t *Transaction) AppendJSON(b []byte) []byte {
	if b == nil {
		b = make([]byte, 0, 768)
	}
	b = append(append(append(b, `{"id":"`...), t.ID.String()...), '"')
	b = appendField(b, "terminal", t.Terminal)
	b = appendField(b, "key", t.Key)
	kind := ""
	if t.Kind != KindNone {
		kind = t.Kind.String()
	}
	b = appendOrNull(b, "kind", kind)
	b = strconv.AppendInt(append(b, `,"amount":`...), t.Amount, 10)
	b = appendOrNull(b, "currency", t.Currency)
	b = appendOrNull(b, "method", t.Method)
	b = appendOrNull(b, "order", t.Order)
	original := ""
	if !t.Original.IsZero() {
		original = t.Original.String()
	}
	b = appendOrNull(b, "original", original)
	b = appendOrNull(b, "operator", t.Operator)
	b = appendField(b, "state", t.State.String())
	b = strconv.AppendBool(append(b, `,"final":`...), t.Final())
	b = t.Outcome.appendJSON(append(b, `,"outcome":`...))
	b = strconv.AppendInt(append(b, `,"attempts":`...), int64(t.Attempts), 10)
	b = appendOrNull(b, "uplink", t.Uplink)
	b = strconv.AppendBool(append(b, `,"delivered":`...), t.Delivered)
	b = strconv.AppendBool(append(b, `,"acknowledged":`...), t.Acknowledged)
	b = strconv.AppendUint(append(b, `,"seq":`...), t.Seq, 10)
	b = appendOrNull(b, "waiting_for", t.WaitingFor)
	b = strconv.AppendBool(append(b, `,"corrected":`...), t.Corrected)
	b = t.CreatedAt.appendJSON(append(b, `,"created_at":`...))
	b = t.UpdatedAt.appendJSON(append(b, `,"updated_at":`...))
	b = t.ExpiresAt.appendJSON(append(b, `,"expires_at":`...))
	b = strconv.AppendBool(append(b, `,"replayed":`...), t.Replayed)
	return append(b, '}')
}

func (o *Outcome) appendJSON(b []byte) []byte {
	if o == nil {
		return append(b, "null"...)
	}
	b = appendText(append(b, `{"result":`...), o.Result.String())
	b = appendField(b, "code", o.Code)
	b = appendField(b, "message", o.Message)
	b = appendField(b, "reference", o.Reference)
	b = o.At.appendJSON(append(b, `,"at":`...))
	return append(b, '}')
}

// millisLayout is RFC 3339 with milliseconds.
const millisLayout = "2006-01-02T15:04:05.000Z07:00"

func (m Millis) appendJSON(b []byte) []byte {
	if m == 0 {
		return append(b, "null"...)
	}
	return append(time.UnixMilli(int64(m)).UTC().AppendFormat(append(b, '"'), millisLayout), '"')
}

func appendOrNull(b []byte, name, s string) []byte {
	if s == "" {
		return append(append(append(b, `,"`...), name...), `":null`...)
	}
	return appendField(b, name, s)
}

func appendField(b []byte, name, s string) []byte {
	return appendText(append(append(append(b, `,"`...), name...), `":`...), s)
}

// appendText appends a string, which seldom has anything to be escaped.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			escaped, err := json.Marshal(s)
			if err != nil {
				panic("tideover: a string cannot be written as JSON: " + err.Error())
			}
			return append(b, escaped...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
