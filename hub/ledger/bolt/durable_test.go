package bolt_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"tideover"
	"tideover/hub/ledger"
	"tideover/hub/ledger/bolt"
)

// A commit can be read from the file as soon as its meta page is written, which is before that page is synced. What is read is told to
// edges and acted on: it must not be undone by a power cut.
func TestLedger_ReadsNothingThatIsNotOnDisk(t *testing.T) {
	l, _ := open(t, create(t))
	const n = 300
	var latest atomic.Int64 // what is being written
	done := make(chan error, 1)
	before := commits(t, l)
	go func() {
		for i := range n {
			latest.Store(int64(i))
			s := request(fmt.Sprint(i))
			err := l.Update(t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{s.ID}, Step: func(v *ledger.View) error {
				v.Claim(s, current, ledger.Lease{Owner: l.Owner()})
				return nil
			}})
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for early := 0; ; {
		i := latest.Load()
		row, err := l.Row(store, request(fmt.Sprint(i)).ID)
		if err != nil {
			t.Fatal(err)
		}
		// One commit for each row, in order: the commit of row i is the ledger's i+1st here.
		if committed := commits(t, l) - before; row.State != tideover.RowNone && committed < i+1 {
			if early++; early == 1 {
				t.Errorf("row %d is read after %d commits", i, committed)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

func commits(t *testing.T, l *bolt.Ledger) int64 {
	t.Helper()
	st, err := l.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return st.Commits
}
