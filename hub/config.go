package hub

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"tideover"
)

// ConfigPath is where the configuration is looked for where --config does not say.
const ConfigPath = "/etc/tideover/hub.toml"

// EnvPrefix begins the environment variables that go over the file: TIDEOVER_HUB_LISTEN, TIDEOVER_HUB_PLATFORM_URL.
const EnvPrefix = "TIDEOVER_HUB"

// The choices of the configuration.
const (
	EngineBolt          = "bbolt"
	EnginePostgres      = "postgres"
	AdapterHTTP         = "http"
	AdapterSandbox      = "sandbox"
	GuaranteeIdempotent = "idempotent"
	GuaranteeStatusOnly = "status_only"
)

// Config is the hub's configuration, as hub.toml has it.
type Config struct {
	Listen    string         `toml:"listen"`     // UDP, host:port; port 0 takes a free one
	ListenTCP string         `toml:"listen_tcp"` // not served yet: must be empty
	Advertise []string       `toml:"advertise"`  // what a token tells edges; empty: what the hub listens on
	Admin     string         `toml:"admin"`      // Unix socket of the operator's commands
	Metrics   string         `toml:"metrics"`    // HTTP, host:port; empty: none
	StateDir  string         `toml:"state_dir"`
	Ledger    LedgerConfig   `toml:"ledger"`
	Platform  PlatformConfig `toml:"platform"`
}

// LedgerConfig says where the ledger is.
type LedgerConfig struct {
	Engine string `toml:"engine"` // bbolt
	URL    string `toml:"url"`    // postgres only
}

// PlatformConfig says how the payment platform is reached and what it guarantees.
type PlatformConfig struct {
	Adapter   string        `toml:"adapter"`   // http or sandbox
	Guarantee string        `toml:"guarantee"` // idempotent or status_only
	URL       string        `toml:"url"`       // http
	Timeout   time.Duration `toml:"timeout"`   // of one call
	Notify    string        `toml:"notify"`    // HTTP, host:port: where the platform calls back with hints; empty: nowhere
}

// Default returns the configuration of an empty file.
func Default() Config {
	return Config{
		Listen: "0.0.0.0:8443", Admin: "/run/tideover-hub/control.sock", Metrics: "127.0.0.1:8481", StateDir: "/var/lib/tideover-hub",
		Ledger: LedgerConfig{Engine: EngineBolt},
		Platform: PlatformConfig{
			Adapter: AdapterHTTP, Guarantee: GuaranteeIdempotent, URL: "http://127.0.0.1:9090", Timeout: 10 * time.Second,
		},
	}
}

// The limits of the configuration.
const (
	platformTimeoutMin = 100 * time.Millisecond
	platformTimeoutMax = 2 * time.Minute
	advertiseMax       = 16
)

// Fault is one key whose value cannot be used.
type Fault struct {
	Key  string // as in the file: platform.url
	What tideover.Text
	Hint tideover.Text // what to do next
}

// Validate returns what is wrong, in the order of the file; nothing where all is well.
func (c Config) Validate() (faults []Fault) {
	bad := func(key string, what, hint tideover.Text) { faults = append(faults, Fault{key, what, hint}) }
	if err := hostPort(c.Listen, true); err != nil {
		bad("listen", notHostPort(c.Listen, err), text(`write it like "0.0.0.0:8443"`, `请写成 "0.0.0.0:8443" 的形式`))
	}
	if c.ListenTCP != "" {
		bad("listen_tcp", text("this version serves UDP only", "本版本仅支持 UDP"), leaveEmpty())
	}
	if len(c.Advertise) > advertiseMax {
		bad("advertise", text("%d addresses, at most %d", "共有 %d 个地址，最多 %d 个", len(c.Advertise), advertiseMax),
			text("leave out those that edges need least", "请删去较少使用的地址"))
	}
	for _, a := range c.Advertise {
		dial := text(`give the address that edges dial, like "hub.example.com:8443"`, `请填写门店要拨号的地址，例如 "hub.example.com:8443"`)
		if err := hostPort(a, false); err != nil {
			bad("advertise", notHostPort(a, err), dial)
		} else if wildcard(a) {
			bad("advertise", text("%q names no machine", "%q 不指向任何机器", a), dial)
		}
	}
	if c.Admin == "" {
		bad("admin", text("may not be empty: the operator's commands need it", "不能为空：管理命令需要它"),
			text(`give the path of a Unix socket, like "/run/tideover-hub/control.sock"`, `请填写 Unix 套接字路径，例如 "/run/tideover-hub/control.sock"`))
	}
	if c.Metrics != "" {
		if err := hostPort(c.Metrics, true); err != nil {
			bad("metrics", notHostPort(c.Metrics, err), text(`write it like "127.0.0.1:8481"; "" switches it off`, `请写成 "127.0.0.1:8481" 的形式；"" 表示关闭`))
		}
	}
	if c.StateDir == "" {
		bad("state_dir", text("may not be empty", "不能为空"), text(`give a directory, like "/var/lib/tideover-hub"`, `请填写目录，例如 "/var/lib/tideover-hub"`))
	}
	return append(append(faults, c.Ledger.validate()...), c.Platform.validate()...)
}

func notHostPort(addr string, err error) tideover.Text {
	return text("%q is not HOST:PORT (%v)", "%q 不是 主机:端口（%v）", addr, err)
}

func leaveEmpty() tideover.Text { return text("leave it empty", "请留空") }

func (l LedgerConfig) validate() (faults []Fault) {
	bad := func(key string, what, hint tideover.Text) {
		faults = append(faults, Fault{"ledger." + key, what, hint})
	}
	bolt := text(`use "bbolt"`, `请使用 "bbolt"`)
	switch l.Engine {
	case EngineBolt:
		if l.URL != "" {
			bad("url", text("the engine bbolt has no url", "bbolt 引擎不使用 url"), leaveEmpty())
		}
	case EnginePostgres:
		bad("engine", text(`"postgres" is not built into this version`, `本版本不含 "postgres"`), bolt)
	default:
		bad("engine", text("%q is unknown", "未知的 %q", l.Engine), bolt)
	}
	return faults
}

func (p PlatformConfig) validate() (faults []Fault) {
	bad := func(key string, what, hint tideover.Text) {
		faults = append(faults, Fault{"platform." + key, what, hint})
	}
	switch p.Adapter {
	case AdapterHTTP:
		u, err := url.Parse(p.URL)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			bad("url", text("%q is not a plain http:// or https:// address", "%q 不是有效的 http:// 或 https:// 地址", p.URL),
				text(`write it like "https://platform.example.com/v1", without user, query or fragment`, `请写成 "https://platform.example.com/v1" 的形式，不含用户、查询参数和片段`))
		}
	case AdapterSandbox:
	default:
		bad("adapter", text("%q is unknown", "未知的 %q", p.Adapter), text(`use "http" or "sandbox"`, `请使用 "http" 或 "sandbox"`))
	}
	if p.Guarantee != GuaranteeIdempotent && p.Guarantee != GuaranteeStatusOnly {
		bad("guarantee", text("%q is unknown", "未知的 %q", p.Guarantee), text(`use "idempotent" or "status_only"`, `请使用 "idempotent" 或 "status_only"`))
	}
	if p.Timeout < platformTimeoutMin || p.Timeout > platformTimeoutMax {
		bad("timeout", text("%v is out of range", "%v 超出范围", p.Timeout),
			text("give at least %v and at most %v", "请设为 %v 至 %v 之间", platformTimeoutMin, platformTimeoutMax))
	}
	if p.Notify != "" {
		if err := hostPort(p.Notify, true); err != nil {
			bad("notify", notHostPort(p.Notify, err), text(`write it like "0.0.0.0:8482"; "" switches it off`, `请写成 "0.0.0.0:8482" 的形式；"" 表示关闭`))
		}
	}
	return faults
}

// hostPort checks an address; an empty host is every address of the machine, which only a listener may have.
func hostPort(addr string, listen bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		if e, ok := err.(*net.AddrError); ok {
			return fmt.Errorf("%s", e.Err)
		}
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || (n == 0 && !listen) {
		return fmt.Errorf("port %q", port)
	}
	if host == "" && !listen {
		return fmt.Errorf("no host")
	}
	return nil
}

// wildcard says whether an address stands for every address of the machine.
func wildcard(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "" || (ip != nil && ip.IsUnspecified())
}
