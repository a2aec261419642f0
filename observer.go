package otp

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/seal"
	"github.com/go-mailotp/otp/otpevent"
)

// An Observer receives every event, for logs, metrics and alerts.
type Observer interface {
	// Observe is called by the goroutine that serves the request, before the
	// answer is given, and by many goroutines at once: it must be fast and safe
	// for concurrent use. It cannot change an answer. If it panics, the panic
	// reaches the caller of the Verifier instead of an answer, and what was
	// counted stays counted.
	Observe(ctx context.Context, e Event)
}

// ObserverFunc is a function that implements [Observer].
type ObserverFunc func(ctx context.Context, e Event)

// Observe calls f.
func (f ObserverFunc) Observe(ctx context.Context, e Event) { f(ctx, e) }

// Event is one thing that happened. It contains no secret and no whole address.
// Fields that do not apply are zero. Domain, Masked and Locale are empty if no
// challenge was found: in most events of kind Unknown and Failed, in UnknownKey
// and ClockBack, and in Malformed for input of more than 64 bytes.
type Event struct {
	// Kind is what happened. Package otpevent lists the kinds.
	Kind otpevent.Kind
	// Time is the time of the verifier's clock.
	Time time.Time
	// Purpose is the kind of the purpose: its part before the first colon.
	Purpose string
	// Masked is the address with most of it hidden: "a***@example.com".
	Masked string
	// Domain is the domain of the address.
	Domain string
	// AddressHash is a keyed hash of the address: equal for all its spellings,
	// different under another index secret or namespace. It is not the name of
	// an entry of the store. [Verifier.AddressHash] returns it for an address.
	AddressHash Hash
	// ClientHash is a keyed hash of Request.Client.
	ClientHash Hash
	// ChallengeHash is equal for all events of one challenge. Events before the
	// challenge exists have none, and neither does the Asked of a Resend that
	// opens a new challenge.
	ChallengeHash Hash
	// Message is the ID of the mail, for Sent and SendFailed.
	Message string
	// Locale is the locale of the request.
	Locale string
	// Known means that the budget of known devices was used; see
	// Request.Device.
	Known bool
	// Strong means that the code is a strong one: a longer code, which is mailed
	// when too many guesses were made or are reserved.
	Strong bool
	// Decoy means that the challenge is a decoy: it looks real, but nothing was
	// mailed and no code can pass it.
	Decoy bool
	// Resend means that the same code was mailed again.
	Resend bool
	// GuessesLeft is how many guesses the challenge has left.
	GuessesLeft int
	// WrongGuesses is how many wrong codes the challenge has had.
	WrongGuesses int
	// Age is the time since the challenge was opened; never negative.
	Age time.Duration
	// RetryAfter is how long to wait, for Limited.
	RetryAfter time.Duration
	// Scope is whose budget is spent, for Limited: "address", "client" or "all";
	// see LimitError.Scope.
	Scope string
	// Err is the failure, for SendFailed and Failed.
	Err error
}

// Hash stands for an address, a client or a challenge in an [Event] without
// revealing it. The same address, client or challenge always has the same hash.
// The zero value means none.
type Hash [16]byte

// String returns 22 characters of [A-Za-z0-9_-], nothing for the zero value.
func (h Hash) String() string {
	if h == (Hash{}) {
		return ""
	}
	return seal.Key(h).String()
}

// MarshalText returns what String returns. It never fails.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// observe emits an event about a challenge.
func (v *Verifier) observe(ctx context.Context, kind otpevent.Kind, key seal.Key, c *ledger.Challenge) {
	v.observeMore(ctx, kind, key, c, Event{})
}

// observeMore is observe with fields that do not follow from the challenge.
func (v *Verifier) observeMore(ctx context.Context, kind otpevent.Kind, key seal.Key, c *ledger.Challenge, e Event) {
	if v.core.quiet && !alarming(kind) {
		return
	}
	e.Kind, e.Time, e.Purpose = kind, v.core.clock(), kindOf(v.purpose)
	e.AddressHash, e.ClientHash = Hash(v.core.keys.EventHash(key)), Hash(v.core.keys.EventHash(c.Client))
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

// observeError emits the event for a request that was refused or failed.
func (v *Verifier) observeError(ctx context.Context, key seal.Key, c *ledger.Challenge, err error) {
	v.observeErrorMasked(ctx, key, c, err, "")
}

// observeErrorMasked is observeError for callers that already have the masked
// address, which saves an allocation.
func (v *Verifier) observeErrorMasked(ctx context.Context, key seal.Key, c *ledger.Challenge, err error, masked string) {
	e := Event{Masked: masked}
	kind := otpevent.Failed
	// By value: an error of a store that wraps one of ours is a failure.
	//nolint:errorlint // by value, as said above
	switch err {
	case ErrCode:
		kind = otpevent.Wrong
	case ErrMalformed:
		kind = otpevent.Malformed
	case ErrExpired:
		kind = otpevent.Expired
	case ErrExhausted:
		kind = otpevent.Exhausted
	case ErrUnknown:
		kind = otpevent.Unknown
	case errClock:
		kind = otpevent.ClockBack
	default:
		if limit, ok := err.(*LimitError); ok { //nolint:errorlint // by value, as said above
			kind, e.RetryAfter, e.Scope = otpevent.Limited, limit.RetryAfter, limit.Scope
		} else {
			e.Err = err
		}
	}
	v.observeMore(ctx, kind, key, c, e)
}

// MultiObserver returns an observer that passes each event to every observer in
// list, in that order. Nil observers are skipped.
func MultiObserver(list ...Observer) Observer {
	list = slices.DeleteFunc(slices.Clone(list), func(o Observer) bool { return isNil(o) })
	return ObserverFunc(func(ctx context.Context, e Event) {
		for _, o := range list {
			o.Observe(ctx, e)
		}
	})
}

// NewLogObserver returns an observer that writes each event to l, with masked
// addresses: at level Error for problems that need attention (failures of the
// system, clocks, secrets), at Warn for a mail that could not be sent and for a
// flood of strangers, and at Info for everything else. A nil l means
// slog.Default() at the time of the event. The caller of Check waits for the
// handler, so a handler that writes to a slow destination needs a buffer.
//
// The message is "otp " and the kind of the event. The attributes are purpose,
// to (masked), address, client and challenge (hashes), message, locale, known,
// strong, resend, guesses_left, age, retry_after, scope and error; each is present
// only where it applies. Durations are slog durations, which a JSON handler
// writes as nanoseconds.
func NewLogObserver(l *slog.Logger) Observer {
	return ObserverFunc(func(ctx context.Context, e Event) {
		to := l
		if to == nil {
			to = slog.Default()
		}
		if level := levelOf(e.Kind); to.Enabled(ctx, level) {
			var room [maxAttrs]slog.Attr // on the stack: the caller of Check waits
			to.LogAttrs(ctx, level, "otp "+string(e.Kind), e.attrs(room[:0])...)
		}
	})
}

// levelOf returns the level at which events of a kind are logged.
func levelOf(kind otpevent.Kind) slog.Level {
	switch kind {
	case otpevent.Failed, otpevent.ClockBack, otpevent.UnknownKey:
		return slog.LevelError
	case otpevent.SendFailed, otpevent.Crowded, otpevent.Evicted:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// maxAttrs is the largest number of fields of an event that are logged.
const maxAttrs = 15

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
	text("scope", e.Scope)
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

// alarmGap is the shortest time between two log lines about one kind of event.
const alarmGap = time.Minute

// alarmObserver is the observer of verifiers without Options.Observer: it logs
// what an operator must see even if nobody set up anything.
type alarmObserver struct {
	mu     sync.Mutex
	alarms map[otpevent.Kind]*alarm
}

// newAlarmObserver returns an observer that logs the kinds that are alarming to
// slog.Default(), in the form of [NewLogObserver] and at most one line a minute
// for each kind, by the times of the events. The attribute count is the number
// of events of that kind since the last line.
//
// It is safe for concurrent use and starts no goroutine, so what happened after
// the last line is counted only once it happens again.
func newAlarmObserver() Observer { return &alarmObserver{alarms: map[otpevent.Kind]*alarm{}} }

// alarming reports whether newAlarmObserver logs events of a kind.
func alarming(kind otpevent.Kind) bool { return levelOf(kind) > slog.LevelInfo }

// Observe logs the event, or counts it, or ignores it.
func (o *alarmObserver) Observe(ctx context.Context, e Event) {
	if !alarming(e.Kind) {
		return
	}
	// Anybody can type an address that does not exist, or hang up. If that was
	// logged, it would use up the minute of the failure that stops all mail.
	if failed, ok := errors.AsType[*SendError](e.Err); ok && failed.RefusedRecipient() {
		return
	}
	if e.Kind == otpevent.Failed && errors.Is(e.Err, context.Canceled) {
		return
	}
	if count := o.due(e.Kind, e.Time); count > 0 {
		logAlarm(ctx, e, count)
	}
}

// alarm counts the events of one kind.
type alarm struct {
	last    time.Time // of the last line
	waiting int       // events since then
}

// due counts an event and returns 0, or, if it is time for a line, the number
// of events that the line stands for.
func (o *alarmObserver) due(kind otpevent.Kind, now time.Time) (count int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.alarms[kind]
	if a == nil {
		a = new(alarm)
		o.alarms[kind] = a
	}
	a.waiting++
	// Concurrent events may come a little out of order. If the clock was set
	// back by more, the rest of the old minute could last for years.
	if since := now.Sub(a.last); since > -alarmGap && since < alarmGap {
		return 0
	}
	count, a.waiting, a.last = a.waiting, 0, now
	return count
}

// logAlarm is not part of Observe so that events that are not logged are not
// moved to the heap.
func logAlarm(ctx context.Context, e Event, count int) {
	if to, level := slog.Default(), levelOf(e.Kind); to.Enabled(ctx, level) {
		var room [maxAttrs + 1]slog.Attr
		to.LogAttrs(ctx, level, "otp "+string(e.Kind), append(e.attrs(room[:0]), slog.Int("count", count))...)
	}
}
