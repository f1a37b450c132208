package queue

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"tideover"
	"tideover/edge"
)

// Anchor is a head of this journal's chain that somebody else keeps: the hub. Whoever can write the file can compute a whole chain anew;
// what somebody else keeps he cannot.
type Anchor struct {
	Seq  uint64
	Hash [32]byte
}

// String writes it as [ParseAnchor] reads it: SEQ:HASH.
func (a Anchor) String() string {
	return strconv.FormatUint(a.Seq, 10) + ":" + hex.EncodeToString(a.Hash[:])
}

// ParseAnchor reads SEQ:HASH, the hash in hexadecimal.
func ParseAnchor(s string) (a Anchor, err error) {
	seq, hash, _ := strings.Cut(strings.TrimSpace(s), ":")
	b, bad := hex.DecodeString(hash)
	if a.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil || bad != nil || len(b) != hashSize || a.Seq == 0 {
		return Anchor{}, errors.New("it is not SEQ:HASH, a number and 64 hexadecimal digits")
	}
	a.Hash = [hashSize]byte(b)
	return a, nil
}

// Audit is what a look at every entry of a journal has found.
type Audit struct {
	Entries      int
	Pruned       int // entries that have left the journal, as it says itself
	Transactions int
	First, Last  tideover.Millis // when the first and the last entry were written, the edge's wall clock
	Head         Anchor          // the last entry, and the chain's hash there
	Newer        int             // where it verifies: entries after the newest anchor; all of them where there is none
	Sealed       int             // sealed parts that the keys opened; 0 where none was at hand
	Unreadable   int             // sealed parts whose key was destroyed; that is no flaw
	Flaws        []Flaw          // empty: the journal verifies. Where the chain breaks nothing after it is believed, and that flaw is the only one
}

// Flaw is something that an honest journal does not have.
type Flaw struct {
	Entry uint64 // where it shows; 0 is the file as a whole
	What  tideover.Text
}

// auditor looks at entries in their order.
type auditor struct {
	Audit
	ring    *ring                  // as far as the journal was read
	opens   bool                   // its keys are at hand
	parts   map[[32]byte]int       // sealed parts by the name of their key
	hash    [hashSize]byte         // of the chain so far
	newest  map[tideover.ID]uint64 // each transaction's event before the next one
	vacant  vacancies
	along   along
	anchors map[uint64][]*heldFrom // by sequence
	all     []*heldFrom
}

// heldFrom is an anchor, and whether the chain was found to go through it.
type heldFrom struct {
	Anchor
	own       bool // this process's: what it has committed
	has, same bool
	entries   int // up to it
}

func newAuditor(h head, ring *ring, anchors []Anchor) *auditor {
	a := &auditor{
		hash: h.genesis(), ring: ring, opens: len(ring.held) > 0, parts: make(map[[32]byte]int), newest: make(map[tideover.ID]uint64),
		vacant: make(vacancies), anchors: make(map[uint64][]*heldFrom),
	}
	for _, anchor := range anchors {
		a.hold(heldFrom{Anchor: anchor})
	}
	return a
}

// hold adds a head that the chain has to go through; one of the sequence 0 is of an empty journal, and says nothing.
func (a *auditor) hold(h heldFrom) {
	if h.Seq != 0 {
		a.all = append(a.all, &h)
		a.anchors[h.Seq] = append(a.anchors[h.Seq], &h)
	}
}

// Why an entry is not the next one of the chain.
var (
	errChain   = errors.New("the chain is broken")
	errDigest  = errors.New("its sealed part does not match its digest")
	errMissing = errors.New("its sealed part is missing, and its transaction still needs it")
	errSealed  = errors.New("its sealed part cannot be opened")
	errPrev    = errors.New("it does not follow the event before it")
	errOrder   = errors.New("its sequence is not above the one before it")
	errFlaw    = errors.New("a flaw was found") // ends a look; the flaw is in the audit
)

// follow checks that an entry is the next one of a chain, and returns its event. Whether a sealed part may be missing is not known yet: see
// vacancies.
func follow(hash *[hashSize]byte, seq uint64, raw []byte, link [hashSize]byte, sealed []byte) (e edge.Event, err error) {
	if *hash = chain(*hash, seq, raw); *hash != link {
		return e, errChain
	}
	if e, err = decodeEvent(raw); err != nil {
		return e, err
	}
	if len(sealed) > 0 && digest(sealed) != e.Digest {
		return e, errDigest
	}
	return e, nil
}

// entry looks at the next entry. Its error is errFlaw.
func (a *auditor) entry(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
	if a.Entries > 0 && seq <= a.Head.Seq {
		return a.flaw(seq, errOrder)
	}
	if err := a.along.before(seq, &a.hash); err != nil {
		return a.flaw(seq, err)
	}
	e, err := follow(&a.hash, seq, raw, link, sealed)
	if err != nil {
		return a.flaw(seq, err)
	}
	a.along.note(&e)
	a.vacant.note(seq, &e, sealed)
	if ofTransaction(e.Type) {
		if e.Prev != a.newest[e.ID] {
			return a.flaw(seq, errPrev)
		}
		a.newest[e.ID] = seq
	}
	a.ring = a.ring.follow(seq, &e)
	if len(sealed) > 0 {
		if err := a.open(seq, &e, sealed); err != nil {
			return err
		}
	}
	if a.Entries == 0 {
		a.First = e.At
	}
	a.Entries++
	a.Transactions = len(a.newest)
	a.Last, a.Head = e.At, Anchor{seq, link}
	for _, h := range a.anchors[seq] {
		h.has, h.same, h.entries = true, h.Hash == link, a.Entries
	}
	return nil
}

// open looks at a sealed part. Errors: errFlaw; ErrWrongKey where a key is missing that was not destroyed.
func (a *auditor) open(seq uint64, e *edge.Event, sealed []byte) error {
	a.parts[a.ring.span(seq).check]++
	if !a.opens {
		return nil
	}
	switch err := a.ring.opens(seq, e, sealed); {
	case err == nil:
		a.Sealed++
	case errors.Is(err, ErrWrongKey):
		return err
	case !errors.Is(err, ErrKeyDestroyed):
		return a.flaw(seq, errSealed)
	}
	return nil
}

// unreadable counts the sealed parts whose key was destroyed: that may be on record behind them.
func (a *auditor) unreadable() {
	counted := make(map[[32]byte]bool)
	for i := range a.ring.spans {
		if p := &a.ring.spans[i]; a.ring.lost(p) && !counted[p.check] {
			counted[p.check] = true
			a.Unreadable += a.parts[p.check]
		}
	}
}

// ofTransaction says whether an event is a transaction's, rather than the edge's own.
func ofTransaction(t edge.EventType) bool {
	switch t {
	case edge.EventTerminal, edge.EventHeard, edge.EventLedgerTime, edge.EventMark, edge.EventGap, edge.EventRules, edge.EventSettlement,
		edge.EventPruned, edge.EventKey:
		return false
	case edge.EventNone, edge.EventAccepted, edge.EventEnded, edge.EventEndedHere, edge.EventDelivered, edge.EventAcknowledged, edge.EventHeld,
		edge.EventReleased, edge.EventUndo, edge.EventSettle, edge.EventDropped, edge.EventBuried, edge.EventAdopted, edge.EventBarred,
		edge.EventRetry, edge.EventTypesEnd:
	}
	return true
}

// flaw notes where the chain cannot be followed any further.
func (a *auditor) flaw(seq uint64, err error) error {
	var what tideover.Text
	switch {
	case errors.Is(err, errChain):
		what = tideover.Textf("the chain is broken at entry %d: it, or what stood right before it, was changed, removed, put in or moved",
			"哈希链在第 %d 条记录处断裂：该条或紧接其前的记录被改动、删除、插入或移位", seq)
	case errors.Is(err, errDigest):
		what = tideover.Textf("the sealed part of entry %d is not the one that was accepted", "第 %d 条记录的加密内容与受理时不符", seq)
	case errors.Is(err, errRun), errors.Is(err, errRunPlace):
		what = tideover.Textf("a stretch that was pruned does not end where entry %d begins, or overlaps what is there: its record was changed", "已清理的区段与第 %d 条记录不衔接或重叠：其记录被改动", seq)
	case errors.Is(err, errAttest):
		what = tideover.Textf("what is missing before entry %d is not what the journal says was pruned: entries were removed, or the record of a pruned stretch changed",
			"第 %d 条记录之前缺失的内容与日志所记的清理不符：有记录被删除，或清理记录被改动", seq)
	case errors.Is(err, errMissing):
		what = tideover.Textf("the sealed part of entry %d is missing, and its transaction has no end that was delivered", "第 %d 条记录的加密内容缺失，而该交易尚无已送达的结果", seq)
	case errors.Is(err, errSealed):
		what = tideover.Textf("the key does not open the sealed part of entry %d: its payload is lost, and the chain was computed anew over it",
			"密钥无法打开第 %d 条记录的加密内容：其内容已丢失，且哈希链被重新计算", seq)
	case errors.Is(err, errPrev):
		what = tideover.Textf("entry %d does not follow its transaction's event before it: an event was removed or put in, and the chain computed anew",
			"第 %d 条记录与该交易的上一事件不衔接：有事件被删除或插入，且哈希链被重新计算", seq)
	case errors.Is(err, errOrder):
		what = tideover.Textf("entry %d is not above the one before it", "第 %d 条记录的序号不大于前一条", seq)
	default:
		what = tideover.Textf("entry %d cannot be read: %v", "第 %d 条记录无法读取：%v", seq, err)
	}
	a.Flaws = append(a.Flaws, Flaw{seq, what})
	return errFlaw
}

// end holds the whole against where the journal says that it ends, and against the anchors.
func (a *auditor) end(sequence uint64) {
	a.unreadable()
	if a.Head.Seq != sequence {
		a.Flaws = append(a.Flaws, Flaw{a.Head.Seq, tideover.Textf("the journal ends at entry %d, and should at %d: its end was cut off, or put on",
			"日志止于第 %d 条记录，应为第 %d 条：末尾被截断或添加", a.Head.Seq, sequence)})
	}
	if err := a.along.end(); err != nil {
		a.flaw(a.Head.Seq, err)
	}
	if seq := a.vacant.first(); seq != 0 {
		a.flaw(seq, errMissing)
	}
	anchored := 0
	for _, h := range a.all {
		switch {
		case h.own && h.same:
		case a.prunedAt(h.Anchor): // only an older hub holds such a head: what was pruned it had anchored
		case h.same:
			anchored = max(anchored, h.entries)
		case h.own:
			a.Flaws = append(a.Flaws, Flaw{h.Seq, tideover.Textf(
				"the running daemon has written entry %d, and the file does not have it as it was written: the file was changed under it",
				"运行中的守护进程写入的第 %d 条记录与文件中的不一致：文件在运行中被改动", h.Seq)})
		case h.Seq > a.Head.Seq:
			a.Flaws = append(a.Flaws, Flaw{h.Seq, tideover.Textf(
				"the hub holds the head of entry %d, and this journal ends at entry %d: its end was cut off, or it is an older copy",
				"hub 保存了第 %d 条记录的链头，而本日志止于第 %d 条：末尾被截断，或这是较旧的副本", h.Seq, a.Head.Seq)})
		case !h.has:
			a.Flaws = append(a.Flaws, Flaw{h.Seq, tideover.Textf(
				"the hub holds the head of entry %d, and this journal has no such entry: it was written anew from some entry before it on, or is a copy that went another way",
				"hub 保存了第 %d 条记录的链头，而本日志没有该记录：此前某条起被重写，或这是另行延续的副本", h.Seq)})
		default:
			a.Flaws = append(a.Flaws, Flaw{h.Seq, tideover.Textf(
				"the hub holds another head of entry %d: the journal was written anew from some entry up to it on, or is a copy that went another way",
				"hub 保存的第 %d 条记录的链头与本日志不同：该条或此前某条起被重写，或这是另行延续的副本", h.Seq)})
		}
	}
	a.Newer = a.Entries - anchored
}

// prunedAt says whether an anchor lies in a stretch that was pruned, and is not at odds with it.
func (a *auditor) prunedAt(h Anchor) bool {
	r, ok := within(a.along.runs, h.Seq)
	return ok && (r.last != h.Seq || r.hash == h.Hash)
}

// counted counts what was pruned.
func (a *auditor) counted() {
	for _, r := range a.along.runs {
		a.Pruned += int(r.count)
	}
}

// damaged notes that the file itself cannot be followed.
func (a *auditor) damaged(what tideover.Text) { a.Flaws = append(a.Flaws, Flaw{a.Head.Seq, what}) }

// Verify looks at every entry that is on disk, from the first to the one that is the newest when it comes there, while the queue runs: a
// few thousand entries in one look, so that no commit waits. What this process knows to have committed must be among them. Errors:
// ErrStopped, ctx's.
func (q *Queue) Verify(ctx context.Context, anchors ...Anchor) (Audit, error) {
	return q.verify(ctx, false, anchors)
}

// verify is [Queue.Verify], and opens sealed parts where that is wanted.
func (q *Queue) verify(ctx context.Context, opens bool, anchors []Anchor) (Audit, error) {
	h, err := q.storedHead()
	if errors.Is(err, ErrStopped) {
		return Audit{}, err
	}
	defer q.still()()
	ring := q.ring.Load()
	a := newAuditor(h, ring, anchors)
	a.opens = opens
	if err == nil {
		a.along.runs, err = q.storedRuns()
	}
	switch {
	case errors.Is(err, ErrStopped):
		return Audit{}, err
	case errors.Is(err, ErrDamaged):
		a.damaged(tideover.Textf("the file cannot be followed: %v", "文件无法读取：%v", err))
		return a.Audit, nil
	}
	a.counted()
	if err != nil || [16]byte(h.Genesis[:]) != q.journal || !ring.sealed(h.Check) || h.firstCheck() != ring.spans[0].check {
		a.damaged(tideover.Textf("the record at the file's beginning was changed", "文件开头的记录被改动"))
		return a.Audit, nil
	}
	seq, hash := q.Head()
	a.hold(heldFrom{Anchor: Anchor{seq, hash}, own: true})
	sequence, err := q.eachEntry(ctx, a.entry, noRest)
	switch {
	case err == nil:
		a.end(sequence)
	case errors.Is(err, errFlaw):
	case errors.Is(err, ErrDamaged):
		a.damaged(tideover.Textf("the file cannot be followed: %v", "文件无法读取：%v", err))
	default:
		return Audit{}, err
	}
	return a.Audit, nil
}

// named holds the key that the head names against the journal's last one.
func (a *auditor) named(h head) {
	if a.ring.now() != h.Check {
		a.damaged(errHeadKey)
	}
}

var errHeadKey = tideover.Textf("the record at the file's beginning names another key than the journal", "文件开头的记录与日志所记的密钥不同")

func noRest() error { return nil }

// storedHead reads the file's first record anew. Errors: ErrStopped, or what is wrong with it.
func (q *Queue) storedHead() (h head, err error) {
	err = q.db.Walk(func(w *walker) error {
		_, h, err = identify(w, schemaNow)
		return err
	})
	return h, err
}

// look is one read of the file that believes nothing in it: where bbolt comes to a page that somebody has changed under it, it panics, or
// follows it out of the map, and both are ErrDamaged here. Other errors: ErrStopped, or read's.
func (q *Queue) look(read func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return q.db.View(read)
}

// eachEntry calls visit for every entry that is committed when it comes there, oldest first, in looks of scanStep entries each: a commit
// that lets the file grow waits for one look at most. rest is called after each look but a broken one. visit's slices are valid during the call. It returns where the journal says that it
// ends. Errors: visit's, as ErrDamaged with the entry's number; ErrDamaged, ErrStopped, ctx's.
func (q *Queue) eachEntry(ctx context.Context, visit entryVisitor, rest func() error) (sequence uint64, err error) {
	return q.eachEntryFrom(ctx, 0, visit, rest)
}

// eachEntryFrom is eachEntry of the entries from a sequence on.
func (q *Queue) eachEntryFrom(ctx context.Context, next uint64, visit entryVisitor, rest func() error) (sequence uint64, err error) {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		more = false
		err := q.db.Walk(func(w *walker) error {
			l, _, err := identify(w, schemaNow)
			if err != nil {
				return err
			}
			w.from, sequence = seqKey(next), l.journal.sequence
			n := 0
			return w.contents(l, func(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error {
				if n == scanStep {
					more = true
					return errEnough
				}
				n, next = n+1, seq+1
				if err := visit(seq, raw, link, sealed); err != nil {
					return fmt.Errorf("entry %d: %w: %w", seq, err, ErrDamaged)
				}
				return nil
			})
		})
		if errors.Is(err, errEnough) {
			err = nil
		}
		if d, ok := errors.AsType[*damage](err); ok {
			err = fmt.Errorf("%w: %w", ErrDamaged, d)
		}
		if err == nil {
			err = rest()
		}
		if err != nil {
			return 0, err
		}
	}
	return sequence, nil
}

// VerifyFile looks at every entry of a queue's file that no daemon has open, page by page and without bbolt; it writes nothing, and needs
// no key. What is wrong with the file is in the audit. Errors, as [*OpenError]: ErrMissing, ErrForeign, ErrNewerSchema, ErrInUse, or the
// operating system's.
func VerifyFile(path string, anchors ...Anchor) (Audit, error) {
	f, err := lockAs(path, os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		return Audit{}, openError(path, err)
	}
	defer f.Close()
	var audit Audit
	if err := audit.take(path, verifyFile(f, looking{anchors: anchors}, &audit)); err != nil {
		return Audit{}, err
	}
	return audit, nil
}

// looking is what a file is held against.
type looking struct {
	anchors []Anchor
	ring    *ring // nil: no key is at hand, and the file may be anybody's
	store   string
}

func verifyFile(f *os.File, l looking, found *Audit) error {
	w, err := newWalker(f)
	if err != nil {
		return err
	}
	stored, h, err := identify(w, schemaNow)
	switch {
	case err != nil:
		return err
	case h.schema > schemaNow:
		return fmt.Errorf("%w: schema %d, this one knows %d", ErrNewerSchema, h.schema, schemaNow)
	case l.ring == nil:
		l.ring = &ring{}
	default:
		if err := l.ring.owns(h, l.store); err != nil {
			return err
		}
	}
	a := newAuditor(h, l.ring.begin(h), l.anchors)
	a.along.runs = stored.runs
	a.counted()
	defer func() { *found = a.Audit }()
	if err = w.contents(stored, a.entry); err == nil {
		a.end(stored.journal.sequence)
		a.named(h)
	}
	return err
}
