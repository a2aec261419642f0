package bench

import (
	"context"
	"database/sql"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
)

var events = flag.Int("events", 100_000, "`events` of BenchmarkPage; ten million take a quarter of an hour to write, and 3 GB")

// BenchmarkPage is the dashboard over a month of events in SQLite, queries and
// charts included, against one count of the events of a week by hour and kind.
func BenchmarkPage(b *testing.B) {
	end := time.Date(2026, 3, 31, 14, 20, 0, 0, time.UTC)
	clock, dice := testkit.NewClockAt(end.AddDate(0, 0, -30)), rand.New(rand.NewPCG(1, 2))
	stats, db := openStats(b, &otpstats.Options{
		Now: clock.Now, Queue: 1 << 16, Interval: time.Hour,
		App: func(context.Context) string { return []string{"web", "ios", "android"}[dice.IntN(3)] },
	})
	fillStats(b, stats, clock, dice, *events)
	clock.Set(end)
	require.NoError(b, stats.Flush(b.Context()))
	board, err := dashboard.New(stats, &dashboard.Options{Now: clock.Now, OnError: func(_ context.Context, err error) { b.Error(err) }})
	require.NoError(b, err)
	page := func(name, query string) way {
		return way{name, nil, func(int) error {
			answer := httptest.NewRecorder()
			board.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/"+query, nil))
			return made(answer.Code == http.StatusOK, nil)
		}}
	}
	count := way{"count", nil, func(int) error { return countWeek(db, end) }}
	compare(b, 1, []int{1}, count, page("week", ""), page("month", "?range=30d"),
		page("week-of-purpose", "?purpose=login"), page("week-of-purpose-and-language", "?purpose=login&language=de"))
}

// countWeek is what the funnel by hour would cost without roll-ups.
func countWeek(db *sql.DB, end time.Time) error {
	rows, err := db.Query("SELECT time/3600000, kind, count(*) FROM otp_stats_events WHERE time >= ? GROUP BY 1, 2", end.AddDate(0, 0, -7).UnixMilli())
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return made(false, rows.Err())
	}
	for rows.Next() {
	}
	return rows.Err()
}

// fillStats observes n events at 200 domains in the 30 days that the clock
// begins with, in the order of their times.
func fillStats(b *testing.B, stats *otpstats.Stats, clock *testkit.Clock, dice *rand.Rand, n int) {
	pick := func(list ...string) string { return list[dice.IntN(len(list))] }
	hash := func() (h otp.Hash) {
		binary.LittleEndian.PutUint64(h[:], dice.Uint64())
		return h
	}
	const hours = 30 * 24
	start, made, unwritten := clock.Now(), 0, 0
	var waiting []otp.Event
	for hour := range hours {
		begin := start.Add(time.Duration(hour) * time.Hour)
		for made < n*(hour+1)/hours {
			e := otp.Event{
				Purpose: pick("login", "login", "signup", "pay"), Locale: pick("en", "en", "en", "de", "fr", "es", "pt", "ja", "pl", "it"),
				Domain:      fmt.Sprintf("mail%.0f.example", math.Floor(math.Pow(200, dice.Float64()))),
				AddressHash: hash(), ClientHash: hash(),
			}
			opened := begin.Add(time.Duration(dice.Float64() * float64(time.Hour)))
			add := func(kind otpevent.Kind, age time.Duration) {
				e.Kind, e.Age, e.Time = kind, age, opened.Add(age)
				waiting = append(waiting, e)
				made++
			}
			add(otpevent.Asked, 0)
			e.ChallengeHash = hash()
			add(otpevent.Sent, 0)
			if dice.IntN(10) == 0 {
				e.WrongGuesses = 1
				add(otpevent.Wrong, 4*time.Second)
			}
			if dice.IntN(10) > 0 {
				add(otpevent.Verified, time.Duration(5+dice.ExpFloat64()*40)*time.Second)
			}
		}
		slices.SortStableFunc(waiting, func(a, b otp.Event) int { return a.Time.Compare(b.Time) })
		end := begin.Add(time.Hour)
		over := slices.IndexFunc(waiting, func(e otp.Event) bool { return !e.Time.Before(end) })
		if over < 0 {
			over = len(waiting)
		}
		for _, e := range waiting[:over] {
			clock.Set(e.Time)
			stats.Observe(b.Context(), e)
		}
		waiting = slices.Delete(waiting, 0, over)
		clock.Set(end)
		if unwritten += over; unwritten > 10_000 || hour%24 == 23 {
			require.NoError(b, stats.Flush(b.Context()))
			unwritten = 0
		}
	}
	require.Zero(b, stats.Dropped())
}
