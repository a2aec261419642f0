package otphttp_test

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// A sign-in at /login/. The application gives the visitor a new session.
func ExampleNew() {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(os.Stdout), nil)
	if err != nil {
		log.Fatal(err)
	}
	login, err := otphttp.New(verifier, &otphttp.Options{
		Brand: "Example",
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			// sessions.Renew(w, r, c.To.String())
			http.Redirect(w, r, otphttp.Next(r, "/"), http.StatusSeeOther)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/login/", login)
}

// A visitor who is signed in confirms a payment. The code is valid only for
// this invoice and this amount, and goes to the address of the account.
func ExampleOptions_purpose() {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(os.Stdout), nil)
	if err != nil {
		log.Fatal(err)
	}
	amount := func(invoice string) string { return "99.00 EUR" }           // from the database
	account := func(r *http.Request) string { return "alice@example.com" } // from the session
	pay, err := otphttp.New(verifier, &otphttp.Options{
		Purpose: func(r *http.Request) (string, error) {
			invoice := r.PathValue("invoice")
			return "pay:" + invoice + ":" + amount(invoice), nil
		},
		Address: func(r *http.Request) (string, error) { return account(r), nil },
		Prepare: func(r *http.Request, request *otp.Request) error {
			request.Proven = true // strangers cannot use up the mails of the account
			request.Vars = map[string]string{"amount": amount(r.PathValue("invoice"))}
			return nil
		},
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			fmt.Fprintln(w, "paid:", c.Purpose)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/pay/{invoice}/", pay)
}
