package bolt_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"tideover"
	"tideover/hub/ledger"
	"tideover/hub/ledger/bolt"
	"tideover/wire"
)

// greet says hello as an edge with a past.
func greet(t *testing.T, l *bolt.Ledger, name string, h wire.Hello) (w wire.Welcome) {
	t.Helper()
	err := l.Update(t.Context(), ledger.Update{Store: name, Step: func(v *ledger.View) (err error) {
		w, err = v.Hello(h)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestOpen_DrawsAnEpoch(t *testing.T) {
	path := create(t)
	var epochs [][16]byte
	for range 3 {
		l, end := open(t, path)
		h := l.History()
		if slices.Contains(epochs, h.Epoch()) || h.Restored != [16]byte{} {
			t.Fatalf("%+v", h)
		}
		for _, e := range epochs {
			if !slices.Contains(h.Epochs, e) {
				t.Errorf("epoch %x is forgotten", e)
			}
		}
		epochs = append(epochs, h.Epoch())
		if w := greet(t, l, store, wire.Hello{Incarnation: current, Seq: 3, Epoch: epochs[0]}); w.Epoch != h.Epoch() || w.Replay {
			t.Errorf("%+v", w)
		}
		end()
	}
}

// A ledger that an earlier version has written has no epochs.
func TestOpen_TakesALedgerWithoutEpochs(t *testing.T) {
	path := create(t)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("tideover-ledger")).Delete([]byte("epochs")) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	l, _ := open(t, path)
	if len(l.History().Epochs) != 1 {
		t.Errorf("%+v", l.History())
	}
	if w := greet(t, l, store, wire.Hello{Incarnation: current, Seq: 3}); w.Replay {
		t.Errorf("%+v", w)
	}
}

func TestBackup_RestoresAsWhatItIs(t *testing.T) {
	path := create(t)
	l, end := open(t, path)
	greet(t, l, store, wire.Hello{Incarnation: current, Seq: 2})
	kept, lost := request("kept"), request("lost")
	claim(t, l, kept)
	record(t, l, kept)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := l.Backup(copied); err != nil {
		t.Fatal(err)
	}
	if err := l.Backup(copied); !errors.Is(err, bolt.ErrExists) {
		t.Error("an earlier copy was replaced:", err)
	}
	info, err := os.Stat(copied)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(copied), ".*"))
	if len(left) != 0 {
		t.Error("left behind:", left)
	}
	claim(t, l, lost)
	record(t, l, lost)
	if w := greet(t, l, store, wire.Hello{Incarnation: current, Seq: 9, Highest: 2}); w.Replay {
		t.Errorf("the ledger that was copied has lost something: %+v", w)
	}
	end()

	if err := os.Rename(copied, path); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the second time, nobody has said hello in between
		l, end = open(t, path)
		h := l.History()
		if h.Restored == [16]byte{} || i == 0 && h.Restored != h.Epoch() || !slices.Contains(h.Epochs, h.Restored) {
			t.Fatalf("%+v", h)
		}
		if err := l.AddStore(t.Context(), ledger.Store{Name: "new-" + string('a'+byte(i))}); err != nil {
			t.Fatal(err)
		}
		end()
	}
	l, end = open(t, path)
	for _, name := range []string{"new-a", "new-b"} {
		if w := greet(t, l, name, wire.Hello{Incarnation: current, Seq: 9}); w.Replay {
			t.Errorf("%s was added since, and has lost something: %+v", name, w)
		}
	}
	for range 2 {
		if w := greet(t, l, store, wire.Hello{Incarnation: current, Seq: 9}); !w.Replay || w.LostBefore != 9 || w.LostFrom != 1 {
			t.Errorf("%+v", w)
		}
	}
	if row, err := l.Row(store, lost.ID); err != nil || row.State != tideover.RowNone {
		t.Errorf("%+v, %v", row, err)
	}
	err = l.Update(t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{lost.ID}, Step: func(v *ledger.View) error {
		s := lost
		s.Request.Payload, s.Request.Instrument = nil, ""
		v.Replay(wire.Replay{Submit: s, HubSeq: 2, Outcome: tideover.Outcome{Result: tideover.StateApproved}})
		v.Replayed(current)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	end()
	l, _ = open(t, path)
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	if row, err := l.Row(store, lost.ID); err != nil || row.State != tideover.RowDone || row.HubSeq != 2 || !row.Acked {
		t.Errorf("%+v, %v", row, err)
	}
	if w := greet(t, l, store, wire.Hello{Incarnation: current, Seq: 9}); w.Replay || w.LostBefore != 9 || w.GivenOut != 2 {
		t.Errorf("%+v", w)
	}
}

// An id that was barred by its key alone is adopted as such by an edge that has no record of it.
func TestOutbox_TellsWhatWasBarred(t *testing.T) {
	l, _ := open(t, create(t))
	s := request("barred")
	err := l.Update(t.Context(), ledger.Update{Store: store, IDs: []tideover.ID{s.ID}, Step: func(v *ledger.View) error {
		v.Cancel(wire.Cancel{ID: s.ID, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	page, err := l.Outbox(store, 0, 10)
	if err != nil || len(page) != 1 || page[0].Adopt == nil || page[0].Adopt.Request.Kind != tideover.KindNone || page[0].Adopt.Key != s.Key {
		t.Fatalf("%+v, %v", page, err)
	}
	if err := page[0].Validate(); err != nil {
		t.Error(err)
	}
}
