package daemon

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/control"
	"tideover/queue"
	"tideover/rules"
	"tideover/terminal"
	"tideover/wire"
)

// TestPruned_TheHubKnowsIt: what has left the journal since it was over is in the ledger, and the ledger's word counts: a refund of it is not
// refused here as one of nothing, a key of it that is pressed again has the outcome that it had, and nothing is compared that is not whole.
func TestPruned_TheHubKnowsIt(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.final = time.Hour
	h.open(t)
	h.rule(t, rules.Rules{Limits: rules.DefaultLimits()}) // what may be a duplicate's other half is kept in memory for a while
	var mu sync.Mutex
	rows := make(map[tideover.ID]wire.Confirmation) // the ledger's
	h.connect(t, &fakeHub{answer: func(msg any) []any {
		s, ok := msg.(wire.Submit)
		if !ok {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		row, known := rows[s.ID]
		if !known {
			row = wire.Confirmation{ID: s.ID, HubSeq: uint64(len(rows) + 1), Outcome: tideover.Outcome{
				Result: tideover.StateApproved, Code: "00", Reference: fmt.Sprint("R", len(rows)),
			}}
			rows[s.ID] = row
		}
		return []any{row}
	}})
	sell := func(key string) tideover.Transaction {
		t.Helper()
		sold := h.sell(t, till1, key, 1299)
		soon(t, func() bool { return h.state(t, sold.ID) == tideover.StateApproved })
		got, err := h.queue.Get(sold.ID)
		if err == nil {
			_, err = h.queue.Acknowledge(t.Context(), sold.ID, got.Seq)
		}
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	tech, r := h.technician(t)
	r.books = h.books
	date := time.Now().Format(time.DateOnly)
	first := sell("first")
	for i := range 12 {
		sell(fmt.Sprint("sale-", i))
	}
	if _, err := tech.Reconcile(t.Context(), control.ReconcileQuery{Date: date}, nil); err != nil {
		t.Errorf("before: %v", err)
	}
	now := h.queue.LedgerTime()
	for _, later := range []time.Duration{5 * time.Minute, 3 * time.Hour} {
		h.queue.NoteLedgerTime(now.Add(later))
		if err := h.queue.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	last := sell("last") // its end tells how far the hub holds the chain
	soon(t, func() bool {
		sell(fmt.Sprint("beside-", time.Now().UnixNano()))
		_, err := h.queue.Get(first.ID)
		return errors.Is(err, queue.ErrUnknown)
	})
	if h.queue.Pruned() < first.CreatedAt {
		t.Errorf("pruned through %v", h.queue.Pruned())
	}

	refund := saleOf(100)
	refund.Kind, refund.Original = tideover.KindRefund, first.ID
	given, err := h.Accept(t.Context(), till2, "refund", terminal.OverrideNone, refund)
	if err != nil {
		t.Fatalf("a refund of what the hub knows: %v", err)
	}
	soon(t, func() bool { return h.state(t, given.ID) == tideover.StateApproved })

	again := h.sell(t, till1, "first", 1299)
	soon(t, func() bool { return h.state(t, again.ID).Final() })
	if got, err := h.queue.Get(first.ID); err != nil || got.Outcome.Reference != first.Outcome.Reference {
		t.Errorf("pressed again: %+v, %v; it was %+v", got, err, first)
	}
	if _, err := h.queue.Get(last.ID); err != nil {
		t.Errorf("what is young: %v", err)
	}

	_, err = tech.Reconcile(t.Context(), control.ReconcileQuery{Date: date}, nil)
	if err == nil || !strings.Contains(err.Error(), "does not reach back") {
		t.Errorf("a day that is not whole: %v", err)
	}
	_, _, err = h.Settle(t.Context(), till1, "report", tideover.Settlement{From: first.CreatedAt - 1000, To: tideover.MillisOf(time.Now())})
	wantCode(t, err, tideover.CodeInvalidRequest)
}
