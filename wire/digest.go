package wire

import (
	"crypto/sha256"
	"sort"

	"tideover"
)

// TerminalsDigest is the SHA-256 by which edge and hub compare their lists of terminals: over the list in the order of uids, encoded
// as in a [Terminals] frame. The order of the argument does not matter, and it is not changed.
func TerminalsDigest(list []tideover.Terminal) [32]byte {
	sorted := append([]tideover.Terminal(nil), list...) // nil where there is none: that has one encoding
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].UID < sorted[j].UID })
	b, err := encode(sorted)
	if err != nil {
		panic("wire: a terminal cannot be encoded: " + err.Error())
	}
	return sha256.Sum256(b)
}
