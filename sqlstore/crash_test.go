package sqlstore_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
)

// measureEnv turns on the tests that only measure what a crash loses, and the power
// cuts, which need root.
const measureEnv = "OTP_TEST_CRASHES"

// machine is a private server that can be crashed.
type machine interface {
	kill(t testing.TB) // kill -9
	freeze()           // all of its processes
	thaw()
	restart(t testing.TB) // and wait until it answers
	stores(t testing.TB) []otp.Store
}

// crashes are the durability settings. The durable ones must lose nothing.
var crashes = []struct {
	name    string
	durable bool
	start   func(t *testing.T) machine
}{
	{"PostgreSQL, synchronous_commit=on", true, postgresWith("synchronous_commit=on")},
	{"PostgreSQL, synchronous_commit=off", false, postgresWith("synchronous_commit=off")},
	{"MariaDB, innodb_flush_log_at_trx_commit=1", true, mariaDBWith("innodb_flush_log_at_trx_commit=1")},
	{"MariaDB, innodb_flush_log_at_trx_commit=2", false, mariaDBWith("innodb_flush_log_at_trx_commit=2")},
	{"MariaDB, innodb_flush_log_at_trx_commit=0", false, mariaDBWith("innodb_flush_log_at_trx_commit=0")},
	{"SQLite, synchronous=FULL", true, sqliteWith("FULL")},
	{"SQLite, synchronous=NORMAL", false, sqliteWith("NORMAL")},
	{"SQLite, synchronous=OFF", false, sqliteWith("OFF")},
}

// crash runs a number of flows, crashes the server several times meanwhile, and
// returns the result of the audit.
func crash(t *testing.T, m machine, flows, crashes int, how func(t testing.TB)) storetest.Result {
	tr := storetest.StartTraffic(t, 16, 10*time.Second, m.stores(t)...)
	for i := range crashes + 1 {
		servers.Wait(t, "flows", func() error {
			if want := flows * (i + 1) / (crashes + 1); tr.Done() < want {
				return fmt.Errorf("%d flows of %d", tr.Done(), want)
			}
			return nil
		})
		if i < crashes {
			how(t)
			m.restart(t)
		}
	}
	tr.Stop()
	r := tr.Audit(t, m.stores(t)[0])
	t.Log(r)
	require.NotZero(t, r.Right)
	require.NotZero(t, r.Wrong)
	require.LessOrEqual(t, r.Late, 2*time.Second)
	return r
}

// B16: no code is accepted twice and no acknowledged guess is lost, though the
// server is killed while clients send and check.
//
// Before that, calls return when their contexts end though the server is frozen,
// whether or not their connections and statements exist already. They work again
// when the server continues.
func TestCrash_kill(t *testing.T) {
	for _, c := range crashes {
		flows, kills := 80, 1
		switch {
		case os.Getenv(measureEnv) != "" || testkit.Nightly():
			flows, kills = 1000, 3
		case !c.durable:
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := c.start(t)
			if _, remote := m.(sqliteMachine); !remote {
				frozen(t, m)
			}
			r := crash(t, m, flows, kills, m.kill)
			if c.durable {
				require.Zero(t, r.Twice)
				require.Zero(t, r.GivenBack)
				require.Zero(t, r.Gone)
			}
		})
	}
}

func frozen(t *testing.T, m machine) {
	stores := m.stores(t)
	works(t, stores[0])
	m.freeze()
	defer m.thaw()
	for _, s := range stores {
		storetest.Ends(t, s)
	}
	m.thaw()
	for _, s := range stores {
		works(t, s)
	}
}

func postgresWith(settings ...string) func(t *testing.T) machine {
	return func(t *testing.T) machine {
		m := postgresMachine{servers.StartPostgres(t, settings...)}
		m.ready(t)
		return m
	}
}

type postgresMachine struct{ *servers.PostgresServer }

func (m postgresMachine) kill(t testing.TB)    { m.Kill(t) }
func (m postgresMachine) freeze()              { m.Freeze() }
func (m postgresMachine) thaw()                { m.Thaw() }
func (m postgresMachine) restart(t testing.TB) { m.Restart(t); m.ready(t) }

func (m postgresMachine) ready(t testing.TB) {
	servers.Wait(t, "PostgreSQL", func() error { return pinger("pgx")(m.URL) })
}

func (m postgresMachine) stores(t testing.TB) []otp.Store {
	p := place{"pgx", m.URL}
	return []otp.Store{storeAt(t, p), storeAt(t, p)}
}

func mariaDBWith(settings ...string) func(t *testing.T) machine {
	return func(t *testing.T) machine {
		m := mariaDBMachine{servers.StartMariaDB(t, settings...)}
		m.ready(t)
		must(t, openAt(t, place{"mysql", m.DSN}), "CREATE DATABASE otp")
		return m
	}
}

type mariaDBMachine struct{ *servers.MariaDBServer }

func (m mariaDBMachine) kill(testing.TB)      { m.Kill() }
func (m mariaDBMachine) freeze()              { m.Freeze() }
func (m mariaDBMachine) thaw()                { m.Thaw() }
func (m mariaDBMachine) restart(t testing.TB) { m.Restart(t); m.ready(t) }

func (m mariaDBMachine) ready(t testing.TB) {
	servers.Wait(t, "MariaDB", func() error { return pinger("mysql")(m.DSN) })
}

func (m mariaDBMachine) stores(t testing.TB) []otp.Store {
	p := place{"mysql", m.DSN + "otp"}
	return []otp.Store{storeAt(t, p), storeAt(t, p)}
}

func sqliteWith(synchronous string) func(t *testing.T) machine {
	return func(t *testing.T) machine {
		return sqliteMachine{startRemote(t, servers.Dir(t), synchronous)}
	}
}

type sqliteMachine struct{ *remote }

func (m sqliteMachine) kill(testing.TB)               { m.Kill() }
func (m sqliteMachine) freeze()                       { m.Freeze() }
func (m sqliteMachine) thaw()                         { m.Thaw() }
func (m sqliteMachine) restart(t testing.TB)          { m.Restart(t) }
func (m sqliteMachine) stores(testing.TB) []otp.Store { return []otp.Store{m.remote, m.remote} }
