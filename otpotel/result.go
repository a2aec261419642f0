package otpotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mailotp/otp"
)

// results are the values of otp.result for errors that people can cause.
var results = []struct {
	err  error
	name string
}{
	{otp.ErrAddress, "address"},
	{otp.ErrMalformed, "malformed"},
	{otp.ErrCode, "wrong"},
	{otp.ErrExpired, "expired"},
	{otp.ErrExhausted, "exhausted"},
	{otp.ErrUnknown, "unknown"},
	{otp.ErrLimited, "limited"},
}

func result(err error) string {
	if err == nil {
		return "ok"
	}
	for _, r := range results {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	if refused(err) {
		return "refused"
	}
	return "failed"
}

// refused reports whether a recipient was rejected permanently, which is not a
// failure of the system.
func refused(err error) bool {
	var e *otp.SendError
	return errors.As(err, &e) && e.RefusedRecipient()
}

// errPanicked is recorded if a store or a sender panics.
var errPanicked = errors.New("otpotel: panicked")

// failed reports whether err is a failure of the system.
func failed(err error) bool { return result(err) == "failed" }

// errorType returns the value of error.type for a failure of the system.
func errorType(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, otp.ErrSend):
		return "send"
	}
	return "_OTHER"
}

// end ends a span. Only a failure of the system, such as a store that is down,
// is an error of the span. A wrong code or a rejected recipient is not.
func end(span trace.Span, err error, attrs []attribute.KeyValue) {
	span.SetAttributes(attrs...)
	if err != nil && failed(err) {
		span.SetStatus(codes.Error, errorType(err)) // not its text, which may come from a custom sender
	}
	span.End()
}
