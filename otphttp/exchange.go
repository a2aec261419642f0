package otphttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-mailotp/otp"
)

// exchange is one request and its answer.
type exchange struct {
	h        *Handler
	w        http.ResponseWriter
	r        *http.Request
	path     string // Options.Path for this request
	step     string // the last segment of the path
	in       input
	typed    string        // the address to which a code is sent, if the visitor typed it
	verifier *otp.Verifier // for the purpose of this request; nil before it is known
}

// steps maps the last segment of a path to how it is served.
var steps = map[string]struct {
	method string
	serve  func(*exchange)
}{
	"":       {http.MethodGet, (*exchange).askPage},
	"code":   {http.MethodGet, (*exchange).codePage},
	"start":  {http.MethodPost, (*exchange).start},
	"check":  {http.MethodPost, (*exchange).check},
	"resend": {http.MethodPost, (*exchange).resend},
	"status": {http.MethodPost, (*exchange).status},
}

// exchange begins an answer: it sets the headers that all answers have.
func (h *Handler) exchange(w http.ResponseWriter, r *http.Request) *exchange {
	header := w.Header()
	// OWASP ASVS 14.3.2, 3.4.3 to 3.4.6, 3.4.8. No proxy may rewrite the page
	// (RFC 9111 5.2.2.6): the policy has the hashes of its style and script.
	header.Set("Cache-Control", "no-store, no-transform")
	if h.pages.policy != "" {
		header.Set("Content-Security-Policy", h.pages.policy)
	}
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	// With no-referrer, browsers would send "Origin: null" with the forms, which
	// old browsers and some CSRF middleware cannot tell from another site.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	return &exchange{h: h, w: w, r: r, path: fillPath(h.opts.Path, r)}
}

// fillPath puts the values of a request's path into the names in braces. It
// returns "" if one is missing: links to "//b/" lead to another site.
func fillPath(path string, r *http.Request) string {
	if !strings.Contains(path, "{") {
		return path
	}
	ok := true
	path = pathName.ReplaceAllStringFunc(path, func(name string) string {
		value := r.PathValue(strings.Trim(name, "{}"))
		ok = ok && value != "" && value != "." && value != ".."
		return url.PathEscape(value)
	})
	if !ok {
		return ""
	}
	return path
}

// checkPath returns an error if Options.Path could not be filled in.
func (x *exchange) checkPath() error {
	if x.path == "" && x.h.opts.Path != "" {
		return fmt.Errorf("otphttp: Options.Path: the request has no value for a name in %s", x.h.opts.Path)
	}
	return nil
}

var pathName = regexp.MustCompile(`\{\w+\}`)

func (x *exchange) serve() {
	x.boundBodyTime()
	switch below, known := strings.CutPrefix(x.r.URL.EscapedPath(), x.path); {
	case x.r.URL.EscapedPath()+"/" == x.path: // middleware has removed the slash
	case known && x.path != "":
		// With a slash in it, there is no such step; one at its end is what
		// middleware has added.
		x.step = below
		if step, added := strings.CutSuffix(below, "/"); added && step != "" {
			x.step = step
		}
	default: // http.StripPrefix may have shortened it
		_, x.step = path.Split(x.r.URL.Path)
	}
	if err := x.checkPath(); err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	step, ok := steps[x.step]
	if ok {
		x.h.reached.Store(true)
	}
	if x.h.opts.StartAt != "" && x.step == "start" {
		ok = false // only Handler.Start opens challenges
	}
	switch {
	case !ok:
		x.reportMount()
		x.fail(otp.Challenge{}, &requestError{status: http.StatusNotFound, text: "no such path"})
		return
	case x.r.Method == step.method, x.r.Method == http.MethodHead && step.method == http.MethodGet:
	case x.r.Method == http.MethodGet && x.step != "status" && x.wantsPage(): // a restored tab, or a redirect that has made it a GET
		x.redirect(Page{startAt: x.h.opts.StartAt, path: x.path, Next: x.next()}.URL(""))
		return
	default:
		allow := step.method
		if allow == http.MethodGet {
			allow = "GET, HEAD"
		}
		x.w.Header().Set("Allow", allow)
		x.fail(otp.Challenge{}, &requestError{status: http.StatusMethodNotAllowed, text: "method not allowed"})
		return
	}
	if step.method == http.MethodPost {
		// A form on another site must not sign anybody in (OWASP ASVS 3.5.1).
		if err := x.h.origins.Check(x.r); err != nil {
			x.reportHost()
			x.fail(otp.Challenge{}, ErrForbidden)
			return
		}
		if err := x.readInput(); err != nil {
			x.fail(otp.Challenge{}, err)
			return
		}
	}
	if err := x.choosePurpose(); err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	step.serve(x)
}

// choosePurpose sets the verifier of this request.
func (x *exchange) choosePurpose() error {
	x.verifier = x.h.verifier
	if x.h.opts.Purpose != nil {
		purpose, err := x.h.opts.Purpose(x.r)
		if err != nil {
			return err
		}
		x.verifier = x.verifier.For(purpose)
	}
	if x.h.opts.StartAt != "" && x.verifier.Purpose() == "login" {
		return errStartPurpose
	}
	return nil
}

func (x *exchange) resend() {
	id := x.challengeID()
	if x.busy(false) {
		// Only the challenge itself tells whether its mail would have a place
		// among those of known devices, so look at it if there is such a place.
		var c otp.Challenge
		if !x.busy(true) {
			c, _ = x.verifier.Status(x.r.Context(), id)
		}
		if !c.KnownDevice {
			x.failBusy()
			return
		}
	}
	c, err := x.verifier.Resend(x.r.Context(), id)
	if otp.NeedsResend(err) && x.h.opts.StartAt != "" && x.wantsPage() {
		x.redirect(x.startAgain())
		return
	}
	if err != nil {
		if c.ID == "" && (errors.Is(err, otp.ErrLimited) || errors.Is(err, otp.ErrSend)) {
			c, _ = x.verifier.Status(x.r.Context(), id)
		}
		x.fail(c, err)
		return
	}
	notice := "sentAgain"
	if c.ID != id {
		notice = "sentNew"
		x.keepRenewed(id, c)
	}
	x.sent(c, notice)
}

func (x *exchange) check() {
	c, err := x.verifier.Check(x.r.Context(), x.challengeID(), x.in.code)
	if err != nil {
		x.fail(c, err)
		return
	}
	x.dropChallenge(c.ID)
	x.keepDevice(c.To, c.Device)
	w := &answer{ResponseWriter: x.w}
	// A visitor who hangs up now, to press again, must not lose the session.
	x.h.opts.OnVerified(w, x.r.WithContext(context.WithoutCancel(x.r.Context())), c)
	switch {
	case w.written:
	case x.w.Header().Get("Location") != "": // the application has set it, or written it past w
		x.w.WriteHeader(http.StatusSeeOther)
	default:
		x.verified(c)
	}
}

func (x *exchange) status() {
	c, err := x.verifier.Status(x.r.Context(), x.challengeID())
	if err != nil {
		x.fail(c, err)
		return
	}
	x.writeJSON(http.StatusOK, "application/json", x.publicView(c))
}

// challengeID returns the challenge that a request is about: the one in its
// body, or the one in the browser's cookie that has the reference of the page.
func (x *exchange) challengeID() string {
	if x.in.id != "" {
		return x.in.id
	}
	return challengeCookie(x.r).find(x.in.reference).id
}

// language returns the preferred language.
func (x *exchange) language() string {
	if x.h.opts.Language != nil {
		return x.h.opts.Language(x.r)
	}
	return strings.Join(x.r.Header.Values("Accept-Language"), ",")
}

// reportError tells Options.OnError of a failure or, if there is none, the
// default logger, at most once a minute.
func (x *exchange) reportError(err error) {
	if x.h.opts.OnError == nil {
		now := x.h.opts.Now().UnixNano()
		last := x.h.logged.Load()
		if since := now - last; last != 0 && since < int64(time.Minute) && since > -int64(time.Minute) || !x.h.logged.CompareAndSwap(last, now) {
			return
		}
	}
	x.tell(err)
}

// reportOnce reports a mistake in the setup the first time that it is seen,
// however many failures are reported beside it.
func (x *exchange) reportOnce(said *atomic.Bool, err error) {
	if said.CompareAndSwap(false, true) {
		x.tell(err)
	}
}

func (x *exchange) tell(err error) {
	if x.h.opts.OnError != nil {
		x.h.opts.OnError(x.r, err)
		return
	}
	slog.Default().ErrorContext(x.r.Context(), "otphttp request failed", "error", err)
}

// reportMount reports a path that the handler does not have, if no request has
// found one yet: then it is probably mounted in the wrong place.
func (x *exchange) reportMount() {
	if x.r.Method == http.MethodGet {
		x.reportOnce(&x.h.reached, fmt.Errorf("otphttp: there is no page at %.100q: mount the handler at a path that ends in a slash, such as /login/, with all paths below it; "+
			"if something in front of it removes the slash, set Options.Path", x.r.URL.Path))
	}
}

// reportHost reports, once, a form whose origin is not the host of the request:
// a proxy on a near address has probably replaced the host.
func (x *exchange) reportHost() {
	peer, ok := parseAddr(x.r.RemoteAddr)
	if origin := x.r.Header.Get("Origin"); near(peer, ok) && x.r.Header.Get("Sec-Fetch-Site") == "" && origin != "" && origin != "null" {
		x.reportOnce(&x.h.rehosted, fmt.Errorf("otphttp: a form from %.100q was refused, since the request names the host %.100q: if that is one site, "+
			"let the proxy pass the header Host on, or name the origin in Options.TrustedOrigins", origin, x.r.Host))
	}
}

// answer records whether an answer was written.
type answer struct {
	http.ResponseWriter
	written bool
}

func (a *answer) WriteHeader(status int) {
	a.written = a.written || status >= 200
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.written = true
	return a.ResponseWriter.Write(b)
}

// FlushError sends the header.
func (a *answer) FlushError() error {
	a.written = true
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
