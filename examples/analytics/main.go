// Analytics shows the dashboard of otpstats over a month of simulated traffic, in which one
// mail provider has an outage and somebody guesses at many addresses. Run it and open
// http://localhost:8090/?range=30d.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-mailotp/otp/examples/analytics/traffic"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
	_ "modernc.org/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	address := flag.String("addr", "localhost:8090", "where to listen")
	perDay := flag.Int("perday", 5000, "people a day")
	flag.Parse()
	if err := run(ctx, *address, *perDay); err != nil && ctx.Err() == nil {
		log.Print(err)
		stop()
		os.Exit(1)
	}
}

// run plays the month that ends now and serves its dashboard until ctx ends.
func run(ctx context.Context, address string, perDay int) error {
	dir, err := os.MkdirTemp("", "analytics")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	end := time.Now().UTC().Truncate(time.Hour)
	fmt.Printf("playing a month of traffic, %d people a day ...\n", perDay)
	m, err := play(ctx, filepath.Join(dir, "stats.db"), end.Truncate(24*time.Hour).AddDate(0, 0, -29), end, perDay, false, func(a otpstats.Anomaly) {
		fmt.Printf("%s  %s %s\n", a.Since.Format("2 Jan 15:04"), a.Kind, a.Subject)
	})
	if err != nil {
		return err
	}
	defer m.close(context.WithoutCancel(ctx))
	board, err := dashboard.New(m.stats, &dashboard.Options{
		Title: "Example: one-time codes", Now: m.now,
		OnError: func(_ *http.Request, err error) { log.Print(err) },
	})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: board, ReadHeaderTimeout: 5 * time.Second}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/?range=30d\n", address)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err = <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(last)
}

// month is what was played.
type month struct {
	db    *sql.DB
	stats *otpstats.Stats
	clock atomic.Int64 // the simulated time, in nanoseconds
}

func (m *month) now() time.Time { return time.Unix(0, m.clock.Load()).UTC() }

// play plays traffic into the tables of a new file.
func play(ctx context.Context, file string, start, end time.Time, perDay int, quiet bool, told func(otpstats.Anomaly)) (*month, error) {
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
		Interval: time.Hour, // a timer would read a clock that flies; Flush does so while it stands
		OnError:  func(err error) { log.Print(err) },
	})
	if err != nil {
		db.Close()
		return nil, err
	}
	minutes := 0
	err = traffic.Play(ctx, traffic.Options{
		Start: start, End: end, PerDay: perDay, Seed: 1, Observer: m.stats, Mail: m.stats.Mail, Quiet: quiet,
		Minute: func(now time.Time) error {
			m.clock.Store(now.UnixNano()) // all before it has been observed, and nothing after it
			if minutes++; minutes%60 != 0 {
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
