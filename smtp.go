package otp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/go-mailotp/otp/internal/safetext"
	"github.com/go-mailotp/otp/internal/mimemsg"
	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/letter"
)

// The stages of a [SendError] before anything is sent.
const (
	stageCompose = "compose"
	stageSign    = "sign"
)

// SMTPSender is a [Sender] that mails codes through one SMTP server, over a
// small pool of connections that it opens when needed. It is safe for
// concurrent use. Close it when done.
type SMTPSender struct {
	server  string
	from    mimemsg.Mailbox
	replyTo mimemsg.Mailbox
	brand   string
	support string
	letter  Renderer
	sign    func(context.Context, []byte) ([]byte, error) // nil if mails are not signed
	timeout time.Duration
	pool    *smtpclient.Pool
}

var _ Sender = (*SMTPSender)(nil)

// NewSMTPSender returns a sender that uses the server at host, a name or an
// address with or without ":port" (465 is assumed for [TLSImplicit], 587 for
// [StartTLSRequired], none for [InsecureLoopback]). Mails come from the
// address in from, "a@b.c" or "Name <a@b.c>". Nil opts has every default.
//
// It makes one mail for trial, so that options no mail can be made of are an
// error here and not at the first send, but does not connect: see
// [SMTPSender.Ping].
func NewSMTPSender(host, from string, opts *SMTPOptions) (*SMTPSender, error) {
	s, err := newSMTPSender(host, from, opts)
	if err != nil {
		return nil, fmt.Errorf("otp: smtp sender: %w", err)
	}
	return s, nil
}

func newSMTPSender(host, from string, opts *SMTPOptions) (*SMTPSender, error) {
	if opts == nil {
		opts = &SMTPOptions{}
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	defaultPort := map[TLSMode]string{TLSImplicit: "465", StartTLSRequired: "587"}[o.TLS]
	name, port, err := splitHost(host, defaultPort)
	if err != nil {
		return nil, err
	}
	if o.TLS == InsecureLoopback && !isLoopback(name) {
		return nil, errors.New("host: clear text is for loopback only")
	}
	tlsConfig, err := o.tlsConfig(name)
	if err != nil {
		return nil, err
	}
	s := &SMTPSender{
		server:  net.JoinHostPort(name, port),
		brand:   o.Brand,
		support: o.Support,
		letter:  o.Letter,
		sign:    o.Sign,
		timeout: o.Timeout,
	}
	if s.from, err = parseMailbox(from); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if o.ReplyTo != "" {
		if s.replyTo, err = parseMailbox(o.ReplyTo); err != nil {
			return nil, fmt.Errorf("reply-to: %w", err)
		}
	}
	if s.brand == "" {
		s.brand = s.from.Name
	}
	if s.brand == "" {
		s.brand = s.from.Addr[strings.LastIndexByte(s.from.Addr, '@')+1:]
	}
	s.pool = smtpclient.NewPool(smtpclient.Config{
		Addr:           s.server,
		TLS:            tlsConfig,
		StartTLS:       o.TLS == StartTLSRequired,
		Hello:          o.HelloName,
		Auth:           authFunc(o.Username, o.Password, o.Auth),
		ConnectTimeout: o.ConnectTimeout,
		MaxConns:       o.MaxConns,
		MaxPerConn:     o.MaxPerConn,
		IdleTimeout:    o.IdleTimeout,
		Backoff:        time.Second,
	})
	now := time.Now()
	trial := Message{ID: "trial", Code: "739164", Purpose: "login", Reference: "TRIAL", SentAt: now, ExpiresAt: now.Add(10 * time.Minute)}
	if _, err := s.compose(trial, s.from.Addr); err != nil {
		return nil, err
	}
	return s, nil
}

// Send mails m. It returns nil once the server has accepted the mail, else a
// *[SendError]. Temporary is false only if the server refused this mail for good
// (5yz to MAIL, RCPT or DATA; to the greeting or the login it says nothing about
// the recipient), does not offer SMTPUTF8 for an address that needs it, or no mail can be made
// of m. MaybeSent is true if the connection or ctx ended after the last byte
// of the mail and before the server's answer. A reply of the server is in the
// chain as a *smtp.SMTPError of github.com/emersion/go-smtp, without the code
// and the whole address.
//
// While no content was written, Send tries again after a 4yz reply or a lost
// connection, twice at most and within its time. Where the server says 421 to
// a new connection, sends share those that are open, and one at a time tries a
// new one: after a second, two, and so on to 30. After [SMTPSender.Close] it fails.
func (s *SMTPSender) Send(ctx context.Context, m Message) error {
	// The address stands in commands and headers, so the sender does not take
	// a caller's word that it was parsed: "a@evil.test> ORCPT=..."@b.c would
	// name another recipient.
	to, err := ParseEmailUTF8(m.To.String())
	if err == nil && to.String() != m.To.String() {
		err = ErrAddress
	}
	var content []byte
	if err == nil {
		content, err = s.compose(m, to.String())
	}
	if err != nil {
		return &SendError{Stage: stageCompose, Err: clean(err, m)}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if s.sign != nil {
		if content, err = s.signed(ctx, content); err != nil {
			// A key service that is away says nothing about the recipient.
			return &SendError{Temporary: true, Stage: stageSign, Err: clean(err, m)}
		}
	}
	env := smtpclient.Envelope{From: s.from.Addr, To: to.String(), UTF8: !isASCII(to.String())}
	return smtpError(s.pool.Send(ctx, env, content), m)
}

// Ping opens a connection, secures it and logs in, and keeps it for the next
// Send: a check of host, certificate and password at start-up. Its error is a
// *[SendError].
func (s *SMTPSender) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return smtpError(s.pool.Ping(ctx), Message{})
}

// Close closes the unused connections and returns; sends in progress finish
// and close theirs. It may be called more than once and always returns nil.
func (s *SMTPSender) Close() error {
	s.pool.Close()
	return nil
}

// String names the server and the address that mails come from.
func (s *SMTPSender) String() string {
	return fmt.Sprintf("SMTPSender{%s, from %s}", s.server, s.from.Addr)
}

// Format prints what String returns, whatever the verb.
func (s *SMTPSender) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue logs what String returns.
func (s *SMTPSender) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON encodes what String returns.
func (s *SMTPSender) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// compose makes the bytes of the mail.
func (s *SMTPSender) compose(m Message, to string) ([]byte, error) {
	mail, err := s.letter.Render(letter.Data{
		Code:      m.Code,
		Kind:      kindOf(m.Purpose),
		Locale:    m.Locale,
		Reference: m.Reference,
		Brand:     s.brand,
		Minutes:   m.Minutes(),
		Support:   s.support,
		Vars:      m.Vars,
	})
	if err != nil {
		return nil, err
	}
	if mail.Subject == "" || m.Code == "" || !strings.Contains(mail.Text, m.Code) || !strings.Contains(html.UnescapeString(mail.HTML), m.Code) {
		return nil, errors.New("the letter has no subject, or the code is missing in its text or its HTML")
	}
	id := m.ID
	if !mimemsg.ValidID(id) { // a message that no Verifier made
		id = rand.Text()
	}
	date := m.SentAt
	if date.IsZero() {
		date = time.Now()
	}
	message := mimemsg.Message{
		From:    s.from,
		ReplyTo: s.replyTo,
		To:      to,
		ID:      id,
		Date:    date,
		Subject: mail.Subject,
		Text:    mail.Text,
		HTML:    mail.HTML,
	}
	return message.Bytes()
}

// signed returns what SMTPOptions.Sign makes of a mail, if that still is the mail.
func (s *SMTPSender) signed(ctx context.Context, mail []byte) ([]byte, error) {
	out, err := s.sign(ctx, bytes.Clone(mail))
	if err != nil {
		return nil, err
	}
	if err := mimemsg.CheckLines(out); err != nil {
		return nil, fmt.Errorf("signed mail: %w", err)
	}
	if bytes.IndexByte(out, 0) >= 0 || isASCII(string(mail)) && !isASCII(string(out)) {
		return nil, errors.New("signed mail: NUL or a byte that is not ASCII") // BODY=8BITMIME is not asked for
	}
	end := []byte("\r\n\r\n")
	_, body, _ := bytes.Cut(mail, end)
	header, rest, found := bytes.Cut(out, end)
	if !found || len(header) == 0 || !bytes.Contains(rest, body) {
		return nil, errors.New("signed mail: the header or the body is lost")
	}
	return out, nil
}

// authFunc returns how a connection logs in, nil if it does not. The password
// is kept in the function only, where no fmt verb finds it.
func authFunc(username, password string, custom func(context.Context) (sasl.Client, error)) func(context.Context, func(string) bool) (sasl.Client, error) {
	switch {
	case custom != nil:
		return func(ctx context.Context, _ func(string) bool) (sasl.Client, error) {
			client, err := custom(ctx)
			if err == nil && client == nil {
				err = errors.New("SMTPOptions.Auth returned no client")
			}
			return client, err
		}
	case username != "":
		return func(_ context.Context, offered func(string) bool) (sasl.Client, error) {
			switch {
			case offered(sasl.Plain):
				return sasl.NewPlainClient("", username, password), nil
			case offered(sasl.Login):
				return sasl.NewLoginClient(username, password), nil
			}
			return nil, errors.New("server offers neither AUTH PLAIN nor LOGIN")
		}
	}
	return nil
}

// parseMailbox parses "a@b.c" or "Name <a@b.c>".
func parseMailbox(s string) (mimemsg.Mailbox, error) {
	var box mimemsg.Mailbox
	addr := s
	if i := strings.LastIndexByte(s, '<'); i >= 0 && strings.HasSuffix(s, ">") {
		addr = s[i+1 : len(s)-1]
		box.Name = strings.Trim(s[:i], " ")
		if n := len(box.Name); n >= 2 && box.Name[0] == '"' && box.Name[n-1] == '"' {
			box.Name = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(box.Name[1 : n-1])
		}
	}
	if err := safetext.Check(box.Name); err != nil {
		return box, fmt.Errorf("name: %w", err)
	}
	a, err := ParseEmail(addr)
	if err != nil {
		return box, err
	}
	box.Addr = a.String()
	return box, nil
}

// smtpError says err, which may be nil, in the terms of this package.
func smtpError(err error, m Message) error {
	var e *smtpclient.Error
	if !errors.As(err, &e) {
		return err
	}
	return &SendError{Temporary: !e.Permanent, MaybeSent: e.MaybeSent, Stage: e.Stage, Err: clean(e.Err, m)}
}

// clean makes err fit for a log, whatever the server said, and keeps what
// errors.As finds in it.
func clean(err error, m Message) error {
	var reply *smtp.SMTPError
	if errors.As(err, &reply) {
		safe := &smtp.SMTPError{Code: reply.Code, Message: maskText(reply.Message, m)}
		if e := reply.EnhancedCode; max(e[0], e[1], e[2]) <= 999 && min(e[0], e[1], e[2]) >= 0 { // RFC 3463 section 2
			safe.EnhancedCode = e
		}
		return safe
	}
	if text := maskText(err.Error(), m); text != err.Error() {
		return &safetext.Error{Text: text, Err: err}
	}
	return err
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
