package ledger

import (
	"testing"

	"tideover"
)

// A move that the root's table does not have never reaches the disk.
func TestRow_MoveOutsideTheTablePanics(t *testing.T) {
	for from := tideover.RowNone; from <= tideover.RowManual; from++ {
		for to := tideover.RowNone; to <= tideover.RowManual; to++ {
			panicked := func() (did bool) {
				defer func() { did = recover() != nil }()
				(&Row{State: from}).move(to, "test")
				return false
			}()
			if panicked == tideover.RowMay(from, to) {
				t.Errorf("from %q to %q: panicked is %v", from, to, panicked)
			}
		}
	}
}
