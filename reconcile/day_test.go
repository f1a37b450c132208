package reconcile

import (
	"fmt"
	"testing"
	"time"

	"tideover"
)

// books are a day as journal, hub and platform have it, and a report of each till that agrees.
type dayBooks struct {
	DayBooks
	all map[tideover.ID]Entry
}

var currencies = []string{"CNY", "JPY", "USD"}

// newDay makes a day of n sales at three tills in three currencies, one a second.
func newDay(n int) *dayBooks {
	d := &dayBooks{all: map[tideover.ID]Entry{}, DayBooks: DayBooks{Store: "shop", Date: "2026-09-21", From: day, To: day.Add(24 * time.Hour)}}
	d.Hub.Given, d.Platform.Given = true, true
	d.Lookup = func(id tideover.ID) (Entry, bool) {
		e, ok := d.all[id]
		return e, ok
	}
	for till := range 3 {
		uid := fmt.Sprintf("uid-%d", till)
		d.Reports = append(d.Reports, Report{
			ID: tideover.SettlementID("shop", uid, "day"), UID: uid, Terminal: fmt.Sprintf("till-%d", till), At: day.Add(20 * time.Hour),
			Settlement: tideover.Settlement{From: day, To: day.Add(20 * time.Hour)},
		})
	}
	for i := range n {
		d.sell(i, day.Add(time.Duration(i)*time.Second))
	}
	return d
}

// sell is a sale that every side knows of.
func (d *dayBooks) sell(i int, at tideover.Millis) *Report {
	r := &d.Reports[i%3]
	e := Entry{
		ID: tideover.MakeID("shop", r.UID, fmt.Sprint(i)), UID: r.UID, Terminal: r.Terminal, Key: fmt.Sprint(i), Kind: tideover.KindSale,
		Amount: int64(100 + i), Currency: currencies[i/3%3], State: tideover.StateApproved, At: at,
	}
	d.all[e.ID] = e
	d.Journal = append(d.Journal, e)
	d.Hub.Entries = append(d.Hub.Entries, e)
	d.Platform.Entries = append(d.Platform.Entries, Entry{
		ID: e.ID, Kind: e.Kind, Amount: e.Amount, Currency: e.Currency, State: e.State, Reference: fmt.Sprintf("P%d", i), At: at,
	})
	r.Items = append(r.Items, tideover.SettlementItem{ID: e.ID, Kind: e.Kind, Amount: e.Amount, Currency: e.Currency, State: e.State})
	return r
}

// drop takes an entry out of a book.
func drop(b []Entry, id tideover.ID) []Entry {
	var kept []Entry
	for _, e := range b {
		if e.ID != id {
			kept = append(kept, e)
		}
	}
	return kept
}

func TestDay_ListsExactlyWhatDiffers(t *testing.T) {
	d := newDay(90)
	if r, lines := Day(&d.DayBooks); !r.Well() || r.Compared != 90 || len(lines) != 90 || len(r.Reports[0].Totals) != 3 || len(r.Rest) != 0 {
		t.Fatalf("have %+v", r)
	}
	whole, _ := Day(&d.DayBooks)
	missing, twice := d.Journal[4].ID, d.Platform.Entries[7]
	d.Platform.Entries = drop(d.Platform.Entries, missing)
	twice.Reference = "P7b"
	d.Platform.Entries = append(d.Platform.Entries, twice)
	d.Reports = d.Reports[:2] // the third till's day-end is lost
	r, lines := Day(&d.DayBooks)
	if len(r.Findings) != 2 || len(lines) != 90 || r.Findings[0].ID != twice.ID || r.Findings[0].Reason != ReasonTwice || r.Findings[1].ID != missing ||
		r.Findings[1].Reason != ReasonPlatformLacks || r.Well() {
		t.Errorf("have %+v", r.Findings)
	}
	if len(r.Unreported) != 1 || r.Unreported[0] != (tideover.Unreported{Terminal: "till-2", Count: 30, Since: day.Add(2 * time.Second)}) {
		t.Errorf("have %+v", r.Unreported)
	}
	for _, s := range r.Rest {
		if s.Till != nil || s.Result != tideover.VerdictMatch || s.Terminal != "till-2" {
			t.Errorf("have %+v", s)
		}
	}
	again, _ := Day(&d.DayBooks)
	if again.ID != r.ID || r.ID == whole.ID {
		t.Errorf("ids %s, %s; of the whole %s", r.ID, again.ID, whole.ID)
	}
}

func TestDay_ComparesEachReportOverItsOwnTime(t *testing.T) {
	d := newDay(9)
	late := d.sell(9, day.Add(21*time.Hour)) // after its till's report, and counted in it
	r, _ := Day(&d.DayBooks)
	if len(r.Findings) != 1 || r.Findings[0].Reason != ReasonPeriod {
		t.Errorf("counted in another's time: %+v", r.Findings)
	}
	if l := r.Findings[0]; l.Hub == nil || len(l.Platform) != 1 {
		t.Errorf("what hub and platform have of it is lost: %+v", l)
	}
	late.Items = late.Items[:len(late.Items)-1]
	r, _ = Day(&d.DayBooks)
	if len(r.Findings) != 0 || len(r.Unreported) != 1 || !r.Unreported[0].Reported || r.Unreported[0].Count != 1 || r.Result != tideover.VerdictMatch {
		t.Errorf("in no report: %+v", r)
	}
	second := *late
	second.ID, second.From, second.Items = id("second"), late.To, nil
	second.To = d.To.Add(2 * time.Hour) // the shop closes after midnight
	second.Totals = []tideover.SettlementTotal{{Kind: tideover.KindSale, Currency: "CNY", Count: 1, Amount: 109}}
	d.Reports = append(d.Reports, second)
	if r, _ = Day(&d.DayBooks); !r.Well() {
		t.Errorf("reported: %+v", r)
	}
	wrong := second
	wrong.ID, wrong.Totals = id("wrong"), nil // at first it had counted nothing
	d.Reports = append(d.Reports[:3], wrong, second)
	if r, _ = Day(&d.DayBooks); !r.Well() || !r.Reports[3].Superseded || r.Reports[4].Superseded {
		t.Errorf("reported anew: %+v", r.Reports)
	}
	d.Reports = d.Reports[:4]
	if r, _ = Day(&d.DayBooks); r.Result != tideover.VerdictOneSided || r.Reports[3].Result != tideover.VerdictOneSided || len(r.Findings) != 0 {
		t.Errorf("counted nothing: %+v", r.Reports)
	}
}

func TestDay_KeepsAnotherDaysEntriesOut(t *testing.T) {
	d := newDay(9)
	d.sell(9, day.Add(-time.Hour)) // yesterday, after no report: the books reach there for another till's sake
	d.sell(10, day.Add(25*time.Hour))
	for i := range d.Reports {
		d.Reports[i].Items = d.Reports[i].Items[:3]
	}
	if r, lines := Day(&d.DayBooks); !r.Well() || len(lines) != 9 {
		t.Errorf("%d lines, %+v", len(lines), r)
	}
	stray := Entry{ID: id("stray"), Kind: tideover.KindSale, Amount: 1, Currency: "CNY", State: tideover.StateApproved, At: day}
	d.Platform.Entries = append(d.Platform.Entries, stray)
	if r, _ := Day(&d.DayBooks); len(r.Findings) != 1 || r.Findings[0].ID != stray.ID || r.Findings[0].Reason != ReasonJournalLacks {
		t.Errorf("the platform's alone: %+v", r.Findings)
	}
}

func TestDay_SaysThatTheHubWasNotHeard(t *testing.T) {
	d := newDay(9)
	d.Hub, d.Platform, d.HubWhy = Book{}, Book{}, "no link"
	r, _ := Day(&d.DayBooks)
	if r.Well() || r.Result != tideover.VerdictMatch || r.Hub || r.HubWhy != "no link" || r.Reports[0].Totals[0].Hub != nil {
		t.Errorf("have %+v", r)
	}
}

func TestSettle_AnswersATill(t *testing.T) {
	d := newDay(9)
	r := &d.Reports[0]
	s := Settle(r, d.Journal, d.Hub, d.Lookup)
	if s.Result != tideover.VerdictMatch || len(s.Items) != 0 || len(s.Totals) != 3 || !s.HubCompared || s.Terminal != "till-0" || s.ID != r.ID {
		t.Fatalf("have %+v", s)
	}
	if s := Settle(r, d.Journal, Book{}, d.Lookup); s.Result != tideover.VerdictMatch || s.HubCompared || s.Totals[0].Hub != nil {
		t.Errorf("without the hub: %+v", s)
	}
	r.Items[0].Amount++
	r.Items = append(r.Items, d.Reports[1].Items[0]) // another till's: this one hears nothing of it
	s = Settle(r, d.Journal, d.Hub, d.Lookup)
	if s.Result != tideover.VerdictMismatch || len(s.Items) != 2 || s.Items[0].Reason != ReasonDiffers || s.Items[1].Journal != nil || s.Items[1].Hub != nil {
		t.Errorf("have %+v", s.Items)
	}
	r.Items, r.Totals = nil, nil // a till that has counted nothing
	if s = Settle(r, d.Journal, d.Hub, d.Lookup); s.Result != tideover.VerdictOneSided || len(s.Items) != 0 || *s.Totals[0].Till != (tideover.Sum{}) {
		t.Errorf("nothing counted: %+v", s)
	}
}

// TestDay_IsQuick holds the comparison of 5,000 transactions on four sides against that of 500: it grows with their number, and not with
// its square.
func TestDay_IsQuick(t *testing.T) {
	took := func(n int) time.Duration {
		d := newDay(n)
		best := time.Hour
		for range 5 {
			began := time.Now()
			Day(&d.DayBooks)
			best = min(best, time.Since(began))
		}
		return best
	}
	few, many := took(500), took(5000)
	t.Logf("500 in %v, 5000 in %v", few, many)
	if many > 40*few {
		t.Errorf("500 in %v, 5000 in %v", few, many)
	}
}
