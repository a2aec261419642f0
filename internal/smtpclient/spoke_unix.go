//go:build unix

package smtpclient

import (
	"errors"
	"net"
	"syscall"
)

// spoke reports whether there is something to read on a connection on which
// nobody should speak: a farewell or its end. It does not wait.
func spoke(c net.Conn) bool {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	spoke := true
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		spoke = !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EWOULDBLOCK)
		return true
	})
	return spoke || err != nil
}
