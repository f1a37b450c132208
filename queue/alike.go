package queue

import (
	"container/list"
	"hash/maphash"
	"iter"
	"time"

	"tideover"
	"tideover/edge"
)

// likeness is what two presses of one payment under two keys have in common: the amount, and the instrument or the order; where a till
// sends neither, the terminal.
type likeness struct {
	kind       tideover.Kind
	amount     int64
	currency   string
	instrument [32]byte
	order      string
	terminal   string
}

// likenesses returns those of a record, at most two; none for a bar and for a reversal, which undoes once however often it is pressed.
func likenesses(r *edge.Record) (all [twinsMax]likeness, n int) {
	if r.Barred() {
		return all, 0
	}
	return likeness{
		kind: r.Kind, amount: r.Amount, currency: r.Currency, instrument: r.InstrumentHash, order: r.Order, terminal: r.TerminalUID,
	}.each()
}

// each takes apart what names all that is known.
func (l likeness) each() (all [twinsMax]likeness, n int) {
	if l.kind == tideover.KindReversal {
		return all, 0
	}
	money := likeness{kind: l.kind, amount: l.amount, currency: l.currency}
	if l.instrument != [32]byte{} {
		all[n] = money
		all[n].instrument = l.instrument
		n++
	}
	if l.order != "" {
		all[n] = money
		all[n].order = l.order
		n++
	}
	if n == 0 {
		all[n] = money
		all[n].terminal = l.terminal
		n++
	}
	return all, n
}

// twinsMax is how many likenesses a record has at most.
const twinsMax = 2

// twins is a record's place among those that are like it: in a ring, so that a hundred thousand equal ones come and go at no cost.
type twins struct {
	ring       uint64 // hash of the likeness; 0: in none
	prev, next *record
}

// album knows what is like a new press: everything that is open, or charged and not acknowledged, and what was closed a short while ago. Of
// those that name neither instrument nor order it is what was accepted a short while ago alone: equal coffees of months do not gather in one
// ring, where each press of another one would walk past all of them. The queue's mutex guards it.
type album struct {
	seed   maphash.Seed
	rings  map[uint64]*record // one of each; the others follow
	keep   time.Duration      // for how long what is closed is known
	recent map[tideover.ID]*record
	closed list.List // of recent, in the order in which they were closed, or accepted where they are blind
}

// closing is when a record was closed.
type closing struct {
	r  *record
	at time.Time
}

func newAlbum() album {
	return album{seed: maphash.MakeSeed(), rings: make(map[uint64]*record), recent: make(map[tideover.ID]*record)}
}

// blind says that a record has nothing but its terminal to be known by.
func blind(r *edge.Record) bool { return r.InstrumentHash == [32]byte{} && r.Order == "" }

// uncharged says that no money moved, or that it went back, and that this is so for good: no other press is a second one of it.
func uncharged(r *edge.Record) bool { return r.Final() && r.State != tideover.StateApproved }

// add makes a record known; one that is known already stays as it is. [album.age] follows once the record is in memory.
func (a *album) add(r *record) {
	if r.pictured || uncharged(&r.Record) {
		return
	}
	all, n := likenesses(&r.Record)
	r.pictured = n > 0
	for i := range n {
		ring := a.ring(all[i])
		if r.in(ring) {
			continue // two likenesses of one hash
		}
		first := a.rings[ring]
		if first != nil {
			first.twin(ring).prev = r
		}
		r.twins[i] = twins{ring: ring, next: first}
		a.rings[ring] = r
	}
}

func (a *album) ring(l likeness) uint64 { return maphash.Comparable(a.seed, l) | 1 }

// remove forgets a record.
func (a *album) remove(r *record) {
	if !r.pictured {
		return
	}
	r.pictured = false
	for i := range r.twins {
		t := &r.twins[i]
		switch {
		case t.ring == 0:
			continue
		case t.prev != nil:
			t.prev.twin(t.ring).next = t.next
		case t.next != nil:
			a.rings[t.ring] = t.next
		default:
			delete(a.rings, t.ring)
		}
		if t.next != nil {
			t.next.twin(t.ring).prev = t.prev
		}
		*t = twins{}
	}
}

// twin returns a record's place in a ring that it is in.
func (r *record) twin(ring uint64) *twins {
	for i := range r.twins {
		if r.twins[i].ring == ring {
			return &r.twins[i]
		}
	}
	panic("queue: a record is not in its ring")
}

// like iterates over what is like a press, each once; but for what has its id.
func (a *album) like(l likeness, id tideover.ID) iter.Seq[*record] {
	all, n := l.each()
	var rings [twinsMax]uint64
	for i := range n {
		rings[i] = a.ring(all[i])
	}
	return func(yield func(*record) bool) {
		for i := range n {
			for other := a.rings[rings[i]]; other != nil; other = other.twin(rings[i]).next {
				if i > 0 && other.in(rings[0]) {
					continue // said already
				}
				if other.ID != id && !yield(other) {
					return
				}
			}
		}
	}
}

// in says whether a record is in a ring.
func (r *record) in(ring uint64) bool { return r.twins[0].ring == ring || r.twins[1].ring == ring }

// age lets a blind record be forgotten in time, whatever becomes of it. Not before it is on disk: what is recent is found by its id.
func (a *album) age(r *record) {
	if blind(&r.Record) {
		a.close(r, time.Now())
	}
}

// close keeps a record that memory lets go of otherwise for a while longer, and no more than that of one that is blind.
func (a *album) close(r *record, now time.Time) {
	if _, known := a.recent[r.ID]; known || !r.pictured {
		return
	}
	if a.keep <= 0 {
		a.remove(r)
		return
	}
	a.recent[r.ID] = r
	a.closed.PushBack(closing{r, now})
}

// recall makes a record known that was closed at a time in the past, older than all that are known.
func (a *album) recall(r *record, at time.Time) {
	if a.add(r); r.pictured {
		a.recent[r.ID] = r
		a.closed.PushFront(closing{r, at})
	}
}

// fade forgets what was closed too long ago; live is what is in memory anyhow.
func (a *album) fade(now time.Time, live map[tideover.ID]*record) {
	for e := a.closed.Front(); e != nil && now.Sub(e.Value.(closing).at) >= a.keep; e = a.closed.Front() {
		r := a.closed.Remove(e).(closing).r
		delete(a.recent, r.ID)
		if live[r.ID] != r || blind(&r.Record) {
			a.remove(r)
		}
	}
}

// Remember lets decisions see closed transactions for a time after their acceptance, in this process and from the journal: see
// [View.Alike]. age says how long ago a record was accepted, below 0 where a clock was wrong; it is pure. Errors: ErrStopped, or ErrDamaged.
func (q *Queue) Remember(closed time.Duration, age func(edge.Record) time.Duration) error {
	q.mu.Lock()
	q.album.keep = closed
	q.mu.Unlock()
	for before, more := ^uint64(0), true; more && closed > 0; {
		ids, _, end, err := q.acceptedBefore(before)
		if err != nil {
			return err
		}
		if more, err = q.recallYounger(ids, closed, age); err != nil {
			return err
		}
		before, more = end, more && end != 0
	}
	return nil
}

// recallYounger makes those known that are not, and returns false at the first that is too old.
func (q *Queue) recallYounger(ids []tideover.ID, closed time.Duration, age func(edge.Record) time.Duration) (more bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, id := range ids {
		r, err := q.find(id)
		if err != nil || r == nil {
			return false, err
		}
		old := age(r.Record)
		if old >= closed {
			return false, nil
		}
		if !r.pictured && (r.closed() || blind(&r.Record)) {
			q.album.recall(r, now.Add(-max(0, old)))
		}
	}
	return true, nil
}
