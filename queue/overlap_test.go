package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
)

// slow is a queue whose commits are made by the test, so that it sees what is to be seen in between.
type slow struct {
	*shop
	running sync.WaitGroup
	over    bool // what Overlap says
}

func newSlow(t *testing.T) *slow {
	t.Helper()
	s := &slow{shop: newShop(t), over: true}
	s.shop.close()
	s.start()
	t.Cleanup(s.end) // before the shop's own
	return s
}

// start opens the journal without a committer.
func (s *slow) start() {
	s.t.Helper()
	q, err := Open(Options{Path: s.path, Key: testKey, Store: testStore, LazyMax: time.Hour, Overlap: func() bool { return s.over }})
	if err != nil {
		s.t.Fatal(err)
	}
	s.q = q
}

// end closes it.
func (s *slow) end() {
	if s.q != nil {
		_ = s.q.Close()
		s.q.end()
		s.running.Wait()
		s.q = nil
	}
}

// kill ends it as a crash would: nothing is written any more.
func (s *slow) kill() {
	s.t.Helper()
	s.q.fail()
	s.end()
	s.start()
}

func (s *slow) turn() {
	s.t.Helper()
	if err := s.q.turn(false); err != nil {
		s.t.Fatal(err)
	}
}

// early lets sales leave early from here on.
func (s *slow) early() {
	s.q.Early(true)
	s.turn()
}

// call makes a call that waits for a commit.
func (s *slow) call(do func() error) chan error {
	s.t.Helper()
	said := make(chan error, 1)
	s.q.mu.Lock()
	before := len(s.q.requests)
	s.q.mu.Unlock()
	s.running.Go(func() { said <- do() })
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.q.mu.Lock()
		waits := len(s.q.requests) > before
		s.q.mu.Unlock()
		if waits {
			return said
		}
	}
	s.t.Fatal("it does not wait for a commit")
	return nil
}

func (s *slow) accepting(d edge.Draft, into *tideover.Transaction) chan error {
	s.t.Helper()
	return s.call(func() (err error) {
		*into, err = s.q.Accept(context.Background(), d, yes)
		return err
	})
}

// begin goes as far as to the commit of what waits, and returns what finishes it.
func (s *slow) begin() (finish func()) {
	s.t.Helper()
	b, again, err := s.q.collect(false)
	if err != nil {
		s.t.Fatal(err)
	}
	s.q.launch(b)
	return func() {
		s.t.Helper()
		if err := s.q.write(b); err != nil {
			s.t.Fatal(err)
		}
		s.q.land(b, again)
	}
}

// next is what is handed out at once; false where nothing is.
func (s *slow) next() (Parcel, bool) {
	s.t.Helper()
	r, _, err := s.q.handOut()
	if err != nil {
		s.t.Fatal(err)
	}
	if r == nil {
		return Parcel{}, false
	}
	p, err := s.q.parcel(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return p, true
}

func quiet(t *testing.T, said chan error, who string) {
	t.Helper()
	select {
	case err := <-said:
		t.Fatalf("%s is answered before the commit: %v", who, err)
	case <-time.After(10 * time.Millisecond):
	}
}

func answered(t *testing.T, said chan error, who string) {
	t.Helper()
	select {
	case err := <-said:
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s is not answered", who)
	}
}

// A sale leaves while its acceptance is committed: whoever carries it sees it, and nobody else does before it is on disk.
func TestOverlap_LeavesBeforeItsCommit(t *testing.T) {
	s := newSlow(t)
	s.early()
	d := draft("till", "k")
	var tx, twice tideover.Transaction
	accepted := s.accepting(d, &tx)
	finish := s.begin()
	p, ok := s.next()
	if !ok || p.ID != d.ID || string(p.Request.Payload) != string(d.Request.Payload) || p.Request.Instrument != d.Request.Instrument || !p.NeverSent() {
		t.Fatalf("handed out: %+v, %v", p, ok)
	}
	if err := s.q.Move(d.ID, tideover.CauseSent, edge.Note{Uplink: "lo"}); err != nil {
		t.Fatal(err)
	}
	s.q.Back(d.ID, 0) // the link was lost: it leaves once more
	if p, ok = s.next(); !ok || p.State != tideover.StateSent || p.NeverSent() || p.Attempts != 1 {
		t.Fatalf("given back, and handed out again: %+v, %v", p, ok)
	}
	if err := s.q.Move(d.ID, tideover.CauseSent, edge.Note{Uplink: "lo"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.q.Get(d.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("it can be asked for before it is on disk: %v", err)
	}
	if s.q.Changed(d.ID, 0) != nil {
		t.Error("it can be waited for before it is on disk")
	}
	if list, _, err := s.q.List(Filter{}); err != nil || len(list) > 0 || s.q.Pending() > 0 || s.q.Stats().ByState[tideover.StateSent] > 0 {
		t.Errorf("it is listed before it is on disk: %v, %v", list, err)
	}
	again := s.accepting(d, &twice)
	cancelled := s.call(func() error { _, err := s.q.Cancel(context.Background(), d.ID, complete, edge.By{}, 5); return err })
	ended, told := make(chan error, 1), make(chan error, 1)
	s.running.Go(func() { told <- s.q.Move(d.ID, tideover.ToldPending, edge.Note{}); ended <- s.q.End(approved(d.ID, 1)) })
	landed := make(chan error, 1) // the signature of its end is checked against what it is
	s.running.Go(func() { _, err := s.q.Landed(d.ID); landed <- err })
	for who, said := range map[string]chan error{
		"the accept": accepted, "its repetition": again, "the cancel": cancelled, "the hub's word": told, "the look": landed,
	} {
		quiet(t, said, who)
	}
	finish()
	answered(t, accepted, "the accept")
	answered(t, told, "the hub's word")
	answered(t, landed, "the look")
	answered(t, ended, "the hub's end")
	if tx.State != tideover.StateSent || tx.Attempts != 2 || tx.Uplink != "lo" || tx.Replayed {
		t.Errorf("answered: %+v", tx)
	}
	got := s.get(d.ID)
	if got.State != tideover.StateApproved || got.Attempts != 2 || got.Seq <= tx.Seq {
		t.Errorf("it is %+v, after %+v", got, tx)
	}
	s.turn()
	answered(t, again, "the repetition")
	answered(t, cancelled, "the cancel")
	if !twice.Replayed || twice.ID != tx.ID {
		t.Errorf("the repetition: %+v", twice)
	}
	if got := s.get(d.ID); got.State != tideover.StateReversing {
		t.Errorf("after its cancel it is %s: it may have left, and is undone by the hub", got.State)
	}
}

// What was handed out and did not leave is carried after its commit like any other, and can still be ended here.
func TestOverlap_HandedOutAndNotSent(t *testing.T) {
	for name, rest := range map[string]time.Duration{"at once": 0, "after a rest": time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := newSlow(t)
			s.early()
			d := draft("till", "k")
			var tx tideover.Transaction
			accepted := s.accepting(d, &tx)
			finish := s.begin()
			if _, ok := s.next(); !ok {
				t.Fatal("it is not handed out")
			}
			s.q.Back(d.ID, rest)
			finish()
			answered(t, accepted, "the accept")
			if tx.State != tideover.StateQueued || s.q.Pending() != 1 {
				t.Errorf("answered: %+v, %d pending", tx, s.q.Pending())
			}
			if _, ok := s.next(); ok != (rest == 0) {
				t.Errorf("handed out again: %v", ok)
			}
			s.q.Wake()
			s.q.Back(d.ID, 0)
			if p, ok := s.next(); !ok || string(p.Request.Payload) != string(d.Request.Payload) {
				t.Errorf("after its rest: %+v, %v", p, ok)
			}
			ended := s.call(func() error {
				return s.q.EndHere(context.Background(), d.ID, tideover.CauseExpired, tideover.Outcome{})
			})
			s.turn()
			answered(t, ended, "its end")
		})
	}
}

// What may not leave early does not.
func TestOverlap_NotEverythingLeaves(t *testing.T) {
	sale := draft("till", "sale")
	for name, c := range map[string]struct {
		prepare func(*slow)
		d       edge.Draft
		leaves  bool
	}{
		"a sale":                         {func(s *slow) { s.early() }, sale, true},
		"a refund":                       {func(s *slow) { s.early() }, draft("till", "r", undoing(tideover.KindRefund, sale.ID)), false},
		"a reversal":                     {func(s *slow) { s.early() }, draft("till", "r", undoing(tideover.KindReversal, sale.ID)), false},
		"an advice":                      {func(s *slow) { s.early() }, draft("till", "a", func(d *edge.Draft) { d.Request.Kind = tideover.KindAdvice }), false},
		"nobody has said that sales may": {func(*slow) {}, sale, false},
		"that they may is not on disk":   {func(s *slow) { s.q.Early(true) }, sale, false},
		"they may no more, and that is not on disk": {func(s *slow) { s.early(); s.q.Early(false) }, sale, false},
		"they must not now":                         {func(s *slow) { s.early(); s.over = false }, sale, false},
		"an earlier process may have left some":     {func(s *slow) { s.early(); s.kill() }, sale, false},
		"which were told since":                     {func(s *slow) { s.early(); s.kill(); s.q.Early(true) }, sale, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSlow(t)
			c.prepare(s)
			var tx tideover.Transaction
			accepted := s.accepting(c.d, &tx)
			finish := s.begin()
			if p, ok := s.next(); ok != c.leaves {
				t.Errorf("handed out: %v %+v", ok, p)
			}
			finish()
			answered(t, accepted, "the accept")
			if p, ok := s.next(); ok == c.leaves {
				t.Errorf("after the commit: %v %+v", ok, p)
			}
		})
	}
}

// A commit that fails after a byte has left: nobody is answered, and what comes home of it finds nothing here.
func TestOverlap_AFailedCommitAnswersNobody(t *testing.T) {
	s := newSlow(t)
	s.early()
	d := draft("till", "k")
	var tx tideover.Transaction
	accepted := s.accepting(d, &tx)
	b, _, err := s.q.collect(false)
	if err != nil {
		t.Fatal(err)
	}
	s.q.launch(b)
	if _, ok := s.next(); !ok {
		t.Fatal("it is not handed out")
	}
	if err := s.q.Move(d.ID, tideover.CauseSent, edge.Note{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	s.running.Go(func() { ended <- s.q.End(approved(d.ID, 1)) })
	quiet(t, ended, "the end")
	s.q.file.Close() // the disk is gone
	if s.q.write(b) == nil {
		t.Fatal("a commit without a disk is well")
	}
	s.q.fail()
	s.q.end()
	for who, said := range map[string]chan error{"the accept": accepted, "the end": ended} {
		if err := <-said; !errors.Is(err, ErrStopped) {
			t.Errorf("%s: %v", who, err)
		}
	}
	if err := s.q.Move(d.ID, tideover.CauseSent, edge.Note{}); !errors.Is(err, ErrStopped) {
		t.Errorf("it leaves once more: %v", err)
	}
	_ = s.q.Close()
	s.q = nil
	s.running.Wait()
	s.start()
	if !s.q.Orphans() {
		t.Error("the next process does not know that there may be an orphan")
	}
	if _, err := s.q.Get(d.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("it is there: %v", err)
	}
	told := approved(d.ID, 1)
	told.Adopt = &d
	if err := s.q.End(told); err != nil {
		t.Fatal(err)
	}
	if got := s.get(d.ID); got.State != tideover.StateApproved || got.Delivered || got.Acknowledged {
		t.Errorf("the orphan came home as %+v", got)
	}
}

// A journal says whether a process that ends may leave orphans: from before the first sale leaves early until a process ends well, or until a
// later one was told of them.
func TestOverlap_TheJournalKnowsOfOrphans(t *testing.T) {
	s := newShop(t)
	orphans := func(when string, want bool) {
		t.Helper()
		if s.q.Orphans() != want {
			t.Fatalf("%s: orphans %v", when, !want)
		}
	}
	orphans("a new journal", false)
	s.crash()
	orphans("a crash without overlap", false)
	s.q.Early(true)
	s.crash()
	orphans("a crash before that was on disk", false)
	s.q.Early(true)
	s.flush()
	orphans("this process knows what it has sent", false)
	s.reopen()
	orphans("a process that ended well", false)
	s.q.Early(true)
	s.flush()
	s.q.CaughtUp(7) // what else is noted beside it takes it along
	s.flush()
	s.crash()
	orphans("a crash", true)
	s.reopen()
	orphans("another end, and nobody was told", true)
	s.q.CaughtUp(9)
	s.flush()
	s.crash()
	orphans("another crash", true)
	s.q.Early(true)
	orphans("told", false)
	s.reopen()
	orphans("told, and ended well", false)
	s.q.Early(true)
	s.flush()
	s.q.Early(false)
	s.flush()
	s.crash()
	orphans("overlap was switched off", false)
}

// Beside tills and a forwarder that carry on, every sale comes to its end once, and its Seq grows with what its till hears.
func TestOverlap_BesideTills(t *testing.T) {
	s := newShop(t)
	s.close()
	s.open(Options{Overlap: func() bool { return true }})
	s.q.Early(true)
	s.flush()
	const tills, each = 8, 40
	var early, hubSeq int
	ctx, stop := context.WithCancel(t.Context())
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			p, err := s.q.Next(ctx)
			if err != nil {
				return
			}
			if _, err := s.q.Get(p.ID); errors.Is(err, ErrUnknown) {
				early++
			}
			if err := s.q.Move(p.ID, tideover.CauseSent, edge.Note{Uplink: "lo"}); err != nil {
				t.Errorf("%s does not leave: %v", p.ID, err)
			}
			hubSeq++
			if err := s.q.End(approved(p.ID, uint64(hubSeq))); err != nil {
				t.Errorf("%s does not end: %v", p.ID, err)
			}
			s.q.Back(p.ID, 0)
		}
	})
	var selling sync.WaitGroup
	for till := range tills {
		selling.Go(func() {
			for i := range each {
				tx, err := s.q.Accept(t.Context(), draft(fmt.Sprint("till", till), fmt.Sprint(i)), yes)
				if err != nil {
					t.Error(err)
					return
				}
				for !tx.Final() {
					<-s.q.Changed(tx.ID, tx.Seq)
					now, err := s.q.Get(tx.ID)
					if err != nil || now.Seq <= tx.Seq && now.State != tx.State {
						t.Errorf("%+v after %+v, %v", now, tx, err)
						return
					}
					tx = now
				}
			}
		})
	}
	selling.Wait()
	stop()
	carrying.Wait()
	if n := s.q.Pending(); n != 0 {
		t.Errorf("%d have no end", n)
	}
	if early == 0 {
		t.Error("none left before its commit")
	}
	t.Logf("%d of %d left before their commit", early, tills*each)
}

// A till that repeats the press of an orphan is answered when its record is on the disk, and not when the hub has told it.
func TestOverlap_AnOrphanIsOnDiskBeforeItsTillIsAnswered(t *testing.T) {
	s := newSlow(t)
	d := draft("till", "k")
	told := approved(d.ID, 1)
	told.Adopt = &d
	if err := s.q.End(told); err != nil {
		t.Fatal(err)
	}
	var tx tideover.Transaction
	again := s.accepting(d, &tx)
	quiet(t, again, "the repetition")
	s.turn()
	answered(t, again, "the repetition")
	if !tx.Replayed || tx.State != tideover.StateApproved {
		t.Errorf("answered: %+v", tx)
	}
	s.kill()
	if got := s.get(d.ID); got.State != tideover.StateApproved {
		t.Errorf("after a crash it is %+v", got)
	}
}
