// Package otpotel tells OpenTelemetry what an [otp.Verifier] does: how many mails,
// right and wrong codes, and failures there are, how long calls, store and mail
// take, and a span for each of them.
//
//	telemetry, err := otpotel.New(nil) // the global providers
//	...
//	verifier, err := otp.NewVerifier(telemetry.Store(store), telemetry.Sender("smtp", sender), &otp.Options{
//		Secrets:  secrets,
//		Observer: telemetry,
//		Span:     telemetry.Span,
//	})
//
// # Metrics
//
//	otp.events              {event}  counter    what happened, as in otpevent.Kind
//	otp.operation.duration  s        histogram  calls of the Verifier
//	otp.store.duration      s        histogram  commands to the store
//	otp.mail.duration       s        histogram  mails handed to a sender
//	otp.answer.age          s        histogram  from opening a challenge to its right code
//
// The Prometheus exporter calls them otp_events_total, otp_operation_duration_seconds,
// otp_store_duration_seconds, otp_mail_duration_seconds and otp_answer_age_seconds. Buckets end at
// 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250 and 500 ms, 1, 2.5, 5 and 10 s; those of
// otp.answer.age at 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600 and 1800 s and at a day.
//
// # Attributes
//
// All have few values, whatever people type: otp.event, otp.purpose (the kind, at most
// 30 of them), otp.known, otp.strong; otp.operation; otp.store.operation; otp.stage (at most 30).
// The value of otp.sender is what the application passes to [Telemetry.Sender]. Others:
//
//	otp.result of an operation  ok, address, malformed, wrong, expired, exhausted, escalated,
//	                            unknown, limited, refused (the recipient, for good), failed
//	otp.result of the store     ok, absent, lost (another call swapped first), failed
//	otp.result of a mail        ok, temporary, refused, unknown (it may have gone out)
//	error.type                  canceled, timeout, send, _OTHER: where the system fails
//
// No attribute holds an address, a code, an ID or a hash. grafana.json beside this package is a
// dashboard for them.
package otpotel

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// scope is the name of the instrumentation.
const scope = "github.com/go-mailotp/otp/otpotel"

// Options are the choices of [New]. The zero value has every default.
type Options struct {
	// MeterProvider makes the metrics. Default: otel.GetMeterProvider().
	MeterProvider metric.MeterProvider

	// TracerProvider makes the spans. Default: otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
}

// Telemetry is an [otp.Observer] and wraps what a Verifier is made of. It is safe for
// concurrent use and must be made by [New].
type Telemetry struct {
	tracer    trace.Tracer
	events    metric.Int64Counter
	operation metric.Float64Histogram
	store     metric.Float64Histogram
	mail      metric.Float64Histogram
	age       metric.Float64Histogram
	purposes  names
	stages    names
	all       sync.Map // of *series by seriesKey
}

var _ otp.Observer = (*Telemetry)(nil)

// New returns a Telemetry; opts may be nil, for the global providers: where the application sets
// none, nothing is recorded. Its errors are those of the MeterProvider.
func New(opts *Options) (*Telemetry, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	t := &Telemetry{tracer: o.TracerProvider.Tracer(scope)}
	meter := o.MeterProvider.Meter(scope)
	var errs [5]error
	t.events, errs[0] = meter.Int64Counter("otp.events", metric.WithUnit("{event}"), metric.WithDescription("What happened, by kind of event."))
	histogram := func(name, description string, buckets ...float64) (metric.Float64Histogram, error) {
		return meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(buckets...))
	}
	quick := []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	t.operation, errs[1] = histogram("otp.operation.duration", "How long calls of the Verifier take.", quick...)
	t.store, errs[2] = histogram("otp.store.duration", "How long commands to the store take.", quick...)
	t.mail, errs[3] = histogram("otp.mail.duration", "How long handing over a mail takes.", quick...)
	t.age, errs[4] = histogram("otp.answer.age", "How long after its challenge was opened a right code comes.", 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 86400)
	return t, errors.Join(errs[:]...)
}

// Observe counts an event.
func (t *Telemetry) Observe(ctx context.Context, e otp.Event) {
	series := t.series(seriesKey{e.Kind, t.purposes.bounded(e.Purpose), e.Known, e.Strong})
	t.events.Add(ctx, 1, series.event...)
	if e.Kind == otpevent.Verified {
		t.age.Record(ctx, e.Age.Seconds(), series.age...)
	}
}

// seriesKey is what tells the series of events apart.
type seriesKey struct {
	kind          otpevent.Kind
	purpose       string
	known, strong bool
}

// series are the attributes of an event, made once: Observe runs in the caller of Check.
type series struct {
	event []metric.AddOption
	age   []metric.RecordOption
}

func (t *Telemetry) series(key seriesKey) *series {
	if s, ok := t.all.Load(key); ok {
		return s.(*series)
	}
	purpose := attribute.String("otp.purpose", key.purpose)
	s := &series{
		event: []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(
			attribute.String("otp.event", string(key.kind)), purpose, attribute.Bool("otp.known", key.known), attribute.Bool("otp.strong", key.strong),
		))},
		age: []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(purpose))},
	}
	t.all.Store(key, s)
	return s
}

// Span is for [otp.Options].Span: a span and a duration for each call.
func (t *Telemetry) Span(ctx context.Context, operation string) (context.Context, func(error)) {
	began := time.Now()
	ctx, span := t.tracer.Start(ctx, "otp."+operation, trace.WithAttributes(attribute.String("otp.operation", operation)))
	return ctx, func(err error) {
		attrs := append(make([]attribute.KeyValue, 0, 3), attribute.String("otp.operation", operation), attribute.String("otp.result", result(err)))
		if failed(err) {
			attrs = append(attrs, attribute.String("error.type", errorType(err)))
		}
		t.operation.Record(ctx, time.Since(began).Seconds(), metric.WithAttributeSet(attribute.NewSet(attrs...)))
		end(span, err, attrs)
	}
}

// maxNames is how many values of an attribute are told apart.
const maxNames = 30

// names bounds the values of an attribute: the first few are told apart, the rest
// are "_OTHER". The zero value is ready.
type names struct {
	mu   sync.RWMutex
	seen map[string]bool
}

func (n *names) bounded(name string) string {
	n.mu.RLock()
	known := n.seen[name]
	n.mu.RUnlock()
	if known {
		return name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.seen) >= maxNames || len(name) > 128 {
		return "_OTHER"
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[name] = true
	return name
}
