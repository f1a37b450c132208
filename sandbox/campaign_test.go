package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	platform "tideover/hub/platform/sandbox"

	"tideover"
)

// The size of a campaign.
const (
	killsShort   = 30   // go test -short
	killsDefault = 300  // what CI must show
	killsNightly = 3000 // TIDEOVER_NIGHTLY=1

	campaignTills = 6
	openPerTill   = 2
	// lifeMean is how long a program lives on average before it is killed, its start included.
	lifeMean = 700 * time.Millisecond
	// settleMax is how long everything may take to come to its end once nothing is killed any more.
	settleMax = 2 * time.Minute
)

// campaign is a shop in trouble, with tills that sell all the while.
type campaign struct {
	t     *testing.T
	seed  uint64
	shop  *Shop
	tills []*Till

	ctx     context.Context // ends with the test, and when a program has ended by itself
	abort   context.CancelFunc
	closed  atomic.Bool // no new presses
	sellers sync.WaitGroup
	presses atomic.Int64
}

// seedOf is TIDEOVER_SEED, or another one each time. It repeats the dice, not the scheduler.
func seedOf(t *testing.T) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("TIDEOVER_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("TIDEOVER_SEED=%d repeats the dice", seed)
	return seed
}

// newCampaign opens a shop with everything running.
func newCampaign(t *testing.T, o Options) *campaign {
	t.Helper()
	c := &campaign{t: t, seed: seedOf(t)}
	c.ctx, c.abort = context.WithCancel(t.Context())
	t.Cleanup(c.abort)
	o.Seed = c.seed
	shop, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	c.shop = shop
	t.Cleanup(func() {
		if err := shop.Close(); err != nil {
			t.Error(err)
		}
	})
	c.must(shop.StartHub(c.ctx))
	c.must(shop.Enrol(c.ctx))
	c.must(shop.StartEdge(c.ctx))
	for i := range campaignTills {
		till := shop.Till(fmt.Sprintf("till-%d", i+1))
		till.Asks = i%2 == 1
		c.tills = append(c.tills, till)
	}
	return c
}

// must ends the test on an error, with what the programs said last.
func (c *campaign) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%v\nhub: %s\nedge: %s", err, tail(c.shop.path("hub.log")), tail(c.shop.path("edge.log")))
	}
}

// tail is the end of a log.
func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	const most = 3000
	return string(b[max(0, len(b)-most):])
}

// sell lets every till sell until the campaign is closed.
func (c *campaign) sell() {
	for i, till := range c.tills {
		for lane := range openPerTill {
			dice := rand.New(rand.NewPCG(c.seed, uint64(1000*i+lane)))
			c.sellers.Go(func() {
				for n := 0; !c.closed.Load(); n++ {
					c.press(till, fmt.Sprintf("k-%d-%d", lane, n), dice)
					time.Sleep(time.Duration(dice.IntN(50)) * time.Millisecond)
				}
			})
		}
	}
}

// press makes one sale, and sometimes gives part of it back.
func (c *campaign) press(till *Till, key string, dice *rand.Rand) {
	c.presses.Add(1)
	amount := 100 + dice.Int64N(10_000)
	// Some sales may only start within a second or two: with a hub that is down they expire, or are undone.
	life := []int{1, 2, 45, 45, 45, 600}[dice.IntN(6)]
	x, err := till.Sell(c.ctx, key, Press{
		Kind: tideover.KindSale, Amount: amount, Currency: currency, ExpiresIn: life, Payload: []byte(`{"items":[1,2,3]}`),
	})
	if err != nil || x.State != tideover.StateApproved || dice.IntN(8) > 0 {
		return // what is wrong is in the till's notes
	}
	c.presses.Add(1)
	_, _ = till.Sell(c.ctx, key+"-back", Press{
		Kind: tideover.KindRefund, Amount: 1 + dice.Int64N(amount), Currency: currency, Original: &x.ID,
	})
}

// settle closes the campaign: everything that was pressed must come to its end, and every end to its till.
func (c *campaign) settle() {
	c.t.Helper()
	c.closed.Store(true)
	ctx, cancel := context.WithTimeout(c.ctx, settleMax)
	defer cancel()
	done := make(chan struct{})
	go func() {
		c.sellers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		c.t.Errorf("after %v of peace there are presses without an end", settleMax)
		return
	}
	for quiet := false; !quiet; { // what was undone by another till, or corrected, comes unasked
		open, err := c.tills[0].Pending(ctx)
		quiet = err == nil && open == 0
		for _, till := range c.tills {
			n, err := till.Collect(ctx)
			if quiet = quiet && n == 0; err != nil {
				c.t.Errorf("%s does not get its ends: %v", till.Name, err)
				return
			}
		}
		if !quiet && rest(ctx) != nil {
			return // the judge says what is missing
		}
	}
}

// judge asks everybody at the end.
func (c *campaign) judge() Verdict {
	c.t.Helper()
	v := c.shop.Verdict(c.tills...)
	c.t.Logf("%d presses: %s; %d approved, %d declined, %d other ends, %d cancelled; %d calls, %d executed",
		c.presses.Load(), v, v.Approved, v.Declined, v.OtherEnds, v.Cancelled, v.Calls, v.Platform)
	alike := map[string]int{}
	for _, p := range v.Problems {
		kind := numbers.ReplaceAllString(p.What, "N")
		if alike[kind]++; alike[kind] <= 2 {
			c.t.Errorf("%s\n%s", p, c.evidence(p))
		}
	}
	for kind, n := range alike {
		c.t.Errorf("%d times: %s", n, kind)
	}
	if !v.Well() {
		c.t.Errorf("not well: %s; the platform holds %d, the tills hold %d", v, v.Charged, v.TillsHold)
	}
	if open, err := c.tills[0].Pending(c.t.Context()); err != nil || open > 0 {
		c.t.Errorf("the edge still has %d transactions without an end (%v)", open, err)
	}
	for _, till := range c.tills {
		if left, err := till.Unacknowledged(c.t.Context()); err != nil || len(left) > 0 {
			c.t.Errorf("%s has not acknowledged %d ends (%v)", till.Name, len(left), err)
		}
	}
	c.receipts()
	return v
}

// numbers make two problems of one kind look different.
var numbers = regexp.MustCompile(`[0-9]+|\{.*`)

// evidence is everything that anybody has about one transaction.
func (c *campaign) evidence(p Problem) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  seed      %d\n  platform  %+v\n", c.seed, c.shop.Platform.Count(p.ID))
	ledger, err := c.shop.HubCommand(c.t.Context(), "transaction", "show", p.ID.String(), "--json")
	fmt.Fprintf(&b, "  ledger    %s %v\n", ledger, err)
	for _, till := range c.tills {
		if till.Name != p.Terminal {
			continue
		}
		for _, n := range till.Notes() {
			if n.Key == p.Key {
				fmt.Fprintf(&b, "  till      %+v\n", n)
			}
		}
		a, err := till.call(c.t.Context(), "GET", "/v1/transactions/"+p.ID.String(), nil, nil, 0)
		fmt.Fprintf(&b, "  journal   %s %v\n", a, err)
	}
	for _, log := range []string{"edge.log", "hub.log"} {
		text, _ := os.ReadFile(c.shop.path(log))
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, p.ID.String()) {
				fmt.Fprintf(&b, "  %s  %s", log, line)
			}
		}
	}
	return b.String()
}

// harass kills one program over and over, each time after a random life, and starts it again at once: so many times, or until stop is
// closed.
func (c *campaign) harass(p *program, kills int, stop <-chan struct{}, dice *rand.Rand) error {
	for range kills {
		life := time.Duration(dice.ExpFloat64() * float64(lifeMean))
		select {
		case <-stop:
			return nil
		case <-time.After(min(life, 5*lifeMean)):
		case <-p.ended():
			return fmt.Errorf("%s ended by itself:\n%s", p.name, tail(p.log))
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
		p.kill()
		if !p.killed() {
			return fmt.Errorf("%s ended by itself:\n%s", p.name, tail(p.log))
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

// kill kills both programs at random instants, so many times together, and waits until both serve again.
func (c *campaign) kill(kills int) {
	c.t.Helper()
	c.besiege(kills, nil)
}

// during kills both programs at random instants while something is done, and waits until both serve again.
func (c *campaign) during(do func()) {
	c.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	c.besiege(math.MaxInt, done)
	<-done
}

func (c *campaign) besiege(kills int, stop <-chan struct{}) {
	c.t.Helper()
	peace, fair := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(fair)
		c.weather(peace, rand.New(rand.NewPCG(c.seed, 2)))
	}()
	errs := make(chan error, 2)
	for i, p := range []*program{c.shop.hub, c.shop.edge} {
		dice := rand.New(rand.NewPCG(c.seed, uint64(i)))
		go func() { errs <- c.harass(p, kills/2, stop, dice) }()
	}
	err := <-errs
	if err != nil {
		c.abort()
	}
	err = errors.Join(err, <-errs)
	close(peace)
	<-fair
	c.must(err)
	c.serve()
}

// serve waits until both programs serve.
func (c *campaign) serve() {
	c.t.Helper()
	c.must(c.shop.hub.until(c.ctx, startMax, func(ctx context.Context) error { return get(ctx, c.shop.hubReady) }))
	c.must(c.shop.edge.until(c.ctx, startMax, func(ctx context.Context) error { return get(ctx, "http://"+c.shop.Endpoint+"/v1/health") }))
}

// weather changes the cable every now and then until stop is closed: mostly good, sometimes lossy or slow, sometimes cut.
func (c *campaign) weather(stop <-chan struct{}, dice *rand.Rand) {
	defer c.shop.MendCable()
	for {
		w := Weather{}
		switch dice.IntN(8) {
		case 0:
			w.Cut = true
		case 1:
			w.Loss = 0.1
		case 2:
			w.Delay = 40 * time.Millisecond
		}
		c.shop.Cable.Set(w)
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(dice.IntN(2000)) * time.Millisecond):
		}
	}
}

// trouble is a platform that declines, is slow, loses requests and answers, fails, and is late.
func trouble() platform.Options {
	return platform.Options{Behaviour: platform.Behaviour{
		JitterMS: 150, Decline: 0.1, WrongAmount: 0.01, Pending: 0.05, PendingMS: 800,
		LoseRequest: 0.03, LoseAnswer: 0.08, Fail: 0.03, Garble: 0.02, Hang: 0.01, Late: 0.02, LateMS: 700,
		LoseQuery: 0.05, LoseReverse: 0.1,
	}}
}

// TestCampaign_KilledAtRandom kills edge and hub with -9 at random instants, while tills sell and the platform is in trouble, and
// then asks of each press: one definite end, known to its till and acknowledged; executed at most once; never called again after an
// answer.
func TestCampaign_KilledAtRandom(t *testing.T) {
	t.Parallel()
	kills := killsDefault
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") == "1":
		kills = killsNightly
	case testing.Short():
		kills = killsShort
	}
	c := newCampaign(t, Options{Platform: trouble(), PlatformTimeout: time.Second})
	c.sell()
	c.kill(kills)
	c.settle()
	v := c.judge()
	if v.Approved == 0 || v.Declined == 0 {
		t.Errorf("the campaign showed nothing: %d approved, %d declined", v.Approved, v.Declined)
	}
	c.must(c.shop.Stop())
}

// TestCampaign_StatusOnly does the same with a platform that executes whatever it is called for, as often as it is called: one call
// for each id, ever.
func TestCampaign_StatusOnly(t *testing.T) {
	t.Parallel()
	kills := killsShort
	if os.Getenv("TIDEOVER_NIGHTLY") == "1" {
		kills = killsDefault
	}
	o := trouble()
	o.Repeats = true
	o.Behaviour.LoseReverse, o.Behaviour.LoseQuery = 0, 0 // a platform that does not answer these leaves it to a person
	c := newCampaign(t, Options{Platform: o, PlatformTimeout: time.Second, Guarantee: "status_only"})
	c.sell()
	c.kill(kills)
	c.settle()
	c.judge()
}
