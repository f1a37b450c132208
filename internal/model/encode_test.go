package model

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"testing"
	"unsafe"
)

// Two worlds are the same if nobody in them can ever tell them apart. Their encoding says so: it leaves out what only people read,
// and replaces each counter that never ends by its rank among the values that are still somewhere in the world.

// class says how a field enters the encoding.
type class uint8

const (
	exact    class = iota // as it is: what is not listed below
	ignored               // not at all: for people, or the time at which something happened
	hubSeq                // positions of the outbox: order, and whether two are neighbours
	jSeq                  // sequences of a router's journal: order
	fence                 // fences of claims: order
	deadline              // instants after which something is too late: all that have passed are alike
	// Random names, drawn from a counter here: which are equal.
	process // of a router's process: its incarnation
	owner   // of a hub's process
	boot    // of a router's machine
	journal
	epoch
	head // of a journal's chain
	classes
)

// fields lists what is not taken as it is. A field that is new in the product is taken as it is until it is listed here, which may
// make worlds larger but never hides anything.
var fields = map[string]class{
	"ledger.Row.Why": ignored, "ledger.Row.CreatedAt": ignored, "ledger.Row.UpdatedAt": ignored, "ledger.Row.ExpiresAt": deadline,
	"ledger.Row.Fence": fence, "ledger.Row.Owner": owner, "ledger.Row.HubSeq": hubSeq,
	"ledger.Store.CreatedAt": ignored, "ledger.Store.HeardAt": ignored, "ledger.Store.Incarnation": process, "ledger.Store.Past": process,
	"ledger.Store.HubSeq":    hubSeq,
	"ledger.Store.AnchorSeq": jSeq, "ledger.Store.AnchorHead": head,
	"ledger.Store.Token": ignored, "ledger.Store.Certificate": ignored, "ledger.Store.Secret": ignored, "ledger.Store.Terminals": ignored,
	"ledger.Store.Journal": journal, "ledger.Store.GapAt": ignored, "ledger.Store.Restored": epoch, "ledger.Store.LostBefore": jSeq,
	"ledger.Store.LostAt": ignored, "ledger.Store.LostFrom": hubSeq, "ledger.Store.HeardIn": epoch, "ledger.Store.HeardSeq": hubSeq,
	"ledger.Store.Reused": hubSeq, "ledger.Store.Acked": hubSeq, "ledger.History.Epochs": epoch, "ledger.History.Restored": epoch,
	"tideover.Outcome.Message": ignored, "tideover.Outcome.At": ignored, "tideover.Outcome.Reference": ignored,
	"tideover.Outcome.Code":          ignored,
	"tideover.Transaction.CreatedAt": ignored, "tideover.Transaction.UpdatedAt": ignored, "tideover.Transaction.ExpiresAt": ignored,
	"tideover.Transaction.Attempts": ignored, "tideover.Transaction.Uplink": ignored, "tideover.Transaction.Delivered": ignored,
	"tideover.Transaction.Seq": jSeq, "tideover.Transaction.EndSeq": jSeq,
	"edge.Record.LedgerExpires": deadline, "edge.Record.Boot": boot, "edge.Record.First": jSeq, "edge.Record.HubSeq": hubSeq,
	"edge.Event.At": ignored, "edge.Event.Prev": ignored, "edge.Event.HubSeq": hubSeq, "edge.Event.Attempts": ignored,
	"edge.Event.Uplink": ignored, "edge.Event.By": ignored, "edge.Event.Reason": ignored, "edge.Event.Epoch": epoch,
	"edge.Accepted.CreatedAt": ignored, "edge.Accepted.LedgerExpires": deadline, "edge.Accepted.Boot": boot,
	"edge.Past.LostBefore":  jSeq,
	"wire.Submit.CreatedAt": ignored, "wire.Submit.ExpiresAt": deadline, "wire.Confirmation.HubSeq": hubSeq, "wire.CaughtUp.Through": hubSeq,
	"wire.Hello.Incarnation": process, "wire.Hello.Seq": jSeq, "wire.Hello.Head": head, "wire.Hello.HaveThrough": hubSeq,
	"wire.Hello.Journal": journal, "wire.Hello.Highest": hubSeq, "wire.Hello.Epoch": epoch, "wire.Hello.Software": ignored,
	"wire.Welcome.AnchorSeq": jSeq, "wire.Welcome.AnchorHead": head, "wire.Welcome.GivenOut": hubSeq,
	"wire.Welcome.Epoch": epoch, "wire.Welcome.LostBefore": jSeq, "wire.Welcome.LostFrom": hubSeq, "wire.Welcome.Software": ignored,
	"wire.Replay.HubSeq": hubSeq, "wire.Refused.Detail": ignored, "wire.Refused.Retry": ignored,
	"wire.Settle.Reason": ignored, "wire.Settle.By": ignored,
	"wire.Anchor.Seq": jSeq, "wire.Anchor.Head": head, "wire.Position.HubSeq": hubSeq,
	"model.event.seq": jSeq,
}

// norm is a value that is replaced by its rank when a world is encoded.
type norm struct {
	class class
	value uint64
}

// box holds a value that never changes once it is in it, with what the encoding needs of it.
type box[T any] struct {
	v      T
	digest uint64
	norms  []norm
}

var seed = maphash.MakeSeed()

func boxed[T any](v T) *box[T] {
	b := &box[T]{v: v}
	var buf [512]byte
	raw := plans[reflect.TypeFor[T]()](unsafe.Pointer(&b.v), buf[:0], &b.norms)
	b.digest = maphash.Bytes(seed, raw)
	return b
}

// plan appends a value's exact parts to raw, and the others to norms.
type plan func(p unsafe.Pointer, raw []byte, norms *[]norm) []byte

// plans holds one for each type of which a world is made.
var plans = func() map[reflect.Type]plan {
	all := make(map[reflect.Type]plan)
	for _, t := range encoded {
		all[t] = makePlan(t)
	}
	return all
}()

func makePlan(t reflect.Type) plan {
	switch t.Kind() {
	case reflect.Struct:
		return structPlan(t)
	case reflect.Pointer:
		elem := makePlan(t.Elem())
		return func(p unsafe.Pointer, raw []byte, norms *[]norm) []byte {
			to := *(*unsafe.Pointer)(p)
			if to == nil {
				return append(raw, 0)
			}
			return elem(to, append(raw, 1), norms)
		}
	case reflect.Slice:
		elem, size := makePlan(t.Elem()), t.Elem().Size()
		return func(p unsafe.Pointer, raw []byte, norms *[]norm) []byte {
			s := *(*[]byte)(p) // of another type; its length and its place are as true
			at := unsafe.Pointer(unsafe.SliceData(s))
			raw = append(raw, byte(len(s)))
			for i := range s {
				raw = elem(unsafe.Add(at, uintptr(i)*size), raw, norms)
			}
			return raw
		}
	case reflect.String:
		return func(p unsafe.Pointer, raw []byte, _ *[]norm) []byte {
			s := *(*string)(p)
			return append(append(raw, byte(len(s))), s...)
		}
	case reflect.Interface, reflect.Map, reflect.Chan, reflect.Func:
		panic(fmt.Sprintf("model: a %v has no encoding", t))
	default: // numbers, and arrays of bytes
		return bytesPlan(t.Size())
	}
}

func bytesPlan(size uintptr) plan {
	return func(p unsafe.Pointer, raw []byte, _ *[]norm) []byte {
		return append(raw, unsafe.Slice((*byte)(p), size)...)
	}
}

func structPlan(t reflect.Type) plan {
	type part struct {
		at uintptr
		do plan
	}
	var parts []part
	for f := range t.Fields() {
		c := fields[t.String()+"."+f.Name]
		switch {
		case c == ignored:
		case c == exact:
			parts = append(parts, part{f.Offset, makePlan(f.Type)})
		default:
			parts = append(parts, part{f.Offset, normPlan(f.Type, c)})
		}
	}
	return func(p unsafe.Pointer, raw []byte, norms *[]norm) []byte {
		for i := range parts {
			raw = parts[i].do(unsafe.Add(p, parts[i].at), raw, norms)
		}
		return raw
	}
}

func normPlan(t reflect.Type, c class) plan {
	switch {
	case t.Kind() == reflect.Uint64, t.Kind() == reflect.Int64:
		return func(p unsafe.Pointer, raw []byte, norms *[]norm) []byte {
			*norms = append(*norms, norm{c, *(*uint64)(p)})
			return raw
		}
	case t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8:
		return func(p unsafe.Pointer, raw []byte, norms *[]norm) []byte {
			*norms = append(*norms, norm{c, binary.BigEndian.Uint64(unsafe.Slice((*byte)(p), 8))})
			return raw
		}
	case t.Kind() == reflect.Slice:
		elem, size := normPlan(t.Elem(), c), t.Elem().Size()
		return func(p unsafe.Pointer, raw []byte, norms *[]norm) []byte {
			s := *(*[]byte)(p) // of another type; its length and its place are as true
			at := unsafe.Pointer(unsafe.SliceData(s))
			raw = append(raw, byte(len(s)))
			for i := range s {
				raw = elem(unsafe.Add(at, uintptr(i)*size), raw, norms)
			}
			return raw
		}
	default:
		panic(fmt.Sprintf("model: a %v cannot be ranked", t))
	}
}

// encoder makes a world's digest; it is kept for the next world.
type encoder struct {
	raw   []byte
	norms []norm
	late  uint64 // deadlines up to it have passed
	parts []part // in the order in which they were added
	bag   []uint64
	ranks [classes][]uint64
	rank  [classes][]uint8
}

// part is a stretch of raw and norms. What is in the bag has no order.
type part struct {
	raw, norms int // where it ends
	bag        bool
}

func (e *encoder) reset(late uint64) {
	e.raw, e.norms, e.parts, e.bag, e.late = e.raw[:0], e.norms[:0], e.parts[:0], e.bag[:0], late
}

func (e *encoder) byte(b ...byte)          { e.raw = append(e.raw, b...) }
func (e *encoder) uint(v uint64)           { e.raw = binary.LittleEndian.AppendUint64(e.raw, v) }
func (e *encoder) norm(c class, v uint64)  { e.norms = append(e.norms, norm{c, v}) }
func (e *encoder) close(bag bool)          { e.parts = append(e.parts, part{len(e.raw), len(e.norms), bag}) }
func (e *encoder) add(d uint64, ns []norm) { e.uint(d); e.norms = append(e.norms, ns...) }
func put[T any](e *encoder, b *box[T]) {
	if b == nil {
		e.uint(0)
		return
	}
	e.add(b.digest, b.norms)
}

// sum ranks everything and returns the digest.
func (e *encoder) sum() uint64 {
	for c := range e.ranks {
		e.ranks[c] = e.ranks[c][:0]
	}
	for _, n := range e.norms {
		e.ranks[n.class] = append(e.ranks[n.class], n.value)
	}
	for c := range e.ranks {
		slices.Sort(e.ranks[c])
		e.ranks[c] = slices.Compact(e.ranks[c])
		e.rank[c] = e.rank[c][:0]
		at, before := uint8(0), uint64(0)
		for _, v := range e.ranks[c] {
			switch {
			case v == 0:
			case class(c) == deadline && v <= e.late:
				at = 1
			case class(c) == hubSeq:
				at += uint8(min(v-before, 2))
			default:
				at++
			}
			if class(c) == deadline && v > e.late {
				at = uint8(2 + (v-e.late)/1000) // seconds that are left
			}
			e.rank[c] = append(e.rank[c], at)
			before = v
		}
	}
	var h maphash.Hash
	h.SetSeed(seed)
	raw, norms := 0, 0
	var small [256]byte
	for _, p := range e.parts {
		b := append(small[:0], e.raw[raw:p.raw]...)
		for _, n := range e.norms[norms:p.norms] {
			i, _ := slices.BinarySearch(e.ranks[n.class], n.value)
			b = append(b, e.rank[n.class][i])
		}
		raw, norms = p.raw, p.norms
		if p.bag {
			e.bag = append(e.bag, maphash.Bytes(seed, b))
			continue
		}
		_, _ = h.Write(b)
	}
	slices.Sort(e.bag)
	for _, d := range e.bag {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], d)
		_, _ = h.Write(b[:])
	}
	return h.Sum64()
}

// A field that is listed above and is not in the product any more would be taken for encoded, or hide another of its name.
func TestEncoding_ListsOnlyFieldsThatExist(t *testing.T) {
	seen := map[string]bool{}
	for _, of := range encoded {
		gather(of, seen)
	}
	for name := range fields {
		if !seen[name] {
			t.Errorf("%s is not in the product any more", name)
		}
	}
}

// gather names every field of a type, and of the types in it.
func gather(t reflect.Type, seen map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		gather(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if name := t.String() + "." + f.Name; !seen[name] {
				seen[name] = true
				gather(f.Type, seen)
			}
		}
	default:
	}
}
