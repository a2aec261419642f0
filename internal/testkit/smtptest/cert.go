// Package smtptest has the mail servers that tests talk to: a script that says
// what the test wants, and a sink that is a real server. All listen on
// loopback and stop with the test.
package smtptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Cert is a self-signed certificate and the roots that trust it.
type Cert struct {
	key   tls.Certificate
	roots *x509.CertPool
}

// NewCert makes a certificate for names, which may be addresses, that is valid
// from an hour ago until an hour from now.
func NewCert(t testing.TB, names ...string) *Cert {
	t.Helper()
	return must(t)(MakeCert(time.Now().Add(time.Hour), names...))
}

// NewExpiredCert makes one whose time is over.
func NewExpiredCert(t testing.TB, names ...string) *Cert {
	t.Helper()
	return must(t)(MakeCert(time.Now().Add(-time.Minute), names...))
}

func must(t testing.TB) func(*Cert, error) *Cert {
	return func(c *Cert, err error) *Cert {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// MakeCert makes a certificate that is valid until notAfter, outside of tests.
func MakeCert(notAfter time.Time, names ...string) (*Cert, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "smtptest"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &Cert{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots}, nil
}

// Server is the configuration of a server that shows the certificate.
func (c *Cert) Server() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c.key}} }

// Client is the configuration of a client that trusts it.
func (c *Cert) Client() *tls.Config { return &tls.Config{RootCAs: c.roots} }

// Write writes the certificate and its key to dir as cert.pem and key.pem, for a
// server that is another program.
func (c *Cert) Write(t testing.TB, dir string) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(c.key.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: c.key.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
