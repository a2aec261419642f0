package dashboard

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otpstats"
)

// Of each kind the page says what it is, when it was found, with numbers that have a unit, and what to do.
func TestFinding(t *testing.T) {
	found := time.Date(2026, 11, 16, 9, 47, 0, 0, time.UTC)
	b := &board{now: found.Add(24 * time.Hour), chosen: url.Values{}}
	for kind, want := range map[otpstats.AnomalyKind]finding{
		otpstats.DeliveryFalling: {What: "Codes to subject are not coming back.", Advice: lookAt,
			Detail: "Found 16 Nov 09:47, and it lasts: 25 % answered in time, usually 80 %."},
		otpstats.DistributedGuessing: {What: "Somebody guesses at many addresses.", Advice: keepOut,
			Detail: "Found 16 Nov 09:47, and it lasts: 27 addresses and none right when it was found."},
		otpstats.EscalationSpike: {What: "Many guesses at addresses that were guessed at too often.", Advice: keepOut,
			Detail: "Found 16 Nov 09:47, and it lasts: 27 refused guesses when it was found, usually 1."},
		otpstats.ClientSpread: {What: "One client (subject) asks for many addresses.",
			Detail: "Found 16 Nov 09:47, and it lasts: 27 addresses when it was found.",
			Advice: "Limit or block it: its hash is that of Stats.ClientSubject."},
		otpstats.AddressSpread: {What: "Many clients ask for one address (subject).",
			Detail: "Found 16 Nov 09:47, and it lasts: 27 clients when it was found.",
			Advice: "Somebody floods this mailbox; its owner's known devices are not touched. Put a CAPTCHA into Options.Admit."},
		otpstats.Failing: {What: "Codes cannot be sent or checked.",
			Detail: "Found 16 Nov 09:47, and it lasts: 27 failures when it was found, 25 % of all that was done; the limit is 80 %.",
			Advice: "Look at the log for the events send_failed, failed, clock_back and unknown_key."},
		"of a later version": {What: "of a later version", Detail: "Found 16 Nov 09:47, and it lasts."},
	} {
		a := otpstats.Anomaly{Kind: kind, Subject: "subject", Since: found, Count: 27, Seen: 0.25, Usual: 0.8}
		f := b.finding(a)
		require.Equal(t, want.Advice != "", f.Link != "", kind)
		want.Link = f.Link
		require.Equal(t, want, f)
		a.Until = found.Add(4*time.Hour + 36*time.Minute)
		f = b.finding(a)
		require.True(t, f.Over)
		require.Contains(t, f.Detail, "Found 16 Nov 09:47, over 16 Nov 14:23")
	}
}

// A point without neighbours would not be seen.
func TestHasLonePoint(t *testing.T) {
	nan := share(0, 0, 1)
	require.True(t, hasLonePoint([]float64{1}))
	require.True(t, hasLonePoint([]float64{1, 2, nan, 3}))
	require.True(t, hasLonePoint([]float64{nan, 1, nan, 3, 4}))
	require.False(t, hasLonePoint([]float64{1, 2, nan, nan, 3, 4}))
	require.False(t, hasLonePoint([]float64{nan}))
	require.False(t, hasLonePoint(nil))
}
