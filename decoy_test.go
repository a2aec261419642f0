package otp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/stretchr/testify/require"
)

// Rule 9, C2, B18: a decoy costs the same store work, uses the same budgets,
// and gives the same answers and resends as a real challenge, but no mail and
// no way in.
func TestRule9_decoy(t *testing.T) {
	type answer struct {
		err    error
		masked string
		left   int
		strong bool
		resend time.Duration
		calls  [2]int
	}
	play := func(admit bool) (answers []answer, mails int) {
		c := newClock()
		store := &countingStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})}
		r := newRigOn(t, otp.Options{
			Generator: &fixedGenerator{otp.Digits(6), []string{"123456"}},
			Admit:     func(context.Context, otp.Address) (bool, error) { return admit, nil },
		}, c, store)
		var ch otp.Challenge
		note := func(got otp.Challenge, err error) {
			if limit := (*otp.LimitError)(nil); errors.As(err, &limit) {
				err = otp.ErrLimited
				answers = append(answers, answer{resend: limit.RetryAfter})
			}
			a := answer{err: err, masked: got.Masked, left: got.GuessesLeft, strong: got.Strong, calls: store.calls()}
			if !got.ResendAt.IsZero() {
				a.resend = got.ResendAt.Sub(c.Now())
			}
			answers = append(answers, a)
			if err == nil {
				ch = got
			}
		}
		note(r.Send(ctx, otp.Request{To: bob, Client: "c"}))
		note(r.Send(ctx, otp.Request{To: bob, Client: "c"})) // limited
		for range 3 {
			note(r.Check(ctx, ch.ID, "654321"))
		}
		c.add(time.Minute)
		note(r.Resend(ctx, ch.ID))
		for range 3 {
			note(r.Check(ctx, ch.ID, "654321"))
		}
		note(r.Status(ctx, ch.ID))
		c.add(time.Minute)
		note(r.Resend(ctx, ch.ID)) // exhausted: a new one
		for range 6 {
			note(r.Check(ctx, ch.ID, "654321"))
		}
		c.add(time.Minute)
		note(r.Resend(ctx, ch.ID)) // escalated: a strong one
		note(r.Check(ctx, ch.ID, "BCDFGHJKMNPQRS"))
		note(r.Check(ctx, ch.ID, "654321"))
		c.add(10 * time.Minute)
		note(r.Check(ctx, ch.ID, "BCDFGHJKMNPQRS"))
		return answers, r.sent()
	}
	genuine, mails := play(true)
	require.Equal(t, 4, mails)
	decoy, mails := play(false)
	require.Zero(t, mails)
	require.Equal(t, genuine, decoy)
}

// Rule 9: even the code that was made for it does not pass a decoy.
func TestRule9_neverPassed(t *testing.T) {
	admit := false
	r := newRig(t, otp.Options{
		Generator: &fixedGenerator{otp.Digits(6), []string{"123456"}},
		Admit:     func(context.Context, otp.Address) (bool, error) { return admit, nil },
	})
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	_, err = r.Check(ctx, ch.ID, "123456")
	require.ErrorIs(t, err, otp.ErrCode)
	require.Equal(t, []otp.EventKind{otp.EventAsked, otp.EventDecoy, otp.EventWrong}, r.kinds())

	// An account made meanwhile: the next challenge is real.
	admit = true
	r.clock.add(10 * time.Minute)
	ch, err = r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	_, err = r.Check(ctx, ch.ID, r.last().Code)
	require.NoError(t, err)
}
