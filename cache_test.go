package otp_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// counted is two verifiers on one store that counts its calls, as two processes.
func counted(t *testing.T, opts otp.Options) (here, there *rig, did func(loads, swaps int)) {
	c := testkit.NewClock()
	store := &countingStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})}
	here, there = newRigOn(t, opts, c, store), newRigOn(t, opts, c, store)
	return here, there, func(loads, swaps int) {
		t.Helper()
		require.Equal(t, [2]int{loads, swaps}, store.calls())
		store.loads, store.swaps = 0, 0
	}
}

// DESIGN's round trips: the process that sent a code checks it in one.
func TestRoundTrips(t *testing.T) {
	here, there, did := counted(t, otp.Options{Sends: wide, Guesses: 3})
	ch, code := here.ask(otp.Request{To: bob})
	did(1, 1)
	again, _ := here.ask(otp.Request{To: bob})
	did(1, 1) // a known address takes as many
	_, err := here.Send(ctx, otp.Request{To: bob, Client: "192.0.2.1"})
	require.NoError(t, err)
	did(2, 2)

	_, err = here.Check(ctx, ch.ID, testkit.WrongCode(code))
	require.ErrorIs(t, err, otp.ErrCode)
	did(0, 1)
	_, err = here.Resend(ctx, ch.ID)
	require.NoError(t, err)
	did(0, 1)
	_, err = here.Status(ctx, ch.ID)
	require.NoError(t, err)
	did(1, 0)
	_, err = here.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	did(0, 1)

	_, err = there.Check(ctx, again.ID, "000000")
	require.ErrorIs(t, err, otp.ErrCode)
	did(1, 1)
	_, err = there.Check(ctx, again.ID, "000000")
	require.ErrorIs(t, err, otp.ErrCode)
	did(0, 1)
	_, err = here.Check(ctx, again.ID, "000000")
	require.ErrorIs(t, err, otp.ErrCode)
	did(1, 2) // what it remembered was out of date
	for i, r := range []*rig{here, there, here, there} {
		_, err = r.Check(ctx, again.ID, "000000")
		require.ErrorIs(t, err, otp.ErrExhausted)
		did(1, []int{0, 1, 0, 0}[i]) // there, the last guess was still open at first
	}

	// Another process sent in between, and a mail that fails is settled in one.
	_, _ = there.ask(otp.Request{To: bob})
	did(1, 1)
	here.fail = func(otp.Message) error { return refusedForNow }
	_, err = here.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	did(1, 2)

	// What is erased is not remembered either.
	here.fail = nil
	ch, code = here.ask(otp.Request{To: bob})
	require.NoError(t, here.Forget(ctx, bob))
	did(2, 2)
	_, err = here.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown)
	did(1, 0)
}

// Rule 10: no refusal rests on memory alone, whatever another process did.
func TestRecent_refusalsAreConfirmed(t *testing.T) {
	spent := otp.Options{Sends: wide, Guesses: 1, WrongGuesses: []otp.Limit{{N: 1, Per: time.Hour}}}
	for name, tc := range map[string]struct {
		meanwhile func(there *rig, ch otp.Challenge)
		want      error
	}{
		"nothing":   {func(*rig, otp.Challenge) {}, otp.ErrExhausted},
		"forgotten": {func(r *rig, _ otp.Challenge) { require.NoError(t, r.Forget(ctx, bob)) }, otp.ErrUnknown},
		"asked again": {func(r *rig, _ otp.Challenge) {
			require.NoError(t, r.Forget(ctx, bob))
			r.ask(otp.Request{To: bob})
		}, otp.ErrUnknown},
	} {
		here, there, _ := counted(t, spent)
		ch, code := here.ask(otp.Request{To: bob})
		_, err := here.Check(ctx, ch.ID, testkit.WrongCode(code))
		require.ErrorIs(t, err, otp.ErrCode)
		tc.meanwhile(there, ch)
		_, err = here.Check(ctx, ch.ID, code)
		require.ErrorIs(t, err, tc.want, name)
	}
}

// B3, B5: what another process did counts, though this one remembers otherwise.
func TestRecent_outOfDate(t *testing.T) {
	here, there, _ := counted(t, otp.Options{Sends: wide})
	ch, code := here.ask(otp.Request{To: bob})
	for left := 4; left > 0; left -= 2 { // turn by turn
		got, err := there.Check(ctx, ch.ID, testkit.WrongCode(code))
		require.ErrorIs(t, err, otp.ErrCode)
		require.Equal(t, left, got.GuessesLeft)
		got, err = here.Check(ctx, ch.ID, testkit.WrongCode(code))
		require.ErrorIs(t, err, otp.ErrCode)
		require.Equal(t, left-1, got.GuessesLeft)
	}
	_, err := there.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	_, err = here.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown, "used")

	ch, code = here.ask(otp.Request{To: bob})
	require.NoError(t, there.Forget(ctx, bob))
	_, err = here.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown, "forgotten")

	ch, code = here.ask(otp.Request{To: bob})
	here.clock.Add(25 * time.Hour)
	_, err = here.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown, "gone from the store")

	// A store that answers no more gets no verdict out of what is remembered.
	ch, code = here.ask(otp.Request{To: bob})
	here.store.(*countingStore).Store = downStore{}
	for _, guess := range []string{code, testkit.WrongCode(code), "BCDFGHJKMNPQRS"} {
		got, err := here.Check(ctx, ch.ID, guess)
		require.ErrorIs(t, err, errDown)
		require.Zero(t, got)
	}
}

type downStore struct{}

func (downStore) Load(context.Context, string) ([]byte, error) { return nil, errDown }

func (downStore) CompareAndSwap(context.Context, string, []byte, []byte, time.Duration) (bool, error) {
	return false, errDown
}

// A11: what is remembered is bounded and lost at will.
func TestRecent_bounded(t *testing.T) {
	here, _, did := counted(t, otp.Options{})
	type asked struct{ id, code string }
	var all []asked
	for i := range 10_000 { // some 3.5 MB of ledgers
		ch, code := here.ask(otp.Request{To: fmt.Sprintf("somebody%d@example.com", i)})
		all = append(all, asked{ch.ID, code})
	}
	did(10_000, 10_000)
	for i, a := range slices.Backward(all) {
		_, err := here.Check(ctx, a.id, a.code)
		require.NoError(t, err)
		if i == len(all)-1000 {
			did(0, 1000) // the newest are remembered
		}
	}
	require.Greater(t, here.store.(*countingStore).loads, 4000, "the oldest are not")
}
