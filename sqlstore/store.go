// Package sqlstore implements [otp.Store] on PostgreSQL, MySQL, MariaDB or
// SQLite, using database/sql.
//
//	db, err := sql.Open("pgx", "postgres://app@db.example.com/app")
//	store, err := sqlstore.New(db, sqlstore.PostgreSQL, nil)
//	err = store.Migrate(ctx)
//	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: secrets})
//	go store.Run(ctx) // deletes expired rows
//
// The package imports no driver. Follow the README on each engine's connection
// string and durability settings: if a server forgets an acknowledged write
// after a crash, a used code can be used again.
//
// # Transactions
//
// Each swap is one statement that commits by itself, on its own connection from
// the pool. It never joins your transaction, so a guess stays counted when the
// request around it is rolled back. This requires connections with autocommit,
// which is on unless a connection string or the server turns it off. If the
// server rolls a statement back because of a deadlock or a serialization
// failure, the store retries it up to four times.
//
// # Time
//
// Rows expire by the clock of the database server (for SQLite, of the machine),
// with a precision of one millisecond. An expired row counts as absent whether
// or not it has been purged.
package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/await"
)

// Options configures a store. The zero value is valid.
type Options struct {
	// Table is the name of the table, optionally preceded by the name of its
	// schema or database and a dot. Each part has 1 to 48 characters of
	// [A-Za-z0-9_-] and is quoted, so names are case-sensitive where the
	// engine supports that. The default is "otp_ledgers". With any other name
	// [New] returns an error.
	Table string

	// Unprepared sends the text of a statement with every call instead of
	// preparing the statement once on each connection. Set it if a connection
	// pool between the program and the server shares connections between
	// transactions, such as PgBouncer in transaction mode.
	Unprepared bool

	// PurgeInterval is the time between two purges of [Store.Run]. The default
	// is ten minutes. If it is negative, [New] returns an error.
	PurgeInterval time.Duration

	// OnPurge, if not nil, is called after each purge of [Store.Run], with the
	// number of deleted rows and the error of the purge. Each Run calls it
	// from one goroutine, with its own context.
	OnPurge func(ctx context.Context, deleted int64, err error)
}

// Store is an [otp.Store] in one table of a database. Create it with [New]. It
// is safe for concurrent use, and any number of processes can share the table.
//
// A Store needs no Close: its prepared statements end with the *sql.DB.
type Store struct {
	db       *sql.DB
	options  Options
	dialect  dialect
	load     statement
	create   statement
	replace  statement
	remove   statement
	preparer chan struct{} // held while a statement is being prepared
}

var _ otp.Store = (*Store)(nil)

// New returns a store in db. Create its table with [Store.Migrate] or
// [Store.Schema]. New runs no query. The caller keeps ownership of db: set its
// limits, and close it. Nil opts means the defaults.
func New(db *sql.DB, d Dialect, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: New: db is nil")
	}
	s := &Store{db: db, preparer: make(chan struct{}, 1)}
	if opts != nil {
		s.options = *opts
	}
	if s.options.PurgeInterval < 0 {
		return nil, fmt.Errorf("sqlstore: Options.PurgeInterval: %v is negative", s.options.PurgeInterval)
	}
	s.options.PurgeInterval = cmp.Or(s.options.PurgeInterval, 10*time.Minute)
	var err error
	if s.dialect, err = newDialect(d, cmp.Or(s.options.Table, "otp_ledgers")); err != nil {
		return nil, err
	}
	s.load.text, s.create.text = s.dialect.load, s.dialect.create
	s.replace.text, s.remove.text = s.dialect.replace, s.dialect.remove
	return s, nil
}

// Load implements [otp.Store] with one statement. A missing table is an error.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	if err := otp.CheckKey(key); err != nil {
		return nil, err
	}
	return call(ctx, s, func() ([]byte, error) {
		var value []byte
		err := s.queryRow(ctx, &s.load, []byte(key)).Scan(&value)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		return value, err
	})
}

// CompareAndSwap implements [otp.Store] with one statement. The number of rows
// that it changed is the result of the comparison.
func (s *Store) CompareAndSwap(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	if err := otp.CheckSwap(key, oldValue, newValue, ttl); err != nil {
		return false, err
	}
	if s.dialect.ignoresContext {
		oldValue, newValue = slices.Clone(oldValue), slices.Clone(newValue) // the statement may outlive the call
	}
	id, ms := []byte(key), milliseconds(ttl)
	return call(ctx, s, func() (bool, error) {
		switch {
		case oldValue == nil:
			return s.exec(ctx, &s.create, s.dialect.createArgs(id, newValue, ms)...)
		case newValue == nil:
			return s.exec(ctx, &s.remove, id, oldValue)
		default:
			return s.exec(ctx, &s.replace, s.dialect.replaceArgs(id, oldValue, newValue, ms)...)
		}
	})
}

// milliseconds rounds a time to live up and adds one millisecond, because the
// server truncates its clock.
func milliseconds(ttl time.Duration) int64 {
	ms := ttl.Milliseconds() + 1
	if ttl%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// tries is how often a call sends a statement that the server rolls back. In a
// trial, 50 clients created, deleted and purged the same rows; of 249
// statements that were rolled back, all succeeded at the second try.
const tries = 5

// call runs f and returns when ctx ends, even where the driver cannot: a
// statement in SQLite may wait for a disk. In that case f continues in the
// background, so the limit of the pool also limits such calls, and its unknown
// outcome is an error. If the server rolled a statement back, the outcome is
// known, and call runs f again, as it does if SQLite was busy.
func call[T any](ctx context.Context, s *Store, f func() (T, error)) (T, error) {
	run := f
	if s.dialect.ignoresContext {
		run = func() (T, error) { return await.Call(ctx, f) }
	}
	began := time.Now()
	value, err := run()
	for try := 1; try < tries && rolledBack(err) && ctx.Err() == nil; try++ {
		value, err = run()
	}
	for pause := 5 * time.Millisecond; busy(err) && time.Since(began) < busyTime && ctx.Err() == nil; pause *= 2 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		value, err = run()
	}
	if err == nil {
		return value, nil
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	var none T
	return none, fmt.Errorf("sqlstore: %w", err)
}

// busyTime is how long a call sends a statement again that SQLite refuses.
const busyTime = 2 * time.Second

// busy reports whether SQLite has refused a statement because of another
// connection, so that the statement had no effect (SQLITE_BUSY). The pragma
// busy_timeout makes it wait, but not while another connection turns on the
// write-ahead log of a new file, as several processes do that start at once.
func busy(err error) bool { return err != nil && strings.Contains(err.Error(), "database is locked") }

// rolledBack reports whether the server rolled a whole statement back because
// of concurrent ones. InnoDB does that even to single inserts: if two of them
// waited for rows that a purge deleted, each may hold the gap that the other
// needs. The manuals say to try again (MySQL 8.0, "Deadlocks in InnoDB";
// PostgreSQL 15, "Serialization Failure Handling").
func rolledBack(err error) bool {
	var coded interface{ SQLState() string } // pgx and lib/pq
	if errors.As(err, &coded) {
		state := coded.SQLState()
		return state == "40001" || state == "40P01" // serialization_failure, deadlock_detected
	}
	// The errors of go-sql-driver/mysql have no method for the code. 1213 is
	// ER_LOCK_DEADLOCK.
	return err != nil && strings.HasPrefix(err.Error(), "Error 1213")
}
