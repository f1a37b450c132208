package bolt_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"tideover"
	"tideover/hub/ledger"
	"tideover/hub/ledger/bolt"
	"tideover/wire"
)

// childLedger makes a child of this test's binary open a ledger and end.
const childLedger = "TIDEOVER_TEST_BOLT_LEDGER"

func TestMain(m *testing.M) {
	if path := os.Getenv(childLedger); path != "" {
		l, err := bolt.Open(bolt.Options{Path: path, Key: key})
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fillBooks enters finished rows, created at the times that at names, many in one commit.
func fillBooks(t testing.TB, l *bolt.Ledger, name string, n int, at func(i int) tideover.Millis) {
	t.Helper()
	for from := 0; from < n; from += 500 {
		u := ledger.Update{Store: name}
		for i := from; i < min(n, from+500); i++ {
			u.IDs = append(u.IDs, tideover.MakeID(name, "t1", fmt.Sprint(i)))
		}
		u.Step = func(v *ledger.View) error {
			for j := range v.Rows {
				s := request(fmt.Sprint(from + j))
				s.ID, s.CreatedAt, s.Request.Payload, s.Request.Instrument = u.IDs[j], at(from+j), nil, ""
				v.Rows[j] = ledger.Row{
					Store: name, ID: s.ID, State: tideover.RowDone, Request: s, Approved: true, Acked: true, HubSeq: uint64(from + j + 1),
					Outcome: tideover.Outcome{Result: tideover.StateApproved, Reference: fmt.Sprint("R", from+j), At: v.Now}, CreatedAt: v.Now, UpdatedAt: v.Now,
				}
			}
			return nil
		}
		if err := l.Update(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
}

// books reads a store's books in pages.
func books(t testing.TB, l *bolt.Ledger, name string, from, to tideover.Millis, limit int) (all []ledger.Row) {
	t.Helper()
	for after := (ledger.Place{At: from}); ; {
		page, err := l.Booked(name, current, after, to, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > limit {
			t.Fatalf("a page of %d rows, limit %d", len(page), limit)
		}
		all = append(all, page...)
		if len(page) < limit {
			return all
		}
		after = page[len(page)-1].Place()
	}
}

func TestBooks_AreReadByTimeAndInPages(t *testing.T) {
	l, _ := open(t, create(t))
	for _, other := range []string{"shop-0000", "shop-0002", "shop-00011"} {
		if err := l.AddStore(t.Context(), ledger.Store{Name: other, Secret: [32]byte{8}}); err != nil {
			t.Fatal(err)
		}
		fillBooks(t, l, other, 40, func(i int) tideover.Millis { return 1000 + tideover.Millis(i) })
	}
	// Two rows at each time, entered in another order than that of their times.
	fillBooks(t, l, store, 200, func(i int) tideover.Millis { return 1000 + tideover.Millis((i*37)%100) })
	for _, c := range []struct {
		from, to tideover.Millis
		want     int
	}{
		{1000, 1100, 200},
		{0, 1 << 62, 200},
		{1000, 1001, 2}, // from is within
		{999, 1000, 0},  // to is not
		{1099, 1100, 2},
		{1100, 5000, 0},
		{1050, 1060, 20},
	} {
		for _, limit := range []int{1, 2, 3, 7, 1000} {
			got := books(t, l, store, c.from, c.to, limit)
			if len(got) != c.want {
				t.Fatalf("from %d to %d in pages of %d: %d rows, want %d", c.from, c.to, limit, len(got), c.want)
			}
			seen := map[tideover.ID]bool{}
			for i, r := range got {
				p := r.Place()
				if seen[r.ID] || r.Store != store || p.At < c.from || p.At >= c.to || i > 0 && got[i-1].Place().At > p.At {
					t.Errorf("row %d: %+v", i, r)
				}
				seen[r.ID] = true
			}
		}
	}
	if _, err := l.Booked(store, [16]byte{1}, ledger.Place{}, 5000, 1); !errors.Is(err, ledger.ErrSuperseded) {
		t.Errorf("another incarnation: %v", err)
	}
	if _, err := l.Booked("nobody", current, ledger.Place{}, 5000, 1); !errors.Is(err, ledger.ErrStoreUnknown) {
		t.Errorf("an unknown store: %v", err)
	}
}

// What is barred stands where it was barred; once its request is heard, it stands where that was accepted, and nowhere else.
func TestBooks_ABarredIDMovesOnceItsRequestIsHeard(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	s := request("k")
	s.CreatedAt = 5000
	err := l.Update(t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{s.ID}, Step: func(v *ledger.View) error {
		v.Cancel(wire.Cancel{ID: s.ID, TerminalUID: "t1", Terminal: "till-1", Key: "k"})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	now := l.Now()
	if got := books(t, l, store, now-60_000, now+1, 10); len(got) != 1 || got[0].Known() || got[0].Booking().State != tideover.StateCancelled {
		t.Fatalf("%+v", got)
	}
	claim(t, l, s)
	got := books(t, l, store, 0, now+60_000, 10)
	if len(got) != 1 || got[0].Place().At != 5000 {
		t.Fatalf("%+v", got)
	}
	want := wire.Booking{
		Side: wire.SideLedger, ID: s.ID, TerminalUID: "t1", Terminal: "till-1", Kind: tideover.KindAdvice, Amount: 1299, Currency: "CNY",
		State: tideover.StateCancelled, CreatedAt: 5000,
	}
	if b := got[0].Booking(); b != want {
		t.Errorf("%+v", b)
	}
	end()
	open(t, path) // checks the books
}

func TestBooking_TellsWhatAnEdgeWouldShow(t *testing.T) {
	for name, c := range map[string]struct {
		row  ledger.Row
		want tideover.State
	}{
		"claimed":   {ledger.Row{State: tideover.RowClaimed}, tideover.StatePending},
		"in doubt":  {ledger.Row{State: tideover.RowInDoubt}, tideover.StateInDoubt},
		"pending":   {ledger.Row{State: tideover.RowInDoubt, PendingSince: 1}, tideover.StatePending},
		"reversing": {ledger.Row{State: tideover.RowReversing, Outcome: tideover.Outcome{Result: tideover.StateApproved}}, tideover.StateReversing},
		"manual":    {ledger.Row{State: tideover.RowManual}, tideover.StateManual},
		"approved":  {ledger.Row{State: tideover.RowDone, Outcome: tideover.Outcome{Result: tideover.StateApproved, Reference: "R"}}, tideover.StateApproved},
		"declined":  {ledger.Row{State: tideover.RowDone, Outcome: tideover.Outcome{Result: tideover.StateDeclined}}, tideover.StateDeclined},
		"expired":   {ledger.Row{State: tideover.RowRefused, Outcome: tideover.Outcome{Result: tideover.StateExpired}}, tideover.StateExpired},
		"reversed":  {ledger.Row{State: tideover.RowReversed, Outcome: tideover.Outcome{Result: tideover.StateReversed}}, tideover.StateReversed},
	} {
		c.row.ID = tideover.ID{1}
		b := c.row.Booking()
		if b.State != c.want || b.Reference != c.row.Outcome.Reference {
			t.Errorf("%s: %+v", name, b)
		}
		if err := b.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// change writes into a ledger's file as no ledger does.
func change(t *testing.T, path string, do func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(do), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// older makes a ledger one of version 1, which has no books.
func older(t *testing.T, path string) {
	t.Helper()
	change(t, path, func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("books")),
			tx.Bucket([]byte("tideover-ledger")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 1)))
	})
}

func TestOpen_FindsBooksThatAreNotTheRows(t *testing.T) {
	for name, harm := range map[string]func(b *bbolt.Bucket) error{
		"one missing": func(b *bbolt.Bucket) error { k, _ := b.Cursor().First(); return b.Delete(k) },
		"one too many": func(b *bbolt.Bucket) error {
			k, _ := b.Cursor().First()
			k = slices.Clone(k)
			k[len(k)-1]++
			return b.Put(k, nil)
		},
		"one elsewhere": func(b *bbolt.Bucket) error {
			k, _ := b.Cursor().First()
			k = slices.Clone(k)
			err := b.Delete(k)
			k[len(k)-17]++
			return errors.Join(err, b.Put(k, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := create(t)
			l, end := open(t, path)
			fillBooks(t, l, store, 20, func(i int) tideover.Millis { return tideover.Millis(1000 * i) })
			end()
			change(t, path, func(tx *bbolt.Tx) error { return harm(tx.Bucket([]byte("books"))) })
			if _, err := bolt.Open(bolt.Options{Path: path, Key: key}); !errors.Is(err, bolt.ErrDamaged) {
				t.Errorf("%v", err)
			}
		})
	}
	path := create(t)
	change(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("books")) })
	if _, err := bolt.Open(bolt.Options{Path: path, Key: key}); !errors.Is(err, bolt.ErrDamaged) {
		t.Errorf("no books: %v", err)
	}
}

// places are what books must say, however the ledger came by them.
func places(rows []ledger.Row) (all []ledger.Place) {
	for _, r := range rows {
		all = append(all, r.Place())
	}
	return all
}

func TestOpen_GivesALedgerOfVersion1ItsBooks(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	const n = 5000 // more than one commit's
	fillBooks(t, l, store, n, func(i int) tideover.Millis { return tideover.Millis(1_000_000 - i) })
	want := places(books(t, l, store, 0, 1<<62, 500))
	end()
	older(t, path)
	for range 2 {
		l, end = open(t, path)
		if got := places(books(t, l, store, 0, 1<<62, 500)); len(got) != n || !slices.Equal(got, want) {
			t.Errorf("%d rows in the books, want the %d that were", len(got), n)
		}
		if err := l.Check(); err != nil {
			t.Error(err)
		}
		end()
	}
}

// An earlier program that opens the ledger half-way may add and move rows: what was entered before that counts for nothing.
func TestOpen_MakesHalfFilledBooksAnew(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	fillBooks(t, l, store, 100, func(i int) tideover.Millis { return tideover.Millis(1000 + i) })
	want := places(books(t, l, store, 0, 1<<62, 500))
	end()
	older(t, path)
	change(t, path, func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("books"))
		k := append([]byte{byte(len(store))}, store...)
		return errors.Join(err, b.Put(append(binary.BigEndian.AppendUint64(k, 7), make([]byte, 16)...), nil))
	})
	l, _ = open(t, path)
	if got := places(books(t, l, store, 0, 1<<62, 500)); !slices.Equal(got, want) {
		t.Errorf("%d rows in the books, want %d", len(got), len(want))
	}
}

// The process dies before and after each commit that enters rows: the next one begins anew, and nothing is lost or doubled.
func TestOpen_DiesWhileItEntersTheBooks(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "child.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "die", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the child: %v\n%s", err, out)
	}
	path := create(t)
	l, end := open(t, path)
	fillBooks(t, l, store, 5000, func(i int) tideover.Millis { return tideover.Millis(1_000_000 - i) }) // two commits
	want := places(books(t, l, store, 0, 1<<62, 500))
	end()
	run := func(die string) error {
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), childLedger+"="+path, "TIDEOVER_DIE="+die)
		out, err := cmd.CombinedOutput()
		if len(out) > 0 {
			t.Errorf("%s: %s", die, out)
		}
		return err
	}
	for _, die := range []string{"hub.books.before:1", "hub.books.after:1", "hub.books.before:2", "hub.books.after:2"} {
		older(t, path)
		for range 2 {
			err := run(die)
			e, ok := errors.AsType[*exec.ExitError](err)
			if err == nil && strings.HasPrefix(die, "hub.books.after:2") {
				break // it was done: the second process has nothing to enter
			}
			if !ok || e.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%s: %v", die, err)
			}
		}
		l, end := open(t, path)
		if got := places(books(t, l, store, 0, 1<<62, 500)); !slices.Equal(got, want) {
			t.Errorf("%s: %d rows in the books, want %d", die, len(got), len(want))
		}
		end()
	}
}
