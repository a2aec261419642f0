// Package otpotel records metrics and traces of an [otp.Verifier] with
// OpenTelemetry: how many mails, correct and wrong codes and failures there
// are, how long calls, store commands and mails take, and a span for each of
// them.
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
//	otp.events              {event}  counter    events; otp.event is their kind (package otpevent)
//	otp.operation.duration  s        histogram  calls of the Verifier
//	otp.store.duration      s        histogram  commands to the store
//	otp.mail.duration       s        histogram  mails passed to a sender
//	otp.answer.age          s        histogram  time from opening a challenge to its correct code
//
// The Prometheus exporter names them otp_events_total,
// otp_operation_duration_seconds, otp_store_duration_seconds,
// otp_mail_duration_seconds and otp_answer_age_seconds.
//
// The upper bounds of the buckets are 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50,
// 100, 250 and 500 ms, 1, 2.5, 5 and 10 s. For otp.answer.age they are 5, 10,
// 15, 20, 30, 45, 60, 90, 120, 180, 300, 600 and 1800 s and one day.
//
// # Attributes
//
// Events have otp.event, otp.purpose (the kind of the purpose), otp.known and
// otp.strong; limited ones also have otp.scope, whose budget was spent: address,
// client or all. Durations have otp.operation, otp.store.operation or otp.stage.
// The value of otp.sender is the name that you pass to [Telemetry.Sender]. The
// others are:
//
//	otp.result of an operation  ok, address, malformed, wrong, expired, exhausted,
//	                            unknown, limited, failed
//	otp.result of the store     ok, absent, lost (another call swapped first), failed
//	otp.result of a mail        ok, temporary, refused, unknown (it may have been sent)
//	error.type                  canceled, timeout, send, _OTHER; set for system failures
//
// User input cannot create new values without limit: otp.purpose and otp.stage
// keep their first 30 values, all later ones become "_OTHER". No attribute
// contains an address, a code, an ID or a hash. The file grafana.json in the
// folder of this package is a dashboard for these metrics.
package otpotel

import (
	"cmp"
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

// scope is the name of the instrumentation scope.
const scope = "github.com/go-mailotp/otp/otpotel"

// Options configures [New]. The zero value uses every default.
type Options struct {
	// MeterProvider creates the metrics. Default: otel.GetMeterProvider().
	MeterProvider metric.MeterProvider

	// TracerProvider creates the spans. Default: otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
}

// Telemetry is an [otp.Observer]; it also wraps stores and senders. Create it
// with [New]. It is safe for concurrent use.
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

// New returns a Telemetry. If opts is nil, it uses the global providers; if the
// application has not set them, nothing is recorded. An error comes from the
// MeterProvider.
func New(opts *Options) (*Telemetry, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	o.MeterProvider = cmp.Or(o.MeterProvider, otel.GetMeterProvider())
	o.TracerProvider = cmp.Or(o.TracerProvider, otel.GetTracerProvider())
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
	series := t.series(seriesKey{e.Kind, t.purposes.bounded(e.Purpose), scopeOf(e.Scope), e.Known, e.Strong})
	t.events.Add(ctx, 1, series.event...)
	if e.Kind == otpevent.Verified {
		t.age.Record(ctx, e.Age.Seconds(), series.age...)
	}
}

// scopeOf returns the value of otp.scope, or nothing if an event has none.
func scopeOf(scope string) string {
	switch scope {
	case "", "address", "client", "all":
		return scope
	}
	return "_OTHER"
}

// seriesKey identifies a series of events.
type seriesKey struct {
	kind           otpevent.Kind
	purpose, scope string
	known, strong  bool
}

// series has the attributes of an event. They are created once for each
// seriesKey, since Observe runs while somebody waits for Check.
type series struct {
	event []metric.AddOption
	age   []metric.RecordOption
}

func (t *Telemetry) series(key seriesKey) *series {
	if s, ok := t.all.Load(key); ok {
		return s.(*series)
	}
	purpose := attribute.String("otp.purpose", key.purpose)
	attrs := []attribute.KeyValue{
		attribute.String("otp.event", string(key.kind)), purpose, attribute.Bool("otp.known", key.known), attribute.Bool("otp.strong", key.strong),
	}
	if key.scope != "" {
		attrs = append(attrs, attribute.String("otp.scope", key.scope))
	}
	s := &series{
		event: []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attrs...))},
		age:   []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(purpose))},
	}
	t.all.Store(key, s)
	return s
}

// Span records a span and a duration for each call. Use it as
// [otp.Options].Span.
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

// maxNames is the maximum number of different values of an attribute.
const maxNames = 30

// names limits the values of an attribute: the first maxNames are kept, all
// later ones become "_OTHER". The zero value is ready to use.
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
