package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

const testStore = "shop-1"

var (
	testKey   = OneKey([32]byte{1, 2, 3})
	testEpoch = [16]byte{7} // of the ledger
)

// shop is a queue under test with its committer.
type shop struct {
	t    *testing.T
	path string
	q    *Queue
	stop context.CancelFunc
	ran  chan error
	told chan []Position
	keys Keys          // none: testKey
	keep time.Duration // Retention.Final; such a journal is swept whenever something is committed
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, path: filepath.Join(t.TempDir(), "queue.db"), told: make(chan []Position, 1024)}
	if err := Create(s.path, testKey, Ident{Store: testStore}); err != nil {
		t.Fatal(err)
	}
	s.open(Options{})
	t.Cleanup(s.close)
	return s
}

func (s *shop) open(o Options) {
	s.t.Helper()
	o.Path, o.Key, o.Store = s.path, s.holds(), testStore
	if o.LazyMax == 0 {
		o.LazyMax = time.Hour
	}
	o.Durable = func(p []Position) { s.told <- p }
	q, err := Open(o)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.keep > 0 {
		q.sweeper.keep, q.sweeper.least, q.sweeper.pause, q.sweeper.rest = s.keep, 1, 0, 0
	}
	ctx, stop := context.WithCancel(context.Background())
	s.q, s.stop, s.ran = q, stop, make(chan error, 1)
	go func() { s.ran <- q.Run(ctx) }()
}

// holds returns the keys that the shop's machine has.
func (s *shop) holds() Keys {
	if len(s.keys.All) == 0 {
		return testKey
	}
	return s.keys
}

// close ends the queue, and checks everything that is on disk.
func (s *shop) close() {
	s.t.Helper()
	if s.q == nil {
		return
	}
	s.stop()
	if err := <-s.ran; err != nil {
		s.t.Fatalf("run: %v", err)
	}
	if err := s.q.Close(); err != nil {
		s.t.Fatalf("close: %v", err)
	}
	s.q = nil
	checkWith(s.t, s.path, s.holds())
}

func (s *shop) reopen() {
	s.t.Helper()
	s.close()
	s.open(Options{})
}

// crash leaves what a killed process would leave: the file as it is between two commits, without what waits for the next one.
func (s *shop) crash() {
	s.t.Helper()
	image, err := os.ReadFile(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.close()
	if err := os.WriteFile(s.path, image, 0o600); err != nil {
		s.t.Fatal(err)
	}
	checkWith(s.t, s.path, s.holds())
	s.open(Options{})
}

// check reads everything in a file: its pages, by the walker and by bbolt; the chain; and every sealed part.
func check(t testing.TB, path string) {
	t.Helper()
	checkWith(t, path, testKey)
}

func checkWith(t testing.TB, path string, keys Keys) {
	t.Helper()
	q, err := Open(Options{Path: path, Key: keys, Store: testStore})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	defer q.db.Close()
	err = q.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return tx.Bucket(bucketJournal).ForEach(func(k, v []byte) error {
			raw, _, _, err := splitValue(v)
			if err != nil {
				return err
			}
			sealed := tx.Bucket(bucketSealed).Get(k)
			e, err := decodeEvent(raw)
			if err != nil {
				return err
			}
			ring := q.ring.Load()
			if err := ring.opens(seqOf(k), &e, sealed); errors.Is(err, ErrKeyDestroyed) || len(sealed) == 0 {
				return nil
			} else if err != nil {
				return err
			}
			if name, now := ring.sealedWith(e.ID, sealed), ring.span(seqOf(k)).check; name != now {
				return fmt.Errorf("entry %d was sealed with key %x, and should have been with %x", seqOf(k), name[:4], now[:4])
			}
			return nil
		})
	})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, r := range q.live {
		folded, err := q.fold(id)
		if err != nil {
			t.Fatalf("check: %v", err)
		}
		if folded.last != r.last || folded.HubSeq != r.HubSeq || folded.Hash != r.Hash || folded.EndSeq != r.EndSeq {
			t.Fatalf("check: %s is one thing when replayed and another when walked back", id)
		}
	}
}

func draft(till, key string, change ...func(*edge.Draft)) edge.Draft {
	d := edge.Draft{
		TerminalUID: till, Terminal: "name of " + till, Key: key, CreatedAt: tideover.MillisOf(time.Now()),
		Request: tideover.Request{
			Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-1", Instrument: "28451234",
			ExpiresIn: 45 * time.Second, Payload: []byte(`{"secret":"` + key + `"}`),
		},
	}
	for _, c := range change {
		c(&d)
	}
	d.ID = tideover.MakeID(testStore, till, key)
	d.Hash = d.Request.Hash([]byte("s"))
	return d
}

func undoing(kind tideover.Kind, original tideover.ID) func(*edge.Draft) {
	return func(d *edge.Draft) { d.Request.Kind, d.Request.Original = kind, original }
}

func yes(View) error { return nil }

func (s *shop) accept(d edge.Draft) tideover.Transaction {
	s.t.Helper()
	tx, err := s.q.Accept(s.t.Context(), d, yes)
	if err != nil {
		s.t.Fatal(err)
	}
	return tx
}

func (s *shop) get(id tideover.ID) tideover.Transaction {
	s.t.Helper()
	tx, err := s.q.Get(id)
	if err != nil {
		s.t.Fatal(err)
	}
	return tx
}

func approved(id tideover.ID, hubSeq uint64) Told {
	return told(id, hubSeq, tideover.StateApproved)
}

func told(id tideover.ID, hubSeq uint64, result tideover.State) Told {
	return Told{Position: Position{id, hubSeq}, Outcome: tideover.Outcome{Result: result, Code: "00", At: 17}}
}

func (s *shop) end(e Told) {
	s.t.Helper()
	if err := s.q.End(e); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) flush() {
	s.t.Helper()
	if err := s.q.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func refused(t *testing.T, err error, code tideover.Code) {
	t.Helper()
	if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code != code {
		t.Fatalf("got %v, want the refusal %s", err, code)
	}
}

func TestQueue_ATransactionsWholeLife(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k1")
	tx := s.accept(d)
	if tx.State != tideover.StateQueued || tx.Replayed || tx.Seq == 0 || tx.ExpiresAt != tx.CreatedAt+45_000 {
		t.Fatalf("accepted: %+v", tx)
	}
	p, err := s.q.Next(t.Context())
	if err == nil {
		err = s.q.Unpack(&p)
	}
	if err != nil {
		t.Fatal(err)
	}
	if p.ID != tx.ID || !p.NeverSent() || p.Reopened || p.Hash != d.Hash || string(p.Request.Payload) != string(d.Request.Payload) ||
		p.Request.Instrument != "28451234" {
		t.Fatalf("parcel: %+v", p)
	}
	changed := s.q.Changed(tx.ID, tx.Seq)
	if err := s.q.Move(tx.ID, tideover.CauseSent, edge.Note{Uplink: "eth1"}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if err := s.q.Move(tx.ID, tideover.ToldPending, edge.Note{WaitingFor: "customer"}); err != nil {
		t.Fatal(err)
	}
	if got := s.get(tx.ID); got.State != tideover.StatePending || got.WaitingFor != "customer" || got.Attempts != 1 || got.Uplink != "eth1" {
		t.Fatalf("pending: %+v", got)
	}
	s.end(approved(tx.ID, 1))
	s.q.Back(tx.ID, 0)
	ended := s.get(tx.ID)
	if ended.State != tideover.StateApproved || ended.Outcome.Code != "00" || ended.WaitingFor != "" || s.q.HaveThrough() != 0 {
		t.Fatalf("ended: %+v", ended)
	}
	s.q.Delivered(tx.ID, ended.Seq)
	acked, err := s.q.Acknowledge(t.Context(), tx.ID, ended.Seq)
	if err != nil || !acked.Acknowledged || !acked.Delivered {
		t.Fatalf("acknowledged: %+v, %v", acked, err)
	}
	if have := <-s.told; len(have) != 1 || have[0] != (Position{tx.ID, 1}) || s.q.HaveThrough() != 1 {
		t.Fatalf("durable: %v", have)
	}
	if len(s.q.live) != 0 {
		t.Fatal("what is acknowledged stays in memory")
	}
	if got := s.get(tx.ID); got.State != tideover.StateApproved || got.Attempts != 1 || got.Seq != acked.Seq || !got.Delivered {
		t.Fatalf("read back: %+v", got)
	}
	s.reopen()
	got := s.get(tx.ID)
	if got.State != tideover.StateApproved || !got.Acknowledged || got.Attempts != 0 || s.q.HaveThrough() != 1 {
		t.Fatalf("reopened: %+v", got)
	}
	steps, err := s.q.History(tx.ID)
	if err != nil || len(steps) != 4 || steps[1].State != tideover.StateApproved {
		t.Fatalf("history: %v, %v", steps, err)
	}
	again := s.accept(d)
	if !again.Replayed || again.State != tideover.StateApproved {
		t.Fatalf("replayed: %+v", again)
	}
}

// unheard is what a process knows that has not heard the hub; complete is one that has, over a journal without a gap.
func unheard() edge.Past  { return edge.Past{} }
func complete() edge.Past { return edge.Past{Caught: true} }
