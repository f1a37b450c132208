package daemon

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/control"
	"tideover/edge"
	"tideover/install"
	"tideover/queue"
)

// TestMain lets the test binary be its own child.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TIDEOVER_KEYS_DIR"); dir != "" {
		if err := keysChild(dir, os.Getenv("TIDEOVER_KEYS_DO")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// keysHouse is a state directory with a journal and its keys, and nothing else of an enrolment.
func keysHouse(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	if err := os.WriteFile(install.QueueKeyPath(dir), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := queue.Create(QueuePath(dir), queue.OneKey([32]byte(key)), queue.Ident{Store: "shop-0001"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// openKeys opens the journal of a state directory as the daemon does.
func openKeys(dir string, log *slog.Logger) (k *keeper, stop func() error, err error) {
	keys, err := install.ReadQueueKeys(dir)
	if err != nil {
		return nil, nil, err
	}
	q, err := queue.Open(queue.Options{Path: QueuePath(dir), Key: queueKeys(keys), Store: "shop-0001", LazyMax: 5 * time.Millisecond, Log: log})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	k = &keeper{dir: dir, queue: q, log: log}
	k.begin(ctx)
	return k, func() error { cancel(); return errors.Join(<-ran, q.Close()) }, nil
}

// mustOpenKeys is openKeys of a test, which closes it.
func mustOpenKeys(t *testing.T, dir string) (k *keeper, stop func()) {
	t.Helper()
	k, closes, err := openKeys(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := closes(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return k, stop
}

// sealedSale is a sale with a payload that says which it is.
func sealedSale(key string) edge.Draft {
	d := edge.Draft{
		ID: tideover.MakeID("shop-0001", "till", key), TerminalUID: "till", Terminal: "till-1", Key: key, CreatedAt: tideover.MillisOf(time.Now()),
		Request: tideover.Request{Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", ExpiresIn: time.Minute, Payload: []byte(canary + key)},
	}
	d.Hash = d.Request.Hash([]byte("s"))
	return d
}

// canary is in every payload, and readable in no file.
const canary = "canary-of-the-payload-"

func accept(q *queue.Queue, key string) error {
	_, err := q.Accept(context.Background(), sealedSale(key), func(queue.View) error { return nil })
	return err
}

// finish brings a sale to its acknowledged end.
func finish(q *queue.Queue, key string) error {
	id := tideover.MakeID("shop-0001", "till", key)
	if err := q.End(queue.Told{Position: queue.Position{ID: id}, Outcome: tideover.Outcome{Result: tideover.StateApproved, Code: "00"}}); err != nil {
		return err
	}
	tx, err := q.Get(id)
	if err == nil {
		_, err = q.Acknowledge(context.Background(), id, tx.Seq)
	}
	return err
}

// keysChild does something with the keys of a state directory: once, or over and over while tills sell.
func keysChild(dir, what string) error {
	k, stop, err := openKeys(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	spent := edge.By{Who: "child", Reason: "spent"}
	switch what {
	case "rotate":
		err = k.rotate(context.Background(), edge.By{Who: "child"})
	case "destroy":
		err = k.destroy(context.Background(), true, spent)
	default:
		return turnUntilKilled(k, spent)
	}
	return errors.Join(err, stop())
}

// turnUntilKilled sells, and turns and destroys keys meanwhile. It says on stdout what was answered and when it begins with what.
func turnUntilKilled(k *keeper, spent edge.By) error {
	failed := make(chan error, 3)
	var mu sync.Mutex
	say := func(what ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what...)
	}
	for till := range 2 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprint(os.Getpid(), "-", till, "-", i)
				if err := accept(k.queue, key); err != nil {
					failed <- err
					return
				}
				say("accepted", key)
				if i%2 == 0 {
					if err := finish(k.queue, key); err != nil {
						failed <- err
						return
					}
					say("acknowledged", key)
				}
				time.Sleep(time.Millisecond)
			}
		}()
	}
	go func() {
		for i := 0; ; i++ {
			say("begins")
			time.Sleep(2 * time.Millisecond)
			start := time.Now()
			err := k.rotate(context.Background(), edge.By{Who: "child"})
			if err == nil && k.queue.HeldKeys() > 4 {
				err = k.destroy(context.Background(), true, spent)
			}
			if err != nil {
				failed <- err
				return
			}
			say("done", int64(time.Since(start)))
		}
	}()
	return <-failed
}

// soundKeys opens what a child has left, and holds it against what was answered. Every payload can be read, or its key's end is on record.
func soundKeys(t *testing.T, when, dir string, said map[string]string) {
	t.Helper()
	keys, err := install.ReadQueueKeys(dir)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	c, err := queue.CheckFile(QueuePath(dir), queueKeys(keys), "shop-0001")
	if err != nil || len(c.Flaws) > 0 {
		t.Fatalf("%s: %+v, %v", when, c.Flaws, err)
	}
	k, stop := mustOpenKeys(t, dir)
	defer stop()
	if after, err := install.ReadQueueKeys(dir); err != nil || after.All[0] != keys.All[0] {
		t.Fatalf("%s: the newest key has changed, %v", when, err)
	} else if name, _ := queue.KeyName(after.All[0]); name != k.queue.SealingKey() {
		t.Fatalf("%s: the newest key does not seal", when)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".queue.key*")); len(left) > 0 {
		t.Fatalf("%s: keys are left in %v", when, left)
	}
	uses, err := k.queue.Keys(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for _, u := range uses {
		if u.Destroyed != 0 && (u.Held || u.By.Reason == "") || !u.Held && u.Destroyed == 0 {
			t.Fatalf("%s: a key that is neither here nor destroyed, or both: %+v", when, u)
		}
	}
	for key, what := range said {
		p, err := k.queue.Parcel(tideover.MakeID("shop-0001", "till", key))
		switch {
		case err != nil:
			t.Fatalf("%s: %s was %s: %v", when, key, what, err)
		case p.Unreadable && len(p.Request.Payload) == 0:
		case p.Final() && len(p.Request.Payload) == 0: // erased
		case string(p.Request.Payload) != canary+key:
			t.Fatalf("%s: %s was %s, and is %q", when, key, what, p.Request.Payload)
		}
		if what == "acknowledged" && !p.Acknowledged {
			t.Fatalf("%s: %s was acknowledged, and is %+v", when, key, p.Transaction)
		}
	}
}

// TestKeys_KilledInTheMiddle kills a process at random instants of turning and destroying keys, while tills sell.
func TestKeys_KilledInTheMiddle(t *testing.T) {
	kills := 50
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") != "":
		kills = 500
	case testing.Short():
		kills = 5
	}
	dir := keysHouse(t)
	said := map[string]string{}
	middle, tries, took := 0, 0, 5*time.Millisecond
	for ; middle < kills && tries < 4*kills; tries++ {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), "TIDEOVER_KEYS_DIR="+dir, "TIDEOVER_KEYS_DO=turn")
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		at, before := "", mathrand.IntN(5)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			switch what, text, _ := strings.Cut(lines.Text(), " "); what {
			case "begins":
				if at, before = what, before-1; before < 0 {
					time.AfterFunc(2*time.Millisecond+time.Duration(mathrand.Int64N(int64(took)+1)), func() { child.Process.Kill() })
				}
			case "done":
				at = what
				if ns, err := strconv.ParseInt(text, 10, 64); err == nil {
					took = time.Duration(ns)
				}
			case "accepted", "acknowledged":
				said[text] = what // a line is one write, and whole
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == 2 {
			t.Fatalf("the child ended by itself: %v", err)
		}
		if at == "begins" {
			middle++
		}
		soundKeys(t, fmt.Sprint("kill ", tries), dir, said)
	}
	if middle < kills {
		t.Errorf("%d of %d kills were in the middle", middle, tries)
	}
	t.Logf("%d kills, %d in the middle of about %v; %d answered, 0 lost", tries, middle, took.Round(time.Microsecond), len(said))
}

// TestKeys_DieAnywhere: whatever a rotation, or the end of a key, has come to when its process dies, the next start brings it to its end or
// leaves what was, and nothing is lost by it.
func TestKeys_DieAnywhere(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "daemon.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "die", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tc := range []struct {
		do, point string
		turned    bool // another key seals after the next start
		ended     bool // the first key is destroyed after the next start
		twice     bool // the child does the other thing first, in peace
	}{
		{do: "rotate", point: "queue.key.write.before"},
		{do: "rotate", point: "queue.key.write.renamed", turned: true},
		{do: "rotate", point: "queue.key.write.after", turned: true},
		{do: "rotate", point: "queue.key.turn.before", turned: true},
		{do: "rotate", point: "queue.key.turn.after", turned: true},
		{do: "destroy", point: "queue.key.turn.before", turned: true, twice: true},
		{do: "destroy", point: "queue.key.turn.after", turned: true, ended: true, twice: true},
		{do: "destroy", point: "queue.key.write.before", turned: true, ended: true, twice: true},
		{do: "destroy", point: "queue.key.write.renamed", turned: true, ended: true, twice: true},
		{do: "destroy", point: "queue.key.write.after", turned: true, ended: true, twice: true},
	} {
		t.Run(tc.do+" "+tc.point, func(t *testing.T) {
			dir := keysHouse(t)
			k, stop := mustOpenKeys(t, dir)
			for _, key := range []string{"one-1-1", "two-2-2"} {
				if err := accept(k.queue, key); err != nil {
					t.Fatal(err)
				}
			}
			first := k.queue.SealingKey()
			if tc.twice {
				if err := k.rotate(t.Context(), edge.By{Who: "before"}); err != nil {
					t.Fatal(err)
				}
			}
			stop()
			child := exec.Command(binary, "-test.run=^$")
			child.Env = append(os.Environ(), "TIDEOVER_KEYS_DIR="+dir, "TIDEOVER_KEYS_DO="+tc.do, "TIDEOVER_DIE="+tc.point)
			if out, err := child.CombinedOutput(); err == nil || child.ProcessState.ExitCode() != -1 {
				t.Fatalf("it was not killed: %v %s", err, out)
			}
			soundKeys(t, tc.point, dir, map[string]string{"one-1-1": "accepted", "two-2-2": "accepted"})
			k, stop = mustOpenKeys(t, dir)
			if turned := k.queue.SealingKey() != first; turned != tc.turned {
				t.Errorf("another key seals: %v", turned)
			}
			p, err := k.queue.Parcel(tideover.MakeID("shop-0001", "till", "one-1-1"))
			if err != nil || p.Unreadable != tc.ended {
				t.Errorf("unreadable %v: %v", p.Unreadable, err)
			}
			// And it can be done again.
			if err := accept(k.queue, "three-3-3"); err != nil {
				t.Error(err)
			}
			stop()
			if err := keysChild(dir, tc.do); err != nil {
				if refused, ok := errors.AsType[*control.Error](err); !ok || refused.Code != "one_key" || !tc.ended {
					t.Errorf("again: %v", err)
				}
			}
			soundKeys(t, "again", dir, map[string]string{"one-1-1": "accepted", "two-2-2": "accepted", "three-3-3": "accepted"})
		})
	}
}

// TestKeeper_Destroys refuses what would lose something open, unless it is told to; and says so on record.
func TestKeeper_Destroys(t *testing.T) {
	dir := keysHouse(t)
	k, _ := mustOpenKeys(t, dir)
	refuses := func(code string, force bool) {
		t.Helper()
		e, ok := errors.AsType[*control.Error](k.destroy(t.Context(), force, edge.By{Who: "uid 0", Reason: "seen"}))
		if !ok || e.Code != code || e.Hint.En == "" || e.Hint.Zh == "" || strings.Contains(e.What.En+e.What.Zh, "%!") {
			t.Errorf("%+v; want %s", e, code)
		}
	}
	refuses("one_key", true)
	if err := accept(k.queue, "open"); err != nil {
		t.Fatal(err)
	}
	if err := k.rotate(t.Context(), edge.By{Who: "uid 0"}); err != nil {
		t.Fatal(err)
	}
	refuses("key_needed", false)
	before, err := os.ReadFile(install.QueueKeyPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.destroy(t.Context(), true, edge.By{Who: "uid 0", Reason: "seen"}); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(install.QueueKeyPath(dir))
	if err != nil || bytes.Equal(before, after) {
		t.Fatalf("the file of keys is as it was, or %v", err)
	}
	keys, err := install.ReadQueueKeys(dir)
	if err != nil || len(keys.All) != 1 || len(keys.Destroyed) != 1 || k.queue.HeldKeys() != 1 {
		t.Errorf("%+v, %v", keys, err)
	}
	refuses("one_key", false)
	list, err := k.list(t.Context())
	if err != nil || len(list.Keys) != 2 || !list.Keys[0].Seals || !list.Keys[1].Lost || list.Keys[1].Reason != "seen" || list.Keys[1].Open != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestKeeper_AnOldKeyGoesWhenItHasServed: once everything is delivered and erased that a key sealed, the key goes; and nobody can read a
// copy from before, with all that the machine has.
func TestKeeper_AnOldKeyGoesWhenItHasServed(t *testing.T) {
	dir := keysHouse(t)
	k, stop := mustOpenKeys(t, dir)
	for _, key := range []string{"one", "two"} {
		if err := accept(k.queue, key); err != nil {
			t.Fatal(err)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := k.queue.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	first, err := install.ReadQueueKeys(dir)
	if err == nil {
		err = k.rotate(t.Context(), edge.By{Who: "uid 0"})
	}
	if err == nil {
		err = finish(k.queue, "one")
	}
	if err == nil {
		err = errors.Join(k.queue.Flush(t.Context()), k.queue.Flush(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	k.begin(t.Context())
	if k.queue.HeldKeys() != 2 {
		t.Fatal("the old key is gone, and something open needs it")
	}
	c, err := queue.CheckFile(copied, queueKeys(mustReadKeys(t, dir)), "shop-0001")
	if err != nil || c.Sealed != 2 || c.Unreadable != 0 {
		t.Errorf("the copy, while the old key is there: %+v, %v", c, err)
	}
	if err := finish(k.queue, "two"); err != nil {
		t.Fatal(err)
	}
	stop() // what is over is erased
	k, _ = mustOpenKeys(t, dir)
	for range 50 {
		if k.begin(t.Context()); k.queue.HeldKeys() == 1 {
			break
		}
		if err := k.queue.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	now := mustReadKeys(t, dir)
	if len(now.All) != 1 || now.All[0] == first.All[0] || len(now.Destroyed) != 1 || k.queue.HeldKeys() != 1 {
		t.Fatalf("%d keys, %d destroyed, %d held", len(now.All), len(now.Destroyed), k.queue.HeldKeys())
	}
	list, err := k.list(t.Context())
	if err != nil || len(list.Keys) != 2 || !list.Keys[1].Lost || list.Keys[1].DestroyedAt == 0 || list.Keys[1].By != "" || list.Keys[1].Reason == "" {
		t.Errorf("%+v, %v", list, err)
	}
	// The copy is whole, known as one whose key was destroyed, and nothing in the state directory opens it.
	if c, err = queue.CheckFile(copied, queueKeys(now), "shop-0001"); err != nil || len(c.Flaws) > 0 || c.Sealed != 0 || c.Unreadable != 2 {
		t.Errorf("the copy: %+v, %v", c, err)
	}
	image, err := os.ReadFile(copied)
	if err != nil || bytes.Contains(image, []byte(canary)) {
		t.Errorf("the copy shows a payload, or %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, first.All[0][:]) || bytes.Contains(b, fmt.Appendf(nil, "%x", first.All[0])) {
			t.Errorf("the old key is in %s", f.Name())
		}
	}
	to := filepath.Join(t.TempDir(), "queue.db")
	r, err := queue.RestoreFile(copied, to, queueKeys(now), "shop-0001")
	if err != nil || r.Transactions != 2 || r.Unreadable != 2 {
		t.Errorf("restored: %+v, %v", r, err)
	}
}

func mustReadKeys(t *testing.T, dir string) install.QueueKeys {
	t.Helper()
	k, err := install.ReadQueueKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestDesk_AReportWhoseKeyIsGone: its till is told to send it again, and the shop's day is compared by its totals.
func TestDesk_AReportWhoseKeyIsGone(t *testing.T) {
	h := newHouse(t)
	l := h.withLedger()
	paid := h.sell(t, till1, "A-1", 1299)
	if err := h.approve(paid.ID, 1); err != nil {
		t.Fatal(err)
	}
	l.book(paid, tideover.StateApproved)
	time.Sleep(2 * time.Millisecond) // the report ends after what was accepted
	totals := tideover.Settlement{
		Totals: []tideover.SettlementTotal{{Kind: tideover.KindSale, Currency: "CNY", Count: 1, Amount: 1299}},
		Items:  []tideover.SettlementItem{itemOf(paid)},
	}
	s := h.settle(t, till1, "day", totals)
	first := h.queue.SealingKey()
	if err := h.queue.Rotate(t.Context(), [32]byte{8}, edge.By{}); err != nil {
		t.Fatal(err)
	}
	if err := h.queue.EndKeys(t.Context(), [][32]byte{first}, edge.By{Reason: "seen"}); err != nil {
		t.Fatal(err)
	}
	if id, replayed, err := h.Settle(t.Context(), till1, "day", totals); err != nil || !replayed || id != s.ID {
		t.Errorf("repeated: %v, %v, %v", id, replayed, err)
	}
	_, err := h.Settled(t.Context(), till1, s.ID)
	wantCode(t, err, tideover.CodeUnknownTransaction)
	from, to := dayOf(s.To - 1)
	day, err := h.books.day(t.Context(), "shop-0001", "today", from, to)
	if err != nil || len(day.Reports) != 1 || len(day.Reports[0].Totals) != 1 || len(day.Reports[0].Items) != 0 {
		t.Fatalf("%+v, %v", day, err)
	}
	if again := h.settle(t, till1, "day again", tideover.Settlement{From: s.From, To: s.To, Totals: totals.Totals, Items: totals.Items}); again.Result != tideover.VerdictMatch {
		t.Errorf("under a new key: %+v", again)
	}
	items := totals
	items.Totals = nil
	lost := h.settle(t, till2, "day", items)
	if err := h.queue.Rotate(t.Context(), [32]byte{9}, edge.By{}); err != nil {
		t.Fatal(err)
	}
	name, _ := queue.KeyName([32]byte{8})
	if err := h.queue.EndKeys(t.Context(), [][32]byte{name}, edge.By{}); err != nil {
		t.Fatal(err)
	}
	_, err = h.books.day(t.Context(), "shop-0001", "today", from, to)
	wantCode(t, err, tideover.CodeUnknownTransaction)
	if err == nil || !strings.Contains(err.Error(), lost.ID.String()) {
		t.Errorf("it does not name the report: %v", err)
	}
}
