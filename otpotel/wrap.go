package otpotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mailotp/otp"
)

// Store wraps s and records a span and a duration for each command. A Verifier
// that uses the result needs Options.Secrets, even if s is an *otp.MemoryStore.
func (t *Telemetry) Store(s otp.Store) otp.Store { return &store{t, s} }

type store struct {
	t    *Telemetry
	next otp.Store
}

// Load calls the wrapped store and records a span.
func (s *store) Load(ctx context.Context, key string) (value []byte, err error) {
	ctx, done := s.begin(ctx, "load")
	defer func() {
		if value == nil {
			done("absent", err)
		} else {
			done("ok", err)
		}
	}()
	err = errPanicked // replaced if the call returns
	value, err = s.next.Load(ctx, key)
	return value, err
}

// CompareAndSwap calls the wrapped store and records a span.
func (s *store) CompareAndSwap(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) (swapped bool, err error) {
	ctx, done := s.begin(ctx, "compare_and_swap")
	defer func() {
		if swapped {
			done("ok", err)
		} else {
			done("lost", err)
		}
	}()
	err = errPanicked // replaced if the call returns
	swapped, err = s.next.CompareAndSwap(ctx, key, oldValue, newValue, ttl)
	return swapped, err
}

func (s *store) begin(ctx context.Context, operation string) (context.Context, func(result string, err error)) {
	began := time.Now()
	name := attribute.String("otp.store.operation", operation)
	ctx, span := s.t.tracer.Start(ctx, "otp.store."+operation, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(name))
	return ctx, func(result string, err error) {
		attrs := append(make([]attribute.KeyValue, 0, 3), name)
		if err != nil {
			attrs = append(attrs, attribute.String("otp.result", "failed"), attribute.String("error.type", errorType(err)))
		} else {
			attrs = append(attrs, attribute.String("otp.result", result))
		}
		s.t.store.Record(ctx, time.Since(began).Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
		end(span, err, attrs)
	}
}

// Sender wraps s and records a span and a duration for each mail. The attribute
// otp.sender is name. Use only a few different names: their number is not
// limited.
func (t *Telemetry) Sender(name string, s otp.Sender) otp.Sender {
	return &sender{t, s, attribute.String("otp.sender", name)}
}

type sender struct {
	t    *Telemetry
	next otp.Sender
	name attribute.KeyValue
}

// Send calls the wrapped sender and records a span.
func (s *sender) Send(ctx context.Context, m otp.Message) (err error) {
	began := time.Now()
	ctx, span := s.t.tracer.Start(ctx, "otp.mail", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(s.name))
	defer func() { s.end(ctx, span, began, err) }()
	err = errPanicked // replaced if the call returns
	err = s.next.Send(ctx, m)
	return err
}

func (s *sender) end(ctx context.Context, span trace.Span, began time.Time, err error) {
	attrs := append(make([]attribute.KeyValue, 0, 4), s.name)
	outcome := "unknown"
	var e *otp.SendError
	known := errors.As(err, &e) && e != nil
	switch {
	case err == nil:
		outcome = "ok"
	case known && !e.Temporary && !e.MaybeSent:
		outcome = "refused"
	case known && e.Temporary && !e.MaybeSent:
		outcome = "temporary"
	}
	attrs = append(attrs, attribute.String("otp.result", outcome))
	if failed(err) {
		attrs = append(attrs, attribute.String("error.type", errorType(err)))
	}
	if known {
		attrs = append(attrs, attribute.String("otp.stage", s.t.stages.bounded(e.Stage)))
	}
	s.t.mail.Record(ctx, time.Since(began).Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
	end(span, err, attrs)
}
