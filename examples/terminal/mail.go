package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/go-mailotp/otp/smtpsender"
)

// newSender returns a sender for the server in the environment. If none is set,
// it starts a server that prints each mail to out. done closes the sender and
// the server.
func newSender(ctx context.Context, out io.Writer) (sender *smtpsender.Sender, done func(), err error) {
	url, from := os.Getenv("OTP_SMTP_URL"), os.Getenv("OTP_FROM")
	if (url == "") != (from == "") {
		return nil, nil, errors.New("set both OTP_SMTP_URL and OTP_FROM, or neither")
	}
	if url != "" {
		host, opts, err := smtpsender.ParseURL(url)
		if err != nil {
			return nil, nil, err
		}
		if sender, err = smtpsender.New(host, from, opts); err != nil {
			return nil, nil, err
		}
		if err := sender.Ping(ctx); err != nil { // reports a wrong password early
			sender.Close()
			return nil, nil, err
		}
		return sender, func() { sender.Close() }, nil
	}

	certificate, roots, err := selfSigned()
	if err != nil {
		return nil, nil, err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		return nil, nil, err
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{out: out}, nil }))
	server.Domain = "localhost"
	server.ErrorLog = quiet{}
	go server.Serve(listener) // until done is called
	sender, err = smtpsender.New(listener.Addr().String(), "Terminal <terminal@otp.example>", &smtpsender.Options{
		TLSConfig: &tls.Config{RootCAs: roots}, Username: "demo", Password: "demo",
	})
	if err != nil {
		server.Close()
		return nil, nil, err
	}
	fmt.Fprintf(out, "No OTP_SMTP_URL set: mailing to a local test server at %s.\n", listener.Addr())
	return sender, func() {
		sender.Close()
		listener.Close() // Serve may not have started yet
		server.Close()
	}, nil
}

// session receives mails and prints them.
type session struct{ out io.Writer }

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "demo" || password != "demo" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }
func (s *session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }

func (s *session) Data(r io.Reader) error {
	defer io.Copy(io.Discard, r) // the whole mail must be read
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	text, err := plainText(m)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, name := range []string{"From", "To", "Subject"} {
		value, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get(name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	fmt.Fprintf(&b, "\n%s", text)
	const rule = "+----------------------------------------------------------------"
	framed := strings.ReplaceAll(strings.TrimRight(b.String(), "\n"), "\n", "\n| ")
	_, err = fmt.Fprintf(s.out, "%s\n| %s\n%s\n", rule, framed, rule)
	return err
}

// plainText returns the first part of the mail, which is its plain text.
func plainText(m *mail.Message) (string, error) {
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return "", err
	}
	part, err := multipart.NewReader(m.Body, params["boundary"]).NextPart()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(part)
	return strings.ReplaceAll(string(text), "\r\n", "\n"), err
}

// selfSigned creates a certificate for 127.0.0.1 that is valid for a day, and a
// pool that trusts it.
func selfSigned() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots, nil
}

// quiet discards the server's messages about closed connections.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}
