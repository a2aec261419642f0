package otp_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// The chances in SECURITY.md follow from the defaults: wrong guesses are counted
// against a real verifier for a year, and the codes by their size.
func TestSECURITY(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	day, year := guessesOfAnAttacker(t)
	require.Equal(t, 10, day)
	require.Equal(t, 365, year)
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

// guessesOfAnAttacker counts the verdicts on short codes that one who never
// stops is told on the first day and, at the rate of thirty a window, in a year.
func guessesOfAnAttacker(t *testing.T) (day, year int) {
	r := newRig(t, otp.Options{})
	start := r.clock.Now()
	told := 0
	for r.clock.Now().Sub(start) < 60*24*time.Hour {
		ch, err := r.Send(ctx, otp.Request{To: bob})
		for err == nil && !ch.Strong {
			if _, err := r.Check(ctx, ch.ID, wrong(r.last().Code)); !errors.Is(err, otp.ErrCode) {
				break
			}
			told++
		}
		r.clock.add(20 * time.Minute)
		if r.clock.Now().Sub(start) == 24*time.Hour {
			day = told
		}
	}
	require.Equal(t, 60, told, "thirty in each thirty days")
	return day, told * 365 / 60
}

// thousands writes a number in whole units with commas.
func thousands(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
