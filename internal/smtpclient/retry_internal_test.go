package smtpclient

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

var (
	envelope = Envelope{From: "from@acme.example", To: "to@acme.example"}
	content  = []byte("Subject: x\r\n\r\nx\r\n")
)

// newPatientPool returns a pool that waits for hours before it retries.
func newPatientPool(t *testing.T, addr string) *Pool {
	t.Helper()
	p := NewPool(Config{Addr: addr, Hello: "app.acme.example", ConnectTimeout: time.Minute, MaxConns: 2, MaxPerConn: 100, IdleTimeout: time.Hour})
	p.pause = time.Hour
	t.Cleanup(p.Close)
	return p
}

// G6: the pause before a retry ends with the context.
func TestPool_pauseEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := smtptest.Script{Reply: func(_ int, verb, _ string) string {
		switch verb {
		case "RCPT":
			return "421 later"
		case "QUIT": // the pause begins
			cancel()
		}
		return ""
	}}.Start(t)
	err := newPatientPool(t, server.Addr).Send(ctx, envelope, content)
	require.EqualError(t, err, "rcpt: SMTP error 421: later")
	require.Equal(t, 1, server.Conns())
}

// G11: a kept connection that the server has closed is replaced at once,
// without the pause of a retry.
func TestPool_staleConnectionWithoutPause(t *testing.T) {
	for name, reply := range map[string]string{"dropped in between": "", "421 to MAIL": "421 4.4.2 idle too long", "drop at MAIL": smtptest.Drop} {
		t.Run(name, func(t *testing.T) {
			stale := false
			server := smtptest.Script{Reply: func(n int, verb, _ string) string {
				if verb == "MAIL" && n == 1 && stale {
					return reply
				}
				stale = stale || verb == smtptest.Dot
				return ""
			}}.Start(t)
			p := newPatientPool(t, server.Addr)
			require.NoError(t, p.Send(t.Context(), envelope, content))
			if reply == "" {
				server.DropAll()
				server.AwaitOpen(t, 0)
			}
			require.NoError(t, p.Send(t.Context(), envelope, content))
			require.Equal(t, 2, server.Conns())
			require.Len(t, server.Mails(0), 2)
		})
	}
}
