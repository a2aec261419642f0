package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/sqlstore"
)

// The store sends a statement again that SQLite refuses because another process
// turns on its log.
func TestRetry_busy(t *testing.T) {
	p := newFile(t)
	spy, db := spyOn(t, p)
	s := storeIn(t, p, db, nil)
	works(t, s)
	spy.commands()
	spy.failure, spy.failures = errors.New("database is locked (5) (SQLITE_BUSY)"), 2
	swapped, err := s.CompareAndSwap(t.Context(), "k", nil, []byte("v"), time.Hour)
	require.NoError(t, err)
	require.True(t, swapped)
	require.Equal(t, []string{"INSERT", "INSERT", "INSERT"}, spy.commands())
}

// The store retries a statement that the server rolled back, a limited number of
// times. It returns every other error at once.
func TestRetry(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		sends int
	}{
		{"serialization failure", &pgconn.PgError{Code: "40001"}, 5},
		{"deadlock in PostgreSQL", &pgconn.PgError{Code: "40P01"}, 5},
		{"the rest of its class", &pgconn.PgError{Code: "40003", Message: "Error 1213"}, 1}, // the outcome is unknown
		{"deadlock in MariaDB", &mysql.MySQLError{Number: 1213, SQLState: [5]byte([]byte("40001")), Message: "Deadlock found"}, 5},
		{"lock wait timeout", &mysql.MySQLError{Number: 1205, Message: "Error 1213"}, 1}, // it waited long
		{"connection lost", errors.New("unexpected EOF"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newFile(t)
			spy, db := spyOn(t, p)
			s := storeIn(t, p, db, nil)
			works(t, s)
			spy.commands()
			spy.failure = test.err
			swapped, err := s.CompareAndSwap(t.Context(), "k", nil, []byte("v"), time.Hour)
			require.False(t, swapped)
			require.ErrorIs(t, err, test.err)
			require.Len(t, spy.commands(), test.sends)
			_, err = s.Load(t.Context(), "k")
			require.ErrorIs(t, err, test.err)
			require.Len(t, spy.commands(), test.sends)
		})
	}
}

// A purge locks no row by its expiry: another transaction that holds one of its rows
// may write the index on expiry without a deadlock.
func TestPurge_lockOrder(t *testing.T) {
	s, spy, other := besidePurge(t)
	fill(t, s, "live", 40, time.Hour) // so that few of many rows have expired
	fill(t, s, "dead", 3, 1)
	spy.commands()
	must(t, other, "SELECT * FROM otp_ledgers WHERE id = 'dead1' FOR UPDATE")
	purged := purging(t, s, other)
	must(t, other, "UPDATE otp_ledgers SET expires = expires + 3600000 WHERE id = 'dead1'")
	require.NoError(t, other.Commit())
	require.EqualValues(t, 2, <-purged)
	require.Equal(t, []string{"SELECT", "DELETE"}, spy.commands())
}

// A purge continues if the server rolls it back in a deadlock with another
// transaction.
func TestPurge_deadlock(t *testing.T) {
	s, spy, other := besidePurge(t)
	fill(t, s, "dead", 2, 1)
	spy.commands()
	for i := range 50 { // InnoDB rolls back the smaller transaction
		must(t, other, "INSERT INTO otp_ledgers VALUES (?, '', 9e12)", fmt.Sprint("other", i))
	}
	must(t, other, "SELECT * FROM otp_ledgers WHERE id = 'dead1' FOR UPDATE")
	purged := purging(t, s, other)
	must(t, other, "SELECT * FROM otp_ledgers WHERE id = 'dead0' FOR UPDATE")
	require.NoError(t, other.Commit())
	require.EqualValues(t, 2, <-purged)
	require.Equal(t, []string{"SELECT", "DELETE", "SELECT", "DELETE"}, spy.commands())
}

// A table name that includes the database needs no database in the session.
func TestPurge_otherDatabase(t *testing.T) {
	p := engines[1].make(t)
	c, err := mysql.ParseDSN(p.dsn)
	require.NoError(t, err)
	table := c.DBName + ".some-Table"
	for _, session := range []string{"", c.DBName, "information_schema"} {
		c.DBName = session
		db := openAt(t, place{p.driver, c.FormatDSN()})
		s := storeIn(t, p, db, &sqlstore.Options{Table: table})
		works(t, s)
		fill(t, s, "dead", 3, 1)
		deleted, err := s.Purge(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 3, deleted)
		works(t, s)
	}
}

// besidePurge creates a store in MariaDB and begins another transaction there.
func besidePurge(t *testing.T) (*sqlstore.Store, *spy, *sql.Tx) {
	p := engines[1].make(t)
	spy, db := spyOn(t, p)
	s := storeIn(t, p, db, nil)
	other, err := openAt(t, p).BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	t.Cleanup(func() { other.Rollback() })
	return s, spy, other
}

// purging starts a purge and returns when it waits for a row.
func purging(t *testing.T, s *sqlstore.Store, other *sql.Tx) <-chan int64 {
	purged := make(chan int64, 1)
	go func() {
		deleted, err := s.Purge(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
		}
		purged <- deleted
	}()
	servers.Wait(t, "the purge to wait", func() error {
		must(t, other, "DO sleep(0.2)") // innodb_trx is not refreshed while it is read more often
		var id int
		return other.QueryRow(`SELECT trx_id FROM information_schema.innodb_trx JOIN information_schema.processlist
			ON id = trx_mysql_thread_id WHERE db = database() AND trx_state = 'LOCK WAIT'`).Scan(&id)
	})
	return purged
}
