package daemon

import (
	"context"
	"errors"
	"time"

	"tideover"
	"tideover/rules"
)

// A router that was replaced or restored, and one that has not heard its hub since it started, does not know all that its shop has pressed. A press
// that the rules refuse there may be the repetition of one that another router took: it may be executed, and its till waits for the answer. To
// refuse it would say that nothing was taken. So the hub is asked first. What its ledger has was taken, and is taken again: the ledger makes
// both one. What it does not have never will be executed on the word of a router that was superseded; then the refusal stands.

// elsewhereMax is how long a till may wait for that question.
const elsewhereMax = 3 * time.Second

// elsewhere says whether another router may have taken a press that the rules refuse here: then it is taken, whatever the rules say. Otherwise
// it returns the refusal that the till is to hear. Without an answer of the hub that is one that passes.
func (d *desk) elsewhere(ctx context.Context, id tideover.ID, refused error) (taken bool, err error) {
	refusal, ok := errors.AsType[*tideover.Refusal](refused)
	if !ok || !fromTheJournal(refusal.Code) || d.past().Complete() {
		return false, refused
	}
	if d.past().Caught {
		ctx, cancel := context.WithTimeout(ctx, elsewhereMax)
		defer cancel()
		if known, err := d.knows(ctx, id); err == nil {
			return known, refused
		}
	}
	later := tideover.Refuse(tideover.CodeOfflineLimit,
		"%[1]s -- but this router does not know all that the shop has pressed, and the hub cannot be asked now whether this press was taken before: send it again under the same key when the line is back",
		"%[2]s。但本路由器不掌握门店的全部历史，目前也无法向中心查询本次请求此前是否已受理：请在网络恢复后用同一幂等键重发",
		refusal.Detail.En, refusal.Detail.Zh)
	later.Limit, later.Remaining, later.DuplicateOf, later.RetryAfter = refusal.Limit, refusal.Remaining, refusal.DuplicateOf, rules.RetryOffline
	return false, later
}

// fromTheJournal says whether a refusal rests on what the journal has, or on whether a hub is heard just now, rather than on the request alone:
// another router may have taken the very same.
func fromTheJournal(code tideover.Code) bool {
	switch code {
	case tideover.CodeOfflineLimit, tideover.CodeSuspectedDuplicate, tideover.CodeOriginalUnknown, tideover.CodeOriginalNotApproved, tideover.CodeRefundExceedsOriginal,
		tideover.CodeRefundWindowClosed:
		return true
	default:
		return false
	}
}
