package sandbox

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	platform "tideover/hub/platform/sandbox"

	"tideover"
	"tideover/control"
)

// The size of a day.
const (
	daySales      = 5000
	daySalesShort = 600 // go test -short
	dayLanes      = 10  // sales under way at one till
	dayKills      = 3   // of the edge and of the hub, each
)

// dayCurrencies are what one shop may be paid in; a yen has no hundredth.
var dayCurrencies = []string{"CNY", "JPY", "USD"}

// live lets the tills sell until so many transactions have been pressed: sales in three currencies, and refunds of some. Meanwhile both
// programs are killed.
func (c *campaign) live(sales int) {
	c.t.Helper()
	var pressed atomic.Int64
	var selling sync.WaitGroup
	for i, till := range c.tills {
		for lane := range dayLanes {
			dice := rand.New(rand.NewPCG(c.seed, uint64(1000*i+lane)))
			selling.Go(func() {
				for n := 0; pressed.Add(1) <= int64(sales); n++ {
					key, currency := fmt.Sprintf("k-%d-%d", lane, n), dayCurrencies[dice.IntN(len(dayCurrencies))]
					amount := 100 + dice.Int64N(10_000)
					x, err := till.Sell(c.ctx, key, Press{Kind: tideover.KindSale, Amount: amount, Currency: currency, ExpiresIn: 600})
					if err != nil || x.State != tideover.StateApproved || dice.IntN(12) > 0 || pressed.Add(1) > int64(sales) {
						continue
					}
					_, _ = till.Sell(c.ctx, key+"-back", Press{Kind: tideover.KindRefund, Amount: 1 + dice.Int64N(amount), Currency: currency, Original: &x.ID})
				}
			})
		}
	}
	sold := make(chan struct{})
	go func() {
		selling.Wait()
		close(sold)
	}()
	for kill := range int64(2 * dayKills) {
		for pressed.Load() < (kill+1)*int64(sales)/(2*dayKills+1) && c.ctx.Err() == nil {
			select {
			case <-sold:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
		if kill%2 == 0 {
			c.shop.KillEdge()
			c.must(c.shop.StartEdge(c.ctx))
		} else {
			c.shop.KillHub()
			c.must(c.shop.StartHub(c.ctx))
		}
	}
	select {
	case <-sold:
	case <-time.After(settleMax):
		c.t.Fatalf("%d of %d were pressed", pressed.Load(), sales)
	}
	c.settle()
}

// dayEnd is a till's report by what it has written down itself: sums, and every transaction.
func dayEnd(till *Till) (body []byte, items int) {
	type total struct {
		Kind     tideover.Kind `json:"kind"`
		Currency string        `json:"currency"`
		Count    int64         `json:"count"`
		Amount   int64         `json:"amount"`
	}
	type item struct {
		Key      string         `json:"key"`
		Kind     tideover.Kind  `json:"kind"`
		Amount   int64          `json:"amount"`
		Currency string         `json:"currency"`
		State    tideover.State `json:"state"`
	}
	var report struct {
		Totals []total `json:"totals"`
		Items  []item  `json:"items"`
	}
	sums := map[string]*total{}
	for _, n := range till.Notes() {
		if n.End == nil {
			continue // refused: no router has it
		}
		report.Items = append(report.Items, item{n.Key, n.Press.Kind, n.Press.Amount, n.Press.Currency, n.End.State})
		if n.End.State != tideover.StateApproved {
			continue
		}
		of := n.Press.Kind.String() + n.Press.Currency
		if sums[of] == nil {
			sums[of] = &total{Kind: n.Press.Kind, Currency: n.Press.Currency}
		}
		sums[of].Count++
		sums[of].Amount += n.Press.Amount
	}
	for _, s := range sums {
		report.Totals = append(report.Totals, *s)
	}
	body, err := json.Marshal(report)
	if err != nil {
		panic(err)
	}
	return body, len(report.Items)
}

// report sends a till's day-end, and again as a till does whose answer was lost.
func (c *campaign) report(till *Till) {
	c.t.Helper()
	body, items := dayEnd(till)
	var first string
	for range 2 {
		header := http.Header{"Idempotency-Key": {"day"}, "Content-Type": {"application/json"}}
		a, err := till.call(c.ctx, http.MethodPost, "/v1/settlements", header, body, time.Minute)
		var s struct {
			ID, Result  string
			HubCompared bool `json:"hub_compared"`
			Items       []json.RawMessage
		}
		if err == nil {
			err = json.Unmarshal(a.body, &s)
		}
		if err != nil || a.status != http.StatusOK || s.Result != "match" || len(s.Items) != 0 || !s.HubCompared || first != "" && first != s.ID {
			c.t.Errorf("%s, %d items: %v, %s", till.Name, items, err, a)
		}
		first = s.ID
	}
}

// TestDay_ListsExactlyWhatIsWrong runs a day of 5,000 transactions at several tills in three currencies, with edge and hub killed in
// between. One till's day-end is lost; the platform executes one payment twice, and forgets another. Exactly those are found.
func TestDay_ListsExactlyWhatIsWrong(t *testing.T) {
	t.Parallel()
	sales := daySales
	if testing.Short() {
		sales = daySalesShort
	}
	c := newCampaign(t, Options{
		Platform:        platform.Options{Behaviour: platform.Behaviour{Decline: 0.05, LoseAnswer: 0.005}},
		PlatformTimeout: time.Second,
	})
	began := time.Now()
	c.live(sales)
	lived := time.Since(began)
	lost := c.tills[len(c.tills)-1]
	for _, till := range c.tills {
		if till != lost {
			c.report(till)
		}
	}
	technician := control.Dial(c.shop.path("edge.sock"))
	reconcile := func() (tideover.Reconciliation, time.Duration) {
		t.Helper()
		began := time.Now()
		r, err := technician.Reconcile(c.ctx, control.ReconcileQuery{}, nil)
		c.must(err)
		if !r.Hub || !r.Statement {
			t.Fatalf("not all sides were read: %s", r.HubWhy)
		}
		return r, time.Since(began)
	}
	before, _ := reconcile()
	if before.Result != tideover.VerdictMatch || len(before.Findings) != 0 || len(before.Reports) != len(c.tills)-1 {
		t.Fatalf("before anything was wrong: %s, %+v", before.Result, before.Findings)
	}
	var approved []tideover.ID
	counted := 0 // what the till of the lost day-end has that counts
	for _, till := range c.tills {
		for _, n := range till.Notes() {
			if n.End != nil && n.End.State == tideover.StateApproved && n.Press.Kind == tideover.KindSale {
				approved = append(approved, n.ID)
			}
			if till == lost && n.End != nil && n.End.State == tideover.StateApproved {
				counted++
			}
		}
	}
	dice := rand.New(rand.NewPCG(c.seed, 99))
	dice.Shuffle(len(approved), func(i, j int) { approved[i], approved[j] = approved[j], approved[i] })
	twice, missing := approved[0], approved[1]
	if !c.shop.Platform.Twice(twice) || !c.shop.Platform.Lose(missing) {
		t.Fatal("nothing was injected")
	}
	r, took := reconcile()
	t.Logf("%d transactions in %v; reconciled in %v", r.Compared, lived.Round(time.Millisecond), took.Round(time.Millisecond))
	var have []string
	for _, f := range r.Findings {
		have = append(have, f.ID.String()+" "+f.Reason)
	}
	if want := []string{twice.String() + " twice", missing.String() + " platform_lacks"}; !slices.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
	if len(r.Unreported) != 1 || r.Unreported[0].Terminal != lost.Name || r.Unreported[0].Count != counted || r.Unreported[0].Reported {
		t.Errorf("have %+v, want %s with %d", r.Unreported, lost.Name, counted)
	}
	if r.Compared < sales-sales/100 || r.Well() {
		t.Errorf("%d were compared of %d", r.Compared, sales)
	}
	if again, _ := reconcile(); again.ID != r.ID || before.ID == r.ID {
		t.Errorf("ids %s, %s and %s", before.ID, r.ID, again.ID)
	}
	if took > lived/4 {
		t.Errorf("reconciled in %v, and the whole day took %v", took, lived)
	}
	c.seen(&r)
	c.must(c.shop.Stop())
}

// seen checks the sums that are shown against what the tills have written down: by kind and currency, over all tills.
func (c *campaign) seen(r *tideover.Reconciliation) {
	c.t.Helper()
	want, have := map[string]tideover.Sum{}, map[string]tideover.Sum{}
	for _, till := range c.tills {
		for _, n := range till.Notes() {
			if n.End != nil && n.End.State == tideover.StateApproved {
				s := want[n.Press.Kind.String()+n.Press.Currency]
				want[n.Press.Kind.String()+n.Press.Currency] = tideover.Sum{Count: s.Count + 1, Amount: s.Amount + n.Press.Amount}
			}
		}
	}
	add := func(all []tideover.Balance) {
		for _, b := range all {
			s := have[b.Kind.String()+b.Currency]
			have[b.Kind.String()+b.Currency] = tideover.Sum{Count: s.Count + b.Journal.Count, Amount: s.Amount + b.Journal.Amount}
		}
	}
	for _, rep := range r.Reports {
		add(rep.Totals)
	}
	add(r.Rest)
	if len(want) < len(dayCurrencies) || fmt.Sprint(have) != fmt.Sprint(want) {
		c.t.Errorf("have %v, want %v", have, want)
	}
}

// A hub that is out of reach keeps nobody from closing: the till is answered by the journal, and the technician is told what is missing.
func TestDay_WithoutTheHub(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, Options{})
	till := c.tills[0]
	if _, err := till.Sell(c.ctx, "a", Press{Kind: tideover.KindSale, Amount: 500, Currency: "JPY"}); err != nil {
		t.Fatal(err)
	}
	c.shop.KillHub()
	body, _ := dayEnd(till)
	a, err := till.call(c.ctx, http.MethodPost, "/v1/settlements", http.Header{"Idempotency-Key": {"day"}, "Content-Type": {"application/json"}}, body, time.Minute)
	var s struct {
		ID, Result  string
		HubCompared *bool `json:"hub_compared"`
		Totals      []tideover.Balance
	}
	if err != nil || json.Unmarshal(a.body, &s) != nil || s.Result != "match" || s.HubCompared == nil || *s.HubCompared || len(s.Totals) != 1 || s.Totals[0].Hub != nil {
		t.Fatalf("%v, %s", err, a)
	}
	technician := control.Dial(c.shop.path("edge.sock"))
	r, err := technician.Reconcile(c.ctx, control.ReconcileQuery{}, nil)
	if err != nil || r.Hub || r.HubWhy == "" || r.Well() || r.Result != tideover.VerdictMatch {
		t.Errorf("%v, %+v", err, r)
	}
	// The report outlives the router's process, and is completed when the hub is back.
	c.shop.KillEdge()
	c.must(c.shop.StartHub(c.ctx))
	c.must(c.shop.StartEdge(c.ctx))
	for deadline := time.Now().Add(settleMax); ; {
		a, err := till.call(c.ctx, http.MethodGet, "/v1/settlements/"+s.ID, nil, nil, 0)
		if err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &s) != nil {
			t.Fatalf("%v, %s", err, a)
		}
		if *s.HubCompared && s.Result == "match" && s.Totals[0].Hub != nil && *s.Totals[0].Hub == (tideover.Sum{Count: 1, Amount: 500}) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the hub is not compared: %s", a)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if r, err = technician.Reconcile(c.ctx, control.ReconcileQuery{}, nil); err != nil || !r.Well() {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestDay_KilledAroundAReport ends the router right before and right after a report's commit: whatever was answered is there, and the same
// key takes up what was not.
func TestDay_KilledAroundAReport(t *testing.T) {
	t.Parallel()
	exe := build(t, "tideover-sandbox", "-tags", "die")
	for _, point := range []string{"queue.settlement.before:1", "queue.settlement.after:1"} {
		c := newCampaign(t, Options{Executable: exe})
		till := c.tills[0]
		if _, err := till.Sell(c.ctx, "a", Press{Kind: tideover.KindSale, Amount: 500, Currency: "JPY"}); err != nil {
			t.Fatal(err)
		}
		c.shop.KillEdge()
		c.must(c.shop.StartEdge(c.ctx, "TIDEOVER_DIE="+point))
		body, _ := dayEnd(till)
		header := http.Header{"Idempotency-Key": {"day"}, "Content-Type": {"application/json"}}
		if a, err := till.call(c.ctx, http.MethodPost, "/v1/settlements", header, body, time.Minute); err == nil {
			t.Errorf("%s: answered %s", point, a)
		}
		<-c.shop.edge.ended()
		c.must(c.shop.StartEdge(c.ctx))
		a, err := till.call(c.ctx, http.MethodPost, "/v1/settlements", header, body, time.Minute)
		var s struct {
			Result   string
			Replayed bool
		}
		if err != nil || json.Unmarshal(a.body, &s) != nil || s.Result != "match" || s.Replayed != (point == "queue.settlement.after:1") {
			t.Errorf("%s: %v, %s", point, err, a)
		}
		_ = c.shop.Close()
	}
}

// A press that a till repeats to a new router is accepted anew there: its report is compared with what the ledger has from before.
func TestDay_AfterTheRouterWasReplaced(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, Options{})
	till := c.tills[0]
	sale := Press{Kind: tideover.KindSale, Amount: 500, Currency: "JPY"}
	sold, err := till.Sell(c.ctx, "a", sale)
	c.must(err)
	for deadline := time.Now().Add(settleMax); ; time.Sleep(20 * time.Millisecond) { // else the hub tells the new router of it
		shown, err := c.shop.HubCommand(c.ctx, "transaction", "show", sold.ID.String(), "--json")
		c.must(err)
		if strings.Contains(string(shown), `"acknowledged": true`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the hub never heard that the end is on disk: %s", shown)
		}
	}
	opened := time.Now().UTC()
	c.must(c.shop.WipeEdge(c.ctx))
	c.must(c.shop.StartEdge(c.ctx))
	body, err := json.Marshal(sale)
	c.must(err)
	header := http.Header{"Idempotency-Key": {"a"}, "Content-Type": {"application/json"}}
	a, err := till.call(c.ctx, http.MethodPost, "/v1/transactions", header, body, 10*time.Second)
	if x, bad := a.transaction(); err != nil || bad != nil || x.State != tideover.StateApproved || x.CreatedAt.Time().Before(opened.Truncate(time.Millisecond)) {
		t.Fatalf("%v, %s", err, a)
	}
	time.Sleep(10 * time.Millisecond)
	report := fmt.Sprintf(`{"from":%q,"items":[{"key":"a","kind":"sale","amount":500,"currency":"JPY"}]}`, opened.Format(time.RFC3339Nano))
	header.Set("Idempotency-Key", "day")
	a, err = till.call(c.ctx, http.MethodPost, "/v1/settlements", header, []byte(report), time.Minute)
	var s struct {
		Result      string
		HubCompared bool `json:"hub_compared"`
	}
	if err != nil || json.Unmarshal(a.body, &s) != nil || s.Result != "match" || !s.HubCompared {
		t.Errorf("%v, %s", err, a)
	}
	r, err := control.Dial(c.shop.path("edge.sock")).Reconcile(c.ctx, control.ReconcileQuery{}, nil)
	if err != nil || !r.Well() || !r.Statement || r.Compared != 1 {
		t.Errorf("%v, %+v", err, r)
	}
}
