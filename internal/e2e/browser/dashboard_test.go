package browser_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
	"github.com/go-mailotp/otp/otptest"
)

// newBoard starts the dashboard of two days, in the last hour of which somebody
// guesses at many addresses.
func newBoard(t *testing.T) *site {
	var seconds atomic.Int64
	clock := func() time.Time {
		return time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC).Add(time.Duration(seconds.Load()) * time.Second)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "stats.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	stats, err := otpstats.Open(t.Context(), db, otpstats.SQLite, &otpstats.Options{Key: []byte("0123456789abcdef"), Now: clock})
	require.NoError(t, err)
	t.Cleanup(func() { stats.Close(context.Background()) })
	inbox := &otptest.Inbox{}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(&otp.MemoryOptions{Now: clock}), inbox, &otp.Options{Now: clock, Observer: stats})
	require.NoError(t, err)
	client := 0
	send := func(to string) otp.Challenge {
		client++
		c, err := verifier.Send(t.Context(), otp.Request{To: to, Locale: []string{"de", "en", "ar"}[len(to)%3], Client: fmt.Sprintf("192.0.2.%d", client%250)})
		require.NoError(t, err)
		seconds.Add(20)
		return c
	}
	for i := range 300 {
		to := fmt.Sprintf("p%d@%s", i, []string{"example.com", "example.org", "mail." + strings.Repeat("department-", 5) + "example"}[i%3])
		_, err = verifier.Check(t.Context(), send(to).ID, inbox.Code(to))
		require.NoError(t, err)
		seconds.Add(9 * 60)
	}
	for i := range 60 {
		_, err = verifier.Check(t.Context(), send(fmt.Sprintf("v%d@example.com", i)).ID, "000000")
		require.ErrorIs(t, err, otp.ErrCode)
	}
	require.NoError(t, stats.Flush(t.Context()))
	seconds.Add(30 * 60 * 60) // people look at it on the next day
	require.NoError(t, stats.Flush(t.Context()))
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock, OnError: func(_ context.Context, err error) { t.Error(err) }})
	require.NoError(t, err)
	server := httptest.NewServer(board)
	t.Cleanup(server.Close)
	return &site{url: server.URL}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	script, board := needAxe(t), newBoard(t)
	t.Run("look", func(t *testing.T) {
		t.Parallel()
		look(t, newTab(t, board), script)
	})
	t.Run("finding", func(t *testing.T) {
		t.Parallel()
		finding(t, newTab(t, board))
	})
}

// look checks that nothing overlaps or is cut off and that everybody can read it.
func look(t *testing.T, b *tab, script string) {
	for _, path := range []string{"/?range=24h", "/?range=30d", "/?range=90d", "/?range=365d"} {
		require.Equal(t, http.StatusOK, b.open(path))
		for _, shape := range shapes {
			b.size(shape.width, shape.height, shape.scale)
			require.Empty(t, b.overlapping(), "%s, %d pixels wide", path, shape.width)
		}
	}
	require.Equal(t, http.StatusOK, b.open("/"))
	b.do(chromedp.Evaluate[chromedp.Void](script))
	js[bool](b, `(document.querySelectorAll("details").forEach(e => e.open = true), true)`)
	// People who do not see the charts get the numbers, in tables with names and column headings.
	pictures := js[int](b, `document.querySelectorAll(".wide svg[aria-hidden=true]").length`)
	require.Greater(t, pictures, 8)
	require.Equal(t, pictures, js[int](b, `document.querySelectorAll("[role=region][aria-label] thead th[scope=col]:first-child").length`))
	for i, shape := range shapes {
		b.size(shape.width, shape.height, shape.scale)
		require.Empty(t, b.cutOff(), "%d pixels wide", shape.width)
		require.Empty(t, b.overlapping(), "%d pixels wide", shape.width)
		for _, scheme := range []string{"light", "dark"} {
			if !testkit.Nightly() && scheme != map[int]string{0: "light", 2: "dark"}[i] {
				continue // by day, axe-core checks a desktop in light and a phone in dark colours
			}
			b.scheme(scheme)
			// It cannot judge the colours of small numbers and of texts next to bars.
			require.Empty(t, b.axe("{}", "found.violations"), "%d pixels wide, %s", shape.width, scheme)
		}
		if *screenshots != "" {
			require.NoError(t, os.MkdirAll(*screenshots, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(*screenshots, fmt.Sprintf("dashboard.%d.png", shape.width)), run(b, chromedp.FullScreenshot(100)), 0o644))
		}
	}
	js[bool](b, `(document.documentElement.style.fontSize = "200%", true)`) // larger letters only
	require.Empty(t, b.cutOff(), "large letters")
}

// overlapping returns the pairs of texts that touch in a picture or its legend.
func (b *tab) overlapping() []string {
	b.t.Helper()
	return js[[]string](b, `[...document.querySelectorAll("svg, .legend")].flatMap(picture => {
		const texts = [...picture.querySelectorAll("text, li")].map(e => [e.textContent, e.getBoundingClientRect()]).filter(([, r]) => r.width);
		return texts.flatMap(([a, r], i) => texts.slice(i + 1).filter(([, s]) =>
			r.left < s.right && s.left < r.right && r.top + r.height / 4 < s.bottom - s.height / 4 && s.top + s.height / 4 < r.bottom - r.height / 4
		).map(([b]) => a + " | " + b));
	})`)
}

// finding checks that a finding leads to the chart that shows it, on its day, and
// that the form and its links keep what was chosen.
func finding(t *testing.T, b *tab) {
	b.size(1280, 800, 1)
	b.open("/?language=de")
	b.says("Somebody is guessing at many addresses.")
	require.Equal(t, http.StatusOK, b.press(".findings a"))
	require.Equal(t, "#wrong", js[string](b, "location.hash"))
	require.Less(t, js[float64](b, `Math.abs(document.querySelector("#wrong").getBoundingClientRect().top)`), 700.0, "it is in sight")
	chosen := func(name string) string {
		return js[string](b, fmt.Sprintf(`document.querySelector("[name=%s]").value`, name))
	}
	require.Equal(t, "24h", chosen("range"))
	require.Equal(t, "de", chosen("language"))
	until, err := time.Parse("2006-01-02T15:04", chosen("until"))
	require.NoError(t, err)
	b.press("nav a:nth-child(2)") // later, until now, when nothing happened
	require.Empty(t, chosen("until"))
	b.press("nav a:first-child")
	b.press("nav a:first-child")
	require.NotEmpty(t, chosen("until"))
	require.Equal(t, "de", chosen("language"))
	js[bool](b, fmt.Sprintf(`(document.querySelector("[name=until]").value = %q, document.querySelector("[name=language]").value = "", true)`, until.Format("2006-01-02T15:04")))
	require.Equal(t, http.StatusOK, b.press(".filters button"))
	b.says("Somebody is guessing at many addresses.")
	require.Equal(t, until.Format("2006-01-02T15:04"), chosen("until"))
	require.Empty(t, chosen("language"))
	require.Equal(t, http.StatusOK, b.press("nav a:last-child")) // reset
	require.Equal(t, "7d", chosen("range"))
	require.Empty(t, chosen("until"))
}
