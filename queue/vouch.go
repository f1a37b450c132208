package queue

import (
	"math"
	"sort"

	"tideover/edge"
)

// Vouch is what vouches for an entry that was found in a damaged file: that it is as it was written, to the letter.
type Vouch uint8

// What vouches, from nothing to all.
const (
	VouchNothing   Vouch = iota // it can be read, and what stood before it is gone: a byte of it may be wrong
	VouchRequest                // the till's request in it has the keyed hash that it had
	VouchNeighbour              // its hash follows from that of the entry before it; what leads there from the beginning is gone
	VouchChain                  // its hash follows from the journal's beginning
)

// vouched is what is known of a found entry in the chain.
type vouched struct {
	vouch  Vouch
	before int32 // the entry that it follows
	on     bool  // it is of the journal, and not of a commit that never ended
}

// What an entry follows, where that is no found entry.
const (
	followsNothing   int32 = -1 // it is not known
	followsBeginning int32 = -2 // the journal's beginning
)

const (
	followNear  = 16      // entries right before one that are tried first: it nearly always is one of these
	followFar   = 1 << 14 // entries that are tried where it was not: what a commit that never ended has left may stand between
	followTries = 1 << 23 // hashes, for all that was not near
)

// vouchAll finds what each entry follows, and which entries are the journal. It returns the head whose journal this is; found is false where
// no head is, or none has to do with it.
func (r *ruin) vouchAll() (h head, known bool) {
	r.remains = r.walkTree()
	for _, one := range r.remains.runs {
		r.entries = append(r.entries, found{
			seq: one.last, link: one.hash, first: one.first, vouched: vouched{vouch: VouchChain, before: followsNothing},
		})
	}
	all := r.entries
	sort.SliceStable(all, func(i, j int) bool { return all[i].seq < all[j].seq })
	starts := make([][hashSize]byte, len(r.heads))
	for i := range r.heads {
		starts[i] = r.heads[i].genesis()
	}
	start, far := -1, 0
	for i := range all {
		f := &all[i]
		if f.first != 0 {
			continue
		}
		raw := r.bytes(f.at, int(f.size))
		f.before, f.vouch = followsNothing, VouchNothing
		for n, genesis := range starts {
			if chain(genesis, f.seq, raw) == f.link {
				f.before, f.vouch, start = followsBeginning, VouchChain, n
			}
		}
		if f.before == followsNothing {
			r.follow(i, raw, &far)
		}
	}
	r.choose()
	if start >= 0 {
		return r.heads[start], true
	}
	for _, one := range r.heads {
		if one.Genesis != r.heads[0].Genesis {
			return h, false
		}
		h, known = one, true
	}
	return h, known
}

// follow finds the entry that the i-th one follows: of several with the right hash the one that is vouched for best.
func (r *ruin) follow(i int, raw []byte, far *int) {
	f, tried := &r.entries[i], 0
	var last [hashSize]byte
	for j := i - 1; j >= 0; j-- {
		p := &r.entries[j]
		if p.seq >= f.seq || p.link == last {
			continue
		}
		last = p.link
		if tried++; tried > followNear {
			if *far++; tried > followFar || *far > followTries {
				return
			}
		}
		if chain(p.link, f.seq, raw) != f.link {
			continue
		}
		best := j
		for k := j; k >= 0 && r.entries[k].seq == p.seq; k-- {
			if r.entries[k].link != p.link {
				continue
			}
			if one, other := &r.entries[k], &r.entries[best]; one.vouch > other.vouch || one.first > other.first {
				best = k
			}
		}
		f.before, f.vouch = int32(best), VouchNeighbour
		if r.entries[best].vouch == VouchChain {
			f.vouch = VouchChain
		}
		return
	}
}

// choose finds the journal among what was found: from the newest entry back to what it follows, and again from the newest one before that.
// What lies between two that follow each other was never part of it, or is a damaged copy.
func (r *ruin) choose() {
	floor := uint64(math.MaxUint64)
	for i := len(r.entries) - 1; i >= 0; i-- {
		if r.entries[i].seq >= floor {
			continue
		}
		best := i
		for k := i; k >= 0 && r.entries[k].seq == r.entries[i].seq; k-- {
			if one, other := &r.entries[k], &r.entries[best]; one.vouch > other.vouch || one.first > other.first {
				best = k
			}
		}
		for n := int32(best); n >= 0; n = r.entries[n].before {
			f := &r.entries[n]
			f.on = true
			floor = f.seq
			if f.first != 0 {
				floor = f.first
			}
			if f.before == followsBeginning {
				floor = 0 // nothing is before it
			}
			if f.before >= 0 && r.leaps(f.before, n) {
				f.before = followsNothing
			}
		}
	}
}

// leaps says whether an entry follows one that nothing vouches for over others that something does: then it is the sequence of that one that is
// damaged, and not its hash.
func (r *ruin) leaps(from, to int32) bool {
	if r.entries[from].vouch > VouchNothing {
		return false
	}
	for i := from + 1; i < to; i++ {
		if e := &r.entries[i]; e.vouch >= VouchNeighbour && e.seq > r.entries[from].seq && e.seq < r.entries[to].seq {
			return true
		}
	}
	return false
}

// last returns the highest sequence that something vouches for, or at which a bucket says that its journal ends.
func (r *ruin) last() (seq uint64) {
	for _, f := range r.entries {
		if f.vouch > VouchNothing {
			seq = max(seq, f.seq)
		}
	}
	if r.ends < seq+sequenceFar {
		seq = max(seq, r.ends)
	}
	return seq
}

// event reads a found entry's event again.
func (r *ruin) event(f *found) (raw []byte, e edge.Event, err error) {
	raw = r.bytes(f.at, int(f.size))
	e, err = decodeEvent(raw)
	return raw, e, err
}
