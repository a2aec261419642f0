package otpotel_test

import (
	"context"
	_ "embed"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/readme"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpotel"
	"github.com/go-mailotp/otp/otptest"
)

//go:embed example_test.go
var examples string

func TestREADME(t *testing.T) { readme.Check(t, examples, readme.Blocks(t, "go")) }

// With the global providers.
func ExampleTelemetry() {
	store, sender, secrets := otp.NewMemoryStore(nil), new(otptest.Inbox), [][]byte{[]byte("32 bytes or more from a vault...")}

	telemetry, err := otpotel.New(nil) // the global providers
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := otp.NewVerifier(telemetry.Store(store), telemetry.Sender("smtp", sender), &otp.Options{
		Secrets:  secrets,
		Observer: telemetry,
		Span:     telemetry.Span,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verifier.Purpose())
	// Output: login
}

// The global provider, with an exporter for Prometheus.
func ExampleNew_prometheus() {
	defer otel.SetMeterProvider(noop.NewMeterProvider())
	mux := http.NewServeMux()

	exporter, err := prometheus.New() // go.opentelemetry.io/otel/exporters/prometheus
	if err != nil {
		log.Fatal(err)
	}
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter))) // go.opentelemetry.io/otel/sdk/metric
	mux.Handle("/metrics", promhttp.Handler())

	telemetry, err := otpotel.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	telemetry.Observe(context.Background(), otp.Event{Kind: otpevent.Asked, Purpose: "login"})
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	fmt.Println(strings.Contains(w.Body.String(), "otp_events_total{"))
	// Output: true
}

// A Verifier with telemetry. In an application, the provider has an exporter
// instead of the reader.
func ExampleNew() {
	reader := metric.NewManualReader()
	telemetry, err := otpotel.New(&otpotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	if err != nil {
		log.Fatal(err)
	}
	inbox := new(otptest.Inbox)
	verifier, err := otp.NewVerifier(telemetry.Store(otp.NewMemoryStore(nil)), telemetry.Sender("smtp", inbox), &otp.Options{
		Secrets:  [][]byte{[]byte("32 bytes or more from a vault...")},
		Observer: telemetry,
		Span:     telemetry.Span,
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	challenge, _ := verifier.Send(ctx, otp.Request{To: "bob@example.com"})
	verifier.Check(ctx, challenge.ID, inbox.Code("bob@example.com"))

	var all metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &all); err != nil {
		log.Fatal(err)
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		fmt.Println(m.Name, m.Unit)
	}
	// Output:
	// otp.events {event}
	// otp.operation.duration s
	// otp.store.duration s
	// otp.mail.duration s
	// otp.answer.age s
}
