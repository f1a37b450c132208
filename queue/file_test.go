package queue

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover"
	"tideover/edge"
)

// written makes a file with leaves, a branch, overflow pages and free pages in it, and returns its path and what it holds.
func written(t *testing.T) (path string, content [32]byte) {
	t.Helper()
	s := newShop(t)
	for i := range 24 {
		d := draft("till", fmt.Sprint("k", i))
		if i == 7 {
			d.Request.Payload = []byte(`"` + strings.Repeat("x", 9000) + `"`)
		}
		s.accept(d)
		if i%3 == 0 {
			s.end(approved(d.ID, uint64(i/3+1)))
		}
	}
	s.close()
	return s.path, contentOf(t, s.path)
}

// contentOf opens a copy of a file as the daemon does and sums up every entry of its journal but the marks, which each open adds to.
func contentOf(t testing.TB, path string) [32]byte {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.db.Close()
	h := sha256.New()
	err = q.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketJournal).ForEach(func(k, v []byte) error {
			raw, _, _, err := splitValue(v)
			if err != nil {
				return err
			}
			sealed := tx.Bucket(bucketSealed).Get(k)
			if e, err := decodeEvent(raw); err != nil || e.Type != edge.EventMark {
				fmt.Fprintf(h, "%x %x %x %v\n", k, raw, sealed, err)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

// refuses opens a file that must not open, and looks at the error and at what is left of the file.
func refuses(t *testing.T, path string, want error, change ...func(*Options)) {
	t.Helper()
	before, _ := os.ReadFile(path)
	o := Options{Path: path, Key: testKey, Store: testStore}
	for _, c := range change {
		c(&o)
	}
	q, err := Open(o)
	if err == nil {
		q.db.Close()
		t.Fatalf("opened; want %v", want)
	}
	e, ok := errors.AsType[*OpenError](err)
	if !ok || !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	what, hint := e.Explain()
	for _, text := range []tideover.Text{what, hint} {
		if text.En == "" || text.Zh == "" || text.En == text.Zh {
			t.Errorf("no words for %v: %+v", err, text)
		}
	}
	if !strings.HasPrefix(err.Error(), path+": ") || !strings.HasSuffix(err.Error(), hint.En) {
		t.Errorf("the error does not say which file and what to do: %v", err)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(before, after) {
		t.Fatal("the file was changed")
	}
}

func TestOpen_MissingAndEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	refuses(t, path, ErrMissing)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a queue came into being")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, path, ErrEmpty)
}

func TestOpen_Truncated(t *testing.T) {
	path, content := written(t)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := usedBytes(t, image)
	for _, size := range []int{1, 15, 16, 20, 100, 511, 512, 4095, 4096, 4200, 8191, 8192, 8193, 12288, used / 2, used - 4096, used - 1} {
		if err := os.WriteFile(path, image[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, path, ErrTruncated)
	}
	for _, size := range []int{used, used + 1, len(image) - 1} { // only zeros are missing
		if err := os.WriteFile(path, image[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if contentOf(t, path) != content {
			t.Fatalf("%d bytes: other content", size)
		}
	}
}

// usedBytes reads bbolt's high water from an image.
func usedBytes(t *testing.T, image []byte) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := newWalker(f)
	if err != nil {
		t.Fatal(err)
	}
	return int(w.pages) * pageSize
}

func TestOpen_Foreign(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]byte{
		"text":  []byte("hello\n"),
		"long":  bytes.Repeat([]byte("a long text, longer than two pages "), 1000),
		"image": append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 20000)...),
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, path, ErrForeign)
	}
	zeros := filepath.Join(dir, "zeros")
	if err := os.WriteFile(zeros, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, zeros, ErrDamaged)
}

func TestOpen_ForeignBolt(t *testing.T) {
	for name, o := range map[string]*bbolt.Options{
		"default":     nil,
		"no freelist": {PageSize: pageSize, NoFreelistSync: true},
		"big pages":   {PageSize: 16384, NoFreelistSync: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "other.db")
			db, err := bbolt.Open(path, 0o600, o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				err := db.Update(func(tx *bbolt.Tx) error {
					b, err := tx.CreateBucketIfNotExists([]byte("widgets"))
					if err != nil {
						return err
					}
					return b.Put([]byte{byte(i)}, bytes.Repeat([]byte("w"), 3000))
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			db.Close()
			refuses(t, path, ErrForeign)
		})
	}
}

func TestOpen_WrongKeyAndOtherStore(t *testing.T) {
	path, _ := written(t)
	refuses(t, path, ErrWrongKey, func(o *Options) { o.Key = OneKey([32]byte{9}) })
	refuses(t, path, ErrOtherStore, func(o *Options) { o.Store = "shop-2" })
}

// on says that a file lies on a file system of this number: what cannot be mounted here.
func on(number int64) func(*Options) {
	return func(o *Options) {
		o.statfs = func(path string, s *unix.Statfs_t) error {
			err := unix.Statfs(path, s)
			assign(&s.Type, number)
			return err
		}
	}
}

// assign sets a number whose size is the machine's.
func assign[T int32 | int64 | uint32](to *T, number int64) { *to = T(number) }

// TestOpen_WhereItLies: on JFFS2 bbolt would fail in its own words; in memory and on a share it works, and is warned of.
func TestOpen_WhereItLies(t *testing.T) {
	path, _ := written(t)
	refuses(t, path, ErrFileSystem, on(0x72b6))
	for number, want := range map[int64]string{0x01021994: "nothing of it survives a reboot", 0x6969: "network share", 0xef53: ""} {
		var log bytes.Buffer
		o := Options{Path: path, Key: testKey, Store: testStore, Log: slog.New(slog.NewTextHandler(&log, nil))}
		on(number)(&o)
		q, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if has := strings.Contains(log.String(), "level=WARN"); has != (want != "") || !strings.Contains(log.String(), want) {
			t.Errorf("%#x: %s", number, log.String())
		}
	}
}

func TestOpen_Twice(t *testing.T) {
	s := newShop(t)
	s.accept(draft("till", "k"))
	refuses(t, s.path, ErrInUse)
	s.accept(draft("till", "k2"))
}

func TestOpen_Folder(t *testing.T) {
	if _, err := Open(Options{Path: t.TempDir()}); err == nil {
		t.Fatal("a folder was opened")
	}
}

func TestOpen_SchemaOfTomorrowAndOfYesterday(t *testing.T) {
	path, content := written(t)
	ran := 0
	step := func(db *bbolt.DB, raise func(*bbolt.Tx) error) error { ran++; return db.Update(raise) }
	tomorrow := schema{current: schemaNow + 2, migrations: map[uint32]migration{
		schemaNow:     step,
		schemaNow + 1: func(*bbolt.DB, func(*bbolt.Tx) error) error { ran++; return errors.New("power cut") },
	}}
	o := Options{Path: path, Key: testKey, Store: testStore}
	if _, err := open(o, tomorrow); err == nil || !strings.Contains(err.Error(), "power cut") || ran != 2 {
		t.Fatalf("a failed migration: %v, %d steps", err, ran)
	}
	refuses(t, path, ErrNewerSchema) // the first step is committed
	tomorrow.migrations[schemaNow+1] = step
	q, err := open(o, tomorrow)
	if err != nil {
		t.Fatal(err)
	}
	q.db.Close()
	refuses(t, path, ErrNewerSchema)
	q, err = open(o, schema{current: schemaNow + 2})
	if err != nil {
		t.Fatal(err)
	}
	defer q.db.Close()
	if len(q.index) != 24 || content == [32]byte{} {
		t.Fatalf("%d transactions after the migration", len(q.index))
	}
	missing := filepath.Join(t.TempDir(), "old.db")
	if err := create(missing, testKey, Ident{Store: testStore}, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := open(Options{Path: missing, Key: testKey, Store: testStore}, schema{current: 2}); err == nil {
		t.Fatal("a schema without a way to the present one was opened")
	}
}

func TestCreate_NeverOverwrites(t *testing.T) {
	path, content := written(t)
	if err := Create(path, testKey, Ident{Store: testStore}); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("got %v", err)
	}
	if contentOf(t, path) != content {
		t.Fatal("the file was changed")
	}
	names, _ := os.ReadDir(filepath.Dir(path))
	if len(names) != 1 {
		t.Fatalf("files are left: %v", names)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
}

// TestOpen_BitFlips turns one bit in bytes of every page, in and out of use. Each flip is either told as damage, or changes nothing of
// what the file says. At night it is each byte's turn.
func TestOpen_BitFlips(t *testing.T) {
	path, content := written(t)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := usedBytes(t, image)
	reached, head := reachedPages(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ring, err := newRing(testKey)
	if err != nil {
		t.Fatal(err)
	}
	detected, harmless := 0, 0
	flip := func(at int) {
		b := []byte{image[at] ^ 1<<rand.IntN(8)}
		if _, err := f.WriteAt(b, int64(at)); err != nil {
			t.Fatal(err)
		}
		q, _, err := inspect(f, ring)
		switch e, ok := errors.AsType[*OpenError](err); {
		case err == nil:
			// The chain's last hash stands for every entry; bbolt is asked now and then whether it sees the same.
			harmless++
			if q.headHash != head || harmless%64 == 0 && contentOf(t, path) != content {
				t.Fatalf("byte %d: a flip went unseen and changed the content", at)
			}
		case !ok || !errors.Is(e.Err, ErrDamaged) && !errors.Is(e.Err, ErrForeign) && !errors.Is(e.Err, ErrNewerSchema):
			t.Fatalf("byte %d: %v", at, err)
		default:
			detected++
		}
		if _, err := f.WriteAt(image[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	for at := range pageHeaderSize + metaSize {
		flip(at)
		flip(pageSize + at)
	}
	for page := range used / pageSize {
		step := 3 // another third each time
		if !reached[page] {
			step = 32
		}
		if os.Getenv("TIDEOVER_NIGHTLY") != "" {
			step = 1
		}
		for at := page*pageSize + rand.IntN(step); at < (page+1)*pageSize; at += step {
			flip(at)
		}
	}
	for range 100 {
		flip(used + rand.IntN(len(image)-used))
	}
	t.Logf("%d bytes in use: %d flips detected, %d harmless", used, detected, harmless)
	if detected < 8192 {
		t.Error("the flips were not where they should be")
	}
	if contentOf(t, path) != content {
		t.Fatal("the test has damaged its own file")
	}
}

// inspect is what Open does before bbolt sees the file.
func inspect(f *os.File, ring *ring) (*Queue, *walker, error) {
	q := newQueue(Options{}, ring)
	w, err := newWalker(f)
	if err == nil {
		var l layout
		var h head
		if l, h, err = identify(w, schemaNow); err == nil {
			err = q.replay(w, l, h)
			if err == nil && (h.Store != testStore || h.Check != ring.newest) {
				err = errors.New("the head has changed and nobody has seen it")
			}
		}
	}
	if err != nil {
		return nil, nil, openError(f.Name(), err)
	}
	return q, w, nil
}

// reachedPages returns which pages of a sound file hold something, and the chain's last hash.
func reachedPages(t *testing.T, path string) (map[int]bool, [32]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ring, err := newRing(testKey)
	if err != nil {
		t.Fatal(err)
	}
	q, w, err := inspect(f, ring)
	if err != nil {
		t.Fatal(err)
	}
	reached := map[int]bool{0: true, 1: true}
	for page := range int(w.pages) {
		if w.seen[page/64]&(1<<(page%64)) != 0 {
			reached[page] = true
		}
	}
	return reached, q.headHash
}

// TestOpen_StalePages puts older versions of pages in the place of newer ones, as a disk does that loses a write: what is missing
// then must not go unseen.
func TestOpen_StalePages(t *testing.T) {
	s := newShop(t)
	for i := range 10 {
		s.accept(draft("till", fmt.Sprint("k", i)))
	}
	older, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		s.accept(draft("till", fmt.Sprint("l", i)))
	}
	s.close()
	image, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	content := contentOf(t, s.path)
	seen := 0
	for page := range usedBytes(t, image) / pageSize {
		mixed := bytes.Clone(image)
		at := page * pageSize
		if at+pageSize > len(older) || bytes.Equal(older[at:at+pageSize], image[at:at+pageSize]) {
			continue
		}
		copy(mixed[at:], older[at:at+pageSize])
		if err := os.WriteFile(s.path, mixed, 0o600); err != nil {
			t.Fatal(err)
		}
		q, err := Open(Options{Path: s.path, Key: testKey, Store: testStore})
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrTruncated) {
				t.Fatalf("page %d: %v", page, err)
			}
			seen++
			continue
		}
		q.db.Close()
		if contentOf(t, s.path) != content {
			t.Fatalf("page %d is an older one, and nobody has seen it", page)
		}
	}
	if seen == 0 {
		t.Error("no stale page was in use")
	}
}
