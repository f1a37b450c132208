package ledger_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// An edge may say anything, in any order: ends that never were, of kinds that were not, settled and told again at any position, to a
// platform that answers anything. The ledger never breaks: it keeps to its table, its accounts never fall below nothing, and a position
// is only given out once.
func TestView_NoEdgeBreaksTheLedger(t *testing.T) {
	advice := submit("sale", func(s *wire.Submit) { s.Request.Kind, s.ExpiresAt = tideover.KindAdvice, 0 })
	advice.Hash = sale.Hash // under the very hash of the sale
	others := []wire.Submit{sale, refund, reversal, submit("refund2", undoing(tideover.KindRefund, 1200)), advice, bare, bareOf(refund), bareOf(reversal), again}
	rapid.Check(t, func(t *rapid.T) {
		rows := map[tideover.ID]ledger.Row{}
		v := &ledger.View{
			Now: start, Store: ledger.Store{Name: store, Incarnation: current, Journal: [16]byte{1}},
			History: ledger.History{Epochs: [][16]byte{{1}}},
		}
		step := func(t *rapid.T, s wire.Submit, do func() ledger.Decision) {
			ids := append([]tideover.ID{s.ID}, ledger.Others(s.Request)...)
			if known := rows[s.ID]; rapid.Bool().Draw(t, "ids of the row") {
				ids = append([]tideover.ID{s.ID}, known.Others()...)
			}
			v.Rows = nil
			for _, id := range ids {
				r, ok := rows[id]
				if !ok {
					r.ID = id
				}
				v.Rows = append(v.Rows, r)
			}
			before := v.Store.HubSeq
			if do(); v.Store.HubSeq < before {
				t.Fatalf("position %d after %d", v.Store.HubSeq, before)
			}
			for _, r := range v.Rows {
				if r.State == tideover.RowNone {
					continue
				}
				if a := r.Account; a.Refunded < 0 || a.Refunding < 0 || r.Accounted < 0 {
					t.Fatalf("%s: %+v, %d", r.ID, a, r.Accounted)
				}
				if r.Owed() {
					if err := r.Confirmation().Validate(); err != nil {
						t.Fatal(err)
					}
					for id, other := range rows {
						if id != r.ID && other.Owed() && other.HubSeq == r.HubSeq {
							t.Fatalf("%s and %s are both owed at %d", id, r.ID, r.HubSeq)
						}
					}
				}
				rows[r.ID] = r
			}
		}
		one := rapid.SampledFrom(others)
		end := rapid.SampledFrom([]tideover.State{stApproved, stDeclined, stExpired, stCancelled, stReversed})
		answer := rapid.SampledFrom([]ledger.Answer{yes, no, silence, missing, pending, undone, never, {Said: ledger.SaidApproved, Amount: 500, Currency: "CNY"}})
		frame := func(do func(*rapid.T, wire.Submit) ledger.Decision) func(*rapid.T) {
			return func(t *rapid.T) {
				s := one.Draw(t, "transaction")
				step(t, s, func() ledger.Decision { return do(t, s) })
			}
		}
		rules := rapid.SampledFrom([]ledger.Policy{policy, once})
		t.Repeat(map[string]func(*rapid.T){
			"claim": func(t *rapid.T) {
				s := one.Filter(func(s wire.Submit) bool { return s.Request.Kind != tideover.KindNone }).Draw(t, "transaction")
				v.Rows = nil
				step(t, s, func() ledger.Decision {
					if len(v.Rows) < 1+len(ledger.Others(s.Request)) {
						return ledger.Decision{} // the desk names the rows of a request by the request
					}
					return v.Claim(s, current, lease)
				})
			},
			"cancel": frame(func(t *rapid.T, s wire.Submit) ledger.Decision {
				m := cancelOf(s)
				m.Again = rapid.Bool().Draw(t, "again")
				return v.Cancel(m)
			}),
			"expire": frame(func(t *rapid.T, s wire.Submit) ledger.Decision {
				return v.Expire(wire.Expire{Submit: s, Outcome: rapid.SampledFrom([]tideover.State{stExpired, stCancelled}).Draw(t, "as")})
			}),
			"settle": frame(func(t *rapid.T, s wire.Submit) ledger.Decision {
				return v.Settle(wire.Settle{Submit: s, As: rapid.SampledFrom([]tideover.State{stApproved, stDeclined, stReversed}).Draw(t, "as")})
			}),
			"replay": frame(func(t *rapid.T, s wire.Submit) ledger.Decision {
				return v.Replay(replayOf(s, end.Draw(t, "as"), rapid.Uint64Range(1, 40).Draw(t, "position")))
			}),
			"record": frame(func(t *rapid.T, _ wire.Submit) ledger.Decision {
				r := v.Rows[0]
				return v.Record(r.Fence, answer.Draw(t, "answer"), rapid.Bool().Draw(t, "asked"), rules.Draw(t, "rules"), lease)
			}),
			"reverse": frame(func(t *rapid.T, _ wire.Submit) ledger.Decision {
				return v.RecordReverse(answer.Draw(t, "answer"), rules.Draw(t, "rules"))
			}),
			"undo": frame(func(t *rapid.T, _ wire.Submit) ledger.Decision {
				if v.Rows[0].Kind() != tideover.KindReversal {
					return ledger.Decision{}
				}
				return v.Undo()
			}),
			"uncalled": frame(func(*rapid.T, wire.Submit) ledger.Decision { return v.Uncalled(v.Rows[0].Fence, lease) }),
			"lapse":    frame(func(*rapid.T, wire.Submit) ledger.Decision { v.Lapse(other); return ledger.Decision{} }),
			"ack": frame(func(*rapid.T, wire.Submit) ledger.Decision {
				v.Acknowledge(current, []wire.Position{{ID: v.Rows[0].ID, HubSeq: v.Rows[0].HubSeq}})
				return ledger.Decision{}
			}),
			"hello": func(t *rapid.T) {
				v.Rows = nil
				h := wire.Hello{Incarnation: current, Seq: 5, Highest: rapid.Uint64Range(0, 60).Draw(t, "highest"), Epoch: v.History.Epoch()}
				if _, err := v.Hello(h); err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					step(t, wire.Submit{ID: r.ID}, func() ledger.Decision { v.Retell(); return ledger.Decision{} })
				}
				v.Store.Reused = 0
			},
			"replayed": func(*rapid.T) { v.Replayed(current) },
			"pass":     func(*rapid.T) { v.Now = v.Now.Add(20 * time.Second) },
		})
	})
}
