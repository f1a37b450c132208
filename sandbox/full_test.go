package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tideover"
	"tideover/control"
)

const (
	fullDisk  = 8 << 20 // bytes
	fullTills = 4
	fullFor   = 18 * time.Second // a minute in a nightly run
	// fullPayload is of the largest, in bytes. What needs pages in a row may be refused for as long as the disk is full, though small sales
	// are taken: its file has no such place left, and there is no room for a compaction.
	fullPayload = 700
	fullLeft    = 3 << 19         // bytes that another leaves, of which the queue takes all but the last megabyte
	fullMax     = time.Minute     // until it has
	fullPeace   = 3 * time.Second // with space: no longer, or what tills sell in it fills the disk for the month that it is kept
	followers   = 8               // of each till: they bring presses to their end
)

// onSmallDisk moves the edge's state directory onto a real ext4 of 8 MB. The edge does not run.
func (c *campaign) onSmallDisk() {
	c.t.Helper()
	dir, plain, image := c.shop.path("edge"), c.shop.path("edge.plain"), c.shop.path("edge.image")
	f, err := os.Create(image)
	c.must(err)
	c.must(errors.Join(f.Truncate(fullDisk), f.Close()))
	out, err := exec.Command("mkfs.ext4", "-q", "-F", "-b", "1024", "-N", "64", image).CombinedOutput()
	if err != nil {
		c.t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	c.must(os.Rename(dir, plain))
	c.must(os.Mkdir(dir, 0o700))
	if out, err := exec.Command("mount", "-o", "loop,noatime", image, dir).CombinedOutput(); err != nil {
		c.t.Fatalf("mount: %v: %s", err, out)
	}
	c.t.Cleanup(func() { // before the shop's folder goes
		c.shop.edge.kill()
		if err := syscall.Unmount(dir, 0); err != nil {
			c.t.Error(err)
		}
	})
	c.must(os.Chmod(dir, 0o700))
	if out, err := exec.Command("cp", "-a", plain+"/.", dir).CombinedOutput(); err != nil {
		c.t.Fatalf("cp: %v: %s", err, out)
	}
}

// tally counts how presses are answered.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) of(status string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[status]
}

// counted is a till's transport that counts.
type counted struct {
	http.RoundTripper
	*tally
}

func (r counted) RoundTrip(q *http.Request) (*http.Response, error) {
	a, err := r.RoundTripper.RoundTrip(q)
	if q.Method == http.MethodPost && q.URL.Path == "/v1/transactions" && q.Context().Err() == nil {
		what := "not answered"
		if err == nil {
			what = a.Status
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.counts[what]++
	}
	return a, err
}

// hog fills a folder's disk to its last byte.
func hog(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		err = nil
	}
	return nil
}

// ballast fills a folder's disk but for so many bytes.
func ballast(path string, left int64) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &s); err != nil {
		return err
	}
	return os.WriteFile(path, make([]byte, max(0, int64(s.Bavail)*int64(s.Bsize)-left)), 0o600)
}

// accepting asks the till's banner.
func (c *campaign) accepting() (accepting bool, text string) {
	a, err := c.tills[0].call(c.ctx, http.MethodGet, "/v1/health", nil, nil, 0)
	c.must(err)
	return strings.Contains(string(a.body), `"accepting":true`), string(a.body)
}

// TestFullDisk_UnderFourTills: the router's disk of 8 MB is full, most of it of another's files, then because the hub is away, and at last because something else fills it. Tills
// hear 507 and nothing worse, what was answered is neither lost nor done twice, what is accepted comes to its end while the disk is full, and
// when there is space again sales are taken, without anybody's help.
func TestFullDisk_UnderFourTills(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
	t.Parallel()
	lasts := fullFor
	if os.Getenv("TIDEOVER_NIGHTLY") != "" {
		lasts = time.Minute
	}
	c := newCampaign(t, Options{})
	c.must(c.shop.edge.stop())
	c.onSmallDisk()
	c.must(ballast(c.shop.path("edge/ballast"), fullLeft))
	c.must(c.shop.StartEdge(c.ctx))
	c.tills = c.tills[:0]
	answers := &tally{counts: make(map[string]int)}
	for i := range fullTills {
		till := c.shop.Till(fmt.Sprintf("till-%d", i+1))
		till.Wait = 0 // it presses on
		till.client.Transport = counted{till.client.Transport, answers}
		c.tills = append(c.tills, till)
	}
	t.Cleanup(c.saysOfQueue)
	var taken atomic.Int64
	c.stock(&taken)
	at := func(part float64, what string, do func()) {
		time.Sleep(time.Duration(part * float64(lasts)))
		do()
		t.Logf("%s: %d accepted", what, taken.Load())
	}
	at(0.1, "the hub goes away", c.shop.CutCable)
	at(0.35, "the queue has filled the disk", func() {
		for end := time.Now().Add(fullMax); answers.of("507 Insufficient Storage") == 0; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no press was refused by now: this shows nothing")
			}
		}
	})
	at(0, "another fills the rest", func() { c.must(hog(c.shop.path("edge/hog"))) })
	at(0.05, "no copy is made on a full disk", c.refusesCopies)
	before := taken.Load()
	at(0.05, "the hub is back", c.shop.MendCable)
	at(0.2, "it drains", func() {
		if n, err := c.tills[0].Pending(c.ctx); err != nil {
			t.Error(err)
		} else {
			t.Logf("%d open, %d accepted since", n, taken.Load()-before)
		}
	})
	at(0, "the other's files are gone", func() {
		c.must(errors.Join(os.Remove(c.shop.path("edge/hog")), os.Remove(c.shop.path("edge/ballast"))))
	})
	before = taken.Load()
	at(float64(fullPeace)/float64(lasts), "the end", func() {})
	if ok, text := c.accepting(); !ok || taken.Load() == before {
		t.Errorf("%d accepted since there is space: %s", taken.Load()-before, text)
	}
	select {
	case <-c.shop.edge.ended():
		t.Errorf("the edge has ended:\n%s", tail(c.shop.edge.log))
	default:
	}
	c.settle()
	if v := c.judge(); v.Approved == 0 {
		t.Errorf("it showed nothing: %d approved", v.Approved)
	}
	for what, n := range answers.counts {
		t.Logf("%d answers: %s", n, what)
		if what != "200 OK" && what != "202 Accepted" && what != "507 Insufficient Storage" {
			t.Errorf("%d answers %s", n, what)
		}
	}
	checked := command(t, nil, build(t, "tideover"), "check", "--config", c.shop.EdgeConfig())
	t.Log(checked.out)
	if checked.status != 0 {
		t.Errorf("the store is not well: %s", checked.words)
	}
}

// stock lets each till press as fast as it is answered, and bring to its end what it has pressed beside that.
func (c *campaign) stock(taken *atomic.Int64) {
	for i, till := range c.tills {
		pressed := make(chan string, 1<<16)
		dice := rand.New(rand.NewPCG(c.seed, uint64(i)))
		c.sellers.Go(func() {
			defer close(pressed)
			for n := 0; !c.closed.Load(); n++ {
				key := fmt.Sprintf("k-%d", n)
				c.presses.Add(1)
				_, err := till.Press(c.ctx, key, Press{
					Kind: tideover.KindSale, Amount: 100 + dice.Int64N(10_000), Currency: currency, ExpiresIn: 600,
					Payload: fmt.Appendf(nil, `{"items":"%s"}`, strings.Repeat("x", dice.IntN(fullPayload))),
				})
				if err != nil {
					return // what is wrong is in the till's notes
				}
				taken.Add(1)
				pressed <- key
			}
		})
		for range followers {
			c.sellers.Go(func() {
				for key := range pressed {
					_, _ = till.Sell(c.ctx, key, till.Note(key).Press)
				}
			})
		}
	}
}

// refusesCopies: a compaction and a backup look for room first, say so, and leave nothing behind.
func (c *campaign) refusesCopies() {
	c.t.Helper()
	dir := c.shop.path("edge")
	client := control.Dial(c.shop.path("edge.sock"))
	_, compacted := client.Compact(c.ctx)
	_, copied := client.Backup(c.ctx, filepath.Join(dir, "copy.db"))
	for _, err := range []error{compacted, copied} {
		if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != "no_room" {
			c.t.Errorf("on a full disk: %v", err)
		}
	}
	entries, err := os.ReadDir(dir)
	c.must(err)
	for _, e := range entries {
		if strings.Contains(e.Name(), ".new-") || strings.Contains(e.Name(), "copy") {
			c.t.Errorf("left behind: %s", e.Name())
		}
	}
}

// saysOfQueue logs what the edge has said of its file.
func (c *campaign) saysOfQueue() {
	text, _ := os.ReadFile(c.shop.edge.log)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "queue.db") || strings.Contains(line, "the queue") {
			c.t.Log(strings.TrimSpace(line))
		}
	}
}
