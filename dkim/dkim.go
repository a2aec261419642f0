// Package dkim signs the mails of an [smtpsender.Sender] with DKIM (RFC 6376). Most
// relays do that themselves: use it where yours does not.
//
//	key, err := dkim.ParseKey(pemBytes)
//	...
//	signer, err := dkim.NewSigner("example.com", "codes", key)
//	...
//	sender, err := smtpsender.New(host, "Acme <codes@example.com>", &smtpsender.Options{Sign: signer.Sign})
//
// [smtpsender.Sender]: https://pkg.go.dev/github.com/go-mailotp/otp#SMTPSender
package dkim

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// The sizes of RSA keys that every verifier must take and that are not weak, in
// bits (RFC 8301 section 3.2).
const (
	minRSA = 2048
	maxRSA = 4096
)

// signed are the header fields of a signature. Each is named once more than the mail
// has it, so that none can be added later, such as a second From (RFC 6376 section
// 8.15). Sender is not among them, since some submission servers add it.
var signed = []string{
	"From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Auto-Submitted",
}

// Signer signs mails for one domain with one key. It is safe for concurrent use if
// the key is. Package fmt shows it without the key.
type Signer struct {
	domain, selector string
	key              crypto.Signer
	algorithm        string // as in a DNS record
	public           []byte // likewise
}

// NewSigner returns a Signer for the public key that DNS has at
// selector._domainkey.domain: see [Signer.Record]. For DMARC the domain is that of
// the mails' From, or one above it. The key is an RSA key of 2048 to 4096 bits or an
// Ed25519 key, as [ParseKey] gives it, or lies elsewhere, such as in a key service;
// its Sign then bounds its own time, since a [crypto.Signer] knows no context.
//
// A domain or selector that is not one in DNS (write xn-- names), a weak key and one
// that is broken are errors.
func NewSigner(domain, selector string, key crypto.Signer) (*Signer, error) {
	switch {
	case !validName(domain) || !strings.Contains(domain, "."):
		return nil, errors.New("dkim: the domain is not one in DNS")
	case !validName(selector) || len(selector+"._domainkey."+domain) > 253:
		return nil, errors.New("dkim: the selector is not one in DNS")
	}
	if err := checkPrivate(key); err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	s := &Signer{domain: domain, selector: selector, key: key}
	var err error
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("dkim: an RSA key of %d bits, not %d to %d", bits, minRSA, maxRSA)
		}
		s.algorithm = "rsa"
		s.public, err = x509.MarshalPKIXPublicKey(public)
	case ed25519.PublicKey:
		s.algorithm, s.public = "ed25519", public
	default:
		err = errors.New("neither an RSA nor an Ed25519 key")
	}
	if err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	return s, nil
}

// checkPrivate refuses a key that lies here and is none.
func checkPrivate(key crypto.Signer) error {
	switch k := key.(type) {
	case nil:
		return errors.New("no key")
	case *rsa.PrivateKey:
		if k == nil || k.N == nil {
			return errors.New("no key")
		}
		return k.Validate()
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize || !ed25519.NewKeyFromSeed(k.Seed()).Equal(k) {
			return errors.New("broken Ed25519 key")
		}
	}
	return nil
}

// Sign returns the mail with a DKIM-Signature on top: what SMTPOptions.Sign is. To
// sign with two keys, such as RSA and Ed25519 (RFC 8463), call the one on what the
// other returned.
func (s *Signer) Sign(ctx context.Context, mail []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(mail))).ReadMIMEHeader()
	if err != nil {
		return nil, errors.New("dkim: the mail's header is malformed") // the error may repeat the mail
	}
	if len(header["From"]) != 1 {
		return nil, errors.New("dkim: the mail does not have one From")
	}
	var fields []string
	for _, name := range signed {
		for range len(header[textproto.CanonicalMIMEHeaderKey(name)]) + 1 {
			fields = append(fields, name)
		}
	}
	var out bytes.Buffer
	out.Grow(len(mail) + 1024)
	err = dkim.Sign(&out, bytes.NewReader(mail), &dkim.SignOptions{
		Domain:                 s.domain,
		Selector:               s.selector,
		Signer:                 s.key,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             fields,
	})
	if err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	return out.Bytes(), nil
}

// Record is the name and the text of the TXT record that DNS must have.
func (s Signer) Record() (name, text string) {
	return s.selector + "._domainkey." + s.domain,
		"v=DKIM1; k=" + s.algorithm + "; p=" + base64.StdEncoding.EncodeToString(s.public)
}

// String names the record and the algorithm.
func (s Signer) String() string {
	name, _ := s.Record()
	return fmt.Sprintf("Signer{%s, %s}", name, s.algorithm)
}

// Format prints what String returns, whatever the verb.
func (s Signer) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// ParseKey reads a private key in PEM, PKCS #8 or for RSA also PKCS #1, as openssl
// and opendkim-genkey write them. Errors do not repeat it.
func ParseKey(pemBytes []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(pemBytes)
	if block == nil {
		return nil, errors.New("dkim: no key in PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, errors.New("dkim: the PEM block is not a private key without a password")
	}
	if err != nil {
		return nil, errors.New("dkim: malformed private key")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, errors.New("dkim: neither an RSA nor an Ed25519 key")
}

// validName reports whether s is a name of letters, digits and hyphens.
func validName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-'
		}) {
			return false
		}
	}
	return true
}
