// Login adds a mailed code to an existing login handler: first the password,
// then the code, then a session with a new ID.
//
// What the code takes is in code.go. This file is the application; it calls
// newCodePages and askForCode. Run it, open http://localhost:8080, and sign in as
// alice@example.com with the password "correct horse battery staple". The code
// is printed in the terminal unless OTP_SMTP_URL and OTP_FROM are set.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/smtpsender"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on")
	flag.Parse()
	sender, err := newSender()
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
	if err != nil {
		log.Fatal(err)
	}
	handler, err := newApp(verifier)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err, " (choose another one with -addr)")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("http://%s, alice@example.com, correct horse battery staple\n", *addr)
	if err := serve(ctx, listener, handler); err != nil {
		log.Fatal(err)
	}
}

// serve serves until ctx ends, and then lets the requests finish that wait for a
// mail to go out.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		done <- server.Shutdown(late)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// newSender returns a sender that mails for real if the environment names a
// server, and otherwise prints the codes.
func newSender() (otp.Sender, error) {
	url, from := os.Getenv("OTP_SMTP_URL"), os.Getenv("OTP_FROM")
	if (url == "") != (from == "") {
		return nil, errors.New("set both OTP_SMTP_URL and OTP_FROM, or neither")
	}
	if url == "" {
		return otp.NewLogSender(os.Stdout), nil
	}
	host, opts, err := smtpsender.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return smtpsender.New(host, from, opts)
}

// app is the application. A real one has its users in a database and hashes
// passwords with argon2 or bcrypt.
type app struct {
	code  *otphttp.Handler
	users map[string]user // by the key of the address

	mu       sync.Mutex
	sessions map[string]*session // by ID
}

// user is an account.
type user struct {
	address  string // where codes go
	password [sha256.Size]byte
}

// session is the session of one visitor. Users are named by their keys.
type session struct {
	user string // who is signed in; empty for nobody
	ends time.Time
}

func newApp(verifier *otp.Verifier) (http.Handler, error) {
	a := &app{
		users: map[string]user{
			"alice@example.com": {"alice@example.com", sha256.Sum256([]byte("correct horse battery staple"))},
		},
		sessions: map[string]*session{},
	}
	var err error
	if a.code, err = newCodePages(a, verifier); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.Handle("/confirm/", a.code)
	return headers(http.NewCrossOriginProtection().Handler(mux)), nil
}

// headers keeps pages with secrets out of caches, frames and Referer headers.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "same-origin") // no-referrer would hide the origin of our own forms
		h.Set("X-Content-Type-Options", "nosniff")
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		next.ServeHTTP(w, r)
	})
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	if s := a.session(r); s.user != "" {
		show(w, http.StatusOK, "home", s.user)
		return
	}
	show(w, http.StatusOK, "login", "")
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	typed, _ := otp.ParseEmail(r.PostFormValue("email"))
	user := typed.Key() // Alice@example.com is alice@example.com; empty if it is no address
	hash := sha256.Sum256([]byte(r.PostFormValue("password")))
	want, known := a.users[user]
	if subtle.ConstantTimeCompare(hash[:], want.password[:]) != 1 || !known {
		show(w, http.StatusUnauthorized, "login", "Address or password is wrong.")
		return
	}
	a.askForCode(w, r, want)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.end(r)
	setCookie(w, sessionCookie, "", -time.Second)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

const sessionCookie = "__Host-session"

// session returns the visitor's session. It is empty if there is none.
func (a *app) session(r *http.Request) session {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return session{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.sessions[cookie.Value]
	if !ok || time.Now().After(s.ends) {
		return session{}
	}
	return *s
}

// renew gives the visitor a session with a new ID and ends the old session, so
// that an ID that an attacker set before the sign-in is useless (OWASP ASVS
// 7.2.4).
func (a *app) renew(w http.ResponseWriter, r *http.Request, s session) {
	a.end(r)
	s.ends = time.Now().Add(12 * time.Hour)
	id := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, s := range a.sessions { // a real application has a session store that does this
		if time.Now().After(s.ends) {
			delete(a.sessions, id)
		}
	}
	a.sessions[id] = &s
	setCookie(w, sessionCookie, id, 12*time.Hour)
}

// end ends the visitor's session, if there is one.
func (a *app) end(r *http.Request) {
	if old, err := r.Cookie(sessionCookie); err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.sessions, old.Value)
	}
}

func setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func show(w http.ResponseWriter, status int, page string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, page, data); err != nil {
		log.Print(err)
	}
}

var pages = template.Must(template.New("").Parse(`
{{define "top"}}<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Sign in</title>
<style>:root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem}
label,input,button{display:block;width:100%;box-sizing:border-box;font:inherit}input,button{padding:.5rem;margin:.25rem 0 1rem}</style>{{end}}
{{define "home"}}{{template "top"}}<h1>Welcome</h1><p>You are signed in as {{.}}.</p>
<form method="post" action="/logout"><button>Sign out</button></form>{{end}}
{{define "login"}}{{template "top"}}<h1>Sign in</h1>{{with .}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="/login">
<label for="email">E-mail address</label><input id="email" name="email" type="email" autocomplete="username" required>
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button></form>{{end}}
{{define "code"}}{{template "top"}}<div lang="{{.Lang}}" dir="{{.Dir}}"><h1>{{.Title}}</h1>{{.Body}}</div>{{end}}`))
