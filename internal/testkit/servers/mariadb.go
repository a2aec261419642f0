package servers

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/go-mailotp/otp/internal/testkit"
)

// MySQL returns the data source name, as github.com/go-sql-driver/mysql takes it,
// of a server for tests that do it no harm: the one in OTP_TEST_MYSQL, else one on
// 127.0.0.1:3306 whose root needs no password, else a private MariaDB, else the
// test is skipped. Use a database of your own there. ping says whether a name
// works, since this package has no drivers.
func MySQL(t testing.TB, ping func(dsn string) error) string {
	t.Helper()
	testkit.Long(t)
	if dsn := os.Getenv("OTP_TEST_MYSQL"); dsn != "" {
		return dsn
	}
	if dsn := "root@tcp(127.0.0.1:3306)/"; ping(dsn) == nil {
		return dsn
	}
	s := StartMariaDB(t)
	Wait(t, "MariaDB to start", func() error { return ping(s.DSN) })
	return s.DSN
}

// MariaDBServer is a private server, whose root needs no password. Wait for a ping
// of DSN before its first use. [Process.Kill] ends it as a crash of it would: what
// the operating system has taken for the disk is not lost, as it is in a power cut.
type MariaDBServer struct {
	*Process
	DSN  string
	dir  string
	args []string
}

// StartMariaDB makes and starts a private server with further settings, such as
// "innodb_flush_log_at_trx_commit=0". The test is skipped if none is installed.
func StartMariaDB(t testing.TB, settings ...string) *MariaDBServer {
	t.Helper()
	testkit.Long(t)
	install, server := Binary("mariadb-install-db"), Binary("mariadbd", "/usr/sbin/mariadbd")
	if install == "" || server == "" {
		testkit.Skip(t, "MariaDB is not installed")
	}
	port := strconv.Itoa(FreePort(t))
	s := &MariaDBServer{DSN: "root@tcp(127.0.0.1:" + port + ")/", dir: sqlDir(t, "mysql")}
	data := filepath.Join(s.dir, "data")
	sqlRun(t, s.dir, sqlAs(t, "mysql", install, "--no-defaults", "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db")...)
	s.args = sqlAs(t, "mysql", server, "--no-defaults", "--datadir="+data, "--socket="+filepath.Join(s.dir, "socket"),
		"--pid-file="+filepath.Join(s.dir, "pid"), "--port="+port, "--bind-address=127.0.0.1")
	for _, setting := range settings {
		s.args = append(s.args, "--"+setting)
	}
	s.Restart(t)
	return s
}

// Restart starts the server again, with the files that it left behind.
func (s *MariaDBServer) Restart(t testing.TB) {
	t.Helper()
	s.Process = Start(t, s.dir, s.args[0], s.args[1:]...)
}
