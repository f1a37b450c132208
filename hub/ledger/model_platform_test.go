package ledger_test

import (
	"pgregory.net/rapid"

	"tideover"
	"tideover/hub/ledger"
)

func (w *world) at(id tideover.ID) *paid {
	if w.platform[id] == nil {
		w.platform[id] = &paid{}
	}
	return w.platform[id]
}

// luck draws a fault, or none once the world is calm.
func (w *world) luck(of int, name string) int {
	if w.calm {
		return 0
	}
	return rapid.IntRange(0, of).Draw(w.T, name)
}

func (w *world) call(id tideover.ID) ledger.Answer {
	p := w.at(id)
	p.calls++
	if p.answered {
		w.Fatalf("%s was called after it was answered (row %+v)", id, w.rows[id])
	}
	if !w.idempotent && p.calls > 1 {
		w.Fatalf("%s was called %d times by a hub that may call once", id, p.calls)
	}
	if s := w.submits[id]; s.Request.Kind == tideover.KindSale && w.now >= s.ExpiresAt {
		w.Fatalf("%s was called after its expiry", id)
	}
	switch w.luck(4, "call") {
	case 1: // lost
		return silence
	case 2: // still on its way when the caller gives up
		w.travelling = append(w.travelling, id)
		return silence
	case 3: // done, but the answer is lost
		w.arrive(id)
		return silence
	}
	w.arrive(id)
	p.answered = true
	return w.says(id)
}

// arrive does what a call asks for.
func (w *world) arrive(id tideover.ID) {
	p := w.at(id)
	if p.barred || p.decided || p.pending {
		return
	}
	switch w.luck(5, "decision") {
	case 1:
		p.decided = true
	case 2:
		p.pending = true
	case 3:
		p.decided, p.approved, p.wrong = true, true, true
		p.executions++
	default:
		p.decided, p.approved = true, true
		p.executions++
	}
}

func (w *world) says(id tideover.ID) ledger.Answer {
	p, r := w.at(id), w.submits[id].Request
	a := ledger.Answer{Amount: r.Amount, Currency: r.Currency}
	if p.wrong {
		a.Amount++
	}
	switch {
	case p.reversed:
		a.Said = ledger.SaidReversed
	case p.barred:
		a.Said = ledger.SaidDeclined
	case p.approved:
		a.Said = ledger.SaidApproved
	case p.decided:
		a.Said = ledger.SaidDeclined
	case p.pending:
		a.Said = ledger.SaidPending
	default:
		a.Said = ledger.SaidMissing
	}
	return a
}

func (w *world) ask(id tideover.ID) ledger.Answer {
	p := w.at(id)
	if p.pending && w.luck(2, "matures") == 0 {
		p.pending, p.decided, p.approved = false, true, true
		p.executions++
	}
	if w.luck(3, "ask") == 1 {
		return silence
	}
	if (!p.answered || w.rows[id].Answered) && w.luck(4, "stale") == 1 {
		// It has the id, perhaps, and does not know it here: 404 certifies nothing. A platform that gives an answer, which a crash
		// loses, and then denies that it has the id, is beyond help.
		return missing
	}
	a := w.says(id)
	p.answered = p.answered || a.Said != ledger.SaidMissing
	return a
}

func (w *world) reverse(id tideover.ID) ledger.Answer {
	p := w.at(id)
	if p.approved {
		if !p.reversed {
			p.reversals++
		}
		p.reversed = true
	} else {
		p.barred, p.pending = true, false
	}
	if w.luck(3, "reverse") == 1 && w.idempotent {
		return silence
	}
	p.answered = true
	if p.reversed {
		return undone
	}
	return never
}
