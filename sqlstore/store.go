// Package sqlstore keeps the ledgers of package otp in PostgreSQL, MySQL or
// MariaDB, or SQLite, through database/sql.
//
//	db, err := sql.Open("pgx", "postgres://app@db.example.com/app")
//	store, err := sqlstore.New(db, sqlstore.PostgreSQL, nil)
//	err = store.Migrate(ctx)
//	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: secrets})
//	go store.Run(ctx) // deletes what has expired
//
// The package imports no driver. What the README says about each engine's
// connection string and durability is part of the promise: a code that a server
// forgets after a crash can be used again.
//
// # Transactions
//
// Each swap is one statement that commits by itself, on a connection of its own
// from the pool. It never joins a transaction of yours: a guess stays counted when
// the request around it is rolled back. So the connections must commit by
// themselves, as they do unless a connection string or server says autocommit=0.
// A statement that the server rolled back because of others (a deadlock, a
// serialization failure) is sent again, up to four times.
//
// # Time
//
// Entries expire by the clock of the database server, for SQLite of the machine,
// to the millisecond. One that has expired counts as absent, whether or not it has
// been purged.
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

// Options are the choices for [New]. The zero value is good.
type Options struct {
	// Table is the name of the table, if need be after that of its schema or
	// database and a dot; empty means "otp_ledgers". Each part is 1 to 48 of
	// [A-Za-z0-9_-] and is quoted, so that case counts where the engine lets it.
	Table string

	// Unprepared sends the text of a statement with every call in place of
	// preparing each statement once on each connection: for a pool between
	// the program and the server that hands out connections by the
	// transaction, such as PgBouncer in transaction mode.
	Unprepared bool

	// PurgeInterval is how often [Store.Run] purges; 0 means every ten
	// minutes. A negative one is an error.
	PurgeInterval time.Duration

	// Purged is told what came of each purge of [Store.Run]; nil for nobody.
	// It is called by one goroutine at a time for each Run.
	Purged func(deleted int64, err error)
}

// Store is an [otp.Store] in one table of a database. It must be made by [New].
// It is safe for concurrent use, by any number of processes.
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
	preparer chan struct{} // held by whoever prepares a statement
}

var _ otp.Store = (*Store)(nil)

// New returns a store in db, whose table [Store.Migrate] or [Store.Schema] makes.
// It asks db nothing; opts may be nil. The db stays the caller's, who sets its
// limits and closes it.
func New(db *sql.DB, d Dialect, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: no database")
	}
	s := &Store{db: db, preparer: make(chan struct{}, 1)}
	if opts != nil {
		s.options = *opts
	}
	if s.options.PurgeInterval < 0 {
		return nil, fmt.Errorf("sqlstore: Options.PurgeInterval is negative (%v)", s.options.PurgeInterval)
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

// Load implements [otp.Store] by one statement. A table that is not there is an
// error.
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

// CompareAndSwap implements [otp.Store] by one statement, decided by how many
// rows it changed.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := otp.CheckSwap(key, old, new, ttl); err != nil {
		return false, err
	}
	if s.dialect.ignoresContext {
		old, new = slices.Clone(old), slices.Clone(new) // the statement may outlive the call
	}
	id, ms := []byte(key), milliseconds(ttl)
	return call(ctx, s, func() (bool, error) {
		switch {
		case old == nil:
			return s.exec(ctx, &s.create, s.dialect.createArgs(id, new, ms)...)
		case new == nil:
			return s.exec(ctx, &s.remove, id, old)
		default:
			return s.exec(ctx, &s.replace, s.dialect.replaceArgs(id, old, new, ms)...)
		}
	})
}

// milliseconds rounds a time to live up, by one more since the server cuts its
// clock.
func milliseconds(ttl time.Duration) int64 {
	ms := ttl.Milliseconds() + 1
	if ttl%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// tries is how often a call sends a statement that the server rolls back. Of 249
// such, of 50 clients that create, delete and purge the same rows, the second was enough for all.
const tries = 5

// call runs f, and returns when ctx ends also where the driver cannot: a
// statement in SQLite may wait for a disk. Then f goes on alone, so the limit of
// the pool is the limit of such calls; what comes of it is unknown, which is an error.
// What the server rolled back is known, and is run again.
func call[T any](ctx context.Context, s *Store, f func() (T, error)) (T, error) {
	run := f
	if s.dialect.ignoresContext {
		run = func() (T, error) { return await.Call(ctx, f) }
	}
	value, err := run()
	for try := 1; try < tries && rolledBack(err) && ctx.Err() == nil; try++ {
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

// rolledBack reports whether the server says that it rolled a statement back whole, because of
// others beside it. InnoDB does so also to single inserts: of two that waited for rows
// which a purge deleted, each may get the gap that the other needs. The manuals say to try
// again (MySQL 8.0, "Deadlocks in InnoDB"; PostgreSQL 15, "Serialization Failure Handling").
func rolledBack(err error) bool {
	var coded interface{ SQLState() string } // pgx and lib/pq
	if errors.As(err, &coded) {
		state := coded.SQLState()
		return state == "40001" || state == "40P01" // serialization_failure, deadlock_detected
	}
	// go-sql-driver/mysql has no method that tells; 1213 is ER_LOCK_DEADLOCK.
	return err != nil && strings.HasPrefix(err.Error(), "Error 1213")
}
