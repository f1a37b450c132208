package terminal

import "net/http"

// What a till may ask before it is known.

// healthAnswer is what a till's banner shows.
type healthAnswer struct {
	Hub       string  `json:"hub"` // connected or unreachable
	Uplink    *string `json:"uplink"`
	Pending   int     `json:"pending"`
	Accepting bool    `json:"accepting"`
	Message   string  `json:"message"`

	Methods []methodAnswer `json:"methods"`
}

// methodAnswer is what it shows of one way to pay.
type methodAnswer struct {
	Method    string  `json:"method"`
	MayWait   bool    `json:"may_wait"`
	Offer     *string `json:"offer"`
	Accepting bool    `json:"accepting"`
	Message   string  `json:"message"`
}

// health is always answered 200: GET /v1/health.
func (x *exchange) health() error {
	h := x.s.desk.Health()
	answer := healthAnswer{Hub: "unreachable", Pending: h.Pending, Accepting: h.Accepting, Message: h.Message.In(x.lang), Methods: []methodAnswer{}}
	if h.Connected {
		answer.Hub = "connected"
	}
	if h.Uplink != "" {
		answer.Uplink = &h.Uplink
	}
	stopping := x.s.drained.Err() != nil
	if stopping {
		answer.Accepting, answer.Message = false, errShuttingDown.Detail.In(x.lang)
	}
	for _, m := range h.Methods {
		one := methodAnswer{Method: m.Name, MayWait: m.MayWait, Accepting: m.Accepting && !stopping, Message: m.Message.In(x.lang)}
		if m.Offer != "" {
			one.Offer = &m.Offer
		}
		answer.Methods = append(answer.Methods, one)
	}
	_ = x.write(http.StatusOK, "application/json", answer)
	return nil
}

// pairAnswer brings a till its token.
type pairAnswer struct {
	Terminal string `json:"terminal"`
	Token    string `json:"token"`
}

// pair lets a till in that knows a code: POST /v1/pair.
func (x *exchange) pair() error {
	o, err := parseObject(x.body, "code", "name")
	if err != nil {
		return err
	}
	r := PairRequest{Code: o.text("code"), Name: o.text("name"), Remote: x.r.RemoteAddr}
	if len(o.bad) == 0 && r.Code == "" {
		o.fault("code", "is missing; `tideover terminal pair` shows one", "缺少配对码；用 `tideover terminal pair` 生成")
	}
	if r.Name != "" && !ValidName(r.Name) {
		o.fault("name", "must be 1 to %d printable characters, without spaces at its ends", "必须是 1 到 %d 个可打印字符，首尾不能有空格", NameMax)
	}
	if err := o.err(); err != nil {
		return err
	}
	t, token, err := x.s.desk.Pair(x.r.Context(), r)
	if err != nil {
		x.s.log.Warn("a till was not paired", "terminal", r.Name, "remote", r.Remote, "err", err)
		return err
	}
	x.s.log.Info("a till was paired", "terminal", t.Name, "remote", r.Remote)
	_ = x.write(http.StatusOK, "application/json", pairAnswer{Terminal: t.Name, Token: token})
	return nil
}
