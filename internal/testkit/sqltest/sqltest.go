// Package sqltest gives each test of an SQL database its own one. It imports no
// driver: tests import modernc.org/sqlite as "sqlite" and pgx as "pgx".
package sqltest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp/internal/testkit/servers"
)

// Database is a file, or a schema on a server, for [sql.Open].
type Database struct{ Driver, DSN string }

// SQLiteFile returns the database in a file, which may be new. It is as durable
// as a killed process needs, but not for a power cut.
func SQLiteFile(path string) Database {
	return Database{"sqlite", "file:" + path + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"}
}

// SQLite returns a new file that is deleted after the test.
func SQLite(t testing.TB) Database {
	t.Helper()
	return SQLiteFile(filepath.Join(t.TempDir(), "test.db"))
}

// Postgres returns a new schema that is deleted after the test, on the server of
// [servers.Postgres].
func Postgres(t testing.TB) Database {
	t.Helper()
	return Schema(t, servers.Postgres(t, ping))
}

// Fast returns a database for tests that write a lot. The race detector slows
// down SQLite, which is C translated to Go, by more than an order of magnitude,
// but not PostgreSQL. So Fast returns a schema under the race detector if a
// server is running, and else a file, which needs none.
func Fast(t testing.TB) Database {
	t.Helper()
	if race && !testing.Short() {
		if url, ok := servers.RunningPostgres(ping); ok {
			return Schema(t, url)
		}
	}
	return SQLite(t)
}

// Schema returns a new schema on a PostgreSQL server. It is deleted after the
// test.
func Schema(t testing.TB, dsn string) Database {
	t.Helper()
	name := "otp_test_" + strings.ToLower(rand.Text())
	admin := Database{"pgx", dsn}.Open(t)
	if _, err := admin.Exec("CREATE SCHEMA " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Exec("DROP SCHEMA " + name + " CASCADE") })
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	q.Set("synchronous_commit", "off") // durability has its own tests
	u.RawQuery = q.Encode()
	return Database{"pgx", u.String()}
}

// Open returns a connection pool that is closed after the test.
func (d Database) Open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.Driver, d.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Ping returns nil if the database answers.
func (d Database) Ping() error {
	db, err := sql.Open(d.Driver, d.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return db.PingContext(ctx)
}

func ping(dsn string) error { return Database{"pgx", dsn}.Ping() }
