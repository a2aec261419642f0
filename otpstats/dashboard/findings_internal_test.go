package dashboard

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otpstats"
)

// For each kind the page says what it is, when it was detected, with numbers that
// have a unit, and what to do.
func TestFinding(t *testing.T) {
	found := time.Date(2026, 11, 16, 9, 47, 0, 0, time.UTC)
	b := &board{now: found.Add(24 * time.Hour), chosen: url.Values{}}
	for kind, want := range map[otpstats.AnomalyKind]finding{
		otpstats.DeliveryFalling: {
			What: "Codes to subject are not coming back.", Advice: lookAt,
			Detail: "Detected 16 Nov 09:47, not ended: 25 % answered in time, usually 80 %.",
		},
		otpstats.DistributedGuessing: {
			What: "Somebody is guessing at many addresses.", Advice: keepOut,
			Detail: "Detected 16 Nov 09:47, not ended: 27 addresses without a correct code at detection.",
		},
		otpstats.StrongCodes: {
			What: "Unusually many mails carry a strong code: their addresses had too many wrong guesses or unused codes.", Advice: keepOut,
			Detail: "Detected 16 Nov 09:47, not ended: 27 strong codes at detection, 25.0 % of all mails, usually 80.0 %.",
		},
		otpstats.ClientSpread: {
			What:   "One client (subject) is asking for many addresses.",
			Detail: "Detected 16 Nov 09:47, not ended: 27 addresses at detection.",
			Advice: "Limit or block it. Stats.ClientSubject computes this name from the client's hash.",
		},
		otpstats.AddressSpread: {
			What:   "Many clients are asking for one address (subject).",
			Detail: "Detected 16 Nov 09:47, not ended: 27 clients at detection.",
			Advice: "Somebody is flooding this mailbox. Known devices of its owner are not affected. Ask for a CAPTCHA before Send.",
		},
		otpstats.Failing: {
			What:   "Codes cannot be sent or checked.",
			Detail: "Detected 16 Nov 09:47, not ended: 27 failures at detection, 25 % of all calls; the limit is 80 %.",
			Advice: "Check the log for the events send_failed, failed, clock_back and unknown_key.",
		},
		otpstats.Crowded: {
			What:   "Strangers have used three quarters of the codes that they may ask for.",
			Detail: "Detected 16 Nov 09:47, not ended.",
			Advice: "Once all are used, people on new devices are refused; known devices are not. Ask for a CAPTCHA before Send. If these are your users, raise otp.Options.StrangerStarts.",
		},
		otpstats.Evicted: {
			What:   "The memory store is full and has dropped young entries.",
			Detail: "Detected 16 Nov 09:47, not ended: 27 entries at detection.",
			Advice: "Codes or counts of wrong guesses were forgotten. Raise otp.MemoryOptions.MaxEntries, or use a store on disk. If this is a flood, ask for a CAPTCHA before Send.",
		},
		otpstats.EventsLost: {
			What:   "Events were lost.",
			Detail: "Detected 16 Nov 09:47, not ended: 27 events at detection. The database is slow or down, or the queue is too short.",
			Advice: "The numbers of that time are too small. Check the errors that otpstats.Options.OnError received, or increase Options.Queue.",
		},
		"of a later version": {What: "of a later version", Detail: "Detected 16 Nov 09:47, not ended."},
	} {
		a := otpstats.Anomaly{Kind: kind, Subject: "subject", Since: found, Count: 27, Seen: 0.25, Usual: 0.8}
		f := b.finding(a)
		require.Equal(t, want.Advice != "", f.Link != "", kind)
		want.Link = f.Link
		require.Equal(t, want, f)
		a.Until = found.Add(4*time.Hour + 36*time.Minute)
		f = b.finding(a)
		require.True(t, f.Over)
		require.Contains(t, f.Detail, "Detected 16 Nov 09:47, ended 16 Nov 14:23")
	}
}

// A point without neighbors would be invisible.
func TestHasLonePoint(t *testing.T) {
	nan := share(0, 0, 1)
	require.True(t, hasLonePoint([]float64{1}))
	require.True(t, hasLonePoint([]float64{1, 2, nan, 3}))
	require.True(t, hasLonePoint([]float64{nan, 1, nan, 3, 4}))
	require.False(t, hasLonePoint([]float64{1, 2, nan, nan, 3, 4}))
	require.False(t, hasLonePoint([]float64{nan}))
	require.False(t, hasLonePoint(nil))
}
