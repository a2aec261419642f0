package servers

import (
	"crypto/tls"
	"testing"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// certificate writes a certificate for 127.0.0.1 to dir as cert.pem and key.pem. It
// returns the configuration of a client that trusts it.
func certificate(t testing.TB, dir string) *tls.Config {
	t.Helper()
	cert := smtptest.NewCert(t, "127.0.0.1")
	cert.Write(t, dir)
	return cert.Client()
}
