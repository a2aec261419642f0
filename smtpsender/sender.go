// Package smtpsender sends codes over SMTP, with TLS, authentication and a
// small pool of connections.
//
//	sender, err := smtpsender.New("smtp.example.com", "Example <login@example.com>",
//		&smtpsender.Options{Username: "login", Password: os.Getenv("SMTP_PASSWORD")})
//	...
//	defer sender.Close()
//	verifier, err := otp.NewVerifier(store, sender, nil)
//
// [ParseURL] parses server and login from one string, such as an environment
// variable, and [Sender.Ping] checks them when the program starts. Package
// otpmail composes the mails.
//
// Mail goes over TLS, unless you ask for clear text to a server nearby: see
// [InsecureLoopback] and [InsecurePrivateNetwork].
package smtpsender

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/safetext"
	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpmail"
)

// Sender is an [otp.Sender] that mails codes through one SMTP server, over a
// small pool of connections that it opens when needed. It is safe for
// concurrent use. Call Close when you no longer need it.
type Sender struct {
	server   string
	composer *otpmail.Composer
	bounces  string // empty means the address in from
	timeout  time.Duration
	pool     *smtpclient.Pool
}

var _ otp.Sender = (*Sender)(nil)

// New returns a sender that uses the server at host, a name or an IP address
// with or without ":port". The default port is 465 for [ImplicitTLS] and 587
// for [StartTLS]; the insecure modes have no default port. A dot at the end of
// the name is removed. Mails come from the address in from, "a@b.c" or
// "Name <a@b.c>". A nil opts means every default.
//
// New composes a trial mail, so that it can return an error if no mail can be
// composed with these options. It does not connect: see [Sender.Ping].
func New(host, from string, opts *Options) (*Sender, error) {
	s, err := newSender(host, from, opts)
	if err != nil {
		return nil, fmt.Errorf("smtpsender: %w", err)
	}
	return s, nil
}

func newSender(host, from string, opts *Options) (*Sender, error) {
	if opts == nil {
		opts = &Options{}
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	defaultPort := map[TLSMode]string{ImplicitTLS: "465", StartTLS: "587"}[o.TLS]
	name, port, err := splitHost(host, defaultPort)
	if err != nil {
		return nil, err
	}
	if err := o.TLS.checkHost(name); err != nil {
		return nil, err
	}
	tlsConfig, err := o.tlsConfig(name)
	if err != nil {
		return nil, err
	}
	composer, err := otpmail.New(from, &otpmail.Options{
		Brand:       o.Brand,
		BrandInFrom: o.BrandInFrom,
		ReplyTo:     o.ReplyTo,
		Support:     o.Support,
		Letter:      o.Letter,
		Headers:     o.Headers,
		Sign:        o.Sign,
	})
	if err != nil {
		return nil, err
	}
	address := composer.From().Address
	if domain := address[strings.LastIndexByte(address, '@')+1:]; o.HelloName == "" && strings.Contains(domain, ".") {
		o.HelloName = domain // container names have no dot, and servers reject private addresses
	}
	s := &Sender{server: net.JoinHostPort(name, port), composer: composer, bounces: o.Bounces, timeout: o.Timeout}
	s.pool = smtpclient.NewPool(smtpclient.Config{
		Addr:           s.server,
		TLS:            tlsConfig,
		StartTLS:       o.TLS == StartTLS,
		Private:        o.TLS == InsecurePrivateNetwork,
		Dial:           o.Dial,
		Hello:          o.HelloName,
		Auth:           authFunc(&o),
		Plain:          o.OneByOne,
		ConnectTimeout: o.ConnectTimeout,
		MaxConns:       o.MaxConns,
		MaxPerConn:     o.MaxPerConn,
		IdleTimeout:    o.IdleTimeout,
		Backoff:        time.Second,
		ProbeAfter:     2 * time.Second,
	})
	return s, nil
}

// Send mails m. It returns nil once the server has accepted the mail, and
// otherwise an *[otp.SendError]:
//
//   - Temporary is false only if the server rejected this mail permanently (5yz
//     to MAIL, RCPT or DATA; a 5yz to the greeting or the login says nothing
//     about the recipient), if it does not offer SMTPUTF8 for an address that
//     needs it, or if no mail can be composed from m.
//   - MaybeSent is true if the connection or ctx ended after the last byte of
//     the mail and before the server's answer.
//   - Stage is one of compose, sign, connect, tls, hello, auth, mail, rcpt and
//     data.
//   - Class is always set, by the table in docs/smtp-replies.md. A permanent
//     rejection has the class [otpevent.ClassRecipient] only if the reply says
//     that this mailbox does not exist, and only that makes a decoy. Three
//     different recipients in a row that are refused with the same words and
//     without an enhanced code are [otpevent.ClassUs].
//   - RetryAfter is what a greylister says, up to 15 minutes, or else a minute;
//     0 if the server is none.
//   - A reply of the server is in the chain as a *smtp.SMTPError of
//     github.com/emersion/go-smtp, without the code and the whole address.
//
// Send retries after a 4yz reply to the mail, and after a connection that was lost
// before any content was written, at most twice and within its timeout. It does
// not retry after a rejected login, a greylister or a full mailbox.
//
// While the server refuses new connections or says that there are too many, sends
// share the open ones, and only one send at a time tries to open a new one, after
// pauses that grow from one to 30 seconds. While it rejects the login and no
// connection is open, sends fail at once with its reply, so that a wrong password
// does not lock the account. After [Sender.Close], Send fails.
func (s *Sender) Send(ctx context.Context, m otp.Message) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	mail, err := s.composer.Compose(ctx, m)
	if err != nil {
		return composeError(err)
	}
	env := smtpclient.Envelope{
		From: cmp.Or(s.bounces, mail.From.Address), To: mail.To,
		UTF8: !isASCII(s.bounces + mail.From.Address + mail.ReplyTo.Address + mail.To), // most are in the header, too
	}
	return sendError(s.pool.Send(ctx, env, mail.Raw), m)
}

// Ping opens a connection, secures it and logs in, and keeps the connection for
// the next Send. Use it at start-up to check the host, the certificate and the
// password. Its error is an *[otp.SendError]. After a rejected login it returns
// that reply, for up to 30 seconds, without asking the server again.
func (s *Sender) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return sendError(s.pool.Ping(ctx), otp.Message{})
}

// Close closes the unused connections and returns; sends in progress finish
// and close theirs. It may be called more than once and always returns nil.
func (s *Sender) Close() error {
	s.pool.Close()
	return nil
}

// String names the server and the address that mails come from.
func (s *Sender) String() string {
	return fmt.Sprintf("smtpsender.Sender{%s, from %s}", s.server, s.composer.From().Address)
}

// Format prints what String returns, whatever the verb.
func (s *Sender) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue logs what String returns.
func (s *Sender) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON encodes what String returns.
func (s *Sender) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// sendError converts err, which may be nil, into an *otp.SendError.
func sendError(err error, m otp.Message) error {
	var e *smtpclient.Error
	if !errors.As(err, &e) {
		return err
	}
	return &otp.SendError{Temporary: !e.Permanent, MaybeSent: e.MaybeSent, Stage: e.Stage, Class: e.Class(), RetryAfter: e.RetryAfter(), Err: clean(e.Err, m)}
}

// composeError adds the class to an error of the composer. That there is no
// mail says nothing about the recipient.
func composeError(err error) error {
	var e *otp.SendError
	if !errors.As(err, &e) {
		return err
	}
	ours := *e
	ours.Class = otpevent.ClassUs
	return &ours
}

// clean makes err safe to log, whatever the server said, and keeps the errors
// that errors.As finds in it.
func clean(err error, m otp.Message) error {
	var reply *smtp.SMTPError
	if errors.As(err, &reply) {
		safe := &smtp.SMTPError{Code: reply.Code, Message: masked(reply.Message, m)}
		if e := reply.EnhancedCode; max(e[0], e[1], e[2]) <= 999 && min(e[0], e[1], e[2]) >= 0 { // RFC 3463 section 2
			safe.EnhancedCode = e
		}
		return safe
	}
	if text := masked(err.Error(), m); text != err.Error() {
		return &safetext.Error{Text: text, Err: err}
	}
	return err
}

// masked returns text without the code and the whole address of m.
func masked(text string, m otp.Message) string {
	return safetext.Text(text, m.Code, m.To.String(), m.To.Masked())
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
