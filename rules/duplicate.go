package rules

import (
	"fmt"
	"time"

	"tideover"
)

// What becomes of a press that looks like an earlier one.
const (
	ActionRefuse = "refuse"
	ActionAllow  = "allow" // it is taken; the journal has what it looked like
)

// Duplicates say what counts as the same press under another key, `[duplicates]` of the configuration: the same kind, amount and currency at
// any till of the shop, and more.
type Duplicates struct {
	// Window, for presses of one instrument, or of one order with the same or no instrument. What is open, or executed and not acknowledged,
	// counts at any age. 0: none is suspected.
	Window time.Duration `toml:"window"`
	// BlindWindow, for presses of one terminal that name neither. Two equal coffees are two coffees: 0, for none, is usual.
	BlindWindow time.Duration `toml:"blind_window"`
	Action      string        `toml:"action"`
}

// looksMax is after how many earlier presses one that is suspected is enough: the latest of all is not looked for among thousands.
const looksMax = 256

// DefaultDuplicates are those of a shop that has configured none.
func DefaultDuplicates() Duplicates { return Duplicates{Window: 2 * time.Minute, Action: ActionRefuse} }

// Memory is for how long a closed transaction matters.
func (d Duplicates) Memory() time.Duration { return max(d.Window, d.BlindWindow) }

// judge looks for an earlier press. One that an operator answers for is let pass.
func (d Duplicates) judge(p Press, v View) (of tideover.ID, err error) {
	window := d.Window
	if p.Instrument == [32]byte{} && p.Order == "" {
		window = d.BlindWindow
	}
	if p.Kind == tideover.KindReversal || window == 0 {
		return of, nil // it undoes once, however often it is pressed; or nobody asks, and a day's equal coffees are not looked through
	}
	var latest *Seen // most presses are like none
	var common tideover.Text
	looked := 0
	for seen := range v.Alike(p) {
		if what, suspected := d.same(p, seen); suspected && (latest == nil || seen.CreatedAt > latest.CreatedAt) {
			found := seen
			latest, common = &found, what
		}
		if looked++; looked >= looksMax && latest != nil {
			break
		}
	}
	switch {
	case latest == nil:
		return of, nil
	case d.Action == ActionAllow, p.Override && p.Operator != "":
		return latest.ID, nil
	}
	return of, suspect(p, *latest, common)
}

// same says whether an earlier press may be the same one, and what both have in common.
func (d Duplicates) same(p Press, seen Seen) (what tideover.Text, suspected bool) {
	if p.Kind != seen.Kind || p.Amount != seen.Amount || p.Currency != seen.Currency || p.Original != seen.Original {
		return what, false
	}
	within := func(window time.Duration) bool { return seen.Age >= 0 && seen.Age <= window }
	none := [32]byte{}
	switch {
	case seen.State == tideover.StateReversing, seen.Final() && seen.State != tideover.StateApproved:
		return what, false // nothing was charged, or it is given back: the next press is a new one
	case p.Instrument != none && p.Instrument == seen.Instrument:
		what = tideover.Text{En: "the same instrument", Zh: "付款工具相同"}
	case p.Order != "" && p.Order == seen.Order && (p.Instrument == none || seen.Instrument == none):
		what = tideover.Text{En: "the same order", Zh: "订单号相同"}
	case p.Instrument == none && p.Order == "" && seen.Instrument == none && seen.Order == "" && p.TerminalUID == seen.TerminalUID:
		return tideover.Text{En: "the same till", Zh: "终端相同"}, d.BlindWindow > 0 && within(d.BlindWindow)
	default:
		return what, false
	}
	unsettled := !seen.Final() || !seen.Acknowledged
	return what, d.Window > 0 && (unsettled || within(d.Window))
}

// suspect refuses a press, and says how it is taken all the same.
func suspect(p Press, seen Seen, what tideover.Text) error {
	ask := tideover.Text{En: "ask for that one", Zh: "请查询该笔交易"}
	if seen.TerminalUID != p.TerminalUID { // this till would be told that it is unknown
		ask = tideover.Text{En: "it was pressed at another till of the shop: look there", Zh: "该笔由店内另一台终端发起：请到那台终端查看"}
	}
	next := tideover.Text{
		En: ask.En + "; if this is another purchase, send it again with `Tideover-Override: duplicate` and the operator who answers for it",
		Zh: ask.Zh + "；如确为另一笔，请带上 `Tideover-Override: duplicate` 和负责的操作员（operator）重发",
	}
	if p.Override {
		next = tideover.Text{
			En: "an override needs the operator who answers for it: send it again with `operator`",
			Zh: "确认重复交易需要负责的操作员：请填写 operator 后重发",
		}
	}
	amount := tideover.Money(seen.Amount, seen.Currency)
	return &tideover.Refusal{Code: tideover.CodeSuspectedDuplicate, DuplicateOf: seen.ID, Detail: tideover.Text{
		En: fmt.Sprintf("this looks like a second press of %s, which is %s: %s both times, and %s; nothing was taken; %s",
			seen.ID, seen.State, amount, what.En, next.En),
		Zh: fmt.Sprintf("疑似重复发起交易 %s（状态 %s）：金额均为 %s，且%s；请求未受理；%s", seen.ID, seen.State, amount, what.Zh, next.Zh),
	}}
}
