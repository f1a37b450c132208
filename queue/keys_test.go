package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

// keyOf makes keys that tests tell apart.
func keyOf(n byte) [32]byte { return [32]byte{31: n} }

func nameOf(t testing.TB, key [32]byte) [32]byte {
	t.Helper()
	name, err := KeyName(key)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// held are keys in the order in which they are in the file: the newest first.
func held(newest ...byte) (k Keys) {
	for _, n := range newest {
		k.All = append(k.All, keyOf(n))
	}
	return k
}

// keyedShop is a shop whose journal begins with key 1.
func keyedShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, path: filepath.Join(t.TempDir(), "queue.db"), told: make(chan []Position, 1024), keys: held(1)}
	if err := Create(s.path, s.keys, Ident{Store: testStore}); err != nil {
		t.Fatal(err)
	}
	s.open(Options{})
	t.Cleanup(s.close)
	return s
}

// rotate has another key seal, which the file has by then.
func (s *shop) rotate(n byte) {
	s.t.Helper()
	s.keys.All = append([][32]byte{keyOf(n)}, s.keys.All...)
	if err := s.q.Rotate(s.t.Context(), keyOf(n), edge.By{Who: "uid 0"}); err != nil {
		s.t.Fatal(err)
	}
}

// end puts a key's end on record, and takes it out of the file.
func (s *shop) endKey(n byte) {
	s.t.Helper()
	name := nameOf(s.t, keyOf(n))
	if err := s.q.EndKeys(s.t.Context(), [][32]byte{name}, edge.By{Who: "uid 0", Reason: "seen"}); err != nil {
		s.t.Fatal(err)
	}
	s.q.ForgetKeys([][32]byte{name})
	s.dropKey(n)
}

func (s *shop) dropKey(n byte) {
	var left [][32]byte
	for _, k := range s.keys.All {
		if k != keyOf(n) {
			left = append(left, k)
		}
	}
	s.keys = Keys{All: left, Destroyed: append(s.keys.Destroyed, nameOf(s.t, keyOf(n)))}
}

// readable says whether a transaction's payload can be read, and is what was pressed.
func (s *shop) readable(when, key string, want bool) {
	s.t.Helper()
	p, err := s.q.Parcel(tideover.MakeID(testStore, "till", key))
	if err != nil {
		s.t.Fatalf("%s: %s: %v", when, key, err)
	}
	whole := string(p.Request.Payload) == `{"secret":"`+key+`"}` && p.Request.Instrument == "28451234"
	none := len(p.Request.Payload) == 0 && p.Request.Instrument == ""
	if p.Unreadable == want || want && !whole || !want && !none || p.Request.Amount != 1299 {
		s.t.Errorf("%s: %s: readable should be %v: %+v", when, key, want, p)
	}
}

// use returns what the journal says of a key.
func (s *shop) use(n byte) KeyUse {
	s.t.Helper()
	all, err := s.q.Keys(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, u := range all {
		if u.Name == nameOf(s.t, keyOf(n)) {
			return u
		}
	}
	s.t.Fatalf("key %d is not among %+v", n, all)
	return KeyUse{}
}

func TestRotate_EachKeyOpensWhatItSealed(t *testing.T) {
	s := keyedShop(t)
	s.accept(draft("till", "before"))
	lost := draft("till", "adopted before")
	if err := s.q.Adopt(lost); err != nil { // it waits for a commit, sealed with the old key
		t.Fatal(err)
	}
	s.rotate(2)
	s.accept(draft("till", "after"))
	s.rotate(2) // the same again
	s.keys.All = s.keys.All[1:]
	report := Report{ID: tideover.SettlementID(testStore, "till", "r"), TerminalUID: "till", Settlement: tideover.Settlement{
		From: 1, To: 2, Items: []tideover.SettlementItem{{Key: "before"}},
	}}
	if _, _, err := s.q.Report(t.Context(), report, 1, 1); err != nil {
		t.Fatal(err)
	}
	s.rotate(3)
	s.accept(draft("till", "newest"))
	for _, when := range []string{"at once", "after a restart", "after a crash"} {
		for _, key := range []string{"before", "adopted before", "after", "newest"} {
			s.readable(when, key, true)
		}
		if r, err := s.q.ReadReport(report.ID); err != nil || len(r.Items) != 1 {
			t.Errorf("%s: %+v, %v", when, r, err)
		}
		one, two, three := s.use(1), s.use(2), s.use(3)
		if one.Sealed != 2 || one.Open != 2 || one.Seals || !one.Held || one.Since == 0 || one.Lost() {
			t.Errorf("%s: the first key: %+v", when, one)
		}
		if two.Sealed != 2 || two.Open != 1 || two.Reports != 1 || two.Seals || two.Since == 0 {
			t.Errorf("%s: the second key: %+v", when, two)
		}
		if three.Sealed != 1 || !three.Seals || s.q.SealingKey() != three.Name || s.q.HeldKeys() != 3 {
			t.Errorf("%s: the third key: %+v", when, three)
		}
		if when == "at once" {
			s.reopen()
		} else {
			s.crash()
		}
	}
	c, err := s.q.Check(t.Context())
	if err != nil || len(c.Flaws) > 0 || c.Sealed != 5 || c.Unreadable != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := s.q.EndKeys(t.Context(), [][32]byte{nameOf(t, keyOf(3))}, edge.By{}); !errors.Is(err, ErrKeySeals) {
		t.Errorf("the sealing key: %v", err)
	}
	s.close()
	uses, err := KeysOfFile(s.path, s.keys, testStore)
	if err != nil || len(uses) != 3 || uses[0].Name != nameOf(t, keyOf(3)) || uses[2].Sealed != 2 || uses[2].Open != 2 || uses[1].Reports != 1 {
		t.Errorf("%+v, %v", uses, err)
	}
}

// TestRotate_WhileTillsPress turns the key again and again while what was sealed with the one before waits for its commit.
func TestRotate_WhileTillsPress(t *testing.T) {
	s := keyedShop(t)
	var wg sync.WaitGroup
	over := make(chan struct{})
	var mu sync.Mutex
	var pressed []string
	for till := range 6 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				key := fmt.Sprint("k", till, "-", i)
				var err error
				if till == 0 {
					_, _, err = s.q.Report(context.Background(), Report{
						ID: tideover.SettlementID(testStore, key, key), TerminalUID: key, Settlement: tideover.Settlement{
							From: 1, To: 2, Items: []tideover.SettlementItem{{Key: key}},
						},
					}, 1, 1)
				} else {
					_, err = s.q.Accept(context.Background(), draft("till", key), yes)
					mu.Lock()
					pressed = append(pressed, key)
					mu.Unlock()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range byte(20) {
		s.rotate(n + 2)
	}
	close(over)
	wg.Wait()
	s.reopen()
	for _, key := range pressed {
		s.readable("after the turns", key, true)
	}
	c, err := s.q.Check(t.Context())
	if err != nil || len(c.Flaws) > 0 || c.Sealed < len(pressed) {
		t.Errorf("%+v, %v", c, err)
	}
	t.Logf("%d pressed under 21 keys", len(pressed))
}

// TestOpen_FinishesARotation: a key that is in the file and not in the journal seals from the next start on.
func TestOpen_FinishesARotation(t *testing.T) {
	s := keyedShop(t)
	s.accept(draft("till", "before"))
	s.close()
	s.keys = held(2, 1)
	s.open(Options{})
	s.accept(draft("till", "after"))
	s.readable("both keys", "before", true)
	s.readable("both keys", "after", true)
	if one, two := s.use(1), s.use(2); one.Sealed != 1 || two.Sealed != 1 || !two.Seals {
		t.Errorf("%+v, %+v", one, two)
	}
	entries := func() int {
		a, err := s.q.Verify(t.Context())
		if err != nil || len(a.Flaws) > 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		return a.Entries
	}
	before := entries()
	s.reopen()
	if after := entries(); after != before+2 { // the check's mark, and this start's
		t.Errorf("%d entries, and %d before", after, before)
	}
}

func TestEndKeys_WhatItSealedIsLostAndNoDamage(t *testing.T) {
	s := keyedShop(t)
	for _, key := range []string{"open", "ended"} {
		s.accept(draft("till", key))
	}
	s.end(approved(tideover.MakeID(testStore, "till", "ended"), 1))
	report := Report{ID: tideover.SettlementID(testStore, "till", "r"), TerminalUID: "till", Settlement: tideover.Settlement{
		From: 1, To: 2, Items: []tideover.SettlementItem{{Key: "open"}},
	}}
	if _, _, err := s.q.Report(t.Context(), report, 1, 1); err != nil {
		t.Fatal(err)
	}
	s.rotate(2)
	s.accept(draft("till", "after"))
	s.endKey(1)
	s.accept(draft("till", "last"))
	for _, when := range []string{"at once", "after a restart"} {
		s.readable(when, "open", false)
		s.readable(when, "ended", false)
		s.readable(when, "after", true)
		s.readable(when, "last", true)
		if r, err := s.q.ReadReport(report.ID); err != nil || !r.Unreadable || len(r.Items) != 0 || r.To != 2 {
			t.Errorf("%s: %+v, %v", when, r, err)
		}
		c, err := s.q.Check(t.Context())
		if err != nil || len(c.Flaws) > 0 || c.Sealed != 2 || c.Unreadable != 3 {
			t.Errorf("%s: %+v, %v", when, c, err)
		}
		if a, err := s.q.Verify(t.Context()); err != nil || len(a.Flaws) > 0 || a.Unreadable != 3 {
			t.Errorf("%s: without a key: %+v, %v", when, a, err)
		}
		u := s.use(1)
		if u.Sealed != 3 || u.Open != 1 || !u.Lost() || u.Held || u.Destroyed == 0 || u.By.Reason != "seen" || u.By.Who != "uid 0" {
			t.Errorf("%s: %+v", when, u)
		}
		s.historyTells(when, "open", true)
		s.historyTells(when, "ended", false)
		s.historyTells(when, "after", false)
		s.reopen()
	}
	// Its end closes it as any other, and its history keeps why it was not sent.
	id := tideover.MakeID(testStore, "till", "open")
	s.end(told(id, 2, tideover.StateCancelled))
	s.reopen()
	s.historyTells("ended since", "open", true)
	s.close()
	a, err := VerifyFile(s.path)
	if err != nil || len(a.Flaws) > 0 || a.Unreadable != 3 {
		t.Errorf("%+v, %v", a, err)
	}
	// The key that was put back opens nothing: its end is on record.
	s.keys.All = append(s.keys.All, keyOf(1))
	s.open(Options{})
	s.readable("the key was put back", "ended", false)
}

// historyTells says whether a transaction's history tells of its key's end.
func (s *shop) historyTells(when, key string, want bool) {
	s.t.Helper()
	steps, err := s.q.History(tideover.MakeID(testStore, "till", key))
	if err != nil {
		s.t.Fatal(err)
	}
	told := false
	for i, step := range steps {
		if step.What != stepKeyDestroyed {
			continue
		}
		told = true
		if step.Reason != "seen" || step.By != "uid 0" || step.State.Final() || i == 0 || step.Seq <= steps[i-1].Seq {
			s.t.Errorf("%s: %s: %+v", when, key, steps)
		}
	}
	if told != want {
		s.t.Errorf("%s: %s: its history tells of the key's end: %v; %+v", when, key, told, steps)
	}
}

// TestOpen_DestroyedIsNotWrong tells a journal of another key from one whose key was destroyed.
func TestOpen_DestroyedIsNotWrong(t *testing.T) {
	s := keyedShop(t)
	s.accept(draft("till", "before"))
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := s.q.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	s.rotate(2)
	s.accept(draft("till", "after"))
	s.close()
	destroyed := Keys{All: [][32]byte{keyOf(2)}, Destroyed: [][32]byte{nameOf(t, keyOf(1))}}
	for _, tc := range []struct {
		what       string
		path       string
		keys       Keys
		want       error
		unreadable int
	}{
		{"both keys", s.path, held(2, 1), nil, 0},
		{"both keys, in the wrong order", s.path, held(1, 2), nil, 0},
		{"the old key alone", s.path, held(1), ErrWrongKey, 0},
		{"the new key alone, and the old one was not destroyed", s.path, held(2), ErrWrongKey, 0},
		{"the old one was destroyed", s.path, destroyed, nil, 1},
		{"a stranger's", s.path, held(9), ErrWrongKey, 0},
		{"the copy, with both", copied, held(2, 1), nil, 0},
		{"the copy, whose key was destroyed", copied, destroyed, nil, 1},
		{"the copy, with the new key alone", copied, held(2), ErrWrongKey, 0},
	} {
		c, err := CheckFile(tc.path, tc.keys, testStore)
		if !errors.Is(err, tc.want) || err == nil && (len(c.Flaws) > 0 || c.Unreadable != tc.unreadable) {
			t.Errorf("%s: check: %+v, %v", tc.what, c, err)
		}
		path := filepath.Join(t.TempDir(), "queue.db")
		image, err := os.ReadFile(tc.path)
		if err == nil {
			err = os.WriteFile(path, image, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		q, err := Open(Options{Path: path, Key: tc.keys, Store: testStore})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: open: %v", tc.what, err)
			continue
		}
		if tc.want != nil {
			if e, ok := errors.AsType[*OpenError](err); !ok || !strings.Contains(e.Error(), "queue.key") || strings.Contains(e.Error(), "damaged") {
				t.Errorf("%s: said badly: %v", tc.what, err)
			}
			continue
		}
		if q.SealingKey() != nameOf(t, tc.keys.All[0]) {
			t.Errorf("%s: the newest key does not seal", tc.what)
		}
		p, err := q.Parcel(tideover.MakeID(testStore, "till", "before"))
		if err != nil || p.Unreadable != (tc.unreadable > 0) {
			t.Errorf("%s: %+v, %v", tc.what, p, err)
		}
		q.Close()
		checkWith(t, path, tc.keys)
	}
	to := filepath.Join(t.TempDir(), "queue.db")
	r, err := RestoreFile(copied, to, destroyed, testStore)
	if err != nil || r.Unreadable != 1 || r.Transactions != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	checkWith(t, to, destroyed)
}

// TestRotate_BesideABackup turns the key while copies are made: each copy is of one moment.
func TestRotate_BesideABackup(t *testing.T) {
	s := keyedShop(t)
	for i := range 200 {
		s.accept(draft("till", fmt.Sprint(i)))
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(over)
		for n := range byte(30) {
			s.rotate(n + 2)
		}
	})
	copies := 0
	for open := true; open; copies++ {
		if _, err := s.q.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db")); err != nil {
			t.Fatal(err)
		}
		if a, err := s.q.Verify(t.Context()); err != nil || len(a.Flaws) > 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		select {
		case <-over:
			open = false
		default:
		}
	}
	wg.Wait()
	t.Logf("%d copies beside 30 turns", copies)
}

// TestHead_NamesTheJournalsKey: the head stands outside of the chain, and what it says of keys is held against the journal.
func TestHead_NamesTheJournalsKey(t *testing.T) {
	s := keyedShop(t)
	s.accept(draft("till", "before"))
	s.rotate(2)
	s.accept(draft("till", "after"))
	s.close()
	db, err := bbolt.Open(s.path, 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		h, err := decodeHead(tx.Bucket(bucketMeta).Get(keyHead), schemaNow)
		if err != nil {
			return err
		}
		h.Check = h.First
		return tx.Bucket(bucketMeta).Put(keyHead, h.encode())
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Path: s.path, Key: s.keys, Store: testStore}); !errors.Is(err, ErrDamaged) {
		t.Errorf("open: %v", err)
	}
	for what, look := range map[string]func() (Audit, error){
		"verify": func() (Audit, error) { return VerifyFile(s.path) },
		"check":  func() (Audit, error) { c, err := CheckFile(s.path, s.keys, testStore); return c.Audit, err },
	} {
		if a, err := look(); err != nil || len(a.Flaws) != 1 || !strings.Contains(a.Flaws[0].What.En, "another key") {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
	s.q = nil
}

// TestRotate_WithoutRoom leaves the old key sealing.
func TestRotate_WithoutRoom(t *testing.T) {
	s := keyedShop(t)
	s.close()
	s.open(Options{SizeMax: createdSize})
	s.accept(draft("till", "first"))
	for i := 0; ; i++ {
		d := draft("till", fmt.Sprint(i), func(d *edge.Draft) { d.Request.Payload = bytes.Repeat([]byte("x"), 30_000) })
		if _, err := s.q.Accept(t.Context(), d, yes); err != nil {
			refused(t, err, tideover.CodeStorageFull)
			break
		}
	}
	seals := s.q.SealingKey()
	for i := range 1000 {
		if _, err := s.q.Accept(t.Context(), draft("till", fmt.Sprint("small", i)), yes); err != nil {
			break
		}
	}
	refused(t, s.q.Rotate(t.Context(), keyOf(2), edge.By{}), tideover.CodeStorageFull)
	if s.q.SealingKey() != seals {
		t.Error("another key seals, and nothing is on record")
	}
	s.readable("full", "first", true)
}

// TestSalvage_FindsWhichKeySealed: where the entry is damaged that told of another key, the new file says all the same which key sealed what.
func TestSalvage_FindsWhichKeySealed(t *testing.T) {
	s := keyedShop(t)
	press := func(n byte) {
		for i := range 5 {
			s.accept(draft("till", fmt.Sprint(n, "-", i)))
		}
	}
	press(1)
	s.rotate(2)
	press(2)
	s.rotate(3)
	press(3)
	s.close()
	image, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	var told [][]byte
	if _, _, err := eachOf(s.path, func(f forgery) {
		if f.event.Type == edge.EventKey {
			told = append(told, append(seqKey(f.seq), encodeValue(encodeEvent(&f.event), f.link)...))
		}
	}); err != nil || len(told) != 2 {
		t.Fatalf("%d, %v", len(told), err)
	}
	for name, lost := range map[string][]int{"none": nil, "the first": {0}, "the second": {1}, "both": {0, 1}} {
		dir := t.TempDir()
		damaged, out := filepath.Join(dir, "damaged.db"), filepath.Join(dir, "queue.db")
		torn := bytes.Clone(image)
		for _, i := range lost {
			torn = bytes.ReplaceAll(torn, told[i], bytes.Repeat([]byte{0xee}, len(told[i])))
		}
		if err := os.WriteFile(damaged, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := SalvageFile(Salvager{Path: damaged, Key: &s.keys, Store: testStore, Secret: []byte("s"), Out: out})
		// The acceptance behind each may be lost with it: nothing else vouches for it, if the till's clock ran a millisecond on.
		if err != nil || found.Sealed < 15-len(lost) || found.Made == nil {
			t.Fatalf("%s: %d opened, %v", name, found.Sealed, err)
		}
		again := &shop{t: t, path: out, told: make(chan []Position, 1024), keys: s.keys}
		again.open(Options{})
		for n := byte(1); n <= 3; n++ {
			kept := 0
			for i := range 5 {
				key := fmt.Sprint(n, "-", i)
				if _, err := again.q.Get(tideover.MakeID(testStore, "till", key)); err == nil || i > 0 {
					again.readable(name, key, true)
					kept++
				}
			}
			if u := again.use(n); u.Sealed != kept || u.Seals != (n == 3) {
				t.Errorf("%s: key %d, of which %d are kept: %+v", name, n, kept, u)
			}
		}
		again.close()
	}
}

// TestRotate_BesideACompaction turns the key while the file is exchanged: the new file says what the old one said.
func TestRotate_BesideACompaction(t *testing.T) {
	s := keyedShop(t)
	for i := range 200 {
		s.accept(draft("till", fmt.Sprint(i)))
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(over)
		for n := range byte(30) {
			s.rotate(n + 2)
		}
	})
	compacted := 0
	for open := true; open; compacted++ {
		if _, err := s.q.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-over:
			open = false
		default:
		}
	}
	wg.Wait()
	s.reopen()
	for i := range 200 {
		s.readable("compacted", fmt.Sprint(i), true)
	}
	if u := s.use(31); !u.Seals {
		t.Errorf("%+v", u)
	}
	t.Logf("%d compactions beside 30 turns", compacted)
}
