package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/examples/analytics/traffic"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
)

var start = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

// simulate plays traffic and returns it with the anomalies in it.
func simulate(t *testing.T, o traffic.Options) (m *month, found []otpstats.Anomaly) {
	t.Helper()
	d, dialect := sqltest.Fast(t), otpstats.SQLite
	if d.Driver == "pgx" {
		dialect = otpstats.PostgreSQL
	}
	m, err := play(t.Context(), d.Open(t), dialect, o, func(_ context.Context, a otpstats.Anomaly) { found = append(found, a) })
	require.NoError(t, err)
	t.Cleanup(func() { m.stats.Close(context.Background()) })
	require.Zero(t, m.stats.Dropped())
	return m, found
}

// Both incidents are detected within minutes, and nothing else is. The nightly
// run simulates the whole month, and the usual one a few days.
func TestAnalytics_incidents(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	outage := start.AddDate(0, 0, testkit.Rounds(1, 19)).Add(9*time.Hour + 20*time.Minute)
	attack := start.AddDate(0, 0, testkit.Rounds(2, 25)).Add(2*time.Hour + 10*time.Minute)
	end := attack.Add(5 * time.Hour)
	if testkit.Nightly() {
		end = start.AddDate(0, 0, 30)
	}
	m, found := simulate(t, traffic.Options{Start: start, End: end, PerDay: 5000, Outage: outage, Attack: attack})
	first := map[otpstats.AnomalyKind]otpstats.Anomaly{}
	for _, a := range found {
		t.Log(a)
		during := func(begin time.Time, length time.Duration) bool {
			since := a.Since.Sub(begin)
			return since >= 0 && since < length+time.Hour
		}
		inOutage, inAttack := during(outage, traffic.OutageLength), during(attack, traffic.AttackLength)
		require.True(t, inOutage || inAttack, "a false alarm: %v", a)
		require.Equal(t, inOutage, a.Kind == otpstats.DeliveryFalling, "%v", a)
		if inOutage {
			require.Equal(t, traffic.OutageDomain, a.Subject)
		}
		if _, ok := first[a.Kind]; !ok {
			first[a.Kind] = a
		}
	}
	for kind, begin := range map[otpstats.AnomalyKind]time.Time{otpstats.DeliveryFalling: outage, otpstats.DistributedGuessing: attack} {
		a, ok := first[kind]
		require.True(t, ok, "%s was not found", kind)
		late := a.Since.Sub(begin)
		t.Logf("%s: found %v after it began", kind, late)
		require.Less(t, late, 20*time.Minute, "%v", a)
	}

	// Both are on the page.
	board, err := dashboard.New(m.stats, &dashboard.Options{Now: m.now, OnError: func(_ context.Context, err error) { t.Error(err) }})
	require.NoError(t, err)
	body := get(t, board, "/?range=30d")
	require.Contains(t, body, "Codes to outlook.com are not coming back.")
	require.Contains(t, body, "Somebody is guessing at many addresses.")
	later := func() time.Time { return m.now().Add(48 * time.Hour) }
	quiet, err := dashboard.New(m.stats, &dashboard.Options{Now: later})
	require.NoError(t, err)
	require.NotContains(t, get(t, quiet, "/?range=24h"), "outlook.com are not")
	require.Contains(t, get(t, board, "/?range=30d&csv=domains"), "outlook.com,")
}

// The clock of otpstats never runs ahead of what was observed, nor a minute behind
// it, and the outcomes of mails are sent and failed.
func TestAnalytics_clock(t *testing.T) {
	clock, events, failed := start, 0, 0
	end := start.Add(12*time.Hour + 17*time.Minute)
	require.NoError(t, traffic.Play(t.Context(), traffic.Options{
		Start: start, End: end, PerDay: 5000, Seed: 1,
		Observer: otp.ObserverFunc(func(_ context.Context, e otp.Event) {
			events++
			require.False(t, e.Time.Before(clock), "%v at %v", e.Time, clock)
			require.Less(t, e.Time.Sub(clock), time.Minute)
		}),
		Mail: func(_, _ string, outcome otpevent.Outcome) {
			require.Contains(t, []otpevent.Outcome{otpevent.MailSent, otpevent.MailFailed}, outcome)
			if outcome == otpevent.MailFailed {
				failed++
			}
		},
		Minute: func(now time.Time) error {
			clock = now
			return nil
		},
	}))
	require.Equal(t, end, clock)
	require.Greater(t, events, 1000)
	require.Positive(t, failed)
}

// An interrupt leaves no files behind.
func TestRun_interrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, "localhost:0", 10), context.Canceled)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// In quiet times there is no alarm.
func TestAnalytics_quiet(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	m, found := simulate(t, traffic.Options{Start: start, End: start.AddDate(0, 0, testkit.Rounds(4, 21)), PerDay: 2000})
	require.Empty(t, found)
	board, err := dashboard.New(m.stats, &dashboard.Options{Now: m.now})
	require.NoError(t, err)
	require.Contains(t, get(t, board, "/?range=30d"), "Nothing unusual")
}

func get(t *testing.T, h http.Handler, path string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	require.Equal(t, http.StatusOK, w.Code)
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	if i := strings.Index(string(body), "@"); i >= 0 && !slices.Contains([]string{"@me"}, string(body)[i:i+3]) {
		require.Fail(t, "an address", string(body)[max(0, i-50):i+50])
	}
	return string(body)
}
