// Package servers finds and starts real servers for tests. They listen on the
// loopback interface, keep their files in temporary folders, and are killed when
// their test ends. With -short, a test that needs a server is skipped.
package servers

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-mailotp/otp/internal/testkit"
)

// Binary returns the path of the first of the named programs that is installed, or
// "" if none is.
func Binary(names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// FreePort returns a port of 127.0.0.1 that is not in use.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Wait polls until f returns nil, and fails t after a minute.
func Wait(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Dir returns a new folder that is removed when the test ends. Unlike t.TempDir, it
// may contain database files: a call whose context has ended continues in the
// background, and [database/sql.DB.Close] does not wait for a connection that is
// being opened, so a file may appear while the folder is removed.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "otp-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Wait(t, "a folder to be removed", func() error { return os.RemoveAll(dir) }) })
	return dir
}

// Process is a running server.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Start runs a program in dir until the test ends. If the test fails, it logs the
// end of the program's output.
func Start(t testing.TB, dir, program string, args ...string) *Process {
	t.Helper()
	testkit.Long(t)
	var output bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &output
	endWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd, make(chan struct{})}
	go func() { cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s in %s said:\n%s", filepath.Base(program), dir, output.Bytes()[max(0, output.Len()-500):])
		}
	})
	return p
}

// Kill kills the process (kill -9) and waits until it has ended.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended reports whether the process has ended or been killed.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Freeze stops the process without ending it: connections are accepted, but it
// does not answer.
func (p *Process) Freeze() { signal("STOP", p.PID()) }

// Thaw continues a frozen process.
func (p *Process) Thaw() { signal("CONT", p.PID()) }
