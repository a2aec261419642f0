// Package otpmail turns an [otp.Message] into a mail: subject, plain text and
// HTML in the reader's language, and the raw MIME message. Package smtpsender
// uses it. Use it yourself to send codes through a provider's HTTP API or an
// existing mailer, or to look at the mail in a test:
//
//	composer, err := otpmail.New("Example <login@example.com>", nil)
//	...
//	sender := composer.Sender(func(ctx context.Context, mail *otpmail.Mail) error {
//		return mailer.Send(ctx, mail.To, mail.Subject, mail.Text, mail.HTML)
//	})
package otpmail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/mimemsg"
	"github.com/go-mailotp/otp/internal/safetext"
	"github.com/go-mailotp/otp/letter"
)

// The stages of the [otp.SendError] values that this package returns.
const (
	stageCompose = "compose"
	stageSign    = "sign"
	stageConnect = "connect"
)

// Renderer writes the words of a mail. A *[letter.Letter] is one.
type Renderer interface {
	// Render returns the subject, the text and the HTML; the text and the HTML
	// must both show the code. Any number of goroutines may call it at once. If
	// it returns an error, the mail is not sent; the error must not repeat the
	// code.
	Render(d letter.Data) (letter.Mail, error)
}

// Options configure a [Composer]. The zero value has every default.
type Options struct {
	// Brand is the name under which the mail is written; Vars["brand"] of a
	// request takes precedence. Six digits in a row are an error, since they
	// look like a code. Default: the name in from, or else its domain.
	Brand string

	// BrandInFrom makes Vars["brand"] of a request, such as the name of a
	// tenant, the display name in the From field of its mail. The address is
	// always the one in from. A brand with "@", "<" or ">" could pass for
	// another address: its mail is not sent, and Compose returns a permanent
	// [otp.SendError] with the stage "compose". Default: false, the name in
	// from.
	BrandInFrom bool

	// ReplyTo is the address for replies, "a@b.c" or "Name <a@b.c>". An invalid
	// one is an error. Default: empty, no Reply-To field.
	ReplyTo string

	// Support tells readers where to ask questions: an address or a telephone
	// number. Six digits in a row are an error (write a number with spaces),
	// and so are web addresses. Default: empty, not shown.
	Support string

	// Letter writes the words. Default: nil, the built-in words of [letter.New]
	// in the reader's language.
	Letter Renderer

	// Headers are further header fields of every mail, by name, such as
	// "X-PM-Message-Stream" or "X-SES-CONFIGURATION-SET" for a provider.
	// Mail.Raw has them in the order of their names, and so has the mail that
	// Sign receives. Names are printable ASCII without spaces and colons; values
	// are printable ASCII and neither begin nor end with a space. A field is one
	// line of at most 998 bytes. Anything else is an error, and so are two names
	// that differ only in case, and these names in any case: From, To, Cc, Bcc,
	// Sender, Reply-To, Subject, Date, Message-ID, References, Return-Path,
	// Received, MIME-Version, Auto-Submitted, X-Auto-Response-Suppress,
	// DKIM-Signature, and those that begin with Content- or Resent-. Default:
	// nil, no further fields.
	Headers map[string]string

	// Sign, if set, receives each raw mail, with lines that end in CRLF, and
	// returns the mail to send instead: the same mail with a DKIM-Signature
	// field on top, as package github.com/go-mailotp/otp/dkim makes it. It may
	// add header fields and parts but must keep the body; lines must end in
	// CRLF and contain no other CR or LF, and an ASCII mail must remain ASCII.
	// If it returns anything else, or an error, the mail is not sent, and
	// Compose returns a temporary [otp.SendError] with the stage "sign". Any
	// number of goroutines may call it at once. It must return when ctx ends,
	// and it may keep and change the slice. The mail contains the code: do not
	// log it. Default: nil, not signed.
	Sign func(ctx context.Context, mail []byte) ([]byte, error)
}

// Composer makes mails from one address. It is safe for concurrent use.
type Composer struct {
	from        mimemsg.Mailbox
	brandInFrom bool
	replyTo     mimemsg.Mailbox
	brand       string
	support     string
	fields      []mimemsg.Field // Options.Headers
	letter      Renderer
	sign        func(context.Context, []byte) ([]byte, error) // nil if mails are not signed
}

// Mail is one mail to one recipient. It contains the code: packages fmt,
// log/slog and encoding/json print it without the code, the text and the whole
// address.
type Mail struct {
	// ID is the part of the Message-ID field before the "@": 1 to 64 letters
	// and digits, different for each mail. It can serve as an idempotency key.
	ID string

	// From is the sender: a name, which may be empty, and an address.
	From mail.Address

	// ReplyTo is the address for replies; its Address is empty if there is
	// none.
	ReplyTo mail.Address

	// To is the address of the recipient, exactly as it is mailed.
	To string

	// Subject is one line of plain text, not encoded for a header.
	Subject string

	// Text is the plain text.
	Text string

	// HTML is a complete HTML document with the same content.
	HTML string

	// Raw is the complete message with its header and both parts, signed if
	// Options.Sign is set. Lines end in CRLF; dots are not doubled for SMTP.
	Raw []byte
}

// New returns a composer of mails that come from the address in from: "a@b.c"
// or "Name <a@b.c>". The address is one of [otp.EmailParser] with UTF8 and
// Dotless: beyond ASCII before the @, it needs a server with SMTPUTF8. A nil
// opts means every default. New composes a trial mail, so that it can return an
// error if no mail can be composed with these options.
func New(from string, opts *Options) (*Composer, error) {
	c, err := newComposer(from, opts)
	if err != nil {
		return nil, fmt.Errorf("otpmail: %w", err)
	}
	return c, nil
}

func newComposer(from string, opts *Options) (*Composer, error) {
	if opts == nil {
		opts = &Options{}
	}
	if err := safetext.CheckBesideCode(opts.Brand); err != nil {
		return nil, fmt.Errorf("Options.Brand: %w", err)
	}
	if err := safetext.CheckBesideCode(opts.Support); err != nil {
		return nil, fmt.Errorf("Options.Support: %w", err)
	}
	c := &Composer{brandInFrom: opts.BrandInFrom, support: opts.Support, letter: opts.Letter, sign: opts.Sign}
	var err error
	if c.from, err = parseMailbox(from); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if opts.ReplyTo != "" {
		if c.replyTo, err = parseMailbox(opts.ReplyTo); err != nil {
			return nil, fmt.Errorf("Options.ReplyTo: %w", err)
		}
	}
	if c.fields, err = parseHeaders(opts.Headers); err != nil {
		return nil, err
	}
	c.brand = cmp.Or(opts.Brand, c.from.Name, c.from.Addr[strings.LastIndexByte(c.from.Addr, '@')+1:])
	if c.letter == nil {
		if c.letter, err = letter.New(nil); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	trial := otp.Message{ID: "trial", Code: "739164", Purpose: "login", Reference: "TRIAL", SentAt: now, ExpiresAt: now.Add(10 * time.Minute)}
	if _, err := c.compose(trial, c.from.Addr); err != nil {
		return nil, err
	}
	return c, nil
}

// Compose makes the mail for m, to m.To exactly as it stands. Its error is an
// *[otp.SendError], which a sender can return unchanged: it has the stage
// "compose" and is permanent if no mail can be composed from m, and it has the
// stage "sign" and is temporary if Options.Sign failed. The text of an error
// contains neither the code nor the whole address.
func (c *Composer) Compose(ctx context.Context, m otp.Message) (*Mail, error) {
	// The address was parsed, or trusted, by whoever made it; a second opinion
	// would refuse what the application accepts. But it goes into commands and
	// header fields, where "a@evil.test> ORCPT=..."@b.c would name another
	// recipient: mimemsg rejects all that is not one word.
	composed, err := c.compose(m, m.To.String())
	if err != nil {
		return nil, &otp.SendError{Stage: stageCompose, Err: masked(err, m)}
	}
	if c.sign != nil {
		if composed.Raw, err = c.signed(ctx, composed.Raw); err != nil {
			// An unreachable key service says nothing about the recipient.
			return nil, &otp.SendError{Temporary: true, Stage: stageSign, Err: masked(err, m)}
		}
	}
	return composed, nil
}

// Sender returns a sender that composes each mail and lets send send it, which
// is a line or two over a mailer that the application has. An *[otp.SendError]
// of send says what became of the mail. After any other error it may have been
// sent, unless the error says that there was no connection (a [net.OpError] of
// "dial" or a [net.DNSError]): then it surely was not, and the visitor is told. A
// mailer that tries again by itself may have sent it in an earlier attempt: let
// send return an *otp.SendError with MaybeSent for its errors.
func (c *Composer) Sender(send func(ctx context.Context, mail *Mail) error) otp.Sender {
	return otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
		composed, err := c.Compose(ctx, m)
		if err != nil {
			return err
		}
		err = send(ctx, composed)
		if neverConnected(err) {
			return &otp.SendError{Temporary: true, Stage: stageConnect, Err: masked(err, m)}
		}
		return err
	})
}

// neverConnected reports whether a mailer could not connect. It looks at no joined
// errors: of several attempts, one may have sent the mail.
func neverConnected(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		switch err := err.(type) { //nolint:errorlint // errors.As would look at joined errors
		case *otp.SendError:
			return false
		case *net.DNSError:
			return true
		case *net.OpError:
			return err.Op == "dial"
		}
	}
	return false
}

// notInName are the characters that would make the name of a request look like
// an address: those of an address, and what else looks like "@".
const notInName = "@<>\uff20\ufe6b"

// compose makes the unsigned mail.
func (c *Composer) compose(m otp.Message, to string) (*Mail, error) {
	words, err := c.letter.Render(letter.Data{
		Code:      m.Code,
		Kind:      m.Kind(),
		Locale:    m.Locale,
		Reference: m.Reference,
		Brand:     c.brand,
		Minutes:   m.Minutes(),
		Support:   c.support,
		Vars:      m.Vars,
	})
	if err != nil {
		return nil, err
	}
	if words.Subject == "" || m.Code == "" || !strings.Contains(words.Text, m.Code) || !strings.Contains(html.UnescapeString(words.HTML), m.Code) {
		return nil, errors.New("the letter has no subject, or its text or HTML lacks the code")
	}
	from := c.from
	if brand := m.Vars["brand"]; c.brandInFrom && brand != "" {
		if strings.ContainsAny(brand, notInName) {
			return nil, errors.New(`vars: brand: contains "@", "<" or ">" and could pass for an address in From`)
		}
		from.Name = brand
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
		From:    from,
		ReplyTo: c.replyTo,
		To:      to,
		ID:      id,
		Date:    date,
		Subject: words.Subject,
		Fields:  c.fields,
		Text:    words.Text,
		HTML:    words.HTML,
	}
	raw, err := message.Bytes()
	if err != nil {
		return nil, err
	}
	return &Mail{
		ID:      id,
		From:    mail.Address{Name: from.Name, Address: from.Addr},
		ReplyTo: mail.Address{Name: c.replyTo.Name, Address: c.replyTo.Addr},
		To:      to,
		Subject: words.Subject,
		Text:    words.Text,
		HTML:    words.HTML,
		Raw:     raw,
	}, nil
}

// signed returns the result of Options.Sign, if it still is the same mail.
func (c *Composer) signed(ctx context.Context, raw []byte) ([]byte, error) {
	out, err := c.sign(ctx, bytes.Clone(raw))
	if err != nil {
		return nil, err
	}
	if err := mimemsg.CheckLines(out); err != nil {
		return nil, fmt.Errorf("signed mail: %w", err)
	}
	if bytes.IndexByte(out, 0) >= 0 || isASCII(raw) && !isASCII(out) {
		return nil, errors.New("signed mail: contains NUL or a byte that is not ASCII") // BODY=8BITMIME is not requested
	}
	end := []byte("\r\n\r\n")
	_, body, _ := bytes.Cut(raw, end)
	header, rest, found := bytes.Cut(out, end)
	if !found || len(header) == 0 || !bytes.Contains(rest, body) {
		return nil, errors.New("signed mail: header or body is missing")
	}
	return out, nil
}

// From returns the address that mails come from.
func (c *Composer) From() mail.Address {
	return mail.Address{Name: c.from.Name, Address: c.from.Addr}
}

// String describes the mail without its secrets.
func (m Mail) String() string {
	return fmt.Sprintf("Mail{ID: %s, From: %s, Raw: %d bytes}", m.ID, m.From.Address, len(m.Raw))
}

// Format prints what String returns, whatever the verb.
func (m Mail) Format(f fmt.State, _ rune) { io.WriteString(f, m.String()) }

// LogValue logs what String returns.
func (m Mail) LogValue() slog.Value { return slog.StringValue(m.String()) }

// MarshalJSON encodes what String returns.
func (m Mail) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }

// parseOwn parses an address of the application itself, which knows what its
// server accepts.
var parseOwn = otp.EmailParser(otp.EmailOptions{UTF8: true, Dotless: true})

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
	a, err := parseOwn(addr)
	if err != nil {
		return box, err
	}
	box.Addr = a.String()
	return box, nil
}

// parseHeaders returns Options.Headers in the order of their names.
func parseHeaders(headers map[string]string) ([]mimemsg.Field, error) {
	var fields []mimemsg.Field
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		f := mimemsg.Field{Name: name, Value: headers[name]}
		if err := f.Check(); err != nil {
			return nil, fmt.Errorf("Options.Headers: %+q: %w", safetext.Cut(name, 80), err)
		}
		if seen[strings.ToLower(name)] {
			return nil, fmt.Errorf("Options.Headers: %+q: duplicate name", name)
		}
		seen[strings.ToLower(name)] = true
		fields = append(fields, f)
	}
	return fields, nil
}

// masked makes the text of err safe to log and keeps the errors that errors.As
// finds in it.
func masked(err error, m otp.Message) error {
	text := safetext.Text(err.Error(), m.Code, m.To.String(), m.To.Masked())
	if text == err.Error() {
		return err
	}
	return &safetext.Error{Text: text, Err: err}
}

func isASCII(s []byte) bool {
	for _, b := range s {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
