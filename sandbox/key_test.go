package sandbox

import (
	"encoding/json"
	"testing"
	"time"

	"tideover/control"
)

// keyTurns is how often the key is turned while the shop sells.
const keyTurns = 8

// TestKey_TurnsWhileTheShopSells turns the key of the payloads while tills sell, cancel and reverse, the line goes and comes, and the router is
// killed; and puts back a disk of before the last turns. Everything comes to one end, and of the keys those are left that are needed.
func TestKey_TurnsWhileTheShopSells(t *testing.T) {
	t.Parallel()
	c, dice := traders(t, Options{Platform: trouble(), PlatformTimeout: time.Second})
	edge := build(t, "tideover")
	list := func(args ...string) (l control.KeyList) {
		said := command(t, nil, edge, append(args, "--json", "--config", c.shop.EdgeConfig())...)
		if said.status != 0 {
			t.Fatalf("%v: %d: %s", args, said.status, said.words)
		}
		c.must(json.Unmarshal([]byte(said.out), &l))
		return l
	}
	first := list("key", "list").Keys[0].Name
	turns := keyTurns
	if testing.Short() {
		turns /= 2
	}
	for i := range turns {
		c.before(dice)
		list("key", "rotate")
		switch i % 4 {
		case 1:
			c.shop.KillEdge()
			c.must(c.shop.StartEdge(c.ctx))
		case 2:
			c.shop.CutCable()
			time.Sleep(time.Duration(dice.IntN(500)) * time.Millisecond)
			list("key", "rotate")
			c.shop.MendCable()
		case 3:
			copied := c.yesterday()
			c.before(dice)
			list("key", "rotate")
			c.restoreOffline(copied) // its file of keys is of yesterday, too
		}
	}
	c.before(dice)
	c.comes()
	l := list("key", "rotate")
	held := 0
	for _, k := range l.Keys {
		if k.Open > 0 && k.Lost {
			t.Errorf("a key that something open needs is gone: %+v", k)
		}
		if k.Held {
			held++
		}
		if k.Name == first && !k.Lost && k.Sealed == 0 {
			t.Errorf("the first key has served, and is there: %+v", k)
		}
	}
	t.Logf("%d keys, %d of them held", len(l.Keys), held)
	c.must(c.shop.Stop())
	command(t, nil, edge, "check", "--config", c.shop.EdgeConfig()).wants(t, 0) // without the hub, which has heard of the newer disks
}
