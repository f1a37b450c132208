package queue

import (
	"errors"
	"math"

	"tideover/edge"
)

// What is left of a damaged file's tree is believed in one thing: where it is whole no entry is missing, and what it says was pruned was
// pruned, if the journal attests it. A pruned stretch has no entries that could be missed; without the tree nothing would tell whether some
// before it are lost.

// extent is a range of sequences, its end left out.
type extent struct{ from, to uint64 }

// remains is what a tree's walk has found.
type remains struct {
	torn     []extent // what hangs from pages that are not as they should be
	runs     []run    // what was pruned; nil where the tree does not tell, or the journal does not attest it
	attested uint64   // the entry that attests them
}

var errTorn = errors.New("a page is not as it should be")

// walkTree goes down the tree as far as it holds.
func (r *ruin) walkTree() (m remains) {
	all := extent{0, math.MaxUint64}
	root, newest := uint64(0), uint64(0)
	for id := range uint64(2) {
		p := r.bytes(int64(id)*pageSize, pageSize)
		if ok, _ := checkMeta(p, id); ok && order.Uint64(p[pageHeaderSize+48:]) >= newest {
			newest, root = order.Uint64(p[pageHeaderSize+48:]), order.Uint64(p[pageHeaderSize+16:])
		}
	}
	m.torn = []extent{all}
	p, err := r.page(root)
	if root == 0 || err != nil || order.Uint16(p[8:]) != flagLeaf {
		return m
	}
	buckets := make(map[string][]byte)
	_, err = new(walker).leaf(root, p, func(_ uint64, flags uint32, key, value []byte) error {
		if flags != leafBucket || len(value) < bucketSize {
			return errTorn
		}
		buckets[string(key)] = value
		return nil
	})
	journal, pruned := buckets[string(bucketJournal)], buckets[string(bucketPruned)]
	if err != nil || journal == nil || pruned == nil {
		return m
	}
	m.torn = r.walkBucket(journal, all, func(key, value []byte) error {
		raw, _, _, err := splitValue(value)
		if _, ok := plausible(raw); err != nil || !ok {
			return errTorn
		}
		return nil
	})
	var runs []run
	if torn := r.walkBucket(pruned, all, func(key, value []byte) error {
		one, err := parseRun(key, value)
		runs = append(runs, one)
		return err
	}); len(torn) == 0 && len(runs) > 0 {
		m.attest(r, runs)
	}
	return m
}

// attest takes the runs if an entry says that they are all.
func (m *remains) attest(r *ruin, runs []run) {
	sum := digestOf(runs)
	for i := range r.entries {
		f := &r.entries[i]
		if f.kind != edge.EventPruned || f.seq <= m.attested {
			continue
		}
		if _, e, err := r.event(f); err == nil && e.Pruned != nil && e.Pruned.Runs == sum {
			m.runs, m.attested = runs, f.seq
		}
	}
}

// hit says whether something is torn between two sequences.
func (m *remains) hit(from, to uint64) bool {
	for _, t := range m.torn {
		if t.from <= to && from < t.to {
			return true
		}
	}
	return false
}

// page reads a page with its overflow, if it bears its own number.
func (r *ruin) page(id uint64) ([]byte, error) {
	if id < 2 || id >= uint64(r.size)/pageSize {
		return nil, errTorn
	}
	p := r.bytes(int64(id)*pageSize, pageSize)
	more := uint64(order.Uint32(p[12:]))
	if order.Uint64(p) != id || more >= ruinRunMax || id+more >= uint64(r.size)/pageSize {
		return nil, errTorn
	}
	return r.bytes(int64(id)*pageSize, int(more+1)*pageSize), nil
}

// walkBucket calls each for every element of a bucket that hangs from whole pages, and returns where others hang.
func (r *ruin) walkBucket(header []byte, of extent, each func(key, value []byte) error) (torn []extent) {
	if root := order.Uint64(header); root != 0 {
		return r.walkPage(root, of, 0, each)
	}
	if len(header) < bucketSize+pageHeaderSize || r.walkLeaf(0, header[bucketSize:], of, each) != nil {
		return []extent{of}
	}
	return nil
}

func (r *ruin) walkLeaf(id uint64, p []byte, of extent, each func(key, value []byte) error) error {
	next := of.from
	_, err := new(walker).leaf(id, p, func(_ uint64, flags uint32, key, value []byte) error {
		if flags != 0 || len(key) != sequenceSize || seqOf(key) < next || seqOf(key) >= of.to {
			return errTorn
		}
		next = seqOf(key) + 1
		return each(key, value)
	})
	return err
}

func (r *ruin) walkPage(id uint64, of extent, depth int, each func(key, value []byte) error) (torn []extent) {
	p, err := r.page(id)
	if err != nil || depth > depthMax {
		return []extent{of}
	}
	if order.Uint16(p[8:]) == flagLeaf {
		if r.walkLeaf(id, p, of, each) != nil {
			return []extent{of}
		}
		return nil
	}
	count := int(order.Uint16(p[10:]))
	end := pageHeaderSize + count*elementSize
	if order.Uint16(p[8:]) != flagBranch || count == 0 || end+count*sequenceSize > len(p) {
		return []extent{of}
	}
	froms, children := make([]uint64, count+1), make([]uint64, count)
	for i := range count {
		at := pageHeaderSize + i*elementSize
		if at+int(order.Uint32(p[at:])) != end || order.Uint32(p[at+4:]) != sequenceSize {
			return []extent{of}
		}
		froms[i], children[i] = seqOf(p[end:]), order.Uint64(p[at+8:])
		end += sequenceSize
		if froms[i] >= of.to || i > 0 && froms[i] <= froms[i-1] {
			return []extent{of}
		}
	}
	froms[0], froms[count] = of.from, of.to
	for i, child := range children {
		torn = append(torn, r.walkPage(child, extent{froms[i], froms[i+1]}, depth+1, each)...)
	}
	return torn
}
