package conf_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/internal/conf"
)

type config struct {
	Store    string        `toml:"store"`
	Lang     tideover.Lang `toml:"lang"`
	Endpoint endpoint      `toml:"endpoint"`
	Hub      struct {
		Addresses []string `toml:"addresses"`
	} `toml:"hub"`
	Uplinks []uplink `toml:"uplink"`
}

type endpoint struct {
	Listen  string        `toml:"listen"`
	Wait    time.Duration `toml:"default_wait"`
	Count   int           `toml:"count"`
	Open    bool          `toml:"open"`
	Kind    tideover.Kind `toml:"kind"`
	private string
}

type uplink struct {
	Interface string    `toml:"interface"`
	Metered   *bool     `toml:"metered"`
	Cap       conf.Size `toml:"monthly_cap"`
}

func defaults() config {
	return config{Lang: "en", Endpoint: endpoint{Listen: "127.0.0.1:1", Wait: 25 * time.Second, private: "kept"}}
}

// load writes text to a file named tideover.toml and reads it.
func load(t *testing.T, text string, environ ...string) (config, *conf.File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tideover.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	f, err := conf.Load(conf.Source{Path: path, Prefix: "TIDEOVER", Environ: environ}, &c)
	return c, f, err
}

func TestLoad_TakesFileOverDefault(t *testing.T) {
	c, f, err := load(t, `
store = "shop"
[endpoint]
default_wait = "1d12h"
count = 7
open = true
kind = "sale"
[hub]
addresses = ["a:1", "b:2"]
[[uplink]]
interface = "eth1"
monthly_cap = "2GB"
[[uplink]]
interface = "wwan0"
metered = false
`)
	if err != nil {
		t.Fatal(err)
	}
	no := false
	want := defaults()
	want.Store, want.Endpoint.Wait, want.Endpoint.Count, want.Endpoint.Open = "shop", 36*time.Hour, 7, true
	want.Endpoint.Kind, want.Hub.Addresses = tideover.KindSale, []string{"a:1", "b:2"}
	want.Uplinks = []uplink{{Interface: "eth1", Cap: 2e9}, {Interface: "wwan0", Metered: &no}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("have %+v\nwant %+v", c, want)
	}
	if !f.Present() || !f.Given("endpoint.count") || f.Given("endpoint.listen") || !f.Given("uplink[1].metered") {
		t.Error("the file does not know what it gave")
	}
}

func TestLoad_TakesFlagsOverEnvironmentOverFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("store = \"file\"\nlang = \"zh\"\n[endpoint]\nlisten = \"file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	f, err := conf.Load(conf.Source{
		Path: path, Prefix: "TIDEOVER", Flags: map[string]string{"lang": "en"},
		Environ: []string{
			"TIDEOVER_LANG=fr", "TIDEOVER_ENDPOINT_LISTEN=env", "TIDEOVER_HUB_ADDRESSES=a:1, b:2,", "TIDEOVER_STORE=",
			"TIDEOVER_ENDPOINT_DEFAULT_WAIT=3s", "TIDEOVER_ENDPIONT_LISTEN=x", "OTHER=1",
		},
	}, &c)
	if err != nil {
		t.Fatal(err)
	}
	if c.Store != "file" || c.Lang != "en" || c.Endpoint.Listen != "env" || c.Endpoint.Wait != 3*time.Second {
		t.Errorf("have %+v", c)
	}
	if want := []string{"a:1", "b:2"}; !reflect.DeepEqual(c.Hub.Addresses, want) {
		t.Errorf("addresses are %q, want %q", c.Hub.Addresses, want)
	}
	if got := f.StrangeVariables(); len(got) != 1 || got[0] != "TIDEOVER_ENDPIONT_LISTEN" {
		t.Errorf("strange variables: %q", got)
	}
}

// Each complaint names file, line and key, says what is wrong, and what to do next.
func TestLoad_NamesFileLineAndKey(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown key":           {"store = \"a\"\n\n[endpoint]\nlissen = \"x\"\n", `:4: endpoint.lissen: unknown key (did you mean listen?)`},
		"unknown table":         {"[uplnk]\ninterface = \"x\"\n", `:1: uplnk: unknown key (did you mean uplink?)`},
		"unknown in a member":   {"[[uplink]]\n[[uplink]]\nname2 = 1\n", `:3: uplink[1].name2: unknown key (remove it; known here: interface, metered, monthly_cap)`},
		"unknown, inline":       {"hub = { addresses = [],\n  adresses = [] }\n", `:2: hub.adresses: unknown key (did you mean addresses?)`},
		"unknown, quoted":       {"\"a b\" = 1\n", `:1: "a b": unknown key (remove it; known here: store, lang, endpoint, hub, uplink)`},
		"number for a string":   {"store = 5\n", `:1: store: wants a string, has the number 5 (put the value in double quotes)`},
		"string for a number":   {"[endpoint]\ncount = \"5\"\n", `:2: endpoint.count: wants a whole number, has the string "5" (write digits only)`},
		"fraction for a number": {"[endpoint]\ncount = 5.5\n", `:2: endpoint.count: wants a whole number, has the number 5.5 (write digits only)`},
		"string for a bool":     {"[endpoint]\nopen = \"yes\"\n", `:2: endpoint.open: wants true or false, has the string "yes" (write true or false)`},
		"string for a list":     {"[hub]\naddresses = \"a:1\"\n", `:2: hub.addresses: wants a list of strings, has the string "a:1" (write a list: ["one", "two"])`},
		"numbers in a list":     {"[hub]\naddresses = [1]\n", `:2: hub.addresses: wants a list of strings, has a list (write a list: ["one", "two"])`},
		"bad duration":          {"[endpoint]\ndefault_wait = \"25\"\n", `:2: endpoint.default_wait: "25" is not a length of time (write a number and a unit: "30s", "5m", "72h", "30d")`},
		"number as duration":    {"[endpoint]\ndefault_wait = 25\n", `:2: endpoint.default_wait: wants a length of time, has the number 25 (write a number and a unit: "30s", "5m", "72h", "30d")`},
		"bad size":              {"[[uplink]]\nmonthly_cap = \"2 cups\"\n", `:2: uplink[0].monthly_cap: "2 cups" is not a size (write a number and a unit: "500MB", "2GB")`},
		"bad text":              {"[endpoint]\nkind = \"gift\"\n", `:2: endpoint.kind: "gift" is not a value known here (correct the value)`},
		"value for a table":     {"endpoint = 3\n", `:1: endpoint: wants a table, has the number 3 (write a header [name], and its keys below)`},
		"table for an array":    {"[uplink]\ninterface = \"x\"\n", `:1: uplink: wants an array of tables, has a table (write a header [[name]] for each)`},
		"date":                  {"store = 2026-01-02\n", `:1: store: wants a string, has a date or time (put the value in double quotes)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := load(t, tc.text)
			all, ok := errors.AsType[conf.Errors](err)
			if !ok || len(all) != 1 {
				t.Fatalf("have %v", err)
			}
			if got := strings.TrimPrefix(err.Error(), all[0].File); got != tc.want {
				t.Errorf("have %s\nwant %s", got, tc.want)
			}
			if what, hint := all[0].Explain(); what.Zh == what.En || hint.Zh == hint.En || hint.Zh == "" {
				t.Errorf("not in Chinese: %q %q", what.Zh, hint.Zh)
			}
		})
	}
}

func TestLoad_SaysWhereAFileStopsBeingTOML(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		line int
	}{
		"no quotes":     {"lang = \"en\"\nstore = shop\n", 2},
		"key twice":     {"store = \"a\"\nlang = \"en\"\nstore = \"b\"\n", 3},
		"table, dotted": {"endpoint.open = true\n[endpoint]\ncount = 7\n", 2},
		"table twice":   {"[hub]\n[endpoint]\n[hub]\n", 3},
		"unfinished":    {"[hub]\naddresses = [\"a\"", 2},
		"zero bytes":    {"store = \"a\"\n\x00\x00\x00\n", 2},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := load(t, tc.text)
			e, ok := errors.AsType[*conf.Error](err)
			if !ok || e.Line != tc.line {
				t.Fatalf("have %v, want line %d", err, tc.line)
			}
		})
	}
	_, _, err := load(t, "store = \"\xff\"\n")
	if err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("bytes that are not UTF-8: %v", err)
	}
}

func TestLoad_TellsEverythingAtOnceInOrder(t *testing.T) {
	_, _, err := load(t, "[endpoint]\ncount = \"x\"\nopen = 3\nnope = 1\n[hub]\naddresses = 1\n")
	all, _ := errors.AsType[conf.Errors](err)
	var have []int
	for _, e := range all {
		have = append(have, e.Line)
	}
	if want := []int{2, 3, 4, 6}; !reflect.DeepEqual(have, want) {
		t.Errorf("lines %v, want %v", have, want)
	}
	if _, ok := errors.AsType[*conf.Error](err); !ok {
		t.Error("one error is not found inside")
	}
}

// The fault: a length of time that could not be read became 0, and was then complained about as out of range, too.
func TestLoad_KeepsTheDefaultOfWhatItCannotRead(t *testing.T) {
	have, _, err := load(t, "[endpoint]\ncount = \"x\"\ndefault_wait = \"soon\"\n")
	want, _, _ := load(t, "")
	if err == nil || !reflect.DeepEqual(have, want) {
		t.Errorf("have %+v, want %+v (%v)", have, want, err)
	}
}

func TestLoad_BlamesTheVariable(t *testing.T) {
	_, _, err := load(t, "", "TIDEOVER_ENDPOINT_COUNT=many")
	if want := `TIDEOVER_ENDPOINT_COUNT: endpoint.count: "many" is not a whole number (write digits only)`; err == nil || err.Error() != want {
		t.Errorf("have %v\nwant %s", err, want)
	}
}

func TestLoad_MissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.toml")
	c := defaults()
	if _, err := conf.Load(conf.Source{Path: path}, &c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("have %v", err)
	}
	f, err := conf.Load(conf.Source{Path: path, Optional: true}, &c)
	if err != nil || f.Present() || f.Path() != path {
		t.Errorf("have %v", err)
	}
	if _, err := conf.Load(conf.Source{Path: t.TempDir()}, &c); err == nil {
		t.Error("a directory was read as a configuration")
	}
}

func TestFile_RejectNamesThePlace(t *testing.T) {
	_, f, err := load(t, "\n[endpoint]\nlisten = \"x\"\n[[uplink]]\n[[uplink]]\n", "TIDEOVER_STORE=bad shop")
	if err != nil {
		t.Fatal(err)
	}
	no := tideover.Textf("no", "否")
	for _, key := range []string{"endpoint.listen", "endpoint.count", "uplink[1].interface", "store", "hub.addresses"} {
		f.Reject(key, no, tideover.Text{})
	}
	want := []string{
		"TIDEOVER_STORE: store: no", "tideover.toml: hub.addresses: no", "tideover.toml:2: endpoint.count: no",
		"tideover.toml:3: endpoint.listen: no", "tideover.toml:5: uplink[1].interface: no",
	}
	have := strings.Split(strings.ReplaceAll(f.Err().Error(), filepath.Dir(f.Path())+"/", ""), "\n")
	if !reflect.DeepEqual(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
}

// What config show prints is a configuration that means the same.
func TestWrite_IsReadBack(t *testing.T) {
	c, f, err := load(t, "store = \"say \\\"hi\\\"\\t\\\\ 店\"\n[endpoint]\nkind = \"refund\"\n[hub]\naddresses = [\"a\", \"b\"]\n"+
		"[[uplink]]\ninterface = \"eth1\"\nmonthly_cap = \"1536MiB\"\n[[uplink]]\nmetered = true\n", "TIDEOVER_ENDPOINT_COUNT=3")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := conf.Write(&b, f, c, tideover.English); err != nil {
		t.Fatal(err)
	}
	back, _, err := load(t, b.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if !reflect.DeepEqual(back, c) {
		t.Errorf("have %+v\nwant %+v\n%s", back, c, b.String())
	}
	for _, want := range []string{"# line 3\n", "# TIDEOVER_ENDPOINT_COUNT\n", "# default\n", "monthly_cap = \"1536MiB\""} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if up := conf.Tree(c)["uplink"].([]any); len(up) != 2 || up[1].(map[string]any)["metered"] != true {
		t.Errorf("tree: %v", conf.Tree(c))
	}
}

func TestParseDuration_KnowsDays(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "25s": 25 * time.Second, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "1h30m": 90 * time.Minute,
	} {
		d, err := conf.ParseDuration(s)
		if err != nil || d != want {
			t.Errorf("%q: have %v, %v", s, d, err)
		}
		if back, err := conf.ParseDuration(conf.FormatDuration(want)); err != nil || back != want {
			t.Errorf("%v is written as %q", want, conf.FormatDuration(want))
		}
	}
	for _, s := range []string{"", "d", "-1s", "-1d", "1d-2h", "5", "1w", "1e9d", "NaNd", "infd", "1dd", "1d 2h", "106751d", "106751d2400000h"} {
		if d, err := conf.ParseDuration(s); err == nil && (s != "106751d" || d < 0) {
			t.Errorf("%q was read as %v", s, d)
		}
	}
}

func TestParseSize_KnowsUnits(t *testing.T) {
	for s, want := range map[string]conf.Size{
		"0": 0, "17": 17, "17B": 17, "2GB": 2e9, "2 GB": 2e9, "1.5KiB": 1536, "512MiB": 512 << 20, "3kB": 3000,
	} {
		n, err := conf.ParseSize(s)
		if err != nil || n != want {
			t.Errorf("%q: have %d, %v", s, n, err)
		}
		if back, err := conf.ParseSize(want.String()); err != nil || back != want {
			t.Errorf("%d is written as %q", want, want.String())
		}
	}
	for _, s := range []string{"", "GB", "-1GB", "2gb", "1e30TB", "NaN", "inf", "2GBB"} {
		if n, err := conf.ParseSize(s); err == nil {
			t.Errorf("%q was read as %d", s, n)
		}
	}
}

// FuzzLoad: no file makes the loader panic, and what loads is written and read back the same.
func FuzzLoad(f *testing.F) {
	f.Add("store = \"a\"\n[endpoint]\ncount = 3\n[[uplink]]\ninterface = \"x\"\n")
	f.Add("hub = {addresses = [\"a\", [\"b\"]]}\n[[uplink]]\n[uplink.x]\n[[uplink.y]]\n\"\" = 1\n'a.b'.c = {}\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, file, err := load(t, text)
		if err != nil {
			return
		}
		var b strings.Builder
		if err := conf.Write(&b, file, c, tideover.Chinese); err != nil {
			t.Fatal(err)
		}
		if _, _, err := load(t, b.String()); err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
	})
}

func TestDiff_NamesWhatChanged(t *testing.T) {
	yes := true
	from, to := defaults(), defaults()
	from.Uplinks = []uplink{{Interface: "eth1"}, {Interface: "wwan0", Metered: &yes}}
	to.Uplinks = []uplink{{Interface: "eth2"}}
	to.Endpoint.Wait, to.Hub.Addresses, to.Endpoint.Kind = time.Minute, []string{"a"}, tideover.KindSale
	want := []conf.Change{
		{"endpoint.default_wait", `"25s"`, `"1m"`},
		{"hub.addresses", `[]`, `["a"]`},
		{"uplink[0].interface", `"eth1"`, `"eth2"`},
		{"uplink[1].interface", `"wwan0"`, ""},
		{"uplink[1].metered", "true", ""},
		{"uplink[1].monthly_cap", `"0"`, ""},
		{"endpoint.kind", "", `"sale"`},
	}
	if have := conf.Diff(from, to); !reflect.DeepEqual(have, want) {
		t.Errorf("have %v\nwant %v", have, want)
	}
	if have := conf.Diff(from, from); have != nil {
		t.Errorf("from itself: %v", have)
	}
}
