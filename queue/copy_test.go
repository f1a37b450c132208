package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"tideover/edge"
)

// entriesIn returns a file's entries.
func entriesIn(t *testing.T, path string) (all []forgery) {
	t.Helper()
	if _, _, err := eachOf(path, func(f forgery) { all = append(all, f) }); err != nil {
		t.Fatal(err)
	}
	return all
}

// copyOf holds a copy against its journal: every entry up to the head that it names, none but the mark after it, and nothing lost of the
// journal.
func copyOf(t *testing.T, journal, path string, c Copied) {
	t.Helper()
	whole, have := entriesIn(t, journal), entriesIn(t, path)
	last := have[len(have)-1]
	if last.event.Type != edge.EventGap {
		t.Fatalf("it ends with %v, and bears no mark", last.event.Type)
	}
	have = have[:len(have)-1]
	if n := len(have); n == 0 || have[n-1].seq != c.Through.Seq || have[n-1].link != c.Through.Hash {
		t.Fatalf("%d entries, the last of %+v", n, c.Through)
	}
	for i := range have {
		if !reflect.DeepEqual(have[i], whole[i]) {
			t.Fatalf("entry %d of the copy is not the journal's: %d, %v", i, have[i].seq, have[i].event.Type)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != c.Bytes {
		t.Errorf("%+v, %v", info, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the copy: %v, %v", left, err)
	}
}

// TestBackup_BesideSales: a copy that is made while tills press is the journal as it was at one instant, and a queue can be opened from it.
func TestBackup_BesideSales(t *testing.T) {
	s := newShop(t)
	for i := range 50 {
		s.accept(draft("till-0", fmt.Sprint("k", i)))
	}
	var wg sync.WaitGroup
	for till := range 4 {
		wg.Go(func() {
			for i := range 200 {
				if _, err := s.q.Accept(t.Context(), draft(fmt.Sprint("till-", till), fmt.Sprint("beside", i)), yes); err != nil {
					t.Error(err)
				}
			}
		})
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	c, err := s.q.Backup(t.Context(), path)
	if err != nil || c.Transactions < 50 || len(c.Flaws) > 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := s.q.Backup(t.Context(), path); !errors.Is(err, ErrExists) {
		t.Errorf("over a file: %v", err)
	}
	wg.Wait()
	s.close()
	copyOf(t, s.path, path, c)
	check(t, path)

	q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if !q.Gap() || q.OpenOfCopy() != c.Transactions {
		t.Errorf("a queue of the copy: gap %v, %d open of the copy, want %d", q.Gap(), q.OpenOfCopy(), c.Transactions)
	}
}

// TestBackupFile_IsTheSame without a queue, changes nothing of what it copies, and copies nothing that is not whole.
func TestBackupFile_IsTheSame(t *testing.T) {
	s := newShop(t)
	for i := range 20 {
		s.accept(draft("till-0", fmt.Sprint("k", i), func(d *edge.Draft) { d.Request.Payload = make([]byte, 60<<10) }))
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if _, err := BackupFile(s.path, path, testKey, testStore); !errors.Is(err, ErrInUse) {
		t.Errorf("beside the queue: %v", err)
	}
	s.close()
	before := contentOf(t, s.path)
	c, err := BackupFile(s.path, path, testKey, testStore)
	if err != nil || c.Transactions != 20 || c.Sealed != 20 {
		t.Fatalf("%+v, %v", c, err)
	}
	copyOf(t, s.path, path, c)
	if contentOf(t, s.path) != before {
		t.Error("the copy has changed the journal")
	}
	if _, err := BackupFile(s.path, filepath.Join(t.TempDir(), "x.db"), OneKey([32]byte{9}), testStore); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	forge(t, s.path, func(l ledger, _ [32]byte) ledger { l[3].link[0]++; return l })
	to := filepath.Join(t.TempDir(), "y.db")
	if _, err := BackupFile(s.path, to, testKey, testStore); !errors.Is(err, ErrDamaged) {
		t.Errorf("of a damaged file: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != 0 {
		t.Errorf("it has left %v", left)
	}
}
