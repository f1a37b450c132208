package queue

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tideover"
	"tideover/edge"
)

// TestCheck_OpensEverySealedPart: beside the queue and without it the same is found, and nothing is written.
func TestCheck_OpensEverySealedPart(t *testing.T) {
	s := newShop(t)
	for _, key := range []string{"k1", "k2", "k3"} {
		s.accept(draft("till-1", key))
	}
	hot, err := s.q.Check(t.Context())
	if err != nil || len(hot.Flaws) > 0 || hot.Sealed != 3 || hot.Transactions != 3 || hot.Bytes == 0 || hot.FileSystem.Name == "" {
		t.Fatalf("hot: %+v, %v", hot, err)
	}
	if _, err := CheckFile(s.path, testKey, testStore); !errors.Is(err, ErrInUse) {
		t.Errorf("beside the queue: %v", err)
	}
	s.close()
	before := contentOf(t, s.path)
	cold, err := CheckFile(s.path, testKey, testStore)
	if err != nil || len(cold.Flaws) > 0 || cold.Sealed != 3 || cold.Head.Seq < hot.Head.Seq {
		t.Fatalf("cold: %+v, %v", cold, err)
	}
	if contentOf(t, s.path) != before {
		t.Error("the look has changed the file")
	}
}

// TestCheck_FindsWhatOpensToNobody: a sealed part that was put in with its digest and with the chain computed anew is sound but for the key;
// an event that cannot follow its transaction's others stops a daemon at its start, and is found before.
func TestCheck_FindsWhatOpensToNobody(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(l ledger, genesis [32]byte) ledger
		want string
	}{
		"another's sealed part": {func(l ledger, genesis [32]byte) ledger {
			i, _ := l.first(edge.EventAccepted)
			l[i].sealed = []byte(strings.Repeat("x", 64))
			l[i].event.Digest = digest(l[i].sealed)
			return l.resign(genesis, i)
		}, "does not open the sealed part"},
		"a second acceptance": {func(l ledger, genesis [32]byte) ledger {
			i, e := l.first(edge.EventAccepted)
			last := l[len(l)-1]
			e.Prev = 0
			for _, f := range l {
				if f.event.ID == e.ID {
					e.Prev = f.seq
				}
			}
			l = append(l, forgery{seq: last.seq + 1, event: e, sealed: l[i].sealed})
			return l.resign(genesis, len(l)-1)
		}, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := day(t, 4)
			forge(t, path, tc.do)
			c, err := CheckFile(path, testKey, testStore)
			if err != nil || len(c.Flaws) != 1 || !strings.Contains(c.Flaws[0].What.En, tc.want) || c.Flaws[0].What.Zh == "" {
				t.Errorf("%+v, %v", c.Flaws, err)
			}
		})
	}
}

// first returns the first event of a kind.
func (l ledger) first(kind edge.EventType) (int, edge.Event) {
	for i, f := range l {
		if f.event.Type == kind {
			return i, f.event
		}
	}
	panic("there is none")
}

// TestCheckFile_TellsFilesApart: what cannot be looked at is an error that says why; what can, and is not whole, has a flaw.
func TestCheckFile_TellsFilesApart(t *testing.T) {
	path, _ := day(t, 4)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		p := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	newer := filepath.Join(t.TempDir(), "newer.db")
	if err := create(newer, testKey, Ident{Store: testStore}, schemaNow+1); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path  string
		key   Keys
		store string
		want  error
		flaw  string
	}{
		"well":        {path, testKey, testStore, nil, ""},
		"missing":     {path + "-none", testKey, testStore, ErrMissing, ""},
		"foreign":     {write("a.txt", []byte(strings.Repeat("text ", 4096))), testKey, testStore, ErrForeign, ""},
		"folder":      {t.TempDir(), testKey, testStore, ErrForeign, ""},
		"newer":       {newer, testKey, testStore, ErrNewerSchema, ""},
		"another key": {path, OneKey([32]byte{9}), testStore, ErrWrongKey, ""},
		"other store": {path, testKey, "shop-0002", ErrOtherStore, ""},
		"empty":       {write("b.db", nil), testKey, testStore, nil, "empty"},
		"cut off":     {write("c.db", image[:5*pageSize]), testKey, testStore, nil, "cut off"},
		"bytes wrong": {write("d.db", []byte(strings.ReplaceAll(string(image), "till", "tilt"))), testKey, testStore, nil, "chain is broken"},
	} {
		c, err := CheckFile(tc.path, tc.key, tc.store)
		if !errors.Is(err, tc.want) || (tc.flaw == "") != (len(c.Flaws) == 0) || (tc.flaw != "" && !strings.Contains(c.Flaws[0].What.En, tc.flaw)) {
			t.Errorf("%s: %+v, %v", name, c.Flaws, err)
		}
		if e, ok := errors.AsType[*OpenError](err); tc.want != nil && !ok {
			t.Errorf("%s: %v explains nothing", name, e)
		}
	}
}

// TestFileSystem_Warns of what keeps nothing, of what a journal cannot be on, and of nothing else.
func TestFileSystem_Warns(t *testing.T) {
	for name, want := range map[string]string{"ext4": "", "ubifs": "", "overlay": "", "": "", "tmpfs": "reboot", "jffs2": "cannot run", "nfs": "share"} {
		w := FileSystem{Name: name}.Warning()
		if (want == "") != (w == tideover.Text{}) || !strings.Contains(w.En, want) || (w.En == "") != (w.Zh == "") {
			t.Errorf("%s: %+v", name, w)
		}
	}
	if (FileSystem{Name: "jffs2"}).Fit() || !(FileSystem{Name: "tmpfs"}).Fit() {
		t.Error("where a daemon can run is not told apart")
	}
	if f := fileSystemOf("/dev/shm"); f.Name != "tmpfs" {
		if _, err := os.Stat("/dev/shm"); err == nil {
			t.Errorf("/dev/shm is %+v", f)
		}
	}
}
