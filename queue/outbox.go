package queue

// aheadMax bounds how many outbox positions are remembered beyond a gap. What is beyond it is forgotten: the hub says it again at the
// next hello, which closes the gap.
const aheadMax = 1 << 16

// outbox knows which positions of the hub's outbox are on this edge's disk. Its zero value has none.
type outbox struct {
	have    uint64              // every position up to it is
	ahead   map[uint64]struct{} // positions beyond a gap that are, too
	missing map[uint64]struct{} // positions that were told and could not be taken: no catching up goes past them
}

// add tells that a position is on disk.
func (o *outbox) add(position uint64) {
	if position <= o.have || len(o.ahead) >= aheadMax && position != o.have+1 {
		return
	}
	if o.ahead == nil {
		o.ahead = make(map[uint64]struct{})
	}
	o.ahead[position] = struct{}{}
	o.close()
}

// through tells that every position up to one was told, and is on disk.
func (o *outbox) through(position uint64) {
	if position <= o.have {
		return
	}
	o.have = position
	for p := range o.ahead {
		if p <= position {
			delete(o.ahead, p)
		}
	}
	o.close()
}

func (o *outbox) close() {
	for {
		if _, ok := o.ahead[o.have+1]; !ok {
			return
		}
		delete(o.ahead, o.have+1)
		o.have++
	}
}

// miss tells that a position could not be taken.
func (o *outbox) miss(position uint64) {
	if position == 0 {
		return
	}
	if o.missing == nil {
		o.missing = make(map[uint64]struct{})
	}
	if len(o.missing) < aheadMax {
		o.missing[position] = struct{}{}
	}
}

// took tells that a position that could not be taken has been taken now; catching up is written after it.
func (o *outbox) took(position uint64) { delete(o.missing, position) }

// limit returns how far a catching up through position may count.
func (o *outbox) limit(position uint64) uint64 {
	for p := range o.missing {
		if p <= position {
			position = p - 1
		}
	}
	return position
}
