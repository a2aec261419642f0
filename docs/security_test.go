package docs_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otptest"
)

// J7: the chances in SECURITY.md follow from the defaults: the guesses are counted
// against a real verifier day by day for a year, and the codes by their size.
func TestSECURITY(t *testing.T) {
	text, err := os.ReadFile(".github/SECURITY.md")
	require.NoError(t, err)
	day, year := guessesOfAnAttacker(t, false)
	require.Equal(t, 10, day)
	require.Equal(t, 390, year, "thirteen windows of thirty days begin in a year")
	dayKnown, yearKnown := guessesOfAnAttacker(t, true)
	require.Equal(t, day, dayKnown)
	both := year + yearKnown
	require.Contains(t, strings.Join(strings.Fields(string(text)), " "),
		fmt.Sprintf("%d guesses in a year instead of %d, with six digits 1 in %s.", both, year, thousands(1/(-math.Expm1(float64(both)*math.Log1p(-1e-6))))))
	for _, row := range []struct {
		name   string
		digits int
	}{{"6 digits (the default)", 6}, {"8 digits", 8}} {
		chance := func(guesses int) float64 { return -math.Expm1(float64(guesses) * math.Log1p(-math.Pow10(-row.digits))) }
		require.Contains(t, string(text), fmt.Sprintf("| %s | 1 in %s | 1 in %s |", row.name, thousands(1/chance(day)), thousands(1/chance(year))))
	}
	strong := otp.Letters(14).(interface{ Bits() float64 }).Bits()
	require.Contains(t, string(text), fmt.Sprintf("one guess | 1 in %.1e |", math.Exp2(strong)))
}

// guessesOfAnAttacker counts the verdicts on short codes that an attacker who
// never stops gets on the first day and in a year.
func guessesOfAnAttacker(t *testing.T, known bool) (day, year int) {
	clock := testkit.NewClock()
	inbox := &otptest.Inbox{}
	v, err := otp.NewVerifier(otp.NewMemoryStore(&otp.MemoryOptions{Now: clock.Now}), inbox, &otp.Options{Now: clock.Now})
	require.NoError(t, err)
	const bob = "bob@example.com"
	start := clock.Now()
	for clock.Now().Sub(start) < 365*24*time.Hour {
		ch, err := v.Send(t.Context(), otp.Request{To: bob, Proven: known})
		for err == nil && !ch.Strong {
			m, _ := inbox.Last(bob)
			if _, err := v.Check(t.Context(), ch.ID, testkit.WrongCode(m.Code)); !errors.Is(err, otp.ErrCode) {
				break
			}
			year++
		}
		inbox.Reset()
		clock.Add(30 * time.Minute)
		if clock.Now().Sub(start) == 24*time.Hour {
			day = year
		}
	}
	return day, year
}

// J7, J8: what SECURITY.md says that a flood costs a store, and what whoever
// writes to the store can do.
func TestSECURITY_store(t *testing.T) {
	text, err := os.ReadFile(".github/SECURITY.md")
	require.NoError(t, err)
	clock := testkit.NewClock()
	store := &watchedStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: clock.Now})}
	inbox := &otptest.Inbox{}
	v, err := otp.NewVerifier(store, inbox, &otp.Options{Now: clock.Now, Secrets: [][]byte{[]byte("32 bytes of a secret for a test.")}})
	require.NoError(t, err)
	const bob = "bob@example.com"
	ch, err := v.Send(t.Context(), otp.Request{To: bob})
	require.NoError(t, err)
	require.InDelta(t, 110, len(store.value), 10)
	require.Contains(t, string(text), "about 110 bytes of value for each start")
	require.Equal(t, 26*time.Hour, store.ttl.Truncate(time.Hour))
	m, _ := inbox.Last(bob)
	_, err = v.Check(t.Context(), ch.ID, testkit.WrongCode(m.Code))
	require.ErrorIs(t, err, otp.ErrCode)
	require.Equal(t, 30*24*time.Hour, store.ttl.Truncate(time.Hour))
	require.Contains(t, string(text), "for 26 hours, and for 30 days after a wrong guess")

	// Putting the entry back after each guess makes all guesses free.
	key, before := store.key, store.value
	for range 50 {
		_, err = v.Check(t.Context(), ch.ID, testkit.WrongCode(m.Code))
		require.ErrorIs(t, err, otp.ErrCode)
		swapped, err := store.Store.CompareAndSwap(t.Context(), key, store.value, before, time.Hour)
		require.NoError(t, err)
		require.True(t, swapped)
	}
	_, err = v.Check(t.Context(), ch.ID, m.Code)
	require.NoError(t, err)
	require.Contains(t, string(text), "sign in as anybody")
}

// watchedStore shows what was written last.
type watchedStore struct {
	otp.Store
	key   string
	value []byte
	ttl   time.Duration
}

func (s *watchedStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	ok, err := s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	if ok {
		s.key, s.value, s.ttl = key, new, ttl
	}
	return ok, err
}

// thousands writes a number in whole units with commas.
func thousands(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
