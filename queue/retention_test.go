package queue

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

// payloads returns the keys of the transactions whose sealed parts are on disk, in order of their acceptance.
func (s *shop) payloads() (keys []string) {
	s.t.Helper()
	err := s.q.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketSealed).ForEach(func(k, _ []byte) error {
			e, err := decodeValue(seqOf(k), tx.Bucket(bucketJournal).Get(k))
			if err == nil && e.Accepted != nil {
				keys = append(keys, e.Accepted.Key)
			}
			return err
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
}

func (s *shop) wantPayloads(want ...string) {
	s.t.Helper()
	if have := s.payloads(); !slices.Equal(have, want) {
		s.t.Fatalf("payloads on disk: %v, want %v", have, want)
	}
}

// sold accepts a request, and gives it an end that was delivered.
func (s *shop) sold(key string, hubSeq uint64) edge.Draft {
	s.t.Helper()
	d := draft("till", key)
	s.accept(d)
	s.end(approved(d.ID, hubSeq))
	s.q.Delivered(d.ID, s.get(d.ID).Seq)
	return d
}

// What is delivered, acknowledged or dropped loses its payload with a commit that is made anyway, and nothing else does.
func TestErase_WhatIsOver(t *testing.T) {
	s := newShop(t)
	d := s.sold("delivered", 1)
	for _, key := range []string{"open", "ended", "acknowledged", "dropped"} {
		s.accept(draft("till", key))
	}
	id := func(key string) tideover.ID { return tideover.MakeID(testStore, "till", key) }
	s.wantPayloads("open", "ended", "acknowledged", "dropped") // the first went with the commit that has its delivery
	commits := s.q.Stats().Commits
	s.end(approved(id("ended"), 2))
	s.end(approved(id("acknowledged"), 3))
	if _, err := s.q.Acknowledge(t.Context(), id("acknowledged"), s.get(id("acknowledged")).Seq); err != nil {
		t.Fatal(err)
	}
	if _, err := s.q.Drop(t.Context(), id("dropped"), complete, edge.By{Who: "x", Reason: "y"}, 0); err != nil {
		t.Fatal(err)
	}
	s.accept(draft("till", "next"))
	s.wantPayloads("open", "ended", "next")
	if n := s.q.Stats().Commits - commits; n != 3 {
		t.Errorf("%d commits for three that wait for theirs", n)
	}
	p, err := s.q.Parcel(d.ID)
	if err != nil || p.State != tideover.StateApproved || p.Request.Amount != d.Request.Amount || p.Request.Payload != nil || p.Request.Instrument != "" {
		t.Errorf("without its payload: %+v, %v", p, err)
	}
	if tx := s.accept(d); !tx.Replayed || tx.State != tideover.StateApproved {
		t.Errorf("pressed again: %+v", tx)
	}
	a, err := s.q.Check(t.Context())
	if err != nil || len(a.Flaws) > 0 || a.Sealed != 3 {
		t.Errorf("%+v, %v", a, err)
	}
	s.reopen()
	s.wantPayloads("open", "ended", "next")
}

// What a crash has kept from being erased is found again, and so is what an earlier version has left; many do not wait for others.
func TestErase_IsFoundAgain(t *testing.T) {
	s := newShop(t)
	s.close()
	s.open(Options{Retention: Retention{Payload: 1000 * time.Hour}})
	const many = eraseMany + 200
	for i := range many {
		s.sold(fmt.Sprint("k", i), uint64(i+1))
		for len(s.told) > 0 {
			<-s.told
		}
	}
	s.accept(draft("till", "open"))
	if n := len(s.payloads()); n != many+1 {
		t.Fatalf("%d payloads", n)
	}
	s.close()
	s.open(Options{Retention: Retention{Payload: 1000 * time.Hour}})
	s.accept(draft("till", "open 2"))
	s.flush()
	if n := len(s.payloads()); n != many+2 {
		t.Fatalf("%d payloads", n)
	}
	s.close()
	yesterday(t, s.path)
	s.open(Options{LazyMax: 10 * time.Millisecond})
	for n, until := many, time.Now().Add(time.Minute); n > 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
		n = len(s.payloads()) - 2
	}
	s.wantPayloads("open", "open 2")
}

// They stay for as long as they are to stay after the delivery, restarts or not; what is open again keeps its own.
func TestErase_InTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		s.close()
		o := Options{Retention: Retention{Payload: time.Hour}, LazyMax: time.Minute}
		s.open(o)
		s.sold("one", 1)
		back := s.sold("back", 2)
		s.flush()
		time.Sleep(30 * time.Minute)
		s.sold("two", 3)
		if _, err := s.q.Cancel(t.Context(), back.ID, complete, edge.By{}, 0); err != nil {
			t.Fatal(err)
		}
		s.wantPayloads("one", "back", "two")
		s.close()
		s.open(o)
		s.wantPayloads("one", "back", "two")
		time.Sleep(32 * time.Minute)
		s.wantPayloads("back", "two")
		time.Sleep(time.Hour)
		s.wantPayloads("back")
		if p, err := s.q.Parcel(back.ID); err != nil || string(p.Request.Payload) != `{"secret":"back"}` {
			t.Errorf("what is being undone: %+v, %v", p, err)
		}
		s.end(told(back.ID, 4, tideover.StateReversed))
		s.q.Delivered(back.ID, s.get(back.ID).Seq)
		s.flush()
		s.wantPayloads("back")
		time.Sleep(62 * time.Minute)
		s.wantPayloads()
	})
}

// The hub's record takes the place of a request, and of its sealed part.
func TestErase_WhatWasReplaced(t *testing.T) {
	s := newShop(t)
	d := draft("till", "k")
	s.accept(d)
	other := draft("till", "k", func(d *edge.Draft) { d.Request.Payload = []byte(`{"secret":"other"}`) })
	if err := s.q.Adopt(other); err != nil {
		t.Fatal(err)
	}
	s.flush()
	s.wantPayloads("k")
	if p, err := s.q.Parcel(d.ID); err != nil || string(p.Request.Payload) != `{"secret":"other"}` {
		t.Errorf("%+v, %v", p, err)
	}
	s.reopen()
	s.wantPayloads("k")
}

// Nothing vanishes under a look at the whole journal, and a copy that is made then is whole.
func TestErase_HoldsStillForACopy(t *testing.T) {
	s := newShop(t)
	release := s.q.still()
	s.sold("k", 1)
	s.accept(draft("till", "open"))
	s.wantPayloads("k", "open")
	release()
	s.accept(draft("till", "open 2"))
	s.wantPayloads("open", "open 2")
	for i := range 3 * scanStep / 4 {
		s.accept(draft("till", fmt.Sprint("many ", i)))
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := range 400 {
			d := draft("till", fmt.Sprint("many ", i))
			if err := s.q.End(approved(d.ID, uint64(i+2))); err != nil {
				t.Error(err)
			}
			s.q.Delivered(d.ID, 1<<60)
			if i%8 == 0 {
				if err := s.q.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for i, more := 0, true; more; i++ {
		select {
		case <-done:
			more = false
		default:
		}
		path := filepath.Join(t.TempDir(), fmt.Sprint("copy", i))
		if c, err := s.q.Backup(t.Context(), path); err != nil || len(c.Flaws) > 0 {
			t.Fatalf("%+v, %v", c, err)
		}
		check(t, path)
	}
}

// A sealed part that is not there is missed where it is needed, and only there.
func TestErase_ByAForger(t *testing.T) {
	for name, tc := range map[string]struct {
		words string
		what  func(f forgery) bool
	}{
		"of what is open":      {"is missing", func(f forgery) bool { return f.event.Accepted != nil && f.event.Accepted.Key == "open" }},
		"of what was told":     {"is missing", func(f forgery) bool { return f.event.Accepted != nil && f.event.Accepted.Key == "ended" }},
		"of what is delivered": {"", func(f forgery) bool { return f.event.Accepted != nil && f.event.Accepted.Key == "delivered" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			s.close()
			s.open(Options{Retention: Retention{Payload: time.Hour}})
			s.accept(draft("till", "open"))
			s.sold("delivered", 1)
			ended := draft("till", "ended")
			s.accept(ended)
			s.end(approved(ended.ID, 2))
			s.close()
			forge(t, s.path, func(l ledger, _ [32]byte) ledger {
				i := slices.IndexFunc(l, tc.what)
				if len(l[i].sealed) == 0 {
					t.Fatal("it was gone already")
				}
				l[i].sealed = nil
				return l
			})
			wantVerdict(t, s.path, tc.words)
			if q, err := Open(Options{Path: s.path, Key: testKey, Store: testStore}); (err == nil) != (tc.words == "") {
				t.Errorf("opened: %v", err)
			} else if err == nil {
				q.Close()
			}
		})
	}
}

// TestErase_DiesAnywhere: payloads go, or stay for the next process; what was answered is there.
func TestErase_DiesAnywhere(t *testing.T) {
	binary := mortal(t)
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := Create(path, testKey, Ident{Store: testStore}); err != nil {
		t.Fatal(err)
	}
	said := make(map[tideover.ID]string)
	for _, point := range []string{"erase.before", "erase.after", "erase.before:7", "erase.after:7"} {
		child := exec.Command(binary, "-test.run=^$")
		child.Env = append(os.Environ(), "TIDEOVER_QUEUE_CHILD="+path, "TIDEOVER_DIE=queue."+point)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			what, text, _ := strings.Cut(lines.Text(), " ")
			if id, err := tideover.ParseID(text); err == nil {
				said[id] = what
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == 2 {
			t.Fatalf("%s: the child ended by itself: %v", point, err)
		}
		check(t, path)
	}
	q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for id, what := range said {
		p, err := q.Parcel(id)
		if err != nil || what == "acknowledged" && !p.Acknowledged || !p.Final() && len(p.Request.Payload) == 0 {
			t.Fatalf("was %s, and is %+v, %v", what, p, err)
		}
	}
	if len(said) == 0 {
		t.Error("nothing was answered")
	}
}
