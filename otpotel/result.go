package otpotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mailotp/otp"
)

// results are the values of otp.result for what a person can cause.
var results = []struct {
	err  error
	name string
}{
	{otp.ErrAddress, "address"}, {otp.ErrMalformed, "malformed"}, {otp.ErrCode, "wrong"}, {otp.ErrExpired, "expired"},
	{otp.ErrExhausted, "exhausted"}, {otp.ErrEscalated, "escalated"}, {otp.ErrUnknown, "unknown"}, {otp.ErrLimited, "limited"},
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

// refused reports whether a sender refused a recipient for good, which is no failure of the system.
func refused(err error) bool {
	var e *otp.SendError
	return errors.As(err, &e) && e.RefusedRecipient()
}

// errPanicked stands for the error of a store or sender that does not return.
var errPanicked = errors.New("otpotel: panicked")

// failed reports whether err is the system's.
func failed(err error) bool { return result(err) == "failed" }

// errorType is a word for a failure of the system.
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

// end ends a span. A wrong code is no error of a span, nor is a refused recipient; a store that is down is.
func end(span trace.Span, err error, attrs []attribute.KeyValue) {
	span.SetAttributes(attrs...)
	if err != nil && failed(err) {
		span.SetStatus(codes.Error, errorType(err)) // not its text, which a custom sender may have filled
	}
	span.End()
}
