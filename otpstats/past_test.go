package otpstats

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
)

// newClock returns a clock that begins at noon on a Monday.
func newClock() *testkit.Clock {
	return testkit.NewClockAt(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC))
}

// openStats opens stats that end with the test. Its writer must not fail, and
// writes only on Flush and Close.
func openStats(t *testing.T, d sqltest.Database, c *testkit.Clock, opts Options) *Stats {
	opts.Key, opts.Interval, opts.Now = make([]byte, 16), time.Hour, c.Now
	opts.OnError = func(_ context.Context, err error) { t.Error(err) }
	dialect := SQLite
	if d.Driver == "pgx" {
		dialect = PostgreSQL
	}
	s, err := Open(t.Context(), d.Open(t), dialect, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// add adds a tally to the roll-ups.
func (s *Stats) add(t *testing.T, at time.Time, v values, set map[int]int64) {
	ru, n := rollup{}, tally{}
	for column, value := range set {
		n[column] = value
	}
	ru.add(at.UnixMilli(), v, &n, 1)
	require.NoError(t, s.update(t.Context(), func(tx *sql.Tx) error { return s.addRollup(t.Context(), tx, ru) }))
}

// After a restart the rules know what was usual in the last four weeks.
func TestRestart_past(t *testing.T) {
	d, c := sqltest.SQLite(t), newClock()
	s := openStats(t, d, c, Options{})
	now := c.Now()
	month := now.AddDate(0, 0, -28)
	for _, at := range []time.Time{month.AddDate(0, 0, -1), month.AddDate(0, 0, 1), now} {
		s.add(t, at, values{domain: "a.example"}, map[int]int64{
			sent: 100, strong: 3, answered: 90, neverRight: 10, verified: 80, ageColumn: 30, ageColumn + quickBuckets - 1: 20, ageColumn + quickBuckets: 30,
		})
	}
	s.add(t, now, values{domain: Other}, map[int]int64{sent: 1000, answered: 50, neverRight: 40, ageColumn: 10})
	require.NoError(t, s.Close(t.Context()))
	require.Zero(t, s.watch.pastMails)

	w := openStats(t, d, c, Options{}).watch
	require.Len(t, w.domains, 1)
	require.Equal(t, 180.0, w.domains["a.example"].past.sent)
	require.Equal(t, 100.0, w.domains["a.example"].past.quick)
	share := (10.0/90 + 50.0/140) / 2 // of the median of the two days
	require.InDelta(t, 230*share, w.unsolved, 1e-9)
	require.InDelta(t, 230*(1-share), w.solved, 1e-9)
	require.Equal(t, 1200.0, w.pastMails)
	require.InDelta(t, 1200*(3.0/100+3.0/1100)/2, w.pastStrong, 1e-9)
}

// An attack is found that began before a restart, also where more was written meanwhile than is read at once.
// One that ends and begins again is reported again; each has its end.
func TestRestart_attack(t *testing.T) {
	testkit.Long(t)
	d, c := sqltest.Fast(t), newClock()
	var found []Anomaly
	opts := Options{OnAnomaly: func(_ context.Context, a Anomaly) { found = append(found, a) }}
	s, m := openStats(t, d, c, opts), newMonth(1)
	guess := func(n int) {
		for range n {
			s.Observe(t.Context(), otp.Event{Kind: otpevent.Wrong, Time: c.Now(), AddressHash: m.hash(), ChallengeHash: m.hash(), WrongGuesses: 1})
		}
	}
	look := func(d time.Duration) {
		require.NoError(t, s.Flush(t.Context()))
		c.Add(d)
		require.NoError(t, s.Flush(t.Context()))
	}
	restart := func() {
		require.NoError(t, s.Close(t.Context()))
		s = openStats(t, d, c, opts)
	}
	for range 6000 {
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Sent, Time: c.Now()})
	}
	guess(10)
	look(5 * time.Minute)
	require.Empty(t, found)
	restart()
	guess(10)
	look(time.Minute)
	require.Len(t, found, 1)
	restart()
	guess(5)
	look(time.Minute)
	require.Len(t, found, 1)
	look(time.Hour)
	restart()
	for range 6000 {
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Sent, Time: c.Now()})
	}
	guess(20)
	look(time.Minute)
	require.Len(t, found, 2)
	look(time.Hour)
	stored, err := s.Anomalies(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, stored, 2)
	require.True(t, stored[1].Until.After(stored[1].Since))
	require.True(t, stored[0].Since.After(stored[1].Until))
	require.True(t, stored[0].Until.After(stored[0].Since))
}

// A restart reads no event a second time into what is usual.
func TestRestart_once(t *testing.T) {
	d, c := sqltest.SQLite(t), newClock()
	s := openStats(t, d, c, Options{})
	for range 10 {
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Sent, Time: c.Now(), ChallengeHash: otp.Hash{1}, Strong: true})
	}
	require.NoError(t, s.Close(t.Context()))
	c.Add(2 * time.Hour)
	s = openStats(t, d, c, Options{})
	require.NoError(t, s.Flush(t.Context()))
	require.Zero(t, s.watch.strong)
	require.EqualValues(t, 10, s.watch.last)
}

// Anomalies are those that began or lasted in the range.
func TestAnomalies_range(t *testing.T) {
	c := newClock()
	now := c.Now()
	s := openStats(t, sqltest.SQLite(t), c, Options{})
	from, to := now.Add(-24*time.Hour), now.Add(-12*time.Hour)
	for name, span := range map[string][2]time.Time{
		"before":  {from.Add(-2 * time.Hour), from.Add(-time.Second)},
		"into":    {from.Add(-time.Hour), from},
		"within":  {from.Add(time.Hour), to.Add(-time.Hour)},
		"lasting": {from.Add(-3 * time.Hour), time.Unix(0, 0)},
		"around":  {from.Add(-4 * time.Hour), to.Add(time.Hour)},
		"out of":  {to.Add(-time.Second), to.Add(time.Hour)},
		"after":   {to, to.Add(time.Hour)},
	} {
		_, err := s.exec(t.Context(), s.db, "INSERT INTO {p}anomalies (kind, subject, until, since, count, seen, usual, teller) VALUES ('', ?, ?, ?, 1, 1, 1, '')",
			name, span[1].Unix(), span[0].Unix())
		require.NoError(t, err)
	}
	all, err := s.Anomalies(t.Context(), Filter{From: from, To: to})
	require.NoError(t, err)
	var names []string
	for _, a := range all {
		names = append(names, a.Subject)
		require.Equal(t, a.Subject == "lasting", a.Until.IsZero(), a.Subject)
	}
	require.Equal(t, []string{"lasting", "out of", "within", "into", "around"}, names)
}

// The slots of names: as many for new ones a day, and for a week those that were verified.
func TestNames_slots(t *testing.T) {
	n := &names{slots: 2, proven: map[string]int64{}, today: map[string]bool{}}
	require.Equal(t, "known", n.bounded("known", 10, true))
	require.Empty(t, n.bounded("", 10, true))
	require.Equal(t, "new", n.bounded("new", 10, false))
	require.Equal(t, Other, n.bounded("newer", 10, false), "on its first day the known one has one of the slots")
	require.Equal(t, "newer", n.bounded("newer", 11, false))
	require.Equal(t, "newest", n.bounded("newest", 11, false))
	require.Equal(t, Other, n.bounded("new", 11, false))
	require.Equal(t, "known", n.bounded("known", 11, false))
	require.Equal(t, Other, n.bounded("new", 10, false), "what is late has no slots of its own")
	require.Equal(t, "second", n.bounded("second", 12, true))
	require.Equal(t, "third", n.bounded("third", 12, true), "as a new one")
	require.NotContains(t, n.proven, "third")
	require.Equal(t, "known", n.bounded("known", 13, true))
	require.EqualValues(t, 13, n.proven["known"])
	require.Equal(t, "third", n.bounded("third", 19, true))
	require.NotContains(t, n.proven, "third")
	require.Equal(t, "third", n.bounded("third", 20, true))
	require.Contains(t, n.proven, "third", "the second was not verified for more than a week")
	require.NotContains(t, n.proven, "second")
}

// After a restart they are the same.
func TestNames_restart(t *testing.T) {
	d, c := sqltest.SQLite(t), newClock()
	c.Add(7 * 24 * time.Hour)
	s := openStats(t, d, c, Options{})
	now := c.Now()
	s.add(t, now.AddDate(0, 0, -8), values{domain: "too old"}, map[int]int64{verified: 1, sent: 1})
	s.add(t, now.AddDate(0, 0, -7), values{domain: "a week ago", provider: "one"}, map[int]int64{verified: 1, sent: 1})
	s.add(t, now.AddDate(0, 0, -1), values{domain: "never right", provider: "two"}, map[int]int64{sent: 1})
	s.add(t, now, values{domain: "new"}, map[int]int64{sent: 1})
	s.add(t, now, values{domain: Other}, map[int]int64{verified: 5})
	require.NoError(t, s.Close(t.Context()))
	all := openStats(t, d, c, Options{}).names
	today := now.UnixMilli() / dayMs
	require.Equal(t, map[string]int64{"a week ago": today - 7}, all[Domain].proven)
	require.Equal(t, map[string]bool{"new": true}, all[Domain].today)
	require.Equal(t, today, all[Domain].dayOf)
	require.Equal(t, map[string]int64{"one": today - 7, "two": today - 1}, all[Provider].proven)
}
