//go:build !race

package otp_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
)

// An observer that keeps the event costs the caller of Check no allocation.
func TestObserver_allocations(t *testing.T) {
	allocations := func(o otp.Observer) float64 {
		inbox := &otptest.Inbox{}
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, &otp.Options{
			Observer: o, Sends: []otp.Limit{{N: 100, Per: time.Hour}}, WrongGuesses: []otp.Limit{{N: 100, Per: time.Hour}}, Guesses: 10,
		})
		require.NoError(t, err)
		c, err := v.Send(ctx, otp.Request{To: bob, Proven: true})
		require.NoError(t, err)
		return testing.AllocsPerRun(8, func() { v.Check(ctx, c.ID, "000000") })
	}
	var last otp.Event
	with := allocations(otp.ObserverFunc(func(_ context.Context, e otp.Event) { last = e }))
	require.Equal(t, otp.EventWrong, last.Kind)
	require.Equal(t, allocations(nil), with)
}
