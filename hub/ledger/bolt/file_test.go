package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"tideover/hub/ledger/bolt"
)

func TestCreate_NeverReplaces(t *testing.T) {
	path := create(t)
	before, _ := os.ReadFile(path)
	err := bolt.Create(path, key)
	if !errors.Is(err, bolt.ErrExists) {
		t.Error(err)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if len(left) != 0 {
		t.Error("left behind:", left)
	}
}

func TestOpen_RefusesWhatIsNoLedger(t *testing.T) {
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	db, err := bbolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err })
	db.Close()
	otherBolt, _ := os.ReadFile(foreign)
	good, _ := os.ReadFile(create(t))
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"0 bytes":        {[]byte{}, bolt.ErrEmpty},
		"a few bytes":    {[]byte("hello"), bolt.ErrTruncated},
		"half a page":    {good[:2000], bolt.ErrTruncated},
		"half a file":    {good[:len(good)/3], bolt.ErrTruncated},
		"text":           {bytes.Repeat([]byte("no ledger\n"), 10000), bolt.ErrForeign},
		"zeros":          {make([]byte, 1<<20), bolt.ErrForeign},
		"another's bolt": {otherBolt, bolt.ErrForeign},
		"both metas broken": {func() []byte {
			b := bytes.Clone(good)
			b[20+40]++
			b[4096+20+40]++
			return b
		}(), bolt.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := bolt.Open(bolt.Options{Path: path, Key: key})
			e, ok := errors.AsType[*bolt.Error](err)
			if !errors.Is(err, c.want) || !ok {
				t.Fatalf("%v, want %v", err, c.want)
			}
			what, hint := e.Explain()
			if !bytes.Contains([]byte(what.En+what.Zh), []byte(path)) || hint.En == "" || hint.Zh == "" {
				t.Errorf("%+v, %+v", what, hint)
			}
			after, _ := os.ReadFile(path)
			if !bytes.Equal(after, c.content) {
				t.Error("the file was changed")
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "ledger.db")
	if _, err := bolt.Open(bolt.Options{Path: missing, Key: key}); !errors.Is(err, bolt.ErrMissing) {
		t.Error(err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("an empty ledger was made in its place")
	}
}

func TestOpen_WrongKeyAndSecondProcess(t *testing.T) {
	path := create(t)
	if _, err := bolt.Open(bolt.Options{Path: path, Key: [32]byte{6}}); !errors.Is(err, bolt.ErrWrongKey) {
		t.Error(err)
	}
	open(t, path)
	if _, err := bolt.Open(bolt.Options{Path: path, Key: key}); !errors.Is(err, bolt.ErrInUse) {
		t.Error(err)
	}
}

func TestOpen_NewerSchema(t *testing.T) {
	path := create(t)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("tideover-ledger")).Put([]byte("schema"), []byte{0, 0, 0, 0, 0, 0, 0, 3})
	})
	db.Close()
	if _, err := bolt.Open(bolt.Options{Path: path, Key: key}); !errors.Is(err, bolt.ErrNewerSchema) {
		t.Error(err)
	}
}

// Every flipped bit is either seen as damage or harmless; none ends the process, none gives a ledger that says something else.
func TestOpen_FlippedBits(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	for i := range 60 {
		s := request(fmt.Sprint(i))
		claim(t, l, s)
		record(t, l, s)
	}
	end()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(good, "\x00"))
	want := contents(t, path)
	step := 151
	seen, harmless := 0, 0
	bad := filepath.Join(t.TempDir(), "ledger.db")
	for at := 0; at < used; at += step {
		b := bytes.Clone(good[:used+4096])
		b = append(b, make([]byte, len(good)-len(b))...)
		b[at] ^= 1 << (at % 8)
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := bolt.Open(bolt.Options{Path: bad, Key: key})
		if err != nil {
			if _, ok := errors.AsType[*bolt.Error](err); !ok {
				t.Fatalf("byte %d: %v", at, err)
			}
			seen++
			continue
		}
		l.Close()
		if at < 2*4096 {
			continue // a broken meta page: bbolt goes back to the commit before, as after a power cut
		}
		if got := contents(t, bad); got != want {
			t.Errorf("byte %d: the ledger says something else", at)
		}
		harmless++
	}
	if seen == 0 {
		t.Error("no damage was seen")
	}
	t.Logf("%d seen, %d harmless", seen, harmless)
}

// contents tells everything that a ledger says.
func contents(t *testing.T, path string) string {
	t.Helper()
	l, err := bolt.Open(bolt.Options{Path: path, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var b bytes.Buffer
	s, err := l.Store(store)
	fmt.Fprintln(&b, s, err)
	for i := range 60 {
		id := request(fmt.Sprint(i)).ID
		r, err := l.Row(store, id)
		fmt.Fprintln(&b, r, err)
		q, err := l.Request(store, id)
		fmt.Fprintln(&b, q, err)
	}
	page, err := l.Outbox(store, 0, 100)
	fmt.Fprintln(&b, len(page), err)
	return b.String()
}
