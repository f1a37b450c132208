package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"tideover/edge"
)

var (
	encMode = func() cbor.EncMode {
		m, err := cbor.CoreDetEncOptions().EncMode()
		if err != nil {
			panic(err)
		}
		return m
	}()
	decMode = func() cbor.DecMode {
		m, err := cbor.DecOptions{
			DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 8,
			MaxArrayElements: 1024, MaxMapPairs: 64, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, TagsMd: cbor.TagsForbidden,
		}.DecMode()
		if err != nil {
			panic(err)
		}
		return m
	}()
)

func encodeEvent(e *edge.Event) []byte {
	b, err := encMode.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("queue: an event cannot be encoded: %v", err)) // before it reaches the disk
	}
	return b
}

func decodeEvent(b []byte) (e edge.Event, err error) {
	if err := decMode.Unmarshal(b, &e); err != nil {
		return e, err
	}
	if e.Type == edge.EventNone || e.Type >= edge.EventTypesEnd {
		return e, fmt.Errorf("event type %d is unknown", e.Type)
	}
	if (e.Type == edge.EventKey) != (e.Key != nil) {
		return e, errors.New("a key is named where none belongs, or none is")
	}
	return e, nil
}

const hashSize = sha256.Size

// chain returns the hash that follows prev.
func chain(prev [hashSize]byte, seq uint64, event []byte) (next [hashSize]byte) {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(binary.BigEndian.AppendUint64(nil, seq))
	h.Write(event)
	return [hashSize]byte(h.Sum(nil))
}

// An entry's value is: length of the event as uvarint, event, hash. In schema 1 the sealed part stood behind the hash.

func encodeValue(event []byte, hash [hashSize]byte) []byte {
	v := make([]byte, 0, binary.MaxVarintLen32+len(event)+hashSize)
	v = binary.AppendUvarint(v, uint64(len(event)))
	v = append(v, event...)
	return append(v, hash[:]...)
}

var (
	errShortValue = errors.New("the entry is shorter than it says")
	errLongValue  = errors.New("more stands behind the entry than belongs there")
)

// splitValue takes an entry's value apart; the parts point into it. rest is what stands behind the hash: nothing, but in schema 1.
func splitValue(v []byte) (event []byte, hash [hashSize]byte, rest []byte, err error) {
	n, used := binary.Uvarint(v)
	if used <= 0 || n > uint64(len(v)-used) || uint64(len(v)-used)-n < hashSize {
		return nil, hash, nil, errShortValue
	}
	event, v = v[used:used+int(n)], v[used+int(n):]
	return event, [hashSize]byte(v), v[hashSize:], nil
}

// entryVisitor looks at an entry with its sealed part, which is empty where there is none or where it was erased. The slices are valid
// during the call.
type entryVisitor func(seq uint64, raw []byte, link [hashSize]byte, sealed []byte) error

// seqKey and seqOf are kept out of line: byte by byte in sixty places they made 8 kB on mipsle.
//
//go:noinline
func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }
