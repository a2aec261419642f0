package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/examples/analytics/traffic"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
)

var start = time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)

// Both incidents are found within minutes, and nothing else is.
func TestAnalytics_incidents(t *testing.T) {
	var found []otpstats.Anomaly
	m, err := play(t.Context(), filepath.Join(t.TempDir(), "stats.db"), start, 30, 2000, false, func(a otpstats.Anomaly) { found = append(found, a) })
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
		require.Less(t, late, 30*time.Minute, "%v", a)
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

// In quiet weeks nobody is woken.
func TestAnalytics_quiet(t *testing.T) {
	var found []otpstats.Anomaly
	m, err := play(t.Context(), filepath.Join(t.TempDir(), "stats.db"), start, 21, 1500, true, func(a otpstats.Anomaly) { found = append(found, a) })
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
