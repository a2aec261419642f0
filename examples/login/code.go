package main

import (
	"errors"
	"fmt"
	"log"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-mailotp/otp"
)

const deviceCookie = "__Host-device"

// askForCode runs where the login handler used to sign the user in. The
// password was correct; now the user must prove access to the mailbox.
func (a *app) askForCode(w http.ResponseWriter, r *http.Request, user string) {
	request := otp.Request{
		To:     a.users[user].address, // never an address from the form
		Locale: r.Header.Get("Accept-Language"),
		Client: r.RemoteAddr, // behind a proxy: the address that the proxy reports
	}
	if cookie, err := r.Cookie(deviceCookie); err == nil {
		request.Device = cookie.Value
	}
	// A user who signs in again, perhaps because the mail is slow, continues
	// the challenge of this session.
	request.Held = []string{a.session(r).code}
	challenge, err := a.verifier.Send(r.Context(), request)
	if challenge.ID == "" {
		problem, status := explain(w, err)
		show(w, status, "login", problem)
		return
	}
	a.renew(w, r, session{pending: user, code: challenge.ID})
	if err != nil { // the code is still valid, but it is too early for another mail
		a.showCode(w, r, challenge, err)
		return
	}
	http.Redirect(w, r, "/code", http.StatusSeeOther)
}

// codePage shows the state of the challenge. Reloading it sends nothing.
func (a *app) codePage(w http.ResponseWriter, r *http.Request) {
	s := a.session(r)
	challenge, err := a.verifier.Status(r.Context(), s.code)
	a.showCode(w, r, challenge, err)
}

// checkCode signs the user in if the code is correct for this session.
func (a *app) checkCode(w http.ResponseWriter, r *http.Request) {
	s := a.session(r)
	challenge, err := a.verifier.Check(r.Context(), s.code, r.PostFormValue("code"))
	if err != nil {
		if challenge.ID == "" { // input of more than 64 bytes is rejected without loading the challenge
			challenge, _ = a.verifier.Status(r.Context(), s.code)
		}
		a.showCode(w, r, challenge, err)
		return
	}
	if challenge.To.Key() != s.pending {
		log.Print("the address of the code differs from that of the session")
		http.Error(w, "Something went wrong.", http.StatusInternalServerError)
		return
	}
	a.renew(w, r, session{user: s.pending})
	setCookie(w, deviceCookie, challenge.Device, 180*24*time.Hour)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// resend mails the code again, or a new one.
func (a *app) resend(w http.ResponseWriter, r *http.Request) {
	s := a.session(r)
	challenge, err := a.verifier.Resend(r.Context(), s.code)
	if err == nil {
		a.renew(w, r, session{pending: s.pending, code: challenge.ID})
		http.Redirect(w, r, "/code?sent=again", http.StatusSeeOther)
		return
	}
	if challenge.ID == "" {
		challenge, _ = a.verifier.Status(r.Context(), s.code)
	}
	a.showCode(w, r, challenge, err)
}

// showCode shows the code page, or starts again if there is no challenge left.
func (a *app) showCode(w http.ResponseWriter, r *http.Request, challenge otp.Challenge, err error) {
	if challenge.ID == "" {
		if err != nil && !errors.Is(err, otp.ErrUnknown) && !errors.Is(err, otp.ErrMalformed) {
			problem, status := explain(w, err)
			show(w, status, "login", problem)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	page := struct {
		otp.Challenge
		Problem   string
		SentAgain bool
	}{Challenge: challenge, SentAgain: err == nil && r.URL.Query().Get("sent") == "again"}
	status := http.StatusOK
	if err != nil {
		page.Problem, status = explain(w, err)
		if errors.Is(err, otp.ErrCode) && challenge.GuessesLeft > 0 {
			page.Problem += fmt.Sprintf(" Guesses left: %d.", challenge.GuessesLeft)
		}
	}
	show(w, status, "code", page)
}

// explain returns an error in words for people. It logs failures of the system.
func explain(w http.ResponseWriter, err error) (problem string, status int) {
	var limit *otp.LimitError
	switch {
	case errors.As(err, &limit):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(limit.RetryAfter.Seconds()))))
		return "Too many mails. Please wait " + inWords(limit.RetryAfter) + ".", http.StatusTooManyRequests
	case errors.Is(err, otp.ErrMalformed):
		return "That is not a code. Copy it from the mail.", http.StatusUnprocessableEntity
	case errors.Is(err, otp.ErrCode):
		return "That is not the code.", http.StatusUnprocessableEntity
	case otp.NeedsResend(err):
		return "This code can no longer be used. Ask for a new one.", http.StatusUnprocessableEntity
	case errors.Is(err, otp.ErrSend):
		log.Print(err)
		return "We could not send the mail. Please try again later.", http.StatusServiceUnavailable
	}
	log.Print(err)
	return "Something went wrong. Please try again later.", http.StatusServiceUnavailable
}

// inWords returns a time in whole units, rounded up.
func inWords(d time.Duration) string {
	switch {
	case d > 2*time.Hour:
		return fmt.Sprintf("%.0f hours", math.Ceil(d.Hours()))
	case d > 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", math.Ceil(d.Minutes()))
	}
	return fmt.Sprintf("%.0f seconds", math.Ceil(d.Seconds()))
}
