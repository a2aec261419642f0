// Package otphttp serves the pages and the JSON API that put a mailed code into
// a login, a sign-up, a change of address or a payment. It is an [http.Handler]
// over one [otp.Verifier], which has all the rules; here is only what HTTP needs.
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
// Only the last segment of the path counts, so the handler works at any path that
// ends in a slash, with or without [http.StripPrefix], and below patterns such as
// "/pay/{invoice}/":
//
//	GET  .../        the page that asks for the address; ?next=/path leads there at the end
//	GET  .../code    the page that asks for the code; a reload sends nothing
//	POST .../start   opens a challenge and mails its code
//	POST .../check   answers a guess
//	POST .../resend  mails the code again, or a new one
//	POST .../status  says how a challenge stands (JSON only)
//
// A body of type application/x-www-form-urlencoded is a page's form and is
// answered with a page or a redirect; application/json is the API's, described in
// openapi.json beside this package. Pages work without JavaScript.
//
// The handler reads the body itself. Middleware before it that calls ParseForm
// or FormValue takes a form's body away, and the answer is 400; hooks find the
// fields in r.PostForm.
//
// # Browsers and apps
//
// A browser keeps the challenge and the device token in cookies that scripts cannot
// read (__Host-otp, __Host-otp-device), so the site must be served by HTTPS or from
// localhost. An app gets both in the answer's body. A request with an Origin or a
// Sec-Fetch-Site header that is of the same origin comes from a browser.
//
// # What strangers can learn
//
// Answers to start and resend are alike whether the address is known, admitted by
// Options.Admit or refused by its mail server. The time they take, and temporary
// failures to send, are alike only if the verifier's sender is a relay.Queue whose
// Full is [Options.Busy].
//
// # Sessions
//
// Give the visitor a new session ID in [Options.OnVerified] (OWASP ASVS 7.2.4) and
// act on the Challenge's To and Purpose, never on what a form says.
package otphttp

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/safetext"
)

// Options are the choices of [New]. OnVerified is required; every other field's
// zero value is its default. The functions are called by many goroutines at once. Their
// errors become 403 with [ErrForbidden], what the verifier's own would with those of
// package otp (429 with [otp.ErrLimited]) and 503 with all others.
type Options struct {
	// OnVerified is called once for each right code, after the verifier has
	// consumed it. c.To is the proven address, c.Purpose what the code was for.
	// Here the application renews its session. It may write the answer;
	// if it writes none, a form is redirected to [Next], and JSON is told
	// {"verified": true}. Required.
	OnVerified func(w http.ResponseWriter, r *http.Request, c otp.Challenge)

	// Purpose says what a code is good for, from what the server knows: the
	// session, the path, the database. It is asked at every step, so a code for a
	// payment whose amount has changed is no longer accepted. Default: the
	// purpose of the verifier.
	Purpose func(r *http.Request) (string, error)

	// Address says where the code goes when the application knows it: the address of
	// the account that is signed in. Default: the person types it.
	Address func(r *http.Request) (string, error)

	// Prepare may change a request before its mail is sent: set Proven, Vars
	// or a Locale, or refuse it, as after a failed CAPTCHA whose answer is in
	// r.PostForm (which holds the JSON's fields too). To, Locale, Client and Device are filled in. Default: nothing.
	Prepare func(r *http.Request, request *otp.Request) error

	// Busy says that no mail can be taken now, as the method Full of a relay.Queue
	// does. It is asked before anything is looked at that start and resend would
	// mail for, so that everybody gets the same 503, also those who would get no mail.
	// Default: never.
	Busy func() bool

	// ClientKey says who asks: an IP address, an IP:port, or a name of at most
	// 128 bytes, never from a header that the client can set. Default: the
	// peer's address, by TrustedProxies.
	ClientKey func(r *http.Request) string

	// TrustedProxies are the networks of one's own proxies. Where the peer is
	// one of them, the client is the last address in X-Forwarded-For that is
	// none of them. A peer without an IP address, as on a Unix socket, counts
	// as a proxy if there is any. Default: none, X-Forwarded-For is ignored.
	TrustedProxies []netip.Prefix

	// TrustedOrigins are other origins, such as "https://app.example.com", whose
	// scripts may post here; they need CORS headers besides, and are answered like apps. Default: none.
	TrustedOrigins []string

	// Language is the reader's wish for pages and mail: a BCP 47 tag or an
	// Accept-Language header. Default: the request's Accept-Language.
	Language func(r *http.Request) string

	// Locale is the language of pages whose reader wishes none that there is: a
	// BCP 47 tag. Default: empty, which is "en".
	Locale string

	// Brand is the name at the top of the pages; that of the mail is the
	// sender's, as in smtpsender.Options. Default: none.
	Brand string

	// About says on the pages what is being confirmed, in the application's words: "99.00
	// EUR to Example Ltd, invoice 42". People must see what their code is for, there
	// and in the mail (Vars). Default: nothing.
	About func(r *http.Request) string

	// Home is the path to go to after a right code if the form names no other. Default: "/".
	Home string

	// Files is a folder with words/<tag>.json to change sentences, add a
	// language or a title for a kind of purpose (the keys are those of
	// words/en.json), page.html.tmpl in place of the built-in template ([Page] is
	// its data), style.css in place of the built-in style, and theme.css to stand
	// after it. There set the variables at the top of style.css, such as
	// --otp-accent, and the colors again within @media (prefers-color-scheme:
	// dark), or dark screens have those for light ones. Words of the mail are
	// other files: see letter.Options. It is read once and is part of the
	// program: whoever can write to it writes your pages. Default: nil.
	Files fs.FS

	// ContentSecurityPolicy replaces the header's value, for templates that load
	// something. Keep frame-ancestors and form-action in it. Default: nothing is
	// loaded, only the page's own style and script are used, and forms are sent to this
	// site: some browsers then refuse to be redirected to another one by OnVerified.
	ContentSecurityPolicy string

	// Now is the verifier's clock, for the times that pages and answers show.
	// Default: time.Now.
	Now func() time.Time

	// OnError is told failures of the system: store, mail, hooks. The error
	// holds no code, challenge ID or whole address, if those of the hooks do
	// not. Default: nobody is told; see also otp.Options.Observer.
	OnError func(r *http.Request, err error)
}

// ErrForbidden is for the functions in [Options]: this visitor may not do this. The
// answer is 403.
var ErrForbidden = errors.New("otphttp: forbidden")

// Handler serves the pages and the API. It is safe for concurrent use and must be
// made by [New].
type Handler struct {
	verifier *otp.Verifier
	opts     Options
	origins  *http.CrossOriginProtection
	pages    *pages
}

// New returns a handler. It refuses options without OnVerified, a Home that leads
// off the site, and files that are wrong, naming file and key.
func New(verifier *otp.Verifier, opts *Options) (*Handler, error) {
	if verifier == nil {
		return nil, errors.New("otphttp: no verifier")
	}
	if opts == nil || opts.OnVerified == nil {
		return nil, errors.New("otphttp: Options.OnVerified is missing")
	}
	h := &Handler{verifier: verifier, opts: *opts, origins: http.NewCrossOriginProtection()}
	for _, origin := range opts.TrustedOrigins {
		if err := h.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("otphttp: Options.TrustedOrigins: %w", err)
		}
	}
	for _, network := range opts.TrustedProxies {
		// A mapped one would fit no address, since those are compared as IPv4.
		if !network.IsValid() || network.Addr().Is4In6() {
			return nil, fmt.Errorf("otphttp: Options.TrustedProxies: %v is no network", network)
		}
	}
	if h.opts.Home == "" {
		h.opts.Home = "/"
	}
	if h.opts.Now == nil {
		h.opts.Now = time.Now
	}
	if h.opts.Home = local(h.opts.Home); h.opts.Home == "" {
		return nil, errors.New("otphttp: Options.Home is no path on this site")
	}
	if err := safetext.Check(opts.Brand); err != nil {
		return nil, fmt.Errorf("otphttp: Options.Brand: %w", err)
	}
	var err error
	if h.pages, err = newPages(&h.opts); err != nil {
		return nil, fmt.Errorf("otphttp: %w", err)
	}
	return h, nil
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	// OWASP ASVS 14.3.2, 3.4.3 to 3.4.6, 3.4.8.
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", h.pages.policy)
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	x := &exchange{h: h, w: w, r: r}
	x.serve()
}
