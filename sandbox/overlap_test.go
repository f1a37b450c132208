package sandbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tideover"
	"tideover/internal/lab/disk"
)

// The size of TestOverlap_OrphansComeHome: each of its lives takes one to four seconds.
const (
	orphansShort   = 5
	orphansDefault = 10
	orphansNightly = 300
)

// TestOverlap_OrphansComeHome ends the router at the instant at which a sale has left and is not on its disk, many times, and has everybody go on in the ways
// that could go wrong: the till repeats its press at once, or never; the line dies once the hub was heard, and the sale gets too old, or is cancelled
// by its key; the till repeats it before the hub is heard. Nothing is lost, nothing is executed twice, and "expired" or "cancelled" is said of nothing
// that was executed.
func TestOverlap_OrphansComeHome(t *testing.T) {
	t.Parallel()
	lives := orphansDefault
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") != "":
		lives = orphansNightly
	case testing.Short():
		lives = orphansShort
	}
	c := newCampaign(t, Options{Executable: build(t, "tideover-sandbox", "-tags", "die")})
	ways := []func(*campaign, orphan){
		(*campaign).repeatedAtOnce, (*campaign).neverRepeated, (*campaign).tooOldWithoutALine, (*campaign).cancelledWithoutALine, (*campaign).repeatedBeforeTheHub,
	}
	unknown := 0
	var paid []string
	for n := range lives {
		if c.ctx.Err() != nil {
			break
		}
		slow := time.Duration(0)
		if n%len(ways) >= 2 {
			slow = time.Second // so that the ledger has no end of it at the next hello
		}
		c.must(c.shop.Slow(slow))
		o := c.orphaned(n)
		if c.shop.Platform.Count(o.id).Calls > 0 {
			unknown++
			paid = append(paid, o.key)
		}
		ways[n%len(ways)](c, o)
		c.must(c.shop.Slow(0))
	}
	c.settle()
	c.judge()
	for _, key := range paid {
		n := c.tills[0].Note(key)
		if want := []tideover.State{tideover.StateApproved}; !n.Cancel.Taken() && !slices.Equal(n.Ends, want) {
			t.Errorf("%s was at the platform when the router died, which has approved it, and its till heard %v", key, n.Ends)
		}
	}
	if unknown < lives/2 {
		t.Errorf("only %d of %d had reached the platform when the router died: this shows little", unknown, lives)
	}
	t.Logf("%d of %d had reached the platform when the router died without a record", unknown, lives)
	c.must(c.shop.Stop())
}

// orphan is a sale that has left, and that its router has no record of.
type orphan struct {
	key string
	id  tideover.ID
}

// orphaned has a router die that has sent a sale and not kept it. The till does not repeat it yet.
func (c *campaign) orphaned(n int) orphan {
	c.t.Helper()
	till := c.tills[0]
	c.shop.edge.kill()
	c.must(c.shop.edge.start("TIDEOVER_DIE=queue.overlap.after:1"))
	c.health("connected")
	for try := 0; ; try++ { // before the router has caught up with its hub nothing leaves early
		o := orphan{key: fmt.Sprintf("orphan-%d-%d", n, try)}
		o.id = tideover.MakeID(c.shop.Store, till.Name, o.key)
		c.presses.Add(1)
		pressed := make(chan error, 1)
		go func() {
			_, err := till.Press(c.ctx, o.key, Press{Kind: tideover.KindSale, Amount: 100 + int64(n), Currency: currency, ExpiresIn: 2})
			pressed <- err
		}()
		select {
		case <-c.shop.edge.ended():
			if !c.shop.edge.killed() {
				c.t.Fatalf("the edge ended by itself:\n%s", tail(c.shop.edge.log))
			}
			till.Crash()
			<-pressed
			return o
		case err := <-pressed:
			if err != nil || try > 100 {
				c.t.Fatalf("%s: %v; nothing leaves early", o.key, err)
			}
			c.sellers.Go(func() { _, _ = till.Sell(c.ctx, o.key, Press{}) }) // what is wrong is in the till's notes
		case <-time.After(reachMax):
			c.t.Fatalf("neither answered nor dead:\n%s", tail(c.shop.edge.log))
		}
	}
}

// health waits until the edge says a word of itself.
func (c *campaign) health(word string) {
	c.t.Helper()
	for deadline := time.Now().Add(reachMax); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		a, err := c.tills[0].call(c.ctx, "GET", "/v1/health", nil, nil, 0)
		if err == nil && strings.Contains(string(a.body), word) {
			return
		}
	}
	c.t.Fatalf("never %s:\n%s", word, tail(c.shop.edge.log))
}

func (c *campaign) repeatedAtOnce(o orphan) {
	c.must(c.shop.edge.start())
	if x, err := c.tills[0].Sell(c.ctx, o.key, Press{}); err != nil || x.ID != o.id {
		c.t.Errorf("%s: %+v, %v", o.key, x, err)
	}
}

// neverRepeated: it is listed as paid and not handed over, without anybody's asking.
func (c *campaign) neverRepeated(o orphan) {
	c.must(c.shop.edge.start())
	if c.shop.Platform.Count(o.id).Calls == 0 {
		return // it was not claimed in time, and never will be
	}
	home := func() bool {
		list, err := c.tills[0].Unacknowledged(c.ctx)
		return err == nil && slices.ContainsFunc(list, func(x tideover.Transaction) bool {
			return x.ID == o.id && x.State == tideover.StateApproved && !x.Acknowledged
		})
	}
	for deadline := time.Now().Add(reachMax); !home(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s never comes home:\n%s", o.id, tail(c.shop.edge.log))
		}
	}
	c.repeated(o)
}

// repeated has the till get the end of what it has pressed.
func (c *campaign) repeated(o orphan) {
	c.sellers.Go(func() { _, _ = c.tills[0].Sell(c.ctx, o.key, Press{}) }) // what is wrong is in the till's notes
}

// heardAndCut starts the router with a good line, which dies as soon as the hub was heard.
func (c *campaign) heardAndCut() {
	c.must(c.shop.edge.start())
	c.health("connected")
	time.Sleep(rand.N(30 * time.Millisecond))
	c.shop.CutCable()
}

// apart lets a sale get too old without a line, and then mends it.
func (c *campaign) apart() {
	time.Sleep(2500 * time.Millisecond)
	c.shop.MendCable()
	c.health("connected")
}

func (c *campaign) tooOldWithoutALine(o orphan) {
	c.heardAndCut()
	c.health("unreachable") // so that no byte of the repetition leaves
	c.repeated(o)
	c.apart()
}

func (c *campaign) cancelledWithoutALine(o orphan) {
	c.heardAndCut()
	ctx, end := context.WithTimeout(c.ctx, reachMax)
	defer end()
	if _, err := c.tills[0].Cancel(ctx, o.key, true); err != nil {
		c.t.Errorf("%s cannot be cancelled: %v", o.key, err)
	}
	c.repeated(o)
	c.apart()
}

func (c *campaign) repeatedBeforeTheHub(o orphan) {
	c.shop.CutCable()
	c.must(c.shop.edge.start())
	c.serve()
	c.repeated(o)
	time.Sleep(rand.N(100 * time.Millisecond))
	c.shop.MendCable()
	c.health("connected")
	time.Sleep(rand.N(10 * time.Millisecond))
	c.shop.CutCable()
	c.apart()
}

// TestOverlap_TheDiskFailsOnceItHasLeft has the router's disk fail to sync a sale that the platform approves meanwhile. The till is not answered, and the
// process ends; the next one has the approval, executed once.
func TestOverlap_TheDiskFailsOnceItHasLeft(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse: ", err)
	}
	t.Parallel()
	c := newCampaign(t, Options{})
	c.must(c.shop.Stop())
	d := c.onDisk("edge")
	c.must(c.shop.StartHub(c.ctx))
	till := c.tills[0]
	for n, f := range []disk.Fault{
		{Op: disk.Sync, At: 1, Err: syscall.EIO, Fate: disk.Gone},
		{Op: disk.Sync, At: 1, Err: syscall.EIO, Fate: disk.Halved},
		{Op: disk.Sync, At: 2, Err: syscall.EIO, Fate: disk.Gone},
		{Op: disk.Sync, At: 2, Err: syscall.EIO, Fate: disk.Whole},
	} {
		d.SetSyncDelay(0)
		c.must(c.shop.StartEdge(c.ctx))
		c.health("connected")
		time.Sleep(100 * time.Millisecond)     // what is written at a hello is on the disk
		d.SetSyncDelay(300 * time.Millisecond) // the platform has answered by then
		d.Fail(f)
		key := fmt.Sprintf("failed-%d", n)
		id := tideover.MakeID(c.shop.Store, till.Name, key)
		c.presses.Add(1)
		pressed := make(chan error, 1)
		go func() {
			_, err := till.Press(c.ctx, key, Press{Kind: tideover.KindSale, Amount: 100 + int64(n), Currency: currency})
			pressed <- err
		}()
		select {
		case <-c.shop.edge.ended():
		case <-time.After(reachMax):
			t.Fatalf("the process goes on after %+v:\n%s", f, tail(c.shop.edge.log))
		}
		till.Crash()
		<-pressed
		d.Fail()
		switch note := till.Note(key); {
		case c.shop.edge.killed():
			t.Errorf("%+v: it was killed", f)
		case note.Accepted || len(note.Ends) > 0:
			t.Errorf("%+v: the till was answered: %+v", f, note)
		case c.shop.Platform.Count(id).Executions != 1:
			t.Errorf("%+v: it had not left: this shows nothing", f)
		}
		d.SetSyncDelay(0)
		c.shop.edge.kill() // it has ended: another one may be started
		c.must(c.shop.edge.start())
		if x, err := till.Sell(c.ctx, key, Press{}); err != nil || x.ID != id || x.State != tideover.StateApproved {
			t.Errorf("%+v: at last it is %+v, %v", f, x, err)
		}
		c.must(c.shop.edge.stop())
	}
	c.must(c.shop.edge.start())
	c.serve()
	c.settle()
	c.judge()
	c.must(c.shop.Stop())
}
