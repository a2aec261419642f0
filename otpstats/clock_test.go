package otpstats_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// A clock that jumps ahead deletes nothing, and when it is set back everything goes on as before.
func TestClock_jumps(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		start := c.Now()
		var found []otpstats.AnomalyKind
		s := open(t, d, c, otpstats.Options{OnAnomaly: func(_ context.Context, a otpstats.Anomaly) { found = append(found, a.Kind) }})
		db := d.Open(t)
		events := func() (n int) {
			require.NoError(t, db.QueryRow("SELECT count(*) FROM otp_stats_events").Scan(&n))
			return n
		}
		for n := range 100 {
			tell(s, ask(n, c.Now(), "a.example"))
		}
		flush(t, s)
		c.Add(400 * 24 * time.Hour)
		guess(s, 2000, 15, c.Now())
		flush(t, s)
		c.Add(10 * time.Minute)
		flush(t, s)
		require.Equal(t, 345, events())

		c.Set(start.Add(2 * time.Minute))
		guess(s, 3000, 15, c.Now())
		flush(t, s)
		c.Add(3 * time.Minute)
		flush(t, s)
		require.Empty(t, found, "those of a year ahead do not count")
		guess(s, 4000, 60, c.Now())
		c.Add(3 * time.Minute)
		flush(t, s)
		require.Equal(t, []otpstats.AnomalyKind{otpstats.DistributedGuessing}, found)
		c.Add(4 * time.Hour)
		flush(t, s)
		c.Add(time.Hour)
		flush(t, s)
		counts := total(t, s, otpstats.Filter{From: start, To: c.Now()})
		require.EqualValues(t, 175, counts.Sent)
		require.EqualValues(t, 175, counts.Over, "they are closed")
		abuse, err := s.Abuse(t.Context(), otpstats.Filter{From: start, To: c.Now()})
		require.NoError(t, err)
		require.Len(t, abuse.Hours, 1)
		require.EqualValues(t, 75, abuse.Hours[0].Unsolved)
	})
}

// guess has somebody guess at count addresses.
func guess(s *otpstats.Stats, from, count int, at time.Time) {
	for n := range count {
		all := ask(from+n, at, "a.example")
		all[2].Kind, all[2].Age, all[2].Time, all[2].WrongGuesses = otpevent.Wrong, 5*time.Second, at.Add(5*time.Second), 1
		tell(s, all)
	}
}

// Times of others that cannot be are taken for now, and nothing else that an event can hold stops the writer.
func TestClock_others(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		s := open(t, d, c, otpstats.Options{})
		for n, at := range []time.Time{{}, time.Unix(0, 0).Add(-time.Second), c.Now().AddDate(1, 0, 0), time.Unix(1<<40, 0), c.Now()} {
			all := ask(n, at, "a.example")
			all[1].Age, all[2].Age = -time.Hour, 1<<62
			wrong := all[2]
			wrong.Kind, wrong.WrongGuesses = otpevent.Wrong, 1<<40
			tell(s, append(all, wrong))
		}
		flush(t, s)
		counts := total(t, s, otpstats.Filter{From: c.Now()})
		require.EqualValues(t, 5, counts.Asked)
		c.Add(24 * time.Hour)
		flush(t, s)
		require.EqualValues(t, 5, total(t, s, otpstats.Filter{From: c.Now().AddDate(0, 0, -2)}).Asked)
	})
}
