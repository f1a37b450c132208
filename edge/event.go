package edge

import (
	"fmt"
	"time"

	"tideover"
)

// EventType is what an entry of the journal tells. The numbers are on disk: they are never given anew.
type EventType uint8

// The types of events.
const (
	EventNone         EventType = iota
	EventAccepted               // a transaction's first event
	EventEnded                  // the hub's end
	EventEndedHere              // the router's own end: nothing of it ever left
	EventDelivered              // an answer with the end was written to the till
	EventAcknowledged           // the till has printed or shown the end
	EventHeld                   // by a technician
	EventReleased               // by a technician
	EventUndo                   // a cancel was asked for
	EventSettle                 // by a technician: what the ledger is to be told of a manual one
	EventDropped                // by a technician: not to be sent, or its end not to be shown any more
	EventBuried                 // the hub knows of the router's own end
	EventAdopted                // the hub's record of the id replaces the router's
	EventTerminal               // a terminal as it now is
	EventHeard                  // every outbox position up to HubSeq is on disk
	EventLedgerTime             // the last ledger time known
	EventMark                   // nothing but a sequence: a process has started, or has drawn many without a commit
	EventBarred                 // a key's first event where it is cancelled before any request of it was seen
	EventGap                    // this journal lacks part of the store's past: it was restored from an older copy
	EventRetry                  // by a technician: it is asked for again now, and nothing of it changes
	EventRules                  // the shop's rules as they are from here on
	EventSettlement             // what a till reports at closing time
	EventPruned                 // what was over for long enough has left the journal
	EventKey                    // from here on another key seals, or an older one was destroyed
	EventTypesEnd
)

var eventNames = [EventTypesEnd]string{
	EventNone: "", EventAccepted: "accepted", EventEnded: "ended", EventEndedHere: "ended here", EventDelivered: "delivered",
	EventAcknowledged: "acknowledged", EventHeld: "held", EventReleased: "released", EventUndo: "cancel asked",
	EventSettle: "settle asked", EventDropped: "dropped", EventBuried: "told to the hub", EventAdopted: "adopted",
	EventTerminal: "terminal", EventHeard: "heard", EventLedgerTime: "ledger time", EventMark: "mark", EventBarred: "barred",
	EventGap: "restored", EventRetry: "retry asked", EventRules: "rules", EventSettlement: "settlement",
	EventPruned: "pruned", EventKey: "key",
}

// String returns the name in the history of a transaction.
func (t EventType) String() string {
	if t < EventTypesEnd {
		return eventNames[t]
	}
	return fmt.Sprintf("event-%d", uint8(t))
}

// Event is one entry of the journal.
type Event struct {
	Type EventType       `cbor:"1,keyasint"`
	At   tideover.Millis `cbor:"2,keyasint,omitempty"` // the router's wall clock
	ID   tideover.ID     `cbor:"3,keyasint,omitzero"`
	Prev uint64          `cbor:"4,keyasint,omitempty"` // the same transaction's event before this one; 0 for its first
	// From is the state that Cause met. Memory may have moved on since the event before this one: that is part of the record too.
	From      tideover.State     `cbor:"5,keyasint,omitempty"`
	Cause     tideover.Cause     `cbor:"6,keyasint,omitempty"`
	Accepted  *Accepted          `cbor:"7,keyasint,omitempty"`
	Digest    [32]byte           `cbor:"8,keyasint,omitzero"` // SHA-256 of the sealed part; zero where there is none
	Outcome   *tideover.Outcome  `cbor:"9,keyasint,omitempty"`
	HubSeq    uint64             `cbor:"10,keyasint,omitempty"`
	Corrected bool               `cbor:"11,keyasint,omitempty"`
	Attempts  int                `cbor:"12,keyasint,omitempty"` // up to this end, in the process that wrote it
	Uplink    string             `cbor:"13,keyasint,omitempty"`
	Terminal  *tideover.Terminal `cbor:"14,keyasint,omitempty"`
	Ledger    tideover.Millis    `cbor:"15,keyasint,omitempty"`
	By        string             `cbor:"16,keyasint,omitempty"` // the person or till that asked for it, where it is not the till's own press
	Reason    string             `cbor:"17,keyasint,omitempty"` // a person's
	Epoch     [16]byte           `cbor:"18,keyasint,omitzero"`  // EventHeard: the newest epoch of the ledger that was heard
	Receipt   *tideover.Proof    `cbor:"19,keyasint,omitempty"` // EventEnded: what the hub told for a receipt of this end
	Rules     string             `cbor:"20,keyasint,omitempty"` // EventRules: as the configuration has them, every key spelled out
	// Settlement is of EventSettlement; its items are the entry's sealed part.
	Settlement *Settlement `cbor:"21,keyasint,omitempty"`
	Pruned     *Pruned     `cbor:"22,keyasint,omitempty"`
	Key        *Key        `cbor:"23,keyasint,omitempty"` // EventKey
	// Early is of EventHeard: after it, sales may have left whose acceptance never came to this disk.
	Early bool `cbor:"24,keyasint,omitempty"`
}

// Pruned is what the journal says of what has left it.
type Pruned struct {
	Runs    [32]byte        `cbor:"1,keyasint"`           // SHA-256 over all that is kept of what was pruned, up to here
	Through tideover.Millis `cbor:"2,keyasint,omitempty"` // the router's wall clock: when the newest of the transactions that are gone was accepted
}

// Ends says whether the event gives a transaction an end.
func (e *Event) Ends() bool { return e.Outcome != nil && e.Type != EventSettle }

// What names the event in a transaction's history: an acceptance that the hub's record was is adopted.
func (e *Event) What() string {
	if e.Type == EventAccepted && e.Accepted != nil && e.Accepted.Adopted {
		return EventAdopted.String()
	}
	return e.Type.String()
}

// Accepted is what an accepted, adopted or barred event says of the request.
type Accepted struct {
	TerminalUID    string           `cbor:"1,keyasint"`
	Terminal       string           `cbor:"2,keyasint"`
	Key            string           `cbor:"3,keyasint"`
	Request        tideover.Request `cbor:"4,keyasint"` // without payload and instrument: those are sealed; zero in a bar
	Hash           [32]byte         `cbor:"5,keyasint"`
	InstrumentHash [32]byte         `cbor:"6,keyasint,omitzero"`
	CreatedAt      tideover.Millis  `cbor:"7,keyasint"`
	LedgerExpires  tideover.Millis  `cbor:"8,keyasint,omitempty"`
	Boot           [16]byte         `cbor:"9,keyasint,omitzero"`
	BootAt         time.Duration    `cbor:"10,keyasint,omitempty"`
	Adopted        bool             `cbor:"11,keyasint,omitempty"` // the hub's record, not a till's press at this router
	DuplicateOf    tideover.ID      `cbor:"12,keyasint,omitzero"`  // see Judged
	Override       bool             `cbor:"13,keyasint,omitempty"`
	Rules          uint64           `cbor:"14,keyasint,omitempty"` // journal sequence of the EventRules that it was judged by
}

// Settlement is a till's report, but for its items.
type Settlement struct {
	TerminalUID string                     `cbor:"1,keyasint"`
	Terminal    string                     `cbor:"2,keyasint"`
	Key         string                     `cbor:"3,keyasint"`
	Hash        [32]byte                   `cbor:"4,keyasint"` // of what the till sent, keyed
	From        tideover.Millis            `cbor:"5,keyasint,omitempty"`
	To          tideover.Millis            `cbor:"6,keyasint"`
	Totals      []tideover.SettlementTotal `cbor:"7,keyasint,omitempty"`
	Items       int                        `cbor:"8,keyasint,omitempty"` // how many the sealed part holds
}

// Key is what an EventKey says. Check knows a key again and does not tell it. What is sealed above the entry's sequence is sealed with that key;
// where it is destroyed, nothing that it has sealed can be read any more.
type Key struct {
	Check     [32]byte `cbor:"1,keyasint"`
	Destroyed bool     `cbor:"2,keyasint,omitempty"`
}

// Judged is what the rules found of a request that they let pass; it stands in the journal with its acceptance.
type Judged struct {
	DuplicateOf tideover.ID // it may be a second press of this one; zero: of none
	Override    bool        // its operator took that upon himself; else the shop lets such a press pass
}

// By is who asked for something, and why. Both are short, printable, and kept in the journal.
type By struct {
	Who    string // "" is the transaction's own till
	Reason string
}

// Draft is a request that is to become a transaction. Its kind is none where a key is barred before any request of it was seen.
type Draft struct {
	ID             tideover.ID
	TerminalUID    string
	Terminal       string // its name
	Key            string // the idempotency key
	Request        tideover.Request
	Hash           [32]byte // of the request, keyed
	InstrumentHash [32]byte
	CreatedAt      tideover.Millis // the router's wall clock
	LedgerExpires  tideover.Millis // ledger time; 0 where it is not known, or where the request never expires
	Boot           [16]byte        // the boot that BootAt belongs to
	BootAt         time.Duration   // the boot-time clock
	Rules          uint64          // see Accepted
}

// event makes an event that holds the draft's request, without what must be sealed.
func (d *Draft) event(t EventType, adopted bool) Event {
	open := d.Request
	open.Payload, open.Instrument = nil, ""
	return Event{Type: t, ID: d.ID, At: d.CreatedAt, Accepted: &Accepted{
		TerminalUID: d.TerminalUID, Terminal: d.Terminal, Key: d.Key, Request: open, Hash: d.Hash, InstrumentHash: d.InstrumentHash,
		CreatedAt: d.CreatedAt, LedgerExpires: d.LedgerExpires, Boot: d.Boot, BootAt: d.BootAt, Adopted: adopted, Rules: d.Rules,
	}}
}

// Accept returns the first event of a transaction.
func Accept(d *Draft) Event {
	e := d.event(EventAccepted, false)
	e.Cause = tideover.CauseAccepted
	return e
}

// Judged returns what the rules had found.
func (a *Accepted) Judged() Judged {
	return Judged{DuplicateOf: a.DuplicateOf, Override: a.Override}
}

// Judge enters what the rules found into an acceptance.
func (e *Event) Judge(j Judged) {
	e.Accepted.DuplicateOf, e.Accepted.Override = j.DuplicateOf, j.Override
}

// Bar returns the first event of a key that is cancelled before any request of it was seen. Where the journal is complete that is its
// end; otherwise another router may have sent it, and the hub decides.
func Bar(d *Draft, p Past, by By, now tideover.Millis) Event {
	d.Request, d.Hash = tideover.Request{}, [32]byte{}
	e := d.event(EventBarred, false)
	e.By, e.Reason, e.Cause = by.Who, by.Reason, tideover.CauseUndo
	if p.MayEnd() {
		e.Cause, e.Outcome = tideover.CauseCancelled, cancelledHere(now)
	}
	return e
}

// Adopt returns the event by which the hub's record enters the journal; known says whether the journal has the id already.
func Adopt(d *Draft, known bool) Event {
	switch {
	case known:
		return d.event(EventAdopted, true)
	case d.Request.Kind == tideover.KindNone:
		e := d.event(EventBarred, true)
		e.Cause = tideover.CauseUndo
		return e
	default:
		e := d.event(EventAccepted, true)
		e.Cause = tideover.CauseAccepted
		return e
	}
}

func cancelledHere(now tideover.Millis) *tideover.Outcome {
	return &tideover.Outcome{Result: tideover.StateCancelled, Message: "cancelled before it was sent", At: now}
}
