package smtpclient_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/otpevent"
)

// signsIn lets a pool log in, with pauses of an hour after a refusal.
func signsIn(c *smtpclient.Config) {
	c.MaxConns, c.Backoff = 3, time.Hour
	c.Auth = func(_ context.Context, offered []string) (sasl.Client, error) {
		return smtpclient.Login("user", "secret word", offered)
	}
}

// sendAll sends n mails at once and returns the errors.
func sendAll(t *testing.T, pool *smtpclient.Pool, n int) (failed []error) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := pool.Send(t.Context(), smtpclient.Envelope{From: envelope.From, To: fmt.Sprintf("to%d@acme.example", i)}, content)
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	wg.Wait()
	return failed
}

// A wrong password costs one login, however many visitors want a code, and all
// hear what the server said.
func TestPool_refusedLogin(t *testing.T) {
	for reply, want := range map[string]otpevent.Class{
		"535 5.7.8 wrong": otpevent.ClassUs, "454 4.7.0 Too many login attempts": otpevent.ClassThrottle, "334 ": otpevent.ClassUs,
	} {
		server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}, Reply: func(_ int, verb, _ string) string {
			if verb == "AUTH" || strings.HasPrefix(verb, "AHV") { // and the same again
				return reply
			}
			return ""
		}}.Start(t)
		failed := sendAll(t, newPool(t, server.Addr, signsIn), 20)
		require.Len(t, failed, 20)
		for _, err := range failed {
			require.Equal(t, want, requireStage(t, err, smtpclient.StageAuth).Class(), reply)
		}
		require.Equal(t, 1, server.Conns(), reply)
	}
}

// A server that lets in three at once, and says so at any stage, gets all mails.
func TestPool_tooManyAtOnce(t *testing.T) {
	for _, reply := range []string{"432 4.3.2 Concurrent connections limit exceeded", "451 4.4.5 congested", "421 4.3.2 later"} {
		for _, verb := range []string{smtptest.Connect, "EHLO", "AUTH", "MAIL", smtptest.Dot} {
			if verb == smtptest.Dot && strings.HasPrefix(reply, "421") {
				continue // it took the connection and has had enough of it
			}
			server := smtptest.Script{Extensions: []string{"AUTH PLAIN", "PIPELINING"}, Reply: func(n int, v, _ string) string {
				if n > 3 && v == verb {
					return reply
				}
				return ""
			}}.Start(t)
			pool := newPool(t, server.Addr, func(c *smtpclient.Config) { signsIn(c); c.MaxConns = 4 })
			for range 3 {
				require.NoError(t, pool.Ping(t.Context()))
			}
			require.Empty(t, sendAll(t, pool, 40), "%s %s", verb, reply)
			require.Equal(t, 40, len(server.Mails(1))+len(server.Mails(2))+len(server.Mails(3)))
			require.LessOrEqual(t, server.Conns(), 4, "%s %s", verb, reply)
		}
	}
}

// A mail that must wait costs neither the connection nor the login.
func TestPool_keepsAfterDelay(t *testing.T) {
	for _, reply := range []string{"450 4.2.0 greylisted", "452 4.2.2 full", "451 4.7.1 come back", "550 5.1.1 nobody"} {
		server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}, Reply: func(_ int, verb, line string) string {
			if strings.Contains(line, "RCPT TO:<slow@") {
				return reply
			}
			return ""
		}}.Start(t)
		pool := newPool(t, server.Addr, signsIn)
		for range 10 {
			require.NoError(t, pool.Send(t.Context(), envelope, content))
			err := pool.Send(t.Context(), smtpclient.Envelope{From: envelope.From, To: "slow@acme.example"}, content)
			e := requireStage(t, err, smtpclient.StageRcpt)
			want := time.Duration(0)
			if strings.HasPrefix(reply, "450") || strings.HasPrefix(reply, "451") {
				want = time.Minute
			}
			require.Equal(t, want, e.RetryAfter(), reply)
		}
		require.Equal(t, 1, server.Count("AUTH"), reply)
		require.Equal(t, 20, server.Count("RCPT"), "%s: it is not tried again at once", reply)
	}
}

// On a connection that has carried a mail, a rejected sender or a reply that is
// out of step says nothing of this mail, which goes over a fresh one. A fresh
// connection that rejects the sender is about us.
func TestPool_staleAnswers(t *testing.T) {
	for _, reply := range []string{"503 5.5.1 nested MAIL", "550 5.7.1 no", "354 what?", "nonsense"} {
		carried := false
		server := smtptest.Script{Extensions: []string{"PIPELINING"}, Reply: func(n int, verb, _ string) string {
			if n == 1 && carried && verb != "QUIT" {
				return reply
			}
			carried = carried || verb == smtptest.Dot
			return ""
		}}.Start(t)
		pool := newPool(t, server.Addr, nil)
		require.NoError(t, pool.Send(t.Context(), envelope, content))
		require.NoError(t, pool.Send(t.Context(), envelope, content), reply)
		require.Equal(t, 2, server.Conns())
		require.Len(t, server.Mails(0), 2)
		early := server.Early()
		require.NoError(t, pool.Send(t.Context(), envelope, content))
		require.Greater(t, server.Early(), early, "%s: PIPELINING is used as before", reply)
	}

	server := smtptest.Script{Reply: func(_ int, verb, _ string) string {
		if verb == "MAIL" {
			return "553 5.7.1 not owned by user"
		}
		return ""
	}}.Start(t)
	pool := newPool(t, server.Addr, nil)
	for range 3 {
		e := requireStage(t, pool.Send(t.Context(), envelope, content), smtpclient.StageMail)
		require.Equal(t, otpevent.ClassUs, e.Class())
	}
	require.Equal(t, 3, server.Count("MAIL"), "each mail asks once")
	require.Equal(t, 1, server.Conns())
}
