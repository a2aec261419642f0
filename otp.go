// Package otp proves that a person can read an e-mail address: it makes a
// one-time code, mails it, and checks the answer. It goes into login, sign-up,
// change-address and confirm-payment handlers that exist already.
//
//	store := otp.NewMemoryStore(nil)
//	sender, err := smtpsender.New("smtp.example.com", "Example <login@example.com>",
//		&smtpsender.Options{Username: "login", Password: os.Getenv("SMTP_PASSWORD")})
//	...
//	verifier, err := otp.NewVerifier(store, sender, nil)
//	...
//	challenge, err := verifier.Send(ctx, otp.Request{To: r.FormValue("email"), Client: r.RemoteAddr})
//	// keep challenge.ID in a cookie or the session of the person who asks, then:
//	challenge, err = verifier.Check(ctx, id, r.FormValue("code"))
//	if err == nil {
//		// challenge.To is proven
//	}
//
// # Security model
//
// As long as the store keeps what it acknowledged and the verifiers' clocks
// agree to a minute, a code is accepted at most once, only for the purpose and
// the challenge it was made for and only before it expires, and nobody is told
// more verdicts than the budgets of [Options] say: not by parallel requests, by
// resending, by restarting, or by breaking the store. When anything fails, the
// answer is "not verified".
//
// A guess needs the challenge's ID, which only the asker holds, so strangers
// who know an address cannot use up or cancel its owner's code. Whoever opens
// challenges of their own for it gets ten wrong guesses a day; after that its
// mails carry codes of 68 bits, so that guessing locks nobody out. (Asking can: ten
// mails a day are an address's budget for strangers. Known devices have their own,
// and Options.Admit is the place for a CAPTCHA.)
//
// What lies in the store is sealed with AES-256-GCM: without the secret it
// shows no address, code, purpose or time.
//
// Reading a mailbox is no phishing-resistant proof of a person, and mail is no
// second factor by NIST SP 800-63B (3.1.3.1). It confirms an address.
//
// # Choosing a store
//
// [MemoryStore] serves a single process and forgets when it ends. Several
// processes, or counts that must outlive a restart, need a [Store] over an
// engine that they share; it is a compare-and-swap register of some thirty
// lines, held to its contract by otptest.TestStore.
//
// # Errors
//
// What a person can cause is a sentinel for [errors.Is]: [ErrAddress],
// [ErrMalformed], [ErrCode], [ErrExpired], [ErrExhausted], [ErrEscalated],
// [ErrUnknown], [ErrLimited] and [ErrSend]. [NeedsResend] tells when to offer a
// new code. Every other error is a failure of the system. No error text holds
// a code, a secret, a challenge ID or a whole address.
//
// # Time
//
// One clock rules, Options.Now; a store's time to live only cleans up. A code
// has expired at its deadline, not after it.
//
// # Concurrency
//
// All types are safe for concurrent use unless they say otherwise. The package
// starts no goroutine that outlives a call, but for the timers of an
// [SMTPSender], which its Close stops.
package otp

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// Challenge is one question put to one asker: type the code that we sent. fmt
// and slog show it without ID, Device and whole address; JSON shows it whole,
// since apps must return the ID (and so does a JSON log of a value that holds
// one: log the Challenge itself). Package fmt cannot call methods on unexported
// fields: a struct that keeps a Challenge in one prints it whole unless it has a
// Format method of its own.
type Challenge struct {
	// ID names the challenge: 64 characters of [A-Za-z0-9_-]. It is secret,
	// for the asker only: keep it in an HttpOnly cookie, a session, or the app.
	ID string `json:"id"`

	// To is the address that is now proven. Set only by a right Check.
	To Address `json:"to,omitzero"`

	// Masked is the address for a page: "a***@example.com".
	Masked string `json:"masked"`

	// Purpose is what the code is good for.
	Purpose string `json:"purpose"`

	// Reference is a short word that stands in the mail too, so that people
	// find the right one. Show it.
	Reference string `json:"reference"`

	// Vars are the request's. Set only by a right Check.
	Vars map[string]string `json:"vars,omitempty"`

	// Strong says that the code is a strong one, which is longer.
	Strong bool `json:"strong"`

	// Letters says that codes of this kind may have letters, or come from a
	// Generator of the application's own: show a keyboard that has them.
	Letters bool `json:"letters"`

	// SentAt is when the challenge was opened.
	SentAt time.Time `json:"sent_at"`

	// ExpiresAt is when the code ends.
	ExpiresAt time.Time `json:"expires_at"`

	// ResendAt is from when on the budget allows another mail; it may be past.
	ResendAt time.Time `json:"resend_at"`

	// GuessesLeft is how many guesses the challenge still takes.
	GuessesLeft int `json:"guesses_left"`

	// Device is a token to keep on this device for Request.Device next time,
	// good for 180 days. Set only by a right Check. It opens the known lane
	// for this address and proves nothing else.
	Device string `json:"device,omitempty"`
}

// String describes the challenge without its secrets.
func (c Challenge) String() string {
	return fmt.Sprintf("Challenge{Masked: %s, Purpose: %s, Reference: %s, GuessesLeft: %d}",
		c.Masked, kindOf(c.Purpose), c.Reference, c.GuessesLeft)
}

// Format prints what String returns, whatever the verb.
func (c Challenge) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue logs what String shows.
func (c Challenge) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("to", c.Masked),
		slog.String("purpose", kindOf(c.Purpose)),
		slog.String("reference", c.Reference),
		slog.Bool("strong", c.Strong),
		slog.Int("guesses_left", c.GuessesLeft),
	)
}

// kindOf returns the part of a purpose before the first colon.
func kindOf(purpose string) string {
	kind, _, _ := strings.Cut(purpose, ":")
	return kind
}
