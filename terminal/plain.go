package terminal

import (
	"encoding/json"
	"unicode/utf8"
)

// plainFieldsMax is how many fields an object may have that is read in one go: each is compared with those before it.
const plainFieldsMax = 32

// plainObject reads the fields of a JSON object in one go, as nearly all tills write it: valid, no escape in any text, no field twice, not too
// deep. It takes nothing that [checkJSON] refuses; where it returns false, that finds out what is wrong, or reads what is merely unusual.
func plainObject(body []byte) (fields []field, ok bool) {
	if !utf8.Valid(body) {
		return nil, false
	}
	s := plain{b: body}
	fields = make([]field, 0, 12)
	s.space()
	if !s.object(&fields, 1) {
		return nil, false
	}
	s.space()
	return fields, s.at == len(body)
}

// plain goes over valid UTF-8 and gives up, returning false, at the first byte that is not plain JSON.
type plain struct {
	b  []byte
	at int
}

func (s *plain) peek() byte {
	if s.at < len(s.b) {
		return s.b[s.at]
	}
	return 0
}

func (s *plain) take(c byte) bool {
	if s.peek() != c || s.at >= len(s.b) {
		return false
	}
	s.at++
	return true
}

func (s *plain) space() {
	for s.at < len(s.b) && (s.b[s.at] == ' ' || s.b[s.at] == '\n' || s.b[s.at] == '\t' || s.b[s.at] == '\r') {
		s.at++
	}
}

func (s *plain) literal(word string) bool {
	if len(s.b)-s.at < len(word) || string(s.b[s.at:s.at+len(word)]) != word {
		return false
	}
	s.at += len(word)
	return true
}

// value goes over the next value; depth is that of what is around it.
func (s *plain) value(depth int) bool {
	switch c := s.peek(); {
	case c == '"':
		_, ok := s.text()
		return ok
	case c == '{':
		var inner [8]field
		fields := inner[:0]
		return s.object(&fields, depth+1)
	case c == '[':
		return s.array(depth + 1)
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

func (s *plain) object(fields *[]field, depth int) bool {
	if depth > depthMax || !s.take('{') {
		return false
	}
	if s.space(); s.take('}') {
		return true
	}
	for {
		s.space()
		name, ok := s.text()
		if s.space(); !ok || !s.take(':') || len(*fields) == plainFieldsMax {
			return false
		}
		for i := range *fields {
			if string((*fields)[i].name) == string(name) {
				return false
			}
		}
		s.space()
		begin := s.at
		if !s.value(depth) {
			return false
		}
		*fields = append(*fields, field{name, s.b[begin:s.at]})
		if s.space(); s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *plain) array(depth int) bool {
	if depth > depthMax || !s.take('[') {
		return false
	}
	if s.space(); s.take(']') {
		return true
	}
	for {
		s.space()
		if !s.value(depth) {
			return false
		}
		if s.space(); s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// text goes over a string without escapes and returns what is between its quotes.
func (s *plain) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	begin := s.at
	for ; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; {
		case c == '"':
			s.at++
			return s.b[begin : s.at-1], true
		case c == '\\' || c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// number goes over a number as RFC 8259, 6 has it.
func (s *plain) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if c := s.peek(); c != 'e' && c != 'E' {
		return true
	}
	s.at++
	if !s.take('+') {
		s.take('-')
	}
	return s.digits()
}

func (s *plain) digits() bool {
	begin := s.at
	for s.at < len(s.b) && s.b[s.at] >= '0' && s.b[s.at] <= '9' {
		s.at++
	}
	return s.at > begin
}

// field is one of an object, with its JSON.
type field struct {
	name []byte
	raw  json.RawMessage
}

// plainText returns the text of a JSON string that has no escape; false for any other JSON.
func plainText(raw json.RawMessage) (string, bool) {
	s := plain{b: raw}
	text, ok := s.text()
	return string(text), ok && s.at == len(raw)
}
