package smtpclient_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// corked is a connection whose writes wait until it is told to write them at
// once.
type corked struct {
	net.Conn
	mu   sync.Mutex
	held *bytes.Buffer // nil: nothing is held back
}

func (c *corked) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		return c.held.Write(b)
	}
	return c.Conn.Write(b)
}

func (c *corked) cork() { c.mu.Lock(); c.held = &bytes.Buffer{}; c.mu.Unlock() }

func (c *corked) uncork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Conn.Write(c.held.Bytes())
	c.held = nil
}

// A reply too many in a TLS record of its own is read by crypto/tls together
// with the last one and seen by nobody. Over a connection that is out of step
// by one reply the refusal of the next mail would be missed.
func TestPool_replyTooManyOverTLS(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer raw.Close()
				cork := &corked{Conn: raw}
				stream := tls.Server(cork, cert.Server())
				say := func(text string) { stream.Write([]byte(text)) }
				say("220 hello\r\n")
				buf := make([]byte, 4096)
				for {
					n, err := stream.Read(buf)
					switch said := buf[:n]; {
					case err != nil:
						return
					case bytes.HasPrefix(said, []byte("EHLO")):
						say("250-hello\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
					case bytes.Contains(said, []byte("refused@")):
						say("250 fine\r\n250 fine\r\n550 no\r\n")
					case bytes.HasPrefix(said, []byte("MAIL")):
						cork.cork()
						say("250 fine\r\n250 fine\r\n250 queued\r\n")
						say("250 queued, as I said\r\n")
						cork.uncork()
					}
				}
			}()
		}
	}()
	pool := newPool(t, listener.Addr().String(), func(c *smtpclient.Config) {
		c.TLS = cert.Client()
		c.TLS.ServerName = "127.0.0.1"
	})
	require.NoError(t, pool.Send(t.Context(), envelope, content))
	refused := envelope
	refused.To = "refused@acme.example"
	err = pool.Send(t.Context(), refused, content)
	require.Error(t, err)
	require.True(t, requireStage(t, err, smtpclient.StageData).Permanent)
}
