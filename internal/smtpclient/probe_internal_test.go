package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/otpevent"
)

// The port of the other mode: the error names the mode to use, and comes long
// before the end of ConnectTimeout.
func TestPool_otherMode(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	trusting, strict := cert.Client(), &tls.Config{}
	trusting.ServerName, strict.ServerName = "127.0.0.1", "127.0.0.1"
	const implicit = "hello: server sent no greeting; this port speaks TLS from the first byte: use smtpsender.ImplicitTLS (smtps://)"
	const start = "tls: tls: first record does not look like a TLS handshake; this port does not speak TLS from the first byte: use smtpsender.StartTLS (smtp://)"
	for name, c := range map[string]struct {
		server smtptest.Script
		cfg    Config
		want   string
	}{
		"STARTTLS at a port for TLS":              {smtptest.Script{TLS: cert.Server()}, Config{TLS: trusting, StartTLS: true}, implicit},
		"STARTTLS at a port for TLS, not trusted": {smtptest.Script{TLS: cert.Server()}, Config{TLS: strict, StartTLS: true}, implicit},
		"TLS at a port for STARTTLS":              {smtptest.Script{TLS: cert.Server(), StartTLS: true}, Config{TLS: trusting}, start},
		"TLS at a port for clear text":            {smtptest.Script{}, Config{TLS: trusting}, start},
		"STARTTLS at a local port for clear text": {
			smtptest.Script{}, Config{TLS: trusting, StartTLS: true},
			"tls: server does not offer STARTTLS; for a local server without TLS, use smtpsender.InsecureLoopback or InsecurePrivateNetwork (smtp+insecure://)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := c.server.Start(t)
			cfg := c.cfg
			cfg.Addr, cfg.Hello, cfg.ConnectTimeout, cfg.MaxConns, cfg.ProbeAfter = server.Addr, "app.acme.example", time.Hour, 1, time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := NewPool(cfg).Ping(ctx)
			require.EqualError(t, err, c.want)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, otpevent.ClassUs, e.Class())
			require.False(t, e.retryable() || e.Permanent)
			server.AwaitOpen(t, 0)
		})
	}
}

// Clear text is not recommended for a server that is not local: somebody may
// have removed its offer of STARTTLS.
func TestPool_noStartTLS(t *testing.T) { // G1
	server := smtptest.Script{}.Start(t)
	for _, peer := range []net.Addr{&net.TCPAddr{IP: net.IPv4(203, 0, 113, 7)}, nil} {
		err := NewPool(Config{TLS: &tls.Config{}, StartTLS: true, ConnectTimeout: time.Minute, MaxConns: 1, Dial: func(context.Context, string, string) (net.Conn, error) {
			raw, err := net.Dial("tcp", server.Addr)
			return from{raw, peer}, err
		}}).Ping(t.Context())
		require.EqualError(t, err, "tls: server does not offer STARTTLS")
	}
}

// In virtual time, over pipes: a server that greets late is waited for, and
// only one that is silent is probed.
func TestPool_slowGreeting(t *testing.T) {
	for name, c := range map[string]struct {
		greeting, hello time.Duration // pauses before the first replies
		dials           int32
		failed          error
	}{
		"at once":      {0, 0, 1, nil},
		"in time":      {1999 * time.Millisecond, 0, 1, nil},
		"late":         {6 * time.Second, 0, 2, nil},
		"slow later":   {0, 9 * time.Second, 1, nil},
		"never":        {time.Hour, 0, 2, context.DeadlineExceeded},
		"never, later": {0, time.Hour, 1, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert := smtptest.NewCert(t, "mail.acme.example")
				secure := cert.Client()
				secure.ServerName = "mail.acme.example"
				var dials atomic.Int32
				var servers sync.WaitGroup
				pool := NewPool(Config{
					Addr: "mail.acme.example:587", TLS: secure, StartTLS: true, Hello: "app.acme.example",
					ConnectTimeout: 10 * time.Second, MaxConns: 1, MaxPerConn: 1, IdleTimeout: time.Hour, ProbeAfter: 2 * time.Second,
					Dial: func(context.Context, string, string) (net.Conn, error) {
						dials.Add(1)
						near, far := net.Pipe()
						servers.Go(func() { greet(far, c.greeting, c.hello, cert) })
						return near, nil
					},
				})
				start := time.Now()
				err := pool.Ping(t.Context())
				require.ErrorIs(t, err, c.failed)
				require.Equal(t, c.dials, dials.Load())
				require.Equal(t, min(c.greeting+c.hello, 10*time.Second), time.Since(start))
				pool.Close()
				servers.Wait()
			})
		})
	}
}

// greet is a server up to the second EHLO.
func greet(raw net.Conn, greeting, hello time.Duration, cert *smtptest.Cert) {
	defer raw.Close()
	time.Sleep(greeting)
	if _, err := io.WriteString(raw, "220 mail.acme.example\r\n"); err != nil {
		return
	}
	var stream net.Conn = raw
	in := bufio.NewReader(raw)
	for {
		line, err := in.ReadString('\n')
		reply := "250 mail.acme.example\r\n"
		switch {
		case err != nil:
			return
		case stream == raw && strings.HasPrefix(line, "EHLO "):
			time.Sleep(hello)
			reply = "250-mail.acme.example\r\n250 STARTTLS\r\n"
		case strings.HasPrefix(line, "STARTTLS"):
			io.WriteString(raw, "220 go on\r\n")
			stream = tls.Server(raw, cert.Server())
			in = bufio.NewReader(stream)
			continue
		}
		if _, err := io.WriteString(stream, reply); err != nil {
			return
		}
	}
}
