package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"tideover"
)

const (
	// storyMax ends a story that does not come to its end by itself.
	storyMax = 2 * time.Minute
	// inTheMiddle is how long the platform takes to answer the sale in whose middle the cable is cut.
	inTheMiddle = 700 * time.Millisecond
)

// errInterrupted ends a story that was not told to its end.
var errInterrupted = errors.New("interrupted")

// teller tells the story in plain lines.
type teller struct {
	streams Streams
	words   io.Writer
	json    *json.Encoder // nil: the lines alone
	lang    tideover.Lang
	shop    *Shop
	tills   [3]*Till

	mu sync.Mutex // guards words
}

// told is what --json prints.
type told struct {
	Well bool `json:"well"`
	Verdict
	Millis int64 `json:"millis"`
}

// say writes a line of the story.
func (p *teller) say(en, zh string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.words, p.t(en, zh)+"\n", args...)
}

// tell runs the story, and leaves the shop running after it if stay is set.
func (p *teller) tell(ctx context.Context, o Options, stay bool) (err error) {
	began := time.Now()
	story, cancel := context.WithTimeout(ctx, storyMax)
	defer cancel()
	p.say("A whole shop on this machine: tills, a router (the edge), a cable, a head end (the hub), a payment platform.",
		"本机上的一整家门店：收银终端、路由器（边缘端）、网线、中心端（hub）和支付平台。")
	// The shop outlives a signal: its programs are then ended in order.
	if p.shop, err = Open(context.WithoutCancel(ctx), o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.shop.Close()) }()
	for i := range p.tills {
		p.tills[i] = p.shop.Till(fmt.Sprintf("till-%d", i+1))
		p.tills[i].Asks = i == 1 // one of them never sends a press again that was answered 202
	}
	for _, chapter := range []func(context.Context) error{p.open, p.sell, p.outage} {
		if err := chapter(story); err != nil {
			if ctx.Err() != nil {
				return errInterrupted
			}
			return p.broken(story, err)
		}
	}
	if !stay {
		if err := p.shop.Stop(); err != nil {
			return err
		}
	}
	err = p.count(p.shop.Verdict(p.tills[:]...), time.Since(began))
	if stay {
		p.stay(ctx)
		err = errors.Join(err, p.shop.Stop())
	}
	return err
}

// broken says why the story stopped; one that ran out of time is counted all the same, since what is missing is the point.
func (p *teller) broken(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	p.say("The story did not come to its end within %v: %v", "故事未能在 %v 内结束：%v", storyMax, err)
	if err := p.count(p.shop.Verdict(p.tills[:]...), storyMax); err != nil {
		return err
	}
	return errNotSo
}

// open starts the programs, enrols the shop and shows where everything is.
func (p *teller) open(ctx context.Context) error {
	p.say("", "")
	p.say("1. The shop opens.", "1. 门店开张。")
	p.say("   platform  simulated; it moves the money and counts every charge", "   支付平台  模拟；由它扣款，并清点每一笔")
	if err := p.shop.StartHub(ctx); err != nil {
		return err
	}
	p.say("   hub       started as process %d; it gives the shop a one-time token", "   hub       已启动，进程 %d；它给门店发放一次性令牌", p.shop.hub.pid())
	if err := p.shop.Enrol(ctx); err != nil {
		return err
	}
	if err := p.shop.StartEdge(ctx); err != nil {
		return err
	}
	p.say("   edge      started as process %d, enrolled with that token; tills reach it at http://%s", "   边缘端    已启动，进程 %d，已用该令牌注册；终端连接 http://%s",
		p.shop.edge.pid(), p.shop.Endpoint)
	return nil
}

// sell is an ordinary morning: three sales, one of them pressed twice at the same moment.
func (p *teller) sell(ctx context.Context) error {
	p.say("", "")
	p.say("2. Three tills sell. till-2's cashier is impatient and presses twice.", "2. 三台终端各卖一单。till-2 的收银员性急，按了两次。")
	return p.all(
		func() error { return p.sale(ctx, 0, "coffee", 1299) },
		func() error { return p.sale(ctx, 1, "bread", 850) },
		func() error { return p.again(ctx, 1, "bread", 850) },
		func() error { return p.sale(ctx, 2, "tea", 2200) },
	)
}

// outage cuts the cable in the middle of a sale, kills the edge, and brings both back.
func (p *teller) outage(ctx context.Context) error {
	p.say("", "")
	p.say("3. till-1 sells once more. The platform is at work on it when the cable is cut.",
		"3. till-1 又卖了一单。平台正在处理时，网线被切断。")
	if err := p.shop.Slow(inTheMiddle); err != nil {
		return err
	}
	home := make(chan error, 3)
	go func() { home <- p.sale(ctx, 0, "umbrella", 4900) }()
	id := tideover.MakeID(p.shop.Store, p.tills[0].Name, p.key(0, "umbrella"))
	if err := p.until(ctx, func() bool { return p.shop.Platform.Count(id).Calls > 0 }); err != nil {
		return err
	}
	p.shop.CutCable()
	if err := p.shop.Slow(0); err != nil {
		return err
	}
	p.say("   -- the cable is cut: nothing goes through, and nobody is told", "   -- 网线已断：任何数据都过不去，也没有任何提示")
	p.say("   till-2 and till-3 sell as well.", "   till-2 和 till-3 也各卖一单。")
	go func() { home <- p.sale(ctx, 1, "milk", 640) }()
	go func() { home <- p.sale(ctx, 2, "newspaper", 300) }()
	for i, name := range []string{"umbrella", "milk", "newspaper"} {
		if err := p.until(ctx, func() bool { return p.tills[i].Accepted(p.key(i, name)) }); err != nil {
			return err
		}
	}
	p.shop.KillEdge()
	p.say("   -- the edge is killed (kill -9), with three sales that have no end yet", "   -- 边缘端被强行终止（kill -9），此时有三单尚无结果")
	if err := p.shop.StartEdge(ctx); err != nil {
		return err
	}
	open, err := p.tills[0].Pending(ctx)
	if err != nil {
		return err
	}
	p.say("   the edge is back as process %d, and its disk still has %d sales without an end. The cable is still cut.",
		"   边缘端已恢复，进程 %d；磁盘上仍有 %d 单尚无结果。网线依旧断着。", p.shop.edge.pid(), open)
	p.shop.MendCable()
	p.say("   -- the cable is back", "   -- 网线恢复")
	return errors.Join(<-home, <-home, <-home)
}

// key is the idempotency key of a press in the story; a till keeps it before its first try.
func (p *teller) key(till int, what string) string {
	return fmt.Sprintf("%s-%s", p.tills[till].Name, what)
}

// sale presses at a till and follows to the end.
func (p *teller) sale(ctx context.Context, till int, what string, amount int64) error {
	t := p.tills[till]
	x, err := t.Sell(ctx, p.key(till, what), Press{Kind: tideover.KindSale, Amount: amount, Currency: currency, Order: what})
	if err != nil {
		return fmt.Errorf("%s sells %s: %w", t.Name, what, err)
	}
	p.say("   %s  %-10s %6s CNY  %s  %s", "   %s  %-10s %6s CNY  %s  %s", t.Name, what, yuan(amount), x.State, x.ID)
	return nil
}

// again is the second press: the same key and body, at the same moment.
func (p *teller) again(ctx context.Context, till int, what string, amount int64) error {
	t := p.tills[till]
	x, err := t.Press(ctx, p.key(till, what), Press{Kind: tideover.KindSale, Amount: amount, Currency: currency, Order: what})
	if err != nil {
		return fmt.Errorf("%s presses again: %w", t.Name, err)
	}
	p.say("   %s  %-10s %6s CNY  pressed again: the same sale  %s", "   %s  %-10s %6s CNY  重复按键：仍是同一单  %s", t.Name, what, yuan(amount), x.ID)
	return nil
}

func yuan(amount int64) string { return fmt.Sprintf("%d.%02d", amount/100, amount%100) }

// all runs several at once.
func (p *teller) all(do ...func() error) error {
	errs := make(chan error)
	for _, d := range do {
		go func() { errs <- d() }()
	}
	var err error
	for range do {
		err = errors.Join(err, <-errs)
	}
	return err
}

// until looks until it is so.
func (p *teller) until(ctx context.Context, so func() bool) error {
	for !so() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// count is the end of the story.
func (p *teller) count(v Verdict, took time.Duration) error {
	p.say("", "")
	p.say("4. The platform counts: it executed %d of %d calls, and holds %s CNY. The tills hold confirmations over %s CNY.",
		"4. 平台清点：共收到 %[2]d 次调用，执行 %[1]d 笔，实收 %[3]s 元。终端持有的确认合计 %[4]s 元。",
		v.Platform, v.Calls, yuan(v.Charged), yuan(v.TillsHold))
	for _, problem := range v.Problems {
		p.say("   WRONG: %s", "   有误：%s", problem)
	}
	p.say("%d accepted, %d confirmed, %d lost, %d charged twice", "已受理 %d，已确认 %d，丢失 %d，重复扣款 %d",
		v.Accepted, v.Confirmed, v.Lost, v.ChargedTwice)
	if p.json != nil {
		if err := p.json.Encode(told{Well: v.Well(), Verdict: v, Millis: took.Milliseconds()}); err != nil {
			return err
		}
	}
	if !v.Well() {
		return errNotSo
	}
	return nil
}

// stay leaves the shop to a person.
func (p *teller) stay(ctx context.Context) {
	p.say("", "")
	p.say("The shop stays open. Tills reach it at http://%s. Sell something yourself:", "门店继续营业。终端连接 http://%s。自己卖一单试试：", p.shop.Endpoint)
	p.say("", "")
	p.say("%s", "%s", p.curl())
	p.say("", "")
	p.say("Its configuration, for the commands tideover and tideover-hub:", "其配置文件，可供 tideover 和 tideover-hub 命令使用：")
	p.say("  %s status --config %s", "  %s status --config %s", asTyped("tideover"), p.shop.EdgeConfig())
	p.say("  %s status --config %s", "  %s status --config %s", asTyped("tideover-hub"), p.shop.HubConfig())
	p.say("Ctrl-C closes it.", "按 Ctrl-C 关闭。")
	<-ctx.Done()
}

// asTyped is how a person in this repository runs a program of the house that may not be installed.
func asTyped(program string) string {
	if _, err := exec.LookPath(program); err != nil {
		return "go run ./cmd/" + program
	}
	return program
}

// curl is one line that sells.
func (p *teller) curl() string {
	return fmt.Sprintf(`curl http://%s/v1/transactions -H 'Tideover-Terminal: till-1' -H 'Idempotency-Key: my-first-sale' `+
		`-H 'Content-Type: application/json' -d '{"kind":"sale","amount":1299,"currency":"CNY"}'`, p.shop.Endpoint)
}
