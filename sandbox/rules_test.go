package sandbox

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tideover"
	platform "tideover/hub/platform/sandbox"
)

// What fifty cashiers do to one sale, and a hundred to one code.
const (
	refundsAtOnce = 50
	tillsAtOnce   = 100
	soldFor       = 10_000
	refundOf      = 500                    // twenty of them fit
	slowly        = 600 * time.Millisecond // the platform answers, so that there are kills in the middle
)

// refunds sends refunds of one sale from five tills at once, and follows each to its end. It returns how many were approved and how many
// were refused by the edge.
func (c *campaign) refunds(sale tideover.ID, round string, amount int64) (approved, refused int, ids []tideover.ID) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range refundsAtOnce {
		till := c.tills[i%5]
		all.Go(func() {
			p := Press{Kind: tideover.KindRefund, Amount: amount, Currency: currency, Original: &sale}
			x, err := till.Sell(c.ctx, fmt.Sprint("refund-", round, "-", i), p)
			mu.Lock()
			defer mu.Unlock()
			r, isRefusal := errors.AsType[*RefusedError](err)
			switch {
			case isRefusal && r.Code == tideover.CodeRefundExceedsOriginal:
				refused++
			case err != nil:
				c.t.Error(err)
			case x.State == tideover.StateApproved:
				approved++
				ids = append(ids, x.ID)
			case x.State != tideover.StateDeclined || x.Outcome.Code != string(tideover.CodeRefundExceedsOriginal):
				c.t.Errorf("a refund ends as %s, %+v", x.State, x.Outcome)
			}
		})
	}
	all.Wait()
	return approved, refused, ids
}

// given is what the platform has given back.
func (c *campaign) given(ids []tideover.ID, amount int64) (sum int64) {
	for _, id := range ids {
		sum += int64(c.shop.Platform.Count(id).Executions) * amount
	}
	return sum
}

// TestRefunds_NeverAboveTheSale: whatever five tills send at once, on one router, on one that is killed meanwhile, and on one that has replaced the
// one that sold and knows nothing of it.
func TestRefunds_NeverAboveTheSale(t *testing.T) {
	c := newCampaign(t, Options{})
	for len(c.tills) < 5 {
		c.tills = append(c.tills, c.shop.Till(fmt.Sprintf("till-%d", len(c.tills)+1)))
	}
	sell := func(key string) tideover.ID {
		x, err := c.tills[0].Sell(c.ctx, key, Press{Kind: tideover.KindSale, Amount: soldFor, Currency: currency})
		c.must(err)
		if x.State != tideover.StateApproved {
			t.Fatalf("the sale is %s", x.State)
		}
		return x.ID
	}
	check := func(what string, approved, refused int, sum int64) {
		t.Helper()
		if approved != soldFor/refundOf || sum != soldFor {
			t.Errorf("%s: %d refunds were approved, and %d given back of %d", what, approved, sum, int64(soldFor))
		}
		t.Logf("%s: %d approved, %d refused by the edge", what, approved, refused)
	}
	approved, refused, ids := c.refunds(sell("at-once"), "one", refundOf)
	check("one router", approved, refused, c.given(ids, refundOf))
	if approved+refused != refundsAtOnce {
		t.Errorf("the edge let %d refunds go that cannot be", refundsAtOnce-approved-refused)
	}

	sale := sell("killed")
	c.must(c.shop.Slow(slowly))
	c.during(func() { approved, refused, ids = c.refunds(sale, "killed", refundOf) })
	c.must(c.shop.Slow(0))
	check("a router that is killed", approved, refused, c.given(ids, refundOf))

	sale = sell("replaced")
	half := int64(soldFor / 2)
	first, err := c.tills[1].Sell(c.ctx, "half", Press{Kind: tideover.KindRefund, Amount: half, Currency: currency, Original: &sale})
	c.must(err)
	c.must(c.shop.WipeEdge(c.ctx))
	c.must(c.shop.StartEdge(c.ctx))
	for _, till := range c.tills {
		till.NewRouter()
	}
	approved, refused, ids = c.refunds(sale, "replaced", refundOf)
	if sum := c.given(ids, refundOf) + c.given([]tideover.ID{first.ID}, half); approved != soldFor/refundOf/2 || sum != soldFor {
		t.Errorf("a router that knows neither the sale nor what was refunded of it: %d more were approved, and %d given back of %d", approved, sum, int64(soldFor))
	}
	t.Logf("a router in another's place: %d approved, %d refused by the edge", approved, refused)
	c.settle()
	c.judge()
}

// TestDuplicates_OneCodeIsOneCharge: a hundred tills press one pay code at once, and one of them is charged. A retry after a decline is a new
// sale, two equal coffees are two, and one order may be paid in two parts.
func TestDuplicates_OneCodeIsOneCharge(t *testing.T) {
	c := newCampaign(t, Options{})
	sale := func(amount int64, code string) Press {
		return Press{Kind: tideover.KindSale, Amount: amount, Currency: currency, Instrument: code}
	}
	c.tills = nil
	for i := range tillsAtOnce {
		c.tills = append(c.tills, c.shop.Till(fmt.Sprintf("box-%d", i)))
	}
	rush := func(key, code string) {
		var mu sync.Mutex
		var taken []tideover.Transaction
		var all sync.WaitGroup
		for _, till := range c.tills {
			all.Go(func() {
				x, err := till.Sell(c.ctx, key, sale(1299, code))
				if r, ok := errors.AsType[*RefusedError](err); ok && r.Code == tideover.CodeSuspectedDuplicate {
					return
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				taken = append(taken, x)
			})
		}
		all.Wait()
		if len(taken) != 1 || taken[0].State != tideover.StateApproved {
			t.Errorf("%s: %d presses of one code were taken", key, len(taken))
		}
	}
	rush("press", "284512345678901234")
	c.must(c.shop.Slow(slowly))
	c.during(func() { rush("killed", "284512345678901235") })
	c.must(c.shop.Slow(0))
	if n := c.shop.Platform.Stats().Executions; n != 2 {
		t.Errorf("two customers were charged %d times", n)
	}

	till := c.tills[0]
	declines := func(amounts ...int64) {
		c.must(c.shop.Platform.Control(func(b *platform.Behaviour) { b.DeclineAmounts = amounts }))
	}
	declines(500)
	want := func(key string, p Press, state tideover.State) {
		t.Helper()
		if x, err := till.Sell(c.ctx, key, p); err != nil || x.State != state {
			t.Errorf("%s: %s, %v; want %s", key, x.State, err, state)
		}
	}
	want("declined", sale(500, "284512345678905555"), tideover.StateDeclined)
	declines()
	want("tried-again", sale(500, "284512345678905555"), tideover.StateApproved)
	want("a-coffee", sale(300, ""), tideover.StateApproved)
	want("another-coffee", sale(300, ""), tideover.StateApproved)
	half := sale(700, "284512345678906666")
	half.Order = "A-1"
	want("one-half", half, tideover.StateApproved)
	half.Instrument = "284512345678907777"
	want("the-other-half", half, tideover.StateApproved)
	c.settle()
	c.judge()
}
