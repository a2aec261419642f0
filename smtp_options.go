package otp

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/emersion/go-sasl"

	"github.com/go-mailotp/otp/internal/safetext"
	"github.com/go-mailotp/otp/letter"
)

// TLSMode says how an [SMTPSender] secures its connections. There is no mode
// that uses TLS only if it is offered: whoever sits in between could take the
// offer away.
type TLSMode int

const (
	// TLSImplicit speaks TLS from the first byte: port 465, the default and
	// what RFC 8314 section 3 recommends.
	TLSImplicit TLSMode = iota

	// StartTLSRequired begins in clear text and demands STARTTLS before
	// anything else: port 587. A server that does not offer it gets nothing.
	StartTLSRequired

	// InsecureLoopback is clear text, also for the password, and only to
	// this very machine: for development and for a relay on the same host.
	InsecureLoopback
)

// String returns the name of the mode.
func (m TLSMode) String() string {
	switch m {
	case TLSImplicit:
		return "TLSImplicit"
	case StartTLSRequired:
		return "StartTLSRequired"
	case InsecureLoopback:
		return "InsecureLoopback"
	}
	return "TLSMode(" + strconv.Itoa(int(m)) + ")"
}

// The defaults of [SMTPOptions].
const (
	// DefaultMaxConns is for SMTPOptions.MaxConns.
	DefaultMaxConns = 4
	// DefaultMaxPerConn is for SMTPOptions.MaxPerConn.
	DefaultMaxPerConn = 100
	// DefaultIdleTimeout is for SMTPOptions.IdleTimeout.
	DefaultIdleTimeout = 60 * time.Second
	// DefaultConnectTimeout is for SMTPOptions.ConnectTimeout.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultSMTPTimeout is for SMTPOptions.Timeout.
	DefaultSMTPTimeout = 30 * time.Second
)

// Renderer writes the words of a mail. A *[letter.Letter] is one.
type Renderer interface {
	// Render returns subject, text and HTML; the text and the HTML must both
	// show the code. It may be called by many goroutines at once. An error
	// means that the mail is not sent; it does not repeat the code.
	Render(d letter.Data) (letter.Mail, error)
}

// SMTPOptions are the choices of [NewSMTPSender], which copies them. The zero
// value has every default; a negative number is an error. They hold a
// password: fmt, slog and encoding/json show them without it, but package fmt
// cannot where they are in an unexported field.
type SMTPOptions struct {
	// TLS is how connections are secured: [TLSImplicit], [StartTLSRequired] or,
	// for a relay on this very machine, [InsecureLoopback]. Default: TLSImplicit.
	TLS TLSMode

	// TLSConfig is for servers with certificates of their own; it is cloned.
	// An empty ServerName becomes the host, and nothing below TLS 1.2 is
	// spoken. Default: nil, the system's roots. InsecureSkipVerify is obeyed:
	// whoever sets it hands codes and password to anyone in between.
	TLSConfig *tls.Config

	// Username and Password log in by SASL PLAIN or, if only that is offered,
	// LOGIN. Both or neither. Default: empty, no login.
	Username, Password string

	// Auth makes the SASL client for each new connection, such as one of
	// OAUTHBEARER with a fresh token; ctx ends with the connection's timeout.
	// It may be called by many goroutines at once and cannot be combined with
	// Username. Default: nil.
	Auth func(ctx context.Context) (sasl.Client, error)

	// HelloName is the name given in EHLO: a domain name, or an address in
	// brackets. Default: the host's name if that is a full one, else the
	// connection's local address in brackets.
	HelloName string

	// Brand is the name that mails show as theirs; the request's Vars["brand"]
	// goes before it. Six digits in a row are refused: they look like a code.
	// Default: the name in from, else its domain.
	Brand string

	// ReplyTo is an address "a@b.c" or "Name <a@b.c>" for answers. Default:
	// empty, none.
	ReplyTo string

	// Support is shown as where to turn to with questions: an address, a
	// telephone number. Six digits in a row are refused: write a number with
	// spaces; so are web addresses. Default: empty, not shown.
	Support string

	// Letter writes the words. Default: nil, the built-in ones of
	// [letter.New] in the reader's language.
	Letter Renderer

	// Sign is given each mail as it would be sent, lines ending in CRLF, and
	// returns what is sent in its place: the same with a DKIM-Signature on top,
	// as the module github.com/go-mailotp/otp/dkim makes it. It may add header
	// fields and parts, but keeps the body; lines end in CRLF and have no other
	// CR or LF; a mail that is ASCII stays so. Anything else, or an error, means
	// that the mail is not sent: a temporary [SendError] of the stage "sign". It
	// may be called by many goroutines at once, returns when ctx ends, and may
	// keep and change the slice. The mail holds the code: do not log it. Default:
	// nil.
	Sign func(ctx context.Context, mail []byte) ([]byte, error)

	// MaxConns is how many connections may be open at once; further sends
	// wait. Default: 0 means [DefaultMaxConns].
	MaxConns int

	// MaxPerConn is how many mails one connection carries before it is
	// replaced: many servers refuse more than 100. Default: 0 means
	// [DefaultMaxPerConn].
	MaxPerConn int

	// IdleTimeout is how long an unused connection is kept. Default: 0 means
	// [DefaultIdleTimeout].
	IdleTimeout time.Duration

	// ConnectTimeout bounds dialling, TLS, greeting and login together.
	// Default: 0 means [DefaultConnectTimeout].
	ConnectTimeout time.Duration

	// Timeout bounds a whole Send or Ping, with waiting for a connection and
	// retries; an earlier end of the context goes before it. Default: 0 means
	// [DefaultSMTPTimeout].
	Timeout time.Duration
}

// String describes the options without password, login and certificates.
func (o SMTPOptions) String() string {
	return fmt.Sprintf("SMTPOptions{TLS: %v, Login: %t, HelloName: %s, Brand: %s}",
		o.TLS, o.Username != "" || o.Auth != nil, o.HelloName, o.Brand)
}

// Format prints what String returns, whatever the verb.
func (o SMTPOptions) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

// LogValue logs what String returns.
func (o SMTPOptions) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalJSON encodes what String returns.
func (o SMTPOptions) MarshalJSON() ([]byte, error) { return json.Marshal(o.String()) }

// withDefaults returns a checked copy with every default filled in, except
// those that follow from host and from.
func (o SMTPOptions) withDefaults() (SMTPOptions, error) {
	if o.TLS < TLSImplicit || o.TLS > InsecureLoopback {
		return o, errors.New("unknown TLS mode")
	}
	if o.TLS == InsecureLoopback && o.TLSConfig != nil {
		return o, errors.New("a TLSConfig makes no sense with InsecureLoopback")
	}
	if (o.Username == "") != (o.Password == "") {
		return o, errors.New("user name and password belong together")
	}
	if o.Auth != nil && o.Username != "" {
		return o, errors.New("only one of Auth and Username may be set")
	}
	// RFC 4616 section 2: NUL separates the fields of PLAIN.
	if strings.ContainsFunc(o.Username+o.Password, unicode.IsControl) {
		return o, errors.New("control character in user name or password")
	}
	if o.MaxConns < 0 || o.MaxPerConn < 0 || o.IdleTimeout < 0 || o.ConnectTimeout < 0 || o.Timeout < 0 {
		return o, errors.New("negative limit")
	}
	if err := safetext.CheckBesideCode(o.Brand); err != nil {
		return o, fmt.Errorf("brand: %w", err)
	}
	if err := safetext.CheckBesideCode(o.Support); err != nil {
		return o, fmt.Errorf("support: %w", err)
	}
	if o.HelloName == "" {
		if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") && validHost(name) {
			o.HelloName = name
		}
	} else if !validHello(o.HelloName) {
		return o, errors.New("hello name: neither a domain name nor an address in brackets")
	}
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	if o.MaxPerConn == 0 {
		o.MaxPerConn = DefaultMaxPerConn
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultSMTPTimeout
	}
	if o.Letter == nil {
		l, err := letter.New(nil)
		if err != nil {
			return o, err
		}
		o.Letter = l
	}
	return o, nil
}

// tlsConfig returns the configuration for host, nil for clear text.
func (o SMTPOptions) tlsConfig(host string) (*tls.Config, error) {
	if o.TLS == InsecureLoopback {
		return nil, nil
	}
	cfg := &tls.Config{}
	if o.TLSConfig != nil {
		cfg = o.TLSConfig.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	if cfg.MaxVersion != 0 && cfg.MaxVersion < cfg.MinVersion {
		return nil, errors.New("tls config: MaxVersion is below TLS 1.2")
	}
	return cfg, nil
}

// ParseSMTPURL reads the server and the login from one text, as it stands in
// an environment variable: smtps://user:password@host:465 is TLS from the
// first byte, smtp://user:password@host:587 demands STARTTLS. The port may be
// left out, and so may user and password together; in them, signs that have a
// meaning in a URL are percent-encoded. A path, a query or anything else is an
// error. Errors never repeat the URL, since it holds the password.
//
// The host is returned as "host:port" for [NewSMTPSender].
func ParseSMTPURL(rawURL string) (host string, opts *SMTPOptions, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return "", nil, errors.New("otp: SMTP URL: not of the form smtps://user:password@host:port; signs in the password must be percent-encoded")
	}
	if u.Path != "" || strings.ContainsAny(rawURL, "?#") {
		return "", nil, errors.New("otp: SMTP URL: something follows the port")
	}
	opts = &SMTPOptions{}
	defaultPort := "465"
	switch u.Scheme {
	case "smtps":
	case "smtp":
		opts.TLS = StartTLSRequired
		defaultPort = "587"
	default:
		return "", nil, errors.New("otp: SMTP URL: the scheme is neither smtps nor smtp")
	}
	if u.User != nil {
		opts.Username = u.User.Username()
		opts.Password, _ = u.User.Password()
		if opts.Username == "" || opts.Password == "" {
			return "", nil, errors.New("otp: SMTP URL: user and password belong together")
		}
	}
	name, port, err := splitHost(u.Host, defaultPort)
	if err != nil {
		return "", nil, errors.New("otp: SMTP URL: bad host or port")
	}
	return net.JoinHostPort(name, port), opts, nil
}

// splitHost parses "host", "host:port", "[::1]" or "::1".
func splitHost(s, defaultPort string) (host, port string, err error) {
	if strings.Contains(s, "://") {
		return "", "", errors.New("host: a URL, which is for ParseSMTPURL")
	}
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		host, port = s, defaultPort
		if inner, ok := strings.CutPrefix(s, "["); ok {
			host = strings.TrimSuffix(inner, "]")
		}
	}
	if port == "" {
		return "", "", errors.New("host: a port is needed")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "", errors.New("host: the port is not a number from 1 to 65535")
	}
	if _, err := netip.ParseAddr(host); err != nil && !validHost(host) {
		return "", "", errors.New("host: neither a name nor an address")
	}
	return host, port, nil
}

// validHost reports whether s is made like a DNS name; underscores too, since
// container networks have them.
func validHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

// validHello reports whether s is a domain name or an address literal
// (RFC 5321 section 4.1.3).
func validHello(s string) bool {
	inner, ok := strings.CutPrefix(s, "[")
	if !ok {
		return validHost(s)
	}
	inner, ok = strings.CutSuffix(inner, "]")
	addr, err := netip.ParseAddr(strings.TrimPrefix(inner, "IPv6:"))
	return ok && err == nil && addr.Zone() == "" && addr.Is6() == strings.HasPrefix(inner, "IPv6:")
}

// isLoopback reports whether a host is this machine by its name; what the name
// resolves to is checked again at each dial.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return addr.Unmap().IsLoopback()
}
