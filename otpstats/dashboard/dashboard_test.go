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
	"regexp"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
	"github.com/go-mailotp/otp/otptest"
)

var morning = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// newStats opens stats over d that end with the test.
func newStats(t *testing.T, d sqltest.Database, c *testkit.Clock) (*otpstats.Stats, *sql.DB) {
	db, dialect := d.Open(t), otpstats.SQLite
	if d.Driver == "pgx" {
		dialect = otpstats.PostgreSQL
	}
	stats, err := otpstats.Open(t.Context(), db, dialect, &otpstats.Options{Key: []byte("0123456789abcdef"), Now: c.Now, Interval: time.Hour})
	require.NoError(t, err)
	t.Cleanup(func() { stats.Close(context.Background()) })
	return stats, db
}

// open returns stats with two days of a few people in them, at the end of those
// days.
func open(t *testing.T, people int) (*otpstats.Stats, *testkit.Clock) {
	c := testkit.NewClockAt(morning)
	stats, _ := newStats(t, sqltest.Fast(t), c)
	inbox := &otptest.Inbox{}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now}), inbox, &otp.Options{Now: c.Now, Observer: stats})
	require.NoError(t, err)
	for i := range people {
		to := fmt.Sprintf("someone%d@%s", i, []string{"example.com", "cmd.example.org"}[i%2])
		ch, err := verifier.Send(t.Context(), otp.Request{To: to, Locale: "de", Client: "192.0.2.7" + fmt.Sprint(i%9)})
		require.NoError(t, err)
		c.Add(20 * time.Second)
		if i%5 == 0 {
			_, err = verifier.Check(t.Context(), ch.ID, "nonsense")
			require.Error(t, err)
		} else {
			_, err = verifier.Check(t.Context(), ch.ID, inbox.Code(to))
			require.NoError(t, err)
		}
		c.Add(48 * time.Hour / time.Duration(people))
	}
	require.NoError(t, stats.Flush(t.Context()))
	return stats, c
}

func get(h http.Handler, path string) (*http.Response, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, _ := io.ReadAll(w.Result().Body)
	return w.Result(), string(body)
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 40)
	board, err := dashboard.New(stats, &dashboard.Options{Title: "Acme <codes>", Now: clock.Now})
	require.NoError(t, err)
	for _, path := range []string{"/", "/?range=24h", "/?range=24h&until=2026-11-20T00:00", "/?range=30d", "/?range=90d&purpose=login", "/?range=365d&domain=example.com", "/?domain=nowhere.example", "/?range=nonsense&app=%3Cb%3E"} {
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

// Names from others cannot inject HTML into the page or formulas into a spreadsheet.
func TestDashboard_hostileNames(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 0)
	for i, name := range []string{`"><script>alert(1)</script>&`, "]]><svg onload=x>", "=cmd|'/C calc'!A0", "\t=1+1", " +1", "\u202eevil", strings.Repeat("x", 200), "{{.}}", "</style>"} {
		for n := range 3 {
			e := otp.Event{
				Kind: otpevent.Asked, Time: clock.Now().Add(-time.Minute), Purpose: name, Domain: name, Locale: name,
				AddressHash: otp.Hash{1, byte(i), byte(n)}, ClientHash: otp.Hash{2, byte(i)},
			}
			stats.Observe(t.Context(), e)
			e.Kind, e.ChallengeHash, e.Message = otpevent.Sent, otp.Hash{3, byte(i), byte(n)}, fmt.Sprint(i, " ", n)
			stats.Observe(t.Context(), e)
			stats.Mail(e.Message, name, otpevent.MailSent)
		}
	}
	require.NoError(t, stats.Flush(t.Context()))
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now, Title: "</title><script>"})
	require.NoError(t, err)
	for _, path := range []string{"/", "/?purpose=%22%3E%3Cscript%3E&domain=%00%ff&until=0000-01-01T00:00", "/?until=9999-12-31T23:59&range=365d&csv=&app=" + strings.Repeat("y", 10000)} {
		answer, body := get(board, path)
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		for _, evil := range []string{"<script", "<svg onload", "</style>\n<", "]]>"} {
			require.NotContains(t, strings.Replace(body, "</style>", "", 1), evil)
		}
		for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(body, -1) {
			require.NoError(t, xml.Unmarshal([]byte(svg), new(any)), svg[:100])
		}
	}
	_, text := get(board, "/?csv=purposes")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	require.NoError(t, err)
	require.Greater(t, len(rows), 5)
	for _, row := range rows {
		require.NotContains(t, "=+-@", strings.TrimSpace(row[0])[:1], "%q", row[0])
	}
}

func TestDashboard_csv(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 40)
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
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
	t.Parallel()
	clock := testkit.NewClockAt(morning)
	stats, db := newStats(t, sqltest.SQLite(t), clock)
	type key struct{}
	var failed error
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now, OnError: func(ctx context.Context, err error) {
		require.Equal(t, "of the request", ctx.Value(key{}))
		failed = err
	}})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	board.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.NoError(t, db.Close())
	w = httptest.NewRecorder()
	board.ServeHTTP(w, httptest.NewRequestWithContext(context.WithValue(t.Context(), key{}, "of the request"), http.MethodGet, "/", nil))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "The numbers are not available right now.\n", w.Body.String())
	require.Error(t, failed)
	_, err = dashboard.New(nil, nil)
	require.EqualError(t, err, "dashboard: New: stats is nil")
}

// The page works on SQLite, with and without traffic.
func TestDashboard_sqlite(t *testing.T) {
	t.Parallel()
	clock := testkit.NewClockAt(morning)
	stats, _ := newStats(t, sqltest.SQLite(t), clock)
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
	require.NoError(t, err)
	answer, body := get(board, "/")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, body, "Nothing unusual in this period.")
	require.Contains(t, body, "No data in this period.")

	stats.Observe(t.Context(), otp.Event{Kind: otpevent.Sent, Time: clock.Now().Add(-time.Minute), Domain: "example.com", ChallengeHash: otp.Hash{1}})
	require.NoError(t, stats.Flush(t.Context()))
	answer, body = get(board, "/")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, body, "<dt>Mailed</dt><dd>1</dd>")
}
