package otp_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// Races: many goroutines, and each also through two verifiers on one store.

// rounds is how often each race is run.
func rounds() int {
	if testing.Short() {
		return 50
	}
	return testkit.Rounds(250, 1000)
}

// pair returns two verifiers on one store; mails and events go to the first.
func pair(t *testing.T, opts otp.Options) (*rig, [2]*otp.Verifier) {
	r := newRig(t, opts)
	opts.Now, opts.Secrets = r.clock.Now, [][]byte{secret("A")}
	second, err := otp.NewVerifier(r.store, rigSender{r}, &opts)
	require.NoError(t, err)
	return r, [2]*otp.Verifier{r.Verifier, second}
}

// B1: 200 wrong guesses at once are told exactly the budget of verdicts.
func TestRace_wrongGuesses(t *testing.T) {
	r, vs := pair(t, otp.Options{Sends: wide})
	for range rounds() {
		ch, code := r.ask(otp.Request{To: bob})
		got := together(200, func(i int) error {
			_, err := vs[i%2].Check(ctx, ch.ID, testkit.WrongCode(code))
			return err
		})
		require.Equal(t, map[error]int{otp.ErrCode: 5, otp.ErrExhausted: 195}, got)
		require.NoError(t, r.Forget(ctx, bob))
		r.mails, r.events = nil, nil
	}
}

// Rule 2, B2: of 200 right guesses at once one is accepted, and nobody learns more.
func TestRace_rightGuesses(t *testing.T) {
	r, vs := pair(t, otp.Options{Sends: wide})
	for range rounds() {
		ch, code := r.ask(otp.Request{To: bob})
		got := together(200, func(i int) error {
			_, err := vs[i%2].Check(ctx, ch.ID, code)
			return err
		})
		require.Equal(t, map[error]int{nil: 1, otp.ErrUnknown: 199}, got)
		r.clock.Add(2 * time.Second)
		r.mails, r.events = nil, nil
	}
}

// B1: the right guess hidden among 200 is found only as often as five draws
// from 200 find it: about 2.5 % of the rounds, never twice in one.
func TestRace_rightAmongWrong(t *testing.T) {
	r, vs := pair(t, otp.Options{Sends: wide})
	n, hits := rounds(), 0
	for round := range n {
		ch, code := r.ask(otp.Request{To: bob})
		got := together(200, func(i int) error {
			guess := testkit.WrongCode(code)
			if i == round*7%200 { // everywhere among them: goroutines do not start in a fair order
				guess = code
			}
			_, err := vs[i%2].Check(ctx, ch.ID, guess)
			return err
		})
		require.LessOrEqual(t, got[nil], 1)
		require.LessOrEqual(t, got[otp.ErrCode], 5)
		hits += got[nil]
		require.NoError(t, r.Forget(ctx, bob))
		r.mails, r.events = nil, nil
	}
	t.Logf("%d hits in %d rounds", hits, n)
	require.Less(t, hits, n/4, "a right guess jumps the queue of guesses")
}

// B1, B3, B8: guesses at all challenges of an address in parallel are held to
// its budget, to the guess.
func TestRace_addressBudget(t *testing.T) {
	r, vs := pair(t, otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Millisecond}}})
	for range rounds() {
		ids, codes := r.askAll(3, otp.Request{To: bob}) // of 5, 3 and 2 guesses
		got := together(99, func(i int) error {
			_, err := vs[i%2].Check(ctx, ids[i%3], testkit.WrongCode(codes[i%3]))
			return err
		})
		require.Equal(t, map[error]int{otp.ErrCode: 10, otp.ErrExhausted: 89}, got)
		ch, _ := r.ask(otp.Request{To: bob})
		require.True(t, ch.Strong)
		require.NoError(t, r.Forget(ctx, bob))
		r.mails, r.events = nil, nil
	}
}

// C4: a hundred sends at once are one mail.
func TestRace_sends(t *testing.T) {
	r, vs := pair(t, otp.Options{})
	for range rounds() / 5 {
		var limited atomic.Int64
		got := together(100, func(i int) error {
			_, err := vs[i%2].Send(ctx, otp.Request{To: bob})
			if errors.Is(err, otp.ErrLimited) {
				limited.Add(1)
				return otp.ErrLimited
			}
			return err
		})
		require.Equal(t, map[error]int{nil: 1, otp.ErrLimited: 99}, got)
		require.Equal(t, 1, r.sent())
		require.NoError(t, r.Forget(ctx, bob))
		r.mails, r.events = nil, nil
	}
}

// B10: 64 attackers who write all the time never make an honest answer fail
// for lost races.
func TestRace_honestAnswer(t *testing.T) {
	for range rounds() / 5 {
		r, vs := pair(t, otp.Options{ClientStarts: []otp.Limit{{N: 100, Per: time.Hour}}, Guesses: 10})
		device := r.device(bob)
		theirs, theirCode := r.ask(otp.Request{To: bob, Device: device})
		r.clock.Add(time.Minute)
		mine, mineCode := r.ask(otp.Request{To: bob})
		r.clock.Add(time.Minute)
		got := together(66, func(i int) error {
			v := vs[i%2]
			switch {
			case i == 64:
				_, err := v.Check(ctx, mine.ID, mineCode)
				return err
			case i == 65:
				_, err := v.Status(ctx, mine.ID)
				if errors.Is(err, otp.ErrUnknown) {
					err = nil // checked already
				}
				return err
			case i%3 == 0:
				v.Send(ctx, otp.Request{To: "bob+spam@example.com", Client: "c"})
			case i%3 == 1:
				v.Check(ctx, theirs.ID, testkit.WrongCode(theirCode))
			default:
				v.Resend(ctx, theirs.ID)
			}
			return otp.ErrSend // an attacker; what they get does not matter
		})
		require.Equal(t, map[error]int{nil: 2, otp.ErrSend: 64}, got)
	}
}
