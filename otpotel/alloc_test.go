//go:build !race

package otpotel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// Observe runs in the caller of Check: it allocates nothing once a series is
// known.
func TestTelemetry_Observe_allocations(t *testing.T) {
	r := newRig(t)
	e := otp.Event{Kind: otpevent.Verified, Purpose: "login"}
	r.telemetry.Observe(ctx, e)
	require.Zero(t, testing.AllocsPerRun(100, func() { r.telemetry.Observe(ctx, e) }))
}
