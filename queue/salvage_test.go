package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"tideover"
	"tideover/edge"
)

// wreckable makes a journal of a shop's day: sales with small and large payloads, ends told in lumps, refunds, cancels, acknowledgements, a
// pairing, a report, two starts.
func wreckable(t testing.TB, sales int, change ...func(*edge.Draft)) (path string) {
	t.Helper()
	tt, ok := t.(*testing.T)
	if !ok {
		t.Skip("needs a shop")
	}
	s := newShop(tt)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.q.PutTerminal(t.Context(), tideover.Terminal{UID: "till-0", Name: "till-1", TokenHash: [32]byte{7}, PairedAt: 1_700_000_000_000}))
	s.rule("a = 1\n")
	hubSeq := uint64(0)
	for i := range sales {
		d := draft(fmt.Sprint("till-", i%3), fmt.Sprint("k", i), known)
		if i%40 == 7 && len(change) == 0 {
			d.Request.Payload = []byte(`"` + string(bytes.Repeat([]byte("x"), 9000)) + `"`)
			d.Hash = d.Request.Hash([]byte("s"))
		}
		for _, c := range change {
			c(&d)
		}
		s.accept(d)
		if i%2 == 0 {
			hubSeq++
			s.end(approved(d.ID, hubSeq))
			s.q.Delivered(d.ID, s.get(d.ID).Seq)
		}
		if i%6 == 0 {
			_, err := s.q.Acknowledge(t.Context(), d.ID, s.get(d.ID).Seq)
			must(err)
		}
		if i%10 == 2 {
			s.accept(draft("till-0", fmt.Sprint("refund", i), undoing(tideover.KindRefund, d.ID)))
		}
		if i == sales/2 {
			s.q.CaughtUp(hubSeq)
			s.report(report("till-0", "day", 1_700_000_000_000, 3), 1)
			s.reopen()
		}
	}
	s.close()
	return s.path
}

// known lets an instrument be known again, as the desk does.
func known(d *edge.Draft) {
	d.InstrumentHash = tideover.InstrumentHash([]byte("s"), d.Request.Instrument)
}

// reading is what a file holds, read while it was whole.
type reading struct {
	image   []byte
	entries []forgery
	raws    [][]byte // each entry as it stands on its page: sequence, length, event, hash
	places  [][]int  // and where, in pages of today and of before
	states  map[tideover.ID]tideover.State
	former  map[uint64][]byte // what was pruned of it
}

func readWhole(t testing.TB, path string) (r reading) {
	t.Helper()
	var err error
	if r.image, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err = eachOf(path, func(f forgery) { r.entries = append(r.entries, f) }); err != nil {
		t.Fatal(err)
	}
	for _, f := range r.entries {
		r.raws = append(r.raws, append(seqKey(f.seq), encodeValue(encodeEvent(&f.event), f.link)...))
	}
	for _, raw := range r.raws {
		var at []int
		for from := 0; ; {
			i := bytes.Index(r.image[from:], raw)
			if i < 0 {
				break
			}
			at = append(at, from+i)
			from += i + 1
		}
		r.places = append(r.places, at)
	}
	r.states = statesOf(t, r.entries)
	return r
}

// statesOf is what entries add up to.
func statesOf(t testing.TB, entries []forgery) map[tideover.ID]tideover.State {
	t.Helper()
	records, states := make(map[tideover.ID]*edge.Record), make(map[tideover.ID]tideover.State)
	for _, f := range entries {
		if !ofTransaction(f.event.Type) {
			continue
		}
		if records[f.event.ID] == nil {
			records[f.event.ID] = &edge.Record{}
		}
		if err := records[f.event.ID].Apply(f.seq, &f.event, false); err != nil {
			t.Fatal(err)
		}
		states[f.event.ID] = records[f.event.ID].State
	}
	return states
}

// found says which entries' bytes are all where they were, at one place at least, in an image that was damaged: an independent reading, which
// knows nothing of pages.
func (r reading) found(image []byte) (there []bool) {
	for i, raw := range r.raws {
		there = append(there, slices.ContainsFunc(r.places[i], func(at int) bool {
			return at+len(raw) <= len(image) && bytes.Equal(image[at:at+len(raw)], raw)
		}))
	}
	return there
}

func salvager(path, out string) Salvager {
	key := testKey
	return Salvager{Path: path, Key: &key, Store: testStore, Secret: []byte("s"), Out: out}
}

// extracts holds what is found in a damaged image against what was there.
func (r reading) extracts(t testing.TB, image []byte) {
	t.Helper()
	there := r.found(image)
	w, err := newSalvage(salvager("", ""), newRuin(bytes.NewReader(image), int64(len(image))))
	if errors.Is(err, ErrForeign) && !slices.Contains(there, true) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	w.assemble()
	w.report()
	r.extracted(t, w, there)
}

// salvages does so, and looks at the new file that is made of it.
func (r reading) salvages(t testing.TB, image []byte) Salvaged {
	t.Helper()
	dir := t.TempDir()
	path, out := filepath.Join(dir, "wreck"), filepath.Join(dir, "new.db")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := SalvageFile(salvager(path, out))
	there, any := r.found(image), 0
	for _, is := range there {
		if is {
			any++
		}
	}
	if errors.Is(err, ErrForeign) && any == 0 {
		return s
	}
	if err != nil {
		t.Fatalf("%d entries are there: %v", any, err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(after, image) {
		t.Fatal("the wreck was changed")
	}
	w, err := newSalvage(salvager(path, ""), newRuin(bytes.NewReader(image), int64(len(image))))
	if err != nil {
		t.Fatal(err)
	}
	w.assemble()
	r.extracted(t, w, there)
	r.made(t, out, w)
	return s
}

// extracted: every entry whose bytes are there was found as one of the journal, and what something vouches for was there.
func (r reading) extracted(t testing.TB, w *salvage, there []bool) {
	t.Helper()
	got, rivals := make(map[string]*found), make(map[uint64]*found)
	for i := range w.ruin.entries {
		f := &w.ruin.entries[i]
		if f.first != 0 {
			continue // a pruned stretch
		}
		raw, _, err := w.ruin.event(f)
		if err != nil {
			t.Fatal(err)
		}
		got[string(append(seqKey(f.seq), encodeValue(raw, f.link)...))] = f
		if f.on {
			rivals[f.seq] = f
		}
	}
	original := make(map[uint64][]byte)
	for i, f := range r.entries {
		original[f.seq] = encodeValue(encodeEvent(&f.event), f.link)
		if !there[i] {
			continue
		}
		e := got[string(r.raws[i])]
		if e == nil {
			t.Fatalf("entry %d (%v) is there, and was not found", f.seq, f.event.Type)
		}
		// Of two that say that they are the same entry nothing can tell which is right, where what stood before them is gone.
		if rival := rivals[f.seq]; !e.on && (rival == nil || rival.vouch > VouchNothing) {
			t.Fatalf("entry %d (%v, vouched for by %d) is there, and not of the journal: %+v", f.seq, f.event.Type, e.vouch, rival)
		}
	}
	for _, i := range w.taken {
		f := &w.ruin.entries[i]
		raw, e, _ := w.ruin.event(f)
		if f.vouch == VouchRequest {
			r.vouches(t, f.seq, e)
		} else if v := encodeValue(raw, f.link); !bytes.Equal(v, original[f.seq]) && !bytes.Equal(v, r.former[f.seq]) {
			t.Fatalf("entry %d (%v, vouched for by %d) was never there", f.seq, e.Type, f.vouch)
		}
	}
}

// vouches: where a till's request alone vouches for an acceptance, that is what was asked for.
func (r reading) vouches(t testing.TB, seq uint64, e edge.Event) {
	t.Helper()
	i := slices.IndexFunc(r.entries, func(f forgery) bool { return f.seq == seq })
	if i < 0 {
		t.Fatalf("entry %d was never there", seq)
	}
	a, b := r.entries[i].event, e
	if a.ID != b.ID || !reflect.DeepEqual(a.Accepted.Request, b.Accepted.Request) || a.Digest != b.Digest ||
		b.Accepted.CreatedAt < a.Accepted.CreatedAt.Add(-2*acceptedWithin) || b.Accepted.CreatedAt > a.Accepted.CreatedAt.Add(2*acceptedWithin) {
		t.Fatalf("entry %d is %+v, and was %+v", seq, b.Accepted, a.Accepted)
	}
}

// made: the new file is whole, is known as a copy, and a transaction of which every entry was taken is in it as it was.
func (r reading) made(t testing.TB, out string, w *salvage) {
	t.Helper()
	c, err := CheckFile(out, testKey, testStore)
	if err != nil || len(c.Flaws) > 0 {
		t.Fatalf("the new file: %+v, %v", c.Flaws, err)
	}
	taken := make(map[uint64]bool)
	for _, i := range w.taken {
		taken[w.ruin.entries[i].seq] = true
	}
	var entries []forgery
	if _, _, err := eachOf(out, func(f forgery) { entries = append(entries, f) }); err != nil {
		t.Fatal(err)
	}
	states := statesOf(t, entries)
	over := make(map[tideover.ID]bool)
	for _, f := range slices.Backward(entries) {
		if over[f.event.ID] && len(f.sealed) > 0 {
			t.Fatalf("the payload of entry %d was over, and is back", f.seq)
		}
		over[f.event.ID] = over[f.event.ID] || passes(f.event.Type)
	}
	whole := make(map[tideover.ID]bool)
	for _, f := range r.entries {
		if all, seen := whole[f.event.ID]; !seen || all {
			whole[f.event.ID] = taken[f.seq]
		}
	}
	for id, state := range states {
		if whole[id] && r.states[id] != state {
			t.Fatalf("%s is %v in the new file, and was %v", id, state, r.states[id])
		}
	}
}

const makesEach = 12 // a new file is made of each so-manieth wreck: that is slow

// TestSalvage_OfAWholeFile finds all of it, by the chain.
func TestSalvage_OfAWholeFile(t *testing.T) {
	r := readWhole(t, wreckable(t, 120))
	s := r.salvages(t, r.image)
	if !s.Sound || s.Found.Chain != len(r.entries) || s.Found.Neighbour+s.Found.Alone != 0 || len(s.Gaps) > 0 || s.Made.Entries != len(r.entries) ||
		s.Made.AsWritten != len(r.entries) || s.Count != len(r.states) {
		t.Errorf("%d entries, %d transactions: %+v, %+v", len(r.entries), len(r.states), s.Found, s.Made)
	}
	t.Logf("%+v, %+v", s.Found, s.Made)
}

// TestSalvage_EachPageInTurn zeroes each page of a file, then cuts it off there.
func TestSalvage_EachPageInTurn(t *testing.T) {
	r := readWhole(t, wreckable(t, 160))
	used := usedBytes(t, r.image)
	for at := 0; at < used; at += pageSize {
		image := bytes.Clone(r.image)
		clear(image[at : at+pageSize])
		r.extracts(t, image)
		r.extracts(t, r.image[:at])
		if at/pageSize%makesEach == 0 {
			if s := r.salvages(t, image); len(s.Gaps) > 2 {
				t.Errorf("page %d: %+v, gaps %+v", at/pageSize, s.Found, s.Gaps)
			}
		}
	}
	t.Logf("%d pages, %d entries", used/pageSize, len(r.entries))
}

// TestSalvage_OfWhatIsTorn turns bytes over, and tears sectors: zeros, what an older version of the page had, or what another page has.
func TestSalvage_OfWhatIsTorn(t *testing.T) {
	r := readWhole(t, wreckable(t, 160))
	used, rounds := usedBytes(t, r.image), 80
	if testing.Short() {
		rounds = 20
	}
	if os.Getenv("TIDEOVER_NIGHTLY") != "" {
		rounds = 3000
	}
	const sector = 512
	anywhere := func() int { return rand.IntN(used/sector) * sector }
	for i := range rounds {
		image := bytes.Clone(r.image)
		for range 1 + rand.IntN(12) {
			at := anywhere()
			switch rand.IntN(4) {
			case 0:
				image[at+rand.IntN(sector)] ^= 1 << rand.IntN(8)
			case 1:
				clear(image[at : at+sector])
			case 2:
				copy(image[at:at+sector], r.image[anywhere():][:sector])
			case 3: // a whole page stands in another's place
				copy(image[at-at%pageSize:][:pageSize], r.image[rand.IntN(used/pageSize)*pageSize:][:pageSize])
			}
		}
		if r.extracts(t, image); i%makesEach == 0 {
			r.salvages(t, image)
		}
	}
}

// TestSalvage_OfPagesInAnyOrder: what the tree says is not needed.
func TestSalvage_OfPagesInAnyOrder(t *testing.T) {
	r := readWhole(t, wreckable(t, 80, func(*edge.Draft) {})) // no entry of several pages
	pages := usedBytes(t, r.image) / pageSize
	image := make([]byte, 0, len(r.image))
	for _, p := range rand.Perm(pages) {
		image = append(image, r.image[p*pageSize:(p+1)*pageSize]...)
	}
	s := r.salvages(t, image)
	if s.Found.Chain != len(r.entries) || s.Made.AsWritten != len(r.entries) || s.Sound {
		t.Errorf("%d entries: %+v, %+v", len(r.entries), s.Found, s.Made)
	}
}

// TestSalvage_TellsWhatNeedsAnEye, and makes what a restore takes: a journal in which nothing that was open is sent by itself, which lacks what
// could not be sent as it was accepted, and which has the hub tell again what it had told.
func TestSalvage_TellsWhatNeedsAnEye(t *testing.T) {
	s := newShop(t)
	id := func(key string) tideover.ID { return tideover.MakeID(testStore, "till", key) }
	for _, key := range []string{"handed over", "open", "paid", "no payload", "no acceptance", "no end"} {
		s.accept(draft("till", key, known))
	}
	for i, key := range []string{"handed over", "paid", "no acceptance", "no end"} {
		s.end(approved(id(key), uint64(i+1)))
		s.flush()
		if i > 0 {
			continue
		}
		if _, err := s.q.Acknowledge(t.Context(), id(key), s.get(id(key)).Seq); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"late", "later"} {
		s.accept(draft("till", key, known))
	}
	s.q.CaughtUp(9)
	s.flush()
	s.close()
	image, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	all := entriesIn(t, s.path)
	wipe := func(b []byte) {
		t.Helper()
		if !bytes.Contains(image, b) {
			t.Fatal("it is not in the file")
		}
		image = bytes.ReplaceAll(image, b, make([]byte, len(b)))
	}
	for _, f := range all {
		switch {
		case f.event.ID == id("no payload") && f.event.Type == edge.EventAccepted:
			wipe(f.sealed)
		case f.event.ID == id("no acceptance") && f.event.Type == edge.EventAccepted, f.event.ID == id("no end") && f.event.Type == edge.EventEnded:
			wipe(encodeEvent(&f.event))
		}
	}
	if err := os.WriteFile(s.path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "new.db")
	got, err := SalvageFile(salvager(s.path, out))
	if err != nil {
		t.Fatal(err)
	}
	standing := make(map[tideover.ID]Standing)
	for _, w := range got.Stand {
		standing[w.ID] = w.Standing
		if known := w.Standing != StandsUnknown; known != (w.Amount == 1299) || (w.Kept != (w.Standing == StandsOpen || w.Standing == StandsPaid)) {
			t.Errorf("%+v", w)
		}
	}
	want := map[tideover.ID]Standing{
		id("open"): StandsOpen, id("paid"): StandsPaid, id("no payload"): StandsLost, id("no acceptance"): StandsUnknown, id("no end"): StandsOpen,
		id("late"): StandsOpen, id("later"): StandsOpen,
	}
	if !reflect.DeepEqual(standing, want) || got.Count != 8 || len(got.Gaps) != 2 || got.Sound || got.Made.Open != 4 {
		t.Errorf("%v; %+v, gaps %+v, %+v", standing, got.Found, got.Gaps, got.Made)
	}
	if _, err := SalvageFile(salvager(s.path, out)); !errors.Is(err, ErrExists) {
		t.Errorf("over a file: %v", err)
	}
	if _, err := RestoreFile(out, s.path, testKey, testStore); err != nil {
		t.Fatal(err)
	}
	q, err := Open(Options{Path: s.path, Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if last := all[len(all)-1].seq; !q.Gap() || q.OpenOfCopy() != 4 || q.HaveThrough() >= 3 || q.headSeq <= last+seqStep {
		t.Errorf("gap %v, %d open of the copy, have through %d, head %d after %d", q.Gap(), q.OpenOfCopy(), q.HaveThrough(), q.headSeq, last)
	}
	for key, state := range map[string]tideover.State{
		"handed over": tideover.StateApproved, "open": tideover.StateInDoubt, "paid": tideover.StateApproved, "no end": tideover.StateInDoubt,
	} {
		if tx, err := q.Get(id(key)); err != nil || tx.State != state {
			t.Errorf("%s: %v, %v", key, tx.State, err)
		}
	}
	for _, key := range []string{"no payload", "no acceptance"} {
		if tx, err := q.Get(id(key)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v, %v", key, tx, err)
		}
	}
}

// TestSalvage_OfAPrunedJournal: where the tree is whole, what was pruned is no loss, and stays pruned though freed pages still have it.
func TestSalvage_OfAPrunedJournal(t *testing.T) {
	s := eager(t)
	s.jump(0)
	over := uint64(0)
	for i := range 60 {
		if key := fmt.Sprint("k", i); i%4 == 0 {
			s.accept(draft("till", key, known))
		} else {
			over++
			s.over(key, over, known)
		}
	}
	former := make(map[uint64][]byte)
	_, err := s.q.eachEntry(t.Context(), func(seq uint64, raw []byte, link [hashSize]byte, _ []byte) error {
		former[seq] = encodeValue(raw, link)
		return nil
	}, noRest)
	if err != nil {
		t.Fatal(err)
	}
	s.passed(2 * month)
	for i := range 20 {
		s.accept(draft("till", fmt.Sprint("after", i), known))
	}
	s.close()
	r := readWhole(t, s.path)
	r.former = former
	whole, err := CheckFile(s.path, testKey, testStore)
	if err != nil || whole.Pruned < 100 {
		t.Fatalf("%+v, %v", whole, err)
	}
	got := r.salvages(t, r.image)
	if !got.Sound || got.Found.Chain != len(r.entries) || got.Found.Alone+got.Found.Neighbour > 0 || got.Made.AsWritten != len(r.entries) || got.Count != len(r.states) {
		t.Errorf("%d entries, %d transactions: %+v, %d, %+v", len(r.entries), len(r.states), got.Found, got.Count, got.Made)
	}
	used, kept := usedBytes(t, r.image), 0
	for at := 0; at < used; at += pageSize {
		image := bytes.Clone(r.image)
		clear(image[at : at+pageSize])
		r.extracts(t, image)
		w, err := newSalvage(salvager("", ""), newRuin(bytes.NewReader(image), int64(len(image))))
		if err != nil {
			t.Fatal(err)
		}
		if w.assemble(); w.pruned() {
			if kept++; len(w.ruin.remains.runs) < 10 {
				t.Errorf("page %d: %d stretches", at/pageSize, len(w.ruin.remains.runs))
			}
			for _, i := range w.taken {
				if _, gone := within(w.ruin.remains.runs, w.ruin.entries[i].seq); gone {
					t.Errorf("page %d: entry %d was pruned, and is back", at/pageSize, w.ruin.entries[i].seq)
				}
			}
		}
		if at/pageSize%makesEach == 0 {
			r.salvages(t, image)
		}
	}
	if kept < used/pageSize/2 {
		t.Errorf("of %d pages, without each of which the tree is mostly whole, only %d left it known what was pruned", used/pageSize, kept)
	}
	t.Logf("%d pages, %d entries, %d pruned", used/pageSize, len(r.entries), whole.Pruned)
}

// TestSalvage_AcrossAKey: what an older key has sealed is opened, also where the entry that tells of the newer one is lost.
func TestSalvage_AcrossAKey(t *testing.T) {
	s := keyedShop(t)
	for i := range 60 {
		if i == 30 {
			s.rotate(2)
		}
		s.accept(draft("till-0", fmt.Sprint("k", i), known))
	}
	s.close()
	image, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	var turn forgery
	if _, _, err := eachOf(s.path, func(f forgery) {
		if f.event.Type == edge.EventKey {
			turn = f
		}
	}); err != nil {
		t.Fatal(err)
	}
	if turn.seq == 0 {
		t.Fatal("no entry tells of the key")
	}
	lost := bytes.ReplaceAll(image, encodeValue(encodeEvent(&turn.event), turn.link), make([]byte, len(encodeValue(encodeEvent(&turn.event), turn.link))))
	for name, tc := range map[string]struct {
		image []byte
		keys  Keys
		want  int // transactions in the new file
	}{
		"whole":                     {image, s.keys, 60},
		"without the entry":         {lost, s.keys, 60},
		"and without the older key": {lost, held(2), 30}, // the others could not be sent as they were accepted
	} {
		dir := t.TempDir()
		path, out := filepath.Join(dir, "wreck"), filepath.Join(dir, "new.db")
		if err := os.WriteFile(path, tc.image, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := SalvageFile(Salvager{Path: path, Key: &tc.keys, Store: testStore, Secret: []byte("s"), Out: out})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c, err := CheckFile(out, tc.keys, testStore)
		if err != nil || len(c.Flaws) > 0 || c.Transactions != tc.want || got.Sealed != tc.want || got.Count != 60 {
			t.Errorf("%s: %+v, %v; %+v, %+v", name, c, err, got.Found, got.Made)
		}
	}
}

// FuzzSalvage writes over a part of a good file: whatever comes of it, nothing that was not there is believed, and nothing panics.
func FuzzSalvage(f *testing.F) {
	var r reading
	var err error
	if r.image, err = os.ReadFile(goldenNow); err != nil {
		f.Fatal(err)
	}
	original := make(map[uint64][sha256.Size]byte)
	_, _, err = eachOf(goldenNow, func(e forgery) { original[e.seq] = sha256.Sum256(encodeEvent(&e.event)) })
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(16), []byte{0xED, 0xDA, 0x0C, 0xED}, uint32(0))
	f.Add(uint32(2*pageSize), []byte{2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint32(1))
	f.Add(uint32(3*pageSize+8), binary.LittleEndian.AppendUint32(nil, 2), uint32(9))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, cut uint32) {
		image := bytes.Clone(r.image)
		at %= uint32(len(image))
		copy(image[at:], patch)
		image = image[:len(image)-int(cut%uint32(len(image)))]
		w, err := newSalvage(salvager("", ""), newRuin(bytes.NewReader(image), int64(len(image))))
		if err != nil {
			return
		}
		w.assemble()
		w.report()
		for _, i := range w.taken {
			raw, e, _ := w.ruin.event(&w.ruin.entries[i])
			if was, there := original[w.ruin.entries[i].seq]; !there || was != sha256.Sum256(raw) {
				t.Fatalf("entry %d was never there: %+v", w.ruin.entries[i].seq, e)
			}
		}
	})
}
