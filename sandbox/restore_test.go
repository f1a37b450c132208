package sandbox

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tideover"
	"tideover/control"
)

// How often something is restored or replaced in the middle of selling.
const (
	restoresShort   = 1
	restoresDefault = 2
	restoresNightly = 60

	tradersPerTill = 3
	// offlineFor is how long a router has no line when it comes into the shop.
	offlineFor = time.Second
	// copyAge is how old a copy is at most when it is put back.
	copyAge = 3 * time.Second
)

func restores(t *testing.T) int {
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") == "1":
		return restoresNightly
	case testing.Short():
		return restoresShort
	}
	t.Helper()
	return restoresDefault
}

// trade lets every till sell, refund, cancel and reverse until the campaign is closed.
func (c *campaign) trade(w *witness) {
	c.sell()
	for i, till := range c.tills {
		for lane := range tradersPerTill {
			dice := rand.New(rand.NewPCG(c.seed, uint64(7000+100*i+lane)))
			c.sellers.Go(func() {
				for !c.closed.Load() && c.ctx.Err() == nil {
					c.race(till, w, dice)
				}
			})
		}
	}
}

// traders opens a shop in which everything is traded.
func traders(t *testing.T, o Options) (*campaign, *rand.Rand) {
	t.Helper()
	w := &witness{}
	o.Wrap = w.wrap
	c := newCampaign(t, o)
	c.trade(w)
	return c, rand.New(rand.NewPCG(c.seed, 9))
}

// before gives the tills some time, so that what follows comes in the middle of it.
func (c *campaign) before(dice *rand.Rand) {
	time.Sleep(time.Duration(dice.Int64N(int64(copyAge))))
}

// yesterday copies the edge's state directory as a power cut would leave it at this instant, without the edge's knowledge.
func (c *campaign) yesterday() string {
	c.t.Helper()
	dir := filepath.Join(c.t.TempDir(), "yesterday")
	c.must(c.shop.edge.freeze(func() error { return os.CopyFS(dir, os.DirFS(c.shop.path("edge"))) }))
	return dir
}

// restoreEdge puts an older copy of the edge's state directory in the place of the present one.
func (c *campaign) restoreEdge(dir string) {
	c.t.Helper()
	c.shop.KillEdge()
	c.swap(dir)
	c.newRouter()
	c.must(c.shop.StartEdge(c.ctx))
}

// restoreOffline does the same while the line is down.
func (c *campaign) restoreOffline(dir string) {
	c.t.Helper()
	c.shop.KillEdge()
	c.swap(dir)
	c.newRouter()
	c.offlineAtFirst()
}

// replaceEdge puts a router with an empty disk in the place of the present one. It has no line at first.
func (c *campaign) replaceEdge() {
	c.t.Helper()
	c.must(c.shop.WipeEdge(c.ctx))
	c.newRouter()
	c.offlineAtFirst()
}

// offlineAtFirst starts the edge while the line is down.
func (c *campaign) offlineAtFirst() {
	c.t.Helper()
	c.shop.CutCable()
	c.must(c.shop.StartEdge(c.ctx))
	time.Sleep(offlineFor)
	c.shop.MendCable()
}

func (c *campaign) newRouter() {
	for _, till := range c.tills {
		till.NewRouter()
	}
}

// backup has the running hub copy its ledger.
func (c *campaign) backup() string {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "ledger.db")
	_, err := c.shop.HubCommand(c.ctx, "ledger", "backup", file)
	c.must(err)
	return file
}

// snapshot copies the ledger as a power cut would leave it, without the hub's knowledge: nothing in the copy says that it is one.
func (c *campaign) snapshot() string {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "ledger.db")
	c.must(c.shop.hub.freeze(func() error {
		b, err := os.ReadFile(filepath.Join(c.shop.path("hub"), "ledger.db"))
		if err != nil {
			return err
		}
		return os.WriteFile(file, b, 0o600)
	}))
	return file
}

// restoreHub puts a copy in the ledger's place, as the hub's operator does.
func (c *campaign) restoreHub(file string) {
	c.t.Helper()
	c.putBack(file)
	c.must(c.shop.StartHub(c.ctx))
}

func (c *campaign) putBack(file string) {
	c.t.Helper()
	c.shop.KillHub()
	b, err := os.ReadFile(file)
	c.must(err)
	c.must(os.WriteFile(filepath.Join(c.shop.path("hub"), "ledger.db"), b, 0o600))
}

// technician looks at everything that needs a person, as the runbook says, until the tills have their ends: what no till has heard the
// end of is let go; for the rest the platform's word is entered.
func (c *campaign) technician() {
	c.t.Helper()
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		c.settle()
	}()
	edge := build(c.t, "tideover")
	var once sync.Once
	for {
		list := command(c.t, nil, edge, "queue", "list", "--state", "manual", "--json", "--config", c.shop.EdgeConfig())
		var page control.Page
		c.must(json.Unmarshal([]byte(list.out), &page))
		for _, x := range page.Transactions {
			once.Do(func() { c.t.Logf("%d transactions need a person", len(page.Transactions)) })
			c.resolve(edge, x.Transaction)
		}
		select {
		case <-settled:
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// resolve is one transaction's turn.
func (c *campaign) resolve(edge string, x tideover.Transaction) {
	c.t.Helper()
	act := []string{"queue", "release", x.ID.String(), "--reason", "not sold again"}
	as := ""
	switch seen := c.shop.Platform.Count(x.ID); {
	case x.Kind == tideover.KindReversal && c.shop.Platform.Count(x.Original).Net() == 0:
		as = "approved"
	case x.Kind == tideover.KindReversal:
		as = "declined"
	case seen.Executions > 0 && seen.Net() == 0:
		as = "reversed"
	case seen.Executions > 0:
		as = "approved"
	case c.toldEnd(x):
		as = "declined"
	}
	if as != "" {
		act = []string{"queue", "settle", x.ID.String(), "--as", as, "--reason", "the platform's word"}
	}
	if s := command(c.t, nil, edge, append(act, "--config", c.shop.EdgeConfig())...); s.status != 0 {
		// It may have come to its end by itself since it was listed.
		c.t.Logf("%v: exit status %d: %s", act, s.status, s.words)
	}
}

// toldEnd says whether the till of a transaction has shown an end of it.
func (c *campaign) toldEnd(x tideover.Transaction) bool {
	for _, till := range c.tills {
		if till.Name == x.Terminal {
			return till.Note(x.Key).End != nil
		}
	}
	return false
}

// again sends everything once more that is approved as far as its till knows. To a router that has never heard of it that is a new press;
// it must be answered with the one transaction, and with what has become of it since.
func (c *campaign) again() {
	c.t.Helper()
	var tills sync.WaitGroup
	for _, till := range c.tills {
		tills.Go(func() {
			for _, n := range till.Notes() {
				if n.End != nil && n.End.State == tideover.StateApproved {
					_, _ = till.Sell(c.ctx, n.Key, n.Press) // what is wrong is in the till's notes
				}
			}
		})
	}
	tills.Wait()
}

// comes wants everything to come to its end, with a person's help.
func (c *campaign) comes() Verdict {
	c.t.Helper()
	c.closed.Store(true)
	c.technician()
	return c.judge()
}

// TestRestore_EdgeFromYesterday puts an older copy of the edge's disk back, again and again, in the middle of selling, cancelling and
// reversing.
func TestRestore_EdgeFromYesterday(t *testing.T) {
	t.Parallel()
	c, dice := traders(t, Options{Platform: trouble(), PlatformTimeout: time.Second})
	for range restores(t) {
		c.before(dice)
		copied := c.yesterday()
		c.before(dice)
		c.restoreOffline(copied)
	}
	c.before(dice)
	c.comes()
}

// TestRestore_HubFromYesterday puts an older copy of the hub's ledger back in the middle of the same.
func TestRestore_HubFromYesterday(t *testing.T) {
	t.Parallel()
	c, dice := traders(t, Options{Platform: trouble(), PlatformTimeout: time.Second})
	for range restores(t) {
		c.before(dice)
		copied := c.backup()
		c.before(dice)
		c.restoreHub(copied)
	}
	c.before(dice)
	c.comes()
}

// TestRestore_OneAfterTheOther puts back what the dice say, with edge and hub killed in between, and with a platform that executes whatever
// it is called for, as often as it is called.
func TestRestore_OneAfterTheOther(t *testing.T) {
	t.Parallel()
	o := trouble()
	o.Repeats = true
	o.Behaviour.LoseReverse, o.Behaviour.LoseQuery = 0, 0 // a platform that does not answer these leaves it to a person
	c, dice := traders(t, Options{Platform: o, PlatformTimeout: time.Second, Guarantee: "status_only"})
	for range restores(t) + 1 {
		c.before(dice)
		copied, put := "", c.restoreHub
		switch dice.IntN(3) {
		case 0:
			copied, put = c.yesterday(), c.restoreEdge
		case 1:
			copied = c.backup()
		case 2:
			copied = c.snapshot()
		}
		c.before(dice)
		c.kill(2)
		put(copied)
	}
	c.before(dice)
	c.comes()
}

// TestReplace_RouterInTheMiddleOfTheDay replaces the router by an empty one in the middle of the same, with edge and hub killed in
// between. Each till sends again what has no end, under its own key.
func TestReplace_RouterInTheMiddleOfTheDay(t *testing.T) {
	t.Parallel()
	c, dice := traders(t, Options{Platform: trouble(), PlatformTimeout: time.Second})
	for range restores(t) {
		c.before(dice)
		c.kill(4)
		c.replaceEdge()
	}
	c.before(dice)
	c.closed.Store(true)
	c.settle()
	c.again()
	c.comes()
}

// TestReplace_ReversalOfWhatTheOldRouterSold has another till reverse, through the new router, what the old one had sold: the till
// that sold it hears of that, though its new router has never had a record of the sale.
func TestReplace_ReversalOfWhatTheOldRouterSold(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, Options{})
	c.sells("sold")
	c.landed("sold")
	c.replaceEdge()
	c.reverses("sold")
	c.hears("sold", tideover.StateReversed)
	c.judge()
}

// TestReplace_ReversalOfWhatBothHaveLost loses a sale on both disks, and has it reversed. Neither router nor ledger can know whether it was
// executed: that it was undone is not said before a person has asked the platform.
func TestReplace_ReversalOfWhatBothHaveLost(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, Options{})
	c.sells("first")
	copied := c.backup()
	c.sells("sold")
	c.landed("sold")
	c.shop.KillEdge()
	c.restoreHub(copied)
	c.replaceEdge()
	c.sells("later")
	id := c.tills[0].Note("sold").ID
	c.sellers.Go(func() {
		_, _ = c.tills[1].Sell(c.ctx, "undo", Press{Kind: tideover.KindReversal, Original: &id})
	})
	c.technician()
	if n := c.tills[1].Note("undo"); n.End == nil || n.End.State != tideover.StateDeclined {
		t.Errorf("the reversal ends as %+v", n.End)
	}
	c.judge()
}

// TestRestore_EndsThatTheCopyDoesNotHave restores the edge from a copy in which a sale is approved that was reversed since: the edge had
// acknowledged that to the hub, and hears it again.
func TestRestore_EndsThatTheCopyDoesNotHave(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, Options{})
	c.sells("sold")
	copied := c.yesterday()
	c.reverses("sold")
	c.hears("sold", tideover.StateReversed)
	c.landed("sold")
	c.restoreEdge(copied)
	deadline := time.Now().Add(endMax)
	for {
		x, err := c.tills[0].Ask(c.ctx, "sold")
		c.must(err)
		if x.State == tideover.StateReversed {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sale is %s on the old disk", x.State)
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.settle()
	c.judge()
}

// TestRestore_TillThatComesBackLate switches a till off while its sale is executed, puts an older disk or a new router in place, cuts the line
// when that one has heard the hub, and lets the till cancel by key. The router has no record of the sale, and must not say that it was
// never executed.
func TestRestore_TillThatComesBackLate(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(*campaign, string){
		"an older disk": (*campaign).restoreEdge,
		"a new router":  func(c *campaign, _ string) { c.replaceEdge() },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCampaign(t, Options{})
			c.sells("first")
			copied := c.yesterday()
			till := c.tills[0]
			x, err := till.Press(c.ctx, "late", Press{Kind: tideover.KindSale, Amount: 100, Currency: currency})
			c.must(err)
			if x.State != tideover.StateApproved {
				t.Fatalf("it is %s", x.State)
			}
			c.sells("second") // its commit has the end of the other on disk as well
			c.landed("late")
			till.Crash() // it has not shown that
			till.change("late", func(n *Note) { n.End, n.Ends = nil, nil })
			put(c, copied)
			c.tills[1].Wait = 10 * time.Second
			x, err = c.tills[1].Sell(c.ctx, "later", Press{Kind: tideover.KindSale, Amount: 100, Currency: currency})
			c.must(err)
			if x.State != tideover.StateApproved {
				t.Fatalf("it is %s", x.State)
			}
			c.shop.CutCable()
			c.offline()
			x, err = till.cancel(c.ctx, "late", true, 0)
			c.must(err)
			if x.Final() {
				t.Errorf("without a line the router says %q of what another one has sold", x.State)
			}
			c.shop.MendCable()
			x, err = till.Finish(c.ctx, "late", x)
			c.must(err)
			if x.State != tideover.StateReversed {
				t.Errorf("it ends as %s", x.State)
			}
			c.settle()
			c.judge()
		})
	}
}

// reverses has the second till reverse what the first one sold.
func (c *campaign) reverses(key string) {
	c.t.Helper()
	id := c.tills[0].Note(key).ID
	x, err := c.tills[1].Sell(c.ctx, key+"-undo", Press{Kind: tideover.KindReversal, Original: &id})
	c.must(err)
	if x.State != tideover.StateApproved {
		c.t.Errorf("the reversal of %s is %s", key, x.State)
	}
}

// landed waits until the hub has heard that the edge has the end on its disk.
func (c *campaign) landed(key string) {
	c.t.Helper()
	id := c.tills[0].Note(key).ID.String()
	for deadline := time.Now().Add(endMax); ; time.Sleep(20 * time.Millisecond) {
		out, err := c.shop.HubCommand(c.ctx, "transaction", "show", id, "--json")
		c.must(err)
		var shown struct{ Transactions []struct{ Acknowledged bool } }
		c.must(json.Unmarshal(out, &shown))
		if len(shown.Transactions) == 1 && shown.Transactions[0].Acknowledged {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the hub does not hear that the end of %s is on disk: %s", key, out)
		}
	}
}

// hears wants the first till to be told an end that it did not ask for.
func (c *campaign) hears(key string, end tideover.State) {
	c.t.Helper()
	for deadline := time.Now().Add(endMax); ; time.Sleep(20 * time.Millisecond) {
		_, err := c.tills[0].Collect(c.ctx)
		c.must(err)
		if n := c.tills[0].Note(key); n.End.State == end && n.Acked {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("its till never hears that %s is %s", key, end)
		}
	}
}
