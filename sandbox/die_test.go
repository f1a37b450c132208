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
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// dieTimes is how often a point is passed before the process dies there, at most.
	dieTimes = 3
	// reachMax is how long a point may take to be reached while tills sell.
	reachMax = 30 * time.Second
)

// TestDie_AtEachPoint ends the process immediately before and after each commit and each send of a transaction's way, as a power
// cut would: the first, the second and the third time that it comes there. Tills sell before, during and after it. A point that is
// never reached is a failure: it would show nothing.
func TestDie_AtEachPoint(t *testing.T) {
	points := diePoints(t)
	times := dieTimes
	if testing.Short() {
		times = 1
	}
	armed := build(t, "tideover-sandbox", "-tags", "die")
	c := newCampaign(t, Options{Executable: armed, Platform: trouble(), PlatformTimeout: time.Second})
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
func (c *campaign) dieAt(p *program, point string, n int) bool {
	c.t.Helper()
	p.kill()
	c.must(p.start(fmt.Sprintf("TIDEOVER_DIE=%s:%d", point, n)))
	died := true
	select {
	case <-p.ended():
		if !p.killed() {
			c.t.Errorf("%s ended by itself before %s:\n%s", p.name, point, tail(p.log))
		}
	case <-time.After(reachMax):
		c.t.Errorf("%s never came to %s for the %d. time within %v", p.name, point, n, reachMax)
		p.kill()
		died = false
	}
	c.must(p.start())
	// Some of what follows is sold to a program in peace, so that each point finds transactions at every step of their way.
	time.Sleep(rand.N(300 * time.Millisecond))
	return died
}

// diePoints finds every named point in the sources, with the program that passes it.
func diePoints(t *testing.T) map[string]string {
	t.Helper()
	points := map[string]string{}
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
		owner := asEdge
		if strings.HasPrefix(filepath.ToSlash(file), "../hub/") {
			owner = asHub
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "At" || fmt.Sprint(f.X) != "die" {
				return true
			}
			point, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: die.At wants a name that is written there, so that this test finds it", file)
				return true
			}
			name, err := strconv.Unquote(point.Value)
			if err != nil {
				t.Error(err)
			}
			points[name] = owner
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Around three kinds of commit and two sends at the edge, three commits, a call and a send at the hub.
	if len(points) < 18 {
		t.Errorf("found only %d points: %v", len(points), slices.Sorted(maps.Keys(points)))
	}
	return points
}
