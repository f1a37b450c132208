package control_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"tideover"
	"tideover/control"
)

// slow is a house whose reconciliation takes longer than a call may take to come.
type slow struct{ house }

func (s *slow) Reconcile(ctx context.Context, _ control.ReconcileQuery, _ func(tideover.Compared) error) (tideover.Reconciliation, error) {
	select {
	case <-time.After(6 * time.Second):
		return theDay(), nil
	case <-ctx.Done():
		return tideover.Reconciliation{}, ctx.Err()
	}
}

// The platform's statement may take minutes; the time for sending a call is over long before.
func TestServer_ReconcileMayTakeLong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.sock")
	openAt(t, path, &slow{})
	if _, err := control.Dial(path).Reconcile(t.Context(), control.ReconcileQuery{}, nil); err != nil {
		t.Error(err)
	}
}
