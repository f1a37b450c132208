package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"tideover/edge"
)

// yesterday writes a closed file as schema 1 had it: sealed parts behind the entries, and no bucket for them.
func yesterday(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		h, err := decodeHead(tx.Bucket(bucketMeta).Get(keyHead), schemaNow)
		if err != nil {
			return err
		}
		h.schema = 1
		journal := tx.Bucket(bucketJournal)
		err = tx.Bucket(bucketSealed).ForEach(func(k, v []byte) error {
			return journal.Put(k, append(append([]byte(nil), journal.Get(k)...), v...))
		})
		return errors.Join(err, tx.DeleteBucket(bucketSealed), tx.DeleteBucket(bucketPruned), tx.Bucket(bucketMeta).Put(keyHead, h.encode()))
	})
	if err == nil { // once more, for the other meta page
		err = db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketJournal).SetSequence(tx.Bucket(bucketJournal).Sequence())
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// old makes a file of schema 1 with so many payloads of 60 kB, and returns what is in it.
func old(t *testing.T, payloads int) (path string, content [32]byte) {
	t.Helper()
	s := newShop(t)
	for i := range payloads {
		s.accept(draft("till", fmt.Sprint("k", i), func(d *edge.Draft) { d.Request.Payload = make([]byte, 60_000) }))
		s.accept(draft("till", fmt.Sprint("small", i)))
	}
	s.close()
	content = contentOf(t, s.path)
	yesterday(t, s.path)
	return s.path, content
}

// stateOf says of which schema a file is, and how many sealed parts stand in their bucket.
func stateOf(t *testing.T, path string) (schema uint32, moved int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := newWalker(f)
	if err != nil {
		t.Fatal(err)
	}
	l, h, err := identify(w, schemaNow)
	if err == nil {
		err = w.entries(l.sealed, func(_, _ []byte) error { moved++; return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return h.schema, moved
}

// TestMigrate_MovesSealedParts of a large file in several commits, and a file of any time in between is one that is whole.
func TestMigrate_MovesSealedParts(t *testing.T) {
	const payloads = 60
	path, content := old(t, payloads)
	if a, err := VerifyFile(path); err != nil || len(a.Flaws) > 0 || a.Transactions != 2*payloads {
		t.Fatalf("a file of yesterday: %+v, %v", a, err)
	}
	if c, err := CheckFile(path, testKey, testStore); err != nil || len(c.Flaws) > 0 || c.Sealed != 2*payloads {
		t.Fatalf("a file of yesterday: %+v, %v", c, err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := BackupFile(path, copied, testKey, testStore); err != nil {
		t.Fatal(err)
	}
	if schema, _ := stateOf(t, copied); schema != schemaNow {
		t.Errorf("a copy of a file of yesterday is of schema %d", schema)
	}
	half := schema{current: schemaNow, migrations: map[uint32]migration{1: func(db *bbolt.DB, raise func(*bbolt.Tx) error) error {
		return moveSealed(db, func(*bbolt.Tx) error { return errors.New("power cut") })
	}}}
	if _, err := open(Options{Path: path, Key: testKey, Store: testStore}, half); err == nil {
		t.Fatal("the migration was not stopped")
	}
	schema, moved := stateOf(t, path)
	if schema != 1 || moved == 0 || moved == 2*payloads {
		t.Fatalf("it was stopped too early or too late: schema %d, %d moved", schema, moved)
	}
	if c, err := CheckFile(path, testKey, testStore); err != nil || len(c.Flaws) > 0 || c.Sealed != 2*payloads {
		t.Fatalf("in between: %+v, %v", c, err)
	}
	if contentOf(t, path) != content {
		t.Error("the migration has changed what is in the file")
	}
	check(t, path)
	if schema, moved := stateOf(t, path); schema != schemaNow || moved != 2*payloads {
		t.Errorf("after it: schema %d, %d moved", schema, moved)
	}
}

// TestMigrate_DiesAnywhere: whatever commit a migration has come to, the next start goes on with it, and nothing is lost.
func TestMigrate_DiesAnywhere(t *testing.T) {
	binary := mortal(t)
	for _, point := range []string{"before", "moved", "moved:2", "moved:3", "after"} {
		path, content := old(t, 60)
		child := exec.Command(binary, "-test.run=^$")
		child.Env = append(os.Environ(), "TIDEOVER_QUEUE_OPEN="+path, "TIDEOVER_DIE=queue.migrate."+point)
		if out, err := child.CombinedOutput(); err == nil || child.ProcessState.ExitCode() != -1 {
			t.Fatalf("%s: it was not killed: %v %s", point, err, out)
		}
		if schema, moved := stateOf(t, path); (schema == schemaNow) != (point == "after") || (moved == 0) != (point == "before") {
			t.Errorf("%s: schema %d, %d moved", point, schema, moved)
		}
		if contentOf(t, path) != content {
			t.Errorf("%s: the journal is not what it was", point)
		}
		check(t, path)
	}
}

// TestMigrate_KilledAtRandom kills the opening of an old file again and again, at any instant.
func TestMigrate_KilledAtRandom(t *testing.T) {
	path, content := old(t, 150)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), "TIDEOVER_QUEUE_OPEN="+path)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		return child
	}
	whole := time.Now()
	if err := start().Wait(); err != nil {
		t.Fatal(err)
	}
	takes := time.Since(whole)
	rounds := 60
	if testing.Short() {
		rounds = 8
	}
	between := 0
	for range rounds {
		if schema, _ := stateOf(t, path); schema == schemaNow {
			if err := os.WriteFile(path, image, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		child := start()
		time.Sleep(rand.N(takes))
		child.Process.Kill() // it may have ended
		child.Wait()
		schema, moved := stateOf(t, path)
		if schema == 1 && moved > 0 {
			between++
		}
		if a, err := VerifyFile(path); err != nil || len(a.Flaws) > 0 || a.Transactions != 300 {
			t.Fatalf("%+v, %v", a, err)
		}
		if contentOf(t, path) != content {
			t.Fatal("the journal is not what it was")
		}
	}
	t.Logf("%d kills, %d in the middle of it, of %v", rounds, between, takes)
	if between == 0 && !testing.Short() {
		t.Error("no kill was in the middle of it")
	}
}
