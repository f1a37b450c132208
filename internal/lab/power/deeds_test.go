package power

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"tideover"
	"tideover/internal/lab/disk"
	"tideover/queue"
)

// deed is something that is done to a whole file that no daemon has open.
type deed string

const (
	deedCreate  deed = "create"
	deedMigrate deed = "migrate" // the first start on a journal of an earlier version
	deedBackup  deed = "backup"
	deedRestore deed = "restore"
	deedCompact deed = "compact"
)

// copyName is the copy of which a restore makes the journal, in the journal's folder.
const copyName = "copy"

// do does it, and says so.
func (l *life) do() {
	var err error
	switch l.Deed {
	case deedCreate:
		err = queue.Create(l.Path, l.known.keys(), queue.Ident{Store: store})
		l.Deed = "created"
	case deedMigrate:
		var q *queue.Queue
		if q, err = queue.Open(queue.Options{Path: l.Path, Key: l.known.keys(), Store: store}); err == nil {
			err = q.Close()
		}
	case deedBackup:
		_, err = queue.BackupFile(l.Path, filepath.Join(filepath.Dir(l.Path), "done"), l.known.keys(), store)
	case deedRestore:
		_, err = queue.RestoreFile(filepath.Join(filepath.Dir(l.Path), copyName), l.Path, l.known.keys(), store)
	case deedCompact:
		_, err = queue.CompactFile(l.Path, l.known.keys(), store)
	}
	if err != nil {
		l.broken(err)
	}
	l.say(string(l.Deed), "done")
	os.Exit(0)
}

// past is what there is before a deed: files, and what was promised of the journal by the time of its copy, and since.
type past struct {
	files       map[string][]byte
	early, full said
}

// sold lets a shop sell twice, and takes the files that the two days leave.
func sold(t *testing.T) (p past) {
	t.Helper()
	w := newWorld(t, rand.New(rand.NewPCG(4, 4)), disk.Options{})
	p.files = map[string][]byte{}
	take := func(name, as string) {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(w.path), name))
		if err != nil {
			t.Fatal(err)
		}
		p.files[as] = b
	}
	for day := range 2 {
		if status, words := w.through(order{Script: true}); status != 0 {
			t.Fatal(status, words)
		}
		if day == 0 {
			p.early = w.said.clone()
			take("queue.db", copyName)
		}
	}
	p.full = w.said.clone()
	p.early.Key, p.early.Destroyed = p.full.Key, p.full.Destroyed // the keys stay, whatever is restored
	p.early.Backups, p.full.Backups = nil, nil                    // they do not come along
	take("queue.db", "queue.db")
	return p
}

// yesterdays is a journal of the first schema.
func yesterdays(t *testing.T) (p past) {
	t.Helper()
	old, err := os.ReadFile("../../../queue/testdata/queue-1.db")
	if err != nil {
		t.Fatal(err)
	}
	p.files = map[string][]byte{"queue.db": old}
	p.full = said{Created: true, Of: map[string]*promise{}}
	for _, key := range []string{"open", "approved", "corrected", "expired", "adopted", "refund"} {
		p.full.Of[tideover.MakeID(store, "till", key).String()] = &promise{Accepted: true}
	}
	p.early = p.full
	return p
}

func (s *said) clone() said {
	c := *s
	c.Of = map[string]*promise{}
	for id, p := range s.Of {
		one := *p
		c.Of[id] = &one
	}
	return c
}

// TestPower_CutsADeed cuts the power at each operation of what is done to a whole file, or at every fourth. Afterwards there is the file as it was, or as it was to
// become, and after a restore both.
func TestPower_CutsADeed(t *testing.T) {
	needs(t)
	shop := sold(t)
	nothing := past{early: said{Of: map[string]*promise{}}, full: said{Of: map[string]*promise{}}}
	for d, p := range map[deed]past{
		deedCreate: nothing, deedMigrate: yesterdays(t), deedBackup: shop, deedRestore: shop, deedCompact: shop,
	} {
		for kind := range disk.CutsEnd {
			t.Run(fmt.Sprintf("%s, %v", d, kind), func(t *testing.T) {
				cuts, at := 1, 1+int(kind)
				for ; !p.cut(t, d, kind, at); at += each(1, 4) {
					cuts++
				}
				if t.Logf("%d cuts, 0 lost", cuts); at < 10 {
					t.Errorf("it had only %d operations", at)
				}
			})
		}
	}
}

// cut cuts the power once; true says that the deed was done before.
func (p past) cut(t *testing.T, d deed, kind disk.Cut, at int) (done bool) {
	t.Helper()
	w := newWorld(t, rand.New(rand.NewPCG(uint64(kind), uint64(at))), disk.Options{})
	defer w.disk.Unmount()
	dir := filepath.Dir(w.path)
	for name, b := range p.files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, b, 0o600), w.syncAll(path)); err != nil {
			t.Fatal(err)
		}
	}
	w.said = p.full.clone()
	words, _ := w.cut(kind, at, order{Deed: d}, func(string) { done = true })
	if words != "" && !done {
		t.Fatalf("at %d: %s", at, words)
	}
	kept := w.look()
	if d == deedRestore {
		for _, old := range glob(t, w.path+".*") {
			if kept != "" {
				kept = w.lookAt(old)
			}
		}
		w.said = p.early.clone()
		if words := w.look(); words != "" {
			t.Fatalf("cut at operation %d: what was restored: %s", at, words)
		}
	}
	if kept != "" {
		t.Fatalf("cut at operation %d: %s", at, kept)
	}
	if d == deedBackup && done {
		if words := w.lookAt(filepath.Join(dir, "done")); words != "" {
			t.Fatalf("a backup that was promised: %s", words)
		}
	}
	return done
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// lookAt is look at another file.
func (w *world) lookAt(path string) (words string) {
	defer func(path string) { w.path = path }(w.path)
	w.path = path
	return w.look()
}
