package smtpclient_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// busy is a server that says 421 to new connections from the second on.
func busy(t *testing.T, verb string, extensions ...string) *smtptest.Server {
	t.Helper()
	return smtptest.Script{Extensions: extensions, Reply: func(n int, v, _ string) string {
		if n > 1 && v == verb {
			return "421 4.7.0 too many connections"
		}
		return ""
	}}.Start(t)
}

// A server that allows one connection gets all mails over it, and is not asked
// for another by each sender.
func TestPool_sharesWhatTheServerAllows(t *testing.T) {
	for _, verb := range []string{smtptest.Connect, "EHLO", "MAIL"} {
		for _, extensions := range [][]string{nil, {"PIPELINING", "CHUNKING"}} {
			server := busy(t, verb, extensions...)
			pool := newPool(t, server.Addr, func(c *smtpclient.Config) { c.MaxConns, c.Backoff = 4, time.Hour })
			require.NoError(t, pool.Ping(t.Context()))
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					if err := pool.Send(t.Context(), envelope, content); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.Len(t, server.Mails(1), 40)
			require.LessOrEqual(t, server.Conns(), 4, "one connection, and one try of each of the others")
		}
	}
}

// New connections wait until the server takes one. That the pauses grow is in
// TestPool_pausesGrow: here a slow machine may put two tries into one pause.
func TestPool_noStorm(t *testing.T) {
	const first, refusals = 30 * time.Millisecond, 3 // a send tries three times
	var at []time.Time
	server := smtptest.Script{Reply: func(n int, verb, _ string) string {
		if verb == smtptest.Connect {
			at = append(at, time.Now())
			if n <= refusals {
				return "421 4.3.2 going down"
			}
		}
		return ""
	}}.Start(t)
	pool := newPool(t, server.Addr, func(c *smtpclient.Config) { c.MaxConns, c.Backoff = 3, first })
	require.Error(t, pool.Ping(t.Context()))
	pinged := time.Now()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := pool.Send(t.Context(), envelope, content); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, server.Mails(0), 3)
	server.Do(func() {
		require.LessOrEqual(t, len(at), refusals+3)
		for i := 1; i <= refusals; i++ {
			require.GreaterOrEqual(t, at[i].Sub(pinged), time.Duration(i-1)*first)
		}
	})
}

func TestPool_heldBackEnds(t *testing.T) {
	server := busy(t, smtptest.Connect)
	hour := func(c *smtpclient.Config) { c.MaxConns, c.Backoff = 3, time.Hour }
	hold := func(t *testing.T) *smtpclient.Pool {
		pool := newPool(t, server.Addr, hour)
		ctx, cancel := context.WithCancel(t.Context())
		done, conns := make(chan error, 1), server.Conns()
		go func() { done <- pool.Send(ctx, envelope, content) }()
		server.Await(t, smtptest.Connect, conns+1)
		server.AwaitOpen(t, 1) // the client has read the reply and closed
		cancel()
		require.EqualError(t, <-done, "hello: SMTP error 421: too many connections", "the reply, not that time was up")
		return pool
	}
	require.NoError(t, newPool(t, server.Addr, hour).Ping(t.Context())) // the one that is allowed

	t.Run("with the context", func(t *testing.T) {
		pool, conns := hold(t), server.Conns()
		for _, do := range []func(context.Context) error{pool.Ping, func(ctx context.Context) error { return pool.Send(ctx, envelope, content) }} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			err := do(ctx)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			e := requireStage(t, err, smtpclient.StageConnect)
			require.False(t, e.Permanent || e.MaybeSent)
		}
		require.Equal(t, conns, server.Conns(), "nothing was dialled")
	})
	t.Run("with Close", func(t *testing.T) {
		pool := hold(t)
		ctx := watched{context.Background(), make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- pool.Send(ctx, envelope, content) }()
		for range 2 { // before it takes a slot, and as it waits for its turn
			<-ctx.asked
		}
		pool.Close()
		require.ErrorIs(t, <-done, smtpclient.ErrClosed)
	})
}
