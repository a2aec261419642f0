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

// Store returns s with a span and a duration for each command. A Verifier over the result
// needs Options.Secrets, also where s is a *otp.MemoryStore.
func (t *Telemetry) Store(s otp.Store) otp.Store { return &store{t, s} }

type store struct {
	t    *Telemetry
	next otp.Store
}

// Load loads, with a span.
func (s *store) Load(ctx context.Context, key string) ([]byte, error) {
	ctx, done := s.begin(ctx, "load")
	value, err := s.next.Load(ctx, key)
	if value == nil {
		done("absent", err)
	} else {
		done("ok", err)
	}
	return value, err
}

// CompareAndSwap swaps, with a span.
func (s *store) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	ctx, done := s.begin(ctx, "compare_and_swap")
	swapped, err := s.next.CompareAndSwap(ctx, key, old, new, ttl)
	if swapped {
		done("ok", err)
	} else {
		done("lost", err)
	}
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
		end(span, err, attrs[1:])
	}
}

// Sender returns s with a span and a duration for each mail. Name tells senders apart; it
// should have few values.
func (t *Telemetry) Sender(name string, s otp.Sender) otp.Sender {
	return &sender{t, s, attribute.String("otp.sender", name)}
}

type sender struct {
	t    *Telemetry
	next otp.Sender
	name attribute.KeyValue
}

// Send sends, with a span.
func (s *sender) Send(ctx context.Context, m otp.Message) error {
	began := time.Now()
	ctx, span := s.t.tracer.Start(ctx, "otp.mail", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(s.name))
	err := s.next.Send(ctx, m)
	attrs := append(make([]attribute.KeyValue, 0, 4), s.name)
	var refused *otp.SendError
	switch {
	case err == nil:
		attrs = append(attrs, attribute.String("otp.result", "ok"))
	case !errors.As(err, &refused) || refused == nil || refused.MaybeSent:
		attrs = append(attrs, attribute.String("otp.result", "unknown"), attribute.String("error.type", errorType(err)))
	case refused.Temporary:
		attrs = append(attrs, attribute.String("otp.result", "temporary"), attribute.String("error.type", errorType(err)))
	default:
		attrs = append(attrs, attribute.String("otp.result", "refused"), attribute.String("error.type", errorType(err)))
	}
	if refused != nil {
		attrs = append(attrs, attribute.String("otp.stage", s.t.stages.bounded(refused.Stage)))
	}
	s.t.mail.Record(ctx, time.Since(began).Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
	end(span, err, attrs[1:])
	return err
}
