package smtpsender

import (
	"cmp"
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

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/otpmail"
)

// TLSMode selects how a [Sender] secures its connections. No mode uses TLS only
// if the server offers it, because an attacker on the network can remove the
// offer.
type TLSMode int

const (
	// ImplicitTLS speaks TLS from the first byte, on port 465. It is the
	// default and what RFC 8314 section 3 recommends.
	ImplicitTLS TLSMode = iota

	// StartTLS begins in clear text, on port 587, and requires STARTTLS before
	// anything else. Nothing is sent to a server that does not offer it. If the
	// server says nothing for two seconds, a second connection tries TLS, so
	// that the error can say that the port needs ImplicitTLS.
	StartTLS

	// InsecureLoopback sends everything in clear text, including the password,
	// and connects only to this machine. Use it for development and for a relay
	// on the same host.
	InsecureLoopback

	// InsecurePrivateNetwork sends everything in clear text, so anybody in the
	// network between you and the server can read the codes. It connects only
	// to loopback, private (RFC 1918, fc00::/7) and link-local addresses. The
	// address is checked at each dial, so host may be a name such as mailpit. A
	// login is an error, because the password could be read too. Use it for
	// mail catchers and relays in a network of containers.
	InsecurePrivateNetwork
)

// String returns the name of the mode.
func (m TLSMode) String() string {
	switch m {
	case ImplicitTLS:
		return "ImplicitTLS"
	case StartTLS:
		return "StartTLS"
	case InsecureLoopback:
		return "InsecureLoopback"
	case InsecurePrivateNetwork:
		return "InsecurePrivateNetwork"
	}
	return "TLSMode(" + strconv.Itoa(int(m)) + ")"
}

// clearText reports whether the mode does not use TLS.
func (m TLSMode) clearText() bool { return m == InsecureLoopback || m == InsecurePrivateNetwork }

// checkHost returns an error if the mode never connects to host, which is a
// name or an IP address. The address of a name is checked at each dial.
func (m TLSMode) checkHost(host string) error {
	addr, err := netip.ParseAddr(host)
	switch {
	case m == InsecureLoopback && !isLoopback(host):
		return errors.New("host: InsecureLoopback allows only a loopback address, such as 127.0.0.1 or localhost; " +
			"for a server in a private network, such as a container, use InsecurePrivateNetwork, or smtp+insecure:// with ParseURL")
	case m == InsecurePrivateNetwork && err == nil && !smtpclient.IsPrivate(addr):
		return errors.New("host: InsecurePrivateNetwork allows only private, link-local and loopback addresses; " +
			"use StartTLS (smtp://) or ImplicitTLS (smtps://)")
	}
	return nil
}

// The defaults of [Options].
const (
	// DefaultMaxConns is the default of Options.MaxConns.
	DefaultMaxConns = 3
	// DefaultMaxPerConn is the default of Options.MaxPerConn.
	DefaultMaxPerConn = 100
	// DefaultIdleTimeout is the default of Options.IdleTimeout.
	DefaultIdleTimeout = 60 * time.Second
	// DefaultConnectTimeout is the default of Options.ConnectTimeout.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultTimeout is the default of Options.Timeout.
	DefaultTimeout = 30 * time.Second
)

// Options configure a [Sender]; [New] copies them. The zero value has every
// default, and a negative number is an error. Options hold a password: packages
// fmt, log/slog and encoding/json print them without it, but package fmt cannot
// do so for Options in an unexported field.
type Options struct {
	// TLS selects how connections are secured: [ImplicitTLS], [StartTLS],
	// [InsecureLoopback] for a relay on this machine, or
	// [InsecurePrivateNetwork] for one in a network of containers. Any other
	// value is an error. Default: ImplicitTLS.
	TLS TLSMode

	// TLSConfig is for servers with private certificates; it is cloned. An
	// empty ServerName becomes the host, and the minimum version is at least
	// TLS 1.2. InsecureSkipVerify is obeyed, but then anyone between you and
	// the server can read the codes and the password. Setting TLSConfig
	// together with an insecure mode is an error. Default: nil, the system's
	// root certificates.
	TLSConfig *tls.Config

	// Dial opens the connection to the server, for example through a SOCKS
	// proxy, over IPv4 only, or with a resolver of yours. It is called with
	// "tcp" and "host:port", and ctx ends with the connection's timeout. Any
	// number of goroutines may call it at once. The connection need not be TCP.
	// With InsecureLoopback and InsecurePrivateNetwork, its RemoteAddr must be
	// an address that the mode allows or a Unix socket; over a proxy it is
	// usually that of the proxy, and then nothing checks where the server is.
	// Default: nil, a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Username and Password log in with SASL PLAIN or, if only that is
	// offered, LOGIN. If neither is, the error says what is. Set both, or leave both empty for no authentication.
	// Control characters are an error, and so is a login with
	// InsecurePrivateNetwork.
	Username, Password string

	// Auth makes the SASL client for each new connection, such as [XOAuth2] or
	// [OAuthBearer] with a fresh token, or one for CRAM-MD5; ctx ends with the
	// connection's timeout.
	// Any number of goroutines may call it at once. Setting both Auth and
	// Username is an error, and so is Auth with InsecurePrivateNetwork. Default:
	// nil.
	Auth func(ctx context.Context) (sasl.Client, error)

	// HelloName is the name for EHLO: a domain name, or an IP address in
	// brackets. Anything else is an error. Default: the name of this machine if
	// it contains a dot. Otherwise, as in most containers, it is the domain of
	// from, or the connection's local address in brackets if that domain has no
	// dot either.
	HelloName string

	// Bounces is the address to which servers return undeliverable mail,
	// "a@b.c" without a name. It becomes the sender of the envelope (MAIL FROM)
	// and appears nowhere else. Its domain should be one whose SPF record lists
	// your server. For DMARC it should also belong to the same organization's
	// domain as from, such as bounces.example.com for example.com, unless the
	// mail has a DKIM signature of that domain. An invalid address is an error,
	// and one beyond ASCII needs a server with SMTPUTF8. Default: empty, the
	// address in from.
	Bounces string

	// Brand is the name under which the mail is written; Vars["brand"] of a
	// request takes precedence. Six digits in a row are an error, since they
	// look like a code. Default: the name in from, or else its domain.
	Brand string

	// BrandInFrom makes Vars["brand"] of a request, such as the name of a
	// tenant, the display name in the From field of its mail; the address is
	// always the one in from. A brand with "@", "<" or ">" is an error of Send.
	// Default: false, the name in from.
	BrandInFrom bool

	// ReplyTo is the address for replies, "a@b.c" or "Name <a@b.c>". An invalid
	// one is an error. Default: empty, no Reply-To field.
	ReplyTo string

	// Support tells readers where to ask questions: an address or a telephone
	// number. Six digits in a row are an error (write a number with spaces),
	// and so are web addresses. Default: empty, not shown.
	Support string

	// Letter writes the words of the mail. Default: nil, the built-in words of
	// package letter in the reader's language.
	Letter otpmail.Renderer

	// Headers are further header fields of every mail, by name, such as
	// "X-PM-Message-Stream" or "X-SES-CONFIGURATION-SET" for a provider: see the
	// field of the same name in [otpmail.Options]. An invalid name or value, and
	// a name that the library or mail servers write, such as From or Received,
	// are errors. Default: nil, no further fields.
	Headers map[string]string

	// Sign, if set, signs each mail with DKIM: see the field of the same name
	// in [otpmail.Options]. Default: nil, not signed.
	Sign func(ctx context.Context, mail []byte) ([]byte, error)

	// MaxConns is the maximum number of open connections; further sends wait.
	// Default: [DefaultMaxConns], which is what Exchange Online allows.
	MaxConns int

	// MaxPerConn is the number of mails after which a connection is replaced;
	// many servers reject more than 100. Default: [DefaultMaxPerConn].
	MaxPerConn int

	// IdleTimeout is how long an unused connection is kept. Default:
	// [DefaultIdleTimeout].
	IdleTimeout time.Duration

	// OneByOne sends each command after the reply to the one before, even if the
	// server offers PIPELINING and CHUNKING. Use it for a server, or a firewall
	// before it, that offers them and then is silent: sends time out and MaybeSent
	// is set, but no mail arrives. Default: false.
	OneByOne bool

	// ConnectTimeout limits dialing, TLS, greeting and login together.
	// Default: [DefaultConnectTimeout].
	ConnectTimeout time.Duration

	// Timeout limits a whole Send or Ping, including waiting for a connection
	// and retries; an earlier deadline of the context takes precedence.
	// Default: [DefaultTimeout].
	Timeout time.Duration
}

// login reports whether connections log in.
func (o Options) login() bool { return o.Username != "" || o.Auth != nil }

// String describes the options without the password, the user name and the
// certificates.
func (o Options) String() string {
	return fmt.Sprintf("Options{TLS: %v, Login: %t, Dial: %t, HelloName: %s, Bounces: %s, Brand: %s}",
		o.TLS, o.login(), o.Dial != nil, o.HelloName, o.Bounces, o.Brand)
}

// Format prints what String returns, whatever the verb.
func (o Options) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

// LogValue logs what String returns.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalJSON encodes what String returns.
func (o Options) MarshalJSON() ([]byte, error) { return json.Marshal(o.String()) }

// withDefaults returns a checked copy with every default filled in, except
// those that depend on the arguments host and from.
func (o Options) withDefaults() (Options, error) {
	if o.TLS < ImplicitTLS || o.TLS > InsecurePrivateNetwork {
		return o, fmt.Errorf("Options.TLS: unknown mode %d", int(o.TLS))
	}
	if o.TLS.clearText() && o.TLSConfig != nil {
		return o, fmt.Errorf("Options.TLSConfig: must be nil with %v", o.TLS)
	}
	if (o.Username == "") != (o.Password == "") {
		return o, errors.New("Options.Username and Options.Password: set both or neither")
	}
	if o.Auth != nil && o.Username != "" {
		return o, errors.New("Options.Auth and Options.Username: set only one of them")
	}
	if o.TLS == InsecurePrivateNetwork && o.login() {
		return o, errors.New("Options.Username or Options.Auth: must not be set with InsecurePrivateNetwork, because anybody in the network could read the password; " +
			"use StartTLS or ImplicitTLS, with Options.TLSConfig for a private certificate")
	}
	// RFC 4616 section 2: NUL separates the fields of PLAIN.
	if strings.ContainsFunc(o.Username+o.Password, unicode.IsControl) {
		return o, errors.New("Options.Username or Options.Password: contains a control character")
	}
	for name, negative := range map[string]bool{
		"MaxConns": o.MaxConns < 0, "MaxPerConn": o.MaxPerConn < 0, "IdleTimeout": o.IdleTimeout < 0,
		"ConnectTimeout": o.ConnectTimeout < 0, "Timeout": o.Timeout < 0,
	} {
		if negative {
			return o, fmt.Errorf("%s: must not be negative", "Options."+name)
		}
	}
	if o.HelloName == "" {
		if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") && validDomain(name) {
			o.HelloName = name
		}
	} else if !validHello(o.HelloName) {
		return o, errors.New("Options.HelloName: neither a domain name nor an address in brackets")
	}
	if o.Bounces != "" {
		// The same as for from: see otpmail.New.
		address, err := otp.EmailParser(otp.EmailOptions{UTF8: true, Dotless: true})(o.Bounces)
		if err != nil {
			return o, fmt.Errorf("Options.Bounces: %w", err)
		}
		o.Bounces = address.String()
	}
	o.MaxConns = cmp.Or(o.MaxConns, DefaultMaxConns)
	o.MaxPerConn = cmp.Or(o.MaxPerConn, DefaultMaxPerConn)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, DefaultIdleTimeout)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, DefaultConnectTimeout)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	return o, nil
}

// tlsConfig returns the configuration for host, nil for clear text.
func (o Options) tlsConfig(host string) (*tls.Config, error) {
	if o.TLS.clearText() {
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
		return nil, errors.New("Options.TLSConfig: MaxVersion is below TLS 1.2")
	}
	return cfg, nil
}

// ParseURL reads the server and the login from one string, for example an
// environment variable or a file with a secret. The scheme selects the mode:
//
//   - smtps://user:password@host:465 is [ImplicitTLS], TLS from the first byte.
//   - smtp://user:password@host:587 is [StartTLS], which requires STARTTLS.
//   - smtp+insecure://host:1025 is clear text. It means [InsecureLoopback] if
//     the host is localhost or a loopback address. For any other host it means
//     [InsecurePrivateNetwork], and a user is an error.
//
// You may omit user and password together, and the port except after
// smtp+insecure. Percent-encode characters in user and password that have a
// meaning in a URL. White space around the URL is ignored, and so is one slash
// at its end. Any other path, a query or anything else is an error. Errors
// never repeat the URL, because it holds the password.
//
// The host is returned as "host:port" for [New].
func ParseURL(rawURL string) (host string, opts *Options, err error) {
	host, opts, err = parseURL(strings.TrimSpace(rawURL)) // files often end in a newline
	if err != nil {
		return "", nil, fmt.Errorf("smtpsender: URL: %w", err)
	}
	return host, opts, nil
}

// parseURL is ParseURL without the prefix of the error.
func parseURL(rawURL string) (host string, opts *Options, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || u.Host == "" {
		// The errors of package url repeat the URL.
		server := rawURL[strings.LastIndexByte(rawURL, '@')+1:]
		if _, rest, found := strings.Cut(server, "://"); found {
			server = rest
		}
		if _, _, err := splitHost(strings.TrimSuffix(server, "/"), "465"); err != nil && server != "" {
			return "", nil, err
		}
		return "", nil, errors.New("want the form smtps://user:password@host:port, with special characters in the password percent-encoded")
	}
	if u.Path != "" && u.Path != "/" || strings.ContainsAny(rawURL, "?#") {
		return "", nil, errors.New("must end after the port; write /, ? and # in the password as %2F, %3F and %23")
	}
	opts = &Options{}
	defaultPort := ""
	switch u.Scheme {
	case "smtps":
		defaultPort = "465"
	case "smtp":
		opts.TLS = StartTLS
		defaultPort = "587"
	case "smtp+insecure":
		opts.TLS = InsecurePrivateNetwork
	default:
		return "", nil, errors.New("scheme must be smtps, smtp (STARTTLS) or smtp+insecure (clear text in a private network)")
	}
	if u.User != nil {
		opts.Username = u.User.Username()
		opts.Password, _ = u.User.Password()
		if opts.Username == "" || opts.Password == "" {
			return "", nil, errors.New("needs both user and password, or neither")
		}
	}
	name, port, err := splitHost(u.Host, defaultPort)
	if err != nil {
		return "", nil, err
	}
	switch {
	case opts.TLS != InsecurePrivateNetwork:
	case isLoopback(name):
		opts.TLS = InsecureLoopback
	case opts.Username != "":
		return "", nil, errors.New("smtp+insecure takes a user and a password only for a loopback host, because anybody in the network could read the password; use smtp:// or smtps://")
	}
	if err := opts.TLS.checkHost(name); err != nil {
		return "", nil, err
	}
	return net.JoinHostPort(name, port), opts, nil
}

// splitHost parses "host", "host:port", "[::1]" or "::1". It removes the dot
// that ends a fully qualified name, which certificates do not have.
func splitHost(s, defaultPort string) (host, port string, err error) {
	if strings.Contains(s, "://") {
		return "", "", errors.New("host: is a URL, use ParseURL for it")
	}
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		host, port = s, defaultPort
		if inner, ok := strings.CutPrefix(s, "["); ok {
			host = strings.TrimSuffix(inner, "]")
		} else if endsInPort(s) {
			return "", "", errors.New("host: an IPv6 address before a port needs brackets, as in [::1]:465")
		}
	}
	if port == "" {
		return "", "", errors.New("host: needs a port, as in host:25")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "", errors.New("host: port must be a number from 1 to 65535, such as 465 for smtps and 587 for submission")
	}
	host = strings.TrimSuffix(host, ".")
	if _, err := netip.ParseAddr(host); err != nil && !validHost(host) {
		return "", "", errors.New("host: neither a host name nor an IP address")
	}
	return host, port, nil
}

// endsInPort reports whether s, an IPv6 address without brackets, could also be
// a shorter address and a port: ::1:465 is one, and 2001:db8::1 is not.
func endsInPort(s string) bool {
	i := max(strings.LastIndexByte(s, ':'), 0)
	_, err := netip.ParseAddr(s[:i])
	_, portErr := strconv.ParseUint(strings.TrimPrefix(s[i:], ":"), 10, 16)
	return err == nil && portErr == nil
}

// validHost reports whether s has the form of a DNS name. Underscores are
// allowed too, since container networks use them.
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

// validDomain reports whether s is a domain as EHLO takes it (RFC 5321 section
// 4.1.2): without underscores, and no IPv4 address.
func validDomain(s string) bool {
	_, err := netip.ParseAddr(s)
	return err != nil && validHost(s) && !strings.Contains(s, "_") && !strings.Contains("."+s+".", ".-") && !strings.Contains("."+s+".", "-.")
}

// validHello reports whether s is a domain name or an address literal
// (RFC 5321 section 4.1.3).
func validHello(s string) bool {
	inner, ok := strings.CutPrefix(s, "[")
	if !ok {
		return validDomain(s)
	}
	inner, ok = strings.CutSuffix(inner, "]")
	addr, err := netip.ParseAddr(strings.TrimPrefix(inner, "IPv6:"))
	return ok && err == nil && addr.Zone() == "" && addr.Is6() == strings.HasPrefix(inner, "IPv6:")
}

// isLoopback reports whether the name of a host means this machine. The address
// that it resolves to is checked again at each dial.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return addr.Unmap().IsLoopback()
}
