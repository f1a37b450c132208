package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tideover"
)

// Verb is what a person does to one transaction. Each is on record in the journal, with who did it and why.
type Verb string

// The verbs.
const (
	VerbHold    Verb = "hold"    // keep it back
	VerbRelease Verb = "release" // let it go again, or let what needed a person be asked about and sent
	VerbRetry   Verb = "retry"   // ask again now; nothing of it changes
	VerbCancel  Verb = "cancel"  // have it never executed, or undone
	VerbSettle  Verb = "settle"  // say how what no machine can resolve has ended
	VerbDrop    Verb = "drop"    // give up what was never sent; or see to it that what is paid was handed over
)

var verbs = []Verb{VerbHold, VerbRelease, VerbRetry, VerbCancel, VerbSettle, VerbDrop}

// ReasonMax is the length of a reason, in characters.
const ReasonMax = 200

// settleable are the ends that a person may say.
var settleable = []tideover.State{tideover.StateApproved, tideover.StateDeclined, tideover.StateReversed}

// Action is what a person wants done to one transaction.
type Action struct {
	Verb   Verb           `json:"-"`
	As     tideover.State `json:"as,omitzero"`      // [VerbSettle] alone: approved, declined or reversed
	Reason string         `json:"reason,omitempty"` // [VerbSettle] and [VerbDrop] want one
}

// Check refuses an action that no transaction could take. Errors are an [*Error] of status 400.
func (a Action) Check() error {
	wants := a.Verb == VerbSettle || a.Verb == VerbDrop
	switch {
	case !slices.Contains(verbs, a.Verb):
		return badRequest(fmt.Errorf("there is no action %q", a.Verb))
	case a.Verb == VerbSettle && !slices.Contains(settleable, a.As):
		return badAction(tideover.Textf("a transaction is settled as approved, declined or reversed", "结清方式只能是 approved、declined 或 reversed"))
	case a.Verb != VerbSettle && a.As != tideover.StateNone:
		return badRequest(errors.New("only settle takes an end"))
	case wants && strings.TrimSpace(a.Reason) == "":
		return badAction(tideover.Textf("a reason is wanted: it goes on record", "请说明原因：原因会记入日志"))
	case utf8.RuneCountInString(a.Reason) > ReasonMax:
		return badAction(tideover.Textf("the reason is too long: at most %d characters", "原因过长：最多 %d 个字符", ReasonMax))
	case !printable(a.Reason):
		return badAction(tideover.Textf("the reason holds characters that cannot be shown", "原因含有无法显示的字符"))
	}
	return nil
}

// printable says whether a text is UTF-8, on one line, without anything that a screen acts on.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// badAction says what is wrong with an action as a person typed it.
func badAction(what tideover.Text) error {
	e := badRequest(errors.New(""))
	e.What, e.Hint = what, tideover.Textf("correct the command", "请修改命令")
	return e
}
