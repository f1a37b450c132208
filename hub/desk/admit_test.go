package desk

import (
	"testing"
	"time"

	"tideover/wire"
)

// A store that has all the transactions in work that one store may have is told to wait, and no other one with it.
func TestDesk_OneStoreDoesNotTakeEveryPlace(t *testing.T) {
	d := New(Config{Timeout: time.Second})
	d.of["greedy"] = storeEntriesMax
	var told any
	if d.admit("greedy", func(m any) { told = m }) {
		t.Error("one more was taken")
	}
	if r, ok := told.(wire.Refused); !ok || r.Reason != wire.ReasonBusy || r.Retry == 0 {
		t.Errorf("told %+v", told)
	}
	if !d.admit("modest", func(m any) { t.Errorf("told %+v", m) }) {
		t.Error("another store was refused")
	}
}
