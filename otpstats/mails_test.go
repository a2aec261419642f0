package otpstats_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// report is a call of Mail.
func report(n int, provider, outcome string) happening {
	return happening{message: fmt.Sprint("message", n), provider: provider, outcome: outcome}
}

// What is said of a mail, in any order and in one batch or several, joins its challenge once.
func TestMail_joins(t *testing.T) {
	sent := ask(1, newClock().Now(), "a.example")[1]
	resent := sent
	resent.Resend, resent.Message = true, "message2"
	lost := otpstats.Counts{Sent: 1, FailedMails: 1, Over: 1, NoMail: 1}
	arrived := otpstats.Counts{Sent: 1, Over: 1, NoAnswer: 1}
	again := otpstats.Counts{Sent: 1, Resends: 1, Over: 1, NoAnswer: 1}
	again2 := again
	again2.FailedMails = 1
	for name, test := range map[string]struct {
		all      []happening
		provider string // of the challenge
		want     otpstats.Counts
	}{
		"sent after":      {[]happening{sent, report(1, "one", otpstats.MailSent)}, "one", arrived},
		"sent before":     {[]happening{report(1, "one", otpstats.MailSent), sent}, "one", arrived},
		"unknown":         {[]happening{sent, report(1, "one", otpstats.MailUnknown)}, "one", arrived},
		"delayed":         {[]happening{sent, report(1, "one", otpstats.MailDelayed)}, "", arrived},
		"refused after":   {[]happening{sent, report(1, "", otpstats.MailRefused)}, "", lost},
		"refused before":  {[]happening{report(1, "", otpstats.MailRefused), sent}, "", lost},
		"expired":         {[]happening{sent, report(1, "", otpstats.MailExpired)}, "", lost},
		"dropped":         {[]happening{sent, report(1, "", otpstats.MailDropped)}, "", lost},
		"both, before":    {[]happening{report(1, "one", otpstats.MailSent), report(1, "", otpstats.MailRefused), sent}, "one", lost},
		"both, around":    {[]happening{report(1, "", otpstats.MailRefused), sent, report(1, "one", otpstats.MailSent)}, "one", lost},
		"both, after":     {[]happening{sent, report(1, "", otpstats.MailRefused), report(1, "one", otpstats.MailSent)}, "one", lost},
		"the first":       {[]happening{sent, report(1, "one", otpstats.MailSent), resent, report(2, "two", otpstats.MailSent)}, "one", again},
		"the first known": {[]happening{report(1, "one", otpstats.MailSent), sent, report(1, "two", otpstats.MailUnknown), resent}, "one", again},
		"one of two":      {[]happening{sent, resent, report(2, "", otpstats.MailRefused), report(1, "one", otpstats.MailSent)}, "one", again2},
		"named late":      {[]happening{sent, report(1, "", otpstats.MailSent), report(1, "one", otpstats.MailUnknown)}, "one", arrived},
	} {
		for _, batches := range []bool{false, true} {
			c := newClock()
			s := open(t, engines[0].make(t), c, otpstats.Options{Interval: time.Hour})
			for _, h := range test.all {
				h.tell(s)
				if batches {
					flush(t, s)
				}
			}
			flush(t, s)
			c.Add(4 * time.Hour)
			flush(t, s)
			rows, err := s.Funnel(t.Context(), otpstats.Filter{}, otpstats.Provider)
			require.NoError(t, err)
			require.Equal(t, []otpstats.FunnelRow{{Value: test.provider, Counts: test.want}}, rows, "%s, in batches: %v", name, batches)
		}
	}
}

// What is told of a challenge that is over joins it for a day, so that no process counts it again;
// after that only the event counts.
func TestMail_late(t *testing.T) {
	c := newClock()
	s := open(t, engines[0].make(t), c, otpstats.Options{Interval: time.Hour})
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
	s := open(t, engines[0].make(t), c, otpstats.Options{Interval: time.Hour})
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

// Whoever reports an outcome that there is not is told.
func TestMail_nonsense(t *testing.T) {
	var heard []error
	s := open(t, engines[0].make(t), newClock(), otpstats.Options{Interval: time.Hour, OnError: func(err error) { heard = append(heard, err) }})
	s.Mail("message1", "one", "temporary")
	flush(t, s)
	require.Len(t, heard, 1)
	require.EqualError(t, heard[0], `otpstats: Mail: "temporary" is no outcome`)
	require.Zero(t, total(t, s, otpstats.Filter{}))
}
