package hub

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tideover/internal/conf"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hub.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfig_EmptyFileIsTheDefault(t *testing.T) {
	c, _, err := LoadConfig(conf.Source{Path: writeConfig(t, ""), Prefix: EnvPrefix})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(c), fmt.Sprint(Default()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestConfig_WrongValuesNameFileLineAndKey(t *testing.T) {
	for key, text := range map[string]string{
		"listen":             `listen = "8443"`,
		"listen_tcp":         `listen_tcp = "0.0.0.0:8443"`,
		"advertise":          `advertise = ["0.0.0.0:8443"]`,
		"admin":              `admin = ""`,
		"metrics":            `metrics = "nowhere"`,
		"state_dir":          `state_dir = ""`,
		"stat_dir":           `stat_dir = "/x"`,
		"ledger.engine":      "\n[ledger]\nengine = \"postgres\"",
		"ledger.url":         "\n[ledger]\nurl = \"postgres://x\"",
		"platform.adapter":   "\n[platform]\nadapter = \"soap\"",
		"platform.guarantee": "\n[platform]\nguarantee = \"maybe\"",
		"platform.url":       "\n[platform]\nurl = \"ftp://x\"",
		"platform.timeout":   "\n[platform]\ntimeout = \"1h\"",
		"platform.notify":    "\n[platform]\nnotify = \"8482\"",
	} {
		t.Run(key, func(t *testing.T) {
			path := writeConfig(t, text)
			_, _, err := LoadConfig(conf.Source{Path: path, Prefix: EnvPrefix})
			all, ok := errors.AsType[conf.Errors](err)
			if !ok || len(all) != 1 {
				t.Fatalf("got %v, want one conf.Error", err)
			}
			e := all[0]
			if e.File != path || e.Line != 1+strings.Count(text, "\n") || e.Key != key || e.Hint.En == "" || e.Hint.Zh == "" {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestConfig_EnvironmentGoesOverFile(t *testing.T) {
	src := conf.Source{Path: writeConfig(t, `listen = "127.0.0.1:1"`), Prefix: EnvPrefix, Environ: []string{"TIDEOVER_HUB_LISTEN=127.0.0.1:2"}}
	c, _, err := LoadConfig(src)
	if err != nil || c.Listen != "127.0.0.1:2" {
		t.Errorf("got %q, %v", c.Listen, err)
	}
}

func TestConfig_AddressesOfATokenAreWhatEdgesCanDial(t *testing.T) {
	bound := &net.UDPAddr{IP: net.IPv4zero, Port: 4321}
	for _, c := range []struct {
		name      string
		listen    string
		advertise []string
		bound     *net.UDPAddr
		want      string // "machine": this machine's own; "": an error that asks for advertise
	}{
		{"advertised", "0.0.0.0:0", []string{"hub.example.com:8443"}, nil, "hub.example.com:8443"},
		{"fixed", "10.1.2.3:8443", nil, nil, "10.1.2.3:8443"},
		{"fixed, running on a free port", "127.0.0.1:0", nil, bound, "127.0.0.1:4321"},
		{"wildcard, running", "0.0.0.0:8443", nil, bound, "machine"},
		{"wildcard, not running", "0.0.0.0:8443", nil, nil, ""},
		{"wildcard without host, not running", ":8443", nil, nil, ""},
		{"free port, not running", "127.0.0.1:0", nil, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Config{Listen: c.listen, Advertise: c.advertise}.addresses(c.bound)
			switch c.want {
			case "":
				mustHint(t, err)
				if e, _ := errors.AsType[*Error](err); !strings.Contains(e.Hint.En, "advertise") {
					t.Errorf("the hint does not ask for advertise: %s", e.Hint.En)
				}
			case "machine":
				if err != nil || len(got) == 0 {
					t.Fatalf("got %v, %v", got, err)
				}
				for _, a := range got {
					if wildcard(a) || !strings.HasSuffix(a, ":4321") {
						t.Errorf("%q cannot be dialled", a)
					}
				}
			default:
				if err != nil || len(got) != 1 || got[0] != c.want {
					t.Errorf("got %v, %v; want %s", got, err, c.want)
				}
			}
		})
	}
}

func TestConfig_ShippedExampleIsTheDefault(t *testing.T) {
	c, f, err := LoadConfig(conf.Source{Path: "../docs/examples/hub.toml", Prefix: EnvPrefix})
	if err != nil || !f.Present() {
		t.Fatalf("%v, present %v", err, f.Present())
	}
	if got, want := fmt.Sprint(c), fmt.Sprint(Default()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
