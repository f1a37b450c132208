package tideover

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ID names a transaction everywhere: at the till, on the edge's disk, in the hub's ledger and at the platform. It is a
// function of store, terminal uid and idempotency key alone, so that the same press has the same id on a replaced router.
type ID [16]byte

// ErrBadID is returned by [ParseID] for text that no ID prints as.
var ErrBadID = errors.New("not a transaction id: want 26 characters of 0-9 a-z without i, l, o, u")

var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// MakeID returns the id of what a terminal pressed under key: the first 16 bytes of SHA-256 over "tideover/1", store,
// terminal uid and key, each preceded by its length as four bytes, big end first.
func MakeID(store, terminalUID, key string) ID {
	h := sha256.New()
	for _, part := range []string{"tideover/1", store, terminalUID, key} {
		writePart(h, part)
	}
	return ID(h.Sum(nil)[:16])
}

// writePart feeds one length-prefixed string to a hash.
func writePart(h interface{ Write([]byte) (int, error) }, part string) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(part)))
	h.Write(n[:])
	h.Write([]byte(part))
}

// String returns the id as 26 characters of lower-case Crockford base32.
func (id ID) String() string { return crockford.EncodeToString(id[:]) }

// IsZero says whether id is no transaction's.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads what [ID.String] prints, and nothing else: there is one spelling of each id. Errors are [ErrBadID].
func ParseID(s string) (ID, error) {
	b, err := crockford.DecodeString(s)
	if err != nil || len(b) != len(ID{}) || ID(b).String() != s {
		return ID{}, fmt.Errorf("%q: %w", s, ErrBadID)
	}
	return ID(b), nil
}

// ShortMin is the fewest characters of an id by which a person may name a transaction.
const ShortMin = 6

// ParseShort reads an id, or its first characters, [ShortMin] at least, and returns the first and the last id that begin with them: one
// and the same where s is a whole id. Errors are [ErrBadID].
func ParseShort(s string) (first, last ID, err error) {
	whole := len(ID{}.String())
	if len(s) == whole {
		first, err = ParseID(s)
		return first, first, err
	}
	if len(s) < ShortMin || len(s) > whole {
		return first, last, fmt.Errorf("%q: %w", s, ErrBadID)
	}
	for bound, pad := range map[*ID]string{&first: "0", &last: "z"} {
		b, err := crockford.DecodeString(s + strings.Repeat(pad, whole-len(s)))
		if err != nil || len(b) != len(ID{}) || !strings.HasPrefix(ID(b).String(), s) { // the decoder skips line ends
			return ID{}, ID{}, fmt.Errorf("%q: %w", s, ErrBadID)
		}
		*bound = ID(b)
	}
	return first, last, nil
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}
