package otp

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"slices"
	"time"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/seal"
)

// An Observer is told what happens, for logs, metrics and alerts.
type Observer interface {
	// Observe is called by the goroutine that serves the request, before the
	// answer is given, and by many at once: it must be quick and safe for
	// concurrent use. It cannot change an answer; if it panics, the caller of the Verifier gets
	// the panic and no answer, and what was counted stays counted.
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
// for its form (a bad address, Vars or purpose) gives none. Domain, Masked and Locale are
// empty where no challenge was found: in most EventUnknown and EventFailed, EventUnknownKey,
// EventClockBack, and an EventMalformed of what no kind of code looks like.
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
	// EventMalformed: input that is no code, or no code of the kind that was mailed, such as
	// digits where letters were; not counted.
	EventMalformed EventKind = "malformed"
	// EventExpired: a guess after the deadline.
	EventExpired EventKind = "expired"
	// EventExhausted: a guess after the last.
	EventExhausted EventKind = "exhausted"
	// EventEscalated: a guess at a short code when only strong ones count.
	EventEscalated EventKind = "escalated"
	// EventUnknown: a challenge that does not exist, was used or has another purpose; from
	// Resend and Status too.
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
	AddressHash Hash
	// ClientHash is a keyed hash of the client, where one was named.
	ClientHash Hash
	// ChallengeHash is equal for the events of one challenge. Events of a start, before the
	// challenge is there, have none; so has the EventAsked of a Resend that opens a new one.
	ChallengeHash Hash
	// Message is the ID of the mail, for EventSent and EventSendFailed.
	Message string
	// Locale is the locale asked for.
	Locale string
	// Known says that the known lane was used.
	Known bool
	// Strong says that the code is a strong one.
	Strong bool
	// Decoy says that the challenge is a decoy: nothing was mailed.
	Decoy bool
	// Resend says that the same code was mailed again.
	Resend bool
	// GuessesLeft is how many guesses the challenge has left.
	GuessesLeft int
	// WrongGuesses is how many wrong codes the challenge has had.
	WrongGuesses int
	// Age is how long ago the challenge was opened; never negative.
	Age time.Duration
	// RetryAfter is how long to wait, for EventLimited.
	RetryAfter time.Duration
	// Err is the failure, for EventSendFailed and EventFailed.
	Err error
}

// Hash stands for an address, a client or a challenge in an [Event], without
// naming it. Hashes of the same one are equal. The zero value stands for none.
type Hash [16]byte

// String returns 22 characters of [A-Za-z0-9_-], nothing for the zero value.
func (h Hash) String() string {
	if h == (Hash{}) {
		return ""
	}
	return seal.Key(h).String()
}

// MarshalText gives what String returns, for encoding/json and its like. It never fails.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// observe tells the observer of an event about a challenge; more holds the
// fields that do not follow from it.
func (v *Verifier) observe(ctx context.Context, kind EventKind, key seal.Key, c *ledger.Challenge, more Event) {
	if v.core.observer == nil {
		return
	}
	e := more
	e.Kind, e.Time, e.Purpose = kind, v.core.clock(), kindOf(v.purpose)
	e.AddressHash, e.ClientHash = Hash(key), Hash(c.Client)
	to := Address{deliver: c.To}
	e.Domain = to.Domain()
	if e.Masked == "" {
		e.Masked = to.Masked()
	}
	e.Locale, e.Known = c.Locale, c.Lane == ledger.Known
	if c.Nonce != [16]byte{} {
		sum := sha256.Sum256(c.Nonce[:])
		e.ChallengeHash = Hash(sum[:16])
		if c.SentAt > 0 { // else only its ID is known
			e.Strong, e.Decoy, e.GuessesLeft, e.WrongGuesses = c.Strong, c.Decoy, c.Left(), c.Wrong
			e.Age = max(0, e.Time.Sub(time.UnixMilli(c.SentAt)))
		}
	}
	v.core.observer.Observe(ctx, e)
}

// observeFailure is observeError where no challenge is at hand.
func (v *Verifier) observeFailure(ctx context.Context, key seal.Key, err error) {
	v.observeError(ctx, key, &ledger.Challenge{}, err, "")
}

// observeError tells the observer why a request was refused or failed; masked is
// the address if that was done already, which saves an allocation.
func (v *Verifier) observeError(ctx context.Context, key seal.Key, c *ledger.Challenge, err error, masked string) {
	if v.core.observer == nil {
		return
	}
	more := Event{Masked: masked}
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

// MultiObserver returns an observer that tells each of list, in their order; nil ones
// are left out.
func MultiObserver(list ...Observer) Observer {
	list = slices.DeleteFunc(slices.Clone(list), func(o Observer) bool { return isNil(o) })
	return ObserverFunc(func(ctx context.Context, e Event) {
		for _, o := range list {
			o.Observe(ctx, e)
		}
	})
}

// NewLogObserver returns an observer that writes each event to l, with masked
// addresses: as an error what somebody must look at (a failure of the system,
// clocks, secrets), as a warning an escalation and a mail that could not be sent,
// all else as information. Nil is slog.Default() at the time of the event. The caller of
// Check waits for the handler: one that writes to a slow place needs a buffer.
//
// The message is "otp " and the kind of the event. The fields are purpose, to (masked), address,
// client and challenge (hashes), message, locale, known, strong, resend, guesses_left, age,
// retry_after and error; each is there only where it applies. Durations are those of
// slog, which a JSON handler writes as nanoseconds.
func NewLogObserver(l *slog.Logger) Observer {
	return ObserverFunc(func(ctx context.Context, e Event) {
		to := l
		if to == nil {
			to = slog.Default()
		}
		level := slog.LevelInfo
		switch e.Kind {
		case EventFailed, EventClockBack, EventUnknownKey:
			level = slog.LevelError
		case EventEscalated, EventSendFailed:
			level = slog.LevelWarn
		}
		if to.Enabled(ctx, level) {
			var room [maxAttrs]slog.Attr // on the stack: the caller of Check waits
			to.LogAttrs(ctx, level, "otp "+string(e.Kind), e.attrs(room[:0])...)
		}
	})
}

// maxAttrs is how many fields of an event are logged at most.
const maxAttrs = 14

// attrs appends the fields of e that apply.
func (e *Event) attrs(attrs []slog.Attr) []slog.Attr {
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	flag := func(key string, value bool) {
		if value {
			attrs = append(attrs, slog.Bool(key, true))
		}
	}
	text("purpose", e.Purpose)
	text("to", e.Masked)
	text("address", e.AddressHash.String())
	text("client", e.ClientHash.String())
	text("challenge", e.ChallengeHash.String())
	text("message", e.Message)
	text("locale", e.Locale)
	flag("known", e.Known)
	flag("strong", e.Strong)
	flag("resend", e.Resend)
	if e.ChallengeHash != (Hash{}) {
		attrs = append(attrs, slog.Int("guesses_left", e.GuessesLeft), slog.Duration("age", e.Age))
	}
	if e.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", e.RetryAfter))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return attrs
}

// LogValue logs the event's kind and the fields that apply.
func (e Event) LogValue() slog.Value {
	attrs := append(make([]slog.Attr, 0, 1+maxAttrs), slog.String("kind", string(e.Kind)))
	return slog.GroupValue(e.attrs(attrs)...)
}
