// Analytics shows the dashboard of otpstats over a month of simulated traffic, in which one
// mail provider has an outage and somebody guesses at many addresses. Run it and open
// http://localhost:8090.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/go-mailotp/otp/examples/analytics/traffic"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
	_ "modernc.org/sqlite"
)

func main() {
	address := flag.String("addr", "localhost:8090", "where to listen")
	perDay := flag.Int("perday", 2000, "people a day")
	flag.Parse()
	dir, err := os.MkdirTemp("", "analytics")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	start := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -29)
	fmt.Printf("playing a month of traffic, %d people a day ...\n", *perDay)
	m, err := play(ctx, filepath.Join(dir, "stats.db"), start, 30, *perDay, false, func(a otpstats.Anomaly) {
		fmt.Printf("%s  %s %s\n", a.Since.Format("2 Jan 15:04"), a.Kind, a.Subject)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.close(ctx)
	board, err := dashboard.New(m.stats, &dashboard.Options{
		Title: "Example: one-time codes", Now: m.now,
		OnError: func(_ *http.Request, err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *address, Handler: board, ReadHeaderTimeout: 5 * time.Second}
	fmt.Println("http://" + *address)
	log.Fatal(server.ListenAndServe())
}

// month is what was played.
type month struct {
	db    *sql.DB
	stats *otpstats.Stats
	clock atomic.Int64 // the simulated time, in nanoseconds
}

func (m *month) now() time.Time { return time.Unix(0, m.clock.Load()).UTC() }

// play plays traffic into the tables of a new file.
func play(ctx context.Context, file string, start time.Time, days, perDay int, quiet bool, told func(otpstats.Anomaly)) (*month, error) {
	// One connection: SQLite has one writer, and the pragmas are those of a connection.
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	m := &month{db: db}
	m.clock.Store(start.UnixNano())
	key := make([]byte, 32)
	rand.Read(key)
	m.stats, err = otpstats.Open(ctx, db, otpstats.SQLite, &otpstats.Options{
		Key: key, App: traffic.App, Now: m.now, OnAnomaly: told,
		OnError: func(err error) { log.Print(err) },
	})
	if err != nil {
		db.Close()
		return nil, err
	}
	minutes := 0
	err = traffic.Play(ctx, traffic.Options{
		Start: start, Days: days, PerDay: perDay, Seed: 1, Observer: m.stats, Mail: m.stats.Mail, Quiet: quiet,
		Minute: func(now time.Time) error {
			m.clock.Store(now.UnixNano())
			if minutes++; minutes%30 != 0 {
				return nil
			}
			return m.stats.Flush(ctx) // the queue is made for real time
		},
	})
	if err == nil {
		err = m.stats.Flush(ctx)
	}
	if err != nil {
		m.close(ctx)
		return nil, err
	}
	return m, nil
}

func (m *month) close(ctx context.Context) {
	m.stats.Close(ctx)
	m.db.Close()
}
