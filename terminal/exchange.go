package terminal

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tideover"
)

// exchange is one request and its answer.
type exchange struct {
	s    *Server
	w    http.ResponseWriter
	r    *http.Request
	lang tideover.Lang
	by   Caller
	id   tideover.ID // from the path
	body []byte
	done func() // gives back the place of a large body; nil where it has none
	held int64  // bytes that are counted for the body

	pressed [32]byte // the request hash of the press that is answered; zero where none is, or where it is not known
}

// route is what one path can do.
type route struct {
	get, post func(*exchange) error
	stranger  bool // no token is asked for
	always    bool // whatever is asked for in Accept
	stream    bool // answered as events
	hasID     bool
	bodyMax   int64 // 0 is [BodyMax]
}

func (rt route) allow() string {
	switch {
	case rt.get == nil:
		return "POST"
	case rt.post == nil:
		return "GET, HEAD"
	}
	return "GET, HEAD, POST"
}

var routes = map[string]route{
	"/v1/health":                  {get: (*exchange).health, stranger: true, always: true},
	"/v1/openapi.json":            {get: (*exchange).describe, stranger: true, always: true},
	"/v1/pair":                    {post: (*exchange).pair, stranger: true},
	"/v1/cancel":                  {post: (*exchange).cancelKey},
	"/v1/events":                  {get: (*exchange).events, stream: true},
	"/v1/transactions":            {get: (*exchange).list, post: (*exchange).accept},
	"/v1/transactions/ID":         {get: (*exchange).get, hasID: true},
	"/v1/transactions/ID/cancel":  {post: (*exchange).cancel, hasID: true},
	"/v1/transactions/ID/receipt": {get: (*exchange).receipt, hasID: true},
	"/v1/transactions/ID/ack":     {post: (*exchange).acknowledge, hasID: true},
	"/v1/settlements":             {post: (*exchange).settle, bodyMax: SettlementBodyMax},
	"/v1/settlements/ID":          {get: (*exchange).settled, hasID: true},
}

// find returns the route of a path, and what stands where an id belongs.
func find(path string) (rt route, id string, ok bool) {
	for _, prefix := range []string{"/v1/transactions/", "/v1/settlements/"} {
		rest, under := strings.CutPrefix(path, prefix)
		if !under {
			continue
		}
		var verb string
		id, verb, _ = strings.Cut(rest, "/")
		if id == "" || strings.HasSuffix(rest, "/") {
			return route{}, "", false
		}
		path = strings.TrimSuffix(prefix+"ID/"+verb, "/")
		break
	}
	rt, ok = routes[path]
	return rt, id, ok && rt.hasID == (id != "")
}

// serve checks what all requests have in common, in an order that tells a stranger nothing and reads no body for him.
func (x *exchange) serve() error {
	h := x.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", string(x.lang))
	h.Set("Vary", "Accept-Language, Prefer")
	h.Set("X-Content-Type-Options", "nosniff")
	if x.r.Body != http.NoBody {
		// It also bounds what the server reads away of a body that nobody wanted.
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(bodyTimeMax))
	}
	rt, id, ok := find(x.r.URL.Path)
	if !ok {
		return tideover.Refuse(tideover.CodeNotFound, "there is nothing at %s", "%s 不存在", clip(x.r.URL.Path))
	}
	do := rt.get
	if x.r.Method == http.MethodPost {
		do = rt.post
	} else if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		do = nil
	}
	if do == nil {
		h.Set("Allow", rt.allow())
		return tideover.Refuse(tideover.CodeMethodNotAllowed, "%[1]s is not for %[2]s; use %[3]s", "%[2]s 不支持 %[1]s；请用 %[3]s",
			clip(x.r.Method), x.r.URL.Path, rt.allow())
	}
	if rt.stranger {
		return x.content(rt, id, do)
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	if !x.s.hold(x.by.UID) {
		r := tideover.Refuse(tideover.CodeTooManyRequests, "this till has %d requests open; nothing was taken; wait for one of them",
			"本终端已有 %d 个未完成的请求；请求未受理；请等待其中之一完成", RequestsTerminalMax)
		r.RetryAfter = time.Second
		return r
	}
	defer x.s.letGo(x.by.UID)
	return x.content(rt, id, do)
}

// content checks what is sent and what is wanted, and then does it.
func (x *exchange) content(rt route, id string, do func(*exchange) error) (err error) {
	mediaType := "application/json"
	if rt.stream {
		mediaType = eventStream
	}
	if !rt.always && !accepts(x.r.Header, mediaType) {
		return tideover.Refuse(tideover.CodeNotAcceptable, "answers are %s; allow it in Accept", "应答只有 %s；请在 Accept 中允许", mediaType)
	}
	if x.r.Method == http.MethodPost && x.s.drained.Err() != nil {
		return errShuttingDown
	}
	switch {
	case rt.stranger:
		rt.bodyMax = bodyStrangerMax
	case rt.bodyMax == 0:
		rt.bodyMax = BodyMax
	}
	if err := x.enterLarge(rt); err != nil {
		return err
	}
	defer x.leaveLarge()
	if err := x.readBody(rt.bodyMax); err != nil {
		return err
	}
	if rt.hasID {
		if x.id, err = tideover.ParseID(id); err != nil {
			return tideover.Refuse(tideover.CodeUnknownTransaction, "%q is no transaction id of this till", "%q 不是本终端的交易号", clip(id))
		}
	}
	return do(x)
}

// authenticate finds out which till it is.
func (x *exchange) authenticate() error {
	if x.s.cfg.Access == AccessOpen {
		return x.selfNamed()
	}
	if len(x.r.Header.Values("Authorization")) > 1 { // of two tills, whose money would it be?
		return tideover.Refuse(tideover.CodeUnauthorized, "Authorization is given twice; send one token, that of this till alone",
			"Authorization 重复出现；请只发送本终端的一个令牌")
	}
	scheme, token, _ := strings.Cut(x.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
		return tideover.Refuse(tideover.CodeUnauthorized,
			"this till is not paired: send the token from pairing as `Authorization: Bearer TOKEN`; `tideover terminal pair` shows a code for POST /v1/pair",
			"终端未配对：请以 `Authorization: Bearer TOKEN` 发送配对令牌；用 `tideover terminal pair` 取得配对码并调用 POST /v1/pair")
	}
	by, ok := x.s.desk.Authenticate(strings.TrimSpace(token))
	if !ok {
		return tideover.Refuse(tideover.CodeUnauthorized,
			"this token is unknown or was revoked; pair the till again with a code from `tideover terminal pair --replace NAME`",
			"令牌无效或已吊销；请用 `tideover terminal pair --replace NAME` 取得配对码并重新配对")
	}
	x.by = by
	return nil
}

// selfNamed takes a till's own word, which open access does on this machine alone.
func (x *exchange) selfNamed() error {
	// A web page that has its own name resolve to 127.0.0.1 would be such a till, too.
	host := x.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if !isLoopback(host) {
		return tideover.Refuse(tideover.CodeForbidden, "open access is for this machine alone; use 127.0.0.1 instead of %q",
			"开放模式仅限本机；请用 127.0.0.1 代替 %q", clip(host))
	}
	names := x.r.Header.Values("Tideover-Terminal")
	if len(names) != 1 {
		return tideover.Refuse(tideover.CodeUnauthorized, "the till has no name: send one, as `Tideover-Terminal: till-1`",
			"终端未报名：请发送一个 `Tideover-Terminal: till-1`")
	}
	if !ValidName(names[0]) || !visible(names[0]) {
		return tideover.Refuse(tideover.CodeUnauthorized, "%q is no name for a till here: send 1 to %d visible ASCII characters without a space, as `Tideover-Terminal: till-1`",
			"%q 不能用作终端名称：请发送 1 到 %d 个可见 ASCII 字符（不含空格），例如 `Tideover-Terminal: till-1`", clip(names[0]), NameMax)
	}
	x.by = Caller{UID: names[0], Name: names[0]}
	return nil
}

// NameMax is the most characters of a till's name.
const NameMax = 64

// ValidName says whether a till may have the name: 1 to [NameMax] printable characters, no space at its ends.
func ValidName(name string) bool {
	if !utf8.ValidString(name) || name != strings.TrimSpace(name) {
		return false
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	n := utf8.RuneCountInString(name)
	return n >= 1 && n <= NameMax
}

// visible says whether s is visible ASCII alone.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// readBody reads the whole body within a size and [bodyTimeMax].
func (x *exchange) readBody(most int64) error {
	if x.r.Body == http.NoBody {
		return nil
	}
	tooLarge := tideover.Refuse(tideover.CodeTooLarge, "the body is larger than %d KiB; nothing was taken", "请求体超过 %d KiB；请求未受理", most>>10)
	if x.r.ContentLength > most {
		return tooLarge
	}
	if x.r.Method == http.MethodPost && x.r.ContentLength != 0 && !sendsJSON(x.r.Header) {
		return tideover.Refuse(tideover.CodeUnsupportedMediaType, "the body must be plain application/json; nothing was taken",
			"请求体必须是未压缩的 application/json；请求未受理")
	}
	if err := x.holdBody(most); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, most))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return tooLarge
		}
		panic(http.ErrAbortHandler) // half a request: too slow, or gone
	}
	x.body = body
	// From here on a read only watches whether the till is still there, for as long as the wait takes.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	return nil
}
