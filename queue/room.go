package queue

import (
	"errors"
	"math"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover"
)

const (
	// fullRetry is the pause between attempts to write what found no room.
	fullRetry = time.Second
	// entryOverhead is an upper bound of what an entry needs beside its texts and its sealed part.
	entryOverhead = 1024
	// commitOverhead is what a commit rewrites whatever it holds: the path from the root to the last leaf.
	commitOverhead = 16 * pageSize
	// reserve stays free of accepts, so that ends and acknowledgements of what is open can still be written on a full disk; and for each
	// transaction that is open or not acknowledged yet, endRoom more: its end, its delivery and its acknowledgement.
	reserve, endRoom = 256 << 10, 768
	// growMin and growMax bound the steps in which the file grows.
	growMin, growMax = 512 << 10, 2 << 20
	// erasePages is how many single pages an erasure may need: its leaf and that leaf's neighbour, which bbolt may merge with it, and a branch.
	// eraseBeside is how many keys on each side may be in those two leaves where one of them has several pages.
	erasePages, eraseBeside = 3, 2 * leafKeys
	// floorMin and one part in floorParts of the file system, whichever is more, is left to others: certificates, the configuration, the log,
	// a compaction. Only what was accepted already may have it.
	floorMin, floorParts = 1 << 20, 100
	// settleMin is how many bytes the last commits must have freed before a commit is made only to have them.
	settleMin = 16 * pageSize
	// leafMax is how long a value may be so that bbolt never needs pages in a row for it: of more than four keys it splits what is above a
	// page, and four of this size fit into one.
	leafMax = (pageSize-leafHeader)/leafKeys - leafHeader - 8
	// leafKeys is how many keys at most are in a leaf of more than a page, leafHeader what bbolt adds to a page, and to each key.
	leafKeys, leafHeader = 4, 16
)

// room is how many bytes can be written for certain.
type room struct {
	beyond int64 // pages that bbolt has never used: also in a row
	inside int64 // pages that are free between others: one at a time
}

func (r room) all() int64 { return r.beyond + r.inside }

// measure reads the file's size and how much of it is in use.
func (q *Queue) measure() error {
	q.mu.Lock()
	file, was := q.file, q.size
	q.mu.Unlock()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	var used int64
	if err := q.db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		return err
	}
	if was != 0 && info.Size() != was {
		q.log.Warn("a commit has let the file grow: it needed more room than was reckoned", "path", q.options.Path, "bytes", info.Size()-was)
	}
	pages := q.db.now.Load().Stats()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size, q.used = info.Size(), used
	q.freed, q.freeing = int64(pages.FreePageN)*pageSize, int64(pages.PendingPageN)*pageSize
	return nil
}

// room says how much can be written now. bbolt asks for one page more than it uses. Of what is free inside only that is counted which was
// free at the last commit: what that commit freed itself may still be read by somebody. Callers hold mu.
func (q *Queue) room() room {
	if q.holey {
		return room{}
	}
	return room{beyond: max(0, q.size-q.used-pageSize), inside: q.freed}
}

// owed is what ends and acknowledgements will need of what the journal has, beside the reserve. Callers hold mu.
func (q *Queue) owed() int64 { return int64(len(q.live)) * endRoom }

// makeRoom returns how much can be written for certain, after trying to make it must and more, and inRow beyond what is in use. bbolt finds the
// space there already: it neither extends the file in a commit nor meets a full disk there. must is of what was accepted already, and may have
// what is left to others on the disk. Callers hold mu.
func (q *Queue) makeRoom(must, more, inRow int64) (room, error) {
	lack := func() int64 {
		have := q.room()
		return max(must+more-have.all(), inRow-have.beyond) // what is free inside is of no use to what needs it in a row
	}
	if lack() <= 0 || time.Now().Before(q.fullUntil) {
		return q.room(), nil
	}
	if q.holey {
		if err := q.fill(); err != nil || q.holey {
			return room{}, err
		}
		if lack() <= 0 {
			return q.room(), nil
		}
	}
	want := max(lack(), min(max(q.size/2, growMin), growMax))
	want += -want & (pageSize - 1) // whole pages, and no byte short
	allowed, full := want, false
	if left, floor, told := q.left(); told && left-floor < want {
		full = left-floor < lack()
		allowed = max(0, left-floor, must-q.room().all())
	}
	to := min(q.size+allowed, q.options.SizeMax)
	to -= to % pageSize
	if to > q.size {
		n, err := fillZeros(q.file, q.size, to)
		q.size = max(q.size, n)
		q.syncs++
		if isFull(err) {
			full = true
		} else if err != nil {
			return room{}, err
		}
	}
	q.noteFull(full)
	return q.room(), nil
}

// isFull says of an error that a file could not get more of the disk.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// fill gives a place on the disk to every part of the file. Callers hold mu.
func (q *Queue) fill() error {
	err := fillHoles(q.file, q.size)
	if isFull(err) {
		q.noteFull(true)
		return nil
	}
	q.holey = err != nil
	return err
}

// noteFull keeps it that the disk has no space for what is wanted, and says so when that begins and when it is over. Callers hold mu.
func (q *Queue) noteFull(full bool) {
	switch {
	case !full && !q.fullUntil.IsZero():
		q.fullUntil = time.Time{}
		q.log.Info("there is space for the queue again", "path", q.options.Path)
	case full && q.fullUntil.IsZero():
		left, floor, _ := q.left()
		q.log.Error("no space is left for the queue: nothing new is taken until there is", "path", q.options.Path, "free", left, "left_to_others", floor)
		fallthrough
	case full:
		q.fullUntil = time.Now().Add(fullRetry)
	}
}

// growAhead lets the file grow while nobody waits for it. Where it cannot, and the last commits have freed pages, a commit without anything
// makes them count.
func (q *Queue) growAhead() error {
	q.mu.Lock()
	want := q.owed() + commitOverhead + reserve + growMin + int64(min(len(q.erasures.waiting), eraseBusy))*erasePages*pageSize
	have, err := q.makeRoom(0, want, 0)
	now := time.Now()
	settles := err == nil && have.all() < want && q.freeing >= settleMin && have.all() >= commitOverhead && !now.Before(q.settled.Add(fullRetry))
	if settles {
		q.settled = now
	}
	q.mu.Unlock()
	if err != nil || !settles {
		return err
	}
	return q.settle()
}

// settle commits nothing new: what bbolt has freed can be used by a later commit than the one that freed it, and than those that somebody
// still reads.
func (q *Queue) settle() error {
	tx, err := q.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	journal := tx.Bucket(bucketJournal)
	if err := journal.SetSequence(journal.Sequence()); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	q.mu.Lock()
	q.commits++
	q.syncs += 2
	q.mu.Unlock()
	return q.measure()
}

// row is how many bytes in a row an entry may need: bbolt puts a value that is longer than leafMax, with up to three others, into a leaf of
// several pages.
func row(value int) int64 {
	if value <= leafMax {
		return 0
	}
	return int64(value) + 2*pageSize
}

// row is how many bytes in a row the entry may need.
func (e *entry) row() int64 {
	return row(len(encodeValue(encodeEvent(e.event), [hashSize]byte{}))) + row(len(e.sealed))
}

// inRow is how many bytes in a row a batch of what waits and of requests may need at most, with keep bytes that stay free: together all bytes. It is
// 0 where all of it fits beyond what is in use, wherever it comes to stand. Callers hold mu.
func (q *Queue) inRow(requests []*request, all, keep int64) int64 {
	if all <= q.room().beyond {
		return 0
	}
	bytes := q.lastRow()
	for i := range q.lazy {
		bytes += q.lazy[i].row()
	}
	for _, r := range requests {
		if r.size > entryOverhead+leafMax {
			bytes += r.size + 2*pageSize
		}
	}
	if bytes == 0 {
		return 0
	}
	return bytes + keep
}

// lastRow is how many bytes in a row the last leaves may need, which each commit writes anew.
func (q *Queue) lastRow() (bytes int64) {
	err := q.db.View(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketJournal, bucketSealed} {
			c := tx.Bucket(name).Cursor()
			key, value := c.Last()
			for n := 0; key != nil && n < leafKeys; n++ {
				bytes += row(len(value))
				key, value = c.Prev()
			}
		}
		return nil
	})
	if err != nil {
		return math.MaxInt64 / 2 // nothing fits
	}
	return bytes
}

// rowsBeside returns how many bytes in a row the erasure of each of some sealed parts may need: bbolt writes anew what stands in a leaf
// with it. Callers hold mu.
func (q *Queue) rowsBeside(erased []erasure) func(i int) int64 {
	if !q.hasLarge() {
		return func(int) int64 { return 0 }
	}
	rows := make([]int64, len(erased))
	err := q.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketSealed).Cursor()
		for i, e := range erased {
			key, part := c.Seek(seqKey(e.seq))
			for n := 0; key != nil && n <= eraseBeside; n++ {
				rows[i] += row(len(part))
				key, part = c.Next()
			}
			c.Seek(seqKey(e.seq))
			key, part = c.Prev()
			for n := 0; key != nil && n < eraseBeside; n++ {
				rows[i] += row(len(part))
				key, part = c.Prev()
			}
		}
		return nil
	})
	return func(i int) int64 {
		if err != nil {
			return math.MaxInt64 / 2
		}
		return rows[i]
	}
}

// hasLarge says whether sealed parts may be there for which bbolt needs pages in a row; it looks once. Callers hold mu.
func (q *Queue) hasLarge() bool {
	if q.large == largeUnknown {
		q.large = largeNone
		err := q.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketSealed).ForEach(func(_, part []byte) error {
				if row(len(part)) > 0 {
					return errBeyond
				}
				return nil
			})
		})
		if err != nil {
			q.large = largeSome
		}
	}
	return q.large == largeSome
}

// largeness says whether sealed parts of more than leafMax bytes are in the file, or were in this process's time.
type largeness uint8

const (
	largeUnknown largeness = iota
	largeNone
	largeSome
)

// erases says whether an erasure can be made with the batch that needs so many bytes in a row, and if so reckons with it.
func (b *batch) erases(row int64) bool {
	bytes := erasePages*pageSize + row
	if !b.holds(bytes, func() int64 { return row }, 0) {
		return false
	}
	b.need += bytes
	b.rows += row
	return true
}

// fits says whether an entry can be written with the batch, beside keep bytes that stay free. Where all of it fits beyond what is in use
// nothing more needs to be known. Otherwise single pages are taken from inside, and rows from beyond: those of the batch, and where this is
// one of them keep has to be left there too.
func (b *batch) fits(e *entry, keep int64) bool { return b.holds(e.bytes(), e.row, keep) }

// holds is fits of bytes, of which row says how many are needed in a row.
func (b *batch) holds(bytes int64, row func() int64, keep int64) bool {
	need := b.need + bytes + keep
	if need <= b.room.beyond {
		return true
	}
	if need > b.room.all() {
		return false
	}
	if b.lastRow != nil {
		b.rows += b.lastRow()
		b.lastRow = nil
	}
	for ; b.rowed < len(b.entries); b.rowed++ {
		b.rows += b.entries[b.rowed].row()
	}
	own := row()
	if own > 0 {
		own += keep
	}
	return b.rows+own <= b.room.beyond
}

func storageFull() error {
	return tideover.Refuse(tideover.CodeStorageFull,
		"The router's storage for transactions is full: nothing was stored. Free disk space on the router, and send the same key again.",
		"路由器上的交易存储已满，本次请求没有保存。请清理路由器的磁盘，然后用同一个键重试。")
}

// Full says that an accept of ordinary size finds no room now, and that the file cannot grow. It does not try, and it does not block on
// the disk: where space was made since the last attempt it says so before the next one.
func (q *Queue) Full() bool {
	left, floor, told := q.left()
	q.mu.Lock()
	defer q.mu.Unlock()
	need := commitOverhead + q.ordinary + reserve + q.owed()
	for i := range q.lazy {
		need += q.lazy[i].bytes()
	}
	have := q.room().all()
	switch {
	case have >= need:
		return false
	case time.Now().Before(q.fullUntil):
		return true
	case !told:
		left, floor = q.options.SizeMax, 0
	}
	return have+min(q.options.SizeMax-q.size, max(0, left-floor)) < need
}

// left returns how many bytes the file system has left for this user, and how many of them are left to others; told is false where it does
// not tell.
func (q *Queue) left() (left, floor int64, told bool) { return leftAt(q.options.Path) }

func leftAt(path string) (left, floor int64, told bool) {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0, 0, false
	}
	unit := int64(s.Bsize)
	return int64(s.Bavail) * unit, max(floorMin, int64(s.Blocks)*unit/floorParts), true
}
