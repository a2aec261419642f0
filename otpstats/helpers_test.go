package otpstats_test

import (
	"context"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpstats"
)

var key = []byte("0123456789abcdef")

// midnight is when the clocks of these tests begin.
var midnight = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func newClock() *testkit.Clock { return testkit.NewClockAt(midnight) }

// eachEngine runs a test on both kinds of database, so that each statement is
// executed on both. Tests that write a lot are on sqltest.Fast instead.
func eachEngine(t *testing.T, f func(t *testing.T, d sqltest.Database)) {
	t.Parallel()
	for name, database := range map[string]func(testing.TB) sqltest.Database{"SQLite": sqltest.SQLite, "PostgreSQL": sqltest.Postgres} {
		t.Run(name, func(t *testing.T) {
			if name == "PostgreSQL" {
				testkit.Long(t)
			}
			t.Parallel()
			f(t, database(t))
		})
	}
}

// postgres returns a schema for tests of several processes, which wait in real
// time for each other.
func postgres(t *testing.T) sqltest.Database {
	testkit.Long(t)
	t.Parallel()
	return sqltest.Postgres(t)
}

func dialect(d sqltest.Database) otpstats.Dialect {
	if d.Driver == "pgx" {
		return otpstats.PostgreSQL
	}
	return otpstats.SQLite
}

// open opens stats that end with the test and whose writer must not fail.
func open(t testing.TB, d sqltest.Database, c *testkit.Clock, opts otpstats.Options) *otpstats.Stats {
	t.Helper()
	if opts.Key == nil {
		opts.Key = key
	}
	if c != nil {
		opts.Now = c.Now
	}
	if opts.OnError == nil {
		opts.OnError = func(_ context.Context, err error) { t.Errorf("the writer: %v", err) }
	}
	s, err := otpstats.Open(t.Context(), d.Open(t), dialect(d), &opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

func flush(t testing.TB, s *otpstats.Stats) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, s.Flush(ctx))
}
