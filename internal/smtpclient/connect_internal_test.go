package smtpclient

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

func TestConfig_allowClear(t *testing.T) { // G1
	for address, want := range map[string]struct{ loopback, private bool }{
		"127.0.0.1:25":           {true, true},
		"127.9.9.9:25":           {true, true},
		"[::1]:25":               {true, true},
		"[::ffff:127.0.0.1]:25":  {true, true},
		"10.255.255.255:25":      {false, true},
		"172.16.0.1:25":          {false, true},
		"172.31.255.255:25":      {false, true},
		"192.168.0.1:25":         {false, true},
		"[::ffff:10.0.0.1]:25":   {false, true},
		"169.254.1.1:25":         {false, true},
		"[fe80::1%eth0]:25":      {false, true},
		"[fc00::1]:25":           {false, true},
		"[fdff::1]:25":           {false, true},
		"172.15.255.255:25":      {},
		"172.32.0.0:25":          {},
		"192.169.0.1:25":         {},
		"203.0.113.7:25":         {},
		"100.64.0.1:25":          {},
		"0.0.0.0:25":             {},
		"[::]:25":                {},
		"224.0.0.1:25":           {},
		"[ff02::1]:25":           {},
		"[2001:db8::1]:25":       {},
		"[::ffff:203.0.113.7]:1": {},
		"mailpit:25":             {},
		"10.0.0.1":               {},
		"pipe":                   {},
		"":                       {},
	} {
		require.Equal(t, want.loopback, (&Config{}).allowClear(address) == nil, address)
		require.Equal(t, want.private, (&Config{Private: true}).allowClear(address) == nil, address)
	}
}

// G1: the address of a custom connection is checked, too, before anything is
// written to it.
func TestPool_dialClear(t *testing.T) {
	server := smtptest.Script{}.Start(t)
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 25} }
	for name, c := range map[string]struct {
		peer              net.Addr
		loopback, private bool
	}{
		"loopback":    {tcp("127.0.0.1"), true, true},
		"Unix socket": {&net.UnixAddr{Net: "unix", Name: "/run/smtp"}, true, true},
		"private":     {tcp("10.1.2.3"), false, true},
		"public":      {tcp("203.0.113.7"), false, false},
		"unspecified": {tcp("0.0.0.0"), false, false},
		"unknown":     {nil, false, false},
	} {
		for _, private := range []bool{false, true} {
			var raw net.Conn
			p := NewPool(Config{
				Addr: "mailpit:1025", Private: private, Hello: "app.acme.example", ConnectTimeout: time.Minute, MaxConns: 1, MaxPerConn: 1, IdleTimeout: time.Hour,
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					require.Equal(t, []string{"tcp", "mailpit:1025"}, []string{network, address})
					_, limited := ctx.Deadline()
					require.True(t, limited)
					conn, err := net.Dial("tcp", server.Addr)
					raw = from{conn, c.peer}
					return raw, err
				},
			})
			t.Cleanup(p.Close)
			err := p.Send(t.Context(), envelope, content)
			if private && c.private || !private && c.loopback {
				require.NoError(t, err, name)
				continue
			}
			want := errNotLoopback
			if private {
				want = errNotPrivate
			}
			require.ErrorIs(t, err, want, name)
			_, err = raw.Write(nil)
			require.ErrorIs(t, err, net.ErrClosed, name)
		}
	}
}

// from is a connection with another address of the peer.
type from struct {
	net.Conn
	peer net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.peer }

func TestPool_dialNothing(t *testing.T) {
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"no connection": func(context.Context, string, string) (net.Conn, error) { return nil, nil },
		"an error":      func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrNoProgress },
	} {
		p := NewPool(Config{Dial: dial, ConnectTimeout: time.Minute, MaxConns: 1})
		err := p.Ping(t.Context())
		var e *Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, StageConnect, e.Stage)
		require.Contains(t, []error{errNoConn, io.ErrNoProgress}, e.Err)
	}
}

// Connections that are not sockets are used again, and a lost one is replaced
// without the pause of a retry, as TestPool_staleConnectionWithoutPause says of
// others.
func TestPool_dialPipe(t *testing.T) { // G11
	cert := smtptest.NewCert(t, "mail.acme.example")
	server := smtptest.Script{TLS: cert.Server(), StartTLS: true}.Start(t)
	secure := cert.Client()
	secure.ServerName = "mail.acme.example"
	ended := make(chan struct{}, 2)
	var dials atomic.Int32
	p := NewPool(Config{
		Addr: "mail.acme.example:587", TLS: secure, StartTLS: true, ConnectTimeout: time.Minute, MaxConns: 1, MaxPerConn: 100, IdleTimeout: time.Hour,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			tcp, err := net.Dial("tcp", server.Addr)
			if err != nil {
				return nil, err
			}
			near, far := net.Pipe()
			go io.Copy(tcp, far)
			go func() {
				io.Copy(far, tcp)
				far.Close()
				tcp.Close()
				ended <- struct{}{}
			}()
			return near, nil
		},
	})
	p.pause = time.Hour
	t.Cleanup(p.Close)
	require.NoError(t, p.Send(t.Context(), envelope, content))
	require.NoError(t, p.Send(t.Context(), envelope, content))
	require.EqualValues(t, 1, dials.Load())
	require.Contains(t, server.Lines(1)[0], "EHLO [127.0.0.1]")
	server.DropAll()
	<-ended
	require.NoError(t, p.Send(t.Context(), envelope, content))
	require.EqualValues(t, 2, dials.Load())
}
