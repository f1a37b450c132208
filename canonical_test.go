package tideover

import (
	"bytes"
	"encoding/json"
	"testing"
)

var payloads = []string{
	`{"pos":"bench"}`, `{}`, `[]`, `""`, `0`, `12`, `true`, `null`, `{"a":1,"b":[{"c":{}},"茶",false]}`,
	`{"b":1,"a":2}`, `{"a":1,"a":2}`, `{"a": 1}`, ` 1`, `1 `, `-1`, `1.5`, `1e3`, `01`, `"\u0041"`, `"<"`, `"&"`, "\"\u2028\"", "\"\xff\"", `{"":1,"":2}`,
	`[[[[[[[[[[1]]]]]]]]]]`, `{"a":1,}`, `[1,]`, `[1 2]`, `{"a"}`, `{"a":}`, `tru`, `nulll`, "\"\x7f\"", "1\n", `"a`, `{`, `[`, "", `{"a":1}}`,
}

func TestIsCanonical_KnowsWhatTillsWrite(t *testing.T) {
	for _, p := range payloads[:9] {
		if !isCanonical([]byte(p)) {
			t.Errorf("%s is not taken as it is", p)
		}
	}
}

// FuzzIsCanonical: what is hashed as it is, is what encoding/json would make of it.
func FuzzIsCanonical(f *testing.F) {
	for _, p := range payloads {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if !isCanonical(p) {
			return
		}
		d := json.NewDecoder(bytes.NewReader(p))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%q was taken as it is, and is no JSON: %v", p, err)
		}
		b, err := json.Marshal(v)
		if err != nil || !bytes.Equal(b, p) {
			t.Fatalf("%q was taken as it is, and would become %q, %v", p, b, err)
		}
	})
}
