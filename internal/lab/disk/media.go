package disk

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

const (
	blockSize  = 4096 // space is counted in these
	sectorSize = 512  // a write is torn between these
	fileMax    = 1 << 30
)

// inode is a file or a folder.
type inode struct {
	number   uint64
	mode     uint32 // its type and permissions, as in stat(2)
	links    uint32
	modified time.Time

	content []byte // of a file, as it reads
	synced  []byte // as the disk has it
	edits   []edit // what lies between the two, oldest first
	taken   int    // how many edits were ever taken off the front
	blocks  []bool // of content: they take space

	names   map[string]*inode // of a folder, as it reads
	durable map[string]*inode // as the disk has it
}

func (n *inode) folder() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// edit changes a file's bytes from an offset on, or its length.
type edit struct {
	at     int64
	data   []byte
	resize bool // at is the new length
}

// apply returns a file's bytes after the edit.
func (e edit) apply(b []byte) []byte {
	if e.resize {
		if e.at <= int64(len(b)) {
			return b[:e.at]
		}
		return grow(b, e.at)
	}
	b = grow(b, e.at+int64(len(e.data)))
	copy(b[e.at:], e.data)
	return b
}

// grow makes a file at least size bytes long, with zeros.
func grow(b []byte, size int64) []byte {
	old := int64(len(b))
	if size <= old {
		return b
	}
	b = slices.Grow(b, int(size-old))[:size]
	clear(b[old:])
	return b
}

// move changes names; all of its steps or none are on the disk.
type move struct {
	number int
	steps  []step
}

// step gives a name to an inode; to none where to is nil.
type step struct {
	folder *inode
	name   string
	to     *inode
}

func (m move) touches(folder *inode) bool {
	return slices.ContainsFunc(m.steps, func(s step) bool { return s.folder == folder })
}

// media is the whole disk. It has no lock of its own.
type media struct {
	root   *inode
	blocks int64 // in all
	used   int64
	last   uint64 // inode number given out
	moves  []move // not durable yet, oldest first
	moved  int    // number of the last move
}

func newMedia(bytes int64) *media {
	m := &media{blocks: bytes / blockSize}
	m.root = m.inode(syscall.S_IFDIR | 0o755)
	return m
}

func (m *media) inode(mode uint32) *inode {
	m.last++
	n := &inode{number: m.last, mode: mode, modified: time.Now()}
	if n.folder() {
		n.names, n.durable = map[string]*inode{}, map[string]*inode{}
	}
	return n
}

// move makes a move of steps that read at once.
func (m *media) move(steps ...step) {
	m.moved++
	m.moves = append(m.moves, move{m.moved, steps})
	for _, s := range steps {
		if old := s.folder.names[s.name]; old != nil {
			old.links--
		}
		delete(s.folder.names, s.name)
		if s.to != nil {
			s.folder.names[s.name] = s.to
			s.to.links++
		}
		s.folder.modified = time.Now()
	}
	m.count()
}

// create makes a file or a folder.
func (m *media) create(folder *inode, name string, mode uint32) (*inode, syscall.Errno) {
	if folder.names[name] != nil {
		return nil, syscall.EEXIST
	}
	n := m.inode(mode)
	m.move(step{folder, name, n})
	return n, 0
}

// remove takes a name away. The bytes of a file without a name stay readable to those who have it open, and take no space.
func (m *media) remove(folder *inode, name string, wantFolder bool) syscall.Errno {
	n := folder.names[name]
	switch {
	case n == nil:
		return syscall.ENOENT
	case n.folder() && !wantFolder:
		return syscall.EISDIR
	case !n.folder() && wantFolder:
		return syscall.ENOTDIR
	case n.folder() && len(n.names) > 0:
		return syscall.ENOTEMPTY
	}
	m.move(step{folder, name, nil})
	return 0
}

// RENAME_NOREPLACE of renameat2(2).
const renameNoReplace = 1

func (m *media) rename(from *inode, old string, to *inode, name string, flags uint32) syscall.Errno {
	n, there := from.names[old], to.names[name]
	switch {
	case flags&^renameNoReplace != 0:
		return syscall.EINVAL
	case n == nil:
		return syscall.ENOENT
	case there != nil && flags&renameNoReplace != 0:
		return syscall.EEXIST
	case n == there:
		return 0
	case there != nil && there.folder() != n.folder():
		return syscall.EISDIR
	case there != nil && len(there.names) > 0:
		return syscall.ENOTEMPTY
	}
	m.move(step{from, old, nil}, step{to, name, n})
	return 0
}

// edit changes a file, if there is space for it.
func (m *media) edit(n *inode, e edit) syscall.Errno {
	size := max(int64(len(n.content)), e.at+int64(len(e.data)))
	if e.resize {
		size = e.at
	}
	if size > fileMax {
		return syscall.EFBIG
	}
	need := m.need(n, e)
	if n.links > 0 && need > 0 && m.used+need > m.blocks {
		return syscall.ENOSPC
	}
	if n.links > 0 {
		m.used += need
	}
	n.occupy(e, size)
	n.content, n.modified = e.apply(n.content), time.Now()
	n.edits = append(n.edits, e)
	return 0
}

// need returns how many blocks more an edit takes.
func (m *media) need(n *inode, e edit) (blocks int64) {
	if e.resize {
		return -taken(n.blocks[min(int64(len(n.blocks)), blocksOf(e.at)):])
	}
	for i := e.at / blockSize; i < blocksOf(e.at+int64(len(e.data))); i++ {
		if i >= int64(len(n.blocks)) || !n.blocks[i] {
			blocks++
		}
	}
	return blocks
}

// occupy notes which blocks a file of that size has after an edit.
func (n *inode) occupy(e edit, size int64) {
	n.blocks = n.blocks[:min(int64(len(n.blocks)), blocksOf(size))]
	for int64(len(n.blocks)) < blocksOf(size) {
		n.blocks = append(n.blocks, false)
	}
	for i := e.at / blockSize; len(e.data) > 0 && i < blocksOf(e.at+int64(len(e.data))); i++ {
		n.blocks[i] = true
	}
}

func blocksOf(bytes int64) int64 { return (bytes + blockSize - 1) / blockSize }

func taken(blocks []bool) (count int64) {
	for _, b := range blocks {
		if b {
			count++
		}
	}
	return count
}

// count finds out how much space is used, by everything that has a name.
func (m *media) count() {
	m.used = 0
	m.each(func(n *inode) { m.used += taken(n.blocks) })
}

// pending returns how many edits and moves are not durable.
func (m *media) pending() int {
	count := len(m.moves)
	m.each(func(n *inode) { count += len(n.edits) })
	return count
}

// each visits everything that has a name, once.
func (m *media) each(visit func(*inode)) {
	seen := map[*inode]bool{}
	var walk func(*inode)
	walk = func(n *inode) {
		if seen[n] {
			return
		}
		seen[n] = true
		visit(n)
		for _, child := range n.names {
			walk(child)
		}
	}
	walk(m.root)
}

// mark says what a sync that begins now has to bring to the disk; see settle.
func (m *media) mark(n *inode) int {
	if n.folder() {
		return m.moved
	}
	return n.taken + len(n.edits)
}

// settle ends a sync: what there was at its mark is on the disk, or, after a failed one, never will be; leave is asked for each, where
// it is not nil, whether it is left out.
func (m *media) settle(n *inode, mark int, leave func() bool) {
	if n.folder() {
		m.moves = slices.DeleteFunc(m.moves, func(o move) bool {
			if o.number > mark || !o.touches(n) {
				return false
			}
			if leave == nil || !leave() {
				o.keep()
			}
			return true
		})
		return
	}
	for n.taken < mark && len(n.edits) > 0 {
		if leave == nil || !leave() {
			n.synced = n.edits[0].apply(n.synced)
		}
		n.edits, n.taken = n.edits[1:], n.taken+1
	}
}

// keep makes a move durable.
func (m move) keep() {
	for _, s := range m.steps {
		delete(s.folder.durable, s.name)
		if s.to != nil {
			s.folder.durable[s.name] = s.to
		}
	}
}

// cut is a power failure: what was not synced is lost as far as the kind of cut has it, and the rest is all that there is.
func (m *media) cut(kind Cut, dice *rand.Rand) {
	stays := dice.Float64() // so that now and then nearly all is there, or nearly nothing
	coin := func() bool { return kind != Lost && dice.Float64() < stays }
	if kind != Lost {
		for range dice.IntN(len(m.moves) + 1) {
			m.moves[0].keep()
			m.moves = m.moves[1:]
		}
	}
	m.moves = nil
	seen := map[*inode]bool{}
	var walk func(*inode)
	walk = func(n *inode) {
		if n.links++; seen[n] {
			return
		}
		seen[n], n.links = true, 1
		for _, e := range n.edits {
			n.synced = e.remains(n.synced, kind, coin)
		}
		n.taken, n.edits = n.taken+len(n.edits), nil
		n.content = slices.Clone(n.synced)
		n.blocks = make([]bool, blocksOf(int64(len(n.content))))
		for i := range n.blocks {
			n.blocks[i] = true
		}
		if !n.folder() {
			return
		}
		n.names = map[string]*inode{}
		for name, child := range n.durable {
			n.names[name] = child
			walk(child)
		}
	}
	walk(m.root)
	m.count()
}

// remains returns what the disk has of a file after a cut during which an edit was not synced.
func (e edit) remains(b []byte, kind Cut, coin func() bool) []byte {
	if kind != Torn || e.resize {
		if coin() {
			return e.apply(b)
		}
		return b
	}
	for from := 0; from < len(e.data); {
		// Sectors are the disk's: a write may begin in the middle of one.
		to := min(len(e.data), from+sectorSize-int((e.at+int64(from))%sectorSize))
		if coin() {
			b = edit{at: e.at + int64(from), data: e.data[from:to]}.apply(b)
		}
		from = to
	}
	return b
}
