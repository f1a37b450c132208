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
	for _, chapter := range []func(context.Context) error{p.open, p.sell, p.outage, p.walkAway, p.late, p.newRouter} {
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

// walkAway is a cancel in the cut: what may have left is not called failed, and nobody has to wait for it.
func (p *teller) walkAway(ctx context.Context) error {
	const till, what, amount = 1, "cake", 1800
	p.say("", "")
	p.say("4. The cable is cut again. till-2 sells a cake; the customer will not wait, and the cashier cancels.",
		"4. 网线又断了。till-2 卖一块蛋糕；顾客不愿等待离开了，收银员取消。")
	p.shop.CutCable()
	if _, err := p.press(ctx, till, what, amount); err != nil {
		return err
	}
	x, err := p.cancel(ctx, till, what, amount)
	if err != nil {
		return err
	}
	if !x.Final() {
		p.say("   the sale may have left the shop: the cancel is on the router's disk, and nobody has to wait for it.",
			"   该单可能已经发出：取消已写入路由器磁盘，无需有人等待。")
	}
	p.shop.MendCable()
	p.say("   -- the cable is back", "   -- 网线恢复")
	if x, err = p.follow(ctx, till, what, amount, x); err != nil {
		return err
	}
	if x.State == tideover.StateReversed {
		p.say("   its first copy came through after all, and was undone: the customer is not charged", "   第一份请求终究送达，随后已撤销：顾客未被扣款")
	} else {
		p.say("   it was never executed, and never will be: the hub has barred it for good", "   该单从未执行，以后也不会：hub 已将其永久禁止")
	}
	return nil
}

// late is an approval that comes after the cancel: it does not win.
func (p *teller) late(ctx context.Context) error {
	const till, what, amount = 2, "cigars", 36000
	p.say("", "")
	p.say("5. till-3 sells cigars. The platform is at work on it when the cable is cut once more, and the cashier cancels.",
		"5. till-3 卖一盒雪茄。平台正在处理时网线再次断开，收银员取消。")
	id, err := p.atPlatform(ctx, till, what, amount)
	if err != nil {
		return err
	}
	p.shop.CutCable()
	x, err := p.cancel(ctx, till, what, amount)
	if err != nil {
		return err
	}
	if err := p.until(ctx, func() bool { return p.shop.Platform.Count(id).Executions > 0 }); err != nil {
		return err
	}
	p.say("   -- the platform approves it: too late, and the shop cannot hear it", "   -- 平台批准了该单：太迟了，店里也听不到")
	if err := p.shop.Slow(0); err != nil {
		return err
	}
	p.shop.MendCable()
	p.say("   -- the cable is back", "   -- 网线恢复")
	_, err = p.follow(ctx, till, what, amount, x)
	return err
}

// newRouter replaces the router by one with an empty disk while a sale has no end; the till repeats its press there.
func (p *teller) newRouter(ctx context.Context) error {
	const till, what, amount = 0, "flowers", 8800
	p.say("", "")
	p.say("6. till-1 sells flowers. The platform is at work on it when the router breaks, and its disk with it.",
		"6. till-1 卖一束花。平台正在处理时路由器坏了，磁盘也没了。")
	id, err := p.atPlatform(ctx, till, what, amount)
	if err != nil {
		return err
	}
	if err := p.shop.WipeEdge(ctx); err != nil {
		return err
	}
	for _, t := range p.tills {
		t.NewRouter()
	}
	if err := p.shop.Slow(0); err != nil {
		return err
	}
	if err := p.shop.StartEdge(ctx); err != nil {
		return err
	}
	p.say("   the edge is a new router now: process %d, enrolled with a fresh token. till-1 sends its press again.",
		"   边缘端换成了新路由器：进程 %d，已用新令牌注册。till-1 重发原来的请求。", p.shop.edge.pid())
	if err := p.sale(ctx, till, what, amount); err != nil {
		return err
	}
	p.say("   the same sale, executed %d time", "   仍是同一单，执行了 %d 次", p.shop.Platform.Count(id).Executions)
	return nil
}

// press sends a press once, and does not wait for what becomes of it.
func (p *teller) press(ctx context.Context, till int, what string, amount int64) (tideover.Transaction, error) {
	x, err := p.send(ctx, till, what, amount)
	if err == nil {
		p.line(till, what, amount, x)
	}
	return x, err
}

// send has a till make a press for the first time.
func (p *teller) send(ctx context.Context, till int, what string, amount int64) (tideover.Transaction, error) {
	t, key := p.tills[till], p.key(till, what)
	t.Keep(key, Press{Kind: tideover.KindSale, Amount: amount, Currency: currency, Order: what})
	x, err := t.send(ctx, key, 0)
	if err != nil {
		return x, fmt.Errorf("%s sells %s: %w", t.Name, what, err)
	}
	return x, nil
}

// atPlatform sends a press, and returns when the platform is at work on it and will be for a while.
func (p *teller) atPlatform(ctx context.Context, till int, what string, amount int64) (tideover.ID, error) {
	if err := p.shop.Slow(inTheMiddle); err != nil {
		return tideover.ID{}, err
	}
	t, key := p.tills[till], p.key(till, what)
	x, err := p.send(ctx, till, what, amount)
	if err == nil {
		err = p.until(ctx, func() bool { return p.shop.Platform.Count(x.ID).Calls > 0 })
	}
	if err != nil {
		return x.ID, err
	}
	if x, err = t.send(ctx, key, 0); err != nil { // the same key says where it is by now
		return x.ID, fmt.Errorf("%s sells %s: %w", t.Name, what, err)
	}
	p.line(till, what, amount, x)
	return x.ID, nil
}

// cancel has a press undone, and does not wait for that.
func (p *teller) cancel(ctx context.Context, till int, what string, amount int64) (tideover.Transaction, error) {
	t := p.tills[till]
	x, err := t.cancel(ctx, p.key(till, what), true, 0)
	if err != nil {
		return x, fmt.Errorf("%s cancels %s: %w", t.Name, what, err)
	}
	p.line(till, what, amount, x)
	return x, nil
}

// follow follows a press to its end.
func (p *teller) follow(ctx context.Context, till int, what string, amount int64, x tideover.Transaction) (tideover.Transaction, error) {
	t := p.tills[till]
	x, err := t.Finish(ctx, p.key(till, what), x)
	if err != nil {
		return x, fmt.Errorf("%s waits for %s: %w", t.Name, what, err)
	}
	p.line(till, what, amount, x)
	return x, nil
}

// line is where a press stands.
func (p *teller) line(till int, what string, amount int64, x tideover.Transaction) {
	p.say("   %s  %-10s %6s CNY  %-9s  %s", "   %s  %-10s %6s CNY  %-9s  %s", p.tills[till].Name, what, yuan(amount), x.State, x.ID)
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
	p.line(till, what, amount, x)
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
	p.say("7. The platform counts: it executed %d of %d calls, and holds %s CNY. The tills hold confirmations over %s CNY.",
		"7. 平台清点：共收到 %[2]d 次调用，执行 %[1]d 笔，实收 %[3]s 元。终端持有的确认合计 %[4]s 元。",
		v.Platform, v.Calls, yuan(v.Charged), yuan(v.TillsHold))
	p.say("   %d sales were cancelled; %d of them are charged.", "   取消了 %d 单，其中仍被扣款 %d 单。", v.Cancelled, v.NotUndone)
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
