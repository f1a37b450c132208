package queue

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"tideover"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden are queues of each schema, without the zeros after the last page. They are never written anew once a release has written such files:
// later versions have to open them.
var golden = []string{"testdata/queue-1.db", "testdata/queue-2.db"}

// goldenNow is the one of the present schema.
const goldenNow = "testdata/queue-2.db"

// goldenCopy returns a copy of a golden file that may be written to.
func goldenCopy(tb testing.TB, file string) string {
	tb.Helper()
	image, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "queue.db")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestGolden_EverySchemaOpens(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	for _, file := range golden {
		t.Run(filepath.Base(file), func(t *testing.T) { opensGolden(t, file) })
	}
}

func opensGolden(t *testing.T, file string) {
	q, err := Open(Options{Path: goldenCopy(t, file), Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for key, want := range map[string]tideover.State{
		"open": tideover.StateInDoubt, "approved": tideover.StateApproved, "corrected": tideover.StateReversed,
		"expired": tideover.StateExpired, "adopted": tideover.StateDeclined, "refund": tideover.StateInDoubt,
	} {
		id := tideover.MakeID(testStore, "till", key)
		tx, err := q.Get(id)
		if err != nil || tx.State != want || tx.Key != key || tx.Currency != "CNY" {
			t.Errorf("%s: %+v, %v", key, tx, err)
		}
		if r := q.live[id]; r != nil {
			p, err := q.parcel(r)
			if err != nil || p.Request.Instrument != "28451234" || string(p.Request.Payload) != `{"secret":"`+key+`"}` {
				t.Errorf("%s: %+v, %v", key, p.Request, err)
			}
		}
	}
	if tx, _ := q.Get(tideover.MakeID(testStore, "till", "approved")); !tx.Acknowledged || !tx.Delivered || tx.Outcome.Code != "00" {
		t.Errorf("approved: %+v", tx)
	}
	if q.HaveThrough() != 5 || q.LedgerTime() != 1_700_000_000_000 || len(q.Tombstones()) != 1 || len(q.Terminals()) != 1 {
		t.Errorf("%d, %d, %v, %v", q.HaveThrough(), q.LedgerTime(), q.Tombstones(), q.Terminals())
	}
}

// writeGolden lets every kind of event happen that is written today.
func writeGolden(t *testing.T) {
	s := newShop(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.q.PutTerminal(ctx, tideover.Terminal{UID: "till", Name: "till-1", TokenHash: [32]byte{7}, PairedAt: 1_700_000_000_000}))
	s.q.NoteLedgerTime(1_700_000_000_000)
	for _, key := range []string{"open", "approved", "corrected", "expired"} {
		s.accept(draft("till", key))
	}
	id := func(key string) tideover.ID { return tideover.MakeID(testStore, "till", key) }
	s.accept(draft("till", "refund", undoing(tideover.KindRefund, id("approved"))))
	must(s.q.EndHere(ctx, id("expired"), tideover.CauseExpired, tideover.Outcome{}))
	s.end(approved(id("approved"), 1))
	s.end(approved(id("corrected"), 2))
	again := told(id("corrected"), 3, tideover.StateReversed)
	again.Corrected = true
	s.end(again)
	lost := draft("till", "adopted")
	adopt := told(lost.ID, 4, tideover.StateDeclined)
	adopt.Adopt = &lost
	s.end(adopt)
	s.q.CaughtUp(5)
	s.q.Delivered(id("approved"), s.get(id("approved")).Seq)
	_, err := s.q.Acknowledge(ctx, id("approved"), s.get(id("approved")).Seq)
	must(err)
	s.close()
	image, err := os.ReadFile(s.path)
	must(err)
	must(os.MkdirAll(filepath.Dir(goldenNow), 0o755))
	must(os.WriteFile(goldenNow, image[:usedBytes(t, image)], 0o644))
}
