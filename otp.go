// Package otp proves that a person can read an e-mail address: a [Verifier]
// mails a one-time code and checks the answer. It fits into existing handlers
// for login, sign-up, change of address and confirmation of payments.
//
//	sender, err := smtpsender.New("smtp.example.com", "Example <login@example.com>",
//		&smtpsender.Options{Username: "login", Password: os.Getenv("SMTP_PASSWORD")})
//	...
//	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
//	...
//	challenge, err := verifier.Send(ctx, otp.Request{
//		To: r.FormValue("email"), Client: r.RemoteAddr, Held: []string{id}, // what this visitor holds already
//	})
//	// Keep challenge.ID in a cookie or the session of this visitor. Then:
//	challenge, err = verifier.Check(ctx, id, r.FormValue("code"))
//	if err == nil {
//		// challenge.To is proven
//	}
//
// Package otphttp provides ready pages and a JSON API over a Verifier.
//
// # Security model
//
// As long as the store keeps what it acknowledged and the verifiers' clocks
// agree to within a minute, a code is accepted at most once, only for the
// purpose and the [Challenge] it was made for, and only before it expires.
// Nobody gets more verdicts than the budgets of [Options] allow: not by sending
// requests in parallel, by resending, by restarting, or by making the store
// fail. When anything fails, the answer is "not verified".
//
// A guess needs the challenge's ID, which only the visitor who asked for the code
// holds, so strangers who know an address cannot answer its owner's code. They
// cannot end it either, if all verifiers have the same limits: each short code
// reserves its guesses when it is opened.
// An attacker who opens challenges for the address gets ten wrong guesses a day;
// when they are spent or reserved, new codes are strong ones of 68 bits, so
// guessing locks nobody out. Requests for mail can: all strangers together get
// ten mails a day for each address. Known devices, which have passed a code for
// the address before, have a separate budget. Put a CAPTCHA before Send if
// strangers are a problem.
//
// Everything in the store is sealed with AES-256-GCM: without the secret it
// reveals no address, code, purpose or time.
//
// Reading a mailbox does not prove a person's identity in a way that resists
// phishing, and mail is not a second factor according to NIST SP 800-63B
// (3.1.3.1). It confirms an address.
//
// # Choosing a store
//
// [MemoryStore] serves a single process and forgets everything when it ends.
// Several processes, or counts that must survive a restart, need a [Store] that
// they share: packages redisstore, rueidisstore and sqlstore provide such
// stores. To write your own, implement compare-and-swap in about thirty lines
// and run otptest.TestStore.
//
// # Errors
//
// Errors that a visitor can cause are sentinels for [errors.Is]: [ErrAddress],
// [ErrMalformed], [ErrCode], [ErrExpired], [ErrExhausted], [ErrUnknown],
// [ErrLimited] and [ErrSend]. [NeedsResend] reports when to offer a new code.
// Every other error is a failure of the system. No error text
// contains a code, a secret, a challenge ID or a whole address.
//
// # Time
//
// All deadlines use Options.Now; store TTLs only reclaim space. A code is
// accepted only before its deadline.
//
// # Concurrency
//
// All types are safe for concurrent use unless they say otherwise. The package
// starts no goroutine that outlives a call.
package otp

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// Challenge is one code sent to one visitor. Packages fmt and log/slog print it
// without its ID, its Device and the whole address. Package encoding/json
// encodes all of it, since apps must return the ID. To log it as JSON, log the
// Challenge itself and not a struct that contains it. Package fmt cannot call
// methods on unexported fields, so a struct that keeps a Challenge in one
// prints all of it, unless the struct has its own Format method.
type Challenge struct {
	// ID names the challenge: 64 characters of [A-Za-z0-9_-]. It is secret and
	// only for the visitor who asked: keep it in an HttpOnly cookie, a session,
	// or the app.
	ID string `json:"id"`

	// To is the address that is now proven. Only a successful Check sets it.
	To Address `json:"to,omitzero"`

	// Masked is the address with most of it hidden, to show on a page:
	// "a***@example.com".
	Masked string `json:"masked"`

	// Purpose is what the code may be used for.
	Purpose string `json:"purpose"`

	// Reference is a short word that is also in the mail, so that people find
	// the right one. Show it.
	Reference string `json:"reference"`

	// Vars are those of the Request. Only a successful Check sets them.
	Vars map[string]string `json:"vars,omitempty"`

	// Strong means that this is a strong code: a longer one, which is mailed
	// when too many guesses at the address were made or are reserved.
	Strong bool `json:"strong"`

	// KnownDevice means that the challenge draws on the budget of known
	// devices: Request.Device was valid, or Request.Proven was set.
	KnownDevice bool `json:"known_device"`

	// Letters means that the code may contain letters, or comes from a custom
	// Generator: show a keyboard that has them. It says what was mailed,
	// whatever Generator the verifier has now.
	Letters bool `json:"letters"`

	// SentAt is when the challenge was opened.
	SentAt time.Time `json:"sent_at"`

	// ExpiresAt is when the code expires.
	ExpiresAt time.Time `json:"expires_at"`

	// ResendAt is when this challenge's own newest mail allows another one; it
	// may be in the past. It does not show what others did, so a Resend after it
	// may still be refused.
	ResendAt time.Time `json:"resend_at"`

	// ResendUntil is until when Resend can mail a code: until half of the life
	// of this one has passed if Request.NoRenewal was set, otherwise until an
	// hour after ExpiresAt. After it, show no button for a resend.
	ResendUntil time.Time `json:"resend_until"`

	// GuessesLeft is how many guesses the challenge still accepts. Only guesses
	// at this challenge change it.
	GuessesLeft int `json:"guesses_left"`

	// Device is a token to keep on this device and pass as Request.Device next
	// time. It is valid for 180 days, or until [Verifier.RevokeDevices]. Only a
	// successful Check sets it. It selects the separate budget of known devices
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

// Request describes one code to send.
type Request struct {
	// To is the address as typed. Send returns [ErrAddress] if it cannot be
	// mailed.
	To string

	// Locale is the reader's language: a BCP 47 tag or a whole Accept-Language
	// header. Invalid parts are ignored. Default: empty, the sender's default.
	Locale string

	// Client is who asks: an IP address (counted as /32 or /56), IP:port, or a
	// name for a device or app of at most 128 bytes; a longer one is an error.
	// Only a keyed hash of it is kept. Do not take it from a header that the
	// client can set. Default: empty, no budget for clients.
	Client string

	// Device is the token from an earlier successful Check on this device. With
	// a valid token, the request uses the budget of known devices, which
	// strangers cannot spend. With an invalid one, it counts as the request of
	// a stranger. Default: empty, a stranger.
	Device string

	// Proven means that the app already knows that this person owns To: somebody
	// who is signed in confirms a payment, or the password was right and the
	// code is the second step. Such a request uses the budget of known devices.
	// Never set it for the new address in a change of address: that would let
	// others spend its owner's budget.
	Proven bool

	// NoRenewal makes Resend mail the same code or none. Set it if the visitor
	// has proven something else before, such as a password: somebody who needs
	// another code must prove that again, and pressing "send again" does not go
	// on for hours. Default: false, a code that has expired can
	// be replaced by a new one.
	NoRenewal bool

	// Held are the IDs of challenges that this visitor holds already, from the
	// cookie or the app; the first 8 are read. If one of them was opened for the
	// same request and its code has at least half of its life left, Send
	// mails that code again and returns that challenge, as Resend does: a
	// visitor who sends the form twice can then use the code of either mail. If
	// it is too early for another mail, the challenge comes with a [LimitError].
	// IDs of others and invalid ones are ignored. Default: none.
	Held []string

	// Vars are passed to the template of the mail and returned in the checked
	// Challenge: brand, tenant, amount. Names and values together have at most
	// 512 bytes and no control characters; anything else is an error. A
	// template of your own may show them in the mail, so put nothing secret
	// there.
	Vars map[string]string
}

// String describes the request without the whole address, the device token and
// the vars.
func (r Request) String() string {
	return fmt.Sprintf("Request{Locale: %q, Proven: %t, Vars: %d}", r.Locale, r.Proven, len(r.Vars))
}

// Format prints what String returns, whatever the verb.
func (r Request) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue logs what String returns.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText returns what String returns, so that encoding/json shows neither
// address nor token.
func (r Request) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// kindOf returns the part of a purpose before the first colon.
func kindOf(purpose string) string {
	kind, _, _ := strings.Cut(purpose, ":")
	return kind
}
