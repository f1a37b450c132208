package control_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"reflect"
	"testing"

	"tideover"
	"tideover/control"
)

func TestServer_ReconcilesAndSaysWhereItBrokeOff(t *testing.T) {
	for _, broken := range []bool{false, true} {
		path, _ := open(t, &house{broken: broken})
		n := 0
		each := func(c tideover.Compared) error {
			if n++; !reflect.DeepEqual(c, theCompared()) {
				t.Fatalf("have %+v", c)
			}
			return nil
		}
		whole, err := control.Dial(path).Reconcile(t.Context(), control.ReconcileQuery{All: true}, each)
		e, _ := errors.AsType[*control.Error](err)
		if !broken && (err != nil || n != exported || !reflect.DeepEqual(whole, theDay())) || broken && (e == nil || e.Status != http.StatusInternalServerError) {
			t.Errorf("broken %v: %d lines, %v, %+v", broken, n, err, whole)
		}
	}
	path, _ := open(t, &house{})
	whole, err := control.Dial(path).Reconcile(t.Context(), control.ReconcileQuery{Date: "2026-05-01"}, nil)
	if err != nil || !reflect.DeepEqual(whole, theDay()) || whole.Well() {
		t.Errorf("have %+v, %v", whole, err)
	}
	_, err = control.Dial(path).Reconcile(t.Context(), control.ReconcileQuery{Date: "never"}, nil)
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Status != http.StatusConflict || e.Code != "invalid_date" {
		t.Errorf("have %v", err)
	}
	full := errors.New("the disk is full")
	if _, err := control.Dial(path).Reconcile(t.Context(), control.ReconcileQuery{All: true}, func(tideover.Compared) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	if _, err := control.Dial(filepath.Join(t.TempDir(), "none")).Reconcile(t.Context(), control.ReconcileQuery{}, nil); !errors.Is(err, control.ErrUnreachable) {
		t.Error(err)
	}
}
