package hub

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"tideover"
	"tideover/wire"
)

// How long certificates live. An edge's is pinned in its store's row and ended there (revoke, rotate), never by its date: a shop must
// not stop selling because a date came. The hub's own is made again long before its end.
const (
	caLife     = 30 * 365 * 24 * time.Hour
	serverLife = 5 * 365 * 24 * time.Hour
	storeLife  = 20 * 365 * 24 * time.Hour
	// backdate covers edges whose idea of the time is behind the hub's.
	backdate = 48 * time.Hour
)

// csrMax bounds a certificate request, DER, in bytes. One for P-256 has about 250.
const csrMax = 4 << 10

// ErrBadCSR is returned for a certificate request that the authority does not sign.
var ErrBadCSR = errors.New("not a certificate request for a P-256 key")

// authority is the hub's own certificate authority: it signs the hub's certificate and one for each store's edge.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// hash is the fingerprint that tokens carry: SHA-256 of the certificate's DER.
func (a *authority) hash() [32]byte { return sha256.Sum256(a.cert.Raw) }

// pool holds the authority alone.
func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// newSerial returns 127 random bits: never negative, never zero in practice, at most 20 octets as RFC 5280 wants.
func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// newAuthority makes the authority's certificate over key.
func newAuthority(key *ecdsa.PrivateKey, now time.Time) (*authority, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Tideover hub CA"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	cert, err := sign(t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key}, nil
}

// server signs the hub's own certificate. Edges know it by [wire.ServerName], whatever address they dial.
func (a *authority) server(key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: wire.ServerName}, DNSNames: []string{wire.ServerName},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	return sign(t, a.cert, &key.PublicKey, a.key)
}

// parseCSR checks a request: its size, its signature and the kind of its key. What it asks for beyond the key is ignored.
func parseCSR(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) > csrMax {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrBadCSR, len(der), csrMax)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadCSR, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadCSR, err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, ErrBadCSR
	}
	return key, nil
}

// issuedAt returns when a store's certificate was signed. It is told to the second, and never later than it was.
func issuedAt(cert *x509.Certificate) tideover.Millis {
	return tideover.MillisOf(cert.NotBefore.Add(backdate))
}

// store signs the certificate of a store's edge; the store's name is its common name.
func (a *authority) store(name string, key *ecdsa.PublicKey, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(storeLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	return sign(t, a.cert, key, a.key)
}

func sign(t, parent *x509.Certificate, key crypto.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key, by)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %q: %w", t.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// fingerprint knows a certificate, or a public key in its PKIX form, again.
func fingerprint(der []byte) [32]byte { return sha256.Sum256(der) }

// tlsConfig serves both protocols on one port: a client that offers the enrolment's shows no certificate and can speak nothing else;
// every other one must show a certificate of this authority. Which store that is, and whether it is still the store's, is checked
// against the ledger when the edge says hello, so that the edge can be told why.
func (a *authority) tlsConfig(server tls.Certificate) *tls.Config {
	base := &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS13}
	enrol := base.Clone()
	enrol.NextProtos = []string{wire.EnrollProtocol}
	// A ticket would be of no use: an enrolment happens once.
	enrol.SessionTicketsDisabled = true
	edges := base.Clone()
	edges.NextProtos = []string{wire.Protocol}
	edges.ClientAuth = tls.RequireAndVerifyClientCert
	edges.ClientCAs = a.pool()
	edges.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == wire.EnrollProtocol {
			return enrol, nil
		}
		return nil, nil // this very configuration
	}
	return edges
}
