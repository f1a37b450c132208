package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// tokenPrefix names the layout: another one gets another number.
const tokenPrefix = "tov1."

// tokenMax bounds a token's text, in bytes.
const tokenMax = 8 << 10

// checkSize is how many bytes of SHA-256 stand behind a token, so that one copied wrongly is not taken for one that was used.
const checkSize = 4

// ErrBadToken is returned by [ParseToken] for text that is no token, or that was not copied whole.
var ErrBadToken = errors.New("not an enrolment token")

// Token is what `tideover-hub store add` prints and `tideover enroll` takes, once: where the hub is, how to know it, and the secret
// that the store's certificate is given for.
type Token struct {
	Store     string   `cbor:"1,keyasint"`
	Addresses []string `cbor:"2,keyasint"` // HOST:PORT, 1 to AddressesMax
	CAHash    [32]byte `cbor:"3,keyasint"` // SHA-256 of the hub's CA certificate, DER
	Secret    [32]byte `cbor:"4,keyasint"`
}

// Validate returns what breaks a limit.
func (t Token) Validate() error {
	var c check
	c.label("store", t.Store, StoreMax)
	c.addresses(t.Addresses)
	return c.err()
}

// String returns the token's text: "tov1." and base64url of its CBOR and a checksum. It holds the secret; logs get
// [Token.LogValue]. It panics where Validate fails.
func (t Token) String() string {
	if err := t.Validate(); err != nil {
		panic("wire: token: " + err.Error())
	}
	b := must(encode(t))
	sum := sha256.Sum256(b)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:checkSize]...))
}

// LogValue implements slog.LogValuer, without the secret.
func (t Token) LogValue() slog.Value { return slog.StringValue("token of store " + t.Store) }

// ParseToken reads what [Token.String] prints; white space around and within it, as a terminal's line breaks put there, does not
// matter. Errors are [ErrBadToken] and never show the text.
func ParseToken(text string) (Token, error) {
	if len(text) > tokenMax {
		return Token{}, fmt.Errorf("%w: longer than %d characters", ErrBadToken, tokenMax)
	}
	body, ok := strings.CutPrefix(strings.Join(strings.Fields(text), ""), tokenPrefix)
	if !ok {
		return Token{}, fmt.Errorf("%w: it begins with %q", ErrBadToken, tokenPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(b) <= checkSize {
		return Token{}, fmt.Errorf("%w: it was not copied whole", ErrBadToken)
	}
	b, check := b[:len(b)-checkSize], b[len(b)-checkSize:]
	if sum := sha256.Sum256(b); !bytes.Equal(check, sum[:checkSize]) {
		return Token{}, fmt.Errorf("%w: it was not copied whole", ErrBadToken)
	}
	t, err := decode[Token](b)
	if err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrBadToken, err)
	}
	return t, nil
}
