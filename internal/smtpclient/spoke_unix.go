//go:build unix

package smtpclient

import (
	"io"
	"net"
	"os"
	"syscall"
)

// looker returns a function that reads available data without waiting. It
// returns os.ErrDeadlineExceeded if there is none. It is not safe for
// concurrent use.
func looker(c net.Conn) func(b []byte) (int, error) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return nothing
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nothing
	}
	var (
		buf    []byte
		n      int
		failed error
	)
	read := func(fd uintptr) bool { // created once, to save an allocation for each call
		n, failed = syscall.Read(int(fd), buf)
		return true
	}
	return func(b []byte) (int, error) {
		buf = b
		err := raw.Read(read)
		buf = nil
		switch {
		case err != nil:
			return 0, err
		case failed == syscall.EAGAIN || failed == syscall.EWOULDBLOCK:
			return 0, os.ErrDeadlineExceeded
		case failed != nil:
			return 0, failed
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func nothing([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
