package main

import (
	"log"
	"net/http"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// newCodePages returns the pages that ask for the code, in the layout of this
// application. Only askForCode leads to them: a code has a purpose of its own
// and StartAt is set, so anyone who passes one has typed the password before.
func newCodePages(a *app, verifier *otp.Verifier) (*otphttp.Handler, error) {
	return otphttp.New(verifier.For("login:password"), &otphttp.Options{
		Path:    "/confirm/",
		StartAt: "/",
		Support: "help@example.com",
		Render: func(w http.ResponseWriter, _ *http.Request, p otphttp.Page) error {
			return pages.ExecuteTemplate(w, "code", p)
		},
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			a.renew(w, r, session{user: c.To.Key()})
		},
		OnError: func(_ *http.Request, err error) { log.Print(err) },
	})
}

// askForCode runs where the login handler used to sign the user in: the password
// was right. It mails a code and shows the page for it.
func (a *app) askForCode(w http.ResponseWriter, r *http.Request, u user) {
	a.code.Start(w, r, otp.Request{
		To:     u.address, // never an address from the form
		Proven: true,      // strangers, who do not have the password, cannot use up these mails
	})
}
