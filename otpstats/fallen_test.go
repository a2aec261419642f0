package otpstats

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// The numbers of Rules.Delivery hold for FallenDomains, and the worst stretch of any length is found.
func TestFallenDomains_rule(t *testing.T) {
	past := mailedHour{sent: 400, verified: 360}
	const hour = int64(3600)
	one := []mailedHour{{100 * hour, 20, 18}, {101 * hour, 20, 5}, {102 * hour, 20, 18}}
	var slow []mailedHour // little is sent, and of it a third is gone for long
	for h := range int64(20) {
		slow = append(slow, mailedHour{(100 + h) * hour, 4, 2})
	}
	for name, test := range map[string]struct {
		rule     DeliveryRule
		list     []mailedHour
		from, to int64 // the hours; 0 for none
		sent     int64
	}{
		"one hour":      {DeliveryRule{}, one, 101, 102, 20},
		"needs as many": {DeliveryRule{MinSent: 20}, one, 101, 102, 20},
		"needs more":    {DeliveryRule{MinSent: 21}, one, 0, 0, 0},
		"needs a past":  {DeliveryRule{MinPast: 440}, one, 101, 102, 20},
		"a longer one":  {DeliveryRule{MinPast: 441}, one, 0, 0, 0},
		"is careful":    {DeliveryRule{Z: 8}, one, 0, 0, 0},
		"wants it gone": {DeliveryRule{Drop: .8}, one, 0, 0, 0},
		"long":          {DeliveryRule{}, slow, 100, 120, 80},
		"with pauses":   {DeliveryRule{}, []mailedHour{{100 * hour, 20, 18}, {107 * hour, 12, 2}, {109 * hour, 12, 2}, {112 * hour, 20, 18}}, 107, 110, 24},
	} {
		rules, err := Rules{Delivery: test.rule}.filled()
		require.NoError(t, err)
		s := &Stats{opts: Options{Rules: rules}}
		d, found := s.worst(test.list, past, hour)
		require.Equal(t, test.from > 0, found, "%s: %+v", name, d)
		if found {
			require.Equal(t, [3]int64{test.from, test.to, test.sent}, [3]int64{d.From.Unix() / hour, d.To.Unix() / hour, d.Sent}, name)
			var all mailedHour
			for _, h := range test.list {
				all.sent, all.verified = all.sent+h.sent, all.verified+h.verified
			}
			require.Equal(t, past.sent+all.sent, d.Sent+d.PastSent, name)
			require.Equal(t, past.verified+all.verified, d.Verified+d.PastVerified, name)
		}
	}
}

// What is compared: four weeks before the range, without those whose mail arrived, or may still be answered.
func TestFallenDomains_counts(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 30, 0, 0, time.UTC)
	s := standing(t, filepath.Join(t.TempDir(), "stats.db"), &now, Options{})
	from := now.AddDate(0, 0, -3)
	before := from.AddDate(0, 0, -28)
	for _, name := range []string{"a.example", "b.example", Other, ""} {
		v := values{domain: name}
		s.add(t, before.AddDate(0, 0, -1), v, map[int]int64{sent: 9000})
		s.add(t, before.AddDate(0, 0, 1), v, map[int]int64{sent: 500, verified: 440, neverRight: 20})
		s.add(t, now.AddDate(0, 0, -1), v, map[int]int64{sent: 60, verified: 5, neverRight: 20})
	}
	s.add(t, now.AddDate(0, 0, -2), values{domain: "b.example"}, map[int]int64{sent: 70})
	tell := func(n int, at time.Time, purpose string, kinds ...otpevent.Kind) {
		for _, k := range kinds {
			s.Observe(t.Context(), otp.Event{Kind: k, Time: at, Purpose: purpose, Domain: "a.example", ChallengeHash: otp.Hash{1, byte(n)}})
		}
	}
	tell(1, now.Add(-9*time.Minute), "login", otpevent.Sent)                      // young
	tell(2, now.Add(-20*time.Minute), "login", otpevent.Sent, otpevent.Wrong)     // typed
	tell(3, now.Add(-20*time.Minute), "login", otpevent.Sent, otpevent.Malformed) // typed
	tell(4, now.Add(-20*time.Minute), "login", otpevent.Sent)                     // no answer
	tell(5, now.Add(-9*time.Minute), "login", otpevent.Sent, otpevent.Verified)   // answered
	tell(6, now.Add(-9*time.Minute), "login", otpevent.SendFailed)                // not sent
	tell(7, now.Add(-9*time.Minute), "pay", otpevent.Sent)                        // another's
	require.NoError(t, s.Flush(t.Context()))

	for purpose, want := range map[string]mailedHour{"": {sent: 2, verified: 1}, "login": {sent: 2, verified: 1}, "pay": {}} {
		hours, err := s.mailedHours(t.Context(), s.scope(Filter{From: from, Purpose: purpose}, Hour))
		require.NoError(t, err)
		list := hours["a.example"]
		want.time = now.Truncate(time.Hour).Unix()
		require.Equal(t, want, list[len(list)-1], "of purpose %q", purpose)
	}
	days, err := s.mailedHours(t.Context(), s.scope(Filter{From: now.AddDate(0, 0, -60)}, None))
	require.NoError(t, err)
	list := days["a.example"]
	require.Equal(t, mailedHour{time: now.Truncate(24 * time.Hour).Unix(), sent: 2, verified: 1}, list[len(list)-1])

	fallen, err := s.FallenDomains(t.Context(), Filter{From: from})
	require.NoError(t, err)
	require.Len(t, fallen, 2)
	b, a := fallen[0], fallen[1]
	require.Equal(t, []string{"b.example", "a.example"}, []string{b.Domain, a.Domain}, "the most certain first")
	require.Greater(t, b.Z, a.Z)
	require.EqualValues(t, 40, a.Sent)
	require.EqualValues(t, 480+2, a.PastSent)
	require.EqualValues(t, 440+1, a.PastVerified)
	require.Equal(t, now.AddDate(0, 0, -1).Truncate(time.Hour), a.From)

	long, err := s.FallenDomains(t.Context(), Filter{From: now.AddDate(0, 0, -33)})
	require.NoError(t, err)
	require.NotEmpty(t, long)
	for _, d := range long {
		require.Equal(t, d.From.Truncate(24*time.Hour), d.From, "by the day")
		require.Equal(t, d.To.Truncate(24*time.Hour), d.To)
	}
}

// From and To are rounded to hours, and to days where the range is long.
func TestFilter_range(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	s := &Stats{opts: Options{Now: func() time.Time { return now }}}
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 3, day, hour, minute, 0, 0, time.UTC) }
	for name, test := range map[string]struct {
		filter   Filter
		by       Dimension
		from, to time.Time
		long     bool
	}{
		"none":          {Filter{}, None, at(24, 12, 0), at(31, 13, 0), false},
		"full hours":    {Filter{From: at(1, 5, 0), To: at(1, 6, 0)}, None, at(1, 5, 0), at(1, 6, 0), false},
		"parts of them": {Filter{From: at(1, 5, 59), To: at(1, 6, 1)}, None, at(1, 5, 0), at(1, 7, 0), false},
		"14 days":       {Filter{From: at(1, 5, 0), To: at(15, 5, 0)}, None, at(1, 5, 0), at(15, 5, 0), false},
		"more":          {Filter{From: at(1, 5, 0), To: at(15, 5, 1)}, Day, at(1, 0, 0), at(16, 0, 0), true},
		"full days":     {Filter{From: at(1, 0, 0), To: at(31, 0, 0)}, App, at(1, 0, 0), at(31, 0, 0), true},
		"by the hour":   {Filter{From: at(1, 5, 0), To: at(31, 5, 1)}, Hour, at(1, 5, 0), at(31, 6, 0), false},
		"elsewhere":     {Filter{From: at(1, 5, 30).In(time.FixedZone("", 1800)), To: at(1, 6, 0)}, None, at(1, 5, 0), at(1, 6, 0), false},
	} {
		sc := s.scope(test.filter, test.by)
		require.Equal(t, []any{test.from, test.to, test.long}, []any{sc.from, sc.to, sc.long}, name)
	}
}
