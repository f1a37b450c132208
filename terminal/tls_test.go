package terminal_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tideover/terminal"
)

// certificate writes a certificate for 127.0.0.1 that signs itself, and returns its files and itself.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, pool
}

func TestServer_SpeaksTLSFromFiles(t *testing.T) {
	certFile, keyFile, pool := certificate(t)
	c := openCounter(t, func(cfg *terminal.Config) { cfg.TLS, cfg.TLSCert, cfg.TLSKey = terminal.TLSFiles, certFile, keyFile })
	for version, http2 := range map[int]bool{1: false, 2: true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		res, err := (&http.Client{Transport: transport}).Get("https://" + c.addr + "/v1/health")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		transport.CloseIdleConnections()
		if res.StatusCode != 200 || res.ProtoMajor != version {
			t.Errorf("HTTP/%d: %d over %s", version, res.StatusCode, res.Proto)
		}
	}
	if a := c.do(get("/v1/health")); a.err == nil && a.status == 200 {
		t.Error("it answers in clear")
	}
}

func TestServer_SaysWhichCertificateIsMissing(t *testing.T) {
	cfg := terminal.DefaultConfig()
	cfg.Listen, cfg.TLS, cfg.TLSCert, cfg.TLSKey = "127.0.0.1:0", terminal.TLSFiles, "/nowhere/cert.pem", "/nowhere/key.pem"
	s, err := terminal.New(cfg, newShop(), (&counter{T: t}).log())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it listens without a certificate: %v", err)
	}
}
