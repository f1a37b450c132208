package ledger

import (
	"math"
	"slices"
	"time"

	"tideover"
	"tideover/wire"
)

// remembered is for how long what an edge may still know, or a till may press again, is reckoned with: an edge keeps an end for 30 days
// (retention.final), after at most 3 days offline without an alarm (limits.offline_age_max).
const remembered = 33 * 24 * time.Hour

// remember takes from a hello what it tells of the past: that another journal than the last one speaks for the store, and that this
// ledger was put back to an older copy. The latter shows in three ways: the file is marked as a copy; the journal has taken outbox positions
// that this ledger has not given out; or it has heard an epoch that this ledger has never had. Positions that were given out in the
// lost time are never given out again, as far as any journal knows of them.
func (v *View) remember(h wire.Hello) {
	s := &v.Store
	given := s.HubSeq
	if s.Ahead {
		given = s.HeardSeq // what was given out since, no edge can have heard of
	}
	taken := max(h.HaveThrough, h.Highest)
	lost := s.Restored != v.History.Restored || taken > given ||
		h.Epoch != [16]byte{} && !slices.Contains(v.History.Epochs, h.Epoch)
	if lost {
		if !s.Replay {
			s.LostFrom = given
		}
		if s.HubSeq > given {
			s.Reused = s.HubSeq
		}
		s.Replay, s.LostAt, s.Restored = true, v.Now, v.History.Restored
		s.LostBefore = max(s.LostBefore, lostBefore(h))
	}
	// Its own loss may have been found out just before, by a process that was alive then and has died since in the middle of a commit.
	if h.Features&wire.FeatureOpen != 0 && s.LostAt != 0 && v.Now < s.LostAt.Add(tideover.ExpiresInMax) {
		s.OrphanedAt = v.Now
	}
	s.HubSeq = max(s.HubSeq, taken)
	s.Ahead, s.HeardSeq = false, 0
	if h.Journal != [16]byte{} && h.Journal != s.Journal {
		if s.Journal != [16]byte{} || lost {
			s.GapAt = v.Now
		}
		s.Journal = h.Journal
	}
}

// lostBefore is the sequence up to which a journal may speak of what a ledger has lost. One that says no sequence, since it was restored
// itself, may do so for good; an empty one cannot, but 0 would mean that nothing is lost.
func lostBefore(h wire.Hello) uint64 {
	switch {
	case h.Seq > 0:
		return h.Seq
	case h.Highest > 0 || h.HaveThrough > 0 || h.Epoch != [16]byte{}:
		return math.MaxUint64
	default:
		return 1
	}
}

// gap says whether another journal knows a part of the store's past that still matters.
func (v *View) gap() bool { return v.Store.GapAt != 0 && v.Now < v.Store.GapAt.Add(remembered) }

// lost says whether the ledger has lost a part of the store's past that still matters.
func (v *View) lost() bool {
	s := &v.Store
	return s.LostBefore != 0 && (s.Replay || v.Now < s.LostAt.Add(remembered))
}

// Orphaned says whether a request that its edge has never sent may be a till's repetition of one that was sent to the ledger that was lost, by an
// earlier router, or by an earlier process that died before it had written it down: neither journal nor ledger would know. That is reckoned
// with for as long as a till may wait for a sale; to ask first for longer would, with a platform that may be called once, let nothing through.
func (v *View) Orphaned() bool {
	s := &v.Store
	replaced := v.gap() && v.Now < max(s.GapAt, s.LostAt).Add(tideover.ExpiresInMax)
	return v.lost() && (replaced || s.OrphanedAt != 0 && v.Now < s.OrphanedAt.Add(tideover.ExpiresInMax))
}

// amnesic says whether ends that the edge has may be missing here, or may differ: meanwhile nothing is decided that they could forbid.
// Whether this ledger was put back to an older copy is not known before the edge has said hello to it as it now is.
func (v *View) amnesic() bool {
	return v.Store.Forgetful(v.History) || v.Store.HeardIn != v.History.Epoch()
}

// Forgetful says whether the store's edge has yet to tell what a ledger with this history is known to have lost of it.
func (s *Store) Forgetful(h History) bool { return s.Replay || s.Restored != h.Restored }

// Behind says whether a hello's journal was put back to an older copy and so lacks ends that it had acknowledged: after is the last
// outbox position before them. They are to be told again ([View.Unacknowledge]): what they are about may have another end in the copy, and
// nothing would be asked about it. Another router's journal never had them.
func (v *View) Behind(h wire.Hello) (after uint64, behind bool) {
	behind = h.Journal != [16]byte{} && h.Journal == v.Store.Journal && max(h.HaveThrough, h.Highest) < v.Store.Acked
	return h.HaveThrough, behind
}

// Unacknowledge lets ends after an outbox position be told again.
func (v *View) Unacknowledge(after uint64) {
	for i := range v.Rows {
		if r := &v.Rows[i]; r.Acked && r.Ended() && r.HubSeq > after {
			r.Acked = false
		}
	}
}

// Retell gives the rows that owe their edge an end fresh places in the outbox where their places were given out a second time:
// [Store.LostFrom] is before the first such place, [Store.Reused] the last one. Without rows it notes that none is left.
func (v *View) Retell() {
	for i := range v.Rows {
		if r := &v.Rows[i]; r.Owed() && r.HubSeq > v.Store.LostFrom && r.HubSeq <= v.Store.Reused {
			v.tell(r)
		}
	}
	if len(v.Rows) == 0 {
		v.Store.Reused = 0
	}
}

// Replayed notes that the edge has told again every end that it was asked for.
func (v *View) Replayed(incarnation [16]byte) {
	if v.Store.Incarnation == incarnation {
		v.Store.Replay, v.Store.LostFrom = false, 0
	}
}

// Replay takes an end that the edge's journal has and that this ledger, put back to an older copy, may have lost: with its position, and
// acknowledged. The edge was told it by this ledger's own word, so it counts more than what the copy knows. It does not count more than
// what was decided since: what is being undone stays so, a cancel wins over an approval, and of two ends of which one moved money and
// the other did not, neither is believed: it is undone. Replayed twice, it changes nothing.
func (v *View) Replay(m wire.Replay) Decision {
	r := v.row()
	if !v.lost() {
		return refuse(wire.ReasonMalformed, "this ledger has lost nothing of the store")
	}
	if d, reused := r.reused(m.Submit); reused {
		return d
	}
	if r.State == tideover.RowNone {
		v.enter(m.Submit.ID)
	}
	r.heard(m.Submit)
	r.Request.Request.Payload, r.Request.Request.Instrument = nil, ""
	if v.without() {
		*r = Row{} // nothing is changed
		return Decision{Verdict: Wait, Why: "its original was not looked up"}
	}
	v.Store.HubSeq = max(v.Store.HubSeq, m.HubSeq)
	result := m.Outcome.Result
	switch {
	case r.Ended() && r.HubSeq == m.HubSeq && r.Outcome.Result == result:
		r.Acked = true
	case r.Ended() && r.HubSeq >= m.HubSeq,
		r.State == tideover.RowRefused && r.HubSeq == 0 && result == tideover.StateApproved: // barred by a reversal
		v.newer(r, m)
	case r.State == tideover.RowReversed && result != tideover.StateReversed:
		v.tell(r)
	case result == tideover.StateApproved && (r.State == tideover.RowReversing || r.State.Open() && r.EndAs != tideover.StateNone):
		v.executed(r)
		if r.State != tideover.RowReversing {
			v.undo(r, r.EndAs, "approved, as the edge tells again, and to be undone since")
		}
	case result == tideover.StateApproved && r.State == tideover.RowManual && r.CancelAsked && m.Outcome.Code != CodeSettled:
		v.executed(r) // and to be undone since, which no machine could
	case r.State == tideover.RowReversing && r.Approved && result != tideover.StateReversed:
		// It was told to be approved and is being undone: that is what the edge will hear.
	default:
		v.retake(r, m)
	}
	return Decision{Why: r.Why}
}

// newer keeps an end that is newer than the one that the edge tells again, unless the two do not agree on whether money moved. Where
// none moved, what the till has heard stands.
func (v *View) newer(r *Row, m wire.Replay) {
	told, approved := m.Outcome.Result, r.State == tideover.RowDone && r.Approved
	switch {
	case told == tideover.StateReversed && r.State != tideover.RowReversed:
		v.executed(r)
		r.Corrected = true
		r.moveBy(tideover.RowReversed, "undone, as the edge tells again")
		out := tideover.Outcome{Result: tideover.StateReversed, Reference: r.Outcome.Reference, At: v.Now}
		v.ended(r, out, 0)
		v.tell(r)
	case told == tideover.StateApproved && r.State != tideover.RowReversed && !approved:
		v.executed(r)
		r.Corrected = true
		v.undo(r, tideover.StateNone, "approved, as the edge tells again, but ended otherwise since")
	case !approved && r.State != tideover.RowReversed && told != r.Outcome.Result:
		v.retake(r, m)
	case approved && told != tideover.StateApproved && told != tideover.StateReversed:
		r.Corrected = true
		v.undo(r, tideover.StateNone, "the edge has told another end")
		if r.Account.Refunded > 0 || r.Account.Refunding > 0 {
			r.move(tideover.RowManual, "the edge has told another end, but parts of it are refunded already")
		}
	default:
		v.speak(r)
	}
}

// retake gives a row the end that the edge tells again.
func (v *View) retake(r *Row, m wire.Replay) {
	to, out := tideover.RowDone, m.Outcome
	switch out.Result {
	case tideover.StateExpired, tideover.StateCancelled:
		to, r.EndAs = tideover.RowRefused, out.Result
	case tideover.StateReversed:
		to = tideover.RowReversed
		v.executed(r)
	default:
		r.EndAs = tideover.StateNone
	}
	r.moveBy(to, "told again by the edge")
	r.Answered = r.Answered || to != tideover.RowRefused
	r.Corrected, r.Tombstone = m.Corrected, false
	v.ended(r, out, accounted(r))
	r.HubSeq, r.Acked, r.UpdatedAt = m.HubSeq, true, v.Now
	if r.Kind() == tideover.KindReversal && out.Result == tideover.StateApproved {
		v.undoneOnce()
	}
}

// undoneOnce sees to the original of a reversal that was approved: what undid it may be lost with its end.
func (v *View) undoneOnce() {
	switch o := v.original(); {
	case o.State == tideover.RowNone:
		v.bar(o)
	case o.State == tideover.RowDone && o.Approved && o.Account.Refunded == 0 && o.Account.Refunding == 0:
		v.undo(o, tideover.StateCancelled, "its reversal was approved, as the edge tells again")
	case o.State == tideover.RowInDoubt:
		v.cancelOpen(o)
	}
}

// accounted is what an approval of the row takes of its original's account.
func accounted(r *Row) int64 {
	if r.Kind() == tideover.KindRefund {
		return r.Request.Request.Amount
	}
	return 0
}

// executed notes that the platform has executed what a row is about, as the edge was told. A refund takes its amount of its original's
// account, whatever the ledger still knows of that.
func (v *View) executed(r *Row) {
	if n := accounted(r); n != 0 && !(r.Approved && r.Accounted == n) {
		v.settle(r, r.Approved, n)
	}
	r.Approved, r.Answered = true, true
	if r.Kind() != tideover.KindReversal {
		r.Account.Approved = r.Request.Request.Amount
	}
}

// witness enters the original of an approved refund that the ledger has lost together with it: it was approved, or there would be no
// such refund. Of how much is not known until the edge tells it again: no more than this refund is left of it. It has no place in the outbox.
func (v *View) witness(refund *Row) {
	o, want := v.original(), refund.Request.Request
	*o = Row{Store: v.Store.Name, ID: want.Original, CreatedAt: v.Now, UpdatedAt: v.Now, Approved: true, Answered: true}
	o.Request.Request.Currency = want.Currency
	o.move(tideover.RowDone, "approved, since a refund of it was")
	o.Outcome = tideover.Outcome{Result: tideover.StateApproved, At: v.Now}
}

// moveBy moves a row to an end, by way of "reversing" where the table has no direct one.
func (r *Row) moveBy(to tideover.RowState, why string) {
	if !tideover.RowMay(r.State, to) {
		r.move(tideover.RowReversing, why)
	}
	r.move(to, why)
}
