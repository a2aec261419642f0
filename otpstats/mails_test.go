package otpstats_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// report is a call of Mail.
func report(n int, provider string, outcome otpevent.Outcome) happening {
	return happening{message: fmt.Sprint("message", n), provider: provider, outcome: outcome}
}

// What is reported of a mail, in any order and in one batch or several, counts
// once for its challenge.
func TestMail_joins(t *testing.T) {
	t.Parallel()
	sent := ask(1, newClock().Now(), "a.example")[1]
	resent := sent
	resent.Resend, resent.Message = true, "message2"
	lost := otpstats.Counts{Sent: 1, FailedMails: 1, Over: 1, NoMail: 1}
	arrived := otpstats.Counts{Sent: 1, Over: 1, NoAnswer: 1}
	again := otpstats.Counts{Sent: 1, Resends: 1, Over: 1, NoAnswer: 1}
	again2 := again
	again2.FailedMails = 1
	cases := map[string]struct {
		all      []happening
		provider string // of the challenge
		want     otpstats.Counts
	}{
		"sent after":      {[]happening{sent, report(1, "one", otpevent.MailSent)}, "one", arrived},
		"sent before":     {[]happening{report(1, "one", otpevent.MailSent), sent}, "one", arrived},
		"unknown":         {[]happening{sent, report(1, "one", otpevent.MailUnknown)}, "one", arrived},
		"delayed":         {[]happening{sent, report(1, "one", otpevent.MailDelayed)}, "", arrived},
		"refused after":   {[]happening{sent, report(1, "", otpevent.MailRefused)}, "", lost},
		"refused before":  {[]happening{report(1, "", otpevent.MailRefused), sent}, "", lost},
		"expired":         {[]happening{sent, report(1, "", otpevent.MailExpired)}, "", lost},
		"dropped":         {[]happening{sent, report(1, "", otpevent.MailDropped)}, "", lost},
		"both, before":    {[]happening{report(1, "one", otpevent.MailSent), report(1, "", otpevent.MailRefused), sent}, "one", lost},
		"both, around":    {[]happening{report(1, "", otpevent.MailRefused), sent, report(1, "one", otpevent.MailSent)}, "one", lost},
		"both, after":     {[]happening{sent, report(1, "", otpevent.MailRefused), report(1, "one", otpevent.MailSent)}, "one", lost},
		"the first":       {[]happening{sent, report(1, "one", otpevent.MailSent), resent, report(2, "two", otpevent.MailSent)}, "one", again},
		"the first known": {[]happening{report(1, "one", otpevent.MailSent), sent, report(1, "two", otpevent.MailUnknown), resent}, "one", again},
		"one of two":      {[]happening{sent, resent, report(2, "", otpevent.MailRefused), report(1, "one", otpevent.MailSent)}, "one", again2},
		"named late":      {[]happening{sent, report(1, "", otpevent.MailSent), report(1, "one", otpevent.MailUnknown)}, "one", arrived},
	}
	for _, each := range []bool{false, true} { // in one batch, or each in its own
		c := newClock()
		s := open(t, sqltest.Fast(t), c, otpstats.Options{Interval: time.Hour, Batch: 4096})
		n := 0
		for name, test := range cases { // a case has its own domain, challenge and mails
			n++
			for _, h := range test.all {
				if h.outcome != "" {
					h.message += name
				} else {
					h.Domain, h.ChallengeHash, h.Message = name, numbered('q', 1000+n), h.Message+name
				}
				h.tell(s)
				if each {
					flush(t, s)
				}
			}
		}
		flush(t, s)
		c.Add(4 * time.Hour)
		flush(t, s)
		providers := map[string]otpstats.Counts{}
		for name, test := range cases {
			rows, err := s.Funnel(t.Context(), otpstats.Filter{Domain: name}, otpstats.Provider)
			require.NoError(t, err)
			require.Equal(t, []otpstats.FunnelRow{{Value: test.provider, Counts: test.want}}, rows, "%s, each: %v", name, each)
			providers[test.provider] = plus(providers[test.provider], test.want)
		}
		all, err := s.Funnel(t.Context(), otpstats.Filter{}, otpstats.Provider)
		require.NoError(t, err)
		require.Len(t, all, len(providers))
		for _, row := range all {
			require.Equal(t, providers[row.Value], row.Counts, "nothing else counts for %q", row.Value)
		}
	}
}

// Late events of an expired challenge are added to it for a day, so that no process
// counts it again. After that only the event counts.
func TestMail_late(t *testing.T) {
	c := newClock()
	s := open(t, sqltest.SQLite(t), c, otpstats.Options{Interval: time.Hour})
	all := ask(1, c.Now(), "a.example")
	late := func(kinds ...otpevent.Kind) {
		for _, kind := range kinds {
			one := all[2]
			one.Kind, one.Time, one.Age = kind, c.Now(), c.Now().Sub(all[0].Time)
			one.tell(s)
		}
		flush(t, s)
	}
	all[1].tell(s)
	flush(t, s)
	c.Add(4 * time.Hour)
	flush(t, s)
	want := otpstats.Counts{Sent: 1, Over: 1, NoAnswer: 1}
	require.Equal(t, want, total(t, s, otpstats.Filter{}))
	late(otpevent.Sent, otpevent.Wrong, otpevent.Expired)
	want = otpstats.Counts{Sent: 1, Over: 1, Answered: 1, Wrong: 1, Expired: 1, NeverRight: 1}
	require.Equal(t, want, total(t, s, otpstats.Filter{}))
	late(otpevent.Verified)
	want.Verified, want.NeverRight = 1, 0
	require.Equal(t, want, total(t, s, otpstats.Filter{}))
	for range 27 {
		c.Add(time.Hour)
		flush(t, s)
	}
	require.Equal(t, want, total(t, s, otpstats.Filter{}))
	late(otpevent.Sent, otpevent.Verified, otpevent.Wrong, otpevent.Expired)
	c.Add(4 * time.Hour)
	flush(t, s)
	want.Wrong, want.Expired = 2, 2
	require.Equal(t, want, total(t, s, otpstats.Filter{}))
	rows, err := s.Funnel(t.Context(), otpstats.Filter{}, otpstats.Hour)
	require.NoError(t, err)
	require.Len(t, rows, 1, "in the hour in which it was opened")
}

// The second right answer of a challenge is not one, and a mail that failed and came all the same was sent.
func TestChallenge_once(t *testing.T) {
	c := newClock()
	s := open(t, sqltest.SQLite(t), c, otpstats.Options{Interval: time.Hour})
	all := ask(1, c.Now(), "a.example")
	twice := all[2]
	twice.Age = time.Hour
	all[1].Kind = otpevent.SendFailed
	tell(s, append(all, twice))
	malformed := ask(2, c.Now(), "a.example")
	malformed[2].Kind = otpevent.Malformed
	tell(s, malformed)
	decoy := ask(3, c.Now(), "a.example")
	decoy[1].Kind, decoy[2].Kind = otpevent.Decoy, otpevent.Wrong
	tell(s, decoy)
	flush(t, s)
	require.Equal(t, otpstats.Counts{Asked: 3, Sent: 2, FailedMails: 1, Decoys: 1, Answered: 2, Verified: 1, Wrong: 1, Malformed: 1}, total(t, s, otpstats.Filter{}))
	times, err := s.AnswerTimes(t.Context(), otpstats.Filter{})
	require.NoError(t, err)
	require.Less(t, times.P50, time.Minute)
	c.Add(4 * time.Hour)
	flush(t, s)
	counts := total(t, s, otpstats.Filter{})
	require.EqualValues(t, 2, counts.Over)
	require.EqualValues(t, 1, counts.NeverRight)
}

// An outcome that does not exist is reported as an error.
func TestMail_nonsense(t *testing.T) {
	var heard []error
	s := open(t, sqltest.SQLite(t), newClock(), otpstats.Options{Interval: time.Hour, OnError: func(_ context.Context, err error) { heard = append(heard, err) }})
	s.Mail("message1", "one", "temporary")
	flush(t, s)
	require.Len(t, heard, 1)
	require.EqualError(t, heard[0], `otpstats: Mail: unknown outcome "temporary"`)
	require.Zero(t, total(t, s, otpstats.Filter{}))
}
