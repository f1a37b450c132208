package queue

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"tideover"
	"tideover/edge"
)

// place is where a record stands in the order of work.
type place uint8

const (
	placeNone  place = iota // nothing to do: it has an end, or is held
	placeReady              // to be handed out, oldest first
	placeRest               // given back, resting
	placeLane               // waits for its original
	placeOut                // handed out
)

// slot is a record's part in the order of work.
type slot struct {
	place place
	due   time.Time     // placeRest
	at    int           // its index in the heap of its place
	wakes uint64        // placeOut: Queue.wakes when it was handed out
	back  chan struct{} // placeOut: closed when something else is to be done with it now
}

// line is a heap of records: ready ones by acceptance, resting ones by the end of their rest.
type line struct {
	records []*record
	less    func(a, b *record) bool
}

func (l *line) Len() int           { return len(l.records) }
func (l *line) Less(i, j int) bool { return l.less(l.records[i], l.records[j]) }
func (l *line) Swap(i, j int) {
	l.records[i], l.records[j] = l.records[j], l.records[i]
	l.records[i].slot.at, l.records[j].slot.at = i, j
}

func (l *line) Push(x any) {
	r := x.(*record)
	r.slot.at = len(l.records)
	l.records = append(l.records, r)
}

func (l *line) Pop() any {
	last := len(l.records) - 1
	r := l.records[last]
	l.records[last] = nil
	l.records = l.records[:last]
	return r
}

// lineup is the order of work. The queue's mutex guards it.
type lineup struct {
	ready, rest line
	lanes       map[tideover.ID]map[*record]struct{} // by the original that they wait for
	kick        chan struct{}                        // holds one token while somebody should look again
}

func newLineup() lineup {
	return lineup{
		ready: line{less: func(a, b *record) bool { return a.First < b.First }},
		rest:  line{less: func(a, b *record) bool { return a.slot.due.Before(b.slot.due) }},
		lanes: make(map[tideover.ID]map[*record]struct{}),
		kick:  make(chan struct{}, 1),
	}
}

// take removes a record from its place.
func (l *lineup) take(r *record) {
	switch r.slot.place {
	case placeReady:
		heap.Remove(&l.ready, r.slot.at)
	case placeRest:
		heap.Remove(&l.rest, r.slot.at)
	case placeLane:
		delete(l.lanes[r.Original], r)
		if len(l.lanes[r.Original]) == 0 {
			delete(l.lanes, r.Original)
		}
	case placeNone, placeOut:
	}
	r.slot.place = placeNone
}

func (l *lineup) put(r *record, p place) {
	r.slot.place = p
	switch p {
	case placeReady:
		heap.Push(&l.ready, r)
		l.poke()
	case placeRest:
		heap.Push(&l.rest, r)
		l.poke()
	case placeLane:
		if l.lanes[r.Original] == nil {
			l.lanes[r.Original] = make(map[*record]struct{})
		}
		l.lanes[r.Original][r] = struct{}{}
	case placeNone, placeOut:
	}
}

func (l *lineup) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// schedule puts a record where its state wants it, unless it is handed out. Callers hold mu.
func (q *Queue) schedule(r *record) {
	if r.slot.place == placeOut {
		return
	}
	q.work.take(r)
	switch {
	case r.Final() || r.State == tideover.StateHeld:
	case q.behind(r):
		q.work.put(r, placeLane)
	default:
		q.work.put(r, placeReady)
	}
}

// behind says whether a record has to wait for its original. What is not open at this edge is not waited for.
func (q *Queue) behind(r *record) bool {
	original := q.live[r.Original]
	return original != nil && r.Behind(&original.Record)
}

// recall lets a record be worked on anew, since an event changes what is to be done with it: one that is handed out is asked back, and
// one that rests, or waits for its original, is looked at again. Callers hold mu.
func (q *Queue) recall(r *record, e *edge.Event) {
	switch e.Type {
	case edge.EventUndo, edge.EventHeld, edge.EventReleased, edge.EventSettle, edge.EventEndedHere, edge.EventDropped:
	case edge.EventRetry:
		if r.slot.place == placeOut {
			r.slot.wakes-- // the call under way is what was wanted; after it there is no rest
			return
		}
	default:
		return
	}
	switch {
	case r.slot.place == placeRest || r.slot.place == placeLane:
		q.schedule(r)
	case r.slot.place == placeOut && r.slot.back != nil:
		close(r.slot.back)
		r.slot.back = nil
	}
}

// changed tells everybody who waits that a record is not what it was. Callers hold mu.
func (q *Queue) changed(r *record) {
	if w, ok := q.watch[r.ID]; ok {
		close(w)
		delete(q.watch, r.ID)
	}
	q.tell(r)
	waiting := q.work.lanes[r.ID]
	for other := range waiting {
		if !q.behind(other) {
			q.schedule(other)
		}
	}
	idle := r.Final() || r.State == tideover.StateHeld
	if idle || r.slot.place == placeNone {
		q.schedule(r)
	}
}

// Parcel is a transaction to be worked on.
type Parcel struct {
	edge.Record
	// Request is zero until it is opened, see [Queue.Unpack]; without payload and instrument where these were erased, since it has had an
	// end, and where it is Unreadable.
	Request  tideover.Request
	Original *edge.Record    // what the journal has in memory of the transaction that it undoes; nil where it has nothing
	Recalled <-chan struct{} // closed when something else is to be done with it now: it is to be given back

	body  uint64            // journal sequence of the event that holds its request
	fresh *tideover.Request // while that is unwritten
}

// Next returns the next transaction that needs work: open, not held, not waiting in its lane for an original, not resting, and not
// handed out to anybody. The oldest comes first. A sale may come before its acceptance is on disk, see [Queue.Early]. It blocks until there is one, ctx ends, or the queue stops. The caller gives each one
// back with [Queue.Back], and opens its request with [Queue.Unpack] if he wants it: that reads the disk.
func (q *Queue) Next(ctx context.Context) (Parcel, error) {
	for {
		if ctx.Err() != nil {
			return Parcel{}, ctx.Err()
		}
		r, wait, err := q.handOut()
		if err != nil {
			return Parcel{}, err
		}
		if r != nil {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.closedParcel(r), nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-q.work.kick:
		case <-timer.C:
		case <-q.over:
			timer.Stop()
			return Parcel{}, ErrStopped
		case <-ctx.Done():
			timer.Stop()
			return Parcel{}, ctx.Err()
		}
		timer.Stop()
	}
}

// restIdle bounds how long Next sleeps while nothing rests.
const restIdle = time.Hour

// handOut takes the next record, or says how long to wait for one.
func (q *Queue) handOut() (*record, time.Duration, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped != nil {
		return nil, 0, q.stopped
	}
	now := time.Now()
	for q.work.rest.Len() > 0 && !q.work.rest.records[0].slot.due.After(now) {
		q.schedule(q.work.rest.records[0])
	}
	if q.work.ready.Len() > 0 {
		r := q.work.ready.records[0]
		q.work.take(r)
		r.slot.place, r.slot.wakes, r.slot.back = placeOut, q.wakes, make(chan struct{})
		if q.work.ready.Len() > 0 {
			q.work.poke()
		}
		return r, 0, nil
	}
	if q.work.rest.Len() > 0 {
		return nil, q.work.rest.records[0].slot.due.Sub(now), nil
	}
	return nil, restIdle, nil
}

// closedParcel is a record whose request is not opened. Callers hold mu.
func (q *Queue) closedParcel(r *record) Parcel {
	p := Parcel{Record: r.Record, Recalled: r.slot.back}
	if original := q.live[r.Original]; original != nil && r.Kind.Undoes() {
		of := original.Record
		p.Original = &of
	}
	p.body, p.fresh = r.body, r.fresh
	p.Unreadable = r.fresh == nil && q.lostWith(r.body)
	return p
}

// parcel is a record with its request opened.
func (q *Queue) parcel(r *record) (Parcel, error) {
	q.mu.Lock()
	p := q.closedParcel(r)
	q.mu.Unlock()
	return p, q.Unpack(&p)
}

// Unpack opens the request of a parcel. Errors: ErrStopped, ErrDamaged.
func (q *Queue) Unpack(p *Parcel) error {
	if p.fresh != nil {
		p.Request = *p.fresh
		return nil
	}
	if p.Barred() {
		return nil
	}
	e, sealed, err := q.read(p.body)
	if errors.Is(err, ErrDamaged) && q.lacks(p.ID) {
		err = ErrUnknown // it was pruned a moment ago
	}
	if err != nil {
		return err
	}
	if e.Accepted == nil || e.ID != p.ID {
		return fmt.Errorf("entry %d is not the request of %s: %w", p.body, p.ID, ErrDamaged)
	}
	p.Request = e.Accepted.Request
	if len(sealed) == 0 && e.Digest != [hashSize]byte{} {
		if q.needs(p) {
			return fmt.Errorf("entry %d: %w: %w", p.body, errMissing, ErrDamaged)
		}
		return nil
	}
	switch err := q.ring.Load().open(p.body, p.ID, sealed, &p.Request); {
	case errors.Is(err, ErrKeyDestroyed):
		p.Unreadable = true
	case err != nil:
		return fmt.Errorf("entry %d: the sealed part cannot be opened (%w): %w", p.body, err, ErrDamaged)
	}
	return nil
}

// lacks says whether the journal has a transaction no more.
func (q *Queue) lacks(id tideover.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.index[id] == 0 && q.live[id] == nil
}

// needs says whether the sealed part of a parcel must still be there: an end may have been delivered since it was made.
func (q *Queue) needs(p *Parcel) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.live[p.ID]
	return r != nil && r.body == p.body && !r.Final() && !r.Undo && r.HubSeq == 0
}

// Parcel returns a transaction as [Queue.Next] would, without handing it out. Errors: ErrUnknown, ErrStopped, ErrDamaged.
func (q *Queue) Parcel(id tideover.ID) (Parcel, error) {
	q.mu.Lock()
	r, err := q.find(id)
	q.mu.Unlock()
	if err == nil && r == nil {
		err = ErrUnknown
	}
	if err != nil {
		return Parcel{}, err
	}
	return q.parcel(r)
}

// Undoing returns the refunds and reversals that have no end, the oldest first. Errors: ErrStopped, ErrDamaged.
func (q *Queue) Undoing() ([]Parcel, error) {
	q.mu.Lock()
	var open []*record
	for _, r := range q.live {
		if r.Kind.Undoes() && r.Counts() {
			open = append(open, r)
		}
	}
	q.mu.Unlock()
	sortByFirst(open)
	parcels := make([]Parcel, 0, len(open))
	for _, r := range open {
		p, err := q.parcel(r)
		if err != nil {
			return nil, err
		}
		parcels = append(parcels, p)
	}
	return parcels, nil
}

// Back gives a transaction back that Next handed out. If it still needs work, it is handed out again after the rest, or at
// [Queue.Wake]; at once, if Wake was called since it was handed out.
func (q *Queue) Back(id tideover.ID, rest time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.live[id]
	if r == nil {
		r = q.launched[id]
	}
	if r == nil || r.slot.place != placeOut {
		return
	}
	recalled := r.slot.back == nil
	r.slot.place, r.slot.back = placeNone, nil
	switch {
	case recalled || r.Final() || r.State == tideover.StateHeld || q.behind(r) || rest <= 0 || q.wakes != r.slot.wakes:
		q.schedule(r)
	default:
		r.slot.due = time.Now().Add(rest)
		q.work.put(r, placeRest)
	}
	q.release(r)
}

// Wake ends all rests: a link is back.
func (q *Queue) Wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakes++
	for q.work.rest.Len() > 0 {
		q.schedule(q.work.rest.records[0])
	}
}

// tombstonesMax is how many tombstones are handed out at once.
const tombstonesMax = 256

// Tombstones returns transactions to which this edge itself has given an end that the hub does not know yet, the oldest first, at
// most 256 of them.
func (q *Queue) Tombstones() []Parcel {
	q.mu.Lock()
	var untold []*record
	for id := range q.untold {
		if r := q.live[id]; r != nil {
			untold = append(untold, r)
		}
	}
	q.mu.Unlock()
	sortByFirst(untold)
	var parcels []Parcel
	for _, r := range untold[:min(len(untold), tombstonesMax)] {
		p, err := q.parcel(r)
		if err != nil {
			if !errors.Is(err, ErrStopped) {
				q.log.Error("a transaction's request cannot be read", "txn", r.ID, "err", err)
			}
			break
		}
		parcels = append(parcels, p)
	}
	return parcels
}
