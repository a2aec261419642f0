package otpotel_test

import (
	"context"
	_ "embed"
	"fmt"
	"log"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/readme"
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

// A Verifier under telemetry. The provider of an application has an exporter in place of the
// reader.
func ExampleNew() {
	reader := sdkmetric.NewManualReader()
	telemetry, err := otpotel.New(&otpotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
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
