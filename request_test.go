package tideover_test

import (
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tideover"
)

var secret = []byte("secret")

func sale() tideover.Request {
	return tideover.Request{
		Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-1001", Instrument: "2845", Operator: "lin",
		ExpiresIn: tideover.ExpiresInDefault, Payload: []byte(`{ "b": "x", "a": [1, 2.50] }`),
	}
}

// The sums were made by another implementation (Python's hmac): edge and hub of different releases must agree on them.
func TestRequest_HashGolden(t *testing.T) {
	sum := sale().Hash(secret)
	if got, want := hex.EncodeToString(sum[:]), "f0134c2d70f1c5bb4dc558af2569b3f078476a27ebf175ffaa2966677257458b"; got != want {
		t.Errorf("Hash = %s, want %s", got, want)
	}
	sum = tideover.InstrumentHash(secret, "2845")
	if got, want := hex.EncodeToString(sum[:]), "3bc1d24937901670a170f376ec48b8f913e6bebe23fff1fe6896fa6e74b82916"; got != want {
		t.Errorf("InstrumentHash = %s, want %s", got, want)
	}
	if tideover.InstrumentHash(secret, "") != [32]byte{} {
		t.Error("no instrument has a hash")
	}
}

func TestRequest_HashIgnoresSpelling(t *testing.T) {
	want := sale().Hash(secret)
	for _, payload := range []string{`{"a":[1,2.50],"b":"x"}`, "{\"b\":\"\\u0078\",\n\t\"a\" : [ 1,2.50 ]}"} {
		r := sale()
		r.Payload = []byte(payload)
		if r.Hash(secret) != want {
			t.Errorf("payload %s: another hash", payload)
		}
	}
}

func TestRequest_HashKnowsEachField(t *testing.T) {
	want := sale().Hash(secret)
	for name, change := range map[string]func(*tideover.Request){
		"kind":           func(r *tideover.Request) { r.Kind = tideover.KindAdvice },
		"amount":         func(r *tideover.Request) { r.Amount++ },
		"currency":       func(r *tideover.Request) { r.Currency = "USD" },
		"method":         func(r *tideover.Request) { r.Method = "card" },
		"order":          func(r *tideover.Request) { r.Order = "" },
		"original":       func(r *tideover.Request) { r.Original = tideover.MakeID("s", "t", "k") },
		"instrument":     func(r *tideover.Request) { r.Instrument = "2846" },
		"operator":       func(r *tideover.Request) { r.Operator = "wu" },
		"expires_in":     func(r *tideover.Request) { r.ExpiresIn += time.Second },
		"payload value":  func(r *tideover.Request) { r.Payload = []byte(`{"a":[1,2.51],"b":"x"}`) },
		"payload order":  func(r *tideover.Request) { r.Payload = []byte(`{"a":[2.50,1],"b":"x"}`) },
		"payload number": func(r *tideover.Request) { r.Payload = []byte(`{"a":[1,2.5],"b":"x"}`) },
		"payload gone":   func(r *tideover.Request) { r.Payload = nil },
	} {
		r := sale()
		change(&r)
		if r.Hash(secret) == want {
			t.Errorf("another %s gives the same hash", name)
		}
	}
	if sale().Hash([]byte("other")) == want {
		t.Error("another store's secret gives the same hash")
	}
	// Fields do not run into each other.
	a, b := sale(), sale()
	a.Method, a.Order, b.Method, b.Order = "qrA", "1", "qr", "A1"
	if a.Hash(secret) == b.Hash(secret) {
		t.Error("method and order run into each other")
	}
}

// TestRequest_HashIsEqualForEqualBodies draws two bodies and compares them as parsed values: hashes are equal just if they are.
func TestRequest_HashIsEqualForEqualBodies(t *testing.T) {
	few := rapid.SampledFrom([]string{"", "a", "b"})
	value := rapid.Custom(func(t *rapid.T) any {
		return map[string]any{few.Draw(t, "name"): few.Draw(t, "value"), few.Draw(t, "name2"): rapid.IntRange(0, 1).Draw(t, "n")}
	})
	body := rapid.Custom(func(t *rapid.T) (b struct {
		Request tideover.Request
		Value   any
	},
	) {
		b.Request = tideover.Request{
			Kind: tideover.Kind(rapid.IntRange(1, 2).Draw(t, "kind")), Amount: rapid.Int64Range(1, 2).Draw(t, "amount"),
			Method: few.Draw(t, "method"), Order: few.Draw(t, "order"), Instrument: few.Draw(t, "instrument"),
			ExpiresIn: time.Duration(rapid.IntRange(1, 2).Draw(t, "seconds")) * time.Second,
		}
		b.Value = value.Draw(t, "payload")
		return b
	})
	indents := rapid.SampledFrom([]string{"", " ", "\t"})
	rapid.Check(t, func(t *rapid.T) {
		a, b := body.Draw(t, "a"), body.Draw(t, "b")
		if rapid.Bool().Draw(t, "equal") {
			b = a
		}
		x, y := a.Request, b.Request
		x.Payload, _ = json.Marshal(a.Value)
		y.Payload, _ = json.MarshalIndent(b.Value, "", indents.Draw(t, "indent"))
		canonX, _ := json.Marshal(a)
		canonY, _ := json.Marshal(b)
		if equal := string(canonX) == string(canonY); equal != (x.Hash(secret) == y.Hash(secret)) {
			t.Fatalf("equal is %v, the hashes say otherwise:\n%+v\n%+v", equal, x, y)
		}
	})
}

func TestKind_Names(t *testing.T) {
	for k, want := range map[tideover.Kind]string{
		tideover.KindSale: "sale", tideover.KindRefund: "refund", tideover.KindReversal: "reversal", tideover.KindAdvice: "advice",
	} {
		var back tideover.Kind
		if err := back.UnmarshalText([]byte(want)); err != nil || back != k || k.String() != want {
			t.Errorf("%d: %s, back %d, %v", k, k, back, err)
		}
		if undoes := k == tideover.KindRefund || k == tideover.KindReversal; k.Undoes() != undoes {
			t.Errorf("%s: Undoes is %v", k, k.Undoes())
		}
	}
	for _, bad := range []string{"", "Sale", "refunds", "unknown-9"} {
		var k tideover.Kind
		if err := k.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("kind %q was taken as %s", bad, k)
		}
	}
}
