package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tideover"
)

const (
	// dieTimes is how often a point is passed before the process dies there, at most.
	dieTimes = 3
	// dieWait is how long a program may take to come to a point once it was brought there; then it is brought there again.
	dieWait = 1500 * time.Millisecond
	// reachMax is how long a point may take to be reached while tills sell.
	reachMax = 30 * time.Second
)

// disasters are points that are only reached where a disk was put back to an older copy, with how often that is passed there at most.
var disasters = map[string]int{"hub.ask": 1, "hub.replay": 1, "hub.replayed": 1, "hub.settle": 1}

// elsewhere are points that this shop does not come to, with where they are shown instead.
var elsewhere = map[string]string{
	"queue.settlement": "TestDay_KilledAroundAReport: these tills do not close",
	"queue.rules":      "TestReload_UnderLoad: this shop's rules change once, when its router first starts",
	// What a technician's commands do to files; TestBackupFile_DiesAnywhere and TestRestoreFile_DiesAnywhere of package queue.
	"queue.prune":   "TestPrune_DiesAnywhere of package queue: nothing in this shop is old enough",
	"queue.migrate": "TestMigrate_DiesAnywhere of package queue: a file of an earlier version is opened", "queue.migrate.moved": "the same",
	"queue.backup": "a backup", "queue.backup.renamed": "a backup",
	"queue.restore": "a restore", "queue.restore.kept": "a restore", "queue.restore.renamed": "a restore", "queue.restore.synced": "a restore",
	"queue.compact": "TestCompact_DiesAnywhere of package queue: a compaction", "queue.compact.copying": "a compaction",
	"queue.compact.copied": "a compaction", "queue.compact.renamed": "a compaction",
	"queue.key.turn": "TestKeys_DieAnywhere of package daemon: a technician turns or destroys a key", "queue.key.write": "the same",
	"queue.key.write.renamed": "the same",
	"hub.books":               "the tests of hub/ledger/bolt: a ledger of an earlier version is opened",
	"hub.giveback":            "the tests of hub/desk: a claim that waits for its turn while the hub drains, behind 512 calls",
}

// base is a point without its when.
func base(point string) string {
	return strings.TrimSuffix(strings.TrimSuffix(point, ".before"), ".after")
}

// TestDie_AtEachPoint ends the process immediately before and after each commit and each send of a transaction's way, as a power
// cut would: the first, the second and the third time that it comes there. Tills sell, cancel and reverse before, during and after it.
// A point that is never reached is a failure: it would show nothing.
func TestDie_AtEachPoint(t *testing.T) {
	t.Parallel()
	points := diePoints(t)
	times := dieTimes
	if testing.Short() {
		times = 1
	}
	c, _ := traders(t, Options{Executable: build(t, "tideover-sandbox", "-tags", "die"), Platform: trouble(), PlatformTimeout: time.Second})
	died := 0
	// What needs an older copy comes last: such a journal gives no ends of its own any more.
	sorted := slices.SortedFunc(maps.Keys(points), func(a, b string) int {
		return cmp.Or(count(disasters[base(a)] > 0)-count(disasters[base(b)] > 0), strings.Compare(a, b))
	})
	for _, point := range sorted {
		p := c.shop.edge
		if points[point] == asHub {
			p = c.shop.hub
		}
		for n := 1; n <= min(times, cmp.Or(disasters[base(point)], times)); n++ {
			if c.dieAt(p, point, n) {
				died++
			}
		}
	}
	c.comes()
	t.Logf("%d deaths at %d points", died, len(points))
	c.must(c.shop.Stop())
}

// dieAt runs one program so that it dies at a point, and then as it should.
func (c *campaign) dieAt(p *program, point string, n int) (died bool) {
	c.t.Helper()
	if name := base(point); name == "hub.replay" || name == "hub.replayed" { // what the copy lacks is told again to a hub that was put back
		copied := c.backup()
		for enough := c.acknowledged() + 20; c.acknowledged() < enough && c.ctx.Err() == nil; {
			time.Sleep(50 * time.Millisecond)
		}
		c.putBack(copied)
	}
	p.kill()
	c.must(p.start(fmt.Sprintf("TIDEOVER_DIE=%s:%d", point, n)))
	deadline := time.After(reachMax)
	for waits := true; waits; {
		select {
		case <-p.ended():
			if waits, died = false, p.killed(); !died {
				c.t.Errorf("%s ended by itself before %s:\n%s", p.name, point, tail(p.log))
			}
		case <-deadline:
			c.t.Errorf("%s never came to %s for the %d. time within %v", p.name, point, n, reachMax)
			p.kill()
			waits = false
		case <-time.After(100 * time.Millisecond):
			c.provoke(point, p)
		}
	}
	c.shop.MendCable()
	c.must(p.start())
	// Some of what follows is sold to a program in peace, so that each point finds transactions at every step of their way.
	time.Sleep(rand.N(300 * time.Millisecond))
	return died
}

// provoke brings a program to points that need more than sales.
func (c *campaign) provoke(point string, p *program) {
	switch base(point) {
	case "hub.expire": // the edge ends by itself what it has not sent, and buries it when the hub is back
		c.shop.CutCable()
		c.offline()
		for range dieTimes {
			key := fmt.Sprintf("unsent-%d", c.presses.Add(1))
			c.tills[0].Keep(key, Press{Kind: tideover.KindSale, Amount: 100, Currency: currency})
			c.sellers.Go(func() { // what is wrong is in the till's notes
				_, _ = c.tills[0].send(c.ctx, key, 0)
				_, _ = c.tills[0].Void(c.ctx, key, true)
			})
		}
		time.Sleep(200 * time.Millisecond)
		c.shop.MendCable()
		c.awaits(p)
	case "hub.hello": // said once by each start of an edge
		c.shop.KillEdge()
		c.must(c.shop.edge.start())
		c.awaits(p)
	case "hub.ask": // only an end that nobody was told of is committed there: of what a reversal barred before it arrived
		c.forgotten(func(ctx context.Context, key string, id tideover.ID) {
			_, err := c.tills[1].Sell(ctx, key+"-undo", Press{Kind: tideover.KindReversal, Original: &id})
			c.must(err)
		})
		c.awaits(p)
	case "hub.settle": // what the old disk holds open, and the hub does not know, needs a person
		id := c.forgotten(func(context.Context, string, tideover.ID) { time.Sleep(time.Second) })
		edge := build(c.t, "tideover")
		for deadline := time.Now().Add(reachMax); time.Now().Before(deadline); {
			list := command(c.t, nil, edge, "queue", "list", "--state", "manual", "--json", "--config", c.shop.EdgeConfig())
			if strings.Contains(list.out, id.String()) {
				break
			}
		}
		c.sellers.Go(func() { // the command waits for what the hub says, and the hub dies
			command(c.t, nil, edge, "queue", "settle", id.String(), "--as", "declined", "--reason", "not booked", "--config", c.shop.EdgeConfig())
		})
		c.awaits(p)
	case "hub.store": // the operator's word; whether it is heard is not known, and the token that nobody uses changes nothing
		_, _ = c.shop.Token(c.ctx, "rotate")
	}
}

// awaits gives a program some time to die.
func (c *campaign) awaits(p *program) {
	select {
	case <-p.ended():
	case <-time.After(dieWait):
	}
}

// offline waits until the edge knows that the line is dead, and sends nothing.
func (c *campaign) offline() {
	for deadline := time.Now().Add(reachMax); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		a, err := c.tills[0].call(c.ctx, "GET", "/v1/health", nil, nil, 0)
		if err == nil && strings.Contains(string(a.body), "unreachable") {
			return
		}
	}
}

// acknowledged counts the ends that tills have acknowledged.
func (c *campaign) acknowledged() (n int) {
	for _, till := range c.tills {
		for _, note := range till.Notes() {
			n += count(note.Acked)
		}
	}
	return n
}

// forgotten has a sale taken that never reaches the hub, puts a disk in place that does not know it, does something, and puts the disk
// back that holds it open.
func (c *campaign) forgotten(do func(ctx context.Context, key string, id tideover.ID)) tideover.ID {
	ctx, cancel := context.WithTimeout(c.ctx, reachMax)
	defer cancel()
	without := c.yesterday()
	c.shop.CutCable()
	key := fmt.Sprintf("lost-%d", c.presses.Add(1))
	c.tills[0].Keep(key, Press{Kind: tideover.KindSale, Amount: 100, Currency: currency, ExpiresIn: 600})
	x, err := c.tills[0].send(ctx, key, 0)
	c.must(err)
	with := c.yesterday()
	c.restoreEdge(without)
	c.shop.MendCable()
	do(ctx, key, x.ID)
	c.restoreEdge(with)
	c.sellers.Go(func() { _, _ = c.tills[0].Sell(c.ctx, key, Press{}) }) // what is wrong is in the till's notes
	return x.ID
}

// diePoints finds every named point in the sources, with the program that passes it: what die.At is given, and the marks that the
// hub's desk puts on commits of its ledger.
func diePoints(t *testing.T) map[string]string {
	t.Helper()
	points := map[string]string{}
	add := func(file, name string) {
		if name == "" || elsewhere[base(name)] != "" {
			return
		}
		owner := asEdge
		if strings.HasPrefix(file, "../hub/") {
			owner = asHub
		}
		if !strings.HasSuffix(name, ".before") && !strings.HasSuffix(name, ".after") {
			points[name+".before"], points[name+".after"] = owner, owner
			return
		}
		points[name] = owner
	}
	mark := regexp.MustCompile(`^hub\.[a-z]+$`)
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := entry.Name(); entry.IsDir() && file != ".." && (strings.HasPrefix(base, ".") || base == "tools" || base == "die") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		marks := strings.HasPrefix(file, "../hub/desk/") || strings.HasPrefix(file, "../hub/ledger/")
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if name, err := strconv.Unquote(n.Value); err == nil && marks && mark.MatchString(name) {
					add(file, name)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "At" && fmt.Sprint(f.X) == "die" {
					add(file, firstLiteral(n.Args[0]))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Around three kinds of commit and two sends at the edge; hello, claim, call, record, reverse, acknowledgement and send at the hub.
	if len(points) < 2*(3+2+7) {
		t.Errorf("found only %d points: %v", len(points), slices.Sorted(maps.Keys(points)))
	}
	return points
}

// firstLiteral is a point's name as far as it is written down: all of "room.point.before", or "room.point" of "room.point" + when.
func firstLiteral(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		name, _ := strconv.Unquote(e.Value)
		return name
	case *ast.BinaryExpr:
		return firstLiteral(e.X)
	}
	return ""
}
