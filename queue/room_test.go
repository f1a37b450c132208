package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tideover"
)

const (
	brimMax  = 2 << 20 // its cap, in bytes
	brimRuns = 20
)

// brim is a queue that is filled to its cap, and emptied as retention does it: stretches of keys are deleted.
type brim struct {
	*shop
	said    *said
	n       int
	open    []tideover.ID
	readers []*bbolt.Tx
}

func newBrim(t *testing.T, sizeMax int64) *brim {
	b := &brim{shop: &shop{t: t, path: filepath.Join(t.TempDir(), "queue.db"), told: make(chan []Position, 1<<16)}, said: new(said)}
	if err := Create(b.path, testKey, Ident{Store: testStore}); err != nil {
		t.Fatal(err)
	}
	b.shop.open(Options{SizeMax: sizeMax, Log: slog.New(slog.NewTextHandler(b.said, nil))})
	return b
}

// said is what a log has said.
type said struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// end closes what is open; the journal's chain is not whole any more, and is not looked at.
func (b *brim) end() {
	for _, tx := range b.readers {
		tx.Rollback()
	}
	b.stop()
	if err := <-b.ran; err != nil {
		b.t.Errorf("run: %v", err)
	}
	if err := b.q.Close(); err != nil {
		b.t.Errorf("close: %v", err)
	}
}

// take accepts a sale with a payload of so many bytes, and says whether it found room.
func (b *brim) take(payload int) bool {
	b.n++
	d := draft("till", fmt.Sprint("k", b.n))
	d.Request.Payload = make([]byte, payload)
	_, err := b.q.Accept(context.Background(), d, yes)
	if err != nil {
		refused(b.t, err, tideover.CodeStorageFull)
		return false
	}
	b.open = append(b.open, d.ID)
	return true
}

// forget deletes a part of the journal, but for its newest entries, in one commit that may grow the file: it is no commit of the queue's.
func (b *brim) forget(t interface{ Fatal(...any) }, from, part int) {
	err := b.q.db.now.Load().Update(func(tx *bbolt.Tx) error {
		journal, parts := tx.Bucket(bucketJournal), tx.Bucket(bucketSealed)
		var keys [][]byte
		err := journal.ForEach(func(k, _ []byte) error { keys = append(keys, bytes.Clone(k)); return nil })
		if err != nil || len(keys) < 8 {
			return err
		}
		keys = keys[:len(keys)-4]
		keys = keys[len(keys)*from/100:]
		for _, k := range keys[:len(keys)*part/100] {
			if err := errors.Join(journal.Delete(k), parts.Delete(k)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(b.path)
	if err != nil {
		t.Fatal(err)
	}
	b.q.mu.Lock()
	b.q.size = info.Size()
	b.q.settled = time.Time{}
	b.q.mu.Unlock()
	if err := b.q.measure(); err != nil {
		t.Fatal(err)
	}
}

// TestRoom_NoCommitGrowsTheFile: whatever is written at the cap, the room for it was there before the commit, also where it lies between
// what is in use, and while somebody reads. A commit that lets the file grow is one that would have met a full disk.
func TestRoom_NoCommitGrowsTheFile(t *testing.T) {
	inside, runs := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; runs > brimRuns && os.Getenv("TIDEOVER_NIGHTLY") == "" {
			return // each is some hundred commits
		}
		b := newBrim(t, brimMax)
		defer b.end()
		for b.take(20_000) {
		}
		rt.Repeat(map[string]func(*rapid.T){
			"small": func(rt *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(rt, "n") {
					b.q.mu.Lock()
					beyond := b.q.room().beyond >= commitOverhead+reserve+b.q.owed()
					b.q.mu.Unlock()
					if b.take(10) && !beyond {
						inside++
					}
				}
			},
			"mixed": func(rt *rapid.T) {
				for _, n := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 3000), rapid.IntRange(3000, 64_000)), 1, 10).Draw(rt, "payloads") {
					b.take(n)
				}
			},
			"ends": func(rt *rapid.T) {
				// Every third, say: payloads are erased between others that stay.
				step := rapid.IntRange(1, 4).Draw(rt, "step")
				var stay []tideover.ID
				for i, id := range b.open {
					if i%step != 0 || i > 200 {
						stay = append(stay, id)
						continue
					}
					if err := b.q.End(told(id, 0, tideover.StateDeclined)); err != nil {
						rt.Fatal(err)
					}
					b.q.Delivered(id, math.MaxUint64)
				}
				b.open = stay
				for range 3 {
					b.q.Flush(context.Background())
				}
			},
			"forget": func(rt *rapid.T) {
				b.forget(rt, rapid.IntRange(0, 90).Draw(rt, "from"), rapid.IntRange(1, 100).Draw(rt, "part"))
			},
			"read": func(rt *rapid.T) {
				if len(b.readers) < 3 {
					tx, err := b.q.db.now.Load().Begin(false)
					if err != nil {
						rt.Fatal(err)
					}
					b.readers = append(b.readers, tx)
				}
			},
			"unread": func(*rapid.T) {
				if len(b.readers) > 0 {
					b.readers[0].Rollback()
					b.readers = b.readers[1:]
				}
			},
			"": func(rt *rapid.T) {
				if all := b.said.String(); strings.Contains(all, "grow") {
					rt.Fatal(all)
				}
				if st := b.q.Stats(); st.FileBytes > brimMax+64<<10 { // what forget needed
					rt.Fatalf("the file has %d bytes", st.FileBytes)
				}
			},
		})
	})
	if inside == 0 {
		t.Error("nothing was ever taken into pages that were free inside")
	}
	t.Logf("%d taken into pages that were free inside", inside)
}

// TestRoom_HolesAreFilled: a file that was copied with holes has a place on the disk for all of it before anything is written.
func TestRoom_HolesAreFilled(t *testing.T) {
	s := newShop(t)
	for i := range 100 {
		s.accept(draft("till", fmt.Sprint(i)))
	}
	s.close()
	before := entriesSum(s.path)
	sparse := s.path + ".sparse"
	image, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(sparse)
	if err == nil {
		err = f.Truncate(int64(len(image)))
	}
	for at := 0; at < len(image); at += pageSize {
		if page := image[at : at+pageSize]; err == nil && !isZero(page) {
			_, err = f.WriteAt(page, int64(at))
		}
	}
	if err = errors.Join(err, f.Close(), os.Rename(sparse, s.path)); err != nil {
		t.Fatal(err)
	}
	s.open(Options{})
	var st unix.Stat_t
	if err := unix.Stat(s.path, &st); err != nil || st.Blocks*512 < st.Size {
		t.Errorf("%d of %d bytes have a place on the disk: %v", st.Blocks*512, st.Size, err)
	}
	s.accept(draft("till", "after"))
	s.close()
	if entriesSum(s.path) == before {
		t.Error("nothing was written")
	}
}

// TestRoom_ManyAtOnceAreAllTaken: a batch asks for the room that its own acceptances will need for their ends, too. Hundreds of presses in one
// commit were told that the disk is full, and it was not.
func TestRoom_ManyAtOnceAreAllTaken(t *testing.T) {
	s := newShop(t)
	const presses = 1000
	refused := make(chan error, presses)
	for round := range 3 {
		var all sync.WaitGroup
		for i := range presses {
			all.Go(func() {
				if _, err := s.q.Accept(t.Context(), draft("till", fmt.Sprint(round, "-", i)), yes); err != nil {
					refused <- err
				}
			})
		}
		all.Wait()
	}
	if n := len(refused); n > 0 {
		t.Errorf("%d of %d presses were not taken: %v", n, 3*presses, <-refused)
	}
}

// TestRoom_GrowsForWhatNeedsPagesInARow: a file that is half empty inside, and has next to nothing beyond what is in use, grows for a request
// that no single page holds. It was refused with storage_full, on an empty disk; and a start on such a file, as a restore leaves it, had no
// room for its mark.
func TestRoom_GrowsForWhatNeedsPagesInARow(t *testing.T) {
	b := newBrim(t, 0)
	defer b.end()
	for range 60 {
		if !b.take(55_000) {
			t.Fatal("there is no room in a new file")
		}
	}
	b.forget(t, 0, 90)
	for range 3 { // what a commit has freed counts after another one
		b.take(10)
	}
	b.q.mu.Lock()
	if want := int64(commitOverhead + 2*reserve); b.q.freed < want {
		t.Errorf("only %d bytes are free inside, and %d should be", b.q.freed, want)
	}
	b.q.size = b.q.used + 2*pageSize // as far as the committer knows
	b.q.mu.Unlock()
	if !b.take(55_000) {
		t.Error("refused")
	}
}
