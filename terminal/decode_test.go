package terminal

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tideover"
)

func TestDecodeTransaction_Fields(t *testing.T) {
	original := tideover.MakeID("shop", "till", "key")
	for body, want := range map[string]tideover.Request{
		`{}`: {ExpiresIn: 45 * time.Second},
		`{"kind":"sale","amount":1299,"currency":"CNY","method":"qr","order":"A-1001","instrument":"2845","operator":"lin",
		  "expires_in":10,"payload":{"a":[1, 2.50]}}`: {
			Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-1001", Instrument: "2845",
			Operator: "lin", ExpiresIn: 10 * time.Second, Payload: []byte(`{"a":[1, 2.50]}`),
		},
		`{"kind":"refund","amount":5,"currency":"CNY","original":"` + original.String() + `"}`: {
			Kind: tideover.KindRefund, Amount: 5, Currency: "CNY", Original: original, ExpiresIn: 45 * time.Second,
		},
		`{"order":null,"payload":null,"original":null,"expires_in":null,"amount":null,"kind":null}`: {ExpiresIn: 45 * time.Second},
		`{"order":"\u4e2d\ud83d\ude00\\u"}`:                                    {Order: "中😀\\u", ExpiresIn: 45 * time.Second},
		`{"expires_in":0}`:                                                     {},
		`{"expires_in":9223372036854775807}`:                                   {ExpiresIn: 1e9 * time.Second},
		`{"expires_in":-9223372036854775808}`:                                  {ExpiresIn: -1e9 * time.Second},
		`{"amount":9223372036854775807,"payload":"text"}`:                      {Amount: math.MaxInt64, Payload: []byte(`"text"`), ExpiresIn: 45 * time.Second},
		strings.Repeat(" ", 100) + `{"operator":"` + "\\u0041" + `"}` + "\r\n": {Operator: "A", ExpiresIn: 45 * time.Second},
	} {
		got, err := decodeTransaction([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if got.Hash(nil) != want.Hash(nil) || string(got.Payload) != string(want.Payload) || got.ExpiresIn != want.ExpiresIn {
			t.Errorf("%s:\n got %+v\nwant %+v", body, got, want)
		}
	}
}

func TestDecodeTransaction_Refuses(t *testing.T) {
	for body, fields := range map[string][]string{
		"":                                    nil,
		" \n":                                 nil,
		"null":                                nil,
		"[]":                                  nil,
		`"x"`:                                 nil,
		"{":                                   nil,
		`{"a":1,}`:                            nil,
		`{"amount":01}`:                       nil,
		`{"amount":NaN}`:                      nil,
		"{}{}":                                nil,
		"{} x":                                nil,
		"\ufeff{}":                            nil,
		"{\"order\":\"\xff\"}":                nil,
		"{\"order\":\"\n\"}":                  nil,
		`{"order":"\ud83d"}`:                  nil,
		`{"order":"\ude00\ud83d"}`:            nil,
		`{"payload":{"x":"\\\ud800"}}`:        nil,
		`{"kind":"sale","kind":"sale"}`:       {"kind"},
		`{"kind":"sale","\u006bind":"x"}`:     {"kind"},
		`{"payload":{"a":{"b":1,"b":2}}}`:     {"payload.a.b"},
		`{"payload":[{"c":1},{"b":1,"b":2}]}`: {"payload[1].b"},
		`{"Kind":"sale"}`:                     {"Kind"},
		`{"tip":1,"amuont":2}`:                {"amuont", "tip"},
		`{"amount":"1299"}`:                   {"amount"},
		`{"amount":12.99}`:                    {"amount"},
		`{"amount":1e3}`:                      {"amount"},
		`{"amount":9223372036854775808}`:      {"amount"},
		`{"amount":true}`:                     {"amount"},
		`{"kind":"SALE"}`:                     {"kind"},
		`{"kind":7,"order":{},"method":[]}`:   {"kind", "method", "order"},
		`{"original":"short"}`:                {"original"},
		`{"expires_in":"45"}`:                 {"expires_in"},
		`{"payload":` + strings.Repeat("[", depthMax) + strings.Repeat("]", depthMax) + `}`: nil,
		strings.Repeat("[", 60_000): nil,
	} {
		_, err := decodeTransaction([]byte(body))
		r, ok := errors.AsType[*tideover.Refusal](err)
		if !ok || r.Code != tideover.CodeInvalidRequest {
			t.Errorf("%.60q: %v", body, err)
			continue
		}
		var got []string
		for _, f := range r.Fields {
			got = append(got, f.Field)
		}
		slices.Sort(got)
		if !slices.Equal(got, fields) {
			t.Errorf("%.60q names %q, want %q", body, got, fields)
		}
	}
	deep := `{"payload":` + strings.Repeat("[", depthMax-1) + strings.Repeat("]", depthMax-1) + `}`
	if _, err := decodeTransaction([]byte(deep)); err != nil {
		t.Errorf("nested as deep as it may be: %v", err)
	}
}

// Whatever a till sends: no panic; a refusal is one of invalid_request in words; and what is taken means the same to everybody, so that
// encoding/json, which is laxer, reads the same from it.
func FuzzDecodeTransaction(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"sale","amount":1299,"currency":"CNY","method":"qr","order":"A-1001","expires_in":45,"payload":{"a":1}}`,
		`{"kind":"refund","amount":1,"currency":"USD","original":"00000000000000000000000000"}`,
		`{"amount":1,"amount":2}`, `{"payload":[[[[{"x":{"x":1,"x":2}}]]]]}`, `{"order":"\ud83d\ude00"}`, `{"order":"\ud83d"}`, `null`, `{} {}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeTransaction(body)
		if err != nil {
			r, ok := errors.AsType[*tideover.Refusal](err)
			if !ok || r.Code != tideover.CodeInvalidRequest || r.Detail.En == "" || r.Detail.Zh == "" || !utf8.ValidString(r.Detail.En) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var lax struct {
			Kind, Currency, Method, Order, Instrument, Operator, Original *string
			Amount                                                        *int64
			Payload                                                       json.RawMessage
		}
		if err := json.Unmarshal(body, &lax); err != nil {
			t.Fatalf("%q was taken: %v", body, err)
		}
		for _, pair := range [][2]string{
			{got.Kind.String(), deref(lax.Kind)},
			{got.Currency, deref(lax.Currency)},
			{got.Method, deref(lax.Method)},
			{got.Order, deref(lax.Order)},
			{got.Instrument, deref(lax.Instrument)},
			{got.Operator, deref(lax.Operator)},
		} {
			if pair[0] != pair[1] {
				t.Fatalf("%q: read %q, others read %q", body, pair[0], pair[1])
			}
		}
		if got.Amount != deref(lax.Amount) {
			t.Fatalf("%q: read %d, others read %d", body, got.Amount, deref(lax.Amount))
		}
		if len(got.Payload) > 0 && string(got.Payload) != string(lax.Payload) {
			t.Fatalf("%q: payload %q, others read %q", body, got.Payload, lax.Payload)
		}
		if original := deref(lax.Original); original != "" && got.Original.String() != original {
			t.Fatalf("%q: original %s, others read %q", body, got.Original, original)
		}
	})
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
