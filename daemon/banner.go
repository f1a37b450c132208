package daemon

import (
	"time"

	"tideover"
	"tideover/rules"
	"tideover/terminal"
)

// standing is how the router is, as far as tills are concerned.
type standing struct {
	closing    bool
	superseded bool   // another router has taken over the store
	full       bool   // the journal has no room for another acceptance
	heard      bool   // a hub is, just now, and this process may send
	uplink     string // the link to it
	pending    int
	spent      bool          // the exposure leaves no room for a sale
	why        tideover.Text // what of the exposure is used up
	methods    rules.Methods
}

// accepting says whether a sale is taken now, whatever its method.
func (s standing) accepting() bool { return !s.closing && !s.superseded && !s.full && !s.spent }

// banner is what tills show: the gravest thing first, and each time what the cashier does next.
func (s standing) banner() tideover.Text {
	switch {
	case s.closing:
		return tideover.Textf("Tideover is stopping. Wait a moment before you take a payment.", "Tideover 正在停止。请稍候再收款。")
	case s.superseded:
		return tideover.Textf("This router was replaced and takes no payments. Connect the till to the new router, and send open payments again there.",
			"本路由器已被替换，不再收款。请将终端连接到新路由器，并在那里重发未完成的交易。")
	case s.full:
		return tideover.Textf("The router's storage is full, and no payments are taken. Take cash, and call the technician.",
			"路由器存储已满，无法收款。请收现金，并联系技术人员。")
	case s.spent:
		return s.why
	case !s.heard && s.why.En != "":
		all := s.methods.Banner()
		return tideover.Text{En: all.En + " " + s.why.En, Zh: all.Zh + s.why.Zh}
	case !s.heard:
		return s.methods.Banner()
	case s.why.En != "":
		return s.why
	}
	return tideover.Textf("Online.", "在线。")
}

// health is what tills are told of it.
func (s standing) health() terminal.Health {
	h := terminal.Health{Connected: s.heard, Pending: s.pending, Accepting: s.accepting(), Message: s.banner()}
	if s.heard {
		h.Uplink = s.uplink
	}
	for _, m := range s.methods {
		label, _ := m.Instead()
		one := terminal.MethodHealth{Name: m.Name, MayWait: m.Waits(), Offer: label, Accepting: h.Accepting && (s.heard || m.Waits())}
		switch {
		case !h.Accepting:
			one.Message = h.Message
		case !s.heard:
			one.Message = m.Banner()
		}
		h.Methods = append(h.Methods, one)
	}
	return h
}

// health is the till's banner.
func (r *Router) health() terminal.Health {
	past := r.forward.moment().Past // it may be by now that the hub has refused a hello for good
	book := r.judge.now.Load()
	s := standing{
		closing: r.closing.Load(), superseded: past.Superseded, full: r.queue.Full(), heard: r.heard(), uplink: r.uplink.State().Name,
		pending: r.queue.Pending(), methods: book.Methods,
	}
	s.spent, s.why = book.Limits.Reached(r.queue.Exposure())
	return s.health()
}

// heard says whether a hub is heard just now, and this process may send to it.
func (r *Router) heard() bool {
	m := r.forward.moment() // the first press after the router was replaced is refused, too
	return m.Connected && m.Caught && !m.Superseded
}

// retryReplaced is advised to a till that still speaks to a router which was replaced.
const retryReplaced = 30 * time.Second

// replaced refuses what would never leave a router that was replaced. Its key is free, also on the router that has taken over.
func replaced() error {
	r := tideover.Refuse(tideover.CodeSuperseded,
		"another router has taken over this shop: nothing was stored here; connect the till to that one, and send the same key there",
		"本店已由另一台路由器接管：此处未保存任何内容；请将终端连接到新路由器，并用同一幂等键在那里重发")
	r.RetryAfter = retryReplaced
	return r
}
