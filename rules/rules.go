package rules

import (
	"iter"
	"time"

	"tideover"
)

// Rules are all that a shop says about what may be taken.
type Rules struct {
	Limits     Limits     `toml:"limits"`
	Duplicates Duplicates `toml:"duplicates"`
	Methods    Methods    `toml:"method"`
}

// Press is a well-formed request, with what is known of who pressed it.
type Press struct {
	tideover.Request
	TerminalUID string
	Instrument  [32]byte // keyed hash; zero: none was given
	Override    bool     // an operator says that it is no second press
}

// View is what the rules see of the queue, as of the accept that is being decided: everything that was accepted before it.
type View interface {
	// Open returns how many transactions are accepted and not final, and the sum of their amounts in minor units by currency.
	Open() (count int, amount map[string]int64)
	// Get returns a transaction of any till of the shop, and false where the journal has none of that id.
	Get(id tideover.ID) (tideover.Transaction, bool)
	// Complete says that the journal has everything that the shop has ever pressed. Otherwise what it does not have may be at the hub.
	Complete() bool
	// Heard says that a hub is heard just now.
	Heard() bool
	// Undone returns what refunds and reversals take of a transaction.
	Undone(original tideover.ID) Undone
	// Since returns how long ago an original was executed, or else accepted.
	Since(original tideover.Transaction) time.Duration
	// Alike iterates over what has a press's kind, amount and currency, and its instrument or its order, or its terminal where it has
	// neither: at least what is open, what is not acknowledged, and what is younger than both windows. Of those that have neither it is what is
	// younger alone; and what ended uncharged need not come. Each comes once.
	Alike(p Press) iter.Seq[Seen]
}

// Undone is what refunds and reversals take of a transaction, in minor units.
type Undone struct {
	Refunded  int64 // approved
	Refunding int64 // accepted, and without an end
	Reversal  bool  // one is approved, or has no end yet
}

// Seen is an earlier press.
type Seen struct {
	tideover.Transaction
	Instrument [32]byte
	Age        time.Duration // since its acceptance; below 0 where a clock was wrong
}

// Judge holds a press against the rules: first its amount, then what it undoes, then whether it was pressed before, then whether its
// method may wait, then what the shop has taken on already. It returns the earlier press that it looks like, if it is let pass all the same, and a [*tideover.Refusal] where it may not be
// taken.
func (r Rules) Judge(p Press, v View) (duplicateOf tideover.ID, err error) {
	if err := r.Limits.judgeAmount(p.Request); err != nil {
		return duplicateOf, err
	}
	if err := r.Limits.judgeOriginal(p.Request, v); err != nil {
		return duplicateOf, err
	}
	if duplicateOf, err = r.Duplicates.judge(p, v); err != nil {
		return duplicateOf, err
	}
	if err := r.Methods.judge(p.Request, v.Heard()); err != nil {
		return duplicateOf, err
	}
	return duplicateOf, r.Limits.judgeExposure(p.Request, v)
}
