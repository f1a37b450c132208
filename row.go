package tideover

// RowState is where a transaction stands in the hub's ledger.
type RowState uint8

// The states of a ledger row.
const (
	RowNone      RowState = iota // no row: the hub has never heard of the id
	RowClaimed                   // an owner holds the lease and may be calling the platform
	RowInDoubt                   // a call may have been made and its answer is not known: ask before any call
	RowDone                      // the platform's word is recorded: approved or declined
	RowRefused                   // never executed and never will be: expired or cancelled
	RowReversing                 // executed, or perhaps executed, and being undone
	RowReversed                  // executed and undone
	RowManual                    // the machine cannot resolve it
	rowStatesEnd
)

var rowStateNames = [...]string{
	RowNone: "", RowClaimed: "claimed", RowInDoubt: "in doubt", RowDone: "done", RowRefused: "refused", RowReversing: "reversing",
	RowReversed: "reversed", RowManual: "manual",
}

// String returns the row state's name in commands and logs.
func (s RowState) String() string { return nameOf(rowStateNames[:], uint8(s)) }

// MarshalText implements encoding.TextMarshaler.
func (s RowState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Open says whether the row still needs work by machine.
func (s RowState) Open() bool { return s == RowClaimed || s == RowInDoubt || s == RowReversing }

// RowTransition is one row of the list of what may follow what in the ledger. Every step is committed before anybody hears of it.
type RowTransition struct {
	From, To RowState
	Why      string
}

var rowTransitions = []RowTransition{
	{RowNone, RowClaimed, "a claim: the transaction may be executed, by this owner"},
	{RowNone, RowRefused, "expired or cancelled before any claim: barred for good, also for a copy still on its way"},
	{RowNone, RowInDoubt, "sent again by an edge that speaks of an older ledger: ask before any call"},
	{RowNone, RowManual, "accepted before the ledger's memory begins, or settled by a person"},
	{RowNone, RowDone, "told again by the edge to a ledger that had lost it"},
	{RowNone, RowReversed, "told again by the edge to a ledger that had lost it"},
	{RowClaimed, RowInDoubt, "the call's answer is not known, or the owner's lease lapsed"},
	{RowClaimed, RowDone, "the platform's word"},
	{RowClaimed, RowRefused, "expired or cancelled while this owner had certainly not called"},
	{RowClaimed, RowReversing, "approved after a cancel, or over another amount"},
	{RowInDoubt, RowClaimed, "the platform does not have it yet and takes a repeat as one: call again"},
	{RowInDoubt, RowDone, "the platform's word"},
	{RowInDoubt, RowReversing, "too old, cancelled, pending too long, or approved wrongly: undo it"},
	{RowInDoubt, RowManual, "the platform cannot say"},
	{RowDone, RowReversing, "a cancel or a reversal of what was approved"},
	{RowReversing, RowReversed, "the platform undid it"},
	{RowReversing, RowRefused, "the platform certifies that it was never executed"},
	{RowReversing, RowDone, "the platform answers that it had declined it"},
	{RowReversing, RowManual, "the platform cannot say"},
	{RowRefused, RowReversing, "an approval after another end: not believed"},
	{RowManual, RowDone, "settled by a person"},
	{RowManual, RowReversed, "settled by a person"},
	{RowManual, RowRefused, "told again by the edge to a ledger that had lost it"},
}

// RowTransitions returns the one list of what may follow what in the hub's ledger.
func RowTransitions() []RowTransition { return append([]RowTransition(nil), rowTransitions...) }

// RowMay says whether a ledger row may go from one state to another. Staying is always allowed.
func RowMay(from, to RowState) bool {
	if from == to {
		return true
	}
	for _, t := range rowTransitions {
		if t.From == from && t.To == to {
			return true
		}
	}
	return false
}
