package tideover

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anyText draws what tills and platforms send, and what is hard to write.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[a-zA-Z0-9 ._-]{0,20}`), rapid.String(),
		rapid.SampledFrom([]string{"\xff", "\u2028", `a"b\`, "<b>&amp;</b>", "\x00\x7f\t\n", "茶", "\xe2\x80", "~ "}))
}

func anyTransaction(t *rapid.T) Transaction {
	text := func(name string) string { return anyText().Draw(t, name) }
	millis := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(-1e14, 1e15), rapid.Int64Range(1.7e12, 1.8e12))
	instant := func(name string) Millis { return Millis(millis.Draw(t, name)) }
	id := func(name string) (id ID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, name))
		return id
	}
	out := Transaction{
		ID: id("id"), Terminal: text("terminal"), TerminalUID: text("uid"), Key: text("key"), Kind: Kind(rapid.Uint8Range(0, 6).Draw(t, "kind")),
		Amount: rapid.Int64().Draw(t, "amount"), Currency: text("currency"), Method: text("method"), Order: text("order"), Original: id("original"),
		Operator: text("operator"), State: State(rapid.Uint8Range(0, 20).Draw(t, "state")), Attempts: rapid.Int().Draw(t, "attempts"),
		Uplink: text("uplink"), Delivered: rapid.Bool().Draw(t, "delivered"), Acknowledged: rapid.Bool().Draw(t, "acknowledged"),
		Seq: rapid.Uint64().Draw(t, "seq"), WaitingFor: text("waiting"), Corrected: rapid.Bool().Draw(t, "corrected"),
		CreatedAt: instant("created"), UpdatedAt: instant("updated"), ExpiresAt: instant("expires"), Replayed: rapid.Bool().Draw(t, "replayed"),
	}
	if rapid.Bool().Draw(t, "ended") {
		out.Outcome = &Outcome{
			Result: State(rapid.Uint8Range(0, 20).Draw(t, "result")), Code: text("code"), Message: text("message"), Reference: text("reference"),
			At: instant("at"),
		}
	}
	return out
}

// TestTransaction_AppendJSONIsWhatEncodingJSONMakes: what is written by hand is what the shape says, byte for byte.
func TestTransaction_AppendJSONIsWhatEncodingJSONMakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tx := anyTransaction(t)
		want, err := json.Marshal(transactionJSON{
			ID: tx.ID, Terminal: tx.Terminal, Key: tx.Key, Kind: orNull(tx.Kind), Amount: tx.Amount, Currency: orNull(tx.Currency),
			Method: orNull(tx.Method), Order: orNull(tx.Order), Original: orNull(tx.Original), Operator: orNull(tx.Operator),
			State: tx.State, Final: tx.Final(), Outcome: tx.Outcome, Attempts: tx.Attempts, Uplink: orNull(tx.Uplink),
			Delivered: tx.Delivered, Acknowledged: tx.Acknowledged, Seq: tx.Seq, WaitingFor: orNull(tx.WaitingFor),
			Corrected: tx.Corrected, CreatedAt: tx.CreatedAt, UpdatedAt: tx.UpdatedAt, ExpiresAt: tx.ExpiresAt, Replayed: tx.Replayed,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := tx.AppendJSON([]byte("before")); string(got) != "before"+string(want) {
			t.Fatalf("written  %s\nwanted   %s", got[len("before"):], want)
		}
		got, err := json.Marshal(tx)
		if err != nil || string(got) != string(want) {
			t.Fatalf("marshalled %s, %v\nwanted     %s", got, err, want)
		}
	})
}

func BenchmarkTransaction_AppendJSON(b *testing.B) {
	now := MillisOf(time.Now())
	tx := Transaction{
		ID: MakeID("shop", "till-1", "A-1"), Terminal: "till-1", Key: "A-1", Kind: KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-1",
		Operator: "lin", State: StateQueued, Seq: 1 << 20, CreatedAt: now, UpdatedAt: now, ExpiresAt: now,
	}
	b.ReportAllocs()
	for b.Loop() {
		tx.AppendJSON(nil)
	}
}
