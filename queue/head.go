package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"tideover"
)

// schemaNow is the version of what this package writes. An older file is migrated at open, a newer one is refused.
const schemaNow uint32 = 2

var (
	bucketMeta    = []byte("meta")
	bucketJournal = []byte("journal")
	bucketSealed  = []byte("sealed") // what an entry seals, by the entry's sequence
	bucketPruned  = []byte("pruned")
	keyHead       = []byte("head")
	headMagic     = []byte("tideover queue\n")
)

// head is the file's first record. It is: magic, schema version, head as CBOR, SHA-256 of all before. The version stands outside of
// the CBOR, where every later program finds it.
type head struct {
	schema  uint32
	Store   string          `cbor:"1,keyasint"`
	Check   [32]byte        `cbor:"2,keyasint"` // the name of the key that seals, see KeyName
	Created tideover.Millis `cbor:"3,keyasint"`
	Genesis [32]byte        `cbor:"4,keyasint"` // random; the chain's hash before the first event
	// First is the name of the key that sealed before the journal's first EventKey; zero where there is none, and it is Check.
	First [32]byte `cbor:"5,keyasint,omitzero"`
}

// firstCheck is the name of the key that sealed first.
func (h *head) firstCheck() [32]byte {
	if h.First != [32]byte{} {
		return h.First
	}
	return h.Check
}

// turn lets another key seal from here on.
func (h *head) turn(check [32]byte) {
	h.First, h.Check = h.firstCheck(), check
}

func (h *head) encode() []byte {
	b, err := encMode.Marshal(h)
	if err != nil {
		panic("queue: the head cannot be encoded: " + err.Error())
	}
	v := binary.BigEndian.AppendUint32(bytes.Clone(headMagic), h.schema)
	v = append(v, b...)
	sum := sha256.Sum256(v)
	return append(v, sum[:]...)
}

var (
	errHeadForeign = errors.New("its first record is not a queue's")
	errHeadDamaged = errors.New("its first record does not match its checksum")
)

// decodeHead reads as much of the head as its schema allows: of a newer one only the version.
func decodeHead(v []byte, current uint32) (h head, err error) {
	n := len(headMagic)
	if len(v) < n+4+sha256.Size || !bytes.Equal(v[:n], headMagic) {
		return h, errHeadForeign
	}
	body, sum := v[:len(v)-sha256.Size], v[len(v)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:]) {
		return h, errHeadDamaged
	}
	h.schema = binary.BigEndian.Uint32(v[n:])
	if h.schema > current {
		return h, nil
	}
	return h, decMode.Unmarshal(body[n+4:], &h)
}
