package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/internal/conf"
)

// read loads a configuration from text.
func read(t *testing.T, text string, environ ...string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tideover.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadConfig(Source{Path: path, Environ: environ})
}

// The shipped example says what the defaults are, and is well as it stands.
func TestLoadConfig_ReadsTheShippedExample(t *testing.T) {
	c, err := LoadConfig(Source{Path: "../docs/examples/tideover.toml"})
	if err != nil {
		t.Fatal(err)
	}
	if changes := DefaultConfig().Changes(c); len(changes) > 0 {
		t.Errorf("the example differs from the defaults: %v", changes)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("the example is warned of: %v", w)
	}
}

// Every key that the example only mentions is one that exists, and its value is well.
func TestLoadConfig_ReadsWhatTheExampleLeavesOut(t *testing.T) {
	b, err := os.ReadFile("../docs/examples/tideover.toml")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "# "); ok && (strings.Contains(rest, " = ") || strings.HasPrefix(rest, "[[")) {
			line = rest
		}
		all = append(all, line)
	}
	text := strings.NewReplacer(`kind        = "wired"`, `kind = "cellular"`, "metered     = false", "metered = true", "# tls_", "tls_", `tls          = "off"`, `tls = "files"`).
		Replace(strings.Join(all, ""))
	c, err := read(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if c.Store != "shop-0001" || len(c.Hub.Addresses) != 1 || len(c.Uplinks) != 1 || c.Uplinks[0].MonthlyCap != 2e9 || c.Endpoint.TLSKey == "" || len(c.Methods) != 1 || c.Methods[0].Waits() {
		t.Errorf("have %+v", c)
	}
}

func TestLoadConfig_NamesFileLineAndKey(t *testing.T) {
	for text, want := range map[string]string{
		"store = \"a b\"\n":  `:1: store: "a b" is not a store's name`,
		"state_dir = \"\"\n": ":1: state_dir: may not be empty",
		"\nlang = \"fr\"\n":  `:2: lang: "fr" is not a language`,
		"[endpoint]\nlisten = \"0.0.0.0:8400\"\naccess = \"open\"\n":     `:3: endpoint.access: "open" lets in whoever`,
		"[endpoint]\naccess = \"open\"\n":                                `:2: endpoint.access: "open" lets in whoever`,
		"[endpoint]\ndefault_wait = \"5m\"\n":                            ":2: endpoint.default_wait: 5m0s is out of range",
		"[endpoint]\ntls = \"on\"\n":                                     `:2: endpoint.tls: "on" is unknown`,
		"[endpoint]\nlisten = \"8400\"\n":                                `:2: endpoint.listen: "8400" is no address`,
		"[admin]\nsocket = \"\"\n":                                       ":2: admin.socket: may not be empty",
		"[admin]\nweb = \"0.0.0.0:8480\"\n":                              `:2: admin.web: "0.0.0.0:8480" is not an address of this machine alone`,
		"[hub]\naddresses = [\"hub.example.com\"]\n":                     `:2: hub.addresses: "hub.example.com" is not HOST:PORT`,
		"[hub]\naddresses = [\n\"0.0.0.0:8443\"]\n":                      `:2: hub.addresses: "0.0.0.0:8443" names no machine`,
		"[hub]\naddresses = [\"h:0\"]\n":                                 `:2: hub.addresses: "h:0" is not HOST:PORT`,
		"[[uplink]]\nname = \"x\"\n":                                     `:1: uplink[0].interface: "" is not an interface`,
		"[[uplink]]\ninterface = \"a\"\n[[uplink]]\ninterface = \"a\"\n": `:3: uplink[1].name: "a" stands there twice`,
		"[[uplink]]\ninterface = \"a\"\nkind = \"fibre\"\n":              `:3: uplink[0].kind: "fibre" is unknown`,
		"[limits]\nsale_max = -1\n":                                      ":2: limits.sale_max: -1 is below 0",
		"[limits]\nsale_max = 5\nsale_min = 9\n":                         ":3: limits.sale_min: 9 is above limits.sale_max, 5: no sale would be taken (limits.sale_max is at ",
		"[[method]]\nname = \"qr\"\nmay_wait = false\n":                  `:1: method[0].offer: "qr" may not wait, and nothing is offered instead`,
		"[[method]]\nname = \"qr\"\n[[method]]\nname = \"QR\"\n":         `:4: method[1].name: "QR" stands there twice`,
		"[[method]]\nname = \"qr\"\nmay_wait = \"no\"\n":                 `:3: method[0].may_wait: wants `,
		"[duplicates]\naction = \"shout\"\n":                             `:2: duplicates.action: "shout" is unknown`,
		"[uplink]\ninterface = \"a\"\n":                                  ":1: uplink: wants an array of tables, has a table",
		"[endpoint]\nlisten = 8400\n":                                    ":2: endpoint.listen: wants a string, has the number 8400",
		"[endpoint]\naccess = \"paired\"\nx = 1\n":                       ":3: endpoint.x: unknown key",
		"[retention]\nfinal = \"a while\"\n":                             `:2: retention.final: "a while" is not a length of time`,
		"store = \"ok\"\n[endpoint\nlisten = 1\n":                        ":2: ",
	} {
		_, err := read(t, text)
		all, ok := errors.AsType[conf.Errors](err)
		if !ok {
			t.Errorf("%q: have %v", text, err)
			continue
		}
		if said := strings.TrimPrefix(all[0].Error(), all[0].File); !strings.HasPrefix(said, want) {
			t.Errorf("%q:\nhave %s\nwant %s", text, said, want)
		}
	}
}

func TestLoadConfig_TellsEverythingAtOnceAndNothingTwice(t *testing.T) {
	_, err := read(t, "[endpoint]\naccess = 1\n[limits]\nsale_max = -1\noffline_age_max = \"x\"\n")
	all, _ := errors.AsType[conf.Errors](err)
	var have []string
	for _, e := range all {
		have = append(have, e.Key)
	}
	if want := []string{"endpoint.access", "limits.sale_max", "limits.offline_age_max"}; !slices.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
}

// TestLoadConfig_TakesTheContractsExample: every key with a value, as it is shown to whoever writes a file.
func TestLoadConfig_TakesTheContractsExample(t *testing.T) {
	_, err := read(t, `
store      = "shop-0001"
state_dir  = "/var/lib/tideover"
lang       = "zh"
[endpoint]
listen       = "0.0.0.0:8400"
tls          = "off"
access       = "paired"
default_wait = "25s"
iso8583      = ""
[admin]
socket = "/run/tideover/control.sock"
web    = "127.0.0.1:8480"
[hub]
addresses = ["hub.example.com:8443"]
[[uplink]]
interface = "eth1"
name      = "eth1"
hub       = []
kind      = "wired"
metered   = false
monthly_cap = "2GB"
[limits]
sale_max = 0
sale_min = 0
refund_max = 0
refund_window = "0"
offline_count_max = 1000
offline_amount_max = 0
offline_age_max = "72h"
[duplicates]
window = "120s"
blind_window = "0s"
action = "refuse"
[retention]
final = "720h"
payload = "0s"
`)
	if err != nil {
		t.Error(err)
	}
}

func TestLoadConfig_TakesTheEnvironmentOverTheFile(t *testing.T) {
	c, err := read(t, "[endpoint]\nlisten = \"0.0.0.0:1\"\n", "TIDEOVER_ENDPOINT_LISTEN=127.0.0.1:2", "TIDEOVER_HUB_ADDRESSES=a:1,b:2",
		"TIDEOVER_LANG=en", "TIDEOVER_LIMITS_OFFLINE_AGE_MAX=2d", "TIDEOVER_LISTEN=x")
	if err != nil {
		t.Fatal(err)
	}
	if c.Endpoint.Listen != "127.0.0.1:2" || len(c.Hub.Addresses) != 2 || c.Endpoint.Lang != tideover.English || c.Limits.OfflineAgeMax != 48*time.Hour {
		t.Errorf("have %+v", c)
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0].Error(), "TIDEOVER_LISTEN") {
		t.Errorf("warnings: %v", w)
	}
}

func TestConfig_WarnsOfWhatItDoesNotActOn(t *testing.T) {
	c, err := read(t, "[admin]\nweb = \"\"\n[retention]\nfinal = \"9h\"\n[[uplink]]\ninterface = \"a\"\nmonthly_cap = \"2GB\"\n[[uplink]]\ninterface = \"b\"\n")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, w := range c.Warnings() {
		keys = append(keys, w.Key)
	}
	if got, want := strings.Join(keys, " "), "uplink[0].monthly_cap uplink[1].interface"; got != want {
		t.Errorf("warns of %s, want %s", got, want)
	}
}

func TestConfig_CompleteTakesTheEnrolment(t *testing.T) {
	c, err := read(t, "\nstore = \"shop-1\"\n")
	if err != nil {
		t.Fatal(err)
	}
	other := c
	if err := other.Complete("shop-2", []string{"h:1"}); err == nil || !strings.Contains(err.Error(), `.toml:2: store: this machine is enrolled as "shop-2", not as "shop-1"`) {
		t.Errorf("another store: %v", err)
	}
	if err := c.Complete("shop-1", nil); err == nil || !strings.Contains(err.Error(), "hub.addresses: no hub is named") {
		t.Errorf("no address: %v", err)
	}
	if err := c.Complete("shop-1", []string{"h:1"}); err != nil || c.Hub.Addresses[0] != "h:1" {
		t.Errorf("have %v, %v", c.Hub.Addresses, err)
	}
	c.Store, c.Hub.Addresses = "", []string{"own:1"}
	if err := c.Complete("shop-9", []string{"h:1"}); err != nil || c.Store != "shop-9" || c.Hub.Addresses[0] != "own:1" {
		t.Errorf("have %q %v, %v", c.Store, c.Hub.Addresses, err)
	}
}

func TestConfig_ValidateServesWhatWasNotRead(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Endpoint.Access = "open"
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "endpoint.access: ") {
		t.Errorf("have %v", err)
	}
}

// What a hub would not call a store is found here, not at enrolment; what it would, is taken.
func TestConfig_KnowsAStoresName(t *testing.T) {
	hubs := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`) // as the hub has it
	for _, name := range []string{"a", "Z", "0", "9", "a.b", "a_b", "a-b", "-", ".a", "_a", "a/b", "a b", "a\n", "\xff", "a\xff", "店", "a店", "@", "[", "`", "{", "a:"} {
		if isStoreName(name) != hubs.MatchString(name) {
			t.Errorf("%q: have %v", name, isStoreName(name))
		}
	}
	for n := range 70 {
		if have := isStoreName(strings.Repeat("a", n)); have != (n >= 1 && n <= 64) {
			t.Errorf("%d letters: have %v", n, have)
		}
	}
}
