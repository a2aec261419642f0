// Package dkim signs the mails of an [smtpsender.Sender] with DKIM (RFC 6376).
// Most mail providers sign the mails that they relay; use this package if yours
// does not.
//
//	key, err := dkim.ParseKey(pemBytes)
//	...
//	signer, err := dkim.NewSigner("example.com", "codes", key)
//	...
//	sender, err := smtpsender.New(host, "Acme <codes@example.com>", &smtpsender.Options{Sign: signer.Sign})
//
// [smtpsender.Sender]: https://pkg.go.dev/github.com/go-mailotp/otp/smtpsender#Sender
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

// The range of RSA key sizes, in bits, that every DKIM verifier must accept and
// that are not weak (RFC 8301 section 3.2).
const (
	minRSA = 2048
	maxRSA = 4096
)

// signed are the header fields that the signature covers. Each is listed once
// more than it occurs in the mail, so that nobody can add another one later,
// such as a second From (RFC 6376 section 8.15). Sender is not signed, because
// some submission servers add it.
var signed = []string{
	"From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Auto-Submitted",
}

// Signer signs mails for one domain with one key. It is safe for concurrent use
// if the key is. Printing a Signer does not show the key.
type Signer struct {
	domain, selector string
	key              crypto.Signer
	algorithm        string // as in the DNS record
	public           []byte // as in the DNS record
}

// NewSigner returns a Signer for the key whose public part is published in DNS
// at selector._domainkey.domain; see [Signer.Record]. For DMARC, the domain
// must be the domain of the From field or a parent of it.
//
// The key is an RSA key of 2048 to 4096 bits or an Ed25519 key. [ParseKey]
// returns one. The key may also be in a key service. Its Sign method then has
// to limit its own time, because [crypto.Signer] has no context.
//
// NewSigner returns an error if the domain or the selector is not a valid DNS
// name (write international names as xn--), or if the key is weak or invalid.
func NewSigner(domain, selector string, key crypto.Signer) (*Signer, error) {
	switch {
	case !validName(domain) || !strings.Contains(domain, "."):
		return nil, fmt.Errorf("dkim: domain: %q is not a valid DNS name", domain)
	case !validName(selector) || len(selector+"._domainkey."+domain) > 253:
		return nil, fmt.Errorf("dkim: selector: %q is not a valid DNS name", selector)
	}
	if err := checkPrivate(key); err != nil {
		return nil, fmt.Errorf("dkim: key: %w", err)
	}
	s := &Signer{domain: domain, selector: selector, key: key}
	var err error
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("dkim: key: RSA key has %d bits, want %d to %d", bits, minRSA, maxRSA)
		}
		s.algorithm = "rsa"
		s.public, err = x509.MarshalPKIXPublicKey(public)
	case ed25519.PublicKey:
		s.algorithm, s.public = "ed25519", public
	default:
		err = errors.New("is neither an RSA nor an Ed25519 key")
	}
	if err != nil {
		return nil, fmt.Errorf("dkim: key: %w", err)
	}
	return s, nil
}

// checkPrivate returns an error if a private key in memory is missing or
// invalid.
func checkPrivate(key crypto.Signer) error {
	switch k := key.(type) {
	case nil:
		return errors.New("is nil")
	case *rsa.PrivateKey:
		if k == nil || k.N == nil {
			return errors.New("is nil")
		}
		return k.Validate()
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize || !ed25519.NewKeyFromSeed(k.Seed()).Equal(k) {
			return errors.New("is an invalid Ed25519 key")
		}
	}
	return nil
}

// Sign returns the mail with a DKIM-Signature field at the top. Use it as the
// Sign field of smtpsender.Options. To sign with two keys, such as RSA and
// Ed25519 (RFC 8463), call the Sign of the second Signer on the result of the
// first.
func (s *Signer) Sign(ctx context.Context, mail []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(mail))).ReadMIMEHeader()
	if err != nil {
		return nil, errors.New("dkim: mail has a malformed header") // err may repeat the mail
	}
	if len(header["From"]) != 1 {
		return nil, errors.New("dkim: mail must have exactly one From field")
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
		return nil, fmt.Errorf("dkim: sign: %w", err)
	}
	return out.Bytes(), nil
}

// Record returns the name and the text of the TXT record to publish in DNS.
func (s Signer) Record() (name, text string) {
	return s.selector + "._domainkey." + s.domain,
		"v=DKIM1; k=" + s.algorithm + "; p=" + base64.StdEncoding.EncodeToString(s.public)
}

// String returns the name of the record and the algorithm.
func (s Signer) String() string {
	name, _ := s.Record()
	return fmt.Sprintf("Signer{%s, %s}", name, s.algorithm)
}

// Format prints the result of String for every verb.
func (s Signer) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// ParseKey parses a private key in PEM format: PKCS #8, or PKCS #1 for RSA.
// openssl and opendkim-genkey write such files. Errors do not repeat the key.
func ParseKey(pemBytes []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(pemBytes)
	if block == nil {
		return nil, errors.New("dkim: key: no PEM block found")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, errors.New("dkim: key: PEM block is not an unencrypted private key")
	}
	if err != nil {
		return nil, errors.New("dkim: key: malformed private key")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, errors.New("dkim: key: is neither an RSA nor an Ed25519 key")
}

// validName reports whether s is a DNS name of letters, digits and hyphens.
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
