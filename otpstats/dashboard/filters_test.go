package dashboard_test

import (
	"encoding/csv"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats/dashboard"
)

func numbered(what byte, n int) otp.Hash { return otp.Hash{what, byte(n >> 8), byte(n)} }

// table is what a chart's file holds.
func table(t *testing.T, text string) [][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	require.NoError(t, err)
	return rows
}

// What lasts stands first, also where it began earlier, and looks different.
func TestDashboard_findings(t *testing.T) {
	t.Parallel()
	clock := testkit.NewClockAt(morning)
	stats, _ := newStats(t, sqltest.Fast(t), clock)
	for step := range 24 {
		for range 8 {
			stats.Observe(t.Context(), otp.Event{Kind: otpevent.Failed, Time: clock.Now(), Purpose: "login"})
		}
		for n := range 30 {
			if step == 4 {
				stats.Observe(t.Context(), otp.Event{Kind: otpevent.Wrong, Time: clock.Now(), AddressHash: numbered('a', n), ChallengeHash: numbered('q', n), WrongGuesses: 1})
			}
		}
		require.NoError(t, stats.Flush(t.Context()))
		clock.Add(5 * time.Minute)
	}
	require.NoError(t, stats.Flush(t.Context()))
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
	require.NoError(t, err)
	_, body := get(board, "/?range=24h")
	items := regexp.MustCompile(`(?s)<li( class="lasts")?><a href="[^"]*#(\w+)">(.*?)</a> (.*?) <span class="advice">`).FindAllStringSubmatch(body, -1)
	require.Len(t, items, 2)
	require.Equal(t, []string{` class="lasts"`, "failures", "Codes cannot be sent or checked."}, items[0][1:4])
	require.Contains(t, items[0][4], ", not ended: ")
	require.Equal(t, []string{"", "wrong", "Somebody is guessing at many addresses."}, items[1][1:4])
	require.Contains(t, items[1][4], ", ended 20 Nov ")
	require.Contains(t, body, "mails not sent; 192 calls failed")
	_, text := get(board, "/?range=24h&csv=failures")
	require.Contains(t, text, "Time (UTC),Mails not sent,Failed tries,System failures\n")
	require.Contains(t, text, "2026-11-20 08:00,0,0,96\n")
}

// Asking has no provider, so that with one chosen nothing is told of it.
func TestDashboard_provider(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 0)
	at := clock.Now().Add(-30 * time.Minute)
	for n := range 10 {
		e := otp.Event{Kind: otpevent.Asked, Time: at, Purpose: "login", Domain: "example.com", AddressHash: numbered('a', n)}
		if n >= 6 { // asked again
			e.ChallengeHash = numbered('q', n)
		}
		stats.Observe(t.Context(), e)
		if n < 5 {
			limited := e
			limited.Kind, limited.Scope = otpevent.Limited, []string{"address", "client", "all"}[n/2]
			stats.Observe(t.Context(), limited)
		}
		if n >= 4 {
			continue
		}
		e.Kind, e.ChallengeHash, e.Message = otpevent.Sent, numbered('q', n), fmt.Sprint(n)
		stats.Observe(t.Context(), e)
		stats.Mail(e.Message, "south", otpevent.MailFailed)
		stats.Mail(e.Message, "north", otpevent.MailSent)
	}
	require.NoError(t, stats.Flush(t.Context()))
	clock.Add(time.Minute) // the range includes the hour of the mails
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
	require.NoError(t, err)
	_, body := get(board, "/?range=24h")
	require.Contains(t, body, "<dt>Asked</dt>")
	require.Contains(t, body, "50.0 % were limited, 1 by the limit for all strangers<")
	require.Contains(t, body, "no mail")
	_, text := get(board, "/?range=24h&csv=providers")
	require.Equal(t, "Provider,Verified of mailed,Mailed,Failed tries\nnorth,0,4,0\nsouth,,0,4\n", text)

	_, body = get(board, "/?range=24h&provider=north")
	require.Contains(t, body, "<dt>Mailed</dt><dd>4</dd>")
	for _, absent := range []string{"Asked", "From asked", "were limited", "no mail", "System failures", "calls failed"} {
		main := strings.Replace(body, ">Asked</th></tr></thead>", "", 2) // of the spreads, which heed no filter
		require.NotContains(t, main, absent)
	}
	_, text = get(board, "/?range=24h&provider=north&csv=gave-up")
	require.Len(t, table(t, text), 1+2)
	// A try of a provider has nothing else.
	_, text = get(board, "/?csv=failures&domain=example.com")
	require.Contains(t, text, "Time (UTC),Mails not sent,System failures\n")
}

// Clients and addresses can be found by their whole hashes.
func TestDashboard_spreads(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 0)
	client, address := numbered('c', 1), numbered('a', 1)
	at := clock.Now().Add(-30 * time.Minute)
	for n := range 9 {
		stats.Observe(t.Context(), otp.Event{Kind: otpevent.Asked, Time: at, AddressHash: numbered('b', n), ClientHash: client})
		stats.Observe(t.Context(), otp.Event{Kind: otpevent.Asked, Time: at, AddressHash: address, ClientHash: numbered('d', n)})
		stats.Observe(t.Context(), otp.Event{Kind: otpevent.Malformed, Time: at, ChallengeHash: numbered('q', n)})
	}
	require.NoError(t, stats.Flush(t.Context()))
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
	require.NoError(t, err)
	_, text := get(board, "/?csv=clients")
	require.Equal(t, [][]string{{"Client", "Hour (UTC)", "Addresses", "Asked"}, {stats.ClientSubject(client), "2026-11-20 07:00", "9", "9"}}, table(t, text))
	_, text = get(board, "/?csv=addresses")
	require.Equal(t, [][]string{{"Address", "Hour (UTC)", "Clients", "Asked"}, {stats.AddressSubject(address), "2026-11-20 07:00", "9", "9"}}, table(t, text))
	_, text = get(board, "/?csv=wrong")
	require.Contains(t, text, "Time (UTC),Wrong codes,Not a code,Addresses without a correct code,Strong codes\n")
	require.Contains(t, text, "2026-11-20 07:00,0,9,0,0\n")
	_, body := get(board, "/")
	require.Contains(t, body, `<th scope="row">`+stats.ClientSubject(client)+`</th><td>2026-11-20 07:00</td><td>9</td>`)
}

// The line of a chosen domain has others beside it, since one is read by comparison.
func TestDashboard_domain(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 40)
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
	require.NoError(t, err)
	_, text := get(board, "/?range=365d&csv=domains-time&domain=cmd.example.org")
	require.Equal(t, []string{"Time (UTC)", "cmd.example.org", "example.com"}, table(t, text)[0])
	_, text = get(board, "/?range=365d&csv=domains&domain=cmd.example.org")
	require.Len(t, table(t, text), 2)
	_, body := get(board, "/?range=24h")
	require.Contains(t, body, "Too few mails to compute a share.")
	require.Contains(t, body, `<a href="?">Reset</a>`)
}

// Where none is right the lines are at 0, which is no lack of data.
func TestDashboard_noneRight(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 0)
	for n := range 20 {
		stats.Observe(t.Context(), otp.Event{Kind: otpevent.Sent, Time: clock.Now().Add(-time.Minute), Domain: "example.com", ChallengeHash: numbered('q', n)})
	}
	require.NoError(t, stats.Flush(t.Context()))
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
	require.NoError(t, err)
	_, body := get(board, "/?range=24h")
	require.Regexp(t, `(?s)id="domains-time">[^<]*</h2>\s*<p[^>]*>[^<]*</p>\s*<ul class="legend"`, body)
}

// A day without answers has its place, and a time on an axis is not taken for a day's beginning.
func TestDashboard_time(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 40)
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
	require.NoError(t, err)
	_, text := get(board, "/?csv=answer-times")
	rows := table(t, text)
	require.Equal(t, []string{"Day (UTC)", "Half (s)", "9 of 10 (s)", "99 of 100 (s)"}, rows[0])
	require.Len(t, rows, 1+8)
	require.Equal(t, []string{"2026-11-16", "", "", ""}, rows[2])
	require.NotEmpty(t, rows[7][1])
	for _, r := range []string{"7d", "30d"} {
		_, body := get(board, "/?range="+r)
		require.Regexp(t, `<text[^>]*>\d+ Nov \d\d:00</text>`, body, r)
	}
	// The year 1 is the zero time, which would be now.
	for until, from := range map[string]string{"0001-01-01T00:00": "2026", "1999-12-31T23:59": "2026", "2000-01-08T00:00": "2000", "2999-01-01T00:00": "2026"} {
		_, body := get(board, "/?until="+until)
		require.Regexp(t, `<p class="muted">\d+ \w+ `+from, body, until)
	}
}

// Some spreadsheets split a file at other signs than commas; what follows must not run.
func TestDashboard_csvSeparators(t *testing.T) {
	t.Parallel()
	stats, clock := open(t, 0)
	for n, name := range []string{"x;=cmd|'/C calc'!A0", ";=1+1", "a=b, c"} {
		stats.Observe(t.Context(), otp.Event{Kind: otpevent.Sent, Time: clock.Now().Add(-time.Minute), Purpose: name, ChallengeHash: numbered('q', n)})
	}
	require.NoError(t, stats.Flush(t.Context()))
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now})
	require.NoError(t, err)
	_, text := get(board, "/?csv=purposes")
	require.NotContains(t, text, ";")
	require.Contains(t, text, `"x,=cmd|'/C calc'!A0"`)
	require.Contains(t, text, `",=1+1"`)
}
