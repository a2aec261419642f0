package otpstats_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// The end of an anomaly is told once, whichever process sees it first, with how it began; and its
// subject is the client's, as whoever has the client's hash can see.
func TestOnCalm(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		var began, ended atomic.Int64
		var first, last atomic.Pointer[otpstats.Anomaly]
		opts := otpstats.Options{
			Interval:  time.Hour,
			OnAnomaly: func(_ context.Context, a otpstats.Anomaly) { began.Add(1); first.Store(&a) },
			OnCalm:    func(_ context.Context, a otpstats.Anomaly) { ended.Add(1); last.Store(&a); panic("no") },
			OnError: func(_ context.Context, err error) {
				if err.Error() != "otpstats: OnCalm panicked: no" {
					t.Error(err)
				}
			},
		}
		all := []*otpstats.Stats{open(t, d, c, opts)}
		if d.Driver == "pgx" {
			all = append(all, open(t, d, c, opts))
		}
		client := numbered('c', 1)
		for n := range 25 {
			all[0].Observe(t.Context(), otp.Event{Kind: otpevent.Asked, Time: c.Now(), AddressHash: numbered('a', n), ClientHash: client})
		}
		for range 3 {
			for _, s := range all {
				flush(t, s)
			}
			c.Add(time.Minute)
		}
		require.EqualValues(t, 1, began.Load())
		require.Zero(t, ended.Load())
		c.Add(2 * time.Hour)
		for _, s := range all {
			flush(t, s)
		}
		require.EqualValues(t, 1, ended.Load())
		a := *last.Load()
		require.Equal(t, otpstats.ClientSpread, a.Kind)
		require.Equal(t, all[0].ClientSubject(client), a.Subject)
		require.NotEqual(t, client.String(), a.Subject, "the log's")
		require.NotEqual(t, all[0].AddressSubject(client), a.Subject)
		require.Empty(t, all[0].ClientSubject(otp.Hash{}))
		stored, err := all[0].Anomalies(t.Context(), otpstats.Filter{})
		require.NoError(t, err)
		require.Equal(t, []otpstats.Anomaly{a}, stored)
		a.Until = time.Time{}
		require.Equal(t, *first.Load(), a)
		text, err := json.Marshal(a)
		require.NoError(t, err)
		require.JSONEq(t, `{"kind":"client_spread","subject":"`+a.Subject+`","since":"`+a.Since.Format(time.RFC3339)+`","count":25,"seen":25,"usual":20}`, string(text))
		abuse, err := all[0].Abuse(t.Context(), otpstats.Filter{})
		require.NoError(t, err)
		require.Equal(t, a.Subject, abuse.Clients[0].Subject)
	})
}

// Input that is no code belongs to its challenge, where that is known, and makes none.
func TestObserve_malformed(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		s := open(t, d, c, otpstats.Options{Interval: time.Hour})
		all := ask(1, c.Now(), "a.example")
		nonsense := happening{Event: otp.Event{Kind: otpevent.Malformed, Time: c.Now().Add(time.Minute), Purpose: "login", AddressHash: numbered('a', 1), ChallengeHash: all[1].ChallengeHash}}
		tell(s, []happening{all[0], all[1], nonsense})
		flush(t, s)
		of := func(domain string) otpstats.Counts { return total(t, s, otpstats.Filter{Domain: domain}) }
		require.Equal(t, otpstats.Counts{Asked: 1, Sent: 1, Answered: 1, Malformed: 1}, of("a.example"))
		nonsense.ChallengeHash = numbered('q', 2)
		nonsense.tell(s)
		flush(t, s) // before its challenge is known here
		ask(2, c.Now(), "b.example")[1].tell(s)
		flush(t, s)
		require.Equal(t, otpstats.Counts{Sent: 1}, of("b.example"))
		require.EqualValues(t, 2, total(t, s, otpstats.Filter{}).Malformed)
		c.Add(3 * time.Hour)
		flush(t, s)
		require.Equal(t, otpstats.Counts{Asked: 1, Sent: 1, Answered: 1, Malformed: 1, Over: 1, NeverRight: 1}, of("a.example"))
		abuse, err := s.Abuse(t.Context(), otpstats.Filter{})
		require.NoError(t, err)
		require.Len(t, abuse.Hours, 1)
		require.EqualValues(t, 2, abuse.Hours[0].Malformed)
	})
}
