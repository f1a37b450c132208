package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tideover"
	"tideover/control"
	"tideover/internal/conf"
	"tideover/rules"
	"tideover/terminal"
)

// ConfigPath is where the edge's configuration is looked for where --config does not say.
const ConfigPath = "/etc/tideover/tideover.toml"

// EnvPrefix begins the environment variables that go over the file: TIDEOVER_ENDPOINT_LISTEN.
const EnvPrefix = "TIDEOVER"

// Config is the edge's configuration, as tideover.toml has it. Each room owns its own part.
type Config struct {
	Store      string           `toml:"store"`     // from the enrolment where empty
	StateDir   string           `toml:"state_dir"` // queue.db, keys, certificate; 0700
	Lang       tideover.Lang    `toml:"lang"`      // of messages to whoever names no language
	Endpoint   terminal.Config  `toml:"endpoint"`
	Admin      control.Config   `toml:"admin"`
	Hub        HubConfig        `toml:"hub"`
	Uplinks    []UplinkConfig   `toml:"uplink"` // none: every interface that has a default route
	Limits     rules.Limits     `toml:"limits"`
	Duplicates rules.Duplicates `toml:"duplicates"`
	Methods    rules.Methods    `toml:"method"` // none: every method may wait for the line
	Retention  RetentionConfig  `toml:"retention"`

	file   *conf.File // where values came from; nil for a configuration that was not read
	source Source     // to read it again
}

// HubConfig says where the hub is.
type HubConfig struct {
	Addresses []string `toml:"addresses"` // HOST:PORT, UDP, tried in order; from the enrolment where empty
	// Overlap: a sale leaves while its record is on its way to the disk; its till is answered after both, as ever.
	Overlap bool `toml:"overlap"`
}

// UplinkConfig is one way out of the shop.
type UplinkConfig struct {
	Interface  string    `toml:"interface"` // "lo" is an unbound socket
	Name       string    `toml:"name"`      // the interface where empty
	Hub        []string  `toml:"hub"`       // addresses instead of hub.addresses
	Kind       string    `toml:"kind"`      // wired, wifi or cellular; "" is detected
	Metered    *bool     `toml:"metered"`   // nil: cellular is
	MonthlyCap conf.Size `toml:"monthly_cap"`
}

// RetentionConfig says how long what is over stays.
type RetentionConfig struct {
	Final   time.Duration `toml:"final"`
	Payload time.Duration `toml:"payload"`
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		StateDir: "/var/lib/tideover", Lang: tideover.Chinese, Endpoint: terminal.DefaultConfig(), Admin: control.DefaultConfig(),
		Hub:    HubConfig{Overlap: true},
		Limits: rules.DefaultLimits(), Duplicates: rules.DefaultDuplicates(),
		Retention: RetentionConfig{Final: 720 * time.Hour},
	}
}

// Source says where a configuration is read from.
type Source struct {
	Path     string // "" is [ConfigPath]
	Optional bool   // a missing file is an empty one
	Environ  []string
}

// LoadConfig reads and checks a configuration. Each error inside names file, line and key, and explains itself in both languages.
func LoadConfig(src Source) (Config, error) {
	if src.Path == "" {
		src.Path = ConfigPath
	}
	c := DefaultConfig()
	// What cannot be read holds its default; the rest is checked all the same, so that every error is named at once.
	f, err := conf.Load(conf.Source{Path: src.Path, Optional: src.Optional, Prefix: EnvPrefix, Environ: src.Environ}, &c)
	c.file, c.source = f, src
	c.fill()
	c.check(func(key string, what, hint tideover.Text) {
		if err == nil || f.Given(key) { // what seems to be missing may be what is misspelled
			f.Reject(key, what, hint)
		}
	})
	return c, f.Err()
}

// fill gives the rooms what follows from other keys.
func (c *Config) fill() {
	c.Endpoint.Lang = c.Lang
	for i := range c.Uplinks {
		if u := &c.Uplinks[i]; u.Name == "" {
			u.Name = u.Interface
		}
	}
}

// Validate says what is wrong with a configuration that was not read from a file. Errors are [conf.Errors].
func (c Config) Validate() error {
	var all conf.Errors
	c.Uplinks = slices.Clone(c.Uplinks)
	c.fill()
	c.check(func(key string, what, hint tideover.Text) {
		all = append(all, &conf.Error{Key: key, What: what, Hint: hint})
	})
	if len(all) == 0 {
		return nil
	}
	return all
}

// reject takes one complaint.
type reject func(key string, what, hint tideover.Text)

// text makes one sentence in both languages.
//
//go:noinline
func text(en, zh string, args ...any) tideover.Text { return tideover.Textf(en, zh, args...) }

// storeNameMax is the length of the longest name that a hub gives a store.
const storeNameMax = 64

// isStoreName says whether a hub could call a store s.
func isStoreName(s string) bool {
	for i, r := range s {
		alphanumeric := r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if !alphanumeric && (i == 0 || !strings.ContainsRune("._-", r)) {
			return false
		}
	}
	return s != "" && len(s) <= storeNameMax
}

// check holds every value against what the edge can run with.
func (c Config) check(bad reject) {
	if c.Store != "" && !isStoreName(c.Store) {
		bad("store", text("%q is not a store's name", "%q 不是有效的门店名", c.Store),
			text("copy it from the hub (tideover-hub store list): letters, digits, . _ -, at most 64", "请与 hub 上的一致（tideover-hub store list）：字母、数字、. _ -，最多 64 个字符"))
	}
	if c.StateDir == "" {
		bad("state_dir", text("may not be empty", "不能为空"), text(`give a directory that survives a restart, like "/var/lib/tideover"`, `请填写重启后仍保留的目录，例如 "/var/lib/tideover"`))
	}
	if c.Lang != tideover.English && c.Lang != tideover.Chinese {
		bad("lang", text("%q is not a language known here", "不支持的语言 %q", c.Lang), text(`write "en" or "zh"`, `请写 "en" 或 "zh"`))
	}
	if err := c.Endpoint.Validate(); err != nil {
		key, what := "endpoint", text("%v", "%v", err)
		if e, ok := errors.AsType[*terminal.ConfigError](err); ok {
			key, what = e.Key, e.Text
		}
		bad(key, what, tideover.Text{})
	}
	if c.Admin.Socket == "" {
		bad("admin.socket", text("may not be empty: the technician's commands need it", "不能为空：运维命令需要它"),
			text(`give a path, like "/run/tideover/control.sock"`, `请填写路径，例如 "/run/tideover/control.sock"`))
	}
	if host, _, err := net.SplitHostPort(c.Admin.Web); c.Admin.Web != "" && (err != nil || !loopback(host)) {
		bad("admin.web", text("%q is not an address of this machine alone", "%q 不是仅限本机的地址", c.Admin.Web),
			text(`write it like "127.0.0.1:8480"; "" switches it off`, `请写成 "127.0.0.1:8480" 的形式；"" 表示关闭`))
	}
	checkAddresses("hub.addresses", c.Hub.Addresses, bad)
	c.checkUplinks(bad)
	c.checkRules(bad)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// addressesMax is how many hub addresses an edge tries; an enrolment brings no more either.
const addressesMax = 16

// checkAddresses checks addresses to dial.
func checkAddresses(key string, addresses []string, bad reject) {
	like := text(`write it like "hub.example.com:8443"`, `请写成 "hub.example.com:8443" 的形式`)
	if len(addresses) > addressesMax {
		bad(key, text("%d addresses, at most %d", "共有 %d 个地址，最多 %d 个", len(addresses), addressesMax), text("leave some out", "请删去一些"))
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		n, portErr := strconv.ParseUint(port, 10, 16)
		ip, ipErr := netip.ParseAddr(host)
		switch {
		case err != nil || portErr != nil || n == 0 || host == "":
			bad(key, text("%q is not HOST:PORT", "%q 不是 主机:端口", a), like)
		case ipErr == nil && (ip.IsUnspecified() || ip.IsMulticast()):
			bad(key, text("%q names no machine", "%q 不指向任何机器", a), like)
		}
	}
}

// interfaceMax is the kernel's bound on an interface's name (IFNAMSIZ less its end), in bytes.
const interfaceMax = 15

// uplinksMax is how many ways out of one shop are used.
const uplinksMax = 8

func (c Config) checkUplinks(bad reject) {
	if len(c.Uplinks) > uplinksMax {
		bad("uplink", text("%d uplinks, at most %d", "共有 %d 条上行链路，最多 %d 条", len(c.Uplinks), uplinksMax), text("leave some out", "请删去一些"))
	}
	for i, u := range c.Uplinks {
		at := fmt.Sprintf("uplink[%d].", i)
		if u.Interface == "" || len(u.Interface) > interfaceMax {
			bad(at+"interface", text("%q is not an interface", "%q 不是网络接口", u.Interface), text(`"ip link" lists them, e.g. eth1`, `用 "ip link" 查看，例如 eth1`))
		}
		if slices.ContainsFunc(c.Uplinks[:i], func(o UplinkConfig) bool { return o.Name == u.Name || o.Interface == u.Interface }) {
			bad(at+"name", text("%q stands there twice", "%q 重复出现", u.Name), text("give each interface one [[uplink]], and each its own name", "每个接口只写一个 [[uplink]]，名称不得重复"))
		}
		checkAddresses(at+"hub", u.Hub, bad)
		if u.Kind != "" && !slices.Contains([]string{"wired", "wifi", "cellular"}, u.Kind) {
			bad(at+"kind", text("%q is unknown", "未知的 %q", u.Kind), text(`write "wired", "wifi" or "cellular", or leave it out`, `请写 "wired"、"wifi" 或 "cellular"，或不写`))
		}
	}
}

// checkRules says which rules could take nothing of a kind, or are none.
func (c Config) checkRules(bad reject) {
	for _, p := range c.Rules().Check() {
		if p.Grave {
			bad(p.Key, c.beside(p), p.Hint)
		}
	}
}

// beside is what is wrong with a rule, and where that stands which it contradicts.
func (c Config) beside(p rules.Complaint) tideover.Text {
	if p.Other == "" || c.file == nil {
		return p.What
	}
	where := text("%[1]s is the default", "%[1]s 为默认值", p.Other)
	if name, line := c.file.Where(p.Other); c.file.Given(p.Other) && line > 0 {
		where = text("%s is at %s:%d", "%s 位于 %s:%d", p.Other, name, line)
	} else if c.file.Given(p.Other) {
		where = text("%s is from %s", "%s 来自 %s", p.Other, name)
	}
	return tideover.Text{En: p.What.En + " (" + where.En + ")", Zh: p.What.Zh + "（" + where.Zh + "）"}
}

// Complete takes what the enrolment knows: the store, and the hub's addresses where the configuration has none. A configuration that
// names another store is refused: its tills would get other ids.
func (c *Config) Complete(store string, addresses []string) error {
	if c.Store != "" && c.Store != store {
		return c.complain("store", text("this machine is enrolled as %q, not as %q", "本机注册的门店是 %q，而不是 %q", store, c.Store),
			text("correct store, or enroll again with a token of %s", "请修改 store，或用 %s 的令牌重新注册", c.Store))
	}
	c.Store = store
	if len(c.Hub.Addresses) == 0 {
		c.Hub.Addresses = slices.Clone(addresses)
	}
	if len(c.Hub.Addresses) == 0 {
		return c.complain("hub.addresses", text("no hub is named, and the enrolment brought none", "没有 hub 地址，注册时也没有得到"),
			text(`add it: addresses = ["hub.example.com:8443"] below [hub]`, `请在 [hub] 下添加：addresses = ["hub.example.com:8443"]`))
	}
	return nil
}

// complain makes one error about a key, with its place where the configuration was read from a file.
func (c *Config) complain(key string, what, hint tideover.Text) error {
	e := &conf.Error{Key: key, What: what, Hint: hint}
	if c.file != nil {
		e.File, e.Line = c.file.Where(key)
	}
	return e
}

// Show prints the configuration in effect as TOML, with the origin of each value.
func (c Config) Show(w io.Writer, lang tideover.Lang) error { return conf.Write(w, c.file, c, lang) }

// Tree returns the configuration in effect under the keys of the file.
func (c Config) Tree() map[string]any { return conf.Tree(c) }

// Path is the file that the configuration was read from; present says whether it is there.
func (c Config) Path() (path string, present bool) {
	if c.file == nil {
		return "", false
	}
	return c.file.Path(), c.file.Present()
}

// Changes lists the values in which next differs, as "key: old -> new", in the order of the file.
func (c Config) Changes(next Config) (changes []conf.Change) { return conf.Diff(c, next) }

// served is the configuration as far as this version acts on it.
func (c Config) served() Config {
	c.Admin.Web = ""
	c.Uplinks = slices.Clone(c.Uplinks[:min(1, len(c.Uplinks))])
	for i := range c.Uplinks {
		c.Uplinks[i].Kind, c.Uplinks[i].Metered, c.Uplinks[i].MonthlyCap = "", nil, 0
	}
	return c
}

// Warnings are what a technician should know about a configuration that is well: rules that do not do together what they seem to, values that
// this version does not act on, and variables of the environment that belong to no key. Each explains itself in both languages.
func (c Config) Warnings() (all []*conf.Error) {
	if c.file == nil {
		return nil
	}
	for _, p := range c.Rules().Check() {
		file, line := c.file.Where(p.Key)
		all = append(all, &conf.Error{File: file, Line: line, Key: p.Key, What: c.beside(p), Hint: p.Hint})
	}
	for _, change := range c.served().Changes(c) {
		if !c.file.Given(change.Key) {
			continue
		}
		file, line := c.file.Where(change.Key)
		all = append(all, &conf.Error{
			File: file, Line: line, Key: change.Key,
			What: text("version %s does not act on this key yet", "%s 版本尚不支持此项", tideover.Version),
			Hint: text("it changes nothing; leave it out or count on a later version", "它不起作用；可以删除，或等待后续版本"),
		})
	}
	for _, name := range c.file.StrangeVariables() {
		all = append(all, &conf.Error{
			File: name, What: text("this variable belongs to no key of the configuration", "该环境变量不对应任何配置项"),
			Hint: text("check its spelling: TIDEOVER_ENDPOINT_LISTEN stands for endpoint.listen", "请检查拼写：TIDEOVER_ENDPOINT_LISTEN 对应 endpoint.listen"),
		})
	}
	return all
}
