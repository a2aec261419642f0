package main

import (
	"context"
	"log"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/relay"
)

const (
	brand = "Acme"

	// recent is how long after signing in somebody may change the address, which
	// is as good as the account (OWASP ASVS 7.5.1).
	recent = 10 * time.Minute
)

// config is what an application runs on.
type config struct {
	store   otp.Store
	secret  []byte
	queue   *relay.Queue
	proxies []netip.Prefix // whose X-Forwarded-For counts
	inbox   *inbox         // nil where mail is mail
	now     func() time.Time
}

// app is the application.
type app struct {
	config
	http.Handler
	accounts *accounts
	sessions *sessions
}

func newApp(c config) (*app, error) {
	a := &app{config: c, accounts: newAccounts(), sessions: &sessions{now: c.now, byID: map[string]session{}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /style.css", serveStyle)
	if a.inbox != nil {
		mux.Handle("GET /inbox", a.inbox)
	}
	for path, mount := range map[string]func() (http.Handler, error){
		"/login/": a.login, "/signup/": a.signup, "/email/": a.email, "/pay/{invoice}/": a.pay,
	} {
		handler, err := mount()
		if err != nil {
			return nil, err
		}
		mux.Handle(path, handler)
	}
	// No form of another site is taken (OWASP ASVS 3.5.1).
	a.Handler = headers(http.NewCrossOriginProtection().Handler(mux))
	return a, nil
}

// admit says for which addresses a code is mailed. All others get a decoy: the same
// pages, and no code that could be right.
type admit func(context.Context, otp.Address) (bool, error)

// pages serves the pages of one purpose. All purposes share store and secret,
// hence the budget of each address.
func (a *app) pages(purpose string, admit admit, o otphttp.Options) (http.Handler, error) {
	verifier, err := otp.NewVerifier(a.store, a.queue, &otp.Options{Secrets: [][]byte{a.secret}, Admit: admit, Now: a.now})
	if err != nil {
		return nil, err
	}
	o.Brand, o.Busy, o.TrustedProxies, o.Now = brand, a.queue.Full, a.proxies, a.now
	o.OnError = func(r *http.Request, err error) { log.Printf("%s: %v", r.URL.Path, err) }
	return otphttp.New(verifier.For(purpose), &o)
}

// known admits addresses with an account, free those without.
func (a *app) known(_ context.Context, to otp.Address) (bool, error) {
	_, ok := a.accounts.byAddress(to)
	return ok, nil
}

func (a *app) free(_ context.Context, to otp.Address) (bool, error) {
	_, ok := a.accounts.byAddress(to)
	return !ok, nil
}

func (a *app) login() (http.Handler, error) {
	return a.pages("login", a.known, otphttp.Options{
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			u, ok := a.accounts.byAddress(c.To)
			if !ok { // it moved to another address while the mail was under way
				a.fail(w, http.StatusForbidden, "There is no account with this address any more.")
				return
			}
			a.sessions.renew(w, r, u.id)
		},
	})
}

// signup mails nothing to an address that has an account, and does not say so: else
// strangers could ask who has one. People who forgot theirs would be helped by a mail
// that says so, under a limit of its own; or admit everybody here, since add
// signs in whoever has proven the address of an account.
func (a *app) signup() (http.Handler, error) {
	return a.pages("signup", a.free, otphttp.Options{
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			a.sessions.renew(w, r, a.accounts.add(c.To).id)
		},
	})
}

// email changes the address of an account. The code goes to the new address, never
// as Proven, and is good for this account only.
func (a *app) email() (http.Handler, error) {
	pages, err := a.pages("change-email", a.free, otphttp.Options{
		Purpose: func(r *http.Request) (string, error) {
			s, ok := a.sessions.find(r)
			if !ok || !a.isRecent(s) {
				return "", otphttp.ErrForbidden
			}
			return "change-email:" + s.user, nil
		},
		OnVerified: a.emailProven,
	})
	return a.signedIn(pages, a.isRecent), err
}

func (a *app) emailProven(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
	s, _ := a.sessions.find(r)
	if c.Purpose != "change-email:"+s.user { // signed out just now
		a.fail(w, http.StatusForbidden, "Please sign in and start again.")
		return
	}
	old, err := a.accounts.move(s.user, c.To)
	if err != nil {
		a.fail(w, http.StatusConflict, "This address cannot be used.")
		return
	}
	a.sessions.endAll(s.user) // whoever else was in, is out
	a.sessions.renew(w, r, s.user)
	a.notify(r.Context(), old, "Your "+brand+" address was changed",
		"The email address of your account is now "+c.To.Masked()+".\n\nIf that was not you, call us at once.\n")
}

// notify tells somebody something that needs no code. Verifiers and their senders
// mail codes only: hand this to the mailer that the application has, if it has one,
// by a queue too.
func (a *app) notify(ctx context.Context, to otp.Address, subject, text string) {
	if a.inbox != nil {
		a.inbox.keep(mail{To: to.String(), Subject: subject, Text: text, At: a.now()})
		return
	}
	log.Printf("to be mailed to %s: %s", to.Masked(), subject)
}

// pay confirms a payment: purpose, amount and address are what the server knows,
// asked at every step.
func (a *app) pay() (http.Handler, error) {
	bill := func(r *http.Request) (u user, i invoice, err error) {
		s, _ := a.sessions.find(r)
		u, ok := a.accounts.byID(s.user)
		if !ok {
			return u, i, otphttp.ErrForbidden
		}
		if i, err = a.accounts.bill(r.PathValue("invoice"), u.id); err != nil {
			return u, i, otphttp.ErrForbidden
		}
		return u, i, nil
	}
	pages, err := a.pages("pay", nil, otphttp.Options{
		Purpose: func(r *http.Request) (string, error) {
			_, i, err := bill(r)
			return i.purpose(), err
		},
		Address: func(r *http.Request) (string, error) {
			u, _, err := bill(r)
			return u.address.String(), err
		},
		About: func(r *http.Request) string { // what is confirmed, before it is
			_, i, _ := bill(r)
			return i.Amount() + ", invoice " + i.id
		},
		Prepare: func(r *http.Request, request *otp.Request) error {
			_, i, err := bill(r)
			request.Proven = true // strangers cannot use up the mails of this account
			request.Vars = map[string]string{"amount": i.Amount()}
			return err
		},
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			u, i, err := bill(r)
			if err == nil {
				err = a.accounts.pay(i.id, c)
			}
			if err != nil {
				a.fail(w, http.StatusConflict, "This invoice has changed. Nothing was paid.")
				return
			}
			a.sessions.renew(w, r, u.id)
		},
	})
	return a.signedIn(pages, func(session) bool { return true }), err
}

func (a *app) isRecent(s session) bool { return a.now().Sub(s.since) <= recent }

// signedIn sends those who are to sign in first there, and then back. It is a help and
// no guard: that is Options.Purpose, which is asked at every step.
func (a *app) signedIn(pages http.Handler, enough func(session) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := a.sessions.find(r); r.Method == http.MethodGet && (!ok || !enough(s)) {
			http.Redirect(w, r, "/login/?next="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.sessions.end(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
