//go:build !unix

package smtpclient

import "net"

// listen cannot tell here; a connection that is gone fails at its next MAIL.
func listen(net.Conn) (spoke func() bool) { return func() bool { return false } }
