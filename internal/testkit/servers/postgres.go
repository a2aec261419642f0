package servers

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/go-mailotp/otp/internal/testkit"
)

// Postgres returns the URL of a database for tests that do not disturb others. It
// is the one in OTP_TEST_POSTGRES, or one on 127.0.0.1:5432, or else a private one;
// the test is skipped if none can be started. Use a separate schema there. This
// package has no drivers, so ping checks whether a URL works.
func Postgres(t testing.TB, ping func(url string) error) string {
	t.Helper()
	testkit.Long(t)
	if url, ok := RunningPostgres(ping); ok {
		return url
	}
	s := StartPostgres(t)
	Wait(t, "PostgreSQL to start", func() error { return ping(s.URL) })
	return s.URL
}

// RunningPostgres is like [Postgres], but returns false instead of starting a
// private server.
func RunningPostgres(ping func(url string) error) (url string, ok bool) {
	if url := os.Getenv("OTP_TEST_POSTGRES"); url != "" {
		return url, true
	}
	for _, path := range []string{"postgres@127.0.0.1:5432/test", "postgres@127.0.0.1:5432/postgres"} {
		if url := "postgres://" + path + "?sslmode=disable"; ping(url) == nil {
			return url, true
		}
	}
	return "", false
}

// PostgresServer is a private server. Its superuser postgres needs no password.
// Wait until a ping of URL succeeds before you use it.
type PostgresServer struct {
	URL     string
	process *Process
	dir     string
	args    []string
}

// StartPostgres creates and starts a private server with additional settings, such
// as "synchronous_commit=off". The test is skipped if PostgreSQL is not installed.
func StartPostgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	testkit.Long(t)
	initdb := Binary("initdb")
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); initdb == "" && len(found) > 0 {
		initdb = found[len(found)-1]
	}
	if initdb == "" {
		testkit.Skip(t, "PostgreSQL is not installed")
	}
	port := strconv.Itoa(FreePort(t))
	s := &PostgresServer{
		URL: "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable",
		dir: sqlDir(t, "postgres"),
	}
	data := filepath.Join(s.dir, "data")
	sqlRun(t, s.dir, sqlAs(t, "postgres", initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")...)
	s.args = sqlAs(t, "postgres", filepath.Join(filepath.Dir(initdb), "postgres"),
		"-D", data, "-p", port, "-k", s.dir, "-h", "127.0.0.1")
	for _, setting := range settings {
		s.args = append(s.args, "-c", setting)
	}
	s.Restart(t)
	return s
}

// Restart starts the server again with its existing files.
func (s *PostgresServer) Restart(t testing.TB) {
	t.Helper()
	p := Start(t, s.dir, s.args[0], s.args[1:]...)
	t.Cleanup(func() { signal("KILL", sqlChildren(p.cmd.Process.Pid)...) }) // they may be frozen
	s.process = p
}

// Kill kills all processes of the server (kill -9), as a crash would. Unlike a power
// cut, it does not lose data that the operating system has accepted for the disk.
func (s *PostgresServer) Kill(t testing.TB) {
	t.Helper()
	s.process.Freeze() // so that it starts no more children
	children := sqlChildren(s.process.cmd.Process.Pid)
	signal("KILL", children...)
	s.process.Kill()
	Wait(t, "PostgreSQL's processes to end", func() error {
		for _, pid := range children {
			if _, state := stat(fmt.Sprintf("/proc/%d/stat", pid)); state != "" && state != "Z" {
				return fmt.Errorf("process %d is %s", pid, state)
			}
		}
		return nil
	})
}

// Freeze stops all processes without ending them: connections stay open, but nothing
// answers.
func (s *PostgresServer) Freeze() {
	s.process.Freeze()
	signal("STOP", sqlChildren(s.process.cmd.Process.Pid)...)
}

// Thaw continues the frozen processes.
func (s *PostgresServer) Thaw() {
	signal("CONT", sqlChildren(s.process.cmd.Process.Pid)...)
	s.process.Thaw()
}

// sqlDir creates a folder that the server's user may enter, unlike those of
// t.TempDir.
func sqlDir(t testing.TB, username string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "otp-test-"+username+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if u := sqlUser(t, username); u != nil {
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sqlUser returns the server's own user if the test runs as root, because servers
// refuse to run as root. Otherwise it returns nil.
func sqlUser(t testing.TB, name string) *user.User {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		testkit.Skip(t, "the server does not run as root, and there is no user %s: %v", name, err)
	}
	return u
}

// sqlAs returns a command line that runs args as the server's own user.
func sqlAs(t testing.TB, username string, args ...string) []string {
	t.Helper()
	u := sqlUser(t, username)
	if u == nil {
		return args
	}
	return append([]string{"setpriv", "--reuid=" + u.Uid, "--regid=" + u.Gid, "--clear-groups", "--pdeathsig=KILL", "--"}, args...)
}

// sqlRun runs a program until it ends.
func sqlRun(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", args, err, output)
	}
}

// sqlChildren returns the processes that pid has started.
func sqlChildren(pid int) (children []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if parent, _ := stat(fmt.Sprintf("/proc/%d/stat", child)); err == nil && parent == pid {
			children = append(children, child)
		}
	}
	slices.Sort(children)
	return children
}
