package dashboard_test

import (
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
	"github.com/go-mailotp/otp/otptest"
)

// open returns stats with two days of a few people in them, at the end of those days.
func open(t *testing.T, people int) (*otpstats.Stats, *sql.DB, func() time.Time) {
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "stats.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	stats, err := otpstats.Open(t.Context(), db, otpstats.SQLite, &otpstats.Options{Key: []byte("0123456789abcdef"), Now: clock})
	require.NoError(t, err)
	t.Cleanup(func() { stats.Close(context.Background()) })
	inbox := &otptest.Inbox{}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(&otp.MemoryOptions{Now: clock}), inbox, &otp.Options{Now: clock, Observer: stats})
	require.NoError(t, err)
	for i := range people {
		to := fmt.Sprintf("someone%d@%s", i, []string{"example.com", "=cmd.example.org"[1:]}[i%2])
		c, err := verifier.Send(t.Context(), otp.Request{To: to, Locale: "de", Client: "192.0.2.7" + fmt.Sprint(i%9)})
		require.NoError(t, err)
		now = now.Add(20 * time.Second)
		if i%5 == 0 {
			_, err = verifier.Check(t.Context(), c.ID, "nonsense")
			require.Error(t, err)
		} else {
			_, err = verifier.Check(t.Context(), c.ID, inbox.Code(to))
			require.NoError(t, err)
		}
		now = now.Add(48 * time.Hour / time.Duration(people))
	}
	require.NoError(t, stats.Flush(t.Context()))
	return stats, db, clock
}

func get(h http.Handler, path string) (*http.Response, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, _ := io.ReadAll(w.Result().Body)
	return w.Result(), string(body)
}

func TestDashboard(t *testing.T) {
	stats, _, now := open(t, 40)
	board, err := dashboard.New(stats, &dashboard.Options{Title: "Acme <codes>", Now: now})
	require.NoError(t, err)
	for _, path := range []string{"/", "/?range=24h", "/?range=30d", "/?range=90d&purpose=login", "/?range=365d&domain=example.com", "/?domain=nowhere.example", "/?range=nonsense&app=%3Cb%3E"} {
		answer, body := get(board, path)
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		require.Contains(t, body, "<h1>Acme &lt;codes&gt;</h1>")
		require.NotContains(t, body, "someone") // D2
		require.NotContains(t, body, "<b>")
		require.NotContains(t, body, "<script")
		require.Equal(t, "no-store", answer.Header.Get("Cache-Control")) // C10
		require.Contains(t, answer.Header.Get("Content-Security-Policy"), "default-src 'none'")
		for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(body, -1) {
			require.NoError(t, xml.Unmarshal([]byte(svg), new(any)), svg[:100])
			require.NotContains(t, svg, "rgb(", "every color is one of the page's")
		}
	}
	_, body := get(board, "/")
	require.Contains(t, body, `<option value="7d" selected>`)
	require.Contains(t, body, "80.0 % of mailed")
	require.Contains(t, body, "example.org")
	// Behind every picture is its table, and its file.
	pictures := strings.Count(body, `<div class="wide">`)
	require.Greater(t, pictures, 5)
	require.Equal(t, pictures, strings.Count(body, "<table>"))
	require.Equal(t, pictures, strings.Count(body, "Download as CSV"))
}

func TestDashboard_csv(t *testing.T) {
	stats, _, now := open(t, 40)
	board, err := dashboard.New(stats, &dashboard.Options{Now: now})
	require.NoError(t, err)
	_, body := get(board, "/")
	links := regexp.MustCompile(`href="(\?[^"]*csv=[^"]*)"`).FindAllStringSubmatch(body, -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		answer, text := get(board, "/"+strings.ReplaceAll(link[1], "&amp;", "&"))
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.Equal(t, "text/csv; charset=utf-8", answer.Header.Get("Content-Type"))
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		require.NoError(t, err)
		require.Greater(t, len(rows), 1, link[1])
	}
	_, text := get(board, "/?csv=domains")
	require.Contains(t, text, "Domain,Verified of mailed,Mailed,Asked\n")
	require.Contains(t, text, "example.com,0.8,20,20\n")
	answer, _ := get(board, "/?csv=nothing")
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
}

func TestDashboard_fails(t *testing.T) {
	stats, db, now := open(t, 2)
	var told error
	board, err := dashboard.New(stats, &dashboard.Options{Now: now, OnError: func(_ *http.Request, err error) { told = err }})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	board.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.NoError(t, db.Close())
	answer, body := get(board, "/")
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	require.Equal(t, "The numbers cannot be had now.\n", body)
	require.Error(t, told)
	_, err = dashboard.New(nil, nil)
	require.Error(t, err)
}

// Without any traffic there is a page too.
func TestDashboard_empty(t *testing.T) {
	stats, _, now := open(t, 0)
	board, err := dashboard.New(stats, &dashboard.Options{Now: now})
	require.NoError(t, err)
	answer, body := get(board, "/")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, body, "Nothing unusual")
	require.Contains(t, body, "No data in this time.")
}
