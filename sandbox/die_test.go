package sandbox

import (
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
	// reachMax is how long a point may take to be reached while tills sell.
	reachMax = 30 * time.Second
)

// elsewhere are points that tills who only sell never come to, with where they are shown instead.
var elsewhere = map[string]string{
	"hub.ask":    "the tests of hub/desk: only an end that has no place in the outbox is committed there, and each gets one as it ends",
	"hub.cancel": "the tests of hub/desk: no edge of this version sends a cancel",
}

// TestDie_AtEachPoint ends the process immediately before and after each commit and each send of a transaction's way, as a power
// cut would: the first, the second and the third time that it comes there. Tills sell before, during and after it. A point that is
// never reached is a failure: it would show nothing.
func TestDie_AtEachPoint(t *testing.T) {
	t.Parallel()
	points := diePoints(t)
	times := dieTimes
	if testing.Short() {
		times = 1
	}
	c := newCampaign(t, Options{Executable: build(t, "tideover-sandbox", "-tags", "die"), Platform: trouble(), PlatformTimeout: time.Second})
	c.sell()
	died := 0
	for _, point := range slices.Sorted(maps.Keys(points)) {
		p := c.shop.edge
		if points[point] == asHub {
			p = c.shop.hub
		}
		for n := 1; n <= times; n++ {
			if c.dieAt(p, point, n) {
				died++
			}
		}
	}
	c.settle()
	c.judge()
	t.Logf("%d deaths at %d points", died, len(points))
	c.must(c.shop.Stop())
}

// dieAt runs one program so that it dies at a point, and then as it should.
func (c *campaign) dieAt(p *program, point string, n int) (died bool) {
	c.t.Helper()
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
	switch name := strings.TrimSuffix(strings.TrimSuffix(point, ".before"), ".after"); name {
	case "hub.expire": // the edge says by itself that a sale has expired, and buries it when the hub is back
		c.shop.CutCable()
		time.Sleep(2 * time.Second) // until the edge knows that the line is dead, and sends nothing
		key := fmt.Sprintf("unsent-%d", c.presses.Add(1))
		c.sellers.Go(func() { // what is wrong is in the till's notes
			_, _ = c.tills[0].Sell(c.ctx, key, Press{Kind: tideover.KindSale, Amount: 100, Currency: currency, ExpiresIn: 1})
		})
		time.Sleep(2 * time.Second)
		c.shop.MendCable()
		select {
		case <-p.ended():
		case <-time.After(3 * time.Second):
		}
	case "hub.hello": // said once by each start of an edge
		c.shop.KillEdge()
		c.must(c.shop.edge.start())
		select {
		case <-p.ended():
		case <-time.After(2 * time.Second):
		}
	case "hub.store": // the operator's word; whether it is heard is not known, and the token that nobody uses changes nothing
		_, _ = c.shop.Token(c.ctx, "rotate")
	}
}

// diePoints finds every named point in the sources, with the program that passes it: what die.At is given, and the marks that the
// hub's desk puts on commits of its ledger.
func diePoints(t *testing.T) map[string]string {
	t.Helper()
	points := map[string]string{}
	add := func(file, name string) {
		if base := strings.TrimSuffix(strings.TrimSuffix(name, ".before"), ".after"); elsewhere[base] != "" || base == "" {
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
