package otp

import (
	"context"
	"log/slog"
	"slices"
)

// Observers returns an observer that tells each of list, in their order; nil ones
// are left out.
func Observers(list ...Observer) Observer {
	list = slices.DeleteFunc(slices.Clone(list), func(o Observer) bool { return isNil(o) })
	return ObserverFunc(func(ctx context.Context, e Event) {
		for _, o := range list {
			o.Observe(ctx, e)
		}
	})
}

// LogObserver returns an observer that writes each event to l, with masked
// addresses: as an error what somebody must look at (a failure of the system,
// clocks, secrets), as a warning an escalation and a mail that could not be sent,
// all else as information. Nil is slog.Default() at the time of the event. The caller of
// Check waits for the handler: one that writes to a slow place needs a buffer.
//
// The message is "otp " and the kind of the event. The fields are purpose, to (masked), address,
// client and challenge (hashes), message, locale, known, strong, resend, guesses_left, age,
// retry_after and error; each is there only where it applies. Durations are those of
// slog, which a JSON handler writes as nanoseconds.
func LogObserver(l *slog.Logger) Observer {
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
