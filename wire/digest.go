package wire

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"tideover"
)

// TerminalsDigest is the SHA-256 by which edge and hub compare their lists of terminals: over the list in the order of uids, encoded
// as in a [Terminals] frame. The order of the argument does not matter, and it is not changed.
func TerminalsDigest(list []tideover.Terminal) [32]byte {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b tideover.Terminal) int { return cmp.Compare(a.UID, b.UID) })
	b, err := encode(sorted)
	if err != nil {
		panic("wire: a terminal cannot be encoded: " + err.Error())
	}
	return sha256.Sum256(b)
}
