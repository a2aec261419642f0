package main

import (
	"bytes"
	"cmp"
	"embed"
	"html/template"
	"log"
	"net/http"
	"slices"
)

//go:embed pages.html style.css
var files embed.FS

var templates = template.Must(template.ParseFS(files, "pages.html"))

// headers keeps pages out of caches, frames and Referer headers. Package
// otphttp sets its own headers.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "same-origin") // no-referrer would hide the origin of our own forms
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// home shows the account, or a welcome page to visitors who are not signed in.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	s, _ := a.sessions.find(r)
	u, ok := a.accounts.byID(s.user)
	if !ok {
		show(w, http.StatusOK, "welcome", page{Title: "Welcome", Inbox: a.inbox != nil})
		return
	}
	bills := a.accounts.bills(u.id)
	slices.SortFunc(bills, func(x, y invoice) int { return cmp.Compare(x.id, y.id) })
	show(w, http.StatusOK, "account", page{Title: "Your account", Inbox: a.inbox != nil, Address: u.address.String(), Bills: bills})
}

// fail shows a problem to a person.
func (a *app) fail(w http.ResponseWriter, status int, problem string) {
	show(w, status, "problem", page{Title: "That did not work", Inbox: a.inbox != nil, Problem: problem})
}

// page is the data of a template.
type page struct {
	Title   string
	Inbox   bool
	Address string
	Problem string
	Bills   []invoice
	Mails   []mail
}

func (page) Brand() string { return brand }

func show(w http.ResponseWriter, status int, name string, p page) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, p); err != nil {
		log.Print(err)
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

func serveStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, files, "style.css")
}
