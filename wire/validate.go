package wire

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tideover"
)

// Limits of fields, texts in bytes of UTF-8.
const (
	AckMax       = 32   // positions in one [Ack]
	TerminalsMax = 1000 // terminals of a store, revoked ones included
	AddressesMax = 16   // addresses of a hub
	BookedMax    = 128  // entries in one [Booked]

	// ReconcileSpanMax is the longest time that one [Reconcile] asks about: what is beyond it is asked for in parts.
	ReconcileSpanMax = 62 * 24 * time.Hour

	StoreMax      = 64
	TerminalMax   = 256 // a terminal's name, and its uid, which is the name with open access: 64 characters
	KeyMax        = 128
	LabelMax      = 256 // method, order, operator: 64 characters
	InstrumentMax = 1024
	PayloadMax    = 64 << 10
	CodeMax       = 64
	MessageMax    = 1024
	ReferenceMax  = 256
	DetailMax     = 1024
	SoftwareMax   = 64
	AddressMax    = 255 + 6 // a name of DNS and a port
	CSRMax        = 4 << 10
	CertMax       = 8 << 10
)

// check gathers what is wrong with a message.
type check struct{ errs []error }

func (c *check) err() error { return errors.Join(c.errs...) }

func (c *check) that(ok bool, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf(format, args...))
	}
}

// text is a string that may be empty.
func (c *check) text(name, s string, largest int) {
	c.that(len(s) <= largest, "%s has %d bytes, at most %d", name, len(s), largest)
	c.that(utf8.ValidString(s), "%s is not UTF-8", name)
}

// label is a text that is not empty.
func (c *check) label(name, s string, largest int) {
	c.text(name, s, largest)
	c.that(s != "", "%s is empty", name)
}

func (c *check) time(name string, m tideover.Millis) { c.that(m >= 0, "%s is before 1970", name) }

func (c *check) id(id tideover.ID) { c.that(!id.IsZero(), "the id is zero") }

// key is an idempotency key: visible ASCII.
func (c *check) key(key string) {
	c.that(len(key) >= 1 && len(key) <= KeyMax, "the key has %d bytes, want 1 to %d", len(key), KeyMax)
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			c.that(false, "the key is not visible ASCII")
			return
		}
	}
}

func (c *check) sub(name string, err error) {
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s: %w", name, err))
	}
}

func (c *check) terminals(list []tideover.Terminal) {
	c.that(len(list) <= TerminalsMax, "%d terminals, at most %d", len(list), TerminalsMax)
	uids := make(map[string]bool, len(list))
	for _, t := range list {
		c.label("a terminal's uid", t.UID, TerminalMax)
		c.label("a terminal's name", t.Name, TerminalMax)
		c.time("a terminal's pairing", t.PairedAt)
		c.that(!uids[t.UID], "a terminal is listed twice")
		uids[t.UID] = true
	}
}

func (c *check) addresses(list []string) {
	c.that(len(list) >= 1 && len(list) <= AddressesMax, "%d addresses, want 1 to %d", len(list), AddressesMax)
	for _, a := range list {
		c.text("an address", a, AddressMax)
		host, port, err := net.SplitHostPort(a)
		c.that(err == nil && host != "" && port != "" && !strings.ContainsFunc(a, unprintable), "an address is not HOST:PORT")
	}
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

// Validate returns what breaks a limit.
func (h Hello) Validate() error {
	var c check
	c.that(h.Incarnation != [16]byte{}, "the incarnation is zero")
	c.text("software", h.Software, SoftwareMax)
	return c.err()
}

// Validate returns what breaks a limit.
func (w Welcome) Validate() error {
	var c check
	c.that(w.Ledger != [16]byte{}, "the ledger is zero")
	c.that(w.LedgerTime > 0, "no ledger time")
	c.time("pruned_before", w.PrunedBefore)
	c.text("software", w.Software, SoftwareMax)
	c.that(!w.Replay || w.LostBefore > 0, "a replay is asked for, and nothing was lost")
	return c.err()
}

// end is a definite end at its outbox position.
func (c *check) end(position uint64, o tideover.Outcome) {
	c.that(position > 0, "no outbox position")
	c.that(o.Result.Final(), "the outcome's result, %d, is no end", o.Result)
	c.text("code", o.Code, CodeMax)
	c.text("message", o.Message, MessageMax)
	c.text("reference", o.Reference, ReferenceMax)
	c.time("at", o.At)
}

// Validate returns what breaks a limit, or an outcome that is no end.
func (m Confirmation) Validate() error {
	var c check
	c.id(m.ID)
	c.end(m.HubSeq, m.Outcome)
	if m.Adopt != nil {
		c.sub("adopt", m.Adopt.orBarred())
		c.that(m.Adopt.ID == m.ID, "adopt is another transaction")
	}
	c.text("the receipt's terminal", m.Receipt.Terminal, TerminalMax)
	c.time("the receipt's created_at", m.Receipt.CreatedAt)
	return c.err()
}

// Validate returns what breaks a limit, or a state that is an end.
func (o Open) Validate() error {
	var c check
	c.sub("submit", o.Submit.orBarred())
	c.that(len(o.Submit.Request.Payload) == 0, "a payload where none is wanted")
	c.that(o.State != tideover.StateNone && slices.Contains(progressStates, o.State), "state %d is not that of a transaction without an end", o.State)
	c.text("waiting_for", o.WaitingFor, LabelMax)
	return c.err()
}

// Validate returns nil: every position is one.
func (CaughtUp) Validate() error { return nil }

// Validate returns what breaks a limit.
func (a Ack) Validate() error {
	var c check
	c.that(len(a.Have) >= 1 && len(a.Have) <= AckMax, "%d positions, want 1 to %d", len(a.Have), AckMax)
	for _, p := range a.Have {
		c.id(p.ID)
		c.that(p.HubSeq > 0, "no outbox position")
	}
	return c.err()
}

// Validate returns what breaks a limit.
func (t Terminals) Validate() error {
	var c check
	c.terminals(t.Terminals)
	return c.err()
}

// Validate returns nil: every digest is one.
func (TerminalsKept) Validate() error { return nil }

// Validate returns what breaks a limit.
func (g GoAway) Validate() error {
	var c check
	c.that(g.AfterMillis >= 0, "a time before now")
	return c.err()
}

// Validate returns nil: every head is one.
func (Anchor) Validate() error { return nil }

// pressed is what names a transaction: its id, its terminal and its key.
func (c *check) pressed(id tideover.ID, uid, terminal, key string) {
	c.id(id)
	c.label("the terminal's uid", uid, TerminalMax)
	c.label("the terminal's name", terminal, TerminalMax)
	c.key(key)
}

// orBarred returns what Validate does, but takes a submit of kind none too: it names an id that was barred before any request of it was
// seen, and carries nothing else.
func (s Submit) orBarred() error {
	if s.Request.Kind != tideover.KindNone {
		return s.Validate()
	}
	var c check
	c.pressed(s.ID, s.TerminalUID, s.Terminal, s.Key)
	c.time("created_at", s.CreatedAt)
	r := s.Request
	bare := r.Amount == 0 && r.Currency == "" && r.Method == "" && r.Order == "" && r.Original.IsZero() && r.Instrument == "" &&
		r.Operator == "" && r.ExpiresIn == 0 && len(r.Payload) == 0
	c.that(bare && s.Hash == [32]byte{}, "a barred id has a request")
	return c.err()
}

// Validate returns what breaks a limit or cannot be a request. What a request means is not judged here.
func (s Submit) Validate() error {
	var c check
	c.pressed(s.ID, s.TerminalUID, s.Terminal, s.Key)
	c.time("created_at", s.CreatedAt)
	c.time("expires_at", s.ExpiresAt)
	r := s.Request
	c.that(r.Kind >= tideover.KindSale && r.Kind <= tideover.KindAdvice, "unknown kind %d", r.Kind)
	c.that(r.Amount >= 0, "the amount is negative")
	c.that(r.Currency == "" || len(r.Currency) == 3, "the currency has not three letters")
	c.text("currency", r.Currency, 3)
	c.text("method", r.Method, LabelMax)
	c.text("order", r.Order, LabelMax)
	c.text("operator", r.Operator, LabelMax)
	c.text("instrument", r.Instrument, InstrumentMax)
	c.that(r.Kind.Undoes() == !r.Original.IsZero(), "a refund or reversal, and nothing else, names its original")
	c.that(r.ExpiresIn >= 0 && r.ExpiresIn <= tideover.ExpiresInMax, "expires_in is not within %s", tideover.ExpiresInMax)
	c.that(len(r.Payload) <= PayloadMax, "the payload has %d bytes, at most %d", len(r.Payload), PayloadMax)
	return c.err()
}

// Validate returns what breaks a limit.
func (a Ask) Validate() error {
	var c check
	c.id(a.ID)
	return c.err()
}

// Validate returns what breaks a limit.
func (m Cancel) Validate() error {
	var c check
	c.pressed(m.ID, m.TerminalUID, m.Terminal, m.Key)
	return c.err()
}

// Validate returns what breaks a limit, or an end that an edge never says by itself.
func (e Expire) Validate() error {
	var c check
	c.sub("submit", e.Submit.orBarred())
	c.that(e.Outcome == tideover.StateExpired || e.Outcome == tideover.StateCancelled, "an edge says expired or cancelled by itself, not %d", e.Outcome)
	return c.err()
}

// Validate returns what breaks a limit, or an end that no person gives.
func (s Settle) Validate() error {
	var c check
	c.sub("submit", s.Submit.orBarred())
	c.that(len(s.Submit.Request.Payload) == 0, "a payload where none is wanted")
	c.that(slices.Contains(settledStates, s.As), "a person settles as approved, declined or reversed, not %d", s.As)
	c.text("by", s.By, LabelMax)
	c.text("reason", s.Reason, MessageMax)
	return c.err()
}

// settledStates are what a person may settle a transaction as.
var settledStates = []tideover.State{tideover.StateApproved, tideover.StateDeclined, tideover.StateReversed}

// Validate returns what breaks a limit, or an outcome that is no end.
func (r Replay) Validate() error {
	var c check
	c.sub("submit", r.Submit.orBarred())
	c.that(len(r.Submit.Request.Payload) == 0, "a payload where none is wanted")
	c.end(r.HubSeq, r.Outcome)
	return c.err()
}

// Validate returns nil: there is nothing in it.
func (Replayed) Validate() error { return nil }

// Validate returns what breaks a limit, or a time that is none.
func (r Reconcile) Validate() error {
	var c check
	c.time("from", r.From)
	c.that(r.From < r.To, "the time ends before it begins")
	c.that(r.To-r.From <= tideover.Millis(ReconcileSpanMax.Milliseconds()), "the time is longer than %s", ReconcileSpanMax)
	return c.err()
}

// bookedStates are what each side's entries may say.
var bookedStates = map[BookingSide][]tideover.State{
	SideLedger: {
		tideover.StateApproved, tideover.StateDeclined, tideover.StateExpired, tideover.StateCancelled, tideover.StateReversed,
		tideover.StatePending, tideover.StateInDoubt, tideover.StateReversing, tideover.StateManual,
	},
	SidePlatform: {tideover.StateApproved, tideover.StateDeclined, tideover.StateReversed, tideover.StatePending},
}

// Validate returns what breaks a limit, or a state that its side does not have.
func (b Booking) Validate() error {
	var c check
	c.id(b.ID)
	states, known := bookedStates[b.Side]
	c.that(known, "unknown side %d", b.Side)
	c.that(!known || slices.Contains(states, b.State), "state %d is none of side %d", b.State, b.Side)
	c.text("the terminal's uid", b.TerminalUID, TerminalMax)
	c.text("the terminal's name", b.Terminal, TerminalMax)
	c.that(b.Kind <= tideover.KindAdvice, "unknown kind %d", b.Kind)
	c.that(b.Kind != tideover.KindNone || b.Side == SideLedger, "a payment of no kind")
	c.that(b.Amount >= 0, "the amount is negative")
	c.that(b.Currency == "" || len(b.Currency) == 3, "the currency has not three letters")
	c.text("currency", b.Currency, 3)
	c.text("reference", b.Reference, ReferenceMax)
	c.time("created_at", b.CreatedAt)
	return c.err()
}

// Validate returns what breaks a limit.
func (b Booked) Validate() error {
	var c check
	c.that(len(b.Entries) >= 1 && len(b.Entries) <= BookedMax, "%d entries, want 1 to %d", len(b.Entries), BookedMax)
	for i := range b.Entries {
		c.sub(fmt.Sprintf("entry %d", i), b.Entries[i].Validate())
	}
	return c.err()
}

// Validate returns what breaks a limit.
func (b Balanced) Validate() error {
	var c check
	c.that(b.Ledger >= 0 && b.Platform >= 0, "fewer than no entries")
	c.that(b.Statement || b.Platform == 0, "entries of a statement that there is not")
	c.text("detail", b.Detail, DetailMax)
	return c.err()
}

// Validate returns nil: there is nothing in it.
func (Got) Validate() error { return nil }

// progressStates are what a hub may tell that is not an end.
var progressStates = []tideover.State{
	tideover.StateNone, tideover.StatePending, tideover.StateInDoubt, tideover.StateReversing, tideover.StateManual,
}

// Validate returns what breaks a limit, or a state that is an end or the edge's own.
func (p Progress) Validate() error {
	var c check
	c.that(slices.Contains(progressStates, p.State), "state %d is no progress", p.State)
	c.text("waiting_for", p.WaitingFor, LabelMax)
	return c.err()
}

// Validate returns what breaks a limit.
func (r Refused) Validate() error {
	var c check
	c.that(r.Reason != ReasonNone, "no reason")
	c.text("detail", r.Detail, DetailMax)
	c.time("retry", r.Retry)
	if r.Adopt != nil {
		c.sub("adopt", r.Adopt.Validate())
	}
	if r.End != nil {
		c.sub("end", r.End.Validate())
		c.that(r.End.Adopt == nil, "the request is told twice")
		c.that(r.Adopt == nil || r.Adopt.ID == r.End.ID, "adopt and end are of two transactions")
	}
	return c.err()
}

// Validate returns what breaks a limit.
func (e Enroll) Validate() error {
	var c check
	c.that(len(e.CSR) >= 1 && len(e.CSR) <= CSRMax, "the certificate request has %d bytes, want 1 to %d", len(e.CSR), CSRMax)
	return c.err()
}

// Validate returns what breaks a limit.
func (e Enrolled) Validate() error {
	var c check
	c.label("store", e.Store, StoreMax)
	c.that(len(e.Certificate) >= 1 && len(e.Certificate) <= CertMax, "the certificate has %d bytes, want 1 to %d", len(e.Certificate), CertMax)
	c.that(len(e.CA) >= 1 && len(e.CA) <= CertMax, "the CA has %d bytes, want 1 to %d", len(e.CA), CertMax)
	c.that(e.Ledger != [16]byte{}, "the ledger is zero")
	c.that(e.LedgerTime > 0, "no ledger time")
	c.addresses(e.Addresses)
	c.terminals(e.Terminals)
	return c.err()
}
