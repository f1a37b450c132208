package install

import (
	"crypto/x509"
	"fmt"
	"time"
)

// leaf is the store's certificate, which Load has checked to be one.
func (id Identity) leaf() *x509.Certificate {
	if id.certificate.Leaf != nil {
		return id.certificate.Leaf
	}
	leaf, err := x509.ParseCertificate(id.certificate.Certificate[0])
	if err != nil {
		panic("install: a loaded identity holds no certificate: " + err.Error())
	}
	return leaf
}

// Serial returns the certificate's serial number, in hexadecimal.
func (id Identity) Serial() string { return fmt.Sprintf("%x", id.leaf().SerialNumber) }

// NotAfter returns when the certificate ends.
func (id Identity) NotAfter() time.Time { return id.leaf().NotAfter }
