package otpstats_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// A clock that jumps ahead deletes nothing, and when it is set back everything goes on as before.
func TestClock_jumps(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p := e.make(t)
			start := newClock().Now()
			var ahead atomic.Int64
			now := func() time.Time { return start.Add(time.Duration(ahead.Load())) }
			var told []otpstats.AnomalyKind
			s := open(t, p, nil, otpstats.Options{Now: now, OnAnomaly: func(a otpstats.Anomaly) { told = append(told, a.Kind) }})
			db := openAt(t, p)
			events := func() (n int) {
				require.NoError(t, db.QueryRow("SELECT count(*) FROM otp_stats_events").Scan(&n))
				return n
			}
			for n := range 100 {
				tell(s, ask(n, now(), "a.example"))
			}
			flush(t, s)
			ahead.Store(int64(400 * 24 * time.Hour))
			guess(s, 2000, 15, now())
			flush(t, s)
			ahead.Add(int64(10 * time.Minute))
			flush(t, s)
			require.Equal(t, 345, events())

			ahead.Store(int64(2 * time.Minute))
			guess(s, 3000, 15, now())
			flush(t, s)
			ahead.Add(int64(3 * time.Minute))
			flush(t, s)
			require.Empty(t, told, "those of a year ahead do not count")
			guess(s, 4000, 60, now())
			ahead.Add(int64(3 * time.Minute))
			flush(t, s)
			require.Equal(t, []otpstats.AnomalyKind{otpstats.DistributedGuessing}, told)
			ahead.Add(int64(4 * time.Hour))
			flush(t, s)
			ahead.Add(int64(time.Hour))
			flush(t, s)
			counts := total(t, s, otpstats.Filter{From: start, To: now()})
			require.EqualValues(t, 175, counts.Sent)
			require.EqualValues(t, 175, counts.Over, "they are settled")
			abuse, err := s.Abuse(t.Context(), otpstats.Filter{From: start, To: now()})
			require.NoError(t, err)
			require.Len(t, abuse.Hours, 1)
			require.EqualValues(t, 75, abuse.Hours[0].Unsolved)
		})
	}
}

// guess lets count addresses be guessed at.
func guess(s *otpstats.Stats, from, count int, at time.Time) {
	for n := range count {
		all := ask(from+n, at, "a.example")
		all[2].Kind, all[2].Age, all[2].Time, all[2].WrongGuesses = otpevent.Wrong, 5*time.Second, at.Add(5*time.Second), 1
		tell(s, all)
	}
}

// Times of others that cannot be are taken for now, and nothing else that an event can hold stops the writer.
func TestClock_others(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			c := newClock()
			s := open(t, e.make(t), c, otpstats.Options{})
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
}
