package terminal

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tideover"
)

// The ways in.
const (
	AccessPaired = "paired" // tills with a token from pairing
	AccessOpen   = "open"   // whoever reaches the port; on loopback alone
)

// The ways to encrypt.
const (
	TLSOff   = "off"
	TLSFiles = "files"
	TLSAuto  = "auto"
)

// Config is the endpoint's part of the edge's configuration, `[endpoint]`.
type Config struct {
	Listen      string        `toml:"listen"`
	TLS         string        `toml:"tls"`
	TLSCert     string        `toml:"tls_cert"` // PEM, with tls = "files"
	TLSKey      string        `toml:"tls_key"`
	Access      string        `toml:"access"`
	DefaultWait time.Duration `toml:"default_wait"` // how long an answer is held where the till names no time; 0 to [WaitMax]
	TillRate    int           `toml:"till_rate"`    // new requests a second of one till, for longer than a moment; 0: no bound
	ISO8583     string        `toml:"iso8583"`

	Lang tideover.Lang `toml:"-"` // for a till that names no language
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Listen: "0.0.0.0:8400", TLS: TLSOff, Access: AccessPaired, DefaultWait: 25 * time.Second, TillRate: 2000, Lang: tideover.Chinese,
	}
}

// ConfigError is a value that the endpoint cannot run with.
type ConfigError struct {
	Key  string // as in the file: "endpoint.access"
	Text tideover.Text
}

// Error implements error, in English.
func (e *ConfigError) Error() string { return e.Key + ": " + e.Text.En }

func wrong(key, en, zh string, args ...any) error {
	return &ConfigError{Key: "endpoint." + key, Text: tideover.Textf(en, zh, args...)}
}

// Validate says what is wrong with the first value that is, as a [*ConfigError].
func (c Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		return wrong("listen", "%q is no address; write HOST:PORT, such as 0.0.0.0:8400",
			"%q 不是地址；请写成 主机:端口，例如 0.0.0.0:8400", c.Listen)
	}
	switch c.Access {
	case AccessPaired:
	case AccessOpen:
		if !isLoopback(host) {
			return wrong("access", `"open" lets in whoever reaches %s; pair the tills (access = "paired"), or listen on 127.0.0.1`,
				`"open" 会放行所有能连到 %s 的设备；请配对终端（access = "paired"），或只监听 127.0.0.1`, c.Listen)
		}
	default:
		return wrong("access", `%q is unknown; it is "paired" or "open"`, `未知的 %q；应为 "paired" 或 "open"`, c.Access)
	}
	if c.DefaultWait < 0 || c.DefaultWait > WaitMax {
		return wrong("default_wait", "%s is out of range; it is 0s to %s", "%s 超出范围；应为 0s 到 %s", c.DefaultWait, WaitMax)
	}
	if c.TillRate < 0 {
		return wrong("till_rate", "%d is below 0; 0 means no bound", "%d 小于 0；0 表示不限", c.TillRate)
	}
	if c.ISO8583 != "" {
		return wrong("iso8583", "version %s does not speak ISO 8583; leave it empty and use the JSON API",
			"%s 版本不支持 ISO 8583；请留空并使用 JSON 接口", tideover.Version)
	}
	return c.validateTLS()
}

func (c Config) validateTLS() error {
	switch c.TLS {
	case TLSOff:
		return nil
	case TLSFiles:
		for _, file := range [][2]string{{"tls_cert", c.TLSCert}, {"tls_key", c.TLSKey}} {
			if file[1] == "" {
				return wrong(file[0], `tls = "files" needs it: the path of a PEM file`, `tls = "files" 需要此项：PEM 文件的路径`)
			}
		}
		return nil
	case TLSAuto:
		return wrong("tls", `version %s makes no certificates of its own; use "files" with a certificate of yours, or "off"`,
			`%s 版本不能自行签发证书；请用 "files" 配自己的证书，或用 "off"`, tideover.Version)
	default:
		return wrong("tls", `%q is unknown; it is "off" or "files"`, `未知的 %q；应为 "off" 或 "files"`, c.TLS)
	}
}

// isLoopback says whether a listening or named host is reached from this machine alone.
func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

// ListenError is why the endpoint cannot listen.
type ListenError struct {
	What tideover.Text // names the address, or the file
	Hint tideover.Text // what to do next
	Err  error
}

// Error implements error, in English.
func (e *ListenError) Error() string { return e.What.En + ": " + e.Hint.En }

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Explain returns what is wrong and what to do next, in both languages.
func (e *ListenError) Explain() (what, hint tideover.Text) { return e.What, e.Hint }

// cannotListen says why an address cannot be listened on.
func cannotListen(listen string, err error) error {
	e := &ListenError{
		What: tideover.Textf("the endpoint cannot listen on %s: %v", "终端接口无法监听 %s：%v", listen, err), Err: err,
		Hint: tideover.Textf("check endpoint.listen in the configuration", "请检查配置中的 endpoint.listen"),
	}
	_, port, _ := net.SplitHostPort(listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.What = tideover.Textf("port %s is in use by another program (endpoint.listen = %q)", "端口 %s 已被其他程序占用（endpoint.listen = %q）", port, listen)
		e.Hint = tideover.Textf("stop that program (ss -ltnp 'sport = :%s' names it), or change endpoint.listen",
			"请停止占用该端口的程序（用 ss -ltnp 'sport = :%s' 查看），或修改 endpoint.listen", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.What = tideover.Textf("this machine has no address %s (endpoint.listen)", "本机没有地址 %s（endpoint.listen）", listen)
	case errors.Is(err, syscall.EACCES):
		e.What = tideover.Textf("this user may not listen on port %s (endpoint.listen = %q)", "当前用户无权监听端口 %s（endpoint.listen = %q）", port, listen)
		e.Hint = tideover.Textf("choose a port from 1024 on", "请选择 1024 及以上的端口")
	}
	return e
}
