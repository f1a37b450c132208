package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"tideover/edge"
)

// ledger is a journal as a forger has it before him: every entry, in order.
type ledger []forgery

type forgery struct {
	seq    uint64
	event  edge.Event
	link   [32]byte
	sealed []byte
}

// forge lets do change a closed journal by bbolt itself, which leaves a sound file behind. resign computes the chain anew from an entry on,
// as one can who knows how it is made; end is where the journal says afterwards that it ends.
func forge(t *testing.T, path string, do func(l ledger, genesis [32]byte) ledger) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		h, err := decodeHead(tx.Bucket(bucketMeta).Get(keyHead), schemaNow)
		if err != nil {
			return err
		}
		var l ledger
		err = tx.Bucket(bucketJournal).ForEach(func(k, v []byte) error {
			raw, link, _, err := splitValue(v)
			if err != nil {
				return err
			}
			e, err := decodeEvent(raw)
			l = append(l, forgery{seqOf(k), e, link, bytes.Clone(tx.Bucket(bucketSealed).Get(k))})
			return err
		})
		if err != nil {
			return err
		}
		l = do(l, h.genesis())
		if err := errors.Join(tx.DeleteBucket(bucketJournal), tx.DeleteBucket(bucketSealed)); err != nil {
			return err
		}
		journal, err := tx.CreateBucket(bucketJournal)
		if err != nil {
			return err
		}
		parts, err := tx.CreateBucket(bucketSealed)
		if err != nil {
			return err
		}
		for _, f := range l {
			if err := journal.Put(seqKey(f.seq), encodeValue(encodeEvent(&f.event), f.link)); err != nil {
				return err
			}
			if len(f.sealed) == 0 {
				continue
			}
			if err := parts.Put(seqKey(f.seq), f.sealed); err != nil {
				return err
			}
		}
		return journal.SetSequence(l[len(l)-1].seq)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// resign computes the chain anew from entry i on.
func (l ledger) resign(genesis [32]byte, i int) ledger {
	hash := genesis
	if i > 0 {
		hash = l[i-1].link
	}
	for ; i < len(l); i++ {
		hash = chain(hash, l[i].seq, encodeEvent(&l[i].event))
		l[i].link = hash
	}
	return l
}

// day makes a closed journal of two tills' sales with their ends, and returns every head that it ever had.
func day(t *testing.T, sales int) (path string, heads []Anchor) {
	t.Helper()
	s := newShop(t)
	s.rule("a = 1\n")
	for i := range sales {
		d := draft(fmt.Sprint("till", i%2), fmt.Sprint("k", i))
		s.accept(d)
		if i%2 == 0 {
			s.end(approved(d.ID, uint64(i+1)))
			s.flush()
		}
	}
	s.close()
	_, _, err := eachOf(s.path, func(f forgery) { heads = append(heads, Anchor{f.seq, f.link}) })
	if err != nil {
		t.Fatal(err)
	}
	return s.path, heads
}

// eachOf reads a file's entries without judging them, and sums them up.
func eachOf(path string, visit func(forgery)) (n int, sum [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, sum, err
	}
	defer f.Close()
	return eachIn(f, visit)
}

func eachIn(f *os.File, visit func(forgery)) (n int, sum [32]byte, err error) {
	w, err := newWalker(f)
	if err != nil {
		return 0, sum, err
	}
	stored, h, err := identify(w, schemaNow)
	if err != nil {
		return 0, sum, err
	}
	all := sha256.New()
	fmt.Fprintf(all, "%+v %d %v\n", h, stored.journal.sequence, stored.runs)
	err = w.contents(stored, func(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
		fmt.Fprintf(all, "%d %x %x %x\n", seq, raw, link, sealed)
		n++
		e, err := decodeEvent(raw)
		visit(forgery{seq, e, link, bytes.Clone(sealed)})
		return err
	})
	return n, [32]byte(all.Sum(nil)), err
}

// TestVerify_FindsWhatAForgerDoes: what each manipulation of a journal is found by. A chain that is computed anew is sound in itself; the head
// that the hub keeps shows it.
func TestVerify_FindsWhatAForgerDoes(t *testing.T) {
	const middle = 9
	raise := func(l ledger) { // an amount, in the acceptance at or after the middle
		for i := middle; i < len(l); i++ {
			if a := l[i].event.Accepted; a != nil {
				a.Request.Amount++
				return
			}
		}
		panic("no acceptance")
	}
	endOf := func(l ledger) int { // an end whose acceptance comes before it
		return slices.IndexFunc(l, func(f forgery) bool { return f.event.Type == edge.EventEnded })
	}
	for name, tc := range map[string]struct {
		do    func(l ledger, genesis [32]byte) ledger
		words string // found by itself; "" is not
		tail  string // found by the newest head that the hub has; "" is not
	}{
		"nothing": {do: func(l ledger, _ [32]byte) ledger { return l }},
		"an event is changed": {words: "the chain is broken", do: func(l ledger, _ [32]byte) ledger {
			raise(l)
			return l
		}},
		"a time is changed": {words: "the chain is broken", do: func(l ledger, _ [32]byte) ledger {
			l[0].event.At++
			return l
		}},
		"a hash is changed": {words: "the chain is broken", do: func(l ledger, _ [32]byte) ledger {
			l[middle].link[31] ^= 1
			return l
		}},
		"a sequence is changed": {words: "the chain is broken", do: func(l ledger, _ [32]byte) ledger {
			l[len(l)-1].seq++
			return l
		}},
		"a sealed part is changed": {words: "the sealed part of entry", do: func(l ledger, _ [32]byte) ledger {
			i := slices.IndexFunc(l, func(f forgery) bool { return len(f.sealed) > 0 })
			l[i].sealed[20] ^= 1
			return l
		}},
		"a sealed part is removed": {words: "the sealed part of entry", do: func(l ledger, _ [32]byte) ledger {
			i := slices.IndexFunc(l, func(f forgery) bool { return len(f.sealed) > 0 })
			l[i].sealed = nil
			return l
		}},
		"a sealed part is put where none was": {words: "the sealed part of entry", do: func(l ledger, _ [32]byte) ledger {
			i := slices.IndexFunc(l, func(f forgery) bool { return len(f.sealed) == 0 && f.event.Type == edge.EventEnded })
			l[i].sealed = []byte("no payload of this entry's")
			return l
		}},
		"an entry is deleted": {words: "the chain is broken", do: func(l ledger, _ [32]byte) ledger {
			return slices.Delete(l, middle, middle+1)
		}},
		"the first entry is deleted": {words: "the chain is broken", do: func(l ledger, _ [32]byte) ledger { return l[1:] }},
		"two entries are swapped": {words: "the chain is broken", do: func(l ledger, _ [32]byte) ledger {
			l[middle].seq, l[middle+1].seq = l[middle+1].seq, l[middle].seq
			l[middle], l[middle+1] = l[middle+1], l[middle]
			return l
		}},
		"an entry is put in": {words: "the chain is broken", do: func(l ledger, _ [32]byte) ledger {
			between := l[1]
			if between.seq = l[1].seq + 1; between.seq == l[2].seq {
				for i := 2; i < len(l); i++ {
					l[i].seq++
				}
			}
			return slices.Insert(l, 2, between)
		}},
		"its end is cut off":           {tail: "its end was cut off", do: func(l ledger, _ [32]byte) ledger { return l[:len(l)-3] }},
		"all of it is cut off but one": {tail: "its end was cut off", do: func(l ledger, _ [32]byte) ledger { return l[:1] }},
		"an event is changed, and the chain computed anew": {tail: "another head of entry", do: func(l ledger, genesis [32]byte) ledger {
			raise(l)
			return l.resign(genesis, middle)
		}},
		"the whole chain is computed anew": {tail: "another head of entry", do: func(l ledger, genesis [32]byte) ledger {
			l[0].event.At++
			return l.resign(genesis, 0)
		}},
		"an end is deleted, and the chain computed anew": {tail: "another head of entry", do: func(l ledger, genesis [32]byte) ledger {
			return slices.Delete(l, endOf(l), endOf(l)+1).resign(genesis, 0)
		}},
		"the last is deleted, another put there, and the chain computed anew": {tail: "another head of entry", do: func(l ledger, genesis [32]byte) ledger {
			l[len(l)-1].event = edge.Event{Type: edge.EventMark, At: l[0].event.At}
			l[len(l)-1].sealed = nil
			return l.resign(genesis, len(l)-1)
		}},
		"the last is renumbered, and the chain computed anew": {tail: "has no such entry", do: func(l ledger, genesis [32]byte) ledger {
			l[len(l)-1].seq++
			return l.resign(genesis, len(l)-1)
		}},
		"a beginning is deleted, and the chain computed anew": {words: "does not follow its transaction's event before it", do: func(l ledger, genesis [32]byte) ledger {
			end := l[endOf(l)]
			i := slices.IndexFunc(l, func(f forgery) bool { return f.event.Accepted != nil && f.event.ID == end.event.ID })
			return slices.Delete(l, i, i+1).resign(genesis, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path, heads := day(t, 12)
			newest := heads[len(heads)-1]
			forge(t, path, tc.do)
			wantVerdict(t, path, tc.words)
			if tc.words == "" {
				wantVerdict(t, path, tc.tail, newest)
			}
			q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
			switch {
			case tc.words != "" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "entry ")):
				t.Errorf("opened, or does not say where: %v", err)
			case tc.words == "" && err != nil:
				t.Errorf("what is sound in itself was not opened: %v", err)
			case err == nil:
				holds, err := q.Holds(newest.Seq, newest.Hash)
				if err != nil || holds == (tc.tail != "") {
					t.Errorf("the hub's head is on it: %v, %v", holds, err)
				}
				q.db.Close()
			}
		})
	}
}

// wantVerdict looks at a file, and wants one flaw with these words, or none where they are "".
func wantVerdict(t *testing.T, path, words string, anchors ...Anchor) {
	t.Helper()
	before, _ := os.ReadFile(path)
	a, err := VerifyFile(path, anchors...)
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Fatal("the file was changed")
	}
	switch {
	case err != nil:
		t.Errorf("%v", err)
	case words == "" && len(a.Flaws) > 0, words != "" && len(a.Flaws) != 1:
		t.Errorf("with the anchors %v: %+v", anchors, a.Flaws)
	case words == "":
	case !strings.Contains(a.Flaws[0].What.En, words) || a.Flaws[0].What.Zh == a.Flaws[0].What.En || a.Flaws[0].Entry == 0:
		t.Errorf("with the anchors %v: %+v, want %q", anchors, a.Flaws[0], words)
	}
}

// What is newer than the newest head that the hub has can be cut off, or be written anew, and nothing shows it: the audit says how much that is.
func TestVerify_SaysHowMuchIsNotAnchored(t *testing.T) {
	path, heads := day(t, 12)
	for i, held := range heads {
		a, err := VerifyFile(path, held)
		if err != nil || len(a.Flaws) > 0 || a.Entries != len(heads) || a.Newer != len(heads)-1-i || a.Head != heads[len(heads)-1] || a.Transactions != 12 {
			t.Fatalf("anchored at %d of %d: %+v, %v", i+1, len(heads), a, err)
		}
	}
	forge(t, path, func(l ledger, _ [32]byte) ledger { return l[:len(l)-2] })
	wantVerdict(t, path, "", heads[len(heads)-3])
	wantVerdict(t, path, "its end was cut off", heads[len(heads)-2])
	a, err := VerifyFile(path)
	if err != nil || a.Newer != a.Entries || a.Entries != len(heads)-2 || a.First == 0 || a.Last < a.First {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestVerify_EveryByte changes every byte of a small file in turn, to a value that differs in one bit, to its opposite, and to any other.
// Each is found, or no entry differs in a single byte: it lay where nothing is kept. What Open says and what a verification says is the same.
func TestVerify_EveryByte(t *testing.T) {
	path, heads := day(t, 4)
	everyByte(t, path, heads)
}

// everyByte is it, of any small file; heads are some of its heads.
func everyByte(t *testing.T, path string, heads []Anchor) {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	image = image[:usedBytes(t, image)] // beyond it are zeros that nothing reads
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	reached, head := reachedPages(t, path)
	var last Anchor
	n, sum, err := eachOf(path, func(f forgery) { last = Anchor{f.seq, f.link} })
	if err != nil || head != last.Hash {
		t.Fatalf("%d entries, %v", n, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ring, err := newRing(testKey)
	if err != nil {
		t.Fatal(err)
	}
	found, same := 0, 0
	put := func(at int, b byte) {
		if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	for at, is := range image {
		values := []byte{is ^ 1<<rand.IntN(8), ^is, is + byte(1+rand.IntN(255))}
		if !reached[at/pageSize] {
			values = values[:1]
		}
		for _, b := range values {
			put(at, b)
			var a Audit
			err := verifyFile(f, looking{}, &a)
			if _, _, refused := inspect(f, ring); (refused != nil) != (err != nil || len(a.Flaws) > 0) {
				t.Fatalf("byte %d as %#x: a verification says %v %+v, and an open %v", at, b, err, a.Flaws, refused)
			}
			if err != nil || len(a.Flaws) > 0 {
				found++
				continue
			}
			same++
			if m, now, err := eachIn(f, func(forgery) {}); err != nil || m != n || now != sum || a.Head != last {
				t.Fatalf("byte %d as %#x changes the journal, and nobody has seen it", at, b)
			}
			if same%4096 == 0 { // bbolt's own view of it
				contentOf(t, path)
			}
		}
		put(at, is)
	}
	t.Logf("%d bytes: %d changes found, %d where nothing is kept", len(image), found, same)
	if found < len(image)/2 { // three values of each byte of the pages in use
		t.Error("the changes were not where they should be")
	}
	wantVerdict(t, path, "", heads...)
}

// While the queue runs, every entry is looked at beside the commits, and what this process has written must be there.
func TestVerify_WhileItSells(t *testing.T) {
	s := newShop(t)
	for i := range 40 {
		s.accept(draft("till", fmt.Sprint("before", i)))
	}
	seq, hash := s.q.Head()
	held := Anchor{seq, hash}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for till := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				d := draft(fmt.Sprint("till", till), fmt.Sprint("k", i))
				s.accept(d)
				s.end(approved(d.ID, uint64(till+4*i+1)))
			}
		})
	}
	last := 0
	for round := 0; round < 20 || last < 400 && round < 5000; round++ {
		a, err := s.q.Verify(ctx, held)
		if err != nil || len(a.Flaws) > 0 || a.Entries < last || a.Newer >= a.Entries {
			t.Fatalf("%+v, %v", a, err)
		}
		last = a.Entries
	}
	stop()
	wg.Wait()
	a, err := s.q.Verify(t.Context(), Anchor{seq, [32]byte{1}})
	if err != nil || len(a.Flaws) != 1 || !strings.Contains(a.Flaws[0].What.En, "another head") {
		t.Errorf("a head that is not this chain's: %+v, %v", a.Flaws, err)
	}
	if last < 400 {
		t.Error("too little was sold meanwhile")
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.q.Verify(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context has ended: %v", err)
	}
	q := s.q
	s.close()
	if _, err := q.Verify(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after the queue was closed: %v", err)
	}
}

// A file that is changed under a running queue, anywhere, neither goes unseen nor ends the process.
func TestVerify_AFileChangedUnderTheQueue(t *testing.T) {
	s := newShop(t)
	for i := range 12 {
		s.accept(draft("till", fmt.Sprint("k", i)))
	}
	honest, err := s.q.Verify(t.Context())
	if err != nil || len(honest.Flaws) > 0 {
		t.Fatalf("%+v, %v", honest, err)
	}
	image, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	_, sum, err := eachOf(s.path, func(forgery) {})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, used := 0, usedBytes(t, image)
	for at := 2*pageSize + rand.IntN(23); at < used; at += 23 { // bbolt has read the meta pages
		if _, err := f.WriteAt([]byte{^image[at]}, int64(at)); err != nil {
			t.Fatal(err)
		}
		a, err := s.q.Verify(t.Context())
		switch {
		case err != nil:
			t.Fatalf("byte %d: %v", at, err)
		case len(a.Flaws) > 0:
			found++
		case a.Head != honest.Head || a.Entries != honest.Entries:
			t.Fatalf("byte %d: %+v", at, a)
		default:
			if _, now, err := eachOf(s.path, func(forgery) {}); err == nil && now != sum {
				t.Fatalf("byte %d changes the journal, and nobody has seen it", at)
			}
		}
		if _, err := f.WriteAt(image[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if found < 100 {
		t.Errorf("only %d changes were found", found)
	}
	s.accept(draft("till", "after")) // it goes on as if nothing had been
}

// What cannot be looked at is an error; a file that is damaged as a whole is a flaw.
func TestVerifyFile_OtherFiles(t *testing.T) {
	path, heads := day(t, 3)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o400); err != nil {
			t.Fatal(err)
		}
		return file
	}
	damaged := bytes.Clone(image)
	damaged[pageHeaderSize+20] ^= 1
	for name, file := range map[string]string{
		"the queue's file is empty": put("empty", nil), "the queue's file is cut off": put("cut", image[:3*pageSize]),
		"the queue's file is damaged": put("damaged", damaged),
	} {
		a, err := VerifyFile(file)
		if err != nil || len(a.Flaws) != 1 || !strings.Contains(a.Flaws[0].What.En, name) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for name, tc := range map[string]struct {
		file string
		want error
	}{
		"missing": {filepath.Join(dir, "none"), ErrMissing},
		"foreign": {put("foreign", bytes.Repeat([]byte("a long text "), 2000)), ErrForeign},
	} {
		if _, err := VerifyFile(tc.file); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	wantVerdict(t, put("copy", image), "", heads...)
	s := newShop(t)
	if _, err := VerifyFile(s.path); !errors.Is(err, ErrInUse) {
		t.Errorf("in use: %v", err)
	}
}

func TestParseAnchor_ReadsWhatStringWrites(t *testing.T) {
	a := Anchor{1048592, sha256.Sum256([]byte("x"))}
	if have, err := ParseAnchor(" " + a.String() + "\n"); err != nil || have != a {
		t.Errorf("%v, %v", have, err)
	}
	for _, bad := range []string{"", "1", "1:", "x:" + strings.Repeat("0", 64), "0:" + strings.Repeat("0", 64), "1:" + strings.Repeat("0", 62), "-1:" + strings.Repeat("0", 64)} {
		if have, err := ParseAnchor(bad); err == nil {
			t.Errorf("%q is %v", bad, have)
		}
	}
}
