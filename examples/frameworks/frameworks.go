// Package frameworks puts the pages of package otphttp into applications that
// have sessions, with net/http, chi, echo, gin, fiber and huma. Each application
// is one function and has the same paths:
//
//	GET  /                says who is signed in
//	     /login/          the pages of otphttp
//	     /pay/{invoice}/  the same for a code that confirms one payment
//	POST /logout          ends the session
//
// Whoever signs in gets a new session, so that nobody else knows its ID (OWASP
// ASVS 7.2.4). The sessions are in the memory of the process; choose another
// store for a program that runs twice.
package frameworks

import (
	"crypto/rand"
	"fmt"
	"net/http"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// newPay returns the pages for a code that confirms one payment. The invoice is
// a parameter of the path, so the framework must pass it to the request.
func newPay(v *otp.Verifier) (*otphttp.Handler, error) {
	return otphttp.New(v, &otphttp.Options{
		Purpose: func(r *http.Request) (string, error) { return "pay:" + r.PathValue("invoice"), nil },
		OnVerified: func(w http.ResponseWriter, _ *http.Request, c otp.Challenge) {
			fmt.Fprintln(w, "confirmed", c.Purpose)
		},
	})
}

// whoIs is what the home page says. The user is the key of the address that was
// proven; see "Which account it is" in docs/recipes.md.
func whoIs(user string) string {
	if user == "" {
		return "nobody is signed in\n"
	}
	return user + " is signed in\n"
}

// newKey returns the key that authenticates the cookies of a store. An
// application reads it from its configuration.
func newKey() []byte {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return key
}
