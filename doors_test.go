package tideover_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path that rooms are imported under; root is the name that this package has in the lists below.
const (
	module = "tideover"
	root   = module
)

// doors is the list of what may import what inside the module, each with its reason. A transaction travels forward through them;
// none leads back. Edge and hub share only the root, wire, and the small rooms under internal.
var doors = []struct{ from, to, why string }{
	{"internal/conf", root, "complains in both languages"},
	{"internal/conf", "internal/columns", "aligns what config show prints"},
	{"wire", root, "frames carry requests and outcomes"},
	{"rules", root, "limits and meanings of requests"},
	{"edge", root, "decides by the one table of transitions"},
	{"reconcile", root, "compares what each side has of transactions"},
	{"queue", root, "stores transactions"},
	{"queue", "edge", "its journal is of edge's events, and its records are what they add up to"},
	{"queue", "internal/die", "crash tests end the process around each commit"},
	{"terminal", root, "speaks of transactions to tills"},
	{"control", root, "shows transactions to technicians"},
	{"install", root, "enrolment brings the store's terminals"},
	{"install", "wire", "enrolment dials the hub"},
	{"install", "internal/die", "crash tests end the process around each change of the keys"},
	{"uplink", root, "outcomes and terminals pass through it"},
	{"uplink", "netmon", "facts about links hasten a redial"},
	{"uplink", "wire", "speaks frames"},
	{"uplink", "internal/die", "crash tests end the process around each send"},

	{"daemon", root, "carries transactions"},
	{"daemon", "terminal", "composes the edge, and stands behind the terminal's desk"},
	{"daemon", "edge", "asks what to do with each transaction"},
	{"daemon", "rules", "judges a request inside the accepting commit"},
	{"daemon", "queue", "composes the edge"},
	{"daemon", "reconcile", "compares what it has read of each side"},
	{"daemon", "netmon", "shares one watch of the links among uplinks"},
	{"daemon", "uplink", "forward.go carries from queue to uplink"},
	{"daemon", "wire", "makes the frames that it forwards"},
	{"daemon", "control", "stands behind the technician's API"},
	{"daemon", "install", "loads what enrolment wrote"},
	{"daemon", "internal/boottime", "carries ledger time on"},
	{"daemon", "internal/conf", "reads the configuration"},

	{"hub", root, "speaks of transactions to its administrators"},
	{"hub", "wire", "speaks frames"},
	{"hub", "hub/desk", "hands transactions to the executor"},
	{"hub", "hub/ledger", "keeps stores and their certificates"},
	{"hub", "hub/ledger/bolt", "opens the embedded ledger"},
	{"hub", "hub/platform", "holds whichever platform is configured"},
	{"hub", "hub/platform/http", "adapter = \"http\""},
	{"hub", "hub/platform/sandbox", "adapter = \"sandbox\""},
	{"hub", "internal/conf", "reads the configuration"},
	{"hub", "internal/die", "crash tests end the process around each send"},
	{"hub/desk", root, "decides by kind and state"},
	{"hub/desk", "wire", "answers with progress, confirmations and refusals"},
	{"hub/desk", "hub/ledger", "claims, records, and decides by its pure steps"},
	{"hub/desk", "hub/platform", "calls, asks and reverses"},
	{"hub/desk", "internal/boottime", "leases run on the boot-time clock"},
	{"hub/desk", "internal/die", "crash tests end the process around each call"},
	{"hub/ledger", root, "rows move by the one table of row transitions"},
	{"hub/ledger", "wire", "a row keeps the request as it was submitted"},
	{"hub/ledger/bolt", root, "ids are its keys"},
	{"hub/ledger/bolt", "wire", "its outbox is made of confirmations"},
	{"hub/ledger/bolt", "hub/ledger", "stores its rows and runs its steps"},
	{"hub/ledger/bolt", "internal/boottime", "claims of an earlier process lapse at open"},
	{"hub/ledger/bolt", "internal/die", "crash tests end the process around each commit"},
	{"hub/platform", root, "speaks of kinds and results"},
	{"hub/platform/http", root, "speaks of kinds and results"},
	{"hub/platform/http", "hub/platform", "is one"},
	{"hub/platform/sandbox", root, "speaks of kinds and results"},
	{"hub/platform/sandbox", "hub/platform", "is one"},

	{"sandbox", root, "its tills read transactions"},
	{"sandbox", "daemon", "runs an edge"},
	{"sandbox", "hub", "runs a hub"},
	{"sandbox", "hub/platform/sandbox", "runs the platform that counts"},
	{"sandbox", "install", "enrols its edge"},
	{"cmd/tideover", root, "prints its version"},
	{"cmd/tideover", "daemon", "runs the edge"},
	{"cmd/tideover", "install", "enrols it"},
	{"cmd/tideover", "control", "asks the running edge"},
	{"hub", "internal/columns", "pads its commands' columns by display width"},
	{"cmd/tideover", "internal/command", "finds the command that was called"},
	{"cmd/tideover", "internal/columns", "pads columns by display width"},
	{"cmd/tideover-hub", "hub", "runs the hub"},
	{"cmd/tideover-sandbox", "sandbox", "tells the story"},
	{"bench", root, "reads the transactions that it measures; the programs run as processes"},
	{"bench", "bench/rounds", "measures in rounds"},
	{"bench", "queue", "measures the queue alone"},
	{"bench", "edge", "hands it drafts"},
	{"bench", "internal/lab/disk", "measures on a disk that is slow, or that counts"},
	{"bench", "sandbox", "measures over a line that takes its time"},
}

// testDoors is what the tests of a room may import beyond its doors.
var testDoors = []struct{ from, to, why string }{
	{"terminal", "internal/openapi", "its answers are held to its description"},
	{"daemon", "internal/openapi", "the description's examples are sent to the real desk"},
	{"cmd/tideover", "hub", "its scripts enrol with a real hub"},
	{"sandbox", "internal/lab/disk", "the power of a campaign's router and hub fails"},
	{"sandbox", "control", "a campaign's technician settles what needs a person"},
	{"sandbox", "rules", "what was accepted is judged again by the rules that it names"},
	{"hub/desk", "hub/ledger/bolt", "tried over the real ledger"},
	{"hub/desk", "hub/platform/http", "and through the real adapter"},
	{"hub/desk", "hub/platform/sandbox", "against a platform that misbehaves"},
	{"hub/platform/sandbox", "hub/platform/http", "its statement is read by the real adapter"},
	{"internal/model", root, "its worlds move by the product's own tables"},
	{"internal/model", "edge", "its routers decide as the product's do"},
	{"internal/model", "hub/ledger", "and its hubs"},
	{"internal/model", "wire", "and they speak the same frames"},
	{"internal/lab/power", root, "its tills press transactions"},
	{"internal/lab/power", "edge", "and cancel them"},
	{"internal/lab/power", "queue", "on a real journal"},
	{"internal/lab/power", "internal/lab/disk", "on a disk that fails"},
}

// pure rooms decide, or only name things: they must not reach for the world. What they may not import, and packages below it.
var (
	pure    = []string{root, "rules", "edge", "hub/ledger", "reconcile"}
	worldly = []string{"os", "net", "syscall", "os/exec", "golang.org/x/sys", "go.etcd.io/bbolt", "github.com/quic-go"}
)

// TestDoors_HoldTheLayout parses every import of the module and compares it with the list: no door may be used that is not
// listed, none may be listed that nobody uses. A door to or from a room that is not built yet may be listed ahead.
func TestDoors_HoldTheLayout(t *testing.T) {
	product, tests := imports(t)
	used := map[[2]string]bool{}
	allowed := map[[2]string]bool{}
	for _, d := range doors {
		edge := [2]string{d.from, d.to}
		if allowed[edge] || d.why == "" {
			t.Errorf("the door %s -> %s is listed twice or has no reason", d.from, d.to)
		}
		allowed[edge] = true
	}
	for from, tos := range product {
		for to, file := range tos {
			edge := [2]string{from, to}
			used[edge] = true
			if inside(to) && !allowed[edge] {
				t.Errorf("%s imports %s: there is no door from %s to it. Doors lead forward only; see docs/design.md", file, to, from)
			}
		}
	}
	for _, d := range doors {
		built := func(room string) bool { return product[room] != nil }
		if built(d.from) && built(d.to) && !used[[2]string{d.from, d.to}] {
			t.Errorf("the door %s -> %s (%s) is listed, and nobody uses it: close it", d.from, d.to, d.why)
		}
	}
	for _, d := range testDoors {
		allowed[[2]string{d.from, d.to}] = true
		if product[d.from] != nil && tests[d.from][d.to] == "" {
			t.Errorf("the tests' door %s -> %s (%s) is listed, and nobody uses it: close it", d.from, d.to, d.why)
		}
	}
	for from, tos := range tests {
		for to, file := range tos {
			if inside(to) && to != from && !allowed[[2]string{from, to}] {
				t.Errorf("%s imports %s: the tests of %s have no door to it", file, to, from)
			}
		}
	}
}

// TestDoors_HaveNoCircle follows the listed doors: none leads back to where it began, over any number of rooms.
func TestDoors_HaveNoCircle(t *testing.T) {
	next := map[string][]string{}
	for _, d := range doors {
		next[d.from] = append(next[d.from], d.to)
	}
	var walk func(room string, way []string)
	walk = func(room string, way []string) {
		if slices.Contains(way, room) {
			t.Fatalf("doors lead in a circle: %s", strings.Join(append(way, room), " -> "))
		}
		for _, to := range next[room] {
			walk(to, append(slices.Clip(way), room))
		}
	}
	for _, room := range slices.Sorted(maps.Keys(next)) {
		walk(room, nil)
	}
}

// TestDoors_PureRoomsStayPure keeps I/O out of the rooms that only decide.
func TestDoors_PureRoomsStayPure(t *testing.T) {
	product, _ := imports(t)
	for _, room := range pure {
		for to, file := range product[room] {
			for _, w := range worldly {
				if to == foreign+w || strings.HasPrefix(to, foreign+w+"/") {
					t.Errorf("%s imports %s: %s decides and does no I/O", file, w, room)
				}
			}
		}
	}
}

// TestDoors_EdgeAndHubShareLittle follows the doors from both programs: what both reach is the root, wire and internal alone.
func TestDoors_EdgeAndHubShareLittle(t *testing.T) {
	edge, hub := reach("cmd/tideover"), reach("cmd/tideover-hub")
	for room := range edge {
		if hub[room] && room != root && room != "wire" && !strings.HasPrefix(room, "internal/") {
			t.Errorf("edge and hub both reach %s", room)
		}
	}
}

// reach returns every room that listed doors lead to.
func reach(from string) map[string]bool {
	all := map[string]bool{}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		for _, d := range doors {
			if d.from == todo[0] && !all[d.to] {
				all[d.to] = true
				todo = append(todo, d.to)
			}
		}
	}
	return all
}

// inside says whether an import, as imports gives it, is a room of this module: the standard library and other modules keep a
// mark in front, since a room may have the name of a package there.
func inside(to string) bool { return !strings.HasPrefix(to, foreign) }

const foreign = "other: "

// imports parses every Go file of the module. It returns, for each room, what its product and what its tests import, with one
// file that does so. Rooms are named by their folder, this package by its name; the tests of a room count as the room itself.
func imports(t *testing.T) (product, tests map[string]map[string]string) {
	t.Helper()
	product, tests = map[string]map[string]string{}, map[string]map[string]string{}
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := entry.Name()
			if file != "." && (strings.HasPrefix(base, ".") || base == "testdata" || isModule(file)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room, into := path.Dir(filepath.ToSlash(file)), product
		if room == "." {
			room = root
		}
		if strings.HasSuffix(file, "_test.go") {
			into = tests
		}
		if into[room] == nil {
			into[room] = map[string]string{}
		}
		for _, spec := range parsed.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if room, ok := strings.CutPrefix(to, module+"/"); ok {
				to = room
			} else if to != module {
				to = foreign + to
			}
			into[room][to] = file
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return product, tests
}

// isModule says whether a folder is a module of its own.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
