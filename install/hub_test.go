package install

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/wire"
)

// ledgerTime is the time at the test's hub, far from the machine's.
var ledgerTime = time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)

// hub enrols machines over real QUIC as the product's does: one token, one key.
type hub struct {
	t     *testing.T
	store string
	caKey *ecdsa.PrivateKey
	ca    *x509.Certificate
	token wire.Token
	addr  string

	mu     sync.Mutex
	asked  int
	key    [32]byte             // of the machine that was enrolled first
	answer func(*wire.Enrolled) // changes an answer
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func sign(t *testing.T, c, parent *x509.Certificate, public any, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(t, err)
	c.SerialNumber, c.NotBefore, c.NotAfter = serial, ledgerTime.Add(-48*time.Hour), ledgerTime.AddDate(20, 0, 0)
	c.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, by)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

// newHub starts a hub with a token for a store.
func newHub(t *testing.T, store string) *hub {
	t.Helper()
	h := &hub{t: t, store: store, caKey: newKey(t)}
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "CA"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	h.ca = sign(t, authority, authority, &h.caKey.PublicKey, h.caKey)
	key := newKey(t)
	leaf := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: wire.ServerName}, DNSNames: []string{wire.ServerName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, h.ca, &key.PublicKey, h.caKey)
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	transport := &quic.Transport{Conn: socket}
	listener, err := transport.Listen(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, h.ca.Raw}, PrivateKey: key}}, NextProtos: []string{wire.EnrollProtocol},
	}, nil)
	check(t, err)
	h.addr = listener.Addr().String()
	h.token = wire.Token{Store: store, Addresses: []string{h.addr}, CAHash: sha256.Sum256(h.ca.Raw)}
	_, _ = rand.Read(h.token.Secret[:])
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			running.Go(func() { h.serve(conn) })
		}
	})
	t.Cleanup(func() {
		transport.Close()
		socket.Close()
		running.Wait()
	})
	return h
}

func (h *hub) serve(conn *quic.Conn) {
	st, err := conn.AcceptStream(conn.Context())
	if err != nil {
		return
	}
	_, msg, err := wire.ReadFrame(st, wire.FromEdge)
	if err != nil {
		return
	}
	kind, reply := h.enrol(msg.(wire.Enroll))
	if wire.WriteFrame(st, kind, reply) == nil && st.Close() == nil {
		<-conn.Context().Done()
	}
}

func (h *hub) enrol(ask wire.Enroll) (wire.Type, any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	csr, err := x509.ParseCertificateRequest(ask.CSR)
	if err != nil || ask.Secret != h.token.Secret {
		return wire.TypeRefused, wire.Refused{Reason: wire.ReasonToken, Detail: "unknown"}
	}
	key := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	if h.key != [32]byte{} && h.key != key {
		return wire.TypeRefused, wire.Refused{Reason: wire.ReasonToken, Detail: "the token was used already"}
	}
	h.key = key
	cert := sign(h.t, &x509.Certificate{
		Subject: pkix.Name{CommonName: h.store}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, h.ca, csr.PublicKey, h.caKey)
	answer := wire.Enrolled{
		Store: h.store, Certificate: cert.Raw, CA: h.ca.Raw, StoreSecret: [32]byte{5}, Ledger: [16]byte{6}, Addresses: []string{h.addr},
		Terminals:  []tideover.Terminal{{UID: "u1", Name: "till-1", TokenHash: [32]byte{7}, PairedAt: 8}, {UID: "u2", Name: "till-2", Revoked: true}},
		LedgerTime: tideover.MillisOf(ledgerTime), ReceiptKey: [32]byte(receiptKey(1)),
	}
	if h.answer != nil {
		h.answer(&answer)
	}
	return wire.TypeEnrolled, answer
}

// rotate gives the hub a fresh token.
func (h *hub) rotate() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = rand.Read(h.token.Secret[:])
	h.key = [32]byte{}
}

// lie changes the answers from now on.
func (h *hub) lie(how func(*wire.Enrolled)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = how
}

func (h *hub) calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// deadAddress is one that nobody listens on, and that stays so while the test runs.
func deadAddress(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}
