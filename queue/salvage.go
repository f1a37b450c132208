package queue

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"tideover"
	"tideover/edge"
)

// Salvager is what a damaged file is read with. All but the file's name may be left out: then sealed parts stay closed, and no new file is
// made.
type Salvager struct {
	Path   string
	Key    *Keys // open sealed parts
	Store  string
	Secret []byte // of the store: knows a till's request again
	Out    string // the new file; "" makes none
}

// Salvaged is what was found in a damaged file, and what of it is in the new one.
type Salvaged struct {
	Bytes      int64
	Unreadable int   // pages that the disk does not give
	Sound      bool  // nothing is missing, and nothing is wrong with the file
	Headless   bool  // whose journal it is was not found: the store's is taken for granted
	Found      Found // entries
	Through    Anchor
	Ends       uint64 // where the journal says that it ends; 0 where that was not found
	First      tideover.Millis
	Last       tideover.Millis
	Gaps       []Hole
	Count      int           // transactions of which anything was found
	Stand      []Wreck       // the transactions that need somebody's eye, oldest first
	Sealed     int           // sealed parts that the key opened
	Made       *SalvagedFile // nil where none was made
}

// Found counts entries by what vouches for them.
type Found struct {
	Chain, Neighbour, Alone int // Alone has those that a till's request vouches for, too
	Unproven                int // of those alone: nothing vouches for them, and they are not in the new file
	Off                     int // of commits that never ended, or damaged copies of others: not of the journal
}

// SalvagedFile is the new file.
type SalvagedFile struct {
	Path         string
	Bytes        int64
	Entries      int
	AsWritten    int // of these: from the beginning up to the first loss, by the chain that was there
	Transactions int
	Open         int
}

// Hole is where entries are missing. What the sequences leave out says little: they have gaps in a sound journal, too.
type Hole struct {
	After, Before uint64 // entries that are there; 0: the beginning, or the end
	From, To      tideover.Millis
}

// Standing is how a transaction stands in a damaged file.
type Standing string

// Where a transaction needs somebody's eye.
const (
	StandsOpen    Standing = "open"            // no end of it was found
	StandsPaid    Standing = "not_handed_over" // paid, and its till has not acknowledged that it showed it
	StandsLost    Standing = "payload_lost"    // no end of it was found, and what was sealed of it is gone: it cannot be sent again
	StandsUnknown Standing = "unknown"         // its acceptance is gone: what it was for is not known here
)

// Wreck is such a transaction.
type Wreck struct {
	tideover.Transaction // as far as it is known
	Standing             Standing
	Vouch                Vouch    // of its acceptance
	Kept                 bool     // it is in the new file
	Later                []string // what is on record of it beyond what could be put together, oldest first
}

// SalvageFile finds every entry that is still to be read in a queue's file that no daemon has open, whatever is left of it, and writes nothing
// to it. With [Salvager.Out] it makes a new file of what something vouches for, which can be put in the journal's place by [RestoreFile]:
// it is marked as a copy is, so that what is open in it is asked about and never sent by itself. Errors, as [*OpenError]: ErrMissing,
// ErrInUse, ErrForeign where nothing of a journal is in it, ErrNewerSchema; and for a new file ErrWrongKey, ErrOtherStore, ErrExists, or
// the operating system's.
func SalvageFile(s Salvager) (Salvaged, error) {
	f, err := lockAs(s.Path, os.O_RDONLY, unix.LOCK_SH)
	if err != nil {
		return Salvaged{}, openError(s.Path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return Salvaged{}, openError(s.Path, errors.Join(err, ErrForeign))
	}
	w, err := newSalvage(s, newRuin(f, info.Size()))
	if err != nil {
		return Salvaged{}, openError(s.Path, err)
	}
	w.assemble()
	w.report()
	var audit Audit
	if w.Sound = verifyFile(f, looking{}, &audit) == nil && len(audit.Flaws) == 0; w.Sound {
		w.Gaps = nil
	}
	if s.Out == "" {
		return w.Salvaged, nil
	}
	if err := w.write(s.Out); err != nil {
		return Salvaged{}, err
	}
	return w.Salvaged, nil
}

// salvage is one such work.
type salvage struct {
	Salvaged
	with Salvager
	ruin *ruin
	head head
	ring *ring // nil: no key is at hand

	taken   []int32 // of the ruin's entries, in order: what goes into the new file
	prefix  int     // of these: up to the first loss
	plain   bool    // the new file says nothing of what was pruned
	records map[tideover.ID]*edge.Record
	newest  map[tideover.ID]uint64   // each transaction's event before the next one
	torn    map[tideover.ID]bool     // an event of it is missing: what follows is not taken
	later   map[tideover.ID][]string // what is not taken, in words
	without map[tideover.ID]bool     // its sealed part is gone, and it would be needed
	lost    map[tideover.ID]tideover.Transaction
	first   map[tideover.ID]Vouch // what vouches for its acceptance
	parts   map[tideover.ID][]uint64
	over    map[uint64]bool // entries whose sealed part was erased, or could have been: it is not put back, though a freed page still has it
}

func newSalvage(s Salvager, r *ruin) (*salvage, error) {
	w := &salvage{with: s, ruin: r, without: make(map[tideover.ID]bool), lost: make(map[tideover.ID]tideover.Transaction)}
	if s.Key != nil {
		ring, err := newRing(*s.Key)
		if err != nil {
			return nil, err
		}
		w.ring = ring
	}
	r.look()
	known := false
	w.head, known = r.vouchAll()
	switch {
	case r.newer != 0:
		return nil, fmt.Errorf("%w: schema %d, this one knows %d", ErrNewerSchema, r.newer, schemaNow)
	case !known && len(r.entries) == 0:
		return nil, fmt.Errorf("%w: nothing of a journal is in it", ErrForeign)
	case known && w.ring != nil:
		if err := w.ownHead(); err != nil {
			return nil, err
		}
	}
	if w.Headless = !known; w.Headless && w.ring != nil {
		w.head = newHead(w.ring.newest, s.Store)
	}
	if w.ring != nil {
		w.ring = w.ring.begin(w.head)
	}
	w.Bytes, w.Unreadable, w.Ends = r.size, len(r.bad), r.ends
	w.askRequests()
	return w, nil
}

// ownHead takes, of the heads that this journal has had, one that names a key at hand: a freed page may name one that is long gone.
func (w *salvage) ownHead() (err error) {
	for _, h := range w.ruin.heads {
		if h.Genesis != w.head.Genesis {
			continue
		}
		if err = w.ring.owns(h, w.with.Store); err == nil {
			w.head = h
			return nil
		}
	}
	return err
}

// acceptedWithin is how long after a press its entry is written at most, where the two times of an entry are to vouch for each other.
const acceptedWithin = time.Minute

// askRequests lets a till's request vouch for an acceptance that nothing else does: the keyed hash was made of the request as it came.
func (w *salvage) askRequests() {
	if w.ring == nil || len(w.with.Secret) == 0 {
		return
	}
	for i := range w.ruin.entries {
		f := &w.ruin.entries[i]
		if f.vouch > VouchNothing || !f.on {
			continue
		}
		_, e, err := w.ruin.event(f)
		if err != nil || e.Type != edge.EventAccepted || e.Accepted == nil || e.Prev != 0 ||
			e.At < e.Accepted.CreatedAt || e.At > e.Accepted.CreatedAt.Add(acceptedWithin) {
			continue
		}
		a, sealed := e.Accepted, w.sealed(f, &e)
		request := a.Request
		if e.ID != tideover.MakeID(w.with.Store, a.TerminalUID, a.Key) || w.ring.open(f.seq, e.ID, sealed, &request) != nil {
			continue
		}
		if request.Hash(w.with.Secret) == a.Hash && tideover.InstrumentHash(w.with.Secret, request.Instrument) == a.InstrumentHash {
			f.vouch = VouchRequest
		}
	}
}

// sealed returns an entry's sealed part; nothing where it has none, where it is gone, or where the key at hand does not open it.
func (w *salvage) sealed(f *found, e *edge.Event) []byte {
	if e.Digest == [hashSize]byte{} {
		return nil
	}
	for _, p := range w.ruin.parts[f.seq] {
		if p.sum != e.Digest {
			continue
		}
		b := w.ruin.bytes(p.at, p.size)
		if digest(b) != e.Digest || (w.ring != nil && w.ring.opens(f.seq, e, b) != nil) {
			return nil
		}
		return b
	}
	return nil
}

// assemble takes what goes into the new file. What turns out to lack a sealed part that it needs is looked for once more, and then left out.
func (w *salvage) assemble() {
	missing := w.take()
	if len(missing) > 0 {
		want := make(map[uint64][hashSize]byte)
		for _, i := range w.taken {
			f := &w.ruin.entries[i]
			if _, e, err := w.ruin.event(f); err == nil && missing[e.ID] == f.seq {
				want[f.seq] = e.Digest
			}
		}
		w.ruin.carveParts(want)
		missing = w.take()
	}
	for id := range missing {
		w.without[id] = true
		if r := w.records[id]; r != nil {
			w.lost[id] = r.Transaction
		}
	}
	if len(missing) > 0 {
		w.take()
	}
	if w.pruned() && !w.attests() {
		w.plain = true
		w.take()
	}
}

// attests says whether the entry that says what was pruned is taken.
func (w *salvage) attests() bool {
	for _, i := range w.taken {
		if f := &w.ruin.entries[i]; f.kind == edge.EventPruned && f.seq == w.ruin.remains.attested {
			return true
		}
	}
	return false
}

// take goes through the journal as it was found, and takes each entry that something vouches for and that follows what was taken of its
// transaction. It returns the transactions that lack a sealed part, and where.
func (w *salvage) take() vacancies {
	w.taken, w.prefix = w.taken[:0], -1
	w.records, w.newest = make(map[tideover.ID]*edge.Record), make(map[tideover.ID]uint64)
	w.torn, w.later, w.first = make(map[tideover.ID]bool), make(map[tideover.ID][]string), make(map[tideover.ID]Vouch)
	w.parts, w.over = make(map[tideover.ID][]uint64), make(map[uint64]bool)
	w.Sealed = 0
	vacant := make(vacancies)
	last := w.ruin.last()
	before, seq := followsBeginning, uint64(0)
	for i := range w.ruin.entries {
		f := &w.ruin.entries[i]
		if !f.on {
			continue
		}
		if from := seq; f.first != 0 {
			if before, seq = int32(i), f.seq; !w.pruned() || w.ruin.remains.hit(from, f.seq) {
				w.lose()
			}
			continue
		}
		seq = f.seq
		raw, e, err := w.ruin.event(f)
		whole := f.before == before && w.prefix < 0
		before = int32(i)
		if !whole {
			w.lose()
		}
		if err != nil || len(raw) == 0 || f.vouch == VouchNothing || f.seq > last || !w.fits(f, &e) {
			w.lose()
			w.note(f, &e)
			continue
		}
		sealed := w.sealed(f, &e)
		vacant.note(f.seq, &e, sealed)
		if passes(e.Type) {
			for _, seq := range w.parts[e.ID] {
				w.over[seq] = true
			}
			delete(w.parts, e.ID)
		}
		if len(sealed) > 0 {
			w.Sealed++
			w.parts[e.ID] = append(w.parts[e.ID], f.seq)
		}
		w.taken = append(w.taken, int32(i))
	}
	if w.prefix < 0 {
		w.prefix = len(w.taken)
	}
	return vacant
}

// pruned says whether what was pruned is known for certain, and so is said in the new file, too. Otherwise it is a gap there like any other.
func (w *salvage) pruned() bool { return len(w.ruin.remains.runs) > 0 && !w.plain }

// lose notes that from here on the chain is not the one that was there.
func (w *salvage) lose() {
	if w.prefix < 0 {
		w.prefix = len(w.taken)
	}
}

// fits says whether an entry can be taken after those that were, and takes it into account.
func (w *salvage) fits(f *found, e *edge.Event) bool {
	switch {
	case e.Type == edge.EventHeard:
		// What the hub had told before it must be there: else the hub would not tell it again.
		return w.prefix < 0
	case w.without[e.ID]:
		return false
	case e.Type == edge.EventPruned:
		return w.pruned() && f.seq <= w.ruin.remains.attested
	case !ofTransaction(e.Type):
		return true
	case w.torn[e.ID] || e.Prev != w.newest[e.ID]:
		w.torn[e.ID] = true
		return false
	}
	r := w.records[e.ID]
	if r == nil {
		r = &edge.Record{}
	}
	if r.Apply(f.seq, e, false) != nil {
		w.torn[e.ID] = true
		return false
	}
	if w.newest[e.ID] == 0 {
		w.first[e.ID] = f.vouch
	}
	w.records[e.ID], w.newest[e.ID] = r, f.seq
	return true
}

// note keeps in words what is known of a transaction and not taken.
func (w *salvage) note(f *found, e *edge.Event) {
	if !ofTransaction(e.Type) || e.Type == edge.EventNone {
		return
	}
	what := e.Type.String()
	if e.Outcome != nil {
		what += " " + e.Outcome.Result.String()
	}
	if f.vouch == VouchNothing {
		what += "?"
	}
	w.later[e.ID] = append(w.later[e.ID], what)
}

// report says what was found.
func (w *salvage) report() {
	before, at := followsBeginning, tideover.Millis(0)
	var seq uint64
	for i := range w.ruin.entries {
		f := &w.ruin.entries[i]
		switch {
		case !f.on:
			w.Found.Off++
			continue
		case f.first != 0:
			if w.ruin.remains.hit(seq, f.seq) {
				w.Gaps = append(w.Gaps, Hole{After: seq, Before: f.seq, From: at, To: at})
			}
			before, seq = int32(i), f.seq
			continue
		case f.vouch == VouchChain:
			w.Found.Chain++
			w.Through = Anchor{f.seq, f.link}
		case f.vouch == VouchNeighbour:
			w.Found.Neighbour++
		default:
			w.Found.Alone++
			if f.vouch == VouchNothing {
				w.Found.Unproven++
			}
		}
		_, e, _ := w.ruin.event(f)
		if f.before != before {
			w.Gaps = append(w.Gaps, Hole{After: seq, Before: f.seq, From: at, To: e.At})
		}
		before, seq, at = int32(i), f.seq, e.At
		if w.First == 0 {
			w.First = e.At
		}
		w.Last = e.At
	}
	if w.Ends > seq || seq == 0 {
		w.Gaps = append(w.Gaps, Hole{After: seq, From: at})
	}
	w.stand()
}

// stand lists the transactions that need somebody's eye.
func (w *salvage) stand() {
	w.Count = len(w.records)
	for id, r := range w.records {
		s := Wreck{Transaction: r.Transaction, Vouch: w.first[id], Kept: true, Later: w.later[id]}
		switch {
		case !r.Final():
			s.Standing, s.State = StandsOpen, tideover.StateInDoubt // it may have been sent
		case r.State == tideover.StateApproved && !r.Acknowledged:
			s.Standing = StandsPaid
		default:
			continue
		}
		w.Stand = append(w.Stand, s)
	}
	for id, later := range w.later {
		if w.records[id] != nil {
			continue
		}
		w.Count++
		s := Wreck{Transaction: w.lost[id], Standing: StandsLost, Later: later}
		if !s.Final() {
			s.State = tideover.StateInDoubt
		}
		if !w.without[id] {
			s.Transaction, s.Standing = tideover.Transaction{ID: id, State: tideover.StateInDoubt}, StandsUnknown
		}
		w.Stand = append(w.Stand, s)
	}
	sort.Slice(w.Stand, func(i, j int) bool {
		a, b := w.Stand[i], w.Stand[j]
		if a.CreatedAt != b.CreatedAt {
			return a.CreatedAt < b.CreatedAt
		}
		return a.ID.String() < b.ID.String()
	})
}

// turned is an entry that is put in where the one was lost that said that another key seals.
type turned struct {
	seq  uint64
	name [32]byte
}

// keyed returns the new file's head, and the entries about keys that are to be put in, each by the index of what was taken behind it. What
// the file says of its keys has to be true of what is in it: a key goes once nothing is left that it sealed.
func (w *salvage) keyed() (h head, missing map[int]turned) {
	h, missing = w.head, make(map[int]turned)
	h.Check = h.firstCheck()
	sealed := uint64(0) // the last entry that was sealed with h.Check
	for at, i := range w.taken {
		f := &w.ruin.entries[i]
		_, e, err := w.ruin.event(f)
		switch part := w.sealed(f, &e); {
		case err != nil:
		case e.Type == edge.EventKey:
			if !e.Key.Destroyed {
				h.turn(e.Key.Check)
			}
		case len(part) > 0:
			if name := w.ring.sealedWith(e.ID, part); name != h.Check && name != [32]byte{} {
				where, seq := w.free(at, sealed)
				missing[where] = turned{seq, name}
				h.turn(name)
			}
			sealed = f.seq
		}
	}
	return h, missing
}

// free finds a sequence that nothing has, between an entry and what was taken before it: the one of the entry that was lost is one such.
func (w *salvage) free(at int, above uint64) (where int, seq uint64) {
	for where = at; where > 0; where-- {
		before := w.ruin.entries[w.taken[where-1]].seq
		if seq = w.ruin.entries[w.taken[where]].seq - 1; before < seq || before <= above {
			return where, seq
		}
	}
	return where, w.ruin.entries[w.taken[where]].seq - 1
}

// salvagedBy is who the journal says has put it together.
const salvagedBy = "tideover salvage"

// write makes the new file: what was taken, each entry with its own sequence and the chain computed anew from the first loss on, then the word
// of it and the mark of a copy.
func (w *salvage) write(path string) error {
	if w.ring == nil {
		return openError(w.with.Path, ErrWrongKey)
	}
	h, missing := w.keyed()
	hash, last := h.genesis(), w.ruin.last()
	if last > math.MaxInt64-4*seqStep {
		return fmt.Errorf("%w: its sequences are at their end", ErrDamaged)
	}
	through := w.prefix
	way := along{}
	if w.pruned() {
		way.runs = w.ruin.remains.runs
	}
	made, err := backup(path, w.ring, original{head: h, runs: way.runs}, func(put entryVisitor, rest func() error) error {
		pending := 0
		for at, i := range w.taken {
			f := &w.ruin.entries[i]
			if m, turn := missing[at]; turn {
				said := encodeEvent(&edge.Event{Type: edge.EventKey, At: now(), By: salvagedBy, Key: &edge.Key{Check: m.name}})
				if err := way.before(m.seq, &hash); err != nil {
					return err
				}
				hash = chain(hash, m.seq, said)
				if err := put(m.seq, said, hash, nil); err != nil {
					return err
				}
			}
			raw, e, err := w.ruin.event(f)
			if err != nil {
				return fmt.Errorf("entry %d was there a moment ago, and is not any more: %w", f.seq, err)
			}
			if err := way.before(f.seq, &hash); err != nil {
				return err
			}
			hash = chain(hash, f.seq, raw)
			var sealed []byte
			if !w.over[f.seq] {
				sealed = w.sealed(f, &e)
			}
			if err := put(f.seq, raw, hash, sealed); err != nil {
				return err
			}
			if pending += len(raw) + len(sealed); pending > copyStep {
				pending = 0
				if err := rest(); err != nil {
					return err
				}
			}
		}
		said := encodeEvent(&edge.Event{
			Type: edge.EventGap, At: now(), By: salvagedBy,
			Reason: fmt.Sprintf("%d entries of a damaged file, the first %d by the chain that was there", len(w.taken), through),
		})
		last++
		hash = chain(hash, last, said)
		if err := put(last, said, hash, nil); err != nil {
			return err
		}
		return rest()
	})
	if err != nil {
		return err
	}
	open := 0
	for _, r := range w.records {
		if !r.Final() {
			open++
		}
	}
	w.Made = &SalvagedFile{Path: path, Bytes: made.Bytes, Entries: len(w.taken), AsWritten: w.prefix, Transactions: made.Transactions, Open: open}
	return nil
}
