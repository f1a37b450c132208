package sandbox

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tideover"
	"tideover/control"
	"tideover/rules"
)

const (
	reloads       = 20  // while tills sell
	reloadAccepts = 200 // at least, over all of them
)

// owner is the shop's owner, who changes the rules.
type owner struct {
	c     *campaign
	file  string // the configuration without rules
	tech  *control.Client
	edits int
}

// write puts the n-th rules into the configuration at once, as an editor does.
func (o *owner) write(n int) {
	o.c.t.Helper()
	text := fmt.Sprintf("%s[limits]\nsale_min = %d\nsale_max = %d\n", o.file, 100*(n%3), 2000+500*(n%7))
	o.c.must(os.WriteFile(o.c.shop.EdgeConfig()+".new", []byte(text), 0o600))
	o.c.must(os.Rename(o.c.shop.EdgeConfig()+".new", o.c.shop.EdgeConfig()))
}

// version is what is in force.
func (o *owner) version() uint64 {
	o.c.t.Helper()
	s, err := o.tech.Status(o.c.ctx)
	o.c.must(err)
	return s.Rules.Version
}

// history is every version on record, the newest first.
func (o *owner) history() []control.RulesVersion {
	o.c.t.Helper()
	h, err := o.tech.Rules(o.c.ctx)
	o.c.must(err)
	return h.Versions
}

// change has other rules put in force by a hang-up, and waits until they are.
func (o *owner) change() {
	o.c.t.Helper()
	before := o.version()
	o.edits++
	o.write(o.edits)
	o.c.must(syscall.Kill(o.c.shop.edge.pid(), syscall.SIGHUP))
	for deadline := time.Now().Add(reachMax); o.version() == before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.c.must(fmt.Errorf("the rules of edit %d never came into force", o.edits))
		}
	}
}

// TestReload_UnderLoad changes the rules while tills sell, by a hang-up and by a start, and kills the router right before and right after
// a version is put on record. Every transaction was allowed by the version that it names; none is lost; no connection is.
func TestReload_UnderLoad(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, Options{Executable: build(t, "tideover-sandbox", "-tags", "die")})
	file, err := os.ReadFile(c.shop.EdgeConfig())
	c.must(err)
	o := &owner{c: c, file: string(file), tech: control.Dial(c.shop.path("edge.sock"))}

	cut := o.holdConnection()
	var accepts atomic.Int64
	for i, till := range c.tills {
		c.sellers.Go(func() {
			dice := rand.New(rand.NewPCG(c.seed, uint64(i)))
			for n := 0; !c.closed.Load(); n++ {
				key := fmt.Sprint("r-", n)
				p := Press{Kind: tideover.KindSale, Amount: 1 + dice.Int64N(6000), Currency: currency, Order: fmt.Sprint(till.Name, "-", n)}
				_, err := till.Sell(c.ctx, key, p)
				if r, refused := errors.AsType[*RefusedError](err); refused && r.Status == http.StatusUnprocessableEntity {
					continue
				}
				c.must(err)
				accepts.Add(1)
			}
		})
	}
	for n := range reloads {
		for enough := int64((n + 1) * reloadAccepts / reloads); accepts.Load() < enough && c.ctx.Err() == nil; {
			time.Sleep(2 * time.Millisecond)
		}
		o.change()
	}
	if have := len(o.history()); have != reloads+1 {
		t.Errorf("%d versions are on record, want %d", have, reloads+1)
	}
	select {
	case err := <-cut:
		t.Errorf("a till's connection was lost: %v", err)
	default:
	}
	o.dies()
	c.closed.Store(true)
	c.sellers.Wait()
	o.audit(accepts.Load())
	c.must(c.shop.Stop())
}

// holdConnection keeps a till's stream open, and says when it breaks.
func (o *owner) holdConnection() <-chan error {
	o.c.t.Helper()
	r, err := o.c.tills[0].request(o.c.ctx, http.MethodGet, "/v1/events", nil, nil)
	o.c.must(err)
	resp, err := o.c.tills[0].client.Do(r)
	o.c.must(err)
	if resp.StatusCode != http.StatusOK {
		o.c.t.Fatalf("the stream: %s", resp.Status)
	}
	cut := make(chan error, 1)
	go func() {
		defer resp.Body.Close()
		_, err := io.Copy(io.Discard, resp.Body)
		cut <- fmt.Errorf("it ended: %w", errors.Join(err))
	}()
	return cut
}

// dies kills the router around the commit of a version, once by a hang-up and once at a start. What was on disk is in force afterwards, and
// what was not is not on record.
func (o *owner) dies() {
	edge := o.c.shop.edge
	for _, point := range []string{"queue.rules.before", "queue.rules.after"} {
		for _, byStart := range []bool{false, true} {
			had, old := o.history(), o.edits
			o.edits++
			edge.kill()
			die := "TIDEOVER_DIE=" + point + ":1"
			if byStart {
				o.write(o.edits)
				o.c.must(edge.start(die))
			} else {
				o.c.must(o.c.shop.StartEdge(o.c.ctx, die))
				o.write(o.edits)
				o.c.must(syscall.Kill(edge.pid(), syscall.SIGHUP))
			}
			select {
			case <-edge.ended():
			case <-time.After(reachMax):
				o.c.t.Fatalf("%s was never reached (at a start: %v)", point, byStart)
			}
			if !edge.killed() {
				o.c.must(fmt.Errorf("the router ended by itself at %s", point))
			}
			// Started with the rules of before: where the new ones are on record, these are another version.
			o.write(old)
			o.c.must(o.c.shop.StartEdge(o.c.ctx))
			want := len(had)
			if point == "queue.rules.after" {
				want += 2
			}
			have := o.history()
			if len(have) != want || !have[0].InForce || have[0].Values["limits.sale_max"] != had[0].Values["limits.sale_max"] {
				o.c.t.Errorf("%s (at a start: %v): %d versions, want %d; the newest is %+v", point, byStart, len(have), want, have[0])
			}
			o.edits += 6 // to be unlike what is on record
			o.change()
		}
	}
}

// audit replays every transaction that a till was answered over the rules that it names.
func (o *owner) audit(accepts int64) {
	t, c := o.c.t, o.c
	versions := map[uint64]rules.Rules{}
	judged, found := map[uint64]int{}, int64(0)
	for _, v := range o.history() {
		least, bad := strconv.ParseInt(v.Values["limits.sale_min"], 10, 64)
		most, err := strconv.ParseInt(v.Values["limits.sale_max"], 10, 64)
		c.must(errors.Join(bad, err))
		versions[v.Version] = rules.Rules{Limits: rules.Limits{SaleMin: least, SaleMax: most}, Duplicates: rules.Duplicates{Action: rules.ActionAllow}}
		judged[v.Version] = v.Judged
	}
	for _, till := range c.tills {
		for _, n := range till.Notes() {
			if !n.Accepted {
				continue
			}
			found++
			d, err := o.tech.Show(c.ctx, n.ID.String())
			c.must(err)
			if len(d.History) > 0 && d.History[0].Event == "adopted" {
				continue // it had left when the router died, and came home from the hub: nobody knows any more by what it was judged
			}
			if d.Rules == nil || d.Rules.Since == 0 {
				t.Errorf("%s does not say what it was judged by", n.ID)
				continue
			}
			r, ok := versions[d.Rules.Version]
			if !ok {
				t.Errorf("%s names version %d, which is not on record", n.ID, d.Rules.Version)
				continue
			}
			judged[d.Rules.Version]--
			request := tideover.Request{Kind: n.Press.Kind, Amount: n.Press.Amount, Currency: n.Press.Currency, Order: n.Press.Order}
			if _, err := r.Judge(rules.Press{Request: request}, nothing{}); err != nil {
				t.Errorf("%s, of %d, names version %d, which would have refused it: %v", n.ID, n.Press.Amount, d.Rules.Version, err)
			}
		}
	}
	if found < accepts || found < reloadAccepts {
		t.Errorf("%d transactions are found, %d were taken", found, accepts)
	}
	for version, n := range judged {
		if n != 0 {
			t.Errorf("version %d is said to have judged %d more than name it", version, n)
		}
	}
	t.Logf("%d transactions under %d versions", found, len(versions))
}

// nothing is a view of an empty shop.
type nothing struct{ rules.View }

func (nothing) Open() (int, map[string]int64) { return 0, nil }

func (nothing) Heard() bool { return true }

func (nothing) Alike(rules.Press) iter.Seq[rules.Seen] { return func(func(rules.Seen) bool) {} }
