package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/examples/analytics/traffic"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
)

var start = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

// Both incidents are found within minutes, and nothing else is.
func TestAnalytics_incidents(t *testing.T) {
	var found []otpstats.Anomaly
	m, err := play(t.Context(), filepath.Join(t.TempDir(), "stats.db"), start, start.AddDate(0, 0, 30), 5000, false, func(a otpstats.Anomaly) { found = append(found, a) })
	require.NoError(t, err)
	defer m.close(context.Background())
	require.Zero(t, m.stats.Dropped())
	first := map[otpstats.AnomalyKind]otpstats.Anomaly{}
	for _, a := range found {
		t.Log(a)
		since := a.Since.Sub(start)
		outage := since >= traffic.OutageBegin && since < traffic.OutageEnd+time.Hour
		attack := since >= traffic.AttackBegin && since < traffic.AttackEnd+time.Hour
		require.True(t, outage || attack, "a false alarm: %v", a)
		require.Equal(t, outage, a.Kind == otpstats.DeliveryFalling, "%v", a)
		if outage {
			require.Equal(t, traffic.OutageDomain, a.Subject)
		}
		if _, ok := first[a.Kind]; !ok {
			first[a.Kind] = a
		}
	}
	for kind, begin := range map[otpstats.AnomalyKind]time.Duration{otpstats.DeliveryFalling: traffic.OutageBegin, otpstats.DistributedGuessing: traffic.AttackBegin} {
		a, ok := first[kind]
		require.True(t, ok, "%s was not found", kind)
		late := a.Since.Sub(start.Add(begin))
		t.Logf("%s: found %v after it began", kind, late)
		require.Less(t, late, 20*time.Minute, "%v", a)
	}

	// And both are plain to see on the page.
	board, err := dashboard.New(m.stats, &dashboard.Options{Now: m.now, OnError: func(_ *http.Request, err error) { t.Error(err) }})
	require.NoError(t, err)
	body := get(t, board, "/?range=30d")
	require.Contains(t, body, "Codes to outlook.com are not coming back.")
	require.Contains(t, body, "Somebody guesses at many addresses.")
	require.NotContains(t, get(t, board, "/?range=24h"), "outlook.com are not")
	require.Contains(t, get(t, board, "/?range=30d&csv=domains"), "outlook.com,")
}

// The clock that otpstats is given is never ahead of what was observed, nor a minute behind it,
// and the outcomes of mails are those it knows.
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
		Mail: func(_, _, outcome string) {
			require.Contains(t, []string{otpstats.MailSent, otpstats.MailFailed}, outcome)
			if outcome == otpstats.MailFailed {
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

// Whoever interrupts it leaves nothing behind.
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

// In quiet weeks nobody is woken.
func TestAnalytics_quiet(t *testing.T) {
	var found []otpstats.Anomaly
	m, err := play(t.Context(), filepath.Join(t.TempDir(), "stats.db"), start, start.AddDate(0, 0, 21), 2000, true, func(a otpstats.Anomaly) { found = append(found, a) })
	require.NoError(t, err)
	defer m.close(context.Background())
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
