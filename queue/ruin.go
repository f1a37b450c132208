package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"

	"tideover/edge"
)

// The ruin is a file of which nothing is believed: neither its metas nor its tree nor where a page says that it belongs. Every page is looked
// at for what may stand on a leaf, live or long freed, and every byte for the beginning of an entry. What is found proves itself by
// the chain, or does not; see vouch.go.

const (
	ruinWindow   = 8 << 20         // is read at once
	ruinRunMax   = 512             // pages of one leaf: the longest value, a till's report, has half a megabyte
	ruinEventMax = 256 << 10       // bytes of one event
	ruinPartMin  = 12 + 16         // bytes of a sealed part: nonce and tag
	ruinPartMax  = 72 << 10        // bytes of one that is looked for without its length: what a till may send, and some
	ruinBytesMax = 16 << 20        // that are tried for such
	ruinKeyMax   = 64              // bytes of a key: a sequence, or a name
	ruinHeadsMax = 8               // different heads that are taken into account
	ruinPagesMax = 1 << 22         // 16 GiB: longer than any journal
	ruinSeenMax  = 1 << 16         // places that are remembered, so as not to look twice
	sequenceSize = 8               // bytes of a sequence, as a key
	sequenceFar  = uint64(1 << 32) // no journal goes so far in one step: such a number is damage
)

// found is an entry as it was found at one place, or at several that are the same.
type found struct {
	seq   uint64
	link  [hashSize]byte
	at    int64 // of its event in the file
	size  int32 // of its event
	kind  edge.EventType
	first uint64 // of a pruned stretch, which ends with seq and link; 0: it is an entry
	vouched
}

// foundPart is a sealed part as it was found at one place.
type foundPart struct {
	sum  [hashSize]byte
	at   int64
	size int
}

type ruin struct {
	file   io.ReaderAt
	size   int64
	window []byte
	from   int64 // of the window
	bad    map[int64]struct{}

	entries []found
	index   map[foundKey]struct{}
	parts   map[uint64][]foundPart
	heads   []head
	newer   uint32 // the schema of a head that this version does not know
	ends    uint64 // the highest sequence at which a journal's bucket says that it ends
	seen    map[int64]struct{}
	remains remains
}

// foundKey tells entries apart: the same sequence and the same hash may be of an event and of a damaged copy of it.
type foundKey struct {
	seq uint64
	sum [hashSize]byte // of event and hash
}

func newRuin(f io.ReaderAt, size int64) *ruin {
	return &ruin{
		file: f, size: min(size, ruinPagesMax*pageSize), bad: make(map[int64]struct{}), index: make(map[foundKey]struct{}), parts: make(map[uint64][]foundPart),
		seen: make(map[int64]struct{}),
	}
}

// look goes through the whole file.
func (r *ruin) look() {
	for at := int64(0); at < r.size; at += pageSize {
		r.leaf(at)
		r.carve(at)
	}
	clear(r.index)
	clear(r.seen)
}

// read returns n bytes from a place on, or as many as there are. What the disk does not give is zeros. They are valid until the next call.
func (r *ruin) read(at int64, n int) []byte {
	end := min(at+int64(n), r.size)
	if at < 0 || at >= end {
		return nil
	}
	if at < r.from || end > r.from+int64(len(r.window)) {
		r.load(at-at%pageSize, max(ruinWindow, n+pageSize))
	}
	return r.window[at-r.from : end-r.from]
}

// bytes returns a copy of n bytes from a place; what cannot be read, this time, is zeros.
func (r *ruin) bytes(at int64, n int) []byte {
	b := make([]byte, n)
	if at >= r.from && at+int64(n) <= r.from+int64(len(r.window)) {
		copy(b, r.window[at-r.from:])
		return b
	}
	if _, err := r.file.ReadAt(b, at); err != nil {
		clear(b)
	}
	return b
}

func (r *ruin) load(at int64, n int) {
	n = int(min(int64(n), r.size-at))
	if cap(r.window) < n {
		r.window = make([]byte, n)
	}
	r.window, r.from = r.window[:n], at
	if _, err := r.file.ReadAt(r.window, at); err == nil || errors.Is(err, io.EOF) {
		return
	}
	for i := 0; i < n; i += pageSize {
		p := r.window[i:min(i+pageSize, n)]
		if _, err := r.file.ReadAt(p, at+int64(i)); err != nil && !errors.Is(err, io.EOF) {
			clear(p)
			r.bad[at+int64(i)] = struct{}{}
		}
	}
}

// leaf takes what stands on a page that says that it is a leaf, whatever number it bears.
func (r *ruin) leaf(at int64) {
	p := r.read(at, pageSize)
	if len(p) < pageHeaderSize || order.Uint16(p[8:]) != flagLeaf {
		return
	}
	pages := int64(order.Uint32(p[12:])) + 1
	r.elements(r.read(at, int(min(pages, ruinRunMax)*pageSize)), at, "")
}

// elements takes the elements of a leaf, each by itself. bucket is the name of the small one whose page this is; "" is a page of its own.
func (r *ruin) elements(p []byte, base int64, bucket string) {
	count := int(order.Uint16(p[10:]))
	data := pageHeaderSize + count*elementSize
	for i := range count {
		at := pageHeaderSize + i*elementSize
		if at+elementSize > len(p) {
			return
		}
		flags, pos := order.Uint32(p[at:]), uint64(order.Uint32(p[at+4:]))
		ksize, vsize := uint64(order.Uint32(p[at+8:])), uint64(order.Uint32(p[at+12:]))
		start := uint64(at) + pos
		if start < uint64(data) || ksize > ruinKeyMax || start+ksize+vsize > uint64(len(p)) {
			continue
		}
		value := start + ksize
		r.element(flags, p[start:value], p[value:value+vsize], base+int64(value), bucket)
	}
}

func (r *ruin) element(flags uint32, key, value []byte, at int64, bucket string) {
	switch {
	case flags == leafBucket && bucket == "" && len(value) >= bucketSize:
		name := string(key)
		if name == string(bucketJournal) {
			r.ends = max(r.ends, order.Uint64(value[8:]))
		}
		if order.Uint64(value) == 0 && len(value) >= bucketSize+pageHeaderSize {
			r.elements(value[bucketSize:], at+bucketSize, name)
		}
	case flags != 0:
	case string(key) == string(keyHead):
		r.head(value)
	case len(key) == sequenceSize:
		if !r.entry(seqOf(key), value, at) && len(value) >= ruinPartMin {
			r.part(seqOf(key), value, at)
		}
	}
}

// head takes a head that matches its checksum.
func (r *ruin) head(value []byte) {
	h, err := decodeHead(value, schemaNow)
	switch {
	case err != nil:
	case h.schema > schemaNow:
		r.newer = h.schema
	case len(r.heads) < ruinHeadsMax:
		for i, known := range r.heads {
			if known.Genesis == h.Genesis && known.Store == h.Store && known.Check == h.Check {
				r.heads[i].schema = max(known.schema, h.schema)
				return
			}
		}
		r.heads = append(r.heads, h)
	}
}

// entry takes a value that is an entry's: an event exactly as this program writes it, and its hash. What stands behind is a sealed part in
// schema 1.
func (r *ruin) entry(seq uint64, value []byte, at int64) bool {
	raw, link, rest, err := splitValue(value)
	if err != nil {
		return false
	}
	used := int64(len(value) - len(raw) - hashSize - len(rest))
	e, ok := plausible(raw)
	if !ok || seq == 0 {
		return false
	}
	if len(rest) > 0 && digest(rest) == e.Digest {
		r.part(seq, rest, at+int64(len(value)-len(rest)))
	}
	r.add(found{seq: seq, link: link, at: at + used, size: int32(len(raw)), kind: e.Type}, raw)
	return true
}

func (r *ruin) add(f found, raw []byte) {
	if len(r.seen) >= ruinSeenMax {
		clear(r.seen)
	}
	if _, again := r.seen[f.at]; again {
		return
	}
	r.seen[f.at] = struct{}{}
	key := foundKey{f.seq, sha256.Sum256(append(f.link[:], raw...))}
	if _, known := r.index[key]; known {
		return
	}
	r.index[key] = struct{}{}
	r.entries = append(r.entries, f)
}

// part takes what may be an entry's sealed part; the entry's digest will tell.
func (r *ruin) part(seq uint64, value []byte, at int64) {
	p := foundPart{sum: digest(value), at: at, size: len(value)}
	for _, known := range r.parts[seq] {
		if known.sum == p.sum {
			return
		}
	}
	r.parts[seq] = append(r.parts[seq], p)
}

// plausible reads bytes as an event, and says whether they are one to the letter.
func plausible(raw []byte) (e edge.Event, ok bool) {
	if len(raw) > ruinEventMax {
		return e, false
	}
	e, err := decodeEvent(raw)
	if err != nil || (ofTransaction(e.Type) && e.ID.IsZero()) || !bytes.Equal(encodeEvent(&e), raw) {
		return e, false
	}
	return e, true
}

// carve looks at each byte of a page for the length of an event, with a sequence before it and the event and its hash behind: so an entry is
// found where the list of the page's elements is gone.
func (r *ruin) carve(at int64) {
	const before = sequenceSize
	from := max(at-before, 0)
	b := r.read(from, pageSize+before+ruinEventMax)
	for i := int(at - from); i < min(int(at-from)+pageSize, len(b)); i++ {
		if i < before {
			continue
		}
		n, used := binary.Uvarint(b[i:min(i+binary.MaxVarintLen32, len(b))])
		if used <= 0 || n < 3 || n > ruinEventMax || i+used+int(n)+hashSize > len(b) {
			continue
		}
		// An event is a map of which the first key is its type.
		raw := b[i+used : i+used+int(n)]
		if raw[0] < 0xa1 || raw[0] > 0xb7 || raw[1] != 1 {
			continue
		}
		if _, known := r.seen[from+int64(i+used)]; !known {
			r.entry(seqOf(b[i-before:i]), b[i:i+used+int(n)+hashSize], from+int64(i))
		}
	}
}

// carveParts looks at each byte of the file for the sequence of an entry whose sealed part was not found, and behind it for bytes that match
// its digest: for short ones first, since each length is tried.
func (r *ruin) carveParts(missing map[uint64][hashSize]byte) {
	for _, longest := range []int{pageSize, ruinPartMax} {
		tries := 0
		for at := int64(0); at < r.size && len(missing) > 0 && tries < ruinBytesMax/longest; at += pageSize {
			tries += r.carvePart(at, longest, missing)
		}
	}
}

// carvePart does so for one page, and returns how often it has tried.
func (r *ruin) carvePart(at int64, longest int, missing map[uint64][hashSize]byte) (tries int) {
	b := append([]byte(nil), r.read(at, pageSize+sequenceSize)...)
	for i := 0; i < pageSize && i+sequenceSize < len(b); i++ {
		seq := seqOf(b[i:])
		want, misses := missing[seq]
		if !misses || i >= 2 && named(b[i-2:i]) {
			continue
		}
		start := at + int64(i+sequenceSize)
		behind := r.read(start, longest)
		if raw, _, _, err := splitValue(behind); err == nil {
			if _, event := plausible(raw); event {
				continue // it is the entry's own key
			}
		}
		tries++
		if n := matching(behind, want); n > 0 {
			r.parts[seq] = append(r.parts[seq], foundPart{sum: want, at: start, size: n})
			delete(missing, seq)
		}
	}
	return tries
}

// named says whether a sequence that two bytes precede is within an event: the one before it of its transaction, or the rules that judged it.
func named(b []byte) bool { return b[1] == 0x1b && (b[0] == 4 || b[0] == 14) }

// matching says how many of the bytes have a sum; 0: none.
func matching(b []byte, sum [hashSize]byte) int {
	h := sha256.New()
	var got [hashSize]byte
	for i := range b {
		h.Write(b[i : i+1])
		if i+1 >= ruinPartMin && [hashSize]byte(h.Sum(got[:0])) == sum {
			return i + 1
		}
	}
	return 0
}
