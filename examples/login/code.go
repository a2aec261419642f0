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

// askForCode is called where the login handler used to sign the user in: the
// password was right, now the mailbox must be theirs too.
func (a *app) askForCode(w http.ResponseWriter, r *http.Request, user string) {
	request := otp.Request{
		To:     user, // the address of the account, never one from the form
		Locale: r.Header.Get("Accept-Language"),
		Client: r.RemoteAddr, // behind a proxy: what the proxy vouches for
	}
	if cookie, err := r.Cookie(deviceCookie); err == nil {
		request.Device = cookie.Value
	}
	challenge, err := a.verifier.Send(r.Context(), request)
	if errors.Is(err, otp.ErrLimited) {
		// Whoever signs in once more within the minute has a code that still works.
		if s := a.session(r); s.pending == user {
			challenge, _ = a.verifier.Status(r.Context(), s.code)
		}
	}
	if err != nil && challenge.ID == "" {
		problem, status := explain(w, err)
		show(w, status, "login", problem)
		return
	}
	if err != nil { // the mail may have gone out, or there is no such mailbox
		log.Print(err)
	}
	a.renew(w, r, session{pending: user, code: challenge.ID})
	http.Redirect(w, r, "/code", http.StatusSeeOther)
}

// codePage shows how the challenge stands; a reload sends nothing.
func (a *app) codePage(w http.ResponseWriter, r *http.Request) {
	s := a.session(r)
	challenge, err := a.verifier.Status(r.Context(), s.code)
	a.showCode(w, r, challenge, err)
}

// checkCode signs in whoever types the right code into the session that was
// asked for it.
func (a *app) checkCode(w http.ResponseWriter, r *http.Request) {
	s := a.session(r)
	challenge, err := a.verifier.Check(r.Context(), s.code, r.PostFormValue("code"))
	if err != nil {
		if challenge.ID == "" { // what is no code at all is refused without looking
			challenge, _ = a.verifier.Status(r.Context(), s.code)
		}
		a.showCode(w, r, challenge, err)
		return
	}
	if challenge.To.String() != s.pending {
		log.Print("the code was for another address than the session's")
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
	} else if challenge.ID != s.code { // a new one that may have gone out, or a decoy
		a.renew(w, r, session{pending: s.pending, code: challenge.ID})
	}
	a.showCode(w, r, challenge, err)
}

// showCode shows the code page, or begins again where nothing is left to answer.
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

// explain says an error to a person. What is no fault of theirs goes to the log.
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
		return "This code is over. Ask for a new one.", http.StatusUnprocessableEntity
	case errors.Is(err, otp.ErrSend):
		log.Print(err)
		return "We could not send the mail. Please try again later.", http.StatusServiceUnavailable
	}
	log.Print(err)
	return "Something went wrong. Please try again later.", http.StatusServiceUnavailable
}

// inWords says a time to wait in whole units, rounded up.
func inWords(d time.Duration) string {
	switch {
	case d > 2*time.Hour:
		return fmt.Sprintf("%.0f hours", math.Ceil(d.Hours()))
	case d > 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", math.Ceil(d.Minutes()))
	}
	return fmt.Sprintf("%.0f seconds", math.Ceil(d.Seconds()))
}
