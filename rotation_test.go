package otp_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// A8: three rotations in a row, each rolled out while old and new verifiers
// serve one store, leave the budget of an address exact to the guess, and every
// code and device token good.
func TestRotation_threeInARow(t *testing.T) {
	c := newClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	first := secret("0")
	node := func(names ...string) *rig {
		var secrets [][]byte
		for _, name := range names {
			secrets = append(secrets, secret(name))
		}
		return newRigOn(t, otp.Options{Secrets: secrets, IndexSecret: first, Sends: wide, Guesses: 1}, c, store)
	}
	// Each pair serves at the same time: the last step's nodes and the next one's.
	steps := [][]string{{"0"}, {"0", "1"}, {"1", "0"}, {"1", "0", "2"}, {"2", "1"}, {"2", "1", "3"}, {"3", "2"}, {"3"}}
	nodes := make([]*rig, len(steps))
	for i, names := range steps {
		nodes[i] = node(names...)
	}
	device := nodes[0].device(bob)
	told := 0
	for i := range nodes[1:] {
		old, fresh := nodes[i], nodes[i+1]
		for _, pair := range [][2]*rig{{old, fresh}, {fresh, old}} {
			ch, code := pair[0].ask(otp.Request{To: bob})
			if !ch.Strong {
				if _, err := pair[1].Check(ctx, ch.ID, wrong(code)); errors.Is(err, otp.ErrCode) {
					told++
				}
			}
			ch, code = pair[0].ask(otp.Request{To: bob, Device: device})
			require.False(t, ch.Strong, "the lane of the known is not touched")
			_, err := pair[1].Check(ctx, ch.ID, code)
			require.NoError(t, err, "step %d", i)
			c.add(2 * time.Second)
		}
	}
	require.Equal(t, 10, told)
	ch, _ := nodes[len(nodes)-1].ask(otp.Request{To: bob})
	require.True(t, ch.Strong)
}

// Verifiers with different Options on one store do not prune each other's
// counts: each holds to its own limits over all that happened.
func TestDifferentOptions(t *testing.T) {
	c := newClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	usual := newRigOn(t, otp.Options{}, c, store)
	short := newRigOn(t, otp.Options{ // forgets nothing, though its windows are short
		Sends:        []otp.Limit{{N: 100, Per: time.Second}},
		WrongGuesses: []otp.Limit{{N: 100, Per: time.Second}},
		ClientStarts: []otp.Limit{{N: 100, Per: time.Second}},
		Guesses:      10,
	}, c, store)
	for range 2 {
		ch, code := short.ask(otp.Request{To: bob, Client: "c"})
		require.Equal(t, 10, ch.GuessesLeft)
		for range 5 {
			_, err := usual.Check(ctx, ch.ID, wrong(code)) // the challenge's own ten
			require.ErrorIs(t, err, otp.ErrCode)
		}
		c.add(2 * time.Minute)
	}
	ch, code := short.ask(otp.Request{To: bob, Client: "c"})
	require.False(t, ch.Strong)
	_, err := usual.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrEscalated, "ten wrong guesses by its count")
	_, err = short.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	for range 8 {
		short.ask(otp.Request{To: bob, Client: "c"})
		c.add(2 * time.Second)
	}
	_, err = usual.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited)
	c.add(23*time.Hour + 50*time.Minute)
	for range 2 { // what it writes keeps the others' events
		short.ask(otp.Request{To: bob})
		c.add(time.Second)
	}
	ch, err = usual.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited, "eleven in the day")
	require.Zero(t, ch)
	c.add(25 * time.Hour)
	ch, _ = usual.ask(otp.Request{To: bob})
	require.False(t, ch.Strong, "the ten are out of the day")
}

// A6: how long a guess takes does not tell how much of it is right. Printed,
// not asserted: machines are noisy.
func TestTiming(t *testing.T) {
	c := newClock()
	r := newRigOn(t, otp.Options{
		Sends: wide, Guesses: 10, WrongGuesses: []otp.Limit{{N: 100, Per: time.Second}},
		Generator: &fixedGenerator{otp.Digits(6), []string{"555555"}}, Observer: discard{},
	}, c, otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now}))
	guesses := []string{"000000", "500000", "555000", "555550"}
	spent := make([]time.Duration, len(guesses))
	n := 2000
	if testing.Short() {
		n = 50
	}
	for range n {
		ch, _ := r.ask(otp.Request{To: bob})
		for i, guess := range guesses {
			start := time.Now()
			_, err := r.Check(ctx, ch.ID, guess)
			spent[i] += time.Since(start)
			require.ErrorIs(t, err, otp.ErrCode)
		}
		c.add(11 * time.Minute)
		r.mails = nil
	}
	for i, guess := range guesses {
		t.Log(guess, fmt.Sprintf("%.3f of the first", float64(spent[i])/float64(spent[0])))
	}
}

// discard is an Observer that looks away.
type discard struct{}

func (discard) Observe(context.Context, otp.Event) {}
