package bench

import (
	"context"
	"database/sql"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpotel"
	"github.com/go-mailotp/otp/otpstats"
)

// BenchmarkObserve is one event of a wrong code, against log/slog alone, which
// writes JSON to nowhere. The rows that otpstats writes are not timed: its own
// goroutine writes them, here between the blocks.
func BenchmarkObserve(b *testing.B) {
	observers, flush := newObservers(b)
	event := otp.Event{
		Kind: otpevent.Wrong, Time: time.Now(), Purpose: "login", Locale: "en", Masked: "p***@example.org", Domain: "example.org",
		AddressHash: otp.Hash{1}, ChallengeHash: otp.Hash{2}, WrongGuesses: 1, GuessesLeft: 4, Age: 20 * time.Second,
	}
	var ways []way
	for _, o := range observers {
		ways = append(ways, way{o.name, flush, func(int) error {
			o.Observe(context.Background(), event)
			return nil
		}})
	}
	compare(b, 1024, oneOrTwo, ways[0], ways[1:]...)
}

// BenchmarkObservedCheck is [BenchmarkWrong] of a verifier with an observer,
// against one whose observer does nothing.
func BenchmarkObservedCheck(b *testing.B) {
	observers, flush := newObservers(b)
	nothing := otp.ObserverFunc(func(context.Context, otp.Event) {})
	var ways []way
	for _, o := range append([]named{{"unobserved", nothing}}, observers...) {
		w := newFlow(b, memory(), hand, o).wrong(o.name)
		send := w.prepare
		w.prepare = func(n int) error {
			if err := send(n); err != nil {
				return err
			}
			return flush(n)
		}
		ways = append(ways, w)
	}
	compare(b, 1024, oneOrTwo, ways[0], ways[1:]...)
}

type named struct {
	name string
	otp.Observer
}

// newObservers returns slog alone, without an event that it must read, and all
// observers of the library. flush lets otpstats write what it has.
func newObservers(b *testing.B) (all []named, flush func(int) error) {
	stats, _ := openStats(b, &otpstats.Options{Interval: time.Hour, Batch: 16384})
	telemetry, err := otpotel.New(&otpotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))})
	require.NoError(b, err)
	logger := slog.New(slog.NewJSONHandler(io.Discard, nil))
	const hash = "AQAAAAAAAAAAAAAAAAAAAA"
	alone := otp.ObserverFunc(func(ctx context.Context, _ otp.Event) {
		logger.LogAttrs(ctx, slog.LevelInfo, "otp wrong", slog.String("purpose", "login"), slog.String("to", "p***@example.org"),
			slog.String("address", hash), slog.String("challenge", hash), slog.String("locale", "en"),
			slog.Int("guesses_left", 4), slog.Duration("age", 20*time.Second))
	})
	return []named{{"slog", alone}, {"log", otp.NewLogObserver(logger)}, {"otpstats", stats}, {"otpotel", telemetry}}, func(int) error {
		defer runtime.GC() // of the rows, which are not the caller's
		return stats.Flush(context.Background())
	}
}

func openStats(b *testing.B, opts *otpstats.Options) (*otpstats.Stats, *sql.DB) {
	file := filepath.Join(servers.Dir(b), "stats.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(10000)")
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	opts.Key = make([]byte, 32)
	stats, err := otpstats.Open(context.Background(), db, otpstats.SQLite, opts)
	require.NoError(b, err)
	b.Cleanup(func() { stats.Close(context.Background()) })
	return stats, db
}
