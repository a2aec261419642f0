package otpstats_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/otpstats"
)

var key = []byte("0123456789abcdef")

// place is where a database is.
type place struct {
	driver, dsn string
}

var engines = []struct {
	name string
	make func(t testing.TB) place
}{
	{"SQLite", func(t testing.TB) place { return newFile(filepath.Join(t.TempDir(), "stats.db")) }},
	{"PostgreSQL", func(t testing.TB) place { return newSchema(t, servers.Postgres(t, ping)) }},
}

func newFile(path string) place {
	return place{"sqlite", "file:" + path + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"}
}

func ping(dsn string) error {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return db.PingContext(ctx)
}

// newSchema makes a schema that ends with the test.
func newSchema(t testing.TB, dsn string) place {
	name := "otp_test_" + strings.ToLower(rand.Text())
	admin := openAt(t, place{"pgx", dsn})
	_, err := admin.Exec("CREATE SCHEMA " + name)
	require.NoError(t, err)
	t.Cleanup(func() { admin.Exec("DROP SCHEMA " + name + " CASCADE") })
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set("search_path", name)
	q.Set("synchronous_commit", "off")
	u.RawQuery = q.Encode()
	return place{"pgx", u.String()}
}

func (p place) dialect() otpstats.Dialect {
	if p.driver == "pgx" {
		return otpstats.PostgreSQL
	}
	return otpstats.SQLite
}

func openAt(t testing.TB, p place) *sql.DB {
	t.Helper()
	db, err := sql.Open(p.driver, p.dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.now) {
		c.now = at
	}
}

func (c *clock) Add(d time.Duration) { c.Set(c.Now().Add(d)) }

// open opens stats that end with the test and whose writer must not fail.
func open(t testing.TB, p place, c *clock, opts otpstats.Options) *otpstats.Stats {
	t.Helper()
	if opts.Key == nil {
		opts.Key = key
	}
	if c != nil {
		opts.Now = c.Now
	}
	if opts.OnError == nil {
		opts.OnError = func(err error) { t.Errorf("the writer: %v", err) }
	}
	s, err := otpstats.Open(t.Context(), openAt(t, p), p.dialect(), &opts)
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
