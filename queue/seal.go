package queue

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"tideover"
	"tideover/edge"
)

// Keys are the keys of a journal. The newest one seals payloads; each opens what was sealed while it was the newest.
type Keys struct {
	All       [][32]byte // the newest first; never empty
	Destroyed [][32]byte // the names ([KeyName]) of keys that were destroyed: what they sealed is lost, and that is no damage
}

// OneKey is the key of a journal that never had another.
func OneKey(key [32]byte) Keys { return Keys{All: [][32]byte{key}} }

// ErrKeyDestroyed says that something was sealed with a key that was destroyed since: nobody can read it any more.
var ErrKeyDestroyed = errors.New("the key that it was sealed with was destroyed")

// sealer keeps payloads and instruments unreadable at rest, under one key.
type sealer struct {
	aead  cipher.AEAD
	check [32]byte // tells a wrong key from the right one without telling the key
}

// derive makes a key for one purpose out of a key of [Keys].
func derive(key [32]byte, purpose string) ([32]byte, error) {
	b, err := hkdf.Key(sha256.New, key[:], nil, purpose, 32)
	if err != nil {
		return [32]byte{}, err
	}
	return [32]byte(b), nil
}

// KeyName returns what a key is called wherever it is not to be told: it is known again by it.
func KeyName(key [32]byte) ([32]byte, error) { return derive(key, "tideover/1 queue check") }

func newSealer(key [32]byte) (s sealer, err error) {
	seal, err := derive(key, "tideover/1 queue seal")
	if err != nil {
		return s, err
	}
	if s.check, err = KeyName(key); err != nil {
		return s, err
	}
	block, err := aes.NewCipher(seal[:])
	if err != nil {
		return s, err
	}
	s.aead, err = cipher.NewGCM(block)
	return s, err
}

// ring is the keys of a journal, and which of them sealed what. It never changes: another one takes its place.
type ring struct {
	sealer                      // seals; its aead is nil where the key that should is not there
	held    map[[32]byte]sealer // by the key's name
	newest  [32]byte            // of Keys, whether it seals yet or not
	noted   map[[32]byte]bool   // Keys.Destroyed
	spans   []span              // oldest first; of an empty ring none
	present [][32]byte          // Keys.All by their names
}

// span is the part of a journal in which one key sealed: what is above a sequence, up to the next span's.
type span struct {
	after uint64
	check [32]byte
	since tideover.Millis // 0 for the first one: when the journal was made
	gone  *destroyed      // nil where that is not on record
}

// destroyed is what is on record of a key's end.
type destroyed struct {
	seq uint64
	at  tideover.Millis
	by  edge.By
}

// newRing makes the ring of a journal of which nothing was read yet.
func newRing(k Keys) (*ring, error) {
	if len(k.All) == 0 {
		return nil, errors.New("a journal without a key")
	}
	r := &ring{held: make(map[[32]byte]sealer), noted: make(map[[32]byte]bool)}
	for i, key := range k.All {
		s, err := newSealer(key)
		if err != nil {
			return nil, err
		}
		if r.held[s.check] = s; i == 0 {
			r.newest = s.check
		}
		r.present = append(r.present, s.check)
	}
	for _, name := range k.Destroyed {
		r.noted[name] = true
	}
	return r, nil
}

// owns says whether a file was written with these keys, for this store. Errors: ErrWrongKey, ErrOtherStore.
func (r *ring) owns(h head, store string) error {
	_, held := r.held[h.Check]
	switch {
	case !held && !r.noted[h.Check]:
		return ErrWrongKey
	case h.Store != store:
		return fmt.Errorf("%w: %q, not %q", ErrOtherStore, h.Store, store)
	}
	return nil
}

// begin returns the ring at the beginning of a journal. An empty one will do where no key is at hand.
func (r *ring) begin(h head) *ring {
	n := *r
	n.spans = []span{{check: h.firstCheck()}}
	n.sealer = n.held[h.firstCheck()]
	return &n
}

// follow returns the ring after an event of the journal. One that is known already changes nothing.
func (r *ring) follow(seq uint64, e *edge.Event) *ring {
	if e.Type != edge.EventKey || e.Key == nil || len(r.spans) == 0 {
		return r
	}
	last := r.spans[len(r.spans)-1]
	n := *r
	switch {
	case e.Key.Destroyed:
		n.spans = append([]span(nil), r.spans...)
		for i := range n.spans {
			if n.spans[i].check == e.Key.Check && n.spans[i].after < seq && n.spans[i].gone == nil {
				n.spans[i].gone = &destroyed{seq, e.At, edge.By{Who: e.By, Reason: e.Reason}}
			}
		}
	case last.after >= seq:
		return r
	default:
		n.spans = append(r.spans[:len(r.spans):len(r.spans)], span{after: seq, check: e.Key.Check, since: e.At})
		n.sealer = n.held[e.Key.Check]
	}
	return &n
}

// with returns the ring with one key more, which does not seal yet.
func (r *ring) with(s sealer) *ring {
	if _, held := r.held[s.check]; held {
		return r
	}
	n := *r
	n.held = maps.Clone(r.held)
	n.held[s.check], n.newest = s, s.check
	n.present = append([][32]byte{s.check}, r.present...)
	return &n
}

// without returns the ring without some of its keys.
func (r *ring) without(names [][32]byte) *ring {
	n := *r
	n.held, n.noted, n.present = maps.Clone(r.held), maps.Clone(r.noted), nil
	for _, name := range names {
		delete(n.held, name)
		n.noted[name] = true
	}
	for _, name := range r.present {
		if _, held := n.held[name]; held {
			n.present = append(n.present, name)
		}
	}
	return &n
}

// now is the name of the key that seals, or should.
func (r *ring) now() [32]byte { return r.spans[len(r.spans)-1].check }

// sealed says whether a key seals in some part of the journal.
func (r *ring) sealed(check [32]byte) bool {
	return slices.ContainsFunc(r.spans, func(p span) bool { return p.check == check })
}

// ended says that a key's end is on record.
func (r *ring) ended(check [32]byte) bool {
	return slices.ContainsFunc(r.spans, func(p span) bool { return p.check == check && p.gone != nil })
}

// span returns the part of the journal that a sequence is in.
func (r *ring) span(seq uint64) *span {
	for i := len(r.spans) - 1; i > 0; i-- {
		if seq > r.spans[i].after {
			return &r.spans[i]
		}
	}
	return &r.spans[0]
}

// lost says that a span's key was destroyed.
func (r *ring) lost(p *span) bool {
	_, held := r.held[p.check]
	return p.gone != nil || !held && r.noted[p.check]
}

// of returns the key that opens what was sealed with an entry. Errors: ErrKeyDestroyed, ErrWrongKey.
func (r *ring) of(seq uint64) (sealer, error) {
	p := r.span(seq)
	s, held := r.held[p.check]
	switch {
	case r.lost(p):
		return s, ErrKeyDestroyed
	case !held:
		return s, fmt.Errorf("%w: the older one that entry %d was sealed with is not among them, and was not destroyed", ErrWrongKey, seq)
	}
	return s, nil
}

// secrets is what is sealed.
type secrets struct {
	Payload    []byte `cbor:"1,keyasint,omitempty"`
	Instrument string `cbor:"2,keyasint,omitempty"`
}

// seal returns nonce and ciphertext of what r must not show at rest; nil where it has nothing of the kind. Nonces are random: 2^32
// of them under one key are safe (NIST SP 800-38D, 8.3), and no shop has as many payments.
func (s sealer) seal(id tideover.ID, r tideover.Request) []byte {
	if len(r.Payload) == 0 && r.Instrument == "" {
		return nil
	}
	plain, err := encMode.Marshal(secrets{r.Payload, r.Instrument})
	if err != nil {
		panic(fmt.Sprintf("queue: a payload cannot be encoded: %v", err))
	}
	return s.hide(id, plain)
}

// hide returns nonce and ciphertext.
func (s sealer) hide(id tideover.ID, plain []byte) []byte {
	sealed := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	rand.Read(sealed)
	return s.aead.Seal(sealed, sealed, plain, id[:])
}

// open puts what was sealed with an entry back into q. Errors: ErrKeyDestroyed, ErrWrongKey, or what is wrong with it.
func (r *ring) open(seq uint64, id tideover.ID, sealed []byte, q *tideover.Request) error {
	if len(sealed) == 0 {
		return nil
	}
	plain, err := r.show(seq, id, sealed)
	if err != nil {
		return err
	}
	var p secrets
	if err := decMode.Unmarshal(plain, &p); err != nil {
		return err
	}
	q.Payload, q.Instrument = p.Payload, p.Instrument
	return nil
}

// show returns what was hidden with an entry. Errors are those of open.
func (r *ring) show(seq uint64, id tideover.ID, sealed []byte) ([]byte, error) {
	s, err := r.of(seq)
	var plain []byte
	if err == nil {
		if plain, err = s.reveal(id, sealed); err == nil {
			return plain, nil
		}
	}
	// In a journal that was salvaged the entry may be missing that says that another key sealed this.
	for _, other := range r.held {
		if plain, failed := other.reveal(id, sealed); failed == nil && !r.ended(other.check) {
			return plain, nil
		}
	}
	return nil, err
}

// sealedWith returns the name of the key at hand that something was hidden with; zero where it is none.
func (r *ring) sealedWith(id tideover.ID, sealed []byte) (name [32]byte) {
	for name, s := range r.held {
		if _, err := s.reveal(id, sealed); err == nil {
			return name
		}
	}
	return name
}

func (s sealer) reveal(id tideover.ID, sealed []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, errShortValue
	}
	return s.aead.Open(nil, sealed[:n], sealed[n:], id[:])
}

// digest is what the chain holds of a sealed part.
func digest(sealed []byte) (sum [32]byte) {
	if len(sealed) == 0 {
		return sum
	}
	return sha256.Sum256(sealed)
}
