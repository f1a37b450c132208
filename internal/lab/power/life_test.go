package power

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/internal/lab/disk"
	"tideover/queue"
)

const (
	childEnv = "TIDEOVER_POWER_CHILD"
	store    = "shop-1"
	// exitLost is how a child ends that misses something; exitStopped how one does whose queue has stopped, as it must after an error.
	exitLost, exitStopped, exitBroken = 3, 4, 2
)

// keyOf returns one of the journal's keys; the first one is 0.
func keyOf(n int) [32]byte { return [32]byte{1, 2, 3, byte(n), byte(n >> 8)} }

// nameOf returns what it is called.
func nameOf(n int) [32]byte {
	name, err := queue.KeyName(keyOf(n))
	if err != nil {
		panic(err)
	}
	return name
}

// keys returns the keys that were on disk by then: that disk does not fail.
func (s *said) keys() (k queue.Keys) {
	for n := s.Key; n >= 0; n-- {
		if n >= s.Destroyed {
			k.All = append(k.All, keyOf(n))
		} else {
			k.Destroyed = append(k.Destroyed, nameOf(n))
		}
	}
	return k
}

func TestMain(m *testing.M) {
	disk.Private()
	if told := os.Getenv(childEnv); told != "" {
		var l life
		if err := json.Unmarshal([]byte(told), &l.order); err != nil {
			l.broken(err)
		}
		l.run()
	}
	os.Exit(m.Run())
}

// order is what a child is told.
type order struct {
	Path    string // of the journal, on the disk that fails
	Known   string // the file, on another disk, that has what was said in earlier lives
	Seed    uint64
	Tills   int  // that press at once
	Backup  bool // a technician makes backups
	Compact bool // and compacts the file
	Prune   bool // what is over leaves the journal at once
	Script  bool // the same steps each time, one after the other
	Look    bool // only look whether everything is there
	Deed    deed // only do something to the whole file
}

// life is a child's.
type life struct {
	order
	q       *queue.Queue
	known   said
	telling sync.Mutex // for stdout
	ran     chan error // Run's result

	mu      sync.Mutex // guards what the hub has
	hub     uint64     // the last position of its outbox
	decided map[tideover.ID]uint64
}

// said is what the queue has promised, by its answers. The parent adds to it, line by line.
type said struct {
	Created   bool
	Of        map[string]*promise // by the transaction's id
	Head      queue.Anchor        // the newest that was committed
	Through   uint64              // of the hub's outbox
	Hub       uint64              // the newest position that the hub has given out
	Backups   []string
	Terminal  string
	Key       int // the newest one on disk
	Destroyed int // keys before that one are

	Pruned                          bool // in some life
	Lines, Compacted, Orphans, Gone int
}

// promise is what was said of one transaction.
type promise struct {
	Key      string `json:",omitempty"`
	Accepted bool   `json:",omitempty"`
	Seq      uint64 `json:",omitempty"` // the highest that its till saw
	HubSeq   uint64 `json:",omitempty"` // the hub decided, and told it or did not
	Durable  bool   `json:",omitempty"` // the hub was told that its end is on disk
	Sent     bool   `json:",omitempty"` // it has left, on its way to the disk or after
	Asks     bool   `json:",omitempty"` // its till asks for a cancel, and may be answered or not
	Acks     bool   `json:",omitempty"` // its till acknowledges, and may be answered or not
	Undo     bool   `json:",omitempty"` // its cancel was asked for, and synced
	Ended    string `json:",omitempty"` // an end of the edge's own, which was synced
	Acked    bool   `json:",omitempty"`
}

// hear takes a line that a child has said. The last line of a child may be half of one.
func (s *said) hear(line string) {
	f := strings.Fields(line)
	if len(f) < 2 || f[len(f)-1] != "." {
		return
	}
	s.Lines++
	number := func(i int) uint64 { n, _ := strconv.ParseUint(f[i], 10, 64); return n }
	of := func() *promise {
		if s.Of[f[1]] == nil {
			s.Of[f[1]] = &promise{}
		}
		return s.Of[f[1]]
	}
	saw := func(seq uint64) { p := of(); p.Seq = max(p.Seq, seq) }
	switch f[0] {
	case "created":
		s.Created = true
	case "accepted":
		of().Accepted = true
		of().Key = f[2]
		saw(number(3))
	case "saw":
		saw(number(2))
	case "hub":
		of().HubSeq, s.Hub = number(2), max(s.Hub, number(2))
		of().Key = f[3]
	case "sent":
		of().Sent = true
		of().Key = f[2]
	case "acks":
		of().Acks = true
	case "asks":
		of().Asks = true
	case "undo":
		of().Undo = true
		saw(number(2))
	case "durable":
		of().Durable = true
	case "ended":
		of().Ended = f[2]
		saw(number(3))
	case "acknowledged":
		of().Acked = true
		saw(number(2))
	case "through":
		s.Through = number(1)
	case "head":
		s.Head.Seq = number(1)
		hash, _ := hex.DecodeString(f[2])
		copy(s.Head.Hash[:], hash)
	case "key":
		s.Key = int(number(1))
	case "destroyed":
		s.Destroyed = int(number(1))
	case "pruned":
		delete(s.Of, f[1]) // nothing is promised of it any more
		s.Gone++
	case "orphan":
		s.Orphans++
	case "compacted":
		s.Compacted++
	case "backup":
		s.Backups = append(s.Backups, f[1])
	case "terminal":
		s.Terminal = f[1]
	}
}

// answered returns how many transactions a till was answered.
func (s *said) answered() (n int) {
	for _, p := range s.Of {
		if p.Accepted {
			n++
		}
	}
	return n
}

func (l *life) say(what string, words ...any) {
	l.telling.Lock()
	defer l.telling.Unlock()
	os.Stdout.WriteString(what + " " + strings.TrimSuffix(fmt.Sprintln(append(words, ".")...), "\n") + "\n")
}

func (l *life) broken(err error) {
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(exitBroken)
}

func (l *life) lost(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "lost: "+format+"\n", a...)
	os.Exit(exitLost)
}

// stopped ends the child after an error: nothing may have been answered by a queue that has failed, and nothing is from then on.
func (l *life) stopped(err error) {
	if l.ran != nil {
		select {
		case run := <-l.ran:
			if _, ok := errors.AsType[*queue.CommitError](run); !ok {
				l.broken(fmt.Errorf("a call failed: %w; and the queue: %v", err, run))
			}
		case <-time.After(10 * time.Second):
			l.broken(fmt.Errorf("a call failed, and the queue goes on: %w", err))
		}
		if _, late := l.q.Accept(context.Background(), draft("late", "late", 1), yes); !errors.Is(late, queue.ErrStopped) {
			l.broken(fmt.Errorf("an accept after a failed commit was answered: %v", late))
		}
	}
	fmt.Fprintln(os.Stderr, "stopped:", err)
	os.Exit(exitStopped)
}

func (l *life) run() {
	text, err := os.ReadFile(l.Known)
	if err == nil {
		err = json.Unmarshal(text, &l.known)
	}
	if err != nil {
		l.broken(err)
	}
	if l.Deed != "" {
		l.do()
	}
	l.open()
	l.compare()
	if l.Look {
		os.Exit(0)
	}
	l.ran = make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { l.ran <- l.q.Run(ctx) }()
	l.repeat()
	if l.Script {
		l.script()
		stop()
		l.leave()
	} else {
		l.sell()
	}
}

// open creates the journal where none was promised, and opens it once a check has found nothing.
func (l *life) open() {
	_, err := os.Lstat(l.Path)
	if errors.Is(err, fs.ErrNotExist) && !l.known.Created && !l.Look {
		if err := queue.Create(l.Path, l.known.keys(), queue.Ident{Store: store}); err != nil {
			l.stopped(err)
		}
		l.say("created", "journal")
	} else if errors.Is(err, fs.ErrNotExist) && !l.known.Created {
		os.Exit(0) // nothing was promised
	}
	for _, name := range l.known.Backups {
		l.check(filepath.Join(filepath.Dir(l.Path), name))
	}
	var anchors []queue.Anchor
	if l.known.Head.Seq != 0 {
		anchors = append(anchors, l.known.Head)
	}
	l.check(l.Path, anchors...)
	lazy := 3 * time.Millisecond
	if l.Script {
		lazy = time.Hour // so that the steps alone decide what is written when
	}
	l.q, err = queue.Open(queue.Options{
		Path: l.Path, Key: l.known.keys(), Store: store, LazyMax: lazy, Retention: l.retention(), Overlap: func() bool { return true }, Durable: func(all []queue.Position) {
			for _, p := range all {
				l.say("durable", p.ID, p.HubSeq)
			}
		},
	})
	if err != nil && l.known.Created && l.Look {
		l.lost("open: %v", err)
	} else if err != nil {
		l.stopped(err)
	}
}

// retention lets what is over leave the journal soon, or stay for ever.
func (l *life) retention() (r queue.Retention) {
	if l.Prune {
		r.Final = time.Millisecond
	}
	return r
}

// check holds that a whole file is without a flaw.
func (l *life) check(path string, anchors ...queue.Anchor) {
	c, err := queue.CheckFile(path, l.known.keys(), store, anchors...)
	if err != nil {
		l.lost("check %s: %v", filepath.Base(path), err)
	}
	for _, f := range c.Flaws {
		l.lost("check %s: %s", filepath.Base(path), f.What.En)
	}
}

// compare holds the journal against everything that was said.
func (l *life) compare() {
	for text, p := range l.known.Of {
		id, err := tideover.ParseID(text)
		if err != nil {
			l.broken(err)
		}
		tx, err := l.q.Get(id)
		undone := tx.State == tideover.StateReversing || tx.State == tideover.StateCancelled
		switch {
		case errors.Is(err, queue.ErrUnknown) && !p.Accepted && !p.Durable && !p.Undo && p.Ended == "":
			if p.Sent && !l.q.Orphans() {
				l.lost("%s has left and is not in the journal, which does not say that there may be such", text)
			} else if p.Sent {
				l.say("orphan", text)
			}
		case errors.Is(err, queue.ErrUnknown) && l.known.Pruned && p.Acks:
			l.say("pruned", text) // it was over
		case err != nil:
			l.lost("%s of which was said %+v: %v", text, *p, err)
		case p.Durable && tx.State != tideover.StateApproved && !(p.Asks && undone),
			p.Undo && !undone,
			p.Ended != "" && tx.State.String() != p.Ended,
			p.Acked && !tx.Acknowledged,
			p.Seq > tx.Seq:
			l.lost("%s of which was said %+v is %+v", text, *p, tx)
		}
	}
	if l.q.SealingKey() != nameOf(l.known.Key) {
		l.lost("another key seals than the newest")
	}
	if seq, _ := l.q.Head(); seq < l.known.Head.Seq {
		l.lost("the journal ends at %d, and had %d", seq, l.known.Head.Seq)
	}
	if through := l.q.HaveThrough(); through < l.known.Through {
		l.lost("of the hub's outbox it has %d, and had %d", through, l.known.Through)
	}
	if l.known.Terminal != "" && (len(l.q.Terminals()) == 0 || l.q.Terminals()[0].Name < l.known.Terminal) {
		l.lost("the terminals are %+v, and had %s", l.q.Terminals(), l.known.Terminal)
	}
}

// repeat is the hub at a hello: it tells again every end that the edge has not said it has, and what it heard of and has no end yet.
func (l *life) repeat() {
	l.hub, l.decided = l.known.Hub, map[tideover.ID]uint64{}
	for text, p := range l.known.Of {
		id, err := tideover.ParseID(text)
		if err != nil {
			l.broken(err)
		}
		switch {
		case p.HubSeq != 0:
			l.decided[id] = p.HubSeq
			if !p.Durable {
				l.end(id, p.HubSeq, p.Key)
			}
		case p.Sent:
			if err := l.q.Adopt(draftOf(p.Key)); err != nil {
				l.stopped(err)
			}
		}
	}
	l.q.CaughtUp(l.known.Hub)
	l.q.Anchored(l.known.Head.Seq)
	l.q.Early(!l.Script)
}

// tell is the hub deciding, once, and telling the end.
func (l *life) tell(id tideover.ID, key string) {
	l.mu.Lock()
	at, known := l.decided[id]
	if !known {
		l.hub++
		at = l.hub
		l.decided[id] = at
		l.say("hub", id, at, key)
	}
	l.mu.Unlock()
	l.end(id, at, key)
}

// end is the hub telling an end. It brings the request along, for a journal that has lost it.
func (l *life) end(id tideover.ID, hubSeq uint64, key string) {
	d := draftOf(key)
	err := l.q.End(queue.Told{
		Position: queue.Position{ID: id, HubSeq: hubSeq},
		Outcome:  tideover.Outcome{Result: tideover.StateApproved, Code: "00", Reference: "r", At: tideover.MillisOf(time.Now())}, Adopt: &d,
	})
	if err != nil {
		l.stopped(err)
	}
}

// draftOf returns what a till pressed under a key.
func draftOf(key string) edge.Draft {
	till, number, _ := strings.Cut(key, "/")
	return draft(till, number, size(till, number))
}

// size gives a payload its size: now and then one that needs pages of its own.
func size(till, number string) int {
	switch {
	case till == "large":
		return 300_000
	case strings.HasSuffix(number, "7"):
		return 9000
	}
	return 100
}

func draft(till, number string, payload int) edge.Draft {
	d := edge.Draft{
		TerminalUID: till, Terminal: "name of " + till, Key: till + "/" + number, CreatedAt: 1_700_000_000_000,
		Request: tideover.Request{
			Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-1", Instrument: "28451234",
			ExpiresIn: 45 * time.Second, Payload: []byte(`"` + strings.Repeat("x", payload) + `"`),
		},
	}
	d.ID = tideover.MakeID(store, till, d.Key)
	d.Hash = d.Request.Hash([]byte("s"))
	return d
}

func yes(queue.View) error { return nil }

// sell lets all tills press until the power fails.
func (l *life) sell() {
	var wg sync.WaitGroup
	for till := range l.Tills {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(l.Seed, uint64(till)))
			for i := 0; ; i++ {
				if err := l.press(fmt.Sprint("till", till), fmt.Sprint(l.Seed, "-", i), dice.IntN); full(err) {
					time.Sleep(time.Millisecond)
				} else if err != nil {
					l.stopped(err)
				}
			}
		})
	}
	wg.Go(func() { l.carry(rand.New(rand.NewPCG(l.Seed, 1000))) })
	wg.Go(func() {
		for i := 0; ; i++ {
			l.office(i)
			time.Sleep(time.Millisecond)
		}
	})
	if l.Backup {
		wg.Go(func() {
			for i := 0; ; i++ {
				l.backup(fmt.Sprint("backup-", l.Seed, "-", i))
			}
		})
	}
	if l.Compact {
		wg.Go(func() {
			for {
				l.compact()
			}
		})
	}
	wg.Wait()
}

// full says of an error that nothing was promised, and that the queue goes on.
func full(err error) bool {
	r, ok := errors.AsType[*tideover.Refusal](err)
	return ok && r.Code == tideover.CodeStorageFull
}

// press is one sale of a till: accepted, then one of the ways on.
func (l *life) press(till, number string, dice func(int) int) error {
	ctx := context.Background()
	d := draftOf(till + "/" + number)
	tx, err := l.q.Accept(ctx, d, yes)
	if err != nil {
		return err
	}
	l.say("accepted", d.ID, d.Key, tx.Seq)
	switch dice(5) {
	case 0: // it waits
		return nil
	case 1:
		l.say("asks", d.ID)
		tx, err := l.q.Cancel(ctx, d.ID, func() edge.Past { return edge.Past{Caught: true} }, edge.By{}, 0)
		switch {
		case err != nil:
			return err
		case tx.Final():
			l.say("ended", d.ID, tx.State, tx.Seq)
		default:
			l.say("undo", d.ID, tx.Seq)
		}
		return nil
	}
	l.tell(d.ID, d.Key)
	if tx, err = l.q.Get(d.ID); err != nil {
		return err
	}
	l.say("saw", d.ID, tx.Seq)
	l.q.Delivered(d.ID, tx.Seq)
	if dice(2) == 0 {
		return nil
	}
	l.say("acks", d.ID)
	if tx, err = l.q.Acknowledge(ctx, d.ID, tx.Seq); err != nil {
		return err
	}
	l.say("acknowledged", d.ID, tx.Seq)
	return nil
}

// office is what else happens at a shop: the hub has told everything up to some position, or comes with an end of which the edge knows nothing; the
// head goes to the hub; a terminal gets another name; a key takes the place of another.
func (l *life) office(i int) {
	if seq, hash := l.q.Head(); seq != 0 {
		l.say("head", seq, hex.EncodeToString(hash[:]))
	}
	l.say("through", l.q.HaveThrough())
	l.q.NoteLedgerTime(tideover.Millis(1_700_000_000_000 + l.Seed*100_000_000 + uint64(i)*100_000)) // it goes fast here
	switch i % 8 {
	case 2:
		d := draftOf(fmt.Sprint("gone/", l.Seed, "-", i))
		l.tell(d.ID, d.Key)
	case 6:
		name := fmt.Sprintf("%020d-%06d", l.Seed, i)
		if err := l.q.PutTerminal(context.Background(), tideover.Terminal{UID: "t", Name: name}); full(err) {
			return
		} else if err != nil {
			l.stopped(err)
		}
		l.say("terminal", name)
	case 4:
		l.rotate(i%16 == 4)
	}
}

// rotate lets another key seal, which is on disk before; now and then an older one is destroyed, which is on record before.
func (l *life) rotate(destroy bool) {
	n := l.known.Key + 1 // one goroutine alone rotates
	l.say("key", n)
	if err := l.q.Rotate(context.Background(), keyOf(n), edge.By{Who: "technician"}); full(err) {
		return
	} else if err != nil {
		l.stopped(err)
	}
	l.known.Key = n
	if !destroy {
		return
	}
	old := l.known.Destroyed
	if err := l.q.EndKeys(context.Background(), [][32]byte{nameOf(old)}, edge.By{Who: "technician"}); full(err) {
		return
	} else if err != nil {
		l.stopped(err)
	}
	l.known.Destroyed = old + 1
	l.say("destroyed", old+1)
	l.q.ForgetKeys([][32]byte{nameOf(old)})
}

// carry is the way to the hub: what is handed out leaves, also what is still on its way to the disk. Now and then the hub decides at once.
func (l *life) carry(dice *rand.Rand) {
	for {
		p, err := l.q.Next(context.Background())
		if err != nil {
			l.stopped(err)
		}
		if p.State == tideover.StateQueued && dice.IntN(2) == 0 {
			err = l.q.Move(p.ID, tideover.CauseSent, edge.Note{Uplink: "eth1"})
			switch {
			case errors.Is(err, queue.ErrStopped):
				l.stopped(err)
			case err == nil:
				l.say("sent", p.ID, p.Key)
				if dice.IntN(4) == 0 {
					l.tell(p.ID, p.Key)
				}
			}
		}
		l.q.Back(p.ID, time.Hour)
	}
}

// backup makes a copy beside the journal. One that fails stops nothing but itself.
func (l *life) backup(name string) {
	path := filepath.Join(filepath.Dir(l.Path), name)
	if _, err := l.q.Backup(context.Background(), path); errors.Is(err, queue.ErrStopped) {
		l.stopped(err)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	l.say("backup", name)
}

// compact makes the file small. One that fails leaves it as it was.
func (l *life) compact() {
	if _, err := l.q.Compact(context.Background()); errors.Is(err, queue.ErrStopped) {
		l.stopped(err)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	l.say("compacted", "journal")
}

// script is a life in which one thing comes after the other, so that the nth operation of the disk is always the same one.
func (l *life) script() {
	ctx := context.Background()
	stop := func(err error) (done bool) {
		if err != nil && !full(err) {
			l.stopped(err)
		}
		return err == nil
	}
	for i := range 10 {
		way := i % 5
		stop(l.press("till", fmt.Sprint(l.Seed, "-", i), func(n int) int { return way % n }))
		if i%3 == 0 {
			stop(l.q.Flush(ctx))
		}
	}
	for i := range 4 { // the file grows
		stop(l.press("large", fmt.Sprint(l.Seed, "-", i), func(int) int { return 0 }))
	}
	l.q.CaughtUp(l.hub)
	name := fmt.Sprintf("%020d-%06d", l.Seed, 0)
	_, err := l.q.SetRules(ctx, name+strings.Repeat("rule\n", 2000))
	stop(err)
	if stop(l.q.PutTerminal(ctx, tideover.Terminal{UID: "t", Name: name})) {
		l.say("terminal", name)
	}
	l.say("through", l.q.HaveThrough())
	seq, hash := l.q.Head()
	l.say("head", seq, hex.EncodeToString(hash[:]))
	l.backup(fmt.Sprint("backup-", l.Seed))
	l.compact()
	l.rotate(true)
	stop(l.press("till", fmt.Sprint(l.Seed, "-107"), func(int) int { return 1 }))
	d := draftOf(fmt.Sprint("gone/", l.Seed))
	l.tell(d.ID, d.Key) // rides the last commit
}

// leave ends a life well.
func (l *life) leave() {
	if err := <-l.ran; err != nil {
		l.ran <- err
		l.stopped(err)
	}
	l.ran = nil
	if err := l.q.Close(); err != nil {
		l.stopped(err)
	}
	l.say("closed", "journal")
	os.Exit(0)
}

// hearAll hears a child until it says no more.
func (s *said) hearAll(lines *bufio.Scanner, also func(line string)) {
	for lines.Scan() {
		s.hear(lines.Text())
		if also != nil {
			also(lines.Text())
		}
	}
}
