package otp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otptest"
)

// A9: weak and senseless options are refused when the verifier is made.
func TestNewVerifier_refuses(t *testing.T) {
	a, b := secret("A"), secret("B")
	limit := func(n int, per time.Duration) []otp.Limit { return []otp.Limit{{N: n, Per: per}} }
	var nilGenerator *fixedGenerator
	for name, o := range map[string]otp.Options{
		"secret too short":          {Secrets: [][]byte{a[:31]}},
		"second secret too short":   {Secrets: [][]byte{a, b[:31]}, IndexSecret: a},
		"secret empty":              {Secrets: [][]byte{{}}},
		"secret constant":           {Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)}},
		"secret zero":               {Secrets: [][]byte{make([]byte, 32)}},
		"secrets equal":             {Secrets: [][]byte{a, b, a}, IndexSecret: a},
		"no index secret":           {Secrets: [][]byte{a, b}},
		"index secret too short":    {Secrets: [][]byte{a}, IndexSecret: b[:31]},
		"TTL negative":              {TTL: -1},
		"TTL tiny":                  {TTL: time.Millisecond},
		"TTL long":                  {TTL: 10*time.Minute + 1},
		"TTL of a purpose long":     {Purposes: map[string]otp.PurposeOptions{"x": {TTL: 24*time.Hour + 1}}},
		"TTL of a purpose negative": {Purposes: map[string]otp.PurposeOptions{"x": {TTL: -1}}},
		"purpose with colon":        {Purposes: map[string]otp.PurposeOptions{"x:y": {}}},
		"purpose empty":             {Purposes: map[string]otp.PurposeOptions{"": {}}},
		"purpose generator weak":    {Purposes: map[string]otp.PurposeOptions{"x": {Generator: otp.Digits(5)}}},
		"guesses negative":          {Guesses: -1},
		"guesses many":              {Guesses: 11},
		"digits few":                {Generator: otp.Digits(5)},
		"digits many":               {Generator: otp.Digits(13)},
		"digits negative":           {Generator: otp.Digits(-1)},
		"strong too weak":           {StrongGenerator: otp.Letters(13)},
		"strong digits":             {StrongGenerator: otp.Digits(12)},
		"generator nil pointer":     {Generator: nilGenerator},
		"generator fails":           {Generator: &brokenGenerator{otp.Digits(6), errors.New("x")}},
		"generator not normal":      {Generator: &fixedGenerator{otp.Letters(6), []string{"bcdfgh"}}},
		"generator short":           {Generator: &fixedGenerator{otp.Digits(6), []string{"12345"}}},
		"generator empty":           {Generator: &fixedGenerator{otp.Digits(6), []string{""}}},
		"generator line break":      {Generator: &fixedGenerator{otp.Digits(6), []string{"123456\n"}}},
		"sends none":                {Sends: limit(0, time.Hour)},
		"sends negative":            {Sends: limit(-1, time.Hour)},
		"sends many":                {Sends: limit(101, time.Hour)},
		"sends no span":             {Sends: limit(1, 0)},
		"sends longer":              {Sends: limit(1, 24*time.Hour+1)},
		"wrong guesses longer":      {WrongGuesses: limit(1, 30*24*time.Hour+1)},
		"wrong guesses none":        {WrongGuesses: limit(0, time.Hour)},
		"client starts longer":      {ClientStarts: limit(1, time.Hour+1)},
		"client starts negative":    {ClientStarts: limit(1, -time.Hour)},
	} {
		if o.Secrets == nil {
			o.Secrets = [][]byte{a}
		}
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(&strings.Builder{}), &o)
		require.Error(t, err, name)
		require.Nil(t, v, name)
		require.NotContains(t, err.Error(), "secret A", name)
	}
	_, err := otp.NewVerifier(nil, otp.NewLogSender(&strings.Builder{}), nil)
	require.Error(t, err)
	_, err = otp.NewVerifier((*otp.MemoryStore)(nil), otp.NewLogSender(&strings.Builder{}), nil)
	require.Error(t, err)
	_, err = otp.NewVerifier(otp.NewMemoryStore(nil), nil, nil)
	require.Error(t, err)
	_, err = otp.NewVerifier(otp.NewMemoryStore(nil), otp.SenderFunc(nil), nil)
	require.Error(t, err)
	_, err = otp.NewVerifier(&countingStore{}, otp.NewLogSender(&strings.Builder{}), nil)
	require.Error(t, err, "another store needs a secret")
}

// An error about an option names the option that was set.
func TestNewVerifier_namesTheOption(t *testing.T) {
	short := secret("A")[:31]
	for want, o := range map[string]otp.Options{
		"otp: Options.Secrets[0]: 31 bytes, want at least 32":                            {Secrets: [][]byte{short}},
		"otp: Options.IndexSecret: 31 bytes, want at least 32":                           {Secrets: [][]byte{secret("A")}, IndexSecret: short},
		"otp: Options.Generator: otp.Digits(4): want 6 to 12 characters":                 {Generator: otp.Digits(4)},
		"otp: Options.StrongGenerator: codes have 19.9 bits, want at least 64.0":         {StrongGenerator: otp.Digits(6)},
		`otp: Options.Purposes["login"].TTL: 25h0m0s, want 1s to 24h0m0s`:                {Purposes: map[string]otp.PurposeOptions{"login": {TTL: 25 * time.Hour}}},
		"otp: Options.Sends: 0 in 1m0s, want 1 to 100 in at most 24h0m0s":                {Sends: []otp.Limit{{Per: time.Minute}}},
		"otp: Options.TTL: 25h0m0s, want 1s to 10m0s; name the kind in Options.Purposes": {TTL: 25 * time.Hour},
	} {
		_, err := otp.NewVerifier(otp.NewMemoryStore(nil), &otptest.Inbox{}, &o)
		require.ErrorContains(t, err, want)
	}
}

func TestNewVerifier_accepts(t *testing.T) {
	a, b := secret("A"), secret("B")
	for name, o := range map[string]*otp.Options{
		"nil":             nil,
		"zero":            {},
		"index by itself": {Secrets: [][]byte{a}, IndexSecret: b},
		"rotated":         {Secrets: [][]byte{b, a}, IndexSecret: a},
		"all at the most": {
			TTL: 10 * time.Minute, Guesses: 10, Generator: otp.Digits(12), StrongGenerator: otp.Letters(32),
			Purposes:     map[string]otp.PurposeOptions{"prove": {TTL: 24 * time.Hour, Generator: otp.Letters(8)}},
			Sends:        []otp.Limit{{N: 100, Per: 24 * time.Hour}},
			WrongGuesses: []otp.Limit{{N: 100, Per: 30 * 24 * time.Hour}},
			ClientStarts: []otp.Limit{{N: 100, Per: time.Hour}},
		},
		"all at the least": {
			TTL: time.Second, Guesses: 1, Generator: otp.Digits(6), StrongGenerator: otp.Letters(14),
			Sends:        []otp.Limit{{N: 1, Per: time.Millisecond}},
			WrongGuesses: []otp.Limit{{N: 1, Per: time.Millisecond}},
			ClientStarts: []otp.Limit{{N: 1, Per: time.Millisecond}},
		},
	} {
		_, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(&strings.Builder{}), o)
		require.NoError(t, err, name)
	}
}

// Options are copied: changing them afterwards changes nothing.
func TestNewVerifier_copies(t *testing.T) {
	o := otp.Options{
		Secrets:  [][]byte{secret("A")},
		Sends:    []otp.Limit{{N: 1, Per: time.Hour}},
		Purposes: map[string]otp.PurposeOptions{"prove": {TTL: time.Hour}},
	}
	r := newRig(t, otp.Options{})
	o.Now = r.clock.Now
	v, err := otp.NewVerifier(r.store, rigSender{r}, &o)
	require.NoError(t, err)
	copy(o.Secrets[0], secret("B"))
	o.Sends[0].N = 100
	o.Purposes["prove"] = otp.PurposeOptions{TTL: time.Minute}
	ch, err := v.For("prove:x").Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	require.Equal(t, time.Hour, ch.ExpiresAt.Sub(ch.SentAt))
	_, err = r.For("prove:x").Status(ctx, ch.ID) // still under secret A
	require.NoError(t, err)
	_, err = v.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited)
}

// Section 2 of the defaults: 1 in 60 s, 5 an hour, 10 a day; 10 starts a
// minute, 60 an hour.
func TestDefaults_sends(t *testing.T) {
	r := newRig(t, otp.Options{})
	sent := 0
	for range 48 * 60 {
		ch, err := r.Send(ctx, otp.Request{To: bob})
		if err == nil {
			sent++
			require.Equal(t, 10*time.Minute, ch.ExpiresAt.Sub(ch.SentAt))
		}
		if minute := r.clock.Now().Sub(testkit.NewClock().Now()) / time.Minute; minute == 59 {
			require.Equal(t, 5, sent)
		} else if minute == 24*60-1 {
			require.Equal(t, 10, sent)
		}
		r.clock.Add(time.Minute)
	}
	require.Equal(t, 20, sent)

	r = newRig(t, otp.Options{})
	starts, i := 0, 0
	for range 3600 {
		i++
		_, err := r.Send(ctx, otp.Request{To: "a" + strings.Repeat("b", i%60) + strings.Repeat("c", i/60%60) + "@example.com", Client: "c"})
		if err == nil {
			starts++
		}
		if i == 60 {
			require.Equal(t, 30, starts)
		}
		r.clock.Add(time.Second)
	}
	require.Equal(t, 300, starts)
}

// R16, 19, J2: service begins again at multiples of five minutes and of two
// hours, told waits are whole minutes and never short of it, and both are the
// same whoever asked before, anywhere in the step.
func TestLimits_sayWhen(t *testing.T) {
	for _, offset := range []time.Duration{0, time.Millisecond, 61 * time.Second, 4*time.Minute + 59*time.Second + 999*time.Millisecond} {
		r := newRig(t, otp.Options{})
		start := r.clock.Now()
		r.clock.Add(offset)
		var limit *otp.LimitError
		var served []time.Duration
		for range 11 {
			for {
				_, err := r.Send(ctx, otp.Request{To: bob})
				if err == nil {
					break
				}
				require.ErrorAs(t, err, &limit)
				require.Zero(t, limit.RetryAfter%time.Minute)
				require.Equal(t, "address", limit.Scope)
				told := r.clock.Now().Add(limit.RetryAfter)
				r.clock.Add(time.Second - time.Duration(r.clock.Now().Nanosecond())) // poll each second
				_, err = r.Send(ctx, otp.Request{To: bob})
				for ; err != nil; _, err = r.Send(ctx, otp.Request{To: bob}) {
					require.ErrorAs(t, err, &limit)
					require.Zero(t, limit.RetryAfter%time.Minute)
					if testkit.RaceDetector() && limit.RetryAfter > 2*time.Minute {
						r.clock.Add(30 * time.Second) // it is slow, and would find nothing here
					}
					r.clock.Add(time.Second)
				}
				require.False(t, r.clock.Now().After(told), "the wait that was told is enough")
				break
			}
			served = append(served, r.clock.Now().Sub(start).Truncate(time.Second))
			r.clock.Add(time.Minute)
		}
		step := time.Hour
		if offset > 0 {
			step += 5 * time.Minute
		}
		require.Equal(t, step, served[5], "%v", offset)
		day := 24 * time.Hour
		if offset > 0 {
			day += 2 * time.Hour
		}
		require.Equal(t, day, served[10], "%v", offset)
	}
}

func TestSecretFromEnv(t *testing.T) {
	want := make([]byte, 33)
	for i := range want {
		want[i] = byte(255 - 7*i) // has + and / in base64
	}
	for _, text := range []string{
		hex.EncodeToString(want), strings.ToUpper(hex.EncodeToString(want)), " " + hex.EncodeToString(want) + "\r\n",
		base64.StdEncoding.EncodeToString(want), base64.URLEncoding.EncodeToString(want) + "\n",
		base64.StdEncoding.EncodeToString(want)[:20] + "\n" + base64.StdEncoding.EncodeToString(want)[20:], // as openssl wraps it
	} {
		t.Setenv("OTP_TEST_SECRET", text)
		got, err := otp.SecretFromEnv("OTP_TEST_SECRET")
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		t.Setenv("OTP_TEST_SECRET", encoding.EncodeToString(want[:32])) // one = of padding
		got, err := otp.SecretFromEnv("OTP_TEST_SECRET")
		require.NoError(t, err)
		require.Equal(t, want[:32], got)
	}
	for text, problem := range map[string]string{
		"":                            "not set",
		" \n ":                        "not set",
		hex.EncodeToString(want[:31]): "31 bytes, want at least 32",
		base64.StdEncoding.EncodeToString(want[:31]):  "31 bytes, want at least 32",
		hex.EncodeToString(want) + "f":                "neither hex nor base64",
		"correct horse battery staple, and then some": "neither hex nor base64",
		base64.StdEncoding.EncodeToString(want) + "?": "neither hex nor base64",
		strings.Repeat("=", 64):                       "0 bytes",
	} {
		t.Setenv("OTP_TEST_SECRET", text)
		secret, err := otp.SecretFromEnv("OTP_TEST_SECRET")
		require.Nil(t, secret)
		require.ErrorContains(t, err, "otp: environment variable OTP_TEST_SECRET: "+problem)
		require.ErrorContains(t, err, "openssl rand -hex 32")
		if len(text) > 3 {
			require.NotContains(t, err.Error(), text) // D1
		}
	}
}
