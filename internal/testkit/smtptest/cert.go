// Package smtptest provides SMTP servers for tests: a script that replies as
// the test wants, and a sink that is a real server. Both listen on a loopback
// address and stop when the test ends.
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

// NewCert returns a certificate for names, which may be IP addresses. It has
// been valid for an hour and expires in an hour.
func NewCert(t testing.TB, names ...string) *Cert {
	t.Helper()
	return must(t)(MakeCert(time.Now().Add(time.Hour), names...))
}

// NewExpiredCert returns a certificate that expired a minute ago.
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

// MakeCert returns a certificate that expires at notAfter. Unlike NewCert it
// needs no test.
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

// Server returns the configuration of a server with the certificate.
func (c *Cert) Server() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c.key}} }

// Client returns the configuration of a client that trusts the certificate.
func (c *Cert) Client() *tls.Config { return &tls.Config{RootCAs: c.roots} }

// Write writes the certificate and its key to dir as cert.pem and key.pem, for
// servers in other processes.
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
