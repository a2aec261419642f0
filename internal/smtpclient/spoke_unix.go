//go:build unix

package smtpclient

import (
	"net"
	"syscall"
)

// listen returns a function, not for concurrent use, that reports whether there is
// something to read on a connection on which nobody should speak: a farewell or its
// end. It does not wait.
func listen(c net.Conn) (spoke func() bool) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return func() bool { return false }
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return func() bool { return true }
	}
	quiet := false
	look := func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true
	}
	return func() bool {
		quiet = false
		err := raw.Read(look)
		return !quiet || err != nil
	}
}
