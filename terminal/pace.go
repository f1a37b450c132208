package terminal

import (
	"sync"
	"time"

	"tideover"
)

// pace holds each till to a rate of new requests, so that one that posts in a loop does not fill the disk, and leaves the others their
// share. A till that was quiet may send [paceBurst] seconds' worth at once.
type pace struct {
	rate float64 // per second; 0: none

	mu    sync.Mutex // guards tills
	tills map[string]allowance
}

// allowance is what a till may still send, as of an instant.
type allowance struct {
	left float64
	at   time.Time
}

const (
	paceBurst    = 5    // seconds
	paceTillsMax = 1024 // that are remembered; beyond them those are forgotten that have their full allowance again
)

// take says whether a till may send one more now, and counts it.
func (p *pace) take(uid string, now time.Time) bool {
	if p.rate == 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tills == nil {
		p.tills = map[string]allowance{}
	}
	a, known := p.tills[uid]
	if !known {
		p.forget(now)
		a = allowance{paceBurst * p.rate, now}
	}
	a = p.refilled(a, now)
	if a.left < 1 {
		p.tills[uid] = a
		return false
	}
	a.left--
	p.tills[uid] = a
	return true
}

func (p *pace) refilled(a allowance, now time.Time) allowance {
	return allowance{min(paceBurst*p.rate, a.left+p.rate*max(0, now.Sub(a.at)).Seconds()), now}
}

// forget makes room for one more till: with open access a till's name is anybody's to choose.
func (p *pace) forget(now time.Time) {
	if len(p.tills) < paceTillsMax {
		return
	}
	for uid, a := range p.tills {
		if p.refilled(a, now).left >= paceBurst*p.rate {
			delete(p.tills, uid)
		}
	}
	for uid := range p.tills { // all of them are busy: any one begins anew
		if len(p.tills) < paceTillsMax {
			break
		}
		delete(p.tills, uid)
	}
}

// paced refuses a press under a new key by a till that sends too fast. A key that is known is answered whatever the pace: its till asks for
// what it has paid.
func (x *exchange) paced(key string) error {
	if x.s.pace.take(x.by.UID, time.Now()) {
		return nil
	}
	known, _, err := x.s.desk.List(x.r.Context(), x.by, Filter{Key: key, Limit: 1})
	if err != nil || len(known) > 0 {
		return err
	}
	r := tideover.Refuse(tideover.CodeTooManyRequests,
		"this till has sent more than %d new requests a second for some time; nothing was taken; wait a moment, then send the same key again (endpoint.till_rate)",
		"本终端持续每秒发送超过 %d 个新请求；请求未受理；请稍候再用同一幂等键重发（endpoint.till_rate）", x.s.cfg.TillRate)
	r.RetryAfter = time.Second
	return r
}

// holdBody counts a body in that is about to be read, and refuses it where the till's own would need more than [bodiesTillMax] bytes, or
// all of them more than [bodiesMax]. The exchange lets it go as soon as it is decoded.
func (x *exchange) holdBody(most int64) error {
	size := x.r.ContentLength
	if size < 0 {
		size = most // it is not said, and will not be more
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.bodies+size > bodiesMax || x.by.UID != "" && x.s.bodiesOf[x.by.UID]+size > bodiesTillMax {
		r := tideover.Refuse(tideover.CodeTooManyRequests, "the router is reading as many requests as it has memory for; nothing was taken; send it again in a moment",
			"路由器正在读取的请求已达内存上限；请求未受理；请稍后重发")
		r.RetryAfter = time.Second
		return r
	}
	x.s.bodies += size
	x.s.bodiesOf[x.by.UID] += size
	x.held = size
	return nil
}

// dropBody lets the body go.
func (x *exchange) dropBody() {
	x.body = nil
	if x.held == 0 {
		return
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.bodies -= x.held
	if x.s.bodiesOf[x.by.UID] -= x.held; x.s.bodiesOf[x.by.UID] == 0 {
		delete(x.s.bodiesOf, x.by.UID)
	}
	x.held = 0
}
