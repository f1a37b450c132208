package terminal

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"tideover"
)

// FuzzDecodeSettlement holds what is read against a decoder that takes everything: what is taken means the same to both, and what is not
// taken is a refusal in both languages.
func FuzzDecodeSettlement(f *testing.F) {
	for _, seed := range []string{
		`{"totals":[]}`, `{"from":"2026-05-01T08:00:00+08:00","to":"2026-05-01T22:00:00Z","totals":[{"kind":"sale","currency":"CNY","count":12,"amount":129900}]}`,
		`{"items":[{"id":"00000000000000000000000000","kind":"refund","amount":1,"currency":"USD","state":"declined"},{"key":"k","kind":"reversal"}]}`,
		`{"items":[{"key":"k","key":"l"}]}`, `{"items":[null,1,[],{}]}`, `{"totals":{},"items":"x"}`, `{"totals":[{"count":1e3,"amount":-1}]}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeSettlement(body)
		if err != nil {
			r, ok := errors.AsType[*tideover.Refusal](err)
			if !ok || r.Code != tideover.CodeInvalidRequest || r.Detail.En == "" || r.Detail.Zh == "" || !utf8.ValidString(r.Detail.En) || len(r.Fields) > settlementFaultsMax+4 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var lax struct {
			From, To *time.Time
			Totals   []struct {
				Kind, Currency string
				Count, Amount  int64
			}
			Items []struct {
				ID, Key, Kind, Currency, State string
				Amount                         int64
			}
		}
		if err := json.Unmarshal(body, &lax); err != nil {
			t.Skip("a time that is empty, or a name in another case: taken as left out here")
		}
		if len(lax.Totals) != len(got.Totals) || len(lax.Items) != len(got.Items) || len(got.Items) > SettlementItemsMax || len(got.Totals) > SettlementTotalsMax {
			t.Fatalf("%q: %d and %d", body, len(got.Totals), len(got.Items))
		}
		for i, want := range lax.Totals {
			have := got.Totals[i]
			if have.Kind.String() != want.Kind || have.Currency != want.Currency || have.Count != want.Count || have.Amount != want.Amount || have.Count < 0 || have.Amount < 0 {
				t.Fatalf("%q: %+v, others read %+v", body, have, want)
			}
		}
		for i, want := range lax.Items {
			have := got.Items[i]
			if want.State == "" {
				want.State = "approved"
			}
			if want.ID != "" && have.ID.String() != want.ID || have.Key != want.Key || have.Kind.String() != want.Kind || have.Currency != want.Currency ||
				have.State.String() != want.State || have.Amount != want.Amount || have.ID.IsZero() && have.Key == "" && want.ID == "" {
				t.Fatalf("%q: %+v, others read %+v", body, have, want)
			}
		}
		if lax.From != nil && got.From != tideover.MillisOf(*lax.From) {
			t.Fatalf("%q: from %v, others read %v", body, got.From.Time(), lax.From)
		}
	})
}
