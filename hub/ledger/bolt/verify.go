package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file, version 2 (go.etcd.io/bbolt, internal/common). All numbers are in the byte order of the machine that
// wrote the file; every machine that this runs on is little-endian, and a file of the other kind has another magic.
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	headerSize     = 16
	elementSize    = 16
	metaSize       = 64
	flagBranch     = 0x01
	flagLeaf       = 0x02
	flagFreelist   = 0x10
	flagBucket     = 0x01
	noFreelist     = 1<<64 - 1
	pageSizeMin    = 1 << 10
	pageSizeMax    = 64 << 10
	walkDepthMax   = 64
	bucketDepthMax = 4
)

// walker reads a file's pages with plain reads, before anything maps it.
type walker struct {
	file     io.ReaderAt
	size     int64
	pageSize int64
	high     uint64 // pages in use
	root     uint64
	freelist uint64
	seen     map[uint64]bool
}

func damaged(format string, args ...any) error {
	return &Error{Err: ErrDamaged, More: fmt.Sprintf(format, args...)}
}

// verify reads the newest valid meta page and, below it, every page once: bounds, kinds, order of keys. The error is an [Error]
// without its path.
func verify(file io.ReaderAt, size int64) error {
	if size == 0 {
		return &Error{Err: ErrEmpty}
	}
	w := &walker{file: file, size: size, seen: make(map[uint64]bool)}
	if err := w.meta(); err != nil {
		return err
	}
	if int64(w.high) > size/w.pageSize {
		return &Error{Err: ErrTruncated, More: fmt.Sprintf("%d bytes, needs %d", size, int64(w.high)*w.pageSize)}
	}
	if size > verifyMax {
		return nil
	}
	if w.freelist != noFreelist {
		// Only a file that another program has written has one.
		if b, err := w.page(w.freelist); err != nil || binary.LittleEndian.Uint16(b[8:]) != flagFreelist {
			return damaged("the list of free pages")
		}
	}
	return w.tree(w.root, nil, nil, 0, 0)
}

// meta finds the newest of the two meta pages that is whole. The second one's place depends on the page size, which the first
// one tells; where the first is broken, every usual size is tried.
func (w *walker) meta() error {
	var newest uint64
	found, foreign := false, true
	try := func(at int64) (pageSize int64) {
		b := make([]byte, headerSize+metaSize)
		if _, err := w.file.ReadAt(b, at); err != nil {
			return 0
		}
		m := b[headerSize:]
		if binary.LittleEndian.Uint32(m) == boltMagic {
			foreign = false
		}
		h := fnv.New64a()
		h.Write(m[:metaSize-8])
		size := int64(binary.LittleEndian.Uint32(m[8:]))
		if binary.LittleEndian.Uint32(m) != boltMagic || binary.LittleEndian.Uint32(m[4:]) != boltVersion ||
			h.Sum64() != binary.LittleEndian.Uint64(m[56:]) || size < pageSizeMin || size > pageSizeMax || size&(size-1) != 0 {
			return 0
		}
		if txid := binary.LittleEndian.Uint64(m[48:]); !found || txid > newest {
			found, newest = true, txid
			w.pageSize, w.root, w.high = size, binary.LittleEndian.Uint64(m[16:]), binary.LittleEndian.Uint64(m[40:])
			w.freelist = binary.LittleEndian.Uint64(m[32:])
		}
		return size
	}
	if size := try(0); size != 0 {
		try(size)
	} else {
		for size := int64(pageSizeMin); size <= pageSizeMax && !found; size *= 2 {
			try(size)
		}
	}
	switch {
	case found:
		return nil
	case foreign && w.size >= pageSizeMin:
		return &Error{Err: ErrForeign, More: "no bbolt file"}
	case foreign:
		return &Error{Err: ErrTruncated, More: fmt.Sprintf("%d bytes", w.size)}
	}
	return damaged("both meta pages")
}

// page reads a page with its overflow and checks its header.
func (w *walker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= w.high {
		return nil, damaged("page %d is out of bounds", id)
	}
	if w.seen[id] {
		return nil, damaged("page %d is used twice", id)
	}
	head := make([]byte, headerSize)
	if _, err := w.file.ReadAt(head, int64(id)*w.pageSize); err != nil {
		return nil, err
	}
	overflow := uint64(binary.LittleEndian.Uint32(head[12:]))
	if binary.LittleEndian.Uint64(head) != id || overflow >= w.high-id {
		return nil, damaged("page %d: header", id)
	}
	for i := id; i <= id+overflow; i++ {
		w.seen[i] = true
	}
	b := make([]byte, int64(overflow+1)*w.pageSize)
	_, err := w.file.ReadAt(b, int64(id)*w.pageSize)
	return b, err
}

// tree walks the tree below a page. Its keys are from low on and below high; nil is no bound.
func (w *walker) tree(id uint64, low, high []byte, depth, bucket int) error {
	if depth > walkDepthMax || bucket > bucketDepthMax {
		return damaged("page %d: nested too deeply", id)
	}
	b, err := w.page(id)
	if err != nil {
		return err
	}
	return w.elements(b, fmt.Sprintf("page %d", id), low, high, depth, bucket)
}

// elements checks the elements of a page, or of a bucket that is kept inside its parent's page.
func (w *walker) elements(b []byte, name string, low, high []byte, depth, bucket int) error {
	flags, count := binary.LittleEndian.Uint16(b[8:]), int(binary.LittleEndian.Uint16(b[10:]))
	if flags != flagBranch && flags != flagLeaf || flags == flagBranch && count == 0 || headerSize+count*elementSize > len(b) {
		return damaged("%s: kind or count", name)
	}
	keys, values, children := make([][]byte, count), make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := headerSize + i*elementSize
		e := b[at:]
		var pos, ksize, vsize uint64
		if flags == flagBranch {
			pos, ksize = uint64(binary.LittleEndian.Uint32(e)), uint64(binary.LittleEndian.Uint32(e[4:]))
			children[i] = binary.LittleEndian.Uint64(e[8:])
		} else {
			pos, ksize, vsize = uint64(binary.LittleEndian.Uint32(e[4:])), uint64(binary.LittleEndian.Uint32(e[8:])), uint64(binary.LittleEndian.Uint32(e[12:]))
		}
		from := uint64(at) + pos
		if from+ksize+vsize > uint64(len(b)) || pos < uint64((count-i)*elementSize) {
			return damaged("%s: element %d is out of bounds", name, i)
		}
		keys[i], values[i] = b[from:from+ksize], b[from+ksize:from+ksize+vsize]
		if i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 || i == 0 && low != nil && bytes.Compare(keys[i], low) < 0 ||
			high != nil && bytes.Compare(keys[i], high) >= 0 {
			return damaged("%s: keys are out of order", name)
		}
	}
	for i := range count {
		var err error
		switch {
		case flags == flagBranch:
			next := high
			if i+1 < count {
				next = keys[i+1]
			}
			err = w.tree(children[i], keys[i], next, depth+1, bucket)
		case binary.LittleEndian.Uint32(b[headerSize+i*elementSize:])&flagBucket != 0:
			err = w.bucket(values[i], name, bucket+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket follows a bucket's value: the page of its tree, or the tree itself.
func (w *walker) bucket(v []byte, name string, depth int) error {
	if len(v) < 16 {
		return damaged("%s: bucket", name)
	}
	if root := binary.LittleEndian.Uint64(v); root != 0 {
		return w.tree(root, nil, nil, 0, depth)
	}
	if len(v) < 16+headerSize {
		return damaged("%s: bucket", name)
	}
	return w.elements(v[16:], name+", bucket", nil, nil, 0, depth)
}
