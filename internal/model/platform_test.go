package model

import (
	"tideover/hub/ledger"
)

// paid is what the platform knows of one id, and what the model counts there.
type paid struct {
	strays     uint8 // calls on their way whose caller has given up, or is gone
	calls      uint8
	executions uint8
	reversals  uint8

	decided, approved, wrong bool
	pending                  bool
	barred                   bool // it has certified that it was not executed
	reversed                 bool
	lied                     bool // it has executed what it had declined
}

// mind is what the platform makes of a call.
type mind uint8

const (
	mApprove mind = iota
	mDecline
	mPending
	mWrong // approves another amount
	mLie   // approves what it has declined
	minds
)

func (m mind) String() string {
	return [...]string{"approves", "declines", "is at work on", "approves another amount of", "approves, after it had declined,"}[m]
}

// price is what each but an approval costs of the world's faults.
func (m mind) price() (fault, bool) {
	switch m {
	case mDecline:
		return fRefuse, true
	case mPending:
		return fPending, true
	case mWrong:
		return fWrong, true
	case mLie:
		return fLie, true
	case mApprove, minds:
	}
	return 0, false
}

// call leaves for the platform.
func (w *world) call(tx uint8) {
	p := &w.platform[tx]
	p.calls++
	if w.broken == posted {
		p.calls++
		p.strays++ // the transport repeats it
	}
	w.oracle.called(w, tx)
}

// minded says which decisions the platform may take on a call that arrives now.
func (w *world) minded(tx uint8, m mind) bool {
	p := &w.platform[tx]
	if m == mLie {
		return p.decided && !p.approved && !p.barred && !p.lied && w.can(fLie)
	}
	if settled := p.barred || p.reversed || w.idempotent && (p.decided || p.pending); settled {
		return m == mApprove // the call changes nothing
	}
	f, priced := m.price()
	return !priced || w.can(f)
}

// decide is a call's arrival.
func (w *world) decide(tx uint8, m mind) {
	p := &w.platform[tx]
	if f, priced := m.price(); priced {
		w.spend(f)
	}
	if m != mLie && (p.barred || p.reversed || w.idempotent && (p.decided || p.pending)) {
		return
	}
	switch m {
	case mLie:
		p.lied = true
		w.execute(p)
	case mApprove, mWrong:
		p.wrong = m == mWrong
		w.execute(p)
	case mDecline:
		p.decided = true
	case mPending:
		p.pending = true
	case minds:
	}
}

func (w *world) execute(p *paid) {
	p.decided, p.approved, p.pending = true, true, false
	p.executions++
}

// arrive has the platform take the call of a hub; its answer is on its way back from then on.
func (w *world) arrive(h, tx uint8, m mind) {
	w.decide(tx, m)
	a := &w.hubs[h].acts[tx]
	a.arrived = true
	a.answer, a.wrong = w.says(tx)
}

// stray has the platform take a call for whose answer nobody waits.
func (w *world) stray(tx uint8, m mind) {
	w.platform[tx].strays--
	w.decide(tx, m)
}

// abandon leaves a call to itself.
func (w *world) abandon(tx uint8, a act) {
	if a.kind == ledger.ActCall && !a.arrived {
		w.platform[tx].strays++
	}
}

// timeOut ends a call's wait.
func (w *world) timeOut(h, tx uint8) {
	a := &w.hubs[h].acts[tx]
	w.abandon(tx, *a)
	a.arrived, a.answer = true, ledger.SaidNothing
	w.record(h, tx)
}

func (w *world) says(tx uint8) (said ledger.Said, wrong bool) {
	p := &w.platform[tx]
	switch {
	case p.reversed:
		return ledger.SaidReversed, false
	case p.barred:
		return ledger.SaidDeclined, false
	case p.approved:
		return ledger.SaidApproved, p.wrong
	case p.decided:
		return ledger.SaidDeclined, false
	case p.pending:
		return ledger.SaidPending, false
	default:
		return ledger.SaidMissing, false
	}
}

func (w *world) ask(tx uint8, silent bool) (ledger.Said, bool) {
	if silent {
		return ledger.SaidNothing, false
	}
	return w.says(tx)
}

func (w *world) reverse(tx uint8, silent bool) (ledger.Said, bool) {
	p := &w.platform[tx]
	answer := ledger.SaidNotExecuted
	if p.approved {
		if !p.reversed {
			p.reversals++
		}
		p.reversed = true
		answer = ledger.SaidReversed
	} else {
		if p.decided && w.idempotent {
			answer = ledger.SaidDeclined // platforms differ in what they say of what they had declined
		}
		p.barred, p.pending = true, false
	}
	if silent {
		answer = ledger.SaidNothing
	}
	return answer, false
}

// mature ends the platform's work on what is pending.
func (w *world) mature(tx uint8, approve bool) {
	p := &w.platform[tx]
	if approve {
		w.execute(p)
		return
	}
	p.pending, p.decided = false, true
}

// stays is how often an id is executed and not undone.
func (p *paid) stays() int { return int(p.executions) - int(p.reversals) }
