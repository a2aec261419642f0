package otpotel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpotel"
	"github.com/go-mailotp/otp/otptest"
)

var ctx = context.Background()

const bob = "bob@example.com"

// rig is a verifier under telemetry.
type rig struct {
	*otp.Verifier
	telemetry *otpotel.Telemetry
	inbox     *otptest.Inbox
	reader    *sdkmetric.ManualReader
	registry  *prometheus.Registry
	spans     *tracetest.SpanRecorder
	broken    *broken
}

// broken is a store that fails when told.
type broken struct {
	otp.Store
	err error
}

func (b *broken) Load(ctx context.Context, key string) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.Store.Load(ctx, key)
}

func newRig(t testing.TB) *rig {
	r := &rig{
		inbox: &otptest.Inbox{}, reader: sdkmetric.NewManualReader(), registry: prometheus.NewRegistry(),
		spans: tracetest.NewSpanRecorder(), broken: &broken{Store: otp.NewMemoryStore(nil)},
	}
	prom, err := exporter.New(exporter.WithRegisterer(r.registry))
	require.NoError(t, err)
	r.telemetry, err = otpotel.New(&otpotel.Options{
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader), sdkmetric.WithReader(prom)),
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans)),
	})
	require.NoError(t, err)
	r.Verifier, err = otp.NewVerifier(r.telemetry.Store(r.broken), r.telemetry.Sender("inbox", r.inbox), &otp.Options{
		Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}, Observer: r.telemetry, Span: r.telemetry.Span,
	})
	require.NoError(t, err)
	return r
}

// story is a bit of everything.
func (r *rig) story(t testing.TB) (secrets []string) {
	c, err := r.Send(ctx, otp.Request{To: bob, Client: "192.0.2.7"})
	require.NoError(t, err)
	code := r.inbox.Code(bob)
	wrong := code[:5] + string('0'+(code[5]-'0'+1)%10)
	_, err = r.Check(ctx, c.ID, wrong)
	require.ErrorIs(t, err, otp.ErrCode)
	_, err = r.Check(ctx, c.ID, "nonsense")
	require.ErrorIs(t, err, otp.ErrMalformed)
	_, err = r.Resend(ctx, c.ID)
	require.ErrorIs(t, err, otp.ErrLimited)
	_, err = r.Status(ctx, c.ID)
	require.NoError(t, err)
	_, err = r.Check(ctx, c.ID, code)
	require.NoError(t, err)
	_, err = r.Check(ctx, c.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown)
	r.inbox.FailWith(&otp.SendError{Temporary: true, Stage: "connect", Err: context.DeadlineExceeded})
	_, err = r.Send(ctx, otp.Request{To: "carol@example.com"})
	require.ErrorIs(t, err, otp.ErrSend)
	for _, e := range []error{
		errors.New("gave up on carol@example.com with 123456"),
		&otp.SendError{Stage: "rcpt", Err: errors.New("550 no such user")},
	} {
		r.inbox.FailWith(e)
		require.Error(t, r.telemetry.Sender("inbox", r.inbox).Send(ctx, otp.Message{Code: "123456"}))
	}
	r.inbox.FailWith(nil)
	r.broken.err = errors.New("store down")
	_, err = r.Send(ctx, otp.Request{To: bob})
	require.Error(t, err)
	r.broken.err = nil
	require.NoError(t, r.Forget(ctx, bob))
	swapped, err := r.telemetry.Store(r.broken).CompareAndSwap(ctx, "key", []byte("old"), []byte("new"), time.Minute)
	require.NoError(t, err)
	require.False(t, swapped)
	return []string{bob, code, wrong, c.ID, "carol", "123456", "192.0.2.7", "nonsense"}
}

func TestTelemetry_metrics(t *testing.T) {
	r := newRig(t)
	secrets := r.story(t)
	counts := map[string]int64{}
	durations := map[string]uint64{}
	for _, m := range r.metrics(t) {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			require.Equal(t, "otp.events", m.Name)
			for _, p := range data.DataPoints {
				kind, _ := p.Attributes.Value("otp.event")
				counts[kind.AsString()] += p.Value
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				durations[m.Name] += p.Count
				if result, ok := p.Attributes.Value("otp.result"); ok {
					durations[m.Name+" "+result.AsString()] += p.Count
				}
			}
		}
	}
	require.Equal(t, map[string]int64{
		"asked": 4, "sent": 1, "wrong": 1, "malformed": 1, "limited": 1, "verified": 1, "unknown": 1, "send_failed": 1, "failed": 1, "forgotten": 1,
	}, counts)
	require.EqualValues(t, 10, durations["otp.operation.duration"])
	require.EqualValues(t, 2, durations["otp.operation.duration failed"]) // a mail and the store
	require.EqualValues(t, 4, durations["otp.mail.duration"])
	for _, result := range []string{"ok", "unknown", "temporary", "refused"} {
		require.EqualValues(t, 1, durations["otp.mail.duration "+result], result)
	}
	require.EqualValues(t, 1, durations["otp.store.duration failed"])
	require.EqualValues(t, 1, durations["otp.answer.age"])
	text, err := json.Marshal(r.metrics(t))
	require.NoError(t, err)
	for _, s := range secrets { // D1
		require.NotContains(t, string(text), s)
	}
}

func (r *rig) metrics(t testing.TB) []metricdata.Metrics {
	var all metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(ctx, &all))
	require.Len(t, all.ScopeMetrics, 1)
	return all.ScopeMetrics[0].Metrics
}

func TestTelemetry_spans(t *testing.T) {
	r := newRig(t)
	secrets := r.story(t)
	names := map[string]int{}
	parents := map[string]bool{}
	operations := map[string]string{}
	for _, s := range r.spans.Ended() {
		names[s.Name()]++
		if s.Parent().IsValid() {
			parents[s.Name()] = true
		} else {
			operations[s.SpanContext().SpanID().String()] = s.Name()
		}
		text := fmt.Sprint(s.Name(), s.Attributes(), s.Events(), s.Status())
		for _, secret := range secrets { // D1
			require.NotContains(t, text, secret)
		}
		for _, a := range s.Attributes() {
			if a.Key == "otp.result" {
				switch a.Value.AsString() {
				case "failed", "unknown", "temporary":
				default:
					require.NotEqual(t, codes.Error, s.Status().Code, text) // a wrong code is no error
				}
			}
		}
	}
	require.Equal(t, map[string]bool{"otp.store.load": true, "otp.store.compare_and_swap": true, "otp.mail": true}, parents)
	require.Equal(t, 3, names["otp.send"])
	require.Equal(t, 4, names["otp.check"])
	require.Equal(t, 4, names["otp.mail"])
	require.Equal(t, 1, names["otp.resend"]+names["otp.status"]-names["otp.forget"])
	for _, s := range r.spans.Ended() {
		if s.Name() == "otp.mail" && s.Parent().IsValid() {
			require.Equal(t, "otp.send", operations[s.Parent().SpanID().String()])
		}
	}
}

// The store behind a span is still a store.
func TestTelemetry_Store(t *testing.T) {
	telemetry, err := otpotel.New(nil)
	require.NoError(t, err)
	otptest.TestStore(t, func(t *testing.T) otp.Store {
		return telemetry.Store(otp.NewMemoryStore(nil))
	})
}

// Strangers cannot make up values of attributes.
func TestTelemetry_cardinality(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			r.telemetry.Observe(ctx, otp.Event{Kind: otpevent.Asked, Purpose: fmt.Sprint("p", i)})
			r.telemetry.Sender("s", otp.SenderFunc(func(context.Context, otp.Message) error {
				return &otp.SendError{Stage: fmt.Sprint("stage", i)}
			})).Send(ctx, otp.Message{})
		})
	}
	wg.Wait()
	for _, m := range r.metrics(t) {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			require.Len(t, data.DataPoints, 31)
		case metricdata.Histogram[float64]:
			require.Len(t, data.DataPoints, 31, m.Name)
		}
	}
}

// A limited request says whose budget was spent, in one of few words.
func TestTelemetry_scope(t *testing.T) {
	r := newRig(t)
	for _, scope := range []string{"", "address", "client", "all", "made up", "also made up"} {
		r.telemetry.Observe(ctx, otp.Event{Kind: otpevent.Limited, Purpose: "login", Scope: scope})
	}
	counts := map[string]int64{}
	for _, p := range r.metrics(t)[0].Data.(metricdata.Sum[int64]).DataPoints {
		scope, known := p.Attributes.Value("otp.scope")
		require.Equal(t, known, scope.AsString() != "")
		counts[scope.AsString()] += p.Value
	}
	require.Equal(t, map[string]int64{"": 1, "address": 1, "client": 1, "all": 1, "_OTHER": 2}, counts)
}

// The dashboard asks for metrics and labels that there are, by the names that
// Prometheus has for them.
func TestGrafana(t *testing.T) {
	r := newRig(t)
	r.story(t)
	r.telemetry.Observe(ctx, otp.Event{Kind: otpevent.Sent, Purpose: "login", Strong: true})
	r.telemetry.Observe(ctx, otp.Event{Kind: otpevent.Limited, Purpose: "login", Scope: "client"})
	families, err := r.registry.Gather()
	require.NoError(t, err)
	labels := map[string][]string{"le": nil}
	known := map[string]bool{}
	for _, f := range families {
		name := f.GetName()
		known[name] = true
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			known[name+suffix] = f.GetType().String() == "HISTOGRAM"
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
	}
	raw, err := os.ReadFile("grafana.json")
	require.NoError(t, err)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &board))
	require.Greater(t, len(board.Panels), 10)
	metric, label := regexp.MustCompile(`\botp_\w+(_total|_seconds\w*)\b`), regexp.MustCompile(`(\w+)(=~|!=|=)"([^"]*)"`)
	by, legend := regexp.MustCompile(`by \(([^)]*)\)`), regexp.MustCompile(`\{\{(\w+)\}\}`)
	used := map[string]bool{}
	kinds := []string{"asked", "sent", "verified", "wrong", "malformed", "expired", "exhausted", "limited", "failed", "clock_back", "unknown_key", "crowded", "evicted"}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			found := metric.FindAllString(target.Expr, -1)
			require.NotEmpty(t, found, target.Expr)
			for _, name := range found {
				require.True(t, known[name], "%s: there is no %s", p.Title, name)
				used[regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")] = true
			}
			for _, m := range label.FindAllStringSubmatch(target.Expr, -1) {
				values, ok := labels[m[1]]
				require.True(t, ok, "%s: there is no label %s", p.Title, m[1])
				if strings.Contains(m[3], "$") {
					continue
				}
				for value := range strings.SplitSeq(m[3], "|") {
					if m[1] == "otp_event" {
						require.Contains(t, kinds, value)
					} else {
						require.Contains(t, values, value, p.Title)
					}
				}
			}
			for _, m := range by.FindAllStringSubmatch(target.Expr, -1) {
				for name := range strings.SplitSeq(m[1], ", ") {
					require.Contains(t, labels, name, p.Title)
				}
			}
			for _, m := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				require.Contains(t, labels, m[1], p.Title)
			}
		}
	}
	for name := range known {
		if strings.HasPrefix(name, "otp_") && !regexp.MustCompile(`_(bucket|count|sum)$`).MatchString(name) {
			require.True(t, used[name], "the dashboard does not show %s", name)
		}
	}
	require.True(t, slices.Contains(labels["otp_purpose"], "login"))
}

// An observer that only counts is cheap; the SDK allocates for the attributes.
func BenchmarkObserve(b *testing.B) {
	r := newRig(b)
	e := otp.Event{Kind: otpevent.Wrong, Purpose: "login"}
	b.ReportAllocs()
	for b.Loop() {
		r.telemetry.Observe(ctx, e)
	}
}
