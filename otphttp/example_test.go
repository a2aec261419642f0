package otphttp_test

import (
	"context"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
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

// A code after the password. StartAt and a purpose of its own make sure that a
// code that is passed proves the password too.
func ExampleHandler_Start() {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(os.Stdout), nil)
	if err != nil {
		log.Fatal(err)
	}
	type account struct{ Address string }
	checkPassword := func(r *http.Request) (user account, ok bool) { return user, false } // the application's own
	signIn := func(w http.ResponseWriter, r *http.Request, user string) {}
	mux := http.NewServeMux()

	code, err := otphttp.New(verifier.For("login:password"), &otphttp.Options{
		Path:    "/login/confirm/", // where it is mounted
		StartAt: "/login",          // the page that asks for the password
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			signIn(w, r, c.To.Key()) // a new session
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/login/confirm/", code)
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user, ok := checkPassword(r)
		if !ok {
			http.Error(w, "wrong password", http.StatusUnauthorized)
			return
		}
		code.Start(w, r, otp.Request{To: user.Address, Proven: true})
	})
}

// The pages in the layout of the application, with the brand of a tenant.
func ExampleOptions_layout() {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(os.Stdout), nil)
	if err != nil {
		log.Fatal(err)
	}
	type tenant struct {
		Name, Support string
		Theme         template.CSS
	}
	tenants := map[string]tenant{"acme.example": {"Acme", "help@acme.example", ":root { --otp-accent: #0a7d4b; }"}}
	userOf := func(r *http.Request) string { return "" } // from the session
	layout := template.Must(template.New("").Parse(`<title>{{.Title}}</title><nav>{{.User}}</nav>
<main lang="{{.Page.Lang}}" dir="{{.Page.Dir}}"><h1>{{.Page.Title}}</h1>{{.Page.Body}}</main>`))

	login, err := otphttp.New(verifier, &otphttp.Options{
		Render: func(w http.ResponseWriter, r *http.Request, p otphttp.Page) error {
			return layout.Execute(w, map[string]any{"Title": p.TabTitle(), "User": userOf(r), "Page": p})
		},
		Page: func(r *http.Request, p *otphttp.Page) {
			if tenant, ok := tenants[r.Host]; ok {
				p.Brand, p.Support = tenant.Name, tenant.Support
				p.Style += tenant.Theme // such as ":root { --otp-accent: #0a7d4b; }"
			}
		},
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/login/", login)
}

// What an application with pages of its own says after a guess.
func ExampleSentence() {
	ctx := context.Background()
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), &otptest.Inbox{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	sent, err := verifier.Send(ctx, otp.Request{To: "bob@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/code", nil)
	r.Header.Set("Accept-Language", "de-AT,de;q=0.9")
	id, typed := sent.ID, "hello"

	challenge, err := verifier.Check(ctx, id, typed)
	sentence, lang := otphttp.Sentence(r.Header.Get("Accept-Language"), challenge, err)
	fmt.Println(lang, sentence)
	// Output: de Das ist kein Code. Geben Sie nur den Code aus der E-Mail ein.
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
