//go:build !unix

package smtpclient

import "net"

// spoke cannot tell here; a connection that is gone fails at its next MAIL.
func spoke(net.Conn) bool { return false }
