package desk_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/ledger"
	"tideover/hub/ledger/bolt"
	platformhttp "tideover/hub/platform/http"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// The child is this test's binary, built with the tag die, with these in its environment.
const (
	childLedger   = "TIDEOVER_TEST_DESK_LEDGER"
	childPlatform = "TIDEOVER_TEST_DESK_PLATFORM"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childLedger); path != "" {
		if err := child(path, os.Getenv(childPlatform)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a hub's ledger and desk. It takes orders, one a line: "sale KEY", "refund KEY ORIGINAL", "reversal KEY ORIGINAL",
// "cancel KEY", and says "end KEY RESULT POSITION" for each end; it acknowledges what it has said when it is told "ack".
func child(path, url string) error {
	l, err := bolt.Open(bolt.Options{Path: path, Key: key})
	if err != nil {
		return err
	}
	p, err := platformhttp.New(url)
	if err != nil {
		return err
	}
	d := desk.New(desk.Config{Ledger: l, Platform: p, Idempotent: true, Timeout: 200 * time.Millisecond, AskAfter: soon})
	go l.Run(context.Background())
	go d.Run(context.Background())
	if _, err := d.Hello(context.Background(), store, wire.Hello{Incarnation: current}); err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(name string, c wire.Confirmation) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("end %s %s %d\n", name, c.Outcome.Result, c.HubSeq)
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		order := strings.Fields(in.Text())
		tell := func(m any) {
			if c, ok := m.(wire.Confirmation); ok {
				say(order[1], c)
			}
		}
		switch order[0] {
		case "ack":
			page, err := l.Outbox(store, 0, wire.AckMax)
			if err != nil {
				return err
			}
			for _, c := range page {
				if err := d.Ack(context.Background(), store, current, []wire.Position{{ID: c.ID, HubSeq: c.HubSeq}}); err != nil {
					return err
				}
			}
		case "cancel":
			s := ordered(order)
			go d.Cancel(context.Background(), store, current, wire.Cancel{ID: s.ID, TerminalUID: "t1", Terminal: "till-1", Key: s.Key}, tell)
		default:
			go d.Submit(context.Background(), store, current, ordered(order), tell)
		}
	}
	return in.Err()
}

// ordered is the request of an order; the same order makes the same request in every process.
func ordered(order []string) wire.Submit {
	kind, amount, original := tideover.KindSale, int64(1299), tideover.ID{}
	switch order[0] {
	case "refund":
		kind, amount = tideover.KindRefund, 500
	case "reversal":
		kind, amount = tideover.KindReversal, 0
	}
	if len(order) > 2 {
		original = tideover.MakeID(store, "t1", order[2])
	}
	return request(order[1], kind, amount, original)
}

// hubProcess is a child at work.
type hubProcess struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	gone chan struct{}
}

// shop sees what all the children of one ledger say.
type shop struct {
	t        *testing.T
	binary   string
	path     string
	platform *sandbox.Platform
	server   *httptest.Server

	mu   sync.Mutex
	ends map[string]told // by key, the newest
	more chan struct{}
}

type told struct {
	result string
	seq    uint64
}

func newShop(t *testing.T, binary string, o sandbox.Options) *shop {
	s := &shop{
		t: t, binary: binary, path: filepath.Join(t.TempDir(), "ledger.db"), platform: sandbox.New(o), ends: map[string]told{},
		more: make(chan struct{}, 10_000),
	}
	s.server = httptest.NewServer(s.platform)
	t.Cleanup(s.server.Close)
	if err := bolt.Create(s.path, key); err != nil {
		t.Fatal(err)
	}
	l, err := bolt.Open(bolt.Options{Path: s.path, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	if err := l.AddStore(t.Context(), ledger.Store{Name: store}); err != nil {
		t.Fatal(err)
	}
	stop()
	<-ended
	l.Close()
	return s
}

func (s *shop) start(die string) *hubProcess {
	s.t.Helper()
	h := &hubProcess{t: s.t, cmd: exec.Command(s.binary), gone: make(chan struct{})}
	h.cmd.Env = append(os.Environ(), childLedger+"="+s.path, childPlatform+"="+s.server.URL, "TIDEOVER_DIE="+die)
	h.cmd.Stderr = os.Stderr
	in, err := h.cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	h.in = in
	go func() {
		defer close(h.gone)
		s.read(out)
		_ = h.cmd.Wait()
		if st, ok := h.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL && st.ExitStatus() != 0 {
			s.t.Error("the child has ended by itself:", h.cmd.ProcessState)
		}
	}()
	s.t.Cleanup(h.kill)
	return h
}

// read takes what a child says. What was told once stands: a later end has a later position, and the same position the same end.
func (s *shop) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var name string
		var e told
		if _, err := fmt.Sscanf(lines.Text(), "end %s %s %d", &name, &e.result, &e.seq); err != nil {
			continue // cut off by the child's death
		}
		s.mu.Lock()
		before, known := s.ends[name]
		if known && before.seq == e.seq && before.result != e.result {
			s.t.Errorf("%s was told as %s and then as %s, both at %d", name, before.result, e.result, e.seq)
		}
		if !known || e.seq >= before.seq {
			s.ends[name] = e
		}
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
}

func (h *hubProcess) order(orders ...string) {
	for _, o := range orders {
		if _, err := io.WriteString(h.in, o+"\n"); err != nil {
			return // it has died
		}
	}
}

// dies waits for the process to end by itself; where the point that it should die at is its nth, n > 1, it may never get there, and
// is killed.
func (h *hubProcess) dies(n int) bool {
	for range 200 / n {
		h.order("ack")
		select {
		case <-h.gone:
			return true
		case <-time.After(10 * time.Millisecond):
		}
	}
	h.kill()
	return false
}

func (h *hubProcess) kill() {
	_ = h.cmd.Process.Signal(syscall.SIGKILL)
	<-h.gone
}

// settle starts a child that lives and repeats every order until each has an end.
func (s *shop) settle(orders []string) {
	s.t.Helper()
	h := s.start("")
	defer h.kill()
	s.mu.Lock()
	clear(s.ends) // everything must be told again
	s.mu.Unlock()
	h.order(orders...)
	names := map[string]bool{}
	for _, o := range orders {
		names[strings.Fields(o)[1]] = true
	}
	deadline := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		n := len(s.ends)
		s.mu.Unlock()
		if n == len(names) {
			break
		}
		select {
		case <-s.more:
		case <-h.gone:
			s.t.Fatal("the child has died by itself")
		case <-deadline:
			s.t.Fatalf("%d of %d have an end", n, len(names))
		}
	}
	// Cancels may still be on their way to a new end: ask once more, now that nothing else moves.
	h.order("ack")
	h.in.Close()
	select {
	case <-h.gone:
	case <-deadline:
		s.t.Fatal("the child does not end")
	}
}

// sound compares the ledger with the platform's own count.
func (s *shop) sound() {
	s.t.Helper()
	if st := s.platform.Stats(); st.ExecutedTwice != 0 || st.RepeatedAfterAnswer != 0 {
		s.t.Errorf("executed twice: %d, called again after an answer: %d", st.ExecutedTwice, st.RepeatedAfterAnswer)
	}
	l, err := bolt.Open(bolt.Options{Path: s.path, Key: key})
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	seqs := map[uint64]bool{}
	for name := range s.ends {
		id := tideover.MakeID(store, "t1", name)
		r, err := l.Row(store, id)
		if err != nil {
			s.t.Fatal(err)
		}
		if r.State.Open() {
			continue // a cancel is still at work on it
		}
		kept := r.Outcome.Result == tideover.StateApproved && r.Kind() != tideover.KindReversal
		if n := s.platform.Count(id); (n.Net() == 1) != kept {
			s.t.Errorf("%s is %q as %v; the platform: %+v", name, r.State, r.Outcome.Result, n)
		}
		if seqs[r.HubSeq] {
			s.t.Errorf("position %d was given twice", r.HubSeq)
		}
		seqs[r.HubSeq] = true
	}
}

// buildChild builds this test's own binary with the tag that arms the points at which a process dies.
func buildChild(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "child.test")
	out, err := exec.Command("go", "test", "-c", "-tags", "die", "-o", binary, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build the child: %v\n%s", err, out)
	}
	return binary
}

// The process dies immediately before and after each commit and each call; a second process finishes what it left, and nothing was
// executed twice or called again after it was answered.
func TestDesk_DiesAtEachPoint(t *testing.T) {
	binary := buildChild(t)
	orders := []string{"sale a", "sale b", "sale c", "refund r a", "reversal v b", "cancel c", "sale d"}
	for _, point := range []string{"hub.claim", "hub.call", "hub.record", "hub.ack", "hub.reverse", "hub.cancel"} {
		for _, side := range []string{"before", "after"} {
			for n := 1; n <= 3; n++ {
				die := fmt.Sprintf("%s.%s:%d", point, side, n)
				t.Run(die, func(t *testing.T) {
					s := newShop(t, binary, sandbox.Options{Seed: uint64(n), Behaviour: sandbox.Behaviour{LoseAnswer: 0.2, LoseRequest: 0.1, Pending: 0.2, PendingMS: 30}})
					h := s.start(die)
					for _, o := range orders {
						h.order(o)
						time.Sleep(3 * time.Millisecond)
					}
					if died := h.dies(n); n == 1 && !died {
						t.Error("the point was never reached")
					}
					s.settle(orders)
					s.sound()
				})
			}
		}
	}
}

// A process that is killed again and again, at any instant, under load.
func TestDesk_KilledAtRandom(t *testing.T) {
	binary := buildChild(t)
	kills := 25
	if os.Getenv("TIDEOVER_NIGHTLY") != "" {
		kills = 500
	}
	s := newShop(t, binary, sandbox.Options{Seed: 11, Behaviour: sandbox.Behaviour{
		LatencyMS: 1, JitterMS: 10, LoseAnswer: 0.1, LoseRequest: 0.1, Late: 0.05, LateMS: 50, Pending: 0.1, PendingMS: 40, Decline: 0.1,
		WrongAmount: 0.03, LoseReverse: 0.1, LoseQuery: 0.1,
	}})
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var orders []string
	for k := range kills {
		h := s.start("")
		for i := range 8 {
			name := fmt.Sprint(k, "-", i)
			fresh := []string{"sale " + name}
			switch random.IntN(5) {
			case 0:
				fresh = append(fresh, "cancel "+name)
			case 1:
				fresh = append(fresh, "refund r"+name+" "+name)
			case 2:
				fresh = append(fresh, "reversal v"+name+" "+name)
			}
			orders = append(orders, fresh...)
			h.order(fresh...)
		}
		h.order("ack")
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		h.kill()
	}
	s.settle(orders)
	s.sound()
	t.Logf("%d orders, %d kills, %+v", len(orders), kills, func() sandbox.Count { return s.platform.Stats().Count }())
}
