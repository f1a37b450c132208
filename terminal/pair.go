package terminal

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"tideover"
)

// The life of a pairing code.
const (
	CodeLife     = 5 * time.Minute
	CodeTriesMax = 5  // wrong codes after which every code that was alive meanwhile is dead
	CodesMax     = 16 // codes alive at once; beyond it none is made
	codeDigits   = 6
)

// ErrTooManyCodes is returned by [Book.Open] while [CodesMax] codes are alive.
var ErrTooManyCodes = errors.New("too many pairing codes are alive; use one of them, or wait five minutes")

// Grant is what a pairing code is good for.
type Grant struct {
	Name    string // of the till, whatever it calls itself; "" lets it name itself
	Replace bool   // Name is in use, and its uid and past go over to the till that pairs
}

// grant is a code that is alive.
type grant struct {
	Grant
	code    string
	expires time.Time
	wrong   int
}

// Book holds the pairing codes that are alive. They are in memory alone: a restart ends them. The zero Book is empty. It may be used
// from many goroutines.
type Book struct {
	mu    sync.Mutex // guards alive
	alive []*grant
}

// Open makes a code of six digits that lives [CodeLife].
func (b *Book) Open(g Grant) (code string, expires time.Time, err error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", time.Time{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.bury(now)
	if len(b.alive) >= CodesMax {
		return "", time.Time{}, ErrTooManyCodes
	}
	code = fmt.Sprintf("%0*d", codeDigits, n)
	b.alive = append(b.alive, &grant{Grant: g, code: code, expires: now.Add(CodeLife)})
	return code, now.Add(CodeLife), nil
}

// bury forgets the codes that are too old or were guessed at too often.
func (b *Book) bury(now time.Time) {
	kept := b.alive[:0]
	for _, g := range b.alive {
		if now.Before(g.expires) && g.wrong < CodeTriesMax {
			kept = append(kept, g)
		}
	}
	clear(b.alive[len(kept):])
	b.alive = kept
}

// Redeem gives what code is good for to take, once: a code is used up when take returns nil, and otherwise lives on. It returns
// take's error, or refuses a code that is not alive as forbidden. A wrong code counts against every code that is alive: which one was
// meant is not known.
func (b *Book) Redeem(code string, take func(Grant) error) error {
	g := b.claim(code)
	if g == nil {
		return tideover.Refuse(tideover.CodeForbidden,
			"this pairing code is wrong, used, older than %[1]d minutes, or was guessed at too often; make a new one with `tideover terminal pair`",
			"配对码错误、已使用、超过 %[1]d 分钟，或错误次数过多；请用 `tideover terminal pair` 重新生成", int(CodeLife/time.Minute))
	}
	err := take(g.Grant)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.alive = append(b.alive, g)
	}
	return err
}

// claim takes the grant of a code out of the book, and returns nil for a wrong one.
func (b *Book) claim(code string) *grant {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bury(time.Now())
	found := -1
	for i, g := range b.alive {
		if subtle.ConstantTimeCompare([]byte(g.code), []byte(code)) == 1 {
			found = i
		}
	}
	if found < 0 {
		for _, g := range b.alive {
			g.wrong++
		}
		return nil
	}
	g := b.alive[found]
	b.alive = append(b.alive[:found], b.alive[found+1:]...)
	return g
}

// NewToken makes a till's bearer token, of 130 random bits, and the hash that is kept of it.
func NewToken() (token string, hash [32]byte) {
	token = "tdt_" + rand.Text()
	return token, HashToken(token)
}

// HashToken returns what is kept of a token. It is not salted: the token is random.
func HashToken(token string) [32]byte { return sha256.Sum256([]byte(token)) }

// NewUID makes a till's uid, of 130 random bits.
func NewUID() string { return rand.Text() }

// Roster knows the tills that are allowed in. The zero Roster lets nobody in. It may be used from many goroutines.
type Roster struct {
	terminals atomic.Pointer[[]tideover.Terminal]
}

// Set replaces the whole list; the caller must not change it afterwards.
func (r *Roster) Set(terminals []tideover.Terminal) { r.terminals.Store(&terminals) }

// Match returns the till that a token belongs to, and false for a revoked or unknown one. How long it takes does not depend on how
// much of the token is right.
func (r *Roster) Match(token string) (by Caller, ok bool) {
	terminals := r.terminals.Load()
	if terminals == nil {
		return Caller{}, false
	}
	hash := HashToken(token)
	for _, t := range *terminals {
		if subtle.ConstantTimeCompare(t.TokenHash[:], hash[:]) == 1 && !t.Revoked && t.TokenHash != [32]byte{} {
			by, ok = Caller{UID: t.UID, Name: t.Name}, true
		}
	}
	return by, ok
}
