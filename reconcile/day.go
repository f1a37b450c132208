package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sort"
	"strconv"

	"tideover"
)

// Report is a till's word at closing time. Every item bears its id.
type Report struct {
	ID            tideover.ID
	UID, Terminal string
	At            tideover.Millis // when it came
	tideover.Settlement
}

// Lookup returns what the journal has of an id, whenever it was accepted, and false where it has nothing.
type Lookup func(tideover.ID) (Entry, bool)

// summed says whether the till is taken at its own sums: also at none, where it has named no item.
func (r *Report) summed() bool { return len(r.Totals) > 0 || len(r.Items) == 0 }

// covers says whether an entry belongs into the report.
func (r *Report) covers(e *Entry) bool { return e.UID == r.UID && r.From <= e.At && e.At < r.To }

// books are all sides of one report.
func (r *Report) books(journal []Entry, hub, platform Book, find Lookup) Books {
	b := Books{
		Till: Book{Given: len(r.Items) > 0}, Journal: Book{Given: true}, Hub: Book{Given: hub.Given}, Platform: Book{Given: platform.Given},
		Totals: map[string][]tideover.SettlementTotal{},
	}
	if r.summed() {
		b.Totals[r.UID] = append([]tideover.SettlementTotal{}, r.Totals...)
	}
	has := make(map[tideover.ID]bool, len(journal))
	in := func(e Entry) {
		b.Journal.Entries = append(b.Journal.Entries, e)
		has[e.ID] = true
	}
	for i := range journal {
		if r.covers(&journal[i]) {
			in(journal[i])
		}
	}
	outside := map[tideover.ID]bool{}
	for i := range r.Items {
		it := &r.Items[i]
		b.Till.Entries = append(b.Till.Entries, Entry{
			ID: it.ID, UID: r.UID, Terminal: r.Terminal, Key: it.Key, Kind: it.Kind, Amount: it.Amount, Currency: it.Currency, State: it.State,
		})
		if has[it.ID] {
			continue
		}
		if e, known := find(it.ID); known && e.UID == r.UID { // another till's is not this one's to hear of
			e.Outside = !r.covers(&e)
			outside[it.ID] = e.Outside
			in(e)
		}
	}
	known := make(map[tideover.ID]bool, len(has))
	for i := range r.Items {
		known[r.Items[i].ID] = true
	}
	for i := range hub.Entries {
		e := &hub.Entries[i]
		if !r.covers(e) && !has[e.ID] || outside[e.ID] || has[e.ID] && e.UID != r.UID {
			continue
		}
		b.Hub.Entries = append(b.Hub.Entries, *e)
		known[e.ID] = true
		if e, there := find(e.ID); there && !has[e.ID] && e.UID == r.UID {
			in(e)
		}
	}
	for i := range platform.Entries {
		if id := platform.Entries[i].ID; (known[id] || has[id]) && !outside[id] {
			b.Platform.Entries = append(b.Platform.Entries, platform.Entries[i])
		}
	}
	return b
}

// Settle answers one till's report by the journal and, where it was heard, by the ledger.
func Settle(r *Report, journal []Entry, hub Book, find Lookup) tideover.Settled {
	res := Compare(r.books(journal, hub, Book{}, find))
	s := tideover.Settled{
		ID: r.ID, Terminal: r.Terminal, From: r.From, To: r.To, Result: res.Verdict, Totals: res.Balances, HubCompared: hub.Given,
		Items: []tideover.Compared{},
	}
	for i := range s.Totals {
		s.Totals[i].Terminal = r.Terminal
	}
	for _, l := range res.Lines {
		if l.Result != tideover.VerdictMatch {
			s.Items = append(s.Items, l)
		}
	}
	return s
}

// DayBooks are a shop's day. Its sides reach as far as the reports do that touch the day.
type DayBooks struct {
	Store, Date   string
	From, To      tideover.Millis
	Reports       []Report // in the order in which they came
	Journal       []Entry  // in the order of acceptance
	Hub, Platform Book
	HubWhy        string
	Lookup        Lookup
}

// Superseded says which reports a later one of the same till makes void, since it covers their whole time.
func Superseded(reports []Report) []bool {
	void := make([]bool, len(reports))
	for i := range reports {
		for j := i + 1; j < len(reports) && !void[i]; j++ {
			a, b := &reports[i], &reports[j]
			void[i] = a.UID == b.UID && b.From <= a.From && a.To <= b.To
		}
	}
	return void
}

// Day compares a whole day: each report over its own time, and what is in none. It returns every transaction as well, in the journal's
// order.
func Day(d *DayBooks) (tideover.Reconciliation, []tideover.Compared) {
	out := tideover.Reconciliation{
		Store: d.Store, Date: d.Date, From: d.From, To: d.To, Result: tideover.VerdictMatch, Hub: d.Hub.Given, Statement: d.Platform.Given,
		HubWhy: d.HubWhy, Reports: []tideover.Reported{}, Rest: []tideover.Balance{}, Unreported: []tideover.Unreported{},
		Findings: []tideover.Compared{},
	}
	lines := merger{at: map[tideover.ID]int{}}
	void := Superseded(d.Reports)
	compared := map[tideover.ID]bool{}
	reported := map[string]bool{}
	for i := range d.Reports {
		r := &d.Reports[i]
		said := tideover.Reported{
			ID: r.ID, Terminal: r.Terminal, From: r.From, To: r.To, At: r.At, Superseded: void[i], Totals: []tideover.Balance{},
			Result: tideover.VerdictMatch,
		}
		reported[r.UID] = true
		if !void[i] {
			b := r.books(d.Journal, d.Hub, d.Platform, d.Lookup)
			for _, side := range []Book{b.Journal, b.Hub, b.Platform} {
				for k := range side.Entries {
					if !side.Entries[k].Outside {
						compared[side.Entries[k].ID] = true
					}
				}
			}
			res := Compare(b)
			said.Result, said.Totals = res.Verdict, res.Balances
			for k := range said.Totals {
				said.Totals[k].Terminal = r.Terminal
			}
			lines.add(res.Lines)
			out.Result = max(out.Result, res.Verdict)
		}
		out.Reports = append(out.Reports, said)
	}
	rest := d.rest(compared)
	res := Compare(rest)
	out.Rest, out.Result = res.Balances, max(out.Result, res.Verdict)
	out.Unreported = unreported(&rest, reported)
	lines.add(res.Lines)
	out.Compared = len(lines.all)
	for i := range lines.all {
		if lines.all[i].Result != tideover.VerdictMatch {
			out.Findings = append(out.Findings, lines.all[i])
		}
	}
	sort.SliceStable(out.Findings, func(i, j int) bool { return out.Findings[i].Result > out.Findings[j].Result })
	out.ID = d.name(&out, lines.all)
	return out, lines.all
}

// rest are the books of the day without what was compared in a report. What ledger or journal have of another time is not the day's.
func (d *DayBooks) rest(compared map[tideover.ID]bool) Books {
	b := Books{Journal: Book{Given: true}, Hub: Book{Given: d.Hub.Given}, Platform: Book{Given: d.Platform.Given}}
	known, has := map[tideover.ID]bool{}, map[tideover.ID]bool{}
	wanted := func(e *Entry) bool { // also what the ledger has of another time than the journal
		known[e.ID] = true
		return !compared[e.ID] && (has[e.ID] || d.From <= e.At && e.At < d.To)
	}
	for i := range d.Journal {
		if e := &d.Journal[i]; wanted(e) {
			b.Journal.Entries = append(b.Journal.Entries, *e)
			has[e.ID] = true
		}
	}
	for i := range d.Hub.Entries {
		e := &d.Hub.Entries[i]
		if !wanted(e) {
			continue
		}
		b.Hub.Entries = append(b.Hub.Entries, *e)
		if !has[e.ID] { // it came while the books were being read
			if here, there := d.Lookup(e.ID); there {
				b.Journal.Entries = append(b.Journal.Entries, here)
			}
			has[e.ID] = true
		}
	}
	for i := range d.Platform.Entries {
		e := &d.Platform.Entries[i]
		if has[e.ID] || !known[e.ID] && !compared[e.ID] {
			b.Platform.Entries = append(b.Platform.Entries, *e)
		}
	}
	return b
}

// unreported are the tills that have something in no report which counts, or may come to count.
func unreported(b *Books, reported map[string]bool) []tideover.Unreported {
	out := []tideover.Unreported{}
	at := map[string]int{}
	for i := range b.Journal.Entries {
		e := &b.Journal.Entries[i]
		if movedOf(e.State) == movedNot || e.Kind == tideover.KindReversal || e.Kind == tideover.KindNone {
			continue
		}
		n, known := at[e.UID]
		if !known {
			n = len(out)
			at[e.UID] = n
			out = append(out, tideover.Unreported{Terminal: e.Terminal, Since: e.At, Reported: reported[e.UID]})
		}
		out[n].Count++
		out[n].Since = min(out[n].Since, e.At)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Terminal < out[j].Terminal })
	return out
}

// merger gathers lines, each transaction once: where two reports speak of it, the graver verdict stays. That of a report over another time
// than the transaction's has nothing of hub and platform; what these have is taken over from the other one.
type merger struct {
	all []tideover.Compared
	at  map[tideover.ID]int
}

func (m *merger) add(lines []tideover.Compared) {
	for _, l := range lines {
		i, known := m.at[l.ID]
		switch {
		case !known:
			m.at[l.ID] = len(m.all)
			m.all = append(m.all, l)
		case l.Result > m.all[i].Result:
			m.all[i] = withSides(l, m.all[i])
		default:
			m.all[i] = withSides(m.all[i], l)
		}
	}
}

// withSides completes a line that was judged over another time by what is known of the same transaction from its own.
func withSides(l, other tideover.Compared) tideover.Compared {
	if l.Journal != nil && other.Journal != nil && l.Hub == nil && l.Platform == nil {
		l.Hub, l.Platform = other.Hub, other.Platform
	}
	return l
}

// name is the id of a reconciliation: of what it says, so that the same books have the same one.
func (d *DayBooks) name(r *tideover.Reconciliation, lines []tideover.Compared) tideover.ID {
	h := sha256.New()
	var b []byte
	number := func(n int64) { b = binary.BigEndian.AppendUint64(b, uint64(n)) }
	text := func(s string) { number(int64(len(s))); b = append(b, s...) }
	number(int64(len(lines)))
	for i := range lines {
		l := &lines[i]
		b = append(append(b[:0], l.ID[:]...), byte(l.Result))
		text(l.Reason)
		for _, s := range []*tideover.Said{l.Till, l.Journal, l.Hub} {
			if s == nil {
				b = append(b, 0)
				continue
			}
			b = append(b, 1, byte(s.State))
			number(s.Amount)
			text(s.Currency)
		}
		for _, s := range l.Platform {
			b = append(b, byte(s.State))
			number(s.Amount)
			text(s.Currency + s.Reference)
		}
		h.Write(b)
	}
	b = b[:0]
	for i := range r.Reports {
		b = append(b, r.Reports[i].ID[:]...)
	}
	for _, u := range r.Unreported {
		text(u.Terminal)
		number(int64(u.Count))
	}
	text(strconv.FormatBool(r.Hub) + strconv.FormatBool(r.Statement))
	h.Write(b)
	return tideover.MakeID(d.Store, "reconcile "+d.Date, hex.EncodeToString(h.Sum(nil)))
}
