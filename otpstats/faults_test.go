package otpstats_test

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpstats"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("OTPSTATS_TEST_CHILD"); path != "" {
		child(path)
	}
	os.Exit(m.Run())
}

// child writes until it is killed, and says how many challenges it knows to be written.
func child(path string) {
	d := sqltest.SQLiteFile(path)
	db, err := sql.Open(d.Driver, d.DSN)
	if err == nil {
		s, err := otpstats.Open(context.Background(), db, dialect(d), &otpstats.Options{Key: key, Batch: 7, Interval: time.Millisecond})
		for n := 0; err == nil; n++ {
			tell(s, ask(int(time.Now().UnixNano()), time.Now(), "a.example"))
			if n%20 == 19 {
				err = s.Flush(context.Background())
				fmt.Println("written")
			}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// What was written is there after a kill, all of it and once: a challenge that stands
// goes on, and roll-ups and events agree.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stats.db")
	written := int64(0)
	for range testkit.Rounds(2, 4) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "OTPSTATS_TEST_CHILD="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for range 5 {
			require.True(t, lines.Scan())
			require.Equal(t, "written", lines.Text())
			written += 20
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() {
			if lines.Text() == "written" {
				written += 20
			}
		}
		cmd.Wait()
	}
	d, c := sqltest.SQLiteFile(path), newClock()
	c.Set(time.Now().Add(10 * time.Hour))
	s := open(t, d, c, otpstats.Options{})
	flush(t, s)
	n := total(t, s, otpstats.Filter{})
	require.GreaterOrEqual(t, n.Verified, written)
	require.Equal(t, n.Over, n.Sent)
	var events, right int64
	db := d.Open(t)
	require.NoError(t, db.QueryRow("SELECT sum(kind = 3), sum(kind = 6) FROM otp_stats_events").Scan(&events, &right))
	require.Equal(t, events, n.Sent)
	require.Equal(t, right, n.Verified)
}

// While the database is down checks go on, OnError hears of it, and what waited is
// written when it is back.
func TestPostgreSQL_down(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	server := servers.StartPostgres(t)
	database := sqltest.Database{Driver: "pgx", DSN: server.URL}
	servers.Wait(t, "PostgreSQL to start", database.Ping)
	var failures atomic.Int64
	failed := make(chan error, 1000)
	s := open(t, database, nil, otpstats.Options{Queue: 100, Batch: 10, OnError: func(_ context.Context, err error) {
		failures.Add(1)
		select {
		case failed <- err:
		default:
		}
	}})
	tell(s, ask(1, time.Now(), "a.example"))
	flush(t, s)
	server.Kill(t)
	tell(s, ask(2, time.Now(), "a.example"))
	err := <-failed
	require.ErrorContains(t, err, "otpstats: ")
	for n := range 300 { // more than there is room for
		ask(10+n, time.Now(), "a.example")[1].tell(s)
	}
	require.Positive(t, s.Dropped())
	server.Restart(t)
	servers.Wait(t, "PostgreSQL to start", database.Ping)
	flush(t, s)
	n := total(t, s, otpstats.Filter{})
	require.EqualValues(t, 2, n.Verified)
	require.EqualValues(t, 2, n.Asked)
	require.Equal(t, 302-s.Dropped(), n.Sent)
}

// A panic of the application's functions ends nothing.
func TestWrite_panics(t *testing.T) {
	c := newClock()
	var heard []error
	s := open(t, sqltest.SQLite(t), c, otpstats.Options{
		OnAnomaly: func(context.Context, otpstats.Anomaly) { panic("no") },
		OnError:   func(_ context.Context, err error) { heard = append(heard, err); panic("neither") },
	})
	guess(s, 1, 30, c.Now())
	c.Add(5 * time.Minute)
	flush(t, s)
	require.Len(t, heard, 1)
	require.EqualError(t, heard[0], "otpstats: OnAnomaly panicked: no")
	tell(s, ask(100, c.Now(), "a.example"))
	flush(t, s)
	require.EqualValues(t, 31, total(t, s, otpstats.Filter{}).Sent)
}

// A commit whose answer is lost on the way is not made twice.
func TestWrite_lostCommit(t *testing.T) {
	d := sqltest.SQLite(t)
	f := &flaky{dsn: d.DSN, driver: d.Open(t).Driver()}
	db := sql.OpenDB(f)
	defer db.Close()
	var errs atomic.Int64
	s, err := otpstats.Open(t.Context(), db, otpstats.SQLite, &otpstats.Options{Key: key, OnError: func(context.Context, error) { errs.Add(1) }})
	require.NoError(t, err)
	for n := range 10 {
		f.lose.Store(n%2 == 0)
		tell(s, ask(n, time.Now(), "a.example"))
		flush(t, s)
	}
	require.NoError(t, s.Close(t.Context()))
	require.EqualValues(t, 5, errs.Load())
	n := total(t, s, otpstats.Filter{})
	require.EqualValues(t, 10, n.Verified)
	require.EqualValues(t, 10, n.Asked)
}

// An anomaly is told although the answer to its insert is lost.
func TestReport_lostAnswer(t *testing.T) {
	d, c := sqltest.SQLite(t), newClock()
	f := &flaky{dsn: d.DSN, driver: d.Open(t).Driver()}
	db := sql.OpenDB(f)
	defer db.Close()
	told := 0
	s, err := otpstats.Open(t.Context(), db, otpstats.SQLite, &otpstats.Options{
		Key: key, Now: c.Now, Interval: time.Hour, OnAnomaly: func(context.Context, otpstats.Anomaly) { told++ },
	})
	require.NoError(t, err)
	defer s.Close(context.Background())
	guess(s, 1, 60, c.Now())
	c.Add(5 * time.Minute)
	f.forget.Store(true)
	require.Error(t, s.Flush(t.Context()))
	require.Zero(t, told)
	for range 3 {
		c.Add(time.Minute)
		flush(t, s)
	}
	require.Equal(t, 1, told)
}

// flaky is a database that makes a commit, or an anomaly, and says that it failed, or begins no transaction.
type flaky struct {
	dsn                  string
	driver               driver.Driver
	lose, refuse, forget atomic.Bool
}

func (f *flaky) Connect(context.Context) (driver.Conn, error) {
	c, err := f.driver.Open(f.dsn)
	return flakyConn{c, f}, err
}
func (f *flaky) Driver() driver.Driver { return f.driver }

type flakyConn struct {
	driver.Conn
	f *flaky
}

func (c flakyConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, text, args)
	if err == nil && strings.HasPrefix(text, `INSERT INTO "otp_stats_anomalies"`) && c.f.forget.CompareAndSwap(true, false) {
		return nil, errors.New("the line is dead")
	}
	return result, err
}

func (c flakyConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, text, args)
}

func (c flakyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.f.refuse.Load() {
		return nil, errDown
	}
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	return flakyTx{tx, c.f}, err
}

type flakyTx struct {
	driver.Tx
	f *flaky
}

func (tx flakyTx) Commit() error {
	err := tx.Tx.Commit()
	if err == nil && tx.f.lose.CompareAndSwap(true, false) {
		return errors.New("the line is dead")
	}
	return err
}

// Invalid options and databases are rejected, by the name of the option.
func TestOpen_refuses(t *testing.T) {
	db := sqltest.SQLite(t).Open(t)
	for name, o := range map[string]otpstats.Options{
		"Key":         {Key: key[:15]},
		"Queue":       {Key: key, Queue: -1},
		"Batch":       {Key: key, Batch: -1},
		"Interval":    {Key: key, Interval: -1},
		"Over":        {Key: key, Over: -1},
		"KeepEvents":  {Key: key, KeepEvents: time.Hour},
		"KeepRollups": {Key: key, KeepRollups: 24 * time.Hour},
		"Prefix":      {Key: key, Prefix: `x"; DROP TABLE`},
		"Calm":        {Key: key, Rules: otpstats.Rules{Calm: -1}},
		"Factor":      {Key: key, Rules: otpstats.Rules{Guessing: otpstats.GuessingRule{Factor: -1}}},
		"Window":      {Key: key, Rules: otpstats.Rules{Clients: otpstats.SpreadRule{Window: 2 * time.Hour}}},
	} {
		_, err := otpstats.Open(t.Context(), db, otpstats.SQLite, &o)
		require.ErrorContains(t, err, "otpstats: Options.")
		require.ErrorContains(t, err, name+": ")
	}
	_, err := otpstats.Open(t.Context(), nil, otpstats.SQLite, &otpstats.Options{Key: key})
	require.ErrorContains(t, err, "db is nil")
	_, err = otpstats.Open(t.Context(), db, 9, &otpstats.Options{Key: key})
	require.ErrorContains(t, err, "dialect")
	_, err = otpstats.Open(t.Context(), db, otpstats.SQLite, nil)
	require.ErrorContains(t, err, "Key")
	_, err = otpstats.Open(t.Context(), db, otpstats.SQLite, &otpstats.Options{Key: key, Unmigrated: true, Prefix: "missing_"})
	require.ErrorContains(t, err, "missing_")
}

// The tables can be created from Schema, in another schema and with another prefix.
func TestSchema(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		prefix := "main.otp_"
		if d.Driver == "pgx" {
			db := d.Open(t)
			var schema string
			require.NoError(t, db.QueryRow("SELECT current_schema()").Scan(&schema))
			prefix = schema + ".otp_"
		}
		text, err := otpstats.Schema(dialect(d), prefix)
		require.NoError(t, err)
		db := d.Open(t)
		for range 2 { // again changes nothing
			for _, statement := range strings.SplitAfter(text, ";\n") {
				if strings.TrimSpace(statement) != "" {
					_, err := db.Exec(statement)
					require.NoError(t, err, statement)
				}
			}
		}
		db.SetMaxOpenConns(1) // one connection is enough
		s, err := otpstats.Open(t.Context(), db, dialect(d), &otpstats.Options{Key: key, Prefix: prefix, Unmigrated: true})
		require.NoError(t, err)
		tell(s, ask(1, time.Now(), "a.example"))
		flush(t, s)
		require.EqualValues(t, 1, total(t, s, otpstats.Filter{}).Verified)
		require.NoError(t, s.Forget(t.Context(), numbered('a', 1)))
		_, err = s.Abuse(t.Context(), otpstats.Filter{})
		require.NoError(t, err)
		require.NoError(t, s.Close(t.Context()))
	})
}
