package tideover_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tideover"
)

// The fields of a Transaction in the terminal's API, in the contract's order.
var contractFields = []string{
	"id", "terminal", "key", "kind", "amount", "currency", "method", "order", "original", "operator", "state", "final", "outcome",
	"attempts", "uplink", "delivered", "acknowledged", "seq", "waiting_for", "corrected", "created_at", "updated_at", "expires_at",
	"replayed",
}

func full() tideover.Transaction {
	return tideover.Transaction{
		ID: tideover.MakeID("shop-0001", "till-1", "A-1001"), Terminal: "till-1", Key: "A-1001", Kind: tideover.KindRefund, Amount: 1299,
		Currency: "CNY", Method: "qr", Order: "A-1001", Original: tideover.MakeID("s", "t", "k"), Operator: "lin",
		State: tideover.StateApproved,
		Outcome: &tideover.Outcome{
			Result: tideover.StateApproved, Code: "00", Message: "谢谢", Reference: "P-1", At: 1_700_000_000_123,
		},
		Attempts: 1, Uplink: "eth1", Delivered: true, Acknowledged: true, Seq: 42, WaitingFor: "customer", Corrected: true,
		CreatedAt: 1_700_000_000_001, UpdatedAt: 1_700_000_000_456, ExpiresAt: 1_700_000_045_001, Replayed: true,
	}
}

func TestTransaction_JSONHasTheContractsFields(t *testing.T) {
	for name, tx := range map[string]tideover.Transaction{"full": full(), "fresh": {State: tideover.StateQueued}} {
		b, err := json.Marshal(tx)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, b); !slices.Equal(got, contractFields) {
			t.Errorf("%s: fields are %v, want %v", name, got, contractFields)
		}
	}
	b, err := json.Marshal(*full().Outcome)
	if want := []string{"result", "code", "message", "reference", "at"}; err != nil || !slices.Equal(names(t, b), want) {
		t.Errorf("outcome: %s, %v, want %v", b, err, want)
	}
}

// names returns the field names of a JSON object in the order in which they stand.
func names(t *testing.T, object []byte) (all []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name.(string))
		var value any
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestTransaction_JSONSpeaksAsTheContractDoes(t *testing.T) {
	var got map[string]any
	b, _ := json.Marshal(full())
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"id": "9t2kqx4r5hq9njbnyenbxwg120", "kind": "refund", "amount": 1299.0, "state": "approved", "final": true,
		"created_at": "2023-11-14T22:13:20.001Z", "waiting_for": "customer",
	} {
		if got[field] != want {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}
	b, _ = json.Marshal(tideover.Transaction{State: tideover.StateQueued})
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"original", "outcome", "uplink", "waiting_for", "order", "operator", "expires_at"} {
		if got[field] != nil {
			t.Errorf("%s is %v where there is none, want null", field, got[field])
		}
	}
	if got["final"] != false || got["amount"] != 0.0 {
		t.Errorf("a fresh transaction reads %s", b)
	}
}

// TestTransaction_JSONRoundTrip: what the technician's commands read is what the API wrote, but for what is not shown.
func TestTransaction_JSONRoundTrip(t *testing.T) {
	text := rapid.SampledFrom([]string{"", "till-1", "谢谢", `"<&>"`})
	instant := rapid.Custom(func(t *rapid.T) tideover.Millis { return tideover.Millis(rapid.Int64Range(0, 4e12).Draw(t, "ms")) })
	id := rapid.Custom(func(t *rapid.T) tideover.ID { return tideover.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")) })
	rapid.Check(t, func(t *rapid.T) {
		tx := tideover.Transaction{
			ID: id.Draw(t, "id"), Terminal: text.Draw(t, "terminal"), Key: text.Draw(t, "key"),
			Kind:   tideover.Kind(rapid.IntRange(0, 4).Draw(t, "kind")),
			Amount: rapid.Int64().Draw(t, "amount"), Currency: text.Draw(t, "currency"), Method: text.Draw(t, "method"),
			Order: text.Draw(t, "order"), Operator: text.Draw(t, "operator"),
			State:    rapid.SampledFrom(tideover.States()).Draw(t, "state"),
			Attempts: rapid.IntRange(0, 9).Draw(t, "attempts"), Uplink: text.Draw(t, "uplink"),
			Delivered: rapid.Bool().Draw(t, "delivered"), Acknowledged: rapid.Bool().Draw(t, "acknowledged"),
			Seq: rapid.Uint64().Draw(t, "seq"), WaitingFor: text.Draw(t, "waiting"), Corrected: rapid.Bool().Draw(t, "corrected"),
			CreatedAt: instant.Draw(t, "created"), UpdatedAt: instant.Draw(t, "updated"), ExpiresAt: instant.Draw(t, "expires"),
			Replayed: rapid.Bool().Draw(t, "replayed"),
		}
		if rapid.Bool().Draw(t, "has original") {
			tx.Original = id.Draw(t, "original")
		}
		if rapid.Bool().Draw(t, "has outcome") {
			tx.Outcome = &tideover.Outcome{
				Result: rapid.SampledFrom(tideover.States()).Draw(t, "result"), Code: text.Draw(t, "code"),
				Message: text.Draw(t, "message"), Reference: text.Draw(t, "reference"), At: instant.Draw(t, "at"),
			}
		}
		b, err := json.Marshal(tx)
		if err != nil {
			t.Fatal(err)
		}
		var back tideover.Transaction
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if !reflect.DeepEqual(back, tx) {
			t.Fatalf("wrote %+v\nread  %+v\nas    %s", tx, back, b)
		}
	})
}

func TestTransaction_JSONNeverShowsTheUID(t *testing.T) {
	tx := full()
	tx.TerminalUID = "uid-is-not-shown"
	b, _ := json.Marshal(tx)
	if bytes.Contains(b, []byte(tx.TerminalUID)) {
		t.Errorf("shown: %s", b)
	}
	b, _ = json.Marshal(tideover.Terminal{Name: "till-1", TokenHash: [32]byte{1, 2, 3}})
	if bytes.Contains(b, []byte("AQID")) || bytes.Contains(bytes.ToLower(b), []byte("token")) {
		t.Errorf("a token's hash is shown: %s", b)
	}
}

func TestMillis_KeepsMilliseconds(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 8*3600))
	m := tideover.MillisOf(now)
	if !m.Time().Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("%v became %v", now, m.Time())
	}
	if m.Add(1500*time.Millisecond)-m != 1500 {
		t.Error("Add does not add milliseconds")
	}
	if tideover.MillisOf(time.Time{}) != 0 || !tideover.Millis(0).Time().IsZero() {
		t.Error("an unknown instant does not stay unknown")
	}
	var read tideover.Millis
	if err := json.Unmarshal([]byte(`"2026-07-01T12:00:00.123+08:00"`), &read); err != nil || read != m {
		t.Errorf("read %d, %v, want %d", read, err, m)
	}
	if err := json.Unmarshal([]byte(`"yesterday"`), &read); err == nil {
		t.Error("an instant that is none was read")
	}
}
