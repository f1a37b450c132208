package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sync/errgroup"

	"tideover"
)

// The size of a linearizability campaign.
const (
	linearShort   = 3 * time.Second
	linearDefault = 8 * time.Second
	linearNightly = 10 * time.Minute

	// rivals share one key at a time; keys are worked on side by side, each for waveTime.
	rivals     = 6
	keysAtOnce = 8
	waveTime   = time.Second
	// finishAtOnce is how many keys are followed to their end at once when it is over.
	finishAtOnce = 32
	// edgeLife is how long the edge lives on average: short, so that many keys meet a kill at each step of their way.
	edgeLife = 400 * time.Millisecond
	// judgeMax is how long one key's history may take to be judged. One that takes longer has been judged by nobody: a failure.
	judgeMax = 30 * time.Second
	// doubtMax is the same for a history that is known to be wrong, which takes longer: every order must be tried.
	doubtMax = 2 * time.Second
)

// contest is one key that several clients share, with the history of what they did and heard.
type contest struct {
	key     string
	id      tideover.ID
	own     bool // see model
	cancels bool

	mu      sync.Mutex // guards what follows
	history []porcupine.Operation
	ends    []uint64 // the seqs of ends that were told
	wrong   []string // answers that no model has to judge
	broken  []breach
}

// breach is an operation without an answer: it may have been done until the process that it was sent to was gone.
type breach struct {
	operation operation
	client    int
	call      int64
	sent      int64 // when it had a connection
}

// referee keeps the clock, and the kills of the edge, which every key's history has.
type referee struct {
	began time.Time

	mu    sync.Mutex // guards what follows
	kills []porcupine.Operation
}

func (r *referee) now() int64 { return int64(time.Since(r.began)) }

// add enters an operation with its answer. What was waited for is two: it was done, and then it was looked at.
func (c *contest) add(client int, o operation, got result, call, end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history = append(c.history, porcupine.Operation{ClientId: client, Input: o, Call: call, Output: got, Return: end})
	if got.seen.state.Final() {
		c.ends = append(c.ends, got.seen.seq)
	}
}

func (c *contest) complain(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// complete returns the history as porcupine takes it: with the kills, and with what was never answered as if it had been answered,
// somehow, when its process was gone.
func (c *contest) complete(r *referee) []porcupine.Operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	first := int64(math.MaxInt64)
	for _, op := range c.history {
		first = min(first, op.Call)
	}
	all := slices.Clone(c.history)
	for _, k := range r.kills {
		if k.Return >= first { // what was killed before that knew nothing of this key
			all = append(all, k)
		}
	}
	for _, b := range c.broken {
		end := int64(math.MaxInt64)
		for _, k := range r.kills {
			if k.Call > b.sent {
				end = min(end, k.Call-1)
			}
		}
		all = append(all, porcupine.Operation{ClientId: b.client, Input: b.operation, Call: b.call, Output: result{}, Return: end})
	}
	slices.SortStableFunc(all, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	return all
}

// wave lets rivals contest some keys for a while.
func (c *campaign) wave(r *referee, n int) []*contest {
	var all []*contest
	var playing sync.WaitGroup
	over := make(chan struct{})
	for i := range keysAtOnce {
		dice := rand.New(rand.NewPCG(c.seed, uint64(1000*n+i)))
		key := fmt.Sprintf("shared-%d-%d", n, i)
		k := &contest{
			key: key, id: tideover.MakeID(c.shop.Store, rivalName, key), own: dice.IntN(3) == 0, cancels: dice.IntN(2) == 0,
		}
		all = append(all, k)
		for j := range rivals {
			v := &rival{contest: k, till: c.tills[j], referee: r, number: j, dice: rand.New(rand.NewPCG(dice.Uint64(), 0))}
			playing.Go(func() { v.play(c.ctx, over) })
		}
	}
	time.Sleep(waveTime)
	close(over)
	playing.Wait()
	return all
}

// harassEdge kills the edge again and again until over ends, and notes when: what it had in memory only is gone then.
func (c *campaign) harassEdge(r *referee, over <-chan struct{}, dice *rand.Rand) error {
	return c.harassUntil(c.shop.edge, edgeLife, over, dice, func(start func() error) error {
		gone := r.now()
		r.mu.Lock()
		r.kills = append(r.kills, porcupine.Operation{ClientId: rivals, Input: operation{name: "kill"}, Call: gone, Output: result{}, Return: r.now()})
		r.mu.Unlock()
		return start()
	})
}

// harassUntil kills a program after lives of that mean until over ends. Each time it is gone, again is called and starts it.
func (c *campaign) harassUntil(
	p *program, mean time.Duration, over <-chan struct{}, dice *rand.Rand, again func(start func() error) error,
) error {
	for {
		select {
		case <-over:
			return nil
		case <-time.After(min(time.Duration(dice.ExpFloat64()*float64(mean)), 5*mean)):
		case <-p.ended():
			return fmt.Errorf("%s ended by itself:\n%s", p.name, tail(p.log))
		}
		p.kill()
		if err := again(func() error { return p.start() }); err != nil {
			return err
		}
	}
}

// TestLinear_OneKeyIsARegister lets several clients that all take themselves for one till press, look at, cancel and acknowledge the
// same key at once, while the edge and the hub are killed and the cable is cut, and has each key's history judged: is there an order of
// all operations, each at some instant between its call and its answer, that one register would have answered so?
func TestLinear_OneKeyIsARegister(t *testing.T) {
	t.Parallel()
	length := linearDefault
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") == "1":
		length = linearNightly
	case testing.Short():
		length = linearShort
	}
	o := trouble()
	o.Behaviour.WrongAmount = 0 // an approval over another amount is undone without a cancel
	c := newCampaign(t, Options{Platform: o, PlatformTimeout: time.Second})
	c.tills = nil
	for range rivals { // each with connections of its own
		c.tills = append(c.tills, c.shop.Till(rivalName))
	}
	r := &referee{began: time.Now()}
	over := make(chan struct{})
	var trouble sync.WaitGroup
	troubles := make(chan error, 2)
	trouble.Go(func() { c.weather(over, rand.New(rand.NewPCG(c.seed, 2))) })
	trouble.Go(func() { troubles <- c.harassEdge(r, over, rand.New(rand.NewPCG(c.seed, 3))) })
	trouble.Go(func() {
		troubles <- c.harassUntil(c.shop.hub, lifeMean, over, rand.New(rand.NewPCG(c.seed, 4)), func(start func() error) error { return start() })
	})
	var all []*contest
	for n := 0; r.now() < int64(length); n++ {
		all = append(all, c.wave(r, n)...)
	}
	close(over)
	trouble.Wait()
	c.must(errors.Join(<-troubles, <-troubles))
	c.must(c.shop.edge.until(c.ctx, startMax, func(ctx context.Context) error { return get(ctx, "http://"+c.shop.Endpoint+"/v1/health") }))
	var finishing errgroup.Group
	finishing.SetLimit(finishAtOnce) // one till may have so many requests open
	for _, k := range all {
		v := &rival{contest: k, till: c.tills[0], referee: r}
		finishing.Go(func() error {
			if err := v.finish(c.ctx); err != nil {
				history := k.complete(r)
				t.Errorf("%v\n%s\n%s", err, c.evidence(Problem{Terminal: rivalName, ID: k.id}), story(history[max(0, len(history)-40):], porcupine.LinearizationInfo{}))
			}
			return nil
		})
	}
	_ = finishing.Wait()
	c.judgeAll(r, all)
}

// judgeAll judges each key's history, and then histories that are almost the same and must not pass.
func (c *campaign) judgeAll(r *referee, all []*contest) {
	c.t.Helper()
	seen, lied := map[string]int{}, map[string]int{}
	var longest time.Duration
	for i, k := range all {
		history := k.complete(r)
		for _, w := range k.wrong {
			c.t.Errorf("key %s: %s", k.key, w)
		}
		began := time.Now()
		verdict, info := porcupine.CheckOperationsVerbose(model(k.own), history, judgeMax)
		longest = max(longest, time.Since(began))
		if verdict != porcupine.Ok {
			page := filepath.Join(c.t.ArtifactDir(), k.key+".html")
			_ = porcupine.VisualizePath(model(k.own), info, page)
			c.t.Errorf("key %s: the verdict is %q; its history, drawn in %s with go test -artifacts:\n%s", k.key, verdict, page, story(history, info))
			continue
		}
		for _, op := range history {
			o, got := op.Input.(operation), op.Output.(result)
			seen[strings.TrimSpace(o.name+" "+got.said+got.seen.state.String())]++
		}
		for lie, forged := range forge(history, rand.New(rand.NewPCG(c.seed, uint64(i)))) {
			switch verdict, info := porcupine.CheckOperationsVerbose(model(k.own), forged, doubtMax); verdict {
			case porcupine.Illegal:
				lied[lie]++
			case porcupine.Ok:
				c.t.Errorf("key %s: a history in which %s is taken for a good one:\n%s", k.key, lie, story(forged, info))
			case porcupine.Unknown: // to try every order takes long where much was never answered
			}
		}
	}
	c.t.Logf("%d keys, %d kills of the edge, judged within %v each: %v; forged and refused: %v",
		len(all), len(r.kills), longest.Round(time.Millisecond), seen, lied)
	if testing.Short() {
		return
	}
	for _, must := range []string{
		"kill", "accept created", "accept replayed", "accept 422 key_reused", "cancel taken", "ack 204", "read approved", "read in_doubt",
	} {
		if seen[must] == 0 {
			c.t.Errorf("the contests showed nothing: no %q", must)
		}
	}
	for _, lie := range lies {
		if lied[lie.name] == 0 {
			c.t.Errorf("the contests showed nothing: no history in which to lie that %s", lie.name)
		}
	}
}

// lies are what no history may hold: each turns an answer into one that is wrong, given another that was heard before it was asked for.
var lies = []struct {
	name   string
	after  func(o operation, earlier result, now seen) bool
	change func(now *seen, was seen)
}{
	{"it was not there", known, func(now *seen, _ seen) { *now = seen{} }},
	{"its seq went back", known, func(now *seen, was seen) { now.seq = was.seq - 1 }},
	{"its acknowledgement was forgotten", shownAcked, func(now *seen, _ seen) { now.acked = false }},
	{"its acknowledged end was forgotten", shownAcked, func(now *seen, _ seen) { now.state, now.acked = tideover.StateInDoubt, false }},
	{"it was declined after it was approved", shownApproved, func(now *seen, _ seen) { now.state = tideover.StateDeclined }},
	{"it was approved twice", shownApproved, func(now *seen, _ seen) { now.ref += "-2" }},
	{
		"it was approved after a cancel",
		func(o operation, earlier result, _ seen) bool { return o.name == "cancel" && earlier.said == saidTaken },
		func(now *seen, _ seen) { now.state, now.ref, now.seq = tideover.StateApproved, "SBX", now.seq+1 },
	},
}

func known(_ operation, earlier result, _ seen) bool { return earlier.seen.request != requestNone }

func shownAcked(_ operation, earlier result, _ seen) bool { return earlier.seen.acked }

func shownApproved(_ operation, earlier result, now seen) bool {
	return earlier.seen.state == tideover.StateApproved && now.state == tideover.StateApproved
}

// forge returns histories that differ from one that was judged well by a single lie each, somewhere in it.
func forge(history []porcupine.Operation, dice *rand.Rand) map[string][]porcupine.Operation {
	forged := map[string][]porcupine.Operation{}
	for _, lie := range lies {
		var pairs [][2]int
		for i, op := range history {
			now := op.Output.(result).seen
			for j := range history[:i] {
				was := history[j]
				if now.request != requestNone && was.Return < op.Call && lie.after(was.Input.(operation), was.Output.(result), now) {
					pairs = append(pairs, [2]int{i, j})
				}
			}
		}
		if len(pairs) == 0 {
			continue
		}
		pair := pairs[dice.IntN(len(pairs))]
		got := history[pair[0]].Output.(result)
		lie.change(&got.seen, history[pair[1]].Output.(result).seen)
		forged[lie.name] = slices.Clone(history)
		forged[lie.name][pair[0]].Output = got
	}
	return forged
}

// story is a history, up to a little beyond where no order was found.
func story(history []porcupine.Operation, info porcupine.LinearizationInfo) string {
	reached := map[int]bool{}
	for _, partial := range slices.Concat(info.PartialLinearizations()...) {
		if len(partial) > len(reached) {
			clear(reached)
			for _, i := range partial {
				reached[i] = true
			}
		}
	}
	var b strings.Builder
	for i, op := range history {
		mark := " "
		if !reached[i] {
			mark = "!"
		}
		fmt.Fprintf(&b, "%s client %d  %8d .. %8d ms  %s\n", mark, op.ClientId, op.Call/1e6, min(op.Return, math.MaxInt64)/1e6,
			describe(op.Input.(operation), op.Output.(result)))
	}
	return b.String()
}
