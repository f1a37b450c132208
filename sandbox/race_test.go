package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
)

// How many cancels race their approvals. A third of them do so in peace, where the instants are exact, the others under kills.
const (
	racesShort   = 80
	racesDefault = 1500 // CI must show 1,000 cancels that were answered
	racesNightly = 30_000
	racesSmall   = 300 // of a platform that is status_only

	racesPerTill = 8 // at once
	listeners    = 3 // tills that follow their stream of events beside that
	// fuseMax is how long a cancel waits for an instant that may never come: under kills the platform is perhaps not called at all.
	fuseMax = 1500 * time.Millisecond
	// raceMax and raceEach bound what all of them may take together.
	raceMax  = 2 * time.Minute
	raceEach = 100 * time.Millisecond
	// crashMean is how long a till lives on average before it crashes.
	crashMean = 500 * time.Millisecond
)

// instant is when a cancel is fired.
type instant int

const (
	beforePress instant = iota // answered before the press is sent; then it is sent all the same, as a frame that was long on its way
	withPress                  // both at once
	whenStored                 // as the till hears that it is on disk
	atCall                     // as the platform is called
	atApproval                 // as the platform has answered: the approval is on its way home
	atEnd                      // as the till hears the end, and acknowledges it
	afterAck                   // when that is acknowledged: the till is told to send a reversal, and does
	anytime
	byReversal // another till sends a reversal as the platform is called
	instants
)

var instantNames = [instants]string{
	"before the press", "with the press", "when stored", "at the call", "at the approval", "at the end", "after the ack", "any time", "by reversal",
}

// witness stands between hub and platform, and says when an id is called for and when that was answered.
type witness struct {
	mu    sync.Mutex
	fuses map[string]*fuse // by id
}

type fuse struct{ called, answered chan struct{} }

func (w *witness) of(id string) *fuse {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.fuses[id]
	if f == nil {
		f = &fuse{make(chan struct{}, 1), make(chan struct{}, 1)}
		if w.fuses == nil {
			w.fuses = map[string]*fuse{}
		}
		w.fuses[id] = f
	}
	return f
}

func (w *witness) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/payments" {
			next.ServeHTTP(rw, r)
			return
		}
		f := w.of(r.Header.Get("Idempotency-Key"))
		light(f.called)
		defer light(f.answered) // also where the connection is cut
		next.ServeHTTP(rw, r)
	})
}

// light lights a fuse once.
func light(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// race is one sale and what is to undo it.
type race struct {
	*campaign
	till, other *Till
	key         string
	id          tideover.ID
	when        instant
	dice        *rand.Rand
	fuse        *fuse
}

// races runs so many of them, and returns when each has come to its end.
func (c *campaign) races(n int, w *witness) {
	var lanes sync.WaitGroup
	each := n / (len(c.tills) * racesPerTill)
	for i, till := range c.tills {
		for lane := range racesPerTill {
			dice := rand.New(rand.NewPCG(c.seed, uint64(n+1000*i+lane)))
			lanes.Go(func() {
				for range each + 1 {
					c.race(till, w, dice)
				}
			})
		}
	}
	lanes.Wait()
}

func (c *campaign) race(till *Till, w *witness, dice *rand.Rand) {
	key := fmt.Sprintf("race-%d", c.presses.Add(1))
	id := tideover.MakeID(c.shop.Store, till.Name, key)
	r := race{c, till, c.tills[dice.IntN(len(c.tills))], key, id, instant(dice.IntN(int(instants))), dice, w.of(id.String())}
	r.run()
}

// run makes the sale and fires the cancel, or two, at its instant. What is wrong is in the tills' notes.
func (r *race) run() {
	p := Press{
		Kind: tideover.KindSale, Amount: 100 + r.dice.Int64N(10_000), Currency: currency, Order: instantNames[r.when] + " " + r.key,
		ExpiresIn: []int{2, 45, 600}[r.dice.IntN(3)], Payload: []byte(`{"items":[1,2,3]}`),
	}
	r.till.Keep(r.key, p)
	var cancels sync.WaitGroup
	later := time.Duration(r.dice.Int64N(int64(3 * time.Millisecond))) // an approval takes about as long from the platform to the till
	if r.when == anytime {
		later *= 100
	}
	fire := make(chan struct{})
	for range 1 + r.dice.IntN(2) {
		byKey := r.dice.IntN(2) == 0 || r.when == withPress
		cancels.Go(func() {
			r.wait(fire, later)
			r.undo(byKey)
		})
	}
	if r.when == beforePress {
		close(fire)
		cancels.Wait()
		fire = nil
	}
	x, err := r.sell(fire)
	cancels.Wait()
	for err != nil && errors.Is(err, ErrCrashed) || err == nil && !r.till.Note(r.key).Acked {
		x, err = r.resume(p)
	}
	if err == nil && x.State == tideover.StateApproved {
		r.reverse(r.other)
	}
}

// sell presses, follows the sale to its end, and closes fire where the till itself knows the instant.
func (r *race) sell(fire chan struct{}) (tideover.Transaction, error) {
	if r.when == withPress || r.when == anytime {
		close(fire)
	}
	wait := r.till.Wait
	if r.when == whenStored {
		wait = 0
	}
	x, err := r.till.send(r.ctx, r.key, wait)
	if r.when == whenStored || r.when == atEnd && x.Final() {
		close(fire)
		fire = nil
	}
	if err != nil {
		return x, err
	}
	if x, err = r.till.Finish(r.ctx, r.key, x); r.when == afterAck && err == nil {
		close(fire)
	}
	return x, err
}

// wait waits for the race's instant, or for so long that it will not come.
func (r *race) wait(fire <-chan struct{}, later time.Duration) {
	switch r.when {
	case atCall, byReversal:
		fire = r.fuse.called
	case atApproval:
		fire = r.fuse.answered
	default:
	}
	select {
	case <-fire:
	case <-time.After(fuseMax):
	case <-r.ctx.Done():
	}
	time.Sleep(later)
}

// undo is what is fired.
func (r *race) undo(byKey bool) {
	if r.when == byReversal {
		if r.till.Accepted(r.key) {
			r.reverse(r.other)
		}
		return
	}
	_, err := r.till.Cancel(r.ctx, r.key, byKey)
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Code == tideover.CodeAlreadyAcknowledged {
		r.reverse(r.till)
	}
}

// reverse sends a reversal of the sale from a till of the shop, until it has its end.
func (r *race) reverse(by *Till) {
	for {
		_, err := by.Sell(r.ctx, r.key+"-undo-at-"+by.Name, Press{Kind: tideover.KindReversal, Original: &r.id})
		if !errors.Is(err, ErrCrashed) {
			return
		}
	}
}

// resume is a till after a crash. It goes on with the end that it has shown, or sends the press again, or has it undone.
func (r *race) resume(p Press) (tideover.Transaction, error) {
	if n := r.till.Note(r.key); n.End != nil && !n.open {
		return r.till.Finish(r.ctx, r.key, *n.End)
	}
	if r.dice.IntN(2) == 0 {
		return r.till.Sell(r.ctx, r.key, p)
	}
	x, err := r.till.Void(r.ctx, r.key, true)
	if _, refused := errors.AsType[*RefusedError](err); refused {
		return r.till.Sell(r.ctx, r.key, p) // it had been acknowledged before
	}
	return x, err
}

// crashes has a till crash every now and then until stop is closed.
func (c *campaign) crashes(stop <-chan struct{}) {
	dice := rand.New(rand.NewPCG(c.seed, 3))
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(dice.ExpFloat64() * float64(crashMean))):
			c.tills[dice.IntN(len(c.tills))].Crash()
		}
	}
}

// ends counts how each kind of race ended, and fails where one of them has shown nothing.
func (c *campaign) ends(v Verdict) {
	c.t.Helper()
	count := map[string]map[string]int{}
	all := map[string]int{}
	for _, till := range c.tills {
		for _, n := range till.Notes() {
			if n.Press.Order == "" || n.End == nil {
				continue
			}
			end := n.End.State.String()
			if n.Cancel.Refused == tideover.CodeAlreadyAcknowledged {
				end += " after 409"
			}
			if count[n.Press.Order] == nil {
				count[n.Press.Order] = map[string]int{}
			}
			count[n.Press.Order][end]++
			all[end]++
		}
	}
	for _, name := range instantNames {
		c.t.Logf("%-17s %v", name, strings.TrimPrefix(fmt.Sprint(count[name]), "map"))
	}
	if all["cancelled"] == 0 || all["reversed"] == 0 || all["reversed after 409"] == 0 {
		c.t.Errorf("the races showed too little: %v", all)
	}
}

// TestRace_CancelAgainstApproval fires cancels at their own sales: before they arrive, as they are stored, called, approved, told and
// acknowledged, by id and by key, one or two at once, and reversals by other tills; most of them while edge, hub and tills are killed
// and the cable suffers. Whoever was told 200 or 202 is not charged.
func TestRace_CancelAgainstApproval(t *testing.T) {
	t.Parallel()
	races := racesDefault
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") == "1":
		races = racesNightly
	case testing.Short():
		races = racesShort
	}
	race := trouble()
	race.Behaviour.JitterMS = 20
	c := raceIn(t, races, Options{Platform: race, PlatformTimeout: time.Second})
	c.must(c.shop.Stop())
}

// TestRace_StatusOnly does the same with a platform that executes whatever it is called for, as often as it is called.
func TestRace_StatusOnly(t *testing.T) {
	t.Parallel()
	races := racesSmall
	switch {
	case os.Getenv("TIDEOVER_NIGHTLY") == "1":
		races = racesDefault
	case testing.Short():
		races = racesShort
	}
	o := trouble()
	o.Repeats = true
	o.Behaviour.LoseReverse, o.Behaviour.LoseQuery = 0, 0 // a platform that does not answer these leaves it to a person
	raceIn(t, races, Options{Platform: o, PlatformTimeout: time.Second, Guarantee: "status_only"})
}

func raceIn(t *testing.T, races int, o Options) *campaign {
	t.Helper()
	w := &witness{}
	o.Wrap = w.wrap
	c := newCampaign(t, o)
	limit := raceMax + time.Duration(races)*raceEach
	defer time.AfterFunc(limit, func() {
		t.Errorf("after %v there are races without an end", limit)
		c.abort()
	}).Stop()
	hear, deaf := context.WithCancel(c.ctx)
	defer deaf()
	for _, till := range c.tills[:listeners] {
		go till.Listen(hear)
	}
	began := time.Now()
	c.races(races/3, w)
	t.Logf("%v in peace", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	stop := make(chan struct{})
	go c.crashes(stop)
	c.during(func() { c.races(races-races/3, w) })
	close(stop)
	t.Logf("%v under kills", time.Since(began).Round(time.Millisecond))
	c.settle()
	v := c.judge()
	c.ends(v)
	c.heard(c.tills[:listeners])
	if answered := v.Cancelled + c.refusedCancels(); answered < races*2/3 {
		t.Errorf("%d of %d cancels were answered", answered, races)
	}
	return c
}

// heard wants each end of these tills to have come by their streams of events as well, the last word last.
func (c *campaign) heard(tills []*Till) {
	c.t.Helper()
	for _, till := range tills {
		for deadline := time.Now().Add(endMax); ; time.Sleep(50 * time.Millisecond) {
			var missing []Note
			for _, n := range till.Notes() {
				if n.End != nil && n.Streamed != n.End.State {
					missing = append(missing, n)
				}
			}
			if len(missing) == 0 {
				break
			}
			if time.Now().After(deadline) {
				c.t.Errorf("%s was told %d ends that its stream of events has not: %+v", till.Name, len(missing), missing[0])
				break
			}
		}
	}
}

// refusedCancels counts the presses whose cancel was refused, since they had been acknowledged.
func (c *campaign) refusedCancels() (n int) {
	for _, till := range c.tills {
		for _, note := range till.Notes() {
			if !note.Cancel.Taken() && note.Cancel.Refused != "" {
				n++
			}
		}
	}
	return n
}
