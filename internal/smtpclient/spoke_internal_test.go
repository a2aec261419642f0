//go:build unix

package smtpclient

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// A connection on which anything is to be heard is not used again: a reply too
// many, half of one, and the end. Session tickets of TLS are read with the
// first reply.
func TestConn_spoke(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	for name, c := range map[string]struct {
		secure bool
		say    func(secure, raw net.Conn)
		want   bool
	}{
		"quiet":              {false, nil, false},
		"quiet, TLS":         {true, nil, false},
		"a reply":            {false, func(_, raw net.Conn) { raw.Write([]byte("4")) }, true},
		"a reply, TLS":       {true, func(s, _ net.Conn) { s.Write([]byte("421 bye\r\n")) }, true},
		"half a record, TLS": {true, func(_, raw net.Conn) { raw.Write([]byte{0x17, 3, 3}) }, true},
		"the end":            {false, func(_, raw net.Conn) { raw.Close() }, true},
		"the end, TLS":       {true, func(_, raw net.Conn) { raw.Close() }, true},
		"a goodbye, TLS":     {true, func(s, _ net.Conn) { s.Close() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			raw, err := net.Dial("tcp", listener.Addr().String())
			require.NoError(t, err)
			defer raw.Close()
			peer, err := listener.Accept()
			require.NoError(t, err)
			defer peer.Close()
			conn, server := newConn(raw, "app.acme.example"), peer
			if c.secure {
				server = tls.Server(peer, cert.Server())
				config := cert.Client()
				config.ServerName = "127.0.0.1"
				client := tls.Client(conn.socket, config)
				conn.wire.Conn = client
				go server.Write([]byte("hello"))
				_, err := client.Read(make([]byte, 5)) // the handshake and the tickets too
				require.NoError(t, err)
			}
			if c.say == nil {
				for range 3 {
					require.False(t, conn.spoke())
				}
				return
			}
			c.say(server, peer)
			require.Eventually(t, conn.spoke, time.Minute, time.Millisecond)
		})
	}
}
