package edge

import (
	"errors"
	"fmt"

	"tideover"
)

// Why a step is not taken.
var (
	// ErrMaySent says that the router cannot end a transaction by itself: a byte of it may have left.
	ErrMaySent = errors.New("the transaction may have been sent; only the hub can end it")
	// ErrCancelAsked says that the transaction must not leave any more: its cancel is on disk.
	ErrCancelAsked = errors.New("its cancel is on disk")
)

// Told is an end that the hub told.
type Told struct {
	HubSeq    uint64 // its outbox position
	Outcome   tideover.Outcome
	Corrected bool // it replaces another end that was told
	Asked     bool // the ledger knew of a cancel when it decided
	// Receipt is what it told for a receipt of that end, and was found good; nil where there is none.
	Receipt *tideover.Proof
}

// Take is what becomes of an end that the hub told.
type Take uint8

// The takes.
const (
	TakeNew   Take = iota // it is news: its event is applied, and written later
	TakeAgain             // it was told before: it is acknowledged anew once it is on disk
	TakeKnown             // there is nothing to do
	// TakeNot: an approval that was decided before the ledger knew of the cancel that is on this router's disk. It must not show; the
	// cancel goes on until the ledger answers it.
	TakeNot
)

// Told judges an end that the hub told. An end that cannot follow the record's state is a [*tideover.TransitionError]. With [TakeNot] a
// person's word is not to be told any more: the ledger has an end, and only the cancel changes that.
func (r *Record) Told(t Told) (e Event, take Take, err error) {
	cause, ok := tideover.Told(t.Outcome.Result)
	switch {
	case !ok || !t.Outcome.Result.Final():
		return e, TakeNot, fmt.Errorf("the hub told %q as an end", t.Outcome.Result)
	// One that a cancel has taken back is looked at again, also at its old position.
	case t.HubSeq != 0 && (t.HubSeq < r.HubSeq || t.HubSeq == r.HubSeq && r.EndSeq != 0):
		return e, TakeAgain, nil
	case t.HubSeq == 0 && r.State == t.Outcome.Result && r.EndSeq != 0 && !t.Corrected:
		return e, TakeKnown, nil
	case r.Undo && t.Outcome.Result == tideover.StateApproved && !t.Asked:
		r.Settle, r.SettleBy = tideover.StateNone, By{}
		return e, TakeNot, nil
	case r.State != t.Outcome.Result && neverExecuted(r.State) && neverExecuted(t.Outcome.Result):
		// Certain either way, and the till has heard the one: it keeps that, and the hub may let go of the other.
		return e, TakeAgain, nil
	}
	if _, err := tideover.Next(r.State, cause); err != nil {
		return e, TakeNot, fmt.Errorf("%s: %w", r.ID, err)
	}
	return Event{
		Type: EventEnded, From: r.State, Cause: cause, Outcome: &t.Outcome, HubSeq: t.HubSeq, Corrected: t.Corrected,
		Attempts: r.Attempts, Uplink: r.Uplink, Receipt: r.beside(t.Receipt),
	}, TakeNew, nil
}

// beside returns what a proof says that the record does not.
func (r *Record) beside(p *tideover.Proof) *tideover.Proof {
	if p == nil {
		return nil
	}
	kept := *p
	if kept.Terminal == r.Terminal {
		kept.Terminal = ""
	}
	if kept.CreatedAt == r.CreatedAt {
		kept.CreatedAt = 0
	}
	return &kept
}

// neverExecuted says whether an end means that no money moved, and none will.
func neverExecuted(s tideover.State) bool {
	return s == tideover.StateDeclined || s == tideover.StateExpired || s == tideover.StateCancelled
}

// EndHere gives a transaction the router's own end: CauseExpired, CauseCancelled, or CauseMoot for a reversal. ErrMaySent unless it is
// queued and no byte of it can have left.
func (r *Record) EndHere(cause tideover.Cause, o tideover.Outcome) (*Event, error) {
	next, err := tideover.Next(r.State, cause)
	switch cause {
	case tideover.CauseExpired, tideover.CauseCancelled:
	case tideover.CauseMoot:
		if r.Kind != tideover.KindReversal {
			return nil, ErrMaySent
		}
	default:
		return nil, ErrMaySent
	}
	if err != nil || !r.NeverSent() {
		return nil, ErrMaySent
	}
	o.Result = next
	return &Event{Type: EventEndedHere, From: r.State, Cause: cause, Outcome: &o}, nil
}

// Cancel ends a transaction here if nothing of it can have left, and otherwise has it undone: that is on disk before anybody hears of
// it, and the hub is asked until it has answered. Of one that is not charged, or whose cancel was asked already, there is nothing to
// write. now is ledger time. Refusals: already_acknowledged, cannot_cancel.
func (r *Record) Cancel(p Past, by By, now tideover.Millis) (*Event, error) {
	switch {
	case r.Final() && r.State != tideover.StateApproved, r.Undo:
		return nil, nil
	case r.Kind == tideover.KindReversal && (r.Final() || !r.NeverSent() || !p.MayEnd()):
		return nil, CannotCancel()
	case r.Final() && r.Acknowledged:
		return nil, tideover.Refuse(tideover.CodeAlreadyAcknowledged,
			"this till has already shown that the transaction was approved; send a reversal of it instead",
			"本终端已显示该交易成功；请改为发送冲正（reversal）")
	}
	if p.MayEnd() {
		if e, err := r.EndHere(tideover.CauseCancelled, *cancelledHere(now)); err == nil {
			e.By, e.Reason = by.Who, by.Reason
			return e, nil
		}
	}
	if _, err := tideover.Next(r.State, tideover.CauseUndo); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	return &Event{Type: EventUndo, From: r.State, Cause: tideover.CauseUndo, By: by.Who, Reason: by.Reason}, nil
}

// CannotCancel refuses to cancel a reversal.
func CannotCancel() error {
	return tideover.Refuse(tideover.CodeCannotCancel,
		"a reversal gives money back and cannot be cancelled; make a new sale instead",
		"冲正是退还款项，不能取消；如需收款请重新发起一笔消费")
}

// Begun says of a reversal that nothing of it need have left for it to take effect: its original is being cancelled, or is undone. It can be
// neither cancelled nor dropped then. original is what the journal has; nil where it has nothing.
func (r *Record) Begun(original *Record) bool {
	return r.Kind == tideover.KindReversal && !r.Final() && original != nil &&
		(original.Undo || original.Final() && original.State != tideover.StateApproved)
}

// Acknowledge notes that the till has printed or shown the end that it was told with seq; the same again changes nothing. A seq from
// before the present end, and any while there is none, is refused with outcome_changed; one that no till was told yet with
// invalid_request.
func (r *Record) Acknowledge(seq uint64) (*Event, error) {
	switch {
	case seq > r.Seq:
		return nil, tideover.Refuse(tideover.CodeInvalidRequest,
			"seq %d is beyond the transaction's, %d; acknowledge the seq that came with its end",
			"seq %d 超过了该交易的 seq（%d）；请确认随结果返回的 seq", seq, r.Seq)
	case !r.Final():
		return nil, tideover.Refuse(tideover.CodeOutcomeChanged,
			"the transaction has no end at present (it is %[1]s); ask for it again, and acknowledge its end when it has one",
			"该交易目前没有最终结果（状态 %[1]s）；请再次查询，待有结果后再确认", r.State)
	case seq < r.EndSeq:
		return nil, tideover.Refuse(tideover.CodeOutcomeChanged,
			"the end has changed since seq %d; show the present one, %s, and acknowledge seq %d",
			"自 seq %d 之后结果已变更；请显示当前结果（%s）并确认 seq %d", seq, r.State, r.Seq)
	case r.Acknowledged:
		return nil, nil
	}
	return &Event{Type: EventAcknowledged}, nil
}

// Hold keeps a transaction back that is queued or in doubt. Refusal: not_possible.
func (r *Record) Hold(by By) (*Event, error) {
	if r.State == tideover.StateHeld {
		return nil, nil
	}
	if _, err := tideover.Next(r.State, tideover.CauseHeld); err != nil || r.Undo {
		return nil, notPossible("only what is queued or in doubt can be held; this transaction is %s", "只有排队中或状态不明的交易可以挂起；该交易状态为 %s", r.State)
	}
	return &Event{Type: EventHeld, From: r.State, Cause: tideover.CauseHeld, By: by.Who, Reason: by.Reason}, nil
}

// Release lets go what was held, or what needs a person: the hub is asked, and what it does not have is sent from then on, also out of
// a journal that was restored. Refusal: not_possible.
func (r *Record) Release(by By) (*Event, error) {
	if _, err := tideover.Next(r.State, tideover.CauseReleased); err != nil {
		return nil, notPossible("only what is held or needs a person can be released; this transaction is %s",
			"只有已挂起或需人工处理的交易可以放行；该交易状态为 %s", r.State)
	}
	return &Event{Type: EventReleased, From: r.State, Cause: tideover.CauseReleased, By: by.Who, Reason: by.Reason}, nil
}

// Retry notes that a technician wants what is open asked for again now.
func (r *Record) Retry(by By) (*Event, error) {
	if r.Final() {
		return nil, nil
	}
	return &Event{Type: EventRetry, By: by.Who, Reason: by.Reason}, nil
}

// Drop ends a transaction of which certainly nothing has left, and clears an end that no till has acknowledged. Anything else may move
// money, and is refused. now is ledger time. Refusal: not_possible.
func (r *Record) Drop(p Past, by By, now tideover.Millis) (*Event, error) {
	if r.Final() {
		if r.Acknowledged {
			return nil, nil
		}
		return &Event{Type: EventDropped, By: by.Who, Reason: by.Reason}, nil
	}
	if p.MayEnd() {
		if e, err := r.EndHere(tideover.CauseCancelled, *cancelledHere(now)); err == nil {
			e.Type, e.By, e.Reason = EventDropped, by.Who, by.Reason
			return e, nil
		}
	}
	return nil, CannotDrop(r.State)
}

// CannotDrop refuses to drop what may have had an effect.
func CannotDrop(s tideover.State) error {
	return notPossible("this transaction is %s and may have been sent: it cannot be dropped; cancel it, or wait for its end",
		"该交易状态为 %s，可能已发出，不能丢弃；请取消它，或等待其结果", s)
}

// SettleAs puts a person's word on a manual transaction on record; the ledger takes it over, and ends it. as is approved, declined or
// reversed. Refusal: not_possible.
func (r *Record) SettleAs(as tideover.State, by By) (*Event, error) {
	switch as {
	case tideover.StateApproved, tideover.StateDeclined, tideover.StateReversed:
	default:
		return nil, notPossible("a transaction is settled as approved, declined or reversed, not as %s", "只能结清为 approved、declined 或 reversed，不能是 %s", as)
	}
	if r.State != tideover.StateManual {
		return nil, notPossible("only what needs a person (manual) can be settled; this transaction is %s",
			"只有需人工处理（manual）的交易可以结清；该交易状态为 %s", r.State)
	}
	if r.Settle != tideover.StateNone && r.Settle != as {
		return nil, notPossible("it is settled as %s already, and waits for the hub", "已按 %s 结清，正等待 hub 确认", r.Settle)
	}
	if r.Settle == as {
		return nil, nil
	}
	return &Event{Type: EventSettle, Outcome: &tideover.Outcome{Result: as}, By: by.Who, Reason: by.Reason}, nil
}

func notPossible(en, zh string, s tideover.State) error {
	return tideover.Refuse(tideover.CodeNotPossible, en, zh, s)
}
