package main

import (
	"errors"
	"html/template"
	"log"
	"math"
	"net/http"
	"os"
	"strconv"

	"github.com/go-mailotp/otp"
)

// app is the application in each process. It keeps no state between requests.
type app struct {
	node     int
	verifier *otp.Verifier
}

func newApp(node int, store otp.Store, secret []byte) (http.Handler, error) {
	verifier, err := otp.NewVerifier(store, otp.NewLogSender(os.Stdout), &otp.Options{Secrets: [][]byte{secret}})
	if err != nil {
		return nil, err
	}
	a := &app{node, verifier}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { a.show(w, http.StatusOK, page{}) })
	mux.HandleFunc("POST /send", a.send)
	mux.HandleFunc("POST /check", a.check)
	return http.NewCrossOriginProtection().Handler(mux), nil
}

const challengeCookie = "__Host-challenge" // only over HTTPS and, in Firefox and Chromium, from localhost

// send mails a code and stores the challenge's ID in a cookie. An error comes
// with a challenge if the visitor has asked before and it is too early to mail
// the same code again.
func (a *app) send(w http.ResponseWriter, r *http.Request) {
	challenge, err := a.verifier.Send(r.Context(), otp.Request{
		To:     r.PostFormValue("email"),
		Client: client(r),
		Held:   []string{challengeID(r)},
	})
	if err != nil {
		a.fail(w, page{Challenge: challenge}, err)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: challengeCookie, Value: challenge.ID, Path: "/", Expires: challenge.ExpiresAt,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	a.show(w, http.StatusOK, page{Challenge: challenge})
}

// check may run in a different process than send.
func (a *app) check(w http.ResponseWriter, r *http.Request) {
	challenge, err := a.verifier.Check(r.Context(), challengeID(r), r.PostFormValue("code"))
	if err != nil {
		a.fail(w, page{Challenge: challenge}, err)
		return
	}
	a.show(w, http.StatusOK, page{Proven: challenge.To.String()})
}

// challengeID returns the ID in the visitor's cookie, or "".
func challengeID(r *http.Request) string {
	cookie, err := r.Cookie(challengeCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// fail shows an error to the visitor.
func (a *app) fail(w http.ResponseWriter, p page, err error) {
	status := http.StatusUnprocessableEntity
	var limit *otp.LimitError
	switch {
	case errors.Is(err, otp.ErrAddress):
		p.Problem = "This address cannot receive mail."
	case errors.As(err, &limit):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(limit.RetryAfter.Seconds()))))
		p.Problem = "Too many mails. Please wait."
	case errors.Is(err, otp.ErrMalformed):
		p.Problem = "This does not look like a code. Copy it from the mail."
	case errors.Is(err, otp.ErrCode):
		p.Problem = "This code is wrong."
	case errors.Is(err, otp.ErrUnknown), otp.NeedsResend(err):
		p = page{Problem: "This code can no longer be used. Request a new one."}
	default:
		log.Print(err)
		status, p.Problem = http.StatusServiceUnavailable, "Something went wrong. Please try again later."
	}
	a.show(w, status, p)
}

type page struct {
	Node      int
	Challenge otp.Challenge
	Proven    string
	Problem   string
}

func (a *app) show(w http.ResponseWriter, status int, p page) {
	p.Node = a.node
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	w.WriteHeader(status)
	if err := pages.Execute(w, p); err != nil {
		log.Print(err)
	}
}

var pages = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>One code, three processes</title>
<style>:root{color-scheme:light dark} body{font:1.1rem system-ui;max-width:28rem;margin:3rem auto;padding:0 1rem}
input,button{font:inherit;padding:.4rem} label,input{display:block;margin:.4rem 0;width:100%;box-sizing:border-box}</style>
<h1>One code, three processes</h1>
{{with .Problem}}<p role="alert"><strong>{{.}}</strong></p>{{end}}
{{if .Proven}}<p>Proven: {{.Proven}}</p>
{{else if .Challenge.ID}}
<p>We sent a code to {{.Challenge.Masked}} with the reference {{.Challenge.Reference}}. Guesses left: {{.Challenge.GuessesLeft}}.</p>
<form method="post" action="/check"><label for="code">Code</label>
<input id="code" name="code" autocomplete="one-time-code" inputmode="numeric" required autofocus><button>Check</button></form>
{{else}}<form method="post" action="/send"><label for="email">E-mail address</label>
<input id="email" name="email" type="email" autocomplete="email" required autofocus><button>Send a code</button></form>{{end}}
<p><small>Made by process {{.Node}}.</small></p></html>
`))
