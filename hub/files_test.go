package hub

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tideover"
	"tideover/wire"
)

func setUpDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(setUp(dir, time.Now()), finish(dir, time.Now(), tideover.KeyID{})); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestKeyring_IsTheSameAtEachStart(t *testing.T) {
	dir := setUpDir(t)
	a, err := openKeyring(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b, err := openKeyring(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if a.ca.hash() != b.ca.hash() || a.reset != b.reset || a.token != b.token || a.seal != b.seal {
		t.Error("a second start reads other keys than the first")
	}
	if !a.server.Leaf.Equal(b.server.Leaf) {
		t.Error("a second start made a new server certificate without need")
	}
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		info, _ := f.Info()
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", f.Name(), info.Mode())
		}
	}
}

func TestKeyring_SecretThatOthersCanReadIsRefused(t *testing.T) {
	for _, name := range []string{fileCAKey, fileQUICKeys, fileSealKey} {
		t.Run(name, func(t *testing.T) {
			dir := setUpDir(t)
			if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := openKeyring(dir, time.Now())
			mustHint(t, err)
		})
	}
}

func TestKeyring_MissingOrDamagedFileIsAnErrorNeverMadeAnew(t *testing.T) {
	for _, name := range []string{fileCAKey, fileCACert, fileQUICKeys, fileSealKey} {
		t.Run(name, func(t *testing.T) {
			dir := setUpDir(t)
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := openKeyring(dir, time.Now())
			mustHint(t, err)
			os.Remove(path)
			_, err = openKeyring(dir, time.Now())
			mustHint(t, err)
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s was made anew", name)
			}
		})
	}
}

func mustHint(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want an Error", err)
	}
	if e.What.En == "" || e.What.Zh == "" || e.Hint.En == "" || e.Hint.Zh == "" {
		t.Errorf("incomplete error: %+v", e)
	}
}

func TestKeyring_ForeignCAKeyIsRefused(t *testing.T) {
	dir, other := setUpDir(t), setUpDir(t)
	b, _ := os.ReadFile(filepath.Join(other, fileCAKey))
	if err := os.WriteFile(filepath.Join(dir, fileCAKey), b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openKeyring(dir, time.Now())
	mustHint(t, err)
}

func TestKeyring_ServerCertificateIsMadeAgainInTime(t *testing.T) {
	dir := setUpDir(t)
	first, err := openKeyring(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(serverLife * 3 / 4)
	second, err := openKeyring(dir, later)
	if err != nil {
		t.Fatal(err)
	}
	if first.server.Leaf.Equal(second.server.Leaf) {
		t.Error("the certificate was kept beyond two thirds of its life")
	}
	os.Remove(filepath.Join(dir, fileServerKey)) // as a crash between the two files leaves them
	third, err := openKeyring(dir, later)
	if err != nil {
		t.Fatal(err)
	}
	_, err = third.server.Leaf.Verify(x509.VerifyOptions{Roots: first.ca.pool(), CurrentTime: later, DNSName: wire.ServerName})
	if err != nil {
		t.Errorf("edges that trust the CA refuse the new certificate: %v", err)
	}
}

func TestIsSetUp_HalfDoneIsDoneAgain(t *testing.T) {
	dir := t.TempDir()
	if err := setUp(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	done, err := isSetUp(dir)
	if done || err != nil {
		t.Errorf("without %s: %v, %v", fileIdentity, done, err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileIdentity), []byte(`{"version":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = isSetUp(dir)
	mustHint(t, err)
}

// The fault: a start without hub.json took the directory for a fresh one, and made a new authority and an empty ledger over the old.
func TestOpenState_WithoutHubJSONNothingIsMadeAnew(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "hub"), slog.New(slog.DiscardHandler)
	s, err := openState(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	authority, ledger := s.keys.ca.hash(), s.ledger.ID()
	s.close()
	os.Remove(filepath.Join(dir, fileIdentity))
	if s, err = openState(dir, log); err != nil {
		t.Fatal(err)
	}
	if s.keys.ca.hash() != authority || s.ledger.ID() != ledger {
		t.Error("another authority or another ledger took the place of the old one")
	}
	s.close()
	if done, err := isSetUp(dir); !done || err != nil {
		t.Errorf("%s was not written again: %v, %v", fileIdentity, done, err)
	}

	for _, name := range []string{fileSealKey, fileCAKey} {
		os.Remove(filepath.Join(dir, fileIdentity))
		os.Remove(filepath.Join(dir, name))
		before, _ := os.ReadFile(filepath.Join(dir, fileLedger))
		s, err = openState(dir, log)
		mustHint(t, err)
		if after, _ := os.ReadFile(filepath.Join(dir, fileLedger)); s != nil || !bytes.Equal(before, after) {
			t.Errorf("without %s the ledger was touched", name)
		}
	}
}

func TestLockDir_SecondHubIsToldWhoHoldsIt(t *testing.T) {
	dir := t.TempDir()
	f, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockDir(dir)
	if !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v, want %v", err, ErrLocked)
	}
	mustHint(t, err)
	f.Close()
	again, err := lockDir(dir)
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	again.Close()
}

func TestAuthority_SignsStoresThatEdgesCanUse(t *testing.T) {
	caKey, _ := newKey()
	now := time.Now()
	ca, err := newAuthority(caKey, now)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := newKey()
	cert, err := ca.store("shop-0001", &key.PublicKey, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{now.Add(-time.Hour), now, now.Add(10 * 365 * 24 * time.Hour)} {
		opts := x509.VerifyOptions{Roots: ca.pool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if _, err := cert.Verify(opts); err != nil {
			t.Errorf("at %v: %v", at, err)
		}
	}
	if cert.IsCA {
		t.Error("a store could sign others")
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: ca.pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a store could pose as the hub")
	}
}

func TestParseCSR_TakesP256Alone(t *testing.T) {
	key, _ := newKey()
	good, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseCSR(good); err != nil || !got.Equal(&key.PublicKey) {
		t.Errorf("good request: %v", err)
	}
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	rsaCSR, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, rsaKey)
	for name, der := range map[string][]byte{"forged": forged, "RSA": rsaCSR, "empty": nil, "huge": make([]byte, csrMax+1)} {
		if _, err := parseCSR(der); !errors.Is(err, ErrBadCSR) {
			t.Errorf("%s: got %v, want %v", name, err, ErrBadCSR)
		}
	}
}
