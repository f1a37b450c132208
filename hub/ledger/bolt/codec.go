package bolt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/fxamacker/cbor/v2"

	"tideover"
)

var (
	encoder = must(cbor.CoreDetEncOptions().EncMode())
	// Lists are bounded where they are written; the largest is that of a store's terminals.
	decoder    = must(cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, MaxArrayElements: 4096}.DecMode())
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic("bolt: " + err.Error())
	}
	return v
}

// encode writes a value with its checksum in front. The key is part of the sum: a value in another's place shows.
func encode(key []byte, v any) []byte {
	body := must(encoder.Marshal(v))
	b := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(b, sum(key, body))
	return append(b, body...)
}

func sum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

// decode reads what encode wrote.
func decode(key, b []byte, v any) error {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != sum(key, b[4:]) {
		return fmt.Errorf("%w: the checksum of %x is wrong", ErrDamaged, key)
	}
	if err := decoder.Unmarshal(b[4:], v); err != nil {
		return fmt.Errorf("%w: %x: %w", ErrDamaged, key, err)
	}
	return nil
}

// rowKey orders rows by store.
func rowKey(store string, id tideover.ID) []byte { return append(storeKey(store), id[:]...) }

// storeKey begins every key of a store; its length in front keeps one store's keys from beginning another's.
func storeKey(store string) []byte {
	b := make([]byte, 0, 1+len(store)+24)
	b = append(b, byte(len(store)))
	return append(b, store...)
}

func outboxKey(store string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(storeKey(store), seq)
}

// splitKey undoes rowKey.
func splitKey(k []byte) (store string, id tideover.ID, ok bool) {
	if len(k) < 1+len(id) || len(k) != 1+int(k[0])+len(id) {
		return "", id, false
	}
	n := 1 + int(k[0])
	return string(k[1:n]), tideover.ID(k[n:]), true
}

// vault seals what must not be readable on disk.
type vault struct{ gcm cipher.AEAD }

func newVault(key [32]byte) vault {
	return vault{must(cipher.NewGCM(must(aes.NewCipher(key[:]))))}
}

// errSealed tells that something sealed cannot be opened.
var errSealed = errors.New("sealed under another key, or damaged")

func (v vault) seal(plain, key []byte) []byte {
	nonce := make([]byte, v.gcm.NonceSize(), v.gcm.NonceSize()+len(plain)+v.gcm.Overhead())
	must(rand.Read(nonce))
	return v.gcm.Seal(nonce, nonce, plain, key)
}

func (v vault) open(sealed, key []byte) ([]byte, error) {
	if len(sealed) < v.gcm.NonceSize() {
		return nil, errSealed
	}
	plain, err := v.gcm.Open(nil, sealed[:v.gcm.NonceSize()], sealed[v.gcm.NonceSize():], key)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// hidden is the part of a request that is sealed.
type hidden struct {
	Instrument string `cbor:"1,keyasint,omitempty"`
	Payload    []byte `cbor:"2,keyasint,omitempty"`
}
