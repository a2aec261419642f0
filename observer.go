package otp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/seal"
)

// An Observer is told what happens, for logs, metrics and alerts.
type Observer interface {
	// Observe is called by the goroutine that serves the request, before the
	// answer is given, and by many at once: it must be quick and safe for
	// concurrent use. It cannot change an answer.
	Observe(ctx context.Context, e Event)
}

// ObserverFunc is a function that is an [Observer].
type ObserverFunc func(ctx context.Context, e Event)

// Observe calls f.
func (f ObserverFunc) Observe(ctx context.Context, e Event) { f(ctx, e) }

// EventKind says what happened.
type EventKind string

// The kinds of event. A [Verifier.Send] to a usable address, and a
// [Verifier.Resend] of a challenge that is there, give EventAsked and then what
// became of it; a [Verifier.Check] gives its verdict. A request that is refused
// for its form (a bad address, Vars or purpose) gives none.
const (
	// EventAsked: somebody asks for a mail to a usable address, or for a resend.
	EventAsked EventKind = "asked"
	// EventLimited: a budget was spent; no mail.
	EventLimited EventKind = "limited"
	// EventSent: the sender took the mail.
	EventSent EventKind = "sent"
	// EventSendFailed: the sender reported an error, which is in Err.
	EventSendFailed EventKind = "send_failed"
	// EventDecoy: a decoy was opened or resent; no mail.
	EventDecoy EventKind = "decoy"
	// EventVerified: the right code; the address is proven.
	EventVerified EventKind = "verified"
	// EventWrong: a wrong code, counted.
	EventWrong EventKind = "wrong"
	// EventMalformed: input that is no code; not counted.
	EventMalformed EventKind = "malformed"
	// EventExpired: a guess after the deadline.
	EventExpired EventKind = "expired"
	// EventExhausted: a guess after the last.
	EventExhausted EventKind = "exhausted"
	// EventEscalated: a guess at a short code when only strong ones count.
	EventEscalated EventKind = "escalated"
	// EventUnknown: a challenge that does not exist, was used or has another purpose.
	EventUnknown EventKind = "unknown"
	// EventClockBack: this verifier's clock is behind the one that sent the code
	// by more than a minute. Somebody must look at the clocks.
	EventClockBack EventKind = "clock_back"
	// EventUnknownKey: a ledger was sealed under a secret that is not in
	// Options.Secrets. Somebody must look at the rotation.
	EventUnknownKey EventKind = "unknown_key"
	// EventForgotten: an address was erased.
	EventForgotten EventKind = "forgotten"
	// EventFailed: store, Admit, generator or configuration failed; the error
	// is in Err.
	EventFailed EventKind = "failed"
)

// Event is one thing that happened. It holds no secret and no whole address.
// Fields that do not apply are zero.
type Event struct {
	// Kind says what happened.
	Kind EventKind
	// Time is the verifier's clock.
	Time time.Time
	// Purpose is the kind of the purpose: its part before the first colon.
	Purpose string
	// Masked is the address, masked: "a***@example.com".
	Masked string
	// Domain is the domain of the address.
	Domain string
	// AddressHash is a keyed hash of the address's throttle key: equal for all its
	// spellings, different under another index secret or namespace.
	AddressHash string
	// ClientHash is a keyed hash of the client, where one was named.
	ClientHash string
	// ChallengeHash is equal for the events of one challenge.
	ChallengeHash string
	// Message is the ID of the mail.
	Message string
	// Locale is the locale asked for.
	Locale string
	// Known says that the known lane was used.
	Known bool
	// Strong says that the code is a strong one.
	Strong bool
	// Resend says that the same code was mailed again.
	Resend bool
	// GuessesLeft is how many guesses the challenge has left.
	GuessesLeft int
	// RetryAfter is how long to wait, for EventLimited.
	RetryAfter time.Duration
	// Err is the failure, for EventSendFailed and EventFailed.
	Err error
}

// observe tells the observer of an event about a challenge; more holds the
// fields that do not follow from it.
func (v *Verifier) observe(ctx context.Context, kind EventKind, key seal.Key, c *ledger.Challenge, more Event) {
	if v.core.observer == nil {
		return
	}
	e := more
	e.Kind, e.Time, e.Purpose = kind, v.core.clock(), kindOf(v.purpose)
	if key != (seal.Key{}) {
		e.AddressHash = key.String()
	}
	to := Address{deliver: c.To}
	e.Masked, e.Domain = to.Masked(), to.Domain()
	e.Locale, e.Known, e.Strong, e.GuessesLeft = c.Locale, c.Lane == ledger.Known, c.Strong, c.Left()
	if c.Client != [16]byte{} {
		e.ClientHash = seal.Key(c.Client).String()
	}
	if c.Nonce != [16]byte{} {
		sum := sha256.Sum256(c.Nonce[:])
		e.ChallengeHash = hex.EncodeToString(sum[:8])
	}
	v.core.observer.Observe(ctx, e)
}

// observeFailure is observeError where no challenge is at hand.
func (v *Verifier) observeFailure(ctx context.Context, key seal.Key, err error) {
	v.observeError(ctx, key, &ledger.Challenge{}, err)
}

// observeError tells the observer why a request was refused or failed.
func (v *Verifier) observeError(ctx context.Context, key seal.Key, c *ledger.Challenge, err error) {
	var more Event
	kind := EventFailed
	// By value: an error of a store that wraps one of ours is a failure.
	switch err {
	case ErrCode:
		kind = EventWrong
	case ErrMalformed:
		kind = EventMalformed
	case ErrExpired:
		kind = EventExpired
	case ErrExhausted:
		kind = EventExhausted
	case ErrEscalated:
		kind = EventEscalated
	case ErrUnknown:
		kind = EventUnknown
	case errClock:
		kind = EventClockBack
	default:
		if limit, ok := err.(*LimitError); ok {
			kind, more.RetryAfter = EventLimited, limit.RetryAfter
		} else {
			more.Err = err
		}
	}
	v.observe(ctx, kind, key, c, more)
}
