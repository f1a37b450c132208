package terminal

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// saleJSON is what a usual till sends.
const saleJSON = `{"kind":"sale","amount":1299,"currency":"CNY","method":"qr","order":"A-1001","operator":"lin","payload":{"pos":[1.5e2,null,true]}}`

// unusual are bodies that are not read in one go: some are wrong, and some are not plain.
var unusual = []string{
	"", " ", "[]", "null", `"a"`, "1", "{", "}", "{}{}", "{} x", `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{a:1}`, `{'a':1}`,
	`{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":-}`, `{"a":1e+}`, `{"a":0x1}`, `{"a":NaN}`, `{"a":tru}`, `{"a":nulll}`,
	`{"a":[1,]}`, `{"a":[1 2]}`, `{"a":[}`, `{"a":"b}`, "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `{"a":"\u0041"}`, `{"\u0061":1}`,
	`{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1,"b":2}]}`, `{"a":` + strings.Repeat("[", depthMax) + strings.Repeat("]", depthMax) + `}`,
	"\ufeff{}", "{\"a\":1\x00}", "{\"a\"\v:1}",
}

// many is an object of so many fields.
func many(n int) string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = fmt.Sprintf(`"f%d":%d`, i, i)
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func TestPlainObject_ReadsWhatTillsWrite(t *testing.T) {
	for _, body := range []string{
		saleJSON, "{}", " {\r\n\t} ", `{"a":-0.5E-7,"b":0,"c":[],"d":{},"e":[[1],{"a":{"a":1}}]}`, `{"单":"号"}`, "{\"a\":\"\x7f\"}",
		`{"a":` + strings.Repeat("[", depthMax-1) + strings.Repeat("]", depthMax-1) + `}`, many(plainFieldsMax),
	} {
		if fields, ok := plainObject([]byte(body)); !ok {
			t.Errorf("%s is not read in one go", body)
		} else {
			sameFields(t, body, fields)
		}
	}
	for _, body := range append(unusual, many(plainFieldsMax+1)) {
		if fields, ok := plainObject([]byte(body)); ok {
			t.Errorf("%s was taken: %v", body, fields)
		}
	}
}

// sameFields fails unless the strict way takes a body, and finds the same in it.
func sameFields(t *testing.T, body string, fields []field) {
	t.Helper()
	if err := checkJSON([]byte(body)); err != nil {
		t.Fatalf("%q was taken, and is refused: %v", body, err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &all); err != nil || all == nil {
		t.Fatalf("%q was taken, and is no object: %v", body, err)
	}
	if len(all) != len(fields) {
		t.Fatalf("%q: %d fields, want %d", body, len(fields), len(all))
	}
	for _, f := range fields {
		if string(all[string(f.name)]) != string(f.raw) {
			t.Fatalf("%q: %q is %q, want %q", body, f.name, f.raw, all[string(f.name)])
		}
		var want string
		if text, ok := plainText(f.raw); ok && (json.Unmarshal(f.raw, &want) != nil || text != want) {
			t.Fatalf("%q: %s is the text %q, want %q", body, f.raw, text, want)
		}
	}
}

// FuzzPlainObject: what is read in one go is nothing else than what the strict way reads.
func FuzzPlainObject(f *testing.F) {
	for _, body := range append(unusual, saleJSON, many(3)) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if fields, ok := plainObject([]byte(body)); ok {
			sameFields(t, body, fields)
		}
	})
}

func BenchmarkDecodeTransaction(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeTransaction([]byte(saleJSON)); err != nil {
			b.Fatal(err)
		}
	}
}
