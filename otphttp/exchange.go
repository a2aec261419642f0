package otphttp

import (
	"errors"
	"net/http"
	"path"
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
	request := otp.Request{Locale: x.language(), Client: x.client(), Device: x.in.device}
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

// refuseIfBusy gives all visitors the same answer while no mail can be
// accepted.
func (x *exchange) refuseIfBusy() bool {
	if x.h.opts.Busy == nil || !x.h.opts.Busy() {
		return false
	}
	x.fail(otp.Challenge{}, &otp.SendError{Temporary: true, Stage: "busy"})
	return true
}

func (x *exchange) start() {
	if x.refuseIfBusy() {
		return
	}
	request, err := x.request()
	if err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	c, err := x.verifier.Send(x.r.Context(), request)
	if err = x.hideDelivery(c, err); err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	x.keepChallenge(c.ID, c)
	x.sent(c, "")
}

// hideDelivery returns nil for a failure to deliver if there is a challenge
// nevertheless: a stranger must not learn which mailboxes exist.
func (x *exchange) hideDelivery(c otp.Challenge, err error) error {
	var failed *otp.SendError
	if c.ID != "" && errors.As(err, &failed) && (failed.MaybeSent || !failed.Temporary) {
		x.reportError(err)
		return nil
	}
	return err
}

func (x *exchange) resend() {
	if x.refuseIfBusy() {
		return
	}
	id := x.challengeID()
	c, err := x.verifier.Resend(x.r.Context(), id)
	if err = x.hideDelivery(c, err); err != nil {
		if c.ID == "" {
			c = x.currentChallenge(err)
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
		if c.ID == "" { // malformed input is rejected without loading the challenge
			c = x.currentChallenge(err)
		}
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

// currentChallenge loads the challenge for an error that came without it. It
// returns the zero Challenge if there is none.
func (x *exchange) currentChallenge(err error) otp.Challenge {
	if errors.Is(err, otp.ErrMalformed) || errors.Is(err, otp.ErrLimited) || errors.Is(err, otp.ErrSend) {
		c, _ := x.verifier.Status(x.r.Context(), x.challengeID())
		return c
	}
	return otp.Challenge{}
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
