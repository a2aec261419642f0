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

	// recent is how long after signing in a user may change the address. The
	// address gives access to the account (OWASP ASVS 7.5.1).
	recent = 10 * time.Minute
)

// config is what the application needs to run.
type config struct {
	store   otp.Store
	secret  []byte
	queue   *relay.Queue
	proxies []netip.Prefix // trusted to set X-Forwarded-For
	inbox   *inbox         // nil if mail is sent for real
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
	// Reject forms on other sites (OWASP ASVS 3.5.1).
	a.Handler = headers(http.NewCrossOriginProtection().Handler(mux))
	return a, nil
}

// admit reports whether to mail a code to an address. All other addresses get a
// decoy: the visitor sees the same pages, but there is no mail and no code is
// correct. So the pages do not show who has an account.
type admit func(context.Context, otp.Address) (bool, error)

// pages returns a handler for the pages of one purpose. All purposes share the
// store and the secret, so they share the budget of each address.
func (a *app) pages(purpose string, admit admit, o otphttp.Options) (http.Handler, error) {
	verifier, err := otp.NewVerifier(a.store, a.queue, &otp.Options{Secrets: [][]byte{a.secret}, Admit: admit, Now: a.now})
	if err != nil {
		return nil, err
	}
	o.Brand, o.Busy, o.TrustedProxies, o.Now = brand, a.queue.Full, a.proxies, a.now
	o.OnError = func(r *http.Request, err error) { log.Printf("%s: %v", r.URL.Path, err) }
	return otphttp.New(verifier.For(purpose), &o)
}

// hasAccount admits addresses with an account.
func (a *app) hasAccount(_ context.Context, to otp.Address) (bool, error) {
	_, ok := a.accounts.byAddress(to)
	return ok, nil
}

// hasNoAccount admits addresses without an account.
func (a *app) hasNoAccount(_ context.Context, to otp.Address) (bool, error) {
	_, ok := a.accounts.byAddress(to)
	return !ok, nil
}

func (a *app) login() (http.Handler, error) {
	return a.pages("login", a.hasAccount, otphttp.Options{
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			u, ok := a.accounts.byAddress(c.To)
			if !ok { // the account got another address after the code was sent
				a.fail(w, http.StatusForbidden, "There is no longer an account with this address.")
				return
			}
			a.sessions.renew(w, r, u.id)
		},
	})
}

// signup mails nothing to an address that has an account, and does not say so,
// since strangers could otherwise find out who has one. To help people who
// forgot that they have an account, send them a mail that says so, with its own
// rate limit; or admit all addresses here, since add signs in a user who proves
// the address of an account.
func (a *app) signup() (http.Handler, error) {
	return a.pages("signup", a.hasNoAccount, otphttp.Options{
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			a.sessions.renew(w, r, a.accounts.add(c.To).id)
		},
	})
}

// email changes the address of an account. The code goes to the new address and
// is valid for this account only. Never set Proven here: nobody has proven the
// new address yet.
func (a *app) email() (http.Handler, error) {
	pages, err := a.pages("change-email", a.hasNoAccount, otphttp.Options{
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
	if c.Purpose != "change-email:"+s.user { // the user has just signed out
		a.fail(w, http.StatusForbidden, "Please sign in and start again.")
		return
	}
	old, err := a.accounts.move(s.user, c.To)
	if err != nil {
		a.fail(w, http.StatusConflict, "This address cannot be used.")
		return
	}
	a.sessions.endAll(s.user) // sign out everywhere else
	a.sessions.renew(w, r, s.user)
	a.notify(r.Context(), old, "Your "+brand+" address was changed",
		"The email address of your account is now "+c.To.Masked()+".\n\nIf this was not you, call us at once.\n")
}

// notify mails a text without a code. Verifiers and their senders mail only
// codes: use the application's own mailer for this, with a queue too.
func (a *app) notify(ctx context.Context, to otp.Address, subject, text string) {
	if a.inbox != nil {
		a.inbox.keep(mail{To: to.String(), Subject: subject, Text: text, At: a.now()})
		return
	}
	log.Printf("to be mailed to %s: %s", to.Masked(), subject)
}

// pay confirms a payment. The purpose, the amount and the address come from the
// server's data, at every step.
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
		Page: func(r *http.Request, p *otphttp.Page) { // what is confirmed is shown before
			_, i, _ := bill(r)
			p.About = i.Amount() + ", invoice " + i.id
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

// signedIn sends visitors who must sign in first to the sign-in page, and then
// back. This is a convenience, not a guard: the guard is Options.Purpose, which
// is called at every step.
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
