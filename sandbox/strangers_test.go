package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/install"
)

// connected says whether the edge's own status shows a hub, and what it says.
func (c *campaign) connected() (bool, said) {
	c.t.Helper()
	s := command(c.t, nil, build(c.t, "tideover"), "status", "--config", c.shop.EdgeConfig())
	return s.status == 0, s
}

// TestFault_Certificates puts a router's disk of yesterday, a stranger's certificate and another hub in the way: none of them gets a
// transaction, the shop goes on taking sales, and the edge says what is wrong.
func TestFault_Certificates(t *testing.T) {
	c := newCampaign(t, Options{})
	c.sells("before")
	other := newCampaign(t, Options{Store: "shop-0002"})

	t.Run("a certificate that was replaced", func(t *testing.T) {
		c.must(c.shop.edge.stop())
		old := filepath.Join(t.TempDir(), "edge")
		c.must(os.CopyFS(old, os.DirFS(c.shop.path("edge"))))
		c.must(c.shop.WipeEdge(c.ctx))
		now := c.swap(old)
		c.must(c.shop.StartEdge(c.ctx))
		c.turnsAway("on-the-old-router")
		c.cutOff("enrolled again")
		c.shop.KillEdge()
		c.swap(now)
		for _, till := range c.tills {
			till.NewRouter()
		}
		c.must(c.shop.StartEdge(c.ctx))
		c.sells("on-the-new-router")
	})
	t.Run("a certificate of another hub", func(t *testing.T) {
		c.must(c.shop.edge.stop())
		own := c.read("edge.crt", "edge.key")
		c.write(other.read("edge.crt", "edge.key"))
		c.must(c.shop.StartEdge(c.ctx))
		c.stores("with-a-strangers-certificate")
		c.cutOff("certificate")
		c.must(c.shop.edge.stop())
		c.write(own)
		c.must(c.shop.StartEdge(c.ctx))
		c.sells("with-its-own-certificate")
	})
	t.Run("another hub", func(t *testing.T) {
		c.must(c.shop.edge.stop())
		edit(t, c.shop.EdgeConfig(), c.shop.Cable.Addr(), other.shop.Cable.Addr())
		c.must(c.shop.StartEdge(c.ctx))
		c.stores("towards-another-hub")
		c.cutOff("certificate")
		c.must(c.shop.edge.stop())
		edit(t, c.shop.EdgeConfig(), other.shop.Cable.Addr(), c.shop.Cable.Addr())
		c.must(c.shop.StartEdge(c.ctx))
		c.sells("towards-its-own-hub")
	})
	t.Run("a store that was revoked", func(t *testing.T) {
		if _, err := c.shop.HubCommand(c.ctx, "store", "revoke", c.shop.Store); err != nil {
			t.Fatal(err)
		}
		c.stores("revoked")
		c.cutOff("certificate")
	})
	if n := other.shop.Platform.Stats().Calls; n > 0 {
		t.Errorf("the other hub's platform was called %d times", n)
	}
	if v := c.shop.Verdict(c.tills...); v.ChargedTwice > 0 || v.Repeated > 0 {
		t.Errorf("%s; %d calls repeated", v, v.Repeated)
	}
}

// TestFault_AnotherLedger points the edge at a hub that has the same authority and another ledger: one that has never heard of the
// store, and one that knows the store and even its certificate. Neither gets a transaction.
func TestFault_AnotherLedger(t *testing.T) {
	c := newCampaign(t, Options{})
	c.sells("before")
	other, err := Open(context.Background(), Options{Store: c.shop.Store})
	c.must(err)
	t.Cleanup(func() { _ = other.Close() })
	c.must(other.StartHub(c.ctx))
	c.must(other.hub.stop())
	for _, name := range []string{"ca.key", "ca.crt", "server.key", "server.crt"} {
		b, err := os.ReadFile(filepath.Join(c.shop.path("hub"), name))
		c.must(err)
		c.must(os.WriteFile(filepath.Join(other.path("hub"), name), b, 0o600))
	}
	c.must(other.StartHub(c.ctx))
	c.must(c.shop.edge.stop())
	edit(t, c.shop.EdgeConfig(), c.shop.Cable.Addr(), other.Cable.Addr())

	c.must(c.shop.StartEdge(c.ctx))
	c.stores("at-a-hub-that-does-not-know-the-store")
	c.cutOff("certificate")
	c.must(c.shop.edge.stop())

	token, err := other.Token(c.ctx, "add")
	c.must(err)
	stranger := filepath.Join(t.TempDir(), "edge")
	_, err = install.Enroll(c.ctx, install.Options{Token: token, StateDir: stranger})
	c.must(err)
	own := c.read("edge.crt", "edge.key")
	for name := range own {
		b, err := os.ReadFile(filepath.Join(stranger, name))
		c.must(err)
		c.must(os.WriteFile(filepath.Join(c.shop.path("edge"), name), b, 0o600))
	}
	c.must(c.shop.StartEdge(c.ctx))
	c.stores("at-another-ledger")
	c.cutOff("another ledger")
	c.must(c.shop.edge.stop())
	if n := other.Platform.Stats().Calls; n > 0 {
		t.Errorf("the other hub's platform was called %d times", n)
	}
	c.write(own)
	edit(t, c.shop.EdgeConfig(), other.Cable.Addr(), c.shop.Cable.Addr())
	c.must(c.shop.StartEdge(c.ctx))
	for _, n := range c.tills[0].Notes() {
		_, err := c.tills[0].Sell(c.ctx, n.Key, Press{})
		c.must(err)
	}
	c.judge()
}

// TestFault_YesterdaysDisk starts the edge on an older copy of its disk, on which a sale is open that has expired since, unsent, by
// that edge's own word. Nothing is sent again, every till hears the end that it was told, and the edge says what happened.
func TestFault_YesterdaysDisk(t *testing.T) {
	c := newCampaign(t, Options{})
	till := c.tills[0]
	c.sells("first")
	c.shop.CutCable()
	time.Sleep(2 * time.Second) // until the edge knows that the line is dead, and sends nothing
	till.Wait = 0
	_, err := till.Press(c.ctx, "open", Press{Kind: tideover.KindSale, Amount: 100, Currency: currency, ExpiresIn: 2})
	c.must(err)
	yesterday := filepath.Join(t.TempDir(), "edge")
	c.must(os.CopyFS(yesterday, os.DirFS(c.shop.path("edge")))) // nothing is written meanwhile
	x, err := till.Sell(c.ctx, "open", Press{})
	c.must(err)
	if x.State != tideover.StateExpired {
		t.Fatalf("an unsent sale is %s", x.State)
	}
	c.shop.MendCable()
	c.sells("later")
	c.must(c.shop.edge.stop())
	c.must(c.shop.StartEdge(c.ctx)) // the hub hears how far this journal has come
	c.sells("last")
	c.must(c.shop.edge.stop())

	c.swap(yesterday)
	till.NewRouter()
	c.must(c.shop.StartEdge(c.ctx))
	for _, n := range till.Notes() {
		if x, err := till.Sell(c.ctx, n.Key, Press{}); err != nil || x.State != n.End.State {
			t.Errorf("%s: was %s, and is %s on the old disk (%v)", n.Key, n.End.State, x.State, err)
		}
	}
	if log := tail(c.shop.path("edge.log")); !strings.Contains(log, "older than") {
		t.Errorf("nothing says that the disk is an old one: %s", log)
	}
	c.judge()
}

// swap puts another state directory in the edge's place, and returns where the one that was there is now.
func (c *campaign) swap(dir string) (was string) {
	c.t.Helper()
	was = filepath.Join(c.t.TempDir(), "was")
	c.must(os.CopyFS(was, os.DirFS(c.shop.path("edge"))))
	c.must(os.RemoveAll(c.shop.path("edge")))
	c.must(os.CopyFS(c.shop.path("edge"), os.DirFS(dir)))
	c.must(private(c.shop.path("edge")))
	return was
}

// private gives a copied state directory the modes that the edge insists on.
func private(dir string) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if err == nil {
			err = os.Chmod(filepath.Join(dir, f.Name()), 0o600)
		}
	}
	if err == nil {
		err = os.Chmod(dir, 0o700)
	}
	return err
}

func (c *campaign) read(names ...string) map[string][]byte {
	c.t.Helper()
	all := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(c.shop.path("edge"), name))
		c.must(err)
		all[name] = b
	}
	return all
}

func (c *campaign) write(files map[string][]byte) {
	c.t.Helper()
	for name, b := range files {
		c.must(os.WriteFile(filepath.Join(c.shop.path("edge"), name), b, 0o600))
	}
}

// turnsAway says that a router which was replaced takes nothing new once it knows.
func (c *campaign) turnsAway(key string) {
	c.t.Helper()
	till := c.tills[0]
	for deadline := time.Now().Add(endMax); ; time.Sleep(50 * time.Millisecond) {
		a, err := till.call(c.ctx, http.MethodGet, "/v1/health", nil, nil, 0)
		c.must(err)
		if strings.Contains(string(a.body), `"accepting":false`) {
			break
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("it never heard that it was replaced: %s", a)
		}
	}
	body, err := json.Marshal(Press{Kind: tideover.KindSale, Amount: 100, Currency: currency})
	c.must(err)
	a, err := till.call(c.ctx, http.MethodPost, "/v1/transactions", http.Header{"Idempotency-Key": {key}}, body, 0)
	if err != nil || a.status != http.StatusServiceUnavailable || a.refusal().Code != tideover.CodeSuperseded {
		c.t.Errorf("%v, %s", err, a)
	}
}

// cutOff wants the edge to run without a hub, and to say why.
func (c *campaign) cutOff(why string) {
	c.t.Helper()
	deadline := time.Now().Add(endMax)
	var s said
	for well := true; well; _, s = c.connected() {
		if well, _ = c.connected(); !well {
			break
		}
		if time.Now().After(deadline) {
			c.t.Errorf("the edge still shows a hub")
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	_, s = c.connected()
	if log := tail(c.shop.path("edge.log")); s.status != 1 || !strings.Contains(s.out+s.words+log, why) {
		c.t.Errorf("exit status %d, want 1; and nothing says %q: %s%s\n%s", s.status, why, s.out, s.words, log)
	}
}

// TestFault_Clock runs an edge whose wall clock is an hour off, either way, and one whose clock has lost its battery: it warns, sells
// on, and expires by the hub's time.
func TestFault_Clock(t *testing.T) {
	shifted := build(t, "tideover-sandbox", shiftedClock(t)...)
	for name, seconds := range map[string]int{"an hour ahead": 3600, "an hour behind": -3600, "in 1970": -int(time.Now().Unix()) + 60} {
		t.Run(name, func(t *testing.T) {
			c := newCampaign(t, Options{EdgeExecutable: shifted})
			c.must(c.shop.edge.stop())
			c.must(c.shop.StartEdge(c.ctx, fmt.Sprintf("%s=%d", clockOffset, seconds)))
			c.sells("with-a-wrong-clock")
			if log := tail(c.shop.path("edge.log")); !strings.Contains(log, "clock is wrong") {
				t.Errorf("nothing warns of the clock: %s", log)
			}
			// Nothing is executed that is too old by the hub's time, and nothing ends early by the edge's.
			c.shop.CutCable()
			till := c.tills[1]
			till.Wait = 0
			x, err := till.Press(c.ctx, "late", Press{Kind: tideover.KindSale, Amount: 100, Currency: currency, ExpiresIn: 1})
			c.must(err)
			time.Sleep(2500 * time.Millisecond)
			c.shop.MendCable()
			x, err = till.Sell(c.ctx, "late", Press{})
			c.must(err)
			if x.State != tideover.StateExpired {
				t.Errorf("a sale that was too old is %s", x.State)
			}
			// A restart with this clock finds certificates as good as before.
			c.shop.KillEdge()
			c.must(c.shop.StartEdge(c.ctx, fmt.Sprintf("%s=%d", clockOffset, seconds)))
			c.sells("after-a-restart")
			c.judge()
		})
	}
}

// TestFault_DamagedQueue gives the edge a queue that is empty, cut, flipped, foreign, gone, or sealed with another key. It must not
// start, must say what is wrong and what to do, and must leave the file as it is: never an empty queue in its place.
func TestFault_DamagedQueue(t *testing.T) {
	c := newCampaign(t, Options{})
	for i := range 8 {
		c.sells(fmt.Sprint("sale-", i))
	}
	c.must(c.shop.edge.stop())
	queue := filepath.Join(c.shop.path("edge"), "queue.db")
	good, err := os.ReadFile(queue)
	c.must(err)
	foreign, err := os.ReadFile(filepath.Join(c.shop.path("hub"), "ledger.db"))
	c.must(err)
	key := filepath.Join(c.shop.path("edge"), "queue.key")
	goodKey, err := os.ReadFile(key)
	c.must(err)

	header := bytes.Clone(good)
	header[16] ^= 0x10
	used := len(bytes.TrimRight(good, "\x00")) // the file is zeros from there on, and may be cut there without harm
	for _, d := range []struct {
		name  string
		queue []byte
		key   []byte
	}{
		{"0 bytes", []byte{}, goodKey},
		{"cut to one page", good[:4096], goodKey},
		{"cut in half", good[:used/2], goodKey},
		// A page that was written anew leaves its old copy behind: all of them are flipped.
		{"a bit flipped in a record", bytes.ReplaceAll(good, []byte("sale-7"), []byte("sale-6")), goodKey},
		{"a bit flipped in the first page's header", header, goodKey},
		{"text", []byte("this is not a queue\n"), goodKey},
		{"zeros", make([]byte, len(good)), goodKey},
		{"a bbolt file of another program", foreign, goodKey},
		{"another key", good, bytes.Repeat([]byte{7}, len(goodKey))},
		{"gone", nil, goodKey},
	} {
		t.Run(d.name, func(t *testing.T) {
			c.must(os.WriteFile(key, d.key, 0o600))
			c.must(os.Remove(queue))
			if d.queue != nil {
				c.must(os.WriteFile(queue, d.queue, 0o600))
			}
			s := command(t, nil, build(t, "tideover"), "run", "--config", c.shop.EdgeConfig())
			s.wants(t, 2, queue)
			if !strings.Contains(s.words, "hint") || strings.Contains(s.words, "goroutine ") {
				t.Errorf("it gives no next step, or a panic: %s", s.words)
			}
			after, err := os.ReadFile(queue)
			if d.queue == nil {
				if err == nil {
					t.Errorf("there is a queue of %d bytes where there was none", len(after))
					c.must(os.Remove(queue))
				}
				c.must(os.WriteFile(queue, good, 0o600))
			} else if err != nil || !bytes.Equal(after, d.queue) {
				t.Errorf("the file was changed: %d bytes of %d (%v)", len(after), len(d.queue), err)
			}
		})
	}
	c.must(os.WriteFile(key, goodKey, 0o600))
	c.must(os.WriteFile(queue, good, 0o600))
	c.must(c.shop.StartEdge(c.ctx))
	for i := range 8 {
		x, err := c.tills[0].Ask(c.ctx, fmt.Sprint("sale-", i))
		c.must(err)
		if x.State != tideover.StateApproved || !x.Acknowledged {
			t.Errorf("with the good file back, sale-%d is %s, acknowledged: %v", i, x.State, x.Acknowledged)
		}
	}
}

// TestPaired_TillsOutliveTheirRouter pairs tills, replaces the router, and sells on with the same tokens: the hub gives the new router
// its tills, and the same key has the same id.
func TestPaired_TillsOutliveTheirRouter(t *testing.T) {
	c := newCampaign(t, Options{Paired: true})
	edge := build(t, "tideover")
	for _, till := range c.tills {
		s := command(t, nil, edge, "terminal", "pair", "--name", till.Name, "--json", "--config", c.shop.EdgeConfig())
		s.wants(t, 0)
		var code struct{ Code string }
		if err := json.Unmarshal([]byte(s.out), &code); err != nil || code.Code == "" {
			t.Fatalf("no code in %s", s.out)
		}
		c.must(till.Pair(c.ctx, code.Code))
	}
	stranger := c.shop.Till("stranger")
	if _, err := stranger.Sell(c.ctx, "k", Press{Kind: tideover.KindSale, Amount: 1, Currency: currency}); err == nil {
		t.Error("a till without a token sold something")
	}
	c.sells("same")
	before := c.tills[0].Notes()[0].ID
	if x, err := c.tills[1].Sell(c.ctx, "same", Press{Kind: tideover.KindSale, Amount: 100, Currency: currency}); err != nil || x.ID == before {
		t.Errorf("two tills share a transaction: %s, %v", x.ID, err)
	}
	c.must(c.shop.WipeEdge(c.ctx))
	c.must(c.shop.StartEdge(c.ctx))
	for _, till := range c.tills {
		till.NewRouter()
	}
	c.sells("same")
	_, err := c.tills[1].Sell(c.ctx, "same", Press{})
	c.must(err)
	if after := c.tills[0].Notes()[0].ID; after != before {
		t.Errorf("the same key was %s, and is %s on the new router", before, after)
	}
	c.judge()
	if s := c.shop.Platform.Count(before); s.Executions != 1 {
		t.Errorf("executed %d times", s.Executions)
	}
}
