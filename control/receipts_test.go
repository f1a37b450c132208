package control_test

import (
	"errors"
	"net/http"
	"testing"

	"tideover"
	"tideover/control"
)

func TestClient_AsksForReceiptsAndComparesThem(t *testing.T) {
	path, _ := open(t, &house{})
	c := control.Dial(path)
	r, err := c.Receipt(t.Context(), theID.String()[:tideover.ShortMin])
	if err != nil || r != theReceipt() {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = c.Receipt(t.Context(), twins[0].String())
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != string(tideover.CodeNotPossible) {
		t.Errorf("without an end: %v", err)
	}
	s, err := c.Compare(t.Context(), r)
	if err != nil || s.State != tideover.StateReversed || s.Differs == nil || len(s.Differs) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	r.Message = "other"
	if s, err = c.Compare(t.Context(), r); err != nil || len(s.Differs) != 1 || s.Differs[0].Field != "message" {
		t.Errorf("%+v, %v", s, err)
	}
	r.ID = twins[0]
	_, err = c.Compare(t.Context(), r)
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Status != http.StatusNotFound {
		t.Errorf("unknown: %v", err)
	}
}
