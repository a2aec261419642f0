package otpstats

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// How long the queries of a page take over a month of events, 200 000 of them or
// OTPSTATS_EVENTS, of which 10 million need some 4 GB and 10 minutes. OTPSTATS_FILE keeps the file for the next time.
func BenchmarkPage(b *testing.B) {
	events := 200_000
	if n, err := strconv.Atoi(os.Getenv("OTPSTATS_EVENTS")); err == nil {
		events = n
	}
	path := os.Getenv("OTPSTATS_FILE")
	if path == "" {
		path = filepath.Join(b.TempDir(), "stats.db")
	}
	_, missing := os.Stat(path)
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	now := time.Date(2026, 3, 31, 14, 20, 0, 0, time.UTC)
	s, err := Open(b.Context(), db, SQLite, &Options{Key: make([]byte, 16), Now: func() time.Time { return now }, Interval: time.Hour})
	require.NoError(b, err)
	b.Cleanup(func() { s.Close(context.Background()) })
	if missing != nil {
		began := time.Now()
		bulk(b, s, now, events)
		b.Logf("%d events made in %v", events, time.Since(began))
	}
	var f Filter
	page := []struct {
		name string
		ask  func(context.Context, Filter) error
	}{
		{"funnel by hour", func(ctx context.Context, f Filter) error { _, err := s.Funnel(ctx, f, Hour); return err }},
		{"funnel by purpose", func(ctx context.Context, f Filter) error { _, err := s.Funnel(ctx, f, Purpose); return err }},
		{"funnel by language", func(ctx context.Context, f Filter) error { _, err := s.Funnel(ctx, f, Language); return err }},
		{"funnel by domain", func(ctx context.Context, f Filter) error { _, err := s.Funnel(ctx, f, Domain); return err }},
		{"answer times", func(ctx context.Context, f Filter) error { _, err := s.AnswerTimes(ctx, f); return err }},
		{"guesses", func(ctx context.Context, f Filter) error { _, err := s.Guesses(ctx, f); return err }},
		{"gave up", func(ctx context.Context, f Filter) error { _, err := s.GaveUp(ctx, f); return err }},
		{"fallen domains", func(ctx context.Context, f Filter) error { _, err := s.FallenDomains(ctx, f); return err }},
		{"abuse", func(ctx context.Context, f Filter) error { _, err := s.Abuse(ctx, f); return err }},
		{"anomalies", func(ctx context.Context, f Filter) error { _, err := s.Anomalies(ctx, f); return err }},
		{"dimensions", func(ctx context.Context, f Filter) error { _, err := s.Dimensions(ctx, f); return err }},
	}
	all := func(f Filter) func(b *testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				for _, p := range page {
					require.NoError(b, p.ask(b.Context(), f))
				}
			}
		}
	}
	for _, p := range page {
		b.Run(p.name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, p.ask(b.Context(), f))
			}
		})
	}
	b.Run("page, a week", all(f))
	b.Run("page, a month", all(Filter{From: now.AddDate(0, 0, -30)}))
	b.Run("page, a week of a purpose", all(Filter{Purpose: "login"}))
	b.Run("page, a week of a purpose and a language", all(Filter{Purpose: "login", Language: "de"}))
}

// bulk fills the tables as the writer would, hour by hour, but keeps the challenges of the last
// hours only.
func bulk(b *testing.B, s *Stats, now time.Time, events int) {
	r := rand.New(rand.NewPCG(1, 2))
	domains := rand.NewZipf(r, 1.3, 2, 200)
	start := now.AddDate(0, 0, -30).Truncate(time.Hour)
	hours := int(now.Sub(start) / time.Hour)
	n := 0
	for hour := range hours {
		ch := change{challenges: map[otp.Hash]*challenge{}, before: map[otp.Hash]*challenge{}, mails: map[otp.Hash]*mail{}, rollup: rollup{}}
		var batch []record
		for at := start.Add(time.Duration(hour) * time.Hour); n*hours < events*(hour+1); {
			e := record{time: at.UnixMilli() + r.Int64N(hourMs), purpose: []string{"login", "login", "signup", "pay"}[r.IntN(4)],
				locale: []string{"en", "en", "en", "de", "fr", "es", "pt", "ja", "pl", "it"}[r.IntN(10)],
				domain: fmt.Sprintf("mail%d.example", domains.Uint64()), app: []string{"web", "ios", "android"}[r.IntN(3)],
				address: hash(r), client: hash(r)}
			add := func(k kind, later time.Duration) {
				x := e
				x.kind, x.age = k, later
				x.time += later.Milliseconds()
				batch = append(batch, x)
				n++
			}
			add(kindAsked, 0)
			e.challenge = hash(r)
			add(kindSent, 0)
			if r.IntN(10) == 0 {
				e.wrongs++
				add(kindWrong, 20*time.Second)
			}
			if r.IntN(10) > 0 {
				add(kindVerified, time.Duration(5+r.ExpFloat64()*40)*time.Second)
			}
		}
		s.fit(batch)
		require.NoError(b, s.update(b.Context(), func(tx *sql.Tx) error {
			if err := s.insertEvents(b.Context(), tx, batch); err != nil {
				return err
			}
			for i := range batch {
				s.apply(&ch, &batch[i])
			}
			for id, c := range ch.challenges {
				c.provider = []string{"one", "two"}[id[0]%2]
				if hour < hours-2 {
					t := c.tally(true)
					ch.rollup.add(c.opened, c.values, &t, 1)
					delete(ch.challenges, id)
				}
			}
			return s.save(b.Context(), tx, &ch)
		}))
	}
	require.NoError(b, s.keepSpreads(b.Context(), now.UnixMilli()))
}

func hash(r *rand.Rand) (h otp.Hash) {
	for i := range h {
		h[i] = byte(r.Uint32())
	}
	return h
}
