package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"tideover"
)

// eventType is what an entry of the journal tells. The numbers are on disk: they are never given anew.
type eventType uint8

const (
	eventNone         eventType = iota
	eventAccepted               // a transaction's first event
	eventEnded                  // the hub's end
	eventEndedHere              // the edge's own end: nothing of it ever left
	eventDelivered              // an answer with the end was written to the till
	eventAcknowledged           // the till has printed or shown the end
	eventHeld                   // by a technician
	eventReleased               // by a technician
	eventUndo                   // a cancel was asked for
	eventSettled                // by a technician
	eventDropped                // by a technician: accepted, never sent, and not to be
	eventBuried                 // the hub knows of the edge's own end
	eventAdopted                // the hub's record of the id replaces the edge's
	eventTerminal               // a terminal as it now is
	eventHeard                  // every outbox position up to HubSeq is on disk
	eventLedgerTime             // the last ledger time known
	eventMark                   // nothing but a sequence: a process has started, or has drawn many without a commit
	eventTypesEnd
)

var eventNames = [eventTypesEnd]string{
	eventNone: "", eventAccepted: "accepted", eventEnded: "ended", eventEndedHere: "ended here", eventDelivered: "delivered",
	eventAcknowledged: "acknowledged", eventHeld: "held", eventReleased: "released", eventUndo: "cancel asked",
	eventSettled: "settled", eventDropped: "dropped", eventBuried: "told to the hub", eventAdopted: "adopted",
	eventTerminal: "terminal", eventHeard: "heard", eventLedgerTime: "ledger time", eventMark: "mark",
}

// String returns the name in the history of a transaction.
func (t eventType) String() string {
	if t < eventTypesEnd {
		return eventNames[t]
	}
	return fmt.Sprintf("event-%d", uint8(t))
}

// event is one entry of the journal.
type event struct {
	Type eventType       `cbor:"1,keyasint"`
	At   tideover.Millis `cbor:"2,keyasint,omitempty"` // the edge's wall clock
	ID   tideover.ID     `cbor:"3,keyasint,omitzero"`
	Prev uint64          `cbor:"4,keyasint,omitempty"` // the same transaction's event before this one; 0 for its first
	// From is the state that Cause met. Memory may have moved on since the event before this one: that is part of the record too.
	From      tideover.State     `cbor:"5,keyasint,omitempty"`
	Cause     tideover.Cause     `cbor:"6,keyasint,omitempty"`
	Accepted  *accepted          `cbor:"7,keyasint,omitempty"`
	Digest    [32]byte           `cbor:"8,keyasint,omitzero"` // SHA-256 of the sealed part; zero where there is none
	Outcome   *tideover.Outcome  `cbor:"9,keyasint,omitempty"`
	HubSeq    uint64             `cbor:"10,keyasint,omitempty"`
	Corrected bool               `cbor:"11,keyasint,omitempty"`
	Attempts  int                `cbor:"12,keyasint,omitempty"` // up to this end, in the process that wrote it
	Uplink    string             `cbor:"13,keyasint,omitempty"`
	Terminal  *tideover.Terminal `cbor:"14,keyasint,omitempty"`
	Ledger    tideover.Millis    `cbor:"15,keyasint,omitempty"`
}

// accepted is what an accepted or adopted event says of the request.
type accepted struct {
	TerminalUID    string           `cbor:"1,keyasint"`
	Terminal       string           `cbor:"2,keyasint"`
	Key            string           `cbor:"3,keyasint"`
	Request        tideover.Request `cbor:"4,keyasint"` // without payload and instrument: those are sealed
	Hash           [32]byte         `cbor:"5,keyasint"`
	InstrumentHash [32]byte         `cbor:"6,keyasint,omitzero"`
	CreatedAt      tideover.Millis  `cbor:"7,keyasint"`
	LedgerExpires  tideover.Millis  `cbor:"8,keyasint,omitempty"`
	Boot           [16]byte         `cbor:"9,keyasint,omitzero"`
	BootAt         time.Duration    `cbor:"10,keyasint,omitempty"`
	Adopted        bool             `cbor:"11,keyasint,omitempty"` // the hub's record, not a till's press at this edge
}

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

func (e *event) encode() []byte {
	b, err := encMode.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("queue: an event cannot be encoded: %v", err)) // before it reaches the disk
	}
	return b
}

func decodeEvent(b []byte) (e event, err error) {
	if err := decMode.Unmarshal(b, &e); err != nil {
		return e, err
	}
	if e.Type == eventNone || e.Type >= eventTypesEnd {
		return e, fmt.Errorf("event type %d is unknown", e.Type)
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

// An entry's value is: length of the event as uvarint, event, hash, sealed part.

func encodeValue(event []byte, hash [hashSize]byte, sealed []byte) []byte {
	v := make([]byte, 0, binary.MaxVarintLen32+len(event)+hashSize+len(sealed))
	v = binary.AppendUvarint(v, uint64(len(event)))
	v = append(v, event...)
	v = append(v, hash[:]...)
	return append(v, sealed...)
}

var errShortValue = errors.New("the entry is shorter than it says")

// splitValue takes an entry's value apart; the parts point into it.
func splitValue(v []byte) (event []byte, hash [hashSize]byte, sealed []byte, err error) {
	n, used := binary.Uvarint(v)
	if used <= 0 || n > uint64(len(v)-used) || uint64(len(v)-used)-n < hashSize {
		return nil, hash, nil, errShortValue
	}
	event, v = v[used:used+int(n)], v[used+int(n):]
	return event, [hashSize]byte(v), v[hashSize:], nil
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }
