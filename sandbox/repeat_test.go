package sandbox

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tideover"
)

// TestRepeat_TwentyAtOnce presses one key from 20 connections at once, again and again while it is in flight: one transaction, one
// execution, 20 equal answers.
func TestRepeat_TwentyAtOnce(t *testing.T) {
	const connections = 20
	c := newCampaign(t, Options{})
	for round, cut := range []bool{false, true} {
		key := fmt.Sprintf("press-%d", round)
		c.must(c.shop.Slow(500 * time.Millisecond))
		if cut {
			c.shop.CutCable()
			time.AfterFunc(time.Second, c.shop.MendCable)
		}
		answers := make(chan tideover.Transaction, connections)
		tills := make([]*Till, connections)
		for i := range tills {
			tills[i] = c.shop.Till("till-1") // the same till: 20 clients, each with connections of its own
			tills[i].Wait = 30 * time.Second
			go func() {
				x, err := tills[i].Press(c.ctx, key, Press{Kind: tideover.KindSale, Amount: 1299, Currency: currency, Order: key})
				if err != nil {
					t.Error(err)
				}
				answers <- x
			}()
		}
		var first tideover.Transaction
		news := 0
		for i := range connections {
			x := <-answers
			if !x.Replayed {
				news++
			}
			x.Replayed = false
			x.Delivered, x.UpdatedAt, x.Seq = false, 0, 0 // what may differ: whether another answer was written before
			if i == 0 {
				first = x
			}
			if !equal(first, x) || x.State != tideover.StateApproved {
				t.Errorf("two answers differ, or are not approved:\n%+v %+v\n%+v %+v", first, first.Outcome, x, x.Outcome)
			}
		}
		if news != 1 {
			t.Errorf("%d answers say that they are the first one", news)
		}
		if s := c.shop.Platform.Count(first.ID); s.Executions != 1 || s.Calls != 1 {
			t.Errorf("the platform saw %+v, want one call and one execution", s)
		}
		if _, err := tills[0].Sell(c.ctx, key, Press{}); err != nil { // acknowledges
			t.Error(err)
		}
	}
	if v := c.shop.Verdict(c.tills...); v.ChargedTwice > 0 || v.Repeated > 0 {
		t.Errorf("%s; %d calls repeated", v, v.Repeated)
	}
}

// equal compares two answers, outcome included.
func equal(a, b tideover.Transaction) bool {
	if a.Outcome == nil || b.Outcome == nil || *a.Outcome != *b.Outcome {
		return false
	}
	a.Outcome, b.Outcome = nil, nil
	return a == b
}

// TestWipe_IDsSurvive replaces the router by an empty one, twice, with sales at every step of their way: the same key has the same id
// there, nothing is charged again, and the till hears the end that the old router could not tell it. The tills stay paired.
func TestWipe_IDsSurvive(t *testing.T) {
	c := newCampaign(t, Options{})
	till := c.tills[0]
	sale := func(amount int64) Press { return Press{Kind: tideover.KindSale, Amount: amount, Currency: currency} }
	done, err := till.Sell(c.ctx, "acknowledged", sale(100))
	c.must(err)
	told, err := till.Press(c.ctx, "told", sale(200)) // final, and not acknowledged
	c.must(err)
	c.must(c.shop.Slow(500 * time.Millisecond))
	till.Wait = 0
	sent, err := till.Press(c.ctx, "executed", sale(300)) // executed, and its end is not heard
	c.must(err)
	for c.shop.Platform.Count(sent.ID).Executions == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	c.shop.CutCable()
	stored, err := till.Press(c.ctx, "stored", sale(400)) // on the old router's disk alone
	c.must(err)
	c.must(c.shop.Slow(0))
	for range 2 {
		c.shop.KillEdge()
		c.shop.MendCable()
		c.must(c.shop.WipeEdge(c.ctx))
		c.must(c.shop.StartEdge(c.ctx))
		till.NewRouter()
		till.Wait = 5 * time.Second
		for key, before := range map[string]tideover.Transaction{"acknowledged": done, "told": told, "executed": sent, "stored": stored} {
			ctx, cancel := context.WithTimeout(c.ctx, settleMax)
			after, err := till.Sell(ctx, key, Press{})
			cancel()
			c.must(err)
			if after.ID != before.ID || after.State != tideover.StateApproved || after.Amount != before.Amount {
				t.Errorf("%s: was %s over %d, and on the new router is %s over %d, %q", key, before.ID, before.Amount, after.ID, after.Amount, after.State)
			}
			if s := c.shop.Platform.Count(after.ID); s.Executions != 1 {
				t.Errorf("%s: executed %d times", key, s.Executions)
			}
		}
	}
	c.judge()
}
