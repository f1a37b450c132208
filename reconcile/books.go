package reconcile

import "tideover"

// Entry is one transaction as one side has it.
type Entry struct {
	ID        tideover.ID
	UID       string // the terminal's; "" at the platform
	Terminal  string // its name
	Key       string // "" where the side does not know it
	Kind      tideover.Kind
	Amount    int64 // minor units
	Currency  string
	State     tideover.State
	Original  tideover.ID // the journal's alone: what a reversal or refund undoes
	Reference string      // the platform's own number
	At        tideover.Millis
	// Outside: the journal has it in another period than the one that is compared. It counts in no sum.
	Outside bool
	// Moving: it changed in the ledger while the platform's statement was being read.
	Moving bool
}

// Book is what one side says.
type Book struct {
	Given   bool // false: the side was not heard
	Entries []Entry
}

// Books are all sides of one period. The journal is always given; each of its ids and of the hub's is there once, an id of the platform's
// once for each execution.
type Books struct {
	Till, Journal, Hub, Platform Book
	// Totals are the till's own sums by terminal uid, where it has reported sums.
	Totals map[string][]tideover.SettlementTotal
}

// Result is what a comparison comes to.
type Result struct {
	Lines    []tideover.Compared // every transaction that any side has, in the journal's order
	Balances []tideover.Balance  // by terminal, kind and currency
	Verdict  tideover.Verdict    // the gravest of all
}

// moved says whether money has moved and stayed.
type moved uint8

const (
	movedNot moved = iota // certainly not, or no more
	movedYes
	movedOpen // it is not known yet
)

func movedOf(s tideover.State) moved {
	switch {
	case s == tideover.StateApproved:
		return movedYes
	case s.Final():
		return movedNot
	default:
		return movedOpen
	}
}

// group is one transaction with everything that is said of it.
type group struct {
	till, journal, hub *Entry
	platform           []*Entry
	undone             bool // the till has a reversal of it, which counts as its being reversed there
}

// groups are all transactions, in the order in which they were met.
type groups struct {
	all []group
	at  map[tideover.ID]int
}

func (g *groups) of(id tideover.ID) *group {
	i, known := g.at[id]
	if !known {
		i = len(g.all)
		g.at[id] = i
		g.all = append(g.all, group{})
	}
	return &g.all[i]
}

// gather puts what all sides say of one transaction together.
func gather(b *Books) *groups {
	g := &groups{all: make([]group, 0, len(b.Journal.Entries)), at: make(map[tideover.ID]int, len(b.Journal.Entries))}
	for i := range b.Journal.Entries {
		g.of(b.Journal.Entries[i].ID).journal = &b.Journal.Entries[i]
	}
	if b.Hub.Given {
		for i := range b.Hub.Entries {
			g.of(b.Hub.Entries[i].ID).hub = &b.Hub.Entries[i]
		}
	}
	if b.Till.Given {
		for i := range b.Till.Entries {
			g.of(b.Till.Entries[i].ID).till = &b.Till.Entries[i]
		}
	}
	if b.Platform.Given {
		for i := range b.Platform.Entries {
			p := g.of(b.Platform.Entries[i].ID)
			p.platform = append(p.platform, &b.Platform.Entries[i])
		}
	}
	for i := range g.all {
		r := &g.all[i]
		if r.till == nil || r.journal == nil || r.journal.Kind != tideover.KindReversal || movedOf(r.till.State) != movedYes {
			continue
		}
		if o, known := g.at[r.journal.Original]; known {
			g.all[o].undone = true
		}
	}
	return g
}

// tillMoved is whether the till has it that money has moved and stayed.
func (g *group) tillMoved() moved {
	if g.undone {
		return movedNot
	}
	return movedOf(g.till.State)
}

// named returns the entry by which the transaction is shown: the journal knows most of it.
func (g *group) named() *Entry {
	switch {
	case g.journal != nil:
		return g.journal
	case g.hub != nil:
		return g.hub
	case g.till != nil:
		return g.till
	default:
		return g.platform[0]
	}
}

// kind is what the transaction does, as far as any side knows it.
func (g *group) kind() tideover.Kind {
	for _, e := range g.entries() {
		if e.Kind != tideover.KindNone {
			return e.Kind
		}
	}
	return tideover.KindNone
}

// entries are all that is said of it: journal, hub, till, platform.
func (g *group) entries() []*Entry {
	all := make([]*Entry, 0, 4)
	for _, e := range []*Entry{g.journal, g.hub, g.till} {
		if e != nil {
			all = append(all, e)
		}
	}
	return append(all, g.platform...)
}

// executions is how often the platform has executed it and not given back.
func (g *group) executions() (n int) {
	for _, e := range g.platform {
		if movedOf(e.State) == movedYes {
			n++
		}
	}
	return n
}
