// Package layout draws the pages of package otphttp with an application's own
// layout: in template.go around their ready content, with html/template, and in
// components.go element by element, with gomponents.
package layout

import (
	"net/http"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// user names who is signed in, for the layout. Here it is a cookie; an
// application asks its session.
func user(r *http.Request) string {
	if c, err := r.Cookie("user"); err == nil {
		return c.Value
	}
	return "nobody"
}

// pages returns the handler with one of the two ways to draw.
func pages(v *otp.Verifier, render func(http.ResponseWriter, *http.Request, otphttp.Page) error) (*otphttp.Handler, error) {
	return otphttp.New(v, &otphttp.Options{
		Brand:   "Example",
		Support: "help@example.com",
		Render:  render,
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			http.SetCookie(w, &http.Cookie{Name: "user", Value: c.To.Key(), Path: "/"}) // an application renews its session
		},
	})
}
