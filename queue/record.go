package queue

import (
	"tideover"
	"tideover/edge"
)

// record is a transaction in memory: what its events add up to, and where it stands in this process.
type record struct {
	edge.Record

	body uint64 // journal sequence of the event that holds its request
	last uint64 // journal sequence of its newest event
	// sealed is the entry of which it has a sealed part on disk; 0 where it has none. Of what was read from disk it is the entry that had one.
	sealed uint64

	passed bool // an end was delivered, acknowledged or cleared since its request came: the sealed part may go

	unwritten int               // events of it that no commit holds yet
	fresh     *tideover.Request // its request, while the event that holds it is unwritten
	ending    *edge.Event       // its newest end, while that is unwritten; see [Queue.Receipt]
	slot      slot
	twins     [twinsMax]twins
	pictured  bool // in the album
}

// apply makes an event part of the record.
func (r *record) apply(seq uint64, e *edge.Event, fresh bool) error {
	if err := r.Apply(seq, e, fresh); err != nil {
		return err
	}
	r.passed = r.passed || passes(e.Type)
	if e.Accepted != nil {
		r.passed = false
		if r.body, r.sealed = seq, 0; e.Digest != [hashSize]byte{} {
			r.sealed = seq
		}
	}
	r.last = seq
	return nil
}

// closed says that nothing more is expected of it: its events are on disk, and memory need not hold it.
func (r *record) closed() bool { return r.Closed() && r.unwritten == 0 && r.slot.place == placeNone }
