package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
)

// reader is a till that follows its transactions: it keeps what it was told last of each, and where it was.
type reader struct {
	t        *testing.T
	terminal string
	after    uint64
	knows    map[tideover.ID]tideover.Transaction
}

func newReader(t *testing.T, terminal string) *reader {
	return &reader{t: t, terminal: terminal, knows: map[tideover.ID]tideover.Transaction{}}
}

// connect follows from where the reader was.
func (r *reader) connect(q *Queue) *Feed {
	r.t.Helper()
	f, err := q.Follow(r.terminal, r.after)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

// read takes at most n changes that are due, and returns how many there were.
func (r *reader) read(f *Feed, n int) (read []Change) {
	r.t.Helper()
	for len(read) < n {
		c, ok, err := f.Next()
		if err != nil {
			r.t.Fatal(err)
		}
		if !ok {
			break
		}
		if c.TerminalUID != r.terminal {
			r.t.Fatalf("%s was told of %s's", r.terminal, c.TerminalUID)
		}
		r.after, r.knows[c.ID] = c.Through, c.Transaction
		read = append(read, c)
	}
	return read
}

// drain reads all that is due, as keys and states.
func (r *reader) drain(f *Feed) (told []string) {
	r.t.Helper()
	for _, c := range r.read(f, 1<<30) {
		told = append(told, c.Key+" "+c.State.String())
	}
	return told
}

func wantTold(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("told %q, want %q", got, want)
	}
}

func (s *shop) acknowledge(id tideover.ID) {
	s.t.Helper()
	if _, err := s.q.Acknowledge(s.t.Context(), id, s.get(id).Seq); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) move(id tideover.ID, cause tideover.Cause) {
	s.t.Helper()
	if err := s.q.Move(id, cause, edge.Note{}); err != nil {
		s.t.Fatal(err)
	}
}

func TestFeed_EndsNotAcknowledgedFirst(t *testing.T) {
	s := newShop(t)
	open, done, paid, late := draft("a", "open"), draft("a", "done"), draft("a", "paid"), draft("a", "late")
	for _, d := range []edge.Draft{open, done, paid, late, draft("b", "another")} {
		s.accept(d)
	}
	for i, d := range []edge.Draft{done, late, paid} {
		s.end(approved(d.ID, uint64(i+1)))
	}
	s.acknowledge(done.ID)
	r := newReader(t, "a")
	f := r.connect(s.q)
	first := r.read(f, 2)
	if r.after != 0 {
		t.Fatal("the ends of long ago say that everything before them was told")
	}
	wantTold(t, []string{first[0].Key, first[1].Key}, "late", "paid")
	wantTold(t, r.drain(f), "open queued")
	wantTold(t, r.drain(f))
	select {
	case <-f.Due():
	default:
		t.Fatal("nothing was said to be due")
	}
	s.accept(draft("b", "more"))
	select {
	case <-f.Due():
		t.Fatal("another terminal's was said to be due")
	default:
	}
	s.move(open.ID, tideover.CauseSent)
	s.move(open.ID, tideover.ToldPending)
	s.accept(draft("a", "new"))
	<-f.Due()
	wantTold(t, r.drain(f), "open pending", "new queued")
	f.Close()
	if len(s.q.feeds) != 0 {
		t.Fatal("a closed feed is still told")
	}
}

// What was acknowledged or ended while nobody listened is told to who says where he was, also by the next process.
func TestFeed_GoesOnWhereItWas(t *testing.T) {
	for name, again := range map[string]func(*shop){
		"connected again": func(*shop) {}, "restarted": (*shop).reopen, "killed": func(s *shop) { s.flush(); s.crash() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			old, gone, open := draft("a", "old"), draft("a", "gone"), draft("a", "open")
			for i, d := range []edge.Draft{old, gone, open} {
				s.accept(d)
				if d.ID != open.ID {
					s.end(approved(d.ID, uint64(i+1)))
				}
			}
			s.acknowledge(old.ID)
			r := newReader(t, "a")
			f := r.connect(s.q)
			wantTold(t, r.drain(f), "gone approved", "open queued")
			f.Close()
			wantTold(t, r.drain(r.connect(s.q)), "gone approved") // until it is acknowledged
			s.acknowledge(gone.ID)
			paid := draft("a", "paid")
			s.accept(paid)
			s.end(approved(paid.ID, 3))
			again(s)
			f = r.connect(s.q)
			defer f.Close()
			want := []string{"paid approved", "gone approved"}
			if name != "connected again" {
				want = append(want, "open in_doubt")
			}
			wantTold(t, r.drain(f), want...)
			if !r.knows[gone.ID].Acknowledged {
				t.Fatal("told without its acknowledgement")
			}
			wantTold(t, r.drain(f))
		})
	}
}

func TestFeed_UnknownPlacesReplayWhatIsUnacknowledged(t *testing.T) {
	s := newShop(t)
	done, paid := draft("a", "done"), draft("a", "paid")
	for i, d := range []edge.Draft{done, paid} {
		s.accept(d)
		s.end(approved(d.ID, uint64(i+1)))
	}
	s.acknowledge(done.ID)
	s.accept(draft("a", "open"))
	for range replayMax { // as if so much had happened meanwhile
		s.q.mu.Lock()
		s.q.enqueue(entry{seq: s.q.draw(), event: &edge.Event{Type: edge.EventMark, At: now()}, lazy: true}, false)
		s.q.mu.Unlock()
	}
	s.flush()
	restored := s.q.seq
	if err := s.q.NoteGap(t.Context(), restored+1000); err != nil { // the copy that was lost has told of a thousand changes more
		t.Fatal(err)
	}
	s.flush()
	s.reopen()
	for name, after := range map[string]uint64{"before it was restored": restored, "in what was lost": restored + 1000, "none": 0, "never said": s.q.seq + 1, "the highest": 1<<64 - 1, "too long ago": 1} {
		r := newReader(t, "a")
		r.after = after
		f := r.connect(s.q)
		if r.read(f, 1); r.after != 0 {
			t.Errorf("%s: it goes on at %d", name, r.after)
		}
		wantTold(t, r.drain(f), "open in_doubt")
		f.Close()
	}
}

// A change that is being committed has a lower Seq than one in memory that overtakes it: who is told of the latter alone is not past the
// former.
func TestFeed_IsNotPastWhatIsBeingCommitted(t *testing.T) {
	s := newShop(t)
	quick := draft("a", "quick")
	s.accept(quick)
	r := newReader(t, "a")
	f := r.connect(s.q)
	r.drain(f)
	slow := draft("a", "slow")
	accepted := make(chan error, 1)
	preparing, prepared := make(chan struct{}), make(chan struct{})
	go func() {
		_, err := s.q.Accept(t.Context(), slow, func(View) error {
			close(preparing)
			<-prepared
			return nil
		})
		accepted <- err
	}()
	<-preparing
	// The committer holds the mutex now: the next one to get it comes between its drawing and its landing, or after the landing.
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		s.move(quick.ID, tideover.CauseSent)
		r.read(f, 1)
	}()
	time.Sleep(10 * time.Millisecond)
	close(prepared)
	<-moved
	f.Close() // the connection breaks
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	f = r.connect(s.q)
	defer f.Close()
	r.drain(f)
	if _, told := r.knows[slow.ID]; !told {
		t.Fatal("what was being committed is never told")
	}
}

// Readers that come and go, at any instant and over restarts, know in the end what the queue knows.
func TestFeed_LosesNothing(t *testing.T) {
	s := newShop(t)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case <-s.told:
			case <-ended:
				return
			}
		}
	}()
	const epochs, each = 4, 25
	tills := []string{"a", "b", "c"}
	readers := map[string]*reader{}
	for _, till := range tills {
		readers[till] = newReader(t, till)
		s.accept(draft(till, "first"))
		f := readers[till].connect(s.q)
		wantTold(t, readers[till].drain(f), "first queued") // from here on it has a place
		f.Close()
	}
	var hubSeq uint64
	var mu sync.Mutex
	next := func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		hubSeq++
		return hubSeq
	}
	for epoch := range epochs {
		var writing, reading sync.WaitGroup
		over := make(chan struct{})
		for _, till := range tills {
			for w := range 3 {
				writing.Go(func() {
					for i := range each {
						s.live(draft(till, fmt.Sprintf("%d-%d-%d", epoch, w, i)), next)
					}
				})
			}
			reading.Go(func() { readers[till].comeAndGo(s.q, over) })
		}
		writing.Wait()
		close(over)
		reading.Wait()
		if epoch%2 == 1 {
			s.reopen()
		}
	}
	for till, r := range readers {
		f := r.connect(s.q)
		r.drain(f)
		f.Close()
		list, _, err := s.q.List(Filter{Terminal: till})
		if err != nil || len(list) != epochs*3*each+1 {
			t.Fatalf("%d, %v", len(list), err)
		}
		for _, tx := range list {
			knows := r.knows[tx.ID]
			if knows.State != tx.State || knows.Acknowledged != tx.Acknowledged {
				t.Errorf("%s of %s is %s (acknowledged: %t), and was told as %q (%t)", tx.Key, till, tx.State, tx.Acknowledged, knows.State, knows.Acknowledged)
			}
		}
	}
}

// live lets a transaction happen, as far as chance will have it.
func (s *shop) live(d edge.Draft, hubSeq func() uint64) {
	if _, err := s.q.Accept(s.t.Context(), d, yes); err != nil {
		s.t.Error(err)
		return
	}
	step := func(err error) bool {
		if err != nil {
			s.t.Error(err)
		}
		return err == nil && rand.IntN(8) != 0
	}
	if rand.IntN(4) == 0 {
		if !step(s.q.EndHere(s.t.Context(), d.ID, tideover.CauseCancelled, tideover.Outcome{})) {
			return
		}
	} else if !step(s.q.Move(d.ID, tideover.CauseSent, edge.Note{})) || !step(s.q.Move(d.ID, tideover.ToldPending, edge.Note{})) ||
		!step(s.q.End(approved(d.ID, hubSeq()))) {
		return
	}
	tx, err := s.q.Get(d.ID)
	if !step(err) {
		return
	}
	s.q.Delivered(d.ID, tx.Seq)
	_, err = s.q.Acknowledge(s.t.Context(), d.ID, tx.Seq)
	step(err)
}

// comeAndGo reads a few changes of each connection.
func (r *reader) comeAndGo(q *Queue, over chan struct{}) {
	for {
		f := r.connect(q)
		for range rand.IntN(20) {
			r.read(f, 1+rand.IntN(4))
			select {
			case <-f.Due():
			case <-time.After(time.Millisecond):
			case <-over:
				f.Close()
				return
			}
		}
		f.Close()
	}
}

// Who does not read holds an id for each of his transactions, however often they change.
func TestFeed_ASlowReaderHoldsIDsAlone(t *testing.T) {
	s := newShop(t)
	ids := []tideover.ID{s.accept(draft("a", "1")).ID, s.accept(draft("a", "2")).ID}
	r := newReader(t, "a")
	f := r.connect(s.q)
	defer f.Close()
	r.drain(f)
	for i := range 5000 {
		s.move(ids[i%2], tideover.CauseSent)
	}
	if len(f.dirty) != 2 || len(f.round) != 0 {
		t.Fatalf("%d and %d are held", len(f.dirty), len(f.round))
	}
	wantTold(t, r.drain(f), "1 sent", "2 sent")
	s.move(ids[0], tideover.CauseSent)
	s.move(ids[1], tideover.CauseSent)
	r.read(f, 1)
	s.move(ids[1], tideover.CauseSent) // it has its turn yet
	wantTold(t, r.drain(f), "2 sent")
	if r.knows[ids[1]].Attempts != 2502 {
		t.Fatalf("told %+v", r.knows[ids[1]])
	}
}

func TestFeed_EndsWithTheQueue(t *testing.T) {
	s := newShop(t)
	f, err := s.q.Follow("a", 0)
	if err != nil {
		t.Fatal(err)
	}
	q := s.q
	s.close()
	if _, _, err := f.Next(); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	f.Close()
	for _, after := range []uint64{0, 1} {
		if _, err := q.Follow("a", after); !errors.Is(err, ErrStopped) || len(q.feeds) != 0 {
			t.Errorf("got %v", err)
		}
	}
}
