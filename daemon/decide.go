package daemon

import (
	"time"

	"tideover"
)

// The deciders of the edge: pure steps. The forwarder acts on them; they do no I/O and read no clock.

// record is what a decision about one transaction rests on.
type record struct {
	Kind      tideover.Kind
	State     tideover.State
	NeverSent bool // known in memory: no byte of it can have left, in this process or an earlier one
	Reopened  bool // found without an end when this process started
	ExpiresIn time.Duration
	// When it was accepted: by ledger time where that was known, and always by the boot-time clock.
	LedgerExpires tideover.Millis
	Boot          [16]byte
	BootAt        time.Duration
}

// moment is what the edge knows when it decides.
type moment struct {
	LedgerNow   tideover.Millis
	LedgerKnown bool
	Boot        [16]byte
	BootNow     time.Duration
	Caught      bool // this incarnation's hello was answered, and the outbox that came with it is on disk
	Connected   bool
	Superseded  bool // another incarnation of this store has taken over
	Restored    bool // the hub holds a later head of this journal than the journal itself
}

// act is what to do with a transaction now.
type act uint8

const (
	actHold   act = iota // leave it for the moment
	actDoubt             // leave it, and say that its end is not known
	actSend              // submit it
	actAsk               // ask what the ledger has, and send nothing
	actExpire            // end it here: nothing of it has left, and it is too old
)

// step is a decision with its reason; logs show the very value.
type step struct {
	Act    act
	Until  time.Duration // actHold, actDoubt: look again after this at the latest
	Reason string
}

// lookAgain is how long a transaction without a deadline rests while nothing can be done for it; a returning link wakes it at once.
const lookAgain = 30 * time.Second

// ageUnknown stands for the deadline of a sale whose age cannot be known: it has passed.
const ageUnknown tideover.Millis = 1

// expiresAt returns a sale's deadline in ledger time; 0 for what never expires, and false while no hub has told the time.
func expiresAt(r record, m moment) (tideover.Millis, bool) {
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

// left returns how long a sale may still be started, by the best clock there is; what never expires has lookAgain.
func left(r record, m moment) time.Duration {
	if r.Kind != tideover.KindSale {
		return lookAgain
	}
	if at, known := expiresAt(r, m); known && at != ageUnknown && m.LedgerKnown {
		return time.Duration(at-m.LedgerNow) * time.Millisecond
	}
	if r.Boot == m.Boot && r.Boot != [16]byte{} {
		return r.ExpiresIn - (m.BootNow - r.BootAt)
	}
	return 0
}

// decide says what to do with an open transaction that nobody is carrying at the moment.
//
// Before the first hello of an incarnation is answered, and the outbox that came with it is on disk, the edge sends nothing and ends
// nothing by itself: an earlier process, or another router with this store's past, may have sent the same id.
func decide(r record, m moment) step {
	remaining := left(r, m)
	switch {
	case m.Superseded:
		return step{actDoubt, lookAgain, "another router has taken over this store: the hub takes nothing from this one"}
	case !m.Caught && remaining <= 0:
		return step{actDoubt, lookAgain, "too old to be started, and the hub has not been heard since this start"}
	case !m.Caught:
		return step{actHold, min(remaining, lookAgain), "the hub has not been heard since this start"}
	case r.Kind == tideover.KindSale && remaining <= 0 && r.NeverSent && r.State == tideover.StateQueued:
		return step{actExpire, 0, "too old by ledger time, and nothing of it has left"}
	case !m.Connected && remaining <= 0:
		return step{actDoubt, lookAgain, "it may have left, and no link reaches the hub"}
	case !m.Connected:
		return step{actHold, min(remaining, lookAgain), "no link reaches the hub"}
	case m.Restored && r.Reopened:
		return step{actAsk, 0, "this journal was restored from an older copy: what it holds open is asked about, never sent"}
	default:
		return step{actSend, 0, "a link is up"}
	}
}
