package daemon

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tideover"
	"tideover/control"
	"tideover/queue"
	"tideover/terminal"
	"tideover/wire"
)

const clearNumber = "4111111111111111"

// TestDesk_RefusesCardData has a card's number in each text of a press: nothing is stored, and the key is left free.
func TestDesk_RefusesCardData(t *testing.T) {
	h := newHouse(t)
	for name, press := range map[string]func(*terminal.Caller, *string, *tideover.Request){
		"key":        func(_ *terminal.Caller, key *string, _ *tideover.Request) { *key = clearNumber },
		"terminal":   func(by *terminal.Caller, _ *string, _ *tideover.Request) { by.Name = clearNumber },
		"method":     func(_ *terminal.Caller, _ *string, r *tideover.Request) { r.Method = clearNumber },
		"order":      func(_ *terminal.Caller, _ *string, r *tideover.Request) { r.Order = clearNumber },
		"operator":   func(_ *terminal.Caller, _ *string, r *tideover.Request) { r.Operator = clearNumber },
		"instrument": func(_ *terminal.Caller, _ *string, r *tideover.Request) { r.Instrument = clearNumber },
		"payload":    func(_ *terminal.Caller, _ *string, r *tideover.Request) { r.Payload = []byte(`{"cvv":"123"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			by, key, r := till1, "A-"+name, saleOf(1299)
			press(&by, &key, &r)
			_, err := h.Accept(t.Context(), by, key, terminal.OverrideNone, r)
			wantCode(t, err, tideover.CodeForbiddenCardData)
			if _, err := h.Get(t.Context(), by, tideover.MakeID(h.store, by.UID, key)); err == nil {
				t.Error("it is stored")
			}
			if key != clearNumber {
				h.sell(t, till1, key, 1299)
			}
		})
	}
}

// TestDesk_AnswersAKnownKeyBeforeItJudgesCardData has records of a time before the rule: the till that repeats its press hears its end,
// and can cancel it.
func TestDesk_AnswersAKnownKeyBeforeItJudgesCardData(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	r := saleOf(1299)
	r.Order = clearNumber
	if _, err := h.queue.Accept(t.Context(), h.draft(till1, clearNumber, r), func(queue.View) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if again, err := h.Accept(t.Context(), till1, clearNumber, terminal.OverrideNone, r); err != nil || !again.Replayed {
		t.Errorf("a known key: %+v, %v", again, err)
	}
	r.Operator = clearNumber
	_, err := h.Accept(t.Context(), till1, clearNumber, terminal.OverrideNone, r)
	wantCode(t, err, tideover.CodeKeyReused)
	if cancelled, err := h.CancelKey(t.Context(), till1, clearNumber); err != nil || cancelled.State != tideover.StateCancelled {
		t.Errorf("a known key cannot be cancelled: %+v, %v", cancelled, err)
	}
	_, err = h.CancelKey(t.Context(), till2, clearNumber)
	wantCode(t, err, tideover.CodeForbiddenCardData)
	if _, err := h.Get(t.Context(), till2, tideover.MakeID(h.store, till2.UID, clearNumber)); err == nil {
		t.Error("a key that was refused is barred")
	}
}

// TestDesk_PairsNoTillThatIsCalledACard leaves the code to the till that has a better name.
func TestDesk_PairsNoTillThatIsCalledACard(t *testing.T) {
	h := newHouse(t)
	code, _, err := h.tills.book.Open(terminal.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	pair := func(name string) error {
		_, _, err := h.Pair(context.Background(), terminal.PairRequest{Code: code, Name: name})
		return err
	}
	wantCode(t, pair("till "+clearNumber), tideover.CodeForbiddenCardData)
	if err := pair("till-1"); err != nil {
		t.Error(err)
	}
}

// TestRouter_RefusesCardDataOfATechnician keeps it out of the reasons in the journal, of the names of tills and of what is answered.
func TestRouter_RefusesCardDataOfATechnician(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	tech, _ := h.technician(t)
	id := h.sell(t, till1, "A-1", 1299).ID.String()
	for name, do := range map[string]func() error{
		"reason": func() error {
			_, err := tech.Act(t.Context(), id, control.Action{Verb: control.VerbDrop, Reason: "paid with " + clearNumber})
			return err
		},
		"name": func() error {
			_, err := tech.Pair(t.Context(), control.PairRequest{Name: clearNumber})
			return err
		},
	} {
		err := do()
		wantRefused(t, err, http.StatusConflict, tideover.CodeForbiddenCardData)
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the refusal does not name it: %v", name, err)
		}
	}
	if d, err := tech.Show(t.Context(), id); err != nil || d.Transaction.State != tideover.StateQueued {
		t.Errorf("it was dropped: %+v, %v", d, err)
	}
	for name, err := range map[string]error{
		"revoke": tech.Revoke(t.Context(), "till "+clearNumber),
		"list":   second(tech.List(t.Context(), control.Filter{Terminal: clearNumber})),
		"show":   second(tech.Show(t.Context(), clearNumber)),
	} {
		if err == nil || strings.Contains(fmt.Sprintf("%#v", err), clearNumber) {
			t.Errorf("%s answers %#v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
