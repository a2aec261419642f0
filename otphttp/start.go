package otphttp

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/safetext"
)

// Start opens a challenge, mails its code and shows the page for the code: call
// it where your handler knows the address, for example when a password was
// right. It writes the answer, a redirect to the page of the code or a page that
// says why there is none, so nothing else may write it. It needs
// [Options.Path].
//
// The To of the request is the address. What is empty of Locale, Client, Device
// and Held is filled in as for the handler's own forms, and Options.Purpose,
// Options.Address (if To is empty) and Options.Busy are called. Options.Prepare
// is not called. A path in the field "next" of the form or of the query is where
// to go after success.
//
// If the request has a body of JSON, Start answers like the API's start.
//
// Start does not check where the request comes from: whether another site may
// have posted the form is for your handler to know. To make sure that a code
// proves the first step too, set [Options.StartAt].
func (h *Handler) Start(w http.ResponseWriter, r *http.Request, request otp.Request) {
	x := h.exchange(w, r)
	x.step = "start"
	x.in.json = isJSON(r)
	if r.PostForm != nil {
		x.in.next = local(r.PostForm.Get("next"))
	}
	x.in.next = cmp.Or(x.in.next, x.next())
	if h.opts.Path == "" {
		x.fail(otp.Challenge{}, errors.New("otphttp: Options.Path: Start needs it, to show the page for the code"))
		return
	}
	if err := x.checkPath(); err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	if err := x.choosePurpose(); err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	if request.To == "" && h.opts.Address != nil {
		var err error
		if request.To, err = h.opts.Address(r); err != nil {
			x.fail(otp.Challenge{}, err)
			return
		}
	}
	x.complete(&request)
	if h.opts.StartAt != "" { // what Start has proven must not last longer than a code
		request.NoRenewal = true
	}
	x.send(request)
}

// start serves the form for the address.
func (x *exchange) start() {
	request, err := x.request()
	if err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	x.send(request)
}

// request returns the request that start makes to the verifier.
func (x *exchange) request() (request otp.Request, err error) {
	o := &x.h.opts
	if o.Address != nil {
		if request.To, err = o.Address(x.r); err != nil {
			return request, err
		}
	} else if !x.in.hasAddress {
		return request, badRequest(`field "address" is missing`)
	} else {
		request.To = x.in.address
	}
	x.complete(&request)
	if o.Prepare != nil {
		err = o.Prepare(x.r, &request)
	}
	if o.Address == nil && request.To == x.in.address { // else the application chose it
		x.typed = shown(request.To)
	}
	return request, err
}

// shown returns an address as the visitor typed it, in the form that is mailed.
// Another parser than ParseEmail may have accepted it: then without spaces around
// it, and "" if it cannot be shown.
func shown(typed string) string {
	if to, err := otp.ParseEmail(typed); err == nil {
		return to.String()
	}
	if typed = strings.TrimSpace(typed); len(typed) > maxHint || safetext.Check(typed) != nil {
		return ""
	}
	return typed
}

// complete fills in what is empty in a request.
func (x *exchange) complete(request *otp.Request) {
	if request.Locale == "" {
		request.Locale = x.language()
	}
	if request.Client == "" {
		request.Client = x.client(request.Proven)
	}
	if request.Device == "" {
		request.Device = cmp.Or(x.in.device, x.verifier.KnownDevice(request.To, deviceCookie(x.r)...))
	}
	if request.Held == nil {
		request.Held = slices.Concat(x.in.held, challengeCookie(x.r).ids())
	}
}

// send asks the verifier for a mail and answers.
func (x *exchange) send(request otp.Request) {
	// The verifier recognizes a device without asking the store, so a flood of
	// strangers that meets a full queue costs the store nothing.
	if x.busy(request.Proven || x.verifier.KnownDevice(request.To, request.Device) != "") {
		x.failBusy()
		return
	}
	c, err := x.verifier.Send(x.r.Context(), request)
	if errors.Is(err, otp.ErrAddress) && (x.h.opts.Address != nil || x.h.opts.StartAt != "") {
		// The visitor did not type it and cannot correct it.
		err = errors.New("otphttp: the address that the application supplied cannot be mailed; see otp.Options.ParseAddress")
	}
	if err != nil {
		x.failStart(c, err)
		return
	}
	notice := ""
	held := challengeCookie(x.r)
	switch {
	case held.has(c.ID):
		notice = "sentAgain"
	case x.typed != "" && slices.ContainsFunc(held, func(k keptChallenge) bool { return k.typed == x.typed && k.id != passedID }):
		notice = "sentNew" // it has an older mail
	}
	x.keepChallenge(c.ID, c, x.typed)
	x.sent(c, notice)
}

// failStart answers a start with an error. A visitor who sends the form again,
// perhaps because the mail is slow, gets the challenge that this browser
// already has with the error: then the page for its code is shown.
func (x *exchange) failStart(c otp.Challenge, err error) {
	if c.ID != "" && !challengeCookie(x.r).has(c.ID) { // the application has passed it as Held
		x.keepChallenge(c.ID, c, x.typed)
	}
	p := explain(err)
	if c.ID != "" && p.name == "limited" && x.wantsPage() && seconds(p.wait) <= seconds(c.ResendAt.Sub(x.h.opts.Now())) {
		x.toCodePage(c.Reference, "", 0) // which shows that wait
		return
	}
	x.fail(c, err)
}

// busy reports whether no mail can be accepted from strangers or, if known is
// true, from known devices.
func (x *exchange) busy(known bool) bool { return x.h.opts.Busy != nil && x.h.opts.Busy(known) }

// failBusy gives all visitors the same answer while no mail can be accepted.
func (x *exchange) failBusy() {
	x.fail(otp.Challenge{}, &otp.SendError{Temporary: true, Stage: "busy"})
}
