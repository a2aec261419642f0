// Analytics shows the dashboard of otpstats with a month of simulated traffic,
// in which one mail provider has an outage and somebody guesses at many
// addresses. Run it and open http://localhost:8090/?range=30d.
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

	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp/examples/analytics/traffic"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
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

// run simulates the month that ends now and serves its dashboard until ctx
// ends.
func run(ctx context.Context, address string, perDay int) error {
	dir, err := os.MkdirTemp("", "analytics")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	end := time.Now().UTC().Truncate(time.Hour)
	fmt.Printf("simulating a month of traffic, %d people a day ...\n", perDay)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "stats.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer db.Close()
	start := end.Truncate(24*time.Hour).AddDate(0, 0, -29)
	m, err := play(ctx, db, otpstats.SQLite, traffic.Options{
		Start: start, End: end, PerDay: perDay,
		Outage: start.AddDate(0, 0, 19).Add(9*time.Hour + 20*time.Minute), Attack: start.AddDate(0, 0, 25).Add(2*time.Hour + 10*time.Minute),
	}, func(_ context.Context, a otpstats.Anomaly) {
		fmt.Printf("%s  %s %s\n", a.Since.Format("2 Jan 15:04"), a.Kind, a.Subject)
	})
	if err != nil {
		return err
	}
	defer m.stats.Close(context.WithoutCancel(ctx))
	board, err := dashboard.New(m.stats, &dashboard.Options{
		Title: "Example: one-time codes", Now: m.now,
		OnError: func(_ context.Context, err error) { log.Print(err) },
	})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: board, ReadTimeout: 10 * time.Second}
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

// month is the result of a simulation.
type month struct {
	stats *otpstats.Stats
	clock atomic.Int64 // the simulated time, in nanoseconds
}

func (m *month) now() time.Time { return time.Unix(0, m.clock.Load()).UTC() }

// play simulates traffic and stores it in db.
func play(ctx context.Context, db *sql.DB, d otpstats.Dialect, o traffic.Options, onAnomaly func(context.Context, otpstats.Anomaly)) (*month, error) {
	m := &month{}
	m.clock.Store(o.Start.UnixNano())
	key := make([]byte, 32)
	rand.Read(key)
	stats, err := otpstats.Open(ctx, db, d, &otpstats.Options{
		Key: key, App: traffic.App, Now: m.now, OnAnomaly: onAnomaly,
		Interval: time.Hour, // a ticker would read the clock while it moves; Flush reads it between two minutes
		OnError:  func(_ context.Context, err error) { log.Print(err) },
	})
	if err != nil {
		return nil, err
	}
	m.stats = stats
	minutes := 0
	o.Seed, o.Observer, o.Mail = 1, stats, stats.Mail
	o.Minute = func(now time.Time) error {
		m.clock.Store(now.UnixNano()) // everything before it has been observed, and nothing after it
		if minutes++; minutes%60 != 0 {
			return nil
		}
		return stats.Flush(ctx) // the queue is sized for real time
	}
	if err = traffic.Play(ctx, o); err == nil {
		err = stats.Flush(ctx)
	}
	if err != nil {
		stats.Close(ctx)
		return nil, err
	}
	return m, nil
}
