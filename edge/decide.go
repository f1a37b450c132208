package edge

import (
	"time"

	"tideover"
)

// Past is what this process has learned about the journal and the ledger. Its zero value is that of a process that has not heard the
// hub yet.
type Past struct {
	Caught     bool // this incarnation's hello was answered, and the outbox that came with it is on disk
	Superseded bool // another incarnation of this store has taken over: for good
	Restored   bool // the hub holds a head that this journal does not have: it is an older copy
	Gap        bool // the journal lacks part of the store's past: it was restored, or another router's came before it
	// Orphans: an earlier process let sales leave while their acceptance was on its way to the disk, and died; and no hub has told yet, all of
	// it, what it holds open of the store.
	Orphans bool
	// LostBefore: what this journal has up to that sequence may have been sent to a ledger that has lost it since; 0 where none was lost.
	LostBefore uint64
}

// MayEnd says whether the router may give an end by itself to what it has not sent.
func (p Past) MayEnd() bool { return p.Complete() }

// Complete says that the journal certainly has everything that the shop has ever pressed. That of a router which was superseded lacks what
// the other one takes.
func (p Past) Complete() bool { return p.Caught && !p.Gap && !p.Superseded && !p.Orphans }

// Welcome is what a hub's welcome says about the past.
type Welcome struct {
	OffChain   bool   // the hub holds a head that this journal does not have
	Gap        bool   // another journal has spoken for this store
	LostBefore uint64 // see Past
	Replay     bool   // the ledger has lost ends: it is to be told them again before anything else is sent
}

// Welcomed returns what is known after a welcome. Nothing that was known is forgotten, but what the ledger has lost is the ledger's to
// say.
func (p Past) Welcomed(w Welcome) Past {
	p.Restored = p.Restored || w.OffChain
	p.Gap = p.Gap || w.Gap || p.Restored
	p.LostBefore = w.LostBefore
	p.Caught = p.Caught && !w.Replay
	return p
}

// Moment is what the router knows when it decides.
type Moment struct {
	Past
	LedgerNow   tideover.Millis
	LedgerKnown bool
	Boot        [16]byte // of this machine's present run
	BootNow     time.Duration
	Connected   bool
}

// Act is what to do with a transaction now.
type Act uint8

// The acts.
const (
	ActHold   Act = iota // leave it for the moment
	ActDoubt             // leave it, and say that its end is not known
	ActSend              // submit it
	ActAsk               // ask what the ledger has, and send nothing
	ActCancel            // have the hub bar or undo it
	ActSettle            // tell the hub a person's word
	ActExpire            // end it here: nothing of it has left, and it is too old
	ActMoot              // a reversal: end it here, since its original has never left
	ActFirst             // a reversal: its original is to be cancelled first
	ActManual            // it needs a person: nothing of it has left, and it cannot be sent
)

// Step is a decision with its reason; logs show the very value.
type Step struct {
	Act   Act
	Until time.Duration // ActHold, ActDoubt: look again after this at the latest
	// Again: an earlier copy may have been sent to a ledger that has lost it since. The frame says so.
	Again  bool
	Reason string
}

// LookAgain is how long a transaction without a deadline rests while nothing can be done for it; a returning link wakes it at once.
const LookAgain = 30 * time.Second

// ageUnknown stands for the deadline of a sale whose age cannot be known: it has passed.
const ageUnknown tideover.Millis = 1

// Expires returns a sale's deadline in ledger time; 0 for what never expires, and false while no hub has told the time.
func (r *Record) Expires(m Moment) (tideover.Millis, bool) {
	switch {
	case r.Kind != tideover.KindSale:
		return 0, true
	case r.LedgerExpires != 0:
		return r.LedgerExpires, m.LedgerKnown
	case r.Boot != m.Boot || r.Boot == [16]byte{}:
		return ageUnknown, true
	case !m.LedgerKnown:
		return 0, false
	default:
		return m.LedgerNow.Add(r.ExpiresIn - (m.BootNow - r.BootAt)), true
	}
}

// remaining returns how long a sale may still be started, by the best clock there is; what never expires has LookAgain.
func (r *Record) remaining(m Moment) time.Duration {
	if r.Kind != tideover.KindSale {
		return LookAgain
	}
	if at, known := r.Expires(m); known && at != ageUnknown && m.LedgerKnown {
		return time.Duration(at-m.LedgerNow) * time.Millisecond
	}
	if r.Boot == m.Boot && r.Boot != [16]byte{} {
		return r.ExpiresIn - (m.BootNow - r.BootAt)
	}
	return 0
}

// Decide says what to do with an open transaction that nobody is carrying at the moment. original is what the journal has of the
// transaction that a reversal undoes; nil where it has nothing, and for other kinds.
//
// Before the first hello of an incarnation is answered, and the outbox that came with it is on disk, the router sends nothing and ends
// nothing by itself: an earlier process, or another router with this store's past, may have sent the same id.
func Decide(r, original *Record, m Moment) Step {
	remaining := r.remaining(m)
	switch {
	case m.Superseded:
		return Step{Act: ActDoubt, Until: LookAgain, Reason: "another router has taken over this store: the hub takes nothing from this one"}
	case !m.Caught && remaining <= 0:
		return Step{Act: ActDoubt, Until: LookAgain, Reason: "too old to be started, and the hub has not been heard since this start"}
	case !m.Caught:
		return Step{Act: ActHold, Until: min(remaining, LookAgain), Reason: "the hub has not been heard since this start"}
	}
	if s, decided := r.alone(original, remaining, m); decided {
		return s
	}
	again := r.Lost(m.Past)
	switch {
	case !m.Connected && remaining <= 0:
		return Step{Act: ActDoubt, Until: LookAgain, Reason: "it may have left, and no link reaches the hub"}
	case !m.Connected:
		return Step{Act: ActHold, Until: min(remaining, LookAgain), Reason: "no link reaches the hub"}
	case r.Settle != tideover.StateNone:
		return Step{Act: ActSettle, Reason: "a person has settled it"}
	case r.Undo:
		return Step{Act: ActCancel, Again: again, Reason: "its cancel is on disk, and the hub decides"}
	case r.Unreadable:
		return Step{Act: ActAsk, Reason: "its payload cannot be read, since its key was destroyed: it is asked about, never sent"}
	case r.Stale(m.Past):
		return Step{Act: ActAsk, Reason: "this journal was restored from an older copy: what it holds open is asked about, never sent"}
	default:
		return Step{Act: ActSend, Again: again, Reason: "a link is up"}
	}
}

// alone decides what needs no link.
func (r *Record) alone(original *Record, remaining time.Duration, m Moment) (Step, bool) {
	fresh := r.State == tideover.StateQueued && r.NeverSent()
	switch {
	case r.Kind == tideover.KindSale && remaining <= 0 && fresh && m.MayEnd():
		return Step{Act: ActExpire, Reason: "too old by ledger time, and nothing of it has left"}, true
	case r.Kind != tideover.KindReversal || original == nil || r.Stale(m.Past):
	case fresh && m.MayEnd() && original.neverLeft():
		return Step{Act: ActMoot, Reason: "nothing of its original has left, and nothing will"}, true
	case original.Counts() && !original.Undo && original.First < r.First && original.Kind != tideover.KindReversal:
		return Step{Act: ActFirst, Reason: "its original has no end: it is cancelled first"}, true
	}
	switch {
	case !fresh || !r.Unreadable:
		return Step{}, false
	case r.Kind == tideover.KindSale && m.MayEnd():
		return Step{Act: ActHold, Until: min(remaining, LookAgain), Reason: "its payload cannot be read, since its key was destroyed: it expires unsent"}, true
	default:
		return Step{Act: ActManual, Reason: "its payload cannot be read, since its key was destroyed, and nothing of it has left"}, true
	}
}

// Stale says that it is from an older copy of the journal, and no person has let it go: it may have ended since, and is asked about.
func (r *Record) Stale(p Past) bool { return p.Restored && r.Reopened && !r.Released }

// neverLeft says that the router itself has ended it, and no hub has said otherwise.
func (r *Record) neverLeft() bool {
	return (r.State == tideover.StateCancelled || r.State == tideover.StateExpired) && r.HubSeq == 0
}

// Lost says whether an earlier copy may have been sent to a ledger that has lost it since.
func (r *Record) Lost(p Past) bool {
	return r.First <= p.LostBefore && !r.NeverSent()
}

// Behind says whether a refund or reversal has to wait for its original: a refund until that has its end, a reversal once the original's
// cancel is asked. What was accepted later is not waited for; and a refund's own cancel waits for nothing.
func (r *Record) Behind(original *Record) bool {
	if !r.Kind.Undoes() || r.Undo || original == nil || !original.Counts() || original.First >= r.First {
		return false
	}
	return r.Kind == tideover.KindRefund || original.Undo
}
