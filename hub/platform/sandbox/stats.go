package sandbox

import "tideover"

// Count is what was asked for under one id, and what was done.
type Count struct {
	Calls               int `json:"calls"`                 // POST /payments
	RepeatedAfterAnswer int `json:"repeated_after_answer"` // of them after the platform had answered anything of the id
	Queries             int `json:"queries"`
	Reverses            int `json:"reverses"`   // POST /payments/ID/reverse
	Executions          int `json:"executions"` // how often money was moved
	Reversals           int `json:"reversals"`  // how many of those were undone
}

// Net is how often money stays moved: 0 or 1, unless something is wrong.
func (c Count) Net() int { return c.Executions - c.Reversals }

// Stats are the sums over all ids.
type Stats struct {
	IDs int `json:"ids"`
	Count
	Executed      int                   `json:"executed"`       // ids that were executed at least once
	ExecutedTwice int                   `json:"executed_twice"` // ids that were executed more than once
	Charged       int                   `json:"charged"`        // ids whose money stays moved
	Declined      int                   `json:"declined"`
	Pending       int                   `json:"pending"` // without a decision yet, late ones included
	Net           map[string]int64      `json:"net"`     // minor units that stay moved, by currency; refunds count against
	ByID          map[tideover.ID]Count `json:"by_id,omitempty"`
}

// Stats counts everything up to now.
func (p *Platform) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{IDs: len(p.payments), Pending: p.late, Net: make(map[string]int64), ByID: make(map[tideover.ID]Count, len(p.payments))}
	for id, x := range p.payments {
		p.mature(x)
		c := x.count
		s.ByID[id] = c
		s.Calls += c.Calls
		s.RepeatedAfterAnswer += c.RepeatedAfterAnswer
		s.Queries += c.Queries
		s.Reverses += c.Reverses
		s.Executions += c.Executions
		s.Reversals += c.Reversals
		switch {
		case c.Executions > 1:
			s.Executed++
			s.ExecutedTwice++
		case c.Executions == 1:
			s.Executed++
		case x.decided:
			s.Declined++
		case !x.pending.IsZero():
			s.Pending++
		}
		if c.Net() != 0 {
			s.Charged++
			sign := int64(1)
			if x.kind == tideover.KindRefund {
				sign = -1
			}
			s.Net[x.currency] += sign * int64(c.Net()) * x.amount
		}
	}
	return s
}

// Count returns what was done under one id.
func (p *Platform) Count(id tideover.ID) Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.payments[id]; x != nil {
		p.mature(x)
		return x.count
	}
	return Count{}
}
