package docs_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otptest"
)

// The chances in SECURITY.md follow from the defaults: the guesses are counted
// against a real verifier for a year, and the codes by their size.
func TestSECURITY(t *testing.T) {
	text, err := os.ReadFile(".github/SECURITY.md")
	require.NoError(t, err)
	day, year := guessesOfAnAttacker(t)
	require.Equal(t, 10, day)
	require.Equal(t, 390, year, "thirteen windows of thirty days begin in a year")
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
func guessesOfAnAttacker(t *testing.T) (day, year int) {
	clock := testkit.NewClock()
	inbox := &otptest.Inbox{}
	v, err := otp.NewVerifier(otp.NewMemoryStore(&otp.MemoryOptions{Now: clock.Now}), inbox, &otp.Options{Now: clock.Now})
	require.NoError(t, err)
	const bob = "bob@example.com"
	start := clock.Now()
	for clock.Now().Sub(start) < 365*24*time.Hour {
		ch, err := v.Send(t.Context(), otp.Request{To: bob})
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

// thousands writes a number in whole units with commas.
func thousands(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
