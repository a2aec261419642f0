package otphttp

import (
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/go-mailotp/otp"
)

// exchange is one request and its answer.
type exchange struct {
	h        *Handler
	w        http.ResponseWriter
	r        *http.Request
	step     string // the last segment of the path
	in       input
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

func (x *exchange) serve() {
	x.boundBodyTime()
	_, x.step = path.Split(x.r.URL.Path)
	step, ok := steps[x.step]
	switch {
	case !ok:
		x.fail(otp.Challenge{}, &requestError{status: http.StatusNotFound, text: "no such path"})
		return
	case x.r.Method == step.method, x.r.Method == http.MethodHead && step.method == http.MethodGet:
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
			x.fail(otp.Challenge{}, ErrForbidden)
			return
		}
		if err := x.readInput(); err != nil {
			x.fail(otp.Challenge{}, err)
			return
		}
	}
	x.verifier = x.h.verifier
	if x.h.opts.Purpose != nil {
		purpose, err := x.h.opts.Purpose(x.r)
		if err != nil {
			x.fail(otp.Challenge{}, err)
			return
		}
		x.verifier = x.verifier.For(purpose)
	}
	step.serve(x)
}

// request returns the request that start makes to the verifier.
func (x *exchange) request() (otp.Request, error) {
	o := &x.h.opts
	request := otp.Request{
		Locale: x.language(), Client: x.client(), Device: x.in.device,
		Held: slices.Concat(x.in.held, challengeCookie(x.r).ids()),
	}
	if request.Device == "" {
		request.Device = deviceCookie(x.r)
	}
	if o.Address != nil {
		var err error
		if request.To, err = o.Address(x.r); err != nil {
			return request, err
		}
	} else if !x.in.hasAddress {
		return request, badRequest(`field "address" is missing`)
	} else {
		request.To = x.in.address
	}
	if o.Prepare != nil {
		if err := o.Prepare(x.r, &request); err != nil {
			return request, err
		}
	}
	return request, nil
}

// busy reports whether no mail can be accepted from strangers or, if known is
// true, from known devices.
func (x *exchange) busy(known bool) bool { return x.h.opts.Busy != nil && x.h.opts.Busy(known) }

// failBusy gives all visitors the same answer while no mail can be accepted.
func (x *exchange) failBusy() {
	x.fail(otp.Challenge{}, &otp.SendError{Temporary: true, Stage: "busy"})
}

func (x *exchange) start() {
	request, err := x.request()
	if err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	// The verifier recognizes a device without asking the store, so a flood of
	// strangers that meets a full queue costs the store nothing.
	if x.busy(request.Proven || x.verifier.KnownDevice(request.To, request.Device) != "") {
		x.failBusy()
		return
	}
	c, err := x.verifier.Send(x.r.Context(), request)
	if err != nil {
		x.failStart(c, err)
		return
	}
	notice := ""
	if challengeCookie(x.r).has(c.ID) {
		notice = "sentAgain"
	}
	x.keepChallenge(c.ID, c)
	x.sent(c, notice)
}

// failStart answers a start with an error. A visitor who sends the form again,
// perhaps because the mail is slow, gets the challenge that this browser
// already has with the error: then the page for its code is shown.
func (x *exchange) failStart(c otp.Challenge, err error) {
	p := explain(err)
	if c.ID != "" && p.name == "limited" && x.wantsPage() && seconds(p.wait) <= seconds(c.ResendAt.Sub(x.h.opts.Now())) {
		x.toCodePage(c.Reference, "", 0) // which shows that wait
		return
	}
	x.fail(c, err)
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
		x.keepChallenge(id, c)
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
	x.keepDevice(c.Device)
	w := &answer{ResponseWriter: x.w}
	x.h.opts.OnVerified(w, x.r, c)
	if !w.written {
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
	return challengeCookie(x.r).find(x.in.reference)
}

// language returns the preferred language.
func (x *exchange) language() string {
	if x.h.opts.Language != nil {
		return x.h.opts.Language(x.r)
	}
	return strings.Join(x.r.Header.Values("Accept-Language"), ",")
}

func (x *exchange) reportError(err error) {
	if x.h.opts.OnError != nil {
		x.h.opts.OnError(x.r, err)
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
