package otptest_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

// newApp returns the application to test. In production, it gets a sender of
// package smtpsender.
func newApp(sender otp.Sender) http.Handler {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
	if err != nil {
		log.Fatal(err)
	}
	var sessions sync.Map // session ID to address
	login, err := otphttp.New(verifier, &otphttp.Options{
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			id := rand.Text()
			sessions.Store(id, c.To.String())
			http.SetCookie(w, &http.Cookie{
				Name: "__Host-session", Value: id, Path: "/",
				Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
			})
			http.Redirect(w, r, otphttp.Next(r, "/"), http.StatusSeeOther)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/login/", login)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie("__Host-session"); err == nil {
			if address, ok := sessions.Load(cookie.Value); ok {
				fmt.Fprintf(w, "Hello %s!", address)
				return
			}
		}
		fmt.Fprint(w, "Please sign in.")
	})
	return mux
}

// This is a whole login test. It signs in to an application as a person would,
// and reads the code from the Inbox.
func ExampleInbox() {
	inbox := &otptest.Inbox{}
	server := httptest.NewTLSServer(newApp(inbox)) // TLS, because the cookies are Secure
	defer server.Close()
	browser := server.Client()
	browser.Jar, _ = cookiejar.New(nil)

	// page returns the page that the browser shows in the end.
	page := func(response *http.Response, err error) string {
		if err != nil {
			log.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			log.Fatal(err)
		}
		return string(body)
	}
	post := func(path, field, value string) string {
		return page(browser.PostForm(server.URL+path, url.Values{field: {value}}))
	}

	post("/login/start", "address", "ann@example.com")
	code := inbox.Code("ann@example.com")
	wrong := "000000"
	if code == wrong {
		wrong = "111111"
	}

	fmt.Println(strings.Contains(post("/login/check", "code", wrong), "That code is not right."))
	fmt.Println(page(browser.Get(server.URL))) // there is no session yet
	post("/login/check", "code", code)
	fmt.Println(page(browser.Get(server.URL))) // now there is one
	// Output:
	// true
	// Please sign in.
	// Hello ann@example.com!
}
