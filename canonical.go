package tideover

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// canonical returns JSON with its object keys sorted and its white space gone; numbers keep their spelling. What is not JSON stays
// as it is.
func canonical(payload []byte) []byte {
	if len(payload) == 0 || isCanonical(payload) {
		return payload
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return payload
	}
	b, err := json.Marshal(v)
	if err != nil {
		return payload
	}
	return b
}

// isCanonical says whether canonical would change nothing, as far as one look tells: many payloads are so short that a till writes them so.
func isCanonical(payload []byte) bool {
	s := canon{b: payload}
	return s.value(canonDepthMax) && s.at == len(payload) && utf8.Valid(payload)
}

// canonDepthMax is how deep the quick look goes.
const canonDepthMax = 8

// canon goes over JSON and gives up, returning false, at the first byte that encoding/json might write otherwise.
type canon struct {
	b  []byte
	at int
}

func (s *canon) take(c byte) bool {
	if s.at >= len(s.b) || s.b[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *canon) value(depth int) bool {
	if depth == 0 || s.at >= len(s.b) {
		return false
	}
	switch s.b[s.at] {
	case '"':
		_, ok := s.text()
		return ok
	case '{':
		return s.object(depth)
	case '[':
		return s.array(depth)
	default:
		return s.word()
	}
}

// object goes over the fields of an object whose names rise.
func (s *canon) object(depth int) bool {
	s.at++
	if s.take('}') {
		return true
	}
	var last []byte
	for first := true; ; first = false {
		name, ok := s.text()
		if !ok || !first && bytes.Compare(last, name) >= 0 || !s.take(':') || !s.value(depth-1) {
			return false
		}
		if last = name; !s.take(',') {
			return s.take('}')
		}
	}
}

func (s *canon) array(depth int) bool {
	s.at++
	if s.take(']') {
		return true
	}
	for s.value(depth - 1) {
		if !s.take(',') {
			return s.take(']')
		}
	}
	return false
}

// text goes over a string in which nothing is escaped, nor would be: <, >, & and U+2028 are, by encoding/json.
func (s *canon) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	for begin := s.at; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; {
		case c == '"':
			s.at++
			return s.b[begin : s.at-1], true
		case c < ' ' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0xE2:
			return nil, false
		}
	}
	return nil, false
}

// word goes over what has no quotes: a whole number, true, false or null. Other numbers are spelled in many ways.
func (s *canon) word() bool {
	begin := s.at
	for s.at < len(s.b) && s.b[s.at] != ',' && s.b[s.at] != '}' && s.b[s.at] != ']' {
		s.at++
	}
	switch word := s.b[begin:s.at]; string(word) {
	case "true", "false", "null", "0":
		return true
	default:
		return wholeNumber(word)
	}
}

// wholeNumber says whether a word is one above 0, without a sign.
func wholeNumber(word []byte) bool {
	if len(word) == 0 || word[0] == '0' {
		return false
	}
	for _, c := range word {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
