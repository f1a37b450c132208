package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"tideover"
	"tideover/edge"
)

const (
	// SettlementItemsMax is the most items of one report: a busy till's day, and more.
	SettlementItemsMax = 8192
	// SettlementTotalsMax is the most sums of one report: three kinds in twenty currencies.
	SettlementTotalsMax = 64
	// ReportsDayMax is how many reports of one till are taken in 24 hours; one more is refused with too_many_requests. A till that reports
	// on and on would fill the disk that payments need.
	ReportsDayMax = 100
	// totalOverhead is an upper bound of what one sum needs on disk.
	totalOverhead = 64
	reportsPeriod = 24 * time.Hour
)

// Report is a till's word at closing time, as the journal has it.
type Report struct {
	ID          tideover.ID
	TerminalUID string
	Terminal    string // its name
	Key         string
	Hash        [32]byte        // of what the till sent, keyed
	At          tideover.Millis // when it came
	Unreadable  bool            // its items are lost, since their key was destroyed; its totals are there
	tideover.Settlement
}

// reports finds the reports in the journal.
type reports struct {
	all []reportHead // in the order in which they came
	at  map[tideover.ID]int
}

// reportHead is what memory holds of a report.
type reportHead struct {
	seq      uint64
	id       tideover.ID
	uid      string
	hash     [32]byte
	at       tideover.Millis
	from, to tideover.Millis
}

func (r *reports) add(seq uint64, e *edge.Event) {
	if r.at == nil {
		r.at = make(map[tideover.ID]int)
	}
	r.at[e.ID] = len(r.all)
	s := e.Settlement
	r.all = append(r.all, reportHead{seq: seq, id: e.ID, uid: s.TerminalUID, hash: s.Hash, at: e.At, from: s.From, to: s.To})
}

// newest says whether a report is its till's newest: where the next one begins is told by it.
func (r *reports) newest(id tideover.ID) bool {
	i, ok := r.at[id]
	if !ok {
		return false
	}
	for _, later := range r.all[i+1:] {
		if later.uid == r.all[i].uid {
			return false
		}
	}
	return true
}

// drop forgets reports.
func (r *reports) drop(ids []tideover.ID) {
	if len(ids) == 0 {
		return
	}
	gone := make(map[tideover.ID]bool, len(ids))
	for _, id := range ids {
		gone[id] = true
	}
	all := r.all
	r.all, r.at = nil, make(map[tideover.ID]int, len(all))
	for _, h := range all {
		if !gone[h.id] {
			r.at[h.id] = len(r.all)
			r.all = append(r.all, h)
		}
	}
}

// last returns when a till's newest report ends, 0 where it has none; and how many of its reports came after since.
func (r *reports) last(uid string, since tideover.Millis) (end tideover.Millis, recent int) {
	for i := range r.all {
		if h := &r.all[i]; h.uid == uid {
			end = h.to
			if h.at > since {
				recent++
			}
		}
	}
	return end, recent
}

// Report makes a till's report durable, and returns it as it is on record once it is synced. A known id with the same hash is answered
// with what is on record, replayed; with another one it is refused with key_reused. A report that names no beginning begins where the till's
// last one ends, or at otherwise where that is later than its own end or there is none; but no earlier than oldest. Other errors:
// too_many_requests, storage_full, ErrStopped, ctx's, after which the report may be on record.
func (q *Queue) Report(ctx context.Context, r Report, otherwise, oldest tideover.Millis) (on Report, replayed bool, err error) {
	e := &edge.Event{Type: edge.EventSettlement, ID: r.ID, Settlement: &edge.Settlement{
		TerminalUID: r.TerminalUID, Terminal: r.Terminal, Key: r.Key, Hash: r.Hash, From: r.From, To: r.To, Totals: r.Totals, Items: len(r.Items),
	}}
	add := entry{event: e}
	ring := q.ring.Load()
	var items []byte
	if len(r.Items) > 0 {
		items = encodeItems(r.Items)
		add.sealed = ring.hide(r.ID, items)
		e.Digest = digest(add.sealed)
	}
	known := false
	call := &request{ctx: ctx, class: classOwn, size: add.bytes()}
	call.prepare = func(b *batch) error {
		if slices.Contains(b.reports, r.TerminalUID) {
			return errLater // it may be this one, or decide where this one begins
		}
		if i, ok := q.reports.at[r.ID]; ok {
			if q.reports.all[i].hash != r.Hash {
				return reportKeyReused(r.ID)
			}
			call.class, known = classFlush, true
			return nil
		}
		e.At, add.seq = now(), q.seq+1
		last, recent := q.reports.last(r.TerminalUID, e.At.Add(-reportsPeriod))
		if recent >= ReportsDayMax {
			return tooManyReports()
		}
		if from := &e.Settlement.From; r.From == 0 {
			if *from = last; last == 0 || last > r.To {
				*from = otherwise
			}
			*from = max(*from, oldest)
		}
		if now := q.ring.Load(); len(items) > 0 && now.now() != ring.now() { // another key seals from here on
			add.sealed = now.hide(r.ID, items)
			e.Digest = digest(add.sealed)
		}
		if !b.add(add, reserve) {
			return storageFull()
		}
		q.draw()
		b.reports = append(b.reports, r.TerminalUID)
		return nil
	}
	if err := q.submit(call); err != nil {
		return Report{}, false, err
	}
	if known {
		on, err = q.ReadReport(r.ID)
		return on, true, err
	}
	r.From, r.At = e.Settlement.From, e.At
	return r, false, nil
}

func reportKeyReused(id tideover.ID) error {
	return tideover.Refuse(tideover.CodeKeyReused,
		"this key was used for another report (settlement %s); a new report needs a new key", "该键已用于另一份结算（%s）；新的结算请使用新的键", id)
}

func tooManyReports() error {
	r := tideover.Refuse(tideover.CodeTooManyRequests,
		"this till has sent %d reports within a day; nothing was stored; repeat an earlier one under its own key", "本终端一天内已发送 %d 份结算；本次没有保存；如需重查，请用原来的键", ReportsDayMax)
	r.RetryAfter = time.Hour
	return r
}

// ReadReport returns a report with its items, but for those whose key was destroyed. Errors: ErrUnknown, ErrStopped, or ErrDamaged.
func (q *Queue) ReadReport(id tideover.ID) (Report, error) {
	q.mu.Lock()
	i, ok := q.reports.at[id]
	var h reportHead
	if ok {
		h = q.reports.all[i]
	}
	q.mu.Unlock()
	if !ok {
		return Report{}, ErrUnknown
	}
	e, sealed, err := q.read(h.seq)
	if err != nil {
		return Report{}, err
	}
	items, err := q.ring.Load().items(h.seq, &e, sealed)
	lost := errors.Is(err, ErrKeyDestroyed)
	if err != nil && !lost {
		return Report{}, fmt.Errorf("entry %d: %w: %w", h.seq, err, ErrDamaged)
	}
	s := e.Settlement
	return Report{
		ID: id, TerminalUID: s.TerminalUID, Terminal: s.Terminal, Key: s.Key, Hash: s.Hash, At: e.At, Unreadable: lost,
		Settlement: tideover.Settlement{From: s.From, To: s.To, Totals: s.Totals, Items: items},
	}, nil
}

// Reports returns the reports whose time touches [from, to), in the order in which they came: their ids, tills' uids and times, and
// nothing else of them.
func (q *Queue) Reports(from, to tideover.Millis) (all []Report) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.reports.all {
		if h := &q.reports.all[i]; h.from < to && from < h.to {
			all = append(all, Report{ID: h.id, TerminalUID: h.uid, At: h.at, Settlement: tideover.Settlement{From: h.from, To: h.to}})
		}
	}
	return all
}

// items opens the sealed part of a report. Errors are those of [ring.open].
func (r *ring) items(seq uint64, e *edge.Event, sealed []byte) ([]tideover.SettlementItem, error) {
	if len(sealed) == 0 && e.Settlement.Items == 0 {
		return nil, nil
	}
	plain, err := r.show(seq, e.ID, sealed)
	if err != nil {
		return nil, err
	}
	var items []tideover.SettlementItem
	if err := itemsMode.Unmarshal(plain, &items); err != nil {
		return nil, err
	}
	if len(items) != e.Settlement.Items {
		return nil, fmt.Errorf("it has %d items, and should have %d", len(items), e.Settlement.Items)
	}
	return items, nil
}

// itemsMode reads as decMode does, but for the length of a list.
var itemsMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 4,
		MaxArrayElements: SettlementItemsMax, MaxMapPairs: 16, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, TagsMd: cbor.TagsForbidden,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

func encodeItems(items []tideover.SettlementItem) []byte {
	if len(items) > SettlementItemsMax {
		panic("queue: a report has too many items") // before it reaches the disk
	}
	b, err := encMode.Marshal(items)
	if err != nil {
		panic(fmt.Sprintf("queue: items cannot be encoded: %v", err))
	}
	return b
}
