package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/sqlstore"
)

func TestMain(m *testing.M) {
	serveRemote()
	mysql.SetLogger(&mysql.NopLogger{})                   // it logs the errors that it returns
	storetest.Child(func(how string) (otp.Store, error) { // how is a driver, a space, and a DSN
		driver, dsn, _ := strings.Cut(how, " ")
		db, err := sql.Open(driver, dsn)
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(10)
		return sqlstore.New(db, dialects[driver], nil)
	})
	storetest.Parallel(4)
	os.Exit(m.Run())
}

var dialects = map[string]sqlstore.Dialect{"pgx": sqlstore.PostgreSQL, "postgres": sqlstore.PostgreSQL, "mysql": sqlstore.MySQL, "sqlite": sqlstore.SQLite}

// place is a schema, database or file that only one test uses.
type place struct{ driver, dsn string }

// engines create places on shared servers.
var engines = []struct {
	name string
	make func(t testing.TB) place
}{
	{"PostgreSQL", func(t testing.TB) place { return newSchema(t, servers.Postgres(t, pinger("pgx"))) }},
	{"MariaDB", func(t testing.TB) place { return newDatabase(t, servers.MySQL(t, pinger("mysql"))) }},
	{"SQLite", func(t testing.TB) place { return newFile(t, "journal_mode(WAL)") }},
}

// eachEngine runs a test on all engines.
func eachEngine(t *testing.T, f func(t *testing.T, p place)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel() // the engines mostly wait
			f(t, e.make(t))
		})
	}
}

func pinger(driver string) func(dsn string) error {
	return func(dsn string) error {
		db, err := sql.Open(driver, dsn)
		if err != nil {
			return err
		}
		defer db.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return db.PingContext(ctx)
	}
}

// newSchema creates a schema until the test ends.
func newSchema(t testing.TB, dsn string) place {
	name := "otp_test_" + strings.ToLower(rand.Text())
	admin := openAt(t, place{"pgx", dsn})
	must(t, admin, "CREATE SCHEMA "+name)
	t.Cleanup(func() { admin.Exec("DROP SCHEMA " + name + " CASCADE") })
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set("search_path", name)
	q.Set("synchronous_commit", "off") // other tests check the durability
	u.RawQuery = q.Encode()
	return place{"pgx", u.String()}
}

// newDatabase creates a database until the test ends.
func newDatabase(t testing.TB, dsn string) place {
	name := "otp_test_" + strings.ToLower(rand.Text())
	admin := openAt(t, place{"mysql", dsn})
	must(t, admin, "CREATE DATABASE "+name)
	t.Cleanup(func() { admin.Exec("DROP DATABASE " + name) })
	c, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	c.DBName = name
	return place{"mysql", c.FormatDSN()}
}

// newFile creates a file for SQLite, with additional pragmas.
func newFile(t testing.TB, pragmas ...string) place {
	dsn := "file:" + filepath.Join(servers.Dir(t), "otp.db") + "?_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)"
	for _, p := range pragmas {
		dsn += "&_pragma=" + p
	}
	return place{"sqlite", dsn}
}

// openAt opens a pool until the test ends.
func openAt(t testing.TB, p place) *sql.DB {
	t.Helper()
	db, err := sql.Open(p.driver, p.dsn)
	require.NoError(t, err)
	conns := 10
	if p.driver == "sqlite" { // only one connection writes at a time, and the others poll
		conns = 4
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	t.Cleanup(func() { db.Close() })
	return db
}

// storeIn returns a store and creates its table.
func storeIn(t testing.TB, p place, db *sql.DB, opts *sqlstore.Options) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(db, dialects[p.driver], opts)
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context()))
	return s
}

// storeAt opens a pool and returns a store in it.
func storeAt(t testing.TB, p place) *sqlstore.Store {
	t.Helper()
	return storeIn(t, p, openAt(t, p), nil)
}

// must executes a statement on a pool or a connection, or in a transaction.
func must(t testing.TB, on interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, text string, args ...any,
) {
	t.Helper()
	_, err := on.ExecContext(t.Context(), text, args...)
	require.NoError(t, err, text)
}

// settings are connection settings that must make no difference.
var settings = []struct {
	name    string
	make    func(t testing.TB) place
	options sqlstore.Options
}{
	{"PostgreSQL", engines[0].make, sqlstore.Options{}},
	{"PostgreSQL, as behind PgBouncer", func(t testing.TB) place {
		return with(engines[0].make(t), "&default_query_exec_mode=exec")
	}, sqlstore.Options{Unprepared: true}},
	{"PostgreSQL, lib/pq", func(t testing.TB) place {
		return place{"postgres", engines[0].make(t).dsn}
	}, sqlstore.Options{}},
	{"MariaDB", engines[1].make, sqlstore.Options{}},
	{"MariaDB, found rows", func(t testing.TB) place { return with(engines[1].make(t), "?clientFoundRows=true") }, sqlstore.Options{}},
	{"MariaDB, arguments in the text", func(t testing.TB) place {
		return with(engines[1].make(t), "?interpolateParams=true")
	}, sqlstore.Options{Unprepared: true}},
	{"MariaDB, read committed, far west", func(t testing.TB) place {
		p := mysqlWith(t, "isolation", "%27READ-COMMITTED%27")
		return with(p, "&time_zone=%27-08:00%27")
	}, sqlstore.Options{}},
	{"MariaDB, serializable", func(t testing.TB) place {
		return mysqlWith(t, "isolation", "%27SERIALIZABLE%27")
	}, sqlstore.Options{}},
	{"SQLite", engines[2].make, sqlstore.Options{Table: "main.some-Table"}},
	{"SQLite, unprepared", engines[2].make, sqlstore.Options{Unprepared: true}},
}

// with adds parameters to the DSN of a place.
func with(p place, parameters string) place { return place{p.driver, p.dsn + parameters} }

// mysqlWith sets a property of transactions. The name of its variable depends on the
// server.
func mysqlWith(t testing.TB, name, value string) place {
	p := engines[1].make(t)
	variable := "transaction_" + name
	var old string
	if openAt(t, p).QueryRow("SELECT @@tx_"+name).Scan(&old) == nil {
		variable = "tx_" + name
	}
	return with(p, "?"+variable+"="+value)
}

// movable is a store whose rows [otptest.TestStore] lets expire.
type movable struct {
	*sqlstore.Store
	advance func(d time.Duration)
}

func (m movable) Advance(d time.Duration) { m.advance(d) }

// E5: keys and values are bytes, whatever the collation. The first setting of each
// engine waits in real time, so that the engine's own clock decides.
func TestStore(t *testing.T) {
	for _, setting := range settings {
		t.Run(setting.name, func(t *testing.T) {
			if setting.name == "SQLite, unprepared" && !testkit.Nightly() {
				t.Skip("slow under the race detector: nightly")
			}
			t.Parallel()
			p := setting.make(t)
			db := openAt(t, p)
			s := storeIn(t, p, db, &setting.options)
			otptest.TestStore(t, func(t *testing.T) otp.Store {
				if !strings.Contains(setting.name, ",") && !testing.Short() {
					return s
				}
				table := "otp_ledgers"
				if setting.options.Table != "" {
					table = `main."some-Table"`
				}
				return movable{s, func(d time.Duration) { // an earlier expiry is as good as a later time
					must(t, db, fmt.Sprintf("UPDATE %s SET expires = expires - %d", table, d.Milliseconds()))
				}}
			})
		})
	}
}
