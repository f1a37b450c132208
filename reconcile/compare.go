package reconcile

import (
	"sort"

	"tideover"
)

// The reasons of a verdict, as scripts read them.
const (
	ReasonTwice         = "twice"          // executed more than once
	ReasonDiffers       = "differs"        // amount, currency or kind
	ReasonPeriod        = "period"         // the till counts it in a period that is not its own
	ReasonEnd           = "end"            // money has moved for one side and not for another
	ReasonJournalLacks  = "journal_lacks"  // and another side has it
	ReasonHubLacks      = "hub_lacks"      //
	ReasonPlatformLacks = "platform_lacks" //
	ReasonTillLacks     = "till_lacks"     //
	ReasonOpen          = "open"           // no end yet
	ReasonManual        = "manual"         // no end yet, and a person has to find it
)

// Compare holds the books against each other.
func Compare(b Books) Result {
	g := gather(&b)
	r := Result{Lines: make([]tideover.Compared, len(g.all)), Verdict: tideover.VerdictMatch}
	for i := range g.all {
		r.Lines[i] = g.all[i].compare(&b)
		r.Verdict = max(r.Verdict, r.Lines[i].Result)
	}
	r.Balances = balances(&b, g)
	for _, s := range r.Balances {
		r.Verdict = max(r.Verdict, s.Result)
	}
	return r
}

// compare judges one transaction.
func (g *group) compare(b *Books) tideover.Compared {
	by := g.named()
	c := tideover.Compared{ID: by.ID, Key: by.Key, Terminal: by.Terminal, Till: said(g.till), Journal: said(g.journal), Hub: said(g.hub)}
	if c.Key == "" && g.till != nil {
		c.Key = g.till.Key
	}
	for _, p := range g.platform {
		c.Platform = append(c.Platform, *said(p))
	}
	c.Result, c.Reason = g.judge(b)
	if c.Reason != "" {
		c.What, c.Next = g.words(b, c.Reason)
	}
	return c
}

func said(e *Entry) *tideover.Said {
	if e == nil {
		return nil
	}
	s := &tideover.Said{Amount: e.Amount, Currency: e.Currency, State: e.State, Reference: e.Reference, At: e.At}
	if e.Kind != tideover.KindNone {
		s.Kind = &e.Kind
	}
	return s
}

// judge returns the verdict on one transaction and its reason; the gravest rule that applies is the one that is told.
func (g *group) judge(b *Books) (tideover.Verdict, string) {
	yes, no, open := g.ends()
	switch {
	case g.executions() > 1:
		return tideover.VerdictMismatch, ReasonTwice
	case (yes || open) && g.differs():
		return tideover.VerdictMismatch, ReasonDiffers
	case g.outside():
		switch {
		case g.till == nil || g.tillMoved() != movedYes:
			return tideover.VerdictMatch, ""
		case movedOf(g.journal.State) == movedNot: // in no period does it count
			return tideover.VerdictMismatch, ReasonEnd
		}
		return tideover.VerdictMismatch, ReasonPeriod
	case yes && no && !open && !g.moving():
		return tideover.VerdictMismatch, ReasonEnd
	}
	if reason := g.lacks(b, yes, open); reason != "" {
		return tideover.VerdictOneSided, reason
	}
	if open || yes && no || g.missing(b) {
		for _, e := range []*Entry{g.journal, g.hub} {
			if e != nil && e.State == tideover.StateManual {
				return tideover.VerdictOpen, ReasonManual
			}
		}
		return tideover.VerdictOpen, ReasonOpen
	}
	return tideover.VerdictMatch, ""
}

// outside says that the journal has it in another period. Hub and platform were asked for this one: that they say nothing means nothing.
func (g *group) outside() bool { return g.journal != nil && g.journal.Outside }

// ends says whether any side has it that money has moved, that it has not, and whether that is open. A till that has no end is wrong
// where money has moved, and right where it has not.
func (g *group) ends() (yes, no, open bool) {
	note := func(m moved) {
		yes, no, open = yes || m == movedYes, no || m == movedNot, open || m == movedOpen
	}
	for _, e := range []*Entry{g.journal, g.hub} {
		if e != nil {
			note(movedOf(e.State))
		}
	}
	if g.till != nil {
		if m := g.tillMoved(); m != movedOpen {
			note(m)
		} else {
			no = true
		}
	}
	if len(g.platform) > 0 && g.kind() != tideover.KindReversal {
		m := movedNot
		for _, p := range g.platform { // executions are at most one here: another may have been given back
			switch movedOf(p.State) {
			case movedYes:
				m = movedYes
			case movedOpen:
				if m == movedNot {
					m = movedOpen
				}
			case movedNot:
			}
		}
		note(m)
	}
	return yes, no, open
}

// differs says whether two sides name another amount, currency or kind. What a side does not know is no difference: a bar has no request,
// and a reversal may leave its amount out.
func (g *group) differs() bool {
	all := g.entries()
	var first *Entry
	for _, e := range all {
		if e.Kind == tideover.KindNone {
			continue
		}
		if first == nil {
			first = e
			continue
		}
		loose := e.Kind == tideover.KindReversal && (e.Amount == 0 || first.Amount == 0 || e.Currency == "" || first.Currency == "")
		if e.Kind != first.Kind || !loose && (e.Amount != first.Amount || e.Currency != first.Currency) {
			return true
		}
	}
	return false
}

func (g *group) moving() bool { return g.hub != nil && g.hub.Moving }

// lacks names the first side that was heard and lacks what another has.
func (g *group) lacks(b *Books, yes, open bool) string {
	tillOpen := g.till != nil && g.tillMoved() == movedOpen
	switch {
	case g.journal == nil && (yes || open || tillOpen):
		return ReasonJournalLacks
	case !yes:
		return ""
	case b.Hub.Given && g.hub == nil && (g.executions() > 0 || g.journal != nil && movedOf(g.journal.State) == movedYes):
		return ReasonHubLacks
	case g.missing(b) && !g.moving() && g.settledHere():
		return ReasonPlatformLacks
	case b.Till.Given && g.till == nil && g.settledHere():
		return ReasonTillLacks
	}
	return ""
}

// missing says whether the platform's statement lacks what it should have.
func (g *group) missing(b *Books) bool {
	if !b.Platform.Given || len(g.platform) > 0 || g.kind() == tideover.KindReversal {
		return false
	}
	return g.hub != nil && movedOf(g.hub.State) == movedYes || g.journal != nil && movedOf(g.journal.State) == movedYes
}

// settledHere says that neither journal nor hub hold it open.
func (g *group) settledHere() bool {
	for _, e := range []*Entry{g.journal, g.hub} {
		if e != nil && movedOf(e.State) == movedOpen {
			return false
		}
	}
	return true
}

// class is what sums are made of.
type class struct {
	uid      string
	kind     tideover.Kind
	currency string
}

// account is one class with the sums of each side, and what is open of it.
type account struct {
	till, journal, hub, platform, open tideover.Sum
}

// balances adds up what each side has, and compares the sums.
func balances(b *Books, g *groups) []tideover.Balance {
	sums := map[class]*account{}
	names := map[string]string{}
	of := func(uid, terminal string, kind tideover.Kind, currency string) *account {
		if terminal != "" && names[uid] == "" {
			names[uid] = terminal
		}
		c := class{uid: uid, kind: kind, currency: currency}
		if sums[c] == nil {
			sums[c] = &account{}
		}
		return sums[c]
	}
	for i := range g.all {
		r := &g.all[i]
		owner := r.named()
		add := func(e *Entry, m moved, side func(*account) *tideover.Sum) {
			if e != nil && e.Kind == tideover.KindNone {
				e = owner // a ledger that was put back knows that it was approved, and no more
			}
			if e == nil || m == movedNot || e.Kind == tideover.KindNone || e.Kind == tideover.KindReversal {
				return
			}
			s := side(of(owner.UID, owner.Terminal, e.Kind, e.Currency))
			s.Count++
			s.Amount += e.Amount
		}
		if r.till != nil && b.Totals[owner.UID] == nil && r.tillMoved() == movedYes {
			add(r.till, movedYes, func(a *account) *tideover.Sum { return &a.till })
		}
		if r.outside() {
			continue
		}
		count := func(e *Entry, side func(*account) *tideover.Sum) {
			if e != nil && movedOf(e.State) == movedYes {
				add(e, movedYes, side)
			}
		}
		count(r.journal, func(a *account) *tideover.Sum { return &a.journal })
		count(r.hub, func(a *account) *tideover.Sum { return &a.hub })
		for _, p := range r.platform {
			count(p, func(a *account) *tideover.Sum { return &a.platform })
		}
		if _, _, open := r.ends(); open || r.moving() {
			add(owner, movedOpen, func(a *account) *tideover.Sum { return &a.open })
		}
	}
	for uid, totals := range b.Totals {
		for _, t := range totals {
			of(uid, "", t.Kind, t.Currency).till = tideover.Sum{Count: t.Count, Amount: t.Amount}
		}
	}
	out := make([]tideover.Balance, 0, len(sums))
	for c, a := range sums {
		out = append(out, a.balance(b, c, names[c.uid]))
	}
	sort.Slice(out, func(i, j int) bool {
		x, y := &out[i], &out[j]
		switch {
		case x.Terminal != y.Terminal:
			return x.Terminal < y.Terminal
		case x.Kind != y.Kind:
			return x.Kind < y.Kind
		default:
			return x.Currency < y.Currency
		}
	})
	return out
}

func (a *account) balance(b *Books, c class, terminal string) tideover.Balance {
	s := tideover.Balance{Terminal: terminal, Kind: c.kind, Currency: c.currency, Journal: &a.journal}
	sides := []tideover.Sum{a.journal}
	if b.Till.Given || b.Totals[c.uid] != nil {
		s.Till = &a.till
		sides = append(sides, a.till)
	}
	if b.Hub.Given {
		s.Hub = &a.hub
		sides = append(sides, a.hub)
	}
	if b.Platform.Given {
		s.Platform = &a.platform
		sides = append(sides, a.platform)
	}
	s.Result = weigh(sides, a.open)
	return s
}

// weigh judges sums against each other; open is what may still join any of them.
func weigh(sides []tideover.Sum, open tideover.Sum) tideover.Verdict {
	least, most, none, agree := sides[0], sides[0], false, true
	var first tideover.Sum
	for _, s := range sides {
		least.Count, least.Amount = min(least.Count, s.Count), min(least.Amount, s.Amount)
		most.Count, most.Amount = max(most.Count, s.Count), max(most.Amount, s.Amount)
		if s == (tideover.Sum{}) {
			none = true
			continue
		}
		if first == (tideover.Sum{}) {
			first = s
		}
		agree = agree && s == first
	}
	switch {
	case least == most:
		return tideover.VerdictMatch
	case most.Count-least.Count <= open.Count && most.Amount-least.Amount <= open.Amount:
		return tideover.VerdictOpen
	case none && agree:
		return tideover.VerdictOneSided
	default:
		return tideover.VerdictMismatch
	}
}
