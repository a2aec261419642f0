package otpstats

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What compare calls so many standard errors is about as rare as that, for few mails, too: to a factor of twenty.
func TestCompare(t *testing.T) {
	const past = 1e9
	for _, p := range []float64{.75, .8, .9, .95} {
		for n := int64(6); n <= 60; n += 6 {
			tail := 0.0 // the chance of k of n or fewer
			for k := range n {
				choose, _ := math.Lgamma(float64(n + 1))
				a, _ := math.Lgamma(float64(k + 1))
				b, _ := math.Lgamma(float64(n - k + 1))
				tail += math.Exp(choose - a - b + float64(k)*math.Log(p) + float64(n-k)*math.Log(1-p))
				_, _, z := compare(k, n, p*past, past)
				if z < 3 || z > 7 {
					continue
				}
				told := math.Erfc(z/math.Sqrt2) / 2
				require.InDelta(t, 0, math.Log10(told/tail), 1.3, "%d of %d at %v: %v standard errors, and the chance is %v", k, n, p, z, tail)
			}
		}
	}
	for _, none := range [][4]float64{{0, 0, 1, 2}, {0, 9, 0, 0}, {5, 10, 100, 200}, {9, 10, 100, 200}, {0, 9, 0, 200}} {
		_, _, z := compare(int64(none[0]), int64(none[1]), none[2], none[3])
		require.Zero(t, z, "%v", none)
	}
	_, _, sure := compare(0, 10, 200, 200) // a past without any failure is no certainty
	require.InDelta(t, 8.97, sure, 0.1)
	_, _, few := compare(0, 10, 20, 20)
	require.Less(t, few, sure)
}

// delivered feeds minutes of mails to one domain, so many in each, of which lost say how
// many are not answered, and returns the minutes in which the rule began and ended to tell of it.
func delivered(t *testing.T, rule DeliveryRule, minutes, each int64, lost func(mail int64) bool) (began, ended []int64) {
	rules, err := Rules{Delivery: rule}.filled()
	require.NoError(t, err)
	w, m := newWatch(rules), newMonth(1)
	w.minute = 1
	for mail := range minutes * each {
		at := (60_000 + mail*60_000/each)
		w.advance(at)
		e := event{time: at, kind: kindSent, domain: "post.example", address: m.hash(), client: m.hash()}
		w.feed(&e)
		if mail%11 > 0 && !lost(mail) { // one of eleven forgets it, always
			e.kind, e.age, e.time = kindVerified, 100, at+100
			w.feed(&e)
		}
	}
	for _, n := range w.news {
		if n.begins {
			began = append(began, n.Since.Unix()/60)
		} else {
			ended = append(ended, n.Until.Unix()/60)
		}
	}
	return began, ended
}

// A domain with a mail every minute loses all of them from minute 601 on.
func TestRules_deliveryFalling(t *testing.T) {
	for name, test := range map[string]struct {
		rule  DeliveryRule
		found []int64 // the minute in which it is told
	}{
		"the usual":         {DeliveryRule{}, []int64{613}},
		"needs more":        {DeliveryRule{MinSent: 15}, []int64{614}},
		"needs too many":    {DeliveryRule{MinSent: 61}, nil},
		"is more careful":   {DeliveryRule{Z: 7}, []int64{615}},
		"a longer stretch":  {DeliveryRule{Window: time.Hour}, []int64{623}},
		"wants a long past": {DeliveryRule{MinPast: 700}, nil},
		"wants all gone":    {DeliveryRule{Drop: 0.99, MinSent: 20}, []int64{624}},
		"is off":            {DeliveryRule{Off: true}, nil},
	} {
		began, _ := delivered(t, test.rule, 700, 1, func(mail int64) bool { return mail >= 600 })
		require.Equal(t, test.found, began, name)
	}
}

// It lasts while the share is still low, with less certainty, and ends when it has been well for a while.
func TestRules_deliveryLasts(t *testing.T) {
	began, ended := delivered(t, DeliveryRule{}, 1200, 20, func(mail int64) bool {
		switch minute := mail / 20; {
		case minute < 600:
			return false
		case minute < 660:
			return true
		case minute < 900:
			return mail%5 == 0
		}
		return mail%20 == 0
	})
	require.Equal(t, []int64{608}, began)
	require.Equal(t, []int64{936}, ended)
}
