// Package otphttp serves the web pages and the JSON API for mailed codes: for
// sign-in, sign-up, a change of address or a payment. [New] makes an
// [http.Handler] for an [otp.Verifier]. The verifier has all the rules; this
// package does only what is specific to HTTP. A challenge is one code mailed
// for one visitor.
//
//	login, err := otphttp.New(verifier, &otphttp.Options{
//		Brand: "Example",
//		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
//			sessions.Renew(w, r, c.To.String()) // a new session ID, never the old one
//		},
//	})
//	...
//	mux.Handle("/login/", login)
//
// # Paths
//
// The handler looks only at the last segment of the path. It works at any path
// that ends in a slash, with or without [http.StripPrefix], and below patterns
// such as "/pay/{invoice}/" (see [Options.Path] for middleware that removes the
// slash):
//
//	GET  .../        the page that asks for the address; ?next=/path says where to go after
//	                 success, and ?login_hint=bob@example.com fills the field
//	GET  .../code    the page that asks for the code; reloading it sends nothing
//	POST .../start   opens a challenge and mails its code
//	POST .../check   checks a code that was typed
//	POST .../resend  mails the code again, or a new one
//	POST .../status  reports the state of a challenge (JSON only)
//
// A body of the type application/x-www-form-urlencoded comes from a page's form
// and is answered with a page or a redirect. A body of the type
// application/json belongs to the API, which openapi.json in this folder
// describes. A request without a body gets a page if its Accept names text/html,
// as that of every browser does. The pages work without JavaScript.
//
// Middleware in front of the handler may parse a form (r.ParseForm,
// r.PostFormValue). Middleware that reads a body in another way and does not
// put it back makes the answer 400, and Options.OnError is told. Your hooks find
// the fields in r.PostForm.
//
// # In an application that exists
//
// After a right password, [Handler.Start] sends the code and shows the page for
// it. [Options.Render] draws the pages with the application's own layout,
// [Options.Page] adds what the request knows, such as a CSRF token or the brand
// of a tenant, and [Sentence] is for applications that draw their own pages over
// the verifier.
//
// # Errors
//
// An answer to a request that failed has one of these statuses. The second
// column is the name of the problem in the API (see docs/problems.md):
//
//	400 request    the body is malformed or a field is invalid or missing
//	403 forbidden  a function in Options returned ErrForbidden, or another site posted the form
//	404 unknown    otp.ErrUnknown: there is no such challenge
//	404 request    there is no such path
//	405 request    the path does not support this method
//	410 expired    otp.ErrExpired
//	410 exhausted  otp.ErrExhausted
//	413 request    the body is longer than 4096 bytes
//	415 request    the body is neither a form nor JSON
//	422 address    otp.ErrAddress
//	422 malformed  otp.ErrMalformed
//	422 wrong      otp.ErrCode
//	429 limited    otp.ErrLimited, with a Retry-After header
//	503 send       otp.ErrSend or Options.Busy, with a Retry-After header
//	503 server     any other error, with a Retry-After header
//
// Errors of the functions in [Options] become these statuses too. If the
// challenge of a form still exists, the browser is redirected to the page of
// the challenge, which shows the error with status 200, so that reloading
// repeats nothing.
//
// A visitor who sends the form for the address again, for example because the
// mail is slow, continues the challenge that the browser already has: the page
// for its code is shown, and if the time has come, the same code is mailed
// again.
//
// # Browsers and apps
//
// A browser keeps the challenge and the device token in cookies that scripts
// cannot read (__Host-otp and __Host-otp-device), so the site must be served
// over HTTPS or from localhost. It keeps up to four challenges, for several
// tabs, with the addresses that were typed for them, which are shown whole only
// to this browser, and up to four device tokens, for several people. An app gets both in the body of the answer. A
// request comes from a browser if it has an Origin or a Sec-Fetch-Site header
// for the same origin.
//
// # What strangers can learn
//
// The answers to start and resend do not show whether an address has an
// account, whether Options.Admit of the verifier accepts it, or whether its
// mail server rejects it. If the verifier's sender is a relay.Queue and
// [Options.Busy] is the queue's method Full, the response time and failures to
// send do not show it either.
//
// # Sessions
//
// Give the visitor a new session ID in [Options.OnVerified] (OWASP ASVS 7.2.4).
// Act on the fields To and Purpose of the challenge, never on fields of a form.
package otphttp

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/safetext"
)

// Options configure a [Handler]. OnVerified is required; the zero value of
// every other field is its default. Any number of goroutines may call the
// functions at once.
//
// A function that returns an error ends the request: [ErrForbidden] gives
// status 403, an error of package otp the same status as from the verifier (429
// for [otp.ErrLimited], for example), and any other error 503. See the table in
// the package comment.
type Options struct {
	// OnVerified is called once for each correct code, after the verifier has
	// used it up. c.To is the proven address and c.Purpose is what the code was
	// for. Renew the session here. The function may write the answer to w, also
	// by setting the header Location. If it writes none, a form is redirected
	// to [Next], and JSON is answered with {"verified": true}. A framework's own
	// response must be one over w. If the visitor cannot be signed in, write an
	// error: the code is used up, and they have to start again. The context of r
	// does not end if the visitor hangs up; be quick, since they wait. Required.
	OnVerified func(w http.ResponseWriter, r *http.Request, c otp.Challenge)

	// Purpose returns what a code is for, from data that the server has: the
	// session, the path, the database. It is called at every step, so a code
	// for a payment is no longer accepted after the amount has changed.
	// Default: the purpose of the verifier.
	Purpose func(r *http.Request) (string, error)

	// Address returns where to send the code if the application knows it: the
	// address of the account that is signed in. Default: the visitor types the
	// address.
	Address func(r *http.Request) (string, error)

	// Prepare may change a request before its mail is sent: set Proven, Vars or
	// a Locale. It may also return an error, for example after a failed CAPTCHA
	// whose answer is in r.PostForm, which also has the fields of a JSON body.
	// To, Locale, Client, Device and Held are already filled in. Default: no
	// changes.
	Prepare func(r *http.Request, request *otp.Request) error

	// Busy reports that no mail can be accepted now; use the method Full of a
	// relay.Queue. If known is true, it is about mail to known devices: the
	// request has a valid device token for its address, or Prepare has set
	// Proven. start calls Busy before it asks the verifier for a mail, and
	// resend calls it first, so that all strangers get the same 503, including
	// those who would get no mail. Default: never busy.
	Busy func(known bool) bool

	// ClientKey returns who is asking: an IP address, an IP:port, or a name of
	// at most 128 bytes. Never take it from a header that the client can set.
	// Default: the IP address of the peer, or the one that a proxy in
	// TrustedProxies reports.
	ClientKey func(r *http.Request) string

	// TrustedProxies are the networks of your own proxies. If the peer is in
	// one of them, the client is the last address in X-Forwarded-For that is in
	// none of them. A peer without an IP address, as on a Unix socket, counts
	// as a proxy if TrustedProxies is not empty. An invalid network, or an IPv4
	// network written as IPv6 ("::ffff:10.0.0.0/104"), is an error. Default:
	// none, so that X-Forwarded-For is ignored.
	TrustedProxies []netip.Prefix

	// TrustedOrigins are other origins, such as "https://app.example.com",
	// whose scripts may post here. They also need CORS headers, and they are
	// answered like apps. An invalid origin is an error. Default: none.
	TrustedOrigins []string

	// Language returns the preferred language for pages and mail: a BCP 47 tag
	// or an Accept-Language header. It is called at every step, so take a choice
	// from the session or a cookie, not from the query of one page. Default: the Accept-Language of the
	// request.
	Language func(r *http.Request) string

	// Locale is the BCP 47 tag of the language used when none of the preferred
	// languages is available. A language that has no words is an error.
	// Default: empty, which means "en".
	Locale string

	// Path is where the handler is mounted, as browsers see it: a path that
	// begins and ends with a slash, such as "/login/" or "/pay/{invoice}/", in
	// which names in braces are filled in from r.PathValue. [Handler.Start]
	// needs it. With it, all links and forms of the pages name whole paths, and
	// the handler also answers at the path without its last slash, as
	// middleware leaves it that removes slashes. Default: unknown; the links
	// are relative, and the handler works at any path, in any folder; in a
	// folder, set Home too.
	Path string

	// StartAt is the page of the application that leads to [Handler.Start], such
	// as the one that asks for the password: a path on this site. If it is set,
	// only Start opens challenges, and a code that is passed proves that Start
	// was called for it while the code was valid. The handler has no page that
	// asks for an address and no step "start", and it mails no new code: a
	// visitor who needs one is sent to StartAt. The codes need a purpose that
	// no other handler has, such as that of verifier.For("login:password"); the
	// purpose "login" is an error. Default: anybody may start.
	StartAt string

	// Brand is the name at the top of the pages. The mail gets its brand from
	// the sender; see smtpsender.Options. Line breaks and control characters
	// are an error. Default: no name.
	Brand string

	// Support says whom to ask for help, such as "help@example.com",
	// "https://example.com/help" or "+44 20 7946 0000". The pages show it when
	// they ask for a code, tell somebody to wait or report a problem. Line
	// breaks and control characters are an error. Default: nobody.
	Support string

	// Page may change a page before it is shown: it sets what differs between
	// requests, such as Brand, Support and Style for a tenant, About for what is
	// being confirmed, and Fields for the token of CSRF middleware. Brand,
	// Support and all others are already filled in. Default: no changes.
	Page func(r *http.Request, p *Page)

	// Render shows the pages in place of the built-in template, with the
	// application's own layout and template engine. It writes the page to w,
	// and not to a framework's response over another writer. Page.Title and
	// Page.Body are ready to be put into a layout; or draw your own
	// from the fields of the page, its sentences (Say) and its addresses (URL).
	// The status is already set to Page.Status and the content type to HTML. If
	// it returns an error, nothing that it wrote is sent, the answer has status
	// 500 and OnError is told. The header Content-Security-Policy is then left
	// to the application, unless ContentSecurityPolicy is set. Default: the
	// template of Files or the built-in one.
	Render func(w http.ResponseWriter, r *http.Request, p Page) error

	// Home is the path to go to after a correct code if the form names no other
	// path. An application in a folder of its site, such as /app/, names that
	// folder: the default would leave it. A path that leads to another site is an
	// error. Default: "/".
	Home string

	// Files is a folder with your changes to the pages:
	//
	//   - words/<tag>.json changes sentences, or adds a language or a title for
	//     a kind of purpose. It has the keys of words/en.json; "minutes" and
	//     "hours" have one text for each plural category of the language.
	//   - page.html.tmpl replaces the built-in template. Its data is a [Page],
	//     and {{.Body}} is what the built-in one has between its frame.
	//   - style.css replaces the built-in style.
	//   - theme.css is added after the style. Use it to set the variables at
	//     the top of style.css, such as --otp-accent. Set the colors again
	//     within @media (prefers-color-scheme: dark), or dark screens get the
	//     light ones.
	//
	// The words of the mail are other files; see letter.Options. Files is read
	// once and checked by [New]; invalid files are an error. It is part of your
	// program: anyone who can write to it can change your pages. Default: nil,
	// the built-in pages.
	Files fs.FS

	// ContentSecurityPolicy replaces the value of this header, for templates
	// that load something. Keep frame-ancestors and form-action in it. The
	// default loads nothing, allows only the page's own style and script, and
	// has form-action 'self': with it, browsers may block an OnVerified
	// redirect to another site.
	ContentSecurityPolicy string

	// Now is the clock of the verifier, for the times that pages and answers
	// show. Default: time.Now.
	Now func() time.Time

	// OnError is called with failures of the system that the visitor sees too:
	// of the store, the mail, or your functions. A mail that may have been sent
	// and a rejected recipient are not among them. It is also called when the
	// handler cannot work as it was set up: when a body was read before, and,
	// once each, when the first page that is asked for does not exist, when
	// requests come through a proxy that TrustedProxies does not name, and when
	// a browser has not kept the cookies without HTTPS. The error contains
	// no code, no challenge ID and no whole address, unless an error of your
	// functions contains one. Failures of the store and the mail are events of
	// the verifier, too, which logs them if it has no Observer. Default:
	// slog.Default() gets at most one line a minute.
	OnError func(r *http.Request, err error)
}

// ErrForbidden means that the visitor is not allowed to do this. The functions
// in [Options] may return it; the answer then has status 403.
var ErrForbidden = errors.New("otphttp: forbidden")

var errStartPurpose = errors.New(`otphttp: Options.StartAt: the codes need a purpose that no other handler has: use verifier.For("login:password")`)

// Handler serves the pages and the API. Make it with [New]. It is safe for
// concurrent use.
type Handler struct {
	verifier *otp.Verifier
	opts     Options
	origins  *http.CrossOriginProtection
	pages    *pages
	reached  atomic.Bool  // some request has found a step, or its absence was reported
	proxied  atomic.Bool  // a proxy that is not declared was reported
	plain    atomic.Bool  // a site without HTTPS was reported
	rehosted atomic.Bool  // a form whose origin is not the host was reported
	tooLong  atomic.Bool  // a path to continue at that is too long was reported
	logged   atomic.Int64 // when reportError last wrote a line, in Unix nanoseconds
}

// New returns a handler. It returns an error if OnVerified is missing or a
// field has an invalid value; for an invalid file, the error names the file and
// the key.
func New(verifier *otp.Verifier, opts *Options) (*Handler, error) {
	if verifier == nil {
		return nil, errors.New("otphttp: New: verifier is nil")
	}
	if opts == nil || opts.OnVerified == nil {
		return nil, errors.New("otphttp: Options.OnVerified: required; it receives the proven address")
	}
	h := &Handler{verifier: verifier, opts: *opts, origins: http.NewCrossOriginProtection()}
	for _, origin := range opts.TrustedOrigins {
		if err := h.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("otphttp: Options.TrustedOrigins: %w", err)
		}
	}
	for _, network := range opts.TrustedProxies {
		// Addresses are compared as IPv4, so a mapped network would match none.
		if !network.IsValid() || network.Addr().Is4In6() {
			return nil, fmt.Errorf("otphttp: Options.TrustedProxies: invalid network %v", network)
		}
	}
	if h.opts.Home = local(cmp.Or(opts.Home, "/")); h.opts.Home == "" {
		return nil, errors.New("otphttp: Options.Home: must be a path on this site, such as /account")
	}
	if opts.StartAt != "" {
		if h.opts.StartAt = local(opts.StartAt); h.opts.StartAt == "" || strings.Contains(h.opts.StartAt, "#") {
			return nil, errors.New("otphttp: Options.StartAt: must be a path on this site, such as /login")
		}
		if opts.Path != "" && strings.HasPrefix(h.opts.StartAt, opts.Path) {
			return nil, errors.New("otphttp: Options.StartAt: must be a page of the application, not below Options.Path")
		}
		if opts.Purpose == nil && verifier.Purpose() == "login" {
			return nil, errStartPurpose
		}
	}
	if opts.Path != "" {
		if h.opts.Path = local(opts.Path); !strings.HasSuffix(h.opts.Path, "/") || strings.ContainsAny(h.opts.Path, "?#") {
			return nil, errors.New("otphttp: Options.Path: must begin and end with a slash, such as /login/")
		}
	}
	if h.opts.Now == nil {
		h.opts.Now = time.Now
	}
	if err := safetext.Check(opts.Brand); err != nil {
		return nil, fmt.Errorf("otphttp: Options.Brand: %w", err)
	}
	if err := safetext.Check(opts.Support); err != nil {
		return nil, fmt.Errorf("otphttp: Options.Support: %w", err)
	}
	var err error
	if h.pages, err = newPages(&h.opts); err != nil {
		return nil, fmt.Errorf("otphttp: %w", err)
	}
	return h, nil
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.exchange(w, r).serve()
}
