package ledger

import (
	"errors"
	"slices"

	"tideover"
	"tideover/wire"
)

// pastMax is how many earlier incarnations of a store are remembered, so that a process that was replaced does not come back.
const pastMax = 64

// Store is what the hub knows of one shop. Its terminals are kept apart: they are many, and change rarely.
type Store struct {
	Name      string          `cbor:"1,keyasint"`
	CreatedAt tideover.Millis `cbor:"2,keyasint"`
	Secret    [32]byte        `cbor:"3,keyasint"` // keys the store's request and instrument hashes; sealed at rest

	Incarnation [16]byte   `cbor:"4,keyasint,omitzero"` // of the edge's process that said hello last
	Past        [][16]byte `cbor:"5,keyasint,omitempty"`
	HubSeq      uint64     `cbor:"6,keyasint,omitempty"` // the highest outbox position ever given

	AnchorSeq    uint64          `cbor:"7,keyasint,omitempty"` // the edge's last committed head
	AnchorHead   [32]byte        `cbor:"8,keyasint,omitzero"`
	PrunedBefore tideover.Millis `cbor:"9,keyasint,omitempty"`

	Token       Token           `cbor:"10,keyasint,omitzero"`
	Certificate Certificate     `cbor:"11,keyasint,omitzero"`
	Revoked     bool            `cbor:"12,keyasint,omitempty"`
	Terminals   [32]byte        `cbor:"13,keyasint,omitzero"` // digest of the list that is kept
	HeardAt     tideover.Millis `cbor:"14,keyasint,omitempty"`

	Journal [16]byte        `cbor:"15,keyasint,omitzero"`  // of the edge that said hello last
	GapAt   tideover.Millis `cbor:"16,keyasint,omitempty"` // when another journal's edge took over; 0: never

	// What the ledger has lost of the store's past because it was put back to an older copy: see [View.Hello].
	Restored   [16]byte        `cbor:"17,keyasint,omitzero"`  // [History.Restored] at the last hello
	LostBefore uint64          `cbor:"18,keyasint,omitempty"` // the journal's sequence then; 0: nothing is lost
	LostAt     tideover.Millis `cbor:"19,keyasint,omitempty"` // when it was found out last
	LostFrom   uint64          `cbor:"20,keyasint,omitempty"` // ends above this outbox position may be lost
	Replay     bool            `cbor:"21,keyasint,omitempty"` // the edge has not yet told all of them again

	HeardIn [16]byte `cbor:"22,keyasint,omitzero"` // the ledger's epoch at the last hello
	// Ahead: outbox positions were given out in an epoch in which no hello was heard; HeardSeq is the last one before them.
	Ahead    bool   `cbor:"23,keyasint,omitempty"`
	HeardSeq uint64 `cbor:"24,keyasint,omitempty"`
	// Reused: positions above LostFrom and up to it were given out before this ledger knew that it had given them out once already.
	Reused uint64 `cbor:"25,keyasint,omitempty"`

	Acked uint64 `cbor:"26,keyasint,omitempty"` // the highest outbox position that an edge has acknowledged

	// OrphanedAt: when an edge last reckoned with sales that it has no record of, while this ledger may have lost them too; 0: never.
	OrphanedAt tideover.Millis `cbor:"27,keyasint,omitempty"`
}

// Token is a one-time enrolment token. Its secret is not kept.
type Token struct {
	Hash      [32]byte        `cbor:"1,keyasint"` // SHA-256 of the secret; zero: none is out
	ExpiresAt tideover.Millis `cbor:"2,keyasint"`
	UsedBy    [32]byte        `cbor:"3,keyasint,omitzero"` // fingerprint of the public key that it was used for
}

// Certificate is the one certificate that speaks for a store.
type Certificate struct {
	Fingerprint [32]byte        `cbor:"1,keyasint"` // SHA-256 of its DER; zero: none
	DER         []byte          `cbor:"2,keyasint"`
	IssuedAt    tideover.Millis `cbor:"3,keyasint"`
	NotAfter    tideover.Millis `cbor:"4,keyasint"`
}

// Why a store's row refuses something.
var (
	ErrStoreExists  = errors.New("the store exists")
	ErrStoreUnknown = errors.New("the store is unknown")
	ErrTokenUnknown = errors.New("the token is unknown or was replaced")
	ErrTokenUsed    = errors.New("the token was used")
	ErrTokenExpired = errors.New("the token has expired")
	ErrRevoked      = errors.New("the certificate is not the store's valid one")
	// ErrSuperseded: a later incarnation of the store's edge has said hello.
	ErrSuperseded = errors.New("a later incarnation of the edge has taken its place")
)

// Issue gives the store a fresh token; an earlier one is void from then on. A revoked store may enrol again by it.
func (s *Store) Issue(hash [32]byte, expires tideover.Millis) {
	s.Token = Token{Hash: hash, ExpiresAt: expires}
}

// Redeem takes a token for a public key: from then on cert alone speaks for the store. The same key may redeem it again within the
// token's life and gets the certificate that it got, so that an answer that was lost costs nothing. Errors: [ErrTokenUnknown],
// [ErrTokenUsed], [ErrTokenExpired].
func (s *Store) Redeem(hash, key [32]byte, cert Certificate, now tideover.Millis) (Certificate, error) {
	switch {
	case hash == [32]byte{} || s.Token.Hash != hash:
		return Certificate{}, ErrTokenUnknown
	case s.Token.UsedBy != [32]byte{} && s.Token.UsedBy != key:
		return Certificate{}, ErrTokenUsed
	case now >= s.Token.ExpiresAt:
		return Certificate{}, ErrTokenExpired
	case s.Token.UsedBy == key && s.Certificate.Fingerprint != [32]byte{}:
		return s.Certificate, nil
	}
	s.Token.UsedBy, s.Certificate, s.Revoked = key, cert, false
	s.AnchorSeq, s.AnchorHead = 0, [32]byte{} // another machine may begin another journal
	return cert, nil
}

// Revoke ends the store's certificate and its token.
func (s *Store) Revoke() { s.Certificate, s.Token, s.Revoked = Certificate{}, Token{}, true }

// Admits says whether a certificate speaks for the store: nil or [ErrRevoked].
func (s *Store) Admits(fingerprint [32]byte) error {
	if s.Revoked || fingerprint == [32]byte{} || s.Certificate.Fingerprint != fingerprint {
		return ErrRevoked
	}
	return nil
}

// Hello takes the greeting of an edge's process. From then on claims by earlier incarnations are refused. The welcome tells the anchor
// by which an edge knows that it was restored; the hello's own head does not replace it, since the welcome may be lost: the edge anchors
// when it has judged the welcome. What the hello tells of the ledger's own past stays in the store, so that the next welcome says the
// same where this one is lost. Where [Store.Reused] is set from then on, [View.Retell] must be taken before the welcome is told. Errors:
// [ErrSuperseded], for a process that was replaced already.
func (v *View) Hello(h wire.Hello) (wire.Welcome, error) {
	s := &v.Store
	if s.Incarnation != h.Incarnation {
		if slices.Contains(s.Past, h.Incarnation) {
			return wire.Welcome{}, ErrSuperseded
		}
		if s.Incarnation != [16]byte{} {
			s.Past = append(s.Past, s.Incarnation)
			s.Past = s.Past[max(0, len(s.Past)-pastMax):]
		}
		s.Incarnation = h.Incarnation
	}
	v.remember(h)
	s.HeardAt, s.HeardIn = v.Now, v.History.Epoch()
	w := wire.Welcome{
		LedgerTime: v.Now, AnchorSeq: s.AnchorSeq, AnchorHead: s.AnchorHead, PrunedBefore: s.PrunedBefore, GivenOut: s.HubSeq,
		Terminals: s.Terminals, Epoch: v.History.Epoch(), Gap: v.gap(),
	}
	if v.lost() {
		w.LostBefore, w.Replay = s.LostBefore, s.Replay
	}
	if w.Replay {
		w.LostFrom = s.LostFrom
	}
	return w, nil
}

// Anchor keeps a newer committed head of the edge's chain; older ones are ignored, and so is one by a superseded incarnation.
func (v *View) Anchor(incarnation [16]byte, a wire.Anchor) {
	if v.Store.Incarnation == incarnation && a.Seq > v.Store.AnchorSeq {
		v.Store.AnchorSeq, v.Store.AnchorHead = a.Seq, a.Head
	}
}
