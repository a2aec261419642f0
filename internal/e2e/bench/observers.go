package main

import (
	"context"
	"database/sql"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpotel"
	"github.com/go-mailotp/otp/otpstats"
)

const observersTitle = "Observers"

// atObservers prints what an observer costs the caller of Check. What otpstats writes
// is not in it: that is done by a goroutine of its own, here between the blocks.
func atObservers(w io.Writer, blocks int) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stats, db, err := openStats(filepath.Join(dir, "stats.db"), &otpstats.Options{Interval: time.Hour, Batch: 16384})
	if err != nil {
		return err
	}
	defer db.Close()
	defer stats.Close(context.Background())
	telemetry, err := otpotel.New(&otpotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))})
	if err != nil {
		return err
	}
	var alone, checks []*variant
	event := otp.Event{
		Kind: otpevent.Wrong, Time: time.Now(), Purpose: "login", Locale: "en", Masked: "p***@example.org", Domain: "example.org",
		AddressHash: otp.Hash{1}, ChallengeHash: otp.Hash{2}, WrongGuesses: 1, GuessesLeft: 4, Age: 20 * time.Second,
	}
	logger := slog.New(slog.NewJSONHandler(io.Discard, nil))
	for _, o := range []struct {
		name     string
		observer otp.Observer
	}{
		{"bare: one that does nothing", otp.ObserverFunc(func(context.Context, otp.Event) {})},
		{"otpstats", stats},
		{"otpotel", telemetry},
		{"LogObserver, JSON into nothing", otp.NewLogObserver(logger)},
		{"slog alone, of fields that are made", otp.ObserverFunc(func(ctx context.Context, _ otp.Event) { logFields(ctx, logger) })},
	} {
		v, err := libraryWrong(otp.NewMemoryStore(nil), o.observer)
		if err != nil {
			return err
		}
		one := &variant{size: turns, run: func(int, int) error {
			o.observer.Observe(context.Background(), event)
			return nil
		}}
		for _, v := range []*variant{v, one} {
			v.name = o.name
			before := v.prepare
			v.prepare = func() error {
				if before != nil {
					if err := before(); err != nil {
						return err
					}
				}
				defer runtime.GC() // of what was written, which is not the caller's
				return stats.Flush(context.Background())
			}
		}
		checks, alone = append(checks, v), append(alone, one)
	}
	if err := table(w, "Observe of a wrong code", blocks, cores, alone...); err != nil {
		return err
	}
	return table(w, "Check of a wrong code, observed", blocks, cores, checks...)
}

// logFields is the line that LogObserver writes, without an event that it is made of.
func logFields(ctx context.Context, l *slog.Logger) {
	const hash = "AQAAAAAAAAAAAAAAAAAAAA"
	l.LogAttrs(ctx, slog.LevelInfo, "otp wrong", slog.String("purpose", "login"), slog.String("to", "p***@example.org"), slog.String("address", hash),
		slog.String("challenge", hash), slog.String("locale", "en"), slog.Int("guesses_left", 4), slog.Duration("age", 20*time.Second))
}

func openStats(file string, opts *otpstats.Options) (*otpstats.Stats, *sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, nil, err
	}
	opts.Key = make([]byte, 32)
	stats, err := otpstats.Open(context.Background(), db, otpstats.SQLite, opts)
	if err != nil {
		db.Close()
	}
	return stats, db, err
}
