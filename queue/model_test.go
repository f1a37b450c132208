package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tideover"
	"tideover/edge"
)

// modelled is what the reference knows of one transaction.
type modelled struct {
	draft  edge.Draft
	state  tideover.State // as the till sees it
	sent   bool           // in this process, or maybe in an earlier one
	paper  paper          // what the journal says, with what waits for a commit
	disk   paper          // what is committed
	hubSeq uint64
	seq    uint64 // last one seen
}

// paper is what a restart finds of a transaction.
type paper struct {
	there     bool
	end       tideover.State // StateNone: no end
	delivered bool
	acked     bool
	untold    bool
	undo      bool // a cancel is asked, and not answered
	hubSeq    uint64
	draft     edge.Draft
	passed    bool            // an end of it was delivered or acknowledged: its payload may be gone, for good
	proof     tideover.Millis // marks what was told for the receipt of that end; 0: nothing was
}

// model drives a queue and a plain reference side by side.
type model struct {
	s       *shop
	all     map[string]*modelled
	hubSeq  uint64
	through uint64 // HaveThrough with what waits
	durable uint64 // HaveThrough on disk
	rules   Rules  // the newest; on disk before they are told
	months  time.Duration
}

func TestQueue_Model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{s: eager(t), all: make(map[string]*modelled)}
		defer m.s.close()
		rt.Repeat(map[string]func(*rapid.T){
			"":            m.compare,
			"accept":      m.accept,
			"move":        m.move,
			"end":         m.end,
			"adopt":       m.adopt,
			"end here":    m.endHere,
			"deliver":     m.deliver,
			"acknowledge": m.acknowledge,
			"bury":        m.bury,
			"cancel":      m.cancel,
			"bar":         m.bar,
			"work":        m.work,
			"rules":       m.setRules,
			"verify":      m.verify,
			"prune":       m.prune,
			"flush":       func(*rapid.T) { m.flush() },
			"reopen":      func(*rapid.T) { m.s.reopen(); m.committed(); m.restarted() },
			"crash":       func(*rapid.T) { m.s.crash(); m.restarted() },
		})
	})
}

var modelKeys = rapid.SampledFrom([]string{"a", "b", "c", "d"})

func modelDraft(key string, amount int64) edge.Draft {
	return draft("till", key, func(d *edge.Draft) { d.Request.Amount, d.CreatedAt = amount, 1000 })
}

// pick returns one of the known transactions, or skips.
func (m *model) pick(t *rapid.T) *modelled {
	k := m.all[modelKeys.Draw(t, "key")]
	if k == nil {
		t.Skip("unknown key")
	}
	return k
}

// committed says that everything on paper is on disk.
func (m *model) committed() {
	for _, k := range m.all {
		k.disk = k.paper
	}
	m.durable = m.through
}

// flush commits what waits. It follows each call that may have made a commit, or may not: a refusal is answered without waiting
// for the commit that takes the rest along.
func (m *model) flush() {
	m.s.flush()
	m.committed()
}

// restarted says that only the disk is left.
func (m *model) restarted() {
	for key, k := range m.all {
		if k.paper = k.disk; !k.paper.there {
			delete(m.all, key)
			continue
		}
		k.draft, k.sent, k.hubSeq = k.paper.draft, true, k.paper.hubSeq
		if k.state = k.paper.end; k.paper.undo {
			k.state = tideover.StateReversing
		} else if k.state == tideover.StateNone {
			k.state = tideover.StateInDoubt
		}
	}
	m.through = m.durable
	m.hubSeq = m.durable // the hub says what was lost again; here other ends take those positions
}

// setRules makes a new version where the rules differ from the newest, and only there.
func (m *model) setRules(t *rapid.T) {
	text := rapid.SampledFrom([]string{"a = 1\n", "a = 2\n"}).Draw(t, "rules")
	r, err := m.s.q.SetRules(m.s.t.Context(), text)
	same := m.rules.Text == text
	if err != nil || r.Text != text || same && r != m.rules || !same && r.Seq <= m.rules.Seq {
		t.Fatalf("%q over %+v: %+v, %v", text, m.rules, r, err)
	}
	m.rules = r
	m.flush()
}

// verify finds nothing in a journal that nobody has touched.
func (m *model) verify(t *rapid.T) {
	seq, hash := m.s.q.Head()
	a, err := m.s.q.Verify(m.s.t.Context(), Anchor{seq, hash})
	if err != nil || len(a.Flaws) > 0 || a.Head != (Anchor{seq, hash}) || a.Newer != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}

func (m *model) accept(t *rapid.T) {
	key, amount := modelKeys.Draw(t, "key"), int64(rapid.IntRange(1, 2).Draw(t, "amount"))
	d := modelDraft(key, amount)
	tx, err := m.s.q.Accept(m.s.t.Context(), d, yes)
	k := m.all[key]
	switch {
	case k == nil:
		if err != nil || tx.Replayed || tx.State != tideover.StateQueued {
			t.Fatalf("accept: %+v, %v", tx, err)
		}
		m.all[key] = &modelled{draft: d, state: tideover.StateQueued, paper: paper{there: true, draft: d}}
		m.committed()
	case k.draft.Hash != d.Hash && !k.barred():
		if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code != tideover.CodeKeyReused {
			t.Fatalf("another body: %+v, %v", tx, err)
		}
	case err != nil || !tx.Replayed || tx.State != k.state:
		t.Fatalf("replay: %+v, %v; want %s", tx, err, k.state)
	}
	m.flush() // what was adopted is on disk before its repetition is answered
}

func (m *model) move(t *rapid.T) {
	k := m.pick(t)
	cause := rapid.SampledFrom([]tideover.Cause{
		tideover.CauseSent, tideover.CauseDoubt, tideover.ToldPending, tideover.ToldReversing, tideover.ToldManual,
	}).Draw(t, "cause")
	next, want := tideover.Next(k.state, cause)
	if cause == tideover.CauseSent && k.paper.undo {
		want = edge.ErrCancelAsked
	}
	err := m.s.q.Move(k.draft.ID, cause, edge.Note{})
	if (err == nil) != (want == nil) {
		t.Fatalf("%s on %s: %v, want %v", cause, k.state, err, want)
	}
	if err == nil {
		k.state, k.sent = next, k.sent || cause != tideover.CauseDoubt // what the hub speaks of has been there
	}
}

var ends = rapid.SampledFrom([]tideover.State{
	tideover.StateApproved, tideover.StateDeclined, tideover.StateExpired, tideover.StateCancelled, tideover.StateReversed,
})

func (m *model) end(t *rapid.T) {
	m.tell(t, m.pick(t), nil)
}

// adopt tells an end with its request, of a key that may be unknown or have another body here.
func (m *model) adopt(t *rapid.T) {
	key := modelKeys.Draw(t, "key")
	d := modelDraft(key, int64(rapid.IntRange(1, 2).Draw(t, "amount")))
	k := m.all[key]
	if k == nil {
		k = &modelled{draft: d, state: tideover.StateInDoubt, sent: true}
	}
	m.tell(t, k, &d)
}

func (m *model) tell(t *rapid.T, k *modelled, adopt *edge.Draft) {
	result, repeat := ends.Draw(t, "result"), rapid.IntRange(0, 5).Draw(t, "repeat") == 0
	e := told(k.draft.ID, m.hubSeq+1, result)
	if repeat = repeat && k.hubSeq != 0; repeat {
		e.HubSeq = k.hubSeq
	}
	known := repeat && k.state.Final() // one that was taken back in memory is news
	e.Asked = rapid.Bool().Draw(t, "asked")
	var proof tideover.Millis
	if rapid.Bool().Draw(t, "signed") {
		proof = tideover.Millis(rapid.Int64Range(1<<20, 1<<40).Draw(t, "proof"))
		e.Receipt = &tideover.Proof{CreatedAt: proof}
	}
	e.Adopt, e.Corrected = adopt, k.state.Final() && k.state != result
	cause, _ := tideover.Told(result)
	err := m.s.q.End(e)
	if adopt != nil && (!k.paper.there || k.draft.Hash != adopt.Hash && !k.barred()) {
		k.draft, k.sent, k.paper.there, k.paper.draft, k.paper.passed = *adopt, true, true, *adopt, false
		if next, refused := tideover.Next(k.state, tideover.CauseDoubt); refused == nil {
			k.state = next
		}
		m.all[k.draft.Key] = k
	}
	next, refused := tideover.Next(k.state, cause)
	switch {
	case known:
		if err != nil {
			t.Fatalf("told again: %v", err)
		}
		m.flush() // Durable is called again, after a commit that takes along what waits
	case k.paper.undo && result == tideover.StateApproved && !e.Asked, k.state != result && neverExecuted(k.state) && neverExecuted(result):
		if err != nil {
			t.Fatalf("an approval from before the cancel, or an end that means the same: %v", err)
		}
		m.flush()                            // Durable may be called for it
		m.hubSeq = max(m.hubSeq, e.HubSeq-1) // it is not taken: the next end has its position
	case (err == nil) != (refused == nil):
		t.Fatalf("%s on %s: %v, want %v", cause, k.state, err, refused)
	case err == nil:
		m.hubSeq = max(m.hubSeq, e.HubSeq)
		if k.paper.end != result || k.state != result || e.Corrected {
			k.paper.delivered, k.paper.acked = false, false
		}
		k.state, k.hubSeq, k.paper.hubSeq, k.paper.end, k.paper.undo, k.paper.proof = next, e.HubSeq, e.HubSeq, result, false, proof
		k.sent = true        // what the hub speaks of has been there
		m.through = m.hubSeq // positions are told in order here
	}
}

func (m *model) endHere(t *rapid.T) {
	k := m.pick(t)
	err := m.s.q.EndHere(m.s.t.Context(), k.draft.ID, tideover.CauseExpired, tideover.Outcome{})
	if may := k.state == tideover.StateQueued && !k.sent; may != (err == nil) {
		t.Fatalf("end here on %s, sent %v: %v", k.state, k.sent, err)
	}
	if err == nil {
		k.state, k.paper.end, k.paper.untold, k.paper.proof = tideover.StateExpired, tideover.StateExpired, true, 0
	}
	m.flush()
}

func (m *model) deliver(t *rapid.T) {
	k := m.pick(t)
	m.s.q.Delivered(k.draft.ID, m.s.get(k.draft.ID).Seq)
	if k.state.Final() {
		k.paper.delivered, k.paper.passed = true, true
	}
}

func (m *model) acknowledge(t *rapid.T) {
	k := m.pick(t)
	tx := m.s.get(k.draft.ID)
	acked, err := m.s.q.Acknowledge(m.s.t.Context(), k.draft.ID, tx.Seq)
	if (err == nil) != k.state.Final() || err == nil && !acked.Acknowledged {
		t.Fatalf("acknowledge on %s: %+v, %v", k.state, acked, err)
	}
	if err == nil {
		k.paper.acked, k.paper.passed = true, true
	}
	m.flush()
}

func (m *model) bury(t *rapid.T) {
	k := m.pick(t)
	m.s.q.TombstoneTold(k.draft.ID)
	k.paper.untold = false
}

// prune lets months pass: what is over is gone then, and nothing else is.
func (m *model) prune(t *rapid.T) {
	m.flush()
	m.months += 2
	m.s.passed(m.months * month)
	m.committed()
	for key, k := range m.all {
		over := k.state.Final() && k.paper.acked && !k.paper.untold && k.hubSeq <= m.durable
		_, err := m.s.q.Get(k.draft.ID)
		if gone := errors.Is(err, ErrUnknown); gone != over {
			t.Fatalf("gone %v, over %v: %+v", gone, over, k)
		}
		if over {
			delete(m.all, key)
		}
	}
	m.verify(t)
}

func neverExecuted(s tideover.State) bool {
	return s == tideover.StateDeclined || s == tideover.StateExpired || s == tideover.StateCancelled
}

// barred says that nothing but a cancel is known of the key.
func (k *modelled) barred() bool { return k.draft.Request.Kind == tideover.KindNone }

var pasts = rapid.SampledFrom([]func() edge.Past{unheard, complete})

func (m *model) cancel(t *rapid.T) {
	k, past := m.pick(t), pasts.Draw(t, "past")
	_, err := m.s.q.Cancel(m.s.t.Context(), k.draft.ID, past, edge.By{}, 0)
	switch {
	case k.paper.undo, k.state.Final() && k.state != tideover.StateApproved:
		if err != nil {
			t.Fatalf("cancel on %s: %v", k.state, err)
		}
	case k.state.Final() && k.paper.acked:
		if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code != tideover.CodeAlreadyAcknowledged {
			t.Fatalf("cancel of what was acknowledged: %v", err)
		}
	case err != nil:
		t.Fatalf("cancel on %s: %v", k.state, err)
	case past().Caught && k.state == tideover.StateQueued && !k.sent:
		k.state, k.paper.end, k.paper.untold, k.paper.proof = tideover.StateCancelled, tideover.StateCancelled, true, 0
	default:
		k.state, k.paper.end, k.paper.undo = tideover.StateReversing, tideover.StateNone, true
		k.paper.delivered, k.paper.acked = false, false
	}
	m.flush()
}

func (m *model) bar(t *rapid.T) {
	key, past := modelKeys.Draw(t, "key"), pasts.Draw(t, "past")
	if m.all[key] != nil {
		t.Skip("known")
	}
	d := edge.Draft{ID: tideover.MakeID(testStore, "till", key), TerminalUID: "till", Terminal: "till", Key: key, CreatedAt: 1000}
	tx, err := m.s.q.Bar(m.s.t.Context(), d, past, edge.By{}, 0)
	k := &modelled{draft: d, state: tideover.StateReversing, sent: true, paper: paper{there: true, draft: d, undo: true}}
	if past().Caught {
		k.state, k.paper.undo = tideover.StateCancelled, false
		k.paper.end, k.paper.untold = tideover.StateCancelled, true
	}
	if m.all[key] = k; err != nil || tx.State != k.state {
		t.Fatalf("bar: %+v, %v; want %s", tx, err, k.state)
	}
	m.flush()
}

// has says whether a request has the payload that it should: none is missing before its end was delivered.
func (k *modelled) has(r tideover.Request) bool {
	return string(r.Payload) == string(k.draft.Request.Payload) && r.Instrument == k.draft.Request.Instrument || k.paper.passed && len(r.Payload) == 0 && r.Instrument == ""
}

// work takes everything that there is to do, and gives it back.
func (m *model) work(t *rapid.T) {
	want := 0
	for _, k := range m.all {
		if !k.state.Final() {
			want++
		}
	}
	seen := make(map[tideover.ID]bool)
	for {
		r, _, err := m.s.q.handOut()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		p, err := m.s.q.parcel(r)
		if err != nil {
			t.Fatal(err)
		}
		k := m.all[p.Key]
		if k == nil || seen[p.ID] || p.Hash != k.draft.Hash || p.Request.Amount != k.draft.Request.Amount ||
			!k.has(p.Request) || p.NeverSent() == k.sent || p.State != k.state {
			t.Fatalf("parcel %+v; want %+v", p, k)
		}
		seen[p.ID] = true
	}
	if len(seen) != want {
		t.Fatalf("%d were handed out, want %d", len(seen), want)
	}
	for id := range seen {
		m.s.q.Back(id, time.Duration(rapid.IntRange(0, 1).Draw(t, "rest"))*time.Hour)
	}
	m.s.q.Wake()
}

// compare looks at everything that can be seen.
func (m *model) compare(t *rapid.T) {
	if have := m.s.q.Rules(); have != m.rules {
		t.Fatalf("the rules are %+v, want %+v", have, m.rules)
	}
	open, untold := 0, 0
	var sum int64
	for key, k := range m.all {
		tx, err := m.s.q.Get(k.draft.ID)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		acked, delivered := k.paper.acked && k.state.Final(), k.paper.delivered && k.state.Final()
		if tx.State != k.state || tx.Key != key || tx.Amount != k.draft.Request.Amount || tx.Acknowledged != acked ||
			tx.Delivered != delivered || tx.Seq < k.seq || (tx.Outcome != nil) != (tx.EndSeq != 0) || tx.Final() != (tx.EndSeq != 0) {
			t.Fatalf("got %+v; want %+v", tx, k)
		}
		k.seq = tx.Seq
		if p, err := m.s.q.Parcel(k.draft.ID); err != nil || !k.has(p.Request) {
			t.Fatalf("its request is %+v, %v; want that of %+v", p.Request, err, k)
		}
		_, proof, current, err := m.s.q.Receipt(k.draft.ID)
		if err != nil || current != (tx.Final() && k.paper.proof != 0) || current && proof.CreatedAt != k.paper.proof {
			t.Fatalf("the receipt is of %+v, current %v, %v; want %+v", proof, current, err, k)
		}
		if !tx.Final() && !k.barred() {
			open++
			sum += tx.Amount
		}
		if k.paper.untold {
			untold++
		}
	}
	st := m.s.q.Stats()
	if st.Pending != open || st.Amounts["CNY"] != sum || st.Untold != untold || st.HaveThrough != m.durable {
		t.Fatalf("stats %+v; want %d open, %d minor units, %d untold, through %d", st, open, sum, untold, m.durable)
	}
	page, _, err := m.s.q.List(Filter{Unacknowledged: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range page {
		if k := m.all[tx.Key]; k == nil || k.paper.acked || !k.state.Final() {
			t.Fatalf("listed as unacknowledged: %s", fmt.Sprint(tx))
		}
	}
}
