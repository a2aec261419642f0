package smtpclient_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

var (
	envelope = smtpclient.Envelope{From: "from@acme.example", To: "to@acme.example"}
	content  = []byte("Subject: x\r\n\r\nx\r\n")
)

// newPool returns a pool to a clear-text server that is closed with the test.
func newPool(t testing.TB, addr string, change func(*smtpclient.Config)) *smtpclient.Pool {
	t.Helper()
	cfg := smtpclient.Config{Addr: addr, Hello: "app.acme.example", ConnectTimeout: time.Minute, MaxConns: 2, MaxPerConn: 100, IdleTimeout: time.Minute}
	if change != nil {
		change(&cfg)
	}
	pool := smtpclient.NewPool(cfg)
	t.Cleanup(pool.Close)
	return pool
}

// gate holds replies back until it is opened.
type gate struct{ waiting, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) wait() { g.waiting <- struct{}{}; <-g.open }

func TestPool_bounded(t *testing.T) {
	g := newGate()
	server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}}.Start(t)
	pool := newPool(t, server.Addr, func(c *smtpclient.Config) {
		c.Auth = func(context.Context, []string) (sasl.Client, error) {
			g.wait()
			return sasl.NewPlainClient("", "user", "password"), nil
		}
	})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := pool.Send(t.Context(), envelope, content); err != nil {
				t.Error(err)
			}
		})
	}
	<-g.waiting
	<-g.waiting
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := pool.Send(ctx, envelope, content)
	require.ErrorIs(t, err, context.DeadlineExceeded, "waiting ends with the context")
	requireStage(t, err, smtpclient.StageConnect)
	require.Equal(t, 2, server.Conns())
	close(g.open)
	wg.Wait()
	require.Equal(t, 2, server.Conns())
	require.Len(t, server.Mails(0), 10)
}

func requireStage(t testing.TB, err error, stage string) *smtpclient.Error {
	t.Helper()
	var e *smtpclient.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, stage, e.Stage)
	return e
}

func TestPool_lastUsedFirst(t *testing.T) {
	server := smtptest.Script{}.Start(t)
	pool := newPool(t, server.Addr, nil)
	require.NoError(t, pool.Ping(t.Context()))
	require.NoError(t, pool.Ping(t.Context()))
	require.Equal(t, 2, server.Conns(), "a ping opens a new connection")
	for range 3 {
		require.NoError(t, pool.Send(t.Context(), envelope, content))
	}
	require.Empty(t, server.Mails(1))
	require.Len(t, server.Mails(2), 3)

	require.NoError(t, pool.Ping(t.Context()), "a third makes room")
	server.Await(t, "QUIT", 1)
	server.AwaitOpen(t, 2)
	require.Equal(t, []string{"EHLO app.acme.example", "QUIT"}, server.Lines(1))
	require.Equal(t, 3, server.Conns())
}

func TestPool_idleTimeout(t *testing.T) {
	server := smtptest.Script{}.Start(t)
	pool := newPool(t, server.Addr, func(c *smtpclient.Config) { c.IdleTimeout = 20 * time.Millisecond })
	require.NoError(t, pool.Send(t.Context(), envelope, content))
	server.AwaitOpen(t, 0)
	require.Equal(t, 1, server.Count("QUIT"))
	require.NoError(t, pool.Send(t.Context(), envelope, content))
	require.Equal(t, 2, server.Conns())
}

func TestPool_mailsPerConnection(t *testing.T) {
	server := smtptest.Script{}.Start(t)
	pool := newPool(t, server.Addr, func(c *smtpclient.Config) { c.MaxPerConn = 3 })
	for range 4 {
		require.NoError(t, pool.Send(t.Context(), envelope, content))
	}
	server.AwaitOpen(t, 1)
	require.Len(t, server.Mails(1), 3)
	require.Len(t, server.Mails(2), 1)
	lines := server.Lines(1)
	require.Equal(t, "QUIT", lines[len(lines)-1])
}

func TestPool_noHealthChecks(t *testing.T) {
	server := smtptest.Script{}.Start(t)
	pool := newPool(t, server.Addr, nil)
	for range 3 {
		require.NoError(t, pool.Send(t.Context(), envelope, content))
	}
	require.Zero(t, server.Count("NOOP")+server.Count("RSET"))
	require.Equal(t, 1, server.Count("EHLO"))
}

// watched is a context that tells when it is waited for.
type watched struct {
	context.Context
	asked chan struct{}
}

func (w watched) Done() <-chan struct{} {
	w.asked <- struct{}{}
	return w.Context.Done()
}

func TestPool_closeWakesWaiters(t *testing.T) {
	g := newGate()
	server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}}.Start(t)
	pool := newPool(t, server.Addr, func(c *smtpclient.Config) {
		c.MaxConns = 1
		c.Auth = func(context.Context, []string) (sasl.Client, error) {
			g.wait()
			return sasl.NewPlainClient("", "user", "password"), nil
		}
	})
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- pool.Send(context.Background(), envelope, content) }()
	<-g.waiting
	ctx := watched{context.Background(), make(chan struct{})}
	go func() { second <- pool.Send(ctx, envelope, content) }()
	<-ctx.asked // before it waits
	<-ctx.asked // as it waits
	pool.Close()
	require.ErrorIs(t, <-second, smtpclient.ErrClosed)
	pool.Close()
	close(g.open)
	require.NoError(t, <-first)
	server.AwaitOpen(t, 0)
	require.Equal(t, 1, server.Count("QUIT"))
}

func TestPool_closeSaysGoodbye(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	server := smtptest.Script{TLS: cert.Server()}.Start(t)
	pool := newPool(t, server.Addr, func(c *smtpclient.Config) {
		c.TLS = cert.Client()
		c.TLS.ServerName = "127.0.0.1"
	})
	require.NoError(t, pool.Ping(t.Context()))
	require.NoError(t, pool.Ping(t.Context()))
	pool.Close()
	server.AwaitOpen(t, 0)
	require.Equal(t, 2, server.Count("QUIT"))
}

func TestPool_clearTextOnlyToLoopback(t *testing.T) { // G1
	pool := newPool(t, "192.0.2.1:25", nil)
	err := pool.Ping(t.Context())
	require.ErrorContains(t, err, "loopback", "refused before a packet is sent")
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	requireStage(t, err, smtpclient.StageConnect)
}

func TestPool_authFactory(t *testing.T) {
	boom := errors.New("no token today")
	server := smtptest.Script{Extensions: []string{"AUTH XOAUTH2"}}.Start(t)
	pool := newPool(t, server.Addr, func(c *smtpclient.Config) {
		c.Auth = func(ctx context.Context, offered []string) (sasl.Client, error) {
			require.Equal(t, []string{"XOAUTH2"}, offered)
			_, limited := ctx.Deadline()
			require.True(t, limited)
			return nil, boom
		}
	})
	err := pool.Send(t.Context(), envelope, content)
	require.ErrorIs(t, err, boom)
	e := requireStage(t, err, smtpclient.StageAuth)
	require.False(t, e.Permanent || e.MaybeSent)
	require.Equal(t, 1, server.Conns(), "no retry")
}

// silent is a mechanism that has nothing to say to a challenge.
type silent struct{}

func (silent) Start() (mechanism string, first []byte, err error) {
	return "XOAUTH2", []byte("token"), nil
}
func (silent) Next([]byte) ([]byte, error) { return nil, nil }

// Nothing to say is an empty line, after which the server decides: it has let
// nobody in yet.
func TestPool_authWithoutAnswer(t *testing.T) {
	for decision, good := range map[string]bool{"235 welcome": true, "535 5.7.8 no": false} {
		server := smtptest.Script{Extensions: []string{"AUTH XOAUTH2"}, Reply: func(_ int, verb, _ string) string {
			switch verb {
			case "AUTH":
				return "334 eyJzdGF0dXMiOiI0MDEifQ=="
			case "":
				return decision
			}
			return ""
		}}.Start(t)
		pool := newPool(t, server.Addr, func(c *smtpclient.Config) {
			c.Auth = func(context.Context, []string) (sasl.Client, error) { return silent{}, nil }
		})
		err := pool.Send(t.Context(), envelope, content)
		require.Equal(t, good, err == nil)
		if !good {
			require.False(t, requireStage(t, err, smtpclient.StageAuth).Permanent)
		}
		require.Equal(t, good, server.Count("MAIL") == 1)
	}
}

// A mechanism's own error may hold what the server said.
func TestPool_authErrorRepeatsNothing(t *testing.T) { // D1
	server := smtptest.Script{Extensions: []string{"AUTH OAUTHBEARER"}, Reply: func(_ int, verb, _ string) string {
		if verb == "AUTH" {
			return "334 " + base64.StdEncoding.EncodeToString([]byte(`{"status":"bad token hunter2"}`))
		}
		return ""
	}}.Start(t)
	pool := newPool(t, server.Addr, func(c *smtpclient.Config) {
		c.Auth = func(context.Context, []string) (sasl.Client, error) {
			return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Token: "hunter2"}), nil
		}
	})
	err := pool.Ping(t.Context())
	e := requireStage(t, err, smtpclient.StageAuth)
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", e.Err), fmt.Sprintf("%#v", e.Err)} {
		require.NotContains(t, text, "hunter2")
	}
	var refused *sasl.OAuthBearerError
	require.ErrorAs(t, err, &refused)
}

func TestPool_refusedResetIsReplaced(t *testing.T) {
	for _, reply := range []string{"421 closing", "550 no", smtptest.Drop} {
		server := smtptest.Script{Reply: func(n int, verb, _ string) string {
			if n == 1 && verb == "RCPT" {
				return "550 no"
			}
			if n == 1 && verb == "RSET" {
				return reply
			}
			return ""
		}}.Start(t)
		pool := newPool(t, server.Addr, nil)
		require.True(t, requireStage(t, pool.Send(t.Context(), envelope, content), smtpclient.StageRcpt).Permanent)
		require.NoError(t, pool.Send(t.Context(), envelope, content), reply)
		require.Equal(t, 2, server.Conns())
	}
}

func TestPool_keptConnectionDropsLater(t *testing.T) {
	// Only before a recipient is named is it certain that the server has
	// done nothing with the mail.
	for verb, c := range map[string]struct {
		stage string
		maybe bool
		conns int
	}{
		"RCPT":       {smtpclient.StageRcpt, false, 3}, // the kept one and two retries
		smtptest.Dot: {smtpclient.StageData, true, 1},
	} {
		server := smtptest.Script{Reply: func(_ int, v, _ string) string {
			if v == verb {
				return smtptest.Drop
			}
			return ""
		}}.Start(t)
		pool := newPool(t, server.Addr, nil)
		require.NoError(t, pool.Ping(t.Context()))
		e := requireStage(t, pool.Send(t.Context(), envelope, content), c.stage)
		require.Equal(t, c.maybe, e.MaybeSent)
		require.Equal(t, c.conns, server.Conns())
	}
}

func TestPool_acceptedAndThenCancelled(t *testing.T) {
	// The reply and the end of the context race; whatever wins, the pool is
	// in order afterwards.
	server := smtptest.Script{}.Start(t)
	pool := newPool(t, server.Addr, nil)
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		seen := server.Count(smtptest.Dot)
		go func() { done <- pool.Send(ctx, envelope, content) }()
		server.Await(t, smtptest.Dot, seen+1)
		cancel()
		if err := <-done; err != nil {
			e := requireStage(t, err, smtpclient.StageData)
			require.True(t, e.MaybeSent)
			require.ErrorIs(t, err, context.Canceled)
		}
		require.NoError(t, pool.Send(t.Context(), envelope, content))
	}
}

func TestPool_malformedReplies(t *testing.T) {
	for _, reply := range []string{"", "hello", "2", "25", "abc def", "999 odd", "150 odd"} {
		server := smtptest.Script{Reply: func(_ int, verb, _ string) string {
			if verb == "RCPT" {
				return reply + "\r\n" + strings.Repeat("x", 10)
			}
			return ""
		}}.Start(t)
		pool := newPool(t, server.Addr, nil)
		err := pool.Send(t.Context(), envelope, content)
		e := requireStage(t, err, smtpclient.StageRcpt)
		require.False(t, e.Permanent || e.MaybeSent)
		require.NotContains(t, err.Error(), "xxx")
		require.NotErrorIs(t, err, io.EOF)
	}
}
