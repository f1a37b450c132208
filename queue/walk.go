package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"os"
)

// The walker reads a bbolt file with plain reads and believes nothing in it. bbolt itself maps the file and follows what it finds
// there: on a bad file it panics, raises SIGBUS, or shows less than was written. The walker demands the exact layout that bbolt 1.5
// writes (version 2 of the format): every page of the tree in bounds, named by itself, reached once, with its elements back to back
// in order of their keys. Both meta pages must be whole: their 80 bytes lie in one sector, so that no power cut tears them, and
// falling back to the older one could lose a commit that was answered.

const (
	pageSize        = 4096 // of every queue; bbolt takes it from the file
	pageHeaderSize  = 16   // id 8, flags 2, count 2, overflow 4
	elementSize     = 16   // branch: pos 4, ksize 4, child 8; leaf: flags 4, pos 4, ksize 4, vsize 4
	metaSize        = 64   // magic 4, version 4, page size 4, flags 4, root 8, sequence 8, freelist 8, high water 8, txid 8, checksum 8
	bucketSize      = 16   // root 8, sequence 8; an inline bucket's page follows
	depthMax        = 24   // of branches: no file that fits a disk is deeper
	boltMagic       = 0xED0CDAED
	boltVersion     = 2
	noFreelist      = ^uint64(0)
	flagBranch      = 0x01
	flagLeaf        = 0x02
	flagMeta        = 0x04
	leafBucket      = 0x01
	metaChecksumPos = 56
)

var (
	errForeignBolt = errors.New("a bbolt file, but not a queue")
	order          = binary.NativeEndian // bbolt writes its structures as they are in memory
)

// walker holds what one walk has seen.
type walker struct {
	file  io.ReaderAt
	from  []byte   // keys below it are not visited, and pages that have none but those are not read; nil: all are
	pages uint64   // high water: every page of the tree is below it
	seen  []uint64 // a bit for each page
	metas [2][]byte
	root  uint64
}

// used returns how many bytes the pages have that the walk has come to.
func (w *walker) used() int64 {
	n := 2 // meta pages
	for _, word := range w.seen {
		n += bits.OnesCount64(word)
	}
	return int64(n) * pageSize
}

// damage is something that no queue's file has.
type damage struct {
	page uint64
	what string
}

func (d *damage) Error() string { return fmt.Sprintf("page %d: %s", d.page, d.what) }

// newWalker checks the size and both meta pages. Errors: ErrEmpty, ErrTruncated, ErrForeign, errForeignBolt, *damage, or the disk's.
func newWalker(f *os.File) (*walker, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if !info.Mode().IsRegular() {
		return nil, ErrForeign
	}
	if size == 0 {
		return nil, ErrEmpty
	}
	w := &walker{file: f}
	var found [2]uint64
	if size < 2*pageSize {
		return nil, judgeStub(f, size)
	}
	valid, magic := 0, 0
	for i := range w.metas {
		w.metas[i] = make([]byte, pageSize)
		if _, err := f.ReadAt(w.metas[i], int64(i)*pageSize); err != nil {
			return nil, err
		}
		ok, named := checkMeta(w.metas[i], uint64(i))
		if ok {
			valid++
		}
		if named {
			magic++
		}
		found[i] = order.Uint64(w.metas[i][pageHeaderSize+48:])
	}
	switch {
	case magic == 0 && bytes.Equal(w.metas[0], w.metas[1]) && isZero(w.metas[0]):
		return nil, &damage{0, "zeros where the file's head should be"}
	case magic == 0:
		return nil, ErrForeign
	case valid < 2 && !isOurs(w.metas[0]) && !isOurs(w.metas[1]):
		return nil, errForeignBolt
	case valid < 2:
		return nil, &damage{uint64(w.firstBad()), "a meta page does not match its checksum"}
	case found[0]+1 != found[1] && found[1]+1 != found[0]:
		return nil, &damage{0, "the meta pages are not of two commits in a row"}
	}
	newer := 0
	if found[1] > found[0] {
		newer = 1
	}
	m := w.metas[newer][pageHeaderSize:]
	w.root, w.pages = order.Uint64(m[16:]), order.Uint64(m[40:])
	if w.pages > uint64(size)/pageSize {
		return nil, fmt.Errorf("%w: %d pages are in use, and it ends in page %d", ErrTruncated, w.pages, size/pageSize)
	}
	w.seen = make([]uint64, w.pages/64+1)
	return w, nil
}

// judgeStub tells a cut-off queue from another small file.
func judgeStub(f *os.File, size int64) error {
	b := make([]byte, min(size, pageSize))
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	start := make([]byte, pageHeaderSize+8)
	order.PutUint16(start[8:], flagMeta)
	order.PutUint32(start[16:], boltMagic)
	order.PutUint32(start[20:], boltVersion)
	n := min(len(b), len(start))
	if !bytes.Equal(b[:n], start[:n]) {
		return ErrForeign
	}
	return fmt.Errorf("%w: it is only %d bytes long", ErrTruncated, size)
}

// checkMeta says whether a meta page is exactly as bbolt writes a queue's, and whether it bears bbolt's magic at all.
func checkMeta(p []byte, id uint64) (ok, magic bool) {
	m := p[pageHeaderSize:]
	sum := fnv.New64a()
	sum.Write(m[:metaChecksumPos])
	magic = order.Uint32(m) == boltMagic
	ok = magic && order.Uint32(m[4:]) == boltVersion && order.Uint64(m[metaChecksumPos:]) == sum.Sum64() && isOurs(p) &&
		order.Uint32(m[12:]) == 0 && order.Uint64(m[48:])%2 == id &&
		order.Uint64(p) == id && order.Uint16(p[8:]) == flagMeta && isZero(p[10:pageHeaderSize]) && isZero(p[pageHeaderSize+metaSize:])
	return ok, magic
}

// isOurs tells a queue's meta page from that of other programs with bbolt: ours have 4 KiB pages and never a freelist on disk.
func isOurs(p []byte) bool {
	m := p[pageHeaderSize:]
	return order.Uint32(m[8:]) == pageSize && order.Uint64(m[32:]) == noFreelist
}

func (w *walker) firstBad() int {
	if ok, _ := checkMeta(w.metas[0], 0); !ok {
		return 0
	}
	return 1
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// bucket is a bucket's header as it stands in the root.
type bucket struct {
	page     uint64 // where its header stands, for messages
	root     uint64
	sequence uint64
	inline   []byte
}

// buckets returns the file's buckets by name.
func (w *walker) buckets() (map[string]bucket, error) {
	all := make(map[string]bucket)
	err := w.tree(w.root, func(page uint64, flags uint32, key, value []byte) error {
		if flags != leafBucket || len(value) < bucketSize {
			return &damage{page, "the root holds something that is no bucket"}
		}
		b := bucket{page: page, root: order.Uint64(value), sequence: order.Uint64(value[8:])}
		if b.root == 0 {
			b.inline = bytes.Clone(value[bucketSize:])
		} else if len(value) != bucketSize {
			return &damage{page, "a bucket's header is too long"}
		}
		all[string(key)] = b
		return nil
	})
	return all, err
}

// entries calls visit for each key of a bucket, in order, from w.from on. The slices are valid during the call.
func (w *walker) entries(b bucket, visit func(key, value []byte) error) error {
	each := func(page uint64, flags uint32, key, value []byte) error {
		if flags != 0 {
			return &damage{page, "an entry has flags"}
		}
		if bytes.Compare(key, w.from) < 0 {
			return nil
		}
		return visit(key, value)
	}
	if b.root != 0 {
		return w.tree(b.root, each)
	}
	if len(b.inline) < pageHeaderSize || order.Uint64(b.inline) != 0 || order.Uint16(b.inline[8:]) != flagLeaf ||
		order.Uint32(b.inline[12:]) != 0 {
		return &damage{b.page, "a small bucket's page is not one"}
	}
	end, err := w.leaf(b.page, b.inline, each)
	if err == nil && end != len(b.inline) {
		err = &damage{b.page, "a small bucket does not fill its place"}
	}
	return err
}

type visitor func(page uint64, flags uint32, key, value []byte) error

// tree walks the pages under root.
func (w *walker) tree(root uint64, visit visitor) error {
	return w.page(root, 0, nil, nil, visit)
}

// page walks one page whose keys must lie in [low, high); nil is no bound.
func (w *walker) page(id uint64, depth int, low, high []byte, visit visitor) error {
	p, err := w.read(id)
	if err != nil {
		return err
	}
	if depth > depthMax {
		return &damage{id, "the tree is too deep"}
	}
	var end int
	var last []byte
	bounded := func(key []byte) error {
		if len(key) == 0 || (last != nil && bytes.Compare(last, key) >= 0) ||
			(low != nil && bytes.Compare(key, low) < 0) || (high != nil && bytes.Compare(key, high) >= 0) {
			return &damage{id, "its keys are out of order"}
		}
		last = key
		return nil
	}
	switch order.Uint16(p[8:]) {
	case flagLeaf:
		end, err = w.leaf(id, p, func(page uint64, flags uint32, key, value []byte) error {
			if err := bounded(key); err != nil {
				return err
			}
			return visit(page, flags, key, value)
		})
	case flagBranch:
		end, err = w.branch(id, p, depth, high, bounded, visit)
	default:
		return &damage{id, "it is of no kind that belongs here"}
	}
	if err != nil {
		return err
	}
	if pages := (end + pageSize - 1) / pageSize; pages*pageSize != len(p) {
		return &damage{id, "it claims more pages than it fills"}
	}
	return nil
}

// read returns a page with its overflow, after checking that it is in bounds, names itself, and was not reached before.
func (w *walker) read(id uint64) ([]byte, error) {
	if id < 2 || id >= w.pages {
		return nil, &damage{id, "it is out of bounds"}
	}
	var header [pageHeaderSize]byte
	if _, err := w.file.ReadAt(header[:], int64(id)*pageSize); err != nil {
		return nil, &damage{id, err.Error()}
	}
	overflow := uint64(order.Uint32(header[12:]))
	if order.Uint64(header[:]) != id {
		return nil, &damage{id, "it bears another number"}
	}
	if overflow >= w.pages-id {
		return nil, &damage{id, "it runs out of bounds"}
	}
	for n := id; n <= id+overflow; n++ {
		if w.seen[n/64]&(1<<(n%64)) != 0 {
			return nil, &damage{n, "it is used twice"}
		}
		w.seen[n/64] |= 1 << (n % 64)
	}
	p := make([]byte, (overflow+1)*pageSize)
	if _, err := w.file.ReadAt(p, int64(id)*pageSize); err != nil {
		return nil, &damage{id, err.Error()}
	}
	return p, nil
}

// leaf visits a leaf page's elements and returns where their data ends.
func (w *walker) leaf(id uint64, p []byte, visit visitor) (end int, err error) {
	count := int(order.Uint16(p[10:]))
	end = pageHeaderSize + count*elementSize
	if end > len(p) {
		return 0, &damage{id, "it has too many elements"}
	}
	for i := range count {
		at := pageHeaderSize + i*elementSize
		flags, pos := order.Uint32(p[at:]), uint64(order.Uint32(p[at+4:]))
		ksize, vsize := uint64(order.Uint32(p[at+8:])), uint64(order.Uint32(p[at+12:]))
		if uint64(at)+pos != uint64(end) || uint64(end)+ksize+vsize > uint64(len(p)) {
			return 0, &damage{id, "an element is not where it should be"}
		}
		key := p[end : end+int(ksize)]
		end += int(ksize)
		value := p[end : end+int(vsize)]
		end += int(vsize)
		if err := visit(id, flags, key, value); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// branch walks a branch page's children and returns where its data ends.
func (w *walker) branch(id uint64, p []byte, depth int, high []byte, bounded func([]byte) error, visit visitor) (end int, err error) {
	count := int(order.Uint16(p[10:]))
	end = pageHeaderSize + count*elementSize
	if count == 0 || end > len(p) {
		return 0, &damage{id, "a branch has too few or too many children"}
	}
	keys, children := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := pageHeaderSize + i*elementSize
		pos, ksize := uint64(order.Uint32(p[at:])), uint64(order.Uint32(p[at+4:]))
		if uint64(at)+pos != uint64(end) || uint64(end)+ksize > uint64(len(p)) {
			return 0, &damage{id, "an element is not where it should be"}
		}
		keys[i], children[i] = p[end:end+int(ksize)], order.Uint64(p[at+8:])
		end += int(ksize)
		if err := bounded(keys[i]); err != nil {
			return 0, err
		}
	}
	for i, child := range children {
		to := high
		if i+1 < count {
			to = keys[i+1]
		}
		if to != nil && bytes.Compare(to, w.from) <= 0 {
			continue
		}
		if err := w.page(child, depth+1, keys[i], to, visit); err != nil {
			return 0, err
		}
	}
	return end, nil
}
