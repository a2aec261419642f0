package servers

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/go-mailotp/otp/internal/testkit"
)

// MySQL returns the data source name, for github.com/go-sql-driver/mysql, of a
// server for tests that do not disturb others. It is the one in OTP_TEST_MYSQL, or
// one on 127.0.0.1:3306 whose root needs no password, or else a private MariaDB;
// the test is skipped if none can be started. Use a separate database there. This
// package has no drivers, so ping checks whether a name works.
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

// MariaDBServer is a private server. Its root needs no password. Wait until a ping
// of DSN succeeds before you use it. Unlike a power cut, [Process.Kill] does not
// lose data that the operating system has accepted for the disk.
type MariaDBServer struct {
	*Process
	DSN  string
	dir  string
	args []string
}

// StartMariaDB creates and starts a private server with additional settings, such as
// "innodb_flush_log_at_trx_commit=0". The test is skipped if MariaDB is not
// installed.
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

// Restart starts the server again with its existing files.
func (s *MariaDBServer) Restart(t testing.TB) {
	t.Helper()
	s.Process = Start(t, s.dir, s.args[0], s.args[1:]...)
}
