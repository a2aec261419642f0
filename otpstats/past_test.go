package otpstats

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// standing is a Stats over a file, with a clock that stands.
func standing(t *testing.T, path string, now *time.Time, opts Options) *Stats {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	opts.Key, opts.Interval, opts.Now = make([]byte, 16), time.Hour, func() time.Time { return *now }
	opts.OnError = func(err error) { t.Error(err) }
	s, err := Open(t.Context(), db, SQLite, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// add puts a tally into the roll-ups.
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
	path, now := filepath.Join(t.TempDir(), "stats.db"), time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	s := standing(t, path, &now, Options{})
	month := now.AddDate(0, 0, -28)
	for _, at := range []time.Time{month.AddDate(0, 0, -1), month.AddDate(0, 0, 1), now} {
		s.add(t, at, values{domain: "a.example"}, map[int]int64{
			sent: 100, answered: 90, neverRight: 10, escalated: 3, verified: 80, ageColumn: 30, ageColumn + quickBuckets - 1: 20, ageColumn + quickBuckets: 30,
		})
	}
	s.add(t, now, values{domain: Other}, map[int]int64{sent: 1000, answered: 50, neverRight: 40, ageColumn: 10})
	require.NoError(t, s.Close(t.Context()))
	require.Zero(t, s.watch.minutes)

	w := standing(t, path, &now, Options{}).watch
	require.Len(t, w.domains, 1)
	require.Equal(t, 180.0, w.domains["a.example"].past.sent)
	require.Equal(t, 100.0, w.domains["a.example"].past.quick)
	share := (10.0/90 + 50.0/140) / 2 // of the median of the two days
	require.InDelta(t, 230*share, w.unsolved, 1e-9)
	require.InDelta(t, 230*(1-share), w.solved, 1e-9)
	require.Equal(t, 6.0, w.pastEscalated)
	require.Equal(t, 2*24*60.0, w.minutes)
}

// An attack is found that began before a restart, also where more was written meanwhile than is read at once.
// What is over and begins again is told again; each has its end.
func TestRestart_attack(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "stats.db"), time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	var told []Anomaly
	opts := Options{OnAnomaly: func(a Anomaly) { told = append(told, a) }}
	s, m := standing(t, path, &now, opts), newMonth(1)
	guess := func(n int) {
		for range n {
			s.Observe(t.Context(), otp.Event{Kind: otpevent.Wrong, Time: now, AddressHash: m.hash(), ChallengeHash: m.hash(), WrongGuesses: 1})
		}
	}
	look := func(d time.Duration) {
		require.NoError(t, s.Flush(t.Context())) // then nobody reads the clock
		now = now.Add(d)
		require.NoError(t, s.Flush(t.Context()))
	}
	restart := func() {
		require.NoError(t, s.Close(t.Context()))
		s = standing(t, path, &now, opts)
	}
	for range 6000 {
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Limited, Time: now})
	}
	guess(10)
	look(5 * time.Minute)
	require.Empty(t, told)
	restart()
	guess(10)
	look(time.Minute)
	require.Len(t, told, 1)
	restart()
	guess(5)
	look(time.Minute)
	require.Len(t, told, 1)
	look(time.Hour)
	restart()
	for range 6000 {
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Limited, Time: now})
	}
	guess(20)
	look(time.Minute)
	require.Len(t, told, 2)
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
	path, now := filepath.Join(t.TempDir(), "stats.db"), time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	s := standing(t, path, &now, Options{})
	for range 10 {
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Escalated, Time: now, ChallengeHash: otp.Hash{1}})
	}
	require.NoError(t, s.Close(t.Context())) // then nobody reads the clock
	now = now.Add(2 * time.Hour)
	s = standing(t, path, &now, Options{})
	require.NoError(t, s.Flush(t.Context()))
	require.Zero(t, s.watch.escalated)
	require.EqualValues(t, 10, s.watch.last)
}

// Anomalies are those that began or lasted in the range.
func TestAnomalies_range(t *testing.T) {
	now := time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)
	s := standing(t, filepath.Join(t.TempDir(), "stats.db"), &now, Options{})
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

// The places of names: as many new ones a day, and for a week those that were verified.
func TestNames_places(t *testing.T) {
	n := &names{places: 2, proven: map[string]int64{}, today: map[string]bool{}}
	require.Equal(t, "known", n.bounded("known", 10, true))
	require.Equal(t, "", n.bounded("", 10, true))
	require.Equal(t, "new", n.bounded("new", 10, false))
	require.Equal(t, Other, n.bounded("newer", 10, false), "on its first day the known one has one of the places")
	require.Equal(t, "newer", n.bounded("newer", 11, false))
	require.Equal(t, "newest", n.bounded("newest", 11, false))
	require.Equal(t, Other, n.bounded("new", 11, false))
	require.Equal(t, "known", n.bounded("known", 11, false))
	require.Equal(t, Other, n.bounded("new", 10, false), "what is late has no places of its own")
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
	path, now := filepath.Join(t.TempDir(), "stats.db"), time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)
	s := standing(t, path, &now, Options{})
	s.add(t, now.AddDate(0, 0, -8), values{domain: "too old"}, map[int]int64{verified: 1, sent: 1})
	s.add(t, now.AddDate(0, 0, -7), values{domain: "a week ago", provider: "one"}, map[int]int64{verified: 1, sent: 1})
	s.add(t, now.AddDate(0, 0, -1), values{domain: "never right", provider: "two"}, map[int]int64{sent: 1})
	s.add(t, now, values{domain: "new"}, map[int]int64{sent: 1})
	s.add(t, now, values{domain: Other}, map[int]int64{verified: 5})
	require.NoError(t, s.Close(t.Context()))
	all := standing(t, path, &now, Options{}).names
	today := now.UnixMilli() / dayMs
	require.Equal(t, map[string]int64{"a week ago": today - 7}, all[Domain].proven)
	require.Equal(t, map[string]bool{"new": true}, all[Domain].today)
	require.Equal(t, today, all[Domain].dayOf)
	require.Equal(t, map[string]int64{"one": today - 7, "two": today - 1}, all[Provider].proven)
}
