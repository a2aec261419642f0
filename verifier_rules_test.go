package otp_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpevent"
)

// Each test holds one rule of how guesses, sends and time are counted, as
// seen from outside.

// Rule 1, B6: what is no guess is not counted, and spellings of one guess are one.
func TestRule1_countedBeforeTold(t *testing.T) {
	r := newRig(t, otp.Options{})
	ch, code := r.ask(otp.Request{To: bob})
	for _, input := range []string{"", "12345", "1234567", "Your code is " + code, "BCDF GHJK MNPQ RS"} {
		got, err := r.Check(ctx, ch.ID, input)
		require.ErrorIs(t, err, otp.ErrMalformed, "%q", input)
		require.Equal(t, ch, got)
	}
	long, err := r.Check(ctx, ch.ID, strings.Repeat(" ", 59)+code)
	require.ErrorIs(t, err, otp.ErrMalformed)
	require.Zero(t, long, "decided without the store")
	_, err = r.For("pay").Check(ctx, ch.ID, testkit.WrongCode(code)) // other purpose
	require.ErrorIs(t, err, otp.ErrUnknown)
	got, err := r.Status(ctx, ch.ID)
	require.NoError(t, err)
	require.Equal(t, 5, got.GuessesLeft)

	bad := testkit.WrongCode(code)
	for left := 4; left >= 0; left-- {
		got, err = r.Check(ctx, ch.ID, bad)
		require.ErrorIs(t, err, otp.ErrCode)
		require.Equal(t, left, got.GuessesLeft)
	}
	for _, input := range []string{bad, code, code[:3] + " " + code[3:], code + " ", code + "\n"} {
		got, err = r.Check(ctx, ch.ID, input)
		require.ErrorIs(t, err, otp.ErrExhausted)
		require.Equal(t, "b***@example.com", got.Masked)
	}
	_, err = r.Status(ctx, ch.ID)
	require.ErrorIs(t, err, otp.ErrExhausted)
	require.True(t, otp.NeedsResend(err))
}

// Rule 3, B3: neither resending nor a new challenge or expiry resets the count of
// wrong guesses.
func TestRule3_nothingResetsTheCount(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	ch, code := r.ask(otp.Request{To: bob})
	for range 4 {
		_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
		require.ErrorIs(t, err, otp.ErrCode)
	}
	again, err := r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.Equal(t, 1, again.GuessesLeft)
	_, err = r.Check(ctx, ch.ID, testkit.WrongCode(code))
	require.ErrorIs(t, err, otp.ErrCode)
	_, err = r.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrExhausted)

	// Another purpose, other spellings (B8) and expired challenges: five more wrong
	// guesses and the lane is spent.
	pay := r.For("pay:1")
	for _, to := range []string{"BOB@example.com", "bob+a@example.com", "bob+b@EXAMPLE.com", "bOb@example.com", bob} {
		ch, err = pay.Send(ctx, otp.Request{To: to})
		require.NoError(t, err)
		if ch.Strong { // with one left, as two are the least
			r.clock.Add(11 * time.Minute)
			continue
		}
		_, err = pay.Check(ctx, ch.ID, testkit.WrongCode(r.last().Code))
		require.ErrorIs(t, err, otp.ErrCode)
		r.clock.Add(11 * time.Minute) // it expires
	}
	ch, code = r.ask(otp.Request{To: bob})
	require.True(t, ch.Strong)
	require.Regexp(t, `^[0-9B-DF-HJ-NP-TV-Z]{14}$`, code)
}

// burn opens challenges and guesses at them until only strong codes are mailed;
// it returns how many guesses were answered.
func (r *rig) burn() (answered int) {
	for {
		ch, code := r.ask(otp.Request{To: bob})
		if ch.Strong {
			return answered
		}
		for {
			_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
			if !errors.Is(err, otp.ErrCode) {
				break
			}
			answered++
		}
		r.clock.Add(time.Second)
	}
}

// Rule 3, R3': only time frees wrong guesses: a day and a minute, and thirty days
// and a minute for the thirty.
func TestRule3_windows(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide, Guesses: 10})
	const day = 24 * time.Hour
	start := r.clock.Now()
	require.Equal(t, 10, r.burn())
	r.clock.Add(day + time.Minute - r.clock.Now().Sub(start) - time.Millisecond)
	require.Zero(t, r.burn())
	r.clock.Add(3 * time.Second)
	require.Equal(t, 10, r.burn())
	r.clock.Add(day + time.Minute)
	require.Equal(t, 10, r.burn())
	r.clock.Add(day + time.Minute)
	require.Zero(t, r.burn(), "30 in 30 days are spent")
	r.clock.Add(30*day + time.Minute - r.clock.Now().Sub(start) - time.Millisecond)
	require.Zero(t, r.burn())
	r.clock.Add(time.Minute)
	require.Equal(t, 10, r.burn(), "the first ten are out of the window")
}

// R3', 3 to 5: a short challenge reserves its guesses when it is opened.
func TestRule3_reservation(t *testing.T) {
	guesses := func(r *rig, v *otp.Verifier, n int) (got []int) {
		for range n {
			ch, err := v.Send(ctx, otp.Request{To: bob})
			require.NoError(t, err)
			if ch.Strong {
				got = append(got, -ch.GuessesLeft)
			} else {
				got = append(got, ch.GuessesLeft)
			}
			r.clock.Add(time.Millisecond)
		}
		return got
	}
	fast := []otp.Limit{{N: 100, Per: time.Millisecond}}
	r := newRig(t, otp.Options{Sends: fast})
	require.Equal(t, []int{5, 3, 2, -5, -5}, guesses(r, r.Verifier, 5))

	r = newRig(t, otp.Options{Sends: fast, Guesses: 1})
	require.Equal(t, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1}, guesses(r, r.Verifier, 11))

	r = newRig(t, otp.Options{Sends: fast, Purposes: map[string]otp.PurposeOptions{"prove": {TTL: 24 * time.Hour}}})
	require.Equal(t, []int{3, 2, -5}, guesses(r, r.For("prove:x"), 3))
	require.Equal(t, []int{3}, guesses(r, r.Verifier, 1), "beside them")

	r = newRig(t, otp.Options{Sends: fast, WrongGuesses: []otp.Limit{{N: 1, Per: time.Hour}}})
	ch, code := r.ask(otp.Request{To: bob})
	require.Equal(t, 1, ch.GuessesLeft)
	_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
	require.ErrorIs(t, err, otp.ErrCode)
	r.clock.Add(time.Hour + time.Minute - time.Millisecond)
	require.Equal(t, []int{-5}, guesses(r, r.Verifier, 1))
	require.Equal(t, []int{1}, guesses(r, r.Verifier, 1))
}

// R3', 7: passing, exhausting and a minute after the deadline each end a hold.
func TestRule3_holdsEnd(t *testing.T) {
	fast := []otp.Limit{{N: 100, Per: time.Millisecond}}
	wrong := []otp.Limit{{N: 5, Per: time.Hour}}
	r := newRig(t, otp.Options{Sends: fast, WrongGuesses: wrong})
	left := func() int {
		ch, code := r.ask(otp.Request{To: bob})
		require.False(t, ch.Strong)
		_, err := r.Check(ctx, ch.ID, code) // passed: holds nothing any more
		require.NoError(t, err)
		r.clock.Add(time.Millisecond)
		return ch.GuessesLeft
	}
	require.Equal(t, 3, left())
	require.Equal(t, 3, left())
	ch, _ := r.ask(otp.Request{To: bob})
	require.Equal(t, 3, ch.GuessesLeft)
	require.Equal(t, 2, left(), "two are free")
	r.clock.Set(ch.ExpiresAt.Add(time.Minute - time.Millisecond))
	require.Equal(t, 2, left())
	require.Equal(t, 3, left())
	ch, code := r.ask(otp.Request{To: bob})
	for range ch.GuessesLeft {
		_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
		require.ErrorIs(t, err, otp.ErrCode)
	}
	require.Equal(t, 2, left(), "three were made, none is held")
}

// R3', 6, B10, J1, J2: whatever others guess, a live code keeps its own guesses,
// and nobody sees that they guess.
func TestRule3_nobodyElseEndsACode(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Millisecond}}})
	known := r.device(bob)
	attackers, codes := r.askAll(1, otp.Request{To: bob})
	owner, ownerCode := r.ask(otp.Request{To: bob})
	r.clock.Add(time.Millisecond)
	more, moreCodes := r.askAll(1, otp.Request{To: bob})
	mine, mineCode := r.ask(otp.Request{To: bob, Device: known})
	require.Equal(t, 5, mine.GuessesLeft, "known devices have guesses of their own")
	before, err := r.Status(ctx, owner.ID)
	require.NoError(t, err)
	for i, id := range append(attackers, more...) {
		code := append(codes, moreCodes...)[i]
		for answered := 0; ; answered++ {
			_, err := r.Check(ctx, id, testkit.WrongCode(code))
			if errors.Is(err, otp.ErrExhausted) {
				require.Equal(t, []int{5, 2}[i], answered)
				break
			}
			require.ErrorIs(t, err, otp.ErrCode)
		}
	}
	after, err := r.Status(ctx, owner.ID)
	require.NoError(t, err)
	require.Equal(t, before, after)
	strong, strongCode := r.ask(otp.Request{To: bob})
	require.True(t, strong.Strong, "the next one is strong")

	_, err = r.Check(ctx, owner.ID, ownerCode)
	require.NoError(t, err)
	_, err = r.Check(ctx, mine.ID, mineCode)
	require.NoError(t, err)
	for range 4 { // its own guesses, which the address does not count
		_, err = r.Check(ctx, strong.ID, testkit.WrongCode(strongCode))
		require.ErrorIs(t, err, otp.ErrCode)
	}
	_, err = r.Check(ctx, strong.ID, "123456")
	require.ErrorIs(t, err, otp.ErrMalformed)
	_, err = r.Check(ctx, strong.ID, strings.ToLower(strongCode[:4]+"-"+strongCode[4:]))
	require.NoError(t, err)
}

// R22: the right code forgives the typos before it, and no other guess.
func TestRule22_typos(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Millisecond}}})
	attacker, attackerCode := r.ask(otp.Request{To: bob})
	owner, code := r.ask(otp.Request{To: bob})
	for range 2 {
		_, err := r.Check(ctx, owner.ID, testkit.WrongCode(code))
		require.ErrorIs(t, err, otp.ErrCode)
		_, err = r.Check(ctx, attacker.ID, testkit.WrongCode(attackerCode))
		require.ErrorIs(t, err, otp.ErrCode)
		r.clock.Add(time.Second)
	}
	_, err := r.Check(ctx, owner.ID, code)
	require.NoError(t, err)
	r.clock.Add(time.Hour)
	require.Equal(t, 8, r.burn(), "the attacker's two stay counted")
}

// Rule 4: wrong guesses at strong codes do not count against the address.
func TestRule4_strongDoesNotCount(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide, WrongGuesses: []otp.Limit{{N: 1, Per: time.Hour}}})
	ch, code := r.ask(otp.Request{To: bob})
	_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
	require.ErrorIs(t, err, otp.ErrCode)
	r.clock.Add(59 * time.Minute)
	ch, code = r.ask(otp.Request{To: bob})
	require.True(t, ch.Strong)
	for range 5 {
		_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
		require.ErrorIs(t, err, otp.ErrCode)
	}
	_, err = r.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrExhausted)
	r.clock.Add(2 * time.Minute)
	ch, _ = r.ask(otp.Request{To: bob})
	require.False(t, ch.Strong, "only the short guess counted")
}

// Rule 5: a live challenge is mailed again as it is.
func TestRule5_resendSameCode(t *testing.T) {
	r := newRig(t, otp.Options{})
	ch, code := r.ask(otp.Request{To: bob, Locale: "de", Vars: map[string]string{"a": "b"}})
	first := r.last()
	_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
	require.ErrorIs(t, err, otp.ErrCode)

	got, err := r.Resend(ctx, ch.ID)
	var limit *otp.LimitError
	require.ErrorAs(t, err, &limit)
	require.ErrorIs(t, err, otp.ErrLimited)
	require.Equal(t, otp.LimitError{RetryAfter: time.Minute, Scope: "address"}, *limit)
	require.Equal(t, ch.ID, got.ID, "the challenge stands")
	r.clock.Add(time.Minute)
	got, err = r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.Equal(t, ch.ID, got.ID)
	require.Equal(t, ch.ExpiresAt, got.ExpiresAt)
	require.Equal(t, ch.SentAt, got.SentAt)
	require.Equal(t, ch.Reference, got.Reference)
	require.Equal(t, 4, got.GuessesLeft)
	require.True(t, got.ResendAt.Equal(r.clock.Now().Add(time.Minute)))
	second := r.last()
	require.Equal(t, code, second.Code)
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, 9, second.Minutes(), "the mail says what is left")
	require.Equal(t, "de", second.Locale)
	require.Equal(t, first.Vars, second.Vars)

	r.clock.Add(4 * time.Minute) // half of its life is left: still the same
	got, err = r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.Equal(t, ch.ID, got.ID)
	_, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
}

// R5', 11: with less than half of its life left, or expired, a new one is opened;
// the old one still works while it lives. An hour after the deadline it is gone.
func TestRule5_resendNewCode(t *testing.T) {
	for name, after := range map[string]time.Duration{
		"half of its life less a moment": 5*time.Minute + time.Millisecond,
		"a second left":                  10*time.Minute - time.Second,
		"expired":                        10 * time.Minute,
		"long expired":                   70*time.Minute - time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, otp.Options{Sends: wide})
			v := r.For("pay:1")
			ch, err := v.Send(ctx, otp.Request{To: "bob+x@example.com", Locale: "de", Vars: map[string]string{"a": "b"}})
			require.NoError(t, err)
			code := r.last().Code
			_, err = v.Check(ctx, ch.ID, testkit.WrongCode(code))
			require.ErrorIs(t, err, otp.ErrCode)
			r.clock.Add(after)
			got, err := v.Resend(ctx, ch.ID)
			require.NoError(t, err)
			require.NotEqual(t, ch.ID, got.ID)
			require.Positive(t, got.GuessesLeft)
			require.True(t, got.ExpiresAt.Equal(r.clock.Now().Add(10*time.Minute)))
			m := r.last()
			require.Equal(t, "bob+x@example.com", m.To.String())
			require.Equal(t, "pay:1", m.Purpose)
			require.Equal(t, "de", m.Locale)
			require.Equal(t, map[string]string{"a": "b"}, m.Vars)
			if after < 10*time.Minute {
				_, err = v.Check(ctx, ch.ID, code)
				require.NoError(t, err, "the old code lives on")
			} else {
				_, err = v.Check(ctx, ch.ID, code)
				require.ErrorIs(t, err, otp.ErrExpired)
			}
			_, err = v.Check(ctx, got.ID, m.Code)
			require.NoError(t, err)
		})
	}
	r := newRig(t, otp.Options{})
	ch, code := r.ask(otp.Request{To: bob})
	r.clock.Add(70 * time.Minute)
	_, err := r.Resend(ctx, ch.ID)
	require.ErrorIs(t, err, otp.ErrUnknown)
	_, err = r.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown)
}

// Of a challenge without renewal, Resend mails the same code or none, and what it
// refuses changes nothing.
func TestRule5_noRenewal(t *testing.T) {
	for name, test := range map[string]struct {
		after time.Duration
		wrong int
		want  error
	}{
		"half of its life":                {5 * time.Minute, 1, nil},
		"half of its life less 1 ms":      {5*time.Minute + time.Millisecond, 1, otp.ErrExpired},
		"expired":                         {10 * time.Minute, 0, otp.ErrExpired},
		"gone":                            {70 * time.Minute, 0, otp.ErrUnknown},
		"no guess left":                   {5 * time.Minute, 5, otp.ErrExhausted},
		"no guess left, and too late":     {6 * time.Minute, 5, otp.ErrExhausted},
		"no guess was left when it ended": {10 * time.Minute, 5, otp.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, otp.Options{})
			ch, code := r.ask(otp.Request{To: bob, NoRenewal: true})
			require.True(t, ch.ResendUntil.Equal(ch.SentAt.Add(5*time.Minute)))
			for range test.wrong {
				_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
				require.ErrorIs(t, err, otp.ErrCode)
			}
			r.clock.Add(test.after)
			sent := len(r.mails)
			got, err := r.Resend(ctx, ch.ID)
			require.ErrorIs(t, err, test.want)
			if test.want != nil {
				want, status := r.Status(ctx, ch.ID)
				require.Equal(t, want, got)
				if status != nil {
					require.ErrorIs(t, err, status)
				}
				require.Len(t, r.mails, sent)
			} else {
				require.Equal(t, ch.ID, got.ID)
				require.Equal(t, code, r.last().Code)
			}
			if test.wrong < 5 && test.after < 10*time.Minute {
				_, err = r.Check(ctx, ch.ID, code)
				require.NoError(t, err, "the code still works")
			}
		})
	}

	r := newRig(t, otp.Options{}) // a challenge with renewal is not one without
	ch, _ := r.ask(otp.Request{To: bob})
	require.True(t, ch.ResendUntil.Equal(ch.ExpiresAt.Add(time.Hour-time.Millisecond)))
	r.clock.Add(time.Minute)
	got, _ := r.ask(otp.Request{To: bob, NoRenewal: true, Held: []string{ch.ID}})
	require.NotEqual(t, ch.ID, got.ID)
	r.clock.Add(time.Minute)
	again, _ := r.ask(otp.Request{To: bob, NoRenewal: true, Held: []string{ch.ID, got.ID}})
	require.Equal(t, got.ID, again.ID)
}

// Rule 5: a new challenge by resend charges the client and asks Admit again;
// mailing the same one does neither.
func TestRule5_resendRemembersClientAndLane(t *testing.T) {
	admitted := 0
	admit := true
	r := newRig(t, otp.Options{
		Sends: wide, ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}},
		Admit: func(_ context.Context, to otp.Address) (bool, error) {
			require.Equal(t, bob, to.String())
			admitted++
			return admit, nil
		},
	})
	device := r.device(bob)
	admitted = 0
	ch, _ := r.ask(otp.Request{To: bob, Client: "192.0.2.1"})
	r.clock.Add(2 * time.Second)
	_, err := r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.Equal(t, 1, admitted)
	r.clock.Add(10 * time.Minute)
	ch, err = r.Resend(ctx, ch.ID) // the second start
	require.NoError(t, err)
	require.Equal(t, 2, admitted)
	r.clock.Add(10 * time.Minute)
	_, err = r.Resend(ctx, ch.ID)
	require.ErrorIs(t, err, otp.ErrLimited)
	require.Equal(t, 2, admitted)
	_, err = r.Send(ctx, otp.Request{To: "carol@example.com", Client: "192.0.2.1"})
	require.ErrorIs(t, err, otp.ErrLimited)

	known, _ := r.ask(otp.Request{To: bob, Client: "192.0.2.1", Device: device}) // draws no start
	r.clock.Add(10 * time.Minute)
	known, err = r.Resend(ctx, known.ID)
	require.NoError(t, err, "the lane is remembered")
	admit = false
	sent := r.sent()
	r.clock.Add(10 * time.Minute)
	_, err = r.Resend(ctx, known.ID)
	require.NoError(t, err)
	require.Equal(t, sent, r.sent(), "Admit said no: a decoy")
}

// Rule 5: a challenge that is passed while its resend is under way is not renewed.
func TestRule5_passedMeanwhile(t *testing.T) {
	var pass func()
	r := newRig(t, otp.Options{Admit: func(context.Context, otp.Address) (bool, error) {
		if pass != nil {
			pass()
		}
		return true, nil
	}})
	ch, code := r.ask(otp.Request{To: bob})
	r.clock.Add(6 * time.Minute)
	pass = func() {
		_, err := r.Check(ctx, ch.ID, code)
		require.NoError(t, err)
	}
	got, err := r.Resend(ctx, ch.ID)
	require.ErrorIs(t, err, otp.ErrUnknown)
	require.Zero(t, got)
	require.Equal(t, 1, r.sent())
}

// Rule 6: a stranger's Send never cancels the owner's challenge.
func TestRule6_independent(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	ids, codes := r.askAll(3, otp.Request{To: bob})
	for _, i := range []int{1, 0, 2} {
		_, err := r.Check(ctx, ids[i], codes[i])
		require.NoError(t, err)
	}
}

// Rule 8, B11: expiry is the verifier's, at the deadline, by purpose.
func TestRule8_expiry(t *testing.T) {
	c := testkit.NewClock()
	store := otp.NewMemoryStore(nil) // real time: its own expiry never comes
	r := newRigOn(t, otp.Options{Sends: wide, Purposes: map[string]otp.PurposeOptions{"prove": {TTL: 24 * time.Hour}}}, c, store)
	for _, tt := range []struct {
		v   *otp.Verifier
		ttl time.Duration
	}{{r.Verifier, 10 * time.Minute}, {r.For("prove:x"), 24 * time.Hour}} {
		for _, late := range []bool{false, true} {
			ch, err := tt.v.Send(ctx, otp.Request{To: bob})
			require.NoError(t, err)
			require.Equal(t, int(tt.ttl/time.Minute), r.last().Minutes())
			c.Add(tt.ttl - time.Millisecond)
			if late {
				c.Add(time.Millisecond)
			}
			got, err := tt.v.Check(ctx, ch.ID, r.last().Code)
			if late {
				require.ErrorIs(t, err, otp.ErrExpired)
				require.Equal(t, ch.ID, got.ID)
				_, err = tt.v.Status(ctx, ch.ID)
				require.ErrorIs(t, err, otp.ErrExpired)
			} else {
				require.NoError(t, err)
			}
		}
	}
}

// Rule 8, B12: a clock that is behind the one that sent verifies nothing.
func TestRule8_clockBack(t *testing.T) {
	r := newRig(t, otp.Options{})
	ch, code := r.ask(otp.Request{To: bob})
	r.clock.Add(-time.Minute - time.Millisecond)
	r.kinds()
	for _, call := range []func() (otp.Challenge, error){
		func() (otp.Challenge, error) { return r.Check(ctx, ch.ID, code) },
		func() (otp.Challenge, error) { return r.Status(ctx, ch.ID) },
		func() (otp.Challenge, error) { return r.Resend(ctx, ch.ID) },
	} {
		got, err := call()
		require.Error(t, err)
		require.Zero(t, got)
		for _, sentinel := range []error{otp.ErrUnknown, otp.ErrExpired, otp.ErrCode, otp.ErrLimited} {
			require.NotErrorIs(t, err, sentinel)
		}
		require.Contains(t, r.kinds(), otpevent.ClockBack)
	}
	r.clock.Add(time.Millisecond) // a minute is allowed
	_, err := r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
}

// Rule 8: an event of the future counts as now, once, even where the answer
// is a refusal.
func TestRule8_clockRepair(t *testing.T) {
	c := testkit.NewClock()
	store := &countingStore{Store: otp.NewMemoryStore(nil)}
	r := newRigOn(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Second}}, WrongGuesses: []otp.Limit{{N: 3, Per: time.Hour}}}, c, store)
	here, hereCode := r.ask(otp.Request{To: bob})
	c.Add(4 * time.Minute) // a node that is ahead
	ahead, err := r.Resend(ctx, here.ID)
	require.NoError(t, err)
	require.True(t, ahead.ResendAt.Equal(c.Now().Add(time.Second)))
	_, err = r.Check(ctx, here.ID, testkit.WrongCode(hereCode))
	require.ErrorIs(t, err, otp.ErrCode)
	c.Add(-4*time.Minute + time.Second)

	before := store.calls()
	got, err := r.Status(ctx, here.ID)
	require.NoError(t, err)
	require.True(t, got.ResendAt.Equal(c.Now().Add(time.Second)), "the send of the future counts as one of now")
	require.Equal(t, [2]int{before[0] + 1, before[1]}, store.calls(), "Status writes nothing")
	before = store.calls()
	_, err = r.Resend(ctx, here.ID)
	require.ErrorIs(t, err, otp.ErrLimited)
	require.Equal(t, [2]int{before[0], before[1] + 1}, store.calls(), "the repair is written")
	_, err = r.Resend(ctx, here.ID)
	require.ErrorIs(t, err, otp.ErrLimited)
	require.Equal(t, [2]int{before[0] + 1, before[1] + 1}, store.calls(), "once")
	c.Add(time.Hour + time.Minute)
	ch, _ := r.ask(otp.Request{To: bob})
	require.Equal(t, 2, ch.GuessesLeft, "the guess was counted as of the repair")
}

// Rule 8: a node a month ahead leaves nothing behind that stays for a month.
func TestRule8_monthAhead(t *testing.T) {
	r := newRig(t, otp.Options{})
	r.clock.Add(30 * 24 * time.Hour)
	ahead, _ := r.ask(otp.Request{To: bob, Client: "c"})
	r.clock.Add(-30 * 24 * time.Hour)
	_, err := r.Send(ctx, otp.Request{To: bob, Client: "c"})
	var limit *otp.LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, time.Minute, limit.RetryAfter)
	r.clock.Add(time.Minute)
	ch, code := r.ask(otp.Request{To: bob, Client: "c"})
	_, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	_, err = r.Check(ctx, ahead.ID, code)
	require.Error(t, err)
}

// Rule 13: at most twelve live challenges a lane, none of which is dropped.
func TestRule13_liveChallenges(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Millisecond}}, WrongGuesses: []otp.Limit{{N: 100, Per: time.Hour}}})
	device := r.device(bob)
	start := r.clock.Now()
	ids, codes := r.askAll(12, otp.Request{To: bob})
	_, err := r.Send(ctx, otp.Request{To: bob})
	var limit *otp.LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, otp.LimitError{RetryAfter: fiveMinutesAfter(r, start.Add(11*time.Minute)), Scope: "address"}, *limit)
	r.askAll(12, otp.Request{To: bob, Device: device}) // strangers do not crowd out the known
	for {
		if _, err = r.Check(ctx, ids[3], testkit.WrongCode(codes[3])); errors.Is(err, otp.ErrExhausted) {
			break
		}
		require.ErrorIs(t, err, otp.ErrCode)
	}
	r.ask(otp.Request{To: bob}) // a dead one makes room
	for _, i := range []int{0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11} {
		_, err = r.Check(ctx, ids[i], codes[i])
		require.NoError(t, err, "challenge %d", i)
	}
}

// fiveMinutesAfter is the time from now to the next multiple of five minutes that
// is not before at.
func fiveMinutesAfter(r *rig, at time.Time) time.Duration {
	const step = 5 * time.Minute
	rounded := at.Truncate(step)
	if rounded.Before(at) {
		rounded = rounded.Add(step)
	}
	return rounded.Sub(r.clock.Now())
}

// Rule 13: the largest requests there are still fit the store's 16 KiB.
func TestRule13_largest(t *testing.T) {
	c := testkit.NewClock()
	store := &sizeStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})}
	long := strings.Repeat("d", 63)
	to := strings.Repeat("a", 60) + "@" + long + "." + long + "." + strings.Repeat("d", 61) + ".com"
	require.Len(t, to, 254)
	vars := map[string]string{}
	for i := range 170 { // many short names cost the most
		vars[string(rune(0x4e00+i))] = ""
	}
	r := newRigOn(t, otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Millisecond}}, WrongGuesses: []otp.Limit{{N: 100, Per: time.Hour}}, Guesses: 10}, c, store)
	device := r.device(to)
	v := r.For(strings.Repeat("p", 128))
	for _, d := range []string{"", device} {
		opened := 0
		for range 200 {
			c.Add(time.Second)
			ch, err := v.Send(ctx, otp.Request{To: to, Vars: vars, Device: d, Client: "c", Locale: "zh-Hant-TW,zh-Hans-CN,sr-Latn-RS"})
			if err != nil {
				require.ErrorIs(t, err, otp.ErrLimited)
				c.Add(time.Minute)
				continue
			}
			opened++
			_, err = v.Check(ctx, ch.ID, testkit.WrongCode(r.last().Code))
			require.Error(t, err)
		}
		require.Greater(t, opened, 20)
	}
	require.LessOrEqual(t, store.largest, 16<<10)
	require.Greater(t, store.largest, 8<<10, "the test means to fill it")
}

// Rule 13: a live challenge is not dropped for its size either.
func TestRule13_largeLive(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Millisecond}}})
	req := otp.Request{To: strings.Repeat("a", 60) + "@example.com", Vars: map[string]string{"k": strings.Repeat("v", 511)}}
	var ids, codes []string
	start := r.clock.Now()
	for {
		ch, err := r.Send(ctx, req)
		if err != nil {
			var limit *otp.LimitError
			require.ErrorAs(t, err, &limit)
			require.Equal(t, fiveMinutesAfter(r, start.Add(11*time.Minute)), limit.RetryAfter)
			break
		}
		ids, codes = append(ids, ch.ID), append(codes, r.last().Code)
		r.clock.Add(time.Millisecond)
	}
	require.Less(t, len(ids), 12, "size is the limit here")
	r.clock.Set(start.Add(10 * time.Minute))
	_, err := r.Send(ctx, req)
	require.ErrorIs(t, err, otp.ErrLimited, "another clock may still accept the first")
	for i := 1; i < len(ids); i++ {
		_, err := r.Status(ctx, ids[i])
		require.NoError(t, err)
	}
	r.clock.Set(start.Add(11 * time.Minute))
	newest, newestCode := r.ask(req) // in the place of the first
	_, err = r.Check(ctx, ids[0], codes[0])
	require.ErrorIs(t, err, otp.ErrUnknown)
	_, err = r.Check(ctx, newest.ID, newestCode)
	require.NoError(t, err)
}

type sizeStore struct {
	otp.Store
	largest int
}

func (s *sizeStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	s.largest = max(s.largest, len(new))
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

// Rule 14, C12, J5: hosts of one IPv6 network, ports and spellings are one client.
func TestRule14_client(t *testing.T) {
	for _, same := range [][]string{
		{"192.0.2.1", "192.0.2.1:80", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80"},
		{"2001:db8:1:200::1", "2001:db8:1:2ff:ffff::", "[2001:db8:1:203::3]:443", "[2001:db8:1:2aa::3]", "2001:db8:1:2bb::4%eth0"},
		{"device-7", "device-7"},
	} {
		r := newRig(t, otp.Options{ClientStarts: []otp.Limit{{N: 1, Per: time.Hour}}})
		r.ask(otp.Request{To: bob, Client: same[0]})
		for i, client := range same {
			_, err := r.Send(ctx, otp.Request{To: fmt.Sprintf("a%d@example.com", i), Client: client})
			require.ErrorIs(t, err, otp.ErrLimited, client)
		}
		for i, client := range []string{"192.0.2.2", "2001:db8:1:3::1", "device-8", ""} {
			r.ask(otp.Request{To: fmt.Sprintf("b%d@example.com", i), Client: client})
		}
	}
}

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
		c := testkit.NewClock()
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
		c.Add(time.Minute)
		note(r.Resend(ctx, ch.ID))
		for range 3 {
			note(r.Check(ctx, ch.ID, "654321"))
		}
		note(r.Status(ctx, ch.ID))
		c.Add(time.Minute)
		note(r.Resend(ctx, ch.ID)) // exhausted: a new one
		for range 6 {
			note(r.Check(ctx, ch.ID, "654321"))
		}
		c.Add(time.Minute)
		c.Add(4 * time.Minute)     // past the half of its life
		note(r.Resend(ctx, ch.ID)) // a strong one
		note(r.Check(ctx, ch.ID, "BCDFGHJKMNPQRS"))
		note(r.Check(ctx, ch.ID, "654321"))
		c.Add(10 * time.Minute)
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
	require.Equal(t, []otpevent.Kind{otpevent.Asked, otpevent.Decoy, otpevent.Wrong}, r.kinds())

	// An account made meanwhile: the next challenge is real.
	admit = true
	r.clock.Add(10 * time.Minute)
	ch, err = r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	_, err = r.Check(ctx, ch.ID, r.last().Code)
	require.NoError(t, err)
}

// What reviewers tried, and what they found, each kept as a test.

// skewed returns two verifiers on one store whose clocks differ by a minute,
// and a way to count the mails.
func skewed(t *testing.T, opts otp.Options) (r *rig, ahead, behind *otp.Verifier) {
	r = newRig(t, opts)
	at := func(d time.Duration) *otp.Verifier {
		o := opts
		o.Secrets, o.Now = [][]byte{secret("A")}, func() time.Time { return r.clock.Now().Add(d) }
		v, err := otp.NewVerifier(r.store, rigSender{r}, &o)
		require.NoError(t, err)
		return v
	}
	return r, at(30 * time.Second), at(-30 * time.Second)
}

// Rule 8: while the clocks agree to a minute, repairing them opens no window
// early, neither of sends, of starts nor of guesses.
func TestSkew(t *testing.T) {
	r, ahead, behind := skewed(t, otp.Options{})
	for range 5 {
		ahead.Send(ctx, otp.Request{To: bob})
		behind.Send(ctx, otp.Request{To: bob})
		r.clock.Add(10 * time.Millisecond)
	}
	require.Equal(t, 1, r.sent())

	r, ahead, behind = skewed(t, otp.Options{ClientStarts: []otp.Limit{{N: 1, Per: time.Minute}}})
	for i := range 5 {
		ahead.Send(ctx, otp.Request{To: fmt.Sprintf("a%d@example.com", i), Client: "c"})
		behind.Send(ctx, otp.Request{To: fmt.Sprintf("b%d@example.com", i), Client: "c"})
	}
	require.Equal(t, 1, r.sent())

	r, ahead, behind = skewed(t, otp.Options{Sends: wide, Guesses: 10, WrongGuesses: []otp.Limit{{N: 1, Per: time.Minute}}})
	ch, err := ahead.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	told := 0
	for range 10 {
		for _, v := range []*otp.Verifier{ahead, behind} {
			if _, err := v.Check(ctx, ch.ID, testkit.WrongCode(r.last().Code)); errors.Is(err, otp.ErrCode) {
				told++
			}
		}
		r.clock.Add(time.Millisecond)
	}
	require.Equal(t, 1, told)
}

// Rule 7: a send that is reserved under the time of a faster clock is the one
// that is given back.
func TestSkew_refund(t *testing.T) {
	r, ahead, behind := skewed(t, otp.Options{Sends: []otp.Limit{{N: 2, Per: time.Hour}}})
	_, err := ahead.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	r.fail = always(refusedForNow)
	_, err = behind.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	r.fail = nil
	_, err = behind.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err, "given back")
	_, err = behind.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited, "but only that one")
}

// Rule 8: a clock of no possible time writes nothing that others cannot read.
func TestOddClock(t *testing.T) {
	for _, odd := range []time.Time{time.Date(40000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<60, 0), time.Unix(-1<<60, 0)} {
		r := newRigOn(t, otp.Options{Sends: wide}, testkit.NewClock(), otp.NewMemoryStore(nil))
		ch, code := r.ask(otp.Request{To: bob})
		now := r.clock.Now()
		r.clock.Set(odd)
		_, err := r.Send(ctx, otp.Request{To: bob})
		require.Error(t, err)
		for _, call := range []func(context.Context, string) (otp.Challenge, error){
			r.Status, r.Resend, func(ctx context.Context, id string) (otp.Challenge, error) { return r.Check(ctx, id, code) },
		} {
			got, err := call(ctx, ch.ID)
			require.ErrorContains(t, err, "Options.Now")
			require.Zero(t, got)
		}
		r.clock.Set(now)
		_, err = r.Check(ctx, ch.ID, code)
		require.NoError(t, err)
	}
}

// Verifiers with different Options on one store do not prune each other's
// counts: each holds to its own limits over all that happened.
func TestDifferentOptions(t *testing.T) {
	c := testkit.NewClock()
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
			_, err := usual.Check(ctx, ch.ID, testkit.WrongCode(code)) // the challenge's own ten
			require.ErrorIs(t, err, otp.ErrCode)
		}
		c.Add(2 * time.Minute)
	}
	ch, code := short.ask(otp.Request{To: bob, Client: "c"})
	require.False(t, ch.Strong)
	got, err := usual.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrExhausted, "ten wrong guesses by its count")
	require.Zero(t, got.GuessesLeft)
	got, err = usual.Status(ctx, ch.ID)
	require.ErrorIs(t, err, otp.ErrExhausted)
	require.Zero(t, got.GuessesLeft)
	_, err = short.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	for range 8 {
		short.ask(otp.Request{To: bob, Client: "c"})
		c.Add(7 * time.Second)
	}
	_, err = usual.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited)
	c.Add(23*time.Hour + 50*time.Minute)
	for range 2 { // what it writes keeps the others' events
		short.ask(otp.Request{To: bob})
		c.Add(7 * time.Second)
	}
	ch, err = usual.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited, "eleven in the day")
	require.Zero(t, ch)
	c.Add(27 * time.Hour)
	ch, _ = usual.ask(otp.Request{To: bob})
	require.False(t, ch.Strong, "the ten are out of the day")
}

// A6: how long a guess takes does not tell how much of it is right. Printed,
// not asserted: machines are noisy.
func TestTiming(t *testing.T) {
	c := testkit.NewClock()
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
		c.Add(11 * time.Minute)
		r.mails = nil
	}
	for i, guess := range guesses {
		t.Log(guess, fmt.Sprintf("%.3f of the first", float64(spent[i])/float64(spent[0])))
	}
}

// discard is an Observer that looks away.
type discard struct{}

func (discard) Observe(context.Context, otp.Event) {}

// R5", 12: a visitor who holds a challenge for the same goes on with it; any other
// is ignored and never an error.
func TestRule5_held(t *testing.T) {
	vars := map[string]string{"tenant": "blue"}
	fast := []otp.Limit{{N: 100, Per: time.Millisecond}}
	setup := func(t *testing.T) (r *rig, ch otp.Challenge, code string) {
		r = newRig(t, otp.Options{Sends: fast, ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}}})
		ch, code = r.ask(otp.Request{To: bob, Vars: vars, Locale: "de", Client: "c"})
		r.clock.Add(time.Minute)
		return r, ch, code
	}
	r, ch, code := setup(t)
	_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
	require.ErrorIs(t, err, otp.ErrCode)
	for range 3 { // more than the client may start
		got, again := r.ask(otp.Request{To: bob, Vars: vars, Locale: "fr", Client: "c", Held: []string{"", "x", ch.ID}})
		require.Equal(t, ch.ID, got.ID)
		require.Equal(t, code, again)
		require.Equal(t, 4, got.GuessesLeft)
		require.Equal(t, ch.Reference, got.Reference)
		require.True(t, got.ExpiresAt.Equal(ch.ExpiresAt))
		require.True(t, got.ResendAt.Equal(r.clock.Now()), "no limit of one mail")
		require.Equal(t, "fr", r.last().Locale, "the language of this request")
		require.True(t, r.events[len(r.events)-1].Resend)
		r.clock.Add(time.Second)
	}
	_, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)

	for name, change := range map[string]func(t *testing.T, r *rig, ch otp.Challenge, code string, req *otp.Request) *otp.Verifier{
		"forged": func(_ *testing.T, r *rig, _ otp.Challenge, _ string, req *otp.Request) *otp.Verifier {
			b := []byte(req.Held[0])
			b[40] ^= 1
			req.Held[0] = string(b)
			return r.Verifier
		},
		"another address": func(_ *testing.T, r *rig, _ otp.Challenge, _ string, req *otp.Request) *otp.Verifier {
			req.To = "carol@example.com"
			return r.Verifier
		},
		"spelling": func(_ *testing.T, r *rig, _ otp.Challenge, _ string, req *otp.Request) *otp.Verifier {
			req.To = "Bob@example.com"
			return r.Verifier
		},
		"purpose": func(_ *testing.T, r *rig, _ otp.Challenge, _ string, _ *otp.Request) *otp.Verifier {
			return r.For("login:2")
		},
		"lane": func(_ *testing.T, r *rig, _ otp.Challenge, _ string, req *otp.Request) *otp.Verifier {
			req.Proven = true
			return r.Verifier
		},
		"vars": func(_ *testing.T, r *rig, _ otp.Challenge, _ string, req *otp.Request) *otp.Verifier {
			req.Vars = map[string]string{"tenant": "red"}
			return r.Verifier
		},
		"no vars": func(_ *testing.T, r *rig, _ otp.Challenge, _ string, req *otp.Request) *otp.Verifier {
			req.Vars = nil
			return r.Verifier
		},
		"consumed": func(t *testing.T, r *rig, ch otp.Challenge, code string, _ *otp.Request) *otp.Verifier {
			_, err := r.Check(ctx, ch.ID, code)
			require.NoError(t, err)
			return r.Verifier
		},
		"exhausted": func(t *testing.T, r *rig, ch otp.Challenge, code string, _ *otp.Request) *otp.Verifier {
			for range 5 {
				_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
				require.ErrorIs(t, err, otp.ErrCode)
			}
			return r.Verifier
		},
		"half over": func(_ *testing.T, r *rig, ch otp.Challenge, _ string, _ *otp.Request) *otp.Verifier {
			r.clock.Set(ch.SentAt.Add(5*time.Minute + time.Millisecond))
			return r.Verifier
		},
		"the ninth": func(_ *testing.T, r *rig, ch otp.Challenge, _ string, req *otp.Request) *otp.Verifier {
			req.Held = append(make([]string, 8), ch.ID)
			return r.Verifier
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, ch, code := setup(t)
			req := otp.Request{To: bob, Vars: vars, Client: "c", Held: []string{ch.ID}}
			v := change(t, r, ch, code, &req)
			got, err := v.Send(ctx, req)
			require.NoError(t, err)
			require.NotEqual(t, ch.ID, got.ID)
		})
	}

	// Of several the one with the latest deadline; the eighth is still read, and
	// half of the life to the millisecond is enough.
	r, ch, _ = setup(t)
	later, _ := r.ask(otp.Request{To: bob, Vars: vars})
	r.clock.Set(ch.SentAt.Add(5 * time.Minute))
	got, _ := r.ask(otp.Request{To: bob, Vars: vars, Held: []string{"", "", "", "", "", "", later.ID, ch.ID}})
	require.Equal(t, later.ID, got.ID)
	got, _ = r.ask(otp.Request{To: bob, Vars: vars, Held: []string{"", "", "", "", "", "", "", ch.ID}})
	require.Equal(t, ch.ID, got.ID)
}

// R5", 13, J13: within the minute the challenge comes with the exact wait, and no
// client is charged.
func TestRule5_heldWithinTheMinute(t *testing.T) {
	r := newRig(t, otp.Options{ClientStarts: []otp.Limit{{N: 1, Per: time.Hour}}})
	ch, _ := r.ask(otp.Request{To: bob, Client: "c"})
	r.clock.Add(12*time.Second + 345*time.Millisecond)
	got, err := r.Send(ctx, otp.Request{To: bob, Client: "c", Held: []string{ch.ID}})
	var limit *otp.LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, otp.LimitError{RetryAfter: 47*time.Second + 655*time.Millisecond, Scope: "address"}, *limit)
	require.Equal(t, ch, got)
	r.clock.Add(limit.RetryAfter)
	got, _ = r.ask(otp.Request{To: bob, Client: "c", Held: []string{ch.ID}})
	require.Equal(t, ch.ID, got.ID)
	_, err = r.Send(ctx, otp.Request{To: "carol@example.com", Client: "c"})
	require.ErrorAs(t, err, &limit)
	require.Equal(t, "client", limit.Scope)
	require.Equal(t, 2, r.sent())
}

// R5", 14: a held decoy is gone on with only while Admit says the same, so that a
// member and a stranger see the same IDs, and somebody who signs up gets a mail.
func TestRule5_heldDecoy(t *testing.T) {
	for _, member := range []bool{true, false} {
		admitted, asked := member, 0
		r := newRig(t, otp.Options{Admit: func(context.Context, otp.Address) (bool, error) { asked++; return admitted, nil }})
		ch, err := r.Send(ctx, otp.Request{To: bob})
		require.NoError(t, err)
		r.clock.Add(time.Minute)
		got, err := r.Send(ctx, otp.Request{To: bob, Held: []string{ch.ID}})
		require.NoError(t, err)
		require.Equal(t, ch.ID, got.ID)
		require.Equal(t, 2, asked)
		mails := r.sent()
		admitted = !member
		r.clock.Add(time.Minute)
		got, err = r.Send(ctx, otp.Request{To: bob, Held: []string{ch.ID}})
		require.NoError(t, err)
		require.NotEqual(t, ch.ID, got.ID)
		require.Equal(t, 3, asked, "once for each call")
		if admitted {
			require.Equal(t, mails+1, r.sent())
		} else {
			require.Equal(t, mails, r.sent())
		}
	}
	// A refused recipient is a decoy too, but not one that Admit made.
	r := newRig(t, otp.Options{Admit: func(context.Context, otp.Address) (bool, error) { return true, nil }})
	r.fail = always(refusedForGood)
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	r.fail = nil
	r.clock.Add(time.Minute)
	got, err := r.Send(ctx, otp.Request{To: bob, Held: []string{ch.ID}})
	require.NoError(t, err)
	require.Equal(t, ch.ID, got.ID)
	require.Zero(t, r.sent())
}

// R15, 18: a mail whose code was typed in frees its minute, not its hour, and no
// other mail's minute.
func TestRule15_passedFreesItsMinute(t *testing.T) {
	r := newRig(t, otp.Options{})
	for range 5 {
		ch, code := r.ask(otp.Request{To: bob})
		_, err := r.Check(ctx, ch.ID, code)
		require.NoError(t, err)
		r.clock.Add(time.Second)
	}
	_, err := r.Send(ctx, otp.Request{To: bob})
	var limit *otp.LimitError
	require.ErrorAs(t, err, &limit, "the sixth in the hour")
	require.Greater(t, limit.RetryAfter, 50*time.Minute)

	r = newRig(t, otp.Options{})
	mine, code := r.ask(otp.Request{To: bob})
	r.clock.Add(time.Minute)
	r.ask(otp.Request{To: bob}) // somebody else
	_, err = r.Check(ctx, mine.ID, code)
	require.NoError(t, err)
	r.clock.Add(time.Second)
	_, err = r.Send(ctx, otp.Request{To: bob})
	require.ErrorAs(t, err, &limit, "the other's mail is still in the way")
	require.Equal(t, time.Minute, limit.RetryAfter)
}

// R16, 20, J2: nothing that the holder of a challenge sees moves by what others
// do.
func TestRule16_othersAreNotSeen(t *testing.T) {
	r := newRig(t, otp.Options{})
	mine, code := r.ask(otp.Request{To: bob})
	unmoved := func() {
		t.Helper()
		got, err := r.Status(ctx, mine.ID)
		require.NoError(t, err)
		require.Equal(t, mine, got)
		got, err = r.Check(ctx, mine.ID, "no code")
		require.ErrorIs(t, err, otp.ErrMalformed)
		require.Equal(t, mine, got)
	}
	r.clock.Add(time.Minute)
	theirs, theirCode := r.ask(otp.Request{To: bob}) // another asks
	unmoved()
	_, err := r.Check(ctx, theirs.ID, testkit.WrongCode(theirCode)) // guesses
	require.ErrorIs(t, err, otp.ErrCode)
	unmoved()
	_, err = r.Check(ctx, theirs.ID, theirCode) // passes
	require.NoError(t, err)
	unmoved()
	for range 3 { // and spends the hour
		r.clock.Add(time.Minute)
		r.ask(otp.Request{To: bob})
	}
	unmoved()
	_, err = r.Check(ctx, mine.ID, code)
	require.NoError(t, err)
}

// R14', 21, J5: what a Send costs the store, and that a start which the address
// refuses costs the client nothing.
func TestRule14_trips(t *testing.T) {
	c := testkit.NewClock()
	store := &countingStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})}
	r := newRigOn(t, otp.Options{ClientStarts: []otp.Limit{{N: 3, Per: time.Hour}}}, c, store)
	trips := func(req otp.Request) [2]int {
		before := store.calls()
		r.Send(ctx, req)
		after := store.calls()
		return [2]int{after[0] - before[0], after[1] - before[1]}
	}
	for range 2 { // a new address and an old one
		require.Equal(t, [2]int{1, 1}, trips(otp.Request{To: bob}))
		require.Equal(t, [2]int{2, 2}, trips(otp.Request{To: "carol@example.com", Client: "c"}))
		c.Add(time.Minute)
	}
	ch, _ := r.ask(otp.Request{To: bob})
	require.Equal(t, [2]int{1, 0}, trips(otp.Request{To: bob, Client: "c"}), "refused")
	require.Equal(t, [2]int{1, 0}, trips(otp.Request{To: bob, Client: "c", Held: []string{ch.ID}}))
	c.Add(time.Minute)
	require.Equal(t, [2]int{1, 1}, trips(otp.Request{To: bob, Client: "c", Held: []string{ch.ID}}))
	require.Equal(t, [2]int{2, 2}, trips(otp.Request{To: "dave@example.com", Client: "c"}), "the third start of c")
	require.Equal(t, [2]int{2, 0}, trips(otp.Request{To: "erin@example.com", Client: "c"}), "refused by the client")
}

// R14', 22: a client's starts are strictly bounded, and many at once get nothing
// but a LimitError.
func TestRule14_clientBuckets(t *testing.T) {
	r := newRig(t, otp.Options{ClientStarts: []otp.Limit{{N: 200, Per: time.Hour}}})
	n := 0
	start := func() error {
		n++
		_, err := r.Send(ctx, otp.Request{To: fmt.Sprintf("a%d@example.com", n), Client: "c"})
		return err
	}
	end := r.clock.Now().Add(time.Hour)
	r.clock.Set(end.Add(-time.Second)) // the last second of an hour
	for range 200 {
		require.NoError(t, start())
	}
	var limit *otp.LimitError
	for _, at := range []time.Time{end, end.Add(30 * time.Minute), end.Add(time.Hour - time.Millisecond)} {
		r.clock.Set(at)
		require.ErrorAs(t, start(), &limit)
		require.Equal(t, otp.LimitError{RetryAfter: end.Add(time.Hour).Sub(at), Scope: "client"}, *limit)
	}
	r.clock.Set(end.Add(time.Hour))
	require.NoError(t, start())

	r = newRig(t, otp.Options{ClientStarts: []otp.Limit{{N: 10_000, Per: time.Hour}}, Observer: discard{}})
	got := together(300, func(i int) error {
		_, err := r.Send(ctx, otp.Request{To: fmt.Sprintf("b%d@example.com", i), Client: "c"})
		if errors.As(err, &limit) && limit.Scope == "client" && limit.RetryAfter == time.Second {
			return otp.ErrLimited
		}
		return err
	})
	require.Equal(t, 300, got[nil]+got[otp.ErrLimited], "%v", got)
}

// A team of 20 that shares a mailbox signs in one after the other, with the limits
// of docs/operating.md. With the default ones the sixth waits.
func TestRule15_team(t *testing.T) {
	for _, test := range []struct {
		sends []otp.Limit
		want  int
	}{
		{nil, 5},
		{[]otp.Limit{{N: 1, Per: time.Minute}, {N: 30, Per: time.Hour}, {N: 60, Per: 24 * time.Hour}}, 20},
	} {
		r := newRig(t, otp.Options{Sends: test.sends})
		in := 0
		for range 20 {
			c, err := r.Send(ctx, otp.Request{To: "info@example.com"})
			if err != nil {
				require.ErrorIs(t, err, otp.ErrLimited)
				continue
			}
			_, err = r.Check(ctx, c.ID, r.last().Code)
			require.NoError(t, err)
			in++
		}
		require.Equal(t, test.want, in)
	}
}

// A class of 200 behind one address is served within ten minutes, whether they
// press one after the other or all at once and come back when they are told to.
func TestRule14_class(t *testing.T) {
	for _, apart := range []time.Duration{0, 3 * time.Second} {
		r := newRig(t, otp.Options{})
		begin := r.clock.Now()
		presses := map[int]time.Time{}
		for i := range 200 {
			presses[i] = begin.Add(time.Duration(i) * apart)
		}
		for len(presses) > 0 {
			next := slices.MinFunc(slices.Collect(maps.Values(presses)), time.Time.Compare)
			r.clock.Set(next)
			for i, at := range presses {
				if at != next {
					continue
				}
				_, err := r.Send(ctx, otp.Request{To: fmt.Sprintf("pupil%d@example.com", i), Client: "192.0.2.1"})
				var limit *otp.LimitError
				if errors.As(err, &limit) {
					presses[i] = next.Add(limit.RetryAfter)
					continue
				}
				require.NoError(t, err)
				delete(presses, i)
			}
		}
		require.LessOrEqual(t, r.clock.Now().Sub(begin), 10*time.Minute)
	}
}

// R20, 25, J3, J4: strangers who flood the store are refused, known devices are
// served, and hours later strangers are too.
func TestRule20_flood(t *testing.T) {
	c := testkit.NewClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now, MaxEntries: 400})
	r := newRigOn(t, otp.Options{Admit: func(_ context.Context, to otp.Address) (bool, error) { return to.String() == bob, nil }}, c, store)
	device := r.device(bob)
	flood := func(n int) (served int, limit *otp.LimitError) {
		for i := range n {
			_, err := r.Send(ctx, otp.Request{To: fmt.Sprintf("x%d-%d@example.com", c.Now().Unix(), i), Client: fmt.Sprintf("10.0.0.%d", i)})
			if err == nil {
				served++
			} else {
				require.ErrorAs(t, err, &limit)
			}
		}
		return served, limit
	}
	served, limit := flood(200)
	require.Equal(t, 99, served, "a quarter of the entries, one of which is Bob's")
	require.Equal(t, "all", limit.Scope)
	require.Positive(t, limit.RetryAfter)
	require.Zero(t, limit.RetryAfter%time.Minute)
	crowded := 0
	for _, e := range r.events {
		if e.Kind == otpevent.Crowded {
			crowded++
			require.Zero(t, e.AddressHash)
		}
	}
	require.Equal(t, 1, crowded, "an operator hears of it")

	_, err := r.Send(ctx, otp.Request{To: "new@example.com", Client: "10.1.0.1"})
	require.ErrorAs(t, err, &limit)
	ch, code := r.ask(otp.Request{To: bob, Device: device})
	_, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	r.ask(otp.Request{To: bob, Proven: true})

	for range 12 { // a day of flood
		c.Add(2*time.Hour + 10*time.Minute)
		served, _ = flood(200)
		require.GreaterOrEqual(t, served, 90)
	}
	c.Add(2*time.Hour + 10*time.Minute)
	for i := range 90 {
		_, err := r.Send(ctx, otp.Request{To: fmt.Sprintf("new%d@example.com", i)})
		require.NoError(t, err)
	}
	c.Add(time.Minute)
	ch, code = r.ask(otp.Request{To: bob, Device: device})
	_, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
}

// R20: Options.StrangerStarts is the same brake over any store. What is refused
// later gives its start back.
func TestRule20_option(t *testing.T) {
	c := testkit.NewClock()
	store := &countingStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})}
	admit := errors.New("directory is down")
	r := newRigOn(t, otp.Options{
		StrangerStarts: []otp.Limit{{N: 2, Per: time.Hour}}, ClientStarts: []otp.Limit{{N: 1, Per: time.Hour}},
		Admit: func(context.Context, otp.Address) (bool, error) { return true, admit },
	}, c, store)
	for range 3 {
		_, err := r.Send(ctx, otp.Request{To: bob})
		require.ErrorIs(t, err, admit)
	}
	admit = nil
	r.ask(otp.Request{To: bob, Client: "c"})
	for range 3 {
		_, err := r.Send(ctx, otp.Request{To: "carol@example.com", Client: "c"})
		require.ErrorIs(t, err, otp.ErrLimited)
	}
	r.ask(otp.Request{To: "dave@example.com"})
	before := store.calls()
	_, err := r.Send(ctx, otp.Request{To: "erin@example.com", Client: "d"})
	var limit *otp.LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, "all", limit.Scope)
	require.Equal(t, [2]int{before[0] + 1, before[1]}, store.calls(), "one load, and the client is not charged")
	r.ask(otp.Request{To: bob, Proven: true})
	c.Add(limit.RetryAfter)
	r.ask(otp.Request{To: "erin@example.com", Client: "d"})
}

// R20, J3: a start whose entry is in the store stays counted, even if the caller
// hangs up, loses a race or gets an error, so nobody fills the store without
// being refused.
func TestRule20_unfinishedStarts(t *testing.T) {
	client := func(i int) string { return fmt.Sprintf("2001:db8:0:%x00::1", i) }
	fillers := map[string]func(r *rig){
		"callers hang up while Admit works": func(r *rig) {
			for i := range 1000 {
				ctx, hangUp := context.WithCancel(ctx)
				ctx = context.WithValue(ctx, hangsUp{}, hangUp)
				_, err := r.Send(ctx, otp.Request{To: "mallory@example.com", Client: client(i)})
				require.Error(r.t, err)
			}
		},
		"many at once for one address": func(r *rig) {
			for round := range 20 {
				together(60, func(i int) error {
					_, err := r.Send(ctx, otp.Request{To: "mallory@example.com", Client: client(60*round + i)})
					return err
				})
				r.clock.Add(time.Minute)
			}
		},
	}
	for name, fill := range fillers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := testkit.NewClock()
				store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now, MaxEntries: 400})
				r := newRigOn(t, otp.Options{Admit: func(ctx context.Context, _ otp.Address) (bool, error) {
					if hangUp, ok := ctx.Value(hangsUp{}).(context.CancelFunc); ok {
						hangUp()
					}
					time.Sleep(100 * time.Millisecond)
					return true, ctx.Err()
				}}, c, store)
				fill(r)
				require.Less(t, store.Len(), 250, "a quarter of the entries: clients, and addresses")
				for i := range 100 {
					r.ask(otp.Request{To: fmt.Sprintf("known%d@example.com", i), Proven: true})
				}
			})
		})
	}
}

// hangsUp is the key of a context whose caller hangs up: its value does so.
type hangsUp struct{}

// R20: a start whose swap has an unknown outcome stays counted.
func TestRule20_unknownOutcome(t *testing.T) {
	c := testkit.NewClock()
	memory := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	store := &faultStore{Store: memory}
	r := newRigOn(t, otp.Options{StrangerStarts: []otp.Limit{{N: 3, Per: time.Hour}}}, c, store)
	for i := range 50 {
		store.fault, store.at, store.n = timesOut, 2, 0
		_, err := r.Send(ctx, otp.Request{To: fmt.Sprintf("x%d@example.com", i)})
		require.Error(t, err)
	}
	require.Equal(t, 3, memory.Len())
}

// R20: a store that is full has stored nothing, so the start is given back.
func TestRule20_fullStore(t *testing.T) {
	c := testkit.NewClock()
	r := newRigOn(t, otp.Options{StrangerStarts: []otp.Limit{{N: 3, Per: time.Hour}}}, c, otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now, MaxEntries: 1}))
	r.ask(otp.Request{To: bob})
	for i := range 10 {
		for _, client := range []string{"", "c"} {
			_, err := r.Send(ctx, otp.Request{To: fmt.Sprintf("x%d@example.com", i), Client: client})
			require.ErrorContains(t, err, "memory store is full")
		}
	}
	require.NoError(t, r.Forget(ctx, bob))
	r.ask(otp.Request{To: "carol@example.com"})
}

// R20: whoever loses a race for an address, and has stored nothing, gets the
// start back.
func TestRule20_lostRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, otp.Options{
			StrangerStarts: []otp.Limit{{N: 3, Per: time.Hour}},
			Admit: func(context.Context, otp.Address) (bool, error) {
				time.Sleep(100 * time.Millisecond)
				return true, nil
			},
		})
		together(3, func(int) error {
			_, err := r.Send(ctx, otp.Request{To: bob})
			return err
		})
		require.Equal(t, 1, r.sent())
		r.ask(otp.Request{To: "carol@example.com"})
		r.ask(otp.Request{To: "dave@example.com"})
		_, err := r.Send(ctx, otp.Request{To: "erin@example.com"})
		require.ErrorIs(t, err, otp.ErrLimited)
	})
}

// R3', 9: verifiers with different WrongGuesses each tell at most as many verdicts
// as their own allow.
func TestRule3_netOfEach(t *testing.T) {
	c := testkit.NewClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	fast := []otp.Limit{{N: 100, Per: time.Millisecond}}
	wide := newRigOn(t, otp.Options{Sends: fast, WrongGuesses: []otp.Limit{{N: 10, Per: 24 * time.Hour}}}, c, store)
	narrow := newRigOn(t, otp.Options{Sends: fast, WrongGuesses: []otp.Limit{{N: 3, Per: time.Hour}}}, c, store)
	told := map[*rig]int{}
	for range 20 {
		ch, code := wide.ask(otp.Request{To: bob})
		if ch.Strong {
			break
		}
		for i := range 6 {
			r := []*rig{narrow, wide}[i%2]
			if _, err := r.Check(ctx, ch.ID, testkit.WrongCode(code)); errors.Is(err, otp.ErrCode) {
				told[r]++
			}
		}
		c.Add(time.Second)
	}
	require.LessOrEqual(t, told[narrow], 3)
	require.Positive(t, told[narrow])
	require.Equal(t, 10, told[narrow]+told[wide])
}

// R14': what a process remembers is confirmed before a renewal is charged: here
// another process has erased the challenge.
func TestRule14_renewalIsConfirmed(t *testing.T) {
	c := testkit.NewClock()
	store := struct{ otp.Store }{otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})} // values of it are remembered
	asked := 0
	options := otp.Options{ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}}, Admit: func(context.Context, otp.Address) (bool, error) { asked++; return true, nil }}
	r, other := newRigOn(t, options, c, store), newRigOn(t, options, c, store)
	ch, _ := r.ask(otp.Request{To: bob, Client: "c"})
	c.Add(10 * time.Minute)
	require.NoError(t, other.Forget(ctx, bob))
	_, err := r.Resend(ctx, ch.ID)
	require.ErrorIs(t, err, otp.ErrUnknown)
	require.Equal(t, 1, asked)
	r.ask(otp.Request{To: bob, Client: "c"}) // the second start of the client
}

// R19, 25: a code that lives a day outlives a flood of a day, and a code that was
// passed stays so after its entry was dropped.
func TestRule19_eviction(t *testing.T) {
	c := testkit.NewClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now, MaxEntries: 40})
	r := newRigOn(t, otp.Options{}, c, store)
	flood := func(r *rig, hours int) {
		for range hours {
			for i := range 40 {
				r.Send(ctx, otp.Request{To: fmt.Sprintf("x%d-%d@example.com", c.Now().Unix(), i)})
			}
			c.Add(time.Hour)
		}
	}
	passed, code := r.ask(otp.Request{To: bob})
	_, err := r.Check(ctx, passed.ID, code)
	require.NoError(t, err)
	flood(r, 24)
	value, err := store.Load(ctx, keyOf(t, passed.ID))
	require.NoError(t, err)
	require.Nil(t, value, "the flood has dropped it, an hour before its time")
	require.Contains(t, r.kinds(), otpevent.Evicted)
	for range 2 {
		_, err = r.Check(ctx, passed.ID, code)
		require.ErrorIs(t, err, otp.ErrUnknown)
		r.ask(otp.Request{To: bob, Proven: true})
		c.Add(time.Minute)
	}

	store = otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now, MaxEntries: 40})
	r = newRigOn(t, otp.Options{Purposes: map[string]otp.PurposeOptions{"prove": {TTL: 24 * time.Hour}}}, c, store)
	v := r.For("prove:x")
	ch, err := v.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	code = r.last().Code
	flood(r, 23)
	_, err = v.Check(ctx, ch.ID, code)
	require.NoError(t, err)
}
