package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
)

const pageTitle = "The page of otpstats"

// pageEnd is the time at which the page is looked at; the events are of the 30 days before.
var (
	pageEnd   = time.Date(2026, 3, 31, 14, 20, 0, 0, time.UTC)
	pageStart = pageEnd.AddDate(0, 0, -30)
)

// atPage prints how long the pages over so many events take, queries, charts and all. file is
// where they are or, if there is no such file, will be; empty for one that is deleted.
func atPage(w io.Writer, blocks, events int, file string) error {
	if file == "" {
		dir, err := os.MkdirTemp("", "bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		file = filepath.Join(dir, "stats.db")
	}
	_, missing := os.Stat(file)
	var clock atomic.Int64
	clock.Store(pageStart.UnixNano())
	now := func() time.Time { return time.Unix(0, clock.Load()).UTC() }
	stats, db, err := openStats(file, &otpstats.Options{
		Now: now, Queue: 1 << 16, Interval: time.Hour, App: func(ctx context.Context) string { app, _ := ctx.Value(appKey{}).(string); return app },
	})
	if err != nil {
		return err
	}
	defer db.Close()
	defer stats.Close(context.Background())
	if errors.Is(missing, fs.ErrNotExist) {
		began := time.Now()
		if err := fillStats(stats, events, func(t time.Time) { clock.Store(t.UnixNano()) }); err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%d events written in %.0f s\n", events, time.Since(began).Seconds())
	}
	clock.Store(pageEnd.UnixNano())
	if err := stats.Flush(context.Background()); err != nil {
		return err
	}
	var failed error
	board, err := dashboard.New(stats, &dashboard.Options{Now: now, OnError: func(_ context.Context, err error) { failed = err }})
	if err != nil {
		return err
	}
	page := func(name, query string) *variant {
		return &variant{name: name, size: 1, run: func(int, int) error {
			answer := httptest.NewRecorder()
			board.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/"+query, nil))
			if answer.Code != http.StatusOK {
				return fmt.Errorf("%w: %d: %w", errBroken, answer.Code, failed)
			}
			return nil
		}}
	}
	return table(w, fmt.Sprintf("%s, %d events", pageTitle, events), blocks, []int{1},
		&variant{name: "bare: one count over the events of a week", size: 1, run: func(int, int) error { return countWeek(db) }},
		page("the default page, a week", ""),
		page("30 days", "?range=30d"),
		page("a week of one purpose", "?purpose=login"),
		page("a week of one purpose and one language", "?purpose=login&language=de"),
	)
}

// countWeek is what the funnel by hour would cost without roll-ups.
func countWeek(db *sql.DB) error {
	rows, err := db.Query("SELECT time/3600000, kind, count(*) FROM otp_stats_events WHERE time >= ? GROUP BY 1, 2", pageEnd.AddDate(0, 0, -7).UnixMilli())
	if err != nil {
		return err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if n == 0 {
		return errBroken
	}
	return rows.Err()
}

type appKey struct{}

// dice fall the same way each time: they are the stream of a cipher under a known key.
type dice struct{ cipher.Stream }

func newDice() dice {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		panic(err) // not with 16 bytes
	}
	return dice{cipher.NewCTR(block, make([]byte, aes.BlockSize))}
}

func (d dice) uint64() uint64 {
	var b [8]byte
	d.XORKeyStream(b[:], b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func (d dice) below(n int) int { return int(d.uint64() % uint64(n)) }

// float is from 0 to below 1.
func (d dice) float() float64 { return float64(d.uint64()>>11) / (1 << 53) }

// fillStats tells of so many events in the 30 days before pageEnd, at 200 domains, in the order of
// their times, and sets the clock to them.
func fillStats(stats *otpstats.Stats, events int, set func(time.Time)) error {
	r := newDice()
	var apps []context.Context
	for _, app := range []string{"web", "ios", "android"} {
		apps = append(apps, context.WithValue(context.Background(), appKey{}, app))
	}
	hash := func() (h otp.Hash) {
		binary.LittleEndian.PutUint64(h[:], r.uint64())
		return h
	}
	const steps = 30 * 24
	var waiting []otp.Event
	made := 0
	for step := range steps {
		end := pageStart.Add(time.Duration(step+1) * time.Hour)
		for made < events*(step+1)/steps {
			e := otp.Event{
				Time:    end.Add(-time.Duration(r.float() * float64(time.Hour))),
				Purpose: []string{"login", "login", "signup", "pay"}[r.below(4)],
				Locale:  []string{"en", "en", "en", "de", "fr", "es", "pt", "ja", "pl", "it"}[r.below(10)],
				Domain:  fmt.Sprintf("mail%.0f.example", math.Floor(math.Pow(200, r.float()))), AddressHash: hash(), ClientHash: hash(),
			}
			opened := e.Time
			add := func(kind otp.EventKind, age time.Duration) {
				e.Kind, e.Age, e.Time = kind, age, opened.Add(age)
				waiting = append(waiting, e)
				made++
			}
			add(otp.EventAsked, 0)
			e.ChallengeHash = hash()
			add(otp.EventSent, 0)
			if r.below(10) == 0 {
				e.WrongGuesses = 1
				add(otp.EventWrong, 4*time.Second)
			}
			if r.below(10) > 0 {
				add(otp.EventVerified, time.Duration(5-math.Log(1-r.float())*40)*time.Second)
			}
		}
		slices.SortStableFunc(waiting, func(a, b otp.Event) int { return a.Time.Compare(b.Time) })
		n := 0
		for n < len(waiting) && waiting[n].Time.Before(end) {
			set(waiting[n].Time)
			stats.Observe(apps[waiting[n].AddressHash[0]%3], waiting[n])
			n++
		}
		waiting = slices.Delete(waiting, 0, n)
		set(end)
		if err := stats.Flush(context.Background()); err != nil {
			return err
		}
	}
	if n := stats.Dropped(); n > 0 {
		return fmt.Errorf("%w: %d events dropped", errBroken, n)
	}
	return nil
}
