package wire

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"tideover"
)

func sampleToken() Token {
	return Token{Store: "shop-0001", Addresses: []string{"hub.example.com:8443", "127.0.0.1:8443"}, CAHash: fill(1), Secret: fill(2)}
}

func TestToken_ReadsWhatItPrints(t *testing.T) {
	text := sampleToken().String()
	for _, in := range []string{text, "  " + text + "\r\n", text[:40] + "\n  " + text[40:]} {
		if got, err := ParseToken(in); err != nil || !reflect.DeepEqual(got, sampleToken()) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	const golden = "tov1.pAFpc2hvcC0wMDAxAoJ0aHViLmV4YW1wbGUuY29tOjg0NDNuMTI3LjAuMC4xOjg0NDMDWCABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fIARYIAIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"
	if !strings.HasPrefix(text, golden) {
		t.Errorf("the layout changed: %s", text)
	}
}

// TestParseToken_TellsDamage: each single character changed, and each cut, is a bad token, not one that the hub would call used.
func TestParseToken_TellsDamage(t *testing.T) {
	text := sampleToken().String()
	for i := range text {
		other := byte('A')
		if text[i] == other {
			other = 'B'
		}
		for _, bad := range []string{text[:i], text[:i] + string(other) + text[i+1:]} {
			_, err := ParseToken(bad)
			if !errors.Is(err, ErrBadToken) {
				t.Fatalf("%q: %v", bad, err)
			}
			if len(bad) > 20 && strings.Contains(err.Error(), bad[10:]) {
				t.Fatalf("the error shows the token: %v", err)
			}
		}
	}
	if _, err := ParseToken(tokenPrefix + strings.Repeat("A", tokenMax)); !errors.Is(err, ErrBadToken) {
		t.Errorf("too long: %v", err)
	}
}

func TestToken_LogsWithoutItsSecret(t *testing.T) {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("enrolling", "token", sampleToken())
	if s := b.String(); !strings.Contains(s, "shop-0001") || strings.Contains(s, "tov1") || strings.Contains(s, fmt.Sprint(sampleToken().Secret)) {
		t.Error(s)
	}
}

func TestTerminalsDigest_IsOfTheSet(t *testing.T) {
	a := tideover.Terminal{UID: "u1", Name: "till-1", TokenHash: fill(1)}
	b := tideover.Terminal{UID: "u2", Name: "till-2", TokenHash: fill(2)}
	list := []tideover.Terminal{b, a}
	if TerminalsDigest(list) != TerminalsDigest([]tideover.Terminal{a, b}) || list[0].UID != "u2" {
		t.Error("the order matters, or the argument was changed")
	}
	if TerminalsDigest(nil) != TerminalsDigest([]tideover.Terminal{}) {
		t.Error("no list and an empty list differ")
	}
	b.Revoked = true
	if TerminalsDigest(list) == TerminalsDigest([]tideover.Terminal{a, b}) {
		t.Error("a revoked terminal is not seen")
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(sampleToken().String())
	f.Add(tokenPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		if again, err := ParseToken(token.String()); err != nil || !reflect.DeepEqual(again, token) {
			t.Fatalf("%+v came back as %+v, %v", token, again, err)
		}
	})
}
